//! What a configuration says about the shell. Data only: what it means is the shell's.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where the market comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MarketSource {
    /// Made up on the spot.
    Sim,
    /// A recording.
    Replay,
    /// Binance's streams.
    Binance,
}

/// HTTP and the market source.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShellSection {
    /// Where HTTP is served, `ADDR:PORT`.
    pub bind: String,
    /// The account that HTTP users trade for.
    pub account: u16,
    /// Name of the strategy that HTTP orders are booked for unless they name one.
    pub manual_strategy: String,
    /// The symbol of `/api/market` without one; none: the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub market_symbol: Option<String>,
    /// A market without an event for this long is stale, ms.
    pub stale_after_ms: u64,
    /// Where the market comes from; none: the recording if there is one, else the venue's if it has one, else simulated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub market_source: Option<MarketSource>,
    /// Market from this recording; none: a simulated market.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay: Option<PathBuf>,
    /// Speed of the replay: a factor, or `max`.
    pub speed: String,
    /// Seed of the simulated market.
    pub seed: u64,
}

impl Default for ShellSection {
    fn default() -> Self {
        Self {
            bind: "127.0.0.1:8080".to_owned(),
            account: 0,
            manual_strategy: "manual".to_owned(),
            market_symbol: None,
            stale_after_ms: 5000,
            market_source: None,
            replay: None,
            speed: "1".to_owned(),
            seed: 1,
        }
    }
}
