//! What limits what, at every scope, as the journal tells it; and how operators change it.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, Response, StatusCode};
use ringfence_ipc::handshake::ControlDone;
use ringfence_ipc::reason::{LimitId, Scope};
use serde::Serialize;
use utoipa::ToSchema;

use super::App;
use super::body::Fields;
use super::json;
use super::problem::Problem;
use crate::gateway::events::limit_value;
use crate::gateway::exact::Exact;
use crate::gateway::operate;
use crate::gateway::projection::Projection;

#[derive(Serialize, ToSchema)]
pub(super) struct LimitsBody {
    config_version: u64,
    position: u64,
    items: Vec<LimitBody>,
    /// Strategies that may not trade everything.
    entitlements: Vec<EntitlementBody>,
}

#[derive(Serialize, ToSchema)]
struct EntitlementBody {
    strategy_id: u16,
    strategy: String,
    symbols: Vec<String>,
}

#[derive(Serialize, ToSchema)]
struct LimitBody {
    scope: &'static str,
    scope_id: u16,
    /// Of a symbol or strategy.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Ends in the unit of `value`; a quantity is in the symbols' own unit.
    limit: &'static str,
    value: Exact,
    /// What the limit is compared with, where the shell knows it exactly.
    #[serde(skip_serializing_if = "Option::is_none")]
    observed: Option<usize>,
}

/// GET /api/limits
pub async fn limits(State(app): State<Arc<App>>) -> Response<Body> {
    json::ok(&app.gateway.look(body))
}

pub(super) const SCOPES: [(&str, Scope); 4] = [
    ("global", Scope::Global),
    ("account", Scope::Account),
    ("symbol", Scope::Symbol),
    ("strategy", Scope::Strategy),
];

#[derive(Serialize, ToSchema)]
pub(super) struct Changed {
    ok: bool,
    journal_seq: u64,
    config_version: u64,
}

/// What came of a change.
async fn done(app: &App, done: ControlDone) -> Response<Body> {
    let journal_seq = done.journal_seq;
    app.gateway.settle_limits_at(journal_seq).await;
    json::ok(&Changed { ok: true, journal_seq, config_version: app.gateway.look(|p| p.limits.version()) })
}

/// POST /api/limits
pub async fn set(State(app): State<Arc<App>>, request: Request<Body>) -> Result<Response<Body>, Problem> {
    let fields = Fields::read(request).await?;
    let scope = fields.choice("scope", &SCOPES)?.unwrap_or(Scope::Global);
    let (limit, value) = (fields.required_text("limit")?, fields.required_number("value")?);
    let set = operate::set_limit(&app.gateway, (scope, fields.number("of")?), limit, value).await?;
    Ok(done(&app, set).await)
}

/// POST /api/config/reload
pub async fn reload(State(app): State<Arc<App>>) -> Result<Response<Body>, Problem> {
    if let Some(tls) = &app.tls {
        // Files on a disk that may be slow.
        let tls = Arc::clone(tls);
        let read = tokio::task::spawn_blocking(move || tls.reload().map_err(|error| error.to_string())).await;
        let why = read.unwrap_or_else(|error| Err(error.to_string())).err();
        if let Some(why) = why {
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "config_refused", why));
        }
    }
    let read = operate::reload(&app.gateway).await?;
    Ok(done(&app, read).await)
}

fn body(p: &Projection) -> LimitsBody {
    let mut open = BTreeMap::<u16, usize>::new();
    for order in p.orders.open() {
        *open.entry(order.strategy).or_default() += 1;
    }
    let item = |(scope, scope_id, limit, value): (Scope, u16, LimitId, i64)| {
        let symbol = if scope == Scope::Symbol { p.names.symbol(scope_id) } else { None };
        // Quantities of other scopes count for every symbol alike: such a limit needs symbols of one scale.
        let scale = symbol.or_else(|| p.names.symbols().next().map(|(_, symbol)| symbol));
        let observed = (limit == LimitId::MaxOpenOrders && scope == Scope::Strategy)
            .then(|| open.get(&scope_id).copied().unwrap_or(0));
        LimitBody {
            scope: scope.name(),
            scope_id,
            name: match scope {
                Scope::Symbol => Some(p.names.symbol_name(scope_id)),
                Scope::Strategy => Some(p.names.strategy_name(scope_id)),
                Scope::Global | Scope::Account => None,
            },
            limit: limit.name(),
            value: limit_value(limit, value, scale),
            observed,
        }
    };
    LimitsBody {
        config_version: p.limits.version(),
        position: p.position(),
        items: p.limits.iter().map(item).collect(),
        entitlements: p
            .limits
            .entitled()
            .map(|(strategy_id, symbols)| EntitlementBody {
                strategy_id,
                strategy: p.names.strategy_name(strategy_id),
                symbols: symbols.iter().map(|symbol| p.names.symbol_name(*symbol)).collect(),
            })
            .collect(),
    }
}
