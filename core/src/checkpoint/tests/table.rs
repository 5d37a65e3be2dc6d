//! The table of recovery's beginnings, walked with real files: what each of two checkpoints is found to be, and whether
//! the log is whole.

use std::fs;

use ringfence_ipc::journal::archive::SegmentHeader;
use ringfence_ipc::journal::checkpoint::{CHECKPOINT_HEADER_BYTES, Checkpoint, CheckpointHeader};

use super::super::{Fault, RecoverError};
use super::{CAP, Place, recover};
use crate::journal::{JournalError, open};

/// What a checkpoint is made to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Is {
    Good,
    Missing,
    Torn,
    Empty,
    OtherLayout,
    OtherJournal,
    OtherPast,
    Future,
    Misnamed,
    /// Its state is not the one whose hash it carries.
    Unfit,
}

impl Is {
    const ALL: [Self; 10] = [
        Self::Good,
        Self::Missing,
        Self::Torn,
        Self::Empty,
        Self::OtherLayout,
        Self::OtherJournal,
        Self::OtherPast,
        Self::Future,
        Self::Misnamed,
        Self::Unfit,
    ];

    /// Turns the good checkpoint at `position` into this.
    fn make(self, place: &Place, position: u64) {
        let path = place.path_of(position);
        let bytes = fs::read(&path).unwrap();
        let body = &bytes[CHECKPOINT_HEADER_BYTES..];
        let (header, len, crc) = CheckpointHeader::decode(&bytes).unwrap();
        let with = |header: CheckpointHeader| [&header.encode(len, crc)[..], body].concat();
        let future = header.position + 1_000_000;
        let changed = match self {
            Self::Good => return,
            Self::Missing => return fs::remove_file(&path).unwrap(),
            Self::Torn => bytes[..bytes.len() - 9].to_vec(),
            Self::Empty => Vec::new(),
            Self::OtherLayout => {
                let mut bytes = bytes.clone();
                bytes[8] ^= 1;
                let sum = ringfence_ipc::journal::checkpoint::body_crc(&bytes[..CHECKPOINT_HEADER_BYTES - 8]);
                bytes[CHECKPOINT_HEADER_BYTES - 8..CHECKPOINT_HEADER_BYTES - 4]
                    .copy_from_slice(&sum.to_le_bytes());
                bytes
            }
            Self::OtherJournal => with(CheckpointHeader { journal_id: !header.journal_id, ..header }),
            Self::OtherPast => with(CheckpointHeader { chain: !header.chain, ..header }),
            Self::Unfit => with(CheckpointHeader { state_hash: [0; 32], ..header }),
            Self::Misnamed => with(CheckpointHeader { position: header.position + 1, ..header }),
            Self::Future => {
                fs::remove_file(&path).unwrap();
                let header = CheckpointHeader { position: future, ..header };
                return fs::write(place.path_of(future), with(header)).unwrap();
            }
        };
        fs::write(&path, changed).unwrap();
    }

    fn is_named_by(self, fault: &Fault) -> bool {
        match self {
            Self::Good | Self::Missing => false,
            Self::Torn | Self::Empty | Self::OtherLayout | Self::Misnamed => matches!(fault, Fault::File(_)),
            Self::OtherJournal => matches!(fault, Fault::OtherJournal),
            Self::OtherPast => matches!(fault, Fault::OtherPast),
            Self::Future => matches!(fault, Fault::Future { .. }),
            Self::Unfit => matches!(fault, Fault::Unfit(_)),
        }
    }
}

/// Copies a directory's files.
fn copy(from: &Place, to: &Place) {
    fs::create_dir_all(to.archive()).unwrap();
    for entry in fs::read_dir(from.archive()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.archive().join(entry.file_name())).unwrap();
    }
}

#[test]
fn every_combination_of_two_checkpoints_and_a_log_is_decided() {
    let original = Place::new();
    let busy = original.live(1, 3_000);
    let (older, newest) = (original.checkpoint(2_000), original.checkpoint(3_000));
    let firsts: Vec<u64> = segments(&original);
    assert!(firsts.len() > 4 && firsts[2] < older, "{firsts:?}, {older}");
    let mut cases = 0;
    for (new, old) in Is::ALL.iter().flat_map(|new| Is::ALL.map(|old| (*new, old))) {
        for whole in [true, false] {
            let (place, case) = (Place::new(), format!("newest {new:?}, older {old:?}, whole {whole}"));
            copy(&original, &place);
            new.make(&place, newest);
            old.make(&place, older);
            if !whole {
                fs::remove_file(place.archive().join(SegmentHeader::file_name(firsts[0]))).unwrap();
            }
            let expected = match (new, old) {
                (Is::Good, _) => Some(newest),
                (_, Is::Good) => Some(older),
                _ => None,
            };
            match place.recover() {
                Ok(found) => {
                    assert!(expected.is_some() || whole, "{case}");
                    assert_eq!(found.checkpoint, expected, "{case}");
                    assert_eq!(found.recovered.gate.state_hash(), busy.gate.state_hash(), "{case}");
                    assert_eq!(found.recovered.past.last_client, 1, "{case}");
                    let tried: Vec<Is> = [new, old].into_iter().filter(|is| *is != Is::Missing).collect();
                    let bad = tried
                        .iter()
                        .take_while(|is| **is != Is::Good || new != Is::Good)
                        .filter(|is| **is != Is::Good);
                    // A checkpoint in the future is looked at first, whichever of the two it was.
                    assert!(
                        found.passed_over.len() >= bad.clone().count().min(1),
                        "{case}: {:?}",
                        found.passed_over
                    );
                    let named = |is: &Is| found.passed_over.iter().any(|(_, fault)| is.is_named_by(fault));
                    assert!(bad.clone().all(named) || expected.is_some(), "{case}: {:?}", found.passed_over);
                }
                Err(RecoverError::Journal(JournalError::NoStart { oldest })) => {
                    assert!(expected.is_none() && !whole, "{case}");
                    assert_eq!(oldest, firsts[1], "{case}");
                }
                Err(error) => panic!("{case}: {error}"),
            }
            cases += 1;
        }
    }
    assert_eq!(cases, 200);
}

fn segments(place: &Place) -> Vec<u64> {
    use ringfence_ipc::journal::chained::Segments as _;
    ringfence_ipc::journal::SegmentDir::new(&place.archive()).firsts().unwrap()
}

#[test]
fn a_checkpoint_behind_the_oldest_segment_is_of_no_use() {
    let place = Place::new();
    place.live(1, 3_000);
    let older = place.checkpoint(10);
    for first in segments(&place).into_iter().take(2) {
        fs::remove_file(place.archive().join(SegmentHeader::file_name(first))).unwrap();
    }
    let mut opened = open(place.options()).unwrap();
    let error = recover(&place.archive(), &mut opened.log, CAP).err().unwrap();
    assert!(matches!(error, RecoverError::Journal(JournalError::NoStart { .. })), "{error}");
    assert!(Checkpoint::read(&place.archive(), older).is_ok());
}

#[test]
fn damage_behind_a_checkpoint_is_found_and_before_it_is_not_read() {
    let place = Place::new();
    let busy = place.live(1, 3_000);
    let newest = place.checkpoint(3_000);
    let firsts = segments(&place);
    let tamper = |first: u64, slot: u64| {
        let path = place.archive().join(SegmentHeader::file_name(first));
        let mut bytes = fs::read(&path).unwrap();
        bytes[(4096 + slot * 64) as usize] ^= 4;
        fs::write(path, bytes).unwrap();
    };
    tamper(firsts[0], 30);
    assert_eq!(place.recover().unwrap().recovered.gate.state_hash(), busy.gate.state_hash());
    let last_before = firsts.iter().rfind(|first| **first <= newest).copied().unwrap();
    tamper(last_before, newest - last_before + 3);
    assert!(place.recover().is_err());
}

#[test]
fn lives_go_on_from_checkpoints_as_from_the_log() {
    let place = Place::new();
    let mut records = 0;
    for epoch in 1..=4 {
        let busy = place.live(epoch, 800);
        let found = place.recover().unwrap();
        assert_eq!(found.checkpoint.is_some(), epoch > 1);
        assert_eq!(found.recovered.gate.state_hash(), busy.gate.state_hash());
        assert_eq!(found.recovered.past.records, place.records().len() as u64);
        assert_eq!(found.recovered.past.last_client, u64::from(epoch));
        assert_eq!(found.recovered.past.tickets[&1], u128::from(epoch) << 100 | 7);
        assert_eq!(found.recovered.gate.epoch(), epoch);
        records += 700;
        place.checkpoint(records);
    }
}
