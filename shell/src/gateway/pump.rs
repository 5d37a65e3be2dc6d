//! The operator pump: one thread owns the shell's client of the gate and carries every HTTP order through it.
//!
//! Requests wait in a bounded queue, go out in order, and get their decision through a oneshot. When the gate dies the
//! pump re-attaches by itself; what was sent and not answered is asked again under the same key by the client, within
//! [`ANSWER_WITHIN`], and reported as unknown after it. Nothing is ever sent twice under a new key.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Select, Sender, TryRecvError, TrySendError};
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
/// How long an asker looks for its answer in place: less than it costs to be woken.
const IN_PLACE: Duration = Duration::from_micros(5);
/// How often an idle pump looks at its event ring.
const IDLE: Duration = Duration::from_millis(10);
const RECONNECT_MIN: Duration = Duration::from_millis(10);
const RECONNECT_MAX: Duration = Duration::from_millis(500);
/// How long one attempt to re-attach may block the pump.
const REATTACH_PATIENCE: Duration = Duration::from_millis(50);
/// Polls without an answer before the pump yields, and before it sleeps.
const SPINS: u32 = 200;
const YIELDS: u32 = 2_000;

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

struct Sent {
    since: Instant,
    sent_ns: u64,
    reply: oneshot::Sender<Result<Answered, PumpError>>,
}

#[derive(Debug, Default)]
struct Shared {
    connected: AtomicBool,
    stop: AtomicBool,
    newest_seq: AtomicU64,
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
        let (reply, mut answer) = oneshot::channel();
        let since = Instant::now();
        match self.queue.try_send(Job { intent, ext, since, reply }) {
            Ok(()) => {
                while since.elapsed() < IN_PLACE {
                    match answer.try_recv() {
                        Ok(answered) => return answered,
                        Err(TryAnswer::Closed) => return Err(PumpError::Away),
                        Err(TryAnswer::Empty) => std::hint::spin_loop(),
                    }
                }
                answer.await.unwrap_or(Err(PumpError::Away))
            }
            Err(TrySendError::Full(_)) => Err(PumpError::Busy),
            Err(TrySendError::Disconnected(_)) => Err(PumpError::Away),
        }
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
            Ok(()) => answer.await.unwrap_or(Err(PumpError::Away.into())),
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
    let shared = Arc::new(Shared::default());
    let mut work = Work { jobs, acts, shared: Arc::clone(&shared), sent: BTreeMap::new(), held: None };
    let thread = std::thread::Builder::new().name("pump".into()).spawn(move || work.run(connect))?;
    Ok((GateHandle { queue, controls, shared: Arc::clone(&shared) }, Pump { shared, thread: Some(thread) }))
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Work {
    jobs: Receiver<Job>,
    acts: Receiver<ControlJob>,
    shared: Arc<Shared>,
    sent: BTreeMap<u64, Sent>,
    /// Taken from the queue, not yet taken by a full ring.
    held: Option<Job>,
}

impl Work {
    fn stopping(&self) -> bool {
        self.shared.stop.load(Ordering::Acquire)
    }

    fn run<L: GateLink>(&mut self, mut connect: impl FnMut() -> Result<L, LinkError>) {
        let mut pause = RECONNECT_MIN;
        let mut told = String::new();
        while !self.stopping() {
            match connect() {
                Ok(mut link) => {
                    tracing::info!("attached to the gate");
                    pause = RECONNECT_MIN;
                    told.clear();
                    self.shared.connected.store(true, Ordering::Release);
                    self.serve(&mut link);
                    self.shared.connected.store(false, Ordering::Release);
                }
                Err(error) => {
                    if told != error.message {
                        tracing::warn!(reason = %error.message, "no gate yet, trying on");
                        told = error.message;
                    }
                    self.refuse_for(pause);
                    pause = (pause * 2).min(RECONNECT_MAX);
                }
            }
        }
        self.forget_sent();
    }

    /// Answers requests while there is no gate.
    fn refuse_for(&mut self, pause: Duration) {
        let until = Instant::now() + pause;
        if let Some(job) = self.held.take() {
            let _ = job.reply.send(Err(PumpError::Away));
        }
        while let Ok(job) = self.jobs.recv_deadline(until) {
            let _ = job.reply.send(Err(PumpError::Away));
        }
        for act in self.acts.try_iter() {
            let _ = act.reply.send(Err(PumpError::Away.into()));
        }
    }

    fn forget_sent(&mut self) {
        for (_, sent) in std::mem::take(&mut self.sent) {
            let _ = sent.reply.send(Err(PumpError::Unknown));
        }
    }

    /// Until the link is lost for good or the pump stops.
    fn serve<L: GateLink>(&mut self, link: &mut L) {
        let mut idle = 0;
        while !self.stopping() {
            let mut busy = self.act(link);
            while let Some(event) = link.poll() {
                busy = true;
                match event {
                    LinkEvent::Decision(decision) => self.answer(decision),
                    LinkEvent::Other => {}
                    LinkEvent::Lost => {
                        if !self.mend(link) {
                            self.forget_sent();
                            return;
                        }
                    }
                }
            }
            busy |= self.send_waiting(link);
            idle = if busy { 0 } else { idle + 1 };
            if self.sent.is_empty() && self.held.is_none() {
                let mut idle = Select::new();
                idle.recv(&self.jobs);
                idle.recv(&self.acts);
                let _ = idle.ready_timeout(IDLE);
                match self.jobs.try_recv() {
                    Ok(job) => self.send(link, job),
                    Err(TryRecvError::Empty) => {}
                    Err(TryRecvError::Disconnected) => return,
                }
            } else {
                self.wait(idle);
            }
        }
    }

    /// What operators ask for comes first: a kill does not queue behind orders.
    fn act<L: GateLink>(&mut self, link: &mut L) -> bool {
        let mut any = false;
        for _ in 0..CONTROL_QUEUE {
            let Ok(ControlJob { request, reply }) = self.acts.try_recv() else { break };
            let outcome = link.control(request);
            if let Ok(done) = &outcome {
                self.shared.newest_seq.fetch_max(done.journal_seq, Ordering::AcqRel);
            }
            let _ = reply.send(outcome);
            any = true;
        }
        any
    }

    fn wait(&mut self, idle: u32) {
        match idle {
            0..SPINS => std::hint::spin_loop(),
            SPINS..YIELDS => std::thread::yield_now(),
            _ => {
                self.expire();
                std::thread::sleep(Duration::from_micros(50));
            }
        }
    }

    fn answer(&mut self, decision: Decision) {
        if !decision.duplicate {
            self.shared.newest_seq.fetch_max(decision.journal_seq, Ordering::AcqRel);
        }
        if let Some(sent) = self.sent.remove(&decision.intent_position) {
            let _ = sent.reply.send(Ok(Answered { decision, sent_ns: sent.sent_ns }));
        }
    }

    fn send_waiting<L: GateLink>(&mut self, link: &mut L) -> bool {
        let mut any = false;
        for _ in 0..64 {
            let Some(job) = self.held.take().or_else(|| self.jobs.try_recv().ok()) else { break };
            self.send(link, job);
            if self.held.is_some() {
                break;
            }
            any = true;
        }
        any
    }

    fn send<L: GateLink>(&mut self, link: &mut L, mut job: Job) {
        if job.since.elapsed() > ANSWER_WITHIN {
            let _ = job.reply.send(Err(PumpError::Busy));
            return;
        }
        let sent_ns = link.now_ns();
        job.intent.client_ts_ns = sent_ns;
        match link.submit_for(&job.intent, &job.ext) {
            Ok(position) => {
                self.sent.insert(position, Sent { since: job.since, sent_ns, reply: job.reply });
            }
            Err(LinkRefusal::Full) => self.held = Some(job),
            Err(LinkRefusal::Lost) => {
                let _ = job.reply.send(Err(PumpError::Away));
            }
        }
    }

    /// Gives up on answers that are overdue: the gate lives but does not answer.
    fn expire(&mut self) {
        while let Some(oldest) = self.sent.first_entry() {
            if oldest.get().since.elapsed() <= ANSWER_WITHIN {
                break;
            }
            let _ = oldest.remove().reply.send(Err(PumpError::Unknown));
        }
    }

    /// Re-attaches. `false`: this link will not come back.
    fn mend<L: GateLink>(&mut self, link: &mut L) -> bool {
        self.shared.connected.store(false, Ordering::Release);
        tracing::warn!(unanswered = self.sent.len(), "the gate is gone, re-attaching");
        let mut pause = RECONNECT_MIN;
        while !self.stopping() {
            match link.reattach(REATTACH_PATIENCE) {
                Ok(()) => {
                    tracing::info!("attached to the gate again");
                    self.shared.connected.store(true, Ordering::Release);
                    return true;
                }
                Err(error) if !error.transient => {
                    tracing::warn!(reason = %error.message, "the gate does not know this client any more");
                    return false;
                }
                Err(_) => self.refuse_for(pause),
            }
            self.expire();
            pause = (pause * 2).min(RECONNECT_MAX);
        }
        false
    }
}
