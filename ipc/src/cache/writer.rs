//! The gate's side of one series: the bytes and their order. What a value means is decided in `core`.

use super::shape::{ANNOUNCED_LINE, FIRST_LINE_WORDS, Place, STATE_LINE, Shape, Stamp, state};
use crate::atomic::{Ordering, SEQUENCE_WORD, SLOT_WORDS, fence};
use crate::view::WriteSlots;

/// Writes one series; by protocol the only one. Not `Clone`.
#[derive(Debug)]
pub struct SeriesWriter {
    block: WriteSlots,
    shape: Shape,
    version: u64,
}

impl SeriesWriter {
    /// Over `block`, which is all zero.
    ///
    /// # Panics
    /// When the block has not exactly the lines of `shape`.
    #[must_use]
    pub fn new(block: WriteSlots, shape: Shape) -> Self {
        assert_eq!(block.count(), shape.lines(), "a series has the lines of its shape");
        Self { block, shape, version: 0 }
    }

    /// The series' size.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Makes `row` (stamp, then every feature) the newest bucket's value.
    #[inline]
    pub fn publish(&mut self, place: Place, row: &[u64]) {
        self.version += 1;
        let line = self.shape.version_line(self.version);
        // A reader that sees any word of the new value must not see the line's old version afterwards.
        self.block.store(line, SEQUENCE_WORD, 0);
        fence(Ordering::Release);
        self.block.store(line, 0, place.word());
        let (first, rest) = row.split_at(row.len().min(FIRST_LINE_WORDS));
        for (word, value) in first.iter().enumerate() {
            self.block.store(line, 1 + word, *value);
        }
        if !rest.is_empty() {
            self.block.store_words((line + 1) * SLOT_WORDS, rest);
        }
        self.block.publish(line, self.version);
        self.block.store(ANNOUNCED_LINE, 0, self.version);
    }

    /// Says that `bucket` is about to be the newest: a reader whose window is older than the ring is long retries. Comes
    /// before any ring slot is written for it.
    #[inline]
    pub fn claim(&self, bucket: u64) {
        self.set_state(state::CLAIMED, bucket);
        fence(Ordering::Release);
    }

    /// Puts the bucket that was the newest into its ring slot, after a later one was claimed. It never changes again,
    /// except inside a backfill.
    #[inline]
    pub fn close(&self, slot: u32, row: &[u64]) {
        self.block.store_words(self.shape.ring_word(slot as usize), row);
    }

    /// Begins to write closed buckets: readers wait.
    pub fn begin_backfill(&self) {
        let generation = self.state(state::GENERATION);
        self.set_state(state::GENERATION, generation.wrapping_add(1));
        fence(Ordering::Release);
    }

    /// Ends what [`SeriesWriter::begin_backfill`] began.
    pub fn end_backfill(&self) {
        let generation = self.state(state::GENERATION);
        fence(Ordering::Release);
        self.set_state(state::GENERATION, generation.wrapping_add(1));
    }

    /// The stamp in a ring slot.
    #[inline]
    #[must_use]
    pub fn stamp(&self, slot: u32) -> Stamp {
        let word = self.shape.ring_word(slot as usize);
        Stamp(self.block.load(word / SLOT_WORDS, word % SLOT_WORDS))
    }

    /// The oldest bucket that ever held a value.
    pub fn set_origin(&self, bucket: u64) {
        self.set_state(state::ORIGIN, bucket);
    }

    /// The client that may feed the series; 0: nobody.
    pub fn set_producer(&self, client: u64) {
        self.set_state(state::PRODUCER, client);
    }

    /// One value came too late.
    pub fn count_late(&self) {
        self.set_state(state::LATE, self.state(state::LATE) + 1);
    }

    /// One bucket did not follow its predecessor.
    pub fn count_gap(&self) {
        self.set_state(state::GAPS, self.state(state::GAPS) + 1);
    }

    #[inline]
    fn state(&self, word: usize) -> u64 {
        self.block.load(STATE_LINE, word)
    }

    #[inline]
    fn set_state(&self, word: usize, value: u64) {
        self.block.store(STATE_LINE, word, value);
    }
}
