//! Memory between two pages that nobody may touch: an access out of bounds ends the process, it does not go unnoticed.

use std::ffi::c_void;
use std::path::Path;

use ringfence_ipc::msg::SLOT_BYTES;
use ringfence_ipc::segment::Mapping;
use ringfence_ipc::view::{ReadWord, WriteSlots};
use rustix::mm::{MprotectFlags, mprotect};

pub const PAGE: usize = 4096;

/// One page of memory with a forbidden page on either side. As in a segment, the ring or the word ends where the page
/// ends or begins where it begins, so that one slot further is out.
pub struct Guarded {
    mapping: Mapping,
    _file: tempfile::TempDir,
}

impl Guarded {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("guarded");
        let mapping = Mapping::create_file(&path, 3 * PAGE).unwrap();
        let start = address_of(&path);
        for page in [start, start + 2 * PAGE] {
            // SAFETY: the page belongs to the mapping just made, and no view of it is ever taken.
            unsafe { mprotect(page as *mut c_void, PAGE, MprotectFlags::empty()) }.unwrap();
        }
        Self { mapping, _file: dir }
    }

    /// The first `count` slots of the page: one before them is forbidden.
    pub fn low_slots(&self, count: usize) -> WriteSlots {
        self.mapping.write_slots(PAGE, count).unwrap()
    }

    /// The last `count` slots of the page: one behind them is forbidden.
    pub fn high_slots(&self, count: usize) -> WriteSlots {
        self.mapping.write_slots(2 * PAGE - count * SLOT_BYTES, count).unwrap()
    }

    /// A word of the forbidden page behind.
    pub fn forbidden_word(&self) -> ReadWord {
        self.mapping.read_word(2 * PAGE).unwrap()
    }
}

fn address_of(path: &Path) -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let line = maps.lines().find(|line| line.ends_with(&path.display().to_string())).unwrap();
    usize::from_str_radix(line.split('-').next().unwrap(), 16).unwrap()
}
