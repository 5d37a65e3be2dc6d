//! What a venue says about an order, and what it changes.

use ringfence_ipc::msg::{OrderState, Report, ReportKind};

use super::Gate;
use super::api::Unbooked;
use super::orders::{Order, mark};

impl Gate {
    /// What a venue's report means: the same report with the gate's side of it filled in (state after it, strategy,
    /// account, side, key, what is left, whether the fill is late), ready for the journal. Changes nothing.
    ///
    /// Cumulative quantity is the authority: a fill books what it is ahead of the order, whatever `last_qty` says.
    ///
    /// # Errors
    /// [`Unbooked`] says why there is nothing to journal.
    pub fn book(&self, venue_report: &Report, now_ns: u64) -> Result<Report, Unbooked> {
        let order = self.orders.get(venue_report.order_id).ok_or(Unbooked::UnknownOrder)?;
        let mut report = Report {
            side: order.side,
            symbol: order.symbol,
            late: false,
            journal_seq: 0,
            last_qty: 0,
            last_price: 0,
            cum_qty: order.cum_qty,
            trade_id: 0,
            fee_e8: 0,
            ts_ns: now_ns,
            key_low: order.key as u64,
            strategy: order.strategy,
            account: self.registered(order.strategy).map_or(0, |tables| tables.account),
            ..*venue_report
        };
        let mut after = *order;
        if venue_report.kind == ReportKind::Fill {
            self.book_fill(order, venue_report, &mut report)?;
            after.cum_qty = report.cum_qty;
        }
        settle(&mut after, venue_report.kind, venue_report.reentered)?;
        report.state = after.state;
        report.leaves_qty = if after.is_open() { after.leaves_qty() } else { 0 };
        Ok(report)
    }

    fn book_fill(&self, order: &Order, venue: &Report, report: &mut Report) -> Result<(), Unbooked> {
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
        let filled = position
            .filled(&symbol.contract, order.side, qty, venue.last_price, venue.fee_e8)
            .ok_or(Unbooked::Impossible)?;
        let fits = || {
            symbol.qty.checked_add(qty.checked_mul(order.side.sign())?)?;
            order.filled_e16.checked_add(filled.notional_e16)?;
            // Every level's sum is a part of this one.
            let grown = filled.cost_e16.checked_abs()?.checked_sub(position.cost_e16.checked_abs()?)?;
            self.gross_e16.checked_add(grown)
        };
        fits().ok_or(Unbooked::Impossible)?;
        report.late = order.state.is_terminal();
        report.last_qty = qty;
        report.last_price = venue.last_price;
        report.cum_qty = venue.cum_qty;
        report.trade_id = venue.trade_id;
        report.fee_e8 = venue.fee_e8;
        Ok(())
    }

    /// Applies a report that [`Gate::book`] returned, once it is journalled at `seq`. Anything else changes nothing.
    pub fn apply_report(&mut self, report: &Report, _seq: u64) {
        let Some(before) = self.orders.get(report.order_id).copied() else { return };
        let mut after = before;
        if report.kind == ReportKind::Fill {
            let Some(notional_e16) = self.apply_fill(&before, report) else { return };
            after.cum_qty = report.cum_qty;
            after.filled_e16 += notional_e16;
            after.last_trade_id = report.trade_id;
        }
        if settle(&mut after, report.kind, report.reentered).is_err() {
            return;
        }
        let slot = self.orders.slot_of(before.id);
        *self.orders.at_mut(slot) = after;
        if !before.is_open() {
            return;
        }
        let (qty, units) =
            if after.is_open() { (after.reserved_qty(), after.reserved_units()) } else { (0, 0) };
        self.reserve(&before, qty - before.reserved_qty(), units - before.reserved_units());
        if !after.is_open()
            && let Some(Some(tables)) = self.strategies.get_mut(usize::from(before.strategy))
        {
            self.orders.leave(slot, &mut tables.open);
        }
    }

    /// Moves a fill into the position; its notional. `None`: it does not fit, nothing changed.
    fn apply_fill(&mut self, order: &Order, report: &Report) -> Option<i128> {
        let symbol = &mut self.symbols[usize::from(order.symbol)];
        let position = &mut self.positions[order.position as usize];
        let qty = report.last_qty;
        let filled = position.filled(&symbol.contract, order.side, qty, report.last_price, report.fee_e8)?;
        let grown = filled.cost_e16.checked_abs()?.checked_sub(position.cost_e16.checked_abs()?)?;
        symbol.qty = symbol.qty.checked_add(qty.checked_mul(order.side.sign())?)?;
        position.qty = filled.qty;
        position.cost_e16 = filled.cost_e16;
        position.realised_e16 = filled.realised_e16;
        position.fees_e8 = filled.fees_e8;
        position.fills += 1;
        self.add_gross(order, grown);
        Some(filled.notional_e16)
    }
}

/// The order's life as one match. `order.cum_qty` already counts the fill, if it is one.
fn settle(order: &mut Order, kind: ReportKind, reentered: bool) -> Result<(), Unbooked> {
    use OrderState as S;
    let filled = order.cum_qty >= order.qty;
    let unanswered = !order.has(mark::ACKED) || order.state == S::Unknown || reentered;
    order.state = match (kind, order.state) {
        (ReportKind::Fill, state) if state.is_terminal() => state,
        (_, state) if state.is_terminal() => return Err(Unbooked::Repeat),
        (ReportKind::Fill, _) if filled => S::Filled,
        (ReportKind::Fill, S::PendingCancel) => S::PendingCancel,
        (ReportKind::Fill, _) => S::PartiallyFilled,
        (ReportKind::Accepted, _) if !unanswered => return Err(Unbooked::Repeat),
        (ReportKind::Accepted, S::PendingCancel) => S::PendingCancel,
        (ReportKind::Accepted, _) => working(order),
        (ReportKind::Cancelled, _) => S::Cancelled,
        (ReportKind::Rejected, _) => S::Rejected,
        (ReportKind::Expired, _) => S::Expired,
        (ReportKind::Amended, _) if order.amend_qty == 0 => return Err(Unbooked::Repeat),
        (ReportKind::Amended, state) => amended(order, state),
        // The venue answers in order: an amend that is pending was asked before any cancel.
        (ReportKind::CancelRejected, state) if order.amend_qty != 0 => {
            (order.amend_price, order.amend_qty) = (0, 0);
            state
        }
        (ReportKind::CancelRejected, S::PendingCancel) => order.working_state(),
        (ReportKind::CancelRejected, _) | (ReportKind::Unknown, S::Unknown) => return Err(Unbooked::Repeat),
        (ReportKind::Unknown, _) => S::Unknown,
        (ReportKind::LostBeforeSend, _) if order.has(mark::ACKED) || order.cum_qty > 0 => {
            return Err(Unbooked::Impossible);
        }
        (ReportKind::LostBeforeSend, _) => S::Rejected,
    };
    if matches!(kind, ReportKind::Accepted | ReportKind::Fill | ReportKind::Amended) {
        order.marks |= mark::ACKED;
    }
    Ok(())
}

/// The venue holds it.
fn working(order: &Order) -> OrderState {
    if order.cum_qty > 0 { OrderState::PartiallyFilled } else { OrderState::Accepted }
}

/// The pending terms are the order's terms now.
fn amended(order: &mut Order, state: OrderState) -> OrderState {
    (order.price, order.qty) = (order.amend_price, order.amend_qty);
    order.reserve_price = order.price;
    (order.amend_price, order.amend_qty) = (0, 0);
    if order.cum_qty >= order.qty {
        OrderState::Filled
    } else if state == OrderState::PendingCancel {
        state
    } else {
        working(order)
    }
}
