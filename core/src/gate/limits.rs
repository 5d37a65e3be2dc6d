//! Limits: what was set, and what the checks read.
//!
//! A limit that is not set does not limit. Limits that exist per strategy only take their default from a record of
//! global scope; a symbol's collar overrides the global one.

use ringfence_ipc::journal::LimitRecord;
use ringfence_ipc::reason::{LimitId, Scope};

/// "No limit": what an absent limit reads as.
pub(super) const ABSENT: i64 = i64::MAX;
/// Keys remembered per strategy when no limit says otherwise.
pub(super) const DEFAULT_DEDUP_QUOTA: i64 = 65_536;
const DEFAULT_DEDUP_TTL_NS: i64 = 300_000_000_000;
const DEFAULT_MAX_CLOCK_SKEW_NS: i64 = 1_000_000_000;
const DEFAULT_MARK_INTERVAL_NS: i64 = 100_000_000;
const E8: i128 = 100_000_000;
const DEFAULT_REPEAT_WINDOW_NS: i64 = 1_000_000_000;
pub(super) const NS_PER_S: u64 = 1_000_000_000;
pub(super) const DAY_S: u64 = 86_400;
const COUNT: usize = LimitId::ALL.len();

const _: () =
    assert!(LimitId::StormCheckIntervalNs as usize == COUNT - 1, "ids are dense: they index the set");

/// The limits set for one scope, by number.
#[derive(Clone, Debug)]
pub(super) struct LimitSet([Option<i64>; COUNT]);

impl LimitSet {
    pub const EMPTY: Self = Self([None; COUNT]);

    pub fn get(&self, limit: LimitId) -> Option<i64> {
        self.0[limit as usize]
    }

    pub fn set(&mut self, limit: LimitId, value: i64) {
        self.0[limit as usize] = Some(value).filter(|value| *value != LimitRecord::NOT_SET);
    }

    fn or_absent(&self, limit: LimitId) -> i64 {
        self.get(limit).unwrap_or(ABSENT)
    }

    /// Every limit that is set, in number order.
    pub fn iter(&self) -> impl Iterator<Item = (LimitId, i64)> {
        LimitId::ALL.iter().filter_map(|id| self.get(*id).map(|value| (*id, value)))
    }
}

/// Whether a limit may be set for a scope.
pub(crate) const fn is_legal(scope: Scope, limit: LimitId) -> bool {
    use LimitId as L;
    match scope {
        Scope::Global => !matches!(
            limit,
            L::None
                | L::TtlNs
                | L::Tick
                | L::Lot
                | L::PriceCollarTicks
                | L::TradingOpenS
                | L::TradingCloseS
                | L::DailyLossSoftE8
                | L::DailyLossHardE8
                | L::Entitlement
        ),
        Scope::Account => matches!(limit, L::MaxGrossNotionalE8),
        Scope::Symbol => matches!(
            limit,
            L::MaxOrderQty
                | L::MaxOrderNotionalE8
                | L::PriceCollarBps
                | L::PriceCollarTicks
                | L::MaxPositionQty
                | L::MaxGrossNotionalE8
                | L::OrderRatePerS
                | L::OrderBurst
                | L::TradingOpenS
                | L::TradingCloseS
        ),
        Scope::Strategy => matches!(
            limit,
            L::MaxOrderQty
                | L::MaxOrderNotionalE8
                | L::MaxPositionQty
                | L::MaxGrossNotionalE8
                | L::OrderRatePerS
                | L::OrderBurst
                | L::CancelRatePerS
                | L::CancelBurst
                | L::MaxOpenOrders
                | L::DedupQuota
                | L::SelfCross
                | L::MaxRepeats
                | L::RepeatWindowNs
                | L::MaxOrderToTrade
                | L::OrderToTradeGrace
                | L::DailyLossSoftE8
                | L::DailyLossHardE8
                | L::Entitlement
        ),
    }
}

/// A notional limit as it was set and as the checks compare it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Notional {
    /// At 16 decimals; absent: no sum is beyond it.
    pub e16: i128,
    /// As set, 1e-8; absent: [`ABSENT`].
    pub e8: i64,
}

impl Notional {
    pub fn of(set: &LimitSet, limit: LimitId) -> Self {
        let e8 = set.or_absent(limit);
        Self { e16: if e8 == ABSENT { i128::MAX } else { i128::from(e8) * E8 }, e8 }
    }
}

/// What the checks read of the global scope.
#[derive(Clone, Copy, Debug)]
pub(super) struct GlobalLimits {
    pub max_order_notional: Notional,
    pub max_gross: Notional,
    pub reference_max_age_ns: i64,
    pub market_band_bps: i64,
    pub exposure_max_symbols: i64,
    pub dedup_ttl_ns: u64,
    pub max_clock_skew_ns: i64,
    pub mark_interval_ns: u64,
    pub allow_keyless: bool,
    /// Orders of all strategies together.
    pub orders: Rate,
}

impl GlobalLimits {
    pub fn of(set: &LimitSet) -> Self {
        let with_default = |limit, default: i64| set.get(limit).unwrap_or(default).max(0);
        Self {
            max_order_notional: Notional::of(set, LimitId::MaxOrderNotionalE8),
            max_gross: Notional::of(set, LimitId::MaxGrossNotionalE8),
            reference_max_age_ns: set.or_absent(LimitId::ReferenceMaxAgeNs).max(0),
            market_band_bps: with_default(LimitId::MarketBandBps, 0),
            exposure_max_symbols: set.or_absent(LimitId::ExposureMaxSymbols),
            dedup_ttl_ns: with_default(LimitId::DedupTtlNs, DEFAULT_DEDUP_TTL_NS) as u64,
            max_clock_skew_ns: with_default(LimitId::MaxClockSkewNs, DEFAULT_MAX_CLOCK_SKEW_NS),
            mark_interval_ns: with_default(LimitId::MarkIntervalNs, DEFAULT_MARK_INTERVAL_NS) as u64,
            allow_keyless: set.get(LimitId::AllowKeyless) == Some(1),
            orders: Rate::new(set.get(LimitId::VenueOrderRatePerS), set.get(LimitId::VenueOrderBurst)),
        }
    }
}

/// What the checks read of a symbol.
#[derive(Clone, Copy, Debug)]
pub(super) struct SymbolLimits {
    pub max_order_qty: i64,
    pub max_order_notional: Notional,
    /// [`ABSENT`]: no collar.
    pub collar_bps: i64,
    /// [`ABSENT`]: no collar in ticks.
    pub collar_ticks: i64,
    pub max_position_qty: i64,
    pub max_gross: Notional,
    /// Orders of all strategies in it.
    pub orders: Rate,
    pub hours: Hours,
}

impl SymbolLimits {
    pub fn of(own: &LimitSet, global: &LimitSet) -> Self {
        let collar = own.get(LimitId::PriceCollarBps).or(global.get(LimitId::PriceCollarBps));
        Self {
            max_order_qty: own.or_absent(LimitId::MaxOrderQty),
            max_order_notional: Notional::of(own, LimitId::MaxOrderNotionalE8),
            collar_bps: collar.unwrap_or(ABSENT),
            collar_ticks: own.or_absent(LimitId::PriceCollarTicks),
            max_position_qty: own.or_absent(LimitId::MaxPositionQty),
            max_gross: Notional::of(own, LimitId::MaxGrossNotionalE8),
            orders: Rate::new(own.get(LimitId::OrderRatePerS), own.get(LimitId::OrderBurst)),
            hours: Hours::of(own),
        }
    }
}

impl SymbolLimits {
    /// Whether a price must lie near the reference.
    #[inline(always)]
    pub const fn has_collar(&self) -> bool {
        self.collar_bps != ABSENT || self.collar_ticks != ABSENT
    }
}

/// When a symbol trades, by the time of the day in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hours {
    pub open_s: i64,
    pub close_s: i64,
}

impl Hours {
    fn of(own: &LimitSet) -> Self {
        Self {
            open_s: own.get(LimitId::TradingOpenS).unwrap_or(0),
            close_s: own.get(LimitId::TradingCloseS).unwrap_or(DAY_S as i64),
        }
    }

    /// Open from `open_s` until before `close_s`; past midnight where the close is before the open.
    #[inline(always)]
    pub const fn are_open(&self, now_ns: u64) -> bool {
        if self.open_s == 0 && self.close_s == DAY_S as i64 {
            return true;
        }
        let second = (now_ns / NS_PER_S % DAY_S) as i64;
        let (after_open, before_close) = (second >= self.open_s, second < self.close_s);
        if self.open_s <= self.close_s { after_open & before_close } else { after_open | before_close }
    }
}

/// What the checks read of a strategy.
#[derive(Clone, Copy, Debug)]
pub(super) struct StrategyLimits {
    pub max_order_qty: i64,
    pub max_order_notional: Notional,
    pub max_position_qty: i64,
    pub max_gross: Notional,
    pub max_open_orders: i64,
    /// Orders that would meet the strategy's own are refused.
    pub self_cross: bool,
    pub max_repeats: i64,
    pub repeat_window_ns: u64,
    pub max_order_to_trade: i64,
    pub order_to_trade_grace: i64,
    pub daily_loss_soft: Notional,
    pub daily_loss_hard: Notional,
    pub orders: Rate,
    pub cancels: Rate,
}

impl StrategyLimits {
    pub fn of(own: &LimitSet, global: &LimitSet) -> Self {
        let inherited = |limit| own.get(limit).or(global.get(limit));
        let or_absent = |limit| inherited(limit).unwrap_or(ABSENT);
        Self {
            max_order_qty: or_absent(LimitId::MaxOrderQty),
            max_order_notional: Notional::of(own, LimitId::MaxOrderNotionalE8),
            max_position_qty: or_absent(LimitId::MaxPositionQty),
            max_gross: Notional::of(own, LimitId::MaxGrossNotionalE8),
            max_open_orders: or_absent(LimitId::MaxOpenOrders),
            self_cross: inherited(LimitId::SelfCross) == Some(1),
            max_repeats: or_absent(LimitId::MaxRepeats),
            repeat_window_ns: inherited(LimitId::RepeatWindowNs).unwrap_or(DEFAULT_REPEAT_WINDOW_NS).max(0)
                as u64,
            max_order_to_trade: or_absent(LimitId::MaxOrderToTrade),
            order_to_trade_grace: inherited(LimitId::OrderToTradeGrace).unwrap_or(0).max(0),
            daily_loss_soft: Notional::of(own, LimitId::DailyLossSoftE8),
            daily_loss_hard: Notional::of(own, LimitId::DailyLossHardE8),
            orders: Rate::new(inherited(LimitId::OrderRatePerS), inherited(LimitId::OrderBurst)),
            cancels: Rate::new(inherited(LimitId::CancelRatePerS), inherited(LimitId::CancelBurst)),
        }
    }
}

/// A rate limit as GCRA: an intent conforms when the bucket's theoretical arrival time is at most `tolerance_ns` ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    /// Time that one intent takes to drain, rounded up, ns. 0: no limit.
    interval_ns: u64,
    /// `interval * (burst - 1)`.
    tolerance_ns: u64,
    /// Intents at once.
    pub burst: i64,
}

impl Rate {
    fn new(per_s: Option<i64>, burst: Option<i64>) -> Self {
        let Some(per_s) = per_s.filter(|rate| *rate != ABSENT) else {
            return Self { interval_ns: 0, tolerance_ns: u64::MAX, burst: ABSENT };
        };
        // A rate of 0 lets one burst through and then nothing for the life of any process.
        let interval_ns = if per_s > 0 { NS_PER_S.div_ceil(per_s as u64) } else { u64::MAX / 4 };
        let burst = burst.unwrap_or(per_s).max(1);
        Self { interval_ns, tolerance_ns: interval_ns.saturating_mul(burst as u64 - 1), burst }
    }

    /// Whether one more intent conforms at `now_ns`.
    pub const fn conforms(&self, arrival_ns: u64, now_ns: u64) -> bool {
        arrival_ns <= now_ns.saturating_add(self.tolerance_ns)
    }

    /// The theoretical arrival time after one more intent.
    pub const fn after(&self, arrival_ns: u64, now_ns: u64) -> u64 {
        let base = if arrival_ns > now_ns { arrival_ns } else { now_ns };
        if self.interval_ns == 0 { arrival_ns } else { base.saturating_add(self.interval_ns) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_one_more_does_not() {
        let rate = Rate::new(Some(10), Some(3));
        let mut arrival = 0;
        for _ in 0..3 {
            assert!(rate.conforms(arrival, 1_000));
            arrival = rate.after(arrival, 1_000);
        }
        assert!(!rate.conforms(arrival, 1_000));
        assert!(!rate.conforms(arrival, 100_000_999));
        assert!(rate.conforms(arrival, 100_001_000));
    }

    #[test]
    fn no_rate_never_refuses_and_never_moves() {
        let rate = Rate::new(None, Some(1));
        assert!(rate.conforms(0, 0));
        assert!(rate.conforms(u64::MAX, 0), "whatever a limit that is gone had left in the bucket");
        assert_eq!(rate.after(0, 99), 0);
    }

    #[test]
    fn an_absent_notional_limit_is_beyond_every_sum() {
        let mut set = LimitSet::EMPTY;
        assert_eq!(Notional::of(&set, LimitId::MaxGrossNotionalE8).e16, i128::MAX);
        set.set(LimitId::MaxGrossNotionalE8, 5);
        assert_eq!(Notional::of(&set, LimitId::MaxGrossNotionalE8).e16, 500_000_000);
    }
}
