//! `ringfence order` and `ringfence cancel`, and how every command talks to the shell.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use serde_json::{Value, json};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};

/// Arguments of `ringfence order`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  ringfence order BUY BTCUSDT 0.001 61000\n  ringfence order SELL BTCUSDT 0.001 --market --id my-42"
)]
pub struct OrderArgs {
    /// BUY or SELL.
    side: String,
    /// Symbol, e.g. BTCUSDT.
    symbol: String,
    /// Quantity.
    qty: String,
    /// Limit price.
    #[arg(required_unless_present = "market")]
    price: Option<String>,
    /// A market order.
    #[arg(long, conflicts_with = "price")]
    market: bool,
    /// Time in force: GTC, IOC, FOK or DAY (default: GTC, for market orders IOC).
    #[arg(long)]
    tif: Option<String>,
    /// Client order id; the same id again gets the first answer.
    #[arg(long)]
    id: Option<String>,
    #[command(flatten)]
    to: To,
}

/// Arguments of `ringfence cancel`.
#[derive(Args)]
#[command(after_help = "Example:\n  ringfence cancel my-42")]
pub struct CancelArgs {
    /// Client order id.
    id: String,
    #[command(flatten)]
    to: To,
}

/// Which shell.
#[derive(Args)]
pub struct To {
    /// Address of the shell.
    #[arg(long, env = "RINGFENCE_URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    /// Certificates (PEM) that the shell's must come from, instead of the system's.
    #[arg(long, env = "RINGFENCE_CA")]
    ca: Option<PathBuf>,
    /// Print the answer as JSON.
    #[arg(long)]
    json: bool,
}

pub fn order(args: &OrderArgs) -> anyhow::Result<()> {
    let mut body = json!({"side": args.side, "symbol": args.symbol, "qty": args.qty});
    match &args.price {
        Some(price) => body["price"] = price.as_str().into(),
        None => body["type"] = "MARKET".into(),
    }
    if let Some(tif) = &args.tif {
        body["tif"] = tif.as_str().into();
    }
    if let Some(id) = &args.id {
        body["client_order_id"] = id.as_str().into();
    }
    let answer = post(&args.to, "/api/order", &body)?;
    tell(&args.to, &answer, |a| {
        let again = if a["duplicate"] == true { " (a repeat: this is the first answer)" } else { "" };
        format!("accepted {}{again}", a["client_order_id"].as_str().unwrap_or("?"))
    })
}

pub fn cancel(args: &CancelArgs) -> anyhow::Result<()> {
    let answer = post(&args.to, "/api/cancel", &json!({"client_order_id": args.id}))?;
    tell(&args.to, &answer, |a| format!("cancel accepted {}", a["client_order_id"].as_str().unwrap_or("?")))
}

/// A refused order is an error: scripts see it in the exit code.
pub fn post(to: &To, path: &str, body: &Value) -> anyhow::Result<Value> {
    let request = agent(to)?.post(format!("{}{path}", to.url)).header("content-type", "application/json");
    answer(to, identified(request).send(body.to_string().as_bytes()))
}

pub fn get(to: &To, path: &str) -> anyhow::Result<Value> {
    answer(to, identified(agent(to)?.get(format!("{}{path}", to.url))).call())
}

/// With the API key of the environment, if there is one. Never an argument: those are for everybody to see.
fn identified<B>(request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
    match std::env::var("RINGFENCE_API_KEY") {
        Ok(key) if !key.is_empty() => request.header("x-api-key", key),
        _ => request,
    }
}

fn agent(to: &To) -> anyhow::Result<ureq::Agent> {
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .root_certs(to.ca.as_deref().map_or(Ok(RootCerts::PlatformVerifier), roots)?);
    Ok(ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(10)))
        .tls_config(tls.build())
        .build()
        .new_agent())
}

/// The certificates of a PEM file.
fn roots(path: &Path) -> anyhow::Result<RootCerts> {
    let pem = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let certificates: Vec<Certificate<'static>> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    ensure!(!certificates.is_empty(), "{} holds no certificate in PEM", path.display());
    Ok(RootCerts::new_with_certs(&certificates))
}

fn answer(to: &To, response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> anyhow::Result<Value> {
    let mut response = response.with_context(|| {
        format!("no shell answers at {}: start one with `ringfence up`, or give --url", to.url)
    })?;
    let status = response.status();
    let text = response.body_mut().read_to_string()?;
    let answer: Value = serde_json::from_str(&text).unwrap_or(Value::String(text));
    if status.is_success() {
        return Ok(answer);
    }
    if to.json {
        println!("{answer}");
    }
    bail!("{status}: {} {}", answer["message"].as_str().unwrap_or("refused"), answer["details"])
}

pub fn tell(to: &To, answer: &Value, line: impl Fn(&Value) -> String) -> anyhow::Result<()> {
    if to.json {
        println!("{answer}");
    } else {
        println!("{}", line(answer));
    }
    Ok(())
}
