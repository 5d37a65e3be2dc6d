//! The HTTP edge: routes, what guards them, and what every answer has in common.

mod body;
mod gate;
mod guard;
mod json;
mod limits;
mod listener;
mod metrics;
mod operate;
mod orders;
mod page;
mod problem;
mod read;
mod reconcile;
mod stream;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode};
use axum::middleware::{self, Next};
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get, post};
use tokio::sync::watch;

use crate::gateway::Gateway;
use metrics::Metrics;
use problem::Problem;
use stream::Streams;

pub use body::MAX_BODY_BYTES;
pub use listener::{MAX_CONNECTIONS, serve};
pub use stream::MAX_STREAMS;

/// How long a request may take, its body included.
const REQUEST_WITHIN: Duration = Duration::from_secs(10);

/// What the routes share.
pub struct App {
    gateway: Arc<Gateway>,
    metrics: Metrics,
    streams: Streams,
    account: watch::Sender<Bytes>,
    closing: watch::Sender<bool>,
    counters_path: PathBuf,
    socket: PathBuf,
    market_source: String,
    market_symbol: Option<String>,
}

/// Returns once the application closes.
async fn closed(closing: &mut watch::Receiver<bool>) {
    // An application that is gone is closed, too.
    let _ = closing.wait_for(|closing| *closing).await;
}

/// What the application is set up with.
#[derive(Clone, Debug)]
pub struct AppConfig {
    /// The gate's counters file.
    pub counters_path: PathBuf,
    /// The gate's control socket.
    pub socket: PathBuf,
    /// `sim` or `replay`: what `/api/config` says.
    pub market_source: String,
    /// The symbol of `/api/market` without one; none: the first.
    pub market_symbol: Option<String>,
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
                market_symbol: config.market_symbol,
            }
        })
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
        self.account.send_replace(stream::account_text(&self.gateway));
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

/// Every route. Metrics know no other name than these.
fn routes() -> [(&'static str, MethodRouter<Arc<App>>); 29] {
    [
        ("/", get(page::index)),
        ("/app.js", get(page::script)),
        ("/chart.js", get(page::chart)),
        ("/style.css", get(page::style)),
        ("/icon.svg", get(page::icon)),
        ("/health", get(read::alive)),
        ("/metrics", get(metrics::metrics)),
        ("/api/health", get(read::health)),
        ("/api/config", get(read::config)),
        ("/api/symbols", get(read::symbols)),
        ("/api/market", get(read::market)),
        ("/api/account", get(read::account)),
        ("/api/positions", get(read::positions)),
        ("/api/gate", get(gate::gate)),
        ("/api/config/reload", post(limits::reload)),
        ("/api/reconcile", get(reconcile::reconcile)),
        ("/api/limits", get(limits::limits).post(limits::set)),
        ("/api/order", post(orders::place)),
        ("/api/cancel", post(orders::cancel)),
        ("/api/cancel_all", post(operate::cancel_all)),
        ("/api/kill", post(operate::kill)),
        ("/api/rearm", post(operate::rearm)),
        ("/api/mode", get(operate::get_mode).post(operate::mode)),
        ("/api/orders", get(orders::recent)),
        ("/api/orders_state", get(orders::orders_state)),
        ("/api/order_state", get(orders::order_state)),
        ("/api/stream", get(stream::stream)),
        ("/api/execution/ping", get(read::ping)),
        ("/favicon.ico", get(page::icon)),
    ]
}

/// The whole edge over `app`.
pub fn router(app: Arc<App>) -> Router {
    let mut router = Router::new();
    for (path, methods) in routes() {
        router = router.route(path, methods);
    }
    router
        .fallback(page::fallback)
        .method_not_allowed_fallback(page::wrong_method)
        .layer(middleware::from_fn_with_state(Arc::clone(&app), edge))
        .with_state(app)
}

/// A bounded label: paths that are no route share one.
fn route_name(path: &str) -> &'static str {
    ROUTE_NAMES.iter().find(|name| **name == path).copied().unwrap_or("other")
}

const ROUTE_NAMES: [&str; 29] = [
    "/",
    "/app.js",
    "/chart.js",
    "/style.css",
    "/icon.svg",
    "/favicon.ico",
    "/health",
    "/metrics",
    "/api/health",
    "/api/config",
    "/api/symbols",
    "/api/market",
    "/api/account",
    "/api/positions",
    "/api/gate",
    "/api/config/reload",
    "/api/reconcile",
    "/api/limits",
    "/api/order",
    "/api/cancel",
    "/api/cancel_all",
    "/api/kill",
    "/api/rearm",
    "/api/mode",
    "/api/orders",
    "/api/orders_state",
    "/api/order_state",
    "/api/stream",
    "/api/execution/ping",
];

/// Around every request: guard, deadline, headers, metrics.
async fn edge(State(app): State<Arc<App>>, request: Request, next: Next) -> Response<Body> {
    let began = Instant::now();
    let (method, route) = (request.method().clone(), route_name(request.uri().path()));
    let mut response = match guard::check(&request) {
        Err(problem) => problem.into_response(),
        Ok(()) => match tokio::time::timeout(REQUEST_WITHIN, next.run(request)).await {
            Ok(response) => response,
            Err(_) => Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the request took too long")
                .into_response(),
        },
    };
    guard::secure(&mut response);
    app.metrics.observe(&method, route, response.status(), began.elapsed());
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_has_a_name_in_metrics() {
        for (path, _) in routes() {
            assert!(ROUTE_NAMES.contains(&path), "{path}");
        }
    }
}
