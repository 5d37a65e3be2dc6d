//! The order table to a checkpoint and back.

use ringfence_ipc::journal::checkpoint::OrderPart;

use super::{NIL, OpenList, Order, OrderTable, SEQUENCE, mark};

impl Order {
    pub const fn save(&self) -> OrderPart {
        OrderPart {
            order_id: self.id,
            price: self.price,
            qty: self.qty,
            cum_qty: self.cum_qty,
            reserve_price: self.reserve_price,
            amend_price: self.amend_price,
            amend_qty: self.amend_qty,
            key: self.key,
            filled_e16: self.filled_e16,
            last_trade_id: self.last_trade_id,
            created_ns: self.created_ns,
            strategy: self.strategy,
            symbol: self.symbol,
            flags: self.flags,
            // The queue of owed cancels is no state: a restart cancels again whatever is pending.
            marks: self.marks & !mark::CANCEL_QUEUED,
            side: self.side,
            order_type: self.order_type,
            tif: self.tif,
            state: self.state,
        }
    }

    pub const fn restore(part: &OrderPart, position: u32) -> Self {
        Self {
            id: part.order_id,
            price: part.price,
            qty: part.qty,
            cum_qty: part.cum_qty,
            reserve_price: part.reserve_price,
            amend_price: part.amend_price,
            amend_qty: part.amend_qty,
            prev: NIL,
            next: NIL,
            key: part.key,
            filled_e16: part.filled_e16,
            last_trade_id: part.last_trade_id,
            created_ns: part.created_ns,
            position,
            strategy: part.strategy,
            symbol: part.symbol,
            flags: part.flags,
            side: part.side,
            order_type: part.order_type,
            tif: part.tif,
            state: part.state,
            marks: part.marks & !mark::CANCEL_QUEUED,
        }
    }
}

impl OrderTable {
    /// Every order that can still be found, in the order in which they were entered.
    pub fn by_age(&self) -> Vec<&Order> {
        let mut orders: Vec<&Order> = self.slots.iter().filter(|order| order.id != 0).collect();
        orders.sort_unstable_by_key(|order| order.id & SEQUENCE);
        orders
    }

    /// Puts an order back; orders come in the order in which they were entered. False: an open one has its slot.
    pub fn put_back(&mut self, order: Order, list: &mut OpenList) -> bool {
        let (open, next_sequence) = (self.open, self.next_sequence);
        if order.id & SEQUENCE == 0 || self.at(self.slot_of(order.id)).is_open() {
            return false;
        }
        if order.is_open() {
            self.enter(order, list);
        } else {
            *self.at_mut(self.slot_of(order.id)) = order;
        }
        self.open = open + usize::from(order.is_open());
        self.next_sequence = next_sequence.max((order.id & SEQUENCE) + 1);
        true
    }

    /// The next order gets this sequence, or the first one behind the orders there are.
    pub fn continue_at(&mut self, sequence: u64) {
        self.next_sequence = self.next_sequence.max(sequence & SEQUENCE).max(1);
    }
}
