//! Where recovery begins to read: a table over what the checkpoints are found to be.
//!
//! | newest \ older | good | anything else, or none |
//! |---|---|---|
//! | good | the newest, then the records after it | the newest |
//! | torn, of another layout, journal or past, in the future, behind, unfit; or none | the older one | the whole log; where it does not begin at its first record: refuse |
//!
//! What is passed over is said in the log. No checkpoint is ever trusted further than its own checksum, the checksum
//! chain of the journal at its position, and the hash of the state that it gives.

use std::path::Path;

use ringfence_ipc::journal::FIRST_POSITION;
use ringfence_ipc::journal::checkpoint::{Checkpoint, CheckpointError};
use tracing::{info, warn};

use super::Recovered;
use crate::gate::{ApplyError, Capacity, RestoreError};
use crate::journal::medium::Medium;
use crate::journal::{JournalError, RecoveredLog};

/// Why a checkpoint is passed over.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Damaged, cut off, or of another version.
    #[error(transparent)]
    File(#[from] CheckpointError),
    /// Of another journal.
    #[error("it belongs to another journal")]
    OtherJournal,
    /// The journal ends before it.
    #[error("the journal ends at {end}, before it")]
    Future {
        /// Where the journal ends.
        end: u64,
    },
    /// The records after it are not all there.
    #[error("the journal begins at {oldest}, after it")]
    Behind {
        /// The oldest position there is.
        oldest: u64,
    },
    /// The records before its position are not those it was made from.
    #[error("it was made from other records than the journal holds before it")]
    OtherPast,
    /// It does not become a gate.
    #[error(transparent)]
    Unfit(#[from] RestoreError),
}

/// Where recovery began.
#[derive(Debug)]
pub struct Recovery {
    /// The gate and the rest, all records applied.
    pub recovered: Recovered,
    /// Position of the checkpoint that was used; `None`: the log was read from its first record.
    pub checkpoint: Option<u64>,
    /// Checkpoints that were passed over, and why.
    pub passed_over: Vec<(u64, Fault)>,
}

/// Why a journal cannot be recovered.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// It does not fit the configuration, or itself.
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

/// Brings a gate to the end of `log`, from the newest checkpoint in `dir` that can be used; without one, its tables
/// have the size `cap` until a record says otherwise.
///
/// # Errors
/// [`RecoverError`] when records are missing or damaged, or do not fit.
pub fn recover<M: Medium>(
    dir: &Path,
    log: &mut RecoveredLog<M>,
    cap: Capacity,
) -> Result<Recovery, RecoverError> {
    let mut passed_over = Vec::new();
    let mut start = None;
    for position in Checkpoint::list(dir).unwrap_or_default().into_iter().rev() {
        match usable(dir, position, log) {
            Ok(recovered) => {
                start = Some((position, recovered));
                break;
            }
            Err(fault) => {
                warn!(position, %fault, "a checkpoint is passed over");
                passed_over.push((position, fault));
            }
        }
    }
    let checkpoint = start.as_ref().map(|(position, _)| *position);
    let mut recovered = match start {
        Some((position, recovered)) => {
            info!(position, end = log.next_position(), "recovery starts at a checkpoint");
            recovered
        }
        None => {
            log.start_at_first()?;
            Recovered::new(cap)
        }
    };
    for found in log.by_ref() {
        let (position, record) = found?;
        recovered.apply(position, &record)?;
    }
    Ok(Recovery { recovered, checkpoint, passed_over })
}

/// The state that the checkpoint at `position` holds; the log then goes on from there.
fn usable<M: Medium>(dir: &Path, position: u64, log: &mut RecoveredLog<M>) -> Result<Recovered, Fault> {
    let (oldest, end) = (log.oldest_position(), log.next_position());
    if position > end {
        return Err(Fault::Future { end });
    }
    if position < oldest.max(FIRST_POSITION) {
        return Err(Fault::Behind { oldest });
    }
    let saved = Checkpoint::read(dir, position)?;
    if saved.header().journal_id != log.journal_id() {
        return Err(Fault::OtherJournal);
    }
    if !log.start_at(position, saved.header().chain) {
        return Err(Fault::OtherPast);
    }
    Ok(Recovered::restore(&saved)?)
}
