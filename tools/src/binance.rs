//! What the configuration and the environment say about Binance, as the adapter takes it.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use ringfence_binance::{Config, Key};
use ringfence_core::config::BinanceSection;
use secrecy::{ExposeSecret as _, SecretString};

/// Where the API key may stand, the first one first.
pub const API_KEY: [&str; 2] = ["RINGFENCE_BINANCE_API_KEY", "BINANCE_API_KEY"];
/// Where its secret may stand.
pub const API_SECRET: [&str; 2] = ["RINGFENCE_BINANCE_API_SECRET", "BINANCE_API_SECRET"];

/// A key, of the file that is named or else of the environment.
fn secret(file: Option<&Path>, names: [&str; 2], what: &str) -> anyhow::Result<SecretString> {
    if let Some(path) = file {
        return crate::secret::read(path, what);
    }
    let found = names.iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    found.map(SecretString::from).with_context(|| format!("Binance needs {what}: set {}", names[1]))
}

/// For orders. A private key in PEM signs with Ed25519, any other secret with HMAC-SHA256.
pub fn trading(section: &BinanceSection) -> anyhow::Result<Config> {
    let api_key = secret(section.api_key_file.as_deref(), API_KEY, "the API key")?;
    let secret = secret(section.secret_file.as_deref(), API_SECRET, "the key's secret")?;
    let key = if secret.expose_secret().starts_with("-----BEGIN") {
        Key::ed25519(api_key.expose_secret(), &secret).context("the secret of the Binance key")?
    } else {
        Key::hmac(api_key.expose_secret(), secret)
    };
    Ok(config(section, key))
}

/// For market data, which needs no key.
pub fn public(section: &BinanceSection) -> Config {
    config(section, Key::hmac("", SecretString::default()))
}

fn config(section: &BinanceSection, key: Key) -> Config {
    let testnet = Config::testnet(key);
    let ms = Duration::from_millis;
    Config {
        rest_url: section.rest_url.clone().unwrap_or(testnet.rest_url),
        ws_api_url: section.ws_api_url.clone().unwrap_or(testnet.ws_api_url),
        stream_url: section.stream_url.clone().unwrap_or(testnet.stream_url),
        allow_mainnet: section.allow_mainnet,
        recv_window_ms: section.recv_window_ms,
        request_timeout: ms(section.request_timeout_ms),
        max_in_flight: section.max_in_flight,
        sweep_interval: ms(section.sweep_interval_ms),
        reconnect_pause: ms(section.reconnect_pause_ms),
        key: testnet.key,
        max_orders: testnet.max_orders,
        gap_patience: testnet.gap_patience,
        session_max: testnet.session_max,
        silence_max: testnet.silence_max,
        weight_share_percent: testnet.weight_share_percent,
    }
}
