//! The reading end.

use super::position::{Seen, continuation_word, head_word, judge, number_of};
use super::{Fault, FaultKind, check};
use crate::atomic::{Ordering, fence};
use crate::msg::Words;
use crate::view::{ReadSlots, WriteWord};

/// The first slot of a message, copied out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its payload.
    pub words: Words,
    /// Slots of the whole message, 1 to 4.
    pub slots: u8,
}

/// The reading end of a ring. Not `Clone`: a ring has one consumer.
#[derive(Debug)]
pub struct Consumer {
    slots: ReadSlots,
    mask: u64,
    start: u64,
    position: u64,
    published: u64,
    consumed: WriteWord,
}

impl Consumer {
    /// Reads `slots`, which the producer fills from position `start` on; how far it has read is published in
    /// `consumed`, a word of the consumer's own segment.
    ///
    /// # Panics
    /// When `slots` are no power of two of at least [`super::MIN_CAPACITY`], or `start` is beyond [`super::MAX_START`].
    #[must_use]
    pub fn new(slots: ReadSlots, consumed: WriteWord, start: u64) -> Self {
        check(slots.count(), start);
        consumed.publish(start);
        let mask = slots.count() as u64 - 1;
        Self { slots, mask, start, position: start, published: start, consumed }
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

    /// A copy of the next message's first slot, if it is there with all its continuations. Does not consume it.
    ///
    /// # Errors
    /// [`Fault`] when the slot holds neither the next sequence nor the previous lap's.
    #[inline(always)]
    pub fn peek(&self) -> Result<Option<Head>, Fault> {
        let slots = self.peek_slots()?;
        Ok((slots != 0).then(|| Head { words: self.payload(), slots }))
    }

    /// How many slots the next message has, all of them there; 0: it is not there yet.
    ///
    /// # Errors
    /// As [`Self::peek`].
    #[inline(always)]
    pub fn peek_slots(&self) -> Result<u8, Fault> {
        let found = self.slots.ring(self.position).sequence();
        // The sequence word of a head of one slot is the bare number: the common case, kept small enough to inline.
        let slots = if found == head_word(self.position, 1) { 1 } else { self.slots_there(found)? };
        fence(Ordering::Acquire);
        Ok(slots)
    }

    /// A copy of the first slot of the message that [`Self::peek_slots`] just showed.
    #[inline(always)]
    #[must_use]
    pub fn payload(&self) -> Words {
        self.slots.ring(self.position).payload()
    }

    /// Copies the next messages as long as they are there and take one slot each, into `out`; says how many. Consumes
    /// none. The copies do not wait for each other, so their cache misses overlap. Whatever ends the run, a longer
    /// message, nothing more or a fault, is what [`Self::peek`] shows once the run is left behind.
    #[inline]
    pub fn peek_run(&self, out: &mut [Words]) -> usize {
        for (ahead, words) in out.iter_mut().enumerate() {
            let position = self.position + ahead as u64;
            let slot = self.slots.ring(position);
            if slot.sequence() != head_word(position, 1) {
                return ahead;
            }
            fence(Ordering::Acquire);
            *words = slot.payload();
        }
        out.len()
    }

    /// How many slots the message at the position has, all of them there; 0 for not yet.
    fn slots_there(&self, found: u64) -> Result<u8, Fault> {
        match judge(found, self.position, self.start, self.capacity()) {
            Seen::NotYet => Ok(0),
            Seen::Head { slots } => {
                fence(Ordering::Acquire);
                for further in 1..slots {
                    self.require_continuation(self.position + u64::from(further))?;
                }
                Ok(slots)
            }
            Seen::Wrong(kind) => Err(Fault { kind, position: self.position, found }),
        }
    }

    /// A copy of slot `index` (1 to `slots - 1`) of the message that [`Self::peek`] just showed.
    ///
    /// # Errors
    /// [`Fault`] when the slot is no longer that continuation.
    #[inline]
    pub fn continuation(&self, index: u8) -> Result<Words, Fault> {
        let position = self.position + u64::from(index);
        let words = self.slots.ring(position).payload();
        fence(Ordering::Acquire);
        self.require_continuation(position)?;
        Ok(words)
    }

    /// Leaves `slots` slots behind: those of the message that [`Self::peek`] showed. Publishes the position when a
    /// quarter of the ring has gathered.
    #[inline]
    pub fn advance(&mut self, slots: u8) {
        self.position += u64::from(slots);
        if self.position - self.published >= self.capacity() / 4 {
            self.publish();
        }
    }

    /// Publishes the position, so that the producer sees all consumed slots as free.
    #[inline]
    pub fn publish(&mut self) {
        if self.published != self.position {
            self.published = self.position;
            self.consumed.publish(self.position);
        }
    }

    /// Asks the cache for the slot after the next message of one slot.
    #[inline]
    pub fn prefetch_next(&self) {
        self.slots.ring(self.position + 1).prefetch();
    }

    /// How many slots wait to be read, for gauges: as far as their sequence words say, by halving. At most 32 words are
    /// looked at, and none is believed beyond the count.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        let written = |position: u64| number_of(self.slots.ring(position).sequence()) == position + 1;
        let (mut written_below, mut end) = (self.position, self.position + self.capacity());
        while written_below < end {
            let middle = written_below + (end - written_below) / 2;
            if written(middle) {
                written_below = middle + 1;
            } else {
                end = middle;
            }
        }
        written_below - self.position
    }

    #[inline]
    fn require_continuation(&self, position: u64) -> Result<(), Fault> {
        let found = self.slots.ring(position).sequence();
        if found == continuation_word(position) {
            return Ok(());
        }
        Err(Fault { kind: FaultKind::HeadWithoutContinuations, position: self.position, found })
    }
}
