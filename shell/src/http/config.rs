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
pub const EXECUTION_MODE: &str = "sim_engine";

/// Names of market sources, as a configuration file would bring them about; none: not in this build.
pub(super) const SOURCES: [(&str, Option<&str>); 3] = [
    ("sim", Some("start without `shell.replay`")),
    ("replay", Some("start with `--replay FILE`, or `shell.replay`")),
    ("binance", None),
];

/// Names of venues, and whether the paper venue is meant.
pub(super) const MODES: [(&str, bool); 5] = [
    (EXECUTION_MODE, true),
    ("simulation", true),
    ("paper", true),
    ("sim", true),
    ("binance_testnet_spot", false),
];

#[derive(Serialize, ToSchema)]
pub(super) struct Config<'a> {
    market_source: &'a str,
    market_symbol: Option<String>,
    execution_mode: &'static str,
    auth_enabled: bool,
    account: u16,
    strategy: &'a str,
}

/// GET /api/config
pub async fn config(State(app): State<Arc<App>>) -> Response<Body> {
    shown(&app)
}

fn shown(app: &App) -> Response<Body> {
    json::ok(&Config {
        market_source: &app.market_source,
        market_symbol: default_symbol(app),
        execution_mode: EXECUTION_MODE,
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
            "{} is not taken: this build has no Binance, and keys never come over HTTP",
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
    if mode == Some(false) {
        return Err(unsupported(
            "this build trades with the paper venue alone: set execution_mode to sim_engine",
        ));
    }
    if let (Some(source), Some(name)) = (source, fields.text("market_source")?)
        && !name.eq_ignore_ascii_case(&app.market_source)
    {
        let start = source.ok_or_else(|| unsupported("this build has the market sources sim and replay"))?;
        return Err(restart_required("market_source", start));
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
