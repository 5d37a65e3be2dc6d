//! The node cache: what nodes computed, in windows of buckets that every process on the host reads.
//!
//! `C[u, i, p, f]`: node `u`, interval `i` in seconds, bucket `p` of the window (oldest first), feature `f` beside the
//! bucket's time. One *series* is one `(u, i)`. The gate is the only writer; readers copy and then check, and write
//! nothing. Layout and order of the bytes: [`Shape`], [`SeriesWriter`], [`SeriesView`]; meaning: `docs/node-cache.md`.

mod consumer;
#[cfg(not(loom))]
mod directory;
mod series;
mod shape;
#[cfg(not(loom))]
mod spec;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;
mod window;
mod writer;

pub use consumer::Consumer;
#[cfg(not(loom))]
pub(crate) use directory::at;
#[cfg(not(loom))]
pub use directory::{CacheSegment, CacheView, NodeInfo, SegmentFull, segment_bytes};
pub use series::{Newest, Peek, SeriesView};
#[cfg(not(loom))]
pub(crate) use shape::state;
pub use shape::{MAX_FEATURES, MAX_INTERVAL_S, MAX_PERIOD, MAX_ROW_WORDS, Place, Shape, Stamp, TIME_END_NS};
#[cfg(not(loom))]
pub use spec::{MAX_FEATURE_NAME_BYTES, MAX_NODE_ID_BYTES, NodeSpec, SpecError};
pub use window::{GapPolicy, Window, WindowBuffer};
pub use writer::SeriesWriter;

/// Why a window was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No such node is registered.
    #[error("no node of this id and interval is registered: register it, or wait for its producer")]
    Unknown,
    /// Nothing was fed yet.
    #[error("the node has no value yet: wait for its producer")]
    Empty,
    /// The series keeps another number of buckets.
    #[error("this node keeps {period} buckets: ask for 1 to {period}")]
    Length {
        /// Buckets it keeps.
        period: u32,
    },
    /// Buckets are still missing.
    #[error("{filled} of {needed} buckets are filled: wait, or backfill the node")]
    NotReady {
        /// Buckets that hold a value.
        filled: usize,
        /// Buckets that were asked for.
        needed: usize,
    },
    /// A bucket was left out, and the consumer's policy is to fail.
    #[error("bucket {bucket} is missing: backfill it, or choose another gap policy")]
    Gap {
        /// The newest missing bucket: time / interval.
        bucket: u64,
    },
    /// The writer was faster in every try.
    #[error("the window changed during every try: try again")]
    Busy,
}
