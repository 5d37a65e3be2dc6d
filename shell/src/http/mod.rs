//! The HTTP edge: routes, what guards them, and what every answer has in common.

mod access;
mod audit;
mod auth;
mod body;
mod config;
mod gate;
mod guard;
mod json;
mod lease;
mod limits;
mod listener;
mod metrics;
mod openapi;
mod operate;
mod orders;
mod page;
mod problem;
mod read;
mod reconcile;
mod routes;
mod strategies;
mod stream;
mod tls;
mod trail;
mod venue;
mod ws;

use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode};
use axum::middleware::{self, Next};
use axum::response::IntoResponse;
use ringfence_binance::MarketStatus;
use ringfence_strategies::Strategies;
use tokio::sync::{Semaphore, watch};

use crate::audit::AuditLog;
use crate::auth::Auth;
use crate::gateway::Gateway;
use crate::gateway::rendered::Rendered;
use crate::order_events;
use crate::venue::Venue;
use metrics::Metrics;
use problem::Problem;
use stream::Streams;

pub use access::{Access, Peer};
pub use body::MAX_BODY_BYTES;
pub use listener::{MAX_CONNECTIONS, serve};
pub use openapi::statuses;
pub use routes::{Row, rows};
pub use stream::MAX_STREAMS;
pub use tls::{Tls, TlsError, TlsFiles};
pub use trail::identify;
pub use ws::Rules;

/// How long a request may take, its body included.
const REQUEST_WITHIN: Duration = Duration::from_secs(10);

/// What the routes share.
pub struct App {
    gateway: Arc<Gateway>,
    metrics: Metrics,
    streams: Streams,
    account: watch::Sender<Arc<Rendered>>,
    closing: watch::Sender<bool>,
    counters_path: PathBuf,
    socket: PathBuf,
    market_source: String,
    live_market: Option<watch::Receiver<MarketStatus>>,
    venue: Option<Venue>,
    /// The configured one, until somebody chooses another.
    market_symbol: RwLock<Option<String>>,
    audit: AuditLog,
    order_events: Option<Arc<order_events::Status>>,
    audit_queries: Arc<Semaphore>,
    refusals: trail::Refusals,
    auth: Option<Arc<Auth>>,
    sockets: Rules,
    tls: Option<Arc<Tls>>,
    strategies: Option<Arc<Strategies>>,
    submissions: strategies::Room,
}

/// Returns once the application closes.
async fn closed(closing: &mut watch::Receiver<bool>) {
    // An application that is gone is closed, too.
    let _ = closing.wait_for(|closing| *closing).await;
}

/// What the application is set up with.
#[derive(Clone)]
pub struct AppConfig {
    /// The gate's counters file.
    pub counters_path: PathBuf,
    /// The gate's control socket.
    pub socket: PathBuf,
    /// `sim`, `replay` or `binance`: what `/api/config` says.
    pub market_source: String,
    /// How the live market is doing; none: it is not live.
    pub live_market: Option<watch::Receiver<MarketStatus>>,
    /// The exchange that this shell drives.
    pub venue: Option<Venue>,
    /// The symbol of `/api/market` without one; none: the first.
    pub market_symbol: Option<String>,
    /// Where what happens is recorded.
    pub audit: AuditLog,
    /// How the publishing of order events goes; none: there is none.
    pub order_events: Option<Arc<order_events::Status>>,
    /// Who may do what; none: authentication is off.
    pub auth: Option<Arc<Auth>>,
    /// What one WebSocket may do.
    pub sockets: Rules,
    /// What the listener speaks TLS with; none: plain HTTP.
    pub tls: Option<Arc<Tls>>,
    /// Strategies and what they share; none: this shell has none.
    pub strategies: Option<Arc<Strategies>>,
}

impl App {
    /// An application over `gateway`.
    #[must_use]
    pub fn new(gateway: Arc<Gateway>, config: AppConfig) -> Arc<Self> {
        Arc::new_cyclic(|app| {
            let mut metrics = Metrics::default();
            metrics.watch(app.clone(), config.counters_path.clone());
            Self {
                gateway,
                metrics,
                streams: Streams::default(),
                account: watch::Sender::default(),
                closing: watch::Sender::new(false),
                counters_path: config.counters_path,
                socket: config.socket,
                market_source: config.market_source,
                live_market: config.live_market,
                venue: config.venue,
                market_symbol: RwLock::new(config.market_symbol),
                audit: config.audit,
                order_events: config.order_events,
                audit_queries: Arc::new(Semaphore::new(audit::MAX_QUERIES)),
                refusals: trail::Refusals::default(),
                auth: config.auth,
                sockets: config.sockets,
                tls: config.tls,
                strategies: config.strategies,
                submissions: strategies::Room::default(),
            }
        })
    }

    /// How its own pages are reached.
    const fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Ends every stream and stops the listener.
    pub fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Turns true when the application closes.
    #[must_use]
    pub fn closing(&self) -> watch::Receiver<bool> {
        self.closing.subscribe()
    }

    /// Tells streams the account as it is now.
    pub fn publish_account(&self) {
        self.account.send_replace(Arc::new(stream::account_text(&self.gateway)));
    }

    /// Returns once every stream has ended.
    pub async fn streams_ended(&self) {
        self.streams.ended().await;
    }

    /// Event streams being served.
    #[must_use]
    pub fn stream_count(&self) -> usize {
        self.streams.count()
    }
}

/// Whether the edge reads `body`, JSON or a form, as an order: its decoder alone, for whoever tests it with bytes.
#[must_use]
pub fn understands_order(body: &[u8], form: bool) -> bool {
    orders::understands(body, form)
}

/// The whole edge over `app`.
pub fn router(app: Arc<App>) -> Router {
    let router = routes::routed(routes::rows(), &app)
        .fallback(page::fallback)
        .method_not_allowed_fallback(page::wrong_method);
    guarded(router, app)
}

/// What one WebSocket reaches of it: orders and cancels, behind the same guards.
fn order_entry(app: Arc<App>) -> Router {
    guarded(routes::routed(routes::order_entry().into(), &app), app)
}

fn guarded(router: Router<Arc<App>>, app: Arc<App>) -> Router {
    router.layer(middleware::from_fn_with_state(Arc::clone(&app), edge)).with_state(app)
}

/// Around every request: guard, deadline, headers, audit trail, metrics.
async fn edge(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response<Body> {
    let began = Instant::now();
    // A bounded label: paths that are no route share one.
    let (method, route) = (request.method().clone(), routes::template(&request).unwrap_or("other"));
    let trail = trail::Trail::begin(&mut request, route);
    // With authentication on, a web page of anybody else has no credentials to use.
    let admitted =
        if app.auth.is_some() { access::admit(&app, &request) } else { guard::check(&request, app.scheme()) };
    let mut response = match admitted {
        Err(problem) => problem.into_response(),
        Ok(()) => match tokio::time::timeout(REQUEST_WITHIN, trail::act(&app, &trail, request, next)).await {
            Ok(response) => response,
            Err(_) => Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the request took too long")
                .into_response(),
        },
    };
    guard::secure(&mut response);
    if app.tls.is_some() {
        guard::only_tls(&mut response);
    }
    trail.end(&app, &mut response);
    app.metrics.observe(&method, route, response.status(), began.elapsed());
    response
}
