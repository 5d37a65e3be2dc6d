//! A symbol's rules at the venue: filters enforced before anything is sent.

use crate::wire::{Filter, SymbolInfo};
use ringfence_ipc::msg::{Command, OrderType, Tif, intent_flags};
use ringfence_ipc::reason::Reason;
use ringfence_ipc::symbol::{DecimalError, Symbol, parse_scaled};

/// Decimals of every number that the venue writes.
pub(crate) const VENUE_DECIMALS: u8 = 8;

/// What the venue asks of orders in one symbol. Bounds are 1e-16; 0: no such bound.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    pub(crate) base: String,
    pub(crate) quote: String,
    pub(crate) amend_allowed: bool,
    trading: bool,
    price: Bounds,
    lot: Bounds,
    market_lot: Bounds,
    min_notional_e16: i128,
    max_notional_e16: i128,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bounds {
    min_e16: i128,
    max_e16: i128,
    step_e16: i128,
}

impl Bounds {
    fn new(min: &str, max: &str, step: &str) -> Result<Self, DecimalError> {
        Ok(Self { min_e16: e16(min)?, max_e16: e16(max)?, step_e16: e16(step)? })
    }

    fn below(self, value_e16: i128) -> bool {
        self.min_e16 > 0 && value_e16 < self.min_e16
    }

    fn above(self, value_e16: i128) -> bool {
        self.max_e16 > 0 && value_e16 > self.max_e16
    }

    /// Steps are counted from zero.
    fn between_steps(self, value_e16: i128) -> bool {
        self.step_e16 > 0 && value_e16 % self.step_e16 != 0
    }
}

/// A bound beyond 64 bits bounds nothing.
fn e16(text: &str) -> Result<i128, DecimalError> {
    match parse_scaled(text, VENUE_DECIMALS) {
        Ok(value) => Ok(i128::from(value) * 10i128.pow(8)),
        Err(DecimalError::Overflow) => Ok(0),
        Err(error) => Err(error),
    }
}

impl Rules {
    pub(crate) fn new(info: &SymbolInfo) -> Result<Self, DecimalError> {
        let mut rules = Self {
            base: info.base_asset.clone(),
            quote: info.quote_asset.clone(),
            amend_allowed: info.amend_allowed,
            trading: info.status == "TRADING",
            ..Self::default()
        };
        for filter in &info.filters {
            match filter {
                Filter::Price { min_price, max_price, tick_size } => {
                    rules.price = Bounds::new(min_price, max_price, tick_size)?;
                }
                Filter::Lot { min_qty, max_qty, step_size } => {
                    rules.lot = Bounds::new(min_qty, max_qty, step_size)?;
                }
                Filter::MarketLot { min_qty, max_qty, step_size } => {
                    rules.market_lot = Bounds::new(min_qty, max_qty, step_size)?;
                }
                Filter::MinNotional { min_notional } => rules.min_notional_e16 = e16(min_notional)?,
                Filter::Notional { min_notional, max_notional } => {
                    rules.min_notional_e16 = e16(min_notional)?;
                    rules.max_notional_e16 = e16(max_notional)?;
                }
                Filter::Other => {}
            }
        }
        Ok(rules)
    }

    /// Whether the venue would take the terms of `command`. A market order's notional is the venue's to judge: only it
    /// knows the price.
    pub(crate) fn check(&self, symbol: &Symbol, command: &Command) -> Result<(), Reason> {
        if !self.trading {
            return Err(Reason::OutsideHours);
        }
        let post_only = command.flags & intent_flags::POST_ONLY != 0;
        let market = command.order_type == OrderType::Market;
        if command.tif == Tif::Day || post_only && (market || command.tif != Tif::Gtc) {
            return Err(Reason::BadTif);
        }
        let qty_e16 = i128::from(command.qty) * 10i128.pow(u32::from(16 - symbol.qty_scale.min(16)));
        let price_e16 = i128::from(command.price) * 10i128.pow(u32::from(16 - symbol.price_scale.min(16)));
        let bounds = if market { &[self.lot, self.market_lot][..] } else { &[self.lot] };
        if qty_e16 <= 0 || bounds.iter().any(|bound| bound.below(qty_e16)) {
            return Err(Reason::BadQty);
        }
        if bounds.iter().any(|bound| bound.above(qty_e16)) {
            return Err(Reason::MaxOrderQty);
        }
        if bounds.iter().any(|bound| bound.between_steps(qty_e16)) {
            return Err(Reason::OffLot);
        }
        if market {
            return Ok(());
        }
        if price_e16 <= 0 || self.price.below(price_e16) || self.price.above(price_e16) {
            return Err(Reason::BadPrice);
        }
        if self.price.between_steps(price_e16) {
            return Err(Reason::OffTick);
        }
        let notional_e16 = i128::from(command.price) * i128::from(command.qty) * symbol.notional_factor();
        if self.min_notional_e16 > 0 && notional_e16 < self.min_notional_e16 {
            return Err(Reason::BadQty);
        }
        if self.max_notional_e16 > 0 && notional_e16 > self.max_notional_e16 {
            return Err(Reason::MaxOrderNotional);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringfence_ipc::msg::{CommandKind, Side};

    #[test]
    fn filters_refuse_what_the_venue_would() {
        let info: SymbolInfo = serde_json::from_str(
            r#"{"symbol":"BTCUSDT","status":"TRADING","baseAsset":"BTC","quoteAsset":"USDT","filters":[
                {"filterType":"PRICE_FILTER","minPrice":"0.01000000","maxPrice":"1000000.00000000","tickSize":"0.01000000"},
                {"filterType":"LOT_SIZE","minQty":"0.00001000","maxQty":"9000.00000000","stepSize":"0.00001000"},
                {"filterType":"ICEBERG_PARTS","limit":10},
                {"filterType":"NOTIONAL","minNotional":"5.00000000","maxNotional":"9000000.00000000"}]}"#,
        )
        .expect("exchangeInfo");
        let rules = Rules::new(&info).expect("rules");
        let symbol = Symbol::new("BTCUSDT", 3, 6, 1, 1).expect("a symbol");
        let command = |price, qty, tif| Command {
            kind: CommandKind::New,
            order_id: 1,
            symbol: 0,
            side: Side::Buy,
            order_type: if price == 0 { OrderType::Market } else { OrderType::Limit },
            tif,
            flags: 0,
            price,
            qty,
            now_ns: 0,
            key: 0,
        };
        for (price, qty, expected) in [
            (60_000_000, 100, Ok(())),
            (60_000_001, 100, Err(Reason::OffTick)),
            (60_000_000, 101, Err(Reason::OffLot)),
            (60_000_000, 1, Err(Reason::BadQty)),
            (60_000_000, 10, Err(Reason::BadQty)),
            (60_000_000, 9_000_000_010, Err(Reason::MaxOrderQty)),
            (60_000_000, 200_000_000, Err(Reason::MaxOrderNotional)),
            (1_000_000_010, 100, Err(Reason::BadPrice)),
            (i64::MAX, i64::MAX, Err(Reason::MaxOrderQty)),
            (-10, 100, Err(Reason::BadPrice)),
            (0, 10, Ok(())),
        ] {
            assert_eq!(rules.check(&symbol, &command(price, qty, Tif::Gtc)), expected, "{price} {qty}");
        }
        assert_eq!(rules.check(&symbol, &command(60_000_000, 100, Tif::Day)), Err(Reason::BadTif));
    }
}
