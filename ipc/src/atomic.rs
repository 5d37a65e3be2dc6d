//! The one door to atomics: real ones, or loom's when the crate is built with `--cfg loom`.
//!
//! Nothing else in this crate names `std::sync::atomic` (a test looks), so that loom explores what runs in production.

#[cfg(loom)]
pub use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
#[cfg(not(loom))]
pub use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

#[cfg(loom)]
pub use loom::hint::spin_loop;
#[cfg(not(loom))]
pub use std::hint::spin_loop;

use crate::msg::{PAYLOAD_WORDS, SLOT_BYTES};

/// Words of one slot: the payload and the sequence word behind it.
pub const SLOT_WORDS: usize = PAYLOAD_WORDS + 1;
/// Index of the sequence word.
pub const SEQUENCE_WORD: usize = PAYLOAD_WORDS;

/// One 64-byte slot as shared memory holds it. Every bit pattern is valid: nothing in it has a type before it is
/// copied out and decoded.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Slot {
    /// Seven payload words, then the sequence.
    pub words: [AtomicU64; SLOT_WORDS],
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Slot>() == SLOT_BYTES && align_of::<Slot>() == SLOT_BYTES);
#[cfg(loom)]
const _: () = assert!(SLOT_WORDS * 8 == SLOT_BYTES);

impl Slot {
    /// A slot of zeros, as fresh shared memory is.
    #[must_use]
    pub fn zeroed() -> Self {
        Self { words: std::array::from_fn(|_| AtomicU64::new(0)) }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    fn offenders(dir: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                offenders(&path, found);
            } else if !path.ends_with("atomic.rs")
                && std::fs::read_to_string(&path).unwrap().contains("std::sync::atomic")
            {
                found.push(path.display().to_string());
            }
        }
    }

    #[test]
    fn one_door_to_atomics() {
        let mut found = Vec::new();
        offenders(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
        assert!(found.is_empty(), "use crate::atomic in {found:?}");
    }
}
