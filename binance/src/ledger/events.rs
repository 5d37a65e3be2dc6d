//! What the user stream says, and how what is known becomes reports.

use super::order::{Doing, Doubt, Ending, Fill, MAX_REMEMBERED, Order, ending_of};
use super::{Action, Ledger};
use crate::client_id::ClientId;
use crate::rules::VENUE_DECIMALS;
use crate::wire::{Execution, Status};
use ringfence_ipc::msg::{Report, ReportKind};
use ringfence_ipc::reason::Reason;
use ringfence_ipc::symbol::parse_scaled;

impl Ledger {
    /// An `executionReport`. Those about orders of others are not ours to tell.
    pub(crate) fn execution(&mut self, event: &Execution, now_ms: u64) {
        // A cancel's own id is new; the order's is the original one.
        let original = event.original_id.as_deref().and_then(ClientId::parse);
        let own = ClientId::parse(&event.client_id);
        let Some(id) = (if event.what == "REPLACED" { own.or(original) } else { original.or(own) }) else {
            return;
        };
        if !self.orders.contains_key(&id.order_id) {
            self.counts.strays += 1;
            return;
        }
        self.with(id.order_id, now_ms, |ledger, order| {
            if ledger.name(order) != event.symbol {
                ledger.counts.unreadable += 1;
            } else if event.execution_id != 0 && !order.executions.insert(event.execution_id) {
                ledger.counts.duplicates += 1;
            } else {
                ledger.told(order, id.generation, event, now_ms);
            }
        });
    }

    fn told(&mut self, order: &mut Order, generation: u16, event: &Execution, now_ms: u64) {
        let replacing = match (order.doing, order.doubt) {
            (Some(Doing::Replace(change)), _) | (_, Doubt::Replaced(change)) => Some(change),
            _ => None,
        };
        if generation < order.generation {
            return;
        }
        if generation > order.generation {
            let Some(change) = replacing else {
                return order.doubt(Doubt::State, now_ms);
            };
            // The answer of the replacement that is under way finds it done.
            self.replaced(order, change, event.order_id, event.time_ms);
        } else if replacing.is_some() && event.status == Status::Canceled {
            // Its replacement, or the query for one, says how it went on.
            return;
        }
        order.touched_ms = now_ms;
        order.venue_id = Some(event.order_id);
        let Some(cum_qty) = self.qty(order, &event.cum_qty) else { return };
        if event.what == "TRADE" {
            self.traded(order, event, cum_qty);
        }
        if event.what == "REPLACED" {
            self.reduced_by_event(order, event);
        }
        if let Some((kind, reason)) = ending_of(event.status, &order.command) {
            let would_take = event.reject.contains("WOULD_MATCH_IMMEDIATELY");
            let reason = if would_take { Reason::WouldTake } else { reason };
            order.ending = Some(Ending { kind, reason, cum_qty, time_ms: event.time_ms });
        } else if event.what == "NEW" && event.status == Status::New {
            self.accept(order, event.time_ms);
        }
        order.counted(cum_qty, now_ms.saturating_add(self.tuning.gap_patience_ms));
    }

    fn traded(&mut self, order: &mut Order, event: &Execution, cum_qty: i64) {
        let Ok(trade_id) = u64::try_from(event.trade_id) else {
            self.counts.unreadable += 1;
            return;
        };
        if order.trades.contains(trade_id) {
            self.counts.duplicates += 1;
            return;
        }
        // Too many wait for one that is missing: the list of fills brings them all.
        if order.held.len() >= MAX_REMEMBERED {
            return;
        }
        let fee = (event.fee.as_deref().unwrap_or("0"), event.fee_asset.as_deref().unwrap_or(""));
        let numbers = (&*event.last_qty, &*event.last_price);
        if let Some(fill) = self.fill(order, numbers, fee, event.maker, event.time_ms, Some(cum_qty)) {
            order.held.insert(trade_id, fill);
        }
    }

    fn reduced_by_event(&mut self, order: &mut Order, event: &Execution) {
        let change = match (order.doing, order.doubt) {
            (Some(Doing::Reduce(change)), _) | (_, Doubt::Reduced(change)) => change,
            _ => return,
        };
        if self.qty(order, &event.qty) == Some(change.qty) {
            self.changed(order, change, event.time_ms);
            if order.doing.is_none() {
                order.certain();
            }
        }
    }

    /// A fill in the gate's numbers; `None`, counted, when they are not exact.
    pub(super) fn fill(
        &mut self,
        order: &Order,
        (qty, price): (&str, &str),
        (fee, asset): (&str, &str),
        maker: bool,
        time_ms: u64,
        cum_qty: Option<i64>,
    ) -> Option<Fill> {
        let at = usize::from(order.command.symbol);
        let symbol = self.symbols.get(at)?;
        let numbers = (parse_scaled(qty, symbol.qty_scale), parse_scaled(price, symbol.price_scale));
        let (Ok(qty), Ok(price), Ok(fee_e8)) = (numbers.0, numbers.1, parse_scaled(fee, VENUE_DECIMALS))
        else {
            self.counts.unreadable += 1;
            return None;
        };
        let unit = 10i128.pow(u32::from(symbol.price_scale));
        let rules = self.rules.get(at).and_then(Option::as_ref);
        let in_quote = match rules {
            _ if fee_e8 == 0 => Some(0),
            Some(rules) if rules.quote == asset => Some(fee_e8),
            // Of the base asset: at the fill's own price, rounded up.
            Some(rules) if rules.base == asset => {
                let product = i128::from(fee_e8) * i128::from(price);
                i64::try_from((product + unit - 1).div_euclid(unit)).ok()
            }
            _ => None,
        };
        if in_quote.is_none() {
            self.counts.foreign_fees += 1;
        }
        Some(Fill { qty, price, fee_e8: in_quote.unwrap_or(0), maker, time_ms, cum_qty })
    }

    /// A quantity of the venue; `None`, counted, when it is not exact.
    pub(super) fn qty(&mut self, order: &Order, text: &str) -> Option<i64> {
        let scale = self.symbols.get(usize::from(order.command.symbol))?.qty_scale;
        let qty = parse_scaled(text, scale).ok();
        self.counts.unreadable += u64::from(qty.is_none());
        qty
    }

    pub(super) fn send(&mut self, report: Report) {
        self.out.push(Action::Report(report));
    }

    pub(super) fn report(&mut self, order: &Order, kind: ReportKind, reason: Reason, time_ms: u64) {
        self.send(order.report(kind, reason, time_ms));
    }

    /// It works at the venue.
    pub(super) fn accept(&mut self, order: &mut Order, time_ms: u64) {
        if !order.ended && (!order.accepted || order.told_unknown) {
            (order.accepted, order.told_unknown) = (true, false);
            self.report(order, ReportKind::Accepted, Reason::Ok, time_ms);
        }
    }

    pub(super) fn unknown(&mut self, order: &mut Order, now_ms: u64) {
        if !order.ended && !order.told_unknown {
            order.told_unknown = true;
            self.report(order, ReportKind::Unknown, Reason::Ok, now_ms);
        }
    }

    /// Tells whatever can be told: fills in order, and the end once every fill that it counts is told.
    pub(super) fn settle(&mut self, order: &mut Order, now_ms: u64) {
        while let Some((&trade_id, &fill)) = order.held.first_key_value() {
            let next = order.cum_qty.saturating_add(fill.qty);
            if fill.cum_qty.is_some_and(|cum_qty| cum_qty > next) {
                break;
            }
            order.held.pop_first();
            if fill.qty <= 0 || !order.trades.insert(trade_id) {
                continue;
            }
            order.cum_qty = next;
            (order.accepted, order.told_unknown) = (true, false);
            let told = order.report(ReportKind::Fill, Reason::Ok, fill.time_ms);
            self.send(Report {
                last_qty: fill.qty,
                last_price: fill.price,
                maker: fill.maker,
                trade_id,
                fee_e8: fill.fee_e8,
                ..told
            });
        }
        if order.held.is_empty() && order.counted_qty <= order.cum_qty && order.trades_from.is_none() {
            order.missing_since_ms = None;
        }
        if order.cum_qty >= order.command.qty
            && !order.ended
            && order.cum_qty > 0
            && order.doubt == Doubt::None
        {
            self.end(order, now_ms);
        } else if let Some(ending) = order.ending
            && ending.cum_qty <= order.cum_qty
            && !order.ended
            && order.doubt == Doubt::None
        {
            self.report(order, ending.kind, ending.reason, ending.time_ms);
            self.end(order, now_ms);
        }
    }

    fn end(&mut self, order: &mut Order, now_ms: u64) {
        order.ended = true;
        (order.missing_since_ms, order.not_before_ms) = (None, now_ms);
        // What waited is answered by the end itself; a query is not.
        order.waiting.retain(|command| command.kind == ringfence_ipc::msg::CommandKind::Query);
    }
}
