//! Segments on real file systems: past the page cache, and where that is not to be had.

use std::path::Path;

use ringfence_ipc::journal::archive::{ReadAt, SEGMENT_HEADER_BYTES, read_full};
use ringfence_ipc::journal::chained::Segments;

use super::Place;
use crate::journal::blocks::{BLOCK_BYTES, Blocks};
use crate::journal::medium::{DirMedium, Medium, SegmentFile};

const LEN: u64 = SEGMENT_HEADER_BYTES + 8 * BLOCK_BYTES as u64;

fn block(file: &impl ReadAt, offset: u64) -> Vec<u8> {
    let mut bytes = vec![0xaa; BLOCK_BYTES];
    assert_eq!(read_full(file, &mut bytes, offset).unwrap(), BLOCK_BYTES);
    bytes
}

/// Writes a tail that grows from 300 bytes to several blocks, reading through both handles after every write.
fn grow_a_tail(dir: &Path) {
    let medium = DirMedium::open(dir).unwrap();
    let file = medium.create_segment(1, &[1; SEGMENT_HEADER_BYTES as usize], LEN).unwrap();
    let other = medium.open_segment(1).unwrap();
    let mut blocks = Blocks::new();
    blocks.restart(SEGMENT_HEADER_BYTES);
    for round in 0..40_u8 {
        blocks.space()[..300].fill(round + 1);
        blocks.fill(300);
        let (aligned, offset) = blocks.whole();
        file.write_at(aligned, offset).unwrap();
        let bytes = aligned.to_vec();
        blocks.written();
        file.write_at(&[round; 16], 512).unwrap();
        if round.is_multiple_of(8) {
            file.sync().unwrap();
        }
        for reader in [&file, &other] {
            let mut found = vec![0; bytes.len()];
            assert_eq!(read_full(reader, &mut found, offset).unwrap(), bytes.len());
            assert!(found == bytes, "round {round}");
            let head = block(reader, 0);
            assert!(head[..512].iter().all(|b| *b == 1) && head[512..528] == [round; 16]);
        }
    }
    file.resize(SEGMENT_HEADER_BYTES + 100, LEN).unwrap();
    let first = block(&other, SEGMENT_HEADER_BYTES);
    assert!(first[..100].iter().all(|b| *b == 1) && first[100..].iter().all(|b| *b == 0));
    assert!(block(&other, LEN - BLOCK_BYTES as u64).iter().all(|b| *b == 0));
}

#[test]
fn what_goes_past_the_page_cache_is_read_through_it() {
    grow_a_tail(&Place::new().archive());
}

#[test]
fn a_file_system_in_memory_is_written_all_the_same() {
    let Ok(dir) = tempfile::tempdir_in("/dev/shm") else { return };
    grow_a_tail(&dir.path().join("journal"));
}

#[test]
fn memory_that_direct_io_refuses_is_written_all_the_same() {
    let place = Place::new();
    let medium = DirMedium::open(&place.archive()).unwrap();
    let file = medium.create_segment(1, &[1; SEGMENT_HEADER_BYTES as usize], LEN).unwrap();
    let memory = vec![5; BLOCK_BYTES * 3];
    let odd = 1 + memory.as_ptr().align_offset(BLOCK_BYTES);
    file.write_at(&memory[odd..odd + BLOCK_BYTES], SEGMENT_HEADER_BYTES).unwrap();
    assert!(block(&file, SEGMENT_HEADER_BYTES).iter().all(|b| *b == 5));
}
