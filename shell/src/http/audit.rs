//! The audit log over HTTP: what is recorded of every request, and the endpoints that show it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode, Uri};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::App;
use super::body::Fields;
use super::json;
use super::problem::Problem;
use crate::audit::{AuditLog, LogType, MAX_LIMIT, MAX_OFFSET, Query, QueryError, Unavailable, time};

/// A question that takes longer is given up: shorter than a request may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(8);
/// Questions looked up at once; each reads files with a thread of its own.
pub const MAX_QUERIES: usize = 2;

pub(super) const TYPES: [(&str, LogType); 5] = [
    ("auth", LogType::Auth),
    ("order", LogType::Order),
    ("api_key", LogType::ApiKey),
    ("access", LogType::Access),
    ("error", LogType::Error),
];

/// A place that is not there: nothing has been done.
impl From<Unavailable> for Problem {
    fn from(unavailable: Unavailable) -> Self {
        let message = match unavailable {
            Unavailable::Full => "too many requests wait for the audit log: nothing was done, try again",
            Unavailable::Failing(_) => {
                "the audit log cannot be written, so nothing may be changed: nothing was done; /api/health says why"
            }
        };
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "audit_unavailable", message).retry_after(1)
    }
}

fn bad(field: &str, must: &str) -> Problem {
    Problem::field("bad_params", field, format!("{field} {must}"))
}

fn query(fields: &Fields) -> Result<Query, Problem> {
    let moment = |name| {
        let text = fields.text(name)?;
        let must = "must be ISO 8601 such as 2026-11-21T14:00:00Z, or seconds since 1970";
        text.map(|text| time::parse(text).ok_or_else(|| bad(name, must))).transpose()
    };
    let count = |name, min: usize, max: usize, default| {
        let Some(text) = fields.number(name)? else { return Ok(default) };
        let found = text.parse().ok().filter(|count| (min..=max).contains(count));
        found.ok_or_else(|| bad(name, &format!("must be a whole number, {min} to {max}")))
    };
    let text = |name| fields.text(name).map(|text| text.map(str::to_owned));
    let (start_us, end_us) = (moment("start_time")?.unwrap_or(0), moment("end_time")?.unwrap_or(u64::MAX));
    if end_us < start_us {
        return Err(bad("end_time", "must not be before start_time"));
    }
    Ok(Query {
        log_type: fields.choice("type", &TYPES)?,
        user_id: text("user_id")?,
        action: text("action")?,
        start_us,
        end_us,
        limit: count("limit", 1, MAX_LIMIT, Query::default().limit)?,
        offset: count("offset", 0, MAX_OFFSET, 0)?,
    })
}

/// Tells a search that nobody waits for it any more.
struct Waiting(Arc<AtomicBool>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Files are read by a thread that may wait for the disk.
async fn blocking<T: Send + 'static>(
    log: &AuditLog,
    work: impl FnOnce(&AuditLog) -> T + Send + 'static,
) -> Result<T, Problem> {
    let log = log.clone();
    tokio::task::spawn_blocking(move || work(&log)).await.map_err(|error| internal(&error))
}

fn internal(error: &dyn std::fmt::Display) -> Problem {
    tracing::error!(%error, "the audit log could not be read");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the audit log could not be read")
}

#[derive(Serialize, ToSchema)]
#[schema(as = AuditLogs)]
pub(super) struct Logs {
    #[schema(value_type = Vec<Object>)]
    logs: Vec<Box<RawValue>>,
    total: u64,
    limit: usize,
    offset: usize,
    has_more: bool,
    /// Lines that are no records.
    #[serde(skip_serializing_if = "is_zero")]
    unreadable: u64,
}

/// GET /api/audit/logs
pub async fn logs(State(app): State<Arc<App>>, uri: Uri) -> Result<Response<Body>, Problem> {
    let query = query(&Fields::from_query(uri.query())?)?;
    let (limit, offset) = (query.limit, query.offset);
    let turn = Arc::clone(&app.audit_queries).acquire_owned().await.map_err(|error| internal(&error))?;
    let (over, deadline) = (Arc::new(AtomicBool::new(false)), Instant::now() + ANSWER_WITHIN);
    let _waiting = Waiting(Arc::clone(&over));
    let found = blocking(&app.audit, move |log| {
        let _turn = turn;
        log.query(&query, || over.load(Ordering::Relaxed) || Instant::now() >= deadline)
    });
    match found.await? {
        Ok(found) => Ok(json::ok(&Logs {
            has_more: found.total > (offset + found.logs.len()) as u64,
            logs: found.logs,
            total: found.total,
            limit,
            offset,
            unreadable: found.unreadable,
        })),
        Err(QueryError::Stopped) => {
            Err(bad("start_time", "and end_time must ask for less: there is too much to look through"))
        }
        Err(QueryError::Io(error)) => Err(internal(&error)),
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[derive(Serialize, ToSchema)]
#[schema(as = AuditStats)]
pub(super) struct Stats {
    status: &'static str,
    /// Why it cannot be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    failing: Option<String>,
    broken: Vec<String>,
    policies: Vec<Policy>,
    log_files: usize,
    archive_files: usize,
    total_size_bytes: u64,
    records_written: u64,
    queue_depth: usize,
}

#[derive(Serialize, ToSchema)]
struct Policy {
    log_type: &'static str,
    retention_hours: u64,
}

/// GET /api/audit/stats
pub async fn stats(State(app): State<Arc<App>>) -> Result<Response<Body>, Problem> {
    let files = blocking(&app.audit, AuditLog::stats).await?.map_err(|error| internal(&error))?;
    let now = app.audit.status();
    let policy = |(log_type, kept): (LogType, Duration)| Policy {
        log_type: log_type.name(),
        retention_hours: kept.as_secs() / 3600,
    };
    let status = match (&now.failing, now.broken.is_empty()) {
        (Some(_), _) => "failing",
        (None, false) => "broken",
        (None, true) => "ok",
    };
    Ok(json::ok(&Stats {
        status,
        failing: now.failing,
        broken: now.broken,
        policies: app.audit.retention().into_iter().map(policy).collect(),
        log_files: files.log_files,
        archive_files: files.archive_files,
        total_size_bytes: files.total_bytes,
        records_written: now.written.iter().sum(),
        queue_depth: now.queue_depth,
    }))
}

#[derive(Serialize, ToSchema)]
pub(super) struct Archived {
    ok: bool,
    stats: Swept,
}

#[derive(Serialize, ToSchema)]
struct Swept {
    archived_files: usize,
    deleted_files: usize,
    bytes_freed: u64,
    errors: Vec<String>,
    more: bool,
}

/// POST /api/audit/archive
pub async fn archive(State(app): State<Arc<App>>) -> Result<Response<Body>, Problem> {
    let swept = blocking(&app.audit, AuditLog::sweep).await?;
    let stats = Swept {
        archived_files: swept.archived,
        deleted_files: swept.deleted,
        bytes_freed: swept.freed_bytes,
        errors: swept.errors,
        more: swept.more,
    };
    Ok(json::ok(&Archived { ok: stats.errors.is_empty(), stats }))
}

/// How the log is, for /api/health.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditHealth)]
pub struct Health {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    failing: Option<String>,
    broken_chains: usize,
    queue_depth: usize,
}

impl Health {
    /// Of `log`.
    #[must_use]
    pub fn of(log: &AuditLog) -> Self {
        let now = log.status();
        let (ok, broken_chains) = (now.failing.is_none() && now.broken.is_empty(), now.broken.len());
        Self { ok, failing: now.failing, broken_chains, queue_depth: now.queue_depth }
    }
}
