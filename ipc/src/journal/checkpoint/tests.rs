//! Checkpoint files: what is written is read, what is changed is noticed.

use super::*;

const HEADER: CheckpointHeader =
    CheckpointHeader { journal_id: 7, position: 42, epoch: 3, chain: 0xdead_beef, state_hash: [0xa5; 32] };

/// A checkpoint with `n` items in each part, whose words count up.
fn bytes_of(n: usize) -> Vec<u8> {
    let mut body = BodyWriter::new(Vec::new());
    for part in Part::ALL {
        body.part(part, n).unwrap();
        for i in 0..n {
            let words: Vec<u64> = (0..part.words()).map(|w| (i * 100 + w) as u64).collect();
            body.item(&words).unwrap();
        }
    }
    let (body, len, crc) = body.finish().unwrap();
    let mut bytes = HEADER.encode(len, crc).to_vec();
    bytes.extend_from_slice(&body);
    bytes
}

#[test]
fn what_is_written_is_read() {
    for n in [0, 1, 5, 5_000] {
        let checkpoint = Checkpoint::of(bytes_of(n)).unwrap();
        assert_eq!(*checkpoint.header(), HEADER);
        for part in Part::ALL {
            assert_eq!(checkpoint.items(part).len(), n);
            for (i, item) in checkpoint.items(part).enumerate() {
                assert!((0..part.words()).all(|w| item.word(w) == (i * 100 + w) as u64), "{part:?}");
            }
        }
    }
}

#[test]
fn any_changed_byte_and_any_cut_is_noticed() {
    let whole = bytes_of(2);
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        assert!(Checkpoint::of(changed).is_err(), "byte {at}");
        assert!(Checkpoint::of(whole[..at].to_vec()).is_err(), "cut at {at}");
    }
    let mut longer = whole;
    longer.push(0);
    assert!(matches!(Checkpoint::of(longer), Err(CheckpointError::Torn)));
}

#[test]
fn another_version_is_named() {
    let mut bytes = bytes_of(0);
    bytes[8] ^= 1;
    let crc = crc32c::crc32c(&bytes[..CHECKPOINT_HEADER_BYTES - 8]);
    bytes[CHECKPOINT_HEADER_BYTES - 8..CHECKPOINT_HEADER_BYTES - 4].copy_from_slice(&crc.to_le_bytes());
    assert!(matches!(Checkpoint::of(bytes), Err(CheckpointError::Layout { .. })));
}

#[test]
fn counts_that_lie_are_refused_without_a_panic() {
    let (part, first) = (CHECKPOINT_HEADER_BYTES, CHECKPOINT_HEADER_BYTES + 8);
    for (at, value) in [(first, u64::MAX), (first, 1 << 61), (first, 3), (first, 1), (part, 9)] {
        let mut bytes = bytes_of(2);
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        let body = &bytes[CHECKPOINT_HEADER_BYTES..];
        let header = HEADER.encode(body.len() as u64, crc32c::crc32c(body));
        bytes[..CHECKPOINT_HEADER_BYTES].copy_from_slice(&header);
        assert!(matches!(Checkpoint::of(bytes), Err(CheckpointError::Field { .. })), "{at}: {value}");
    }
}

#[test]
fn files_are_found_by_their_position_and_must_agree_with_it() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(Checkpoint::file_name(42)), bytes_of(1)).unwrap();
    std::fs::write(dir.path().join(Checkpoint::file_name(43)), bytes_of(1)).unwrap();
    for other in ["checkpoint.new", "42.rfc", "00000000000000000001.rfj"] {
        std::fs::write(dir.path().join(other), b"").unwrap();
    }
    assert_eq!(Checkpoint::list(dir.path()).unwrap(), [42, 43]);
    assert!(Checkpoint::read(dir.path(), 42).is_ok());
    assert!(matches!(Checkpoint::read(dir.path(), 43), Err(CheckpointError::Name)));
    assert!(matches!(Checkpoint::read(dir.path(), 44), Err(CheckpointError::Io { .. })));
}
