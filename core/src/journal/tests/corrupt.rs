//! Torn or corrupt at every byte: the longest valid prefix, the right reason to stop, never a panic.

use ringfence_ipc::journal::Record;
use ringfence_ipc::journal::archive::{SEGMENT_HEADER_BYTES, SegmentHeader, Tail, chain_seed, seal_slot};
use ringfence_ipc::journal::hot::{HOT_HEADER_BYTES, HotHeader, HotReader};
use ringfence_ipc::journal::scan::{Scan, SegmentReader};
use ringfence_ipc::msg::SLOT_BYTES;
use ringfence_ipc::segment::Mapping;

use super::sim::Rng;
use super::{Place, record, size};
use crate::journal::recovery::{ArchiveState, HotState, classify_hot, decide};

/// Records in the log under test. 26 make 52 slots, and about 200,000 cases over the three kinds of damage.
const RECORDS: u64 = 26;
const ZERO_SLOTS: usize = 12;
const HEAD: usize = SEGMENT_HEADER_BYTES as usize;
const ID: u64 = 77;

/// A segment image, and each record's position with the byte behind it.
struct Image {
    bytes: Vec<u8>,
    records: Vec<(u64, Record)>,
    ends: Vec<usize>,
    first: u64,
}

fn image(first: u64, salt: u64) -> Image {
    let header = SegmentHeader { journal_id: ID, first, epoch: 1, capacity: 128, chain: chain_seed(ID) };
    let mut bytes = vec![0; HEAD];
    bytes[..64].copy_from_slice(&header.encode());
    let (mut chain, mut position) = (header.chain, first);
    let (mut records, mut ends) = (Vec::new(), Vec::new());
    for n in 0..RECORDS {
        let record = record(n + salt);
        records.push((position, record));
        for words in record.encode().slots() {
            let mut slot = [0; SLOT_BYTES];
            chain = seal_slot(chain, position, words, &mut slot);
            bytes.extend_from_slice(&slot);
            position += 1;
        }
        ends.push(bytes.len());
    }
    bytes.resize(bytes.len() + ZERO_SLOTS * SLOT_BYTES, 0);
    Image { bytes, records, ends, first }
}

/// Scans, checks that exactly the records in front of the first changed byte are found, and says how they end.
/// Nothing in front of `from` is changed.
fn check(original: &Image, bytes: &[u8], from: usize, case: std::fmt::Arguments<'_>) -> Tail {
    let changed = first_change(original, bytes, from).unwrap_or(bytes.len());
    let valid = original.ends.partition_point(|end| *end <= changed);
    let mut reader = SegmentReader::open(bytes, original.first).unwrap();
    // What lies further in front is the same in all cases; every sixteenth reads it too.
    let skipped = if changed.is_multiple_of(16) { 0 } else { valid.saturating_sub(2) };
    reader.seek(original.records[skipped].0).unwrap();
    for expected in &original.records[skipped..valid] {
        match reader.next(u64::MAX).unwrap() {
            Scan::Record(position, record) => assert!((position, record) == *expected, "{case}"),
            Scan::End(tail) => panic!("{case}: {tail:?} at {}", reader.position()),
        }
    }
    match reader.next(u64::MAX).unwrap() {
        Scan::End(tail) => tail,
        Scan::Record(position, _) => panic!("{case}: a record at {position} behind the damage"),
    }
}

fn first_change(original: &Image, bytes: &[u8], from: usize) -> Option<usize> {
    original.bytes[from..].iter().zip(&bytes[from..]).position(|(a, b)| a != b).map(|at| from + at)
}

/// Damages image after image until `test` has tried its part of the cases asked for, and says how many those were.
fn g2(test: &str, part: u64, damage: impl Fn(u64) -> u64) {
    let wanted = size("RINGFENCE_G2_CASES", 0) / part;
    let (mut cases, mut images) = (0, 0);
    while images == 0 || cases < wanted {
        cases += damage(images);
        images += 1;
    }
    println!("{test}: {cases} cases on {images} images");
}

fn used(image: &Image) -> usize {
    image.bytes.len() - ZERO_SLOTS * SLOT_BYTES
}

#[test]
fn g2_torn_at_every_byte_is_a_crash_trace() {
    g2("g2_torn_at_every_byte_is_a_crash_trace", 10, torn);
}

fn torn(round: u64) -> u64 {
    let original = image(1 + round * 1000, round);
    let mut cases = 0;
    for at in HEAD..=original.bytes.len() {
        let whole = original.ends.contains(&at) || at == HEAD || at >= used(&original);
        let cut = check(&original, &original.bytes[..at], at, format_args!("cut at {at}"));
        assert!(cut.is_crash_trace(), "cut at {at}: {cut:?}");
        assert!(!whole || at >= used(&original) || cut == Tail::Clean, "cut at {at}: {cut:?}");
        let mut zeroed = original.bytes.clone();
        zeroed[at..].fill(0);
        let tail = check(&original, &zeroed, at, format_args!("zeros from {at}"));
        assert!(tail.is_crash_trace(), "zeros from {at}: {tail:?}");
        assert!(!whole || tail == Tail::Zeros, "zeros from {at}: {tail:?}");
        cases += 2;
    }
    cases
}

#[test]
fn g2_a_flipped_bit_anywhere_is_damage_not_a_tail() {
    g2("g2_a_flipped_bit_anywhere_is_damage_not_a_tail", 5, flipped);
}

fn flipped(round: u64) -> u64 {
    let original = image(1 + round * 1000, round);
    let mut bytes = original.bytes.clone();
    let (mut ambiguous, mut cases) = (0, 0);
    for at in HEAD..used(&original) {
        for bit in 0..8 {
            bytes[at] ^= 1 << bit;
            let tail = check(&original, &bytes, at, format_args!("bit {bit} of byte {at}, round {round}"));
            cases += 1;
            bytes[at] ^= 1 << bit;
            match ((at - HEAD) % SLOT_BYTES, tail) {
                (0..56, Tail::BadChain) | (60..64, Tail::BadChain) => {}
                (56..60, Tail::StaleLap | Tail::WrongPosition) => {}
                // The top bits of a chain may look like a word torn short; behind it the sector must then be empty.
                (56..64, Tail::Hole) => {}
                (56..64, Tail::TornSlot | Tail::TornRecord) => ambiguous += 1,
                (_, tail) => panic!("bit {bit} of byte {at}: {tail:?}"),
            }
        }
    }
    assert!(ambiguous <= 12, "round {round}: {ambiguous}");
    cases
}

#[test]
fn g2_overwritten_at_every_byte_is_seen() {
    g2("g2_overwritten_at_every_byte_is_seen", 1, overwritten);
}

fn overwritten(round: u64) -> u64 {
    let original = image(500 + round * 1000, round);
    let stale = image(400 + round * 1000, round + 9);
    let mut cases = 0;
    for at in HEAD..used(&original) {
        for len in [1, 2, 3, 7, 8, 9, 31, 56, 63, 64, 65, 100, 128, 300, 512, 513, usize::MAX] {
            let end = used(&original).min(at.saturating_add(len));
            for fill in [0x00, 0xff] {
                let mut bytes = original.bytes.clone();
                bytes[at..end].fill(fill);
                let tail = check(&original, &bytes, at, format_args!("{fill:#x} in {at}..{end}"));
                // A crash leaves zeros from somewhere to the end of a sector, nothing else.
                let Some(changed) = first_change(&original, &bytes, at) else {
                    assert_eq!(tail, Tail::Zeros);
                    continue;
                };
                let from = changed / SLOT_BYTES * SLOT_BYTES + SLOT_BYTES;
                let empty = bytes[from..from.next_multiple_of(512)].iter().all(|b| *b == 0);
                assert!(!tail.is_crash_trace() || (fill == 0 && empty), "{fill:#x} in {at}..{end}: {tail:?}");
            }
            let mut bytes = original.bytes.clone();
            bytes[at..end].copy_from_slice(&stale.bytes[at..end]);
            let tail = check(&original, &bytes, at, format_args!("old lap in {at}..{end}"));
            let aligned = (at - HEAD).is_multiple_of(SLOT_BYTES) && len >= SLOT_BYTES;
            assert!(!aligned || tail == Tail::StaleLap, "old lap in {at}..{end}: {tail:?}");
            cases += 3;
        }
    }
    cases
}

#[test]
fn damage_below_the_durable_mark_is_never_a_tail() {
    for tail in [Tail::Clean, Tail::Zeros, Tail::TornSlot, Tail::TornRecord] {
        for any in [false, true] {
            let state = ArchiveState::of(tail, any, true);
            assert_eq!(state, ArchiveState::Lost);
            assert!(decide(state, HotState::Missing).is_err());
        }
    }
}

#[test]
fn a_header_damaged_anywhere_is_refused_or_unchanged() {
    let original = image(1, 0);
    let mut bytes = original.bytes.clone();
    for at in 0..HEAD {
        for bit in 0..8 {
            bytes[at] ^= 1 << bit;
            let opened = SegmentReader::open(&bytes[..], 1);
            assert_eq!(opened.is_err(), at < 64, "byte {at}");
            bytes[at] ^= 1 << bit;
        }
    }
    for len in 0..64 {
        assert!(SegmentReader::open(&original.bytes[..len], 1).is_err());
    }
}

#[test]
fn g2_random_bytes_never_panic() {
    let mut rng = Rng(7);
    let original = image(1, 0);
    for _ in 0..2_000 {
        let mut bytes = original.bytes.clone();
        for _ in 0..=rng.below(40) {
            let at = rng.below(bytes.len() as u64) as usize;
            let end = bytes.len().min(at + rng.below(200) as usize);
            bytes[at..end].iter_mut().for_each(|b| *b = rng.next() as u8);
        }
        if let Ok(mut reader) = SegmentReader::open(&bytes[..], 1) {
            while let Scan::Record(..) = reader.next(u64::MAX).unwrap() {}
        }
    }
}

#[test]
fn a_hot_ring_of_random_words_never_panics() {
    let place = Place::new();
    let header = HotHeader { journal_id: ID, epoch: 1, capacity: 1024, start: 5 };
    let mapping = Mapping::create_file(&place.hot(), header.file_bytes()).unwrap();
    header.write(&mapping).unwrap();
    let slots = mapping.write_slots(HOT_HEADER_BYTES, 1024).unwrap();
    let reader = HotReader::of(&mapping).unwrap();
    let mut rng = Rng(3);
    for _ in 0..500 {
        for _ in 0..64 {
            let slot = rng.below(1024) as usize;
            let near = (slot as u64 + 1 + 1024 * rng.below(3)) | rng.below(16) << 60;
            slots.publish(slot, if rng.below(2) == 0 { near } else { rng.next() });
            slots.store(slot, 0, rng.below(16) | rng.below(5) << 8);
        }
        let from = rng.below(4096);
        let (_, end) = classify_hot(&reader, from, rng.below(3));
        assert!(end >= from && end <= from + 1024 + 3);
        let _ = reader.end();
    }
}
