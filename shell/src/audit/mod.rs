//! The audit log: who did what, in lines that prove their own order.
//!
//! A request [reserves a place](AuditLog::reserve) before it does anything; without a place it is refused. What came of
//! it goes through a bounded queue to the one thread that writes. Every [`LogType`] has a series of files, and every
//! record carries the hash of the one before it, across files. docs/audit.md has the bytes and the rules.

mod files;
mod heads;
mod query;
mod record;
mod series;
mod sweep;
#[cfg(test)]
mod tests;
pub mod time;
mod verify;
mod writer;

use std::fmt;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use tokio::sync::oneshot;

pub use files::{Line, Lines, LogFile, list};
pub use query::{Found, MAX_LIMIT, MAX_OFFSET, Query, QueryError};
pub use record::{Entry, Fault, LogType, MAX_FIELD_CHARS, MAX_LINE_BYTES, Object, Stored, Who, clip};
pub use sweep::{Stats, Swept};
pub use verify::{Bad, SeriesFinding, Verification, verify};

/// The file that its one writer holds locked.
const LOCK: &str = "lock";
/// Messages in the queue that are no records.
const OTHER_MESSAGES: usize = 16;
/// How long a reader waits for what is on its way.
const SETTLE_WITHIN: Duration = Duration::from_millis(250);
/// Broken chains that are kept in words.
const MAX_BROKEN: usize = 16;

/// Where the time comes from, us since the epoch.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// How the log is kept.
#[derive(Clone)]
pub struct AuditOptions {
    /// Its directory.
    pub dir: PathBuf,
    /// Requests at work and records that wait, together.
    pub queue: usize,
    /// A record is on disk after this long.
    pub sync_interval: Duration,
    /// A file ends before it is larger than this, bytes.
    pub max_file_bytes: u64,
    /// With less free space on its disk nothing is changed any more, bytes.
    pub min_free_bytes: u64,
    /// Time between two sweeps.
    pub sweep_interval: Duration,
    /// How long the records of each type are kept, in the order of [`LogType::ALL`].
    pub retain: [Duration; 5],
    /// The clock.
    pub clock: Clock,
}

const DAY: Duration = Duration::from_secs(86_400);

impl AuditOptions {
    /// The defaults, in `dir`.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            queue: 16_384,
            sync_interval: Duration::from_millis(50),
            max_file_bytes: 100 << 20,
            min_free_bytes: 64 << 20,
            sweep_interval: Duration::from_secs(3600),
            retain: [90 * DAY, 365 * DAY, 365 * DAY, 14 * DAY, 30 * DAY],
            clock: Arc::new(time::now_us),
        }
    }
}

impl fmt::Debug for AuditOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditOptions").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// Why nothing can be recorded, and so nothing may be changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// Every place is taken.
    #[error("too many requests wait for the audit log")]
    Full,
    /// The log cannot be written.
    #[error("the audit log cannot be written: {0}")]
    Failing(String),
}

/// What threads and requests share.
struct Shared {
    options: AuditOptions,
    taken: AtomicUsize,
    failing: AtomicBool,
    why: Mutex<Option<String>>,
    broken: Mutex<Vec<String>>,
    written: [AtomicU64; 5],
    refused: AtomicU64,
    missed: AtomicU64,
    synced_us: AtomicU64,
    /// The first file of each series that takes records.
    first_open: [AtomicU64; 5],
    /// Held by whoever sweeps.
    sweeping: Mutex<()>,
}

impl Shared {
    fn now_us(&self) -> u64 {
        (self.options.clock)()
    }

    /// Whether the log cannot be written now, and why; says what it was before.
    fn set_failing(&self, why: Option<String>) -> Option<String> {
        let failing = why.is_some();
        let before = std::mem::replace(&mut *self.why.lock().unwrap_or_else(PoisonError::into_inner), why);
        self.failing.store(failing, Ordering::Release);
        before
    }

    /// The log cannot be written, or can again.
    fn tell_failing(&self, why: Option<String>) {
        match (self.set_failing(why.clone()), why) {
            (None, Some(why)) => tracing::error!(
                why,
                dir = %self.options.dir.display(),
                "the audit log cannot be written: requests that change something are refused until it can"
            ),
            (Some(_), None) => tracing::info!("the audit log is written again"),
            _ => {}
        }
    }

    /// A chain does not hold.
    fn tell_broken(&self, what: String) {
        tracing::error!(what, "an audit chain is broken: see `ringfence audit verify`; nothing is repaired");
        let mut broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        if broken.len() < MAX_BROKEN && !broken.contains(&what) {
            broken.push(what);
        }
    }
}

/// One of the queue's places; free again when it is dropped.
struct Place(Arc<Shared>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

struct Queued {
    entry: Entry,
    /// Told once the record is on disk.
    on_disk: Option<oneshot::Sender<()>>,
    _place: Place,
}

enum Message {
    Record(Box<Queued>),
    /// Told once everything before it is written.
    Settle(Sender<()>),
    Stop,
}

/// The log, for whoever records something. Cheap to clone.
#[derive(Clone)]
pub struct AuditLog {
    shared: Arc<Shared>,
    queue: Sender<Message>,
    sweep: Sender<sweep::Wake>,
}

impl fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AuditLog").field(&self.shared.options.dir).finish()
    }
}

/// The log's threads. Dropping it writes what waits, and ends them.
pub struct Auditing {
    log: AuditLog,
    writer: Option<JoinHandle<()>>,
    sweeper: Option<JoinHandle<()>>,
}

impl Drop for Auditing {
    fn drop(&mut self) {
        let _ = self.log.sweep.send(sweep::Wake::Stop);
        self.sweeper.take().map(JoinHandle::join);
        let _ = self.log.queue.send(Message::Stop);
        self.writer.take().map(JoinHandle::join);
    }
}

/// A place in the queue: whoever has it can record one thing.
pub struct Slot {
    log: AuditLog,
    place: Place,
}

impl Slot {
    /// Records `entry`. Of a durable type, what is returned is ready once it is on disk, and fails when it will not be.
    #[must_use = "durable types are answered only when this is ready"]
    pub fn write(self, entry: Entry) -> Option<oneshot::Receiver<()>> {
        if entry.log_type.is_durable() {
            return Some(self.write_durably(entry));
        }
        self.send(entry, None);
        None
    }

    /// As [`Self::write`], durable whatever the type.
    pub fn write_durably(self, entry: Entry) -> oneshot::Receiver<()> {
        let (on_disk, written) = oneshot::channel();
        self.send(entry, Some(on_disk));
        written
    }

    fn send(self, entry: Entry, on_disk: Option<oneshot::Sender<()>>) {
        let queued = Queued { entry, on_disk, _place: self.place };
        // Never full: there are as many places as slots. A writer that is gone drops `on_disk`.
        let _ = self.log.queue.try_send(Message::Record(Box::new(queued)));
    }
}

impl AuditLog {
    /// Opens the log and starts its threads. A line that was cut off by a crash is removed and that is recorded; a chain
    /// that is broken is recorded, and goes on in a new file.
    ///
    /// # Errors
    /// When the directory cannot be used, or another process writes there.
    pub fn start(options: AuditOptions) -> io::Result<(Self, Auditing)> {
        std::fs::create_dir_all(&options.dir)?;
        let lock = File::create(options.dir.join(LOCK))?;
        lock.try_lock().map_err(|error| {
            io::Error::other(format!("another process writes {}: {error}", options.dir.display()))
        })?;
        let (queue, queued) = bounded(options.queue + OTHER_MESSAGES);
        let (sweep, woken) = bounded(1);
        let shared = Arc::new(Shared {
            taken: AtomicUsize::new(0),
            failing: AtomicBool::new(false),
            why: Mutex::default(),
            broken: Mutex::default(),
            written: Default::default(),
            refused: AtomicU64::new(0),
            missed: AtomicU64::new(0),
            synced_us: AtomicU64::new((options.clock)()),
            first_open: Default::default(),
            sweeping: Mutex::default(),
            options,
        });
        let log = Self { shared: Arc::clone(&shared), queue, sweep };
        let writer = writer::Writer::open(shared, log.sweep.clone())?;
        let writer = std::thread::Builder::new().name("audit".into()).spawn(move || {
            writer.run(&queued);
            drop(lock);
        })?;
        let mut auditing = Auditing { log: log.clone(), writer: Some(writer), sweeper: None };
        let sweeping = log.clone();
        auditing.sweeper = Some(
            std::thread::Builder::new()
                .name("audit-sweep".into())
                .spawn(move || sweep::run(&sweeping, &woken))?,
        );
        Ok((log, auditing))
    }

    /// A place for one record.
    ///
    /// # Errors
    /// [`Unavailable`]: then nothing may be changed.
    pub fn reserve(&self) -> Result<Slot, Unavailable> {
        let shared = &self.shared;
        if shared.failing.load(Ordering::Acquire) {
            shared.refused.fetch_add(1, Ordering::Relaxed);
            let why = shared.why.lock().unwrap_or_else(PoisonError::into_inner).clone();
            return Err(Unavailable::Failing(why.unwrap_or_default()));
        }
        let place = || Place(Arc::clone(shared));
        let free = |taken| (taken < shared.options.queue).then_some(taken + 1);
        match shared.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, free) {
            Ok(_) => Ok(Slot { log: self.clone(), place: place() }),
            Err(_) => {
                shared.refused.fetch_add(1, Ordering::Relaxed);
                Err(Unavailable::Full)
            }
        }
    }

    /// Waits a moment until what was recorded before this can be read.
    fn settle(&self) {
        let (written, told) = bounded(1);
        if self.queue.try_send(Message::Settle(written)).is_ok() {
            // A log that cannot be written is read as it is.
            let _ = told.recv_timeout(SETTLE_WITHIN);
        }
    }

    /// Counts something without effect that could not be recorded.
    pub fn miss(&self) {
        self.shared.missed.fetch_add(1, Ordering::Relaxed);
    }

    /// How it is.
    #[must_use]
    pub fn status(&self) -> Status {
        let shared = &self.shared;
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Status {
            failing: shared.why.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            broken: shared.broken.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            queue_depth: shared.taken.load(Ordering::Relaxed),
            written: std::array::from_fn(|i| load(&shared.written[i])),
            refused: load(&shared.refused),
            missed: load(&shared.missed),
            sync_age: Duration::from_micros(shared.now_us().saturating_sub(load(&shared.synced_us))),
        }
    }
}

/// How the log is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Why it cannot be written; none: it can.
    pub failing: Option<String>,
    /// Chains that do not hold, as far as this process has met them.
    pub broken: Vec<String>,
    /// Requests at work and records that wait.
    pub queue_depth: usize,
    /// Records written, in the order of [`LogType::ALL`].
    pub written: [u64; 5],
    /// Requests that were refused because nothing could be recorded.
    pub refused: u64,
    /// Refusals of others that could not be recorded.
    pub missed: u64,
    /// Time since everything written was on disk.
    pub sync_age: Duration,
}
