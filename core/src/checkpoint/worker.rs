//! The thread that keeps checkpoints: it sleeps until the journal has grown, lets its replica catch up with what is on
//! disk, writes, and removes what nobody needs. At the lowest priority: it yields to every other thread, but not for so
//! long that what it holds in the file system could keep the archiver waiting.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ringfence_ipc::journal::checkpoint::{Checkpoint, CheckpointError, CheckpointHeader};
use ringfence_ipc::journal::hot::{HotReader, status};
use ringfence_ipc::journal::{FIRST_POSITION, FollowError, Follower};
use ringfence_ipc::msg::SLOT_BYTES;
use tracing::{error, info, warn};

use super::files;
use super::recovered::{Replica, ReplicaError};
use super::retention::Retention;
use crate::config::CoreConfig;
use crate::gate::{Capacity, RestoreError};
use crate::journal::medium::free_bytes;

/// The niceness of threads that yield to all others.
const LOWEST: i32 = 19;
/// Records between two looks at whether it has to stop.
const BURST: usize = 1024;
/// How often the journal's growth is looked at.
const POLL: Duration = Duration::from_millis(50);
/// Between two checkpoints of a busy journal.
const PAUSE: Duration = Duration::from_millis(500);
/// At a stop in good order, a checkpoint is worth its time when the journal has grown by this part of the distance.
const LAST_SHARE: u64 = 8;
/// At a stop, a replica further behind than this many distances is not waited for.
const LAST_REACH: u64 = 4;
/// How long a record that must be there may take to be found, while the archive takes over from the hot ring.
const READ_PATIENCE: Duration = Duration::from_secs(5);

/// What to keep, where, and how often.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Directory of the archive; checkpoints stand beside the segments.
    pub dir: PathBuf,
    /// The hot ring.
    pub hot_path: PathBuf,
    /// Where followers register.
    pub run_dir: PathBuf,
    /// As the gate's.
    pub capacity: Capacity,
    /// Slots of journal between two checkpoints; 0: never.
    pub every_slots: u64,
    /// How much of the journal is kept.
    pub retention: Retention,
    /// Free bytes of the disk that no checkpoint may take: the journal needs them.
    pub spare_bytes: u64,
    /// Added to the thread's niceness.
    pub nice: i32,
}

impl Plan {
    /// As the core is configured.
    #[must_use]
    pub fn of(config: &CoreConfig) -> Self {
        let journal = &config.journal;
        Self {
            dir: config.journal_dir(),
            hot_path: config.hot_path(),
            run_dir: config.run_dir.clone(),
            capacity: config.gate_capacity(),
            every_slots: journal.checkpoint_bytes.div_ceil(SLOT_BYTES as u64),
            retention: Retention {
                bytes: journal.retain_bytes,
                age: journal.retain_ns.map(Duration::from_nanos),
                max_lag_bytes: journal.max_lag_bytes,
            },
            spare_bytes: config.journal_options().low_water_bytes(),
            nice: LOWEST,
        }
    }
}

/// Why no more checkpoints are written in this life.
#[derive(Debug, thiserror::Error)]
enum WorkerError {
    #[error("the disk: {0}")]
    Io(#[from] io::Error),
    #[error("reading the journal: {0}")]
    Follow(#[from] FollowError),
    #[error("the journal ends at {end}, not at {wanted}")]
    Short { end: u64, wanted: u64 },
    #[error("{0}")]
    Replica(#[from] ReplicaError),
    #[error("the journal's checksum chain is not known at {0}")]
    Chain(u64),
    #[error("the checkpoint it would go on from: {0}")]
    Restore(#[from] RestoreError),
    #[error("the checkpoint it would go on from: {0}")]
    Checkpoint(#[from] CheckpointError),
}

/// The running thread. Dropping it stops it.
#[derive(Debug)]
pub struct Worker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Option<Keeper>>>,
}

impl Worker {
    /// Starts the thread. `hot` is the running gate's ring; `recovered_from` the checkpoint that this life began with.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn spawn(plan: Plan, hot: HotReader, recovered_from: Option<u64>) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let keeper = Keeper { plan, hot, kept: recovered_from, written: None, live: None, cramped: false };
        let builder = std::thread::Builder::new().name("checkpoints".to_owned());
        let thread = builder.spawn(move || keeper.run(&told))?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Ends the thread, and writes a last checkpoint if it is worth it, on the caller's time. Stop the archiver first.
    pub fn stop(mut self) {
        if let Some(mut keeper) = self.join().filter(Keeper::is_due_at_the_end) {
            keeper.round(&AtomicBool::new(false)).unwrap_or_else(|error| give_up(&error));
        }
    }

    fn join(&mut self) -> Option<Keeper> {
        self.stop.store(true, Ordering::Release);
        let thread = self.thread.take()?;
        thread.thread().unpark();
        // A panic there has said so, and has nothing to do with the journal.
        thread.join().ok().flatten()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.join());
    }
}

fn give_up(error: &WorkerError) {
    error!(%error, "no more checkpoints are written: the next start reads the journal from the last one");
}

/// The replica and where it reads.
#[derive(Debug)]
struct Live {
    follower: Follower,
    replica: Replica,
}

#[derive(Debug)]
struct Keeper {
    plan: Plan,
    hot: HotReader,
    /// Position of the newest good checkpoint.
    kept: Option<u64>,
    /// When this life last wrote one.
    written: Option<Instant>,
    live: Option<Live>,
    /// The disk had no room for the last one.
    cramped: bool,
}

impl Keeper {
    /// Keeps checkpoints until it has to stop; `None`: something is wrong with them.
    fn run(mut self, stop: &AtomicBool) -> Option<Self> {
        // Refused, it only takes more of the CPU.
        let _ = rustix::process::setpriority_process(None, self.plan.nice);
        while !stop.load(Ordering::Acquire) {
            if self.is_due()
                && let Err(error) = self.round(stop)
            {
                give_up(&error);
                return None;
            }
            std::thread::park_timeout(POLL);
        }
        Some(self)
    }

    /// Slots on disk behind the newest checkpoint.
    fn grown(&self) -> u64 {
        self.hot.durable_pos().saturating_sub(self.kept.unwrap_or(FIRST_POSITION))
    }

    fn is_due(&self) -> bool {
        let every = self.plan.every_slots;
        every > 0 && self.grown() >= every && self.written.is_none_or(|at| at.elapsed() >= PAUSE)
    }

    fn is_due_at_the_end(&self) -> bool {
        let every = self.plan.every_slots;
        let read = self.live.as_ref().map_or(self.kept.unwrap_or(FIRST_POSITION), |l| l.follower.position());
        let behind = self.hot.durable_pos().saturating_sub(read);
        let closed = self.hot.status() & status::CLOSED != 0;
        closed
            && every > 0
            && self.grown() >= every / LAST_SHARE
            && behind <= every.saturating_mul(LAST_REACH)
    }

    /// One more checkpoint: of everything that is on disk now. Ends early when it has to stop.
    fn round(&mut self, stop: &AtomicBool) -> Result<(), WorkerError> {
        let end = self.hot.durable_pos();
        let started = Instant::now();
        let mut live = match self.live.take() {
            Some(live) => live,
            None => self.begin()?,
        };
        let there = catch_up(&mut live, end, stop)?;
        let Live { follower, replica } = self.live.insert(live);
        if !there {
            return Ok(());
        }
        let header = CheckpointHeader {
            journal_id: self.hot.header().journal_id,
            position: end,
            epoch: u64::from(replica.gate().epoch()),
            chain: follower.chain().ok_or(WorkerError::Chain(end))?,
            state_hash: replica.gate().state_hash(),
        };
        self.written = Some(Instant::now());
        let (free, needed) = (free_bytes(&self.plan.dir)?, replica.saved_bytes()?);
        let cramped =
            std::mem::replace(&mut self.cramped, free < needed.saturating_add(self.plan.spare_bytes));
        if self.cramped {
            if !cramped {
                warn!(free, needed, "no room for a checkpoint beside the journal: free space on its disk");
            }
            return Ok(());
        }
        files::write(&self.plan.dir, &header, |body| replica.save(body))?;
        let older = self.kept.replace(end);
        let kept: Vec<u64> = older.into_iter().chain([end]).collect();
        files::keep_only(&self.plan.dir, &kept)?;
        info!(position = end, took = ?started.elapsed(), "checkpoint written");
        if let Some(older) = older {
            self.retain(older, end);
        }
        Ok(())
    }

    /// Nothing is removed unless both checkpoints read back well: after that there is no other way to what is gone.
    fn retain(&self, older: u64, newest: u64) {
        let Plan { dir, run_dir, retention, .. } = &self.plan;
        if retention.bytes.is_none() && retention.age.is_none() {
            return;
        }
        if let Err(error) = Checkpoint::read(dir, newest).and_then(|_| Checkpoint::read(dir, older)) {
            warn!(%error, "a checkpoint does not read back: no journal segment is removed");
            return;
        }
        if let Err(error) = retention.enforce(dir, run_dir, older.min(newest), newest) {
            warn!(%error, "cannot remove old journal segments");
        }
    }

    /// A replica at the newest checkpoint, or at the journal's first record.
    fn begin(&self) -> Result<Live, WorkerError> {
        let Plan { dir, hot_path, capacity, .. } = &self.plan;
        let (replica, position, chain) = match self.kept {
            Some(position) => {
                let saved = Checkpoint::read(dir, position)?;
                (Replica::restore(&saved)?, position, Some(saved.header().chain))
            }
            None => (Replica::new(*capacity), FIRST_POSITION, None),
        };
        let follower = Follower::open_chained(hot_path, dir, position, chain)?;
        Ok(Live { follower, replica })
    }
}

/// Brings the replica to `end`, which is on disk; false when it had to stop before.
fn catch_up(live: &mut Live, end: u64, stop: &AtomicBool) -> Result<bool, WorkerError> {
    let mut deadline = None;
    while live.follower.position() < end {
        let mut read = 0;
        while read < BURST
            && live.follower.position() < end
            && let Some((position, record)) = live.follower.next()?
        {
            live.replica.apply(position, &record)?;
            read += 1;
        }
        if stop.load(Ordering::Acquire) {
            return Ok(false);
        }
        if read > 0 {
            deadline = None;
            continue;
        }
        let deadline = *deadline.get_or_insert_with(|| Instant::now() + READ_PATIENCE);
        if Instant::now() > deadline {
            return Err(WorkerError::Short { end: live.follower.position(), wanted: end });
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(true)
}
