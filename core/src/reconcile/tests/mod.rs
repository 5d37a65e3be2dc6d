//! Lying snapshots, each kind of difference one by one; `gate::tests::honest` has the honest ones.

mod files;
mod lies;

use ringfence_ipc::msg::{OrderState, OrderType, Side, Tif};
use ringfence_ipc::symbol::Symbol;

use super::*;
use crate::gate::{OrderView, PositionView, StrayView};

fn order(order_id: u64, state: OrderState) -> OrderView {
    OrderView {
        order_id,
        key: u128::from(order_id) + 1_000,
        strategy: 1,
        account: 0,
        symbol: 0,
        side: Side::Buy,
        order_type: OrderType::Limit,
        tif: Tif::Gtc,
        flags: 0,
        state,
        price: 6_100_000,
        qty: 500,
        cum_qty: 0,
        amend_price: 0,
        amend_qty: 0,
        filled_notional_e16: 0,
        created_ns: 5,
    }
}

fn position(strategy: u16, account: u16, qty: i64, fees_e8: i128) -> PositionView {
    PositionView {
        strategy,
        account,
        symbol: 0,
        qty,
        open_buys: 0,
        open_sells: 0,
        cost_e16: 0,
        realised_e16: 0,
        unrealised_e16: 0,
        fees_e8,
        fills: 1,
        mark_price: 0,
    }
}

/// Two resting orders, one filled and one cancelled; two strategies on two accounts hold something.
fn view() -> GateView {
    let mut filled = order(3, OrderState::Filled);
    filled.cum_qty = 500;
    let mut partly = order(2, OrderState::PartiallyFilled);
    partly.cum_qty = 100;
    let orders = [order(1, OrderState::Accepted), partly, filled, order(4, OrderState::Cancelled)];
    GateView {
        position: 90,
        epoch: 2,
        last_report_ns: 1_000,
        symbols: [Symbol::new("BTCUSDT", 2, 3, 1, 1).unwrap(), Symbol::new("ETHUSDT", 2, 3, 1, 1).unwrap()]
            .into_iter()
            .zip(0..)
            .map(|(symbol, id)| (id, symbol))
            .collect(),
        orders: orders.into_iter().map(|order| (order.order_id, order)).collect(),
        positions: vec![position(1, 0, 600, 7), position(2, 1, -100, 5)],
        strays: Vec::new(),
    }
}

/// What an honest venue says to it.
fn honest(view: &GateView) -> VenueSnapshot {
    let open = view.orders.values().filter(|order| !order.state.is_terminal());
    let told = |o: &OrderView| VenueOrder {
        order_id: o.order_id,
        key: Some(o.key),
        symbol: o.symbol,
        side: o.side,
        price: Some(o.price),
        qty: o.qty,
        cum_qty: o.cum_qty,
        state: o.state,
    };
    VenueSnapshot {
        venue: "test".into(),
        taken_ns: 2_000,
        epoch: Some(view.epoch),
        journal_position: Some(view.position),
        last_order_id: Some(4),
        orders: open.map(told).collect(),
        positions: Some(vec![VenuePosition { account: None, symbol: 0, qty: 500, fees_e8: Some(12) }]),
        ..VenueSnapshot::default()
    }
}

fn codes(view: &GateView, snapshot: &VenueSnapshot) -> Vec<Code> {
    differences(view, snapshot).differences.iter().map(|difference| difference.code).collect()
}
