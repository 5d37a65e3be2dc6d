//! The symbol table: what a price and a quantity of a symbol mean.

/// The longest symbol name, bytes.
pub const SYMBOL_NAME_BYTES: usize = 16;

/// Notional is `price * qty * contract_multiplier`, kept at this many decimals in `i128`, exact for every symbol.
pub const NOTIONAL_DECIMALS: u8 = 16;

/// One tradable symbol. Immutable within a version of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Name, upper-case ASCII, zero-padded, e.g. `BTCUSDT`.
    pub name: [u8; SYMBOL_NAME_BYTES],
    /// Decimals of a scaled price: a price is `value * 10^price_scale`.
    pub price_scale: u8,
    /// Decimals of a scaled quantity. `price_scale + qty_scale <= NOTIONAL_DECIMALS`.
    pub qty_scale: u8,
    /// Prices are multiples of this, scaled. At least 1.
    pub tick: i64,
    /// Quantities are multiples of this, scaled. At least 1.
    pub lot: i64,
    /// Units of the underlying per unit of quantity. At least 1.
    pub contract_multiplier: u32,
}

/// Why a symbol cannot stand in the table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SymbolError {
    /// The name must be 1 to 16 upper-case ASCII letters, digits, `_`, `-` or `.`.
    #[error("symbol name `{0}` is not 1 to 16 of A-Z 0-9 _ - .")]
    Name(String),
    /// Notionals of this symbol would not be exact.
    #[error("price_scale {price_scale} + qty_scale {qty_scale} is more than {NOTIONAL_DECIMALS}")]
    Scale {
        /// As given.
        price_scale: u8,
        /// As given.
        qty_scale: u8,
    },
    /// Tick, lot and multiplier are at least 1.
    #[error("tick, lot and contract_multiplier must be at least 1")]
    Step,
}

impl Symbol {
    /// A checked symbol with multiplier 1.
    ///
    /// # Errors
    /// [`SymbolError`] when the name or the scales cannot work.
    pub fn new(name: &str, price_scale: u8, qty_scale: u8, tick: i64, lot: i64) -> Result<Self, SymbolError> {
        let mut bytes = [0; SYMBOL_NAME_BYTES];
        let fits = !name.is_empty() && name.len() <= SYMBOL_NAME_BYTES;
        if fits {
            bytes[..name.len()].copy_from_slice(name.as_bytes());
        }
        let symbol = Self { name: bytes, price_scale, qty_scale, tick, lot, contract_multiplier: 1 };
        if !fits {
            return Err(SymbolError::Name(name.to_owned()));
        }
        symbol.checked()
    }

    /// The same symbol if every field is in range.
    ///
    /// # Errors
    /// [`SymbolError`] naming the first field that is not.
    pub fn checked(self) -> Result<Self, SymbolError> {
        let len = self.name.iter().position(|b| *b == 0).unwrap_or(SYMBOL_NAME_BYTES);
        let legal = |b: &u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b"_-.".contains(b);
        if len == 0 || !self.name[..len].iter().all(legal) || self.name[len..].iter().any(|b| *b != 0) {
            return Err(SymbolError::Name(String::from_utf8_lossy(&self.name).into_owned()));
        }
        if self.price_scale.saturating_add(self.qty_scale) > NOTIONAL_DECIMALS {
            return Err(SymbolError::Scale { price_scale: self.price_scale, qty_scale: self.qty_scale });
        }
        if self.tick < 1 || self.lot < 1 || self.contract_multiplier < 1 {
            return Err(SymbolError::Step);
        }
        Ok(self)
    }

    /// The name as text.
    #[must_use]
    pub fn name(&self) -> &str {
        let len = self.name.iter().position(|b| *b == 0).unwrap_or(SYMBOL_NAME_BYTES);
        std::str::from_utf8(&self.name[..len]).unwrap_or("?")
    }

    /// What `price * qty` is multiplied by to give a notional at [`NOTIONAL_DECIMALS`]: the contract multiplier and
    /// the missing powers of ten.
    #[must_use]
    pub const fn notional_factor(&self) -> i128 {
        10i128.pow((NOTIONAL_DECIMALS - self.price_scale - self.qty_scale) as u32)
            * self.contract_multiplier as i128
    }
}

/// Parses a plain decimal (`61745.68`, `-3`, `.5`) into `value * 10^scale`, exactly.
///
/// # Errors
/// [`DecimalError`] on anything else: exponents, NaN, infinities, spaces, more decimals than the scale holds (trailing
/// zeros excepted), or overflow.
pub fn parse_scaled(text: &str, scale: u8) -> Result<i64, DecimalError> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return Err(DecimalError::NotADecimal);
    }
    let mut value: i64 = 0;
    let mut push = |byte: u8| -> Result<(), DecimalError> {
        if !byte.is_ascii_digit() {
            return Err(DecimalError::NotADecimal);
        }
        let digit = i64::from(byte - b'0');
        value = value
            .checked_mul(10)
            .and_then(|v| if negative { v.checked_sub(digit) } else { v.checked_add(digit) })
            .ok_or(DecimalError::Overflow)?;
        Ok(())
    };
    whole.bytes().try_for_each(&mut push)?;
    let scale = usize::from(scale);
    let kept = fraction.len().min(scale);
    fraction.as_bytes()[..kept].iter().try_for_each(|b| push(*b))?;
    for byte in &fraction.as_bytes()[kept..] {
        match byte {
            b'0' => {}
            b'1'..=b'9' => return Err(DecimalError::TooPrecise),
            _ => return Err(DecimalError::NotADecimal),
        }
    }
    (kept..scale).try_for_each(|_| push(b'0'))?;
    Ok(value)
}

/// Writes `value / 10^scale` as a plain decimal with all its decimals.
#[must_use]
pub fn format_scaled(value: i128, scale: u8) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let magnitude = value.unsigned_abs();
    if scale == 0 {
        return format!("{sign}{magnitude}");
    }
    let unit = 10u128.pow(u32::from(scale));
    format!("{sign}{}.{:0width$}", magnitude / unit, magnitude % unit, width = usize::from(scale))
}

/// Why a text is no exact scaled decimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    /// Not `[-]digits[.digits]`.
    #[error("not a plain decimal number")]
    NotADecimal,
    /// Digits beyond the symbol's scale.
    #[error("more decimals than this symbol has")]
    TooPrecise,
    /// Beyond 64 bits.
    #[error("too large")]
    Overflow,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_parse_exactly_or_not_at_all() {
        for (text, scale, value) in [
            ("61745.68000000", 2, 6_174_568),
            ("0.5", 5, 50_000),
            (".5", 1, 5),
            ("7", 0, 7),
            ("-1.25", 2, -125),
            ("3.", 1, 30),
        ] {
            assert_eq!(parse_scaled(text, scale), Ok(value), "{text}");
        }
        for text in ["", "-", ".", "1e5", "NaN", "inf", " 1", "1 ", "1,5", "+1", "0x1", "1.2.3", "١"] {
            assert_eq!(parse_scaled(text, 2), Err(DecimalError::NotADecimal), "{text:?}");
        }
        assert_eq!(parse_scaled("0.001", 2), Err(DecimalError::TooPrecise));
        assert_eq!(parse_scaled("9223372036854775808", 0), Err(DecimalError::Overflow));
        assert_eq!(parse_scaled("-9223372036854775808", 0), Ok(i64::MIN));
        assert_eq!(parse_scaled("92233720368547758.08", 2), Err(DecimalError::Overflow));
    }

    #[test]
    fn formatting_reverses_parsing() {
        for (value, scale) in [(0, 0), (-5, 2), (123_456, 5), (i64::MIN, 8), (i64::MAX, 3)] {
            assert_eq!(parse_scaled(&format_scaled(i128::from(value), scale), scale), Ok(value));
        }
    }

    #[test]
    fn symbols_that_could_not_be_exact_are_refused() {
        assert!(Symbol::new("BTCUSDT", 2, 5, 1, 1).is_ok());
        assert!(matches!(Symbol::new("btc", 2, 5, 1, 1), Err(SymbolError::Name(_))));
        assert!(matches!(Symbol::new("X", 9, 8, 1, 1), Err(SymbolError::Scale { .. })));
        assert!(matches!(Symbol::new("X", 2, 2, 0, 1), Err(SymbolError::Step)));
        assert!(matches!(Symbol::new("", 2, 2, 1, 1), Err(SymbolError::Name(_))));
    }
}
