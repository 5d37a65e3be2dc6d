//! The journal's bytes, without a writer: names, headers, marks, slots, offline reading, hot ring headers.

use std::path::Path;

use super::archive::{
    DurableMark, HeaderError, MARK_OFFSETS, SEGMENT_HEADER_BYTES, SegmentHeader, SlotState, Tail,
    chain_after, chain_seed, check_slot, payload, seal_slot,
};
use super::hot::{HotError, HotHeader, HotReader, Look};
use super::{ArchiveError, ArchiveReader, FIRST_POSITION, FollowError, Follower, MarkRecord, Record};
use crate::msg::SLOT_BYTES;
use crate::segment::Mapping;

const HEADER: SegmentHeader =
    SegmentHeader { journal_id: 7, first: 9, epoch: 2, capacity: 64, chain: 0xdead_beef };

#[test]
fn segment_names_say_their_first_position() {
    assert_eq!(SegmentHeader::file_name(1), "00000000000000000001.rfj");
    for first in [1, 42, u64::MAX] {
        assert_eq!(SegmentHeader::parse_file_name(&SegmentHeader::file_name(first)), Some(first));
    }
    for other in [
        "1.rfj",
        "lock",
        "segment.new",
        "0000000000000000000a.rfj",
        "99999999999999999999.rfj",
        "00000000000000000001",
    ] {
        assert_eq!(SegmentHeader::parse_file_name(other), None, "{other}");
    }
}

#[test]
fn a_header_survives_the_disk_and_contradictions_do_not() {
    let bytes = HEADER.encode();
    assert_eq!(SegmentHeader::decode(&bytes, 9), Ok(HEADER));
    assert_eq!(SegmentHeader::decode(&bytes, 10), Err(HeaderError::Contradiction));
    assert_eq!(SegmentHeader::decode(&bytes[..63], 9), Err(HeaderError::Short));
    assert_eq!(SegmentHeader::decode(&[0; 64], 9), Err(HeaderError::Magic));
    for header in [
        SegmentHeader { first: 0, ..HEADER },
        SegmentHeader { capacity: 0, ..HEADER },
        SegmentHeader { capacity: u64::MAX, ..HEADER },
        SegmentHeader { first: u64::MAX, ..HEADER },
    ] {
        assert_eq!(SegmentHeader::decode(&header.encode(), header.first), Err(HeaderError::Contradiction));
    }
}

#[test]
fn a_torn_mark_leaves_the_other_one() {
    let mut page = vec![0; SEGMENT_HEADER_BYTES as usize];
    let put = |page: &mut Vec<u8>, turn: usize, bytes: &[u8]| {
        let at = MARK_OFFSETS[turn] as usize;
        page[at..at + bytes.len()].copy_from_slice(bytes);
    };
    assert_eq!(HEADER.decode_marks(&page), Ok(DurableMark { position: 9, spare: 0 }));
    put(&mut page, 0, &HEADER.encode_mark(20));
    assert_eq!(HEADER.decode_marks(&page), Ok(DurableMark { position: 20, spare: 1 }));
    put(&mut page, 1, &HEADER.encode_mark(30));
    assert_eq!(HEADER.decode_marks(&page), Ok(DurableMark { position: 30, spare: 0 }));
    put(&mut page, 0, &HEADER.encode_mark(40)[..8]);
    assert_eq!(HEADER.decode_marks(&page), Ok(DurableMark { position: 30, spare: 0 }));
    put(&mut page, 1, &[0xff; 16]);
    assert_eq!(HEADER.decode_marks(&page), Err(HeaderError::Marks));
    // Another segment's marks are none.
    put(&mut page, 1, &SegmentHeader { first: 8, ..HEADER }.encode_mark(30));
    assert_eq!(HEADER.decode_marks(&page), Err(HeaderError::Marks));
}

#[test]
fn a_slot_proves_its_position_and_its_past() {
    let words = [1, 2, 3, 4, 5, 6, 7];
    let mut slot = [0; SLOT_BYTES];
    let after = seal_slot(5, 100, &words, &mut slot);
    assert_eq!(check_slot(&slot, 100, 5), SlotState::Valid(after));
    assert_eq!((chain_after(&slot), payload(&slot)), (after, words));
    assert_eq!(check_slot(&slot, 100, 6), SlotState::BadChain);
    assert_eq!(check_slot(&slot, 101, 5), SlotState::StaleLap);
    assert_eq!(check_slot(&slot, 99, 5), SlotState::WrongPosition);
    assert_eq!(check_slot(&[0; SLOT_BYTES], 100, 5), SlotState::Zeros);
    for kept in 1..SLOT_BYTES {
        let mut torn = slot;
        torn[kept..].fill(0);
        assert!(torn == slot || check_slot(&torn, 100, 5) == SlotState::Torn, "{kept}");
    }
}

fn mark(n: u64) -> Record {
    Record::Mark(MarkRecord { symbol: 1, now_ns: n, bid_price: 1, ask_price: 2, last_price: 3, event: n })
}

/// Writes segments of one-slot records; each holds `per_segment` of them and room for two more.
fn write_archive(dir: &Path, segments: u64, per_segment: u64) {
    let mut chain = chain_seed(7);
    for first in (0..segments).map(|i| FIRST_POSITION + i * per_segment) {
        let header = SegmentHeader { journal_id: 7, first, epoch: 1, capacity: per_segment + 2, chain };
        let mut bytes = vec![0; SEGMENT_HEADER_BYTES as usize];
        bytes[..64].copy_from_slice(&header.encode());
        for position in first..first + per_segment {
            let mut slot = [0; SLOT_BYTES];
            chain = seal_slot(chain, position, &mark(position).encode().slots()[0], &mut slot);
            bytes.extend_from_slice(&slot);
        }
        bytes.resize(header.file_bytes() as usize, 0);
        std::fs::write(dir.join(SegmentHeader::file_name(first)), bytes).unwrap();
    }
}

#[test]
fn an_archive_is_read_and_verified_offline() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(ArchiveReader::verify(dir.path()).records, 0);
    assert!(matches!(ArchiveReader::verify(dir.path().join("absent")).error, Some(ArchiveError::List(_))));
    write_archive(dir.path(), 3, 40);
    let mut reader = ArchiveReader::open(dir.path()).unwrap();
    for position in 1..=120 {
        assert_eq!(reader.next().unwrap(), Some((position, mark(position))));
    }
    assert_eq!(reader.next().unwrap(), None);
    let found = ArchiveReader::verify(dir.path());
    assert_eq!((found.records, found.segments, found.end_position), (120, 3, 121));
    assert!(found.error.is_none() && found.tail == Some(Tail::Zeros));

    let second = dir.path().join(SegmentHeader::file_name(41));
    let mut bytes = std::fs::read(&second).unwrap();
    bytes[4096 + 64 * 5] ^= 1;
    std::fs::write(&second, bytes).unwrap();
    let found = ArchiveReader::verify(dir.path());
    assert_eq!(found.records, 45);
    assert!(matches!(
        found.error,
        Some(ArchiveError::Damaged { segment: 41, position: 46, tail: Tail::BadChain })
    ));
    std::fs::remove_file(&second).unwrap();
    let found = ArchiveReader::verify(dir.path());
    assert!(matches!(found.error, Some(ArchiveError::Break { segment: 81, expected: 41 })), "{found:?}");
}

#[test]
fn a_follower_names_what_it_cannot_give() {
    let dir = tempfile::tempdir().unwrap();
    let hot = dir.path().join("hot");
    write_archive(dir.path(), 3, 40);
    std::fs::remove_file(dir.path().join(SegmentHeader::file_name(1))).unwrap();
    let next = |from| Follower::open(&hot, dir.path(), from).unwrap().next();
    assert!(matches!(next(0), Err(FollowError::Gone { position: 1, oldest: 41 })));
    assert_eq!(next(100).unwrap(), Some((100, mark(100))));
    assert_eq!(next(121).unwrap(), None);
    assert!(matches!(next(1_000), Err(FollowError::Ahead { position: 1_000, .. })));
}

#[test]
fn a_file_that_is_no_hot_ring_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hot");
    let header = HotHeader { journal_id: 1, epoch: 1, capacity: 1024, start: 77 };
    let mapping = Mapping::create_file(&path, header.file_bytes()).unwrap();
    assert!(matches!(HotReader::open(&path), Err(HotError::NotAHotRing)));
    header.write(&mapping).unwrap();
    let reader = HotReader::open(&path).unwrap();
    assert_eq!((*reader.header(), reader.archived_pos(), reader.end()), (header, 77, 77));
    assert_eq!(reader.look(77), Look::NotYet);
    for (offset, value) in [(8, 1), (32, 1023), (32, 2048), (32, u64::MAX), (40, 0), (40, u64::MAX)] {
        header.write(&mapping).unwrap();
        mapping.write_word(offset).unwrap().set(value);
        assert!(HotReader::open(&path).is_err(), "word at {offset} = {value}");
    }
    std::fs::write(&path, [0; 64]).unwrap();
    assert!(matches!(HotReader::open(&path), Err(HotError::NotAHotRing)));
}
