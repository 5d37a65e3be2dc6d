//! A strategy of bad will: `hostile SOCKET NUMBER PAUSE_US CPU`, CPU `any` or a number. Lives until it is killed.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use ringfence_tests::hostile::{Habit, Hostile};
use ringfence_tests::pin;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let [_, socket, number, pause_us, cpu] = args.as_slice() else {
        eprintln!("usage: hostile SOCKET NUMBER PAUSE_US CPU|any");
        return ExitCode::FAILURE;
    };
    let (Ok(number), Ok(pause_us)) = (number.parse::<u64>(), pause_us.parse()) else {
        eprintln!("number and pause must be numbers");
        return ExitCode::FAILURE;
    };
    if let Ok(cpu) = cpu.parse() {
        pin(cpu);
    }
    let habit = Habit::ALL[number as usize % Habit::ALL.len()];
    Hostile::new(Path::new(socket), number, Duration::from_micros(pause_us)).live(habit)
}
