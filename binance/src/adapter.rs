//! The adapter: one task that owns the ledger and does what it wants done.
//!
//! ```text
//!  commands ──▶ ┌────────┐ ──requests──▶ REST (at most max_in_flight at once) ──answers──┐
//!               │ ledger │ ◀───────────────────────────────────────────────────────────┘
//!  reports  ◀── └────────┘ ◀──events── user session (its own task; replaced before 24 h)
//! ```

use crate::balances::Balances;
use crate::config::{Config, ConfigError};
use crate::ledger::{Action, Counts, Ledger, Mode, Tuning};
use crate::rest::{Answer, Failure, Outcome, Request, Rest};
use crate::rules::StepError;
use crate::session::{self, Heard};
use crate::wire::UserEvent;
use ringfence_ipc::handshake::VenueOrder;
use ringfence_ipc::msg::{Command, OrderId, Report};
use ringfence_ipc::symbol::Symbol;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How often the ledger's timers are looked at.
const TICK: Duration = Duration::from_millis(20);
/// How long balances in doubt may settle before the account is asked for.
const SETTLES: Duration = Duration::from_millis(100);
/// Events that may wait for the ledger.
const EVENT_QUEUE: usize = 4_096;

/// Where the adapter stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Nothing was heard yet.
    #[default]
    Connecting,
    /// The venue answers and its rules are known; user events are not there yet.
    Connected,
    /// User events arrive; orders are compared with the venue's. Cancels pass, new orders do not.
    Reconciling,
    /// Everything passes.
    Trading,
    /// User events are missing, for this reason. Open orders are UNKNOWN; cancels pass, new orders do not.
    Lost(String),
}

/// What the adapter says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Where it stands.
    pub phase: Phase,
    /// How far the venue's clock is ahead, ms.
    pub clock_offset_ms: i64,
    /// Sessions of user events that were up.
    pub sessions: u64,
    /// Why the last request went without an answer; empty: none did.
    pub last_failure: String,
    /// Symbols of ours that cannot be traded there.
    pub untraded: Vec<String>,
    /// What was counted.
    pub counts: Counts,
}

/// What the adapter is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// To be carried out, once.
    Command(Command),
    /// What the venue has; the newest such question is answered, under its number.
    Snapshot(u64),
}

/// What the adapter tells, in its order: a snapshot reflects the reports before it and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// What happened to an order.
    Report(Report),
    /// The answer to [`Ask::Snapshot`], after a comparison with the venue's own list.
    Snapshot {
        /// Of the question.
        number: u64,
        /// The newest order that was asked for before.
        last_order_id: OrderId,
        /// Every open order, and those that ended last.
        orders: Vec<VenueOrder>,
    },
}

/// The ends that the adapter works with.
#[derive(Debug)]
pub struct Ports {
    /// From the gate. The adapter ends when it is closed and everything under way is answered.
    pub asks: mpsc::Receiver<Ask>,
    /// To the gate. A full channel stops the adapter, so that nothing is lost.
    pub told: mpsc::Sender<Told>,
    /// The gate's life: new orders of another one are refused.
    pub epoch: watch::Receiver<u16>,
    /// What it says of itself.
    pub status: watch::Sender<Status>,
    /// What the account has.
    pub balances: watch::Sender<Balances>,
}

/// Why the adapter did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No HTTP client could be made.
    #[error("no HTTP client: {0}; are the machine's root certificates installed?")]
    Http(String),
    /// The gate counts in steps that the venue does not have.
    #[error(transparent)]
    Steps(#[from] StepError),
}

/// Runs the adapter until the gate's end of `ports` is gone.
///
/// # Errors
/// [`StartError`]: no order was sent.
pub async fn run(config: Config, symbols: &[Symbol], ports: Ports) -> Result<(), StartError> {
    config.check()?;
    let config = Arc::new(config);
    let rest = Rest::new(Arc::clone(&config)).map_err(|error| StartError::Http(error.to_string()))?;
    let rest = Arc::new(rest);
    let tuning = Tuning {
        recv_window_ms: config.recv_window_ms,
        gap_patience_ms: u64::try_from(config.gap_patience.as_millis()).unwrap_or(u64::MAX),
        max_orders: config.max_orders,
    };
    let (heard, events) = mpsc::channel(EVENT_QUEUE);
    let now = Instant::now();
    let mut adapter = Adapter {
        ledger: Ledger::new(symbols, tuning),
        names: symbols.iter().map(|symbol| symbol.name().to_owned()).collect(),
        ports,
        status: Status::default(),
        balances: Balances::default(),
        backlog: VecDeque::new(),
        flight: JoinSet::new(),
        sweep_at: now + config.sweep_interval,
        reconcile: Reconcile::default(),
        retries: Vec::new(),
        rules_known: false,
        misfit: None,
        snapshot: None,
        generation: 0,
        config,
        rest,
    };
    let mut sessions = JoinSet::new();
    adapter.work(events, heard, &mut sessions).await;
    adapter.misfit.map_or(Ok(()), |misfit| Err(misfit.into()))
}

/// What is still to be compared before trading resumes.
#[derive(Debug, Default)]
struct Reconcile {
    account: bool,
    orders: bool,
}

/// Whose answer it is.
#[derive(Debug)]
enum Asked {
    Order(OrderId),
    /// Not about one order; of which session.
    Venue(Request, u64),
    /// The list for the snapshot of this number.
    Snapshot(u64),
}

/// A snapshot on its way.
#[derive(Debug)]
struct Snapshot {
    number: u64,
    asked: bool,
    /// The list was compared; open orders there that nobody here knows.
    listed: Option<Vec<VenueOrder>>,
}

struct Adapter {
    config: Arc<Config>,
    rest: Arc<Rest>,
    ledger: Ledger,
    names: Vec<String>,
    ports: Ports,
    status: Status,
    balances: Balances,
    /// Requests that wait for their turn: at most one per order and a few more.
    backlog: VecDeque<(Asked, Request)>,
    flight: JoinSet<(Asked, Outcome)>,
    sweep_at: Instant,
    reconcile: Reconcile,
    /// Questions to be asked again, each once.
    retries: Vec<(Instant, Request)>,
    rules_known: bool,
    /// Why nothing can be traded.
    misfit: Option<StepError>,
    snapshot: Option<Snapshot>,
    /// Counts sessions, so that an answer of an earlier one does not end the next one's comparison.
    generation: u64,
}

impl Adapter {
    async fn work(
        &mut self,
        mut events: mpsc::Receiver<Heard>,
        heard: mpsc::Sender<Heard>,
        sessions: &mut JoinSet<()>,
    ) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.venue(Request::Time);
        let mut heard = Some(heard);
        loop {
            if self.rules_known
                && let Some(heard) = heard.take()
            {
                sessions.spawn(session::run(Arc::clone(&self.config), Arc::clone(&self.rest), heard));
            }
            tokio::select! {
                biased;
                Some(done) = self.flight.join_next(), if !self.flight.is_empty() => self.done(done),
                Some(said) = events.recv() => self.heard(said),
                ask = self.ports.asks.recv() => match ask {
                    Some(Ask::Command(command)) => {
                        let epoch = *self.ports.epoch.borrow();
                        self.ledger.command(&command, epoch, self.rest.clock.now_ms());
                    }
                    Some(Ask::Snapshot(number)) => {
                        self.snapshot = Some(Snapshot { number, asked: false, listed: None });
                    }
                    None => break,
                },
                _ = tick.tick() => self.tick(),
            }
            if !self.flush().await || self.misfit.is_some() {
                break;
            }
        }
        // What is under way is waited for, so that nothing is cut off that could still be told.
        while let Some(done) = self.flight.join_next().await {
            self.done(done);
            self.backlog.clear();
            if !self.flush().await {
                return;
            }
        }
    }

    /// Tells reports, starts requests, publishes the status. False: nobody listens any more.
    async fn flush(&mut self) -> bool {
        for action in self.ledger.take() {
            match action {
                Action::Ask(id, request) => self.backlog.push_back((Asked::Order(id), request)),
                Action::Report(report) => {
                    if self.ports.told.send(Told::Report(report)).await.is_err() {
                        return false;
                    }
                }
            }
        }
        if let Some(told) = self.answer_snapshot()
            && self.ports.told.send(told).await.is_err()
        {
            return false;
        }
        while self.flight.len() < self.config.max_in_flight {
            let Some((asked, request)) = self.backlog.pop_front() else { break };
            let rest = Arc::clone(&self.rest);
            self.flight.spawn(async move { (asked, rest.ask(&request).await) });
        }
        self.resume();
        self.status.counts = self.ledger.counts;
        self.status.clock_offset_ms = self.rest.clock.offset_ms();
        self.ports.status.send_if_modified(|told| {
            let news = *told != self.status;
            if news {
                told.clone_from(&self.status);
            }
            news
        });
        true
    }

    fn venue(&mut self, request: Request) {
        self.backlog.push_back((Asked::Venue(request.clone(), self.generation), request));
    }

    fn done(&mut self, done: Result<(Asked, Outcome), tokio::task::JoinError>) {
        // A request never panics; if one did, its order stays under way and nothing is sent twice.
        let Ok((asked, outcome)) = done else { return };
        if let Err(failure) = &outcome.result {
            self.status.last_failure = describe(failure);
        }
        let now_ms = self.rest.clock.now_ms();
        match asked {
            Asked::Order(id) => self.ledger.answered(id, outcome, now_ms),
            Asked::Venue(request, generation) => self.venue_said(request, generation, outcome, now_ms),
            Asked::Snapshot(number) => self.listed(number, outcome, now_ms),
        }
    }

    fn venue_said(&mut self, request: Request, generation: u64, outcome: Outcome, now_ms: u64) {
        let current = generation == self.generation;
        match outcome.result {
            Ok(Answer::Time) if !self.rules_known => {
                self.venue(Request::Rules { symbols: self.names.clone() })
            }
            Ok(Answer::Rules(info)) => {
                self.misfit = self.ledger.learn(&info).err();
                self.status.untraded = self.ledger.untraded().into_iter().map(str::to_owned).collect();
                self.rules_known = true;
                self.phase(Phase::Connected);
            }
            Ok(Answer::Account(account)) => {
                self.balances.snapshot(&account);
                self.ports.balances.send_replace(self.balances.clone());
                self.reconcile.account |= current;
            }
            Ok(Answer::Orders(orders)) => {
                let _ = self.ledger.compare(&orders, outcome.sent_ms, now_ms);
                self.reconcile.orders |= current;
            }
            Ok(_) => {}
            Err(failure) => {
                let pause = match &failure {
                    Failure::Busy { until_ms } => Duration::from_millis(until_ms.saturating_sub(now_ms)),
                    _ => session::pause(self.config.reconnect_pause, 0, &self.rest.clock),
                };
                if !self.rules_known {
                    self.phase(Phase::Lost(describe(&failure)));
                }
                let needed = !self.rules_known || current && self.ledger.mode() == Mode::Reconciling;
                if needed && request != Request::Time || !self.rules_known {
                    self.later(Instant::now() + pause, request);
                }
            }
        }
    }

    fn later(&mut self, at: Instant, request: Request) {
        if !self.retries.iter().any(|(_, waiting)| *waiting == request) {
            self.retries.push((at, request));
        }
    }

    fn heard(&mut self, said: Heard) {
        let now_ms = self.rest.clock.now_ms();
        match said {
            Heard::Up => {
                self.generation += 1;
                self.status.sessions += 1;
                self.ledger.lost(now_ms);
                self.ledger.reconciling();
                self.reconcile = Reconcile::default();
                self.retries.clear();
                self.phase(Phase::Reconciling);
                self.venue(Request::Time);
                self.venue(Request::Account);
                self.venue(Request::OpenOrders);
            }
            Heard::Down(why) => {
                self.ledger.lost(now_ms);
                self.phase(Phase::Lost(why));
            }
            Heard::Unreadable => self.compare_now(),
            Heard::Event(UserEvent::Execution(event)) => self.ledger.execution(&event, now_ms),
            Heard::Event(UserEvent::Position { update_ms, balances }) => {
                if self.balances.update(&balances, update_ms) {
                    self.later(Instant::now() + SETTLES, Request::Account);
                }
                self.ports.balances.send_replace(self.balances.clone());
            }
            Heard::Event(UserEvent::Balance { asset, delta, clear_ms }) => {
                self.balances.add(&asset, &delta, clear_ms);
                self.ports.balances.send_replace(self.balances.clone());
            }
            Heard::Event(UserEvent::Ended | UserEvent::Other) => {}
        }
    }

    /// What could not be read may have been an event: nothing new is sent until everything is compared.
    fn compare_now(&mut self) {
        self.ledger.counts.unreadable += 1;
        if self.ledger.mode() == Mode::Trading {
            self.ledger.reconciling();
            self.reconcile = Reconcile { account: true, orders: false };
            self.generation += 1;
            self.phase(Phase::Reconciling);
            self.venue(Request::OpenOrders);
        }
    }

    /// The list for a snapshot. What it shows is told before the snapshot; one that does not come has no snapshot.
    fn listed(&mut self, number: u64, outcome: Outcome, now_ms: u64) {
        let Ok(Answer::Orders(orders)) = outcome.result else {
            self.snapshot = self.snapshot.take().filter(|snapshot| snapshot.number != number);
            return;
        };
        let strays = self.ledger.compare(&orders, outcome.sent_ms, now_ms);
        if let Some(snapshot) = self.snapshot.as_mut().filter(|snapshot| snapshot.number == number) {
            snapshot.listed = Some(strays);
        }
    }

    /// The snapshot that is wanted, once everything that its list has shown is told. While events are missing it waits.
    fn answer_snapshot(&mut self) -> Option<Told> {
        let trading = self.ledger.mode() == Mode::Trading;
        let snapshot = self.snapshot.as_mut()?;
        let number = snapshot.number;
        if !trading {
            (snapshot.asked, snapshot.listed) = (false, None);
        } else if !std::mem::replace(&mut snapshot.asked, true) {
            self.backlog.push_back((Asked::Snapshot(number), Request::OpenOrders));
        }
        if !self.ledger.is_told() {
            return None;
        }
        let strays = snapshot.listed.take()?;
        self.snapshot = None;
        let mut orders = self.ledger.listing();
        orders.extend(strays);
        Some(Told::Snapshot { number, last_order_id: self.ledger.last_order_id(), orders })
    }

    /// Trading resumes when the lists are compared and every order that they left open is asked for.
    fn resume(&mut self) {
        let compared = self.reconcile.account && self.reconcile.orders;
        if self.ledger.mode() == Mode::Reconciling && compared && self.ledger.is_settled() {
            self.ledger.trading();
            self.phase(Phase::Trading);
        }
    }

    fn tick(&mut self) {
        self.ledger.tick(self.rest.clock.now_ms());
        let now = Instant::now();
        let (due, waiting) = std::mem::take(&mut self.retries).into_iter().partition(|(at, _)| now >= *at);
        self.retries = waiting;
        let due: Vec<(Instant, Request)> = due;
        due.into_iter().for_each(|(_, request)| self.venue(request));
        if now >= self.sweep_at {
            self.sweep_at = now + self.config.sweep_interval;
            if self.ledger.mode() == Mode::Trading {
                self.venue(Request::Time);
                self.venue(Request::OpenOrders);
            }
        }
    }

    fn phase(&mut self, phase: Phase) {
        if self.status.phase != phase {
            tracing::info!(?phase, "binance");
            self.status.phase = phase;
        }
    }
}

fn describe(failure: &Failure) -> String {
    match failure {
        Failure::NotSent(why) => format!("not sent: {why}"),
        Failure::Busy { .. } => "the venue asks for a pause: send less, or wait".to_owned(),
        Failure::Refused { status: 410, .. } => {
            "HTTP 410: the venue has removed this endpoint; a newer Ringfence is needed".to_owned()
        }
        Failure::Refused { status, code, message, .. } => {
            let message: String = message.chars().take(200).collect();
            format!("refused: HTTP {status}, code {code}: {message}")
        }
        Failure::Unknown(why) => format!("unknown whether it happened: {why}; it is asked for"),
    }
}
