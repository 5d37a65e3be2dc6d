//! Strategies over HTTP: decodes, asks the service, and tells what it says. Whatever fails here is `{"detail": ..}`.

use std::fmt::Display;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Request, Response, StatusCode, Uri, header};
use axum::response::IntoResponse;
use ringfence_dag::{Loc, SchemaIssue};
use ringfence_strategies::{Refused, Sent, Strategies, Submission};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::App;
use super::body::{self, Fields, MAX_BODY_BYTES, Takes};
use super::json;
use super::problem::Problem;
use crate::auth::Principal;
use crate::auth::permission::Permission;

/// What strategies report of themselves.
pub(super) const REPORTS: [(&str, ()); 3] = [("executing", ()), ("completed", ()), ("failed", ())];
/// How many of the tags a topic has.
pub(super) const MATCH_MODES: [(&str, bool); 2] = [("any", false), ("all", true)];
/// Tags of one question.
pub(super) const MAX_TAGS: usize = 100;
/// Nodes of one lease: the most that a strategy has.
pub(super) const MAX_LEASED: usize = 5_000;
/// Strategies of one page.
const MAX_LISTED: usize = 1_000;
const LISTED: usize = 100;
/// Strategies decoded at once: each takes a thread, and memory for many times its bytes.
const DECODED_AT_ONCE: usize = 2;
/// What all bodies of more than [`MAX_BODY_BYTES`] that are being carried out take together, in multiples of that.
const LARGE_BODIES: u32 = 96;
/// Somebody has to set strategies up first.
const ABSENT_RETRY_AFTER_S: u32 = 60;

const ALLOW_LIVE: HeaderName = HeaderName::from_static("x-allow-live");
const DEPRECATION: HeaderName = HeaderName::from_static("deprecation");

/// How much of submissions there may be at once.
#[derive(Debug)]
pub struct Room {
    large: Semaphore,
    decoding: Arc<Semaphore>,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            large: Semaphore::new(LARGE_BODIES as usize),
            decoding: Arc::new(Semaphore::new(DECODED_AT_ONCE)),
        }
    }
}

impl Room {
    /// Waits until a body that says it has so many bytes may be read; held until it is answered.
    pub async fn enter(&self, declared: Option<u64>, takes: Takes) -> Option<SemaphorePermit<'_>> {
        let most = takes.bytes as u64;
        let bytes = declared.unwrap_or(most).min(most);
        let wanted = bytes.div_ceil(MAX_BODY_BYTES as u64);
        if wanted <= 1 {
            return None;
        }
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX).min(LARGE_BODIES);
        self.large.acquire_many(wanted).await.ok()
    }
}

/// An answer that is no success: what the service refused, or what it would have.
pub struct Failed(Refused);

impl From<Refused> for Failed {
    fn from(refused: Refused) -> Self {
        Self(refused)
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response<Body> {
        let status = StatusCode::from_u16(self.0.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        told(status, &self.0.body(), self.0.retry_after_s())
    }
}

/// `problem` in the shape of these routes.
pub fn detailed(problem: &Problem) -> Response<Body> {
    told(problem.status(), &json!({ "detail": problem.message() }), problem.retry_after_s())
}

fn told(status: StatusCode, body: &Value, retry_after_s: Option<u32>) -> Response<Body> {
    let mut response = json::response(status, body);
    if let Some(seconds) = retry_after_s {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Fields that cannot be read.
impl From<Problem> for Failed {
    fn from(problem: Problem) -> Self {
        Self(Refused::Bad(problem.message().into()))
    }
}

type Answer = Result<Response<Body>, Failed>;

fn answer<T: Serialize>(outcome: Result<T, Refused>) -> Answer {
    Ok(json::ok(&outcome?))
}

fn invalid(kind: &'static str, place: &'static str, field: &'static str, must: impl Display) -> Failed {
    let loc = vec![Loc::Field(place), Loc::Field(field)];
    let issue = SchemaIssue { kind, loc, msg: format!("`{field}` must be {must}"), input: Value::Null };
    Failed(Refused::Invalid(vec![issue]))
}

fn service(app: &App) -> Result<&Arc<Strategies>, Failed> {
    let why = || "this shell has no strategies: ask one that has, or set them up";
    app.strategies.as_ref().ok_or_else(|| {
        Failed(Refused::Unavailable { why: why().into(), retry_after_s: ABSENT_RETRY_AFTER_S })
    })
}

/// What the body of a submission may be.
pub fn takes(app: &App) -> Takes {
    let bytes = app.strategies.as_ref().map_or(MAX_BODY_BYTES, |service| service.rules().body_bytes);
    Takes { bytes, gzip: true }
}

/// A strategy's id, as its path has it.
pub struct Id(String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Failed;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failed> {
        let Path(id) = Path::<String>::from_request_parts(parts, state).await.map_err(|_| {
            Failed(Refused::NotFound("no strategy has such an id: GET /strategies lists them".into()))
        })?;
        Ok(Self(id))
    }
}

/// Reads a submission on a thread that may take its time.
async fn read(
    app: &App,
    service: &Arc<Strategies>,
    caller: &Principal,
    request: Request<Body>,
) -> Result<Submission, Failed> {
    let (head, bytes) = body::collect(request, takes(app)).await?;
    let wants_live = head.headers.get(ALLOW_LIVE).is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"true"));
    let sent = Sent {
        gzip: body::is_gzip(&head.headers),
        allow_live: wants_live && caller.may(Permission::WorldsOperate),
    };
    let turn = Arc::clone(&app.submissions.decoding).acquire_owned().await;
    let service = Arc::clone(service);
    let reading = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        Submission::read(&bytes, sent, service.rules())
    });
    let read = reading.await.map_err(|error| {
        tracing::error!(%error, "a submission could not be read");
        let why = "the submission could not be read, nothing was done: try again".into();
        Refused::Unavailable { why, retry_after_s: 1 }
    })?;
    Ok(read?)
}

fn explains(uri: &Uri) -> Result<bool, Failed> {
    match Fields::from_query(uri.query())?.text("explain")? {
        None | Some("0" | "false") => Ok(false),
        Some("1" | "true") => Ok(true),
        Some(_) => Err(invalid("bool_parsing", "query", "explain", "1 or 0")),
    }
}

/// POST /strategies
pub async fn submit(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Principal>,
    uri: Uri,
    request: Request<Body>,
) -> Answer {
    let service = service(&app)?;
    let explain = explains(&uri)?;
    let submission = read(&app, service, &caller, request).await?;
    if explain {
        return answer(service.dry_run(submission).await);
    }
    let accepted = service.submit(submission, &caller.user_id).await?;
    Ok(json::response(StatusCode::ACCEPTED, &accepted))
}

/// POST /strategies/dry-run
pub async fn dry_run(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Principal>,
    request: Request<Body>,
) -> Answer {
    let service = service(&app)?;
    let submission = read(&app, service, &caller, request).await?;
    answer(service.dry_run(submission).await)
}

/// GET /strategies
pub async fn list(State(app): State<Arc<App>>, uri: Uri) -> Answer {
    let service = service(&app)?;
    let fields = Fields::from_query(uri.query())?;
    let after = whole(&fields, "after", 0, u64::MAX, 0)?;
    let limit = whole(&fields, "limit", 1, MAX_LISTED as u64, LISTED as u64)?;
    answer(service.list(after, limit as usize, fields.text("state")?).await)
}

fn whole(fields: &Fields, name: &'static str, min: u64, max: u64, default: u64) -> Result<u64, Failed> {
    let Some(text) = fields.number(name)? else { return Ok(default) };
    let found = text.parse().ok().filter(|number| (min..=max).contains(number));
    found.ok_or_else(|| invalid("int_parsing", "query", name, format_args!("a whole number, {min} to {max}")))
}

/// GET /strategies/{id}
pub async fn detail(State(app): State<Arc<App>>, Id(id): Id) -> Answer {
    answer(service(&app)?.detail(&id).await)
}

/// GET /strategies/{id}/status
pub async fn status(State(app): State<Arc<App>>, Id(id): Id) -> Answer {
    answer(service(&app)?.status(&id).await)
}

/// DELETE /strategies/{id}
pub async fn delete(State(app): State<Arc<App>>, Id(id): Id) -> Answer {
    answer(service(&app)?.delete(&id).await)
}

/// POST /strategies/{id}/report
pub async fn report(State(app): State<Arc<App>>, Id(id): Id, request: Request<Body>) -> Answer {
    let service = service(&app)?;
    let fields = Fields::read(request).await?;
    let state = fields
        .text("state")?
        .and_then(|state| REPORTS.iter().find(|(name, ())| name.eq_ignore_ascii_case(state)))
        .ok_or_else(|| invalid("enum", "body", "state", "one of executing, completed, failed"))?
        .0;
    answer(service.report(&id, state, fields.text("error")?).await)
}

/// POST /strategies/{id}/lease
pub async fn lease(State(app): State<Arc<App>>, Id(id): Id, request: Request<Body>) -> Answer {
    let service = service(&app)?;
    let nodes = Fields::read(request).await?.texts("nodes", MAX_LEASED)?;
    answer(service.lease(&id, nodes).await)
}

/// GET /queues/by_tag
pub async fn queues_by_tag(State(app): State<Arc<App>>, uri: Uri) -> Answer {
    let service = service(&app)?;
    let fields = Fields::from_query(uri.query())?;
    let few = || invalid("too_short", "query", "tags", format_args!("1 to {MAX_TAGS} tags with commas"));
    let tags = fields.texts("tags", usize::MAX)?.filter(|tags| (1..=MAX_TAGS).contains(&tags.len()));
    let tags = tags.ok_or_else(few)?;
    let interval_s = match fields.number("interval")? {
        None => None,
        Some(_) => {
            Some(u32::try_from(whole(&fields, "interval", 0, u64::from(u32::MAX), 0)?).unwrap_or(u32::MAX))
        }
    };
    let (field, mode, deprecated) = match (fields.text("match_mode")?, fields.text("match")?) {
        (Some(mode), _) => ("match_mode", mode, false),
        (None, Some(mode)) => ("match", mode, true),
        (None, None) => ("match_mode", "any", false),
    };
    let known = MATCH_MODES.iter().find(|(name, _)| name.eq_ignore_ascii_case(mode));
    let (_, all) = known.ok_or_else(|| invalid("enum", "query", field, "any or all"))?;
    let mut response = answer(service.queues_by_tags(tags, interval_s, *all).await)?;
    if deprecated {
        response.headers_mut().insert(DEPRECATION, HeaderValue::from_static("true"));
    }
    Ok(response)
}
