//! One WebSocket from its opening to its end.

use std::collections::{HashSet, VecDeque};
use std::convert::Infallible;
use std::future::Future;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use axum::response::IntoResponse;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, interval_at, timeout};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::Rules;
use super::wire::{Broken, PING, READ_BYTES, Wire, close};
use crate::auth::Principal;
use crate::gateway::hub::Start;
use crate::gateway::rendered::{Form, write_frame};
use crate::http::access::{Opened, Peer};
use crate::http::body::Fields;
use crate::http::json::{self, Done};
use crate::http::problem::Problem;
use crate::http::stream::{End, Reader, last_word};
use crate::http::trail::CORRELATION_ID;
use crate::http::{App, order_entry};

/// The longest id of a request, bytes.
const MAX_ID_BYTES: usize = 64;
/// Answers that wait to be written before no more requests are read.
const MAX_WAITING: usize = 128;
/// Answers are far smaller.
const MAX_ANSWER_BYTES: usize = 64 << 10;
/// How long the last words may take, and how long the peer's own are awaited then.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(2);
const LINGER: Duration = Duration::from_secs(1);

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Order,
    Cancel,
    Subscribe,
    Ping,
}

const OPS: [(&str, Op); 4] =
    [("order", Op::Order), ("cancel", Op::Cancel), ("subscribe", Op::Subscribe), ("ping", Op::Ping)];

/// Who has opened it, for the requests that it makes.
pub struct Visitor {
    /// The Host it was opened by.
    pub host: Option<HeaderValue>,
    /// Where it comes from.
    pub peer: Option<Peer>,
    /// What its requests have in common in the audit log.
    pub correlation_id: Option<String>,
    /// Who.
    pub principal: Principal,
}

/// Why it ends.
#[derive(Debug)]
enum Ending {
    /// The peer said so.
    Closed,
    /// The peer is gone: nobody reads what is written.
    Gone,
    /// The server says so, with a last event where the reader has told none.
    Ended { code: CloseCode, reason: &'static str, last: Option<Bytes> },
}

/// A request at work: its id, and its answer as a frame.
type Work = Pin<Box<dyn Future<Output = (String, Bytes)> + Send>>;

/// One WebSocket.
pub struct Session {
    rules: Rules,
    visitor: Visitor,
    desk: TowerToHyperService<Router>,
    reader: Reader,
    wire: Wire,
    rate: DefaultDirectRateLimiter,
    work: FuturesUnordered<Work>,
    ids: HashSet<String>,
    out: VecDeque<Bytes>,
    ending: Option<Ending>,
}

impl Session {
    /// A session that shows what `reader` reads.
    #[must_use]
    pub fn new(app: &Arc<App>, visitor: Visitor, reader: Reader) -> Self {
        let rules = app.sockets;
        let rate = NonZeroU32::new(rules.messages_per_s).unwrap_or(NonZeroU32::MIN);
        Self {
            rules,
            visitor,
            desk: TowerToHyperService::new(order_entry(Arc::clone(app))),
            reader,
            wire: Wire::new(rules.message_bytes),
            rate: RateLimiter::direct(Quota::per_second(rate)),
            work: FuturesUnordered::new(),
            ids: HashSet::new(),
            out: VecDeque::new(),
            ending: None,
        }
    }

    /// Until it ends. Requests that were taken are answered first.
    pub async fn run(mut self, io: impl AsyncRead + AsyncWrite + Send) {
        let (mut from, mut to) = tokio::io::split(io);
        let mut ping = interval_at(Instant::now() + self.rules.ping_every, self.rules.ping_every);
        let mut heard = Instant::now();
        let mut buffer = [0; READ_BYTES];
        loop {
            self.read_messages();
            let ending = self.ending.is_some();
            if ending && self.work.is_empty() && self.out.is_empty() {
                break;
            }
            let has_room = self.has_room();
            let front = self.out.front().cloned().unwrap_or_default();
            tokio::select! {
                written = to.write(&front), if !front.is_empty() => match written {
                    Ok(bytes) if bytes > 0 => self.written(bytes),
                    _ => self.lose(),
                },
                Some((id, answer)) = self.work.next(), if !self.work.is_empty() => {
                    self.ids.remove(&id);
                    self.tell(answer);
                }
                read = from.read(&mut buffer), if !ending && has_room => match read {
                    Ok(bytes) if bytes > 0 => {
                        heard = Instant::now();
                        self.wire.feed(&buffer[..bytes]);
                    }
                    _ => self.lose(),
                },
                // A peer that does not take what there is gets nothing more: the hub knows where it is.
                text = self.reader.next(), if !ending && self.out.is_empty() => match text {
                    Some(text) => self.out.push_back(text),
                    None => self.ending = Some(ended_by(self.reader.end())),
                },
                _ = ping.tick(), if !ending => {
                    if heard.elapsed() >= self.rules.idle_within {
                        let message = "nothing was heard for too long: answer pings, and read what comes";
                        self.end(CloseCode::Policy, "idle", message);
                    } else {
                        self.out.push_back(PING);
                    }
                }
            }
        }
        self.close(&mut to, &mut from).await;
    }

    fn has_room(&self) -> bool {
        self.work.len() < self.rules.outstanding && self.out.len() < MAX_WAITING
    }

    /// Takes as many of the messages that have come as may be at work.
    fn read_messages(&mut self) {
        while self.ending.is_none() && self.has_room() {
            match self.wire.next() {
                Ok(Some(message)) => self.take(message),
                Ok(None) => break,
                Err(Broken { error, message, code }) => self.end(code, error, &message),
            }
        }
        if !matches!(self.ending, Some(Ending::Closed))
            && let Some(output) = self.wire.take_output()
        {
            self.tell(output);
        }
    }

    fn take(&mut self, message: Message) {
        let allowed = self.rate.check().is_ok();
        match message {
            Message::Text(text) => self.ask(&text, allowed),
            Message::Binary(_) => {
                let problem = Problem::field("bad_json", "body", "a message must be text: a JSON object");
                self.refuse(None, problem);
            }
            Message::Close(_) => self.ending = Some(Ending::Closed),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) if !allowed => {
                self.end(CloseCode::Policy, "rate_limited", "too many pings: send fewer");
            }
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }

    fn ask(&mut self, text: &Utf8Bytes, allowed: bool) {
        let fields = match Fields::from_json(text.as_bytes()) {
            Ok(fields) => fields,
            Err(problem) => return self.refuse(None, problem),
        };
        let id = match fields.required_text("id") {
            Ok(id) if id.len() <= MAX_ID_BYTES => id.to_owned(),
            Ok(_) => {
                let message = format!("id must have at most {MAX_ID_BYTES} bytes");
                return self.refuse(None, Problem::field("bad_params", "id", message));
            }
            Err(problem) => return self.refuse(None, problem),
        };
        if let Err(problem) = self.begin(&id, &fields, text, allowed) {
            self.refuse(Some(&id), problem);
        }
    }

    fn begin(&mut self, id: &str, fields: &Fields, text: &Utf8Bytes, allowed: bool) -> Result<(), Problem> {
        if !allowed {
            let message = format!(
                "too many messages: a socket takes {} in a second; nothing was done",
                self.rules.messages_per_s
            );
            return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message).retry_after(1));
        }
        if self.ids.contains(id) {
            let message = "a request with this id is at work, and this one was not taken: use another id";
            return Err(Problem::new(StatusCode::CONFLICT, "duplicate_request_id", message));
        }
        let required =
            || Problem::field("bad_params", "op", "op is required: order, cancel, subscribe or ping");
        match fields.choice("op", &OPS)?.ok_or_else(required)? {
            Op::Order => self.work_on(id, "/api/order", text),
            Op::Cancel => self.work_on(id, "/api/cancel", text),
            Op::Subscribe => {
                let start = start(fields)?;
                self.tell(answer(Some(id), json::ok(&Done { ok: true })));
                self.reader.subscribe(start);
            }
            Op::Ping => self.tell(answer(Some(id), json::ok(&Done { ok: true }))),
        }
        Ok(())
    }

    /// The request goes where the same one over HTTP would go. Fields that it does not know, `id` and `op`, are nothing to
    /// it.
    fn work_on(&mut self, id: &str, path: &'static str, text: &Utf8Bytes) {
        let mut request = Request::new(Body::from(Bytes::from(text.clone())));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = axum::http::Uri::from_static(path);
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(host) = &self.visitor.host {
            headers.insert(header::HOST, host.clone());
        }
        let correlation_id = self.visitor.correlation_id.as_deref();
        if let Some(value) = correlation_id.and_then(|id| HeaderValue::from_str(id).ok()) {
            headers.insert(CORRELATION_ID, value);
        }
        if let Some(peer) = self.visitor.peer {
            request.extensions_mut().insert(peer);
        }
        request.extensions_mut().insert(Opened(self.visitor.principal.clone()));
        let asked = self.desk.call(request);
        self.ids.insert(id.to_owned());
        let id = id.to_owned();
        self.work.push(Box::pin(async move {
            let response: Result<Response<Body>, Infallible> = asked.await;
            let Ok(response) = response;
            let answer = answer(Some(&id), response);
            (id, answer)
        }));
    }

    fn refuse(&mut self, id: Option<&str>, problem: Problem) {
        self.tell(answer(id, problem.into_response()));
    }

    fn tell(&mut self, frame: Bytes) {
        if !matches!(self.ending, Some(Ending::Gone)) {
            self.out.push_back(frame);
        }
    }

    fn written(&mut self, bytes: usize) {
        if let Some(front) = self.out.front_mut() {
            let _ = front.split_to(bytes);
            if front.is_empty() {
                self.out.pop_front();
            }
        }
    }

    fn lose(&mut self) {
        self.out.clear();
        self.ending = Some(Ending::Gone);
    }

    fn end(&mut self, code: CloseCode, error: &'static str, message: &str) {
        let last = Some(last_word(error, message, Form::WebSocket));
        self.ending = Some(Ending::Ended { code, reason: error, last });
    }

    /// Says the last words, and waits a little for the peer's: bytes that nobody has read would take them back.
    async fn close(mut self, to: &mut (impl AsyncWrite + Unpin), from: &mut (impl AsyncRead + Unpin)) {
        let words = match self.ending.take() {
            None | Some(Ending::Gone) => return,
            Some(Ending::Closed) => {
                // The echo is written when the protocol is asked for more.
                let _ = self.wire.next();
                self.wire.take_output().unwrap_or_default()
            }
            Some(Ending::Ended { code, reason, last }) => {
                [last.unwrap_or_default(), close(code, reason)].concat().into()
            }
        };
        let said = timeout(LAST_WORDS_WITHIN, async {
            to.write_all(&words).await?;
            to.shutdown().await
        });
        if !matches!(said.await, Ok(Ok(()))) {
            return;
        }
        let silence = async {
            let mut buffer = [0; READ_BYTES];
            while from.read(&mut buffer).await.is_ok_and(|bytes| bytes > 0) {}
        };
        // A peer that goes on talking is not listened to for ever.
        let _ = timeout(LINGER, silence).await;
    }
}

fn ended_by(end: End) -> Ending {
    let (code, reason) = match end {
        End::Closing => (CloseCode::Away, "closing"),
        End::TooSlow => (CloseCode::Again, "slow_client"),
        End::Unauthorized => (CloseCode::Policy, "unauthorized"),
    };
    Ending::Ended { code, reason, last: None }
}

/// Where a subscription begins; none: with a snapshot.
fn start(fields: &Fields) -> Result<Option<Start>, Problem> {
    let snapshot = fields.flag("snapshot")?.unwrap_or(false);
    if let Some(text) = fields.number("last_id")? {
        let bad = |_| Problem::field("bad_params", "last_id", "last_id must be the id of an event");
        return Ok(Some(Start::After(text.parse().map_err(bad)?)));
    }
    Ok(if snapshot { None } else { Some(Start::Live) })
}

/// What a response over HTTP would have said, as a frame.
fn answer(id: Option<&str>, response: Response<Body>) -> Bytes {
    #[derive(serde::Serialize)]
    struct Head<'a> {
        id: Option<&'a str>,
        status: u16,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_s: Option<u32>,
    }
    let (parts, body) = response.into_parts();
    let retry_after = parts.headers.get(header::RETRY_AFTER);
    let head = Head {
        id,
        status: parts.status.as_u16(),
        retry_after_s: retry_after.and_then(|value| value.to_str().ok()?.parse().ok()),
    };
    // Answers are made whole: there is nothing to wait for.
    let body = to_bytes(body, MAX_ANSWER_BYTES).now_or_never().and_then(Result::ok).unwrap_or_default();
    let mut payload = serde_json::to_vec(&head).unwrap_or_default();
    payload.pop();
    payload.extend_from_slice(b",\"body\":");
    payload.extend_from_slice(if body.is_empty() { b"null" } else { &body });
    payload.push(b'}');
    let mut out = Vec::with_capacity(payload.len() + 10);
    write_frame(&payload, &mut out);
    out.into()
}
