//! What happens to open orders when the gate comes back.

use ringfence_ipc::msg::{Command, CommandKind, OrderId, OrderState, OrderType, Report, ReportKind, Tif};
use ringfence_ipc::reason::Reason;

use super::Gate;
use super::api::{HandedOut, Reentry};
use super::orders::{Order, mark};

impl Gate {
    /// What happens to each open order after recovery, in order of order id, given what the venue knows of the last
    /// life. Commands go to the venue; reports are appended to the journal and then applied
    /// ([`Gate::apply_report`]), in the order given.
    ///
    /// | order | venue that forgot | adapter that lived on | adapter that died too |
    /// |---|---|---|---|
    /// | never answered | `LostBeforeSend` | above the mark `LostBeforeSend`, else `Unknown`, `Query` | `Unknown`, `Query` |
    /// | market, IOC, FOK | `Expired`: its moment is over | `Query` | `Query` |
    /// | amend pending | dropped (`CancelRejected`), goes on under its old terms | `Query`, its amend again | the same |
    /// | resting | `Reenter` at the back of its queue | `Query` | `Query` |
    /// | cancel pending | `Reenter`, then its cancel again | `Query`, its cancel again | the same |
    ///
    /// `LostBeforeSend` releases what the order reserved. A new order is never sent again on a guess: a venue accepts a
    /// used id once that order is closed. A cancel or an amend, which names its terms in full, may arrive twice.
    ///
    /// Allocates: for boot only. Forgets the cancels still owed from before, which are among these.
    #[must_use]
    pub fn reenter_commands(&mut self, handed_out: HandedOut, now_ns: u64) -> Vec<Reentry> {
        let mut open: Vec<Order> = self.orders.iter_open().copied().collect();
        open.sort_unstable_by_key(|order| order.id);
        self.cancels.clear();
        let mut out = Vec::with_capacity(open.len());
        for order in &open {
            let slot = self.orders.slot_of(order.id);
            self.orders.at_mut(slot).marks &= !mark::CANCEL_QUEUED;
            self.settle_order(slot, handed_out, OrderId::MAX, now_ns, &mut out);
        }
        out
    }

    /// As [`Gate::reenter_commands`], for the order in one slot, if it is open; and for a gate that lived on while its
    /// venue was away: from order `since` on the mark is that of the only venue that was ever given them, so that it
    /// decides also for an order that became UNKNOWN when that venue was lost. A cancel that is still owed is not among
    /// the commands. Does not allocate while `out` has room for four steps.
    pub fn settle_order(
        &self,
        slot: u32,
        handed_out: HandedOut,
        since: OrderId,
        now_ns: u64,
        out: &mut Vec<Reentry>,
    ) {
        let order = self.orders.at(slot);
        if !order.is_open() {
            return;
        }
        let asked_before = order.state == OrderState::Unknown && order.id < since;
        let answered = order.has(mark::ACKED) || asked_before;
        match handed_out {
            HandedOut::Forgotten => self.reenter(order, now_ns, out),
            HandedOut::UpTo(mark) if !answered && order.id > mark => {
                self.own_report(order, ReportKind::LostBeforeSend, now_ns, out);
            }
            HandedOut::UpTo(_) | HandedOut::Unknown => self.reconcile(order, now_ns, out),
        }
    }

    /// The gate's own report about an open order whose venue was lost; none: its cancel is asked for, which the next
    /// venue is told.
    #[must_use]
    pub fn unheard_of(&self, slot: u32) -> Option<Report> {
        let order = self.orders.at(slot);
        let concerned = order.is_open() && order.state != OrderState::PendingCancel;
        (concerned && order.state != OrderState::Unknown).then(|| lost(order, ReportKind::Unknown))
    }

    /// Order slots: [`Gate::open_at`] takes those below.
    #[must_use]
    pub fn order_slots(&self) -> u32 {
        self.orders.len() as u32
    }

    /// The open order in a slot, and its state.
    #[must_use]
    pub fn open_at(&self, slot: u32) -> Option<(OrderId, OrderState)> {
        let order = self.orders.at(slot);
        order.is_open().then_some((order.id, order.state))
    }

    /// The venue begins anew: what can work on is entered again.
    fn reenter(&self, order: &Order, now_ns: u64, out: &mut Vec<Reentry>) {
        if !order.has(mark::ACKED) {
            return self.own_report(order, ReportKind::LostBeforeSend, now_ns, out);
        }
        if order.order_type == OrderType::Market || matches!(order.tif, Tif::Ioc | Tif::Fok) {
            return self.own_report(order, ReportKind::Expired, now_ns, out);
        }
        if order.amend_qty != 0 {
            self.own_report(order, ReportKind::CancelRejected, now_ns, out);
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

    /// The venue may know the order: it is asked, and nothing is entered.
    fn reconcile(&self, order: &Order, now_ns: u64, out: &mut Vec<Reentry>) {
        // An order whose cancel is under way keeps that state: should the venue be lost again, it is asked for again.
        if !order.has(mark::ACKED) && order.state != OrderState::PendingCancel {
            self.own_report(order, ReportKind::Unknown, now_ns, out);
        }
        let mut command = |kind, price, qty| {
            out.push(Reentry::Command(order.command(kind, price, qty, now_ns)));
        };
        command(CommandKind::Query, order.price, order.qty);
        if order.amend_qty != 0 {
            command(CommandKind::Amend, order.amend_price, order.amend_qty);
        }
        if order.state == OrderState::PendingCancel && !order.has(mark::CANCEL_QUEUED) {
            command(CommandKind::Cancel, order.price, order.qty);
        }
    }

    /// The gate's own report about a command that never left: what it asked for did not happen.
    #[must_use]
    pub fn never_sent(&self, command: &Command) -> Option<Report> {
        let kind = match command.kind {
            CommandKind::New | CommandKind::Reenter | CommandKind::Query => ReportKind::LostBeforeSend,
            CommandKind::Cancel | CommandKind::Amend => ReportKind::CancelRejected,
        };
        self.orders.get(command.order_id).map(|order| lost(order, kind))
    }

    /// What changes nothing needs no report.
    fn own_report(&self, order: &Order, kind: ReportKind, now_ns: u64, out: &mut Vec<Reentry>) {
        out.extend(self.book(&lost(order, kind), now_ns).map(|booked| Reentry::Report(booked.report)));
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
        reason: if kind == ReportKind::Unknown { Reason::Ok } else { Reason::LostBeforeSend },
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
