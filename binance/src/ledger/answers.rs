//! What the venue answered, and what did not come back.

use super::Ledger;
use super::order::{Change, Doing, Doubt, Ending, Order, ending_of, is_open};
use crate::rest::{
    Answer, CODE_CANCEL_REJECTED, CODE_NEW_ORDER_REJECTED, CODE_NO_SUCH_ORDER, Failure, Outcome,
    TRADES_PER_ANSWER,
};
use crate::wire::{OrderInfo, Status, TradeInfo};
use ringfence_ipc::msg::{OrderId, ReportKind};
use ringfence_ipc::reason::Reason;

/// Cancels sent again after the venue said that the order still rests.
const MAX_CANCELS: u32 = 8;

impl Ledger {
    /// What became of the request that was under way for this order.
    pub(crate) fn answered(&mut self, id: OrderId, outcome: Outcome, now_ms: u64) {
        self.with(id, now_ms, |ledger, order| {
            let Some(doing) = order.doing.take() else { return };
            order.touched_ms = now_ms;
            let sent_ms = outcome.sent_ms;
            let before_gap = std::mem::take(&mut order.asked_before_gap);
            match doing {
                Doing::Place => ledger.placed(order, outcome.result, sent_ms, now_ms),
                Doing::Cancel => ledger.cancelled(order, outcome.result, sent_ms, now_ms),
                Doing::Reduce(change) => ledger.reduced(order, change, outcome.result, sent_ms, now_ms),
                Doing::Replace(change) => ledger.replacement(order, change, outcome.result, sent_ms, now_ms),
                Doing::Query { probing } => ledger.queried(order, probing, outcome.result, now_ms),
                Doing::Trades => ledger.listed(order, outcome.result, now_ms),
            }
            if before_gap && order.doubt == Doubt::None && order.ending.is_none() {
                order.absent_until_ms = order.absent_until_ms.max(ledger.absent_after(now_ms));
                order.doubt(Doubt::State, now_ms);
            }
        });
    }

    fn unsure(&mut self, order: &mut Order, doubt: Doubt, sent_ms: u64, now_ms: u64) {
        order.absent_until_ms = self.absent_after(sent_ms);
        self.unknown(order, now_ms);
        order.doubt(doubt, now_ms);
        order.later(now_ms);
    }

    fn placed(&mut self, order: &mut Order, result: Result<Answer, Failure>, sent_ms: u64, now_ms: u64) {
        let (kind, reason) = match result {
            Ok(Answer::Placed(placed)) => {
                order.venue_id = Some(placed.order_id);
                return self.accept(order, placed.transact_time);
            }
            // An event may have told more than the answer could.
            _ if order.venue_id.is_some() => return order.doubt(Doubt::State, now_ms),
            Err(Failure::NotSent(_)) => (ReportKind::LostBeforeSend, Reason::LostBeforeSend),
            Err(Failure::Busy { .. }) => (ReportKind::Rejected, Reason::VenueBusy),
            // The id is in use: it is this order.
            Err(Failure::Refused { code: CODE_NEW_ORDER_REJECTED, message, .. })
                if message.contains("Duplicate") =>
            {
                return self.unsure(order, Doubt::Placed, sent_ms, now_ms);
            }
            Err(Failure::Refused { message, .. }) if message.contains("immediately match and take") => {
                (ReportKind::Rejected, Reason::WouldTake)
            }
            Err(Failure::Refused { .. }) => (ReportKind::Rejected, Reason::VenueReject),
            Ok(_) | Err(Failure::Unknown(_)) => return self.unsure(order, Doubt::Placed, sent_ms, now_ms),
        };
        order.ending = Some(Ending { kind, reason, cum_qty: 0, time_ms: now_ms });
    }

    fn cancelled(&mut self, order: &mut Order, result: Result<Answer, Failure>, sent_ms: u64, now_ms: u64) {
        match result {
            Ok(Answer::Cancelled(info)) => self.observe(order, &info, now_ms),
            // Nothing happened: once more, later. It keeps its turn.
            Err(Failure::Busy { until_ms }) => {
                order.waiting.push_front(cancel_of(order));
                order.not_before_ms = until_ms;
            }
            Err(Failure::NotSent(_)) if order.cancels < MAX_CANCELS => {
                order.cancels += 1;
                order.waiting.push_front(cancel_of(order));
                order.later(now_ms);
            }
            Err(Failure::NotSent(_)) => {
                order.cancels = 0;
                self.report(order, ReportKind::CancelRejected, Reason::LostBeforeSend, now_ms);
            }
            // It is final, or was never there: which of both is asked.
            Err(Failure::Refused { code: CODE_CANCEL_REJECTED, .. }) => {
                self.report(order, ReportKind::CancelRejected, Reason::VenueUnknownOrder, now_ms);
                order.absent_until_ms = order.absent_until_ms.max(self.absent_after(sent_ms));
                order.doubt(Doubt::State, now_ms);
            }
            Err(Failure::Refused { .. }) => {
                self.report(order, ReportKind::CancelRejected, Reason::VenueReject, now_ms);
            }
            Ok(_) | Err(Failure::Unknown(_)) => self.unsure(order, Doubt::Cancelled, sent_ms, now_ms),
        }
    }

    fn reduced(
        &mut self,
        order: &mut Order,
        change: Change,
        result: Result<Answer, Failure>,
        sent_ms: u64,
        now_ms: u64,
    ) {
        if order.command.qty == change.qty {
            return;
        }
        match result {
            Ok(Answer::Reduced(amended)) => self.changed(order, change, amended.transact_time),
            Ok(_) | Err(Failure::Unknown(_)) => self.unsure(order, Doubt::Reduced(change), sent_ms, now_ms),
            Err(failure) => self.not_changed(order, &failure, now_ms),
        }
    }

    fn replacement(
        &mut self,
        order: &mut Order,
        change: Change,
        result: Result<Answer, Failure>,
        sent_ms: u64,
        now_ms: u64,
    ) {
        // An event was faster.
        if order.command.price == change.price && order.command.qty == change.qty {
            return;
        }
        let half = |failure: &Failure| match failure {
            Failure::Refused { replace: Some(halves), .. } => {
                Some((halves.cancel == "SUCCESS", halves.new_order == "SUCCESS"))
            }
            _ => None,
        };
        match result {
            Ok(Answer::Replaced(done)) => {
                let placed = done.new_order_response;
                self.replaced(order, change, placed.order_id, placed.transact_time);
                self.accept(order, placed.transact_time);
            }
            Ok(_) | Err(Failure::Unknown(_)) => self.unsure(order, Doubt::Replaced(change), sent_ms, now_ms),
            Err(failure) => match half(&failure) {
                Some((true, false)) => {
                    self.report(order, ReportKind::CancelRejected, Reason::VenueReject, now_ms);
                    order.ending = Some(Ending {
                        kind: ReportKind::Cancelled,
                        reason: Reason::VenueReject,
                        cum_qty: 0,
                        time_ms: now_ms,
                    });
                }
                Some((_, true)) => self.unsure(order, Doubt::Replaced(change), sent_ms, now_ms),
                _ => self.not_changed(order, &failure, now_ms),
            },
        }
    }

    fn not_changed(&mut self, order: &mut Order, failure: &Failure, now_ms: u64) {
        let reason = match failure {
            Failure::Busy { .. } => Reason::VenueBusy,
            Failure::NotSent(_) => Reason::LostBeforeSend,
            _ => Reason::VenueReject,
        };
        self.report(order, ReportKind::CancelRejected, reason, now_ms);
        // Perhaps it is final and the events are still on their way.
        if matches!(failure, Failure::Refused { .. }) {
            order.absent_until_ms = order.absent_until_ms.max(self.absent_after(now_ms));
            order.doubt(Doubt::State, now_ms);
        }
    }

    /// The terms are the new ones.
    pub(super) fn changed(&mut self, order: &mut Order, change: Change, time_ms: u64) {
        if order.command.qty == change.qty && order.command.price == change.price {
            return;
        }
        (order.command.price, order.command.qty) = (change.price, change.qty);
        (order.accepted, order.told_unknown) = (true, false);
        let told = order.report(ReportKind::Amended, Reason::Ok, time_ms);
        self.send(ringfence_ipc::msg::Report { last_price: change.price, ..told });
    }

    /// The next generation lives.
    pub(super) fn replaced(&mut self, order: &mut Order, change: Change, venue_id: u64, time_ms: u64) {
        order.generation = order.generation.saturating_add(1);
        order.venue_id = Some(venue_id);
        self.changed(order, change, time_ms);
        if matches!(order.doubt, Doubt::Replaced(_)) {
            order.certain();
        }
    }

    fn queried(&mut self, order: &mut Order, probing: bool, result: Result<Answer, Failure>, now_ms: u64) {
        match result {
            Ok(Answer::Order(info)) => self.found(order, probing, &info, now_ms),
            Err(Failure::Refused { code: CODE_NO_SUCH_ORDER, .. }) => self.absent(order, probing, now_ms),
            Err(Failure::Busy { until_ms }) => order.not_before_ms = until_ms,
            Ok(_) | Err(_) => order.later(now_ms),
        }
    }

    fn found(&mut self, order: &mut Order, probing: bool, info: &OrderInfo, now_ms: u64) {
        match (order.doubt, probing) {
            (Doubt::Replaced(change), true) => {
                self.replaced(order, change, info.order_id, info.update_time);
                self.observe(order, info, now_ms);
            }
            (_, true) => {
                // A replacement of a life before: it may have been replaced too.
                order.generation = order.generation.saturating_add(1);
                order.ending = None;
                self.look(order, info, now_ms);
            }
            (Doubt::Cancelled, false) if is_open(info) => {
                self.observe(order, info, now_ms);
                if order.cancels >= MAX_CANCELS {
                    order.cancels = 0;
                    self.report(order, ReportKind::CancelRejected, Reason::VenueReject, now_ms);
                } else {
                    // A cancel may be repeated: it can only do what it should have done.
                    order.cancels += 1;
                    order.waiting.push_front(cancel_of(order));
                }
                order.certain();
            }
            (Doubt::Reduced(change), false) => {
                order.certain();
                if self.qty(order, &info.orig_qty) == Some(change.qty) {
                    self.changed(order, change, info.update_time);
                } else {
                    self.report(order, ReportKind::CancelRejected, Reason::VenueReject, now_ms);
                }
                self.observe(order, info, now_ms);
            }
            _ => self.look(order, info, now_ms),
        }
    }

    /// Takes what a query says; of an inherited order that was cancelled unfilled a replacement is looked for.
    fn look(&mut self, order: &mut Order, info: &OrderInfo, now_ms: u64) {
        self.observe(order, info, now_ms);
        let unfilled = order.ending.is_some_and(|e| e.kind == ReportKind::Cancelled && e.cum_qty == 0);
        if order.inherited && unfilled {
            return;
        }
        order.inherited = false;
        if matches!(info.status, Status::Other | Status::PendingNew) {
            return order.later(now_ms);
        }
        order.certain();
    }

    fn absent(&mut self, order: &mut Order, probing: bool, now_ms: u64) {
        if now_ms <= order.absent_until_ms {
            return order.later(now_ms);
        }
        match (order.doubt, probing) {
            (Doubt::Replaced(_), _) => {
                self.report(order, ReportKind::CancelRejected, Reason::VenueReject, now_ms);
                order.doubt(Doubt::State, now_ms);
            }
            // No replacement: the end that was found stands.
            (_, true) => {
                order.inherited = false;
                order.certain();
            }
            _ => {
                let known = order.venue_id.is_some() || order.accepted || order.cum_qty > 0;
                let kind = if known { ReportKind::Expired } else { ReportKind::Rejected };
                order.held.clear();
                let (reason, cum_qty) = (Reason::VenueUnknownOrder, order.cum_qty);
                order.ending = Some(Ending { kind, reason, cum_qty, time_ms: now_ms });
                order.certain();
            }
        }
    }

    /// What the venue says of the order, by whatever way.
    pub(super) fn observe(&mut self, order: &mut Order, info: &OrderInfo, now_ms: u64) {
        order.venue_id = Some(info.order_id);
        let Some(cum_qty) = self.qty(order, &info.executed_qty) else { return };
        if let Some((kind, reason)) = ending_of(info.status, &order.command) {
            if order.ending.is_none() {
                order.ending = Some(Ending { kind, reason, cum_qty, time_ms: info.update_time });
            }
        } else if is_open(info) {
            self.accept(order, info.update_time);
        }
        order.counted(cum_qty, now_ms.saturating_add(self.tuning.gap_patience_ms));
    }

    fn listed(&mut self, order: &mut Order, result: Result<Answer, Failure>, now_ms: u64) {
        match result {
            Ok(Answer::Trades(trades)) => self.fills(order, &trades, now_ms),
            Err(Failure::Busy { until_ms }) => order.not_before_ms = until_ms,
            Ok(_) | Err(_) => order.later(now_ms),
        }
    }

    /// Fills of a list: every one up to its last, in order.
    fn fills(&mut self, order: &mut Order, trades: &[TradeInfo], now_ms: u64) {
        let mut news = false;
        for trade in trades.iter().filter(|trade| !order.trades.contains(trade.id)).collect::<Vec<_>>() {
            let fee = (&*trade.commission, &*trade.commission_asset);
            let numbers = (&*trade.qty, &*trade.price);
            if let Some(fill) = self.fill(order, numbers, fee, trade.is_maker, trade.time, None) {
                order.held.insert(trade.id, fill);
                (news, self.counts.gaps) = (true, self.counts.gaps + 1);
            }
        }
        let full = trades.len() >= TRADES_PER_ANSWER;
        order.trades_from = trades.last().filter(|_| full).map(|trade| trade.id.saturating_add(1));
        order.missing_since_ms = if full { Some(now_ms) } else { None };
        if news || full {
            order.tries = 0;
        }
        // The list may lag behind what the venue counts: it is asked again, later.
        let told = order.held.values().fold(order.cum_qty, |sum, fill| sum.saturating_add(fill.qty));
        if order.counted_qty > told && !full {
            order.later(now_ms);
            order.missing_since_ms = Some(order.not_before_ms);
        }
    }
}

fn cancel_of(order: &Order) -> ringfence_ipc::msg::Command {
    ringfence_ipc::msg::Command { kind: ringfence_ipc::msg::CommandKind::Cancel, ..order.command }
}
