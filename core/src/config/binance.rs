//! What a configuration says about Binance. Data only: what it means is the adapter's. The key's secret is no part of it:
//! it comes from the environment or from a file that is named here.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where Binance is, and how patiently it is asked.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct BinanceSection {
    /// Base address of REST; none: the spot testnet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rest_url: Option<String>,
    /// Address of the WebSocket API; none: the spot testnet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ws_api_url: Option<String>,
    /// Base address of the market streams; none: the spot testnet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_url: Option<String>,
    /// Addresses other than the testnet's and loopback are allowed.
    pub allow_mainnet: bool,
    /// File with the API key; none: the environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key_file: Option<PathBuf>,
    /// File with the key's secret; none: the environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<PathBuf>,
    /// How long after its timestamp the venue may still take a request, ms.
    pub recv_window_ms: u64,
    /// How long an answer is waited for, ms.
    pub request_timeout_ms: u64,
    /// Requests under way at once.
    pub max_in_flight: usize,
    /// How often open orders are compared while all is well, ms.
    pub sweep_interval_ms: u64,
    /// The first pause before connecting again, ms.
    pub reconnect_pause_ms: u64,
}

impl Default for BinanceSection {
    fn default() -> Self {
        Self {
            rest_url: None,
            ws_api_url: None,
            stream_url: None,
            allow_mainnet: false,
            api_key_file: None,
            secret_file: None,
            recv_window_ms: 5000,
            request_timeout_ms: 10_000,
            max_in_flight: 32,
            sweep_interval_ms: 30_000,
            reconnect_pause_ms: 500,
        }
    }
}
