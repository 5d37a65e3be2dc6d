//! The state hash: SHA-256 over the sorted canonical encoding of everything a later decision can depend on.
//!
//! Every number is little-endian and fixed in width, every list is sorted by its own key and preceded by its length. Slot
//! numbers, list links, hash seeds, journal positions, live prices and the clock are no part of it: the same records
//! give the same hash in every process and on every machine.

use sha2::{Digest, Sha256};

use super::Gate;
use super::orders::Order;
use super::tables::StrategyTables;
use super::window::Entry;

struct Canon(Sha256);

impl Canon {
    fn u64(&mut self, value: u64) -> &mut Self {
        self.0.update(value.to_le_bytes());
        self
    }

    fn i64(&mut self, value: i64) -> &mut Self {
        self.0.update(value.to_le_bytes());
        self
    }

    fn u128(&mut self, value: u128) -> &mut Self {
        self.0.update(value.to_le_bytes());
        self
    }

    fn i128(&mut self, value: i128) -> &mut Self {
        self.0.update(value.to_le_bytes());
        self
    }

    /// The head of a list: what it is, and how many follow.
    fn list(&mut self, name: &str, len: usize) -> &mut Self {
        self.0.update(name.as_bytes());
        self.u64(len as u64)
    }

    fn order(&mut self, o: &Order) {
        self.u64(o.id)
            .u128(o.key)
            .u64(u64::from(o.strategy))
            .u64(u64::from(o.symbol))
            .u64(u64::from(o.flags));
        self.u64(o.side as u64).u64(o.order_type as u64).u64(o.tif as u64).u64(o.state as u64);
        self.i64(o.price).i64(o.qty).i64(o.cum_qty).i64(o.reserve_price).i64(o.amend_price).i64(o.amend_qty);
        self.i128(o.filled_e16).u64(o.last_trade_id).u64(o.created_ns);
    }

    fn entry(&mut self, e: &Entry) {
        self.u128(e.key).u64(e.kind.map_or(0, |kind| kind as u64)).u64(e.outcome as u64).u64(e.reason as u64);
        self.u64(e.limit_id as u64).u64(e.value).i64(e.limit).u64(e.decided_at_ns);
    }

    fn strategy(&mut self, t: &StrategyTables) {
        self.u64(u64::from(t.id)).u64(u64::from(t.account)).u64(t.mode as u64).i128(t.gross_e16);
        self.0.update(t.name);
        self.u64(t.orders_arrival_ns).u64(t.cancels_arrival_ns).u64(t.window.horizon_ns());
        let c = &t.conduct;
        self.i64(c.repeats).u64(c.repeat_since_ns).i64(c.messages).i64(c.fills);
        self.i128(c.day_base_e16).i128(c.pnl_e16);
        let mut entries: Vec<&Entry> = t.window.entries().collect();
        entries.sort_unstable_by_key(|entry| entry.key);
        self.list("dedup", entries.len());
        entries.into_iter().for_each(|entry| self.entry(entry));
    }
}

impl Gate {
    /// SHA-256 over the decision state: open orders, positions, exposure, dedup outcomes, rate buckets, modes, limits,
    /// marks and the next order sequence. Allocates; not for the hot path.
    #[must_use]
    pub fn state_hash(&self) -> [u8; 32] {
        let mut canon = Canon(Sha256::new());
        canon.list("gate", 1).u64(self.mode as u64).i128(self.gross_e16).u64(self.orders.next_sequence());
        canon.u64(self.orders_arrival_ns).u64(self.day_ends_ns);
        let storm = self.storm();
        canon.u64(storm.state as u64).u64(storm.cause as u64).u64(storm.since_ns).i64(storm.pnl_peak_e8);

        let limits: Vec<_> = self.limits().collect();
        canon.list("limits", limits.len());
        for (scope, id, limit, value) in limits {
            canon.u64(scope as u64).u64(u64::from(id)).u64(limit as u64).i64(value);
        }

        canon.list("symbols", self.symbols.iter().filter(|s| s.known).count());
        for (id, s) in (0u64..).zip(&self.symbols).filter(|(_, s)| s.known) {
            canon.u64(id).i64(s.qty).i64(s.open_buys).i64(s.open_sells).i128(s.gross_e16);
            canon.u64(s.orders_arrival_ns);
            canon.i64(s.marked.bid).i64(s.marked.ask).i64(s.marked.last).i64(s.mark_price);
            canon.0.update(s.symbol.name);
            canon.u64(u64::from(s.symbol.price_scale)).u64(u64::from(s.symbol.qty_scale));
            canon.i64(s.symbol.tick).i64(s.symbol.lot).u64(u64::from(s.symbol.contract_multiplier));
        }

        canon.list("entitlements", self.entitlements.iter().count());
        for (strategy, symbol) in self.entitlements.iter() {
            canon.u64(u64::from(strategy)).u64(symbol.map_or(0, |symbol| u64::from(symbol) + 1));
        }

        let accounts: Vec<_> = (0u64..).zip(&self.accounts).filter(|(_, a)| a.gross_e16 != 0).collect();
        canon.list("accounts", accounts.len());
        for (id, account) in accounts {
            canon.u64(id).i128(account.gross_e16);
        }

        canon.list("strategies", self.strategies().count());
        self.strategies.iter().flatten().filter(|t| t.registered).for_each(|t| canon.strategy(t));

        let mut positions: Vec<_> = self.positions[..self.positions_used].iter().collect();
        positions.sort_unstable_by_key(|p| (p.strategy, p.symbol));
        canon.list("positions", positions.len());
        for p in positions {
            canon
                .u64(u64::from(p.strategy))
                .u64(u64::from(p.symbol))
                .i64(p.qty)
                .i64(p.open_buys)
                .i64(p.open_sells);
            canon.i128(p.cost_e16).i128(p.realised_e16).i128(p.fees_e8).u64(p.fills);
        }

        let mut orders: Vec<_> = self.orders.iter_open().collect();
        orders.sort_unstable_by_key(|order| order.id);
        canon.list("orders", orders.len());
        orders.into_iter().for_each(|order| canon.order(order));

        let mut strays: Vec<_> = self.strays.iter().collect();
        strays.sort_unstable_by_key(|s| (s.order_id, s.symbol));
        canon.list("strays", strays.len());
        for s in strays {
            canon.u64(s.order_id).u64(u64::from(s.symbol)).i64(s.cum_qty).i64(s.net_qty);
            canon.u64(s.last_trade_id).u64(s.fills);
        }
        canon.0.finalize().into()
    }
}
