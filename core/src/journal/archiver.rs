//! The archiver: follows the hot ring, writes groups to the archive, syncs, and says how far it is.
//!
//! [`Pump`] is the work without the thread, one step at a time; [`Archiver`] is the thread around it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use ringfence_ipc::journal::hot::{HotHeader, HotReader, HotWords, Look, status};
use ringfence_ipc::msg::SLOT_BYTES;
use ringfence_ipc::segment::Mapping;

use super::medium::Medium;
use super::segments::SegmentWriter;
use super::{JournalError, JournalOptions};

/// Written but unsynced bytes at which a sync does not wait for its interval.
const SYNC_BYTES: u64 = 32 << 20;
/// How long records gather in the ring once the archiver has caught up, at most: a write costs the same for few as for
/// many, nobody waits for it while there is room, and where CPUs are few it would take one from a strategy in a burst.
const GATHER: Duration = Duration::from_millis(20);
/// The part of the ring that ends it, as a divisor, and how often that is looked at.
const GATHER_RING_SHARE: u64 = 8;
const GATHER_LOOK: Duration = Duration::from_millis(1);
/// How long it sleeps instead in tier `power`, where every answer waits for it.
const POWER_IDLE_SLEEP: Duration = Duration::from_micros(50);
/// How often the disk's free space is looked at.
const DISK_CHECK: Duration = Duration::from_millis(250);
const PREFETCH_SLOTS: u64 = 32;

/// Told once, on the archiver thread, when it has to stop.
pub type OnError = Box<dyn FnOnce(&JournalError) + Send>;

/// The hot ring as the archiver holds it: it reads the slots and writes the header's words.
#[derive(Clone, Debug)]
pub(super) struct HotStage {
    pub(super) reader: HotReader,
    pub(super) words: HotWords,
}

impl HotStage {
    pub(super) fn create(mapping: &Mapping, header: &HotHeader, power: bool) -> Result<Self, JournalError> {
        header.write(mapping)?;
        let words = HotWords::of(mapping)?;
        words.status.publish(if power { status::POWER } else { 0 });
        let damaged = JournalError::HotDamaged { position: header.start };
        Ok(Self { reader: HotReader::of(mapping).map_err(|_| damaged)?, words })
    }
}

/// How often things happened, readable at any time.
#[derive(Debug, Default)]
struct Counts {
    stop: AtomicBool,
    slots: AtomicU64,
    groups: AtomicU64,
    syncs: AtomicU64,
    errors: AtomicU64,
}

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// There may be more to do at once.
    Busy,
    /// Caught up.
    Idle,
    /// Everything is on disk and closed.
    Closed,
}

/// The archiver's work.
pub(crate) struct Pump<M: Medium> {
    stage: HotStage,
    segments: SegmentWriter<M>,
    /// The longest that written records wait for a sync; in tier `power` none does.
    sync_interval: Duration,
    power: bool,
    min_free_bytes: u64,
    last_sync: Instant,
    last_disk_check: Option<Instant>,
    /// What is on disk is unknown: nothing is tried again.
    failed: bool,
    counts: Arc<Counts>,
}

impl<M: Medium> Pump<M> {
    pub(super) fn new(stage: HotStage, segments: SegmentWriter<M>, options: &JournalOptions) -> Self {
        Self {
            stage,
            segments,
            sync_interval: if options.power { Duration::ZERO } else { options.sync_interval },
            power: options.power,
            min_free_bytes: options.low_water_bytes(),
            last_sync: Instant::now(),
            last_disk_check: None,
            failed: false,
            counts: Arc::default(),
        }
    }

    /// Copies at most a group, writes and syncs when it is time. With `stop`, an empty ring ends the work.
    ///
    /// # Errors
    /// What made it stop for good; the ring's status says so too.
    pub(crate) fn step(&mut self, now: Instant, stop: bool) -> Result<Step, JournalError> {
        if self.failed {
            return Err(JournalError::Thread("stopped at an error: start the gate again, recovery decides"));
        }
        let result = self.try_step(now, stop);
        self.failed = result.is_err();
        if result.is_err() {
            self.counts.errors.fetch_add(1, Ordering::Relaxed);
            self.set_status(status::FAILED, true);
        }
        result
    }

    fn try_step(&mut self, now: Instant, stop: bool) -> Result<Step, JournalError> {
        let (before, segment) = (self.segments.written(), self.segments.segment());
        self.stage_group()?;
        let whole_group = self.segments.is_group();
        let sync_due = now.duration_since(self.last_sync) >= self.sync_interval;
        if self.segments.staged() > self.segments.written() {
            self.segments.write().map_err(JournalError::io("writing to the archive"))?;
            self.counts.groups.fetch_add(1, Ordering::Relaxed);
        }
        // A new segment writes the end of the one before by itself.
        let moved = self.segments.written() - before;
        if moved > 0 {
            self.stage.words.archived.publish(self.segments.written());
            self.counts.slots.fetch_add(moved, Ordering::Relaxed);
        }
        if self.segments.segment() != segment {
            // It was allocated whole: the disk may have become nearly full with it.
            self.last_disk_check = None;
        }
        self.check_disk(now)?;
        if stop && moved == 0 {
            self.segments.close().map_err(JournalError::io("closing the archive"))?;
            self.counts.syncs.fetch_add(2, Ordering::Relaxed);
            self.stage.words.durable.publish(self.segments.synced());
            self.set_status(status::CLOSED, true);
            return Ok(Step::Closed);
        }
        let unsynced = (self.segments.written() - self.segments.synced()) * SLOT_BYTES as u64;
        if unsynced >= SYNC_BYTES || (unsynced > 0 && sync_due) {
            self.sync(now)?;
        }
        // Group commit: what came in during this sync goes out with the next, at once.
        Ok(if whole_group || (self.power && moved > 0) { Step::Busy } else { Step::Idle })
    }

    fn stage_group(&mut self) -> Result<(), JournalError> {
        while !self.segments.is_group() {
            let position = self.segments.staged();
            self.stage.reader.prefetch(position + PREFETCH_SLOTS);
            self.stage.reader.prefetch(position + PREFETCH_SLOTS + 1);
            let staged = self.segments.stage(&self.stage.reader);
            match staged.map_err(JournalError::io("starting a journal segment"))? {
                Look::Record(()) => {}
                Look::NotYet => break,
                Look::Overwritten | Look::Damaged => return Err(JournalError::HotDamaged { position }),
            }
        }
        Ok(())
    }

    fn sync(&mut self, now: Instant) -> Result<(), JournalError> {
        let step = "syncing the archive";
        self.segments.mark(self.segments.synced()).map_err(JournalError::io(step))?;
        self.segments.sync().map_err(JournalError::io(step))?;
        self.stage.words.durable.publish(self.segments.synced());
        self.counts.syncs.fetch_add(1, Ordering::Relaxed);
        self.last_sync = now;
        Ok(())
    }

    fn check_disk(&mut self, now: Instant) -> Result<(), JournalError> {
        if self.last_disk_check.is_some_and(|at| now.duration_since(at) < DISK_CHECK) {
            return Ok(());
        }
        self.last_disk_check = Some(now);
        let free =
            self.segments.medium().free_bytes().map_err(JournalError::io("asking for free disk space"))?;
        self.set_status(status::DISK_LOW, free < self.min_free_bytes);
        Ok(())
    }

    fn set_status(&self, bit: u64, on: bool) {
        let word = &self.stage.words.status;
        word.publish(if on { word.get() | bit } else { word.get() & !bit });
    }

    /// Sleeps until there is enough to write, or what there is has waited long enough.
    fn gather(&self) {
        let reader = &self.stage.reader;
        let enough = self.segments.staged() + reader.header().capacity / GATHER_RING_SHARE;
        let began = Instant::now();
        while began.elapsed() < GATHER
            && !self.counts.stop.load(Ordering::Acquire)
            && !reader.is_written(enough)
        {
            std::thread::park_timeout(GATHER_LOOK);
        }
    }

    fn run(mut self, on_error: Option<OnError>) -> Result<(), JournalError> {
        loop {
            // Read before the ring: whatever was appended before the stop is still copied.
            let stop = self.counts.stop.load(Ordering::Acquire);
            match self.step(Instant::now(), stop) {
                Ok(Step::Busy) => {}
                Ok(Step::Idle) if self.power => std::thread::park_timeout(POWER_IDLE_SLEEP),
                Ok(Step::Idle) => self.gather(),
                Ok(Step::Closed) => return Ok(()),
                Err(error) => {
                    tracing::error!(%error, "the journal archiver has stopped: new orders are refused");
                    if let Some(tell) = on_error {
                        tell(&error);
                    }
                    return Err(error);
                }
            }
        }
    }
}

/// What the archiver did in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchiverReport {
    /// Every record below this position is in the archive.
    pub archived_pos: u64,
    /// Every record below this position is on disk.
    pub durable_pos: u64,
    /// Slots copied.
    pub slots: u64,
    /// Groups written.
    pub groups: u64,
    /// Syncs done.
    pub syncs: u64,
    /// Errors met; at most one: the first stops it.
    pub errors: u64,
    /// Slots in the hot ring that are not in the archive yet.
    pub lag_slots: u64,
    /// The disk is nearly full.
    pub disk_low: bool,
}

/// The archiver thread. Dropping it stops it as [`Archiver::stop`] does, but the outcome is lost.
#[derive(Debug)]
pub struct Archiver {
    stage: HotStage,
    counts: Arc<Counts>,
    thread: Thread,
    join: Option<JoinHandle<Result<(), JournalError>>>,
}

impl Archiver {
    pub(super) fn spawn<M: Medium>(pump: Pump<M>, on_error: Option<OnError>) -> Result<Self, JournalError> {
        let (stage, counts) = (pump.stage.clone(), Arc::clone(&pump.counts));
        let builder = std::thread::Builder::new().name("archiver".to_owned());
        let join = builder
            .spawn(move || pump.run(on_error))
            .map_err(JournalError::io("starting the archiver thread"))?;
        Ok(Self { stage, counts, thread: join.thread().clone(), join: Some(join) })
    }

    /// Where the archiver is right now.
    #[must_use]
    pub fn report(&self) -> ArchiverReport {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let archived_pos = self.stage.reader.archived_pos();
        ArchiverReport {
            archived_pos,
            durable_pos: self.stage.reader.durable_pos(),
            slots: count(&self.counts.slots),
            groups: count(&self.counts.groups),
            syncs: count(&self.counts.syncs),
            errors: count(&self.counts.errors),
            lag_slots: self.stage.reader.end().saturating_sub(archived_pos),
            disk_low: self.stage.reader.status() & status::DISK_LOW != 0,
        }
    }

    /// The ring and what is published about it, for those who follow in this process.
    #[must_use]
    pub fn watch(&self) -> HotReader {
        self.stage.reader.clone()
    }

    /// Copies and syncs everything appended so far, closes the journal and ends the thread. Stop the writer first.
    ///
    /// # Errors
    /// What stopped the archiver before, or what closing met; the journal then is not closed, and recovery decides.
    pub fn stop(mut self) -> Result<ArchiverReport, JournalError> {
        self.join_thread()?;
        Ok(self.report())
    }

    fn join_thread(&mut self) -> Result<(), JournalError> {
        let Some(join) = self.join.take() else { return Ok(()) };
        self.counts.stop.store(true, Ordering::Release);
        self.thread.unpark();
        join.join().map_err(|_| JournalError::Thread("panicked"))?
    }
}

impl Drop for Archiver {
    fn drop(&mut self) {
        // Already told through the log, the callback and the ring's status.
        let _ = self.join_thread();
    }
}
