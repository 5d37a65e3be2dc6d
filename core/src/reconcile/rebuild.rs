//! A gate rebuilt from its journal, of a run that lives or one that is dead: nobody is asked, and nothing is written.

use std::path::Path;
use std::time::{Duration, Instant};

use ringfence_ipc::journal::checkpoint::Checkpoint;
use ringfence_ipc::journal::{FIRST_POSITION, FollowError, Follower, Record};

use super::GateView;
use crate::gate::{ApplyError, Capacity, Gate};

/// How long records that must be there may take to be found: in tier `power` until they are on disk.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(1);

/// Why a journal gives no view.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// It cannot be read.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// Its records do not fit together.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// It does not reach the position that was asked for.
    #[error("the journal ends at {end}, before position {wanted}: is it the journal of this snapshot?")]
    Short {
        /// Where it ends.
        end: u64,
        /// What was asked for.
        wanted: u64,
    },
    /// What was asked for is older than everything that is left.
    #[error(
        "position {0} is no record's beginning, or older than the oldest checkpoint: take a new snapshot"
    )]
    Gone(u64),
}

/// What the gate whose journal lies at `hot` and `archive` believed before `position`; none: at the journal's end.
///
/// # Errors
/// [`ViewError`].
pub fn view_at(hot: &Path, archive: &Path, position: Option<u64>) -> Result<GateView, ViewError> {
    let (mut gate, mut follower) = begin(hot, archive, position)?;
    // Of a gate that lives: what it has written by now, not what it goes on writing. Of a dead one: everything.
    let written = (follower.lag() > 0).then(|| follower.position().saturating_add(follower.lag()));
    let wanted = position.or(written).unwrap_or(u64::MAX);
    let (mut last_report_ns, mut deadline) = (0, Instant::now() + PATIENCE);
    while follower.position() < wanted {
        match follower.next()? {
            Some((at, record)) => {
                gate.apply(at, &record)?;
                if let Record::Report(report) = record {
                    last_report_ns = report.ts_ns;
                }
                deadline = Instant::now() + PATIENCE;
            }
            None if position.is_none() => break,
            None if Instant::now() > deadline => {
                return Err(ViewError::Short { end: follower.position(), wanted });
            }
            None => std::thread::sleep(PAUSE),
        }
    }
    if position.is_some() && follower.position() != wanted {
        return Err(ViewError::Gone(wanted));
    }
    Ok(GateView::of(&gate, follower.position(), last_report_ns))
}

/// At the newest checkpoint that is not beyond `position` and can be used, else at the first record.
fn begin(hot: &Path, archive: &Path, position: Option<u64>) -> Result<(Gate, Follower), ViewError> {
    let mut kept = Checkpoint::list(archive).unwrap_or_default();
    kept.retain(|at| position.is_none_or(|position| *at <= position));
    for at in kept.into_iter().rev() {
        let Ok(saved) = Checkpoint::read(archive, at) else { continue };
        let Ok(gate) = Gate::restore(&saved) else { continue };
        if let Ok(follower) = Follower::open_chained(hot, archive, at, Some(saved.header().chain)) {
            return Ok((gate, follower));
        }
    }
    Ok((Gate::new(Capacity::SMALLEST, 0, 0), Follower::open(hot, archive, FIRST_POSITION)?))
}
