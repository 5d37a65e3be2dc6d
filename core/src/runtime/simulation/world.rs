//! One run: the real reactor with gate and journal, the real paper venue, clients, time, and what befalls them.

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ringfence_ipc::handshake::Role;
use ringfence_ipc::journal::{AttachRecord, Record};
use ringfence_ipc::layout;
use ringfence_ipc::msg::{Report, Words, kind, kind_of};
use ringfence_ipc::segment::GateSegment;

use super::client::{Client, Link};
use super::life::Life;
use super::model::{Model, Sent};
use super::setting::{MIDDLE_TICKS, STRATEGIES, Setting};
use super::street::Street;
use crate::journal::JournalOptions;
use crate::journal::tests::sim::{Rng, Sim};
use crate::runtime::mailbox::{FromGate, ToGate};
use crate::runtime::missed::event_of;

/// What a run does not say with this is true.
pub type Check = Result<(), String>;

pub fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

const HOT_BYTES: u64 = 64 << 10;
const START_NS: u64 = 1_000_000_000_000;

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
    /// Order that a client last wanted to change.
    pub last_picked: u64,
    pub archiver_stalled: bool,
    /// Orders whose slot was taken again before their last fill arrived.
    pub forgotten: BTreeSet<u64>,
    /// State of the gate that died, if all of it survives; otherwise below which position all of it does.
    pub survived: Option<[u8; 32]>,
    pub promised: u64,
    next_number: u64,
    event: u64,
    pub dir: tempfile::TempDir,
    pub market: GateSegment,
    pub began: Instant,
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
            last_picked: 0,
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

    pub fn options(&self) -> JournalOptions {
        JournalOptions {
            hot_bytes: HOT_BYTES,
            segment_bytes: self.setting.segment_bytes,
            sync_interval: Duration::ZERO,
            min_free_bytes: 1 << 20,
            ..JournalOptions::new(self.dir.path().join("journal"), self.hot_path())
        }
    }

    pub fn hot_path(&self) -> PathBuf {
        self.dir.path().join("hot")
    }

    pub fn life(&mut self) -> &mut Life {
        self.life.as_mut().expect("a gate lives between two steps")
    }

    pub fn street(&mut self) -> &mut Street {
        &mut self.life().street
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
                FromGate::Controlled { .. }
                | FromGate::Configured { .. }
                | FromGate::Unreleased { .. }
                | FromGate::Node(_)
                | FromGate::Alarm(_)
                | FromGate::VenueMark { .. }
                | FromGate::VenueOpen { .. }
                | FromGate::Stopped => {}
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
