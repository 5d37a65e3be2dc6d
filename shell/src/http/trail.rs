//! What every request leaves behind in the audit log.
//!
//! A request that changes something has a place in the log's queue before its handler runs ([`act`]); what became of it
//! is recorded before it is answered. A refusal that no handler gave ([`Trail::end`]) is recorded too. Only fields named
//! here are copied, so that secrets and whole bodies cannot be.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use axum::body::{Body, HttpBody as _, to_bytes};
use axum::extract::Request;
use axum::http::{Extensions, HeaderMap, HeaderValue, Method, Response, StatusCode};
use axum::middleware::Next;
use axum::response::IntoResponse as _;
use serde_json::value::RawValue;

use super::App;
use super::access::{self, Peer};
use super::body::{self, Fields, Parsed, Takes};
use super::problem::Problem;
use super::{routes, strategies};
use crate::audit::{AuditLog, Entry, LogType, MAX_FIELD_CHARS, Object, Slot, Who, clip, time};
use crate::gateway::key::nonce;

const REQUEST_ID: &str = "x-request-id";
pub(super) const CORRELATION_ID: &str = "x-correlation-id";
const MAX_ID_CHARS: usize = 64;
/// Answers of requests that change something are smaller, the queue map of the largest strategy among them.
const MAX_ANSWER_BYTES: u64 = 8 << 20;
/// Who everybody is without a login.
const LOCAL: &str = "local";
/// Refusals without a handler that are recorded in one second; more are counted only.
const REFUSALS_PER_S: u64 = 100;

/// A path, its type, and its actions by method; an empty one stands for any.
type Audited = (&'static str, LogType, &'static [(&'static str, &'static str)]);

/// Paths of requests that change something: their type, and the action, by method where that matters.
const ACTIONS: &[Audited] = &[
    ("/api/order", LogType::Order, &[("", "order")]),
    ("/api/cancel", LogType::Order, &[("", "cancel")]),
    ("/api/cancel_all", LogType::Order, &[("", "cancel_all")]),
    ("/api/kill", LogType::Order, &[("", "kill")]),
    ("/api/rearm", LogType::Order, &[("", "rearm")]),
    ("/api/mode", LogType::Order, &[("", "mode")]),
    ("/api/limits", LogType::Order, &[("", "set_limit")]),
    ("/api/config", LogType::Order, &[("", "set_config")]),
    ("/api/config/reload", LogType::Order, &[("", "reload_config")]),
    ("/api/audit/archive", LogType::Access, &[("", "archive_audit")]),
    ("/api/auth/login", LogType::Auth, &[("", "login")]),
    ("/api/auth/refresh", LogType::Auth, &[("", "refresh")]),
    ("/api/auth/logout", LogType::Auth, &[("", "logout")]),
    ("/api/auth/roles", LogType::Auth, &[("DELETE", "revoke_role"), ("", "grant_role")]),
    ("/api/auth/password", LogType::Auth, &[("", "change_password")]),
    ("/api/auth/users", LogType::Auth, &[("DELETE", "remove_user"), ("", "create_user")]),
    ("/api/stream/ticket", LogType::Auth, &[("", "ticket")]),
    ("/admin/signing_keys", LogType::Auth, &[("DELETE", "revoke_signing_key"), ("", "rotate_signing_key")]),
    ("/api/auth/keys", LogType::ApiKey, &[("DELETE", "revoke_key"), ("", "create_key")]),
    ("/strategies", LogType::Access, &[("", "submit_strategy")]),
    ("/strategies/dry-run", LogType::Access, &[("", "try_strategy")]),
    ("/strategies/{id}", LogType::Access, &[("DELETE", "delete_strategy")]),
    ("/strategies/{id}/report", LogType::Access, &[("", "report_strategy")]),
    ("/strategies/{id}/lease", LogType::Access, &[("", "lease_strategy")]),
];

/// Fields of requests that are copied.
const ASKED: &[&str] = &[
    "side",
    "symbol",
    "qty",
    "price",
    "type",
    "tif",
    "strategy_id",
    "client_order_id",
    "reason",
    "mode",
    "cancel_orders",
    "scope",
    "of",
    "limit",
    "value",
    "user_id",
    "role",
    "name",
    "key_id",
    "market_source",
    "market_symbol",
    "execution_mode",
    "state",
];
/// Fields of answers that are copied, and those inside of `decision` and `details`.
const ANSWERED: &[&str] = &[
    "journal_seq",
    "client_order_id",
    "venue_order_id",
    "duplicate",
    "orders",
    "strategies",
    "config_version",
    "error",
    "key_id",
    "strategy_id",
    "sentinel_id",
    "downgraded",
    "detail",
];
const ANSWERED_INSIDE: &[(&str, &[&str])] = &[
    ("decision", &["reason", "journal_seq"]),
    ("detail", &["strategy_id"]),
    ("details", &["reason", "limit_id", "journal_seq", "client_order_id", "duplicate", "field"]),
];

/// One request's trail; in its extensions, so that whoever learns who it is can say so.
#[derive(Clone)]
pub struct Trail(Arc<Seen>);

struct Seen {
    method: Method,
    path: String,
    /// The path of its row.
    route: &'static str,
    ip_address: String,
    request_id: String,
    correlation_id: String,
    user_id: OnceLock<String>,
    recorded: AtomicBool,
}

/// Tells a request's trail who makes it: for whatever checks logins and keys, as soon as it knows.
pub fn identify(request: &Extensions, user_id: &str) {
    if let Some(trail) = request.get::<Trail>() {
        // The first one to know is the one that checked it.
        let _ = trail.0.user_id.set(user_id.to_owned());
    }
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// An id that a caller gave, if it has the form of one.
fn given(headers: &HeaderMap, name: &str) -> Option<String> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    let id = headers.get(name)?.to_str().ok()?;
    (!id.is_empty() && id.len() <= MAX_ID_CHARS && id.bytes().all(legal)).then(|| id.to_owned())
}

impl Trail {
    /// The beginning of `request`'s, which goes to the row of this path.
    pub fn begin(request: &mut Request, route: &'static str) -> Self {
        let headers = request.headers();
        let request_id = given(headers, REQUEST_ID).unwrap_or_else(|| format!("{:016x}", nonce()));
        let peer = request.extensions().get::<Peer>();
        let trail = Self(Arc::new(Seen {
            method: request.method().clone(),
            path: clip(request.uri().path()).to_owned(),
            route,
            ip_address: peer.map_or_else(String::new, |peer| peer.0.to_string()),
            correlation_id: given(headers, CORRELATION_ID).unwrap_or_else(|| request_id.clone()),
            request_id,
            user_id: OnceLock::new(),
            recorded: AtomicBool::new(false),
        }));
        request.extensions_mut().insert(trail.clone());
        trail
    }

    /// The request's id.
    pub fn request_id(&self) -> &str {
        &self.0.request_id
    }

    /// Its end: refusals that nobody has recorded yet are, and the answer carries the request's id.
    pub fn end(&self, app: &App, response: &mut Response<Body>) {
        if let Ok(id) = HeaderValue::from_str(&self.0.request_id) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        let log_type = match response.status().as_u16() {
            401 | 403 | 409 | 422 | 429 => LogType::Access,
            500 => LogType::Error,
            _ => return,
        };
        if self.0.recorded.load(Ordering::Acquire) {
            return;
        }
        let slot = if app.refusals.take() { app.audit.reserve().ok() } else { None };
        let Some(slot) = slot else { return app.audit.miss() };
        let action = if log_type == LogType::Access { "refused" } else { "failed" };
        // Nothing was changed: the answer need not wait.
        let details = self.complete(Object::default(), response.status(), outcome(response.status()));
        drop(slot.write(self.entry(log_type, action, &details)));
    }

    fn entry(&self, log_type: LogType, action: &str, details: &Object) -> Entry {
        let seen = &self.0;
        let who = Who {
            user_id: seen.user_id.get().map_or(LOCAL, String::as_str),
            ip_address: &seen.ip_address,
            request_id: &seen.request_id,
            correlation_id: &seen.correlation_id,
        };
        Entry::new(log_type, action, &who, details)
    }

    /// Adds what every record of a request says to `details`.
    fn complete(&self, mut details: Object, status: StatusCode, outcome: &str) -> Object {
        details.put("method", self.0.method.as_str());
        details.put("path", &self.0.path);
        details.put("status", &status.as_u16());
        details.put("outcome", outcome);
        details
    }

    fn action(&self) -> (LogType, &'static str) {
        let found = ACTIONS.iter().find(|(path, ..)| *path == self.0.route);
        let Some((_, log_type, actions)) = found else { return (LogType::Access, "request") };
        let by_method =
            actions.iter().find(|(method, _)| method.is_empty() || *method == self.0.method.as_str());
        (*log_type, by_method.map_or("request", |(_, action)| action))
    }
}

fn outcome(status: StatusCode) -> &'static str {
    match status.as_u16() {
        200..=299 => "ok",
        400..=499 => "refused",
        _ => "failed",
    }
}

/// An act between its reservation and its record. Dropped without one (its client went, or it took too long), it is
/// recorded as what it is: nobody knows what came of it.
struct Act {
    trail: Trail,
    slot: Option<Slot>,
    asked: Object,
}

impl Act {
    fn record(
        &mut self,
        status: StatusCode,
        outcome: &str,
        answered: Object,
    ) -> Option<tokio::sync::oneshot::Receiver<()>> {
        self.trail.0.recorded.store(true, Ordering::Release);
        let (log_type, action) = self.trail.action();
        let mut details = self.trail.complete(answered, status, outcome);
        if !self.asked.is_empty() {
            details.put_object("request", &self.asked);
        }
        self.slot.take()?.write(self.trail.entry(log_type, action, &details))
    }
}

impl Drop for Act {
    fn drop(&mut self) {
        if self.slot.is_some() {
            drop(self.record(StatusCode::REQUEST_TIMEOUT, "unknown", Object::default()));
        }
    }
}

/// Around every handler: a request that changes something needs a place in the audit log first.
pub async fn act(app: &App, trail: &Trail, request: Request, next: Next) -> Response<Body> {
    // A route that has no such method says so before anything else is looked at.
    if is_safe(&trail.0.method) || !routes::takes(&trail.0.method, trail.0.route) {
        return next.run(request).await;
    }
    let Some(access) = routes::submission(&trail.0.method, trail.0.route) else {
        return match acted(&app.audit, trail, request, Takes::default(), next).await {
            Ok(response) => response,
            Err(problem) => problem.into_response(),
        };
    };
    // Nobody else may have so much read.
    if let Err(problem) = access::foresee(app, access, &request) {
        return problem.into_response();
    }
    let takes = strategies::takes(app);
    let _room = app.submissions.enter(body::declared(request.headers()), takes).await;
    match acted(&app.audit, trail, request, takes, next).await {
        Ok(response) => response,
        Err(problem) => strategies::detailed(&problem),
    }
}

async fn acted(
    log: &AuditLog,
    trail: &Trail,
    request: Request,
    takes: Takes,
    next: Next,
) -> Result<Response<Body>, Problem> {
    // A body that comes slowly holds no place.
    let (mut parts, bytes) = body::collect(request, takes).await?;
    let slot = log.reserve()?;
    let mut asked = Object::default();
    let mut copy = |fields: &Fields, name: &'static str| {
        if let Some(text) = fields.shown(name) {
            asked.put(name, clip(text));
        }
    };
    if takes.gzip {
        // What is packed or large is no object of fields: its answer says what it was.
        Fields::from_query(parts.uri.query()).iter().for_each(|query| copy(query, "explain"));
    } else {
        let read = Parsed::of(&parts.headers, &bytes);
        read.fields().iter().for_each(|fields| ASKED.iter().for_each(|name| copy(fields, name)));
        parts.extensions.insert(read);
    }
    let mut act = Act { trail: trail.clone(), slot: Some(slot), asked };
    let response = next.run(Request::from_parts(parts, Body::from(bytes))).await;
    let status = response.status();
    let (response, answered) = look_into(response).await;
    if let Some(on_disk) = act.record(status, outcome(status), answered)
        && on_disk.await.is_err()
    {
        return Err(crate::audit::Unavailable::Failing(String::new()).into());
    }
    Ok(response)
}

/// The answer, and what is copied from it.
async fn look_into(response: Response<Body>) -> (Response<Body>, Object) {
    if response.body().size_hint().upper().is_none_or(|bytes| bytes > MAX_ANSWER_BYTES) {
        return (response, Object::default());
    }
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, MAX_ANSWER_BYTES as usize).await.unwrap_or_default();
    let copied = copied(&bytes);
    (Response::from_parts(parts, Body::from(bytes)), copied)
}

/// What is copied from an answer: text, numbers and flags under the names above; what lies inside counts more.
fn copied(answer: &[u8]) -> Object {
    type Shown<'a> = BTreeMap<&'a str, &'a RawValue>;
    let outer: Shown<'_> = serde_json::from_slice(answer).unwrap_or_default();
    let inner = |inside: &str| serde_json::from_str::<Shown<'_>>(outer.get(inside)?.get()).ok();
    let mut object = Object::default();
    let mut copied = Vec::with_capacity(ANSWERED.len());
    let mut copy = |from: &Shown<'_>, names: &[&'static str]| {
        for name in names {
            let Some(value) = from.get(name).filter(|_| !copied.contains(name)) else { continue };
            match value.get().as_bytes().first() {
                Some(b'"') if value.get().len() > MAX_FIELD_CHARS => {
                    object.put(name, clip(&serde_json::from_str::<String>(value.get()).unwrap_or_default()));
                }
                Some(b'"' | b'-' | b'0'..=b'9' | b't' | b'f') => object.put(name, value),
                _ => continue,
            }
            copied.push(*name);
        }
    };
    for (inside, names) in ANSWERED_INSIDE {
        if let Some(inner) = inner(inside) {
            copy(&inner, names);
        }
    }
    copy(&outer, ANSWERED);
    object
}

/// How many refusals may still be recorded in this second.
#[derive(Debug, Default)]
pub struct Refusals {
    /// The second, and how many there were in it.
    second: AtomicU64,
    count: AtomicU64,
}

impl Refusals {
    fn take(&self) -> bool {
        let second = time::now_us() / 1_000_000;
        if self.second.swap(second, Ordering::Relaxed) != second {
            self.count.store(0, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed) < REFUSALS_PER_S
    }
}
