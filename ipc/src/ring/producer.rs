//! The writing end.

use super::position::{continuation_word, head_word, judge_consumed};
use super::{Fault, check};
use crate::msg::{MAX_SLOTS, Words};
use crate::view::{ReadWord, WriteSlots};

/// Slots ahead of the one just written that are fetched for writing: they still lie in the consumer's cache from the last
/// lap, and by the time they are written they are here. Far enough that no consumer polls them.
const AHEAD: u64 = 8;

/// The writing end of a ring. Not `Clone`: a ring has one producer.
#[derive(Debug)]
pub struct Producer {
    slots: WriteSlots,
    mask: u64,
    start: u64,
    position: u64,
    /// Everything below was consumed, as last read and checked.
    consumed_cached: u64,
    consumed: ReadWord,
}

impl Producer {
    /// Writes into `slots`, which are all zero, from position `start` on; `consumed` is the word in which the consumer
    /// publishes how far it has read (0 until it first does).
    ///
    /// # Panics
    /// When `slots` are no power of two of at least [`super::MIN_CAPACITY`], or `start` is beyond [`super::MAX_START`].
    #[must_use]
    pub fn new(slots: WriteSlots, consumed: ReadWord, start: u64) -> Self {
        check(slots.count(), start);
        let mask = slots.count() as u64 - 1;
        Self { slots, mask, start, position: start, consumed_cached: start, consumed }
    }

    /// Slots of the ring.
    #[inline]
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.mask + 1
    }

    /// The position of the next message.
    #[inline]
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Free slots now: reads the consumer's word.
    ///
    /// # Errors
    /// [`Fault`] when the consumer's word is impossible.
    #[inline]
    pub fn free(&mut self) -> Result<u64, Fault> {
        let found = self.consumed.get_acquire();
        let never_published = found == 0 && self.consumed_cached == self.start;
        if !never_published {
            self.consumed_cached =
                judge_consumed(found, self.consumed_cached, self.position, self.capacity())
                    .map_err(|kind| Fault { kind, position: self.position, found })?;
        }
        Ok(self.free_as_cached())
    }

    /// Whether `slots` slots are free. Reads the consumer's word only when what is known does not suffice.
    ///
    /// # Errors
    /// [`Fault`] when the consumer's word is impossible.
    #[inline]
    pub fn has_room(&mut self, slots: u64) -> Result<bool, Fault> {
        Ok(slots <= self.free_as_cached() || slots <= self.free()?)
    }

    /// Writes a message of one to four slots. `None` when it does not fit; otherwise its position.
    ///
    /// # Errors
    /// [`Fault`] when the consumer's word is impossible.
    ///
    /// # Panics
    /// When `parts` is empty or longer than [`MAX_SLOTS`].
    #[inline]
    pub fn push(&mut self, parts: &[Words]) -> Result<Option<u64>, Fault> {
        assert!(!parts.is_empty() && parts.len() <= MAX_SLOTS, "a message has 1 to {MAX_SLOTS} slots");
        self.write(parts.len(), |at| &parts[at])
    }

    /// As [`Self::push`], of a message whose length is known when it is compiled.
    ///
    /// # Errors
    /// As [`Self::push`].
    #[inline(always)]
    pub fn push_slots<const N: usize>(&mut self, parts: &[Words; N]) -> Result<Option<u64>, Fault> {
        const { assert!(N > 0 && N <= MAX_SLOTS, "a message has 1 to 4 slots") };
        self.write(N, |at| &parts[at])
    }

    /// With a `count` known to the compiler the payloads go from registers into the ring: words that were just stored
    /// and are read back in other widths would wait until the stores before them have left the core.
    #[inline(always)]
    fn write<'a>(&mut self, count: usize, part: impl Fn(usize) -> &'a Words) -> Result<Option<u64>, Fault> {
        if !self.has_room(count as u64)? {
            return Ok(None);
        }
        let head = self.position;
        for further in 1..count {
            let at = head + further as u64;
            self.slots.ring(at).publish(part(further), continuation_word(at));
        }
        self.slots.ring(head).publish(part(0), head_word(head, count as u8));
        self.position = head + count as u64;
        for at in 0..count as u64 {
            self.slots.ring(head + AHEAD + at).prefetch();
        }
        Ok(Some(head))
    }

    /// Writes a message of one slot. `None` when the ring is full; otherwise its position.
    ///
    /// # Errors
    /// [`Fault`] when the consumer's word is impossible.
    #[inline(always)]
    pub fn push1(&mut self, words: &Words) -> Result<Option<u64>, Fault> {
        self.push_slots(std::array::from_ref(words))
    }

    /// Fetches the next slot for writing. Worth it right before work that ends in a push; earlier, it takes the line
    /// from a consumer that polls it.
    #[inline]
    pub fn prefetch_next(&self) {
        self.slots.ring(self.position).prefetch();
    }

    #[inline]
    fn free_as_cached(&self) -> u64 {
        self.capacity() - (self.position - self.consumed_cached)
    }
}
