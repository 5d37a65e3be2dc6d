//! With a real directory and the real thread, and what happens when the disk says no.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use ringfence_ipc::journal::{ArchiveReader, Record};

use super::sim::Sim;
use super::{Place, append, close_record, read_all, record};
use crate::journal::{Class, JournalError, open, open_on};

#[test]
fn what_is_appended_is_recovered() {
    let place = Place::new();
    let mut expected = Vec::new();
    for epoch in 1..=3 {
        let mut opened = open(place.options()).unwrap();
        assert_eq!(read_all(&mut opened).unwrap(), expected);
        assert_eq!(opened.log.report().closed, epoch > 1);
        let (mut writer, archiver) = opened.start(epoch).unwrap();
        assert_eq!(
            writer.position(),
            expected.last().map_or(1, |(at, r): &(u64, Record)| at + r.encode().slots().len() as u64)
        );
        for n in 0..1_000 {
            while !writer.room(Class::Order) {
                std::thread::yield_now();
            }
            append(&mut writer, n, &mut expected);
        }
        let end = writer.position();
        let report = archiver.stop().unwrap();
        assert_eq!(
            (report.archived_pos, report.durable_pos, report.lag_slots, report.errors),
            (end, end, 0, 0)
        );
        assert_eq!(writer.durable_pos(), end);
    }
    let found = ArchiveReader::verify(place.archive());
    assert!(found.error.is_none(), "{found:?}");
    assert_eq!((found.records, found.first_position), (3_000, Some(1)));
    assert_eq!(found.last_position, expected.last().map(|(at, _)| *at));
    assert_eq!(found.durable_position, found.end_position);
}

#[test]
fn durable_pos_reaches_the_end_without_a_stop() {
    let place = Place::new();
    let (mut writer, archiver) = open(place.options()).unwrap().start(1).unwrap();
    writer.append(&record(1).encode());
    let deadline = Instant::now() + Duration::from_secs(5);
    while writer.durable_pos() < writer.position() {
        assert!(Instant::now() < deadline, "{:?}", archiver.report());
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(archiver.report().syncs > 0);
}

#[test]
fn two_gates_never_share_a_journal() {
    let place = Place::new();
    let first = open(place.options()).unwrap();
    match open(place.options()) {
        Err(JournalError::Held { pid, .. }) => assert_eq!(pid, std::process::id()),
        other => panic!("{:?}", other.err()),
    }
    let (_writer, archiver) = first.start(1).unwrap();
    assert!(matches!(open(place.options()), Err(JournalError::Held { .. })));
    archiver.stop().unwrap();
    assert!(open(place.options()).is_ok());
}

#[test]
fn a_full_ring_refuses_orders_and_keeps_room_for_reports() {
    let place = Place::new();
    let sim = Sim::new();
    let (mut writer, mut pump) = open_on(sim.clone(), place.options()).unwrap().start_parts(1).unwrap();
    let one_slot = close_record(1).encode();
    while writer.room(Class::Order) {
        writer.append(&one_slot);
    }
    let at_orders_end = writer.position();
    while writer.room(Class::Reserved) {
        writer.append(&one_slot);
    }
    assert_eq!(writer.position() - at_orders_end, 1024 / 16);
    assert!(!writer.room_for(Class::Reserved, 1) && !writer.room_for(Class::Order, u64::MAX));
    pump.step(Instant::now(), false).unwrap();
    assert!(writer.room(Class::Order));
}

#[test]
fn a_failed_write_halts_and_is_not_tried_again() {
    let place = Place::new();
    let sim = Sim::new();
    let (mut writer, mut pump) = open_on(sim.clone(), place.options()).unwrap().start_parts(1).unwrap();
    writer.append(&record(1).encode());
    sim.fail_next_sync();
    assert!(matches!(pump.step(Instant::now(), false), Err(JournalError::Io { .. })));
    assert!(writer.is_failed() && !writer.room(Class::Order) && writer.room(Class::Reserved));
    assert_eq!(writer.durable_pos(), 1);
}

#[test]
fn a_disk_error_is_told_and_stops_the_thread() {
    let place = Place::new();
    let sim = Sim::new();
    let (told, hears) = mpsc::channel();
    let opened = open_on(sim.clone(), place.options()).unwrap();
    let (mut writer, archiver) =
        opened.on_error(Box::new(move |e| drop(told.send(e.to_string())))).start(1).unwrap();
    sim.fail_after(0);
    writer.append(&record(1).encode());
    let text = hears.recv_timeout(Duration::from_secs(5)).unwrap();
    assert!(text.contains("check the disk"), "{text}");
    assert!(writer.is_failed() && !writer.room(Class::Order));
    assert_eq!(archiver.report().errors, 1);
    assert!(archiver.stop().is_err());
}

#[test]
fn a_nearly_full_disk_refuses_orders_only() {
    let place = Place::new();
    let sim = Sim::new();
    sim.set_free(199_999);
    let options = crate::journal::JournalOptions { min_free_bytes: 200_000, ..place.options() };
    let (mut writer, mut pump) = open_on(sim.clone(), options).unwrap().start_parts(1).unwrap();
    let start = Instant::now();
    pump.step(start, false).unwrap();
    assert!(writer.is_disk_low() && !writer.room(Class::Order) && writer.room(Class::Reserved));
    sim.set_free(200_000);
    pump.step(start + Duration::from_secs(1), false).unwrap();
    assert!(!writer.is_disk_low() && writer.room(Class::Order));
}

#[test]
fn orders_stop_while_the_disk_still_takes_what_the_ring_holds_and_cancels() {
    let place = Place::new();
    let sim = Sim::new();
    // What the ring holds takes 16 segments of 64 slots and their headers.
    sim.set_free(17 * 8192);
    let (mut writer, mut pump) = open_on(sim.clone(), place.options()).unwrap().start_parts(1).unwrap();
    let now = Instant::now();
    pump.step(now, false).unwrap();
    assert!(writer.room(Class::Order));
    sim.set_free(16 * 8192);
    writer.append(&record(0).encode());
    // Within the interval of looking, but with a new segment: it is looked at again.
    pump.step(now, false).unwrap();
    assert!(writer.is_disk_low() && !writer.room(Class::Order) && writer.room(Class::Reserved));
}

#[test]
fn a_full_disk_is_refused_at_start_unless_the_last_segment_has_room() {
    let place = Place::new();
    let sim = Sim::new();
    sim.set_free(8191);
    let refused = |opened: Result<_, JournalError>| match opened {
        Err(JournalError::DiskFull { free, needed, .. }) => (free, needed),
        other => panic!(
            "{:?}",
            other.map(|(_, _): (crate::journal::Writer, crate::journal::archiver::Pump<Sim>)| ())
        ),
    };
    let start = |epoch| {
        let mut opened = open_on(sim.clone(), place.options())?;
        read_all(&mut opened)?;
        opened.start_parts(epoch)
    };
    assert_eq!(refused(start(1)), (8191, 8192));
    sim.set_free(8192);
    let (mut writer, mut pump) = start(1).unwrap();
    writer.append(&record(0).encode());
    pump.step(Instant::now(), false).unwrap();
    drop((writer, pump));
    // The segment has room: the gate starts, for its cancels.
    sim.set_free(0);
    let (mut writer, mut pump) = start(2).unwrap();
    pump.step(Instant::now(), false).unwrap();
    assert!(!writer.room(Class::Order) && writer.room(Class::Reserved));
    // What the hot ring holds beyond the segment must go to disk before anything else.
    for n in 0..100 {
        writer.append(&record(n).encode());
    }
    drop((writer, pump));
    assert_eq!(refused(start(3)).0, 0);
    sim.set_free(1 << 20);
    assert!(start(3).is_ok());
}

#[test]
fn the_gate_cannot_start_before_it_has_read_everything() {
    let place = Place::new();
    let (mut writer, archiver) = open(place.options()).unwrap().start(2).unwrap();
    append(&mut writer, 1, &mut Vec::new());
    archiver.stop().unwrap();
    assert!(matches!(
        open(place.options()).unwrap().start(3),
        Err(JournalError::NotReplayed { read: 1, end: 3 })
    ));
    let mut opened = open(place.options()).unwrap();
    read_all(&mut opened).unwrap();
    assert!(matches!(opened.start(1), Err(JournalError::Epoch { asked: 1, last: 2 })));
}

#[test]
fn options_out_of_range_are_refused() {
    let place = Place::new();
    for (hot_bytes, segment_bytes) in
        [(0, 4096), (1 << 15, 4096), (100_000, 4096), (1 << 16, 100), (1 << 16, 4097)]
    {
        let options = crate::journal::JournalOptions { hot_bytes, segment_bytes, ..place.options() };
        assert!(matches!(open(options), Err(JournalError::Option { .. })));
    }
    assert!(!place.archive().exists());
}

#[test]
#[should_panic(expected = "without room")]
fn appending_without_room_is_a_bug() {
    let place = Place::new();
    let (mut writer, _pump) = open_on(Sim::new(), place.options()).unwrap().start_parts(1).unwrap();
    for n in 0..=1024 {
        writer.append(&close_record(n).encode());
    }
}
