//! A strategy process for tests to kill: `hammer SOCKET NAME DIARY SEED new|reborn PAUSE_US`, resting so long after each burst.
//! Ends when its standard input does.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use ringfence_ipc::client::{AttachOptions, Client};
use ringfence_ipc::handshake::Role;
use ringfence_tests::diary::Diary;
use ringfence_tests::hammer::Hammer;
use ringfence_tests::process::until_input_ends;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let [_, socket, name, diary, seed, birth, pause_us] = args.as_slice() else {
        eprintln!("usage: hammer SOCKET NAME DIARY SEED new|reborn PAUSE_US");
        return ExitCode::FAILURE;
    };
    let (Ok(seed), Ok(pause_us)) = (seed.parse(), pause_us.parse()) else {
        eprintln!("seed and pause must be numbers");
        return ExitCode::FAILURE;
    };
    let options = AttachOptions::new(socket, Role::Strategy, name);
    let client = match Client::attach_patiently(options, Duration::from_secs(30)) {
        Ok(client) => client,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let stop = until_input_ends();
    let diary = Diary::reopen(Path::new(diary));
    let hammer = if birth == "reborn" {
        Hammer::reborn(client, diary, seed)
    } else {
        Hammer::new(client, diary, 1, seed)
    };
    drop(hammer.paced(Duration::from_micros(pause_us)).run(&stop));
    ExitCode::SUCCESS
}
