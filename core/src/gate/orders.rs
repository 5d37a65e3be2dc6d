//! The order table: an order id names its own slot.
//!
//! `id = epoch << 48 | sequence`, slot = sequence mod capacity. Sequences whose slot still holds an open order are skipped.
//! A final order stays readable until a later sequence takes its slot, so that a late fill finds it.

use ringfence_ipc::hint::prefetch_write;
use ringfence_ipc::msg::{
    Command, CommandKind, Key, OrderId, OrderState, OrderType, Side, StrategyId, SymbolId, Tif,
};

use super::api::OrderView;
use super::position::Contract;
use super::tables::touched;

mod saved;

/// No slot: end of a list.
pub(super) const NIL: u32 = u32::MAX;
/// Sequences tried before the table counts as full.
const PROBES: u64 = 64;
/// Bits of an order id below its epoch.
pub const SEQUENCE_BITS: u32 = 48;
const SEQUENCE: u64 = (1 << SEQUENCE_BITS) - 1;

/// Slots that are fetched for writing before their turn.
const SLOTS_AHEAD: u64 = 4;

/// Bits of [`Order::marks`].
pub(super) mod mark {
    /// The venue has answered at least once.
    pub const ACKED: u8 = 1;
    /// Waits in the cancel queue.
    pub const CANCEL_QUEUED: u8 = 2;
    /// Flattens a position.
    pub const FLATTENS: u8 = 4;
}

/// One order: two cache lines.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Order {
    /// 0: this slot was never used.
    pub id: OrderId,
    /// Scaled price; 0 for market orders.
    pub price: i64,
    /// Scaled total quantity.
    pub qty: i64,
    /// Scaled quantity filled.
    pub cum_qty: i64,
    /// What one unit of quantity reserves: the limit price, or the reference with the market band on top.
    pub reserve_price: i64,
    /// Of the amend that waits for the venue.
    pub amend_price: i64,
    /// Of the amend that waits for the venue; 0: none does.
    pub amend_qty: i64,
    /// Slots of the strategy's neighbouring open orders.
    pub prev: u32,
    /// As `prev`.
    pub next: u32,
    /// The key of the intent that asked for it.
    pub key: Key,
    /// Notional of the fills at 16 decimals, unsigned.
    pub filled_e16: i128,
    /// The last fill's trade id.
    pub last_trade_id: u64,
    /// Gate time of acceptance, ns.
    pub created_ns: u64,
    /// Index of its position.
    pub position: u32,
    /// Whose it is.
    pub strategy: StrategyId,
    /// Its symbol.
    pub symbol: SymbolId,
    /// Bits of the intent's flags.
    pub flags: u16,
    /// Buy or sell.
    pub side: Side,
    /// Limit or market.
    pub order_type: OrderType,
    /// Time in force.
    pub tif: Tif,
    /// Where it is in its life.
    pub state: OrderState,
    /// Bits of [`mark`].
    pub marks: u8,
}

const _: () = assert!(size_of::<Order>() == 128);

impl Order {
    pub const EMPTY: Self = Self {
        id: 0,
        price: 0,
        qty: 0,
        cum_qty: 0,
        reserve_price: 0,
        amend_price: 0,
        amend_qty: 0,
        prev: NIL,
        next: NIL,
        key: 0,
        filled_e16: 0,
        last_trade_id: 0,
        created_ns: 0,
        position: 0,
        strategy: 0,
        symbol: 0,
        flags: 0,
        side: Side::Buy,
        order_type: OrderType::Limit,
        tif: Tif::Gtc,
        state: OrderState::Cancelled,
        marks: 0,
    };

    pub const fn is_open(&self) -> bool {
        self.id != 0 && !self.state.is_terminal()
    }

    pub const fn has(&self, bit: u8) -> bool {
        self.marks & bit != 0
    }

    pub const fn place(&self) -> Place {
        Place { position: self.position, strategy: self.strategy, symbol: self.symbol, side: self.side }
    }

    /// Scaled quantity that may still fill under the order's current terms, never negative.
    pub const fn leaves_qty(&self) -> i64 {
        leaves(self.qty, self.cum_qty)
    }

    /// Scaled quantity that it reserves: while an amend is pending, the larger of both terms.
    pub const fn reserved_qty(&self) -> i64 {
        let qty = if self.amend_qty > self.qty { self.amend_qty } else { self.qty };
        leaves(qty, self.cum_qty)
    }

    /// `price * quantity` that it reserves: while an amend is pending, the larger of both terms. Times the symbol's
    /// notional factor it is a notional at 16 decimals; the checks before acceptance proved that this fits.
    pub const fn reserved_units(&self) -> i128 {
        let now = self.reserve_price as i128 * self.leaves_qty() as i128;
        if self.amend_qty == 0 {
            return now;
        }
        let then = self.amend_price as i128 * leaves(self.amend_qty, self.cum_qty) as i128;
        if then > now { then } else { now }
    }

    /// What an amend to these terms adds to what it reserves: quantity, and notional at 16 decimals; none: it does not fit.
    pub fn amend_adds(&self, price: i64, qty: i64, contract: &Contract) -> (i64, Option<i128>) {
        let after = Self { amend_price: price, amend_qty: qty, ..*self };
        let worth = |order: &Self| contract.notional_e16(order.reserved_units());
        let added_e16 =
            worth(&after).and_then(|after| worth(self).and_then(|before| after.checked_sub(before)));
        (after.reserved_qty() - self.reserved_qty(), added_e16)
    }

    /// The working state it is in when nothing is asked of the venue.
    pub const fn working_state(&self) -> OrderState {
        if self.cum_qty > 0 {
            OrderState::PartiallyFilled
        } else if self.has(mark::ACKED) {
            OrderState::Accepted
        } else {
            OrderState::PendingNew
        }
    }

    /// Its price, if it has one.
    pub const fn limit_price(&self) -> Option<i64> {
        match self.order_type {
            OrderType::Limit => Some(self.price),
            OrderType::Market => None,
        }
    }

    /// Whether an order of the other side would meet it at `price`; `None`: at any. While an amend is pending, under
    /// either of its terms.
    pub fn meets(&self, price: Option<i64>) -> bool {
        let reaches = |own: i64| match (price, self.side) {
            (None, _) => true,
            (Some(price), Side::Buy) => price <= own,
            (Some(price), Side::Sell) => price >= own,
        };
        self.limit_price().is_some_and(reaches) || (self.amend_qty != 0 && reaches(self.amend_price))
    }

    pub const fn command(&self, kind: CommandKind, price: i64, qty: i64, now_ns: u64) -> Command {
        Command {
            kind,
            order_id: self.id,
            symbol: self.symbol,
            side: self.side,
            order_type: self.order_type,
            tif: self.tif,
            flags: self.flags,
            price,
            qty,
            now_ns,
            key: self.key,
        }
    }

    pub const fn view(&self, account: u16) -> OrderView {
        OrderView {
            order_id: self.id,
            key: self.key,
            strategy: self.strategy,
            account,
            symbol: self.symbol,
            side: self.side,
            order_type: self.order_type,
            tif: self.tif,
            flags: self.flags,
            state: self.state,
            price: self.price,
            qty: self.qty,
            cum_qty: self.cum_qty,
            amend_price: self.amend_price,
            amend_qty: self.amend_qty,
            filled_notional_e16: self.filled_e16,
            created_ns: self.created_ns,
        }
    }
}

/// Where an order counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Index of its position.
    pub position: u32,
    /// Whose it is.
    pub strategy: StrategyId,
    /// Its symbol.
    pub symbol: SymbolId,
    /// Buy or sell.
    pub side: Side,
}

const fn leaves(qty: i64, cum_qty: i64) -> i64 {
    let leaves = qty.saturating_sub(cum_qty);
    if leaves > 0 { leaves } else { 0 }
}

/// Every order slot.
#[derive(Debug)]
pub(super) struct OrderTable {
    slots: Box<[Order]>,
    next_sequence: u64,
    open: usize,
}

impl OrderTable {
    pub fn new(slots: usize) -> Self {
        assert!(slots.is_power_of_two() && slots <= 1 << 31, "order_slots is a power of two up to 2^31");
        Self { slots: touched(slots, Order::EMPTY), next_sequence: 1, open: 0 }
    }

    pub const fn len(&self) -> usize {
        self.slots.len()
    }

    /// Orders that are not final.
    pub const fn open(&self) -> usize {
        self.open
    }

    pub const fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    #[inline(always)]
    pub fn slot_of(&self, id: OrderId) -> u32 {
        (id & SEQUENCE & (self.slots.len() as u64 - 1)) as u32
    }

    /// The order with this id, open or final, unless its slot was taken again.
    #[inline(always)]
    pub fn get(&self, id: OrderId) -> Option<&Order> {
        let order = &self.slots[self.slot_of(id) as usize];
        (order.id == id && id != 0).then_some(order)
    }

    pub fn at(&self, slot: u32) -> &Order {
        &self.slots[slot as usize & (self.slots.len() - 1)]
    }

    pub fn at_mut(&mut self, slot: u32) -> &mut Order {
        let mask = self.slots.len() - 1;
        &mut self.slots[slot as usize & mask]
    }

    /// The id that the next order gets; 0: no free slot within reach.
    #[inline(always)]
    pub fn next_id(&self, epoch: u16) -> OrderId {
        let first = self.next_sequence;
        let sequence = if first < SEQUENCE && !self.at(self.slot_of(first)).is_open() {
            first
        } else {
            match self.next_free() {
                Some(sequence) => sequence,
                None => return 0,
            }
        };
        u64::from(epoch) << SEQUENCE_BITS | sequence
    }

    /// The first sequence within reach whose slot is free.
    #[cold]
    #[inline(never)]
    fn next_free(&self) -> Option<u64> {
        let first = self.next_sequence;
        let last = first.saturating_add(PROBES).min(SEQUENCE);
        (first..last).find(|s| !self.at(self.slot_of(*s)).is_open())
    }

    /// Whether an order may enter under `id`: ids only grow, and its slot is free.
    pub fn admits(&self, id: OrderId) -> bool {
        id & SEQUENCE >= self.next_sequence && !self.at(self.slot_of(id)).is_open()
    }

    /// Puts an open order into its slot and at the end of its strategy's list.
    #[inline(always)]
    pub fn enter(&mut self, mut order: Order, list: &mut OpenList) -> u32 {
        let slot = self.slot_of(order.id);
        self.next_sequence = (order.id & SEQUENCE) + 1;
        // The table is walked round and round: by its turn a slot has left the near caches.
        let ahead = self.at(self.slot_of(order.id.wrapping_add(SLOTS_AHEAD)));
        prefetch_write(ahead);
        prefetch_write(&ahead.key);
        self.open += 1;
        (order.prev, order.next) = (list.tail, NIL);
        *self.at_mut(slot) = order;
        match list.tail {
            NIL => list.head = slot,
            tail => self.at_mut(tail).next = slot,
        }
        list.tail = slot;
        list.count += 1;
        slot
    }

    /// Takes an order that has just become final out of its strategy's list; it stays readable in its slot.
    #[inline(always)]
    pub fn leave(&mut self, slot: u32, list: &mut OpenList) {
        let Order { prev, next, .. } = *self.at(slot);
        match prev {
            NIL => list.head = next,
            prev => self.at_mut(prev).next = next,
        }
        match next {
            NIL => list.tail = prev,
            next => self.at_mut(next).prev = prev,
        }
        list.count -= 1;
        self.open -= 1;
    }

    /// The open orders of one list, oldest first.
    pub fn walk<'a>(&'a self, list: &OpenList) -> impl Iterator<Item = (u32, &'a Order)> + use<'a> {
        let first = (list.head != NIL).then_some(list.head);
        let slots = std::iter::successors(first, move |slot| {
            let next = self.at(*slot).next;
            (next != NIL).then_some(next)
        });
        // The bound only guards the loop: a list never holds more orders than there are slots.
        slots.take(self.slots.len()).map(move |slot| (slot, self.at(slot)))
    }

    /// Every order that can still be found, by slot.
    pub fn iter_known(&self) -> impl Iterator<Item = &Order> {
        self.slots.iter().filter(|order| order.id != 0)
    }

    /// Every open order, by slot.
    pub fn iter_open(&self) -> impl Iterator<Item = &Order> {
        self.slots.iter().filter(|order| order.is_open())
    }
}

/// The open orders of one strategy, oldest first: a list through the table's slots.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenList {
    /// Slot of the oldest.
    pub head: u32,
    /// Slot of the youngest.
    pub tail: u32,
    /// How many.
    pub count: u32,
}

impl OpenList {
    pub const EMPTY: Self = Self { head: NIL, tail: NIL, count: 0 };
}
