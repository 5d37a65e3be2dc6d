//! What the journal's news look like to HTTP users: one JSON object per event, its `type` repeated inside.

use ringfence_ipc::journal::DecisionRecord;
use ringfence_ipc::msg::{OrderType, Report};
use ringfence_ipc::reason::{LimitId, Reason};
use ringfence_ipc::symbol::Symbol;
use serde::Serialize;
use utoipa::ToSchema;

use super::exact::Exact;
use super::projection::{Names, Order};

/// Decimals of an average price beyond which it is cut (it is a quotient: most have no end).
const AVERAGE_DECIMALS: u8 = 8;

/// Most events take no more.
const TYPICAL_BYTES: usize = 512;

/// One event, rendered once for every reader.
#[derive(Clone, Debug)]
pub struct Event {
    /// Journal position by which streams resume. `None`: a state that is told again whenever it may have changed.
    pub id: Option<u64>,
    /// The event's name.
    pub name: &'static str,
    /// The JSON object.
    pub json: String,
}

impl Event {
    /// `body` is a struct; its fields follow the type.
    pub(crate) fn new<T: Serialize>(id: Option<u64>, name: &'static str, body: &T) -> Self {
        let mut json = Vec::with_capacity(TYPICAL_BYTES);
        json.extend_from_slice(b"{\"type\":\"");
        json.extend_from_slice(name.as_bytes());
        json.push(b'"');
        let at = json.len();
        // Bodies are plain structs with string keys: serialising them cannot fail.
        let _ = serde_json::to_writer(&mut json, body);
        match json.get_mut(at..) {
            Some([brace, b'"', ..]) => *brace = b',',
            _ => json.splice(at.., *b"}").for_each(drop),
        }
        Self { id, name, json: String::from_utf8(json).unwrap_or_default() }
    }
}

/// A reason's name, none for `Ok`.
#[must_use]
pub fn reason_name(reason: Reason) -> Option<&'static str> {
    (reason != Reason::Ok).then(|| reason.name())
}

/// A value of `limit` in the unit its name says: quantities and prices of the symbol, money, or the plain integer.
#[must_use]
pub fn limit_value(limit: LimitId, value: i64, symbol: Option<&Symbol>) -> Exact {
    let (price_scale, qty_scale) = symbol.map_or((0, 0), |s| (s.price_scale, s.qty_scale));
    let scale = match limit {
        LimitId::MaxOrderQty | LimitId::MaxPositionQty | LimitId::Lot => qty_scale,
        LimitId::MaxOrderNotionalE8 | LimitId::MaxGrossNotionalE8 => 8,
        LimitId::Tick => price_scale,
        _ => 0,
    };
    Exact::new(value, scale)
}

/// An order as `/api/order_state` tells it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OrderStateBody {
    #[schema(value_type = String)]
    client_order_id: Box<str>,
    symbol: String,
    side: &'static str,
    order_type: &'static str,
    order_qty: Exact,
    limit_price: Option<Exact>,
    venue_order_id: Option<String>,
    status: &'static str,
    reason: Option<&'static str>,
    executed_qty: Exact,
    avg_price: Option<Exact>,
    last_ts_ns: u64,
    tif: &'static str,
    leaves_qty: Exact,
    strategy: String,
}

impl OrderStateBody {
    pub(crate) fn new(order: &Order, names: &Names) -> Self {
        let symbol = names.symbol(order.symbol);
        let qty_scale = symbol.map_or(0, |s| s.qty_scale);
        let price_scale = symbol.map_or(0, |s| s.price_scale);
        Self {
            client_order_id: order.client_order_id.clone(),
            symbol: names.symbol_name(order.symbol),
            side: order.side.name(),
            order_type: order.order_type.name(),
            order_qty: Exact::new(order.qty, qty_scale),
            limit_price: (order.order_type == OrderType::Limit).then(|| Exact::new(order.price, price_scale)),
            venue_order_id: venue_order_id(order.order_id),
            status: order.status(),
            reason: reason_name(order.reason),
            executed_qty: Exact::new(order.cum_qty, qty_scale),
            avg_price: average_price(order.filled_value, order.cum_qty, price_scale),
            last_ts_ns: order.last_ts_ns,
            tif: order.tif.name(),
            leaves_qty: Exact::new(order.leaves_qty(), qty_scale),
            strategy: names.strategy_name(order.strategy),
        }
    }
}

/// The gate's order id as text (it does not fit a JSON number's 53 safe bits); none for 0.
#[must_use]
pub fn venue_order_id(order_id: u64) -> Option<String> {
    (order_id != 0).then(|| order_id.to_string())
}

/// Notional over quantity, cut after at least eight decimals.
fn average_price(filled_value: i128, cum_qty: i64, price_scale: u8) -> Option<Exact> {
    let scale = price_scale.max(AVERAGE_DECIMALS);
    let shift = 10i128.checked_pow(u32::from(scale - price_scale))?;
    let value = filled_value.checked_mul(shift)?.checked_div(i128::from(cum_qty))?;
    (cum_qty > 0).then_some(Exact::wide(value, scale))
}

#[derive(Serialize)]
struct Received<'a> {
    ts_ns: u64,
    client_order_id: &'a str,
    venue_order_id: Option<String>,
    strategy: String,
    symbol: String,
    side: &'static str,
    order_type: &'static str,
    tif: &'static str,
    qty: Exact,
    price: Option<Exact>,
}

#[derive(Default, Serialize)]
struct Update<'a> {
    ts_ns: u64,
    client_order_id: &'a str,
    venue_order_id: Option<String>,
    strategy: String,
    symbol: String,
    side: &'static str,
    status: &'static str,
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    executed_qty: Option<Exact>,
    #[serde(skip_serializing_if = "Option::is_none")]
    leaves_qty: Option<Exact>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cancel_requested: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_id: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    observed: Option<Exact>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<Exact>,
}

#[derive(Serialize)]
struct Fill<'a> {
    ts_ns: u64,
    client_order_id: &'a str,
    venue_order_id: Option<String>,
    strategy: String,
    symbol: String,
    side: &'static str,
    qty: Exact,
    price: Exact,
    fee: Exact,
    maker: bool,
    late: bool,
    trade_id: String,
    executed_qty: Exact,
}

#[derive(Serialize)]
struct Failure<'a> {
    ts_ns: u64,
    client_order_id: Option<&'a str>,
    strategy: String,
    error: &'static str,
    reason: &'static str,
    message: String,
}

/// An order was accepted by the gate.
pub(crate) fn received(position: u64, order: &Order, names: &Names) -> Event {
    let symbol = names.symbol(order.symbol);
    let body = Received {
        ts_ns: order.last_ts_ns,
        client_order_id: &order.client_order_id,
        venue_order_id: venue_order_id(order.order_id),
        strategy: names.strategy_name(order.strategy),
        symbol: names.symbol_name(order.symbol),
        side: order.side.name(),
        order_type: order.order_type.name(),
        tif: order.tif.name(),
        qty: Exact::new(order.qty, symbol.map_or(0, |s| s.qty_scale)),
        price: (order.order_type == OrderType::Limit)
            .then(|| Exact::new(order.price, symbol.map_or(0, |s| s.price_scale))),
    };
    Event::new(Some(position), "order_received", &body)
}

/// An order was refused by the gate. `client_order_id` is the caller's; a strategy's own order has none.
pub(crate) fn refused(position: u64, d: &DecisionRecord, client_order_id: &str, names: &Names) -> Event {
    let symbol = names.symbol(d.intent.symbol);
    let limited = d.limit_id != LimitId::None;
    let body = Update {
        ts_ns: d.now_ns,
        client_order_id,
        strategy: names.strategy_name(d.strategy),
        symbol: names.symbol_name(d.intent.symbol),
        side: d.intent.side.name(),
        status: "REJECTED",
        reason: reason_name(d.reason),
        limit_id: limited.then(|| d.limit_id.name()),
        observed: limited.then(|| limit_value(d.limit_id, d.observed, symbol)),
        limit: limited.then(|| limit_value(d.limit_id, d.limit, symbol)),
        ..Update::default()
    };
    Event::new(Some(position), "order_update", &body)
}

/// An order changed.
pub(crate) fn update(position: u64, order: &Order, names: &Names, cancel_requested: bool) -> Event {
    let qty_scale = names.symbol(order.symbol).map_or(0, |s| s.qty_scale);
    let body = Update {
        ts_ns: order.last_ts_ns,
        client_order_id: &order.client_order_id,
        venue_order_id: venue_order_id(order.order_id),
        strategy: names.strategy_name(order.strategy),
        symbol: names.symbol_name(order.symbol),
        side: order.side.name(),
        status: order.status(),
        reason: reason_name(order.reason),
        executed_qty: Some(Exact::new(order.cum_qty, qty_scale)),
        leaves_qty: Some(Exact::new(order.leaves_qty(), qty_scale)),
        cancel_requested: cancel_requested.then_some(true),
        ..Update::default()
    };
    Event::new(Some(position), "order_update", &body)
}

/// An order traded.
pub(crate) fn fill(position: u64, order: &Order, report: &Report, names: &Names) -> Event {
    let symbol = names.symbol(report.symbol);
    let (price_scale, qty_scale) = symbol.map_or((0, 0), |s| (s.price_scale, s.qty_scale));
    let body = Fill {
        ts_ns: report.ts_ns,
        client_order_id: &order.client_order_id,
        venue_order_id: venue_order_id(report.order_id),
        strategy: names.strategy_name(report.strategy),
        symbol: names.symbol_name(report.symbol),
        side: report.side.name(),
        qty: Exact::new(report.last_qty, qty_scale),
        price: Exact::new(report.last_price, price_scale),
        fee: Exact::new(report.fee_e8, 8),
        maker: report.maker,
        late: report.late,
        trade_id: report.trade_id.to_string(),
        executed_qty: Exact::new(report.cum_qty, qty_scale),
    };
    Event::new(Some(position), "fill", &body)
}

/// The order's whole state.
pub(crate) fn order_state(order: &Order, names: &Names) -> Event {
    Event::new(None, "order_state", &OrderStateBody::new(order, names))
}

/// Something asked of an order was refused, by the gate or by the venue.
pub(crate) fn failure(
    position: u64,
    ts_ns: u64,
    client_order_id: Option<&str>,
    strategy: String,
    what: &'static str,
    reason: Reason,
) -> Event {
    let act = what.strip_suffix("_rejected").unwrap_or(what);
    let message = format!("the {act} was refused: {}", reason.name());
    let body = Failure { ts_ns, client_order_id, strategy, error: what, reason: reason.name(), message };
    Event::new(Some(position), "error", &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_stands_before_the_fields() {
        #[derive(Serialize)]
        struct Body<'a> {
            text: &'a str,
        }
        #[derive(Serialize)]
        struct Empty {}
        assert_eq!(Event::new(None, "fill", &Body { text: "}" }).json, r#"{"type":"fill","text":"}"}"#);
        assert_eq!(Event::new(None, "fill", &Empty {}).json, r#"{"type":"fill"}"#);
    }

    #[test]
    fn an_average_is_cut_never_rounded_up() {
        // 1 @ 0.01 and 2 @ 0.02: 0.05 / 3.
        assert_eq!(average_price(1 + 4, 3, 2).unwrap().text(), "0.01666666");
        assert_eq!(average_price(0, 0, 2), None);
        assert_eq!(average_price(i128::MAX, 1, 2), None);
    }

    #[test]
    fn limits_read_in_their_own_unit() {
        let symbol = Symbol::new("BTCUSDT", 2, 5, 1, 1).unwrap();
        assert_eq!(limit_value(LimitId::MaxOrderQty, 150_000, Some(&symbol)).text(), "1.5");
        assert_eq!(limit_value(LimitId::MaxOrderNotionalE8, 5_000_000_000_000, None).text(), "50000");
        assert_eq!(limit_value(LimitId::PriceCollarBps, -300, Some(&symbol)).text(), "-300");
    }
}
