//! What can be read: health, configuration, market, account, the gate itself.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode, Uri};
use serde::Serialize;
use utoipa::ToSchema;

use super::App;
use super::audit;
use super::body::Fields;
use super::config;
use super::json;
use super::problem::Problem;
use super::venue::{LiveMarketBody, VenueBody};
use crate::gateway::account;
use crate::gateway::exact::Exact;
use crate::gateway::guarding::GuardBody;
use crate::order_events;
use crate::venue::Venue;

const PAGE_BYTES: u64 = 4096;

/// GET /health: the process lives.
pub async fn alive() -> Response<Body> {
    json::ok(&json::Done { ok: true })
}

#[derive(Serialize, ToSchema)]
pub(super) struct Health {
    ok: bool,
    engine: Engine,
    /// The exchange, if this shell drives one.
    #[serde(skip_serializing_if = "Option::is_none")]
    venue: Option<VenueBody>,
    /// The live market, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    live_market: Option<LiveMarketBody>,
    stores: Stores,
    memory_bytes: u64,
}

#[derive(Serialize, ToSchema)]
struct Engine {
    connected: bool,
    mode: &'static str,
    epoch: u16,
    guard: GuardBody,
}

#[derive(Serialize, ToSchema)]
struct Stores {
    projection: ProjectionHealth,
    audit: audit::Health,
    order_events: OrderEventsHealth,
}

/// `state` is `off`, `waiting` (for a journal), `following` or `failing` (they wait in the journal; the log says why).
#[derive(Serialize, ToSchema)]
struct OrderEventsHealth {
    state: &'static str,
    engine: Option<&'static str>,
    position: u64,
    lag: u64,
}

impl OrderEventsHealth {
    fn of(status: Option<&order_events::Status>) -> Self {
        Self {
            state: status.map_or("off", |status| status.state().name()),
            engine: status.map(order_events::Status::engine),
            position: status.map_or(0, order_events::Status::position),
            lag: status.map_or(0, order_events::Status::lag),
        }
    }
}

#[derive(Serialize, ToSchema)]
struct ProjectionHealth {
    caught_up: bool,
    position: u64,
    orders: usize,
}

/// GET /api/health: and the gate answers.
pub async fn health(State(app): State<Arc<App>>) -> Response<Body> {
    let connected = app.gateway.gate.is_connected();
    let caught_up = app.gateway.is_caught_up();
    let (engine, projection) = app.gateway.look(|p| {
        (
            Engine {
                connected,
                mode: p.mode().name(),
                epoch: p.epoch(),
                guard: GuardBody::new(&p.guard, &p.names),
            },
            ProjectionHealth { caught_up, position: p.position(), orders: p.orders.len() },
        )
    });
    let status = if connected { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let memory_bytes = own_memory_bytes();
    let order_events = OrderEventsHealth::of(app.order_events.as_deref());
    let stores = Stores { projection, audit: audit::Health::of(&app.audit), order_events };
    let (venue, live_market) = (app.venue.as_ref().map(VenueBody::new), LiveMarketBody::of(&app));
    json::response(status, &Health { ok: connected, engine, venue, live_market, stores, memory_bytes })
}

#[derive(Serialize, ToSchema)]
pub(super) struct Ping {
    ok: bool,
    execution_mode: &'static str,
    /// The exchange, if this shell drives one.
    #[serde(skip_serializing_if = "Option::is_none")]
    venue: Option<VenueBody>,
}

/// GET /api/execution/ping: whether a new order could pass gate and venue.
pub async fn ping(State(app): State<Arc<App>>) -> Response<Body> {
    let venue = app.venue.as_ref();
    json::ok(&Ping {
        ok: app.gateway.gate.is_connected() && venue.is_none_or(Venue::is_trading),
        execution_mode: config::execution_mode(&app),
        venue: venue.map(VenueBody::new),
    })
}

/// Memory of this process's own, bytes; 0 where the kernel does not tell. Pages of the gate's shared memory that are
/// mapped here are the gate's.
pub fn own_memory_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let mut pages = statm.split(' ').skip(1).map_while(|field| field.parse::<u64>().ok());
    let (resident, shared) = (pages.next().unwrap_or(0), pages.next().unwrap_or(0));
    resident.saturating_sub(shared) * PAGE_BYTES
}

/// GET /api/market[?symbol=]
pub async fn market(State(app): State<Arc<App>>, uri: Uri) -> Result<Response<Body>, Problem> {
    let fields = Fields::from_query(uri.query())?;
    let name = match fields.text("symbol")? {
        Some(name) => name.to_ascii_uppercase(),
        None => config::default_symbol(&app).ok_or_else(no_symbol)?,
    };
    let symbol = app.gateway.look(|p| p.names.find_symbol(&name).map(|(id, symbol)| (id, *symbol)));
    let (id, symbol) = symbol.ok_or_else(no_symbol)?;
    Ok(json::ok(&app.gateway.board.body(id, &symbol)))
}

fn no_symbol() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_found", "the gate has no such symbol")
}

#[derive(Serialize, ToSchema)]
struct SymbolBody {
    symbol: String,
    tick: Exact,
    lot: Exact,
    price_scale: u8,
    qty_scale: u8,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Symbols {
    items: Vec<SymbolBody>,
}

/// GET /api/symbols
pub async fn symbols(State(app): State<Arc<App>>) -> Response<Body> {
    let items = app.gateway.look(|p| {
        let body = |(_, s): (u16, &ringfence_ipc::symbol::Symbol)| SymbolBody {
            symbol: s.name().to_owned(),
            tick: Exact::new(s.tick, s.price_scale),
            lot: Exact::new(s.lot, s.qty_scale),
            price_scale: s.price_scale,
            qty_scale: s.qty_scale,
        };
        p.names.symbols().map(body).collect()
    });
    json::ok(&Symbols { items })
}

/// GET /api/account
pub async fn account(State(app): State<Arc<App>>) -> Response<Body> {
    let settings = &app.gateway.settings;
    json::ok(&app.gateway.look(|p| account::balances(p, settings)))
}

/// GET /api/positions
pub async fn positions(State(app): State<Arc<App>>) -> Response<Body> {
    json::ok(&app.gateway.look(account::positions))
}
