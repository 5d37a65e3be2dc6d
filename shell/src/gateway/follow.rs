//! The follower thread: the journal into the projection, for good.
//!
//! It begins at the journal's first record; where that is gone, at the oldest checkpoint that can be used. It registers,
//! so that no segment is removed while it is read.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use ringfence_ipc::journal::chained::ArchiveError;
use ringfence_ipc::journal::checkpoint::Checkpoint;
use ringfence_ipc::journal::registry::Place;
use ringfence_ipc::journal::{FIRST_POSITION, FollowError, Follower, Record, SegmentDir};

use super::Gateway;

/// Records applied under one lock.
const BURST: usize = 512;
/// Slots behind the gate from which on events are not rendered: far more than the ring could keep.
const QUIET_ABOVE_SLOTS: u64 = 200_000;
const IDLE_MIN: Duration = Duration::from_micros(250);
const IDLE_MAX: Duration = Duration::from_millis(4);
const RETRY: Duration = Duration::from_millis(500);
/// Under which name the journal waits for this follower.
const NAME: &str = "shell";

/// The follower's thread; stops when dropped.
pub struct Following {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Follows the journal into `gateway`. The gate need not run yet.
///
/// # Errors
/// When no thread can be started.
pub fn start(gateway: Arc<Gateway>, hot_path: PathBuf, archive_dir: PathBuf) -> std::io::Result<Following> {
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    let thread = std::thread::Builder::new().name("follower".into()).spawn(move || {
        while !told.load(Ordering::Acquire) {
            if let Err(error) = follow(&gateway, &hot_path, &archive_dir, &told) {
                tracing::error!(%error, "cannot follow the journal; starting again from its oldest record or checkpoint");
                gateway.reset();
                std::thread::sleep(RETRY);
            }
        }
    })?;
    Ok(Following { stop, thread: Some(thread) })
}

fn follow(
    gateway: &Gateway,
    hot_path: &Path,
    archive_dir: &Path,
    stop: &AtomicBool,
) -> Result<(), FollowError> {
    let mut place = Place::beside(hot_path, NAME);
    // Before the oldest position is looked up: from here on it stays.
    place.tell(FIRST_POSITION);
    let mut follower = begin(gateway, hot_path, archive_dir)?;
    let mut burst: Vec<(u64, Record)> = Vec::with_capacity(BURST);
    let mut idle = IDLE_MIN;
    while !stop.load(Ordering::Acquire) {
        let quiet = follower.lag() > QUIET_ABOVE_SLOTS;
        while burst.len() < BURST
            && let Some(found) = follower.next()?
        {
            burst.push(found);
        }
        if burst.is_empty() {
            // Without a hot ring there is no gate yet, and so nothing to be up to date with.
            if follower.hot().is_some() {
                gateway.set_caught_up();
            }
            std::thread::sleep(idle);
            idle = (idle * 2).min(IDLE_MAX);
        } else {
            gateway.apply(&burst, quiet);
            burst.clear();
            idle = IDLE_MIN;
        }
        place.tell(follower.position());
    }
    Ok(())
}

/// A follower at the journal's first record, or at the oldest checkpoint, which `gateway` then shows.
fn begin(gateway: &Gateway, hot_path: &Path, archive_dir: &Path) -> Result<Follower, FollowError> {
    let oldest = SegmentDir::new(archive_dir).oldest()?;
    if oldest == FIRST_POSITION {
        return Follower::open(hot_path, archive_dir, FIRST_POSITION);
    }
    let checkpoints = Checkpoint::list(archive_dir).map_err(ArchiveError::List)?;
    for position in checkpoints.into_iter().filter(|position| *position >= oldest) {
        let restored = Checkpoint::read(archive_dir, position).and_then(|saved| {
            gateway.restore(&saved)?;
            Ok(saved.header().chain)
        });
        match restored {
            Ok(chain) => {
                tracing::info!(position, "the projection begins at a checkpoint: older orders are not shown");
                return Follower::open_chained(hot_path, archive_dir, position, Some(chain));
            }
            Err(error) => tracing::warn!(position, %error, "a checkpoint is passed over"),
        }
    }
    Err(FollowError::Gone { position: FIRST_POSITION, oldest })
}
