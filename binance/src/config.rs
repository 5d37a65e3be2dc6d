//! What the adapter is told: addresses, key, windows and bounds.

use crate::sign::Key;
use reqwest::Url;
use std::time::Duration;

/// REST of the spot testnet.
pub const TESTNET_REST: &str = "https://testnet.binance.vision";
/// WebSocket API of the spot testnet.
pub const TESTNET_WS_API: &str = "wss://ws-api.testnet.binance.vision/ws-api/v3";
/// Market streams of the spot testnet.
pub const TESTNET_STREAMS: &str = "wss://stream.testnet.binance.vision";

/// Everything the adapter needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Base address of REST, without `/api`.
    pub rest_url: String,
    /// Address of the WebSocket API.
    pub ws_api_url: String,
    /// Base address of the market streams, without `/stream`.
    pub stream_url: String,
    /// Addresses other than the testnet's and loopback are allowed: real money may be at the other end.
    pub allow_mainnet: bool,
    /// Signs requests.
    pub key: Key,
    /// How long after its timestamp the venue may still take a request, ms. 1 to 60,000; small is safe.
    pub recv_window_ms: u64,
    /// How long an answer is waited for. Later, what was asked is UNKNOWN and the venue is queried.
    pub request_timeout: Duration,
    /// Requests under way at once. At least 1.
    pub max_in_flight: usize,
    /// Orders remembered, finished ones included. A new order beyond it is refused. At least 1.
    pub max_orders: usize,
    /// How often the open orders are compared while all is well.
    pub sweep_interval: Duration,
    /// How long a fill that the venue has counted may be missing among the events before it is asked for.
    pub gap_patience: Duration,
    /// A user session is replaced at this age: before the venue's 24 hours.
    pub session_max: Duration,
    /// A session without any frame for so long is dead. The venue pings every 20 s.
    pub silence_max: Duration,
    /// The first pause before connecting again; it doubles up to 60 times this.
    pub reconnect_pause: Duration,
    /// New orders stop when this share of the venue's request weight is used up, percent. Cancels and queries go on.
    pub weight_share_percent: u32,
}

/// Why a configuration cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No URL, or not of the kind needed here.
    #[error(
        "{field} `{url}` is no address of this kind: give a full URL, https and wss unless it is loopback"
    )]
    Url {
        /// The field's name.
        field: &'static str,
        /// As given.
        url: String,
    },
    /// Real money may be behind it.
    #[error("{field} is neither Binance's spot testnet nor loopback: set allow_mainnet to trade there")]
    Mainnet {
        /// The field's name.
        field: &'static str,
    },
    /// A number out of range.
    #[error("{field} must be {range}")]
    Range {
        /// The field's name.
        field: &'static str,
        /// What it may be.
        range: &'static str,
    },
}

impl Config {
    /// The testnet, with this key.
    #[must_use]
    pub fn testnet(key: Key) -> Self {
        Self {
            rest_url: TESTNET_REST.to_owned(),
            ws_api_url: TESTNET_WS_API.to_owned(),
            stream_url: TESTNET_STREAMS.to_owned(),
            allow_mainnet: false,
            key,
            recv_window_ms: 5_000,
            request_timeout: Duration::from_secs(10),
            max_in_flight: 32,
            max_orders: 65_536,
            sweep_interval: Duration::from_secs(30),
            gap_patience: Duration::from_millis(500),
            session_max: Duration::from_secs(23 * 3600 + 50 * 60),
            silence_max: Duration::from_secs(60),
            reconnect_pause: Duration::from_millis(500),
            weight_share_percent: 90,
        }
    }

    /// Whether no real money can be at the other end: every address is the testnet's or loopback.
    #[must_use]
    pub fn is_testnet(&self) -> bool {
        [&self.rest_url, &self.ws_api_url, &self.stream_url].iter().all(|url| {
            Url::parse(url)
                .is_ok_and(|url| url.host_str().is_some_and(|host| is_loopback(host) || is_testnet(host)))
        })
    }

    /// Whether it can work.
    ///
    /// # Errors
    /// [`ConfigError`] names the first field that cannot.
    pub fn check(&self) -> Result<(), ConfigError> {
        let urls = [
            ("rest_url", &self.rest_url, ["https", "http"]),
            ("ws_api_url", &self.ws_api_url, ["wss", "ws"]),
            ("stream_url", &self.stream_url, ["wss", "ws"]),
        ];
        for (field, url, schemes) in urls {
            check_url(field, url, schemes, self.allow_mainnet)?;
        }
        let ranges = [
            ("recv_window_ms", (1..=60_000).contains(&self.recv_window_ms), "1 to 60000"),
            ("max_in_flight", self.max_in_flight >= 1, "at least 1"),
            ("max_orders", self.max_orders >= 1, "at least 1"),
            ("weight_share_percent", (1..=100).contains(&self.weight_share_percent), "1 to 100"),
            ("reconnect_pause", !self.reconnect_pause.is_zero(), "above 0"),
            ("request_timeout", !self.request_timeout.is_zero(), "above 0"),
            ("sweep_interval", !self.sweep_interval.is_zero(), "above 0"),
        ];
        match ranges.iter().find(|(_, holds, _)| !holds) {
            Some((field, _, range)) => Err(ConfigError::Range { field, range }),
            None => Ok(()),
        }
    }
}

fn check_url(field: &'static str, text: &str, schemes: [&str; 2], allow: bool) -> Result<(), ConfigError> {
    let wrong = || ConfigError::Url { field, url: text.to_owned() };
    let url = Url::parse(text).map_err(|_| wrong())?;
    let host = url.host_str().ok_or_else(wrong)?;
    let loopback = is_loopback(host);
    if !(url.scheme() == schemes[0] || loopback && url.scheme() == schemes[1]) {
        return Err(wrong());
    }
    if loopback || is_testnet(host) || allow { Ok(()) } else { Err(ConfigError::Mainnet { field }) }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn is_testnet(host: &str) -> bool {
    host == "testnet.binance.vision" || host.ends_with(".testnet.binance.vision")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mainnet_needs_an_explicit_flag() {
        let mut config = Config::testnet(Key::hmac("key", "secret".into()));
        assert_eq!(config.check(), Ok(()));
        for url in ["https://api.binance.com", "https://testnet.binance.vision.example.com"] {
            config.rest_url = url.to_owned();
            assert_eq!(config.check(), Err(ConfigError::Mainnet { field: "rest_url" }), "{url}");
        }
        config.allow_mainnet = true;
        assert_eq!(config.check(), Ok(()));
    }

    #[test]
    fn orders_never_leave_the_machine_in_the_clear() {
        let mut config = Config::testnet(Key::hmac("key", "secret".into()));
        config.allow_mainnet = true;
        for url in ["http://api.binance.com", "ftp://127.0.0.1", "testnet.binance.vision", ""] {
            config.rest_url = url.to_owned();
            assert!(matches!(config.check(), Err(ConfigError::Url { .. })), "{url}");
        }
        config.rest_url = "http://127.0.0.1:8080".to_owned();
        assert_eq!(config.check(), Ok(()));
    }
}
