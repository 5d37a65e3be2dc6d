//! Tests of the whole state machine: a rig that journals like the reactor does, and one file per concern.

mod alarms;
mod amends;
mod cancels;
mod capacity;
mod conduct;
mod config;
mod dedup;
mod exposure;
mod fills;
mod honest;
mod limits;
mod modes;
mod passing;
mod recovery;
mod saved;
mod storm;
mod surge;

use ringfence_ipc::journal::{
    BootRecord, ControlKind, ControlRecord, DecisionRecord, LimitRecord, Record, StrategyRecord,
};
use ringfence_ipc::msg::{
    Command, Decision, DurabilityTier, Intent, IntentKind, Key, OperatorExt, OrderId, OrderState, Outcome,
    Report, ReportKind, Side, StrategyId, intent_flags,
};
use ringfence_ipc::reason::{LimitId, Mode, Reason, Scope};
use ringfence_ipc::symbol::Symbol;

use super::{Capacity, Effect, Gate, Request, Room, Unbooked, Verdict};

pub(super) const CAP: Capacity =
    Capacity { order_slots: 256, max_symbols: 4, max_strategies: 4, max_accounts: 3, max_positions: 8 };
pub(super) const SEED: u64 = 0x5eed;
/// Prices in cents, quantities in units: the notional of price p and quantity q is p * q e-2.
pub(super) const BTC: u16 = 0;
pub(super) const ETH: u16 = 1;
/// Price tick 5, lot 10, multiplier 3.
pub(super) const ODD: u16 = 2;
pub(super) const ALICE: StrategyId = 1;
pub(super) const BOB: StrategyId = 2;
/// One cent of notional in 1e-8.
pub(super) const CENT_E8: i64 = 1_000_000;
pub(super) const CENT_E16: i128 = 100_000_000_000_000;
const START_NS: u64 = 1_000_000_000_000;

/// A gate with its journal, as the reactor runs it.
pub(super) struct Rig {
    pub gate: Gate,
    pub journal: Vec<(u64, Record)>,
    pub commands: Vec<Command>,
    pub now_ns: u64,
    pub room: Room,
    next_position: u64,
    next_key: Key,
    next_trade: u64,
}

impl Rig {
    pub fn new() -> Self {
        Self::with(CAP, &[])
    }

    pub fn with(cap: Capacity, limits: &[(Scope, u16, LimitId, i64)]) -> Self {
        let mut rig = Self {
            gate: Gate::new(cap, SEED, 1),
            journal: Vec::new(),
            commands: Vec::new(),
            now_ns: START_NS,
            room: Room::OPEN,
            next_position: 1,
            next_key: 1_000_000,
            next_trade: 1,
        };
        rig.write(Record::Boot(BootRecord {
            epoch: 1,
            hash_seed: SEED,
            now_ns: START_NS,
            layout_hash: 0,
            lockstep: false,
            build_id: [0; 40],
        }));
        let mut odd = Symbol::new("ODD", 2, 0, 5, 10).unwrap();
        odd.contract_multiplier = 3;
        for (id, symbol) in [
            (BTC, Symbol::new("BTCUSDT", 2, 0, 1, 1).unwrap()),
            (ETH, Symbol::new("ETHUSDT", 2, 0, 1, 1).unwrap()),
            (ODD, odd),
        ] {
            rig.write(Record::Symbol { id, symbol });
        }
        limits.iter().for_each(|(scope, id, limit, value)| rig.limit(*scope, *id, *limit, *value));
        for (strategy, account, name) in [(ALICE, 0, b"alice"), (BOB, 1, b"bob\0\0")] {
            let mut padded = [0; 24];
            padded[..5].copy_from_slice(name);
            let record = StrategyRecord { strategy, account, name: padded, now_ns: START_NS };
            rig.write(Record::Strategy(record));
        }
        rig
    }

    /// Appends a record and applies it.
    pub fn write(&mut self, record: Record) {
        let position = self.append(record);
        self.gate.apply(position, &record).unwrap();
    }

    fn append(&mut self, record: Record) -> u64 {
        // What stands in the journal has been through its own encoding.
        assert_eq!(Record::decode(record.encode().slots()), Ok(record));
        let position = self.next_position;
        self.next_position += record.encode().slots().len() as u64;
        self.journal.push((position, record));
        position
    }

    pub fn limit(&mut self, scope: Scope, scope_id: u16, limit: LimitId, value: i64) {
        let now_ns = self.now_ns;
        self.write(Record::Limit(LimitRecord { scope, scope_id, limit, value, now_ns, config_version: 1 }));
    }

    pub fn mode(&mut self, scope: Scope, scope_id: u16, mode: Mode) {
        let record = ControlRecord::own(ControlKind::SetMode(mode), self.now_ns);
        self.write(Record::Control(ControlRecord { scope, scope_id, ..record }));
    }

    pub fn quote(&mut self, symbol: u16, bid: i64, ask: i64) {
        if let Some(mark) = self.gate.set_reference(symbol, bid, ask, 0, self.now_ns, 1) {
            self.write(Record::Mark(mark));
        }
    }

    pub fn key(&mut self) -> Key {
        self.next_key += 1;
        self.next_key
    }

    /// A fresh limit intent.
    pub fn limit_order(&mut self, symbol: u16, side: Side, price: i64, qty: i64) -> Intent {
        Intent::limit(symbol, side, price, qty, self.key(), self.now_ns)
    }

    pub fn decide(&self, strategy: StrategyId, intent: &Intent, ext: Option<&OperatorExt>) -> Decided {
        let (words, ext) = (intent.encode(), ext.map(OperatorExt::encode));
        self.gate.prefetch(strategy, &[words]);
        let request = Request {
            strategy,
            operator: ext.is_some(),
            words: &words,
            ext: ext.as_ref(),
            now_ns: self.now_ns,
            position: 7,
            room: self.room,
            reference: None,
            tier: DurabilityTier::Process,
        };
        let decided = Decided::of(&self.gate.decide(&request));
        let new = intent.kind == IntentKind::New && !decided.decision.duplicate;
        let accepted = decided.record.filter(|record| new && record.outcome == Outcome::Accepted);
        let passed = self.gate.pass(&request).map(|approved| approved.record());
        assert_eq!(passed, accepted, "the short way decides alike");
        decided
    }

    pub fn finish(&mut self, verdict: &Decided) -> Decision {
        let mut decision = verdict.decision;
        assert_eq!(verdict.record.is_some(), !decision.duplicate && !decision.reason.is_transient());
        if let Some(record) = verdict.record {
            decision.journal_seq = self.append(Record::Decision(record));
            self.gate.commit(&verdict.effect.unwrap(), decision.journal_seq);
        }
        self.commands.extend(verdict.command);
        decision
    }

    /// Decide, journal, commit.
    pub fn submit(&mut self, strategy: StrategyId, intent: &Intent) -> Decision {
        let verdict = self.decide(strategy, intent, None);
        self.finish(&verdict)
    }

    /// As an operator for `strategy` of `account`.
    pub fn operate(&mut self, strategy: StrategyId, account: u16, mut intent: Intent) -> Decision {
        intent.flags |= intent_flags::OPERATOR;
        let ext = OperatorExt::new(strategy, account, "op-1", 1).unwrap();
        let verdict = self.decide(99, &intent, Some(&ext));
        self.finish(&verdict)
    }

    /// A fresh accepted limit order; its id.
    pub fn enter(&mut self, strategy: StrategyId, symbol: u16, side: Side, price: i64, qty: i64) -> OrderId {
        let intent = self.limit_order(symbol, side, price, qty);
        let decision = self.submit(strategy, &intent);
        assert_eq!(decision.reason, Reason::Ok, "{decision:?}");
        decision.order_id
    }

    /// Submits a fresh limit order and returns its reason.
    pub fn try_order(
        &mut self,
        strategy: StrategyId,
        symbol: u16,
        side: Side,
        price: i64,
        qty: i64,
    ) -> Decision {
        let intent = self.limit_order(symbol, side, price, qty);
        self.submit(strategy, &intent)
    }

    /// Books a venue's report, journals and applies it.
    pub fn venue(&mut self, report: &Report) -> Result<Report, Unbooked> {
        let booked = self.gate.book(report, self.now_ns)?;
        self.append(Record::Report(booked.report));
        self.gate.apply_report(&booked);
        Ok(booked.report)
    }

    /// A report of `kind` without numbers.
    pub fn tell(&mut self, id: OrderId, kind: ReportKind) -> Result<Report, Unbooked> {
        self.venue(&report(id, kind))
    }

    /// A fill of `qty` more at `price`.
    pub fn fill(&mut self, id: OrderId, qty: i64, price: i64) -> Report {
        let cum = self.gate.order(id).unwrap().cum_qty;
        self.next_trade += 1;
        let fill = fill(id, qty, price, cum + qty, self.next_trade);
        self.venue(&fill).unwrap()
    }

    pub fn state(&self, id: OrderId) -> OrderState {
        self.gate.order(id).unwrap().state
    }

    /// A fresh gate that has applied the journal.
    pub fn recovered(&self) -> Gate {
        let mut gate = Gate::new(self.gate.capacity(), 0, 0);
        for (position, record) in &self.journal {
            gate.apply(*position, record).unwrap();
        }
        gate
    }
}

/// A verdict that outlives the state it was decided in.
pub(super) struct Decided {
    pub decision: Decision,
    pub record: Option<DecisionRecord>,
    pub command: Option<Command>,
    effect: Option<Effect>,
}

impl Decided {
    fn of(verdict: &Verdict<'_>) -> Self {
        let (decision, record) = (verdict.decision(0), verdict.record());
        if let (Verdict::Accepted(approved), Some(record)) = (verdict, &record) {
            // The two ways into the journal write the same words.
            let whole = record.encode();
            assert_eq!(whole.slots()[..2], approved.record_slots());
        }
        Self { decision, record, command: verdict.command(), effect: verdict.effect() }
    }
}

pub(super) fn report(order_id: OrderId, kind: ReportKind) -> Report {
    Report {
        kind,
        state: OrderState::Unknown,
        side: Side::Buy,
        maker: true,
        late: false,
        reentered: false,
        reason: Reason::Ok,
        symbol: 0,
        journal_seq: 0,
        order_id,
        last_qty: 0,
        last_price: 0,
        cum_qty: 0,
        ts_ns: 0,
        trade_id: 0,
        fee_e8: 0,
        leaves_qty: 0,
        key_low: 0,
        venue_ts_ns: 5,
        strategy: 0,
        account: 0,
    }
}

pub(super) fn fill(id: OrderId, last_qty: i64, last_price: i64, cum_qty: i64, trade_id: u64) -> Report {
    Report { last_qty, last_price, cum_qty, trade_id, fee_e8: 3, ..report(id, ReportKind::Fill) }
}

pub(super) fn assert_rejected(
    decision: &Decision,
    reason: Reason,
    limit_id: LimitId,
    observed: i64,
    limit: i64,
) {
    assert_eq!(decision.outcome, Outcome::Rejected);
    let found = (decision.reason, decision.limit_id, decision.observed, decision.limit);
    assert_eq!(found, (reason, limit_id, observed, limit));
}

pub(super) fn with_kind(mut intent: Intent, kind: ringfence_ipc::msg::IntentKind) -> Intent {
    intent.kind = kind;
    intent
}
