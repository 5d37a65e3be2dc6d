//! What happens to open orders when the gate comes back with a venue that forgot them.

use ringfence_ipc::msg::{CommandKind, OrderState, OrderType, Report, ReportKind, Tif};
use ringfence_ipc::reason::Reason;

use super::Gate;
use super::api::Reentry;
use super::orders::{Order, mark};

impl Gate {
    /// What happens to each open order after recovery, in order of order id. Commands go to the venue; reports are
    /// appended to the journal and then applied ([`Gate::apply_report`]), in the order given.
    ///
    /// | order | becomes |
    /// |---|---|
    /// | never answered by the venue | `LostBeforeSend`: released, never resent on a guess |
    /// | market, IOC, FOK | `Expired`: it cannot rest, its moment is over |
    /// | amend pending | the amend is dropped (`CancelRejected`), the order continues under its old terms |
    /// | resting | `Reenter` at the back of its queue |
    /// | cancel pending | `Reenter`, then its cancel again |
    ///
    /// Allocates: for boot only. Forgets the cancels still owed from before, which are among these.
    #[must_use]
    pub fn reenter_commands(&mut self, now_ns: u64) -> Vec<Reentry> {
        let mut open: Vec<Order> = self.orders.iter_open().copied().collect();
        open.sort_unstable_by_key(|order| order.id);
        self.cancels.clear();
        let mut out = Vec::with_capacity(open.len());
        for order in &open {
            let slot = self.orders.slot_of(order.id);
            self.orders.at_mut(slot).marks &= !mark::CANCEL_QUEUED;
            self.reenter(order, now_ns, &mut out);
        }
        out
    }

    fn reenter(&self, order: &Order, now_ns: u64, out: &mut Vec<Reentry>) {
        let mut report = |kind| {
            out.extend(self.book(&lost(order, kind), now_ns).map(|booked| Reentry::Report(booked.report)))
        };
        if !order.has(mark::ACKED) {
            return report(ReportKind::LostBeforeSend);
        }
        if order.order_type == OrderType::Market || matches!(order.tif, Tif::Ioc | Tif::Fok) {
            return report(ReportKind::Expired);
        }
        if order.amend_qty != 0 {
            report(ReportKind::CancelRejected);
        }
        if order.leaves_qty() == 0 {
            return;
        }
        let command = |kind, qty| order.command(kind, order.price, qty, now_ns);
        let again = command(CommandKind::Reenter, order.leaves_qty()).with_filled(order.cum_qty);
        out.push(Reentry::Command(again));
        if order.state == OrderState::PendingCancel {
            out.push(Reentry::Command(command(CommandKind::Cancel, order.qty)));
        }
    }
}

/// The gate's own report about an order that the venue cannot speak for.
fn lost(order: &Order, kind: ReportKind) -> Report {
    Report {
        kind,
        state: order.state,
        side: order.side,
        maker: false,
        late: false,
        reentered: false,
        reason: Reason::LostBeforeSend,
        symbol: order.symbol,
        journal_seq: 0,
        order_id: order.id,
        last_qty: 0,
        last_price: 0,
        cum_qty: order.cum_qty,
        ts_ns: 0,
        trade_id: 0,
        fee_e8: 0,
        leaves_qty: 0,
        key_low: order.key as u64,
        venue_ts_ns: 0,
        strategy: order.strategy,
        account: 0,
    }
}
