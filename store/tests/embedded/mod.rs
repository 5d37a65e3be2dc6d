//! The embedded store: the promises, its file, and how fast it takes submissions.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Instant;

use ringfence_store::{Draft, Engine, Settings, StoreError};

use crate::conformance::{self, REFUSE, draft};

#[test]
fn the_embedded_store_keeps_every_promise() {
    let dir = tempfile::tempdir().unwrap();
    conformance::all(&|name| Engine::Embedded(dir.path().join(format!("{name}.db"))));
}

#[test]
fn a_file_that_others_can_read_or_that_a_later_program_wrote_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("strategies.db");
    let engine = Engine::Embedded(path.clone());
    drop(conformance::open(&engine));
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = engine.open(Settings::default()).err().unwrap();
    assert!(matches!(error, StoreError::Newer { found: 99, .. }), "{error}");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let said = engine.open(Settings::default()).err().unwrap().to_string();
    assert!(said.contains("mode is 644"), "{said}");
}

#[test]
fn a_word_that_is_none_of_ours_is_an_error_and_no_panic() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("strategies.db");
    let store = conformance::open(&Engine::Embedded(path.clone()));
    store.submit(&[draft(1)], REFUSE).unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute("UPDATE strategies SET state = 'sleeping'", []).unwrap();
    for error in [
        store.get(&conformance::id(1)).map(drop).unwrap_err(),
        store.claim("w", 1, 1, conformance::NOON).map(drop).unwrap_err(),
    ] {
        assert!(error.is_unavailable() && error.to_string().contains("sleeping"), "{error}");
    }
}

/// No bound: a number to read, with every submission on the disk before it counts.
#[test]
fn submissions_a_second_in_batches() {
    let dir = tempfile::tempdir().unwrap();
    let store = conformance::open(&Engine::Embedded(dir.path().join("strategies.db")));
    let mut number = 0;
    for (batch, count) in [(1, 300), (32, 3200), (256, 12_800)] {
        let drafts: Vec<Draft> = (number..number + count)
            .map(|number| Draft { dag: format!("\"{}\"", "x".repeat(2000)), ..draft(number) })
            .collect();
        number += count;
        let began = Instant::now();
        for piece in drafts.chunks(batch) {
            store.submit(piece, REFUSE).unwrap();
        }
        let rate = f64::from(count) / began.elapsed().as_secs_f64();
        println!("embedded: {rate:.0} submissions/s of 2 kB in batches of {batch}");
    }
}
