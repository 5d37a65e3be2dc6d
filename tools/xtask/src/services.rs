//! `cargo xtask services`: real servers on loopback for whoever wants to try something against them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ringfence_services::kafka::{self, Cluster};
use ringfence_services::neo4j::{self, Server};
use ringfence_services::postgres::{self, Postgres};
use ringfence_services::redis::{self, Redis};

const USAGE: &str = "services up|down kafka|neo4j|postgres|redis .. [--brokers 1|3]";

/// A server that can be started and stopped by its name.
struct Service {
    name: &'static str,
    runs: fn(&Path) -> bool,
    /// In an empty folder, with the value of `--brokers`; says how to reach it.
    up: fn(&Path, &str) -> Result<String, String>,
    /// Says how many processes there were.
    down: fn(&Path) -> Result<usize, String>,
}

const SERVICES: [Service; 4] = [
    Service { name: "kafka", runs: kafka::runs, up: up_kafka, down: kafka::stop },
    Service { name: "neo4j", runs: neo4j::runs, up: up_neo4j, down: |dir| neo4j::stop(dir).map(usize::from) },
    Service {
        name: "postgres",
        runs: postgres::runs,
        up: up_postgres,
        down: |dir| postgres::stop(dir).map(usize::from),
    },
    Service { name: "redis", runs: redis::runs, up: up_redis, down: |dir| redis::stop(dir).map(usize::from) },
];

/// Starts or stops some.
pub fn run(args: &[String]) -> ExitCode {
    match asked(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        }
    }
}

fn asked(args: &[String]) -> Result<(), String> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let (names, brokers) = match words.as_slice() {
        [names @ .., "--brokers", brokers] if names.contains(&"kafka") => (names, *brokers),
        names => (names, "1"),
    };
    let [verb @ ("up" | "down"), names @ ..] = names else { return Err(USAGE.to_owned()) };
    let known = |name: &&str| SERVICES.iter().find(|service| service.name == *name).ok_or(USAGE);
    let services: Vec<&Service> = names.iter().map(known).collect::<Result<_, _>>()?;
    if services.is_empty() {
        return Err(USAGE.to_owned());
    }
    for service in services {
        let dir = scratch(service.name);
        if *verb == "down" {
            println!("{}: {} stopped", service.name, (service.down)(&dir)?);
        } else {
            println!("{}", up(service, &dir, brokers)?);
        }
    }
    Ok(())
}

fn up(service: &Service, dir: &Path, brokers: &str) -> Result<String, String> {
    let name = service.name;
    if (service.runs)(dir) {
        return Err(format!("{name} runs already: `cargo xtask services down {name}` first"));
    }
    // Each time a new one: nobody counts on what the last one held.
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(format!("{}: {error}", dir.display()));
        }
        _ => {}
    }
    println!("==> services: {name}, in {}", dir.display());
    let how = (service.up)(dir, brokers)?;
    Ok(format!("{name} {how}\n  stop it: cargo xtask services down {name}"))
}

/// Where a server keeps what it writes, below the build directory.
fn scratch(name: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let place = target.join("services").join(name);
    std::path::absolute(&place).unwrap_or(place)
}

fn up_kafka(dir: &Path, brokers: &str) -> Result<String, String> {
    let brokers = brokers.parse().map_err(|_| USAGE.to_owned())?;
    let cluster = Cluster::start(dir, brokers, kafka::FIRST_PORT)?;
    let addresses = cluster.addresses();
    cluster.leave();
    Ok(format!(
        "{addresses} ({}, {brokers} brokers)\n  try it:  cargo run --release --features kafka -- up --set \
         events.kafka_brokers={addresses}",
        kafka::VERSION
    ))
}

fn up_neo4j(dir: &Path, _: &str) -> Result<String, String> {
    let server = Server::start(dir, neo4j::FIRST_PORT)?;
    let uri = server.uri();
    server.leave();
    Ok(format!("{uri} (no login)"))
}

fn up_postgres(dir: &Path, _: &str) -> Result<String, String> {
    let server = Postgres::start(dir, postgres::FIRST_PORT)?;
    let url = server.url("postgres");
    server.leave();
    Ok(format!("{url}\n  try it:  psql {url}"))
}

fn up_redis(dir: &Path, _: &str) -> Result<String, String> {
    let server = Redis::start(dir, redis::FIRST_PORT)?;
    let url = server.url();
    server.leave();
    Ok(format!("{url}\n  try it:  redis-cli -u {url}"))
}
