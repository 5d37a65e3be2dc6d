//! What the gate tells a venue's adapter between its commands.

use super::{DecodeError, OrderId, Words, bits, kind};

/// One call, 56 bytes. Its place among the commands is its meaning.
///
/// ```text
///  word 0: kind u8 = VENUE_CALL | call u8 (BEGIN 0, SNAPSHOT 1) | 0 u48
///  word 1: BEGIN: the newest order id that may have gone to another adapter     SNAPSHOT: its number
///  words 2..6: 0
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VenueCall {
    /// To an adapter without a past, before everything else: orders up to `known` may have been handed out by another.
    Begin {
        /// The newest such order id.
        known: OrderId,
    },
    /// Say what the venue has, and mark the moment among the reports.
    Snapshot {
        /// Which request this is, from 1.
        number: u64,
    },
}

impl VenueCall {
    /// To the wire.
    #[must_use]
    pub const fn encode(&self) -> Words {
        let (call, value) = match self {
            Self::Begin { known } => (0, *known),
            Self::Snapshot { number } => (1, *number),
        };
        [kind::VENUE_CALL as u64 | call << 8, value, 0, 0, 0, 0, 0]
    }

    /// From the wire.
    ///
    /// # Errors
    /// [`DecodeError`] on another kind, an undefined call or non-zero reserved words.
    pub fn decode(w: &Words) -> Result<Self, DecodeError> {
        if w[0] as u8 != kind::VENUE_CALL {
            return Err(DecodeError::UnknownKind(w[0] as u8));
        }
        if bits(w[0], 16, 48) != 0 {
            return Err(DecodeError::Reserved(0));
        }
        if let Some(word) = (2..w.len()).find(|word| w[*word] != 0) {
            return Err(DecodeError::Reserved(word));
        }
        match bits(w[0], 8, 8) {
            0 => Ok(Self::Begin { known: w[1] }),
            1 => Ok(Self::Snapshot { number: w[1] }),
            value => Err(DecodeError::BadEnum { field: "call", value }),
        }
    }
}
