//! What a command does when it arrives.

use super::money::notional_e16;
use super::order::{Fill, Order, turned_away};
use super::queue::QueuePlace;
use super::{Market, PaperVenue};
use ringfence_ipc::msg::{Command, CommandKind, OrderState, OrderType, Report, ReportKind, Side, Tif};
use ringfence_ipc::reason::Reason;

const MILLION: u64 = 1_000_000;

impl PaperVenue {
    /// Executes `command` at `ts_ns`, gate time.
    pub(super) fn execute(&mut self, command: &Command, ts_ns: u64, out: &mut Vec<Report>) {
        match command.kind {
            CommandKind::New | CommandKind::Reenter => self.enter(command, ts_ns, out),
            CommandKind::Cancel => self.cancel(command, ts_ns, out),
            CommandKind::Amend => self.amend(command, ts_ns, out),
            CommandKind::Query => out.push(self.tell(command, ts_ns)),
        }
    }

    /// What became of an order. How a finished one ended is not kept.
    fn tell(&self, command: &Command, ts_ns: u64) -> Report {
        let id = command.order_id;
        let resting = self.places.get(&id).and_then(|place| {
            let market = self.markets.get(usize::from(place.symbol))?;
            let resting = if place.side == Side::Buy { &market.bids } else { &market.asks };
            resting.get(place.key)
        });
        match resting {
            Some(order) => order.working(ReportKind::Accepted, Reason::Ok, ts_ns),
            None if self.finished.contains(id) => {
                turned_away(command, ReportKind::Unknown, Reason::VenueUnknownOrder, ts_ns)
            }
            None => turned_away(command, ReportKind::Rejected, Reason::VenueUnknownOrder, ts_ns),
        }
    }

    fn enter(&mut self, command: &Command, ts_ns: u64, out: &mut Vec<Report>) {
        self.newest_entered = self.newest_entered.max(command.order_id);
        if self.places.contains_key(&command.order_id) || self.finished.contains(command.order_id) {
            self.counts.repeated += 1;
            return;
        }
        let order = match self.admit(command) {
            Ok(order) => order,
            Err((kind, reason)) => {
                self.finished.insert(command.order_id);
                out.push(turned_away(command, kind, reason, ts_ns));
                return;
            }
        };
        out.push(order.working(ReportKind::Accepted, Reason::Ok, ts_ns));
        let limit = (command.order_type == OrderType::Limit).then_some(command.price);
        let order = self.take(order, limit, ts_ns, out);
        if order.leaves() == 0 {
            self.finished.insert(order.id);
        } else if rests(command) {
            self.rest(order);
        } else {
            self.finished.insert(order.id);
            out.push(order.ended(ReportKind::Expired, OrderState::Expired, Reason::NoLiquidity, ts_ns));
        }
    }

    /// The order, if it may work at all; otherwise how it ends.
    fn admit(&mut self, command: &Command) -> Result<Order, (ReportKind, Reason)> {
        let is_new = command.kind == CommandKind::New;
        let unlucky = is_new
            && self.config.reject_ppm > 0
            && self.random.up_to(MILLION - 1) < u64::from(self.config.reject_ppm);
        let Some(market) = self.markets.get(usize::from(command.symbol)) else {
            return Err((ReportKind::Rejected, Reason::UnknownSymbol));
        };
        let limit = (command.order_type == OrderType::Limit).then_some(command.price);
        let in_range = |order: &Order| {
            limit.is_none_or(|price| price > 0 && notional_e16(&market.symbol, price, order.total).is_some())
        };
        let order = Order::new(command).filter(in_range);
        let refused = unlucky || self.places.len() >= self.config.max_orders;
        let Some(order) = order.filter(|_| !refused) else {
            return Err((ReportKind::Rejected, Reason::VenueReject));
        };
        let offered = market.book.available(command.side.opposite(), limit, command.qty);
        if offered > 0 && order.is_post_only() {
            Err((ReportKind::Expired, Reason::WouldTake))
        } else if offered < command.qty && command.tif == Tif::Fok {
            Err((ReportKind::Expired, Reason::FokUnfilled))
        } else if offered == 0 && !rests(command) {
            Err((ReportKind::Expired, Reason::NoLiquidity))
        } else {
            Ok(order)
        }
    }

    /// Takes what the other side displays at `limit` or better, at the levels' prices.
    fn take(&mut self, mut order: Order, limit: Option<i64>, ts_ns: u64, out: &mut Vec<Report>) -> Order {
        let Some(market) = self.markets.get_mut(usize::from(order.symbol)) else { return order };
        let Market { symbol, book, .. } = market;
        let want = order.leaves();
        book.take(order.side.opposite(), limit, want, |price, qty| {
            out.push(self.till.book(symbol, &mut order, Fill { price, qty, maker: false, ts_ns }));
        });
        order
    }

    /// Rests `order` at the back of its queue.
    fn rest(&mut self, mut order: Order) {
        let Some(market) = self.markets.get_mut(usize::from(order.symbol)) else { return };
        let displayed = market.book.level(order.side, order.price).map_or(0, |level| level.available());
        order.queue = QueuePlace::back(displayed, market.book.is_blank());
        self.arrivals += 1;
        let place = market.resting(order.side).insert(order, self.arrivals);
        self.places.insert(order.id, place);
    }

    fn cancel(&mut self, command: &Command, ts_ns: u64, out: &mut Vec<Report>) {
        let Some(order) = self.remove(command) else {
            out.push(turned_away(command, ReportKind::CancelRejected, Reason::VenueUnknownOrder, ts_ns));
            return;
        };
        self.finished.insert(order.id);
        out.push(order.ended(ReportKind::Cancelled, OrderState::Cancelled, Reason::CancelRequested, ts_ns));
    }

    fn remove(&mut self, command: &Command) -> Option<Order> {
        let place = self.places.remove(&command.order_id)?;
        let market = self.markets.get_mut(usize::from(place.symbol))?;
        market.resting(place.side).remove(place.key)
    }

    /// Less at the same price keeps its place; anything else goes to the back of its queue, and may trade on the way.
    fn amend(&mut self, command: &Command, ts_ns: u64, out: &mut Vec<Report>) {
        let place = self.places.get(&command.order_id).copied();
        let market = place.and_then(|place| self.markets.get_mut(usize::from(place.symbol)));
        let (Some(place), Some(market)) = (place, market) else {
            out.push(turned_away(command, ReportKind::CancelRejected, Reason::VenueUnknownOrder, ts_ns));
            return;
        };
        let offered = market.book.available(place.side.opposite(), Some(command.price), 1);
        let in_range =
            command.price > 0 && notional_e16(&market.symbol, command.price, command.qty).is_some();
        let Some(order) = market.resting(place.side).get_mut(place.key) else { return };
        let keeps_place = command.price == order.price && command.qty <= order.total;
        let refusal = if !in_range || command.qty <= order.cum {
            Some(Reason::VenueReject)
        } else if !keeps_place && offered > 0 && order.is_post_only() {
            Some(Reason::WouldTake)
        } else {
            None
        };
        if let Some(reason) = refusal {
            out.push(order.working(ReportKind::CancelRejected, reason, ts_ns));
            return;
        }
        (order.price, order.total) = (command.price, command.qty);
        let amended = order.working(ReportKind::Amended, Reason::Ok, ts_ns);
        out.push(Report { last_price: order.price, ..amended });
        if !keeps_place {
            self.requeue(command, ts_ns, out);
        }
    }

    fn requeue(&mut self, command: &Command, ts_ns: u64, out: &mut Vec<Report>) {
        let Some(order) = self.remove(command) else { return };
        let order = self.take(order, Some(order.price), ts_ns, out);
        if order.leaves() == 0 {
            self.finished.insert(order.id);
        } else {
            self.rest(order);
        }
    }
}

/// Whether what cannot trade at once stays in the book.
fn rests(command: &Command) -> bool {
    command.order_type == OrderType::Limit && matches!(command.tif, Tif::Gtc | Tif::Day)
}
