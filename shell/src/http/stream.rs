//! GET /api/stream: server-sent events.
//!
//! Order events come from the hub's ring, each exactly once and in journal order; market and account are conflated to
//! their newest value. A stream holds nothing but its place: a stalled reader costs the others nothing.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, Uri, header};
use axum::response::IntoResponse;
use futures_util::stream;
use tokio::sync::watch;
use tokio::time::Instant;

use super::body::Fields;
use super::lease::Lease;
use super::problem::Problem;
use super::{App, closed};
use crate::auth::Principal;
use crate::gateway::events::Event;
use crate::gateway::hub::{Cursor, Next, Start, write_sse};
use crate::gateway::market::Sample;
use crate::gateway::{Gateway, account};

/// Streams served at once.
pub const MAX_STREAMS: usize = 4096;
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// From this many streams on, each is written to in paces: fewer, larger writes.
const PACED_ABOVE: usize = 64;
const PACE: Duration = Duration::from_millis(25);

/// Counts the streams being served.
#[derive(Default)]
pub struct Streams(AtomicUsize);

impl Streams {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

struct Counted(Arc<App>);

impl Counted {
    fn new(app: &Arc<App>) -> Result<Self, Problem> {
        let counted = Self(Arc::clone(app));
        if app.streams.0.fetch_add(1, Ordering::Relaxed) >= MAX_STREAMS {
            return Err(Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "too_many_streams",
                "no stream is free",
            ));
        }
        Ok(counted)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.streams.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Where to begin: `?last_id=` before `Last-Event-ID`; `?snapshot=1` asks for everything when neither is there.
fn start(uri: &Uri, headers: &HeaderMap) -> Result<Option<Start>, Problem> {
    let fields = Fields::from_query(uri.query())?;
    // A bad field is refused whether another one wins or not.
    let snapshot = fields.text("snapshot")?.is_some();
    if let Some(text) = fields.number("last_id")? {
        let bad = |_| Problem::field("bad_params", "last_id", "last_id must be the id of an event");
        return Ok(Some(Start::After(text.parse().map_err(bad)?)));
    }
    if let Some(value) = headers.get("last-event-id") {
        // An id that is none of ours is from another epoch: that means a snapshot, never silence.
        let id = value.to_str().ok().and_then(|text| text.trim().parse().ok());
        return Ok(Some(Start::After(id.unwrap_or(u64::MAX))));
    }
    Ok(if snapshot { None } else { Some(Start::Live) })
}

/// GET /api/stream
pub async fn stream(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response<Body>, Problem> {
    let start = start(&uri, &headers)?;
    let counted = Counted::new(&app)?;
    let lease = Lease::new(app.auth.as_ref(), principal);
    let reader = Reader::new(counted, start, lease);
    let body = Body::from_stream(stream::unfold(reader, |mut reader| async move {
        let text = reader.next().await?;
        Some((Ok::<_, Infallible>(text), reader))
    }));
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

struct Reader {
    gateway: Arc<Gateway>,
    counted: Counted,
    lease: Lease,
    cursor: Cursor,
    samples: watch::Receiver<Arc<Sample>>,
    seen: u64,
    account: watch::Receiver<Bytes>,
    closing: watch::Receiver<bool>,
    queued: VecDeque<Bytes>,
    flushed: Instant,
    ended: bool,
}

fn text(event: &Event) -> Bytes {
    let mut out = Vec::with_capacity(event.json.len() + 64);
    write_sse(event, &mut out);
    out.into()
}

impl Reader {
    fn new(counted: Counted, start: Option<Start>, lease: Lease) -> Self {
        let app = Arc::clone(&counted.0);
        let gateway = Arc::clone(&app.gateway);
        let mut queued = VecDeque::from([Bytes::from_static(b"retry: 1000\n: connected\n\n")]);
        let cursor = match start {
            Some(start) => gateway.hub.cursor(start),
            None if !lease.shows_orders() => gateway.hub.cursor(Start::Live),
            None => {
                let (snapshot, cursor) = gateway.snapshot();
                queued.push_back(text(&snapshot));
                cursor
            }
        };
        Self {
            lease,
            cursor,
            samples: gateway.board.samples(),
            seen: 0,
            account: app.account.subscribe(),
            closing: app.closing.subscribe(),
            gateway,
            counted,
            queued,
            flushed: Instant::now(),
            ended: false,
        }
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if !self.ended && self.lease.is_over() {
                self.ended = true;
                self.queued.clear();
                return Some(over());
            }
            if let Some(text) = self.queued.pop_front() {
                return Some(text);
            }
            if self.ended {
                return None;
            }
            let shows_orders = self.lease.shows_orders();
            let next = if shows_orders { self.gateway.hub.next(&mut self.cursor) } else { Next::Wait };
            match next {
                Next::Text(text) if text.is_empty() => {}
                Next::Text(text) => return Some(text),
                Next::Gone => {
                    let (snapshot, cursor) = self.gateway.snapshot();
                    self.cursor = cursor;
                    return Some(text(&snapshot));
                }
                Next::TooSlow => {
                    self.ended = true;
                    return Some(too_slow());
                }
                Next::Wait => {
                    let sample = Arc::clone(&self.samples.borrow_and_update());
                    self.queued.extend(sample.since(&mut self.seen));
                    if shows_orders && self.account.has_changed().unwrap_or(false) {
                        self.queued.push_back(self.account.borrow_and_update().clone());
                    }
                    self.queued.retain(|text| !text.is_empty());
                    if self.queued.is_empty() {
                        self.wait().await;
                    }
                }
            }
        }
    }

    /// Until there may be something new; with many streams no sooner than a pace after the last time.
    async fn wait(&mut self) {
        if self.counted.0.streams.count() > PACED_ABOVE {
            tokio::time::sleep_until(self.flushed + PACE).await;
        }
        let shows_orders = self.lease.shows_orders();
        tokio::select! {
            () = self.cursor.changed(), if shows_orders => {}
            () = self.lease.changed() => {}
            Ok(()) = self.samples.changed() => self.samples.mark_changed(),
            Ok(()) = self.account.changed(), if shows_orders => self.account.mark_changed(),
            () = closed(&mut self.closing) => self.ended = true,
            () = tokio::time::sleep(KEEP_ALIVE) => self.queued.push_back(Bytes::from_static(b": keep-alive\n\n")),
        }
        self.flushed = Instant::now();
    }
}

/// The last event of a stream that the server ends.
fn last_word(error: &'static str, message: &'static str) -> Bytes {
    #[derive(serde::Serialize)]
    struct Last {
        error: &'static str,
        message: &'static str,
    }
    text(&Event::new(None, "error", &Last { error, message }))
}

fn too_slow() -> Bytes {
    let message = "this stream was too slow for its order events: connect again with the last id";
    last_word("slow_client", message)
}

fn over() -> Bytes {
    let message = "the credentials of this stream have ended: connect again with new ones and the last id";
    last_word("unauthorized", message)
}

/// The `account` event: balances and positions, their newest state.
pub fn account_text(gateway: &Gateway) -> Bytes {
    #[derive(serde::Serialize)]
    struct Account {
        #[serde(flatten)]
        balances: account::AccountBody,
        positions: account::PositionsBody,
    }
    let settings = &gateway.settings;
    let body = gateway
        .look(|p| Account { balances: account::balances(p, settings), positions: account::positions(p) });
    text(&Event::new(None, "account", &body))
}
