//! Times as people and records write them: UTC, microseconds since the Unix epoch.

use std::time::{SystemTime, UNIX_EPOCH};

/// One day, us.
pub const DAY_US: u64 = 86_400 * SECOND_US;
const SECOND_US: u64 = 1_000_000;
/// The last day that has four digits for its year.
const LAST_DAY: u64 = 2_932_896;

/// The wall clock, us since the epoch.
#[must_use]
pub fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

/// `2026-11-21T14:24:26.123456Z`
#[must_use]
pub fn datetime(us: u64) -> String {
    let (year, month, day) = civil(us / DAY_US);
    let (second, fraction) = (us % DAY_US / SECOND_US, us % SECOND_US);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:06}Z")
}

/// `1763735066.123456`
#[must_use]
pub fn seconds(us: u64) -> String {
    format!("{}.{:06}", us / SECOND_US, us % SECOND_US)
}

/// What [`seconds`] wrote.
#[must_use]
pub fn parse_seconds(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.')?;
    (fraction.len() == 6).then_some(())?;
    whole.parse::<u64>().ok()?.checked_mul(SECOND_US)?.checked_add(digits(fraction)?)
}

/// `20261121`, of a day since the epoch.
#[must_use]
pub fn day_name(day: u64) -> String {
    let (year, month, day) = civil(day);
    format!("{year:04}{month:02}{day:02}")
}

/// What [`day_name`] wrote.
#[must_use]
pub fn parse_day_name(text: &str) -> Option<u64> {
    if text.len() != 8 || !text.is_ascii() {
        return None;
    }
    day_of(digits(&text[..4])?, digits(&text[4..6])?, digits(&text[6..])?)
}

/// A time as somebody asks for it: seconds since the epoch (`1763735066`, `1763735066.5`), or ISO 8601 (`2026-11-21`,
/// `2026-11-21T14:24`, `2026-11-21T14:24:26.5Z`, `2026-11-21T15:24:26+01:00`); without a zone it is UTC.
#[must_use]
pub fn parse(text: &str) -> Option<u64> {
    if !text.is_ascii() || text.len() > 40 {
        return None;
    }
    if text.as_bytes().get(4) != Some(&b'-') {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        return digits(whole)?.checked_mul(SECOND_US)?.checked_add(micros(fraction)?);
    }
    let (date, rest) = text.split_at_checked(10)?;
    let mut parts = date.split('-');
    let day = day_of(two(parts.next()?, 4)?, two(parts.next()?, 2)?, two(parts.next()?, 2)?)?;
    let midnight = day * DAY_US;
    let Some(rest) = rest.strip_prefix(['T', 't', ' ']) else { return rest.is_empty().then_some(midnight) };
    let (clock, zone) = rest.split_at(rest.find(['Z', 'z', '+', '-', ' ']).unwrap_or(rest.len()));
    let utc = midnight.checked_add(time_of_day(clock)?)?;
    match zone.as_bytes().first() {
        None => Some(utc),
        Some(b'Z' | b'z') => (zone.len() == 1).then_some(utc),
        // A plus that was not percent-encoded arrives as a space.
        Some(sign) => {
            let offset = offset(&zone[1..])?;
            if *sign == b'-' { utc.checked_add(offset) } else { utc.checked_sub(offset) }
        }
    }
}

/// `14:24[:26[.5]]`, us.
fn time_of_day(text: &str) -> Option<u64> {
    let mut parts = text.splitn(3, ':');
    let (hour, minute) = (two(parts.next()?, 2)?, two(parts.next()?, 2)?);
    let (second, fraction) = match parts.next() {
        None => (0, 0),
        Some(text) => {
            let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
            (two(whole, 2)?, micros(fraction)?)
        }
    };
    (hour < 24 && minute < 60 && second < 60).then_some(())?;
    Some(((hour * 60 + minute) * 60 + second) * SECOND_US + fraction)
}

/// `01:00` or `0100`, us.
fn offset(text: &str) -> Option<u64> {
    let text = text.replacen(':', "", 1);
    let (hour, minute) = text.split_at_checked(2)?;
    let (hour, minute) = (two(hour, 2)?, two(minute, 2)?);
    (hour < 24 && minute < 60).then_some((hour * 60 + minute) * 60 * SECOND_US)
}

/// A fraction of a second; what is finer than a microsecond is cut off.
fn micros(text: &str) -> Option<u64> {
    if text.is_empty() || text.len() > 9 {
        return None;
    }
    digits(text)?;
    digits(&format!("{text:0<6}")[..6])
}

fn two(text: &str, width: usize) -> Option<u64> {
    (text.len() == width).then(|| digits(text))?
}

fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Year, month, day of a day since the epoch, in the Gregorian calendar: 400 years are 146,097 days, and a year that
/// begins in March has its leap day at its end.
fn civil(day: u64) -> (u64, u64, u64) {
    let shifted = day.min(LAST_DAY) + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march = (5 * of_year + 2) / 153;
    let month = if march < 10 { march + 3 } else { march - 9 };
    (era * 400 + year + u64::from(month <= 2), month, of_year - (153 * march + 2) / 5 + 1)
}

/// The day since the epoch, if there is such a date.
fn day_of(year: u64, month: u64, day: u64) -> Option<u64> {
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year_from_march = year - u64::from(month <= 2);
    let (era, of_era) = (year_from_march / 400, year_from_march % 400);
    let march = (month + 9) % 12;
    let of_year = (153 * march + 2) / 5 + day - 1;
    let found = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    (civil(found) == (year, month, day)).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_comes_back() {
        for day in 0..=LAST_DAY {
            let (year, month, of_month) = civil(day);
            assert_eq!(day_of(year, month, of_month), Some(day));
        }
        assert_eq!((day_name(0).as_str(), day_name(LAST_DAY).as_str()), ("19700101", "99991231"));
    }

    #[test]
    fn the_same_moment_in_every_spelling() {
        let us = 1_795_271_066_500_000;
        assert_eq!(datetime(us), "2026-11-21T14:24:26.500000Z");
        assert_eq!(parse_seconds(&seconds(us)), Some(us));
        for text in [
            "1795271066.5",
            "2026-11-21T14:24:26.5Z",
            "2026-11-21T14:24:26.500000",
            "2026-11-21 14:24:26.5",
            "2026-11-21T15:24:26.5+01:00",
            "2026-11-21T15:24:26.5 0100",
            "2026-11-21T10:54:26.5-03:30",
        ] {
            assert_eq!(parse(text), Some(us), "{text}");
        }
        assert_eq!(parse("2026-11-21"), Some(us / DAY_US * DAY_US));
        assert_eq!(parse_day_name("20261121"), Some(us / DAY_US));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "now",
            "-5",
            "+5",
            "1e9",
            "5.",
            ".5",
            "1.0000000001",
            "99999999999999999999",
            "2026-02-29",
            "2026-13-01",
            "2026-00-01",
            "2026-1-01",
            "2026-11-21T",
            "2026-11-21T24:00",
            "2026-11-21T14",
            "2026-11-21T14:60",
            "2026-11-21T14:24:60",
            "2026-11-21T14:24Zx",
            "2026-11-21T14:24+1",
            "1969-12-31",
            "2026-11-21T14:24:26.Z",
            "2026-11-21x",
            "２０２６-11-21",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
