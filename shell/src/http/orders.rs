//! Orders: place, cancel, cancel all, and what became of them.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, Response, Uri};
use ringfence_ipc::msg::{OrderType, Side, Tif};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::App;
use super::body::Fields;
use super::json;
use super::problem::Problem;
use crate::gateway::events::{OrderStateBody, reason_name, venue_order_id};
use crate::gateway::orders::{self, OrderError, OrderRequest, Placed};

pub(super) const SIDES: [(&str, Side); 2] = [("BUY", Side::Buy), ("SELL", Side::Sell)];
pub(super) const TYPES: [(&str, OrderType); 2] = [("LIMIT", OrderType::Limit), ("MARKET", OrderType::Market)];
pub(super) const TIFS: [(&str, Tif); 4] =
    [("GTC", Tif::Gtc), ("IOC", Tif::Ioc), ("FOK", Tif::Fok), ("DAY", Tif::Day)];

#[derive(Serialize, ToSchema)]
pub(super) struct PlacedBody<'a> {
    ok: bool,
    client_order_id: &'a str,
    venue_order_id: Option<String>,
    decision: DecisionBody,
    duplicate: bool,
}

#[derive(Serialize, ToSchema)]
struct DecisionBody {
    outcome: &'static str,
    reason: Option<&'static str>,
    journal_seq: u64,
    decided_at_ns: u64,
    gate_latency_ns: Option<u64>,
}

fn placed(placed: &Placed) -> Response<Body> {
    let answer = &placed.answer;
    json::ok(&PlacedBody {
        ok: true,
        client_order_id: &placed.client_order_id,
        venue_order_id: venue_order_id(placed.order_id),
        decision: DecisionBody {
            outcome: answer.outcome.name(),
            reason: reason_name(answer.reason),
            journal_seq: answer.journal_seq,
            decided_at_ns: answer.decided_at_ns,
            gate_latency_ns: placed.gate_latency_ns,
        },
        duplicate: placed.duplicate,
    })
}

fn order_request(fields: &Fields) -> Result<OrderRequest, Problem> {
    let missing =
        |field: &'static str| Problem::from(OrderError::Field { field, message: "is required".into() });
    let order_type = fields.choice("type", &TYPES)?.or(fields.choice("order_type", &TYPES)?);
    let order_type = order_type.unwrap_or(OrderType::Limit);
    let default_tif = match order_type {
        OrderType::Limit => Tif::Gtc,
        OrderType::Market => Tif::Ioc,
    };
    Ok(OrderRequest {
        side: fields.choice("side", &SIDES)?.ok_or_else(|| missing("side"))?,
        symbol: fields.required_text("symbol")?.to_owned(),
        qty: fields.required_number("qty")?.to_owned(),
        price: fields.number("price")?.map(str::to_owned),
        order_type,
        tif: fields.choice("tif", &TIFS)?.unwrap_or(default_tif),
        strategy: fields.number("strategy_id")?.map(str::to_owned),
        client_order_id: fields.text("client_order_id")?.map(str::to_owned),
    })
}

/// Whether this body is an order; it goes no further.
pub fn understands(body: &[u8], form: bool) -> bool {
    let fields = if form { Fields::from_form(body) } else { Fields::from_json(body) };
    fields.and_then(|fields| order_request(&fields)).is_ok()
}

/// POST /api/order
pub async fn place(State(app): State<Arc<App>>, request: Request<Body>) -> Result<Response<Body>, Problem> {
    let request = order_request(&Fields::read(request).await?)?;
    match orders::place(&app.gateway, &request).await {
        Ok(order) => Ok(placed(&order)),
        Err(OrderError::Refused(refused)) => {
            let version = app.gateway.config_version(refused.answer.journal_seq).await;
            Err(Problem::refused(&refused, version))
        }
        Err(error) => Err(error.into()),
    }
}

/// POST /api/cancel
pub async fn cancel(State(app): State<Arc<App>>, request: Request<Body>) -> Result<Response<Body>, Problem> {
    let fields = Fields::read(request).await?;
    let id = fields.required_text("client_order_id")?;
    Ok(placed(&orders::cancel(&app.gateway, id).await?))
}

#[derive(Serialize, ToSchema)]
pub(super) struct Recent {
    #[schema(value_type = Vec<Object>)]
    items: Vec<Box<RawValue>>,
}

/// GET /api/orders
pub async fn recent(State(app): State<Arc<App>>) -> Response<Body> {
    let items = app
        .gateway
        .look(|p| p.recent().filter_map(|event| RawValue::from_string(event.json.clone()).ok()).collect());
    json::ok(&Recent { items })
}

/// GET /api/orders_state
pub async fn orders_state(State(app): State<Arc<App>>) -> Response<Body> {
    json::ok(&app.gateway.orders_state())
}

/// GET /api/order_state?client_order_id=
pub async fn order_state(State(app): State<Arc<App>>, uri: Uri) -> Result<Response<Body>, Problem> {
    let fields = Fields::from_query(uri.query())?;
    let id = fields.required_text("client_order_id")?;
    let find = || {
        app.gateway.look(|p| {
            p.orders.find(app.gateway.settings.account, id).map(|order| OrderStateBody::new(order, &p.names))
        })
    };
    let mut found = find();
    if found.is_none() {
        app.gateway.settle().await;
        found = find();
    }
    found.map(|body| json::ok(&body)).ok_or_else(|| OrderError::NotFound(id.to_owned()).into())
}
