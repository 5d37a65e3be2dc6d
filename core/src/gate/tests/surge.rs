//! Random sequences of everything: limits hold, a journal rebuilds the state, a replay decides the same.

use proptest::prelude::*;
use ringfence_ipc::msg::{Intent, IntentKind, OrderType, ReportKind, Side, Tif};
use ringfence_ipc::reason::{LimitId, Mode, Scope};

use super::super::{PositionView, Replayer};
use super::*;

const POSITION: i64 = 40;
const GROSS: i64 = 6_000;

#[derive(Clone, Debug)]
pub(super) enum Op {
    New { who: u16, symbol: u16, sell: bool, market: bool, price: i64, qty: i64 },
    Cancel { who: u16, pick: usize, by_key: bool },
    Amend { who: u16, pick: usize, price: i64, qty: i64 },
    MassCancel { who: u16 },
    ForceFlat { who: u16, symbol: u16 },
    Repeat { pick: usize },
    Tell { pick: usize, kind: usize },
    Fill { pick: usize, qty: i64, price: i64 },
    Quote { symbol: u16, bid: i64, spread: i64 },
    Mode { mode: usize },
    Wait { ns: u64 },
}

pub(super) fn op() -> impl Strategy<Value = Op> {
    let (who, symbol) = (1u16..=2, 0u16..=2);
    prop_oneof![
        8 => (who.clone(), symbol.clone(), any::<bool>(), prop::bool::weighted(0.2), 1i64..200, -2i64..60)
            .prop_map(|(who, symbol, sell, market, price, qty)| Op::New { who, symbol, sell, market, price, qty }),
        3 => (who.clone(), 0usize..64, any::<bool>()).prop_map(|(who, pick, by_key)| Op::Cancel { who, pick, by_key }),
        3 => (who.clone(), 0usize..64, 0i64..200, 0i64..60)
            .prop_map(|(who, pick, price, qty)| Op::Amend { who, pick, price, qty }),
        1 => who.clone().prop_map(|who| Op::MassCancel { who }),
        1 => (who, symbol.clone()).prop_map(|(who, symbol)| Op::ForceFlat { who, symbol }),
        2 => (0usize..64).prop_map(|pick| Op::Repeat { pick }),
        6 => (0usize..64, 0usize..9).prop_map(|(pick, kind)| Op::Tell { pick, kind }),
        8 => (0usize..64, -1i64..50, 0i64..200).prop_map(|(pick, qty, price)| Op::Fill { pick, qty, price }),
        3 => (symbol, 0i64..200, -2i64..20).prop_map(|(symbol, bid, spread)| Op::Quote { symbol, bid, spread }),
        1 => (0usize..4).prop_map(|mode| Op::Mode { mode }),
        3 => (0u64..400_000_000).prop_map(|ns| Op::Wait { ns }),
    ]
}

pub(super) struct Surge {
    pub rig: Rig,
    asked: Vec<(u16, Intent)>,
    ids: Vec<u64>,
}

impl Surge {
    pub fn new() -> Self {
        let limits = [
            (Scope::Global, 0, LimitId::MaxPositionQty, POSITION),
            (Scope::Global, 0, LimitId::DedupQuota, 40),
            (Scope::Global, 0, LimitId::MaxGrossNotionalE8, 2 * GROSS * CENT_E8),
            (Scope::Strategy, ALICE, LimitId::MaxGrossNotionalE8, GROSS * CENT_E8),
            (Scope::Symbol, ETH, LimitId::PriceCollarBps, 5_000),
            (Scope::Symbol, BTC, LimitId::MaxPositionQty, POSITION + 10),
            (Scope::Global, 0, LimitId::MarketBandBps, 100),
            (Scope::Global, 0, LimitId::ReferenceMaxAgeNs, 1_000_000_000),
            (Scope::Strategy, BOB, LimitId::OrderRatePerS, 20),
            (Scope::Strategy, BOB, LimitId::OrderBurst, 5),
            (Scope::Strategy, BOB, LimitId::MaxOpenOrders, 6),
        ];
        let cap = Capacity { order_slots: 16, ..CAP };
        Self { rig: Rig::with(cap, &limits), asked: Vec::new(), ids: vec![0] }
    }

    fn ask(&mut self, who: u16, intent: Intent) {
        let sent = self.rig.commands.len();
        let decision = self.rig.submit(who, &intent);
        if self.asked.len() < 64 {
            self.asked.push((who, intent));
        }
        if decision.outcome == Outcome::Accepted && !decision.duplicate {
            self.ids.push(decision.order_id);
        }
        if let Some(command) = self.rig.commands.get(sent) {
            self.check_limits(who, intent.kind, command);
        }
    }

    /// No accepted new order leaves the worst case beyond a limit.
    fn check_limits(&self, who: u16, kind: IntentKind, command: &Command) {
        if kind != IntentKind::New {
            return;
        }
        let gate = &self.rig.gate;
        let worst = |p: PositionView| match command.side {
            Side::Buy => p.qty + p.open_buys,
            Side::Sell => p.open_sells - p.qty,
        };
        assert!(worst(gate.position(who, command.symbol).unwrap()) <= POSITION);
        let both =
            [ALICE, BOB].iter().filter_map(|s| gate.position(*s, command.symbol)).map(worst).sum::<i64>();
        assert!(command.symbol != BTC || both <= POSITION + 10, "{both}");
        let gross = |scope, id| gate.gross_e16(scope, id).unwrap();
        assert!(who != ALICE || gross(Scope::Strategy, ALICE) <= i128::from(GROSS) * CENT_E16);
        assert!(gross(Scope::Global, 0) <= 2 * i128::from(GROSS) * CENT_E16);
    }

    fn pick(&self, pick: usize) -> u64 {
        self.ids[self.ids.len() - 1 - pick % self.ids.len()]
    }

    pub fn step(&mut self, op: &Op) {
        let (key, now_ns) = (self.rig.key(), self.rig.now_ns);
        match *op {
            Op::New { who, symbol, sell, market, price, qty } => {
                let side = if sell { Side::Sell } else { Side::Buy };
                let mut intent = Intent::limit(symbol, side, price, qty, key, now_ns);
                if market {
                    (intent.order_type, intent.tif, intent.price) = (OrderType::Market, Tif::Ioc, 0);
                }
                self.ask(who, intent);
            }
            Op::Cancel { who, pick, by_key } => {
                let target =
                    self.asked.get(pick).map_or(u128::from(now_ns) << 64 | pick as u128, |(_, i)| i.key);
                let by_id = Intent::cancel(BTC, self.pick(pick), key, now_ns);
                self.ask(who, if by_key { Intent::cancel_by_key(BTC, target, key, now_ns) } else { by_id });
            }
            Op::Amend { who, pick, price, qty } => {
                let id = self.pick(pick);
                let symbol = self.rig.gate.order(id).map_or(BTC, |o| o.symbol);
                let mut intent =
                    with_kind(Intent::limit(symbol, Side::Buy, price, qty, key, now_ns), IntentKind::Amend);
                intent.ttl_ns_or_target = id;
                self.ask(who, intent);
            }
            Op::MassCancel { who } => {
                self.ask(
                    who,
                    with_kind(Intent::limit(0, Side::Buy, 0, 0, key, now_ns), IntentKind::MassCancel),
                );
                if key % 2 == 0 {
                    while self.rig.gate.next_mass_cancel(now_ns).is_some() {}
                }
            }
            Op::ForceFlat { who, symbol } => {
                self.ask(
                    who,
                    with_kind(Intent::limit(symbol, Side::Buy, 0, 0, key, now_ns), IntentKind::ForceFlat),
                );
            }
            Op::Repeat { pick } => {
                if let Some((who, intent)) = self.asked.get(pick).copied() {
                    self.ask(who, intent);
                }
            }
            Op::Tell { pick, kind } => {
                let _ = self.rig.tell(self.pick(pick), ReportKind::ALL[kind]);
            }
            Op::Fill { pick, qty, price } => {
                let id = self.pick(pick);
                let cum = self.rig.gate.order(id).map_or(0, |o| o.cum_qty);
                let booked = self.rig.venue(&fill(id, qty, price, cum + qty, key as u64));
                let over = booked.ok().filter(|booked| booked.reason == Reason::Overfill && key % 4 != 0);
                if let Some(over) = over {
                    self.rig.mode(Scope::Strategy, over.strategy, Mode::AllowAll);
                }
            }
            Op::Quote { symbol, bid, spread } => self.rig.quote(symbol, bid, bid + spread),
            Op::Mode { mode } => {
                // Mostly open: a closed gate exercises little.
                self.rig.mode(Scope::Strategy, BOB, Mode::ALL[mode]);
            }
            Op::Wait { ns } => self.rig.now_ns += ns,
        }
    }

    /// The sums again, from the orders and positions themselves.
    fn audit(&self) {
        let gate = &self.rig.gate;
        for p in gate.positions() {
            let open = |side| {
                let orders =
                    gate.open_orders_of(p.strategy).filter(|o| o.symbol == p.symbol && o.side == side);
                orders.map(|o| o.leaves_qty()).sum::<i64>()
            };
            // A pending amend reserves at least the order's own terms.
            assert!(p.open_buys >= open(Side::Buy) && p.open_sells >= open(Side::Sell));
        }
        let by_strategy: i128 = [ALICE, BOB].iter().filter_map(|s| gate.gross_e16(Scope::Strategy, *s)).sum();
        let by_symbol: i128 = [BTC, ETH, ODD].iter().filter_map(|s| gate.gross_e16(Scope::Symbol, *s)).sum();
        let by_account: i128 = [0, 1].iter().filter_map(|a| gate.gross_e16(Scope::Account, *a)).sum();
        let global = gate.totals().gross_e16;
        assert_eq!((by_strategy, by_symbol, by_account), (global, global, global));
        let recovered = self.rig.recovered();
        for account in [0, 1] {
            let own = gate.positions().filter(|p| p.account == account);
            let sum = own.fold((0, 0, 0, 0), |(realised, unrealised, fees, fills), p: PositionView| {
                let (r, u) = (realised + p.realised_e16, unrealised + p.unrealised_e16);
                (r, u, fees + p.fees_e8, fills + p.fills)
            });
            let t = gate.account_totals(account).unwrap();
            assert_eq!((t.realised_e16, t.unrealised_e16, t.fees_e8, t.fills), sum);
            assert_eq!(recovered.account_totals(account), Some(t), "the journal gives the same account");
        }
        assert!(global >= gate.positions().map(|p| p.cost_e16.abs()).sum());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn anything_goes_and_the_journal_tells_it_all(ops in proptest::collection::vec(op(), 1..250)) {
        let mut surge = Surge::new();
        for op in &ops {
            surge.step(op);
        }
        surge.audit();
        let rig = &surge.rig;
        let hash = rig.gate.state_hash();
        prop_assert_eq!(rig.recovered().state_hash(), hash);
        let report = Replayer::new(rig.gate.capacity()).run(rig.journal.iter().copied()).unwrap();
        prop_assert_eq!((report.mismatches, report.state_hash), (0, hash), "{:?}", report.first);
    }

    /// When every order is final and every position flat, nothing is left of any reservation.
    #[test]
    fn nothing_is_left_behind(ops in proptest::collection::vec(op(), 1..150)) {
        let mut surge = Surge::new();
        for op in &ops {
            surge.step(op);
        }
        let ids: Vec<u64> = surge.rig.gate.open_orders().map(|o| o.order_id).collect();
        for id in ids {
            surge.rig.tell(id, ReportKind::Cancelled).unwrap();
        }
        let gate = &surge.rig.gate;
        prop_assert_eq!(gate.open_order_count(), 0);
        prop_assert!(gate.positions().all(|p| p.open_buys == 0 && p.open_sells == 0));
        let cost: i128 = gate.positions().map(|p| p.cost_e16.abs()).sum();
        prop_assert_eq!(gate.totals().gross_e16, cost);
    }
}
