//! Limits as a configuration says them, and as journal records set them.

use ringfence_ipc::journal::LimitRecord;
use ringfence_ipc::reason::{LimitId, Scope};
use ringfence_ipc::symbol::parse_scaled;
use serde::{Deserialize, Serialize};

use super::ConfigError;

/// Limits of one scope. Absent = no limit. Money and quantities are decimal texts, so that nothing is rounded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Largest order, in the symbol's quantity unit (strategy and symbol scope).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_order_qty: Option<String>,
    /// Largest order, quote currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_order_notional: Option<String>,
    /// Largest worst-case position per symbol, quantity unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_position_qty: Option<String>,
    /// Largest worst-case gross notional, quote currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_gross_notional: Option<String>,
    /// Distance to the reference price.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price_collar_bps: Option<i64>,
    /// Oldest reference the collar accepts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference_max_age_ms: Option<i64>,
    /// Market orders count at reference x (1 + band).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub market_band_bps: Option<i64>,
    /// Orders per second, sustained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_rate_per_s: Option<i64>,
    /// Orders at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_burst: Option<i64>,
    /// Cancels per second, sustained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancel_rate_per_s: Option<i64>,
    /// Cancels at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancel_burst: Option<i64>,
    /// Open orders.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_open_orders: Option<i64>,
    /// Distinct symbols with exposure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exposure_max_symbols: Option<i64>,
    /// How long keys are remembered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dedup_ttl_s: Option<i64>,
    /// Keys remembered per strategy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dedup_quota: Option<i64>,
    /// How far a client's clock may run ahead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_clock_skew_ms: Option<i64>,
    /// Shortest time between two journalled marks of a symbol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mark_interval_ms: Option<i64>,
    /// 1: intents without a key are allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_keyless: Option<i64>,
    /// 1: an order that would meet an open order of its own strategy is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub self_cross: Option<i64>,
    /// Identical orders in a row within the window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_repeats: Option<i64>,
    /// How long a row of identical orders lasts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeat_window_ms: Option<i64>,
    /// Messages per fill, over a day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_order_to_trade: Option<i64>,
    /// Messages of a day that need no fill.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_to_trade_grace: Option<i64>,
    /// Loss of a day beyond which only what reduces a position passes, quote currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub daily_loss_soft: Option<String>,
    /// Loss of a day beyond which no order passes but a force flat, quote currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub daily_loss_hard: Option<String>,
    /// Orders to the venue per second, all strategies together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub venue_order_rate_per_s: Option<i64>,
    /// Orders to the venue at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub venue_order_burst: Option<i64>,
    /// Distance to the reference price.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price_collar_ticks: Option<i64>,
    /// When the symbol begins to trade, seconds since midnight UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trading_open_s: Option<i64>,
    /// When the symbol ends to trade, seconds since midnight UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trading_close_s: Option<i64>,
}

impl Limits {
    /// Appends a record per limit that is set.
    ///
    /// # Errors
    /// [`ConfigError::Value`] naming the limit.
    pub(super) fn push_records(
        &self,
        scope: Scope,
        scope_id: u16,
        qty_scale: Option<u8>,
        now_ns: u64,
        out: &mut Vec<LimitRecord>,
    ) -> Result<(), ConfigError> {
        let mut set = |limit: LimitId, value: i64| {
            out.push(LimitRecord { scope, scope_id, limit, value, now_ns, config_version: 1 });
        };
        let decimal = |limit: LimitId, text: &str, scale: Option<u8>| {
            let scale = scale.ok_or_else(|| {
                ConfigError::Value(format!(
                    "{scope} limit {limit}: symbols have different quantity scales; set it per [[symbol]] instead"
                ))
            })?;
            parse_scaled(text, scale)
                .map_err(|e| ConfigError::Value(format!("{scope} limit {limit} = \"{text}\": {e}")))
        };
        for (limit, text, scale) in [
            (LimitId::MaxOrderQty, &self.max_order_qty, qty_scale),
            (LimitId::MaxPositionQty, &self.max_position_qty, qty_scale),
            (LimitId::MaxOrderNotionalE8, &self.max_order_notional, Some(8)),
            (LimitId::MaxGrossNotionalE8, &self.max_gross_notional, Some(8)),
            (LimitId::DailyLossSoftE8, &self.daily_loss_soft, Some(8)),
            (LimitId::DailyLossHardE8, &self.daily_loss_hard, Some(8)),
        ] {
            if let Some(text) = text {
                set(limit, decimal(limit, text, scale)?);
            }
        }
        let scaled = |value: Option<i64>, factor: i64| value.map(|v| v.saturating_mul(factor));
        for (limit, value) in [
            (LimitId::PriceCollarBps, self.price_collar_bps),
            (LimitId::ReferenceMaxAgeNs, scaled(self.reference_max_age_ms, 1_000_000)),
            (LimitId::MarketBandBps, self.market_band_bps),
            (LimitId::OrderRatePerS, self.order_rate_per_s),
            (LimitId::OrderBurst, self.order_burst),
            (LimitId::CancelRatePerS, self.cancel_rate_per_s),
            (LimitId::CancelBurst, self.cancel_burst),
            (LimitId::MaxOpenOrders, self.max_open_orders),
            (LimitId::ExposureMaxSymbols, self.exposure_max_symbols),
            (LimitId::DedupTtlNs, scaled(self.dedup_ttl_s, 1_000_000_000)),
            (LimitId::DedupQuota, self.dedup_quota),
            (LimitId::MaxClockSkewNs, scaled(self.max_clock_skew_ms, 1_000_000)),
            (LimitId::MarkIntervalNs, scaled(self.mark_interval_ms, 1_000_000)),
            (LimitId::AllowKeyless, self.allow_keyless),
            (LimitId::SelfCross, self.self_cross),
            (LimitId::MaxRepeats, self.max_repeats),
            (LimitId::RepeatWindowNs, scaled(self.repeat_window_ms, 1_000_000)),
            (LimitId::MaxOrderToTrade, self.max_order_to_trade),
            (LimitId::OrderToTradeGrace, self.order_to_trade_grace),
            (LimitId::VenueOrderRatePerS, self.venue_order_rate_per_s),
            (LimitId::VenueOrderBurst, self.venue_order_burst),
            (LimitId::PriceCollarTicks, self.price_collar_ticks),
            (LimitId::TradingOpenS, self.trading_open_s),
            (LimitId::TradingCloseS, self.trading_close_s),
        ] {
            if let Some(value) = value {
                if value < 0 {
                    return Err(ConfigError::Value(format!(
                        "{scope} limit {limit} = {value} must not be negative"
                    )));
                }
                set(limit, value);
            }
        }
        Ok(())
    }
}
