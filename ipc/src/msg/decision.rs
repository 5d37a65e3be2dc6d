//! What the gate answers.

use super::{DecodeError, OrderId, Words, bits, enum_field, kind, wire_enum};
use crate::reason::{LimitId, Reason};

wire_enum! {
    /// Accepted or rejected.
    Outcome {
        /// The command goes to its venue.
        Accepted = 0,
        /// Nothing leaves the gate; the reason says why.
        Rejected = 1,
    }
}

impl Outcome {
    /// `accepted` or `rejected`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
        }
    }
}

wire_enum! {
    /// What the decision has survived when it is shown.
    DurabilityTier {
        /// Not journalled: duplicates and transient rejects.
        None = 0,
        /// Survives `kill -9` of every process, not a power cut.
        Process = 1,
        /// Survives a power cut.
        Power = 2,
    }
}

/// The gate's answer to one intent, 56 bytes.
///
/// ```text
///  word 0: kind u8 = DECISION | outcome u8 | reason u16 | limit id u16 | duplicate u1, tier u7 | reserved u8
///  word 1: position of the intent in the client's ring
///  word 2: journal sequence (0 when not journalled)
///  word 3: decided at, gate time ns
///  word 4: key, low half
///  word 5: accepted: order id        rejected: observed value
///  word 6: accepted: 0               rejected: limit value
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Accepted or rejected.
    pub outcome: Outcome,
    /// Why; `Reason::Ok` when accepted.
    pub reason: Reason,
    /// Which limit tripped; `LimitId::None` where no limit did.
    pub limit_id: LimitId,
    /// The key was known: this is the stored answer, nothing was done again.
    pub duplicate: bool,
    /// What the decision survives.
    pub tier: DurabilityTier,
    /// Position of the intent in the client's ring.
    pub intent_position: u64,
    /// Journal position of the decision's record.
    pub journal_seq: u64,
    /// When it was decided, gate time ns.
    pub decided_at_ns: u64,
    /// Low half of the intent's key, so that clients can match without a table of positions.
    pub key_low: u64,
    /// Accepted: the order's id (for cancels and amends the target's). Rejected: 0.
    pub order_id: OrderId,
    /// Rejected: the observed value that the limit refused, in the limit's unit.
    pub observed: i64,
    /// Rejected: the limit's value, in its unit.
    pub limit: i64,
}

impl Decision {
    /// To the wire.
    #[must_use]
    #[inline(always)]
    pub const fn encode(&self) -> Words {
        let (w5, w6) = match self.outcome {
            Outcome::Accepted => (self.order_id, 0),
            Outcome::Rejected => (self.observed as u64, self.limit as u64),
        };
        [
            kind::DECISION as u64
                | (self.outcome as u64) << 8
                | (self.reason as u64) << 16
                | (self.limit_id as u64) << 32
                | (self.duplicate as u64) << 48
                | (self.tier as u64) << 49,
            self.intent_position,
            self.journal_seq,
            self.decided_at_ns,
            self.key_low,
            w5,
            w6,
        ]
    }

    /// From the wire.
    ///
    /// # Errors
    /// [`DecodeError`] on another kind, an undefined number or non-zero reserved bits.
    #[inline(always)]
    pub fn decode(w: &Words) -> Result<Self, DecodeError> {
        if w[0] as u8 != kind::DECISION {
            return Err(DecodeError::UnknownKind(w[0] as u8));
        }
        if bits(w[0], 56, 8) != 0 {
            return Err(DecodeError::Reserved(0));
        }
        let outcome = enum_field!(Outcome, w[0], 8, 8, "outcome");
        let accepted = matches!(outcome, Outcome::Accepted);
        if accepted && w[6] != 0 {
            return Err(DecodeError::Reserved(6));
        }
        Ok(Self {
            outcome,
            reason: enum_field!(Reason, w[0], 16, 16, "reason"),
            limit_id: enum_field!(LimitId, w[0], 32, 16, "limit_id"),
            duplicate: bits(w[0], 48, 1) == 1,
            tier: enum_field!(DurabilityTier, w[0], 49, 7, "tier"),
            intent_position: w[1],
            journal_seq: w[2],
            decided_at_ns: w[3],
            key_low: w[4],
            order_id: if accepted { w[5] } else { 0 },
            observed: if accepted { 0 } else { w[5] as i64 },
            limit: if accepted { 0 } else { w[6] as i64 },
        })
    }
}
