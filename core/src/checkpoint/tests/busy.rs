//! A gate at work without its process: random intents of two strategies and an operator, a venue that answers them, every
//! record in a real journal.

use ringfence_ipc::journal::{
    AttachRecord, BootRecord, CloseRecord, LimitRecord, Record, Role, StrategyRecord,
};
use ringfence_ipc::msg::{
    DurabilityTier, Intent, IntentKind, OperatorExt, OrderState, Outcome, Report, ReportKind, Side,
    intent_flags,
};
use ringfence_ipc::reason::{LimitId, Reason, Scope};
use ringfence_ipc::symbol::Symbol;

use crate::checkpoint::Recovered;
use crate::gate::{Capacity, Gate, Request, Room};
use crate::journal::{Class, Writer};

pub const CAP: Capacity =
    Capacity { order_slots: 1 << 12, max_symbols: 2, max_strategies: 4, max_accounts: 2, max_positions: 8 };
const PRICE: i64 = 6_000_000;
/// Orders that stay open at once, about.
const RESTING: usize = 200;

pub struct Busy {
    pub gate: Gate,
    writer: Writer,
    now_ns: u64,
    random: u64,
    resting: Vec<u64>,
    pub decisions: u64,
}

impl Busy {
    pub fn new(recovered: Recovered, epoch: u16, writer: Writer) -> Self {
        let now_ns = recovered.past.last_ns.max(1_000_000_000_000);
        let first = recovered.past.records == 0;
        let resting = recovered.gate.open_orders().map(|order| order.order_id).collect();
        let random = 0x5eed ^ u64::from(epoch) << 32;
        let mut busy = Self { gate: recovered.gate, writer, now_ns, random, resting, decisions: 0 };
        let hash_seed = if first { 77 } else { busy.gate.hash_seed() };
        let build_id = [b'b'; 40];
        busy.log(&Record::Boot(BootRecord {
            epoch,
            hash_seed,
            now_ns,
            layout_hash: 0,
            lockstep: false,
            build_id,
        }));
        if first {
            busy.begin();
        }
        let client = u64::from(epoch);
        busy.log(&Record::Attach(AttachRecord {
            role: Role::Strategy,
            detached: false,
            strategy: 1,
            now_ns,
            client,
            ticket_digest: u128::from(client) << 100 | 7,
            pid: 1,
            uid: 2,
        }));
        busy
    }

    fn begin(&mut self) {
        let now_ns = self.now_ns;
        for (id, name) in [(0, "BTCUSDT"), (1, "ETHUSDT")] {
            self.log(&Record::Symbol { id, symbol: Symbol::new(name, 2, 5, 1, 1).unwrap() });
        }
        for (limit, value) in [(LimitId::DedupQuota, 4_096), (LimitId::MaxOrderQty, 900)] {
            let scope = Scope::Global;
            self.log(&Record::Limit(LimitRecord {
                scope,
                scope_id: 0,
                limit,
                value,
                now_ns,
                config_version: 1,
            }));
        }
        for strategy in [1, 2] {
            let mut name = [0; 24];
            name[0] = b'a' + strategy as u8;
            self.log(&Record::Strategy(StrategyRecord { strategy, account: strategy - 1, name, now_ns }));
        }
    }

    fn next(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 9) % below
    }

    fn wait_for_room(&mut self) {
        while !self.writer.room(Class::Reserved) {
            assert!(!self.writer.is_failed());
            std::thread::sleep(std::time::Duration::from_micros(200));
        }
    }

    pub fn log(&mut self, record: &Record) {
        self.wait_for_room();
        let position = self.writer.append(&record.encode());
        self.gate.apply(position, record).unwrap();
    }

    /// One intent, and sometimes what the venue or the market says.
    pub fn step(&mut self) {
        self.now_ns += 1_000 + self.next(2_000_000);
        let symbol = self.next(2) as u16;
        match self.next(10) {
            0 => self.quote(symbol),
            1 => self.cancel(),
            _ => self.order(symbol),
        }
        let most = RESTING as u64;
        while self.resting.len() as u64 > most || (!self.resting.is_empty() && self.next(3) == 0) {
            let at = self.next(self.resting.len() as u64) as usize;
            self.answer(at);
        }
    }

    fn quote(&mut self, symbol: u16) {
        let bid = PRICE + self.next(1_000) as i64;
        let event = self.decisions;
        if let Some(mark) = self.gate.set_reference(symbol, bid, bid + 10, bid, self.now_ns, event) {
            self.log(&Record::Mark(mark));
        }
    }

    fn key(&mut self) -> u128 {
        u128::from(self.next(u64::MAX)) << 64 | u128::from(self.next(u64::MAX)) | 1
    }

    fn order(&mut self, symbol: u16) {
        let side = if self.next(2) == 0 { Side::Buy } else { Side::Sell };
        let (price, qty) = (PRICE + self.next(1_000) as i64, 1 + self.next(1_000) as i64);
        let mut intent = Intent::limit(symbol, side, price, qty, self.key(), self.now_ns);
        let strategy = 1 + self.next(2) as u16;
        let operator = self.next(8) == 0;
        if operator {
            intent.flags |= intent_flags::OPERATOR;
        }
        let id = format!("web-{}", self.decisions);
        let ext = operator.then(|| OperatorExt::new(strategy, strategy - 1, &id, 1).unwrap());
        self.ask(strategy, &intent, ext);
    }

    fn cancel(&mut self) {
        let Some(id) = self.resting.first().copied() else { return };
        let Some(order) = self.gate.order(id) else { return };
        let intent = Intent::cancel(order.symbol, id, self.key(), self.now_ns);
        self.ask(order.strategy, &intent, None);
    }

    fn ask(&mut self, strategy: u16, intent: &Intent, ext: Option<OperatorExt>) {
        let (words, ext) = (intent.encode(), ext.map(|ext| ext.encode()));
        let verdict = self.gate.decide(&Request {
            strategy,
            operator: ext.is_some(),
            words: &words,
            ext: ext.as_ref(),
            now_ns: self.now_ns,
            position: self.decisions,
            room: Room::OPEN,
            reference: None,
            tier: DurabilityTier::Process,
        });
        let (Some(record), Some(effect)) = (verdict.record(), verdict.effect()) else { return };
        self.wait_for_room();
        let position = self.writer.append(&record.encode());
        self.gate.commit(&effect, position);
        self.decisions += 1;
        if record.intent.kind == IntentKind::New && record.outcome == Outcome::Accepted {
            self.resting.push(record.order_id);
        }
    }

    /// The venue says something about one resting order.
    fn answer(&mut self, at: usize) {
        let id = self.resting[at];
        let Some(order) = self.gate.order(id) else {
            self.resting.swap_remove(at);
            return;
        };
        let kind = match (order.state, self.next(4)) {
            (OrderState::PendingNew, 0..3) => ReportKind::Accepted,
            (OrderState::PendingCancel, _) | (_, 0) => ReportKind::Cancelled,
            _ => ReportKind::Fill,
        };
        let part = 1 + self.next(order.leaves_qty().max(1) as u64) as i64;
        let fill = kind == ReportKind::Fill;
        let said = Report {
            kind,
            state: OrderState::Unknown,
            side: order.side,
            maker: true,
            late: false,
            reentered: false,
            reason: Reason::Ok,
            symbol: order.symbol,
            journal_seq: 0,
            order_id: id,
            last_qty: if fill { part } else { 0 },
            last_price: if fill { order.price } else { 0 },
            cum_qty: if fill { order.cum_qty + part } else { 0 },
            ts_ns: 0,
            trade_id: if fill { self.next(u64::MAX) } else { 0 },
            fee_e8: if fill { 3 } else { 0 },
            leaves_qty: 0,
            key_low: 0,
            venue_ts_ns: self.now_ns,
            strategy: 0,
            account: 0,
        };
        let Ok(booked) = self.gate.book(&said, self.now_ns) else { return };
        self.wait_for_room();
        self.writer.append(&Record::Report(booked.report).encode());
        self.gate.apply_report(&booked);
        if booked.report.state.is_terminal() {
            self.resting.swap_remove(at);
        }
    }

    /// Position of the next record.
    pub fn position(&self) -> u64 {
        self.writer.position()
    }

    /// Ends in good order.
    pub fn close(&mut self) {
        let state_hash = self.gate.state_hash();
        self.log(&Record::Close(CloseRecord { now_ns: self.now_ns, state_hash, market_events: 0 }));
    }
}
