//! Position arithmetic of a slot-sequence ring: pure functions, no memory.
//!
//! ```text
//!  sequence word of the slot at position p
//!   63        61  60             59                                    0
//!  +-----------+---------------+----------------------------------------+
//!  | slots - 1 | continuation  | p + 1                                  |
//!  +-----------+---------------+----------------------------------------+
//!   head: 0..=3, 0    continuation: 0, 1    never written: the whole word is 0
//! ```
//!
//! Positions only grow, so a number is never used twice; slot index is `position & (capacity - 1)`.

use super::FaultKind;
use crate::msg::MAX_SLOTS;

const NUMBER: u64 = (1 << 60) - 1;
const CONTINUATION: u64 = 1 << 60;
const SLOTS_AT: u32 = 61;

/// The largest position a ring may start at: half of what the number can hold, over a century of one slot per ns left.
pub const MAX_START: u64 = 1 << 59;

// `slots - 1` of the longest message fits its three bits.
const _: () = assert!(MAX_SLOTS - 1 < 1 << (64 - SLOTS_AT));

/// The sequence word of the first slot of a message of `slots` slots.
#[inline]
#[must_use]
pub const fn head_word(position: u64, slots: u8) -> u64 {
    (position + 1) | ((slots as u64 - 1) << SLOTS_AT)
}

/// The sequence word of every further slot of a message.
#[inline]
#[must_use]
pub const fn continuation_word(position: u64) -> u64 {
    (position + 1) | CONTINUATION
}

/// The number in a sequence word: the position it was written for, plus 1; 0 if never written.
#[inline]
#[must_use]
pub const fn number_of(word: u64) -> u64 {
    word & NUMBER
}

/// Whether a sequence word marks a continuation.
#[inline]
#[must_use]
pub const fn is_continuation(word: u64) -> bool {
    word & CONTINUATION != 0
}

/// How many slots a head's sequence word announces: 1 to 8, of which more than [`MAX_SLOTS`] is no message.
#[inline]
#[must_use]
pub const fn slots_of(word: u64) -> u8 {
    (word >> SLOTS_AT) as u8 + 1
}

/// What a consumer makes of the sequence word it finds at its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    NotYet,
    Head { slots: u8 },
    Wrong(FaultKind),
}

/// Judges the word found at `position` of a ring of `capacity` slots that started at `start`.
#[inline]
pub(super) const fn judge(word: u64, position: u64, start: u64, capacity: u64) -> Seen {
    let expected = position + 1;
    if word & (NUMBER | CONTINUATION) == expected && slots_of(word) as usize <= MAX_SLOTS {
        return Seen::Head { slots: slots_of(word) };
    }
    let first_lap = position - start < capacity;
    let not_yet = if first_lap { word == 0 } else { number_of(word) == expected - capacity };
    if not_yet { Seen::NotYet } else { Seen::Wrong(blame(word, expected)) }
}

#[cold]
const fn blame(word: u64, expected: u64) -> FaultKind {
    let number = number_of(word);
    if number > expected {
        FaultKind::SequenceAhead
    } else if number < expected {
        FaultKind::SequenceBehind
    } else if is_continuation(word) {
        FaultKind::ContinuationAsHead
    } else {
        FaultKind::MessageTooLong
    }
}

/// Judges a consumer position that the peer published: `cached` is the last good one, `position` the producer's own.
#[inline]
pub(super) const fn judge_consumed(
    found: u64,
    cached: u64,
    position: u64,
    capacity: u64,
) -> Result<u64, FaultKind> {
    if found > position {
        Err(FaultKind::ConsumedRanAhead)
    } else if position - found > capacity {
        Err(FaultKind::ConsumedLags)
    } else if found < cached {
        Err(FaultKind::ConsumedMovedBack)
    } else {
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn framing_survives_the_word() {
        for slots in 1..=MAX_SLOTS as u8 {
            let word = head_word(41, slots);
            assert_eq!((number_of(word), slots_of(word), is_continuation(word)), (42, slots, false));
        }
        let word = continuation_word(41);
        assert_eq!((number_of(word), is_continuation(word)), (42, true));
        assert_eq!(word >> SLOTS_AT, 0);
    }

    #[test]
    fn only_zero_is_not_yet_in_the_first_lap() {
        assert_eq!(judge(0, 100, 100, 8), Seen::NotYet);
        assert_eq!(judge(0, 107, 100, 8), Seen::NotYet);
        assert_eq!(judge(0, 108, 100, 8), Seen::Wrong(FaultKind::SequenceBehind));
        assert_eq!(judge(93, 100, 100, 8), Seen::Wrong(FaultKind::SequenceBehind));
        assert_eq!(judge(CONTINUATION, 100, 100, 8), Seen::Wrong(FaultKind::SequenceBehind));
    }

    #[test]
    fn only_the_previous_lap_is_not_yet_later() {
        for framing in [head_word(100, 1), head_word(100, 4), continuation_word(100)] {
            assert_eq!(judge(framing, 108, 100, 8), Seen::NotYet);
            assert_eq!(judge(framing, 116, 100, 8), Seen::Wrong(FaultKind::SequenceBehind));
        }
    }

    #[test]
    fn a_message_beyond_four_slots_is_none() {
        assert_eq!(judge(head_word(5, 4), 5, 0, 8), Seen::Head { slots: 4 });
        assert_eq!(judge(head_word(5, 5), 5, 0, 8), Seen::Wrong(FaultKind::MessageTooLong));
        assert_eq!(judge(continuation_word(5), 5, 0, 8), Seen::Wrong(FaultKind::ContinuationAsHead));
        assert_eq!(
            judge(continuation_word(5) | 1 << SLOTS_AT, 5, 0, 8),
            Seen::Wrong(FaultKind::ContinuationAsHead)
        );
    }
}
