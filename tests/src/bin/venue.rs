//! A venue process for tests to kill: `venue SOCKET LOG QUIET SEED`. The exchange lives on in LOG; no trade happens once
//! QUIET is there. Ends when its standard input does.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use ringfence_ipc::handshake::Role;
use ringfence_ipc::venue::{AttachOptions, VenueClient};
use ringfence_tests::process::until_input_ends;
use ringfence_tests::venue::{Exchange, serve};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let [_, socket, log, quiet, seed] = args.as_slice() else {
        eprintln!("usage: venue SOCKET LOG QUIET SEED");
        return ExitCode::FAILURE;
    };
    let Ok(seed) = seed.parse() else {
        eprintln!("the seed must be a number");
        return ExitCode::FAILURE;
    };
    let options = AttachOptions::new(socket, Role::Venue, "exchange");
    match VenueClient::attach(options, Duration::from_secs(30)) {
        Ok(client) => {
            let mut exchange = Exchange::open(Path::new(log));
            serve(client, &mut exchange, seed, Path::new(quiet), &until_input_ends());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
