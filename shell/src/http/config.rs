//! What the shell runs with, and what of it may change while it runs.

use std::sync::{Arc, PoisonError};

use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, Response, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::App;
use super::body::Fields;
use super::json;
use super::problem::Problem;

/// The paper venue, as the HTTP contract names it.
const PAPER: &str = "sim_engine";

/// Names of market sources, and what brings each about.
pub(super) const SOURCES: [(&str, &str); 3] = [
    ("sim", "start without `shell.replay`, and with `shell.market_source = \"sim\"`"),
    ("replay", "start with `--replay FILE`, or `shell.replay`"),
    ("binance", "start with `shell.market_source = \"binance\"`"),
];

/// Names of venues, and whether the paper venue is meant.
pub(super) const MODES: [(&str, bool); 5] =
    [(PAPER, true), ("simulation", true), ("paper", true), ("sim", true), ("binance_testnet_spot", false)];

#[derive(Serialize, ToSchema)]
pub(super) struct Config<'a> {
    market_source: &'a str,
    market_symbol: Option<String>,
    execution_mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    binance_testnet: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    binance_rest_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    binance_ws_api_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    binance_stream_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    binance_recv_window_ms: Option<u64>,
    auth_enabled: bool,
    account: u16,
    strategy: &'a str,
}

/// The venue, as the HTTP contract names it.
pub fn execution_mode(app: &App) -> &'static str {
    app.venue.as_ref().map_or(PAPER, |venue| venue.execution_mode)
}

/// GET /api/config
pub async fn config(State(app): State<Arc<App>>) -> Response<Body> {
    shown(&app)
}

fn shown(app: &App) -> Response<Body> {
    let venue = app.venue.as_ref();
    json::ok(&Config {
        market_source: &app.market_source,
        market_symbol: default_symbol(app),
        execution_mode: execution_mode(app),
        binance_testnet: venue.map(|venue| venue.testnet),
        binance_rest_url: venue.map(|venue| &*venue.rest_url),
        binance_ws_api_url: venue.map(|venue| &*venue.ws_api_url),
        binance_stream_url: venue.map(|venue| &*venue.stream_url),
        binance_recv_window_ms: venue.map(|venue| venue.recv_window_ms),
        auth_enabled: app.auth.is_some(),
        account: app.gateway.settings.account,
        strategy: &app.gateway.settings.manual_strategy,
    })
}

/// The symbol that is meant when none is named.
pub fn default_symbol(app: &App) -> Option<String> {
    let first = || app.gateway.look(|p| p.names.symbols().next().map(|(_, s)| s.name().to_owned()));
    let chosen = app.market_symbol.read().unwrap_or_else(PoisonError::into_inner).clone();
    chosen.or_else(first)
}

fn restart_required(field: &str, what: &str) -> Problem {
    let message = format!("{field} counts from a start on: {what}, and start again");
    Problem::new(StatusCode::CONFLICT, "restart_required", message)
}

fn unsupported(message: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "unsupported", message)
}

/// POST /api/config: all of it, or nothing.
pub async fn change(State(app): State<Arc<App>>, request: Request<Body>) -> Result<Response<Body>, Problem> {
    let fields = Fields::read(request).await?;
    if let Some(name) = fields.names().find(|name| name.starts_with("binance_")) {
        return Err(unsupported(format!(
            "{} is not taken: set it in the file, and keys in the environment; they never come over HTTP",
            name.chars().take(64).collect::<String>()
        )));
    }
    let source = fields.choice("market_source", &SOURCES)?;
    let mode = fields.choice("execution_mode", &MODES)?;
    let (auth, symbol) = (fields.flag("auth_enabled")?, fields.text("market_symbol")?);
    if source.is_none() && mode.is_none() && auth.is_none() && symbol.is_none() {
        let message = "name what to change: market_symbol, market_source, execution_mode or auth_enabled";
        return Err(Problem::field("bad_params", "body", message));
    }
    if mode.is_some_and(|paper| paper != app.venue.is_none()) {
        return Err(restart_required("execution_mode", "set `venue` to paper or binance_testnet_spot"));
    }
    if let (Some(source), Some(name)) = (source, fields.text("market_source")?)
        && !name.eq_ignore_ascii_case(&app.market_source)
    {
        return Err(restart_required("market_source", source));
    }
    if auth.is_some_and(|wanted| wanted != app.auth.is_some()) {
        return Err(restart_required("auth_enabled", "set `auth.enabled`"));
    }
    if let Some(name) = symbol {
        let name = name.to_ascii_uppercase();
        let known = app.gateway.look(|p| p.names.find_symbol(&name).is_some());
        if !known {
            let message = "market_symbol is not in the gate's symbol table: see /api/symbols";
            return Err(Problem::field("bad_params", "market_symbol", message));
        }
        *app.market_symbol.write().unwrap_or_else(PoisonError::into_inner) = Some(name);
    }
    Ok(shown(&app))
}
