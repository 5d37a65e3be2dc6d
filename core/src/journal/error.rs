//! What can go wrong with the journal, and what to do then.

use std::io;
use std::path::PathBuf;

use ringfence_ipc::journal::ArchiveError;
use ringfence_ipc::segment::SegmentError;

use super::recovery::Refusal;

/// Why the journal cannot be opened or written on.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// An option is out of range.
    #[error("journal option {option}: {rule}")]
    Option {
        /// Its name.
        option: &'static str,
        /// What it must be.
        rule: &'static str,
    },
    /// Another process works with this journal.
    #[error(
        "another gate (pid {pid}) holds the journal {dir}: stop it first, or give this one its own directory"
    )]
    Held {
        /// The journal directory.
        dir: PathBuf,
        /// The holder's process id as it wrote it down; 0 when it could not be read.
        pid: u32,
    },
    /// The medium failed. A write or sync that failed is never tried again as if nothing had happened.
    #[error(
        "journal: {step} failed: {source}; check the disk and free space, then start again: recovery decides"
    )]
    Io {
        /// What was being done.
        step: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// There is no room for what must be written before the gate may start.
    #[error(
        "the disk of the journal {dir} is full: {free} bytes are free and the next segments need {needed}; free that \
         much on this disk (old runs first), move data_dir to another one, or make [journal] segment_bytes smaller"
    )]
    DiskFull {
        /// The journal directory.
        dir: PathBuf,
        /// Bytes that may still be written.
        free: u64,
        /// Bytes that are needed.
        needed: u64,
    },
    /// The archive cannot be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The hot ring cannot be created.
    #[error("cannot create the hot ring: {0}")]
    Hot(#[from] SegmentError),
    /// What an earlier life left cannot be continued.
    #[error("cannot continue the journal at position {position}: {refusal}")]
    Refused {
        /// What and why.
        refusal: Refusal,
        /// Where the archive's whole records end.
        position: u64,
    },
    /// The records must be read to their end before anything is added.
    #[error("the recovered journal was read to {read} of {end}: apply all of it before the gate starts")]
    NotReplayed {
        /// Next position the reader would give.
        read: u64,
        /// Where the log ends.
        end: u64,
    },
    /// The journal does not begin at its first record, and no checkpoint stands for what is missing.
    #[error(
        "the journal begins at position {oldest} and no checkpoint that reaches it can be used: put the missing \
         segments or a checkpoint back from a copy"
    )]
    NoStart {
        /// First position there is.
        oldest: u64,
    },
    /// Epochs only grow.
    #[error("epoch {asked} does not follow epoch {last} of the journal")]
    Epoch {
        /// The epoch asked for.
        asked: u64,
        /// The newest in the journal.
        last: u64,
    },
    /// The hot ring holds what the writer never writes.
    #[error(
        "the hot ring is damaged at position {position}: stop everything that writes to it, then start again"
    )]
    HotDamaged {
        /// Where.
        position: u64,
    },
    /// The archiver thread could not be started, or died.
    #[error("the archiver thread {0}")]
    Thread(&'static str),
}

impl JournalError {
    /// Names the step that failed.
    pub(super) fn io(step: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { step, source }
    }
}
