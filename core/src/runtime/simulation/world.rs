//! One run: the real reactor with gate and journal, the real paper venue, clients, time, and what befalls them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ringfence_ipc::clock::{Calibration, Clock};
use ringfence_ipc::counters::CountersWriter;
use ringfence_ipc::handshake::Role;
use ringfence_ipc::journal::hot::HotReader;
use ringfence_ipc::journal::{AttachRecord, BootRecord, LimitRecord, Record, StrategyRecord};
use ringfence_ipc::layout;
use ringfence_ipc::market::MarketWriter;
use ringfence_ipc::msg::{Report, Words, kind, kind_of};
use ringfence_ipc::segment::GateSegment;

use super::client::{Client, Link};
use super::model::{Model, Sent};
use super::setting::{MIDDLE_TICKS, STRATEGIES, Setting};
use super::street::{Street, Truth};
use crate::gate::Gate;
use crate::journal::tests::sim::{Rng, Sim};
use crate::journal::{JournalOptions, Pump, Step as Pumped, open_on};
use crate::runtime::boot::{Start, recover};
use crate::runtime::mailbox::{FromGate, MAILBOX_SLOTS, ToGate};
use crate::runtime::missed::event_of;
use crate::runtime::quotes::Quotes;
use crate::runtime::reactor::{Parts, Reactor};
use crate::runtime::venue_port::VenuePort;
use crate::venue::PaperConfig;

/// What a run does not say with this is true.
pub type Check = Result<(), String>;

pub fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Slots of the ring to the venue: above what is kept for cancels, so that a stalled venue is felt soon.
const COMMANDS: usize = 320;
const REPORTS: usize = 256;
const HOT_BYTES: u64 = 64 << 10;
const START_NS: u64 = 1_000_000_000_000;

/// How a life of the gate ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// `kill -9`: hot ring and page cache survive, clients live on.
    Killed,
    /// The machine went down: only what was synced survives, of nothing else.
    PowerLost,
    /// In good order.
    Closed,
}

/// What lives and dies with a gate process.
pub struct Life {
    pub reactor: Reactor,
    pump: Option<Pump<Sim>>,
    pub hot: HotReader,
    to_gate: rtrb::Producer<ToGate>,
    pub from_gate: rtrb::Consumer<FromGate>,
    pub street: Street,
}

pub struct World {
    pub setting: Setting,
    pub medium: Sim,
    pub model: Model,
    /// The journal as it was read from the hot ring.
    pub log: Vec<(u64, Record)>,
    /// Position of the next record to read.
    pub next_position: u64,
    pub life: Option<Life>,
    pub clients: Vec<Client>,
    /// Handed to the gate, and not taken by it yet.
    pub delivered: VecDeque<Report>,
    /// Must leave for the venue, in this order.
    pub to_send: VecDeque<Sent>,
    pub now_ns: u64,
    pub middles: [i64; 3],
    pub next_key: u128,
    pub archiver_stalled: bool,
    /// Orders whose slot was taken again before their last fill arrived.
    pub forgotten: BTreeSet<u64>,
    /// State of the gate that died, if all of it survives; otherwise below which position all of it does.
    pub survived: Option<[u8; 32]>,
    pub promised: u64,
    next_number: u64,
    event: u64,
    dir: tempfile::TempDir,
    market: GateSegment,
    began: Instant,
}

impl World {
    pub fn new(seed: u64) -> Result<Self, String> {
        let setting = Setting::of(seed);
        let market = GateSegment::create("simulation", layout::market_bytes(setting.symbols.len()));
        let mut clients: Vec<Client> =
            STRATEGIES.iter().map(|(id, ..)| Client::new(Role::Strategy, *id)).collect();
        clients.push(Client::new(Role::Operator, 0));
        let mut world = Self {
            model: blank_model(&setting),
            setting,
            medium: Sim::new(),
            log: Vec::new(),
            next_position: 1,
            life: None,
            clients,
            delivered: VecDeque::new(),
            to_send: VecDeque::new(),
            now_ns: START_NS,
            middles: [MIDDLE_TICKS; 3],
            next_key: 0,
            archiver_stalled: false,
            forgotten: BTreeSet::new(),
            survived: None,
            promised: 0,
            next_number: 1,
            event: 0,
            dir: tempfile::tempdir().map_err(text)?,
            market: market.map_err(text)?,
            began: Instant::now(),
        };
        world.begin()?;
        for at in 0..world.clients.len() {
            world.attach(at)?;
        }
        world.settle()?;
        Ok(world)
    }

    fn options(&self) -> JournalOptions {
        JournalOptions {
            hot_bytes: HOT_BYTES,
            segment_bytes: self.setting.segment_bytes,
            sync_interval: Duration::ZERO,
            min_free_bytes: 1 << 20,
            ..JournalOptions::new(self.dir.path().join("journal"), self.hot_path())
        }
    }

    fn hot_path(&self) -> PathBuf {
        self.dir.path().join("hot")
    }

    pub fn life(&mut self) -> &mut Life {
        self.life.as_mut().expect("a gate lives between two steps")
    }

    pub fn street(&mut self) -> &mut Street {
        &mut self.life().street
    }

    /// A gate process starts: as `boot` does it, on the run's medium and clock.
    fn begin(&mut self) -> Check {
        let mut opened = open_on(self.medium.clone(), self.options()).map_err(text)?;
        let mut gate = Gate::new(self.setting.cap, 0, 0);
        let past = recover(&mut opened, &mut gate).map_err(text)?;
        self.compare_recovered(&gate, opened.log.next_position())?;
        let epoch = past.epoch + 1;
        let (writer, pump) = opened.start_parts(epoch).map_err(text)?;
        // Gate time never goes back, whatever the wall clock does.
        self.now_ns = self.now_ns.max(past.last_ns + 1);
        let mut start = Start { gate, writer, now_ns: self.now_ns, records: past.records };
        self.configure(&mut start, past.symbols.len(), epoch).map_err(text)?;
        let commands = start.reenter().map_err(text)?;
        let hot = HotReader::open(&self.hot_path()).map_err(text)?;
        let (commands_in, commands_out) = rtrb::RingBuffer::new(COMMANDS);
        let (reports_in, reports_out) = rtrb::RingBuffer::new(REPORTS);
        let (to_gate, inbox) = rtrb::RingBuffer::new(MAILBOX_SLOTS);
        let (outbox, from_gate) = rtrb::RingBuffer::new(MAILBOX_SLOTS);
        let market = MarketWriter::new(self.market.mapping(), &self.setting.symbols, 1).map_err(text)?;
        let ticking = Calibration { tick_base: 0, ns_base: 0, ns_per_tick_q32: 1 << 32, tsc: false };
        let mut reactor = Reactor::new(Parts {
            gate: start.gate,
            journal: start.writer,
            venue: VenuePort::Paper { commands: commands_in, reports: reports_out },
            clock: Clock::from_calibration(ticking),
            market: Quotes::new(market, self.setting.symbols.len()),
            counters: CountersWriter::create(&self.dir.path().join("counters")).map_err(text)?,
            inbox,
            outbox,
            max_clients: 8,
            max_strategies: usize::from(self.setting.cap.max_strategies),
        });
        reactor.tape_now_ns = Some(self.now_ns);
        for command in &commands {
            reactor.venue.push(command, self.now_ns);
        }
        let paper = PaperConfig { trade_id_base: u64::from(epoch) << 40, ..self.setting.paper };
        let truth = self.truth_of_the_log();
        let street = Street::new(paper, &self.setting.symbols, commands_out, reports_in, truth);
        self.life = Some(Life { reactor, pump: Some(pump), hot, to_gate, from_gate, street });
        self.began_again()
    }

    fn configure(
        &self,
        start: &mut Start,
        known_symbols: usize,
        epoch: u16,
    ) -> Result<(), crate::runtime::CoreError> {
        let now_ns = self.now_ns;
        start.log(&Record::Boot(BootRecord {
            epoch,
            hash_seed: 0x5eed,
            now_ns,
            layout_hash: layout::LAYOUT_HASH,
            lockstep: false,
            build_id: [0; 40],
        }))?;
        start.symbols(&self.setting.symbols[..known_symbols], &self.setting.symbols)?;
        let limits = self.setting.limits.iter();
        let limits: Vec<LimitRecord> = limits
            .map(|(scope, scope_id, limit, value)| LimitRecord {
                scope: *scope,
                scope_id: *scope_id,
                limit: *limit,
                value: *value,
                now_ns,
                config_version: u64::from(epoch),
            })
            .collect();
        start.limits(&limits)?;
        for (strategy, account, name) in STRATEGIES {
            if start.gate.strategy_by_name(name).is_none() {
                let mut padded = [0; 24];
                padded[..name.len()].copy_from_slice(name.as_bytes());
                start.log(&Record::Strategy(StrategyRecord { strategy, account, name: padded, now_ns }))?;
            }
        }
        Ok(())
    }

    /// What the venue's word adds up to per order, as far as the journal knows it.
    fn truth_of_the_log(&self) -> BTreeMap<u64, Truth> {
        let mut truth: BTreeMap<u64, Truth> = BTreeMap::new();
        for (_, record) in &self.log {
            if let Record::Report(report) = record {
                truth.entry(report.order_id).or_default().cum = report.cum_qty;
            }
        }
        truth
    }

    /// Ends the gate's life and begins the next.
    pub fn restart(&mut self, end: End, rng: &mut Rng) -> Check {
        if end == End::Closed {
            self.life().reactor.close();
            self.read_close()?;
        }
        let state_hash = self.life().reactor.gate.state_hash();
        let Some(mut life) = self.life.take() else { return Ok(()) };
        if end == End::Closed
            && let Some(mut pump) = life.pump.take()
        {
            // Bounded: each step without anything left to copy closes; an error leaves it to recovery.
            while pump.step(self.began, true).is_ok_and(|step| step != Pumped::Closed) {}
        }
        let durable = life.hot.durable_pos();
        drop(life);
        self.delivered.clear();
        self.to_send.clear();
        self.medium = match end {
            End::PowerLost => self.medium.after_power_loss(rng.next()),
            End::Killed | End::Closed => self.medium.after_kill(),
        };
        for client in &mut self.clients {
            (client.link, client.slow) = (Link::Down, false);
            client.unserved.clear();
            match end {
                End::PowerLost => client.forget(),
                End::Killed | End::Closed => client.read()?,
            }
        }
        if end == End::PowerLost {
            let _ = std::fs::remove_file(self.hot_path());
            self.promised = durable;
        } else {
            self.survived = Some(state_hash);
        }
        match rng.below(3) {
            // The wall clock may jump in either direction while nobody looks.
            0 => self.now_ns = self.now_ns.saturating_sub(rng.below(10_000_000_000)),
            1 => self.now_ns += rng.below(10_000_000_000),
            _ => {}
        }
        if rng.below(4) == 0 {
            self.setting.draw_limits(rng);
        }
        self.begin()?;
        for at in 0..self.clients.len() {
            self.attach(at)?;
            self.settle()?;
        }
        Ok(())
    }

    /// The archiver does what there is to do.
    pub fn archive(&mut self) {
        let now = self.began + Duration::from_nanos(self.now_ns - START_NS);
        let life = self.life();
        if let Some(pump) = &mut life.pump
            && pump.step(now, false).is_err()
        {
            // It stops for good, as its thread does; the ring says so.
            life.pump = None;
        }
    }

    pub fn mail(&mut self, message: ToGate) {
        // More than a mailbox holds never waits here: the gate reads it in every step.
        let _ = self.life().to_gate.push(message);
    }

    /// Attaches a client that nobody serves; with what it remembers, if it remembers anything.
    pub fn attach(&mut self, at: usize) -> Check {
        if self.clients[at].link != Link::Down {
            return Ok(());
        }
        self.clients[at].read()?;
        let number = self.next_number;
        self.next_number += 1;
        let (port, strategy) = (self.clients[at].open(number), self.clients[at].strategy);
        let record = AttachRecord {
            role: self.clients[at].role,
            detached: false,
            strategy,
            now_ns: self.now_ns,
            client: number,
            ticket_digest: u128::from(number),
            pid: 1,
            uid: 1,
        };
        self.mail(ToGate::Attach { port, record });
        Ok(())
    }

    /// The control thread's part: clients that are served now, and clients that are not any more.
    pub fn control_thread(&mut self) -> Check {
        while let Ok(message) = self.life().from_gate.pop() {
            match message {
                FromGate::Attached { client, position } => self.attached(client, position)?,
                FromGate::Retired { port, .. } => {
                    if let Some(client) = self.clients.iter_mut().find(|c| c.number == port.client) {
                        client.unserved.clear();
                        client.link = Link::Down;
                    }
                }
                FromGate::ControlDone { .. } | FromGate::Stopped => {}
            }
        }
        Ok(())
    }

    fn attached(&mut self, number: u64, position: u64) -> Check {
        let Some(client) = self.clients.iter_mut().find(|c| c.number == number) else { return Ok(()) };
        let mut missed = Vec::new();
        if client.last_seq == 0 {
            client.since = position;
        } else {
            let between = |at: u64| client.last_seq < at && at < position;
            for (at, record) in self.log.iter().filter(|(at, _)| between(*at)) {
                missed.extend(event_of(record, *at, client.role, client.strategy));
            }
        }
        client.resume(&missed, position)
    }

    pub fn on_tape(&mut self, words: &Words) -> Check {
        let now_ns = self.now_ns;
        let life = self.life();
        life.reactor.tape_now_ns = Some(now_ns);
        life.street.on_tape(words, now_ns);
        life.reactor.on_market(words, now_ns);
        if kind_of(words) == kind::QUOTE {
            let symbol = (words[0] >> 48) as u16;
            self.model.quotes.insert(symbol, (words[3] as i64, words[5] as i64, now_ns));
        } else if let Some(quote) = self.model.quotes.get_mut(&((words[0] >> 48) as u16)) {
            quote.2 = now_ns;
        }
        self.read_marks()
    }

    /// The venue takes commands and hands over reports.
    pub fn venue(&mut self) -> Check {
        let now_ns = self.now_ns;
        let Self { life: Some(life), model, to_send, .. } = self else { return Ok(()) };
        life.street.work(now_ns, |command| super::check::sent(model, to_send, command))?;
        let delivered = life.street.deliver();
        self.delivered.extend(delivered);
        self.settle()?;
        self.compare_owed()
    }

    pub fn next_event(&mut self) -> u64 {
        self.event += 1;
        self.event
    }

    pub fn key(&mut self, rng: &mut Rng) -> u128 {
        self.next_key += 1;
        // Low halves differ too: a client finds its answer by them.
        if rng.below(80) == 0 { 0 } else { self.next_key }
    }

    pub fn is_operator(&self, who: usize) -> bool {
        self.clients[who].role == Role::Operator
    }
}

pub fn blank_model(setting: &Setting) -> Model {
    Model {
        order_slots: setting.cap.order_slots as u64,
        max_positions: setting.cap.max_positions,
        ..Model::default()
    }
}
