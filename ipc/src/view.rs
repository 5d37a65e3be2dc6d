//! Views of shared memory: the only code that dereferences it.
//!
//! A view is a range of [`Slot`]s or one word, kept mapped by the view itself. Reading and writing are different types:
//! a [`ReadSlots`] or [`ReadWord`] offers no store, so safe code cannot write through a read-only mapping. All access is
//! by relaxed atomic words; ordering is the caller's, with [`crate::atomic::fence`] and the `publish` calls here.
//!
//! Slot and word indices are the caller's own numbers, never a peer's, so an index out of range is a bug and panics.

use std::ptr::NonNull;
use std::sync::Arc;

use crate::atomic::{AtomicU64, Ordering, SEQUENCE_WORD, SLOT_WORDS, Slot, fence};
use crate::hint::{prefetch_read, prefetch_write};
use crate::msg::{PAYLOAD_WORDS, Words};

/// What a view keeps alive.
pub(crate) enum Memory {
    /// Private memory of this process: tests, benches and loom.
    Heap(Box<[Slot]>),
    /// A mapping that may be shared with another process.
    #[cfg(not(loom))]
    Mapped(memmap2::MmapRaw),
}

impl Memory {
    fn base(&self) -> *const Slot {
        match self {
            Self::Heap(slots) => slots.as_ptr(),
            #[cfg(not(loom))]
            Self::Mapped(map) => map.as_ptr().cast(),
        }
    }

    #[cfg(not(loom))]
    fn slot_count(&self) -> usize {
        match self {
            Self::Heap(slots) => slots.len(),
            #[cfg(not(loom))]
            Self::Mapped(map) => map.len() / size_of::<Slot>(),
        }
    }

    /// The word at a byte offset, if it is aligned and inside.
    #[cfg(not(loom))]
    #[inline]
    pub(crate) fn word(&self, offset_bytes: usize) -> Option<&AtomicU64> {
        let slot = offset_bytes / size_of::<Slot>();
        if slot >= self.slot_count() || !offset_bytes.is_multiple_of(8) {
            return None;
        }
        // SAFETY: `slot` lies inside this memory, which lives as long as the reference; slots are 64-aligned and any bytes
        // are a valid `Slot` of atomics.
        let slot = unsafe { &*self.base().add(slot) };
        slot.words.get(offset_bytes % size_of::<Slot>() / 8)
    }
}

/// A range of slots that may only be read.
#[derive(Clone)]
pub struct ReadSlots {
    base: NonNull<Slot>,
    count: usize,
    memory: Arc<Memory>,
}

// SAFETY: the pointer is into `memory`, which is `Send + Sync`, and is only ever used for atomic access.
unsafe impl Send for ReadSlots {}
// SAFETY: as for `Send`: every access through a shared view is one atomic load or store.
unsafe impl Sync for ReadSlots {}

impl ReadSlots {
    /// `count` slots from slot `first` of `memory`, if they lie inside it.
    #[cfg(not(loom))]
    pub(crate) fn of(memory: Arc<Memory>, first: usize, count: usize) -> Option<Self> {
        let end = first.checked_add(count)?;
        if count == 0 || end > memory.slot_count() {
            return None;
        }
        let base = NonNull::new(memory.base().wrapping_add(first).cast_mut())?;
        Some(Self { base, count, memory })
    }

    /// How many slots the view has.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Part of the view, if it lies inside it.
    #[must_use]
    pub fn slice(&self, first: usize, count: usize) -> Option<Self> {
        let end = first.checked_add(count)?;
        if count == 0 || end > self.count {
            return None;
        }
        // SAFETY: `first <= self.count`, so the result stays inside, or one past, the range `base` points to.
        let base = unsafe { self.base.add(first) };
        Some(Self { base, count, memory: Arc::clone(&self.memory) })
    }

    /// One word of the view, if it has it.
    #[must_use]
    pub fn word(&self, slot: usize, word: usize) -> Option<ReadWord> {
        (slot < self.count && word <= SEQUENCE_WORD).then(|| ReadWord {
            word: NonNull::from(&self.at(slot).words[word]),
            _memory: Arc::clone(&self.memory),
        })
    }

    /// One word, relaxed.
    #[inline]
    #[must_use]
    pub fn load(&self, slot: usize, word: usize) -> u64 {
        self.at(slot).words[word].load(Ordering::Relaxed)
    }

    /// The sequence word of a slot, relaxed. A `fence(Acquire)` must follow before the payload is read.
    #[inline]
    #[must_use]
    pub fn sequence(&self, slot: usize) -> u64 {
        self.load(slot, SEQUENCE_WORD)
    }

    /// A copy of a slot's payload, each word read once, relaxed.
    #[inline]
    #[must_use]
    pub fn payload(&self, slot: usize) -> Words {
        let mut copy = [0; PAYLOAD_WORDS];
        self.copy_payload(slot, &mut copy);
        copy
    }

    /// As [`Self::payload`], word by word into `to`: nothing is moved a second time.
    #[inline]
    pub fn copy_payload(&self, slot: usize, to: &mut Words) {
        for (to, from) in to.iter_mut().zip(&self.at(slot).words) {
            *to = from.load(Ordering::Relaxed);
        }
    }

    /// Copies the words from word `first` of the view on, counted through its slots with nothing between them, each
    /// read once, relaxed.
    #[inline]
    pub fn copy_words(&self, first: usize, to: &mut [u64]) {
        let lead = (first.wrapping_neg() % SLOT_WORDS).min(to.len());
        let (lead, lines) = to.split_at_mut(lead);
        let mut slot = first / SLOT_WORDS;
        if !lead.is_empty() {
            for (to, from) in lead.iter_mut().zip(&self.at(slot).words[first % SLOT_WORDS..]) {
                *to = from.load(Ordering::Relaxed);
            }
            slot += 1;
        }
        for line in lines.chunks_mut(SLOT_WORDS) {
            for (to, from) in line.iter_mut().zip(&self.at(slot).words) {
                *to = from.load(Ordering::Relaxed);
            }
            slot += 1;
        }
    }

    /// Asks the cache for a slot that will be read soon.
    #[inline]
    pub fn prefetch(&self, slot: usize) {
        prefetch_read(self.at(slot));
    }

    /// The slot of `position` in a ring over the whole view, whose count is a power of two.
    #[inline(always)]
    #[must_use]
    pub fn ring(&self, position: u64) -> RingView<'_> {
        RingView(self.wrapped(position))
    }

    /// The slot of a position in a ring over the whole view, whose count is a power of two.
    #[inline(always)]
    fn wrapped(&self, position: u64) -> &Slot {
        let slot = position as usize & (self.count - 1);
        // SAFETY: a view has at least one slot, so `slot <= count - 1`; the rest is as in `at`.
        unsafe { self.base.add(slot).as_ref() }
    }

    #[inline]
    fn at(&self, slot: usize) -> &Slot {
        assert!(slot < self.count, "slot index outside the view");
        // SAFETY: `slot < count`, the range was checked to lie inside `memory` when the view was made, `memory` lives as
        // long as the view, slots are 64-aligned, and any bytes are a valid `Slot` of atomics.
        unsafe { self.base.add(slot).as_ref() }
    }
}

impl std::fmt::Debug for ReadSlots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} slots", self.count)
    }
}

/// A range of slots that this process may write. By protocol it is their only writer.
#[derive(Clone, Debug)]
pub struct WriteSlots(ReadSlots);

impl WriteSlots {
    /// Wraps a view of memory that is known to be writable.
    #[cfg(not(loom))]
    pub(crate) fn of(memory: Arc<Memory>, first: usize, count: usize) -> Option<Self> {
        ReadSlots::of(memory, first, count).map(Self)
    }

    /// Zeroed slots in private memory.
    ///
    /// # Panics
    /// Without any: no view is empty.
    #[must_use]
    pub fn heap(count: usize) -> Self {
        assert!(count > 0, "a view has at least one slot");
        let memory = Arc::new(Memory::Heap((0..count).map(|_| Slot::zeroed()).collect()));
        let base = NonNull::new(memory.base().cast_mut()).unwrap_or(NonNull::dangling());
        Self(ReadSlots { base, count, memory })
    }

    /// The same slots for reading.
    #[must_use]
    pub fn reader(&self) -> ReadSlots {
        self.0.clone()
    }

    /// How many slots the view has.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.count
    }

    /// Part of the view, if it lies inside it.
    #[must_use]
    pub fn slice(&self, first: usize, count: usize) -> Option<Self> {
        self.0.slice(first, count).map(Self)
    }

    /// One word of the view, if it has it.
    #[must_use]
    pub fn word(&self, slot: usize, word: usize) -> Option<WriteWord> {
        self.0.word(slot, word).map(WriteWord)
    }

    /// One word, relaxed.
    #[inline]
    #[must_use]
    pub fn load(&self, slot: usize, word: usize) -> u64 {
        self.0.load(slot, word)
    }

    /// The slot of `position` in a ring over the whole view, whose count is a power of two.
    #[inline(always)]
    #[must_use]
    pub fn ring(&self, position: u64) -> RingSlot<'_> {
        RingSlot(self.0.wrapped(position))
    }

    /// Stores one word, relaxed.
    #[inline]
    pub fn store(&self, slot: usize, word: usize, value: u64) {
        self.0.at(slot).words[word].store(value, Ordering::Relaxed);
    }

    /// Stores words from word `first` of the view on, counted as in [`ReadSlots::copy_words`], relaxed.
    #[inline]
    pub fn store_words(&self, first: usize, from: &[u64]) {
        for (word, value) in (first..).zip(from) {
            self.store(word / SLOT_WORDS, word % SLOT_WORDS, *value);
        }
    }

    /// Stores a slot's payload, relaxed; nobody may rely on it before the sequence is published.
    #[inline]
    pub fn store_payload(&self, slot: usize, payload: &Words) {
        for (to, from) in self.0.at(slot).words.iter().zip(payload) {
            to.store(*from, Ordering::Relaxed);
        }
    }

    /// Stores a slot's sequence word with Release: whoever sees it sees everything stored before.
    #[inline]
    pub fn publish(&self, slot: usize, sequence: u64) {
        self.0.at(slot).words[SEQUENCE_WORD].store(sequence, Ordering::Release);
    }

    /// Asks the cache for a slot that will be written soon.
    #[inline]
    pub fn prefetch(&self, slot: usize) {
        prefetch_write(self.0.at(slot));
    }
}

/// One slot of a ring, to be read.
#[derive(Clone, Copy)]
pub struct RingView<'a>(&'a Slot);

impl RingView<'_> {
    /// The sequence word, relaxed. A `fence(Acquire)` must follow before the payload is read.
    #[inline(always)]
    #[must_use]
    pub fn sequence(self) -> u64 {
        self.0.words[SEQUENCE_WORD].load(Ordering::Relaxed)
    }

    /// A copy of the payload, each word read once, relaxed.
    #[inline(always)]
    #[must_use]
    pub fn payload(self) -> Words {
        std::array::from_fn(|word| self.0.words[word].load(Ordering::Relaxed))
    }

    /// Asks the cache for it, to read it soon.
    #[inline(always)]
    pub fn prefetch(self) {
        prefetch_read(self.0);
    }
}

/// One slot of a ring, to be written.
#[derive(Clone, Copy)]
pub struct RingSlot<'a>(&'a Slot);

impl RingSlot<'_> {
    /// Takes back the sequence word, relaxed: what was there before is there no more.
    #[inline(always)]
    pub fn withdraw(self) {
        self.0.words[SEQUENCE_WORD].store(0, Ordering::Relaxed);
    }

    /// Stores the payload, relaxed, and then the sequence word with Release: whoever sees it sees the payload.
    #[inline(always)]
    pub fn publish(self, payload: &Words, sequence: u64) {
        for (to, from) in self.0.words.iter().zip(payload) {
            to.store(*from, Ordering::Relaxed);
        }
        self.0.words[SEQUENCE_WORD].store(sequence, Ordering::Release);
    }

    /// Asks the cache for it, to write it soon.
    #[inline(always)]
    pub fn prefetch(self) {
        prefetch_write(self.0);
    }
}

/// One word that may only be read.
#[derive(Clone)]
pub struct ReadWord {
    word: NonNull<AtomicU64>,
    _memory: Arc<Memory>,
}

// SAFETY: the pointer is into `_memory`, which is `Send + Sync`, and is only ever used for atomic access.
unsafe impl Send for ReadWord {}
// SAFETY: as for `Send`: every access is one atomic load or store.
unsafe impl Sync for ReadWord {}

impl ReadWord {
    /// The value, relaxed.
    #[inline]
    #[must_use]
    pub fn get(&self) -> u64 {
        self.at().load(Ordering::Relaxed)
    }

    /// The value; whatever its writer stored before publishing it is visible afterwards.
    ///
    /// A relaxed load and a fence, because only relaxed loads are promised to work on read-only mappings.
    #[inline]
    #[must_use]
    pub fn get_acquire(&self) -> u64 {
        let value = self.get();
        fence(Ordering::Acquire);
        value
    }

    #[inline]
    fn at(&self) -> &AtomicU64 {
        // SAFETY: the word was inside `_memory` when the view was made and `_memory` lives as long as the view.
        unsafe { self.word.as_ref() }
    }
}

impl std::fmt::Debug for ReadWord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "word {}", self.get())
    }
}

/// One word that this process may write. By protocol it is its only writer.
#[derive(Clone, Debug)]
pub struct WriteWord(ReadWord);

impl WriteWord {
    /// A zero in private memory, on a line of its own.
    #[must_use]
    pub fn heap() -> Self {
        let slots = WriteSlots::heap(1);
        Self(ReadWord { word: NonNull::from(&slots.0.at(0).words[0]), _memory: slots.0.memory })
    }

    /// The same word for reading.
    #[must_use]
    pub fn reader(&self) -> ReadWord {
        self.0.clone()
    }

    /// The value, relaxed.
    #[inline]
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.get()
    }

    /// Stores a value that stands for itself, relaxed.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.at().store(value, Ordering::Relaxed);
    }

    /// Stores a value with Release: whoever acquires it sees everything done before.
    #[inline]
    pub fn publish(&self, value: u64) {
        self.0.at().store(value, Ordering::Release);
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn views_stay_inside_their_memory() {
        let slots = WriteSlots::heap(4);
        assert!(
            slots.slice(0, 5).is_none()
                && slots.slice(5, 0).is_none()
                && slots.slice(usize::MAX, 2).is_none()
        );
        assert!(slots.word(4, 0).is_none() && slots.word(0, 8).is_none());
        let tail = slots.slice(3, 1).unwrap();
        tail.store(0, 2, 9);
        assert_eq!(slots.reader().word(3, 2).unwrap().get(), 9);
        assert_eq!(slots.reader().payload(3), [0, 0, 9, 0, 0, 0, 0]);
    }

    #[test]
    fn words_are_counted_through_slots() {
        let slots = WriteSlots::heap(4);
        let values: Vec<u64> = (1..=20).collect();
        slots.store_words(5, &values);
        for (first, len) in [(5, 20), (5, 1), (8, 8), (7, 2), (6, 10), (16, 9), (32, 0)] {
            let mut copy = vec![0; len];
            slots.reader().copy_words(first, &mut copy);
            let expected: Vec<u64> = (0..len).map(|i| (first + i - 4) as u64).collect();
            assert_eq!(copy, expected, "{first} {len}");
        }
        let outside = std::panic::AssertUnwindSafe(|| slots.reader().copy_words(31, &mut [0; 2]));
        assert!(std::panic::catch_unwind(outside).is_err());
    }

    #[test]
    fn a_view_keeps_its_memory() {
        let word = WriteSlots::heap(2).word(1, 7).unwrap();
        word.publish(5);
        assert_eq!(word.reader().get_acquire(), 5);
    }
}
