//! A gate and the paper venue under load, with commands and reports on their way: no snapshot ever shows a difference
//! that is none. What the gate believes is looked at when the snapshot's mark comes by among the reports.

use std::collections::VecDeque;

use ringfence_ipc::msg::{Command, IntentKind, OrderType, Quote, Side, Tif, Trade};

use super::super::{HandedOut, Reentry};
use super::*;
use crate::journal::tests::sim::Rng;
use crate::reconcile::{GateView, VenueSnapshot, differences};
use crate::venue::{PaperConfig, PaperVenue};

const SYMBOLS: u16 = 3;

/// On its way from the venue.
enum Said {
    Report(Report),
    Mark(Box<VenueSnapshot>),
}

struct Street {
    rig: Rig,
    paper: PaperVenue,
    rng: Rng,
    commands: VecDeque<Command>,
    said: VecDeque<Said>,
    ids: Vec<u64>,
    events: u64,
    lives: u64,
    compared: usize,
    in_flight: usize,
    listed: usize,
}

impl Street {
    fn new(seed: u64) -> Self {
        let rig = Rig::new();
        Self {
            paper: venue(&rig, seed, 0),
            rig,
            rng: Rng(seed),
            commands: VecDeque::new(),
            said: VecDeque::new(),
            ids: Vec::new(),
            events: 0,
            lives: 0,
            compared: 0,
            in_flight: 0,
            listed: 0,
        }
    }

    fn pick(&mut self) -> Option<u64> {
        let newest = self.ids.len().min(40) as u64;
        (newest > 0).then(|| self.ids[self.ids.len() - 1 - self.rng.below(newest) as usize])
    }

    fn ask(&mut self) {
        let who = [ALICE, BOB][self.rng.below(2) as usize];
        let symbol = self.rng.below(SYMBOLS.into()) as u16;
        let (tick, lot) = if symbol == ODD { (5, 10) } else { (1, 1) };
        let side = [Side::Buy, Side::Sell][self.rng.below(2) as usize];
        let price = (95 + self.rng.below(11) as i64) * tick;
        let qty = (1 + self.rng.below(9) as i64) * lot;
        let mut intent = self.rig.limit_order(symbol, side, price, qty);
        match self.rng.below(10) {
            0 => (intent.order_type, intent.tif, intent.price) = (OrderType::Market, Tif::Ioc, 0),
            1 | 2 => {
                let Some(id) = self.pick() else { return };
                let of = self.rig.gate.order(id).map_or(symbol, |order| order.symbol);
                intent = Intent::cancel(of, id, self.rig.key(), self.rig.now_ns);
            }
            3 | 4 => {
                let Some(id) = self.pick() else { return };
                intent.symbol = self.rig.gate.order(id).map_or(symbol, |order| order.symbol);
                let (tick, lot) = if intent.symbol == ODD { (5, 10) } else { (1, 1) };
                (intent.price, intent.qty) = (intent.price / 5 * 5 / tick * tick, qty / lot.min(qty) * 10);
                (intent.kind, intent.ttl_ns_or_target) = (IntentKind::Amend, id);
            }
            _ => {}
        }
        let decision = self.rig.submit(who, &intent);
        if intent.kind == IntentKind::New && decision.order_id != 0 {
            self.ids.push(decision.order_id);
        }
        self.commands.extend(self.rig.commands.drain(..));
    }

    fn tape(&mut self) {
        self.events += 1;
        let (symbol, now_ns) = (self.rng.below(SYMBOLS.into()) as u16, self.rig.now_ns);
        let tick = if symbol == ODD { 5 } else { 1 };
        let (middle, event) = (95 + self.rng.below(11) as i64, self.events);
        let words = if self.rng.below(2) == 0 {
            let (price, qty) = (middle * tick, 1 + self.rng.below(30) as i64);
            let aggressor = [Side::Buy, Side::Sell][self.rng.below(2) as usize];
            Trade { symbol, event, ts_ns: now_ns, price, qty, trade_id: event, aggressor }.encode()
        } else {
            let (bid_price, ask_price) = (middle * tick, (middle + 1) * tick);
            self.rig.quote(symbol, bid_price, ask_price);
            let (bid_qty, ask_qty) = (self.rng.below(20) as i64, self.rng.below(20) as i64);
            Quote { symbol, event, ts_ns: now_ns, bid_price, bid_qty, ask_price, ask_qty }.encode()
        };
        let mut out = Vec::new();
        self.paper.on_tape(&words, now_ns, &mut out);
        self.said.extend(out.into_iter().map(Said::Report));
    }

    fn venue(&mut self) {
        let mut out = Vec::new();
        for _ in 0..self.rng.below(6) {
            let Some(command) = self.commands.pop_front() else { break };
            self.paper.on_command(&command, self.rig.now_ns, &mut out);
        }
        self.paper.advance(self.rig.now_ns, &mut out);
        self.said.extend(out.into_iter().map(Said::Report));
    }

    fn gate(&mut self) {
        for _ in 0..self.rng.below(8) {
            match self.said.pop_front() {
                Some(Said::Report(report)) => drop(self.rig.venue(&report)),
                Some(Said::Mark(snapshot)) => self.compare(&snapshot),
                None => return,
            }
        }
    }

    fn compare(&mut self, snapshot: &VenueSnapshot) {
        let position = self.rig.journal.last().map_or(1, |(at, _)| at + 1);
        let view = GateView::of(&self.rig.gate, position, u64::MAX);
        let exact = VenueSnapshot { journal_position: Some(position), ..snapshot.clone() };
        let report = differences(&view, &exact);
        assert!(report.agrees(), "{:#?}\n{snapshot:#?}", report.differences);
        self.compared += 1;
        self.in_flight += report.in_flight;
        self.listed += snapshot.orders.len();
    }

    /// The process dies with everything that was on its way, and comes back.
    fn restart(&mut self) {
        self.lives += 1;
        self.commands.clear();
        self.said.clear();
        self.rig.gate = self.rig.recovered();
        self.paper = venue(&self.rig, self.rng.next(), self.lives);
        for entry in self.rig.gate.reenter_commands(HandedOut::Forgotten, self.rig.now_ns) {
            match entry {
                Reentry::Report(report) => self.rig.write(Record::Report(report)),
                Reentry::Command(command) => self.commands.push_back(command),
            }
        }
    }

    fn step(&mut self) {
        self.rig.now_ns += self.rng.below(200_000);
        match self.rng.below(100) {
            0..40 => self.ask(),
            40..60 => self.tape(),
            60..75 => self.venue(),
            75..90 => self.gate(),
            90..99 => {
                let snapshot = self.paper.snapshot(self.rig.now_ns);
                self.said.push_back(Said::Mark(Box::new(snapshot)));
            }
            _ if self.rng.below(5) == 0 => self.restart(),
            _ => {}
        }
    }
}

/// A venue that goes on where the journal ends.
fn venue(rig: &Rig, seed: u64, life: u64) -> PaperVenue {
    let symbols: Vec<Symbol> = (0..SYMBOLS).filter_map(|id| rig.gate.symbol(id)).collect();
    let config = PaperConfig {
        latency_ns: [0, 300_000][(seed % 2) as usize],
        reject_ppm: 20_000,
        maker_fee_ppm: -100,
        seed,
        trade_id_base: life << 48,
        max_orders: 60,
        ..PaperConfig::default()
    };
    let mut paper = PaperVenue::new(config, &symbols);
    rig.gate.positions().for_each(|p| paper.resume_holding(p.symbol, p.qty, p.fees_e8));
    paper
}

#[test]
fn no_honest_snapshot_differs() {
    let (mut compared, mut in_flight, mut listed, mut lives) = (0, 0, 0, 0);
    for seed in 1..=20 {
        let mut street = Street::new(seed);
        let mut steps = 0;
        while street.compared < 100 {
            street.step();
            steps += 1;
            assert!(steps < 100_000, "seed {seed}: {} compared", street.compared);
        }
        compared += street.compared;
        (in_flight, listed) = (in_flight + street.in_flight, listed + street.listed);
        lives += street.lives;
    }
    println!("{compared} snapshots, {listed} orders listed, {in_flight} in flight, {lives} restarts");
    assert!(compared >= 2_000 && in_flight > 100 && listed > 1_000 && lives > 5);
}

/// The lie is in the venue itself: a fill that it kept to itself is found by the next snapshot.
#[test]
fn a_report_that_never_came_is_found() {
    use crate::reconcile::Code;
    let mut street = Street::new(3);
    while street.listed == 0 || street.rig.gate.open_order_count() < 3 {
        street.step();
    }
    street.said.clear();
    street.commands.clear();
    let mut lost = 0;
    for _ in 0..2_000 {
        street.rig.now_ns += 1_000_000;
        street.tape();
        street.venue();
        lost += street.said.drain(..).count();
        if lost > 0 {
            break;
        }
    }
    let view = GateView::of(&street.rig.gate, 1, 0);
    let report = differences(&view, &street.paper.snapshot(street.rig.now_ns));
    let found: Vec<Code> = report.differences.iter().map(|difference| difference.code).collect();
    assert!(lost > 0 && found.contains(&Code::PositionDiffers), "{found:?}");
    assert!(found.contains(&Code::CumQtyDiffers) || found.contains(&Code::UnknownAtVenue), "{found:?}");
}
