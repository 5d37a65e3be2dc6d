//! The reason and the numbers behind a refusal of step 4. Off the hot path.

use ringfence_ipc::reason::{LimitId, Reason};

use super::Reject;
use super::exposure::Sized;
use super::risk::{Worst, fail};
use crate::gate::Gate;
use crate::gate::limits::{DAY_S, NS_PER_S, Notional, Rate};
use crate::gate::orders::Order;

const BPS: i128 = 10_000;
const E8: i128 = 100_000_000;

/// The reason of the lowest failure bit.
#[cold]
pub(super) fn explain(gate: &Gate, sized: &Sized<'_>, failures: u64) -> Reject {
    let (tables, symbol, intent) = (sized.origin.tables, sized.symbol, &sized.intent);
    match failures & failures.wrapping_neg() {
        fail::ORDER_RATE => rate(Reason::OrderRate, LimitId::OrderBurst, &tables.limits.orders),
        fail::CANCEL_RATE => rate(Reason::CancelRate, LimitId::CancelBurst, &tables.limits.cancels),
        fail::SYMBOL_RATE => rate(Reason::OrderRate, LimitId::OrderBurst, &symbol.limits.orders),
        fail::VENUE_RATE => rate(Reason::OrderRate, LimitId::VenueOrderBurst, &gate.limits.orders),
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
        fail::ORDER_TABLE => {
            let (open, slots) = (gate.orders.open() as i64, gate.orders.len() as i64);
            Reject::limit(Reason::OrderTableFull, LimitId::OrderTableSlots, open + 1, slots)
        }
        fail::OPEN_ORDERS => {
            let (open, max) = (i64::from(tables.open.count), tables.limits.max_open_orders);
            Reject::limit(Reason::OpenOrders, LimitId::MaxOpenOrders, open + 1, max)
        }
        fail::NOTHING_TO_FLATTEN => Reject::plain(Reason::NothingToFlatten),
        fail::REPEATED
        | fail::ORDER_TO_TRADE
        | fail::OUTSIDE_HOURS
        | fail::NOT_ENTITLED
        | fail::SELF_CROSS
        | fail::LOSS_HARD
        | fail::LOSS_SOFT => explain_conduct(gate, sized, failures & failures.wrapping_neg()),
        bit => explain_limit(gate, sized, bit),
    }
}

fn explain_conduct(gate: &Gate, sized: &Sized<'_>, bit: u64) -> Reject {
    let (tables, symbol) = (sized.origin.tables, sized.symbol);
    let (limits, conduct) = (&tables.limits, &tables.conduct);
    let loss = |reason, limit_id, limit: Notional| {
        Reject::limit(reason, limit_id, ceil_e8(conduct.day_loss_e16()), limit.e8)
    };
    match bit {
        fail::REPEATED => {
            let (again, max) = (conduct.repeats.saturating_add(1), limits.max_repeats);
            Reject::limit(Reason::RepeatedOrder, LimitId::MaxRepeats, again, max)
        }
        fail::ORDER_TO_TRADE => {
            let (messages, max) = (conduct.messages.saturating_add(1), conduct.message_allowance(limits));
            Reject::limit(Reason::OrderToTrade, LimitId::MaxOrderToTrade, messages, max)
        }
        fail::OUTSIDE_HOURS => {
            let second = (sized.origin.req.now_ns / NS_PER_S % DAY_S) as i64;
            let hours = symbol.limits.hours;
            let (limit_id, limit) = if second < hours.open_s {
                (LimitId::TradingOpenS, hours.open_s)
            } else {
                (LimitId::TradingCloseS, hours.close_s)
            };
            Reject::limit(Reason::OutsideHours, limit_id, second, limit)
        }
        fail::SELF_CROSS => {
            let met = gate.own_order_met(sized).and_then(Order::limit_price).unwrap_or(0);
            Reject::limit(Reason::SelfCross, LimitId::SelfCross, sized.intent.price, met)
        }
        fail::LOSS_HARD => loss(Reason::DailyLossHard, LimitId::DailyLossHardE8, limits.daily_loss_hard),
        fail::LOSS_SOFT => loss(Reason::DailyLossSoft, LimitId::DailyLossSoftE8, limits.daily_loss_soft),
        _ => Reject::limit(Reason::NotEntitled, LimitId::Entitlement, i64::from(sized.intent.symbol) + 1, 0),
    }
}

fn explain_limit(gate: &Gate, sized: &Sized<'_>, bit: u64) -> Reject {
    let (s, y, g) = (&sized.origin.tables.limits, &sized.symbol.limits, &gate.limits);
    let worst = Worst::of(gate, sized);
    let qty = |limit| Reject::limit(Reason::MaxOrderQty, LimitId::MaxOrderQty, sized.qty, limit);
    let position = |qty, limit| Reject::limit(Reason::PositionLimit, LimitId::MaxPositionQty, qty, limit);
    let notional = |limit: Notional| {
        let observed_e8 = ceil_e8(worst.notional_e16);
        Reject::limit(Reason::MaxOrderNotional, LimitId::MaxOrderNotionalE8, observed_e8, limit.e8)
    };
    let gross = |sum_e16, limit: Notional| {
        Reject::limit(Reason::GrossNotionalLimit, LimitId::MaxGrossNotionalE8, ceil_e8(sum_e16), limit.e8)
    };
    match bit {
        fail::QTY_STRATEGY => qty(s.max_order_qty),
        fail::QTY_SYMBOL => qty(y.max_order_qty),
        fail::REFERENCE_MISSING => Reject::plain(Reason::ReferenceMissing),
        fail::REFERENCE_STALE => {
            let age_ns = i64::try_from(sized.reference.age_ns).unwrap_or(i64::MAX);
            Reject::limit(Reason::ReferenceStale, LimitId::ReferenceMaxAgeNs, age_ns, g.reference_max_age_ns)
        }
        fail::REFERENCE_CROSSED => Reject::plain(Reason::ReferenceCrossed),
        fail::NOTIONAL_GLOBAL => notional(g.max_order_notional),
        fail::NOTIONAL_STRATEGY => notional(s.max_order_notional),
        fail::NOTIONAL_SYMBOL => notional(y.max_order_notional),
        fail::COLLAR => {
            let distance = distance_bps(sized.intent.price, sized.reference.price);
            Reject::limit(Reason::PriceCollar, LimitId::PriceCollarBps, distance, y.collar_bps)
        }
        fail::COLLAR_TICKS => {
            let (price, reference) = (sized.intent.price, sized.reference.price);
            let tick = sized.symbol.symbol.tick.max(1).unsigned_abs();
            let ticks = i64::try_from(price.abs_diff(reference).div_ceil(tick)).unwrap_or(i64::MAX);
            let signed = if price < reference { -ticks } else { ticks };
            Reject::limit(Reason::PriceCollar, LimitId::PriceCollarTicks, signed, y.collar_ticks)
        }
        fail::SYMBOLS => gate.exposure_store_reject(sized.symbol),
        fail::POSITION_STRATEGY => position(worst.position_qty, s.max_position_qty),
        fail::POSITION_SYMBOL => position(worst.symbol_qty, y.max_position_qty),
        fail::GROSS_STRATEGY => gross(worst.strategy_e16, s.max_gross),
        fail::GROSS_ACCOUNT => gross(worst.account_e16, worst.account_max),
        fail::GROSS_SYMBOL => gross(worst.symbol_e16, y.max_gross),
        fail::GROSS_GLOBAL => gross(worst.global_e16, g.max_gross),
        _ => Reject::plain(Reason::ArithOverflow),
    }
}

fn rate(reason: Reason, limit_id: LimitId, rate: &Rate) -> Reject {
    Reject::limit(reason, limit_id, rate.burst.saturating_add(1), rate.burst)
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
