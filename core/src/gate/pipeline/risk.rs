//! Step 4: every limit. Failures are OR-ed into one value with one branch at the end.
//!
//! The checks are written once and read twice. On the way of an order [`Any`] keeps only whether one of them failed;
//! [`Which`] keeps all of them as a set of bits, off the hot path, and the reason is its lowest one. The order of the
//! bits is the order of the reasons: rates first, so that no journalled refusal escapes them; then what is wrong with
//! the intent itself; then limits; then what a retry may cure.

use ringfence_ipc::msg::{IntentKind, OrderId, OrderState, OrderType, Side, Tif, intent_flags};

use super::Reject;
use super::explain::explain;
use super::exposure::{Sized, Target};
use crate::gate::Gate;
use crate::gate::conduct::Loss;
use crate::gate::limits::{ABSENT, Notional, Rate, StrategyLimits};
use crate::gate::orders::Order;
use crate::gate::tables::StrategyTables;

const BPS: u64 = 10_000;

/// An intent that passed every check. Nothing else becomes a command.
#[derive(Clone, Copy, Debug)]
pub struct Approved<'a> {
    pub(super) sized: Sized<'a>,
    /// The new order, or the one that is cancelled or amended; 0: none.
    pub(super) order_id: OrderId,
    _only_risk: (),
}

/// Bits of the failure set.
pub(super) mod fail {
    pub const ORDER_RATE: u64 = 1;
    pub const CANCEL_RATE: u64 = 1 << 1;
    pub const SYMBOL_RATE: u64 = 1 << 2;
    pub const VENUE_RATE: u64 = 1 << 3;
    pub const REPEATED: u64 = 1 << 4;
    pub const ORDER_TO_TRADE: u64 = 1 << 5;
    pub const OUTSIDE_HOURS: u64 = 1 << 6;
    pub const UNKNOWN_SYMBOL: u64 = 1 << 7;
    pub const NOT_ENTITLED: u64 = 1 << 8;
    pub const UNKNOWN_ORDER: u64 = 1 << 9;
    pub const ORDER_TERMINAL: u64 = 1 << 10;
    pub const NO_ROOM_FOR_KEY: u64 = 1 << 11;
    pub const AMEND_PENDING: u64 = 1 << 12;
    pub const BAD_QTY: u64 = 1 << 13;
    pub const BAD_PRICE: u64 = 1 << 14;
    pub const OFF_TICK: u64 = 1 << 15;
    pub const OFF_LOT: u64 = 1 << 16;
    pub const BAD_TIF: u64 = 1 << 17;
    pub const QTY_STRATEGY: u64 = 1 << 18;
    pub const QTY_SYMBOL: u64 = 1 << 19;
    pub const REFERENCE_MISSING: u64 = 1 << 20;
    pub const REFERENCE_STALE: u64 = 1 << 21;
    pub const REFERENCE_CROSSED: u64 = 1 << 22;
    pub const ARITH: u64 = 1 << 23;
    pub const NOTIONAL_GLOBAL: u64 = 1 << 24;
    pub const NOTIONAL_STRATEGY: u64 = 1 << 25;
    pub const NOTIONAL_SYMBOL: u64 = 1 << 26;
    pub const COLLAR: u64 = 1 << 27;
    pub const COLLAR_TICKS: u64 = 1 << 28;
    pub const SELF_CROSS: u64 = 1 << 29;
    pub const LOSS_HARD: u64 = 1 << 30;
    pub const LOSS_SOFT: u64 = 1 << 31;
    pub const SYMBOLS: u64 = 1 << 32;
    pub const POSITION_STRATEGY: u64 = 1 << 33;
    pub const POSITION_SYMBOL: u64 = 1 << 34;
    pub const GROSS_STRATEGY: u64 = 1 << 35;
    pub const GROSS_ACCOUNT: u64 = 1 << 36;
    pub const GROSS_SYMBOL: u64 = 1 << 37;
    pub const GROSS_GLOBAL: u64 = 1 << 38;
    pub const OPEN_ORDERS: u64 = 1 << 39;
    pub const ORDER_TABLE: u64 = 1 << 40;
    pub const NOTHING_TO_FLATTEN: u64 = 1 << 41;
}

/// What becomes of the outcomes of the checks.
trait Failures: Default {
    /// One check: whether it `failed`, and its bit.
    fn add(&mut self, failed: bool, bit: u64);
}

/// Whether any check failed.
#[derive(Default)]
struct Any(bool);

impl Failures for Any {
    #[inline(always)]
    fn add(&mut self, failed: bool, _bit: u64) {
        self.0 |= failed;
    }
}

/// Which checks failed.
#[derive(Default)]
struct Which(u64);

impl Failures for Which {
    #[inline(always)]
    fn add(&mut self, failed: bool, bit: u64) {
        self.0 |= if failed { bit } else { 0 };
    }
}

/// A new order that passes every check; `None`: it does not, and [`approve`] says why.
#[inline(always)]
pub(super) fn pass_new<'a>(gate: &Gate, sized: Sized<'a>) -> Option<Approved<'a>> {
    let mut any = Any::default();
    let order_id = new(gate, &sized, &mut any);
    (!any.0).then_some(Approved { sized, order_id, _only_risk: () })
}

/// An intent of any kind, with the reason of a refusal.
pub(super) fn approve<'a>(gate: &Gate, sized: Sized<'a>) -> Result<Approved<'a>, Reject> {
    let mut which = Which::default();
    let order_id = match sized.origin.kind {
        IntentKind::New => new(gate, &sized, &mut which),
        IntentKind::Cancel => cancel(&sized, &mut which),
        IntentKind::Amend => amend(gate, &sized, &mut which),
        IntentKind::MassCancel => {
            rate(&sized, &mut which);
            0
        }
        IntentKind::ForceFlat => flatten(gate, &sized, &mut which),
    };
    if which.0 == 0 {
        Ok(Approved { sized, order_id, _only_risk: () })
    } else {
        Err(explain(gate, &sized, which.0))
    }
}

#[inline(always)]
fn new(gate: &Gate, sized: &Sized<'_>, f: &mut impl Failures) -> OrderId {
    let tables = sized.origin.tables;
    let id = gate.orders.next_id(gate.epoch);
    rate(sized, f);
    shared_rates(gate, sized, f);
    f.add(!sized.symbol.known, fail::UNKNOWN_SYMBOL);
    new_shape(sized, f);
    let worst = sizes(gate, sized, f);
    price(gate, sized, f);
    conduct(gate, sized, &worst, f);
    repeated(sized, f);
    f.add(i64::from(tables.open.count) >= tables.limits.max_open_orders, fail::OPEN_ORDERS);
    f.add(id == 0, fail::ORDER_TABLE);
    id
}

fn flatten(gate: &Gate, sized: &Sized<'_>, f: &mut impl Failures) -> OrderId {
    let id = gate.orders.next_id(gate.epoch);
    f.add(!sized.symbol.known, fail::UNKNOWN_SYMBOL);
    f.add(sized.qty == 0, fail::NOTHING_TO_FLATTEN);
    f.add(id == 0, fail::ORDER_TABLE);
    id
}

fn cancel(sized: &Sized<'_>, f: &mut impl Failures) -> OrderId {
    rate(sized, f);
    match sized.target {
        Target::Open(order) => return order.id,
        Target::Unseen => {}
        Target::UnseenNoRoom => f.add(true, fail::NO_ROOM_FOR_KEY),
        Target::Final => f.add(true, fail::ORDER_TERMINAL),
        Target::Unknown | Target::None => f.add(true, fail::UNKNOWN_ORDER),
    }
    0
}

fn amend(gate: &Gate, sized: &Sized<'_>, f: &mut impl Failures) -> OrderId {
    rate(sized, f);
    let order = match sized.target {
        Target::Open(order) => order,
        Target::Final => {
            f.add(true, fail::ORDER_TERMINAL);
            return 0;
        }
        _ => {
            f.add(true, fail::UNKNOWN_ORDER);
            return 0;
        }
    };
    let intent = &sized.intent;
    let ours = order.symbol == intent.symbol && order.order_type == OrderType::Limit;
    f.add(!ours, fail::UNKNOWN_ORDER);
    f.add(order.state == OrderState::PendingCancel, fail::ORDER_TERMINAL);
    f.add(order.amend_qty != 0, fail::AMEND_PENDING);
    f.add(intent.qty <= order.cum_qty, fail::BAD_QTY);
    limit_shape(sized, f);
    let worst = sizes(gate, sized, f);
    price(gate, sized, f);
    shared_rates(gate, sized, f);
    conduct(gate, sized, &worst, f);
    order.id
}

/// Which bucket an intent drains, if any. An operator's mass cancel always passes; nothing slows a force flat.
pub(in crate::gate) const fn bucket(kind: IntentKind, operator: bool) -> Option<Bucket> {
    match kind {
        IntentKind::New | IntentKind::Amend => Some(Bucket::Orders),
        IntentKind::MassCancel if operator => None,
        IntentKind::Cancel | IntentKind::MassCancel => Some(Bucket::Cancels),
        IntentKind::ForceFlat => None,
    }
}

/// The two rate buckets of a strategy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gate) enum Bucket {
    Orders,
    Cancels,
}

impl Bucket {
    pub const fn of(self, tables: &StrategyTables) -> (&Rate, u64) {
        let StrategyLimits { orders, cancels, .. } = &tables.limits;
        match self {
            Self::Orders => (orders, tables.orders_arrival_ns),
            Self::Cancels => (cancels, tables.cancels_arrival_ns),
        }
    }
}

#[inline(always)]
fn rate(sized: &Sized<'_>, f: &mut impl Failures) {
    let origin = &sized.origin;
    let Some(bucket) = bucket(origin.kind, origin.is_operator()) else { return };
    let (rate, arrival_ns) = bucket.of(origin.tables);
    let bit = match bucket {
        Bucket::Orders => fail::ORDER_RATE,
        Bucket::Cancels => fail::CANCEL_RATE,
    };
    f.add(!rate.conforms(arrival_ns, origin.req.now_ns), bit);
}

#[inline(always)]
fn new_shape(sized: &Sized<'_>, f: &mut impl Failures) {
    let intent = &sized.intent;
    let market = intent.order_type == OrderType::Market;
    let immediate = matches!(intent.tif, Tif::Ioc | Tif::Fok);
    let post_only = intent.flags & intent_flags::POST_ONLY != 0;
    let by_key = intent.flags & intent_flags::BY_KEY != 0;
    if market {
        f.add(intent.price != 0, fail::BAD_PRICE);
        f.add(intent.qty <= 0, fail::BAD_QTY);
        lot(sized, f);
    } else {
        limit_shape(sized, f);
    }
    f.add((post_only & (market | immediate)) | by_key, fail::BAD_TIF);
}

#[inline(always)]
fn limit_shape(sized: &Sized<'_>, f: &mut impl Failures) {
    let (intent, tick) = (&sized.intent, sized.symbol.symbol.tick);
    f.add(intent.qty <= 0, fail::BAD_QTY);
    f.add(intent.price <= 0, fail::BAD_PRICE);
    // Most symbols have a tick of one scaled unit: no division then.
    f.add(tick != 1 && intent.price % tick != 0, fail::OFF_TICK);
    lot(sized, f);
}

#[inline(always)]
fn lot(sized: &Sized<'_>, f: &mut impl Failures) {
    let lot = sized.symbol.symbol.lot;
    f.add(lot != 1 && sized.intent.qty % lot != 0, fail::OFF_LOT);
}

/// Order size, then worst-case position and gross notional, at every level.
#[inline(always)]
fn sizes(gate: &Gate, sized: &Sized<'_>, f: &mut impl Failures) -> Worst {
    let (symbol, tables) = (sized.symbol, sized.origin.tables);
    let (s, y, g) = (&tables.limits, &symbol.limits, &gate.limits);
    let worst = Worst::of(gate, sized);
    // Terms that add nothing pass a limit that is exceeded already: they can only reduce.
    let (more_qty, more_notional) = (sized.added_qty != 0, worst.added_e16 != 0);
    let notional = worst.notional_e16;
    f.add(worst.overflows, fail::ARITH);
    f.add(sized.qty > s.max_order_qty, fail::QTY_STRATEGY);
    f.add(sized.qty > y.max_order_qty, fail::QTY_SYMBOL);
    f.add(notional > g.max_order_notional.e16, fail::NOTIONAL_GLOBAL);
    f.add(notional > s.max_order_notional.e16, fail::NOTIONAL_STRATEGY);
    f.add(notional > y.max_order_notional.e16, fail::NOTIONAL_SYMBOL);
    f.add(sized.position.is_none() && gate.exposure_store_is_full(symbol), fail::SYMBOLS);
    f.add(more_qty & (worst.position_qty > s.max_position_qty), fail::POSITION_STRATEGY);
    f.add(more_qty & (worst.symbol_qty > y.max_position_qty), fail::POSITION_SYMBOL);
    f.add(more_notional & (worst.strategy_e16 > s.max_gross.e16), fail::GROSS_STRATEGY);
    f.add(more_notional & (worst.account_e16 > worst.account_max.e16), fail::GROSS_ACCOUNT);
    f.add(more_notional & (worst.symbol_e16 > y.max_gross.e16), fail::GROSS_SYMBOL);
    f.add(more_notional & (worst.global_e16 > g.max_gross.e16), fail::GROSS_GLOBAL);
    worst
}

/// The buckets that all strategies share: the symbol's and the venue's.
#[inline(always)]
fn shared_rates(gate: &Gate, sized: &Sized<'_>, f: &mut impl Failures) {
    let (symbol, now_ns) = (sized.symbol, sized.origin.req.now_ns);
    f.add(!symbol.limits.orders.conforms(symbol.orders_arrival_ns, now_ns), fail::SYMBOL_RATE);
    f.add(!gate.limits.orders.conforms(gate.orders_arrival_ns, now_ns), fail::VENUE_RATE);
}

/// May it trade this, now, after what it has done today, and not with itself?
#[inline(always)]
fn conduct(gate: &Gate, sized: &Sized<'_>, worst: &Worst, f: &mut impl Failures) {
    let (tables, now_ns) = (sized.origin.tables, sized.origin.req.now_ns);
    f.add(!gate.entitlements.allow(tables.id, sized.intent.symbol), fail::NOT_ENTITLED);
    f.add(!sized.symbol.limits.hours.are_open(now_ns), fail::OUTSIDE_HOURS);
    // What belongs to a day that is over counts no more.
    let today = now_ns < gate.day_ends_ns;
    let conduct = &tables.conduct;
    let allowance = conduct.message_allowance(&tables.limits);
    f.add(today & (conduct.messages >= allowance), fail::ORDER_TO_TRADE);
    let adds_risk = worst.position_qty > 0;
    f.add(today & (conduct.loss == Loss::Hard), fail::LOSS_HARD);
    f.add(today & (conduct.loss == Loss::Soft) & adds_risk, fail::LOSS_SOFT);
    if tables.limits.self_cross && may_meet_itself(sized) {
        // A copy: what only a rare path reads need not be in memory on the way of every order.
        f.add(gate.own_order_met(&{ *sized }).is_some(), fail::SELF_CROSS);
    }
}

#[inline(always)]
fn repeated(sized: &Sized<'_>, f: &mut impl Failures) {
    let (tables, now_ns) = (sized.origin.tables, sized.origin.req.now_ns);
    let repeats = tables.conduct.repeats_too_often(sized.plan.content, now_ns, &tables.limits);
    f.add(repeats, fail::REPEATED);
}

/// Whether the strategy may have an open order that this one would meet: bounds, so a walk through its orders says more.
#[inline(always)]
fn may_meet_itself(sized: &Sized<'_>) -> bool {
    let Some(position) = sized.position else { return false };
    let market = sized.intent.order_type == OrderType::Market;
    match sized.side {
        Side::Buy => market | (sized.intent.price >= position.lowest_sell),
        Side::Sell => market | (sized.intent.price <= position.highest_buy),
    }
}

impl Gate {
    /// The open order of the same strategy that this one would meet.
    #[cold]
    pub(super) fn own_order_met(&self, sized: &Sized<'_>) -> Option<&Order> {
        let (tables, intent) = (sized.origin.tables, &sized.intent);
        let price = (intent.order_type == OrderType::Limit).then_some(intent.price);
        let others = self.orders.walk(&tables.open).map(|(_, order)| order);
        others
            .filter(|order| {
                order.symbol == intent.symbol && order.side != sized.side && order.leaves_qty() > 0
            })
            .find(|order| order.meets(price))
    }
}

/// The worst case after acceptance, in the direction of the intent's side. Wrapped and meaningless where `overflows`.
pub(super) struct Worst {
    pub added_e16: i128,
    pub notional_e16: i128,
    pub position_qty: i64,
    pub symbol_qty: i64,
    pub strategy_e16: i128,
    pub account_e16: i128,
    pub account_max: Notional,
    pub symbol_e16: i128,
    pub global_e16: i128,
    pub overflows: bool,
}

impl Worst {
    #[inline(always)]
    pub(super) fn of(gate: &Gate, sized: &Sized<'_>) -> Self {
        let (tables, symbol) = (sized.origin.tables, sized.symbol);
        let account = &gate.accounts[usize::from(tables.account)];
        let buys = matches!(sized.side, Side::Buy);
        let all = (symbol.qty, if buys { symbol.open_buys } else { symbol.open_sells });
        let own = match sized.position {
            Some(p) => (p.qty, if buys { p.open_buys } else { p.open_sells }),
            None => (0, 0),
        };
        let worst = |(qty, open): (i64, i64)| {
            let (open, a) = open.overflowing_add(sized.added_qty);
            let (worst, b) = if buys { open.overflowing_add(qty) } else { open.overflowing_sub(qty) };
            (worst, a | b)
        };
        let ((position_qty, a), (symbol_qty, b)) = (worst(own), worst(all));
        let added_e16 = sized.added_e16.unwrap_or(0);
        // Every other level's sum is a part of this one.
        let (global_e16, c) = gate.gross_e16.overflowing_add(added_e16);
        Self {
            added_e16,
            notional_e16: sized.notional_e16.unwrap_or(0),
            position_qty,
            symbol_qty,
            strategy_e16: tables.gross_e16.wrapping_add(added_e16),
            account_e16: account.gross_e16.wrapping_add(added_e16),
            account_max: account.max_gross,
            symbol_e16: symbol.gross_e16.wrapping_add(added_e16),
            global_e16,
            overflows: a | b | c | sized.added_e16.is_none() | sized.notional_e16.is_none(),
        }
    }
}

/// The reference must be sound where it is needed, and a limit price within the collar around it.
#[inline(always)]
fn price(gate: &Gate, sized: &Sized<'_>, f: &mut impl Failures) {
    if !sized.needs_reference {
        return;
    }
    let (price, reference) = (sized.intent.price, sized.reference.price);
    let missing = reference <= 0;
    let limit = sized.intent.order_type == OrderType::Limit;
    let collar_bps = sized.symbol.limits.collar_bps;
    let product = |a: u64, b: u64| u128::from(a) * u128::from(b);
    let width = product(reference.unsigned_abs(), collar_bps.max(0).unsigned_abs());
    let outside = limit & (collar_bps != ABSENT) & (product(price.abs_diff(reference), BPS) > width);
    let stale = sized.reference.age_ns > gate.limits.reference_max_age_ns as u64;
    f.add(missing, fail::REFERENCE_MISSING);
    f.add(!missing & stale, fail::REFERENCE_STALE);
    f.add(sized.crossed, fail::REFERENCE_CROSSED);
    f.add(!missing & outside, fail::COLLAR);
    let ticks = sized.symbol.limits.collar_ticks;
    if ticks != ABSENT {
        let width = product(ticks.unsigned_abs(), sized.symbol.symbol.tick.unsigned_abs());
        let distance = u128::from(price.abs_diff(reference));
        f.add(!missing & limit & (distance > width), fail::COLLAR_TICKS);
    }
}
