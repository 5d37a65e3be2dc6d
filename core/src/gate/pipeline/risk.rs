//! Step 4: every limit. Failures are OR-ed into one set with one branch at the end; the reason is decoded off the hot
//! path, lowest bit first.
//!
//! The order of the bits is the order of the reasons: rates first, so that no journalled refusal escapes them; then what
//! is wrong with the intent itself; then limits; then what a retry may cure.

use ringfence_ipc::msg::{IntentKind, OrderId, OrderState, OrderType, Side, Tif, intent_flags};
use ringfence_ipc::reason::{LimitId, Reason};

use super::Reject;
use super::exposure::{Sized, Target};
use crate::gate::Gate;
use crate::gate::limits::{ABSENT, Rate, StrategyLimits, notional_e16};
use crate::gate::tables::StrategyTables;

const BPS: i128 = 10_000;
const E8: i128 = 100_000_000;

/// An intent that passed every check. Nothing else becomes a command.
#[derive(Clone, Copy, Debug)]
pub(in crate::gate) struct Approved<'a> {
    pub(super) sized: Sized<'a>,
    /// The new order, or the one that is cancelled or amended; 0: none.
    pub(super) order_id: OrderId,
    _only_risk: (),
}

/// What step 4 says.
#[derive(Clone, Copy, Debug)]
pub(in crate::gate) enum Judgement<'a> {
    Approved(Approved<'a>),
    Refused(Sized<'a>, Reject),
}

/// Bits of the failure set.
mod fail {
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

pub(in crate::gate) fn judge<'a>(gate: &Gate, sized: Sized<'a>) -> Judgement<'a> {
    let (failures, order_id) = match sized.origin.kind {
        IntentKind::New => {
            let id = gate.orders.next_id(gate.epoch);
            let open = i64::from(sized.origin.tables.open.count);
            let failures = rate(&sized)
                | when(!sized.symbol.known, fail::UNKNOWN_SYMBOL)
                | new_shape(&sized)
                | sizes(gate, &sized)
                | price(gate, &sized)
                | when(open >= sized.origin.tables.limits.max_open_orders, fail::OPEN_ORDERS)
                | when(id.is_none(), fail::ORDER_TABLE);
            (failures, id.unwrap_or(0))
        }
        IntentKind::Cancel => cancel(&sized),
        IntentKind::Amend => amend(gate, &sized),
        IntentKind::MassCancel => (rate(&sized), 0),
        IntentKind::ForceFlat => {
            let id = gate.orders.next_id(gate.epoch);
            let failures = when(!sized.symbol.known, fail::UNKNOWN_SYMBOL)
                | when(sized.qty == 0, fail::NOTHING_TO_FLATTEN)
                | when(id.is_none(), fail::ORDER_TABLE);
            (failures, id.unwrap_or(0))
        }
    };
    if failures == 0 {
        Judgement::Approved(Approved { sized, order_id, _only_risk: () })
    } else {
        Judgement::Refused(sized, explain(gate, &sized, failures))
    }
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
    let intent = &sized.intent;
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

fn rate(sized: &Sized<'_>) -> u32 {
    let origin = &sized.origin;
    let Some(bucket) = bucket(origin.kind, origin.ext.is_some()) else { return 0 };
    let (rate, arrival_ns) = bucket.of(origin.tables);
    let bit = match bucket {
        Bucket::Orders => fail::ORDER_RATE,
        Bucket::Cancels => fail::CANCEL_RATE,
    };
    when(!rate.conforms(arrival_ns, origin.req.now_ns), bit)
}

fn new_shape(sized: &Sized<'_>) -> u32 {
    let intent = &sized.intent;
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

fn limit_shape(sized: &Sized<'_>) -> u32 {
    let (intent, tick) = (&sized.intent, sized.symbol.symbol.tick);
    // Most symbols have a tick of one scaled unit: no division then.
    when(intent.qty <= 0, fail::BAD_QTY)
        | when(intent.price <= 0, fail::BAD_PRICE)
        | when(tick != 1 && intent.price % tick != 0, fail::OFF_TICK)
        | lot(sized)
}

fn lot(sized: &Sized<'_>) -> u32 {
    let lot = sized.symbol.symbol.lot;
    when(lot != 1 && sized.intent.qty % lot != 0, fail::OFF_LOT)
}

/// Order size, then worst-case position and gross notional, at every level.
fn sizes(gate: &Gate, sized: &Sized<'_>) -> u32 {
    let (symbol, tables) = (sized.symbol, sized.origin.tables);
    let (s, y, g) = (&tables.limits, &symbol.limits, &gate.limits);
    let order = when(sized.qty > s.max_order_qty, fail::QTY_STRATEGY)
        | when(sized.qty > y.max_order_qty, fail::QTY_SYMBOL);
    let Some(worst) = Worst::of(gate, sized) else { return order | fail::ARITH };
    let notional = worst.notional_e16;
    // Terms that add nothing pass a limit that is exceeded already: they can only reduce.
    let (more_qty, more_notional) = (sized.added_qty != 0, sized.added_e16 != Some(0));
    order
        | when(notional > notional_e16(g.max_order_notional_e8), fail::NOTIONAL_GLOBAL)
        | when(notional > notional_e16(s.max_order_notional_e8), fail::NOTIONAL_STRATEGY)
        | when(notional > notional_e16(y.max_order_notional_e8), fail::NOTIONAL_SYMBOL)
        | when(sized.position.is_none() && gate.exposure_store_is_full(symbol), fail::SYMBOLS)
        | when(more_qty & (worst.position_qty > s.max_position_qty), fail::POSITION_STRATEGY)
        | when(more_qty & (worst.symbol_qty > y.max_position_qty), fail::POSITION_SYMBOL)
        | when(more_notional & (worst.strategy_e16 > notional_e16(s.max_gross_e8)), fail::GROSS_STRATEGY)
        | when(more_notional & (worst.account_e16 > notional_e16(worst.account_max_e8)), fail::GROSS_ACCOUNT)
        | when(more_notional & (worst.symbol_e16 > notional_e16(y.max_gross_e8)), fail::GROSS_SYMBOL)
        | when(more_notional & (worst.global_e16 > notional_e16(g.max_gross_e8)), fail::GROSS_GLOBAL)
}

/// The worst case after acceptance, in the direction of the intent's side.
struct Worst {
    notional_e16: i128,
    position_qty: i64,
    symbol_qty: i64,
    strategy_e16: i128,
    account_e16: i128,
    account_max_e8: i64,
    symbol_e16: i128,
    global_e16: i128,
}

impl Worst {
    fn of(gate: &Gate, sized: &Sized<'_>) -> Option<Self> {
        let (tables, symbol) = (sized.origin.tables, sized.symbol);
        let account = &gate.accounts[usize::from(tables.account)];
        let added = sized.added_e16?;
        let (own, all) = match (sized.side, sized.position) {
            (Side::Buy, Some(p)) => ((p.qty, p.open_buys), (symbol.qty, symbol.open_buys)),
            (Side::Sell, Some(p)) => ((p.qty, p.open_sells), (symbol.qty, symbol.open_sells)),
            (Side::Buy, None) => ((0, 0), (symbol.qty, symbol.open_buys)),
            (Side::Sell, None) => ((0, 0), (symbol.qty, symbol.open_sells)),
        };
        let sign = sized.side.sign();
        let worst =
            |(qty, open): (i64, i64)| open.checked_add(sized.added_qty)?.checked_add(qty.checked_mul(sign)?);
        Some(Self {
            notional_e16: sized.notional_e16?,
            position_qty: worst(own)?,
            symbol_qty: worst(all)?,
            strategy_e16: tables.gross_e16.checked_add(added)?,
            account_e16: account.gross_e16.checked_add(added)?,
            account_max_e8: account.max_gross_e8,
            symbol_e16: symbol.gross_e16.checked_add(added)?,
            global_e16: gate.gross_e16.checked_add(added)?,
        })
    }
}

/// The reference must be sound where it is needed, and a limit price within the collar around it.
fn price(gate: &Gate, sized: &Sized<'_>) -> u32 {
    if !sized.needs_reference {
        return 0;
    }
    let age_ns = i64::try_from(sized.reference.age_ns).unwrap_or(i64::MAX);
    let missing = sized.reference.price <= 0;
    let reference = i128::from(sized.reference.price);
    let limit = sized.intent.order_type == OrderType::Limit;
    let collar_bps = sized.symbol.limits.collar_bps;
    let distance = (i128::from(sized.intent.price) - reference).abs();
    let outside = limit && collar_bps != ABSENT && distance * BPS > reference * i128::from(collar_bps);
    when(missing, fail::REFERENCE_MISSING)
        | when(!missing && age_ns > gate.limits.reference_max_age_ns, fail::REFERENCE_STALE)
        | when(sized.crossed, fail::REFERENCE_CROSSED)
        | when(!missing && outside, fail::COLLAR)
}

/// The reason of the lowest failure bit, with the numbers behind it.
#[cold]
fn explain(gate: &Gate, sized: &Sized<'_>, failures: u32) -> Reject {
    let (tables, symbol, intent) = (sized.origin.tables, sized.symbol, &sized.intent);
    let (s, y, g) = (&tables.limits, &symbol.limits, &gate.limits);
    let bit = failures & failures.wrapping_neg();
    let notional = |limit| {
        let observed = sized.notional_e16.map_or(i64::MAX, ceil_e8);
        Reject::limit(Reason::MaxOrderNotional, LimitId::MaxOrderNotionalE8, observed, limit)
    };
    let worst = Worst::of(gate, sized);
    let position = |observed: Option<i64>, limit| {
        Reject::limit(Reason::PositionLimit, LimitId::MaxPositionQty, observed.unwrap_or(i64::MAX), limit)
    };
    let gross = |observed: Option<i128>, limit| {
        let observed = observed.map_or(i64::MAX, ceil_e8);
        Reject::limit(Reason::GrossNotionalLimit, LimitId::MaxGrossNotionalE8, observed, limit)
    };
    let qty = |limit| Reject::limit(Reason::MaxOrderQty, LimitId::MaxOrderQty, sized.qty, limit);
    match bit {
        fail::ORDER_RATE => Reject::limit(
            Reason::OrderRate,
            LimitId::OrderBurst,
            s.orders.burst.saturating_add(1),
            s.orders.burst,
        ),
        fail::CANCEL_RATE => Reject::limit(
            Reason::CancelRate,
            LimitId::CancelBurst,
            s.cancels.burst.saturating_add(1),
            s.cancels.burst,
        ),
        fail::UNKNOWN_SYMBOL => Reject::plain(Reason::UnknownSymbol),
        fail::UNKNOWN_ORDER => Reject::plain(Reason::UnknownOrder),
        fail::ORDER_TERMINAL => Reject::plain(Reason::OrderTerminal),
        fail::NO_ROOM_FOR_KEY => Reject::plain(Reason::DedupBusy),
        fail::AMEND_PENDING => Reject::plain(Reason::VenueBusy),
        fail::BAD_QTY => Reject::limit(Reason::BadQty, LimitId::None, intent.qty, 1),
        fail::BAD_PRICE => Reject::limit(Reason::BadPrice, LimitId::None, intent.price, 0),
        fail::OFF_TICK => Reject::limit(Reason::OffTick, LimitId::Tick, intent.price, symbol.symbol.tick),
        fail::OFF_LOT => Reject::limit(Reason::OffLot, LimitId::Lot, intent.qty, symbol.symbol.lot),
        fail::BAD_TIF => Reject::limit(Reason::BadTif, LimitId::None, intent.tif as i64, 0),
        fail::QTY_STRATEGY => qty(s.max_order_qty),
        fail::QTY_SYMBOL => qty(y.max_order_qty),
        fail::REFERENCE_MISSING => Reject::plain(Reason::ReferenceMissing),
        fail::REFERENCE_STALE => {
            let age_ns = i64::try_from(sized.reference.age_ns).unwrap_or(i64::MAX);
            Reject::limit(Reason::ReferenceStale, LimitId::ReferenceMaxAgeNs, age_ns, g.reference_max_age_ns)
        }
        fail::REFERENCE_CROSSED => Reject::plain(Reason::ReferenceCrossed),
        fail::ARITH => Reject::plain(Reason::ArithOverflow),
        fail::NOTIONAL_GLOBAL => notional(g.max_order_notional_e8),
        fail::NOTIONAL_STRATEGY => notional(s.max_order_notional_e8),
        fail::NOTIONAL_SYMBOL => notional(y.max_order_notional_e8),
        fail::COLLAR => Reject::limit(
            Reason::PriceCollar,
            LimitId::PriceCollarBps,
            distance_bps(intent.price, sized.reference.price),
            y.collar_bps,
        ),
        fail::SYMBOLS => gate.exposure_store_reject(symbol),
        fail::POSITION_STRATEGY => position(worst.map(|w| w.position_qty), s.max_position_qty),
        fail::POSITION_SYMBOL => position(worst.map(|w| w.symbol_qty), y.max_position_qty),
        fail::GROSS_STRATEGY => gross(worst.map(|w| w.strategy_e16), s.max_gross_e8),
        fail::GROSS_ACCOUNT => {
            let limit = worst.as_ref().map_or(0, |w| w.account_max_e8);
            gross(worst.map(|w| w.account_e16), limit)
        }
        fail::GROSS_SYMBOL => gross(worst.map(|w| w.symbol_e16), y.max_gross_e8),
        fail::GROSS_GLOBAL => gross(worst.map(|w| w.global_e16), g.max_gross_e8),
        fail::OPEN_ORDERS => Reject::limit(
            Reason::OpenOrders,
            LimitId::MaxOpenOrders,
            i64::from(tables.open.count) + 1,
            s.max_open_orders,
        ),
        fail::ORDER_TABLE => Reject::limit(
            Reason::OrderTableFull,
            LimitId::OrderTableSlots,
            gate.orders.open() as i64 + 1,
            gate.orders.len() as i64,
        ),
        _ => Reject::plain(Reason::NothingToFlatten),
    }
}

/// A notional in 1e-8, rounded up, saturating: an observed value never looks like it passed.
fn ceil_e8(e16: i128) -> i64 {
    let up = if e16 % E8 > 0 { 1 } else { 0 };
    i64::try_from(e16 / E8 + up).unwrap_or(i64::MAX)
}

/// Signed distance to the reference in basis points, rounded away from zero, saturating.
fn distance_bps(price: i64, reference: i64) -> i64 {
    let (distance, reference) = (i128::from(price) - i128::from(reference), i128::from(reference).max(1));
    let magnitude = (distance.abs() * BPS + reference - 1) / reference;
    i64::try_from(magnitude * distance.signum()).unwrap_or(if distance < 0 { i64::MIN } else { i64::MAX })
}
