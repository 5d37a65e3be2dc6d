//! Step 4: every limit. Failures are OR-ed into one set with one branch at the end; the reason is decoded off the hot
//! path, lowest bit first.
//!
//! The order of the bits is the order of the reasons: rates first, so that no journalled refusal escapes them; then what
//! is wrong with the intent itself; then limits; then what a retry may cure.

use ringfence_ipc::msg::{IntentKind, OrderId, OrderState, OrderType, Side, Tif, intent_flags};

use super::Reject;
use super::explain::explain;
use super::exposure::{Sized, Target};
use crate::gate::Gate;
use crate::gate::limits::{ABSENT, Notional, Rate, StrategyLimits};
use crate::gate::tables::StrategyTables;

const BPS: u64 = 10_000;

/// An intent that passed every check. Nothing else becomes a command.
#[derive(Clone, Copy, Debug)]
pub(in crate::gate) struct Approved<'a> {
    pub(super) sized: &'a Sized<'a>,
    /// The new order, or the one that is cancelled or amended; 0: none.
    pub(super) order_id: OrderId,
    _only_risk: (),
}

/// Bits of the failure set.
pub(super) mod fail {
    pub const ORDER_RATE: u32 = 1;
    pub const CANCEL_RATE: u32 = 1 << 1;
    pub const UNKNOWN_SYMBOL: u32 = 1 << 2;
    pub const UNKNOWN_ORDER: u32 = 1 << 3;
    pub const ORDER_TERMINAL: u32 = 1 << 4;
    pub const NO_ROOM_FOR_KEY: u32 = 1 << 5;
    pub const AMEND_PENDING: u32 = 1 << 6;
    pub const BAD_QTY: u32 = 1 << 7;
    pub const BAD_PRICE: u32 = 1 << 8;
    pub const OFF_TICK: u32 = 1 << 9;
    pub const OFF_LOT: u32 = 1 << 10;
    pub const BAD_TIF: u32 = 1 << 11;
    pub const QTY_STRATEGY: u32 = 1 << 12;
    pub const QTY_SYMBOL: u32 = 1 << 13;
    pub const REFERENCE_MISSING: u32 = 1 << 14;
    pub const REFERENCE_STALE: u32 = 1 << 15;
    pub const REFERENCE_CROSSED: u32 = 1 << 16;
    pub const ARITH: u32 = 1 << 17;
    pub const NOTIONAL_GLOBAL: u32 = 1 << 18;
    pub const NOTIONAL_STRATEGY: u32 = 1 << 19;
    pub const NOTIONAL_SYMBOL: u32 = 1 << 20;
    pub const COLLAR: u32 = 1 << 21;
    pub const SYMBOLS: u32 = 1 << 22;
    pub const POSITION_STRATEGY: u32 = 1 << 23;
    pub const POSITION_SYMBOL: u32 = 1 << 24;
    pub const GROSS_STRATEGY: u32 = 1 << 25;
    pub const GROSS_ACCOUNT: u32 = 1 << 26;
    pub const GROSS_SYMBOL: u32 = 1 << 27;
    pub const GROSS_GLOBAL: u32 = 1 << 28;
    pub const OPEN_ORDERS: u32 = 1 << 29;
    pub const ORDER_TABLE: u32 = 1 << 30;
    pub const NOTHING_TO_FLATTEN: u32 = 1 << 31;
}

const fn when(failed: bool, bit: u32) -> u32 {
    if failed { bit } else { 0 }
}

#[inline(always)]
pub(in crate::gate) fn approve<'a>(gate: &Gate, sized: &'a Sized<'a>) -> Result<Approved<'a>, Reject> {
    let (failures, order_id) = match sized.origin.kind {
        IntentKind::New => new(gate, sized),
        IntentKind::Cancel => cancel(sized),
        IntentKind::Amend => amend(gate, sized),
        IntentKind::MassCancel => (rate(sized), 0),
        IntentKind::ForceFlat => flatten(gate, sized),
    };
    if failures == 0 {
        Ok(Approved { sized, order_id, _only_risk: () })
    } else {
        Err(explain(gate, sized, failures))
    }
}

#[inline(always)]
fn new(gate: &Gate, sized: &Sized<'_>) -> (u32, OrderId) {
    let tables = sized.origin.tables;
    let id = gate.orders.next_id(gate.epoch);
    let failures = rate(sized)
        | when(!sized.symbol.known, fail::UNKNOWN_SYMBOL)
        | new_shape(sized)
        | sizes(gate, sized)
        | price(gate, sized)
        | when(i64::from(tables.open.count) >= tables.limits.max_open_orders, fail::OPEN_ORDERS)
        | when(id.is_none(), fail::ORDER_TABLE);
    (failures, id.unwrap_or(0))
}

fn flatten(gate: &Gate, sized: &Sized<'_>) -> (u32, OrderId) {
    let id = gate.orders.next_id(gate.epoch);
    let failures = when(!sized.symbol.known, fail::UNKNOWN_SYMBOL)
        | when(sized.qty == 0, fail::NOTHING_TO_FLATTEN)
        | when(id.is_none(), fail::ORDER_TABLE);
    (failures, id.unwrap_or(0))
}

fn cancel(sized: &Sized<'_>) -> (u32, OrderId) {
    let (failures, id) = match sized.target {
        Target::Open(order) => (0, order.id),
        Target::Unseen => (0, 0),
        Target::UnseenNoRoom => (fail::NO_ROOM_FOR_KEY, 0),
        Target::Final => (fail::ORDER_TERMINAL, 0),
        Target::Unknown | Target::None => (fail::UNKNOWN_ORDER, 0),
    };
    (failures | rate(sized), id)
}

fn amend(gate: &Gate, sized: &Sized<'_>) -> (u32, OrderId) {
    let order = match sized.target {
        Target::Open(order) => order,
        Target::Final => return (fail::ORDER_TERMINAL | rate(sized), 0),
        _ => return (fail::UNKNOWN_ORDER | rate(sized), 0),
    };
    let intent = sized.intent;
    let ours = order.symbol == intent.symbol && order.order_type == OrderType::Limit;
    let failures = rate(sized)
        | when(!ours, fail::UNKNOWN_ORDER)
        | when(order.state == OrderState::PendingCancel, fail::ORDER_TERMINAL)
        | when(order.amend_qty != 0, fail::AMEND_PENDING)
        | when(intent.qty <= order.cum_qty, fail::BAD_QTY)
        | limit_shape(sized)
        | sizes(gate, sized)
        | price(gate, sized);
    (failures, order.id)
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
fn rate(sized: &Sized<'_>) -> u32 {
    let origin = &sized.origin;
    let Some(bucket) = bucket(origin.kind, origin.is_operator()) else { return 0 };
    let (rate, arrival_ns) = bucket.of(origin.tables);
    let bit = match bucket {
        Bucket::Orders => fail::ORDER_RATE,
        Bucket::Cancels => fail::CANCEL_RATE,
    };
    when(!rate.conforms(arrival_ns, origin.req.now_ns), bit)
}

#[inline(always)]
fn new_shape(sized: &Sized<'_>) -> u32 {
    let intent = sized.intent;
    let market = intent.order_type == OrderType::Market;
    let immediate = matches!(intent.tif, Tif::Ioc | Tif::Fok);
    let post_only = intent.flags & intent_flags::POST_ONLY != 0;
    let by_key = intent.flags & intent_flags::BY_KEY != 0;
    let shape = if market {
        when(intent.price != 0, fail::BAD_PRICE) | when(intent.qty <= 0, fail::BAD_QTY) | lot(sized)
    } else {
        limit_shape(sized)
    };
    shape | when((post_only && (market || immediate)) || by_key, fail::BAD_TIF)
}

#[inline(always)]
fn limit_shape(sized: &Sized<'_>) -> u32 {
    let (intent, tick) = (sized.intent, sized.symbol.symbol.tick);
    // Most symbols have a tick of one scaled unit: no division then.
    when(intent.qty <= 0, fail::BAD_QTY)
        | when(intent.price <= 0, fail::BAD_PRICE)
        | when(tick != 1 && intent.price % tick != 0, fail::OFF_TICK)
        | lot(sized)
}

#[inline(always)]
fn lot(sized: &Sized<'_>) -> u32 {
    let lot = sized.symbol.symbol.lot;
    when(lot != 1 && sized.intent.qty % lot != 0, fail::OFF_LOT)
}

/// Order size, then worst-case position and gross notional, at every level.
#[inline(always)]
fn sizes(gate: &Gate, sized: &Sized<'_>) -> u32 {
    let (symbol, tables) = (sized.symbol, sized.origin.tables);
    let (s, y, g) = (&tables.limits, &symbol.limits, &gate.limits);
    let worst = Worst::of(gate, sized);
    // Terms that add nothing pass a limit that is exceeded already: they can only reduce.
    let (more_qty, more_notional) = (sized.added_qty != 0, worst.added_e16 != 0);
    let notional = worst.notional_e16;
    when(worst.overflows, fail::ARITH)
        | when(sized.qty > s.max_order_qty, fail::QTY_STRATEGY)
        | when(sized.qty > y.max_order_qty, fail::QTY_SYMBOL)
        | when(notional > g.max_order_notional.e16, fail::NOTIONAL_GLOBAL)
        | when(notional > s.max_order_notional.e16, fail::NOTIONAL_STRATEGY)
        | when(notional > y.max_order_notional.e16, fail::NOTIONAL_SYMBOL)
        | when(sized.position.is_none() && gate.exposure_store_is_full(symbol), fail::SYMBOLS)
        | when(more_qty & (worst.position_qty > s.max_position_qty), fail::POSITION_STRATEGY)
        | when(more_qty & (worst.symbol_qty > y.max_position_qty), fail::POSITION_SYMBOL)
        | when(more_notional & (worst.strategy_e16 > s.max_gross.e16), fail::GROSS_STRATEGY)
        | when(more_notional & (worst.account_e16 > worst.account_max.e16), fail::GROSS_ACCOUNT)
        | when(more_notional & (worst.symbol_e16 > y.max_gross.e16), fail::GROSS_SYMBOL)
        | when(more_notional & (worst.global_e16 > g.max_gross.e16), fail::GROSS_GLOBAL)
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
fn price(gate: &Gate, sized: &Sized<'_>) -> u32 {
    if !sized.needs_reference {
        return 0;
    }
    let (price, reference) = (sized.intent.price, sized.reference.price);
    let missing = reference <= 0;
    let limit = sized.intent.order_type == OrderType::Limit;
    let collar_bps = sized.symbol.limits.collar_bps;
    let product = |a: u64, b: u64| u128::from(a) * u128::from(b);
    let width = product(reference.unsigned_abs(), collar_bps.max(0).unsigned_abs());
    let outside = limit & (collar_bps != ABSENT) & (product(price.abs_diff(reference), BPS) > width);
    when(missing, fail::REFERENCE_MISSING)
        | when(
            !missing & (sized.reference.age_ns > gate.limits.reference_max_age_ns as u64),
            fail::REFERENCE_STALE,
        )
        | when(sized.crossed, fail::REFERENCE_CROSSED)
        | when(!missing & outside, fail::COLLAR)
}
