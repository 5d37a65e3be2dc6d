//! What the gate's alarms say in the log.

use tracing::error;

use super::super::mailbox::Alarm;

/// One line that names the order, what happened, and what to do next.
pub(super) fn shout(alarm: &Alarm) {
    match alarm {
        Alarm::Overfill { report: r, qty } => error!(
            order_id = r.order_id,
            strategy = r.strategy,
            symbol = r.symbol,
            side = ?r.side,
            order_qty = qty,
            cum_qty = r.cum_qty,
            last_qty = r.last_qty,
            last_price = r.last_price,
            trade_id = r.trade_id,
            journal_seq = r.journal_seq,
            "OVERFILL: an order has more than it asked for; it is booked, and its strategy may only reduce: \
             compare with the venue (ringfence reconcile), then set its mode"
        ),
        Alarm::Stray(s) => error!(
            order_id = s.order_id,
            symbol = s.symbol,
            side = ?s.side,
            qty = s.qty,
            price = s.price,
            cum_qty = s.cum_qty,
            trade_id = s.trade_id,
            "STRAY FILL: the gate does not know this order (any more); it is in no position, and the gate passes only \
             what reduces: compare with the venue (ringfence reconcile), then set the mode"
        ),
        Alarm::Unbookable(r) => error!(
            order_id = r.order_id,
            symbol = r.symbol,
            last_qty = r.last_qty,
            last_price = r.last_price,
            cum_qty = r.cum_qty,
            trade_id = r.trade_id,
            "UNBOOKABLE FILL: its numbers fit no position; nothing was booked: compare with the venue (ringfence reconcile)"
        ),
    }
}
