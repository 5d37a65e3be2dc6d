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

#[test]
fn a_program_without_neo4j_says_so() {
    let config =
        ringfence_graph::Neo4jConfig { uri: "bolt://127.0.0.1:1".into(), login: None, database: None };
    assert!(matches!(Engine::Neo4j(config).open(), Err(GraphError::NotBuilt)));
}
