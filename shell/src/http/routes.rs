//! Every route: one row says its path, its method, and who may use it. The router is made of the rows and of nothing
//! else, and each handler is wrapped in its row's check as it goes in: a route without a row cannot exist.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::MatchedPath;
use axum::handler::Handler;
use axum::http::{Method, Request};
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, delete, get, post};

use super::access::{self, Access, Bucket};
use super::{
    App, audit, auth, config, gate, limits, metrics, openapi, operate, orders, page, read, reconcile,
    strategies, stream, ws,
};
use crate::auth::permission::{Permission as P, Permissions};

/// One route.
pub struct Row {
    /// Its path.
    pub path: &'static str,
    /// Its method.
    pub method: Method,
    /// Who may use it.
    pub access: Access,
    /// Whose bucket it is counted in.
    pub bucket: Bucket,
    /// Its body is a strategy: large, and perhaps packed. Only those who may use it send one.
    pub submission: bool,
    methods: MethodRouter<Arc<App>>,
}

impl Row {
    fn new(path: &'static str, method: Method, access: Access, methods: MethodRouter<Arc<App>>) -> Self {
        Self { path, method, access, bucket: Bucket::Requests, submission: false, methods }
    }

    fn get<H: Handler<T, Arc<App>>, T: 'static>(path: &'static str, access: Access, handler: H) -> Self {
        Self::new(path, Method::GET, access, get(handler))
    }

    fn post<H: Handler<T, Arc<App>>, T: 'static>(path: &'static str, access: Access, handler: H) -> Self {
        Self::new(path, Method::POST, access, post(handler))
    }

    fn delete<H: Handler<T, Arc<App>>, T: 'static>(path: &'static str, access: Access, handler: H) -> Self {
        Self::new(path, Method::DELETE, access, delete(handler))
    }

    fn counted_in(self, bucket: Bucket) -> Self {
        Self { bucket, ..self }
    }

    fn with_submission(self) -> Self {
        Self { submission: true, ..self }
    }
}

const fn needs(permission: P) -> Access {
    Access::AnyOf(Permissions::of(&[permission]))
}

/// Every route there is.
#[must_use]
pub fn rows() -> Vec<Row> {
    use Access::{Metrics, Public, SignedIn};
    let stream_access = Permissions::of(&[P::ReadMarket, P::ReadOrders]);
    let (submits, reads) = (needs(P::StrategiesSubmit), needs(P::StrategiesRead));
    let tries = Access::AnyOf(Permissions::of(&[P::StrategiesSubmit, P::StrategiesRead]));
    let mut all = vec![
        Row::get("/", Public, page::index),
        Row::get("/app.js", Public, page::script),
        Row::get("/chart.js", Public, page::chart),
        Row::get("/login.js", Public, page::login),
        Row::get("/style.css", Public, page::style),
        Row::get("/icon.svg", Public, page::icon),
        Row::get("/favicon.ico", Public, page::icon),
        Row::get("/docs", Public, page::docs),
        Row::get("/docs.js", Public, page::docs_script),
        Row::get("/docs.css", Public, page::docs_style),
        Row::get("/openapi.json", Public, openapi::serve),
        Row::get("/health", Public, read::alive),
        Row::get("/api/health", Public, read::health),
        Row::get("/metrics", Metrics, metrics::metrics),
        Row::get("/api/config", needs(P::ReadConfig), config::config),
        Row::post("/api/config", needs(P::AdminConfig), config::change),
        Row::post("/api/config/reload", needs(P::AdminConfig), limits::reload),
        Row::get("/api/symbols", needs(P::ReadMarket), read::symbols),
        Row::get("/api/market", needs(P::ReadMarket), read::market),
        Row::get("/api/account", needs(P::ReadAccount), read::account),
        Row::get("/api/positions", needs(P::ReadAccount), read::positions),
        Row::get("/api/reconcile", needs(P::ReadAccount), reconcile::reconcile),
        Row::get("/api/gate", needs(P::ReadConfig), gate::gate),
        Row::get("/api/execution/ping", needs(P::ReadConfig), read::ping),
        Row::get("/api/limits", needs(P::ReadConfig), limits::limits),
        Row::post("/api/limits", needs(P::AdminConfig), limits::set),
        Row::get("/api/mode", needs(P::ReadConfig), operate::get_mode),
        Row::post("/api/mode", needs(P::AdminConfig), operate::mode),
        Row::post("/api/kill", needs(P::OperateKill), operate::kill).counted_in(Bucket::Cancels),
        Row::post("/api/rearm", needs(P::AdminConfig), operate::rearm),
        Row::post("/api/cancel_all", needs(P::WriteCancel), operate::cancel_all).counted_in(Bucket::Cancels),
        Row::get("/api/orders", needs(P::ReadOrders), orders::recent),
        Row::get("/api/orders_state", needs(P::ReadOrders), orders::orders_state),
        Row::get("/api/order_state", needs(P::ReadOrders), orders::order_state),
        Row::get("/api/audit/logs", needs(P::AdminConfig), audit::logs),
        Row::get("/api/audit/stats", needs(P::AdminConfig), audit::stats),
        Row::post("/api/audit/archive", needs(P::AdminConfig), audit::archive),
        Row::get("/api/stream", Access::Stream(stream_access), stream::stream),
        Row::get("/api/ws", Access::Stream(stream_access), ws::open),
        Row::post("/api/stream/ticket", Access::AnyOf(stream_access), auth::ticket),
        Row::post("/api/auth/login", Public, auth::login).counted_in(Bucket::Logins),
        Row::post("/api/auth/refresh", Public, auth::refresh).counted_in(Bucket::Logins),
        Row::post("/api/auth/logout", Public, auth::logout).counted_in(Bucket::Logins),
        Row::post("/api/auth/password", SignedIn, auth::password).counted_in(Bucket::Logins),
        Row::get("/api/auth/keys", needs(P::AdminKeys), auth::keys),
        Row::post("/api/auth/keys", needs(P::AdminKeys), auth::create_key),
        Row::delete("/api/auth/keys", needs(P::AdminKeys), auth::revoke_key),
        Row::get("/api/auth/roles", needs(P::AdminUsers), auth::roles),
        Row::post("/api/auth/roles", needs(P::AdminUsers), auth::grant),
        Row::delete("/api/auth/roles", needs(P::AdminUsers), auth::revoke_role),
        Row::post("/api/auth/users", needs(P::AdminUsers), auth::create_user),
        Row::delete("/api/auth/users", needs(P::AdminUsers), auth::remove_user),
        Row::get("/admin/signing_keys", needs(P::AdminConfig), auth::signing_keys),
        Row::post("/admin/signing_keys", needs(P::AdminConfig), auth::rotate_signing_key),
        Row::delete("/admin/signing_keys", needs(P::AdminConfig), auth::revoke_signing_key),
        Row::get("/strategies", reads, strategies::list),
        Row::post("/strategies", submits, strategies::submit).with_submission(),
        Row::post("/strategies/dry-run", tries, strategies::dry_run).with_submission(),
        Row::get("/strategies/{id}", reads, strategies::detail),
        Row::delete("/strategies/{id}", submits, strategies::delete),
        Row::get("/strategies/{id}/status", reads, strategies::status),
        Row::post("/strategies/{id}/report", submits, strategies::report),
        Row::post("/strategies/{id}/lease", submits, strategies::lease),
        Row::get("/queues/by_tag", reads, strategies::queues_by_tag),
        Row::get("/.well-known/jwks.json", Public, auth::jwks),
        Row::get("/events/jwks", Public, auth::jwks),
    ];
    all.extend(order_entry());
    all
}

/// Those that a WebSocket reaches, too.
pub fn order_entry() -> [Row; 2] {
    [
        Row::post("/api/order", needs(P::WriteOrders), orders::place),
        Row::post("/api/cancel", needs(P::WriteCancel), orders::cancel).counted_in(Bucket::Cancels),
    ]
}

/// The routes of `rows`, each behind its row's check.
pub fn routed(rows: Vec<Row>, app: &Arc<App>) -> Router<Arc<App>> {
    rows.into_iter().fold(Router::new(), |router, row| {
        let check = from_fn_with_state((Arc::clone(app), row.access, row.bucket), access::check);
        router.route(row.path, row.methods.route_layer(check))
    })
}

/// Every row, for looking up.
static ALL: LazyLock<Vec<Row>> = LazyLock::new(rows);

/// The path of the row that a request was led to; none: to no row.
pub fn template<B>(request: &Request<B>) -> Option<&'static str> {
    static PATHS: LazyLock<HashSet<&'static str>> =
        LazyLock::new(|| ALL.iter().map(|row| row.path).collect());
    PATHS.get(request.extensions().get::<MatchedPath>()?.as_str()).copied()
}

/// Whether this route, if it is one, has such a method.
pub fn takes(method: &Method, template: &str) -> bool {
    let mut route = ALL.iter().filter(|row| row.path == template).peekable();
    route.peek().is_none() || route.any(|row| row.method == *method)
}

/// Who may use this route, if its body is a submission.
pub fn submission(method: &Method, template: &str) -> Option<Access> {
    let is_it = |row: &&Row| row.submission && row.path == template && row.method == *method;
    ALL.iter().find(is_it).map(|row| row.access)
}
