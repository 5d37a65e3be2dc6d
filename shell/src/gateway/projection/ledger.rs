//! Positions and P&L per strategy and symbol, in integers. The rules are those of `docs/accounting.md`.

use std::collections::BTreeMap;

use ringfence_ipc::msg::{Report, Side, StrategyId, SymbolId};
use ringfence_ipc::symbol::Symbol;

/// What one strategy holds of one symbol, and what that has brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Signed quantity, scaled.
    pub qty: i64,
    /// What the open quantity cost, signed as `qty`, 16 decimals of the quote currency.
    pub cost_e16: i128,
    /// Profit of everything closed, 16 decimals.
    pub realised_e16: i128,
    /// Fees paid, 8 decimals; negative is a rebate.
    pub fees_e8: i128,
    /// Signed cash that trades moved (sales in, purchases out, without fees), 16 decimals.
    pub cash_e16: i128,
    /// Fills booked.
    pub fills: u64,
}

impl Position {
    /// Books one fill. `None`: a sum left 128 bits and nothing was booked.
    #[must_use]
    pub fn booked(mut self, side: Side, qty: i64, price: i64, fee_e8: i64, symbol: &Symbol) -> Option<Self> {
        let unit_e16 = i128::from(price).checked_mul(symbol.notional_factor())?;
        let sign = i128::from(side.sign());
        let held = i128::from(self.qty);
        let closing = if held.signum() == -sign { i128::from(qty).min(held.abs()) } else { 0 };
        if closing > 0 {
            // Truncation toward zero leaves the rest of the cost with the quantity that stays.
            let closed_cost = self.cost_e16.checked_mul(closing)? / held.abs();
            let value = unit_e16.checked_mul(closing)?;
            self.realised_e16 = self.realised_e16.checked_add(held.signum() * value - closed_cost)?;
            self.cost_e16 -= closed_cost;
        }
        let opening = i128::from(qty) - closing;
        self.cost_e16 = self.cost_e16.checked_add(sign * unit_e16.checked_mul(opening)?)?;
        self.cash_e16 = self.cash_e16.checked_sub(sign * unit_e16.checked_mul(i128::from(qty))?)?;
        self.qty = self.qty.checked_add(side.sign().checked_mul(qty)?)?;
        self.fees_e8 += i128::from(fee_e8);
        self.fills += 1;
        Some(self)
    }

    /// What closing at `mark_price` (scaled) would bring beyond the cost, 16 decimals.
    #[must_use]
    pub fn unrealised_e16(&self, mark_price: i64, symbol: &Symbol) -> Option<i128> {
        let value = i128::from(mark_price)
            .checked_mul(symbol.notional_factor())?
            .checked_mul(i128::from(self.qty))?;
        value.checked_sub(self.cost_e16)
    }
}

/// Every position.
#[derive(Default)]
pub struct Ledger {
    positions: BTreeMap<(StrategyId, SymbolId), Position>,
    /// Fills that could not be booked because a sum left 128 bits.
    pub overflows: u64,
}

impl Ledger {
    /// Books the fill that `report` tells.
    pub fn fill(&mut self, report: &Report, symbol: &Symbol) {
        let position = self.positions.entry((report.strategy, report.symbol)).or_default();
        match position.booked(report.side, report.last_qty, report.last_price, report.fee_e8, symbol) {
            Some(booked) => *position = booked,
            None => self.overflows += 1,
        }
    }

    /// Puts a position back as a checkpoint holds it.
    pub fn restore(&mut self, strategy: StrategyId, symbol: SymbolId, position: Position) {
        self.positions.insert((strategy, symbol), position);
    }

    /// Every position, by strategy, then symbol.
    pub fn iter(&self) -> impl Iterator<Item = (StrategyId, SymbolId, &Position)> {
        self.positions.iter().map(|((strategy, symbol), position)| (*strategy, *symbol, position))
    }
}

#[cfg(test)]
#[allow(clippy::inconsistent_digit_grouping, reason = "prices read as units and cents")]
mod tests {
    use super::*;

    fn symbol() -> Symbol {
        Symbol::new("BTCUSDT", 2, 5, 1, 1).unwrap()
    }

    const E16: i128 = 10i128.pow(16);

    #[test]
    fn a_round_trip_realises_the_difference_and_leaves_no_cost() {
        let p = Position::default().booked(Side::Buy, 100_000, 60_000_00, 5, &symbol()).unwrap();
        assert_eq!((p.qty, p.cost_e16), (100_000, 60_000 * E16));
        assert_eq!(p.unrealised_e16(60_100_00, &symbol()), Some(100 * E16));
        let p = p.booked(Side::Sell, 100_000, 60_250_00, 6, &symbol()).unwrap();
        assert_eq!((p.qty, p.cost_e16, p.realised_e16, p.fees_e8), (0, 0, 250 * E16, 11));
        assert_eq!(p.cash_e16, 250 * E16);
    }

    #[test]
    fn a_short_that_turns_long_closes_first_and_opens_at_the_new_price() {
        let p = Position::default().booked(Side::Sell, 100_000, 100_00, 0, &symbol()).unwrap();
        assert_eq!(p.cost_e16, -100 * E16);
        let p = p.booked(Side::Buy, 300_000, 90_00, 0, &symbol()).unwrap();
        assert_eq!((p.qty, p.cost_e16, p.realised_e16), (200_000, 180 * E16, 10 * E16));
    }

    #[test]
    fn closing_a_third_truncates_toward_zero_and_loses_nothing_overall() {
        for side in [Side::Buy, Side::Sell] {
            let mut p = Position::default().booked(side, 3, 1, 0, &symbol()).unwrap();
            p = p.booked(side, 4, 2, 0, &symbol()).unwrap();
            for _ in 0..7 {
                p = p.booked(side.opposite(), 1, 3, 0, &symbol()).unwrap();
            }
            assert_eq!((p.qty, p.cost_e16), (0, 0));
            assert_eq!(p.realised_e16, p.cash_e16);
        }
    }

    #[test]
    fn a_fill_beyond_128_bits_is_refused_not_wrapped() {
        let p = Position { cost_e16: i128::MAX, qty: 1, ..Position::default() };
        assert_eq!(p.booked(Side::Buy, i64::MAX, i64::MAX, 0, &symbol()), None);
    }
}
