//! The thread: it writes while the gate works, keeps two, verifies the close, and removes what nobody needs.

use std::fs;
use std::time::{Duration, Instant};

use ringfence_ipc::journal::chained::Segments as _;
use ringfence_ipc::journal::checkpoint::{Checkpoint, NotePart, OrderPart, Part};
use ringfence_ipc::journal::registry::{Registration, registered};
use ringfence_ipc::journal::{CloseRecord, FollowError, Follower, Record, SegmentDir};

use super::busy::{Busy, CAP};
use super::{Place, recover};
use crate::checkpoint::{Plan, Retention, Worker};
use crate::journal::{Archiver, open};

const KEEP_ALL: Retention = Retention { bytes: None, age: None, max_lag_bytes: u64::MAX };

fn plan(place: &Place, every_slots: u64, retention: Retention) -> Plan {
    Plan {
        dir: place.archive(),
        hot_path: place.hot(),
        run_dir: place.dir.path().to_owned(),
        capacity: CAP,
        every_slots,
        retention,
        spare_bytes: 0,
        nice: 0,
    }
}

/// A life with the thread beside it.
fn start(place: &Place, epoch: u16, every_slots: u64, retention: Retention) -> (Busy, Archiver, Worker) {
    let mut opened = open(place.options()).unwrap();
    let recovery = recover(&place.archive(), &mut opened.log, CAP).unwrap();
    let (writer, archiver) = opened.start(epoch).unwrap();
    let worker =
        Worker::spawn(plan(place, every_slots, retention), archiver.watch(), recovery.checkpoint).unwrap();
    (Busy::new(recovery.recovered, epoch, writer), archiver, worker)
}

fn checkpoints(place: &Place) -> Vec<u64> {
    Checkpoint::list(&place.archive()).unwrap_or_default()
}

/// Works until `done`, within a deadline.
fn work_until(busy: &mut Busy, what: &str, mut done: impl FnMut(u64) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done(busy.position()) {
        assert!(Instant::now() < deadline, "{what}: not in time");
        (0..200).for_each(|_| busy.step());
    }
}

#[test]
fn checkpoints_appear_beside_a_working_gate_and_two_are_kept() {
    let place = Place::new();
    for epoch in 1..=2 {
        let before = checkpoints(&place).last().copied().unwrap_or(0);
        let (mut busy, archiver, worker) = start(&place, epoch, 2_000, KEEP_ALL);
        work_until(&mut busy, "two checkpoints of this life", |_| {
            let found = checkpoints(&place);
            assert!(found.len() <= 3, "{found:?}");
            found.len() >= 2 && found[0] > before
        });
        busy.close();
        archiver.stop().unwrap();
        worker.stop();
        let found = place.recover().unwrap();
        assert_eq!(found.checkpoint, checkpoints(&place).last().copied());
        assert_eq!(found.recovered.gate.state_hash(), busy.gate.state_hash(), "life {epoch}");
        assert_eq!(checkpoints(&place).len(), 2);
    }
}

#[test]
fn what_the_journal_needs_of_the_disk_is_not_taken_by_checkpoints() {
    let place = Place::new();
    let mut opened = open(place.options()).unwrap();
    let recovery = recover(&place.archive(), &mut opened.log, CAP).unwrap();
    let (writer, archiver) = opened.start(1).unwrap();
    let plan = Plan { spare_bytes: u64::MAX, ..plan(&place, 500, KEEP_ALL) };
    let worker = Worker::spawn(plan, archiver.watch(), None).unwrap();
    let mut busy = Busy::new(recovery.recovered, 1, writer);
    (0..3_000).for_each(|_| busy.step());
    busy.close();
    archiver.stop().unwrap();
    worker.stop();
    assert_eq!(checkpoints(&place), [0_u64; 0]);
    assert_eq!(place.recover().unwrap().recovered.gate.state_hash(), busy.gate.state_hash());
}

#[test]
fn a_checkpoint_tells_readers_what_open_orders_are_called() {
    let place = Place::new();
    let (mut busy, archiver, worker) = start(&place, 1, 8_000, KEEP_ALL);
    (0..3_000).for_each(|_| busy.step());
    busy.close();
    archiver.stop().unwrap();
    worker.stop();
    let newest = *checkpoints(&place).last().unwrap();
    let saved = Checkpoint::read(&place.archive(), newest).unwrap();
    let records = place.records();
    assert_eq!(
        newest,
        records.last().map(|(at, _)| at + 1).unwrap(),
        "a stop in good order leaves nothing to read"
    );
    let mut named = 0;
    let notes: Vec<NotePart> =
        saved.items(Part::Notes).map(|item| NotePart::decode(&item).unwrap()).collect();
    let open: Vec<OrderPart> =
        saved.items(Part::Orders).map(|item| OrderPart::decode(&item).unwrap()).collect();
    assert_eq!(notes.len(), open.iter().filter(|order| !order.state.is_terminal()).count());
    for note in notes {
        let at = records.binary_search_by_key(&note.journal_seq, |(at, _)| *at).unwrap();
        let Record::Decision(decision) = &records[at].1 else { panic!("{note:?}") };
        assert_eq!((decision.order_id, decision.ext), (note.order_id, note.ext));
        named += u32::from(note.ext.is_some());
    }
    assert!(named > 0);
}

#[test]
fn a_close_in_another_state_than_its_journal_ends_checkpoints_and_says_so() {
    let place = Place::new();
    let (mut busy, archiver, worker) = start(&place, 1, 1_000, KEEP_ALL);
    (0..3_000).for_each(|_| busy.step());
    work_until(&mut busy, "a checkpoint", |_| !checkpoints(&place).is_empty());
    busy.forge_close();
    (0..3_000).for_each(|_| busy.step());
    archiver.stop().unwrap();
    worker.stop();
    let forged = place.records().iter().position(|(_, r)| matches!(r, Record::Close(_))).unwrap();
    let forged = place.records()[forged].0;
    assert!(
        checkpoints(&place).iter().all(|position| *position <= forged),
        "none is written of a state in doubt"
    );
}

#[test]
fn segments_go_when_nobody_needs_them_and_recovery_does_without() {
    let place = Place::new();
    let retention = Retention { bytes: Some(64 << 10), age: None, max_lag_bytes: 256 << 10 };
    let oldest = || SegmentDir::new(&place.archive()).firsts().unwrap()[0];
    let (mut busy, archiver, worker) = start(&place, 1, 2_000, retention);
    // A follower that stands still is waited for until it is too far behind.
    let slow = Registration::new(place.dir.path(), "slow", 1).unwrap();
    let quick = Registration::new(place.dir.path(), "quick", 1).unwrap();
    work_until(&mut busy, "two checkpoints", |end| {
        quick.publish(end);
        checkpoints(&place).len() >= 2 && checkpoints(&place)[0] > 3_000
    });
    let lag = checkpoints(&place).last().unwrap() * 64;
    assert!(oldest() == 1 || lag > 256 << 10, "nothing goes under a registered follower");
    work_until(&mut busy, "the slow follower is given up", |end| {
        quick.publish(end);
        !slow.is_waited_for() && oldest() > 1
    });
    assert_eq!(registered(place.dir.path()).len(), 1, "the quick one stays");
    busy.close();
    archiver.stop().unwrap();
    worker.stop();
    let found = place.recover().unwrap();
    assert_eq!(found.recovered.gate.state_hash(), busy.gate.state_hash());
    let mut gone = Follower::open(place.hot(), place.archive(), 1).unwrap();
    assert!(matches!(gone.next(), Err(FollowError::Gone { position: 1, .. })));
    let kept = checkpoints(&place);
    assert!(
        oldest() <= kept[0],
        "the older checkpoint can still be gone on from: {} <= {}",
        oldest(),
        kept[0]
    );
    drop(quick);
    assert_eq!(registered(place.dir.path()), []);
    // The older checkpoint alone is enough.
    fs::remove_file(place.path_of(kept[1])).unwrap();
    assert_eq!(place.recover().unwrap().recovered.gate.state_hash(), busy.gate.state_hash());
    // And the next life begins on what is left.
    let next = place.live(2, 500);
    assert_eq!(place.recover().unwrap().recovered.gate.state_hash(), next.gate.state_hash());
}

#[test]
fn retention_is_a_bound_on_size_or_age_and_never_takes_what_is_needed() {
    let second = Duration::from_secs(1);
    let segments: Vec<(u64, Duration)> =
        [(1, 50), (101, 40), (201, 30), (301, 20)].map(|(p, s)| (p, second * s)).into();
    let end = 351;
    let slots = |n: u64| Some(n * 64);
    for (bytes, age, floor, expected) in [
        (None, None, u64::MAX, 0),
        (slots(0), None, u64::MAX, 3),
        (slots(0), None, 351, 3),
        (slots(0), None, 301, 3),
        (slots(0), None, 300, 2),
        (slots(0), None, 100, 0),
        (slots(50), None, u64::MAX, 3),
        (slots(51), None, u64::MAX, 2),
        (slots(250), None, u64::MAX, 1),
        (slots(251), None, u64::MAX, 0),
        (None, Some(40), u64::MAX, 2),
        (None, Some(51), u64::MAX, 0),
        (None, Some(0), 201, 2),
        (slots(250), Some(30), u64::MAX, 3),
    ] {
        let retention = Retention { bytes, age: age.map(|s| second * s), max_lag_bytes: 0 };
        assert_eq!(retention.removable(&segments, floor, end), expected, "{bytes:?} {age:?} {floor}");
    }
    assert_eq!(Retention { bytes: Some(0), ..KEEP_ALL }.removable(&[], u64::MAX, 1), 0);
}

impl Busy {
    /// Closes with the hash of another state.
    fn forge_close(&mut self) {
        self.log(&Record::Close(CloseRecord { now_ns: 1, state_hash: [0; 32], market_events: 0 }));
    }
}
