//! What a strategy asked and was told, outside the gate and its own process: a mapped file that `kill -9` of either
//! leaves whole up to the last entry.

use std::path::Path;

use ringfence_ipc::msg::{Intent, Report, Words};
use ringfence_ipc::segment::Mapping;
use ringfence_ipc::view::WriteSlots;

/// First word of the entry after an intent: it is in the ring. Words 1, 2: key, position.
pub const SENT: u64 = 0x80;
/// First word of the entry that a new process of the same strategy begins with.
pub const REBORN: u64 = 0x81;

/// An append-only list of entries. An intent entry is the intent as on the wire, written before it is submitted;
/// decisions and reports likewise (of a report the first slot).
#[derive(Debug)]
pub struct Diary {
    slots: WriteSlots,
    next: usize,
}

impl Diary {
    /// A new diary for `entries` entries.
    ///
    /// # Panics
    /// When the file cannot be made.
    #[must_use]
    pub fn create(path: &Path, entries: usize) -> Self {
        let mapping = Mapping::create_file(path, entries * 64).expect("a diary can be made");
        Self { slots: mapping.write_slots(0, entries).expect("a diary has its size"), next: 0 }
    }

    /// Goes on where an earlier process left off.
    ///
    /// # Panics
    /// When there is no diary.
    #[must_use]
    pub fn reopen(path: &Path) -> Self {
        let mapping = Mapping::open_file(path, true).expect("a diary is there");
        let slots = mapping.write_slots(0, mapping.len_bytes() / 64).expect("a diary has its size");
        let next = entries(&slots).count();
        Self { slots, next }
    }

    /// Entries that still fit.
    #[must_use]
    pub fn room(&self) -> usize {
        self.slots.count() - self.next
    }

    /// Appends one entry.
    ///
    /// # Panics
    /// When the diary is full.
    pub fn write(&mut self, words: &Words) {
        assert!(self.next < self.slots.count(), "the diary is full");
        self.slots.store_payload(self.next, words);
        self.slots.publish(self.next, self.next as u64 + 1);
        self.next += 1;
    }

    /// Before an intent goes out.
    pub fn asks(&mut self, intent: &Intent) {
        self.write(&intent.encode());
    }

    /// After it went out.
    pub fn sent(&mut self, intent: &Intent, position: u64) {
        self.write(&[SENT, intent.key as u64, position, 0, 0, 0, 0]);
    }

    /// A report came.
    pub fn told(&mut self, report: &Report) {
        self.write(&report.encode()[0]);
    }

    /// Every entry so far.
    #[must_use]
    pub fn read(&self) -> Vec<Words> {
        entries(&self.slots).collect()
    }
}

/// Every entry of the diary at `path`.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn read(path: &Path) -> Vec<Words> {
    Diary::reopen(path).read()
}

fn entries(slots: &WriteSlots) -> impl Iterator<Item = Words> + '_ {
    let whole = |at: &usize| slots.reader().sequence(*at) == *at as u64 + 1;
    (0..slots.count()).take_while(whole).map(|at| slots.reader().payload(at))
}
