//! A strategy's (or the operator's) side of its rings: submit intents, poll answers, survive the gate's death.
//!
//! `submit` and `poll` neither allocate nor call the kernel. Every submitted intent gets exactly one decision event:
//! from the ring, from the journal after a restart of the gate, or from a resend under the same key.

mod nodes;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::connection::Connection;
pub use crate::connection::{AttachError, AttachOptions, ControlError, MAX_ANSWER_BYTES};
use crate::handshake::{ControlDone, ControlRequest, Role, Ticket};
use crate::layout;
use crate::market::MarketReader;
use crate::msg::{
    AccountId, Decision, DurabilityTier, Intent, IntentKind, OperatorExt, Outcome, Report, Step, StepDone,
    StrategyId, Words, intent_flags, kind, kind_of,
};
use crate::reason::{LimitId, Reason};
use crate::ring::{Consumer, Fault, Producer};
use crate::segment::SegmentError;
pub use nodes::{Node, NodeError, UpdateError};

/// What [`Client::poll`] brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The answer to an intent; `intent_position` is what [`Client::submit`] returned.
    Decision(Decision),
    /// News about one of the strategy's orders.
    Report(Report),
    /// Lockstep: a market event was applied; write your intents, then call [`Client::step_done`].
    Step(Step),
    /// The gate is gone and everything it wrote has been read: call [`Client::reattach`].
    Lost,
}

/// Why an intent was not submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The ring is full: poll, then try again.
    #[error("the intent ring is full: poll decisions, then submit again")]
    Full,
    /// The gate is gone: poll the rest, then re-attach.
    #[error("the gate is gone: poll until Lost, then re-attach")]
    Lost,
    /// The gate's memory contradicts the protocol.
    #[error("the gate broke the ring protocol: {0}")]
    Fault(Fault),
}

/// An intent that has no decision yet.
#[derive(Clone, Copy)]
struct Pending {
    ring_position: u64,
    user_position: u64,
    intent: Words,
    ext: Option<Words>,
}

/// One attached client. Not `Clone`: a ring has one producer.
pub struct Client {
    options: AttachOptions,
    connection: Connection,
    intents: Producer,
    events: Consumer,
    pending: VecDeque<Pending>,
    missed: VecDeque<Event>,
    /// Unanswered intents of an earlier attachment that wait for room in the fresh ring.
    backlog: VecDeque<Pending>,
    next_user_position: u64,
    last_seq: u64,
    fault: Option<Fault>,
    lost_told: bool,
}

impl Client {
    /// Attaches. Blocks for the handshake, at most `options.timeout`.
    ///
    /// # Errors
    /// [`AttachError`]; [`AttachError::is_transient`] says whether to try again.
    pub fn attach(options: AttachOptions) -> Result<Self, AttachError> {
        let connection = Connection::open(&options, None)?;
        let (intents, events) = rings(&connection)?;
        let pending = VecDeque::with_capacity(pending_capacity(&connection));
        let last_seq = connection.begins_at.saturating_sub(1);
        Ok(Self {
            options,
            connection,
            intents,
            events,
            pending,
            missed: VecDeque::new(),
            backlog: VecDeque::new(),
            next_user_position: 0,
            last_seq,
            fault: None,
            lost_told: false,
        })
    }

    /// Attaches, trying again with growing pauses while the reason is transient, until `patience` is over.
    ///
    /// # Errors
    /// The last [`AttachError`].
    pub fn attach_patiently(options: AttachOptions, patience: Duration) -> Result<Self, AttachError> {
        retry(patience, || Self::attach(options.clone()))
    }

    /// Submits an intent; its decision will carry the returned position.
    ///
    /// # Errors
    /// [`SubmitError`]; nothing was submitted then.
    #[inline]
    pub fn submit(&mut self, intent: &Intent) -> Result<u64, SubmitError> {
        self.send(&intent.encode(), None)
    }

    /// Submits an intent for a strategy (operator role only).
    ///
    /// # Errors
    /// [`SubmitError`]; nothing was submitted then.
    pub fn submit_for(&mut self, intent: &Intent, ext: &OperatorExt) -> Result<u64, SubmitError> {
        let intent = Intent { flags: intent.flags | intent_flags::OPERATOR, ..*intent };
        self.send(&intent.encode(), Some(ext.encode()))
    }

    #[inline]
    fn send(&mut self, intent: &Words, ext: Option<Words>) -> Result<u64, SubmitError> {
        if self.pending.len() == self.pending.capacity() || !self.backlog.is_empty() {
            return Err(if self.connection.is_lost() { SubmitError::Lost } else { SubmitError::Full });
        }
        match push(&mut self.intents, intent, ext.as_ref()) {
            Ok(Some(ring_position)) => {
                self.connection.bells.ring();
                let user_position = self.next_user_position;
                self.next_user_position += 1;
                self.pending.push_back(Pending { ring_position, user_position, intent: *intent, ext });
                Ok(user_position)
            }
            Ok(None) if self.connection.is_lost() => Err(SubmitError::Lost),
            Ok(None) => {
                self.make_room();
                Err(SubmitError::Full)
            }
            Err(fault) => {
                self.fault = Some(fault);
                Err(SubmitError::Fault(fault))
            }
        }
    }

    /// The next event, if there is one. After [`Event::Lost`] only [`Client::reattach`] brings more.
    #[inline]
    pub fn poll(&mut self) -> Option<Event> {
        if !self.missed.is_empty() {
            return self.missed.pop_front();
        }
        if !self.backlog.is_empty() {
            self.send_backlog();
        }
        // The flag is read before the ring: whatever a dead gate wrote is visible once the flag is.
        let lost = self.fault.is_some() || self.connection.is_lost();
        match self.next_from_ring() {
            Ok(Some(event)) => return Some(event),
            Ok(None) => self.make_room(),
            Err(fault) => self.fault = Some(fault),
        }
        if lost && !self.lost_told {
            self.lost_told = true;
            return Some(Event::Lost);
        }
        None
    }

    /// When the gate waits for this client to read, it is told at once how far that is, and woken if it sleeps.
    #[inline]
    fn make_room(&mut self) {
        if self.is_lagging() {
            self.events.publish();
            self.connection.bells.ring();
        }
    }

    #[inline(always)]
    fn next_from_ring(&mut self) -> Result<Option<Event>, Fault> {
        loop {
            let slots = self.events.peek_slots()?;
            if slots == 0 {
                return Ok(None);
            }
            let words = self.events.payload();
            let event = match kind_of(&words) {
                kind::DECISION => self.on_decision(&words),
                kind::REPORT if slots == 2 => {
                    let tail = self.events.continuation(1)?;
                    self.on_report(&words, &tail)
                }
                kind::STEP => Step::decode(&words).ok().map(Event::Step),
                _ => None,
            };
            self.events.advance(slots);
            if event.is_some() {
                return Ok(event);
            }
        }
    }

    #[inline(always)]
    fn on_decision(&mut self, words: &Words) -> Option<Event> {
        let mut decision = Decision::decode(words).ok()?;
        self.last_seq = self.last_seq.max(if decision.duplicate { 0 } else { decision.journal_seq });
        let front = self.pending.front()?;
        if front.ring_position != decision.intent_position {
            return None;
        }
        decision.intent_position = front.user_position;
        self.pending.pop_front();
        Some(Event::Decision(decision))
    }

    #[inline(always)]
    fn on_report(&mut self, head: &Words, tail: &Words) -> Option<Event> {
        let report = Report::decode(head, tail).ok()?;
        self.last_seq = self.last_seq.max(report.journal_seq);
        Some(Event::Report(report))
    }

    /// Lockstep: all intents for `event` are written. `false` when the ring is full: poll and call again.
    ///
    /// # Errors
    /// [`SubmitError`] when the gate is gone or broke the protocol.
    pub fn step_done(&mut self, event: u64) -> Result<bool, SubmitError> {
        match self.intents.push1(&StepDone { event }.encode()) {
            Ok(pushed) => {
                self.connection.bells.ring();
                Ok(pushed.is_some())
            }
            Err(fault) => Err(SubmitError::Fault(fault)),
        }
    }

    /// Tells a paced feed that the market up to `event` has been read.
    pub fn market_seen(&self, event: u64) {
        layout::intents_market_seen(&self.connection.intents, event);
    }

    /// Attaches again after the gate died or detached this client, with the ticket of the last attachment. Missed
    /// events come first from [`Client::poll`]; unanswered intents whose time to live allows it are sent again under
    /// their keys, the others are answered `TTL_EXPIRED` locally.
    ///
    /// # Errors
    /// The last [`AttachError`] after `patience`.
    pub fn reattach(&mut self, patience: Duration) -> Result<(), AttachError> {
        let resume = Some((self.connection.welcome.ticket, self.last_seq));
        let connection = retry(patience, || Connection::open(&self.options, resume))?;
        let (intents, events) = rings(&connection)?;
        self.connection = connection;
        (self.intents, self.events) = (intents, events);
        (self.fault, self.lost_told) = (None, false);
        for slots in std::mem::take(&mut self.connection.missed) {
            self.replay_missed(&slots);
        }
        self.last_seq = self.last_seq.max(self.connection.begins_at.saturating_sub(1));
        self.resend();
        Ok(())
    }

    /// A missed event comes from the journal: its decision names no ring position that still counts, so it is matched
    /// by key.
    fn replay_missed(&mut self, slots: &[Words]) {
        let event = match slots {
            [words] => Decision::decode(words).ok().and_then(|mut decision| {
                self.last_seq = self.last_seq.max(decision.journal_seq);
                let same_key = |p: &Pending| p.intent[1] == decision.key_low;
                let pending = match self.pending.iter().position(same_key) {
                    Some(at) => self.pending.remove(at)?,
                    None => self.backlog.remove(self.backlog.iter().position(same_key)?)?,
                };
                decision.intent_position = pending.user_position;
                Some(Event::Decision(decision))
            }),
            [head, tail] => self.on_report(head, tail),
            _ => None,
        };
        self.missed.extend(event);
    }

    fn resend(&mut self) {
        let now_ns = self.now_ns();
        let mut unanswered = std::mem::take(&mut self.backlog);
        let fresh = VecDeque::with_capacity(pending_capacity(&self.connection));
        let sent = std::mem::replace(&mut self.pending, fresh);
        unanswered.extend(sent);
        for pending in unanswered {
            if expired(&pending.intent, now_ns) {
                self.missed.push_back(Event::Decision(expired_decision(&pending, now_ns)));
            } else {
                self.backlog.push_back(pending);
            }
        }
        self.send_backlog();
    }

    fn send_backlog(&mut self) {
        self.push_backlog();
        self.connection.bells.ring();
    }

    fn push_backlog(&mut self) {
        while self.pending.len() < self.pending.capacity() {
            let Some(mut pending) = self.backlog.front().copied() else { return };
            match push(&mut self.intents, &pending.intent, pending.ext.as_ref()) {
                Ok(Some(ring_position)) => {
                    pending.ring_position = ring_position;
                    self.pending.push_back(pending);
                    self.backlog.pop_front();
                }
                Ok(None) => return,
                Err(fault) => {
                    self.fault = Some(fault);
                    return;
                }
            }
        }
    }

    /// Modes, kill, halt, re-arm, mass cancels: operator role only. Blocks until the gate has answered.
    ///
    /// # Errors
    /// [`ControlError`]; other roles are thrown out.
    pub fn control(&mut self, request: ControlRequest) -> Result<ControlDone, ControlError> {
        self.connection.control(request)
    }

    /// Compares the gate's books with what its venue says it has: the report as JSON, or with `snapshot` only what the
    /// venue says. Operator role only. Blocks until the gate has answered, up to half a minute; changes nothing.
    ///
    /// # Errors
    /// [`ControlError`]; other roles are thrown out.
    pub fn reconcile(&mut self, snapshot: bool) -> Result<Vec<u8>, ControlError> {
        self.connection.reconcile(snapshot)
    }

    /// Gate time, ns; no syscall.
    #[inline]
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        self.connection.clock.now_ns()
    }

    /// Market cells and the symbol table.
    #[must_use]
    pub fn market(&self) -> &MarketReader {
        &self.connection.market
    }

    /// The strategy this client speaks for.
    #[must_use]
    pub fn strategy(&self) -> StrategyId {
        self.connection.welcome.strategy
    }

    /// Its account.
    #[must_use]
    pub fn account(&self) -> AccountId {
        self.connection.welcome.account
    }

    /// The gate's epoch: how many lives its journal has seen.
    #[must_use]
    pub fn epoch(&self) -> u16 {
        self.connection.welcome.epoch
    }

    /// Whether the gate runs in turns with the tape.
    #[must_use]
    pub fn lockstep(&self) -> bool {
        self.connection.welcome.lockstep
    }

    /// The journal position up to which this client has seen every event of its own; before its first event, where it
    /// attached.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// Intents without a decision yet.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.pending.len() + self.backlog.len()
    }

    /// Whether the attachment still stands.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.fault.is_none() && !self.connection.is_lost()
    }

    /// Whether the gate waits for this client to read its events. A client that lets it wait too long is detached, and
    /// may re-attach: it misses nothing.
    #[inline]
    #[must_use]
    pub fn is_lagging(&self) -> bool {
        layout::events_lagging(&self.connection.events)
    }

    /// The resume ticket: with it a new process may take this strategy over.
    #[must_use]
    pub fn ticket(&self) -> Ticket {
        self.connection.welcome.ticket
    }

    /// How often this attachment had to wake the gate thread: each time cost one system call. 0 unless the gate runs
    /// with `--wait park`.
    #[must_use]
    pub fn times_gate_woken(&self) -> u64 {
        self.connection.bells.times_rung()
    }

    /// What the gate did wrong, if it did.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Role of this client.
    #[must_use]
    pub fn role(&self) -> Role {
        self.options.role
    }
}

#[inline]
fn push(ring: &mut Producer, intent: &Words, ext: Option<&Words>) -> Result<Option<u64>, Fault> {
    match ext {
        None => ring.push1(intent),
        Some(ext) => ring.push(&[*intent, *ext]),
    }
}

fn rings(connection: &Connection) -> Result<(Producer, Consumer), SegmentError> {
    let welcome = &connection.welcome;
    let intents = Producer::new(
        layout::intents_slots_mut(&connection.intents, 0, welcome.intents_slots)?,
        layout::events_consumed(&connection.events, 0)?,
        0,
    );
    let events = Consumer::new(
        layout::events_slots(&connection.events, welcome.events_slots)?,
        layout::intents_events_consumed_mut(&connection.intents)?,
        0,
    );
    Ok((intents, events))
}

/// Unanswered intents at most: those in the ring and those whose answers wait in the other.
fn pending_capacity(connection: &Connection) -> usize {
    (connection.welcome.intents_slots + connection.welcome.events_slots) as usize
}

fn expired(intent: &Words, now_ns: u64) -> bool {
    let is_new = u64::from(kind_of(intent)) == IntentKind::New as u64;
    is_new && intent[6] != 0 && now_ns > intent[5].saturating_add(intent[6])
}

fn expired_decision(pending: &Pending, now_ns: u64) -> Decision {
    Decision {
        outcome: Outcome::Rejected,
        reason: Reason::TtlExpired,
        limit_id: LimitId::TtlNs,
        duplicate: false,
        tier: DurabilityTier::None,
        intent_position: pending.user_position,
        journal_seq: 0,
        decided_at_ns: now_ns,
        key_low: pending.intent[1],
        order_id: 0,
        observed: now_ns.saturating_sub(pending.intent[5]) as i64,
        limit: pending.intent[6] as i64,
    }
}

pub(crate) fn retry<T>(
    patience: Duration,
    mut attempt: impl FnMut() -> Result<T, AttachError>,
) -> Result<T, AttachError> {
    let deadline = Instant::now() + patience;
    let mut pause = Duration::from_millis(1);
    loop {
        match attempt() {
            Err(error) if error.is_transient() && Instant::now() + pause < deadline => {
                std::thread::sleep(pause)
            }
            outcome => return outcome,
        }
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}
