//! What every engine must do, asked of each of them: the embedded graph, and a real Neo4j.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod conformance;

use ringfence_graph::{Engine, GraphError};

fn embedded(dir: &tempfile::TempDir) -> Engine {
    Engine::Embedded(dir.path().join("graph.db"))
}

#[test]
fn the_embedded_graph_keeps_every_promise() {
    let dir = tempfile::tempdir().unwrap();
    conformance::all(&embedded(&dir));
}

#[test]
fn the_embedded_graph_fetches_and_applies_a_thousand_nodes_quickly() {
    let dir = tempfile::tempdir().unwrap();
    let took = conformance::thousand(&embedded(&dir));
    println!("size: 1,000 nodes of 2 inputs: {took:?}");
    // The goal is 10 ms; a busy machine gets more.
    assert!(took.fetch.as_millis() < 100, "{took:?}");
}

/// Names the file to the process that [`what_a_killed_process_acknowledged_is_there`] kills.
const VICTIM: &str = "RINGFENCE_GRAPH_VICTIM";

/// The process to be killed; nothing when the tests are run.
#[test]
fn victim() {
    let Some(path) = std::env::var_os(VICTIM) else { return };
    let graph = Engine::Embedded(path.into()).open().unwrap();
    for n in 0.. {
        let nodes = conformance::few(n);
        graph.apply(&conformance::change(&format!("victim-{n}"), &nodes)).unwrap();
        println!("\napplied {n}");
    }
}

#[test]
fn what_a_killed_process_acknowledged_is_there() {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};
    let dir = tempfile::tempdir().unwrap();
    let mut first = 0;
    for round in 0..5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "victim", "--nocapture"])
            .env(VICTIM, dir.path().join("graph.db"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut applied = lines.filter_map(|line| line.strip_prefix("applied ")?.parse::<u16>().ok());
        // It begins anew each time; what is there already only takes a repeat.
        let enough = applied.by_ref().find(|n| *n >= first + 10 + round).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let last = applied.last().unwrap_or(enough);
        let graph = embedded(&dir).open().unwrap();
        for n in 0..=last + 1 {
            let (name, nodes) = (format!("victim-{n}"), conformance::few(n));
            let found = graph.strategy_nodes(&name).unwrap();
            let whole = found.iter().eq(nodes.iter().map(|placed| &placed.node));
            assert!(whole || n > last && found.is_empty(), "{n} of {last}: {} nodes", found.len());
            let again = graph.apply(&conformance::change(&name, &nodes)).unwrap();
            assert_eq!(again.created.len(), if n == 0 { 4 } else { 3 });
        }
        first = last + 1;
    }
    println!("size: {first} strategies over 5 killed processes");
}

#[test]
fn a_file_that_others_can_read_or_of_a_later_version_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("graph.db");
    drop(embedded(&dir).open().unwrap());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let said = embedded(&dir).open().err().unwrap().to_string();
    assert!(said.contains("mode is 644"), "{said}");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    for version in [99, -1] {
        let file = rusqlite::Connection::open(&path).unwrap();
        file.pragma_update(None, "user_version", version).unwrap();
        drop(file);
        let error = embedded(&dir).open().err().unwrap();
        assert!(matches!(error, GraphError::Newer { found, .. } if found == version), "{error}");
    }
    std::fs::write(&path, b"no database at all, but long enough to be looked at as one".repeat(100)).unwrap();
    assert!(matches!(embedded(&dir).open().err().unwrap(), GraphError::File { .. }));
}

#[cfg(not(feature = "neo4j"))]
#[test]
fn a_program_without_neo4j_says_so() {
    let config =
        ringfence_graph::Neo4jConfig { uri: "bolt://127.0.0.1:1".into(), login: None, database: None };
    assert!(matches!(Engine::Neo4j(config).open(), Err(GraphError::NotBuilt)));
}

#[cfg(feature = "neo4j")]
mod neo4j {
    use std::time::{Duration, Instant};

    use ::neo4j::driver::{ConnectionConfig, Driver, DriverConfig};
    use ringfence_graph::{Engine, GraphError, Neo4jConfig};
    use ringfence_services::neo4j::{FIRST_PORT, Server};

    use super::{conformance, embedded};

    fn server(test: &str, dir: &tempfile::TempDir) -> Option<Server> {
        if let Err(why) = ringfence_services::neo4j::jars() {
            eprintln!("SKIPPED: {test}: {why}");
            return None;
        }
        Some(Server::start(dir.path(), FIRST_PORT + 1000).unwrap())
    }

    fn engine(uri: String) -> Engine {
        Engine::Neo4j(Neo4jConfig { uri, login: None, database: None })
    }

    #[test]
    fn neo4j_keeps_every_promise_across_killed_servers_and_takes_an_export() {
        let dir = tempfile::tempdir().unwrap();
        let test = "neo4j_keeps_every_promise_across_killed_servers_and_takes_an_export";
        let Some(mut server) = server(test, &dir) else { return };
        let engine = engine(server.uri());
        conformance::all(&engine);
        println!("size: 1,000 nodes of 2 inputs: {:?}", conformance::thousand(&engine));
        conformance::kills::a_stopped_server_is_an_error_in_bounded_time(&engine, &server);
        for round in 0..2 {
            conformance::kills::acknowledged_is_there(&engine, round, &mut server);
        }
        // What an embedded graph exports is the same graph here.
        let file = tempfile::tempdir().unwrap();
        conformance::all(&embedded(&file));
        let mut text = Vec::new();
        embedded(&file).open().unwrap().export(&mut text).unwrap();
        let driver = driver(&server.uri());
        run(&driver, "MATCH (n) DETACH DELETE n");
        for line in String::from_utf8(text.clone()).unwrap().lines() {
            run(&driver, line.strip_suffix(';').unwrap());
        }
        conformance::exports_are_the_same(&embedded(&file), &engine);
        // A later program's graph is left alone.
        run(&driver, "MATCH (m:Migration) SET m.version = 99");
        let error = engine.open().unwrap().ping().unwrap_err();
        assert!(matches!(error, GraphError::Newer { found: 99, .. }), "{error}");
    }

    fn driver(uri: &str) -> Driver {
        Driver::new(ConnectionConfig::try_from(uri).unwrap(), DriverConfig::new())
    }

    fn run(driver: &Driver, cypher: &str) {
        if let Err(error) = driver.execute_query(cypher).run() {
            panic!("{error}: {cypher}");
        }
    }

    #[test]
    fn a_server_that_is_not_there_is_an_error_in_bounded_time() {
        let began = Instant::now();
        let graph = engine("bolt://127.0.0.1:1".into()).open().unwrap();
        let error = graph.ping().unwrap_err();
        assert!(error.is_unavailable() && matches!(error, GraphError::Away { .. }), "{error}");
        assert!(graph.fetch(&[], &[]).unwrap_err().is_unavailable());
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        for uri in ["", "http://127.0.0.1", "bolt://user:secret@127.0.0.1"] {
            let error = engine(uri.into()).open().err().unwrap();
            assert!(matches!(error, GraphError::Invalid { .. }), "{error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
