//! What the gate asks for.

use super::order::{Change, Doing, Doubt, MAX_WAITING, Order};
use super::{Ledger, Mode};
use crate::client_id::ClientId;
use crate::rest::{Request, Terms};
use ringfence_ipc::msg::{Command, CommandKind, OrderType, ReportKind, Tif, intent_flags};
use ringfence_ipc::reason::Reason;
use ringfence_ipc::symbol::format_scaled;

impl Ledger {
    /// A command of the gate in this life of it.
    pub(crate) fn command(&mut self, command: &Command, epoch: u16, now_ms: u64) {
        let id = command.order_id;
        self.last_order_id = self.last_order_id.max(id);
        match command.kind {
            CommandKind::New => self.enter(command, epoch, now_ms),
            // What the venue has is asked; nothing is entered a second time.
            CommandKind::Query | CommandKind::Reenter => self.inherit(command, now_ms),
            CommandKind::Cancel | CommandKind::Amend => {
                if self.orders.contains_key(&id) {
                    self.with(id, now_ms, |ledger, order| ledger.queue(order, *command, now_ms));
                } else {
                    self.refuse(command, ReportKind::CancelRejected, Reason::VenueUnknownOrder, now_ms);
                }
            }
        }
    }

    /// Says no to a command without having asked anybody.
    fn refuse(&mut self, command: &Command, kind: ReportKind, reason: Reason, now_ms: u64) {
        let report = Order::new(*command, now_ms).report(kind, reason, now_ms);
        self.out.push(super::Action::Report(report));
    }

    fn queue(&mut self, order: &mut Order, command: Command, now_ms: u64) {
        if order.ended {
            self.report(order, ReportKind::CancelRejected, Reason::VenueUnknownOrder, now_ms);
        } else if order.waiting.len() >= MAX_WAITING {
            self.report(order, ReportKind::CancelRejected, Reason::VenueBusy, now_ms);
        } else {
            order.waiting.push_back(command);
        }
    }

    /// A new order: checked here first, because what the venue refuses costs its patience.
    fn enter(&mut self, command: &Command, epoch: u16, now_ms: u64) {
        if self.orders.contains_key(&command.order_id) {
            self.counts.duplicates += 1;
            return;
        }
        let at = usize::from(command.symbol);
        let checked = match (self.symbols.get(at), self.rules.get(at)) {
            (Some(symbol), Some(Some(rules))) => rules.check(symbol, command),
            _ => Err(Reason::UnknownSymbol),
        };
        let refused = if command.order_id >> 48 != u64::from(epoch) {
            Some((ReportKind::LostBeforeSend, Reason::LostBeforeSend))
        } else if self.mode != Mode::Trading || !self.make_room() {
            Some((ReportKind::Rejected, Reason::VenueBusy))
        } else {
            checked.err().map(|reason| (ReportKind::Rejected, reason))
        };
        if let Some((kind, reason)) = refused {
            return self.refuse(command, kind, reason, now_ms);
        }
        let mut order = Order::new(*command, now_ms);
        order.doing = Some(Doing::Place);
        let terms = self.terms(&order, command.price, command.qty, 0);
        self.counts.highest_handed_out = self.counts.highest_handed_out.max(command.order_id);
        self.orders.insert(command.order_id, order);
        self.ask(command.order_id, Request::Place(Box::new(terms)));
    }

    /// Whether there is room for one more order; the oldest finished one makes it.
    fn make_room(&mut self) -> bool {
        while self.orders.len() >= self.tuning.max_orders {
            let Some(oldest) = self.finished.pop_front() else { return false };
            self.orders.remove(&oldest);
        }
        true
    }

    /// An order of a life before: what the venue says of it is told from its first fill on. The gate knows which of it is
    /// news.
    fn inherit(&mut self, command: &Command, now_ms: u64) {
        let id = command.order_id;
        let qty = command.qty.saturating_add(command.filled_qty().max(0));
        let command = &Command { kind: CommandKind::Query, qty, ..*command };
        if self.orders.get(&id).is_some_and(|order| order.doing.is_some()) {
            self.with(id, now_ms, |ledger, order| ledger.queue_query(order, *command, now_ms));
            return;
        }
        if !self.orders.contains_key(&id) && !self.make_room() {
            return self.refuse(command, ReportKind::Unknown, Reason::VenueBusy, now_ms);
        }
        let before = self.orders.remove(&id);
        if let Some(order) = &before {
            self.due.remove(&(order.due_ms, id));
            self.finished.retain(|finished| *finished != id);
        }
        let mut order = Order::new(*command, now_ms);
        order.generation = before.as_ref().map_or(0, |order| order.generation);
        order.venue_id = before.as_ref().and_then(|order| order.venue_id);
        order.inherited = before.is_none();
        order.told_unknown = true;
        order.absent_until_ms = self.absent_after(now_ms);
        order.doubt(Doubt::State, now_ms);
        order.waiting = before.map(|order| order.waiting).unwrap_or_default();
        self.orders.insert(id, order);
        self.with(id, now_ms, |_, _| ());
    }

    /// A query behind a request under way: its answer will say what is asked.
    fn queue_query(&mut self, order: &mut Order, command: Command, now_ms: u64) {
        if order.waiting.len() < MAX_WAITING {
            order.waiting.push_back(command);
        } else {
            self.report(order, ReportKind::Unknown, Reason::VenueBusy, now_ms);
        }
    }

    /// Begins a command whose turn has come.
    pub(super) fn begin(&mut self, order: &mut Order, command: Command, now_ms: u64) {
        if order.ended && command.kind != CommandKind::Query {
            return self.report(order, ReportKind::CancelRejected, Reason::VenueUnknownOrder, now_ms);
        }
        match command.kind {
            CommandKind::Cancel => self.cancel(order),
            CommandKind::Amend => {
                self.amend(order, Change { price: command.price, qty: command.qty }, now_ms)
            }
            CommandKind::Query | CommandKind::Reenter | CommandKind::New => {
                let (generation, venue_id) = (order.generation, order.venue_id);
                let waiting = std::mem::take(&mut order.waiting);
                *order = Order::new(command, now_ms);
                (order.generation, order.venue_id, order.told_unknown) = (generation, venue_id, true);
                order.waiting = waiting;
                order.absent_until_ms = self.absent_after(now_ms);
                order.doubt(Doubt::State, now_ms);
            }
        }
    }

    pub(super) fn cancel(&mut self, order: &mut Order) {
        order.doing = Some(Doing::Cancel);
        let request = Request::Cancel { symbol: self.name(order), client_id: Self::client_id(order, 0) };
        self.ask(order.command.order_id, request);
    }

    /// Less at the same price keeps its place. Anything else is a new order at the venue, and only while nothing is
    /// filled: else a fill on the way could be had twice.
    fn amend(&mut self, order: &mut Order, change: Change, now_ms: u64) {
        let at = usize::from(order.command.symbol);
        let (Some(symbol), Some(Some(rules))) = (self.symbols.get(at), self.rules.get(at)) else {
            return self.report(order, ReportKind::CancelRejected, Reason::UnknownSymbol, now_ms);
        };
        let asked = Command { price: change.price, qty: change.qty, ..order.command };
        let same_price = change.price == order.command.price;
        let reduces = same_price && change.qty < order.command.qty && rules.amend_allowed;
        let refused = match rules.check(symbol, &asked) {
            Err(reason) => Some(reason),
            Ok(()) if change.qty <= order.cum_qty => Some(Reason::VenueReject),
            Ok(()) if self.mode != Mode::Trading => Some(Reason::VenueBusy),
            Ok(()) if !reduces && order.cum_qty > 0 => Some(Reason::VenueReject),
            Ok(()) => None,
        };
        if let Some(reason) = refused {
            return self.report(order, ReportKind::CancelRejected, reason, now_ms);
        }
        let client_id = Self::client_id(order, 0);
        let request = if reduces {
            order.doing = Some(Doing::Reduce(change));
            let qty = format_scaled(change.qty.into(), symbol.qty_scale);
            Request::Reduce { symbol: symbol.name().to_owned(), client_id, qty }
        } else {
            order.doing = Some(Doing::Replace(change));
            let terms = self.terms(order, change.price, change.qty, 1);
            Request::Replace { client_id, terms: Box::new(terms) }
        };
        self.ask(order.command.order_id, request);
    }

    pub(super) fn client_id(order: &Order, ahead: u16) -> String {
        let generation = order.generation.saturating_add(ahead);
        ClientId { order_id: order.command.order_id, generation }.text()
    }

    fn terms(&self, order: &Order, price: i64, qty: i64, ahead: u16) -> Terms {
        let command = &order.command;
        let scales =
            self.symbols.get(usize::from(command.symbol)).map_or((0, 0), |s| (s.price_scale, s.qty_scale));
        let market = command.order_type == OrderType::Market;
        let post_only = command.flags & intent_flags::POST_ONLY != 0;
        Terms {
            symbol: self.name(order),
            client_id: Self::client_id(order, ahead),
            side: command.side.name(),
            order_type: match (market, post_only) {
                (true, _) => "MARKET",
                (false, true) => "LIMIT_MAKER",
                (false, false) => "LIMIT",
            },
            tif: (!market && !post_only).then_some(match command.tif {
                Tif::Ioc => "IOC",
                Tif::Fok => "FOK",
                Tif::Gtc | Tif::Day => "GTC",
            }),
            qty: format_scaled(qty.into(), scales.1),
            price: (!market).then(|| format_scaled(price.into(), scales.0)),
        }
    }

    /// When "not found" is final for something that is asked now.
    pub(super) const fn absent_after(&self, sent_ms: u64) -> u64 {
        sent_ms.saturating_add(self.tuning.recv_window_ms).saturating_add(super::VISIBLE_AFTER_MS)
    }
}
