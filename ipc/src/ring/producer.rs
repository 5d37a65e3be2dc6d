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
        if !self.has_room(parts.len() as u64)? {
            return Ok(None);
        }
        let head = self.position;
        for (at, part) in (head..).zip(parts).skip(1) {
            let slot = self.slot(at);
            self.slots.store_payload(slot, part);
            self.slots.publish(slot, continuation_word(at));
        }
        let slot = self.slot(head);
        self.slots.store_payload(slot, &parts[0]);
        self.slots.publish(slot, head_word(head, parts.len() as u8));
        self.position = head + parts.len() as u64;
        for ahead in 0..parts.len() as u64 {
            self.slots.prefetch(self.slot(head + AHEAD + ahead));
        }
        Ok(Some(head))
    }

    /// Writes a message of one slot. `None` when the ring is full; otherwise its position.
    ///
    /// # Errors
    /// [`Fault`] when the consumer's word is impossible.
    #[inline]
    pub fn push1(&mut self, words: &Words) -> Result<Option<u64>, Fault> {
        if !self.has_room(1)? {
            return Ok(None);
        }
        let head = self.position;
        let slot = self.slot(head);
        self.slots.store_payload(slot, words);
        self.slots.publish(slot, head_word(head, 1));
        self.slots.prefetch(self.slot(head + AHEAD));
        self.position = head + 1;
        Ok(Some(head))
    }

    /// Fetches the next slot for writing. Worth it right before work that ends in a push; earlier, it takes the line
    /// from a consumer that polls it.
    #[inline]
    pub fn prefetch_next(&self) {
        self.slots.prefetch(self.slot(self.position));
    }

    #[inline]
    fn free_as_cached(&self) -> u64 {
        self.capacity() - (self.position - self.consumed_cached)
    }

    #[inline]
    fn slot(&self, position: u64) -> usize {
        (position & self.mask) as usize
    }
}
