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
        if let Some(text) = &self.max_order_qty {
            set(LimitId::MaxOrderQty, decimal(LimitId::MaxOrderQty, text, qty_scale)?);
        }
        if let Some(text) = &self.max_position_qty {
            set(LimitId::MaxPositionQty, decimal(LimitId::MaxPositionQty, text, qty_scale)?);
        }
        if let Some(text) = &self.max_order_notional {
            set(LimitId::MaxOrderNotionalE8, decimal(LimitId::MaxOrderNotionalE8, text, Some(8))?);
        }
        if let Some(text) = &self.max_gross_notional {
            set(LimitId::MaxGrossNotionalE8, decimal(LimitId::MaxGrossNotionalE8, text, Some(8))?);
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
