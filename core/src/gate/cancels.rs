//! Cancels that a mass cancel, a control record or a force flat still owes the venue, in the order they were owed.
//!
//! Not decision state: after a restart every order in `PENDING_CANCEL` is cancelled again anyway.

use ringfence_ipc::msg::{Command, CommandKind, OrderId, OrderState, StrategyId};

use super::Gate;
use super::orders::{Order, OrderTable, mark};
use super::tables::touched;

/// A FIFO of order ids; orders carry [`mark::CANCEL_QUEUED`] while they wait, so each waits at most once.
#[derive(Debug)]
pub(super) struct CancelQueue {
    ids: Box<[OrderId]>,
    head: usize,
    len: usize,
}

impl CancelQueue {
    pub fn new(capacity: usize) -> Self {
        Self { ids: touched(capacity, 0), head: 0, len: 0 }
    }

    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Queues an open order whose mark the caller has just set.
    pub fn push(&mut self, id: OrderId, orders: &OrderTable) {
        if self.len == self.ids.len() {
            self.drop_settled(orders);
        }
        let at = (self.head + self.len) % self.ids.len();
        self.ids[at] = id;
        self.len += 1;
    }

    fn pop(&mut self) -> Option<OrderId> {
        self.len = self.len.checked_sub(1)?;
        let id = self.ids[self.head];
        self.head = (self.head + 1) % self.ids.len();
        Some(id)
    }

    /// Forgets ids whose order is final. What stays are distinct open orders other than the one that is being pushed:
    /// fewer than there are slots, so there is room again.
    #[cold]
    fn drop_settled(&mut self, orders: &OrderTable) {
        let len = std::mem::take(&mut self.len);
        for n in 0..len {
            let id = self.ids[(self.head + n) % self.ids.len()];
            if waits(orders, id).is_some() {
                let at = (self.head + self.len) % self.ids.len();
                self.ids[at] = id;
                self.len += 1;
            }
        }
    }
}

/// The order of a queued id, unless it is final by now.
fn waits(orders: &OrderTable, id: OrderId) -> Option<&Order> {
    orders.get(id).filter(|o| o.is_open() && o.has(mark::CANCEL_QUEUED))
}

impl Gate {
    /// The strategy's open orders that are `concerned` wait for their cancel from now on.
    pub(super) fn queue_cancels(&mut self, strategy: StrategyId, concerned: impl Fn(&Order) -> bool) {
        let Some(Some(tables)) = self.strategies.get(usize::from(strategy)) else { return };
        let mut next = tables.open.head;
        for _ in 0..tables.open.count {
            let slot = next;
            let order = self.orders.at_mut(slot);
            next = order.next;
            if !concerned(order) {
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

    /// The next cancel that an accepted mass cancel or force flat still owes the venue; `None`: none is owed.
    /// Call it only with room in the venue's ring.
    pub fn next_mass_cancel(&mut self, now_ns: u64) -> Option<Command> {
        // Bounded by the queue: every turn takes one id out.
        while let Some(id) = self.cancels.pop() {
            if waits(&self.orders, id).is_none() {
                continue;
            }
            let slot = self.orders.slot_of(id);
            let order = self.orders.at_mut(slot);
            order.marks &= !mark::CANCEL_QUEUED;
            // Since then the venue may have refused an earlier cancel, and with it settled this one.
            if order.state == OrderState::PendingCancel {
                return Some(order.command(CommandKind::Cancel, order.price, order.qty, now_ns));
            }
        }
        None
    }

    /// Cancels that are owed at most.
    #[must_use]
    pub fn mass_cancels_owed(&self) -> usize {
        self.cancels.len
    }
}
