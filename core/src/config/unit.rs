//! Values with a unit: `"250 bps"`, `"5 s"`, `"50000 USDT"`. Parsed once, exactly, into scaled integers; nothing rounds.

use ringfence_ipc::symbol::{DecimalError, parse_scaled};

/// What a number counts, and the size of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// A time, in units of this many ns.
    Time(i64),
    /// Basis points.
    Bps,
    /// Millionths.
    Ppm,
    /// Times per second.
    Rate,
    /// Bytes.
    Bytes,
}

/// One unit: its name, and how many of the measure's own it is, as a fraction.
type Unit = (&'static str, i64, i64);

/// Decimals that a number with a unit may have.
const DECIMALS: u8 = 9;
const ONE: i128 = 1_000_000_000;

impl Measure {
    /// Its units, the one to write first at the end.
    fn units(self) -> Vec<Unit> {
        match self {
            Self::Time(own_ns) => [
                ("ns", 1),
                ("us", 1_000),
                ("ms", 1_000_000),
                ("s", 1_000_000_000),
                ("min", 60_000_000_000),
                ("h", 3_600_000_000_000),
            ]
            .map(|(name, ns)| (name, ns, own_ns))
            .to_vec(),
            Self::Bps => vec![("bps", 1, 1), ("%", 100, 1)],
            Self::Ppm => vec![("ppm", 1, 1), ("bps", 100, 1), ("%", 10_000, 1)],
            Self::Rate => vec![("/s", 1, 1), ("/min", 1, 60)],
            Self::Bytes => {
                vec![("B", 1, 1), ("KiB", 1 << 10, 1), ("MiB", 1 << 20, 1), ("GiB", 1 << 30, 1)]
            }
        }
    }

    /// The names of its units, for messages.
    #[must_use]
    pub fn names(self) -> String {
        self.units().iter().map(|(name, ..)| *name).collect::<Vec<_>>().join(", ")
    }

    /// `text` in the measure's own size.
    ///
    /// # Errors
    /// [`UnitError`]: nothing is rounded, and a number without a unit is refused.
    pub fn parse(self, text: &str) -> Result<i64, UnitError> {
        let (number, unit) = split(text);
        let units = self.units();
        let found = units.iter().find(|(name, ..)| *name == unit);
        let Some((_, times, per)) = found else { return Err(wrong_unit(text, unit, self.names())) };
        let number = i128::from(parse_scaled(&number, DECIMALS)?);
        let (value, own) = (number * i128::from(*times), i128::from(*per) * ONE);
        if value % own != 0 {
            return Err(UnitError::TooFine(self.format(1)));
        }
        i64::try_from(value / own).map_err(|_| UnitError::TooLarge)
    }

    /// `value` of the measure's own size in the largest unit that keeps it whole.
    #[must_use]
    pub fn format(self, value: i64) -> String {
        let own = if let Self::Time(ns) = self { ns } else { 1 };
        let smallest = i128::from(value) * i128::from(own);
        // Percent, minutes and hours read worse than what they stand for.
        let written = |unit: &Unit| !["%", "/min", "min", "h"].contains(&unit.0);
        let whole = |unit: &Unit| smallest % i128::from(unit.1) == 0;
        let unit = self.units().into_iter().rev().filter(written).find(whole);
        let (name, times, _) = unit.unwrap_or(self.units()[0]);
        format!("{} {name}", smallest / i128::from(times))
    }
}

/// `"50000 USDT"` as the decimal text `50000`: an amount of `unit`, not negative, that fits 64 bits with `decimals`
/// decimals; none: with as many as it has, because how many it may have depends on what it is an amount of.
///
/// # Errors
/// [`UnitError`].
pub fn parse_amount(text: &str, unit: &str, decimals: Option<u8>) -> Result<String, UnitError> {
    let (number, found) = split(text);
    if found != unit {
        return Err(wrong_unit(text, found, unit.to_owned()));
    }
    let written = number.trim_end_matches('0').split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let decimals = decimals.unwrap_or(u8::try_from(written).unwrap_or(u8::MAX));
    match parse_scaled(&number, decimals) {
        Ok(value) if value < 0 => Err(UnitError::Negative),
        Ok(_) => Ok(number),
        Err(DecimalError::TooPrecise) => {
            let finest = ringfence_ipc::symbol::format_scaled(1, decimals);
            Err(UnitError::TooFine(format!("{finest} {unit}")))
        }
        Err(error) => Err(error.into()),
    }
}

/// `"09:30"` or `"09:30:00"` as seconds since midnight; `24:00:00` is the end of the day.
#[must_use]
pub fn parse_time_of_day(text: &str) -> Option<i64> {
    let mut parts = text.trim().split(':').map(|part| {
        let digits = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse::<i64>().ok().filter(|_| digits)
    });
    let (hours, minutes) = (parts.next()??, parts.next()??);
    let seconds = parts.next().unwrap_or(Some(0))?;
    let sum = hours * 3600 + minutes * 60 + seconds;
    (parts.next().is_none() && minutes < 60 && seconds < 60 && sum <= 86_400).then_some(sum)
}

/// Seconds since midnight as `"09:30:00"`.
#[must_use]
pub fn format_time_of_day(seconds: i64) -> String {
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// The number, without the underscores that group its digits, and the unit behind it.
fn split(text: &str) -> (String, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && !"+-._".contains(c)).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number.replace('_', ""), unit.trim())
}

fn wrong_unit(text: &str, found: &str, units: String) -> UnitError {
    let (number, _) = split(text);
    if number.is_empty() {
        return UnitError::NotANumber;
    }
    match found {
        "" => UnitError::Missing { units },
        other => UnitError::Wrong { found: other.to_owned(), units },
    }
}

/// Why a text is no value of a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// It does not begin with a plain decimal number.
    #[error("is no plain decimal number with a unit")]
    NotANumber,
    /// Only a number.
    #[error("the unit is missing: write the number and one of {units}")]
    Missing {
        /// What there is.
        units: String,
    },
    /// Another unit.
    #[error("`{found}` is no unit of this key: write one of {units}")]
    Wrong {
        /// As written.
        found: String,
        /// What there is.
        units: String,
    },
    /// It would have to be rounded.
    #[error("is finer than {0}, the finest this key holds")]
    TooFine(String),
    /// Beyond 64 bits.
    #[error("is too large")]
    TooLarge,
    /// Below zero.
    #[error("must not be negative")]
    Negative,
    /// A quantity for symbols that count differently.
    #[error("symbols have different quantity scales: set it per symbol")]
    ScalesDiffer,
    /// Outside what works.
    #[error("must be {min} to {max}")]
    Range {
        /// Smallest.
        min: String,
        /// Largest.
        max: String,
    },
}

impl From<DecimalError> for UnitError {
    fn from(error: DecimalError) -> Self {
        match error {
            DecimalError::NotADecimal => Self::NotANumber,
            DecimalError::TooPrecise => Self::TooFine("9 decimals".to_owned()),
            DecimalError::Overflow => Self::TooLarge,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Measure = Measure::Time(1_000_000);
    const NS: Measure = Measure::Time(1);

    #[test]
    fn every_unit_parses_exactly() {
        for (measure, text, value) in [
            (NS, "250 ns", 250),
            (NS, "1.5us", 1_500),
            (NS, "0.25 ms", 250_000),
            (MS, "5 s", 5_000),
            (MS, "1_000 us", 1),
            (MS, "2 min", 120_000),
            (MS, "1 h", 3_600_000),
            (Measure::Bps, "250 bps", 250),
            (Measure::Bps, "2.5 %", 250),
            (Measure::Bps, "-3 bps", -3),
            (Measure::Ppm, "1000 ppm", 1000),
            (Measure::Ppm, "-2.5 bps", -250),
            (Measure::Ppm, "0.1 %", 1000),
            (Measure::Rate, "100 /s", 100),
            (Measure::Rate, "100/s", 100),
            (Measure::Rate, "120 /min", 2),
            (Measure::Bytes, "4096 B", 4096),
            (Measure::Bytes, "1.5 KiB", 1536),
            (Measure::Bytes, "256 MiB", 256 << 20),
            (Measure::Bytes, "2 GiB", 2 << 30),
        ] {
            assert_eq!(measure.parse(text), Ok(value), "{text}");
            assert_eq!(measure.parse(&measure.format(value)), Ok(value), "{text}");
        }
        for (text, measure) in [("5 s", MS), ("1500 us", NS), ("256 MiB", Measure::Bytes), ("0 ns", NS)] {
            let value = measure.parse(text).unwrap();
            assert_eq!(measure.parse(&measure.format(value)), Ok(value), "{}", measure.format(value));
        }
        assert_eq!(MS.format(5_000), "5 s");
        assert_eq!(NS.format(1_500_000), "1500 us");
        assert_eq!(Measure::Bytes.format(3 << 20), "3 MiB");
        assert_eq!(Measure::Bps.format(500), "500 bps");
    }

    #[test]
    fn what_is_no_value_says_why() {
        for (measure, text, why) in [
            (Measure::Bps, "250", "the unit is missing: write the number and one of bps, %"),
            (Measure::Bps, "250 s", "`s` is no unit of this key: write one of bps, %"),
            (Measure::Bps, "0.5 bps", "is finer than 1 bps, the finest this key holds"),
            (MS, "500 us", "is finer than 1 ms, the finest this key holds"),
            (Measure::Rate, "1 /min", "is finer than 1 /s, the finest this key holds"),
            (NS, "9999999999 s", "is too large"),
            (NS, "9223372036854775808 ns", "is too large"),
            (Measure::Bytes, "lots", "is no plain decimal number with a unit"),
            (Measure::Bytes, "", "is no plain decimal number with a unit"),
            (Measure::Bytes, "1.2.3 B", "is no plain decimal number with a unit"),
            (Measure::Bytes, "1e3 B", "`e3 B` is no unit of this key: write one of B, KiB, MiB, GiB"),
            (Measure::Bytes, "+5 B", "is no plain decimal number with a unit"),
        ] {
            assert_eq!(measure.parse(text).unwrap_err().to_string(), why, "{text}");
        }
    }

    #[test]
    fn times_of_the_day_are_seconds_since_midnight() {
        for (text, seconds) in
            [("00:00:00", 0), ("09:30", 34_200), (" 23:59:59 ", 86_399), ("24:00:00", 86_400)]
        {
            assert_eq!(parse_time_of_day(text), Some(seconds));
            assert_eq!(parse_time_of_day(&format_time_of_day(seconds)), Some(seconds));
        }
        for text in
            ["", "9:30", "09", "09:60", "09:30:60", "24:00:01", "99:00", "+9:30", "09:30:00:00", "aa:bb"]
        {
            assert_eq!(parse_time_of_day(text), None, "{text}");
        }
    }

    #[test]
    fn amounts_keep_their_digits_and_name_their_unit() {
        assert_eq!(parse_amount("50_000.5 USDT", "USDT", Some(8)), Ok("50000.5".into()));
        assert_eq!(parse_amount("0.5BTC", "BTC", None), Ok("0.5".into()));
        assert_eq!(parse_amount("1000000000.50 BTC", "BTC", None), Ok("1000000000.50".into()));
        for (text, why) in [
            ("5", "the unit is missing: write the number and one of USDT"),
            ("5 EUR", "`EUR` is no unit of this key: write one of USDT"),
            ("-5 USDT", "must not be negative"),
            ("0.001 USDT", "is finer than 0.01 USDT, the finest this key holds"),
            ("99999999999999999999 USDT", "is too large"),
            ("USDT", "is no plain decimal number with a unit"),
        ] {
            assert_eq!(parse_amount(text, "USDT", Some(2)).unwrap_err().to_string(), why, "{text}");
        }
    }
}
