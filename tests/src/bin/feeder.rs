//! A strategy process that feeds one node, for tests to kill: `feeder SOCKET NAME`. It goes on after the newest bucket
//! that stands in the cache, survives the gate's death, and ends when its standard input does.

use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ringfence_ipc::client::{AttachOptions, Client, Event};
use ringfence_ipc::handshake::Role;
use ringfence_tests::feeder::Feeder;
use ringfence_tests::process::until_input_ends;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let [_, socket, name] = args.as_slice() else {
        eprintln!("usage: feeder SOCKET NAME");
        return ExitCode::FAILURE;
    };
    let patience = Duration::from_secs(30);
    let mut client =
        match Client::attach_patiently(AttachOptions::new(socket, Role::Strategy, name), patience) {
            Ok(client) => client,
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::FAILURE;
            }
        };
    let stop = until_input_ends();
    let mut feeder = Feeder::register(&mut client);
    while !stop.load(Ordering::Relaxed) {
        if client.poll() == Some(Event::Lost) {
            if let Err(error) = client.reattach(patience) {
                eprintln!("{error}");
                return ExitCode::FAILURE;
            }
            feeder = Feeder::register(&mut client);
        }
        feeder.feed(&mut client);
        std::thread::sleep(Duration::from_micros(50));
    }
    ExitCode::SUCCESS
}
