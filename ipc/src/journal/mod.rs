//! The journal as its readers see it: one log of 64-byte slots, the one source of truth.
//!
//! A journal *position* counts slots from [`FIRST_POSITION`]; it is the sequence number that decisions carry and that
//! streams resume by. Records take one to [`MAX_RECORD_SLOTS`] slots; a record's position is its first slot's.
//! Position 0 is never written: it means "not journalled".

pub mod archive;
mod chain;
pub mod chained;
pub mod checkpoint;
mod follower;
pub mod hot;
mod reader;
mod record;
pub mod registry;
pub mod scan;
#[cfg(test)]
mod tests;

pub use chained::ArchiveError;
pub use follower::{FollowError, Follower};
pub use reader::{ArchiveReader, SegmentDir, Verification};
pub use record::{
    AttachRecord, BootRecord, CapacityRecord, CloseRecord, ConfigOrigin, ConfigRecord, ControlKind,
    ControlRecord, DecisionHead, DecisionRecord, LimitRecord, MAX_RECORD_SLOTS, MarkRecord, NOTE_BYTES, Note,
    Record, RecordError, RecordWords, ReportSlots, Role, STRATEGY_NAME_BYTES, StrategyRecord, StrayRecord,
    report_slots,
};

/// Position of a journal's first record.
pub const FIRST_POSITION: u64 = 1;
/// No position reaches this: 18 years at a thousand million slots a second.
pub const POSITION_LIMIT: u64 = 1 << 59;

/// Identifies the layout of slots, segments, hot ring and records. Files of another layout are refused, not guessed at;
/// the text changes with any of them.
pub const JOURNAL_LAYOUT_HASH: u64 = fnv1a(
    b"ringfence journal 1; slot 56+8; archive header 4096, word7 chain32|pos32, marks 512 1024; \
      hot header 4096, words 64 128 192; records boot2 symbol1 strategy1 attach1 limit1 control1-2 mark1 decision2-3 \
      report1-2 close1 capacity1 config1 stray2",
);

const fn fnv1a(text: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    let mut i = 0;
    while i < text.len() {
        hash = (hash ^ text[i] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        i += 1;
    }
    hash
}
