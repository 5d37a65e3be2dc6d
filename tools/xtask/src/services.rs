//! `cargo xtask services`: real servers on loopback for whoever wants to try something against them.

use std::path::PathBuf;
use std::process::ExitCode;

use ringfence_services::kafka::{self, Cluster};

const USAGE: &str = "services up kafka [--brokers 1|3] | services down kafka";

/// Starts or stops one.
pub fn run(args: &[String]) -> ExitCode {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["up", "kafka"] => up_kafka("1"),
        ["up", "kafka", "--brokers", brokers] => up_kafka(brokers),
        ["down", "kafka"] => {
            kafka::stop(&scratch("kafka")).map(|stopped| format!("{stopped} brokers stopped"))
        }
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Where a server keeps what it writes, below the build directory.
fn scratch(name: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let place = target.join("services").join(name);
    std::path::absolute(&place).unwrap_or(place)
}

fn up_kafka(brokers: &str) -> Result<String, String> {
    let brokers = brokers.parse().map_err(|_| USAGE.to_owned())?;
    let dir = scratch("kafka");
    if kafka::runs(&dir) {
        return Err("Kafka runs already: `cargo xtask services down kafka` first".to_owned());
    }
    // Each time a new cluster: nobody counts on what the last one held.
    match std::fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(format!("{}: {error}", dir.display()));
        }
        _ => {}
    }
    println!("==> services: Apache Kafka {}, {brokers} brokers, in {}", kafka::VERSION, dir.display());
    let cluster = Cluster::start(&dir, brokers, kafka::FIRST_PORT)?;
    let addresses = cluster.addresses();
    cluster.leave();
    Ok(format!(
        "kafka {addresses}\n  try it:  cargo run --release --features kafka -- up --set events.kafka_brokers={addresses}\n  \
         stop it: cargo xtask services down kafka"
    ))
}
