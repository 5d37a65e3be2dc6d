//! Why a segment could not be made, and what to do about it.

use std::io;
use std::path::PathBuf;

/// Why memory could not be created, sealed or mapped.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// The kernel refused a step.
    #[error("{step} of `{name}` failed: {source}; {advice}")]
    Os {
        /// What was asked of the kernel.
        step: &'static str,
        /// Segment name or file path.
        name: String,
        /// The kernel's answer.
        source: io::Error,
        /// What to do next.
        advice: &'static str,
    },
    /// A size is zero, not a multiple of a slot, or beyond this machine.
    #[error("`{name}` cannot have {bytes} bytes; use a non-zero multiple of 64")]
    BadSize {
        /// Segment name or file path.
        name: String,
        /// The size asked for or found.
        bytes: u64,
    },
    /// The peer's memory is not as large as it said.
    #[error(
        "peer memory has {found} bytes where {expected} were agreed; drop the connection and attach again"
    )]
    SizeMismatch {
        /// The agreed size.
        expected: u64,
        /// What `fstat` says.
        found: u64,
    },
    /// A memfd does not carry exactly the seals it must: the peer sealed it first, or this is another file.
    #[error("memory `{name}` has seals {found:#x} where {expected:#x} are needed; drop the connection")]
    Seals {
        /// Segment name.
        name: String,
        /// The `F_SEAL_*` bits needed.
        expected: u32,
        /// The `F_SEAL_*` bits found.
        found: u32,
    },
    /// The path names something that is no regular file.
    #[error("`{0}` is not a regular file; remove it or choose another run directory")]
    NotAFile(PathBuf),
    /// The range is not inside the mapping, or not aligned.
    #[error("{bytes} bytes at {offset} are not an aligned range of this mapping of {len} bytes")]
    Range {
        /// First byte asked for.
        offset: usize,
        /// Bytes asked for.
        bytes: usize,
        /// Size of the mapping, bytes.
        len: usize,
    },
    /// A view that can store was asked of a read-only mapping.
    #[error("this mapping is read-only")]
    ReadOnly,
    /// A segment's header is not as a peer of this version writes it.
    #[error("segment header: unexpected {0}; run the same version of Ringfence on both sides")]
    Header(&'static str),
}
