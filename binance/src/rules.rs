//! A symbol's rules at the venue: filters enforced before anything is sent.

use crate::wire::{Filter, SymbolInfo};
use ringfence_ipc::msg::{Command, OrderType, Tif, intent_flags};
use ringfence_ipc::reason::Reason;
use ringfence_ipc::symbol::{DecimalError, Symbol, format_scaled, parse_scaled};

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

/// The gate's steps of a symbol are not steps of the venue, or the venue's numbers are finer than the gate can count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// The venue would refuse what the gate lets pass.
    #[error(
        "{symbol}: the gate's {what} is {here}, the venue's is {there}: set `{what}` of the symbol to a multiple of {there}"
    )]
    Between {
        /// The symbol's name.
        symbol: String,
        /// `tick` or `lot`.
        what: &'static str,
        /// As configured.
        here: String,
        /// As the venue says.
        there: String,
    },
    /// A fill could not be booked exactly.
    #[error(
        "{symbol}: the gate's `{what}` is {here}, the venue's {step} needs {there}: raise it, in a new data_dir"
    )]
    Finer {
        /// The symbol's name.
        symbol: String,
        /// `price_scale` or `qty_scale`.
        what: &'static str,
        /// As configured.
        here: u8,
        /// The venue's step, as it says.
        step: String,
        /// What counts it exactly.
        there: u8,
    },
}

/// Without the zeros at its end.
fn short(value_e16: i128) -> String {
    format_scaled(value_e16, 16).trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Decimals that a step needs.
fn decimals(step_e16: i128) -> u8 {
    (0..=16).find(|scale| step_e16 % 10i128.pow(16 - u32::from(*scale)) == 0).unwrap_or(16)
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

    /// Whether the gate's steps are steps of the venue, and the venue's numbers exact in the gate.
    pub(crate) fn fits(&self, symbol: &Symbol) -> Result<(), StepError> {
        let pairs = [
            ("tick", "price_scale", symbol.tick, symbol.price_scale, self.price.step_e16),
            ("lot", "qty_scale", symbol.lot, symbol.qty_scale, self.lot.step_e16),
        ];
        for (what, scale_name, step, scale, there_e16) in pairs.into_iter().filter(|pair| pair.4 > 0) {
            let name = symbol.name().to_owned();
            let here_e16 = i128::from(step) * 10i128.pow(u32::from(16 - scale.min(16)));
            if here_e16 % there_e16 != 0 {
                let (here, there) = (short(here_e16), short(there_e16));
                return Err(StepError::Between { symbol: name, what, here, there });
            }
            let there = decimals(there_e16);
            if there > scale {
                let step = short(there_e16);
                return Err(StepError::Finer { symbol: name, what: scale_name, here: scale, step, there });
            }
        }
        Ok(())
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

    #[test]
    fn steps_that_differ_are_refused_with_both_values() {
        let rules = Rules {
            price: Bounds::new("0", "0", "0.01").expect("bounds"),
            lot: Bounds::new("0", "0", "0.00001").expect("bounds"),
            ..Rules::default()
        };
        let fits = |price_scale, qty_scale, tick, lot| {
            let symbol = Symbol::new("BTCUSDT", price_scale, qty_scale, tick, lot).expect("a symbol");
            rules.fits(&symbol).map_err(|error| error.to_string())
        };
        assert_eq!(fits(2, 5, 1, 1), Ok(()));
        assert_eq!(fits(3, 8, 50, 1_000), Ok(()), "coarser steps are steps of the venue, too");
        for (scales, steps, says) in [
            ((3, 5), (1, 1), "the gate's tick is 0.001, the venue's is 0.01"),
            ((2, 8), (1, 1), "the gate's lot is 0.00000001, the venue's is 0.00001"),
            ((1, 5), (1, 1), "the gate's `price_scale` is 1, the venue's 0.01 needs 2"),
            ((2, 3), (1, 1), "the gate's `qty_scale` is 3, the venue's 0.00001 needs 5"),
        ] {
            let told = fits(scales.0, scales.1, steps.0, steps.1).expect_err(says);
            assert!(told.contains(says), "{told}");
        }
    }
}
