//! The venue's limits: what its headers say is used, and how long it wants to be left alone.

use crate::wire::RateLimit;
use reqwest::header::HeaderMap;

/// Windows counted; the venue has three or four.
const MAX_WINDOWS: usize = 16;
/// A pause when the venue names none.
const DEFAULT_PAUSE_MS: u64 = 1_000;
/// The longest ban the venue speaks of: three days.
const MAX_PAUSE_MS: u64 = 3 * 24 * 3_600_000;

/// What is used up of the venue's limits.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    windows: Vec<Window>,
    quiet_until_ms: u64,
}

#[derive(Debug)]
struct Window {
    /// Its header, lower case.
    header: String,
    orders: bool,
    length_ms: u64,
    limit: u64,
    used: u64,
    /// Of which window `used` speaks: the time in its lengths.
    number: u64,
}

impl Limits {
    /// Takes the limits that `exchangeInfo` names.
    pub(crate) fn learn(&mut self, limits: &[RateLimit]) {
        self.windows.clear();
        for limit in limits.iter().take(MAX_WINDOWS) {
            let (unit_ms, letter) = match limit.interval.as_str() {
                "SECOND" => (1_000, 's'),
                "MINUTE" => (60_000, 'm'),
                "HOUR" => (3_600_000, 'h'),
                "DAY" => (86_400_000, 'd'),
                _ => continue,
            };
            let (name, orders) = match limit.rate_limit_type.as_str() {
                "REQUEST_WEIGHT" => ("x-mbx-used-weight", false),
                "ORDERS" => ("x-mbx-order-count", true),
                _ => continue,
            };
            self.windows.push(Window {
                header: format!("{name}-{}{letter}", limit.interval_num),
                orders,
                length_ms: limit.interval_num.saturating_mul(unit_ms).max(1),
                limit: limit.limit,
                used: 0,
                number: 0,
            });
        }
    }

    /// Takes what an answer's headers say.
    pub(crate) fn heard(&mut self, headers: &HeaderMap, now_ms: u64) {
        for window in &mut self.windows {
            let said = headers.get(window.header.as_str()).and_then(|value| value.to_str().ok());
            if let Some(used) = said.and_then(|text| text.parse().ok()) {
                (window.used, window.number) = (used, now_ms / window.length_ms);
            }
        }
    }

    /// The venue said 429 or 418: nothing is sent until its pause is over.
    pub(crate) fn pause(&mut self, headers: &HeaderMap, now_ms: u64) -> u64 {
        let said = headers.get("retry-after").and_then(|value| value.to_str().ok());
        let seconds = said.and_then(|text| text.parse::<u64>().ok());
        let pause_ms = seconds.map_or(DEFAULT_PAUSE_MS, |s| s.saturating_mul(1_000)).clamp(1, MAX_PAUSE_MS);
        self.quiet_until_ms = self.quiet_until_ms.max(now_ms.saturating_add(pause_ms));
        self.quiet_until_ms
    }

    /// When a request may go: now (`None`), or not before a time. A new order leaves `100 - share` percent of the weight
    /// to cancels and queries.
    pub(crate) fn wait_until(&self, is_order: bool, share_percent: u32, now_ms: u64) -> Option<u64> {
        if now_ms < self.quiet_until_ms {
            return Some(self.quiet_until_ms);
        }
        self.windows
            .iter()
            .filter(|window| window.number == now_ms / window.length_ms)
            .filter(|window| match (window.orders, is_order) {
                (true, true) => window.used >= window.limit,
                (true, false) => false,
                (false, true) => window.used >= window.limit / 100 * u64::from(share_percent),
                (false, false) => window.used >= window.limit,
            })
            .map(|window| (window.number + 1).saturating_mul(window.length_ms))
            .max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        let mut limits = Limits::default();
        let limit = |kind: &str, interval: &str, interval_num, limit| RateLimit {
            rate_limit_type: kind.to_owned(),
            interval: interval.to_owned(),
            interval_num,
            limit,
        };
        limits.learn(&[
            limit("REQUEST_WEIGHT", "MINUTE", 1, 6000),
            limit("ORDERS", "SECOND", 10, 100),
            limit("RAW_REQUESTS", "MINUTE", 5, 61000),
        ]);
        limits
    }

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name.parse().expect("a name"), value.parse().expect("a value"))])
    }

    #[test]
    fn orders_stop_before_cancels_do() {
        let mut limits = limits();
        limits.heard(&headers("x-mbx-used-weight-1m", "5400"), 60_001);
        assert_eq!(limits.wait_until(true, 90, 60_002), Some(120_000));
        assert_eq!(limits.wait_until(false, 90, 60_002), None);
        assert_eq!(limits.wait_until(true, 90, 120_000), None);
        limits.heard(&headers("x-mbx-order-count-10s", "100"), 120_000);
        assert_eq!(limits.wait_until(true, 90, 120_001), Some(130_000));
        assert_eq!(limits.wait_until(false, 90, 120_001), None);
    }

    #[test]
    fn a_ban_is_waited_for() {
        let mut limits = limits();
        assert_eq!(limits.pause(&headers("retry-after", "120"), 1_000), 121_000);
        assert_eq!(limits.pause(&HeaderMap::new(), 2_000), 121_000);
        assert_eq!(limits.wait_until(false, 90, 120_999), Some(121_000));
        assert_eq!(limits.wait_until(false, 90, 121_000), None);
        assert!(limits.pause(&headers("retry-after", "99999999999999999999"), 0) < u64::MAX);
    }
}
