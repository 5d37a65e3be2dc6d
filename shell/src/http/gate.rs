//! GET /api/gate: the gate's own counters and latencies, read from its counters file.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use ringfence_ipc::counters::{Counter, CountersReader, Histo, Histogram};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::App;
use super::json;
use super::problem::Problem;
use crate::gateway::guarding::GuardBody;

#[derive(Serialize, ToSchema)]
struct Latency {
    count: u64,
    p50: u64,
    p90: u64,
    p99: u64,
    p999: u64,
    max: u64,
}

impl From<Histogram> for Latency {
    fn from(h: Histogram) -> Self {
        Self {
            count: h.count(),
            p50: h.percentile(0.5),
            p90: h.percentile(0.9),
            p99: h.percentile(0.99),
            p999: h.percentile(0.999),
            max: h.max(),
        }
    }
}

#[derive(Serialize, ToSchema)]
pub(super) struct GateBody {
    connected: bool,
    mode: &'static str,
    epoch: u16,
    guard: GuardBody,
    #[serde(flatten)]
    #[schema(value_type = HashMap<String, Latency>)]
    latencies: Map<String, Value>,
    #[schema(value_type = HashMap<String, u64>)]
    counters: Map<String, Value>,
    #[schema(value_type = HashMap<String, u64>)]
    rejects: Map<String, Value>,
}

/// GET /api/gate
pub async fn gate(State(app): State<Arc<App>>) -> Result<Response<Body>, Problem> {
    let reader = CountersReader::open(&app.counters_path).map_err(|error| {
        tracing::debug!(%error, "no counters file");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "execution_unavailable", "the gate has no counters yet")
    })?;
    let (mode, epoch) = app.gateway.look(|p| (p.mode().name(), p.epoch()));
    let latency = |h: &Histo| {
        let latency = Latency::from(reader.histogram(*h));
        (h.name().to_owned(), serde_json::to_value(latency).unwrap_or_default())
    };
    Ok(json::ok(&GateBody {
        connected: app.gateway.gate.is_connected(),
        mode,
        epoch,
        guard: app.gateway.guard(),
        latencies: Histo::ALL.iter().map(latency).collect(),
        counters: Counter::ALL.iter().map(|c| (c.name().to_owned(), reader.get(*c).into())).collect(),
        rejects: reader.rejects().map(|(reason, n)| (reason.name().to_owned(), n.into())).collect(),
    }))
}
