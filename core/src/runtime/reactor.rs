//! The gate thread: one bounded pass after another over mailbox, reports, intents and quotes.
//!
//! After [`Reactor::new`] nothing here allocates, locks, faults or calls the kernel, except the sleep of an idle pass.

use ringfence_ipc::clock::Clock;
use ringfence_ipc::counters::{Counter, CountersWriter, Histo};
use ringfence_ipc::handshake::Role;
use ringfence_ipc::journal::{CloseRecord, Record, RecordWords, encode_report};
use ringfence_ipc::layout::PACE_EVENTS;
use ringfence_ipc::msg::{Decision, DurabilityTier, Outcome, Report, ReportKind, StrategyId, Words};
use ringfence_ipc::ring::Fault;

use super::mailbox::{FromGate, PortFault, ToGate};
use super::port::ClientPort;
use super::quotes::Quotes;
use super::venue_port::{BLANK_REPORT, REPORT_SLOTS, VenuePort, touched_vec};
use super::wait::Waiter;
use crate::config::Wait;
use crate::gate::{Gate, Request, Room, Space};
use crate::journal::{Class, Writer};

/// Intents taken from one client in one pass.
const INTENTS_PER_CLIENT: usize = 16;
/// Reports booked in one pass.
pub(super) const REPORTS_PER_PASS: usize = 256;
/// Market messages applied in one pass.
const QUOTES_PER_PASS: usize = 64;
/// Mailbox messages handled in one pass.
const MAIL_PER_PASS: usize = 4;
/// Passes between two looks at what need not be looked at every time.
const PASSES_PER_CHORE: u64 = 64;
/// No client is attached for this strategy.
const NO_PORT: u16 = u16::MAX;
/// A paced strategy that reads nothing for this long is no longer waited for.
const PACE_PATIENCE_NS: u64 = 5_000_000_000;

/// Everything the gate thread owns.
pub(super) struct Reactor {
    pub gate: Gate,
    pub journal: Writer,
    pub venue: VenuePort,
    pub clock: Clock,
    pub market: Quotes,
    pub counters: CountersWriter,
    pub inbox: rtrb::Consumer<ToGate>,
    pub outbox: rtrb::Producer<FromGate>,
    pub ports: Vec<Option<Box<ClientPort>>>,
    /// Places in `ports` that are taken, so that a pass touches nobody else.
    active: Vec<u16>,
    pub by_strategy: Vec<u16>,
    pub reports: Vec<Report>,
    /// Lockstep: gate time is the tape's.
    pub tape_now_ns: Option<u64>,
    pub stopping: bool,
    /// Records in the journal, all lives together.
    pub records: u64,
    /// Market events consumed in earlier lives.
    pub base_event: u64,
    rotation: usize,
    passes: u64,
    tally: Tally,
}

/// Counts not yet in the counters file: kept in registers and one private line, written out at every chore.
#[derive(Clone, Copy, Default)]
struct Tally {
    intents: u64,
    accepted: u64,
    commands: u64,
    reports: u64,
}

/// What [`Reactor::new`] puts together.
pub(super) struct Parts {
    pub gate: Gate,
    pub journal: Writer,
    pub venue: VenuePort,
    pub clock: Clock,
    pub market: Quotes,
    pub counters: CountersWriter,
    pub inbox: rtrb::Consumer<ToGate>,
    pub outbox: rtrb::Producer<FromGate>,
    pub max_clients: usize,
    pub max_strategies: usize,
}

impl Reactor {
    pub fn new(parts: Parts) -> Self {
        Self {
            gate: parts.gate,
            journal: parts.journal,
            venue: parts.venue,
            clock: parts.clock,
            market: parts.market,
            counters: parts.counters,
            inbox: parts.inbox,
            outbox: parts.outbox,
            ports: (0..parts.max_clients).map(|_| None).collect(),
            active: Vec::with_capacity(parts.max_clients),
            by_strategy: vec![NO_PORT; parts.max_strategies],
            reports: touched_vec(REPORT_SLOTS, BLANK_REPORT),
            tape_now_ns: None,
            stopping: false,
            records: 0,
            base_event: 0,
            rotation: 0,
            passes: 0,
            tally: Tally::default(),
        }
    }

    /// Runs until told to stop.
    pub fn run(&mut self, wait: Wait) {
        let mut waiter = Waiter::new(wait);
        while !self.stopping {
            let busy = self.pass();
            waiter.after_pass(busy);
        }
    }

    /// One pass. Says whether there was anything to do.
    pub fn pass(&mut self) -> bool {
        let mut busy = !self.inbox.is_empty() && self.mail();
        busy |= self.book_reports();
        self.rotation = if self.rotation + 1 < self.active.len() { self.rotation + 1 } else { 0 };
        for turn in self.rotation..self.rotation + self.active.len() {
            let turn = if turn < self.active.len() { turn } else { turn - self.active.len() };
            if let Some(at) = self.active.get(turn) {
                busy |= self.serve(usize::from(*at));
            }
        }
        self.passes += 1;
        if self.passes.is_multiple_of(PASSES_PER_CHORE) {
            self.chores();
        }
        busy
    }

    /// Gate time, ns.
    #[inline]
    pub fn now_ns(&self) -> u64 {
        self.tape_now_ns.unwrap_or_else(|| self.clock.now_ns())
    }

    /// Writes a record down; room was looked at before.
    #[inline]
    fn append(&mut self, record: &RecordWords) -> u64 {
        self.records += 1;
        self.journal.append(record)
    }

    #[inline]
    fn journal_space(&mut self) -> Space {
        if self.journal.room(Class::Order) {
            Space::Open
        } else if self.journal.room(Class::Reserved) {
            Space::Reserved
        } else {
            Space::Full
        }
    }

    fn serve(&mut self, at: usize) -> bool {
        let Some(port) = &self.ports[at] else { return false };
        let served = match port.role {
            Role::Strategy | Role::Operator => self.serve_intents(at, INTENTS_PER_CLIENT),
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

    /// Decides up to `limit` intents of one client. While one is decided, what the next will need is on its way.
    pub fn serve_intents(&mut self, at: usize, limit: usize) -> Result<usize, PortFault> {
        let mut served = 0;
        let mut started_ns = 0;
        let Some(port) = &mut self.ports[at] else { return Ok(0) };
        let Some(mut head) = port.intents.peek()? else { return Ok(0) };
        while served < limit {
            let Some(port) = &mut self.ports[at] else { break };
            if !port.draining && !port.has_decision_room()? {
                self.counters.inc(Counter::FullEventRings);
                break;
            }
            if served == 0 {
                started_ns = self.now_ns();
                self.counters.record(Histo::RingNs, started_ns.saturating_sub(head.words[5]));
            }
            let Some(port) = &mut self.ports[at] else { break };
            let ext = if head.slots == 1 { None } else { Some(port.intents.continuation(1)?) };
            let position = port.intents.position();
            port.intents.advance(head.slots);
            let next = port.intents.peek();
            if let Ok(Some(next)) = &next {
                self.gate.prefetch(port.strategy, &next.words);
            }
            self.decide_one(at, &head.words, ext.as_ref(), position, started_ns)?;
            served += 1;
            match next? {
                Some(next) => head = next,
                None => break,
            }
        }
        if served > 0 {
            self.count_served(served as u64, started_ns);
        }
        Ok(served)
    }

    /// Decide, journal, answer, and only then update the private tables and hand the command over.
    #[inline]
    pub fn decide_one(
        &mut self,
        at: usize,
        words: &Words,
        ext: Option<&Words>,
        position: u64,
        now_ns: u64,
    ) -> Result<(), PortFault> {
        let room = Room { venue: self.venue.space(), journal: self.journal_space() };
        let Some(port) = &mut self.ports[at] else { return Ok(()) };
        let verdict = self.gate.decide(&Request {
            strategy: port.strategy,
            operator: port.role == Role::Operator,
            words,
            ext,
            now_ns,
            position,
            room,
            reference: None,
            tier: DurabilityTier::Process,
        });
        let mut decision = verdict.decision;
        if let Some(record) = &verdict.record {
            self.records += 1;
            decision.journal_seq = self.journal.append(&record.encode());
        }
        // A draining client reads nothing any more; the journal keeps its answers.
        if !port.draining {
            let told = port.events.push1(&decision.encode()).map_err(PortFault::Ring)?;
            debug_assert!(told.is_some(), "room was looked at before the intent was read");
        }
        self.gate.commit(&verdict, decision.journal_seq);
        if let Some(command) = verdict.command {
            self.venue.push(command, now_ns);
            self.tally.commands += 1;
        }
        self.count_decision(&decision);
        Ok(())
    }

    #[inline]
    fn count_decision(&mut self, decision: &Decision) {
        self.tally.intents += 1;
        if decision.outcome == Outcome::Accepted && !decision.duplicate {
            self.tally.accepted += 1;
        } else {
            self.count_refused(decision);
        }
    }

    #[cold]
    fn count_refused(&self, decision: &Decision) {
        let counters = &self.counters;
        if decision.duplicate {
            counters.inc(Counter::Duplicates);
        } else {
            counters.reject(decision.reason);
            let transient = decision.tier == DurabilityTier::None;
            counters.inc(if transient { Counter::TransientRejects } else { Counter::Rejected });
        }
    }

    /// Brings the counters file up to date.
    fn flush_tally(&mut self) {
        let tally = std::mem::take(&mut self.tally);
        self.counters.add(Counter::Intents, tally.intents);
        self.counters.add(Counter::Accepted, tally.accepted);
        self.counters.add(Counter::Commands, tally.commands);
        self.counters.add(Counter::Reports, tally.reports);
        self.counters.set(Counter::JournalRecords, self.records);
        self.counters.set(Counter::JournalPos, self.journal.position());
    }

    /// Residence in the gate, an upper bound for each intent of the batch: from the clock read that saw the first to
    /// the one after the last was answered. The second read is off the path of every answer.
    fn count_served(&mut self, served: u64, started_ns: u64) {
        if self.tape_now_ns.is_none() {
            let residence_ns = self.clock.now_ns().saturating_sub(started_ns);
            self.counters.record_n(Histo::DecisionNs, residence_ns, served);
        }
    }

    /// Books what the venue reported, and hands over cancels that a mass cancel still owes.
    pub fn book_reports(&mut self) -> bool {
        let reported = self.venue.has_reports();
        if reported {
            let now_ns = self.now_ns();
            let mut reports = std::mem::take(&mut self.reports);
            let limit = self.reports_that_fit();
            self.venue.take_reports(limit, &mut reports);
            for report in &reports {
                self.book(report, now_ns);
            }
            self.reports = reports;
        }
        if self.gate.mass_cancels_owed() > 0 {
            let now_ns = self.now_ns();
            while self.venue.space() > Space::Full {
                let Some(command) = self.gate.next_mass_cancel(now_ns) else { break };
                self.venue.push(command, now_ns);
                self.tally.commands += 1;
            }
        }
        reported
    }

    /// Reports that the journal can take now, at most a pass's worth.
    pub fn reports_that_fit(&mut self) -> usize {
        if self.journal.room_for(Class::Reserved, REPORTS_PER_PASS as u64) {
            REPORTS_PER_PASS
        } else {
            usize::from(self.journal.room(Class::Reserved))
        }
    }

    /// One report: journal, books, the strategy's ring.
    pub fn book(&mut self, report: &Report, now_ns: u64) {
        let Ok(mut booked) = self.gate.book(report, now_ns) else {
            self.counters.inc(Counter::UnbookedReports);
            return;
        };
        let seq = self.append(&encode_report(&booked));
        booked.journal_seq = seq;
        self.tell(&booked);
        if booked.kind == ReportKind::Accepted
            && let Some(order) = self.gate.order(booked.order_id)
        {
            self.counters.record(Histo::OrderRoundtripNs, now_ns.saturating_sub(order.created_ns));
        }
        self.gate.apply_report(&booked, seq);
        self.tally.reports += 1;
        if booked.kind == ReportKind::Fill {
            self.counters.inc(Counter::Fills);
        }
    }

    /// Puts a report into its strategy's ring. A ring that cannot take it belongs to a client that stopped reading: it
    /// is detached, and resumes from the journal.
    fn tell(&mut self, report: &Report) {
        let at = self.by_strategy.get(usize::from(report.strategy)).copied().unwrap_or(NO_PORT);
        let Some(Some(port)) = self.ports.get_mut(usize::from(at)) else { return };
        if port.draining {
            return;
        }
        match port.push_report(&report.encode()) {
            Ok(true) => {}
            Ok(false) => self.retire(usize::from(at), Some(PortFault::Lagging)),
            Err(fault) => self.retire(usize::from(at), Some(PortFault::Ring(fault))),
        }
    }

    /// Applies a feed's quotes and trades.
    fn serve_quotes(&mut self, at: usize) -> Result<usize, PortFault> {
        let mut served = 0;
        let mut now_ns = 0;
        while served < QUOTES_PER_PASS {
            let Some(port) = &mut self.ports[at] else { break };
            let Some(head) = port.intents.peek().map_err(PortFault::Ring)? else { break };
            if served == 0 {
                now_ns = self.clock.now_ns();
            }
            port.intents.advance(head.slots);
            self.on_market(&head.words, now_ns);
            served += 1;
        }
        Ok(served)
    }

    /// One quote or trade: market cell, reference, and now and then a journalled mark.
    pub fn on_market(&mut self, words: &Words, now_ns: u64) {
        let Some((symbol, view)) = self.market.apply(words, now_ns) else {
            self.counters.inc(Counter::MalformedMessages);
            return;
        };
        let due = self.gate.set_reference(
            symbol,
            view.bid_price,
            view.ask_price,
            view.last_price,
            now_ns,
            view.event,
        );
        if let Some(mark) = due.filter(|_| self.journal.room(Class::Order)) {
            let record = Record::Mark(mark);
            let seq = self.append(&record.encode());
            // A mark names a symbol of this gate's own table: applying it cannot fail.
            let _ = self.gate.apply(seq, &record);
        }
        self.counters.inc(Counter::MarketMessages);
    }

    pub fn mail(&mut self) -> bool {
        let mut busy = false;
        for _ in 0..MAIL_PER_PASS {
            // What a message leads to must fit the journal and the outbox; else it waits where it is.
            if self.outbox.slots() < 2 || !self.journal.room(Class::Reserved) {
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
            ToGate::Detach { client } => {
                if let Some(port) = self.ports.iter_mut().flatten().find(|port| port.client == client) {
                    port.draining = true;
                }
            }
            ToGate::Control(record) => {
                let (client, record) = (record.client, Record::Control(record));
                let seq = self.append(&record.encode());
                let _ = self.gate.apply(seq, &record);
                self.counters.set(Counter::Mode, self.gate.mode(None) as u64);
                let _ = self.outbox.push(FromGate::ControlDone { client, journal_seq: seq });
            }
            ToGate::Stop => self.stopping = true,
        }
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
        self.ports[at] = Some(port);
        self.active.push(at as u16);
        self.pace(self.clock.now_ns());
        self.counters.set(Counter::JournalPos, self.journal.position());
        let _ = self.outbox.push(FromGate::Attached { client, position: self.journal.position() });
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
        self.active.retain(|place| usize::from(*place) != at);
        let strategy: StrategyId = port.strategy;
        if port.role == Role::Strategy
            && let Some(entry) = self.by_strategy.get_mut(usize::from(strategy))
        {
            *entry = NO_PORT;
        }
        if matches!(fault, Some(PortFault::Ring(_))) {
            self.counters.inc(Counter::Faults);
            self.counters.inc(Counter::QuarantinedClients);
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
        self.counters.set(Counter::OpenOrders, self.gate.open_order_count() as u64);
        self.pace(now_ns);
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
