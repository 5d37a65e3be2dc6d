//! Fees, exact: notional at 16 decimals, fee at 8, rounded up in the venue's favour.

use ringfence_ipc::symbol::Symbol;

/// 1e16 notional decimals / 1e8 fee decimals * 1e6 parts per million.
const E16_PPM_TO_E8: i128 = 100_000_000 * 1_000_000;

/// `price * qty` at 16 decimals; `None` beyond 128 bits.
pub(super) fn notional_e16(symbol: &Symbol, price: i64, qty: i64) -> Option<i128> {
    (i128::from(price) * i128::from(qty)).checked_mul(symbol.notional_factor())
}

/// The fee of one fill, 1e-8 of the quote currency. Beyond 64 bits it saturates: no gate admits such an order.
pub(super) fn fee_e8(symbol: &Symbol, price: i64, qty: i64, fee_ppm: i32) -> i64 {
    let saturated = if fee_ppm < 0 { i64::MIN } else { i64::MAX };
    notional_e16(symbol, price, qty)
        .and_then(|notional| notional.checked_mul(i128::from(fee_ppm)))
        .and_then(|fee| i64::try_from(ceil_div(fee, E16_PPM_TO_E8)).ok())
        .unwrap_or(saturated)
}

const fn ceil_div(value: i128, by: i128) -> i128 {
    let floor = value.div_euclid(by);
    if value.rem_euclid(by) == 0 { floor } else { floor + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fees_round_toward_the_venue() {
        let symbol = Symbol::new("BTCUSDT", 2, 5, 1, 1).unwrap();
        // 0.00001 BTC at 0.01: a notional of 1e-7, 10 units of 1e-8.
        assert_eq!(fee_e8(&symbol, 1, 1, 100_000), 1);
        assert_eq!(fee_e8(&symbol, 1, 1, 100_001), 2);
        assert_eq!(fee_e8(&symbol, 1, 1, -100_001), -1);
        assert_eq!(fee_e8(&symbol, 1, 1, -99_999), 0);
        assert_eq!(fee_e8(&symbol, 6_000_000, 100_000, 1_000), 6_000_000_000);
        assert_eq!(fee_e8(&symbol, 6_000_000, 100_000, 0), 0);
    }

    #[test]
    fn a_fee_beyond_64_bits_saturates() {
        let symbol = Symbol::new("X", 0, 0, 1, 1).unwrap();
        assert_eq!(fee_e8(&symbol, i64::MAX, i64::MAX, 1), i64::MAX);
        assert_eq!(fee_e8(&symbol, i64::MAX, i64::MAX, -1), i64::MIN);
        assert_eq!(fee_e8(&symbol, i64::MAX, 1, 1_000_000), i64::MAX);
    }
}
