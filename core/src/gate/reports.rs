//! What a venue says about an order, and what it changes.

use ringfence_ipc::msg::{OrderState, Report, ReportKind, StrategyId};
use ringfence_ipc::reason::{Mode, Reason};

use super::Gate;
use super::api::Unbooked;
use super::conduct::profit_e16;
use super::orders::{Order, Place, mark};

/// A venue's report as the gate understood it. It belongs to the state it was booked in: nothing else may be applied
/// between [`Gate::book`] and [`Gate::apply_report`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Booked {
    /// Ready for the journal.
    pub report: Report,
    next: Next,
    slot: u32,
}

impl Booked {
    /// With it the order has more than it asked for, under any terms the venue may hold.
    #[inline(always)]
    #[must_use]
    pub fn is_overfill(&self) -> bool {
        self.report.reason == Reason::Overfill
    }
}

impl Gate {
    /// What a venue's report means: the same report with the gate's side of it filled in (state after it, strategy,
    /// account, side, key, what is left, whether the fill is late), ready for the journal. Changes nothing.
    ///
    /// Cumulative quantity is the authority: a fill books what it is ahead of the order, whatever `last_qty` says.
    ///
    /// # Errors
    /// [`Unbooked`] says why there is nothing to journal.
    #[inline(always)]
    pub fn book(&self, venue_report: &Report, now_ns: u64) -> Result<Booked, Unbooked> {
        let venue = venue_report;
        let order = self.orders.get(venue.order_id).ok_or(Unbooked::UnknownOrder)?;
        if venue.kind == ReportKind::Amended && answers_another_amend(order, venue) {
            return Err(Unbooked::Repeat);
        }
        let is_fill = venue.kind == ReportKind::Fill;
        let filled_qty = if is_fill { self.filled_qty(order, venue)? } else { 0 };
        let cum_qty = order.cum_qty + filled_qty;
        let next = settle(order, cum_qty, venue.kind, venue.reentered)?;
        let total_qty = if next.amend == Amend::Taken { order.amend_qty } else { order.qty };
        let leaves_qty = if next.state.is_terminal() { 0 } else { total_qty.saturating_sub(cum_qty).max(0) };
        let may_fill = if next.amend == Amend::Kept { order.qty.max(order.amend_qty) } else { total_qty };
        let reason = match (cum_qty > may_fill && (is_fill || next.amend != Amend::Kept), venue.reason) {
            (true, _) => Reason::Overfill,
            // Nobody but the gate raises its alarm.
            (false, Reason::Overfill) => Reason::Ok,
            (false, said) => said,
        };
        let last_price = match venue.kind {
            ReportKind::Fill => venue.last_price,
            ReportKind::Amended => order.amend_price,
            _ => 0,
        };
        let report = Report {
            kind: venue.kind,
            state: next.state,
            side: order.side,
            maker: venue.maker,
            late: is_fill && order.state.is_terminal(),
            reentered: venue.reentered,
            reason,
            symbol: order.symbol,
            journal_seq: 0,
            order_id: order.id,
            last_qty: filled_qty,
            last_price,
            cum_qty,
            ts_ns: now_ns,
            trade_id: if is_fill { venue.trade_id } else { 0 },
            fee_e8: if is_fill { venue.fee_e8 } else { 0 },
            leaves_qty,
            key_low: order.key as u64,
            venue_ts_ns: venue.venue_ts_ns,
            strategy: order.strategy,
            account: self.positions[order.position as usize].account,
        };
        Ok(Booked { report, next, slot: self.orders.slot_of(order.id) })
    }

    /// The quantity that a fill adds, once it is certain that every sum it moves takes it.
    #[inline(never)]
    fn filled_qty(&self, order: &Order, venue: &Report) -> Result<i64, Unbooked> {
        if venue.last_qty <= 0 || venue.last_price <= 0 || venue.cum_qty <= 0 {
            return Err(Unbooked::Impossible);
        }
        let repeated_trade = venue.trade_id != 0 && venue.trade_id == order.last_trade_id;
        if venue.cum_qty <= order.cum_qty || repeated_trade {
            return Err(Unbooked::Repeat);
        }
        let qty = venue.cum_qty - order.cum_qty;
        let symbol = &self.symbols[usize::from(order.symbol)];
        let position = &self.positions[order.position as usize];
        let fits = || {
            let filled =
                position.filled(&symbol.contract, order.side, qty, venue.last_price, venue.fee_e8)?;
            symbol.qty.checked_add(qty.checked_mul(order.side.sign())?)?;
            order.filled_e16.checked_add(filled.notional_e16)?;
            // Every level's sum is a part of this one.
            let grown = filled.cost_e16.checked_abs()?.checked_sub(position.cost_e16.checked_abs()?)?;
            self.gross_e16.checked_add(grown)
        };
        fits().map(|_| qty).ok_or(Unbooked::Impossible)
    }

    /// Applies what [`Gate::book`] returned, once it is journalled.
    #[inline(always)]
    pub fn apply_report(&mut self, booked: &Booked) {
        let Booked { report, next, slot } = booked;
        self.keep_day(report.ts_ns);
        let order = self.orders.at_mut(*slot);
        let (place, was_open, qty, units) =
            (order.place(), order.is_open(), order.reserved_qty(), order.reserved_units());
        // Copies: what only a fill reads need not be in memory on the way of every report.
        if report.kind == ReportKind::Fill && self.apply_fill(*slot, &{ place }, &{ *report }).is_none() {
            return;
        }
        if booked.is_overfill() {
            self.restrain(place.strategy);
        }
        let order = self.orders.at_mut(*slot);
        order.cum_qty = report.cum_qty;
        next.apply(order);
        if !was_open {
            return;
        }
        let left = !order.is_open();
        let (new_qty, new_units) = if left { (0, 0) } else { (order.reserved_qty(), order.reserved_units()) };
        self.reserve(&place, new_qty - qty, new_units - units);
        if left && let Some(Some(tables)) = self.strategies.get_mut(usize::from(place.strategy)) {
            self.orders.leave(*slot, &mut tables.open);
        }
    }

    /// The venue gave an order of this strategy more than the gate had checked: until an operator has looked at it, only
    /// what reduces passes.
    #[cold]
    #[inline(never)]
    fn restrain(&mut self, strategy: StrategyId) {
        if let Some(Some(tables)) = self.strategies.get_mut(usize::from(strategy))
            && tables.mode == Mode::AllowAll
        {
            tables.mode = Mode::CancelOnly;
        }
        self.refresh_barriers();
    }

    /// Moves a fill into the position and the order's own sums. `None`: it does not fit, nothing changed.
    #[inline(never)]
    fn apply_fill(&mut self, slot: u32, place: &Place, report: &Report) -> Option<()> {
        let symbol = &mut self.symbols[usize::from(place.symbol)];
        let position = &mut self.positions[place.position as usize];
        let qty = report.last_qty;
        let filled = position.filled(&symbol.contract, place.side, qty, report.last_price, report.fee_e8)?;
        let grown = filled.cost_e16.checked_abs()?.checked_sub(position.cost_e16.checked_abs()?)?;
        let order = self.orders.at_mut(slot);
        let filled_e16 = order.filled_e16.checked_add(filled.notional_e16)?;
        symbol.qty = symbol.qty.checked_add(qty.checked_mul(place.side.sign())?)?;
        (order.filled_e16, order.last_trade_id) = (filled_e16, report.trade_id);
        let mark = symbol.mark_price;
        let profit = profit_e16(position, &symbol.contract, mark);
        position.qty = filled.qty;
        position.cost_e16 = filled.cost_e16;
        position.realised_e16 = filled.realised_e16;
        position.fees_e8 = filled.fees_e8;
        position.fills += 1;
        let change = profit_e16(position, &symbol.contract, mark).saturating_sub(profit);
        if let Some(Some(tables)) = self.strategies.get_mut(usize::from(place.strategy)) {
            tables.conduct.fills += 1;
            tables.conduct.pnl_e16 = tables.conduct.pnl_e16.saturating_add(change);
            tables.conduct.judge(&tables.limits);
        }
        self.add_gross(place, grown);
        Some(())
    }
}

/// Whether an `Amended` names other terms than the amend that is pending: a repeat of an earlier one. Taking it for
/// the answer would release what the venue may still fill.
fn answers_another_amend(order: &Order, venue: &Report) -> bool {
    let other_qty = venue.leaves_qty > 0 && venue.cum_qty.saturating_add(venue.leaves_qty) != order.amend_qty;
    let other_price = venue.last_price > 0 && venue.last_price != order.amend_price;
    other_qty || other_price
}

/// What becomes of a pending amend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Amend {
    Kept,
    Dropped,
    Taken,
}

/// Where a report takes an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Next {
    state: OrderState,
    amend: Amend,
    acked: bool,
}

impl Next {
    fn apply(self, order: &mut Order) {
        if self.amend == Amend::Taken {
            (order.price, order.qty, order.reserve_price) =
                (order.amend_price, order.amend_qty, order.amend_price);
        }
        if self.amend != Amend::Kept {
            (order.amend_price, order.amend_qty) = (0, 0);
        }
        order.state = self.state;
        order.marks |= if self.acked { mark::ACKED } else { 0 };
    }
}

/// The order's life as one match. `cum_qty` already counts the fill, if it is one.
#[inline]
fn settle(order: &Order, cum_qty: i64, kind: ReportKind, reentered: bool) -> Result<Next, Unbooked> {
    use OrderState as S;
    let working = if cum_qty > 0 { S::PartiallyFilled } else { S::Accepted };
    let unanswered = !order.has(mark::ACKED) || order.state == S::Unknown || reentered;
    let pending_amend = order.amend_qty != 0;
    let mut amend = Amend::Kept;
    let state = match (kind, order.state) {
        (ReportKind::Fill, state) if state.is_terminal() => state,
        (_, state) if state.is_terminal() => return Err(Unbooked::Repeat),
        // While an amend is pending its answer says what the order's quantity is.
        (ReportKind::Fill, _) if cum_qty >= order.qty.max(order.amend_qty) => S::Filled,
        (ReportKind::Fill, S::PendingCancel) => S::PendingCancel,
        (ReportKind::Fill, _) => S::PartiallyFilled,
        (ReportKind::Accepted, _) if !unanswered => return Err(Unbooked::Repeat),
        (ReportKind::Accepted, S::PendingCancel) => S::PendingCancel,
        (ReportKind::Accepted, _) => working,
        (ReportKind::Cancelled, _) => S::Cancelled,
        (ReportKind::Rejected, _) => S::Rejected,
        (ReportKind::Expired, _) => S::Expired,
        (ReportKind::Amended, _) if !pending_amend => return Err(Unbooked::Repeat),
        (ReportKind::Amended, state) => {
            amend = Amend::Taken;
            match state {
                _ if cum_qty >= order.amend_qty => S::Filled,
                S::PendingCancel => S::PendingCancel,
                _ => working,
            }
        }
        // The venue answers in order: an amend that is pending was asked before any cancel.
        (ReportKind::CancelRejected, state) if pending_amend => {
            amend = Amend::Dropped;
            if cum_qty >= order.qty { S::Filled } else { state }
        }
        (ReportKind::CancelRejected, S::PendingCancel) => order.working_state(),
        (ReportKind::CancelRejected, _) | (ReportKind::Unknown, S::Unknown) => return Err(Unbooked::Repeat),
        (ReportKind::Unknown, _) => S::Unknown,
        (ReportKind::LostBeforeSend, _) if order.has(mark::ACKED) || cum_qty > 0 => {
            return Err(Unbooked::Impossible);
        }
        (ReportKind::LostBeforeSend, _) => S::Rejected,
    };
    let acked = matches!(kind, ReportKind::Accepted | ReportKind::Fill | ReportKind::Amended);
    Ok(Next { state, amend, acked })
}
