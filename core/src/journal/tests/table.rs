//! The recovery table, walked: every combination decided, and every state brought about with real bytes.

use std::time::Instant;

use ringfence_ipc::journal::hot::{CONTINUATION, HOT_HEADER_BYTES, HotHeader, MORE_SLOTS_SHIFT};
use ringfence_ipc::journal::{ArchiveError, Record};
use ringfence_ipc::msg::SLOT_BYTES;
use ringfence_ipc::segment::Mapping;

use super::sim::Sim;
use super::{Place, append, close_record, read_all};
use crate::journal::recovery::{ArchiveState as A, HotState as H, Plan, Refusal, decide};
use crate::journal::{JournalError, open_on};

const HEAD: usize = 4096;

#[test]
fn every_combination_is_decided() {
    let damaged = [A::Lost, A::Hole, A::BadChain, A::StaleLap, A::WrongPosition, A::Undecodable];
    let torn = [A::TornSlot, A::TornRecord];
    let takes = [H::Contiguous, H::TornTail];
    let refused = [
        (H::Gap, Refusal::HotGap),
        (H::Corrupt, Refusal::HotCorrupt),
        (H::OtherLayout, Refusal::HotLayout),
        (H::OtherJournal, Refusal::HotJournal),
        (H::OtherEpoch, Refusal::HotEpoch),
    ];
    let mut combinations = 0;
    for archive in A::ALL {
        for hot in H::ALL {
            let refusal = refused.iter().find(|(state, _)| *state == hot);
            let expected = match refusal {
                _ if damaged.contains(&archive) => Err(Refusal::Archive(archive)),
                Some((_, refusal)) => Err(*refusal),
                None => Ok(Plan { cut: torn.contains(&archive), take_hot: takes.contains(&hot) }),
            };
            assert_eq!(decide(archive, hot), expected, "{archive:?} x {hot:?}");
            combinations += 1;
        }
    }
    assert_eq!(combinations, 110);
}

/// Which records of the log are in the archive, and in the ring, before the state is made.
struct Fixture {
    place: Place,
    sim: Sim,
    log: Vec<(u64, Record)>,
    /// Position behind the archived records.
    archived: u64,
}

/// A journal that died: 10 records (20 slots) archived unless `bare`, 10 more only in the ring.
fn fixture(bare: bool) -> Fixture {
    let (place, sim) = (Place::new(), Sim::new());
    let mut log = Vec::new();
    let (mut writer, mut pump) = open_on(sim.clone(), place.options()).unwrap().start_parts(5).unwrap();
    if !bare {
        for n in 1..=10 {
            append(&mut writer, n, &mut log);
        }
        // Two steps: the mark says what the sync before made durable.
        pump.step(Instant::now(), false).unwrap();
    }
    let archived = writer.position();
    for n in 11..=20 {
        append(&mut writer, n, &mut log);
    }
    Fixture { place, sim, log, archived }
}

impl Fixture {
    /// Changes the archive so that it ends in `state`; says where its whole records then end.
    fn make_archive(&self, state: A) -> u64 {
        if state == A::Empty {
            return 1;
        }
        let end = HEAD + (self.archived as usize - 1) * SLOT_BYTES;
        // The tenth record has three slots, the first of them at 18.
        let last = end - 3 * SLOT_BYTES;
        let at_last = self.archived - 3;
        let tamper = |change: &dyn Fn(&mut Vec<u8>)| self.sim.tamper(1, |bytes| change(bytes));
        match state {
            A::Empty | A::Zeros => return self.archived,
            A::Clean => tamper(&|bytes| bytes.truncate(end)),
            A::TornSlot => tamper(&|bytes| bytes[last + 20..].fill(0)),
            A::TornRecord => tamper(&|bytes| bytes[last + 64 + 20..].fill(0)),
            A::Lost => {
                tamper(&|bytes| {
                    let header = ringfence_ipc::journal::archive::SegmentHeader::decode(bytes, 1).unwrap();
                    bytes[512..528].copy_from_slice(&header.encode_mark(self.archived));
                    bytes[last..].fill(0);
                });
            }
            A::Hole => tamper(&|bytes| bytes[last..last + 64].fill(0)),
            A::BadChain => tamper(&|bytes| bytes[last + 8] ^= 1),
            A::StaleLap => tamper(&|bytes| bytes[last + 56] ^= 1 << 4),
            A::WrongPosition => tamper(&|bytes| bytes[last + 57] ^= 1),
            A::Undecodable => tamper(&|bytes| {
                let header = ringfence_ipc::journal::archive::SegmentHeader::decode(bytes, 1).unwrap();
                let before: [u8; 64] = bytes[last - 64..last].try_into().unwrap();
                let chain = ringfence_ipc::journal::archive::chain_after(&before);
                let mut slot = [0; 64];
                let _ = ringfence_ipc::journal::archive::seal_slot(chain, at_last, &[0xee; 7], &mut slot);
                bytes[last..last + 64].copy_from_slice(&slot);
                assert_eq!(header.first, 1);
            }),
        }
        if state == A::Clean { self.archived } else { at_last }
    }

    /// Changes the hot ring so that, seen from `end`, it is in `state`.
    fn make_hot(&self, state: H, end: u64) {
        let path = self.place.hot();
        if state == H::Missing {
            return std::fs::remove_file(&path).unwrap();
        }
        let old = Mapping::open_file(&path, true).unwrap();
        let word = |i: usize| old.read_word(i * 8).unwrap().get();
        let header = HotHeader { journal_id: word(2), epoch: 5, capacity: 1024, start: word(5) };
        let slots = |map: &Mapping| map.write_slots(HOT_HEADER_BYTES, 1024).unwrap();
        let fresh = |header: HotHeader| {
            let map = Mapping::create_file(&path, header.file_bytes()).unwrap();
            header.write(&map).unwrap();
            map
        };
        let forget_from = |position: u64| (position..60).for_each(|p| slots(&old).publish(p as usize, 0));
        let log_end = self.log.last().map_or(1, |(at, r)| at + r.encode().slots().len() as u64);
        match state {
            H::Missing | H::Contiguous => {}
            H::Empty => drop(fresh(HotHeader { start: end, ..header })),
            H::Behind => forget_from(end),
            H::TornTail => slots(&old).publish(log_end as usize + 1, (log_end + 2) | CONTINUATION),
            H::Gap => drop(fresh(HotHeader { start: end + 1, ..header })),
            H::Corrupt => slots(&old).publish(log_end as usize + 9, (log_end + 10) | 1 << MORE_SLOTS_SHIFT),
            H::OtherLayout => old.write_word(8).unwrap().set(9),
            H::OtherJournal => old.write_word(16).unwrap().set(9),
            H::OtherEpoch => old.write_word(24).unwrap().set(4),
        }
    }
}

/// Neither can be: the archive's end is the first position, and its newest segment is of epoch 0.
fn impossible(archive: A, hot: H) -> bool {
    archive == A::Empty && matches!(hot, H::Behind | H::OtherJournal | H::OtherEpoch)
}

#[test]
fn every_state_is_brought_about_and_handled() {
    for archive in A::ALL {
        for hot in H::ALL.into_iter().filter(|hot| !impossible(archive, *hot)) {
            let case = format!("{archive:?} x {hot:?}");
            let fixture = fixture(archive == A::Empty);
            let end = fixture.make_archive(archive);
            fixture.make_hot(hot, end);
            let opened = open_on(fixture.sim.clone(), fixture.place.options());
            match (decide(archive, hot), opened) {
                (Ok(plan), Ok(mut opened)) => {
                    let report = *opened.log.report();
                    assert_eq!((report.archive, report.hot, report.cut), (archive, hot, plan.cut), "{case}");
                    assert_eq!(report.archive_end, end, "{case}");
                    let log = read_all(&mut opened).unwrap();
                    let expected = fixture.log.iter().filter(|(at, _)| plan.take_hot || *at < end).count();
                    assert_eq!(log, fixture.log[..expected], "{case}");
                    let (mut writer, mut pump) = opened.start_parts(6).unwrap();
                    let position = writer.append(&close_record(1).encode());
                    assert_eq!(position, report.archive_end + report.hot_slots, "{case}");
                    pump.step(Instant::now(), true).unwrap();
                    pump.step(Instant::now(), true).unwrap();
                    let mut again = open_on(fixture.sim.clone(), fixture.place.options()).unwrap();
                    assert_eq!(read_all(&mut again).unwrap().len(), expected + 1, "{case}");
                }
                (Err(expected), Err(JournalError::Refused { refusal, position })) => {
                    assert_eq!((refusal, position), (expected, end), "{case}");
                }
                (decided, opened) => panic!("{case}: {decided:?}, but {:?}", opened.err()),
            }
        }
    }
}

#[test]
fn damage_in_an_older_segment_is_found_while_reading() {
    let (place, sim) = (Place::new(), Sim::new());
    let mut log = Vec::new();
    let (mut writer, mut pump) = open_on(sim.clone(), place.options()).unwrap().start_parts(1).unwrap();
    for n in 0..100 {
        append(&mut writer, n, &mut log);
    }
    pump.step(Instant::now(), false).unwrap();
    drop((writer, pump));
    let damaged = sim.after_kill();
    damaged.tamper(1, |bytes| bytes[HEAD + 30 * 64 + 3] ^= 4);
    let mut opened = open_on(damaged, place.options()).unwrap();
    let error = read_all(&mut opened).unwrap_err();
    assert!(matches!(&error, JournalError::Archive(ArchiveError::Damaged { segment: 1, .. })), "{error}");
    assert!(matches!(opened.start(2), Err(JournalError::NotReplayed { .. })));

    let missing = sim.after_kill();
    let second = ringfence_ipc::journal::chained::Segments::firsts(&missing).unwrap()[1];
    missing.remove(second);
    let error = read_all(&mut open_on(missing, place.options()).unwrap()).unwrap_err();
    assert!(matches!(&error, JournalError::Archive(ArchiveError::Break { .. })), "{error}");

    let headless = sim.after_kill();
    headless.remove(1);
    let error = read_all(&mut open_on(headless, place.options()).unwrap()).unwrap_err();
    assert!(matches!(&error, JournalError::NoStart { oldest } if *oldest == second), "{error}");
}
