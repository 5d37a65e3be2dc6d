//! The gate thread: one bounded pass after another over mailbox, reports, intents and quotes.
//!
//! After [`Reactor::new`] nothing here allocates, locks, faults or calls the kernel, except the sleep of an idle pass.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ringfence_ipc::clock::Clock;
use ringfence_ipc::counters::{Counter, CountersWriter};
use ringfence_ipc::handshake::Role;
use ringfence_ipc::journal::{CloseRecord, Record, RecordWords};
use ringfence_ipc::layout::PACE_EVENTS;
use ringfence_ipc::msg::{PAYLOAD_WORDS, Report, StrategyId, Words};
use ringfence_ipc::ring::Fault;

use super::absence::Absence;
use super::held::Held;
use super::intents::INTENTS_PER_CLIENT;
use super::limits::ChangeSet;
use super::mailbox::{FromGate, PortFault, ToGate};
use super::nodes::Nodes;
use super::port::ClientPort;
use super::quotes::Quotes;
use super::switches::RECORDS_PER_ACT;
use super::venue_port::{BLANK_REPORT, REPORT_SLOTS, VenuePort, touched_vec};
use super::vigil::Vigil;
use super::wait::{Rest, Waiter};
use super::watch::Watch;
use crate::gate::{Gate, Space, touched};
use crate::journal::{Class, Writer};

/// Reports booked in one pass.
pub(super) const REPORTS_PER_PASS: usize = 256;
/// Mailbox messages handled in one pass.
const MAIL_PER_PASS: usize = 4;
/// Passes between two looks at what need not be looked at every time.
const PASSES_PER_CHORE: u64 = 64;
/// Between two looks at what the disk has, while something waits for it.
pub(super) const DISK_LOOK: Duration = Duration::from_micros(50);
/// No client is attached for this strategy.
pub(super) const NO_PORT: u16 = u16::MAX;
/// A paced strategy that reads nothing for this long is no longer waited for.
const PACE_PATIENCE_NS: u64 = 5_000_000_000;

/// Everything the gate thread owns.
pub(super) struct Reactor {
    pub gate: Gate,
    pub journal: Writer,
    pub venue: VenuePort,
    pub clock: Clock,
    pub market: Quotes,
    pub nodes: Nodes,
    pub counters: CountersWriter,
    pub inbox: rtrb::Consumer<ToGate>,
    pub outbox: rtrb::Producer<FromGate>,
    pub ports: Vec<Option<Box<ClientPort>>>,
    /// Places in `ports` that are taken, so that a pass touches nobody else.
    pub active: Vec<u16>,
    pub by_strategy: Vec<u16>,
    pub reports: Vec<Report>,
    /// Intents of the client that is being served.
    pub batch: Vec<Words>,
    /// Tier `power`: what waits for the disk.
    pub held: Held,
    /// Lockstep: gate time is the tape's.
    pub tape_now_ns: Option<u64>,
    pub stopping: bool,
    /// Records in the journal, all lives together.
    pub records: u64,
    /// Market events consumed in earlier lives.
    pub base_event: u64,
    rotation: usize,
    passes: u64,
    /// Gate time as this pass read it; 0: it has not needed it yet.
    pass_now_ns: u64,
    pub tally: Tally,
    /// Not 0: the kill switch is pulled, and by what. Signal handlers write here.
    pub kill: Arc<AtomicUsize>,
    pub kill_cancels_orders: bool,
    pub vigil: Vigil,
    pub watch: Watch,
    pub absence: Absence,
}

/// Counts not yet in the counters file: kept in registers and one private line, written out at every chore.
#[derive(Clone, Copy, Default)]
pub(super) struct Tally {
    pub intents: u64,
    pub accepted: u64,
    pub commands: u64,
    pub reports: u64,
    pub busy_passes: u64,
}

/// What [`Reactor::new`] puts together.
pub(super) struct Parts {
    pub gate: Gate,
    pub journal: Writer,
    pub venue: VenuePort,
    pub clock: Clock,
    pub market: Quotes,
    pub nodes: Nodes,
    pub counters: CountersWriter,
    pub inbox: rtrb::Consumer<ToGate>,
    pub outbox: rtrb::Producer<FromGate>,
    pub max_clients: usize,
    pub max_strategies: usize,
    pub kill: Arc<AtomicUsize>,
    pub kill_cancels_orders: bool,
    pub lagging_patience_ns: u64,
    pub held: Held,
}

impl Reactor {
    pub fn new(parts: Parts) -> Self {
        Self {
            gate: parts.gate,
            journal: parts.journal,
            venue: parts.venue,
            clock: parts.clock,
            market: parts.market,
            nodes: parts.nodes,
            counters: parts.counters,
            inbox: parts.inbox,
            outbox: parts.outbox,
            ports: (0..parts.max_clients).map(|_| None).collect(),
            active: Vec::with_capacity(parts.max_clients),
            by_strategy: vec![NO_PORT; parts.max_strategies],
            reports: touched_vec(REPORT_SLOTS, BLANK_REPORT),
            held: parts.held,
            batch: touched(INTENTS_PER_CLIENT, [0; PAYLOAD_WORDS]).into_vec(),
            tape_now_ns: None,
            stopping: false,
            records: 0,
            base_event: 0,
            rotation: 0,
            passes: 0,
            pass_now_ns: 0,
            tally: Tally::default(),
            kill: parts.kill,
            kill_cancels_orders: parts.kill_cancels_orders,
            vigil: Vigil::new(0, 0),
            watch: Watch::new(parts.lagging_patience_ns),
            absence: Absence::ignored(),
        }
    }

    /// Runs until told to stop.
    pub fn run(&mut self, waiter: &mut Waiter) {
        while !self.stopping {
            let busy = self.pass();
            // The disk rings no bell when it has caught up.
            let due_in = if self.held.is_waiting() { DISK_LOOK } else { Duration::MAX };
            let rest = waiter.after_pass_until(busy, due_in);
            if rest != Rest::None {
                self.rested(rest);
            }
        }
    }

    /// After a sleep: passes are rare then, so what waits for their number is done now.
    #[cold]
    pub fn rested(&mut self, rest: Rest) {
        self.counters.inc(Counter::Parks);
        if rest == Rest::Woken {
            self.counters.inc(Counter::ParksWoken);
        } else {
            self.chores();
        }
    }

    /// One pass. Says whether there was anything to do.
    pub fn pass(&mut self) -> bool {
        self.pass_now_ns = 0;
        if self.kill.load(Ordering::Relaxed) != 0 {
            self.pull_kill();
        }
        let mut busy = !self.inbox.is_empty() && self.mail();
        if self.held.is_waiting() {
            busy |= self.release();
        }
        busy |= self.book_reports();
        busy |= self.tend_venue();
        self.rotation = if self.rotation + 1 < self.active.len() { self.rotation + 1 } else { 0 };
        let mut turn = self.rotation;
        for _ in 0..self.active.len() {
            turn = if turn < self.active.len() { turn } else { 0 };
            let Some(at) = self.active.get(turn).copied() else { break };
            busy |= self.serve(usize::from(at));
            // Whoever was thrown out left the list, and the next one moved into its place: nobody's turn is skipped.
            turn += usize::from(self.active.get(turn) == Some(&at));
        }
        self.passes += 1;
        self.tally.busy_passes += u64::from(busy);
        if self.passes.is_multiple_of(PASSES_PER_CHORE) {
            self.time_pass();
            self.chores();
        }
        busy
    }

    /// Gate time, ns.
    #[inline]
    pub fn now_ns(&self) -> u64 {
        self.tape_now_ns.unwrap_or_else(|| self.clock.now_ns())
    }

    /// Gate time, ns, read once per pass: whatever one pass decides and books happens at one time.
    #[inline]
    pub fn pass_now_ns(&mut self) -> u64 {
        if self.tape_now_ns.is_some() || self.pass_now_ns == 0 {
            self.pass_now_ns = self.now_ns();
        }
        self.pass_now_ns
    }

    /// When this pass first needed the time; in lockstep, and when it never did, `None`.
    pub fn pass_began_ns(&self) -> Option<u64> {
        Some(self.pass_now_ns).filter(|began_ns| *began_ns != 0 && self.tape_now_ns.is_none())
    }

    /// Writes a record down; room was looked at before.
    #[inline]
    pub fn append(&mut self, record: &RecordWords) -> u64 {
        self.records += 1;
        self.journal.append(record)
    }

    /// What may be journalled, if it is `records`.
    #[inline]
    pub fn journal_space(&mut self, records: u64) -> Space {
        if self.journal.room_for(Class::Order, records) {
            Space::Open
        } else if self.journal.room_for(Class::Reserved, records) {
            if self.journal.is_failed() { Space::Failed } else { Space::Reserved }
        } else {
            Space::Full
        }
    }

    fn serve(&mut self, at: usize) -> bool {
        let Some(port) = &self.ports[at] else { return false };
        let served = match port.role {
            Role::Strategy | Role::Operator if self.held.is_on() => self.serve_held(at),
            Role::Strategy | Role::Operator => self.serve_intents(at),
            Role::Feed => self.serve_quotes(at),
            Role::Venue | Role::Observer => Ok(0),
        };
        match served {
            Ok(0) => {
                if self.ports[at].as_ref().is_some_and(|port| port.draining) {
                    self.retire(at, None);
                    return true;
                }
                false
            }
            Ok(_) => true,
            Err(fault) => {
                self.retire(at, Some(fault));
                true
            }
        }
    }

    /// Brings the counters file up to date.
    fn flush_tally(&mut self) {
        let tally = std::mem::take(&mut self.tally);
        self.counters.add(Counter::Intents, tally.intents);
        self.counters.add(Counter::Accepted, tally.accepted);
        self.counters.add(Counter::Commands, tally.commands);
        self.counters.add(Counter::Reports, tally.reports);
        self.counters.add(Counter::BusyPasses, tally.busy_passes);
        self.counters.set(Counter::JournalRecords, self.records);
        self.counters.set(Counter::JournalPos, self.journal.position());
    }

    pub fn mail(&mut self) -> bool {
        let mut busy = false;
        for _ in 0..MAIL_PER_PASS {
            // What a message leads to must fit the journal, the outbox and the FIFO; else it waits where it is.
            let records = match self.inbox.peek() {
                Ok(ToGate::Configure(set)) => 1 + set.limits.len() as u64,
                Ok(_) => RECORDS_PER_ACT,
                Err(_) => break,
            };
            if self.outbox.slots() < 2
                || !self.journal.room_for(Class::Reserved, records)
                || self.held.free() == 0
            {
                break;
            }
            let Ok(message) = self.inbox.pop() else { break };
            busy = true;
            self.on_mail(message);
        }
        busy
    }

    fn on_mail(&mut self, message: ToGate) {
        match message {
            ToGate::Install { record, tables } => {
                let record = Record::Strategy(record);
                let seq = self.append(&record.encode());
                // The control thread gives ids inside the capacity, each once.
                let _ = self.gate.install(tables);
                let _ = self.gate.apply(seq, &record);
            }
            ToGate::Attach { port, record } => self.attach(port, &Record::Attach(record)),
            ToGate::AttachVenue { port, record, mark } => {
                self.attach_venue(port, &Record::Attach(record), mark);
            }
            ToGate::AskVenue { number } => {
                if let VenuePort::External(venue) = &mut self.venue {
                    venue.call_snapshot(number);
                }
            }
            ToGate::Detach { client } => {
                if let Some(port) = self.ports.iter_mut().flatten().find(|port| port.client == client) {
                    port.draining = true;
                } else {
                    self.detach_venue(client);
                }
            }
            ToGate::Control { record, cancel_orders } => self.on_control(record, cancel_orders),
            ToGate::Node(turn) => self.on_node(turn),
            ToGate::Configure(set) => self.configure(set),
            ToGate::Stop => self.stopping = true,
        }
    }

    /// The whole change between two passes: no decision sees a part of it.
    fn configure(&mut self, set: Box<ChangeSet>) {
        let record = Record::Config(set.config);
        let journal_seq = self.append(&record.encode());
        let _ = self.gate.apply(journal_seq, &record);
        let first = self.journal.position();
        for limit in &set.limits {
            self.append(&Record::Limit(*limit).encode());
        }
        // The control thread checked scopes and ids against this gate's own capacity.
        let _ = self.gate.apply_limits(first, &set.limits);
        let _ = self.outbox.push(FromGate::Configured { set, journal_seq });
    }

    fn attach(&mut self, port: Box<ClientPort>, record: &Record) {
        let Some(at) = self.ports.iter().position(Option::is_none) else {
            // The control thread counts clients: it never hands over more than fit.
            let _ = self.outbox.push(FromGate::Retired { port, fault: None });
            return;
        };
        self.append(&record.encode());
        let client = port.client;
        if port.role == Role::Strategy
            && let Some(entry) = self.by_strategy.get_mut(usize::from(port.strategy))
        {
            *entry = at as u16;
        }
        self.held.vacate(at);
        self.absence.came(&port);
        self.ports[at] = Some(port);
        self.active.push(at as u16);
        self.show_client(at);
        self.pace(self.clock.now_ns());
        self.counters.set(Counter::JournalPos, self.journal.position());
        // What came before this position is read back from the journal: in tier `power` only once it is on disk.
        let position = self.journal.position();
        self.mail_out(FromGate::Attached { client, position }, position);
    }

    /// Stops serving a client and gives its port back to the control thread, which unmaps it. Waits, still attached
    /// but draining, while the outbox is full.
    pub fn retire(&mut self, at: usize, fault: Option<PortFault>) {
        if self.outbox.is_full() {
            if let Some(port) = &mut self.ports[at] {
                port.draining = true;
            }
            return;
        }
        let Some(port) = self.ports[at].take() else { return };
        self.counters.hide_client(at);
        self.active.retain(|place| usize::from(*place) != at);
        self.nodes.cache.release_all(port.client);
        let strategy: StrategyId = port.strategy;
        if port.role == Role::Strategy
            && let Some(entry) = self.by_strategy.get_mut(usize::from(strategy))
        {
            *entry = NO_PORT;
        }
        if port.role == Role::Strategy || (port.dead_man && !self.ports.iter().flatten().any(|p| p.dead_man))
        {
            self.absence.left(&port, self.clock.now_ns());
        }
        if matches!(fault, Some(PortFault::Ring(_))) {
            self.counters.inc(Counter::Faults);
        }
        let _ = self.outbox.push(FromGate::Retired { port, fault });
    }

    /// What need not be looked at in every pass.
    pub fn chores(&mut self) {
        let now_ns = self.clock.now_ns();
        self.counters.set(Counter::HeartbeatNs, now_ns);
        self.counters.set(Counter::Passes, self.passes);
        self.flush_tally();
        self.counters.set(Counter::ArchivedPos, self.journal.archived_pos());
        self.counters.set(Counter::DurablePos, self.journal.durable_pos());
        self.counters.set(Counter::ArchiveErrors, u64::from(self.journal.is_failed()));
        self.counters.set(Counter::DiskLow, u64::from(self.journal.is_disk_low()));
        self.counters.set(Counter::HeldEntries, self.held.len() as u64);
        self.counters.set(Counter::OpenOrders, self.gate.open_order_count() as u64);
        self.nodes.flush(&self.counters);
        self.pace(now_ns);
        // In lockstep the tape is the clock: there the steps keep it.
        if self.tape_now_ns.is_none() {
            self.keep_vigil(now_ns);
            self.see_absence(now_ns);
        }
        self.watch_clients(now_ns);
    }

    /// Tells feeds how far they may run: a window beyond the slowest paced strategy that still reads; 0 is no bound.
    /// Patience runs only while the strategy has something to read.
    fn pace(&mut self, now_ns: u64) {
        let latest = self.market.latest_event();
        let mut slowest = None;
        for port in self.ports.iter_mut().flatten() {
            let Some(word) = &port.market_seen else { continue };
            let seen = word.get();
            if seen != port.seen.0 || seen >= latest || port.seen.1 == 0 {
                port.seen = (seen, now_ns);
            }
            if now_ns.saturating_sub(port.seen.1) < PACE_PATIENCE_NS {
                slowest = Some(slowest.map_or(seen, |slow: u64| slow.min(seen)));
            }
        }
        let limit = slowest.map_or(0, |seen| seen.saturating_add(PACE_EVENTS));
        for port in self.ports.iter().flatten() {
            if let Some(word) = &port.paced_limit {
                word.set(limit);
            }
        }
    }

    /// The last records of a life in good order: a mark per symbol, then the state's hash, which is returned.
    pub fn close(&mut self) -> [u8; 32] {
        self.flush_tally();
        let now_ns = self.now_ns();
        for symbol in 0..self.market.symbols() {
            if let Some(mark) =
                self.gate.mark_now(symbol, now_ns).filter(|_| self.journal.room(Class::Reserved))
            {
                let record = Record::Mark(mark);
                let seq = self.append(&record.encode());
                // A mark names a symbol of this gate's own table: applying it cannot fail.
                let _ = self.gate.apply(seq, &record);
            }
        }
        let state_hash = self.gate.state_hash();
        if self.journal.room(Class::Reserved) {
            let market_events = self.counters.get(Counter::MarketEvents);
            self.append(&Record::Close(CloseRecord { now_ns, state_hash, market_events }).encode());
        }
        state_hash
    }
}

/// A ring fault as a port fault.
impl From<Fault> for PortFault {
    fn from(fault: Fault) -> Self {
        Self::Ring(fault)
    }
}
