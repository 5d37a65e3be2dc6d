//! Placing and cancelling orders: from checked words to the gate's decision.

use ringfence_ipc::handshake::ControlRefusal;
use ringfence_ipc::msg::{
    Decision, Intent, OperatorExt, OrderId, OrderType, Outcome, Side, StrategyId, SymbolId, Tif,
};
use ringfence_ipc::reason::Reason;
use ringfence_ipc::symbol::{DecimalError, Symbol, parse_scaled};

use super::Gateway;
use super::key::{act_key, check_client_order_id, generated_client_order_id, nonce, order_key};
use super::projection::{Answer, Order, Projection};
use super::pump::{ANSWER_WITHIN, Answered, ControlFailure, PumpError};

/// The longest decimal text looked at.
const MAX_DECIMAL_CHARS: usize = 64;

/// An order as asked for, its decimals still text.
#[derive(Clone, Debug)]
pub struct OrderRequest {
    /// Buy or sell.
    pub side: Side,
    /// Symbol name, any case.
    pub symbol: String,
    /// Decimal text.
    pub qty: String,
    /// Decimal text; for limit orders.
    pub price: Option<String>,
    /// Limit or market.
    pub order_type: OrderType,
    /// Time in force.
    pub tif: Tif,
    /// Name or number; none for the manual strategy.
    pub strategy: Option<String>,
    /// The caller's id; generated when none.
    pub client_order_id: Option<String>,
}

/// An order the gate accepted.
#[derive(Clone, Debug)]
pub struct Placed {
    /// Its id.
    pub client_order_id: String,
    /// The gate's id.
    pub order_id: OrderId,
    /// The gate's answer.
    pub answer: Answer,
    /// The id was known: this is the first answer again.
    pub duplicate: bool,
    /// From leaving the shell to being decided, ns; none for answers from memory.
    pub gate_latency_ns: Option<u64>,
}

/// A refusal by the gate.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The order it was about.
    pub client_order_id: String,
    /// The gate's answer.
    pub answer: Answer,
    /// The symbol, for the units of observed and limit.
    pub symbol: Option<Symbol>,
    /// The id was known: this is the first answer again.
    pub duplicate: bool,
    /// From leaving the shell to being decided, ns.
    pub gate_latency_ns: Option<u64>,
}

/// Why there is no order or cancel.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OrderError {
    /// A field does not hold what it must.
    #[error("{field}: {message}")]
    Field {
        /// Its name in the request.
        field: &'static str,
        /// What it must be.
        message: String,
    },
    /// The journal is still being read: a repeat could not be told from a new order.
    #[error("the journal is still being read")]
    Starting,
    /// The id belongs to another order.
    #[error("client_order_id `{0}` was used for a different order")]
    Conflict(String),
    /// No order has this id.
    #[error("no order `{0}`")]
    NotFound(String),
    /// The order is final.
    #[error("order `{client_order_id}` is already {status}")]
    Terminal {
        /// Its id.
        client_order_id: String,
        /// How it ended.
        status: &'static str,
    },
    /// The gate refused.
    #[error("refused by the gate: {}", .0.answer.reason)]
    Refused(Box<Refused>),
    /// The gate refused a control request.
    #[error(transparent)]
    Control(ControlRefusal),
    /// No limit has changed; why, in words.
    #[error("{0}")]
    Config(String),
    /// There is no decision.
    #[error(transparent)]
    Pump(#[from] PumpError),
}

impl From<ControlFailure> for OrderError {
    fn from(failure: ControlFailure) -> Self {
        match failure {
            ControlFailure::Refused(refusal) => Self::Control(refusal),
            ControlFailure::Config(text) => Self::Config(text),
            ControlFailure::Pump(error) => Self::Pump(error),
        }
    }
}

pub(super) fn field(field: &'static str, message: impl Into<String>) -> OrderError {
    OrderError::Field { field, message: message.into() }
}

/// An order with everything looked up and scaled.
struct Checked {
    client_order_id: String,
    strategy: StrategyId,
    symbol_id: SymbolId,
    symbol: Symbol,
    side: Side,
    order_type: OrderType,
    tif: Tif,
    price: i64,
    qty: i64,
}

impl Checked {
    fn intent(&self, key: u128) -> Intent {
        Intent {
            order_type: self.order_type,
            tif: self.tif,
            ttl_ns_or_target: ANSWER_WITHIN.as_nanos() as u64,
            ..Intent::limit(self.symbol_id, self.side, self.price, self.qty, key, 0)
        }
    }

    /// Whether `order` was asked for in the same words.
    fn same_as(&self, order: &Order) -> bool {
        (order.symbol, order.side, order.order_type, order.tif, order.asked, order.strategy)
            == (self.symbol_id, self.side, self.order_type, self.tif, (self.price, self.qty), self.strategy)
    }
}

fn scaled(name: &'static str, text: &str, scale: u8, step: i64, step_name: &str) -> Result<i64, OrderError> {
    if text.len() > MAX_DECIMAL_CHARS {
        return Err(field(name, "is too long for a number"));
    }
    let value = parse_scaled(text, scale).map_err(|error| match error {
        DecimalError::NotADecimal => field(name, "must be a plain decimal number such as 61745.68"),
        DecimalError::TooPrecise => field(name, format!("has more than {scale} decimals")),
        DecimalError::Overflow => field(name, "is too large"),
    })?;
    if value <= 0 {
        return Err(field(name, "must be greater than zero"));
    }
    if value % step != 0 {
        let step = super::exact::Exact::new(step, scale).text();
        return Err(field(name, format!("must be a multiple of the {step_name} {step}")));
    }
    Ok(value)
}

pub(super) fn find_strategy(
    p: &Projection,
    gateway: &Gateway,
    asked: Option<&str>,
) -> Result<StrategyId, OrderError> {
    let account = gateway.settings.account;
    let Some(asked) = asked else {
        let manual = &gateway.settings.manual_strategy;
        // The gate's own setup lacks it: no caller can mend that.
        return p.find_strategy(account, manual).map(|s| s.strategy).ok_or(OrderError::Pump(PumpError::Away));
    };
    let by_name = p.find_strategy(account, asked);
    let by_number = || p.names.strategy(asked.parse().ok()?).filter(|s| s.account == account);
    by_name
        .or_else(by_number)
        .map(|s| s.strategy)
        .ok_or_else(|| field("strategy_id", "names no strategy of this account"))
}

fn check(gateway: &Gateway, request: &OrderRequest) -> Result<Checked, OrderError> {
    let client_order_id = request.client_order_id.clone().unwrap_or_else(generated_client_order_id);
    if request.client_order_id.is_some() {
        check_client_order_id(&client_order_id).map_err(|message| field("client_order_id", message))?;
    }
    gateway.look(|p| {
        let name = request.symbol.to_ascii_uppercase();
        let (symbol_id, symbol) =
            p.names.find_symbol(&name).ok_or_else(|| field("symbol", "is not in the gate's symbol table"))?;
        let qty = scaled("qty", &request.qty, symbol.qty_scale, symbol.lot, "lot")?;
        let price = match (request.order_type, &request.price) {
            (OrderType::Limit, Some(text)) => scaled("price", text, symbol.price_scale, symbol.tick, "tick")?,
            (OrderType::Limit, None) => return Err(field("price", "is required for a LIMIT order")),
            (OrderType::Market, None) => 0,
            (OrderType::Market, Some(_)) => return Err(field("price", "must be absent for a MARKET order")),
        };
        Ok(Checked {
            strategy: find_strategy(p, gateway, request.strategy.as_deref())?,
            client_order_id,
            symbol_id,
            symbol: *symbol,
            side: request.side,
            order_type: request.order_type,
            tif: request.tif,
            price,
            qty,
        })
    })
}

const fn answer_of(decision: &Decision) -> Answer {
    Answer {
        outcome: decision.outcome,
        reason: decision.reason,
        limit_id: decision.limit_id,
        observed: decision.observed,
        limit: decision.limit,
        journal_seq: decision.journal_seq,
        decided_at_ns: decision.decided_at_ns,
    }
}

const fn latency(answered: &Answered) -> Option<u64> {
    if answered.decision.duplicate {
        return None;
    }
    Some(answered.decision.decided_at_ns.saturating_sub(answered.sent_ns))
}

fn ext(strategy: StrategyId, gateway: &Gateway, client_order_id: &str) -> Result<OperatorExt, OrderError> {
    OperatorExt::new(strategy, gateway.settings.account, client_order_id, nonce())
        .map_err(|_| field("client_order_id", "is not printable ASCII of at most 36 bytes"))
}

/// Places an order.
///
/// A repeat of an order that the journal already tells of is answered from there, however long ago it was; anything
/// newer is recognised by the gate itself.
///
/// # Errors
/// [`OrderError`].
pub async fn place(gateway: &Gateway, request: &OrderRequest) -> Result<Placed, OrderError> {
    if !gateway.is_caught_up() {
        return Err(OrderError::Starting);
    }
    let order = check(gateway, request)?;
    let account = gateway.settings.account;
    let known = gateway.look(|p| {
        p.orders.find(account, &order.client_order_id).map(|o| (order.same_as(o), o.order_id, o.answer))
    });
    match known {
        Some((false, ..)) => return Err(OrderError::Conflict(order.client_order_id)),
        Some((true, order_id, answer)) => return conclude(order, order_id, answer, true, None),
        None => {}
    }
    let intent = order.intent(order_key(account, &order.client_order_id));
    let answered = gateway.gate.decide(intent, ext(order.strategy, gateway, &order.client_order_id)?).await?;
    let decision = answered.decision;
    if decision.reason == Reason::IdempotencyConflict {
        return Err(OrderError::Conflict(order.client_order_id));
    }
    conclude(order, decision.order_id, answer_of(&decision), decision.duplicate, latency(&answered))
}

fn conclude(
    order: Checked,
    order_id: OrderId,
    answer: Answer,
    duplicate: bool,
    gate_latency_ns: Option<u64>,
) -> Result<Placed, OrderError> {
    let client_order_id = order.client_order_id;
    match answer.outcome {
        Outcome::Accepted => Ok(Placed { client_order_id, order_id, answer, duplicate, gate_latency_ns }),
        Outcome::Rejected => Err(OrderError::Refused(Box::new(Refused {
            client_order_id,
            answer,
            symbol: Some(order.symbol),
            duplicate,
            gate_latency_ns,
        }))),
    }
}

/// What a cancel needs to know of its order.
struct Target {
    strategy: StrategyId,
    symbol: SymbolId,
    order_id: OrderId,
    terminal: Option<&'static str>,
}

fn find_target(gateway: &Gateway, client_order_id: &str) -> Option<Target> {
    gateway.look(|p| {
        p.orders.find(gateway.settings.account, client_order_id).map(|order| Target {
            strategy: order.strategy,
            symbol: order.symbol,
            order_id: order.order_id,
            terminal: order.state.is_terminal().then(|| order.status()),
        })
    })
}

/// Asks the gate to cancel the order with this id.
///
/// # Errors
/// [`OrderError`]; [`OrderError::Terminal`] tells how an order ended that cannot be cancelled any more.
pub async fn cancel(gateway: &Gateway, client_order_id: &str) -> Result<Placed, OrderError> {
    let mut target = find_target(gateway, client_order_id);
    if target.is_none() {
        // It may have been placed a moment ago, by this very caller.
        gateway.settle().await;
        target = find_target(gateway, client_order_id);
    }
    let target = target.ok_or_else(|| OrderError::NotFound(client_order_id.to_owned()))?;
    if let Some(status) = target.terminal {
        return Err(OrderError::Terminal { client_order_id: client_order_id.to_owned(), status });
    }
    let key = act_key("cancel", gateway.settings.account, client_order_id, nonce());
    let intent = Intent::cancel(target.symbol, target.order_id, key, 0);
    let answered = gateway.gate.decide(intent, ext(target.strategy, gateway, client_order_id)?).await?;
    let answer = answer_of(&answered.decision);
    let client_order_id = client_order_id.to_owned();
    let gate_latency_ns = latency(&answered);
    match (answer.outcome, answer.reason) {
        (Outcome::Accepted, _) => {
            let order_id = target.order_id;
            Ok(Placed { client_order_id, order_id, answer, duplicate: false, gate_latency_ns })
        }
        (_, Reason::OrderTerminal) => {
            gateway.settle().await;
            let status = find_target(gateway, &client_order_id).and_then(|t| t.terminal).unwrap_or("UNKNOWN");
            Err(OrderError::Terminal { client_order_id, status })
        }
        (_, Reason::UnknownOrder) => Err(OrderError::NotFound(client_order_id)),
        _ => Err(OrderError::Refused(Box::new(Refused {
            client_order_id,
            answer,
            symbol: None,
            duplicate: false,
            gate_latency_ns,
        }))),
    }
}
