//! The slot-sequence ring: one producer, one consumer, in processes that do not trust each other.
//!
//! Every 64-byte slot carries 56 bytes of payload and its own sequence word, stored last with Release, so one cache line
//! moves per message. Each side keeps its position, the capacity and the mask in private memory. A peer's word can
//! only say "not yet", "here" or something impossible, and the impossible is a [`Fault`], found in constant time; the
//! owner then drops the peer. Nothing waits, nothing needs repair.
//!
//! The consumer tells how far it has read in one word of its *own* segment, every quarter ring, so that both segments
//! have one writer each.
//!
//! A message of several slots is written back to front: whoever sees its head sees all of it. A producer that dies while
//! writing leaves what looks like an empty slot. A producer that rewrites a slot while it is copied garbles its own
//! message and nothing else: the copy is decoded and checked like any other input.

mod consumer;
mod position;
mod producer;

use std::fmt;

pub use consumer::{Consumer, Head};
pub use position::{MAX_START, continuation_word, head_word, is_continuation, number_of, slots_of};
pub use producer::Producer;

use crate::msg::MAX_SLOTS;
use crate::view::{WriteSlots, WriteWord};

/// The fewest slots a ring may have: the longest message must fit.
pub const MIN_CAPACITY: usize = MAX_SLOTS;

/// What the peer did that no correct peer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// A slot's sequence is beyond the next one: the producer skipped slots or laps.
    SequenceAhead,
    /// A slot's sequence is older than the previous lap: the producer went back.
    SequenceBehind,
    /// A continuation stands where a message must begin.
    ContinuationAsHead,
    /// A head stands without all its continuations.
    HeadWithoutContinuations,
    /// A head announces more slots than a message may have.
    MessageTooLong,
    /// The published consumer position went back.
    ConsumedMovedBack,
    /// The published consumer position is beyond what was produced.
    ConsumedRanAhead,
    /// The published consumer position is more than the capacity behind.
    ConsumedLags,
}

/// The peer broke the ring protocol. It is not to be trusted again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What it did.
    pub kind: FaultKind,
    /// The position of this side when it was seen.
    pub position: u64,
    /// The word found.
    pub found: u64,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, position, found } = *self;
        match kind {
            FaultKind::SequenceAhead => write!(f, "wrote sequence {} ahead of its turn", number_of(found)),
            FaultKind::SequenceBehind => write!(f, "moved a slot back to sequence {}", number_of(found)),
            FaultKind::ContinuationAsHead => f.write_str("began a message with a continuation"),
            FaultKind::HeadWithoutContinuations => {
                write!(f, "published a head without its continuations ({found:#x} found)")
            }
            FaultKind::MessageTooLong => write!(f, "announced a message of {} slots", slots_of(found)),
            FaultKind::ConsumedMovedBack => write!(f, "moved its consumer position back to {found}"),
            FaultKind::ConsumedRanAhead => write!(f, "claims to have consumed up to {found}"),
            FaultKind::ConsumedLags => {
                write!(f, "says it has consumed up to {found}, more than the capacity behind")
            }
        }?;
        write!(f, ", seen at position {position}")
    }
}

impl std::error::Error for Fault {}

/// Both ends of a ring in private memory: for tests, benches and models.
///
/// # Panics
/// When `capacity` is no power of two of at least [`MIN_CAPACITY`], or `start` is beyond [`MAX_START`].
#[must_use]
pub fn heap_ring(capacity: usize, start: u64) -> (Producer, Consumer) {
    let slots = WriteSlots::heap(capacity);
    let consumed = WriteWord::heap();
    let consumer = Consumer::new(slots.reader(), consumed.clone(), start);
    (Producer::new(slots, consumed.reader(), start), consumer)
}

/// The constructors' precondition. Sizes that come from a peer are checked before, in [`crate::layout`].
fn check(capacity: usize, start: u64) {
    assert!(
        capacity.is_power_of_two() && capacity >= MIN_CAPACITY,
        "a ring has 2^n slots, at least {MIN_CAPACITY}"
    );
    assert!(start <= MAX_START, "a ring cannot start beyond {MAX_START}");
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
