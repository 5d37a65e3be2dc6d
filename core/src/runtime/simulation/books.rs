//! The reference's books: what decisions and reports change, and the sums over what they left.

use ringfence_ipc::journal::{ControlKind, DecisionRecord, LimitRecord, Record};
use ringfence_ipc::msg::{
    CommandKind, IntentKind, OrderId, OrderState, OrderType, Outcome, Report, ReportKind, Side, Tif,
};
use ringfence_ipc::reason::{LimitId, Mode, Reason, Scope};

use super::model::{Answer, Booked, Model, Order, REACH, SEQUENCE, Sent, must};

impl Order {
    pub fn leaves(&self) -> i128 {
        i128::from(self.qty - self.cum).max(0)
    }

    /// While an amend is pending the larger of both terms stands.
    pub fn reserved_qty(&self) -> i64 {
        (self.amend.map_or(self.qty, |(_, qty)| qty.max(self.qty)) - self.cum).max(0)
    }

    pub fn reserved_units(&self) -> i128 {
        let now = self.unit * self.leaves();
        self.amend.map_or(now, |(price, qty)| now.max(i128::from(price) * i128::from(qty - self.cum).max(0)))
    }

    pub fn is_open(&self) -> bool {
        !self.state.is_terminal()
    }

    fn working(&self, acked: bool) -> OrderState {
        match (self.cum > 0, acked) {
            (true, _) => OrderState::PartiallyFilled,
            (false, true) => OrderState::Accepted,
            (false, false) => OrderState::PendingNew,
        }
    }
}

impl Model {
    /// What a journal's record changes; returns what must leave for the venue at once.
    pub fn recorded(&mut self, seq: u64, record: &Record) -> Option<Sent> {
        match record {
            Record::Boot(boot) => self.epoch = boot.epoch,
            Record::Symbol { symbol, .. } => self.symbols.push(*symbol),
            Record::Strategy(s) => drop(self.accounts.insert(s.strategy, s.account)),
            Record::Limit(l) => {
                let filled: Vec<_> =
                    self.buckets.keys().map(|(s, c)| (*s, *c, self.interval(*s, *c))).collect();
                if l.value == LimitRecord::NOT_SET {
                    self.limits.remove(&(l.scope, l.scope_id, l.limit));
                } else {
                    self.limits.insert((l.scope, l.scope_id, l.limit), l.value);
                }
                for (strategy, cancels, was) in filled {
                    if self.interval(strategy, cancels) != was {
                        self.buckets.remove(&(strategy, cancels));
                    }
                }
            }
            Record::Control(c) => {
                let of = (c.scope == Scope::Strategy).then_some(c.scope_id);
                match c.control {
                    ControlKind::SetMode(mode) => drop(self.modes.insert(of, mode)),
                    ControlKind::Rearm { .. } if self.mode(of) == Mode::Killed => {
                        self.modes.insert(of, Mode::AllowAll);
                    }
                    _ => {}
                }
            }
            Record::Report(report) => drop(self.reported(report)),
            Record::Stray(s) => self.strayed((s.order_id, s.symbol), s.side, s.qty, s.cum_qty, s.trade_id),
            Record::Decision(decision) => return self.decided(seq, decision),
            // The others decide nothing.
            _ => {}
        }
        None
    }

    fn decided(&mut self, seq: u64, d: &DecisionRecord) -> Option<Sent> {
        let (i, words, accepted) = (&d.intent, d.intent.encode(), d.outcome == Outcome::Accepted);
        let answer = Answer {
            content: Some([words[0], words[3], words[4], words[6]]),
            asked: Some(i.kind),
            outcome: d.outcome,
            reason: d.reason,
            seq,
            order_id: if accepted { d.order_id } else { 0 },
            observed: d.observed,
            limit: d.limit,
        };
        self.answers.entry((d.strategy, i.key)).or_insert(answer);
        let newest_ns = self.newest_ns.entry(d.strategy).or_default();
        *newest_ns = i.client_ts_ns.max(*newest_ns);
        let cancels = match i.kind {
            IntentKind::New | IntentKind::Amend => Some(false),
            IntentKind::Cancel => Some(true),
            IntentKind::MassCancel => d.ext.is_none().then_some(true),
            IntentKind::ForceFlat => None,
        };
        if let Some(cancels) = cancels {
            self.drain_bucket(d.strategy, cancels, d.now_ns);
        }
        if !accepted {
            return None;
        }
        match i.kind {
            IntentKind::New => {
                let market = i.order_type == OrderType::Market;
                let banded = self.banded(i128::from(d.reference_price));
                let unit = if market { banded } else { i128::from(i.price) };
                let order = self.order_of(d, i.side, i.qty, unit);
                Some(self.enter(order, i.price))
            }
            IntentKind::Cancel if d.order_id == 0 => {
                let reserved = Answer {
                    content: None,
                    asked: None,
                    outcome: Outcome::Rejected,
                    reason: Reason::CancelledBeforeArrival,
                    ..answer
                };
                self.answers.entry((d.strategy, i.target_key())).or_insert(reserved);
                None
            }
            IntentKind::Cancel => self.order_mut(d.order_id).map(|order| {
                order.state = OrderState::PendingCancel;
                (CommandKind::Cancel, order.id, order.price, order.qty)
            }),
            IntentKind::Amend => self.order_mut(d.order_id).map(|order| {
                order.amend = Some((i.price, i.qty));
                (CommandKind::Amend, order.id, i.price, i.qty)
            }),
            IntentKind::MassCancel => {
                self.owe_cancels(d.strategy, |_| true);
                None
            }
            IntentKind::ForceFlat => {
                let net = self.to_flatten(d.strategy, i.symbol);
                let (side, qty) = (if net > 0 { Side::Sell } else { Side::Buy }, net.unsigned_abs() as i64);
                self.owe_cancels(d.strategy, |order| order.symbol == i.symbol && !order.flattens);
                let order = self.order_of(d, side, qty, self.banded(i128::from(d.reference_price)));
                let flat =
                    Order { order_type: OrderType::Market, tif: Tif::Ioc, price: 0, flattens: true, ..order };
                Some(self.enter(flat, 0))
            }
        }
    }

    fn order_of(&self, d: &DecisionRecord, side: Side, qty: i64, unit: i128) -> Order {
        Order {
            id: d.order_id,
            key: d.intent.key,
            strategy: d.strategy,
            symbol: d.intent.symbol,
            side,
            order_type: d.intent.order_type,
            tif: d.intent.tif,
            price: d.intent.price,
            unit,
            qty,
            cum: 0,
            amend: None,
            state: OrderState::PendingNew,
            acked: false,
            flattens: false,
            last_trade: 0,
        }
    }

    fn enter(&mut self, order: Order, price: i64) -> Sent {
        let sent = (CommandKind::New, order.id, price, order.qty);
        self.positions.entry((order.strategy, order.symbol)).or_default();
        self.next_sequence = (order.id & SEQUENCE) + 1;
        self.orders.insert(order.id & SEQUENCE & (self.order_slots - 1), order);
        sent
    }

    fn owe_cancels(&mut self, strategy: u16, concerned: impl Fn(&Order) -> bool) {
        let orders = self.orders.values_mut().filter(|o| o.strategy == strategy && o.is_open());
        for order in orders.filter(|o| concerned(o)) {
            order.state = OrderState::PendingCancel;
            let owed = self.owed.entry(order.id).or_default();
            *owed = (owed.0 + 1, false);
        }
    }

    /// What a venue says of an order: what it must become in the journal; `None`: nothing, it changes nothing.
    pub fn reported(&mut self, r: &Report) -> Option<Booked> {
        use OrderState as S;
        use ReportKind as K;
        let order = self.order_mut(r.order_id)?;
        let (was_final, mut last_qty) = (!order.is_open(), 0);
        if r.kind == K::Fill {
            let sane = r.last_qty > 0 && r.last_price > 0 && r.cum_qty > 0;
            if !sane || r.cum_qty <= order.cum || (r.trade_id != 0 && r.trade_id == order.last_trade) {
                return None;
            }
            last_qty = r.cum_qty - order.cum;
            (order.cum, order.last_trade) = (r.cum_qty, r.trade_id);
        } else if was_final {
            return None;
        }
        let waits = order.state == S::PendingCancel;
        let amending = order.amend.is_some();
        let full = order.cum >= order.amend.map_or(order.qty, |(_, qty)| qty.max(order.qty));
        let unanswered = !order.acked || order.state == S::Unknown || r.reentered;
        let acked = order.acked || matches!(r.kind, K::Fill | K::Accepted | K::Amended);
        order.state = match (r.kind, order.amend) {
            (K::Fill, _) if was_final => order.state,
            (K::Fill, _) if full => S::Filled,
            (K::Fill, _) if waits => S::PendingCancel,
            (K::Fill, _) => S::PartiallyFilled,
            (K::Accepted, _) if !unanswered => return None,
            (K::Accepted, _) if waits => S::PendingCancel,
            (K::Accepted, _) => order.working(acked),
            (K::Cancelled, _) => S::Cancelled,
            (K::Rejected, _) => S::Rejected,
            (K::Expired, _) => S::Expired,
            (K::Amended, None) => return None,
            // It repeats the answer to an earlier amend.
            (K::Amended, Some((price, qty)))
                if (r.leaves_qty > 0 && r.cum_qty + r.leaves_qty != qty)
                    || (r.last_price > 0 && r.last_price != price) =>
            {
                return None;
            }
            (K::Amended, Some((price, qty))) => {
                (order.price, order.unit, order.qty, order.amend) = (price, i128::from(price), qty, None);
                if order.leaves() == 0 {
                    S::Filled
                } else if waits {
                    S::PendingCancel
                } else {
                    order.working(acked)
                }
            }
            (K::CancelRejected, Some(_)) => {
                order.amend = None;
                if order.leaves() == 0 { S::Filled } else { order.state }
            }
            (K::CancelRejected, None) if waits => order.working(acked),
            (K::CancelRejected, None) => return None,
            (K::Unknown, _) if order.state == S::Unknown => return None,
            (K::Unknown, _) => S::Unknown,
            (K::LostBeforeSend, _) if order.acked || order.cum > 0 => return None,
            (K::LostBeforeSend, _) => S::Rejected,
        };
        order.acked = acked;
        let may_fill = order.amend.map_or(order.qty, |(_, qty)| qty.max(order.qty));
        let settles = amending && order.amend.is_none() && matches!(r.kind, K::Amended | K::CancelRejected);
        let overfill = order.cum > may_fill && (r.kind == K::Fill || settles);
        let leaves_qty = if order.is_open() { order.leaves() as i64 } else { 0 };
        let booked = Booked {
            state: order.state,
            last_qty,
            cum_qty: order.cum,
            leaves_qty,
            late: was_final && r.kind == K::Fill,
            overfill,
        };
        let (place, side) = ((order.strategy, order.symbol), order.side);
        if last_qty > 0 {
            self.fill(place, side, last_qty, r.last_price, r.fee_e8);
        }
        if overfill && self.mode(Some(place.0)) == Mode::AllowAll {
            self.modes.insert(Some(place.0), Mode::CancelOnly);
        }
        Some(booked)
    }

    /// What a fill for an order that is not known adds; `None`: nothing.
    pub fn stray(&self, r: &Report) -> Option<i64> {
        let sane = r.last_qty > 0 && r.last_price > 0 && r.cum_qty > 0;
        let known = self.order(r.order_id).is_some() || usize::from(r.symbol) >= self.symbols.len();
        if r.kind != ReportKind::Fill || !sane || known {
            return None;
        }
        match self.strays.get(&(r.order_id, r.symbol)) {
            None => Some(r.last_qty),
            Some(s) if r.cum_qty > s.cum && r.trade_id != s.last_trade => Some(r.cum_qty - s.cum),
            Some(_) => None,
        }
    }

    pub fn strayed(&mut self, of: (OrderId, u16), side: Side, qty: i64, cum: i64, trade: u64) {
        let stray = self.strays.entry(of).or_default();
        (stray.cum, stray.last_trade) = (cum, trade);
        stray.net += qty * side.sign();
        if self.mode(None) == Mode::AllowAll {
            self.modes.insert(None, Mode::CancelOnly);
        }
    }

    /// `docs/accounting.md`, "One fill".
    fn fill(&mut self, place: (u16, u16), side: Side, qty: i64, price: i64, fee_e8: i64) {
        let factor = self.factor(place.1);
        let p = self.positions.entry(place).or_default();
        let (sign, qty, price) = (i128::from(side.sign()), i128::from(qty), i128::from(price));
        let closed = if p.qty * sign < 0 { qty.min(p.qty.abs()) } else { 0 };
        let closed_cost = if closed > 0 { p.cost_e16 * closed / p.qty.abs() } else { 0 };
        p.realised_e16 += -sign * price * closed * factor - closed_cost;
        p.cost_e16 += sign * price * (qty - closed) * factor - closed_cost;
        p.qty += sign * qty;
        p.fees_e8 += i128::from(fee_e8);
        p.fills += 1;
    }

    /// What becomes of open orders when the gate comes back with a venue that forgot them: reports of the gate's own.
    pub fn lost(&self) -> Vec<(OrderId, ReportKind)> {
        let mut open: Vec<&Order> = self.orders.values().filter(|order| order.is_open()).collect();
        open.sort_by_key(|order| order.id);
        let fate = |o: &&Order| {
            let rests = o.order_type == OrderType::Limit && matches!(o.tif, Tif::Gtc | Tif::Day);
            match (o.acked, rests, o.amend) {
                (false, ..) => Some((o.id, ReportKind::LostBeforeSend)),
                (true, false, _) => Some((o.id, ReportKind::Expired)),
                (true, true, Some(_)) => Some((o.id, ReportKind::CancelRejected)),
                (true, true, None) => None,
            }
        };
        open.iter().filter_map(fate).collect()
    }

    /// What then goes to the venue again.
    pub fn reentries(&self) -> Vec<Sent> {
        let mut open: Vec<&Order> = self.orders.values().filter(|order| order.is_open()).collect();
        open.sort_by_key(|order| order.id);
        let mut sent = Vec::new();
        for o in open.iter().filter(|o| o.leaves() > 0) {
            sent.push((CommandKind::Reenter, o.id, o.price, o.leaves() as i64));
            if o.state == OrderState::PendingCancel {
                sent.push((CommandKind::Cancel, o.id, o.price, o.qty));
            }
        }
        sent
    }

    // The sums.

    pub fn limit(&self, scope: Scope, id: u16, limit: LimitId) -> Option<i64> {
        self.limits.get(&(scope, id, limit)).copied()
    }

    /// A limit that strategies inherit from the whole gate.
    pub fn for_strategy(&self, strategy: u16, limit: LimitId) -> Option<i64> {
        self.limit(Scope::Strategy, strategy, limit).or(self.limit(Scope::Global, 0, limit))
    }

    pub fn mode(&self, of: Option<u16>) -> Mode {
        self.modes.get(&of).copied().unwrap_or(Mode::AllowAll)
    }

    pub fn order(&self, id: OrderId) -> Option<&Order> {
        self.orders.get(&(id & SEQUENCE & (self.order_slots - 1))).filter(|order| order.id == id)
    }

    fn order_mut(&mut self, id: OrderId) -> Option<&mut Order> {
        self.orders.get_mut(&(id & SEQUENCE & (self.order_slots - 1))).filter(|order| order.id == id)
    }

    pub fn open(&self, strategy: u16) -> impl Iterator<Item = &Order> {
        self.orders.values().filter(move |order| order.strategy == strategy && order.is_open())
    }

    /// The first sequence that is free, within reach.
    pub fn next_id(&self) -> Option<OrderId> {
        let first = self.next_sequence.max(1);
        let free = |s: &u64| self.orders.get(&(s & (self.order_slots - 1))).is_none_or(|o| !o.is_open());
        (first..first + REACH).find(free).map(|sequence| u64::from(self.epoch) << 48 | sequence)
    }

    /// The mid rounded down; 0: a side is missing.
    pub fn mid(&self, symbol: u16) -> i128 {
        let (bid, ask, _) = self.quotes.get(&symbol).copied().unwrap_or_default();
        if bid > 0 && ask > 0 { (i128::from(bid) + i128::from(ask)).div_euclid(2) } else { 0 }
    }

    pub fn banded(&self, reference: i128) -> i128 {
        let band = self.limit(Scope::Global, 0, LimitId::MarketBandBps).unwrap_or(0);
        (reference * (10_000 + i128::from(band)) + 9_999) / 10_000
    }

    fn factor(&self, symbol: u16) -> i128 {
        let s = &self.symbols[usize::from(symbol)];
        10i128.pow(16 - u32::from(s.price_scale) - u32::from(s.qty_scale)) * i128::from(s.contract_multiplier)
    }

    pub fn worth(&self, symbol: u16, units: i128) -> Option<i128> {
        units.checked_mul(self.factor(symbol))
    }

    pub fn position_sum(&self, strategy: Option<u16>, symbol: u16) -> i128 {
        let of = |(s, y): &(u16, u16)| *y == symbol && strategy.is_none_or(|strategy| strategy == *s);
        self.positions.iter().filter(|(place, _)| of(place)).map(|(_, p)| p.qty).sum()
    }

    pub fn open_sum(&self, strategy: Option<u16>, symbol: u16, side: Side) -> i128 {
        let all = self.orders.values().filter(|o| o.is_open() && o.symbol == symbol && o.side == side);
        let all = all.filter(|o| strategy.is_none_or(|strategy| strategy == o.strategy));
        all.map(|o| i128::from(o.reserved_qty())).sum()
    }

    /// Cost of the positions plus what open orders reserve.
    pub fn gross(&self, scope: Scope, id: u16) -> i128 {
        let within = |strategy: u16, symbol: u16| match scope {
            Scope::Global => true,
            Scope::Account => self.accounts.get(&strategy) == Some(&id),
            Scope::Symbol => symbol == id,
            Scope::Strategy => strategy == id,
        };
        let costs = self.positions.iter().filter(|((s, y), _)| within(*s, *y));
        let orders = self.orders.values().filter(|o| o.is_open() && within(o.strategy, o.symbol));
        let reserved = orders.map(|o| o.reserved_units() * self.factor(o.symbol));
        costs.map(|(_, p)| p.cost_e16.abs()).sum::<i128>() + reserved.sum::<i128>()
    }

    fn interval(&self, strategy: u16, cancels: bool) -> Option<(u64, u64)> {
        let (rate, burst) = if cancels {
            (LimitId::CancelRatePerS, LimitId::CancelBurst)
        } else {
            (LimitId::OrderRatePerS, LimitId::OrderBurst)
        };
        let rate = self.for_strategy(strategy, rate)?;
        let burst = self.for_strategy(strategy, burst).unwrap_or(rate).max(1) as u64;
        let interval_ns = 1_000_000_000u64.div_ceil(rate as u64);
        Some((interval_ns, interval_ns * (burst - 1)))
    }

    /// `docs/accounting.md`, "Rates".
    pub fn rate(&self, strategy: u16, cancels: bool, now_ns: u64) -> Result<(), Reason> {
        let Some((_, tolerance_ns)) = self.interval(strategy, cancels) else { return Ok(()) };
        let arrival_ns = self.buckets.get(&(strategy, cancels)).copied().unwrap_or(0);
        let reason = if cancels { Reason::CancelRate } else { Reason::OrderRate };
        must(arrival_ns <= now_ns + tolerance_ns, reason)
    }

    fn drain_bucket(&mut self, strategy: u16, cancels: bool, now_ns: u64) {
        let Some((interval_ns, _)) = self.interval(strategy, cancels) else { return };
        let arrival_ns = self.buckets.entry((strategy, cancels)).or_default();
        *arrival_ns = now_ns.max(*arrival_ns) + interval_ns;
    }
}
