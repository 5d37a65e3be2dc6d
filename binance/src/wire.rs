//! The venue's JSON. Unknown fields are ignored: the venue adds some without notice.

use serde::Deserialize;

/// An error's body.
#[derive(Debug, Deserialize)]
pub(crate) struct ErrorBody {
    pub(crate) code: i64,
    #[serde(default)]
    pub(crate) msg: String,
    /// Of a cancel-replace: what became of its halves.
    #[serde(default)]
    pub(crate) data: Option<ReplaceResult>,
}

/// What became of the halves of a cancel-replace.
#[derive(Debug, Deserialize)]
pub(crate) struct ReplaceResult {
    #[serde(rename = "cancelResult")]
    pub(crate) cancel: String,
    #[serde(rename = "newOrderResult")]
    pub(crate) new_order: String,
}

/// `/api/v3/time`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServerTime {
    pub(crate) server_time: u64,
}

/// The answer to a new order, `newOrderRespType=ACK`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Placed {
    pub(crate) order_id: u64,
    #[serde(default)]
    pub(crate) transact_time: u64,
}

/// The answer to a cancel-replace that succeeded.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Replaced {
    pub(crate) new_order_response: Placed,
}

/// An order as the venue has it. A cancel's answer names it by `origClientOrderId`; what asks knows that name.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OrderInfo {
    pub(crate) order_id: u64,
    pub(crate) client_order_id: String,
    #[serde(default)]
    pub(crate) symbol: String,
    #[serde(default)]
    pub(crate) side: String,
    #[serde(default)]
    pub(crate) price: String,
    pub(crate) orig_qty: String,
    pub(crate) executed_qty: String,
    pub(crate) status: Status,
    #[serde(default, alias = "transactTime")]
    pub(crate) update_time: u64,
}

/// The answer to an amend.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Amended {
    pub(crate) transact_time: u64,
}

/// An order's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Status {
    PendingNew,
    New,
    PartiallyFilled,
    Filled,
    Canceled,
    PendingCancel,
    Rejected,
    Expired,
    ExpiredInMatch,
    /// One that this version does not know: the order is queried until it says something else.
    #[serde(other)]
    Other,
}

/// A fill of `/api/v3/myTrades`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TradeInfo {
    pub(crate) id: u64,
    pub(crate) price: String,
    pub(crate) qty: String,
    pub(crate) commission: String,
    pub(crate) commission_asset: String,
    pub(crate) time: u64,
    pub(crate) is_maker: bool,
}

/// `/api/v3/account`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Account {
    #[serde(default)]
    pub(crate) update_time: u64,
    pub(crate) balances: Vec<AccountBalance>,
}

/// A balance of the account.
#[derive(Debug, Deserialize)]
pub(crate) struct AccountBalance {
    pub(crate) asset: String,
    pub(crate) free: String,
    pub(crate) locked: String,
}

/// `/api/v3/exchangeInfo`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExchangeInfo {
    #[serde(default)]
    pub(crate) rate_limits: Vec<RateLimit>,
    pub(crate) symbols: Vec<SymbolInfo>,
}

/// A limit of requests or orders.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RateLimit {
    pub(crate) rate_limit_type: String,
    pub(crate) interval: String,
    pub(crate) interval_num: u64,
    pub(crate) limit: u64,
}

/// A symbol of the venue.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SymbolInfo {
    pub(crate) symbol: String,
    pub(crate) status: String,
    pub(crate) base_asset: String,
    pub(crate) quote_asset: String,
    #[serde(default)]
    pub(crate) amend_allowed: bool,
    #[serde(default)]
    pub(crate) filters: Vec<Filter>,
}

/// A filter; those that are not enforced here are the venue's own business.
#[derive(Debug, Deserialize)]
#[serde(tag = "filterType", rename_all_fields = "camelCase")]
pub(crate) enum Filter {
    #[serde(rename = "PRICE_FILTER")]
    Price { min_price: String, max_price: String, tick_size: String },
    #[serde(rename = "LOT_SIZE")]
    Lot { min_qty: String, max_qty: String, step_size: String },
    #[serde(rename = "MARKET_LOT_SIZE")]
    MarketLot { min_qty: String, max_qty: String, step_size: String },
    #[serde(rename = "MIN_NOTIONAL")]
    MinNotional { min_notional: String },
    #[serde(rename = "NOTIONAL")]
    Notional { min_notional: String, max_notional: String },
    #[serde(other)]
    Other,
}

/// A message of the WebSocket API: an answer, or an event of a subscription.
#[derive(Debug, Deserialize)]
pub(crate) struct SessionMessage {
    #[serde(default)]
    pub(crate) id: Option<u64>,
    #[serde(default)]
    pub(crate) status: Option<u16>,
    #[serde(default)]
    pub(crate) error: Option<ErrorBody>,
    #[serde(default)]
    pub(crate) event: Option<UserEvent>,
}

/// An event of the user data stream.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "e")]
pub(crate) enum UserEvent {
    #[serde(rename = "executionReport")]
    Execution(Box<Execution>),
    #[serde(rename = "outboundAccountPosition")]
    Position {
        #[serde(rename = "u")]
        update_ms: u64,
        #[serde(rename = "B")]
        balances: Vec<EventBalance>,
    },
    #[serde(rename = "balanceUpdate")]
    Balance {
        #[serde(rename = "a")]
        asset: String,
        #[serde(rename = "d")]
        delta: String,
        #[serde(rename = "T")]
        clear_ms: u64,
    },
    #[serde(rename = "eventStreamTerminated", alias = "serverShutdown")]
    Ended,
    #[serde(other)]
    Other,
}

/// A balance of an event.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct EventBalance {
    #[serde(rename = "a")]
    pub(crate) asset: String,
    #[serde(rename = "f")]
    pub(crate) free: String,
    #[serde(rename = "l")]
    pub(crate) locked: String,
}

/// An `executionReport`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Execution {
    #[serde(rename = "s")]
    pub(crate) symbol: String,
    /// The order's client id; of a cancel, the cancel's own.
    #[serde(rename = "c")]
    pub(crate) client_id: String,
    /// Of a cancel or a replacement: the order's client id before.
    #[serde(rename = "C", default)]
    pub(crate) original_id: Option<String>,
    #[serde(rename = "x")]
    pub(crate) what: String,
    #[serde(rename = "X")]
    pub(crate) status: Status,
    #[serde(rename = "r", default)]
    pub(crate) reject: String,
    #[serde(rename = "i")]
    pub(crate) order_id: u64,
    #[serde(rename = "q")]
    pub(crate) qty: String,
    #[serde(rename = "l")]
    pub(crate) last_qty: String,
    #[serde(rename = "z")]
    pub(crate) cum_qty: String,
    #[serde(rename = "L")]
    pub(crate) last_price: String,
    #[serde(rename = "n")]
    pub(crate) fee: Option<String>,
    #[serde(rename = "N")]
    pub(crate) fee_asset: Option<String>,
    #[serde(rename = "T")]
    pub(crate) time_ms: u64,
    /// -1: no fill.
    #[serde(rename = "t")]
    pub(crate) trade_id: i64,
    #[serde(rename = "I", default)]
    pub(crate) execution_id: u64,
    #[serde(rename = "m", default)]
    pub(crate) maker: bool,
}
