//! REST: one request in, what became of it out. It decides nothing: what is certain and what is unknown is said apart.

use crate::clock::Clock;
use crate::config::Config;
use crate::limits::Limits;
use crate::sign::Params;
use crate::wire::{
    Account, Amended, ErrorBody, ExchangeInfo, OrderInfo, Placed, ReplaceResult, Replaced, ServerTime,
    TradeInfo,
};
use reqwest::{Client, Method, StatusCode, redirect};
use serde::de::DeserializeOwned;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The longest answer that is read: `exchangeInfo` of every symbol is about 15 MiB.
const MAX_BODY_BYTES: usize = 32 << 20;
/// The most fills the venue gives at once.
pub(crate) const TRADES_PER_ANSWER: usize = 1_000;

/// What the venue is asked. Numbers are decimals already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Time,
    Rules {
        symbols: Vec<String>,
    },
    Depth {
        symbol: String,
    },
    Account,
    OpenOrders,
    Place(Box<Terms>),
    Cancel {
        symbol: String,
        client_id: String,
    },
    /// Less of the same, keeping its place.
    Reduce {
        symbol: String,
        client_id: String,
        qty: String,
    },
    /// Cancelled and entered again in one, if nothing of it is filled.
    Replace {
        client_id: String,
        terms: Box<Terms>,
    },
    Query {
        symbol: String,
        client_id: String,
    },
    Trades {
        symbol: String,
        venue_id: u64,
        from_id: Option<u64>,
    },
}

/// A new order's terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) symbol: String,
    pub(crate) client_id: String,
    pub(crate) side: &'static str,
    pub(crate) order_type: &'static str,
    pub(crate) tif: Option<&'static str>,
    pub(crate) qty: String,
    pub(crate) price: Option<String>,
}

impl Terms {
    fn add_to(&self, params: Params) -> Params {
        let mut params = params.with("side", self.side).with("type", self.order_type);
        if let Some(tif) = self.tif {
            params = params.with("timeInForce", tif);
        }
        params = params.with("quantity", &self.qty);
        if let Some(price) = &self.price {
            params = params.with("price", price);
        }
        params.with("newClientOrderId", &self.client_id).with("newOrderRespType", "ACK")
    }
}

/// What the venue said.
#[derive(Debug)]
pub(crate) enum Answer {
    Time,
    Rules(Box<ExchangeInfo>),
    Depth(Vec<u8>),
    Account(Account),
    Orders(Vec<OrderInfo>),
    Placed(Placed),
    Cancelled(OrderInfo),
    Reduced(Amended),
    Replaced(Replaced),
    Order(OrderInfo),
    Trades(Vec<TradeInfo>),
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It never left: nothing happened.
    NotSent(String),
    /// The venue wants to be left alone until then; it did nothing.
    Busy { until_ms: u64 },
    /// The venue refused it: nothing happened, but for the half of a replacement that `replace` names.
    Refused { status: u16, code: i64, message: String, replace: Option<ReplaceResult> },
    /// It may or may not have happened.
    Unknown(String),
}

/// What became of a request.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) result: Result<Answer, Failure>,
    /// Its timestamp, venue time; of an unsigned one when it was sent.
    pub(crate) sent_ms: u64,
}

/// Clock refused; the request did not execute and may be sent again with a better timestamp.
pub(crate) const CODE_TIMESTAMP: i64 = -1021;
pub(crate) const CODE_NO_SUCH_ORDER: i64 = -2013;
pub(crate) const CODE_CANCEL_REJECTED: i64 = -2011;
pub(crate) const CODE_NEW_ORDER_REJECTED: i64 = -2010;
const CODE_TOO_MANY_REQUESTS: i64 = -1003;
const CODE_TOO_MANY_ORDERS: i64 = -1015;
/// The venue says itself that it does not know: DISCONNECTED, UNEXPECTED_RESP, TIMEOUT.
const CODES_UNKNOWN: [i64; 4] = [-1000, -1001, -1006, -1007];

/// A client of the venue's REST, shared by every request under way.
#[derive(Debug)]
pub(crate) struct Rest {
    http: Client,
    config: Arc<Config>,
    pub(crate) clock: Clock,
    limits: Mutex<Limits>,
}

impl Rest {
    pub(crate) fn new(config: Arc<Config>) -> Result<Self, reqwest::Error> {
        let http = Client::builder()
            .timeout(config.request_timeout)
            .connect_timeout(config.request_timeout)
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .tcp_nodelay(true)
            .build()?;
        Ok(Self { http, config, clock: Clock::new(), limits: Mutex::new(Limits::default()) })
    }

    fn limits(&self) -> MutexGuard<'_, Limits> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks once. A timestamp that the venue refused (it did nothing then) is mended and the request sent once more.
    pub(crate) async fn ask(&self, request: &Request) -> Outcome {
        let first = self.attempt(request).await;
        if !matches!(first.result, Err(Failure::Refused { code: CODE_TIMESTAMP, .. })) {
            return first;
        }
        match self.attempt(&Request::Time).await.result {
            Ok(_) => self.attempt(request).await,
            Err(_) => first,
        }
    }

    async fn attempt(&self, request: &Request) -> Outcome {
        let sent_ms = self.clock.now_ms();
        let is_order = matches!(request, Request::Place(_) | Request::Replace { .. });
        if let Some(until_ms) = self.limits().wait_until(is_order, self.config.weight_share_percent, sent_ms)
        {
            return Outcome { result: Err(Failure::Busy { until_ms }), sent_ms };
        }
        let began = Instant::now();
        let result = match self.send(request, sent_ms).await {
            Ok((status, body)) => self.read(request, status, &body, began),
            Err(failure) => Err(failure),
        };
        Outcome { result, sent_ms }
    }

    async fn send(&self, request: &Request, sent_ms: u64) -> Result<(StatusCode, Vec<u8>), Failure> {
        let (method, path, params, signed) = route(request);
        let query = if signed {
            let window = params.with("recvWindow", self.config.recv_window_ms).with("timestamp", sent_ms);
            window.signed(&self.config.key)
        } else {
            params.encode()
        };
        let base = self.config.rest_url.trim_end_matches('/');
        let mut http = self.http.request(method, format!("{base}{path}?{query}"));
        if signed {
            let mut key = reqwest::header::HeaderValue::from_str(self.config.key.api_key())
                .map_err(|_| Failure::NotSent("the API key has characters that no header may have".into()))?;
            key.set_sensitive(true);
            http = http.header("X-MBX-APIKEY", key);
        }
        // An error's URL holds the signature.
        let failed = |error: reqwest::Error| {
            let (connect, text) = (error.is_connect() || error.is_builder(), reason(&error.without_url()));
            if connect { Failure::NotSent(text) } else { Failure::Unknown(text) }
        };
        let mut response = http.send().await.map_err(failed)?;
        let status = response.status();
        let now_ms = self.clock.now_ms();
        self.limits().heard(response.headers(), now_ms);
        if matches!(status.as_u16(), 429 | 418) {
            return Err(Failure::Busy { until_ms: self.limits().pause(response.headers(), now_ms) });
        }
        let mut body = Vec::new();
        while let Some(chunk) =
            response.chunk().await.map_err(|e| Failure::Unknown(reason(&e.without_url())))?
        {
            if body.len() + chunk.len() > MAX_BODY_BYTES {
                return Err(Failure::Unknown(format!("an answer of more than {MAX_BODY_BYTES} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((status, body))
    }

    fn read(
        &self,
        request: &Request,
        status: StatusCode,
        body: &[u8],
        began: Instant,
    ) -> Result<Answer, Failure> {
        if status.is_success() {
            return self.answer(request, body, began);
        }
        let error: Option<ErrorBody> = serde_json::from_slice(body).ok();
        let code = error.as_ref().map_or(0, |error| error.code);
        if status.is_server_error() || CODES_UNKNOWN.contains(&code) {
            return Err(Failure::Unknown(format!("HTTP {}, code {code}", status.as_u16())));
        }
        if matches!(code, CODE_TOO_MANY_REQUESTS | CODE_TOO_MANY_ORDERS) {
            let now_ms = self.clock.now_ms();
            return Err(Failure::Busy { until_ms: self.limits().pause(&Default::default(), now_ms) });
        }
        let (message, replace) = error.map_or((String::new(), None), |error| (error.msg, error.data));
        Err(Failure::Refused { status: status.as_u16(), code, message, replace })
    }

    fn answer(&self, request: &Request, body: &[u8], began: Instant) -> Result<Answer, Failure> {
        Ok(match request {
            Request::Time => {
                let time: ServerTime = json(body)?;
                self.clock.set(time.server_time, u64::try_from(began.elapsed().as_millis()).unwrap_or(0));
                Answer::Time
            }
            Request::Rules { .. } => {
                let info: ExchangeInfo = json(body)?;
                self.limits().learn(&info.rate_limits);
                Answer::Rules(Box::new(info))
            }
            Request::Depth { .. } => Answer::Depth(body.to_vec()),
            Request::Account => Answer::Account(json(body)?),
            Request::OpenOrders => Answer::Orders(json(body)?),
            Request::Place(_) => Answer::Placed(json(body)?),
            Request::Cancel { .. } => Answer::Cancelled(json(body)?),
            Request::Reduce { .. } => Answer::Reduced(json(body)?),
            Request::Replace { .. } => Answer::Replaced(json(body)?),
            Request::Query { .. } => Answer::Order(json(body)?),
            Request::Trades { .. } => Answer::Trades(json(body)?),
        })
    }
}

/// The venue took it, but what it said cannot be read: what happened is unknown.
fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body)
        .map_err(|error| Failure::Unknown(format!("an answer that is not understood: {error}")))
}

/// The innermost cause says more than the outermost.
fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// Method, path, parameters, and whether it is signed.
fn route(request: &Request) -> (Method, &'static str, Params, bool) {
    let named = |symbol: &String, client_id: &String| {
        Params::default().with("symbol", symbol).with("origClientOrderId", client_id)
    };
    match request {
        Request::Time => (Method::GET, "/api/v3/time", Params::default(), false),
        Request::Rules { symbols } => {
            let list = serde_json::to_string(symbols).unwrap_or_default();
            (Method::GET, "/api/v3/exchangeInfo", Params::default().with("symbols", list), false)
        }
        Request::Depth { symbol } => {
            let params = Params::default().with("symbol", symbol).with("limit", 1000);
            (Method::GET, "/api/v3/depth", params, false)
        }
        Request::Account => {
            (Method::GET, "/api/v3/account", Params::default().with("omitZeroBalances", "true"), true)
        }
        Request::OpenOrders => (Method::GET, "/api/v3/openOrders", Params::default(), true),
        Request::Place(terms) => {
            let params = terms.add_to(Params::default().with("symbol", &terms.symbol));
            (Method::POST, "/api/v3/order", params, true)
        }
        Request::Cancel { symbol, client_id } => {
            (Method::DELETE, "/api/v3/order", named(symbol, client_id), true)
        }
        Request::Reduce { symbol, client_id, qty } => {
            let params = named(symbol, client_id).with("newClientOrderId", client_id).with("newQty", qty);
            (Method::PUT, "/api/v3/order/amend/keepPriority", params, true)
        }
        Request::Replace { client_id, terms } => {
            let params = terms
                .add_to(Params::default().with("symbol", &terms.symbol))
                .with("cancelReplaceMode", "STOP_ON_FAILURE")
                .with("cancelRestrictions", "ONLY_NEW")
                .with("cancelOrigClientOrderId", client_id);
            (Method::POST, "/api/v3/order/cancelReplace", params, true)
        }
        Request::Query { symbol, client_id } => {
            (Method::GET, "/api/v3/order", named(symbol, client_id), true)
        }
        Request::Trades { symbol, venue_id, from_id } => {
            let params = Params::default().with("symbol", symbol).with("orderId", venue_id);
            let params = params.with("limit", TRADES_PER_ANSWER);
            let params = from_id.iter().fold(params, |params, id| params.with("fromId", id));
            (Method::GET, "/api/v3/myTrades", params, true)
        }
    }
}
