//! G11: no limit can be passed, whatever is asked and in whatever order.

use ringfence_ipc::msg::{CommandKind, Intent, IntentKind, OrderType, ReportKind, Side, Tif};
use ringfence_ipc::reason::{LimitId, Mode, Scope};

use super::*;
use crate::journal::tests::sim::Rng;

/// How often the sums are formed again from the orders themselves.
const AUDIT_EVERY: u64 = 5_000;
const GROSS: [(Scope, u16, i64); 6] = [
    (Scope::Global, 0, 60_000),
    (Scope::Account, 0, 40_000),
    (Scope::Symbol, BTC, 30_000),
    (Scope::Symbol, ODD, 35_000),
    (Scope::Strategy, ALICE, 25_000),
    (Scope::Strategy, BOB, 45_000),
];
const POSITION: [(Scope, u16, i64); 3] =
    [(Scope::Strategy, ALICE, 60), (Scope::Symbol, BTC, 90), (Scope::Symbol, ETH, 70)];

/// A gate without journal, driven by dice.
struct Storm {
    rig: Rig,
    rng: Rng,
    seq: u64,
    newest: Vec<OrderId>,
    entered: u64,
    refused: u64,
}

impl Storm {
    fn new(seed: u64) -> Self {
        let mut limits: Vec<_> = GROSS
            .iter()
            .map(|(scope, id, max)| (*scope, *id, LimitId::MaxGrossNotionalE8, max * CENT_E8))
            .collect();
        limits.extend(POSITION.iter().map(|(scope, id, max)| (*scope, *id, LimitId::MaxPositionQty, *max)));
        limits.push((Scope::Global, 0, LimitId::MaxOrderQty, 40));
        limits.push((Scope::Global, 0, LimitId::MarketBandBps, 500));
        limits.push((Scope::Global, 0, LimitId::DedupQuota, 4_096));
        let cap = Capacity { order_slots: 512, ..CAP };
        let mut rig = Rig::with(cap, &limits);
        for symbol in [BTC, ETH, ODD] {
            rig.quote(symbol, 99, 101);
        }
        Self { rig, rng: Rng(seed), seq: 10_000, newest: Vec::new(), entered: 0, refused: 0 }
    }

    fn roll(&mut self, below: u64) -> i64 {
        self.rng.below(below) as i64
    }

    fn intent(&mut self) -> (StrategyId, Intent) {
        self.rig.now_ns += 1_000;
        let (who, symbol) = (1 + self.roll(2) as u16, self.roll(3) as u16);
        let side = if self.roll(2) == 0 { Side::Buy } else { Side::Sell };
        let (price, qty) = ((60 + self.roll(80)) / 5 * 5, (1 + self.roll(5)) * 10);
        let mut intent = Intent::limit(symbol, side, price, qty, self.rig.key(), self.rig.now_ns);
        let target = match self.newest.len() as u64 {
            0 => 0,
            count => self.newest[self.rng.below(count) as usize],
        };
        match self.roll(20) {
            0 => (intent.order_type, intent.tif, intent.price) = (OrderType::Market, Tif::Ioc, 0),
            1..5 => (intent.kind, intent.ttl_ns_or_target) = (IntentKind::Amend, target),
            5 => (intent.kind, intent.ttl_ns_or_target) = (IntentKind::Cancel, target),
            6 => (intent.price, intent.qty) = (i64::MAX / 5 * 5 - 5 * self.roll(9), i64::MAX / 10 * 10),
            7 => intent.kind = [IntentKind::MassCancel, IntentKind::ForceFlat][self.roll(2) as usize],
            8 => intent.kind = IntentKind::ForceFlat,
            _ => {}
        }
        (who, intent)
    }

    /// Decides and commits; the command that leaves, if one does.
    fn ask(&mut self, who: StrategyId, intent: &Intent) -> Option<Command> {
        let words = intent.encode();
        let (command, effect) = {
            let verdict = self.rig.gate.decide(&Request {
                strategy: who,
                operator: false,
                words: &words,
                ext: None,
                now_ns: self.rig.now_ns,
                position: self.seq,
                room: Room::OPEN,
                reference: None,
                tier: DurabilityTier::Process,
            });
            (verdict.command(), verdict.effect())
        };
        if let Some(effect) = effect {
            self.seq += 2;
            self.rig.gate.commit(&effect, self.seq);
        }
        match command {
            Some(command) => {
                self.entered += 1;
                self.newest.push(command.order_id);
                if self.newest.len() > 64 {
                    // Nothing stays open for ever.
                    let oldest = self.newest.remove(0);
                    self.tell(&report(oldest, ReportKind::Expired));
                }
            }
            None => self.refused += 1,
        }
        command
    }

    /// What the venue says of some recent order; numbers that may be wrong, and may come twice.
    fn report(&mut self) {
        if self.newest.is_empty() {
            return;
        }
        let id = self.newest[self.rng.below(self.newest.len() as u64) as usize];
        let (cum, leaves) = self.rig.gate.order(id).map_or((0, 0), |o| (o.cum_qty, o.leaves_qty()));
        // Rarely more than there is to fill: what was overfilled no limit could refuse.
        let most = if self.roll(1_000) == 0 { 50 } else { leaves.clamp(1, 50) };
        let (qty, price) = (1 + self.roll(most as u64), 60 + self.roll(80));
        let kinds =
            [ReportKind::Accepted, ReportKind::Cancelled, ReportKind::Amended, ReportKind::CancelRejected];
        let told = match self.roll(10) {
            0..3 => fill(id, qty, price, cum + qty, self.seq),
            n => report(id, kinds[n as usize % 4]),
        };
        self.tell(&told);
    }

    fn tell(&mut self, told: &Report) {
        if let Ok(booked) = self.rig.gate.book(told, self.rig.now_ns) {
            self.rig.gate.apply_report(&booked);
            if booked.is_overfill() {
                // Somebody looks at it, and the strategy goes on.
                self.rig.mode(Scope::Strategy, booked.report.strategy, Mode::AllowAll);
            }
        }
    }

    /// What has just been entered is within every limit that binds it.
    fn within_limits(&self, who: StrategyId, command: &Command) {
        let (gate, account) = (&self.rig.gate, if who == ALICE { 0 } else { 1 });
        for (scope, id, max) in GROSS {
            let concerned = match scope {
                Scope::Global => true,
                Scope::Account => id == account,
                Scope::Symbol => id == command.symbol,
                Scope::Strategy => id == who,
            };
            let gross = gate.gross_e16(scope, id).unwrap();
            assert!(
                !concerned || gross <= i128::from(max) * CENT_E16,
                "{scope} {id}: {gross} after {command:?}"
            );
        }
        let worst = |strategy| {
            gate.position(strategy, command.symbol).map_or(0, |p| match command.side {
                Side::Buy => p.qty + p.open_buys,
                Side::Sell => p.open_sells - p.qty,
            })
        };
        for (scope, id, max) in POSITION {
            let sum = match scope {
                Scope::Strategy if id == who => worst(who),
                Scope::Symbol if id == command.symbol => worst(ALICE) + worst(BOB),
                _ => 0,
            };
            assert!(sum <= max, "{scope} {id}: {sum} after {command:?}");
        }
    }

    /// The sums are those of the orders and positions themselves.
    fn audit(&self) {
        let gate = &self.rig.gate;
        let cost: i128 = gate.positions().map(|p| p.cost_e16.abs()).sum();
        let factor = |symbol| i128::from(gate.symbol(symbol).unwrap().contract_multiplier) * CENT_E16;
        let orders =
            gate.open_orders().map(|o| i128::from(o.price) * i128::from(o.leaves_qty()) * factor(o.symbol));
        // Market orders and pending amends reserve more than their own price says.
        assert!(gate.totals().gross_e16 >= cost + orders.sum::<i128>());
        for p in gate.positions() {
            let open = |side| {
                let own =
                    gate.open_orders_of(p.strategy).filter(move |o| o.symbol == p.symbol && o.side == side);
                own.map(|o| o.leaves_qty()).sum::<i64>()
            };
            assert!(p.open_buys >= open(Side::Buy) && p.open_sells >= open(Side::Sell));
        }
    }
}

/// `RINGFENCE_G11_INTENTS` sets how many (the long run: 10,000,000).
#[test]
fn g11_random_intents_never_pass_a_limit() {
    let count = std::env::var("RINGFENCE_G11_INTENTS").ok().and_then(|n| n.replace('_', "").parse().ok());
    let count: u64 = count.unwrap_or(300_000);
    let mut storm = Storm::new(11);
    for n in 0..count {
        let (who, intent) = storm.intent();
        if let Some(command) = storm.ask(who, &intent)
            && intent.kind == IntentKind::New
        {
            storm.within_limits(who, &command);
        }
        (0..3).for_each(|_| storm.report());
        if n % AUDIT_EVERY == 0 {
            storm.audit();
        }
    }
    println!("g11: {count} intents: {} commands, {} without", storm.entered, storm.refused);
    assert!(storm.entered > count / 10 && storm.refused > count / 10, "{} of {count} entered", storm.entered);
}

#[test]
fn g11_after_a_kill_no_command_leaves_but_cancels() {
    let mut storm = Storm::new(12);
    for round in 0..200 {
        let mode = [Mode::AllowAll, Mode::Killed][round % 2];
        storm.rig.mode(Scope::Global, 0, mode);
        for _ in 0..50 {
            let (who, intent) = storm.intent();
            let left = storm.ask(who, &intent);
            let cancel = |command: Command| command.kind == CommandKind::Cancel;
            assert!(mode == Mode::AllowAll || left.is_none_or(cancel), "{left:?} after a kill");
            storm.report();
        }
        while let Some(command) = storm.rig.gate.next_mass_cancel(storm.rig.now_ns) {
            assert_eq!(command.kind, CommandKind::Cancel);
        }
    }
    assert!(storm.entered > 500, "{}", storm.entered);
}
