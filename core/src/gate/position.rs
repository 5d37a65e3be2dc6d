//! Exact accounting of one position. `docs/accounting.md` is the same in words.

use ringfence_ipc::msg::{AccountId, Side, StrategyId, SymbolId};
use ringfence_ipc::symbol::Symbol;

/// A symbol's contract: what its prices and quantities are worth.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contract {
    /// What `price * qty` is multiplied by to give a notional at 16 decimals.
    factor: i128,
    /// The largest `|price * qty|` whose notional fits.
    max_units: i128,
}

impl Contract {
    pub const fn of(symbol: &Symbol) -> Self {
        let factor = symbol.notional_factor();
        Self { factor, max_units: i128::MAX / factor }
    }

    /// The notional of `units = price * qty` at 16 decimals; `None`: it does not fit.
    pub const fn notional_e16(&self, units: i128) -> Option<i128> {
        // A division at construction instead of a checked 128-bit product on every intent.
        if units > self.max_units || units < -self.max_units {
            None
        } else {
            Some(units.wrapping_mul(self.factor))
        }
    }

    /// As [`Contract::notional_e16`], of units that are part of a notional that fits.
    pub const fn part_e16(&self, units: i128) -> i128 {
        units.wrapping_mul(self.factor)
    }
}

/// One (strategy, symbol) position and what is open on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position {
    /// Signed cost at 16 decimals: what the position would have to bring in to break even.
    pub cost_e16: i128,
    /// Realised profit at 16 decimals, before fees.
    pub realised_e16: i128,
    /// Fees paid, 1e-8.
    pub fees_e8: i128,
    /// Signed scaled quantity.
    pub qty: i64,
    /// Scaled quantity of open buys, at most `i64::MAX` with `qty` added.
    pub open_buys: i64,
    /// Scaled quantity of open sells, likewise.
    pub open_sells: i64,
    /// No open buy is above it, no open sell below the other: bounds, exact when nothing has left since the last time
    /// that side was empty.
    pub highest_buy: i64,
    /// As `highest_buy`.
    pub lowest_sell: i64,
    /// Fills booked.
    pub fills: u64,
    /// Whose it is.
    pub strategy: StrategyId,
    /// Its account.
    pub account: AccountId,
    /// In what.
    pub symbol: SymbolId,
}

/// What a fill makes of a position; `None` of [`Position::filled`]: the numbers would not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Filled {
    /// New signed quantity.
    pub qty: i64,
    /// New signed cost.
    pub cost_e16: i128,
    /// New realised profit.
    pub realised_e16: i128,
    /// New fees.
    pub fees_e8: i128,
    /// Unsigned notional of the fill.
    pub notional_e16: i128,
}

impl Position {
    pub const fn flat(strategy: StrategyId, account: AccountId, symbol: SymbolId) -> Self {
        Self {
            cost_e16: 0,
            realised_e16: 0,
            fees_e8: 0,
            qty: 0,
            open_buys: 0,
            open_sells: 0,
            highest_buy: i64::MIN,
            lowest_sell: i64::MAX,
            fills: 0,
            strategy,
            account,
            symbol,
        }
    }

    /// The position after a fill of `qty > 0` at `price > 0`.
    ///
    /// The part that reduces closes its share of the cost, truncated toward zero; the rest opens at the fill price.
    pub fn filled(
        &self,
        contract: &Contract,
        side: Side,
        qty: i64,
        price: i64,
        fee_e8: i64,
    ) -> Option<Filled> {
        let notional_e16 = contract.notional_e16(i128::from(price) * i128::from(qty))?;
        let signed = qty.checked_mul(side.sign())?;
        let reduces = self.qty != 0 && (self.qty < 0) == matches!(side, Side::Buy);
        let closed = if reduces { qty.min(self.qty.checked_abs()?) } else { 0 };
        let opened = qty - closed;
        let worth = |qty: i64| contract.notional_e16(i128::from(price) * i128::from(qty));
        let sign = i128::from(side.sign());
        let (closed_cost, proceeds) = if closed > 0 {
            (share(self.cost_e16, closed, self.qty.checked_abs()?), -sign * worth(closed)?)
        } else {
            (0, 0)
        };
        Some(Filled {
            qty: self.qty.checked_add(signed)?,
            cost_e16: self.cost_e16.checked_sub(closed_cost)?.checked_add(sign * worth(opened)?)?,
            realised_e16: self.realised_e16.checked_add(proceeds.checked_sub(closed_cost)?)?,
            fees_e8: self.fees_e8.checked_add(i128::from(fee_e8))?,
            notional_e16,
        })
    }

    /// Unrealised profit at `mark`, 16 decimals, saturating; a flat position has none.
    pub fn unrealised_e16(&self, contract: &Contract, mark: i64) -> i128 {
        let units = i128::from(self.qty) * i128::from(mark);
        let worth = contract.notional_e16(units).unwrap_or(if units < 0 { i128::MIN } else { i128::MAX });
        worth.saturating_sub(self.cost_e16)
    }
}

/// `cost * part / whole` truncated toward zero without a 256-bit product; `0 < part <= whole`.
fn share(cost: i128, part: i64, whole: i64) -> i128 {
    let (part, whole) = (i128::from(part), i128::from(whole));
    // Quotient and remainder have the cost's sign, so truncating the remainder's share truncates the whole.
    (cost / whole) * part + (cost % whole) * part / whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book(position: &mut Position, contract: &Contract, side: Side, qty: i64, price: i64, fee_e8: i64) {
        let f = position.filled(contract, side, qty, price, fee_e8).unwrap();
        (position.qty, position.cost_e16) = (f.qty, f.cost_e16);
        (position.realised_e16, position.fees_e8) = (f.realised_e16, f.fees_e8);
    }

    /// Scale 16 in sum: the factor is 1 and the numbers can be read.
    fn plain() -> Contract {
        Contract::of(&Symbol::new("X", 8, 8, 1, 1).unwrap())
    }

    #[test]
    fn average_cost_and_realised_profit_of_a_long_that_is_reduced() {
        let mut p = Position::flat(0, 0, 0);
        book(&mut p, &plain(), Side::Buy, 3, 10, 1);
        book(&mut p, &plain(), Side::Buy, 4, 11, 1);
        assert_eq!((p.qty, p.cost_e16), (7, 74));
        book(&mut p, &plain(), Side::Sell, 2, 15, 1);
        // 74 * 2 / 7 = 21.14.. -> 21
        assert_eq!((p.qty, p.cost_e16, p.realised_e16, p.fees_e8), (5, 53, 9, 3));
        assert_eq!(p.unrealised_e16(&plain(), 12), 7);
    }

    #[test]
    fn a_short_is_the_mirror_image() {
        let mut p = Position::flat(0, 0, 0);
        book(&mut p, &plain(), Side::Sell, 3, 10, 0);
        book(&mut p, &plain(), Side::Sell, 4, 11, 0);
        assert_eq!((p.qty, p.cost_e16), (-7, -74));
        book(&mut p, &plain(), Side::Buy, 2, 15, -5);
        assert_eq!((p.qty, p.cost_e16, p.realised_e16, p.fees_e8), (-5, -53, -9, -5));
        assert_eq!(p.unrealised_e16(&plain(), 12), -7);
    }

    #[test]
    fn through_zero_the_rest_opens_at_the_fill_price() {
        let mut p = Position::flat(0, 0, 0);
        book(&mut p, &plain(), Side::Buy, 3, 10, 0);
        book(&mut p, &plain(), Side::Sell, 5, 12, 0);
        assert_eq!((p.qty, p.cost_e16, p.realised_e16), (-2, -24, 6));
        book(&mut p, &plain(), Side::Buy, 2, 11, 0);
        assert_eq!((p.qty, p.cost_e16, p.realised_e16), (0, 0, 8));
    }

    #[test]
    fn scale_and_multiplier_reach_sixteen_decimals() {
        let mut symbol = Symbol::new("X", 2, 3, 1, 1).unwrap();
        symbol.contract_multiplier = 5;
        let mut p = Position::flat(0, 0, 0);
        book(&mut p, &Contract::of(&symbol), Side::Buy, 2_000, 1_050, 0);
        // 2.000 x 10.50 x 5 = 105
        assert_eq!(p.cost_e16, 105 * 10i128.pow(16));
    }

    #[test]
    fn share_is_exact_where_the_product_would_overflow() {
        let cost = i128::MAX / 3;
        assert_eq!(share(cost, i64::MAX, i64::MAX), cost);
        assert_eq!(share(-cost, i64::MAX, i64::MAX), -cost);
        assert_eq!(share(-7, 1, 2), -3);
        assert_eq!(share(7, 1, 2), 3);
        assert_eq!(share(1_000_001, 999, 1_000), 1_000_001 * 999 / 1_000);
    }

    #[test]
    fn numbers_that_do_not_fit_are_refused_not_wrapped() {
        let contract = Contract::of(&Symbol::new("X", 0, 0, 1, 1).unwrap());
        let p = Position { qty: i64::MAX, ..Position::flat(0, 0, 0) };
        assert_eq!(p.filled(&contract, Side::Buy, 1, 1, 0), None);
        assert_eq!(Position::flat(0, 0, 0).filled(&contract, Side::Buy, i64::MAX, i64::MAX, 0), None);
        let p = Position { qty: i64::MIN, ..Position::flat(0, 0, 0) };
        assert_eq!(p.filled(&contract, Side::Buy, 1, 1, 0), None);
    }
}
