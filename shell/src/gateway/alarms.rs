//! Alarms of the gate as `error` events: a venue reported what must not be, and somebody has to look at it.

use ringfence_ipc::journal::StrayRecord;
use ringfence_ipc::msg::{OrderId, Report, Side, SymbolId};
use serde::Serialize;

use super::events::{Event, venue_order_id};
use super::exact::Exact;
use super::projection::{Names, Order};

#[derive(Serialize)]
struct Alarm<'a> {
    ts_ns: u64,
    error: &'static str,
    client_order_id: Option<&'a str>,
    venue_order_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strategy: Option<String>,
    symbol: String,
    side: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    order_qty: Option<Exact>,
    executed_qty: Exact,
    qty: Exact,
    price: Exact,
    trade_id: String,
    message: &'static str,
}

/// What both alarms say alike.
struct Fill {
    order_id: OrderId,
    symbol: SymbolId,
    side: Side,
    cum_qty: i64,
    qty: i64,
    price: i64,
    trade_id: u64,
}

impl Fill {
    fn alarm<'a>(&self, ts_ns: u64, order: Option<&'a Order>, names: &Names) -> Alarm<'a> {
        let (price_scale, qty_scale) =
            names.symbol(self.symbol).map_or((0, 0), |s| (s.price_scale, s.qty_scale));
        Alarm {
            ts_ns,
            error: "stray_fill",
            client_order_id: order.map(|order| &*order.client_order_id),
            venue_order_id: venue_order_id(self.order_id),
            strategy: None,
            symbol: names.symbol_name(self.symbol),
            side: self.side.name(),
            order_qty: None,
            executed_qty: Exact::new(self.cum_qty, qty_scale),
            qty: Exact::new(self.qty, qty_scale),
            price: Exact::new(self.price, price_scale),
            trade_id: self.trade_id.to_string(),
            message: "the gate does not know this order: the fill is in no position, and only what reduces passes; \
                      reconcile with the venue, then set the mode",
        }
    }
}

/// An order has more than it asked for. Without an id: it follows the fill that did it, and is told again with it.
pub(crate) fn overfill(order: &Order, r: &Report, names: &Names) -> Event {
    let fill = Fill {
        order_id: r.order_id,
        symbol: r.symbol,
        side: r.side,
        cum_qty: r.cum_qty,
        qty: r.last_qty,
        price: r.last_price,
        trade_id: r.trade_id,
    };
    let qty_scale = names.symbol(r.symbol).map_or(0, |s| s.qty_scale);
    let body = Alarm {
        error: "overfill",
        strategy: Some(names.strategy_name(r.strategy)),
        order_qty: Some(Exact::new(order.qty, qty_scale)),
        message: "the order has more than it asked for: it is booked, and its strategy may only reduce; reconcile with \
                  the venue, then set its mode",
        ..fill.alarm(r.ts_ns, Some(order), names)
    };
    Event::new(None, "error", &body)
}

/// A fill for an order that the gate does not know; `order`: what the projection still knows of it.
pub(crate) fn stray(position: u64, s: &StrayRecord, order: Option<&Order>, names: &Names) -> Event {
    let fill = Fill {
        order_id: s.order_id,
        symbol: s.symbol,
        side: s.side,
        cum_qty: s.cum_qty,
        qty: s.qty,
        price: s.price,
        trade_id: s.trade_id,
    };
    Event::new(Some(position), "error", &fill.alarm(s.now_ns, order, names))
}
