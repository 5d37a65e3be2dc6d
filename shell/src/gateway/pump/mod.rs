//! The operator pump: carries every HTTP order through the shell's client of the gate.
//!
//! Requests wait in a bounded queue, go out in order, and get their decision through a oneshot. Whoever asks serves the
//! desk itself, for everybody that waits there: a gate that spins has answered before another thread would have been
//! woken. What takes longer is left to the pump's own thread. When the gate dies that thread re-attaches by itself; what
//! was sent and not answered is asked again under the same key by the client, within [`ANSWER_WITHIN`], and reported as
//! unknown after it. Nothing is ever sent twice under a new key.

mod desk;
mod thread;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, TrySendError};
use desk::Desk;
use ringfence_ipc::handshake::{ControlDone, ControlRefusal, ControlRequest};
use ringfence_ipc::msg::{Decision, Intent, OperatorExt};
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError as TryAnswer;

/// Requests that may wait for the pump.
pub const QUEUE: usize = 4096;
/// Control requests that may wait for it; they go before every order.
const CONTROL_QUEUE: usize = 64;
/// How long a request waits for its decision, the gate's restart included.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// How long an asker serves the desk in place: less than it costs to be woken.
const IN_PLACE: Duration = Duration::from_micros(5);

/// What the link brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// The answer to the intent submitted at `intent_position`.
    Decision(Decision),
    /// The gate is gone.
    Lost,
    /// Something the pump does not need.
    Other,
}

/// Why the link did not take an intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkRefusal {
    /// No room right now.
    Full,
    /// The gate is gone.
    Lost,
}

/// Why a control request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlFailure {
    /// No limit has changed; why, in words.
    #[error("{0}")]
    Config(String),
    /// The gate refused it: nothing has changed.
    #[error(transparent)]
    Refused(#[from] ControlRefusal),
    /// There is no answer.
    #[error(transparent)]
    Pump(#[from] PumpError),
}

/// Why no link could be made or mended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkError {
    /// Whether trying again may help without anyone acting.
    pub transient: bool,
    /// For the log.
    pub message: String,
}

/// The gate as the pump needs it: the shared-memory client, or a gate in memory under test.
pub trait GateLink: Send + 'static {
    /// Submits an intent for a strategy; its decision carries the returned position.
    ///
    /// # Errors
    /// [`LinkRefusal`]; nothing was submitted then.
    fn submit_for(&mut self, intent: &Intent, ext: &OperatorExt) -> Result<u64, LinkRefusal>;
    /// Has the gate carry out a control request, blocking until it has answered.
    ///
    /// # Errors
    /// [`ControlFailure`]; after [`PumpError::Unknown`] the journal tells what happened.
    fn control(&mut self, request: ControlRequest) -> Result<ControlDone, ControlFailure>;
    /// The next event, if there is one.
    fn poll(&mut self) -> Option<LinkEvent>;
    /// Attaches again after [`LinkEvent::Lost`], blocking at most about `patience`.
    ///
    /// # Errors
    /// [`LinkError`]; when it is not transient, a new link is made instead.
    fn reattach(&mut self, patience: Duration) -> Result<(), LinkError>;
    /// Gate time, ns.
    fn now_ns(&self) -> u64;
}

/// A decision and when its intent left the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The gate's answer.
    pub decision: Decision,
    /// Gate time of the submission, ns.
    pub sent_ns: u64,
}

/// Why there is no decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PumpError {
    /// Nothing was sent: the gate is away.
    #[error("the gate is away")]
    Away,
    /// Nothing was sent: too many requests wait.
    #[error("too many requests wait for the gate")]
    Busy,
    /// It was sent and not answered in time: the order's state tells.
    #[error("the gate did not answer in time: the outcome is unknown")]
    Unknown,
}

struct Job {
    intent: Intent,
    ext: OperatorExt,
    since: Instant,
    reply: oneshot::Sender<Result<Answered, PumpError>>,
}

struct ControlJob {
    request: ControlRequest,
    reply: oneshot::Sender<Result<ControlDone, ControlFailure>>,
}

struct Shared {
    connected: AtomicBool,
    stop: AtomicBool,
    newest_seq: AtomicU64,
    desk: Mutex<Desk>,
    thread: OnceLock<Thread>,
}

impl Shared {
    /// The pump's thread looks at the queues now.
    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Serves whoever waits, unless somebody else does. Whether anything was done.
    fn serve_in_place(&self) -> bool {
        // A desk whose holder panicked is the thread's to mend.
        self.desk.try_lock().is_ok_and(|mut desk| desk.serve(&self.newest_seq))
    }
}

/// Asks the gate. Cheap to clone.
#[derive(Clone)]
pub struct GateHandle {
    queue: Sender<Job>,
    controls: Sender<ControlJob>,
    shared: Arc<Shared>,
}

/// The pump's thread; stops when dropped.
pub struct Pump {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl GateHandle {
    /// Has the gate decide `intent` for the strategy and account of `ext`. The timestamp is set when it leaves.
    ///
    /// # Errors
    /// [`PumpError`].
    pub async fn decide(&self, intent: Intent, ext: OperatorExt) -> Result<Answered, PumpError> {
        if !self.is_connected() {
            return Err(PumpError::Away);
        }
        let (reply, answer) = oneshot::channel();
        let since = Instant::now();
        match self.queue.try_send(Job { intent, ext, since, reply }) {
            Ok(()) => self.answered(since, answer).await,
            Err(TrySendError::Full(_)) => Err(PumpError::Busy),
            Err(TrySendError::Disconnected(_)) => Err(PumpError::Away),
        }
    }

    async fn answered(
        &self,
        since: Instant,
        mut answer: oneshot::Receiver<Result<Answered, PumpError>>,
    ) -> Result<Answered, PumpError> {
        loop {
            self.shared.serve_in_place();
            match answer.try_recv() {
                Ok(answered) => return answered,
                Err(TryAnswer::Closed) => return Err(PumpError::Away),
                Err(TryAnswer::Empty) if since.elapsed() < IN_PLACE => std::hint::spin_loop(),
                Err(TryAnswer::Empty) => break,
            }
        }
        self.shared.wake();
        answer.await.unwrap_or(Err(PumpError::Away))
    }

    /// Has the gate carry out a control request, before every order that waits.
    ///
    /// # Errors
    /// [`ControlFailure`].
    pub async fn control(&self, request: ControlRequest) -> Result<ControlDone, ControlFailure> {
        if !self.is_connected() {
            return Err(PumpError::Away.into());
        }
        let (reply, answer) = oneshot::channel();
        match self.controls.try_send(ControlJob { request, reply }) {
            Ok(()) => {
                self.shared.wake();
                answer.await.unwrap_or(Err(PumpError::Away.into()))
            }
            Err(TrySendError::Full(_)) => Err(PumpError::Busy.into()),
            Err(TrySendError::Disconnected(_)) => Err(PumpError::Away.into()),
        }
    }

    /// Whether the gate answers.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.shared.connected.load(Ordering::Acquire)
    }

    /// The newest journal position that an answer has named: what a reader of its own writes waits for.
    #[must_use]
    pub fn newest_seq(&self) -> u64 {
        self.shared.newest_seq.load(Ordering::Acquire)
    }

    /// Requests that wait to be sent.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.queue.len()
    }
}

/// Starts the pump. `connect` makes a link and is called again, with pauses, whenever there is none.
///
/// # Errors
/// When no thread can be started.
pub fn start<L: GateLink>(
    connect: impl FnMut() -> Result<L, LinkError> + Send + 'static,
) -> std::io::Result<(GateHandle, Pump)> {
    let (queue, jobs) = crossbeam_channel::bounded(QUEUE);
    let (controls, acts) = crossbeam_channel::bounded(CONTROL_QUEUE);
    let shared = Arc::new(Shared {
        connected: AtomicBool::new(false),
        stop: AtomicBool::new(false),
        newest_seq: AtomicU64::new(0),
        desk: Mutex::new(Desk::new(jobs)),
        thread: OnceLock::new(),
    });
    let work = thread::Work::new(acts, Arc::clone(&shared));
    let thread = std::thread::Builder::new().name("pump".into()).spawn(move || work.run(connect))?;
    // Set once: nobody else has it yet.
    let _ = shared.thread.set(thread.thread().clone());
    Ok((GateHandle { queue, controls, shared: Arc::clone(&shared) }, Pump { shared, thread: Some(thread) }))
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
