//! GET /api/stream: server-sent events; and the reader of events that the WebSocket has, too.
//!
//! Order events come from the hub's ring, each exactly once and in journal order; market and account are conflated to
//! their newest value. A stream holds nothing but its place: a stalled reader costs the others nothing.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, Uri, header};
use axum::response::IntoResponse;
use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

use super::body::Fields;
use super::lease::Lease;
use super::problem::Problem;
use super::{App, closed};
use crate::auth::Principal;
use crate::gateway::events::Event;
use crate::gateway::hub::{Cursor, Next, Start, write_sse};
use crate::gateway::market::Sample;
use crate::gateway::rendered::{Form, Rendered};
use crate::gateway::{Gateway, account};

/// Streams served at once, of both forms.
pub const MAX_STREAMS: usize = 4096;
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// From this many streams on, each is written to in paces: fewer, larger writes.
const PACED_ABOVE: usize = 64;
/// What each stream adds to the pace, which a thousand of them make 25 ms.
const PACE_OF_ONE: Duration = Duration::from_micros(25);

/// Counts the streams being served.
pub struct Streams(Arc<Semaphore>);

impl Default for Streams {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_STREAMS)))
    }
}

impl Streams {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        MAX_STREAMS - self.0.available_permits()
    }

    /// Returns once there is none.
    pub async fn ended(&self) {
        // The semaphore is never closed.
        drop(self.0.acquire_many(MAX_STREAMS as u32).await);
    }
}

/// A stream's place among [`MAX_STREAMS`].
pub struct Counted {
    app: Arc<App>,
    _place: OwnedSemaphorePermit,
}

impl Counted {
    /// Takes one.
    ///
    /// # Errors
    /// 503 `too_many_streams`.
    pub fn new(app: &Arc<App>) -> Result<Self, Problem> {
        let place = Arc::clone(&app.streams.0).try_acquire_owned().map_err(|_| {
            let message = "no stream is free: close one, or try again later";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_streams", message).retry_after(1)
        })?;
        Ok(Self { app: Arc::clone(app), _place: place })
    }

    /// The application that it is a place of.
    #[must_use]
    pub fn app(&self) -> &Arc<App> {
        &self.app
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
    let mut reader = Reader::new(counted, lease, Form::Sse);
    reader.queued.push_back(Bytes::from_static(b"retry: 1000\n: connected\n\n"));
    reader.subscribe(start);
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

/// What one stream shows, as long as it may. Tells nothing before it is subscribed.
pub struct Reader {
    gateway: Arc<Gateway>,
    counted: Counted,
    form: Form,
    lease: Lease,
    /// Its place among the order events; none before it is subscribed.
    cursor: Option<Cursor>,
    samples: watch::Receiver<Arc<Sample>>,
    seen: u64,
    account: watch::Receiver<Arc<Rendered>>,
    closing: watch::Receiver<bool>,
    queued: VecDeque<Bytes>,
    flushed: Instant,
    end: Option<End>,
}

/// Why the server ends a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It stops.
    Closing,
    /// The stream was too far behind.
    TooSlow,
    /// Its credentials have ended.
    Unauthorized,
}

fn text(event: &Event) -> Rendered {
    let mut out = Vec::with_capacity(event.json.len() + 64);
    write_sse(event, &mut out);
    Bytes::from(out).into()
}

impl Reader {
    /// A reader that is not subscribed yet.
    #[must_use]
    pub fn new(counted: Counted, lease: Lease, form: Form) -> Self {
        let app = Arc::clone(counted.app());
        let gateway = Arc::clone(&app.gateway);
        Self {
            form,
            lease,
            cursor: None,
            samples: gateway.board.samples(),
            seen: 0,
            account: app.account.subscribe(),
            closing: app.closing.subscribe(),
            gateway,
            counted,
            queued: VecDeque::new(),
            flushed: Instant::now(),
            end: None,
        }
    }

    /// Begins at `start`; none: with a snapshot. From there again if it had begun elsewhere.
    pub fn subscribe(&mut self, start: Option<Start>) {
        let cursor = match start {
            Some(start) => self.gateway.hub.cursor(start),
            None if !self.lease.shows_orders() => self.gateway.hub.cursor(Start::Live),
            None => {
                let (snapshot, cursor) = self.gateway.snapshot();
                self.queued.push_back(text(&snapshot).text(self.form));
                cursor
            }
        };
        (self.cursor, self.seen) = (Some(cursor), 0);
        self.samples.mark_changed();
    }

    /// Why it has ended, once [`next`](Self::next) tells nothing more.
    #[must_use]
    pub fn end(&self) -> End {
        self.end.unwrap_or(End::Closing)
    }

    /// What there is to tell next; nothing at its end. Loses nothing when it is dropped before it is ready.
    pub async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.end.is_none() && self.lease.is_over() {
                self.end = Some(End::Unauthorized);
                self.queued.clear();
                return Some(self.last_word(OVER));
            }
            if let Some(text) = self.queued.pop_front() {
                return Some(text);
            }
            if self.end.is_some() {
                return None;
            }
            let (form, shows_orders) = (self.form, self.lease.shows_orders());
            let Some(cursor) = &mut self.cursor else {
                self.wait().await;
                continue;
            };
            let next = if shows_orders { self.gateway.hub.next(cursor, form) } else { Next::Wait };
            match next {
                Next::Text(text) if text.is_empty() => {}
                Next::Text(text) => return Some(text),
                Next::Gone => {
                    let (snapshot, cursor) = self.gateway.snapshot();
                    self.cursor = Some(cursor);
                    return Some(text(&snapshot).text(form));
                }
                Next::TooSlow => {
                    self.end = Some(End::TooSlow);
                    return Some(self.last_word(TOO_SLOW));
                }
                Next::Wait => {
                    let sample = Arc::clone(&self.samples.borrow_and_update());
                    self.queued.extend(sample.since(&mut self.seen, form));
                    if shows_orders && self.account.has_changed().unwrap_or(false) {
                        self.queued.push_back(self.account.borrow_and_update().text(form));
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
        let streams = self.counted.app().streams.count();
        if streams > PACED_ABOVE && self.cursor.is_some() {
            tokio::time::sleep_until(self.flushed + PACE_OF_ONE * streams as u32).await;
        }
        let subscribed = self.cursor.is_some();
        let shows_orders = self.lease.shows_orders();
        let grown = async {
            match &mut self.cursor {
                Some(cursor) if shows_orders => cursor.changed().await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            () = grown => {}
            () = self.lease.changed() => {}
            Ok(()) = self.samples.changed(), if subscribed => self.samples.mark_changed(),
            Ok(()) = self.account.changed(), if subscribed && shows_orders => self.account.mark_changed(),
            () = closed(&mut self.closing) => self.end = Some(End::Closing),
            // A socket has pings of its own.
            () = tokio::time::sleep(KEEP_ALIVE), if self.form == Form::Sse => {
                self.queued.push_back(Bytes::from_static(b": keep-alive\n\n"));
            }
        }
        self.flushed = Instant::now();
    }

    fn last_word(&self, (error, message): (&'static str, &'static str)) -> Bytes {
        last_word(error, message, self.form)
    }
}

const TOO_SLOW: (&str, &str) =
    ("slow_client", "this stream was too slow for its order events: connect again with the last id");
const OVER: (&str, &str) = (
    "unauthorized",
    "the credentials of this stream have ended: connect again with new ones and the last id",
);

/// The last event of a stream that the server ends.
pub fn last_word(error: &'static str, message: &str, form: Form) -> Bytes {
    #[derive(serde::Serialize)]
    struct Last<'a> {
        error: &'static str,
        message: &'a str,
    }
    text(&Event::new(None, "error", &Last { error, message })).text(form)
}

/// The `account` event: balances and positions, their newest state.
pub fn account_text(gateway: &Gateway) -> Rendered {
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
