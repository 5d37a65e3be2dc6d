//! `http_*`: a shell in this process, asked over loopback TCP by a client in this process.
//!
//! Logins (an API key), audit, metrics and rates are on. The gate spins on its CPU; shell and client share the other one,
//! so what the client costs is in every number.

use std::cell::Cell;
use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context as _, Result};
use axum::Json;
use axum::routing::post;
use serde::{Deserialize, Serialize};

use super::Bench;
use super::http_load::{Connection, request, storm};
use super::http_shell::{HttpShell, WORKERS};
use crate::stats::{Latencies, Row};

/// Connections of `http_ratio_axum`.
const CONNECTIONS: usize = 32;
/// Requests before the first that counts.
const WARM_UP: u64 = 200;
/// Turns of `http_ratio_axum`: ours, then the other's.
const TURNS: u32 = 4;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// GET /health
    Health,
    /// GET /api/market
    Market,
    /// POST /api/order, decided by the gate
    Order,
}

/// An order that passes, and its id.
pub fn order(n: u64) -> (String, String) {
    let (id, side) = (format!("b{n}"), if n.is_multiple_of(2) { "BUY" } else { "SELL" });
    let body = format!(
        r#"{{"side":"{side}","symbol":"BTCUSDT","qty":"0.001","price":"61745.68","client_order_id":"{id}"}}"#
    );
    (body, id)
}

fn bytes(kind: Kind, key: &str, n: u64) -> Vec<u8> {
    match kind {
        Kind::Health => request("GET", "/health", key, ""),
        Kind::Market => request("GET", "/api/market", key, ""),
        Kind::Order => request("POST", "/api/order", key, &order(n).0),
    }
}

/// One connection, closed loop: round trips as the client sees them.
///
/// # Errors
/// Something is not answered 200, or the gate has not seen every order.
pub fn round_trips(bench: &mut Bench, name: &str, kind: Kind) -> Result<Vec<Row>> {
    let shell = HttpShell::start(bench)?;
    let mut connection = Connection::open(shell.address)?;
    let (mut latencies, mut sent) = (Latencies::new()?, 0);
    let mut samples = Vec::with_capacity(1 << 16);
    let mut ask = |sent: &mut u64| -> Result<u32> {
        let request = bytes(kind, &shell.api_key, *sent);
        *sent += 1;
        let began = Instant::now();
        connection.ask(&request)?;
        Ok(u32::try_from(began.elapsed().as_nanos()).unwrap_or(u32::MAX))
    };
    for _ in 0..WARM_UP {
        ask(&mut sent)?;
    }
    let deadline = Instant::now() + bench.options.http_time();
    while Instant::now() < deadline {
        samples.push(ask(&mut sent)?);
    }
    latencies.add(&samples);
    shell.finish(if kind == Kind::Order { sent } else { 0 })?;
    Ok(vec![latencies.row(name, "any", None, 0, 1.0)])
}

#[derive(Deserialize)]
struct BareOrder {
    side: String,
    symbol: String,
    qty: String,
    price: String,
    client_order_id: String,
}

#[derive(Serialize)]
struct BareAnswer {
    ok: bool,
    client_order_id: String,
    notional_bytes: usize,
}

/// Reads the order, and answers.
async fn bare(Json(order): Json<BareOrder>) -> Json<BareAnswer> {
    let notional_bytes = order.side.len() + order.symbol.len() + order.qty.len() + order.price.len();
    Json(BareAnswer { ok: true, client_order_id: order.client_order_id, notional_bytes })
}

/// Orders a second over 32 connections, in turn with a bare axum handler of the same JSON: `value` is the shell's rate,
/// `raw_value` the bare one's, and the ratio theirs.
///
/// # Errors
/// As [`round_trips`].
pub fn against_axum(bench: &mut Bench, name: &'static str) -> Result<Vec<Row>> {
    let shell = HttpShell::start(bench)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
    let listener = runtime.block_on(tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))))?;
    let other = listener.local_addr()?;
    let router = axum::Router::new().route("/api/order", post(bare));
    runtime.spawn(async move { axum::serve(listener, router).await });
    let sent = Cell::new(0);
    let next = || {
        sent.set(sent.get() + 1);
        bytes(Kind::Order, &shell.api_key, sent.get())
    };
    let turn = bench.options.http_time() / TURNS;
    let (mut own, mut bare, mut rates) = ((0, 0.0), (0, 0.0), Vec::new());
    for _ in 0..TURNS {
        let (answered, seconds) = storm(shell.address, CONNECTIONS, turn, next)?;
        own = (own.0 + answered, own.1 + seconds);
        rates.push(answered as f64 / seconds);
        let (answered, seconds) = storm(other, CONNECTIONS, turn, || bytes(Kind::Order, &shell.api_key, 0))?;
        bare = (bare.0 + answered, bare.1 + seconds);
    }
    runtime.shutdown_background();
    shell.finish(own.0)?;
    let mut row = Row::rate(name, "any", own.0, own.1, &mut rates, 0);
    let raw = bare.0 as f64 / bare.1;
    row.raw_value = Some(raw);
    row.ratio_raw = Some(row.value.context("no time has passed")? / raw);
    Ok(vec![row])
}
