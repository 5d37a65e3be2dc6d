//! Own orders that rest on one side of one symbol, in price-time order.

use super::order::Order;
use crate::venue::book::Change;
use ringfence_ipc::msg::{Side, SymbolId};
use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

/// Rank by price (the lowest goes first), then by arrival.
pub(super) type Key = (i64, u64);

/// Where a resting order is found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) symbol: SymbolId,
    pub(super) side: Side,
    pub(super) key: Key,
}

/// The orders of one side, best price first, then oldest first.
#[derive(Debug)]
pub(super) struct Resting {
    side: Side,
    orders: BTreeMap<Key, Order>,
}

impl Resting {
    pub(super) const fn new(side: Side) -> Self {
        Self { side, orders: BTreeMap::new() }
    }

    /// Rests `order` behind all others at its price; `arrival` grows with every call.
    pub(super) fn insert(&mut self, order: Order, arrival: u64) -> Place {
        let key = (self.rank(order.price), arrival);
        self.orders.insert(key, order);
        Place { symbol: order.symbol, side: self.side, key }
    }

    pub(super) fn get(&self, key: Key) -> Option<&Order> {
        self.orders.get(&key)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Order> {
        self.orders.get_mut(&key)
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Order> {
        self.orders.remove(&key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Order> {
        self.orders.values()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.orders.is_empty()
    }

    /// The first order in priority after `key` (`None`: the very first).
    pub(super) fn next_after(&mut self, key: Option<Key>) -> Option<(Key, &mut Order)> {
        let from = key.map_or(Unbounded, Excluded);
        self.orders.range_mut((from, Unbounded)).next().map(|(key, order)| (*key, order))
    }

    /// Tells every order at the changed level.
    pub(super) fn level_changed(&mut self, change: &Change, ts_ns: u64) {
        let rank = self.rank(change.price);
        for (_, order) in self.orders.range_mut((rank, 0)..=(rank, u64::MAX)) {
            order.queue.level_changed(change.old_qty, change.new_qty, ts_ns);
        }
    }

    /// Scaled quantity of orders that rest at the same price and came earlier than `key`.
    pub(super) fn own_ahead(&self, key: Key) -> i64 {
        let earlier = self.orders.range((key.0, 0)..key);
        earlier.fold(0, |sum: i64, (_, order)| sum.saturating_add(order.leaves()))
    }

    /// Prices here are above 0, so the negation always holds.
    const fn rank(&self, price: i64) -> i64 {
        -price * self.side.sign()
    }
}
