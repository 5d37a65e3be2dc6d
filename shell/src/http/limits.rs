//! GET /api/limits: what limits what, at every scope, as the journal tells it.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::Response;
use ringfence_ipc::reason::{LimitId, Scope};
use serde::Serialize;

use super::App;
use super::json;
use crate::gateway::events::limit_value;
use crate::gateway::exact::Exact;
use crate::gateway::projection::Projection;

#[derive(Serialize)]
struct LimitsBody {
    config_version: u64,
    position: u64,
    items: Vec<LimitBody>,
}

#[derive(Serialize)]
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
    }
}
