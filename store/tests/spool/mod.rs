//! The spool, and what a killed process has acknowledged.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use ringfence_store::{Admission, Draft, Engine, Settings, Spool, SpoolBounds, State, Store, StoreError};

use crate::conformance::{self, NOON, REFUSE, TTL, draft, draft_with_key, id};

const CHILD: &str = "RINGFENCE_STORE_TEST_CHILD";

fn embedded(dir: &Path) -> Box<dyn Store> {
    Engine::Embedded(dir.join("strategies.db")).open(Settings::default()).unwrap()
}

#[test]
fn the_spool_takes_what_fits_and_sees_its_own_duplicates() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("spool.db");
    let bounds = SpoolBounds { drafts: 3, bytes: 10_000 };
    let spool = Spool::open(&path, bounds).unwrap();
    let taken = spool.take(&[draft(1), draft_with_key(2, 1), draft(3)], TTL).unwrap();
    assert!(matches!(taken[0], Admission::Spooled { .. }));
    assert_eq!(taken[1], Admission::Duplicate { strategy_id: id(1) });
    assert_eq!(spool.take(&[draft(1)], TTL).unwrap(), taken[..1]);
    let later = Draft { at_ms: NOON + TTL, ..draft_with_key(4, 1) };
    assert!(matches!(spool.take(&[later], TTL).unwrap()[0], Admission::Spooled { .. }));
    for more in [draft(5), Draft { dag: "x".repeat(20_000), ..draft(6) }] {
        let error = spool.take(&[more], TTL).unwrap_err();
        assert!(matches!(error, StoreError::SpoolFull { .. }) && error.is_unavailable(), "{error}");
    }
    assert!(
        !spool.take(&[Draft { strategy_id: "a b".into(), ..draft(7) }], TTL).unwrap_err().is_unavailable()
    );
    drop(spool);
    let spool = Spool::open(&path, bounds).unwrap();
    assert_eq!(spool.depth().unwrap(), 3);
    let store = embedded(dir.path());
    store.submit(&[draft_with_key(9, 3)], REFUSE).unwrap();
    let done = spool.hand_over(&*store, 2, TTL).unwrap();
    assert_eq!((done.taken, done.duplicates, done.left), (2, vec![id(3)], 1));
    spool.hand_over(&*store, 2, TTL).unwrap();
    assert_eq!(spool.hand_over(&*store, 2, TTL).unwrap(), Default::default());
    assert_eq!(conformance::state(&*store, 3), State::Failed);
    let claims = conformance::claim(&*store, "w", 9, NOON);
    assert_eq!(conformance::ids(&claims), [id(9), id(1), id(4)]);
    assert!(matches!(spool.submit(&*store, &[draft(8)], TTL).unwrap()[0], Admission::Accepted { .. }));
}

/// Not a test of its own: the process that the next one kills.
#[test]
fn child_that_submits_until_it_is_killed() {
    let Ok(dir) = std::env::var(CHILD) else { return };
    let dir = Path::new(&dir);
    let (store, spool) = (embedded(dir), Spool::open(&dir.join("spool.db"), SpoolBounds::default()).unwrap());
    for number in 0..1_000_000 {
        if number % 2 == 0 {
            store.submit(&[draft(number)], REFUSE).unwrap();
        } else {
            spool.take(&[draft(number)], TTL).unwrap();
        }
        // Past the harness, which keeps what tests print.
        writeln!(std::io::stderr().lock(), "acknowledged {number}").unwrap();
    }
}

#[test]
fn what_a_killed_process_acknowledged_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut next = 0;
    for stop_after in [1, 40, 150] {
        // Each life submits from the beginning again: what is known is acknowledged once more.
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "spool::child_that_submits_until_it_is_killed", "--nocapture"])
            .env(CHILD, dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let told = |line: String| line.strip_prefix("acknowledged ").and_then(|n| n.parse::<u32>().ok());
        let mut last = lines.by_ref().filter_map(told).nth(next as usize + stop_after);
        child.kill().unwrap();
        child.wait().unwrap();
        last = lines.filter_map(told).last().or(last);
        next = last.unwrap();
        let (store, spool) = (
            embedded(dir.path()),
            Spool::open(&dir.path().join("spool.db"), SpoolBounds::default()).unwrap(),
        );
        for number in 0..=next {
            let there = store.get(&id(number)).unwrap().is_some() || spool.contains(&id(number)).unwrap();
            assert!(there, "{number} of {next} was acknowledged and is gone");
        }
    }
}
