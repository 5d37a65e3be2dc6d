//! Step 6: what a journalled decision changes. Live, in recovery and in replay the same code.

use ringfence_ipc::journal::DecisionRecord;
use ringfence_ipc::msg::{IntentKind, OrderState, OrderType, Outcome, Side, SymbolId, intent_flags};
use ringfence_ipc::reason::{LimitId, Reason};

use super::exposure::{Flattening, banded};
use super::risk::{Bucket, bucket};
use crate::gate::Gate;
use crate::gate::api::Effect;
use crate::gate::orders::{Order, Place, mark};
use crate::gate::pipeline::Plan;
use crate::gate::position::Position;
use crate::gate::window::{Entry, Probe};

impl Gate {
    /// Makes a decision true once its record is journalled at `journal_seq`.
    #[inline(always)]
    pub fn commit(&mut self, effect: &Effect, journal_seq: u64) {
        if effect.intent.kind == IntentKind::New && effect.outcome == Outcome::Accepted {
            self.remember(effect, journal_seq);
            self.enter_order(effect);
        } else {
            // A copy: what only a rare path reads need not be in memory on the way of every order.
            self.commit_any(&{ *effect }, journal_seq);
        }
    }

    /// Applies a decision whose strategy exists and, when it was accepted, whose order fits.
    pub(in crate::gate) fn enact(&mut self, record: &DecisionRecord, plan: Plan, journal_seq: u64) {
        let reserve_price = self.reserve_price(record).unwrap_or(0);
        self.commit(&Effect::of(record, plan, reserve_price), journal_seq);
    }

    #[inline(never)]
    fn commit_any(&mut self, effect: &Effect, journal_seq: u64) {
        self.remember(effect, journal_seq);
        if effect.outcome == Outcome::Rejected {
            return;
        }
        match effect.intent.kind {
            IntentKind::New => self.enter_order(effect),
            IntentKind::Cancel if effect.value == 0 => self.reserve_key(effect, journal_seq),
            IntentKind::Cancel => self.mark_cancelled(effect.value),
            IntentKind::Amend => self.amend_order(effect),
            IntentKind::MassCancel => self.cancel_all(effect, None),
            IntentKind::ForceFlat => {
                self.cancel_all(effect, Some(effect.intent.symbol));
                self.enter_flattening(effect);
            }
        }
    }

    /// The dedup entry and the rate bucket: accepted or not.
    #[inline(always)]
    fn remember(&mut self, effect: &Effect, journal_seq: u64) {
        self.keep_day(effect.now_ns);
        let ttl_ns = self.limits.dedup_ttl_ns;
        let Some(Some(tables)) = self.strategies.get_mut(usize::from(effect.strategy)) else { return };
        tables.conduct.messages += 1;
        if let Some(spot) = effect.plan.spot {
            let entry = Entry {
                key: effect.intent.key,
                content: effect.plan.content,
                journal_seq,
                decided_at_ns: effect.now_ns,
                value: effect.value,
                limit: effect.limit,
                reason: effect.reason,
                limit_id: effect.limit_id,
                outcome: effect.outcome,
                kind: Some(effect.intent.kind),
            };
            tables.window.insert(spot, entry, effect.intent.client_ts_ns, effect.now_ns, ttl_ns);
        }
        if let Some(bucket) = bucket(effect.intent.kind, effect.operator) {
            let (rate, arrival_ns) = bucket.of(tables);
            let after_ns = rate.after(arrival_ns, effect.now_ns);
            match bucket {
                Bucket::Orders => {
                    tables.orders_arrival_ns = after_ns;
                    self.count_order(effect.intent.symbol, effect.now_ns);
                }
                Bucket::Cancels => tables.cancels_arrival_ns = after_ns,
            }
        }
    }

    /// One more order or amend, in the buckets that all strategies share.
    #[inline(always)]
    fn count_order(&mut self, symbol: SymbolId, now_ns: u64) {
        self.orders_arrival_ns = self.limits.orders.after(self.orders_arrival_ns, now_ns);
        if let Some(state) = self.symbols.get_mut(usize::from(symbol)) {
            state.orders_arrival_ns = state.limits.orders.after(state.orders_arrival_ns, now_ns);
        }
    }

    /// A cancel came before its order: the order's key is answered with this from now on.
    fn reserve_key(&mut self, effect: &Effect, journal_seq: u64) {
        let ttl_ns = self.limits.dedup_ttl_ns;
        let Some(Some(tables)) = self.strategies.get_mut(usize::from(effect.strategy)) else { return };
        let key = effect.intent.target_key();
        if effect.intent.flags & intent_flags::BY_KEY == 0 || key == 0 {
            return;
        }
        if let Probe::Vacant(spot) = tables.window.probe(key) {
            let entry = Entry {
                key,
                content: 0,
                journal_seq,
                decided_at_ns: effect.now_ns,
                value: 0,
                limit: 0,
                reason: Reason::CancelledBeforeArrival,
                limit_id: LimitId::None,
                outcome: Outcome::Rejected,
                kind: None,
            };
            tables.window.insert(spot, entry, effect.intent.client_ts_ns, effect.now_ns, ttl_ns);
        }
    }

    /// What one unit of a new or amended order's quantity reserves.
    pub(in crate::gate) fn reserve_price(&self, record: &DecisionRecord) -> Option<i64> {
        match record.intent.order_type {
            OrderType::Limit => Some(record.intent.price),
            OrderType::Market => banded(record.reference_price, self.limits.market_band_bps),
        }
    }

    #[inline(always)]
    fn enter_order(&mut self, effect: &Effect) {
        let intent = &effect.intent;
        if let Some(Some(tables)) = self.strategies.get_mut(usize::from(effect.strategy)) {
            tables.conduct.entered(effect.plan.content, effect.now_ns, &tables.limits);
        }
        self.enter(Order {
            id: effect.value,
            price: intent.price,
            qty: intent.qty,
            reserve_price: effect.reserve_price,
            key: intent.key,
            created_ns: effect.now_ns,
            strategy: effect.strategy,
            symbol: intent.symbol,
            flags: intent.flags & intent_flags::POST_ONLY,
            side: intent.side,
            order_type: intent.order_type,
            tif: intent.tif,
            state: OrderState::PendingNew,
            ..Order::EMPTY
        });
    }

    #[cold]
    #[inline(never)]
    fn enter_flattening(&mut self, effect: &Effect) {
        let flat = self
            .registered(effect.strategy)
            .and_then(|tables| self.flattening(tables, effect.intent.symbol, effect.reference_price));
        let Some(flat) = flat else { return };
        self.enter(Order {
            id: effect.value,
            qty: flat.qty,
            reserve_price: flat.reserve_price,
            key: effect.intent.key,
            created_ns: effect.now_ns,
            strategy: effect.strategy,
            symbol: effect.intent.symbol,
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
        let limit_price = order.limit_price();
        self.orders.enter(order, &mut tables.open);
        self.reserve(&place, qty, units);
        self.widen(&place, limit_price);
    }

    /// The index of a position, which exists from now on; `None`: the store is full (checked before acceptance).
    #[inline(always)]
    pub(in crate::gate) fn position_for(&mut self, strategy: u16, symbol: SymbolId) -> Option<u32> {
        match self.strategies.get(usize::from(strategy))?.as_deref()?.position_in(symbol) {
            Some(index) => Some(index as u32),
            None => self.open_position(strategy, symbol),
        }
    }

    #[cold]
    #[inline(never)]
    fn open_position(&mut self, strategy: u16, symbol: SymbolId) -> Option<u32> {
        let tables = self.strategies.get_mut(usize::from(strategy))?.as_deref_mut()?;
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
    #[inline(always)]
    pub(in crate::gate) fn reserve(&mut self, place: &Place, qty: i64, units: i128) {
        let position = &mut self.positions[place.position as usize];
        let symbol = &mut self.symbols[usize::from(place.symbol)];
        match place.side {
            Side::Buy => {
                position.open_buys += qty;
                symbol.open_buys += qty;
                position.highest_buy = if position.open_buys == 0 { i64::MIN } else { position.highest_buy };
            }
            Side::Sell => {
                position.open_sells += qty;
                symbol.open_sells += qty;
                position.lowest_sell = if position.open_sells == 0 { i64::MAX } else { position.lowest_sell };
            }
        }
        let gross_e16 = symbol.contract.part_e16(units);
        self.add_gross(place, gross_e16);
    }

    /// Adds to the gross notional at every level.
    #[inline(always)]
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
    fn amend_order(&mut self, effect: &Effect) {
        let slot = self.orders.slot_of(effect.value);
        let order = self.orders.at_mut(slot);
        if order.id != effect.value || !order.is_open() {
            return;
        }
        let (qty, units) = (order.reserved_qty(), order.reserved_units());
        (order.amend_price, order.amend_qty) = (effect.intent.price, effect.intent.qty);
        let (place, new_qty, new_units) = (order.place(), order.reserved_qty(), order.reserved_units());
        self.reserve(&place, new_qty - qty, new_units - units);
        self.widen(&place, Some(effect.intent.price));
    }

    /// A limit order may rest at `limit_price` from now on.
    #[inline(always)]
    fn widen(&mut self, place: &Place, limit_price: Option<i64>) {
        let Some(price) = limit_price else { return };
        let position = &mut self.positions[place.position as usize];
        match place.side {
            Side::Buy => position.highest_buy = position.highest_buy.max(price),
            Side::Sell => position.lowest_sell = position.lowest_sell.min(price),
        }
    }

    /// Every open order of the strategy (in one symbol, if given) waits for its cancel from now on.
    fn cancel_all(&mut self, effect: &Effect, symbol: Option<SymbolId>) {
        // What flattens a position is what the caller wants to happen, unless everything is to stop.
        self.queue_cancels(effect.strategy, |order| {
            symbol.is_none_or(|symbol| order.symbol == symbol && !order.has(mark::FLATTENS))
        });
    }
}
