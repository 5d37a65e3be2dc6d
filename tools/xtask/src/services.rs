//! `cargo xtask services`: real servers on loopback for whoever wants to try something against them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ringfence_services::kafka::{self, Cluster};
use ringfence_services::neo4j::{self, Server};

const USAGE: &str = "services up kafka [--brokers 1|3] | services up neo4j | services down kafka|neo4j";

/// Starts or stops one.
pub fn run(args: &[String]) -> ExitCode {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["up", "kafka"] => up_kafka("1"),
        ["up", "kafka", "--brokers", brokers] => up_kafka(brokers),
        ["down", "kafka"] => {
            kafka::stop(&scratch("kafka")).map(|stopped| format!("{stopped} brokers stopped"))
        }
        ["up", "neo4j"] => up_neo4j(),
        ["down", "neo4j"] => neo4j::stop(&scratch("neo4j"))
            .map(|stopped| if stopped { "neo4j stopped".to_owned() } else { "none ran".to_owned() }),
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

/// Each time a new server: nobody counts on what the last one held.
fn emptied(dir: &Path) -> Result<(), String> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("{}: {error}", dir.display()))
        }
        _ => Ok(()),
    }
}

fn up_kafka(brokers: &str) -> Result<String, String> {
    let brokers = brokers.parse().map_err(|_| USAGE.to_owned())?;
    let dir = scratch("kafka");
    if kafka::runs(&dir) {
        return Err("Kafka runs already: `cargo xtask services down kafka` first".to_owned());
    }
    emptied(&dir)?;
    println!("==> services: Apache Kafka {}, {brokers} brokers, in {}", kafka::VERSION, dir.display());
    let cluster = Cluster::start(&dir, brokers, kafka::FIRST_PORT)?;
    let addresses = cluster.addresses();
    cluster.leave();
    Ok(format!(
        "kafka {addresses}\n  try it:  cargo run --release --features kafka -- up --set events.kafka_brokers={addresses}\n  \
         stop it: cargo xtask services down kafka"
    ))
}

fn up_neo4j() -> Result<String, String> {
    let dir = scratch("neo4j");
    if neo4j::runs(&dir) {
        return Err("Neo4j runs already: `cargo xtask services down neo4j` first".to_owned());
    }
    emptied(&dir)?;
    println!("==> services: Neo4j Community {}, in {}", neo4j::VERSION, dir.display());
    let server = Server::start(&dir, neo4j::FIRST_PORT)?;
    let uri = server.uri();
    server.leave();
    Ok(format!("neo4j {uri} (no login)\n  stop it: cargo xtask services down neo4j"))
}
