//! The journal as its readers see it: one log of 64-byte slots, the one source of truth.
//!
//! A journal *position* counts slots from the first one ever written; it is the sequence number that decisions carry
//! and that streams resume by. Records take one to [`MAX_RECORD_SLOTS`] slots.

mod record;

pub use record::{
    AttachRecord, BootRecord, CloseRecord, ControlKind, ControlRecord, DecisionRecord, LimitRecord, MAX_RECORD_SLOTS,
    MarkRecord, Record, RecordError, RecordWords, Role, STRATEGY_NAME_BYTES, StrategyRecord, encode_report,
};
