//! The mock's protocols and its faults.

use super::venue::{Refusal, Venue, exchange_info};
use aws_lc_rs::{hmac, signature};
use axum::Router;
use axum::body::Body;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::get;
use base64::Engine as _;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::broadcast;

/// What a request meets, once.
#[derive(Clone, Debug)]
pub enum Fault {
    /// It is executed, but the answer does not come.
    TimeoutAfter,
    /// It is not executed, and the answer does not come.
    TimeoutBefore,
    /// This status and code instead of execution.
    Instead(u16, i64),
    /// It is executed, and this status and code are the answer.
    After(u16, i64),
    /// 429 or 418 with Retry-After, seconds.
    Busy(u16, u64),
    /// It is executed; the answer takes so long.
    Slow(Duration),
    /// It is executed; the answer is no JSON.
    Malformed,
}

/// What happens to user events.
#[derive(Clone, Copy, Debug, Default)]
pub struct EventFaults {
    /// So many are lost.
    pub drop: usize,
    /// Each comes twice.
    pub twice: bool,
    /// Those of one request come last first.
    pub reversed: bool,
}

/// Who may sign.
#[derive(Clone, Debug)]
pub enum Verifier {
    /// HMAC-SHA256 with this secret.
    Hmac(String),
    /// Ed25519 with this public key.
    Ed25519(Vec<u8>),
}

#[derive(Debug)]
struct Inner {
    venue: Venue,
    faults: Vec<(String, Fault)>,
    events: EventFaults,
    skew_ms: i64,
    requests: HashMap<String, u64>,
    used_weight: Used,
    order_count: Used,
}

/// What was used of a limit in the interval that runs: the venue counts anew in every one.
#[derive(Debug)]
struct Used {
    interval: Duration,
    since: Instant,
    count: u64,
}

impl Used {
    fn of(interval: Duration) -> Self {
        Self { interval, since: Instant::now(), count: 0 }
    }

    fn add(&mut self, more: u64) {
        if self.since.elapsed() >= self.interval {
            (self.since, self.count) = (Instant::now(), 0);
        }
        self.count += more;
    }
}

/// The mock's address and its handles.
#[derive(Clone, Debug)]
pub struct Mock {
    inner: Arc<Mutex<Inner>>,
    verifier: Verifier,
    user: broadcast::Sender<String>,
    market: broadcast::Sender<String>,
    cut: broadcast::Sender<()>,
    /// `127.0.0.1:port`.
    pub address: std::net::SocketAddr,
}

/// The API key that the mock knows.
pub const API_KEY: &str = "mock-api-key";

impl Mock {
    /// Starts it on a free port, inside the runtime that calls.
    pub async fn start(verifier: Verifier) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let inner = Inner {
            venue: Venue::new(),
            faults: Vec::new(),
            events: EventFaults::default(),
            skew_ms: 0,
            requests: HashMap::new(),
            used_weight: Used::of(Duration::from_secs(60)),
            order_count: Used::of(Duration::from_secs(10)),
        };
        let mock = Self {
            inner: Arc::new(Mutex::new(inner)),
            verifier,
            user: broadcast::channel(10_000).0,
            market: broadcast::channel(10_000).0,
            cut: broadcast::channel(4).0,
            address: listener.local_addr().expect("an address"),
        };
        let app = Router::new()
            .route("/ws-api/v3", get(session))
            .route("/stream", get(stream))
            .fallback(rest)
            .with_state(mock.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        mock
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next request to `METHOD /path` meets this fault.
    pub fn fault(&self, request: &str, fault: Fault) {
        self.lock().faults.push((request.to_owned(), fault));
    }

    /// From now on user events fare like this.
    pub fn events(&self, faults: EventFaults) {
        self.lock().events = faults;
    }

    /// The venue's clock is off by so much.
    pub fn skew(&self, skew_ms: i64) {
        self.lock().skew_ms = skew_ms;
    }

    /// Ends every WebSocket, as the venue does after 24 hours.
    pub fn cut(&self) {
        let _ = self.cut.send(());
    }

    /// How often `METHOD /path` was asked.
    #[must_use]
    pub fn requests(&self, request: &str) -> u64 {
        self.lock().requests.get(request).copied().unwrap_or(0)
    }

    /// Works on the venue and sends what follows from it.
    pub fn venue<T>(&self, work: impl FnOnce(&mut Venue) -> T) -> T {
        let mut inner = self.lock();
        inner.venue.now = now_ms(inner.skew_ms);
        let result = work(&mut inner.venue);
        self.publish(&mut inner);
        result
    }

    fn publish(&self, inner: &mut Inner) {
        let mut events = std::mem::take(&mut inner.venue.events);
        if inner.events.reversed {
            events.reverse();
        }
        for event in events {
            if inner.events.drop > 0 {
                inner.events.drop -= 1;
                continue;
            }
            let text = json!({"subscriptionId": 0, "event": event}).to_string();
            for _ in 0..=usize::from(inner.events.twice) {
                let _ = self.user.send(text.clone());
            }
        }
        for (stream, data) in std::mem::take(&mut inner.venue.market) {
            let _ = self.market.send(json!({"stream": stream, "data": data}).to_string());
        }
    }

    /// Sends this to every user session as it is.
    pub fn say(&self, text: &str) {
        let _ = self.user.send(text.to_owned());
    }

    fn verifies(&self, payload: &str, signed: &str) -> bool {
        match &self.verifier {
            Verifier::Hmac(secret) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
                let tag = hmac::sign(&key, payload.as_bytes());
                let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
                hex == signed
            }
            Verifier::Ed25519(public) => {
                let Ok(bytes) = base64::prelude::BASE64_STANDARD.decode(signed) else { return false };
                let key = signature::UnparsedPublicKey::new(&signature::ED25519, public);
                key.verify(payload.as_bytes(), &bytes).is_ok()
            }
        }
    }

    fn timely(&self, params: &HashMap<String, String>) -> Result<(), Refusal> {
        let number = |name: &str| params.get(name).and_then(|text| text.parse::<u64>().ok());
        let stamp =
            number("timestamp").ok_or((400, -1102, "Mandatory parameter 'timestamp' was not sent."))?;
        let (now, window) = (now_ms(self.lock().skew_ms), number("recvWindow").unwrap_or(5000));
        if stamp < now + 1000 && now.saturating_sub(stamp) <= window {
            Ok(())
        } else {
            Err((400, -1021, "Timestamp for this request is outside of the recvWindow."))
        }
    }
}

fn now_ms(skew_ms: i64) -> u64 {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    u64::try_from(wall).unwrap_or(0).saturating_add_signed(skew_ms)
}

fn decode(text: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let hex = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16)).unwrap_or(0);
        out.push(if byte == b'%' { (hex(bytes.next()) * 16 + hex(bytes.next())) as u8 } else { byte });
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn params(query: &str) -> HashMap<String, String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), decode(value))).collect()
}

fn response(status: u16, body: &str, headers: &[(&str, String)]) -> Response {
    let mut builder = Response::builder().status(status).header("content-type", "application/json");
    for (name, value) in headers {
        builder = builder.header(*name, value);
    }
    builder.body(Body::from(body.to_owned())).expect("a response")
}

fn error(status: u16, code: i64, message: &str) -> (u16, String) {
    (status, json!({"code": code, "msg": message}).to_string())
}

const HANG: Duration = Duration::from_secs(60);

async fn rest(State(mock): State<Mock>, request: Request) -> Response {
    let name = format!("{} {}", request.method(), request.uri().path());
    let query = request.uri().query().unwrap_or("").to_owned();
    let key = request.headers().get("x-mbx-apikey").and_then(|key| key.to_str().ok()).map(str::to_owned);
    let fault = {
        let mut inner = mock.lock();
        *inner.requests.entry(name.clone()).or_default() += 1;
        inner.used_weight.add(if name.ends_with("/openOrders") { 80 } else { 4 });
        inner.order_count.add(u64::from(name == "POST /api/v3/order"));
        let at = inner.faults.iter().position(|(request, _)| *request == name);
        at.map(|at| inner.faults.remove(at).1)
    };
    let execute = || match answer(&mock, &name, &query, key.as_deref()) {
        Ok(body) => (200, body.to_string()),
        Err((409, body)) => (409, body),
        Err((status, body)) => (status, body),
    };
    let (status, body) = match fault {
        None => execute(),
        Some(Fault::TimeoutAfter) => {
            execute();
            tokio::time::sleep(HANG).await;
            error(504, -1007, "Timeout")
        }
        Some(Fault::TimeoutBefore) => {
            tokio::time::sleep(HANG).await;
            error(504, -1007, "Timeout")
        }
        Some(Fault::Instead(status, code)) => error(status, code, "An error."),
        Some(Fault::After(status, code)) => {
            execute();
            error(status, code, "An error.")
        }
        Some(Fault::Busy(status, seconds)) => {
            let (status, body) = error(status, -1003, "Too much request weight used.");
            return response(status, &body, &[("retry-after", seconds.to_string())]);
        }
        Some(Fault::Slow(pause)) => {
            let done = execute();
            tokio::time::sleep(pause).await;
            done
        }
        Some(Fault::Malformed) => {
            execute();
            (200, "{\"orderId\": <html>".to_owned())
        }
    };
    let (weight, orders) = {
        let inner = mock.lock();
        (inner.used_weight.count, inner.order_count.count)
    };
    let headers =
        [("x-mbx-used-weight-1m", weight.to_string()), ("x-mbx-order-count-10s", orders.to_string())];
    response(status, &body, &headers)
}

fn answer(mock: &Mock, name: &str, query: &str, key: Option<&str>) -> Result<Value, (u16, String)> {
    let refused = |(status, code, message): Refusal| error(status, code, message);
    let given = params(query);
    let text = |name: &str| given.get(name).map_or("", String::as_str);
    match name {
        "GET /api/v3/time" => return Ok(json!({"serverTime": now_ms(mock.lock().skew_ms)})),
        "GET /api/v3/exchangeInfo" => return Ok(exchange_info()),
        "GET /api/v3/depth" => return Ok(mock.venue(|venue| venue.depth(text("symbol")))),
        // The listen keys of older clients were removed.
        "POST /api/v3/userDataStream" | "PUT /api/v3/userDataStream" => {
            return Err((410, "{\"code\":0,\"msg\":\"Gone\"}".to_owned()));
        }
        _ => {}
    }
    if key != Some(API_KEY) {
        return Err(refused((401, -2015, "Invalid API-key, IP, or permissions for action.")));
    }
    let (payload, signed) = query.rsplit_once("&signature=").unwrap_or((query, ""));
    if !mock.verifies(payload, &decode(signed)) {
        return Err(refused((400, -1022, "Signature for this request is not valid.")));
    }
    mock.timely(&given).map_err(refused)?;
    let (symbol, client_id) = (text("symbol"), text("origClientOrderId"));
    mock.venue(|venue| match name {
        "POST /api/v3/order" => venue
            .place(&given)
            .map(|id| {
                json!({"symbol": symbol, "orderId": id, "orderListId": -1,
                "clientOrderId": text("newClientOrderId"), "transactTime": venue.now})
            })
            .map_err(refused),
        "DELETE /api/v3/order" => venue.cancel(symbol, client_id).map_err(refused),
        "PUT /api/v3/order/amend/keepPriority" => {
            venue.reduce(symbol, client_id, text("newQty")).map_err(refused)
        }
        "POST /api/v3/order/cancelReplace" => replace(venue, &given),
        "GET /api/v3/order" => {
            let order = venue.find(symbol, client_id).map(super::venue::Order::json);
            order.ok_or_else(|| refused((400, -2013, "Order does not exist.")))
        }
        "GET /api/v3/openOrders" => Ok(Value::Array(venue.open())),
        "GET /api/v3/account" => Ok(venue.account()),
        "GET /api/v3/myTrades" => {
            let id = text("orderId").parse().unwrap_or(0);
            Ok(Value::Array(venue.trades_of(id, text("fromId").parse().unwrap_or(0))))
        }
        _ => Err((404, "<html>not found</html>".to_owned())),
    })
}

/// Cancel and replace, `STOP_ON_FAILURE`, `ONLY_NEW`.
fn replace(venue: &mut Venue, given: &HashMap<String, String>) -> Result<Value, (u16, String)> {
    let text = |name: &str| given.get(name).map_or("", String::as_str);
    let failed = |status: u16, code: i64, cancel: &str, new: &str| {
        let data = json!({"cancelResult": cancel, "newOrderResult": new, "cancelResponse": {}, "newOrderResponse": null});
        (status, json!({"code": code, "msg": "Order cancel-replace failed.", "data": data}).to_string())
    };
    let (symbol, old) = (text("symbol"), text("cancelOrigClientOrderId"));
    let fresh = venue.find(symbol, old).is_some_and(|order| order.status == "NEW");
    if !fresh {
        return Err(failed(400, -2022, "FAILURE", "NOT_ATTEMPTED"));
    }
    let Ok(cancelled) = venue.cancel(symbol, old) else {
        return Err(failed(400, -2022, "FAILURE", "NOT_ATTEMPTED"));
    };
    match venue.place(given) {
        Ok(id) => {
            Ok(json!({"cancelResult": "SUCCESS", "newOrderResult": "SUCCESS", "cancelResponse": cancelled,
            "newOrderResponse": {"symbol": symbol, "orderId": id, "clientOrderId": text("newClientOrderId"),
                "transactTime": venue.now}}))
        }
        Err(_) => Err(failed(409, -2021, "SUCCESS", "FAILURE")),
    }
}

async fn session(State(mock): State<Mock>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(move |socket| user_session(mock, socket))
}

async fn user_session(mock: Mock, mut socket: WebSocket) {
    let (mut events, mut cut) = (None, mock.cut.subscribe());
    let mut logged_on = false;
    let mut ping = tokio::time::interval(Duration::from_millis(200));
    loop {
        let say = tokio::select! {
            event = next(&mut events) => match event {
                Some(event) => event,
                None => return,
            },
            _ = cut.recv() => {
                let _ = socket.send(Message::Close(Some(CloseFrame { code: 1008, reason: "Disconnected".into() }))).await;
                return;
            }
            _ = ping.tick() => {
                if socket.send(Message::Ping(b"1".to_vec().into())).await.is_err() {
                    return;
                }
                continue;
            }
            asked = socket.recv() => {
                let Some(Ok(asked)) = asked else { return };
                let Message::Text(text) = asked else { continue };
                let asked: Value = serde_json::from_str(&text).unwrap_or_default();
                let said = subscribe(&mock, &asked, &mut logged_on);
                if said["status"] == 200 && asked["method"] != "session.logon" {
                    events = Some(mock.user.subscribe());
                }
                said.to_string()
            }
        };
        if socket.send(Message::Text(say.into())).await.is_err() {
            return;
        }
    }
}

/// The next message, once there is a subscription.
async fn next(events: &mut Option<broadcast::Receiver<String>>) -> Option<String> {
    match events {
        Some(events) => events.recv().await.ok(),
        None => std::future::pending().await,
    }
}

fn subscribe(mock: &Mock, asked: &Value, logged_on: &mut bool) -> Value {
    let failed = |(status, code, message): Refusal| json!({"id": asked["id"], "status": status, "error": {"code": code, "msg": message}});
    let given: HashMap<String, String> = asked["params"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        .collect();
    let mut names: Vec<&String> = given.keys().filter(|name| *name != "signature").collect();
    names.sort();
    let payload: Vec<String> = names.iter().map(|name| format!("{name}={}", given[*name])).collect();
    let verified = given.get("apiKey").is_some_and(|key| key == API_KEY)
        && mock.verifies(&payload.join("&"), given.get("signature").map_or("", String::as_str));
    let ok = json!({"id": asked["id"], "status": 200, "result": {"subscriptionId": 0}});
    match asked["method"].as_str().unwrap_or("") {
        "userDataStream.subscribe" if *logged_on => ok,
        "session.logon" | "userDataStream.subscribe.signature" => {
            if !verified {
                return failed((400, -1022, "Signature for this request is not valid."));
            }
            if let Err(refusal) = mock.timely(&given) {
                return failed(refusal);
            }
            *logged_on |= asked["method"] == "session.logon";
            ok
        }
        "userDataStream.start" => failed((410, 0, "Gone")),
        _ => failed((401, -1002, "You are not authorized to execute this request.")),
    }
}

async fn stream(State(mock): State<Mock>, request: Request) -> Response {
    use axum::extract::FromRequestParts as _;
    let wanted = params(request.uri().query().unwrap_or("")).remove("streams").unwrap_or_default();
    let wanted: Vec<String> = wanted.split('/').map(str::to_owned).collect();
    let (mut parts, _) = request.into_parts();
    let Ok(upgrade) = WebSocketUpgrade::from_request_parts(&mut parts, &mock).await else {
        return response(400, "{}", &[]);
    };
    upgrade.on_upgrade(move |mut socket| async move {
        let (mut messages, mut cut) = (mock.market.subscribe(), mock.cut.subscribe());
        loop {
            let message = tokio::select! {
                Ok(message) = messages.recv() => message,
                _ = cut.recv() => return,
                asked = socket.recv() => match asked {
                    Some(Ok(_)) => continue,
                    _ => return,
                },
            };
            let said: Value = serde_json::from_str(&message).unwrap_or_default();
            let mine = said["stream"].as_str().is_some_and(|name| wanted.iter().any(|stream| stream == name));
            if mine && socket.send(Message::Text(message.into())).await.is_err() {
                return;
            }
        }
    })
}
