//! G10: a journal decided again, twice, is the same journal.

use ringfence_ipc::journal::ArchiveReader;

use super::Place;
use super::busy::CAP;
use crate::gate::{ReplayReport, Replayer};

/// `RINGFENCE_G10_DECISIONS` decisions, 30,000 unless set; the goal is 1,000,000.
fn decisions() -> u64 {
    let set = std::env::var("RINGFENCE_G10_DECISIONS").ok();
    set.and_then(|text| text.replace('_', "").parse().ok()).unwrap_or(30_000)
}

#[test]
fn g10_a_journal_replayed_twice_gives_the_same_decisions_and_the_same_state() {
    let (place, wanted) = (Place::new(), decisions());
    let live = place.live(1, wanted * 9 / 8);
    let replay = || -> ReplayReport {
        let mut replayer = Replayer::new(CAP);
        let mut reader = ArchiveReader::open(place.archive()).unwrap();
        while let Some((position, record)) = reader.next().unwrap() {
            replayer.feed(position, &record).unwrap();
        }
        replayer.finish()
    };
    let (first, second) = (replay(), replay());
    println!("g10: {} decisions replayed twice", first.decisions);
    assert!(first.decisions >= wanted, "{} of {wanted}", first.decisions);
    assert_eq!(
        (first.decisions, first.mismatches, first.closes),
        (live.decisions, 0, 1),
        "{:?}",
        first.first
    );
    assert_eq!(first, second);
    assert_eq!(first.state_hash, live.gate.state_hash());
}
