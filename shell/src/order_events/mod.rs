//! `orders.events`: what happens to orders, as messages of a topic that anybody may follow.
//!
//! A projection of the journal: one message for each record about an order. Its place in the journal is the mark of the
//! topic's writer, which becomes visible together with the messages or not at all. So after any death, of this process, of
//! the brokers or of both, it goes on where the topic ends. The journal is the buffer: while the brokers are away at most
//! one batch is held here, and no order waits.

mod mark;
mod render;
mod source;
mod status;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ringfence_ipc::journal::FollowError;
use ringfence_topics::{Draft, Engine, TopicError, TopicSpec, Topics, Writer};

use mark::Mark;
use source::{Batch, Source, journal_end, journal_id};
pub use status::{State, Status};

/// Rest when nothing has happened.
const IDLE_MIN: Duration = Duration::from_millis(1);
const IDLE_MAX: Duration = Duration::from_millis(20);
/// Rest after a failure; doubled with each, up to the longest.
const BACK_OFF_MIN: Duration = Duration::from_millis(100);
const BACK_OFF_MAX: Duration = Duration::from_secs(5);
/// How often a resting thread looks whether it should stop.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long the end of the shell waits. What is not written by then is written after the next start.
const STOP_WITHIN: Duration = Duration::from_secs(1);
/// Journal slots without a message after which the mark moves all the same, so that the journal need not be kept.
const MARK_EVERY_SLOTS: u64 = 1 << 18;

/// Where order events go, and how long they stay.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where topics are kept.
    pub engine: Engine,
    /// The topic.
    pub topic: String,
    /// Messages are kept for so long, at least.
    pub retention: Duration,
    /// The embedded log drops the oldest beyond so many bytes.
    pub size_bytes: u64,
    /// Copies on Kafka.
    pub replicas: u32,
}

/// The thread; told to stop when dropped.
pub struct Publishing {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Publishing {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let deadline = Instant::now() + STOP_WITHIN;
        while self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) && Instant::now() < deadline {
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// Publishes the journal's order events. The gate need not run yet, nor the brokers.
///
/// # Errors
/// When no thread can be started.
pub fn start(
    options: Options,
    hot_path: PathBuf,
    archive_dir: PathBuf,
) -> std::io::Result<(Arc<Status>, Publishing)> {
    let status = Arc::new(Status::new(options.engine.name()));
    let stop = Arc::new(AtomicBool::new(false));
    let publisher = Publisher {
        options,
        hot_path,
        archive_dir,
        status: Arc::clone(&status),
        stop: Arc::clone(&stop),
        failures: 0,
    };
    let thread = std::thread::Builder::new().name("order-events".into()).spawn(move || publisher.run())?;
    Ok((status, Publishing { stop, thread: Some(thread) }))
}

/// Why the present journal is followed no further.
#[derive(Debug, thiserror::Error)]
enum Halt {
    #[error("told to stop")]
    Stopped,
    #[error(transparent)]
    Journal(#[from] FollowError),
    #[error("the mark is not where this process left it: another one has published; beginning at the mark")]
    Moved,
}

struct Publisher {
    options: Options,
    hot_path: PathBuf,
    archive_dir: PathBuf,
    status: Arc<Status>,
    stop: Arc<AtomicBool>,
    /// In a row.
    failures: u32,
}

impl Publisher {
    fn run(mut self) {
        loop {
            match self.publish() {
                Ok(never) => match never {},
                Err(Halt::Stopped) => return,
                Err(halt) => {
                    tracing::error!(error = %halt, "order events: beginning anew");
                    if self.back_off().is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// One journal, until it cannot be followed any more.
    fn publish(&mut self) -> Result<std::convert::Infallible, Halt> {
        let journal = self.journal()?;
        // One place for each journal: topics may be shared by many gates, and a new journal begins anew.
        let name = format!("{}.{journal:016x}", self.options.topic);
        let mut writer = self.writer(&name)?;
        let mut mark = Mark::read(writer.mark());
        let mut source = Source::begin(&self.hot_path, &self.archive_dir, journal, mark)?;
        let mut idle = IDLE_MIN;
        loop {
            let batch = source.next(mark)?;
            // What has nothing to tell is no lag.
            let reached = if batch.messages.is_empty() { batch.after } else { mark };
            self.status.saw(reached.next, source.end());
            if batch.messages.is_empty() && batch.after.next < mark.next.saturating_add(MARK_EVERY_SLOTS) {
                source.keep(mark);
                if batch.is_last {
                    self.rest(idle)?;
                    idle = (idle * 2).min(IDLE_MAX);
                }
                continue;
            }
            idle = IDLE_MIN;
            self.deliver(&name, &mut writer, &batch, mark, &source)?;
            mark = batch.after;
            source.done(mark);
            self.status.published(&batch, source.end());
        }
    }

    /// Until the batch is in the topic, whatever becomes of the brokers.
    fn deliver(
        &mut self,
        name: &str,
        writer: &mut Box<dyn Writer>,
        batch: &Batch,
        before: Mark,
        source: &Source,
    ) -> Result<(), Halt> {
        let topic = self.options.topic.clone();
        let drafts: Vec<Draft<'_>> = batch
            .messages
            .iter()
            .map(|(key, value)| Draft { topic: &topic, key: key.as_bytes(), value: value.as_bytes() })
            .collect();
        let text = batch.after.write();
        loop {
            let Err(error) = writer.append(&drafts, text.as_bytes()) else {
                self.works();
                return Ok(());
            };
            self.fails(&error);
            self.status.saw(before.next, source.end());
            self.back_off()?;
            *writer = self.writer(name)?;
            match Mark::read(writer.mark()) {
                // What failed had happened: only its acknowledgement was lost.
                found if found == batch.after => return Ok(()),
                found if found == before => {}
                _ => return Err(Halt::Moved),
            }
        }
    }

    fn journal(&mut self) -> Result<u64, Halt> {
        loop {
            if let Some(id) = journal_id(&self.hot_path) {
                return Ok(id);
            }
            self.rest(IDLE_MAX)?;
        }
    }

    /// A writer, as soon as there can be one.
    fn writer(&mut self, name: &str) -> Result<Box<dyn Writer>, Halt> {
        loop {
            match self.open(name) {
                Ok(writer) => {
                    self.works();
                    return Ok(writer);
                }
                Err(error) => self.fails(&error),
            }
            self.back_off()?;
        }
    }

    fn open(&self, name: &str) -> Result<Box<dyn Writer>, TopicError> {
        let topics: Box<dyn Topics> = self.options.engine.open()?;
        let embedded = matches!(self.options.engine, Engine::Embedded(_));
        topics.create(&TopicSpec {
            name: &self.options.topic,
            partitions: 1,
            replicas: self.options.replicas,
            retention: Some(self.options.retention),
            retention_bytes: embedded.then_some(self.options.size_bytes),
        })?;
        topics.writer(name)
    }

    fn works(&mut self) {
        self.failures = 0;
        if self.status.set(State::Following) {
            tracing::info!(engine = self.options.engine.name(), "order events are published");
        }
    }

    fn fails(&self, error: &TopicError) {
        if let Some(end) = journal_end(&self.hot_path) {
            self.status.ends(end);
        }
        if self.status.set(State::Failing) {
            tracing::warn!(%error, "order events wait in the journal; orders go on");
        } else {
            tracing::debug!(%error, "order events still wait");
        }
    }

    fn back_off(&mut self) -> Result<(), Halt> {
        let rest = BACK_OFF_MIN.saturating_mul(1 << self.failures.min(10)).min(BACK_OFF_MAX);
        self.failures = self.failures.saturating_add(1);
        self.rest(rest)
    }

    fn rest(&self, time: Duration) -> Result<(), Halt> {
        let deadline = Instant::now() + time;
        loop {
            if self.stop.load(Ordering::Acquire) {
                return Err(Halt::Stopped);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(LOOK_EVERY));
        }
    }
}
