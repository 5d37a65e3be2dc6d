//! The gate's lives: how one begins on what the last left, and the ways it may end.

use std::sync::Arc;

use std::collections::BTreeMap;

use ringfence_ipc::clock::{Calibration, Clock};
use ringfence_ipc::counters::CountersWriter;
use ringfence_ipc::journal::hot::HotReader;
use ringfence_ipc::journal::{BootRecord, LimitRecord, Record, StrategyRecord};
use ringfence_ipc::layout;
use ringfence_ipc::market::MarketWriter;

use super::client::Link;
use super::setting::STRATEGIES;
use super::street::{Street, Truth};
use super::world::{Check, World, text};
use crate::checkpoint::{Recovered, recover};
use crate::config::CacheConfig;
use crate::gate::HandedOut;
use crate::journal::tests::sim::{Rng, Sim};
use crate::journal::{Pump, Step, open_on};
use crate::runtime::CoreError;
use crate::runtime::boot::Start;
use crate::runtime::held::Held;
use crate::runtime::mailbox::{FromGate, MAILBOX_SLOTS, ToGate};
use crate::runtime::nodes::{Nodes, cache_segment};
use crate::runtime::quotes::Quotes;
use crate::runtime::reactor::{Parts, Reactor};
use crate::runtime::venue_port::VenuePort;
use crate::venue::PaperConfig;

/// Slots of the ring to the venue: above what is kept for cancels, so that a stalled venue is felt soon.
const COMMANDS: usize = 320;
const REPORTS: usize = 256;

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
    pub pump: Option<Pump<Sim>>,
    pub hot: HotReader,
    pub to_gate: rtrb::Producer<ToGate>,
    pub from_gate: rtrb::Consumer<FromGate>,
    pub street: Street,
}

impl World {
    /// A gate process starts: as `boot` does it, on the run's medium and clock.
    pub fn begin(&mut self) -> Check {
        let mut opened = open_on(self.medium.clone(), self.options()).map_err(text)?;
        // No checkpoint ever stands there: every life of this world is read from the log.
        let recovery = recover(self.dir.path(), &mut opened.log, self.setting.cap).map_err(text)?;
        let Recovered { gate, past } = recovery.recovered;
        self.compare_recovered(&gate, opened.log.next_position())?;
        let epoch = gate.epoch() + 1;
        let symbols = (0..gate.capacity().max_symbols).map_while(|id| gate.symbol(id)).count();
        let (writer, pump) = opened.start_parts(epoch).map_err(text)?;
        // Gate time never goes back, whatever the wall clock does.
        self.now_ns = self.now_ns.max(past.last_ns + 1);
        let mut start = Start { gate, writer, now_ns: self.now_ns, records: past.records };
        self.configure(&mut start, symbols, epoch).map_err(text)?;
        let commands = start.reenter(HandedOut::Forgotten).map_err(text)?;
        let hot = HotReader::open(&self.hot_path()).map_err(text)?;
        let (commands_in, commands_out) = rtrb::RingBuffer::new(COMMANDS);
        let (reports_in, reports_out) = rtrb::RingBuffer::new(REPORTS);
        let (to_gate, inbox) = rtrb::RingBuffer::new(MAILBOX_SLOTS);
        let (outbox, from_gate) = rtrb::RingBuffer::new(MAILBOX_SLOTS);
        let market = MarketWriter::new(self.market.mapping(), &self.setting.symbols, 1).map_err(text)?;
        let cache = CacheConfig { budget_bytes: 4096, max_series: 1 };
        let nodes = Nodes::new(&cache_segment(&cache).map_err(text)?, &cache).map_err(text)?;
        let ticking = Calibration { tick_base: 0, ns_base: 0, ns_per_tick_q32: 1 << 32, tsc: false };
        let mut reactor = Reactor::new(Parts {
            gate: start.gate,
            journal: start.writer,
            venue: VenuePort::Paper { commands: commands_in, reports: reports_out },
            clock: Clock::from_calibration(ticking),
            market: Quotes::new(market, self.setting.symbols.len()),
            nodes,
            counters: CountersWriter::create(&self.dir.path().join("counters")).map_err(text)?,
            inbox,
            outbox,
            max_clients: 8,
            max_strategies: usize::from(self.setting.cap.max_strategies),
            kill: Arc::default(),
            kill_cancels_orders: false,
            lagging_patience_ns: u64::MAX,
            held: Held::new(0, 0),
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

    fn configure(&self, start: &mut Start, known_symbols: usize, epoch: u16) -> Result<(), CoreError> {
        let now_ns = self.now_ns;
        start.log(&Record::Boot(BootRecord {
            epoch,
            hash_seed: 0x5eed,
            now_ns,
            layout_hash: layout::LAYOUT_HASH,
            lockstep: false,
            build_id: [0; 40],
        }))?;
        start.log(&Record::Capacity(self.setting.cap.record(now_ns)))?;
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
            while pump.step(self.began, true).is_ok_and(|step| step != Step::Closed) {}
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
}
