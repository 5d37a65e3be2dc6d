//! Step 6: what a journalled decision changes. Live, in recovery and in replay the same code.

use ringfence_ipc::journal::DecisionRecord;
use ringfence_ipc::msg::{IntentKind, OrderState, OrderType, Outcome, Side, SymbolId, intent_flags};
use ringfence_ipc::reason::{LimitId, Reason};

use super::exposure::{Flattening, banded};
use super::risk::{Bucket, bucket};
use crate::gate::Gate;
use crate::gate::api::Verdict;
use crate::gate::orders::{Order, Place, mark};
use crate::gate::pipeline::Plan;
use crate::gate::position::Position;
use crate::gate::window::{Entry, Probe};

impl Gate {
    /// Makes a verdict true once its record is journalled at `journal_seq`. A verdict without a record changes nothing.
    ///
    /// A verdict belongs to the state it was decided in: no other record may be applied between [`Gate::decide`] and this.
    pub fn commit(&mut self, verdict: &Verdict, journal_seq: u64) {
        if let Some(record) = &verdict.record {
            self.enact(record, verdict.plan, journal_seq);
        }
    }

    /// Applies a decision whose strategy exists and, when it was accepted, whose order fits.
    pub(in crate::gate) fn enact(&mut self, record: &DecisionRecord, plan: Plan, journal_seq: u64) {
        self.remember(record, plan, journal_seq);
        if record.outcome == Outcome::Rejected {
            return;
        }
        match record.intent.kind {
            IntentKind::New => self.enter_order(record),
            IntentKind::Cancel if record.order_id == 0 => self.reserve_key(record, journal_seq),
            IntentKind::Cancel => self.mark_cancelled(record.order_id),
            IntentKind::Amend => self.amend_order(record),
            IntentKind::MassCancel => self.cancel_all(record, None),
            IntentKind::ForceFlat => {
                self.cancel_all(record, Some(record.intent.symbol));
                self.enter_flattening(record);
            }
        }
    }

    /// The dedup entry and the rate bucket: accepted or not.
    fn remember(&mut self, record: &DecisionRecord, plan: Plan, journal_seq: u64) {
        let ttl_ns = self.limits.dedup_ttl_ns;
        let Some(Some(tables)) = self.strategies.get_mut(usize::from(record.strategy)) else { return };
        if let Some(spot) = plan.spot {
            let accepted = record.outcome == Outcome::Accepted;
            let entry = Entry {
                key: record.intent.key,
                content: plan.content,
                journal_seq,
                decided_at_ns: record.now_ns,
                value: if accepted { record.order_id } else { record.observed as u64 },
                limit: if accepted { 0 } else { record.limit },
                reason: record.reason,
                limit_id: record.limit_id,
                outcome: record.outcome,
                kind: Some(record.intent.kind),
            };
            tables.window.insert(spot, entry, record.intent.client_ts_ns, record.now_ns, ttl_ns);
        }
        if let Some(bucket) = bucket(record.intent.kind, record.ext.is_some()) {
            let (rate, arrival_ns) = bucket.of(tables);
            let after_ns = rate.after(arrival_ns, record.now_ns);
            match bucket {
                Bucket::Orders => tables.orders_arrival_ns = after_ns,
                Bucket::Cancels => tables.cancels_arrival_ns = after_ns,
            }
        }
    }

    /// A cancel came before its order: the order's key is answered with this from now on.
    fn reserve_key(&mut self, record: &DecisionRecord, journal_seq: u64) {
        let ttl_ns = self.limits.dedup_ttl_ns;
        let Some(Some(tables)) = self.strategies.get_mut(usize::from(record.strategy)) else { return };
        let key = record.intent.target_key();
        if record.intent.flags & intent_flags::BY_KEY == 0 || key == 0 {
            return;
        }
        if let Probe::Vacant(spot) = tables.window.probe(key) {
            let entry = Entry {
                key,
                content: 0,
                journal_seq,
                decided_at_ns: record.now_ns,
                value: 0,
                limit: 0,
                reason: Reason::CancelledBeforeArrival,
                limit_id: LimitId::None,
                outcome: Outcome::Rejected,
                kind: None,
            };
            tables.window.insert(spot, entry, record.intent.client_ts_ns, record.now_ns, ttl_ns);
        }
    }

    /// What one unit of a new or amended order's quantity reserves.
    pub(in crate::gate) fn reserve_price(&self, record: &DecisionRecord) -> Option<i64> {
        match record.intent.order_type {
            OrderType::Limit => Some(record.intent.price),
            OrderType::Market => banded(record.reference_price, self.limits.market_band_bps),
        }
    }

    fn enter_order(&mut self, record: &DecisionRecord) {
        let intent = &record.intent;
        let reserve_price = self.reserve_price(record).unwrap_or(0);
        let order = Order {
            id: record.order_id,
            price: intent.price,
            qty: intent.qty,
            reserve_price,
            key: intent.key,
            created_ns: record.now_ns,
            strategy: record.strategy,
            symbol: intent.symbol,
            flags: intent.flags & intent_flags::POST_ONLY,
            side: intent.side,
            order_type: intent.order_type,
            tif: intent.tif,
            state: OrderState::PendingNew,
            ..Order::EMPTY
        };
        self.enter(order);
    }

    #[cold]
    #[inline(never)]
    fn enter_flattening(&mut self, record: &DecisionRecord) {
        let flat = self
            .registered(record.strategy)
            .and_then(|tables| self.flattening(tables, record.intent.symbol, record.reference_price));
        let Some(flat) = flat else { return };
        self.enter(Order {
            id: record.order_id,
            qty: flat.qty,
            reserve_price: flat.reserve_price,
            key: record.intent.key,
            created_ns: record.now_ns,
            strategy: record.strategy,
            symbol: record.intent.symbol,
            side: flat.side,
            order_type: Flattening::ORDER_TYPE,
            tif: Flattening::TIF,
            state: OrderState::PendingNew,
            marks: mark::FLATTENS,
            ..Order::EMPTY
        });
    }

    #[inline(always)]
    fn enter(&mut self, mut order: Order) {
        let Some(position) = self.position_for(order.strategy, order.symbol) else { return };
        order.position = position;
        let Some(Some(tables)) = self.strategies.get_mut(usize::from(order.strategy)) else { return };
        let (place, qty, units) = (order.place(), order.reserved_qty(), order.reserved_units());
        self.orders.enter(order, &mut tables.open);
        self.reserve(&place, qty, units);
    }

    /// The index of a position, which exists from now on; `None`: the store is full (checked before acceptance).
    fn position_for(&mut self, strategy: u16, symbol: SymbolId) -> Option<u32> {
        let tables = self.strategies.get_mut(usize::from(strategy))?.as_deref_mut()?;
        if let Some(index) = tables.position_in(symbol) {
            return Some(index as u32);
        }
        let index = self.positions_used;
        *self.positions.get_mut(index)? = Position::flat(strategy, tables.account, symbol);
        *tables.positions.get_mut(usize::from(symbol))? = index as u32;
        self.positions_used += 1;
        let state = &mut self.symbols[usize::from(symbol)];
        self.exposed_symbols += i64::from(state.positions == 0);
        state.positions += 1;
        Some(index as u32)
    }

    /// Adds to what is reserved for an order's position: quantity on its side, `price * quantity` everywhere.
    /// Acceptance proved that the sums fit; releases are what was reserved.
    pub(in crate::gate) fn reserve(&mut self, place: &Place, qty: i64, units: i128) {
        let position = &mut self.positions[place.position as usize];
        let symbol = &mut self.symbols[usize::from(place.symbol)];
        match place.side {
            Side::Buy => {
                position.open_buys += qty;
                symbol.open_buys += qty;
            }
            Side::Sell => {
                position.open_sells += qty;
                symbol.open_sells += qty;
            }
        }
        let gross_e16 = symbol.contract.part_e16(units);
        self.add_gross(place, gross_e16);
    }

    /// Adds to the gross notional at every level.
    pub(in crate::gate) fn add_gross(&mut self, place: &Place, gross_e16: i128) {
        self.gross_e16 += gross_e16;
        self.symbols[usize::from(place.symbol)].gross_e16 += gross_e16;
        if let Some(Some(tables)) = self.strategies.get_mut(usize::from(place.strategy)) {
            tables.gross_e16 += gross_e16;
            self.accounts[usize::from(tables.account)].gross_e16 += gross_e16;
        }
    }

    fn mark_cancelled(&mut self, id: u64) {
        if let Some(order) = self.orders.get(id).filter(|o| o.is_open()).map(|o| o.id) {
            let slot = self.orders.slot_of(order);
            self.orders.at_mut(slot).state = OrderState::PendingCancel;
        }
    }

    /// The venue may hold either terms until it answers: the larger of both stays reserved.
    fn amend_order(&mut self, record: &DecisionRecord) {
        let slot = self.orders.slot_of(record.order_id);
        let order = self.orders.at_mut(slot);
        if order.id != record.order_id || !order.is_open() {
            return;
        }
        let (qty, units) = (order.reserved_qty(), order.reserved_units());
        (order.amend_price, order.amend_qty) = (record.intent.price, record.intent.qty);
        let (place, new_qty, new_units) = (order.place(), order.reserved_qty(), order.reserved_units());
        self.reserve(&place, new_qty - qty, new_units - units);
    }

    /// Every open order of the strategy (in one symbol, if given) waits for its cancel from now on.
    fn cancel_all(&mut self, record: &DecisionRecord, symbol: Option<SymbolId>) {
        let Some(Some(tables)) = self.strategies.get(usize::from(record.strategy)) else { return };
        let mut next = tables.open.head;
        for _ in 0..tables.open.count {
            let slot = next;
            let order = self.orders.at_mut(slot);
            next = order.next;
            // What flattens a position is what the caller wants to happen, unless everything is to stop.
            let concerned = symbol.is_none_or(|symbol| order.symbol == symbol && !order.has(mark::FLATTENS));
            if !concerned {
                continue;
            }
            order.state = OrderState::PendingCancel;
            if !order.has(mark::CANCEL_QUEUED) {
                order.marks |= mark::CANCEL_QUEUED;
                let id = order.id;
                self.cancels.push(id, &self.orders);
            }
        }
    }
}
