//! Every order the journal told of: all live ones, and the newest of the finished.

use std::collections::{BTreeMap, HashMap, VecDeque};

use ringfence_ipc::journal::DecisionRecord;
use ringfence_ipc::journal::checkpoint::{NotePart, OrderPart};
use ringfence_ipc::msg::{
    AccountId, IntentKind, Key, OrderId, OrderState, OrderType, Outcome, Report, ReportKind, Side,
    StrategyId, SymbolId, Tif,
};
use ringfence_ipc::reason::{LimitId, Reason};

use crate::gateway::key::{order_key, strategy_order_id};

/// Finished orders that are remembered; the oldest go first.
pub const MAX_FINISHED_ORDERS: usize = 100_000;

/// The gate's answer to an order, as the journal holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Accepted or rejected.
    pub outcome: Outcome,
    /// Why.
    pub reason: Reason,
    /// Which limit tripped.
    pub limit_id: LimitId,
    /// The value that the limit refused, in the limit's unit.
    pub observed: i64,
    /// The limit's value, in its unit.
    pub limit: i64,
    /// Journal position of the decision.
    pub journal_seq: u64,
    /// When, gate time ns.
    pub decided_at_ns: u64,
}

impl Answer {
    /// Of an order whose decision is not read: it is accepted, whatever else it was.
    const fn accepted(journal_seq: u64, decided_at_ns: u64) -> Self {
        Self {
            outcome: Outcome::Accepted,
            reason: Reason::Ok,
            limit_id: LimitId::None,
            observed: 0,
            limit: 0,
            journal_seq,
            decided_at_ns,
        }
    }
}

/// One order as far as the journal has been read.
#[derive(Clone, Debug)]
pub struct Order {
    /// The account it belongs to.
    pub account: AccountId,
    /// The strategy it is booked for.
    pub strategy: StrategyId,
    /// The caller's id, or the one derived for a strategy's own order.
    pub client_order_id: Box<str>,
    /// The gate's id; 0 when it was rejected.
    pub order_id: OrderId,
    /// Its symbol.
    pub symbol: SymbolId,
    /// Buy or sell.
    pub side: Side,
    /// Limit or market.
    pub order_type: OrderType,
    /// Time in force.
    pub tif: Tif,
    /// Limit price, scaled; 0 for market orders.
    pub price: i64,
    /// Total quantity, scaled.
    pub qty: i64,
    /// Price and quantity as first asked for, before any amend.
    pub asked: (i64, i64),
    /// Where it is in its life.
    pub state: OrderState,
    /// Quantity filled, scaled.
    pub cum_qty: i64,
    /// Sum of price times quantity over its fills, in the scales of both.
    pub filled_value: i128,
    /// The last reason given, `Ok` when none was.
    pub reason: Reason,
    /// Gate time of the last news, ns.
    pub last_ts_ns: u64,
    /// What the gate answered to the order itself.
    pub answer: Answer,
    amend: Option<(i64, i64)>,
}

impl Order {
    /// The status name of the HTTP contract. A requested cancel does not change it: the order still works.
    #[must_use]
    pub const fn status(&self) -> &'static str {
        match self.state {
            OrderState::PendingNew => "PENDING",
            OrderState::PendingCancel if self.cum_qty > 0 => "PARTIALLY_FILLED",
            OrderState::Accepted | OrderState::PendingCancel => "ACCEPTED",
            OrderState::PartiallyFilled => "PARTIALLY_FILLED",
            OrderState::Filled => "FILLED",
            OrderState::Cancelled => "CANCELLED",
            OrderState::Rejected => "REJECTED",
            OrderState::Expired => "EXPIRED",
            OrderState::Unknown => "UNKNOWN",
        }
    }

    /// Scaled quantity not filled yet, for orders that still work.
    #[must_use]
    pub const fn leaves_qty(&self) -> i64 {
        if self.state.is_terminal() { 0 } else { self.qty.saturating_sub(self.cum_qty) }
    }

    fn from_decision(position: u64, d: &DecisionRecord, client_order_id: Box<str>) -> Self {
        let accepted = d.outcome == Outcome::Accepted;
        // A force-flat order's side and size are the gate's choice: its reports tell them.
        let flat = d.intent.kind == IntentKind::ForceFlat;
        Self {
            account: d.account,
            strategy: d.strategy,
            client_order_id,
            order_id: d.order_id,
            symbol: d.intent.symbol,
            side: d.intent.side,
            order_type: if flat { OrderType::Market } else { d.intent.order_type },
            tif: d.intent.tif,
            price: if flat { 0 } else { d.intent.price },
            qty: if flat { 0 } else { d.intent.qty },
            asked: (d.intent.price, d.intent.qty),
            state: if accepted { OrderState::PendingNew } else { OrderState::Rejected },
            cum_qty: 0,
            filled_value: 0,
            reason: d.reason,
            last_ts_ns: d.now_ns,
            answer: Answer {
                outcome: d.outcome,
                reason: d.reason,
                limit_id: d.limit_id,
                observed: d.observed,
                limit: d.limit,
                journal_seq: position,
                decided_at_ns: d.now_ns,
            },
            amend: None,
        }
    }

    fn from_report(position: u64, r: &Report) -> Self {
        Self {
            account: r.account,
            strategy: r.strategy,
            client_order_id: strategy_order_id(r.strategy, r.order_id).into(),
            order_id: r.order_id,
            symbol: r.symbol,
            side: r.side,
            order_type: OrderType::Limit,
            tif: Tif::Gtc,
            price: 0,
            qty: 0,
            asked: (0, 0),
            state: r.state,
            cum_qty: 0,
            filled_value: 0,
            reason: Reason::Ok,
            last_ts_ns: r.ts_ns,
            answer: Answer::accepted(position, r.ts_ns),
            amend: None,
        }
    }

    /// An open order of a checkpoint; `filled_value` is in the scales of price and quantity.
    pub(super) fn restore(account: AccountId, part: &OrderPart, note: &NotePart, filled_value: i128) -> Self {
        let named = note.ext.as_ref().map(|ext| ext.client_order_id()).filter(|id| !id.is_empty());
        let own = || strategy_order_id(part.strategy, part.order_id).into();
        Self {
            account,
            strategy: part.strategy,
            client_order_id: named.map_or_else(own, Into::into),
            order_id: part.order_id,
            symbol: part.symbol,
            side: part.side,
            order_type: part.order_type,
            tif: part.tif,
            price: part.price,
            qty: part.qty,
            asked: (note.asked_price, note.asked_qty),
            state: part.state,
            cum_qty: part.cum_qty,
            filled_value,
            reason: Reason::Ok,
            last_ts_ns: part.created_ns,
            answer: Answer::accepted(note.journal_seq, part.created_ns),
            amend: (part.amend_qty != 0).then_some((part.amend_price, part.amend_qty)),
        }
    }

    fn report(&mut self, r: &Report) {
        self.state = r.state;
        self.cum_qty = r.cum_qty;
        self.last_ts_ns = r.ts_ns;
        self.reason = r.reason;
        match r.kind {
            ReportKind::Fill => {
                let value = i128::from(r.last_price) * i128::from(r.last_qty);
                self.filled_value = self.filled_value.saturating_add(value);
            }
            ReportKind::Amended => {
                if let Some((price, qty)) = self.amend.take() {
                    (self.price, self.qty) = (price, qty);
                }
            }
            ReportKind::CancelRejected => self.amend = None,
            _ => {}
        }
        if self.qty == 0 {
            self.side = r.side;
            self.qty = r.cum_qty.saturating_add(r.leaves_qty);
        }
    }
}

/// The orders, found by key (account and client order id) and by the gate's order id.
#[derive(Default)]
pub struct Orders {
    by_key: HashMap<Key, Order>,
    by_order_id: HashMap<OrderId, Key>,
    /// Working orders by the position of their decision.
    open: BTreeMap<u64, Key>,
    /// Finished orders, oldest first.
    finished: VecDeque<Key>,
}

impl Orders {
    /// Enters a new order. `None`: a strategy's own order that was rejected leaves no trace here.
    pub fn enter(&mut self, position: u64, d: &DecisionRecord) -> Option<&Order> {
        let named = d.ext.as_ref().map(|ext| ext.client_order_id()).filter(|id| !id.is_empty());
        let client_order_id: Box<str> = match named {
            Some(id) => id.into(),
            None if d.outcome == Outcome::Accepted => strategy_order_id(d.strategy, d.order_id).into(),
            None => return None,
        };
        let key = order_key(d.account, &client_order_id);
        if d.order_id != 0 {
            self.by_order_id.insert(d.order_id, key);
        }
        self.insert(key, Order::from_decision(position, d, client_order_id));
        self.by_key.get(&key)
    }

    /// Puts an open order back.
    pub(super) fn restore(&mut self, order: Order) {
        let key = order_key(order.account, &order.client_order_id);
        self.by_order_id.insert(order.order_id, key);
        self.insert(key, order);
    }

    fn insert(&mut self, key: Key, order: Order) {
        let (position, terminal) = (order.answer.journal_seq, order.state.is_terminal());
        if let Some(old) = self.by_key.insert(key, order) {
            // The id was used again after the gate forgot it: the newest order owns the name.
            self.by_order_id.remove(&old.order_id);
            self.open.remove(&old.answer.journal_seq);
            self.finished.retain(|k| *k != key);
        }
        if terminal {
            self.finish(key);
        } else {
            self.open.insert(position, key);
        }
    }

    /// Notes what an accepted cancel or amend asks of its order.
    pub fn ask(&mut self, d: &DecisionRecord) -> Option<&Order> {
        let order = self.by_key.get_mut(self.by_order_id.get(&d.order_id)?)?;
        if order.state.is_terminal() {
            return None;
        }
        match d.intent.kind {
            IntentKind::Cancel => order.state = OrderState::PendingCancel,
            IntentKind::Amend => order.amend = Some((d.intent.price, d.intent.qty)),
            _ => {}
        }
        order.last_ts_ns = d.now_ns;
        Some(order)
    }

    /// Applies a report; an order never seen before (its decision was evicted) is made of what the report tells.
    pub fn report(&mut self, position: u64, r: &Report) -> &Order {
        let name = || order_key(r.account, &strategy_order_id(r.strategy, r.order_id));
        let key = *self.by_order_id.entry(r.order_id).or_insert_with(name);
        if let Some(order) = self.by_key.get_mut(&key) {
            let was_open = !order.state.is_terminal();
            order.report(r);
            if was_open && order.state.is_terminal() {
                self.finish(key);
            }
        } else {
            let mut order = Order::from_report(position, r);
            order.report(r);
            self.insert(key, order);
        }
        &self.by_key[&key]
    }

    fn finish(&mut self, key: Key) {
        if let Some(order) = self.by_key.get(&key) {
            self.open.remove(&order.answer.journal_seq);
        }
        self.finished.push_back(key);
        if self.finished.len() > MAX_FINISHED_ORDERS
            && let Some(oldest) = self.finished.pop_front()
            && let Some(order) = self.by_key.remove(&oldest)
        {
            self.by_order_id.remove(&order.order_id);
        }
    }

    /// The order of `account` under this id.
    #[must_use]
    pub fn find(&self, account: AccountId, client_order_id: &str) -> Option<&Order> {
        self.by_key.get(&order_key(account, client_order_id))
    }

    /// The order with the gate's id.
    #[must_use]
    pub fn by_order_id(&self, order_id: OrderId) -> Option<&Order> {
        self.by_key.get(self.by_order_id.get(&order_id)?)
    }

    /// Orders that still work, newest first.
    pub fn open(&self) -> impl Iterator<Item = &Order> {
        self.open.values().rev().filter_map(|key| self.by_key.get(key))
    }

    /// Finished orders, newest first.
    pub fn finished(&self) -> impl Iterator<Item = &Order> {
        self.finished.iter().rev().filter_map(|key| self.by_key.get(key))
    }

    /// Orders remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether no order is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Orders that still work.
    #[must_use]
    pub fn open_count(&self) -> usize {
        self.open.len()
    }
}
