//! One journal record as one message. The schema is `docs/order-events.md`.

use std::collections::{HashMap, VecDeque};

use ringfence_ipc::journal::{DecisionRecord, Record, StrayRecord};
use ringfence_ipc::msg::{
    AccountId, IntentKind, OrderId, OrderType, Outcome, Report, ReportKind, StrategyId,
};
use ringfence_ipc::reason::LimitId;
use serde::Serialize;

use crate::gateway::events::{limit_value, reason_name, venue_order_id};
use crate::gateway::exact::Exact;
use crate::gateway::key::strategy_order_id;
use crate::gateway::projection::{Names, Projection};

const VERSION: u32 = 1;
/// Ended orders whose caller's id is still known: a fill may come late.
const ENDED_KEPT: usize = 16_384;

/// What every message has.
#[derive(Serialize)]
struct Message<'a, T> {
    version: u32,
    journal: &'a str,
    epoch: u16,
    position: u64,
    event: &'static str,
    #[serde(flatten)]
    body: T,
}

#[derive(Serialize)]
struct Gap {
    /// The first position that is not missing any more.
    to: u64,
}

#[derive(Serialize)]
struct About<'a> {
    ts_ns: u64,
    account: Option<AccountId>,
    client_order_id: Option<&'a str>,
    venue_order_id: Option<String>,
    strategy: Option<String>,
    symbol: Option<String>,
    side: Option<&'static str>,
}

#[derive(Serialize)]
struct Decision<'a> {
    #[serde(flatten)]
    about: About<'a>,
    act: &'static str,
    outcome: &'static str,
    reason: Option<&'static str>,
    order_type: Option<&'static str>,
    tif: Option<&'static str>,
    qty: Option<Exact>,
    price: Option<Exact>,
    limit_id: Option<&'static str>,
    observed: Option<Exact>,
    limit: Option<Exact>,
}

#[derive(Serialize)]
struct Reported<'a> {
    #[serde(flatten)]
    about: About<'a>,
    report: &'static str,
    status: &'static str,
    reason: Option<&'static str>,
    qty: Option<Exact>,
    price: Option<Exact>,
    fee: Option<Exact>,
    maker: Option<bool>,
    late: Option<bool>,
    trade_id: Option<String>,
    executed_qty: Exact,
    leaves_qty: Exact,
    venue_ts_ns: u64,
}

#[derive(Serialize)]
struct Stray<'a> {
    #[serde(flatten)]
    about: About<'a>,
    qty: Exact,
    price: Exact,
    fee: Exact,
    trade_id: String,
    executed_qty: Exact,
    venue_ts_ns: u64,
}

/// Knows what records leave out.
pub(super) struct Teller {
    journal: String,
    epoch: u16,
    names: Names,
    /// What callers call their orders; strategies' own orders are named after their number.
    ids: HashMap<OrderId, Box<str>>,
    ended: VecDeque<OrderId>,
}

impl Teller {
    /// Before a journal's first record.
    pub fn new(journal: u64) -> Self {
        Self {
            journal: format!("{journal:016x}"),
            epoch: 0,
            names: Names::default(),
            ids: HashMap::new(),
            ended: VecDeque::new(),
        }
    }

    /// At a checkpoint.
    pub fn restore(journal: u64, projection: Projection) -> Self {
        let ids =
            projection.orders.open().map(|order| (order.order_id, order.client_order_id.clone())).collect();
        Self { epoch: projection.epoch(), ids, names: projection.names, ..Self::new(journal) }
    }

    /// The gate's life that wrote the last record.
    pub fn epoch(&self) -> u16 {
        self.epoch
    }

    /// The next record belongs to this life of the gate, or begins another.
    pub fn begin_in(&mut self, epoch: u16) {
        self.epoch = epoch;
    }

    /// Key and value for the record at `position`, if it is about orders.
    pub fn tell(&mut self, position: u64, record: &Record) -> Option<(String, String)> {
        match record {
            Record::Boot(boot) => self.epoch = boot.epoch,
            Record::Decision(decision) => return Some(self.decision(position, decision)),
            Record::Report(report) => return Some(self.report(position, report)),
            Record::Stray(stray) => return Some(self.stray(position, stray)),
            other => self.names.learn(other),
        }
        None
    }

    /// Says that everything from `from` to before `to` is missing.
    pub fn gap(&self, from: u64, to: u64) -> (String, String) {
        (String::from(":gap"), self.message(from, "gap", Gap { to }))
    }

    fn message<T: Serialize>(&self, position: u64, event: &'static str, body: T) -> String {
        let (journal, epoch) = (self.journal.as_str(), self.epoch);
        // Bodies are plain structs with string keys: serialising them cannot fail.
        serde_json::to_string(&Message { version: VERSION, journal, epoch, position, event, body })
            .unwrap_or_default()
    }

    fn id(&self, strategy: StrategyId, order_id: OrderId) -> Box<str> {
        self.ids.get(&order_id).cloned().unwrap_or_else(|| strategy_order_id(strategy, order_id).into())
    }

    fn decision(&mut self, position: u64, d: &DecisionRecord) -> (String, String) {
        let enters = matches!(d.intent.kind, IntentKind::New | IntentKind::ForceFlat);
        let accepted = d.outcome == Outcome::Accepted;
        let named = d.ext.as_ref().map(|ext| ext.client_order_id()).filter(|id| !id.is_empty());
        let order_id = if accepted || enters { d.order_id } else { d.intent.ttl_ns_or_target };
        let id: Option<Box<str>> = match named.filter(|_| enters) {
            Some(name) => {
                if accepted {
                    self.ids.insert(order_id, name.into());
                }
                Some(name.into())
            }
            None if d.intent.kind == IntentKind::MassCancel => None,
            // A refused order has no number: its record's position is as good a name.
            None if enters && !accepted => Some(strategy_order_id(d.strategy, position).into()),
            None => (order_id != 0).then(|| self.id(d.strategy, order_id)),
        };
        let symbol = self.names.symbol(d.intent.symbol);
        let (price_scale, qty_scale) = symbol.map_or((0, 0), |s| (s.price_scale, s.qty_scale));
        let sized = matches!(d.intent.kind, IntentKind::New | IntentKind::Amend);
        let limit_price = sized && d.intent.order_type == OrderType::Limit;
        let limited = (!accepted && d.limit_id != LimitId::None).then_some(d.limit_id);
        let is_new = d.intent.kind == IntentKind::New;
        let body = Decision {
            about: About {
                ts_ns: d.now_ns,
                account: Some(d.account),
                client_order_id: id.as_deref(),
                venue_order_id: venue_order_id(if d.intent.kind == IntentKind::MassCancel {
                    0
                } else {
                    order_id
                }),
                strategy: Some(self.names.strategy_name(d.strategy)),
                symbol: enters.then(|| self.names.symbol_name(d.intent.symbol)),
                side: is_new.then(|| d.intent.side.name()),
            },
            act: d.intent.kind.name(),
            outcome: d.outcome.name(),
            reason: reason_name(d.reason),
            order_type: is_new.then(|| d.intent.order_type.name()),
            tif: is_new.then(|| d.intent.tif.name()),
            qty: sized.then(|| Exact::new(d.intent.qty, qty_scale)),
            price: limit_price.then(|| Exact::new(d.intent.price, price_scale)),
            limit_id: limited.map(LimitId::name),
            observed: limited.map(|limit| limit_value(limit, d.observed, symbol)),
            limit: limited.map(|limit| limit_value(limit, d.limit, symbol)),
        };
        (key(Some(d.account), id.as_deref()), self.message(position, "decision", body))
    }

    fn report(&mut self, position: u64, r: &Report) -> (String, String) {
        let id = self.id(r.strategy, r.order_id);
        let symbol = self.names.symbol(r.symbol);
        let (price_scale, qty_scale) = symbol.map_or((0, 0), |s| (s.price_scale, s.qty_scale));
        let fill = r.kind == ReportKind::Fill;
        let body = Reported {
            about: About {
                ts_ns: r.ts_ns,
                account: Some(r.account),
                client_order_id: Some(&id),
                venue_order_id: venue_order_id(r.order_id),
                strategy: Some(self.names.strategy_name(r.strategy)),
                symbol: Some(self.names.symbol_name(r.symbol)),
                side: Some(r.side.name()),
            },
            report: r.kind.name(),
            status: r.state.name(),
            reason: reason_name(r.reason),
            qty: fill.then(|| Exact::new(r.last_qty, qty_scale)),
            price: (fill || r.kind == ReportKind::Amended).then(|| Exact::new(r.last_price, price_scale)),
            fee: fill.then(|| Exact::new(r.fee_e8, 8)),
            maker: fill.then_some(r.maker),
            late: fill.then_some(r.late),
            trade_id: fill.then(|| r.trade_id.to_string()),
            executed_qty: Exact::new(r.cum_qty, qty_scale),
            leaves_qty: Exact::new(r.leaves_qty, qty_scale),
            venue_ts_ns: r.venue_ts_ns,
        };
        let told = (key(Some(r.account), Some(&id)), self.message(position, "report", body));
        if r.state.is_terminal() && !r.late && self.ids.contains_key(&r.order_id) {
            self.ended.push_back(r.order_id);
            if self.ended.len() > ENDED_KEPT
                && let Some(oldest) = self.ended.pop_front()
            {
                self.ids.remove(&oldest);
            }
        }
        told
    }

    fn stray(&self, position: u64, s: &StrayRecord) -> (String, String) {
        let symbol = self.names.symbol(s.symbol);
        let (price_scale, qty_scale) = symbol.map_or((0, 0), |s| (s.price_scale, s.qty_scale));
        let body = Stray {
            about: About {
                ts_ns: s.now_ns,
                account: None,
                client_order_id: None,
                venue_order_id: venue_order_id(s.order_id),
                strategy: None,
                symbol: Some(self.names.symbol_name(s.symbol)),
                side: Some(s.side.name()),
            },
            qty: Exact::new(s.qty, qty_scale),
            price: Exact::new(s.price, price_scale),
            fee: Exact::new(s.fee_e8, 8),
            trade_id: s.trade_id.to_string(),
            executed_qty: Exact::new(s.cum_qty, qty_scale),
            venue_ts_ns: s.venue_ts_ns,
        };
        (key(None, None), self.message(position, "stray_fill", body))
    }
}

/// `account:client order id`; what names no order has nothing after the colon.
fn key(account: Option<AccountId>, id: Option<&str>) -> String {
    format!("{}:{}", account.map_or(String::new(), |account| account.to_string()), id.unwrap_or_default())
}
