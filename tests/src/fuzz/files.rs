//! Decoders of segments, of the hot ring and of the archive: memory and files somebody else wrote.

use ringfence_ipc::journal::archive::{SEGMENT_HEADER_BYTES, SegmentHeader, chain_seed, seal_slot};
use ringfence_ipc::journal::checkpoint::{
    Checkpoint, CheckpointHeader, EntitlementPart, GatePart, LimitPart, NotePart, OrderPart, Part, PastPart,
    PositionPart, StrategyPart, StrayPart, SymbolPart, TicketPart, body_crc,
};
use ringfence_ipc::journal::hot::{HotHeader, HotReader, Look};
use ringfence_ipc::journal::scan::{Scan, SegmentReader};
use ringfence_ipc::layout;
use ringfence_ipc::market::MarketReader;
use ringfence_ipc::msg::SLOT_BYTES;
use ringfence_ipc::segment::Mapping;

use super::{slots, take};

/// A mapping of `bytes` bytes that this thread uses again and again, all zero.
fn memory(bytes: usize) -> Mapping {
    use std::cell::RefCell;
    use std::collections::HashMap;
    thread_local! {
        static KEPT: RefCell<HashMap<usize, Mapping>> = RefCell::default();
    }
    let mapping = KEPT.with_borrow_mut(|kept| {
        let fresh = || {
            let dir = tempfile::tempdir_in("/dev/shm").expect("memory for files");
            Mapping::create_file(&dir.path().join("memory"), bytes).expect("memory can be mapped")
        };
        kept.entry(bytes).or_insert_with(fresh).clone()
    });
    (0..bytes / 8).for_each(|word| mapping.store(word * 8, 0).expect("a word inside"));
    mapping
}

/// Writes `data` over the mapping from `offset` on, as far as it reaches.
fn write(mapping: &Mapping, offset: usize, data: &[u8]) {
    for (at, chunk) in data.chunks(8).enumerate() {
        let (bytes, _) = take::<8>(chunk);
        let _ = mapping.store(offset + at * 8, u64::from_le_bytes(bytes));
    }
}

/// A checkpoint's body, with the checksums that belong to it: its parts, item by item.
pub fn checkpoint(data: &[u8]) {
    let header = CheckpointHeader { journal_id: 1, position: 2, epoch: 3, chain: 4, state_hash: [5; 32] };
    let mut bytes = header.encode(data.len() as u64, body_crc(data)).to_vec();
    bytes.extend_from_slice(data);
    let Ok(saved) = Checkpoint::of(bytes) else { return };
    assert_eq!(*saved.header(), header);
    for part in Part::ALL {
        for item in saved.items(part) {
            let words: Vec<u64> = (0..part.words()).map(|at| item.word(at)).collect();
            macro_rules! same {
                ($decoded:expr) => {
                    if let Ok(decoded) = $decoded {
                        assert_eq!(decoded.encode()[..], words, "{decoded:?}");
                    }
                };
            }
            match part {
                Part::Limits => same!(LimitPart::decode(&item)),
                Part::Entitlements => same!(EntitlementPart::decode(&item)),
                // These leave bits of a word unused, or hold another record: what they take is not what stands there.
                Part::Gate => drop(GatePart::decode(&item)),
                Part::Symbols => drop(SymbolPart::decode(&item)),
                Part::Strategies => drop(StrategyPart::decode(&item)),
                Part::Orders => drop(OrderPart::decode(&item)),
                Part::Notes => drop(NotePart::decode(&item)),
                Part::Positions => drop(PositionPart::decode(&item).encode()),
                Part::Tickets => drop(TicketPart::decode(&item).encode()),
                Part::Past => drop(PastPart::decode(&item).encode()),
                Part::Strays => same!(StrayPart::decode(&item)),
                Part::Windows | Part::Keys | Part::Spills => {}
            }
        }
    }
}

/// The header of each kind of segment; the first byte says which, and whether magic and hash are right to begin with.
pub fn segment_header(data: &[u8]) {
    let ([kind], rest) = take::<1>(data);
    let right = kind & 4 != 0;
    let magic: &[u8; 8] = [b"RFevents", b"RFintent", b"RFmarket", b"RFevents"][usize::from(kind & 3)];
    let mapping = memory(match kind & 3 {
        2 => layout::market_bytes(3),
        _ => layout::events_bytes(8),
    });
    write(&mapping, 0, rest);
    if right {
        write(&mapping, 0, magic);
        write(&mapping, 8, &layout::LAYOUT_HASH.to_le_bytes());
    }
    match kind & 3 {
        1 => drop(layout::check_intents_header(&mapping)),
        2 => {
            // The symbol table and the cells lie behind the first page.
            write(&mapping, layout::HEADER_BYTES, rest.get(32..).unwrap_or(&[]));
            if let Ok(market) = MarketReader::new(&mapping) {
                let symbols = market.symbols().len() as u16;
                (0..=symbols).for_each(|id| _ = market.view(id));
                assert!(market.view(symbols).is_none());
            }
        }
        _ => {
            if let Ok(header) = layout::read_events_header(&mapping) {
                assert_eq!(layout::events_bytes(header.capacity), mapping.len_bytes());
                assert!(layout::events_slots(&mapping, header.capacity).is_ok());
                let _ = layout::events_gate_state(&mapping);
            }
        }
    }
}

/// A hot ring: header words, then slots. The first byte says whether its header is right to begin with.
pub fn hot_ring(data: &[u8]) {
    let ([kind], rest) = take::<1>(data);
    let (words, rest) = take::<24>(rest);
    let header = HotHeader { journal_id: 1, epoch: 1, capacity: 1024, start: 1 + u64::from(words[0]) };
    let mapping = memory(header.file_bytes());
    if kind & 1 == 0 {
        write(&mapping, 0, &data[data.len().min(1)..]);
    } else {
        header.write(&mapping).expect("a fresh mapping");
        for (offset, word) in [64, 128, 192].into_iter().zip(words.chunks(8)) {
            write(&mapping, offset, word);
        }
    }
    // Slots whose sequence is near what is expected, with the payload that comes.
    for (index, slot) in rest.chunks(SLOT_BYTES).enumerate() {
        let at = (header.start as usize + index) % 1024;
        write(&mapping, 4096 + at * SLOT_BYTES, slot);
        if kind & 2 != 0 && slot.len() == SLOT_BYTES {
            let number = header.start + index as u64 + 1;
            let framing = u64::from(slot[SLOT_BYTES - 1]) << 56 & 0xf000_0000_0000_0000;
            write(&mapping, 4096 + at * SLOT_BYTES + 56, &(number | framing).to_le_bytes());
        }
    }
    let Ok(ring) = HotReader::of(&mapping) else { return };
    let end = ring.end();
    let _ = (ring.archived_pos(), ring.durable_pos(), ring.status(), ring.holds(end));
    for position in header.start..header.start + 24 {
        if let Look::Record(record) = ring.look(position) {
            assert!(!record.slots().is_empty());
            let _ = ringfence_ipc::journal::Record::decode(record.slots());
        }
    }
}

/// A segment file: as it comes, or (first byte odd) with the right header and sealed slots, cut and flipped.
pub fn archive(data: &[u8]) {
    let ([kind, cut, flip, bit], rest) = take::<4>(data);
    let header = SegmentHeader { journal_id: 7, first: 1, epoch: 1, capacity: 64, chain: chain_seed(7) };
    let mut file = vec![0; SEGMENT_HEADER_BYTES as usize];
    if kind & 1 == 0 {
        file = rest.to_vec();
    } else {
        file[..header.encode().len()].copy_from_slice(&header.encode());
        file[512..528].copy_from_slice(&header.encode_mark(header.first + u64::from(kind >> 4)));
        let mut chain = header.chain;
        for (index, words) in slots(rest).iter().take(64).enumerate() {
            let mut sealed = [0; SLOT_BYTES];
            chain = seal_slot(chain, header.first + index as u64, words, &mut sealed);
            file.extend(sealed);
        }
        if kind & 2 != 0 {
            let at = SEGMENT_HEADER_BYTES as usize + usize::from(flip) * 16;
            if let Some(byte) = file.get_mut(at) {
                *byte ^= 1 << (bit & 7);
            }
        }
        file.truncate(file.len() - usize::from(cut).min(file.len() - SEGMENT_HEADER_BYTES as usize));
    }
    let Ok(mut reader) = SegmentReader::open(file.as_slice(), header.first) else { return };
    for _ in 0..=64 {
        match reader.next(header.first + 64) {
            Ok(Scan::Record(..)) => {}
            Ok(_) | Err(_) => return,
        }
    }
    panic!("more records than slots");
}
