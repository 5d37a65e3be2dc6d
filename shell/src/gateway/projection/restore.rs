//! A projection that begins at a checkpoint: open orders, positions and marks are known, finished orders and events from
//! before it are not.

use std::collections::HashMap;

use ringfence_ipc::journal::checkpoint::{
    Checkpoint, CheckpointError, EntitlementPart, GatePart, LimitPart, NotePart, OrderPart, Part, PastPart,
    PositionPart, StrategyPart, SymbolPart,
};
use ringfence_ipc::journal::{MarkRecord, StrategyRecord};
use ringfence_ipc::msg::AccountId;
use ringfence_ipc::reason::Mode;

use super::orders::Order;
use super::{Position, Projection, put};

impl Projection {
    /// What HTTP users see at the checkpoint's position.
    ///
    /// # Errors
    /// [`CheckpointError`] when a part cannot be read.
    pub fn restore(saved: &Checkpoint) -> Result<Self, CheckpointError> {
        let mut p = Self::default();
        for item in saved.items(Part::Gate) {
            let gate = GatePart::decode(&item)?;
            p.epoch = gate.epoch;
            p.guard.mode = gate.mode;
            (p.guard.storm.state, p.guard.storm.cause) = (gate.storm, gate.storm_cause);
            p.guard.storm.since_ns = gate.storm_since_ns;
            if gate.config_version > 0 {
                p.limits.begin(saved.header().position, gate.config_version, 0);
            }
        }
        for item in saved.items(Part::Limits) {
            let LimitPart { scope, scope_id, limit, value } = LimitPart::decode(&item)?;
            p.limits.set((scope, scope_id, limit), value);
        }
        for item in saved.items(Part::Entitlements) {
            let part = EntitlementPart::decode(&item)?;
            p.limits.entitle(part.strategy, part.value());
        }
        for item in saved.items(Part::Symbols) {
            p.restore_symbol(&SymbolPart::decode(&item)?);
        }
        for item in saved.items(Part::Strategies) {
            let StrategyPart { strategy, account, name, mode, .. } = StrategyPart::decode(&item)?;
            if mode != Mode::AllowAll {
                p.guard.strategies.insert(strategy, mode);
            }
            put(&mut p.names.strategies, strategy, StrategyRecord { strategy, account, name, now_ns: 0 });
        }
        for item in saved.items(Part::Positions) {
            let part = PositionPart::decode(&item);
            p.ledger.restore(part.strategy, part.symbol, position(&part));
        }
        let notes = saved.items(Part::Notes).map(|item| NotePart::decode(&item));
        let notes: HashMap<u64, NotePart> =
            notes.map(|note| note.map(|note| (note.order_id, note))).collect::<Result<_, _>>()?;
        for item in saved.items(Part::Orders) {
            let part = OrderPart::decode(&item)?;
            if let Some(note) = notes.get(&part.order_id).filter(|_| !part.state.is_terminal()) {
                p.restore_order(&part, note);
            }
        }
        for item in saved.items(Part::Past) {
            let past = PastPart::decode(&item);
            (p.counts.records, p.now_ns) = (past.records, past.last_ns);
        }
        p.position = saved.header().position.saturating_sub(1);
        Ok(p)
    }

    fn restore_symbol(&mut self, part: &SymbolPart) {
        put(&mut self.names.symbols, part.id, part.symbol);
        if part.marked_ns > 0 {
            let mark = MarkRecord {
                symbol: part.id,
                now_ns: part.marked_ns,
                bid_price: part.bid_price,
                ask_price: part.ask_price,
                last_price: part.last_price,
                event: 0,
            };
            put(&mut self.marks, part.id, mark);
        }
    }

    fn restore_order(&mut self, part: &OrderPart, note: &NotePart) {
        let account: AccountId = self.names.strategy(part.strategy).map_or(0, |strategy| strategy.account);
        let factor = self.names.symbol(part.symbol).map_or(1, |symbol| symbol.notional_factor());
        self.orders.restore(Order::restore(account, part, note, part.filled_e16 / factor.max(1)));
    }
}

/// Cash moved is what was realised less what is still tied up.
fn position(part: &PositionPart) -> Position {
    Position {
        qty: part.qty,
        cost_e16: part.cost_e16,
        realised_e16: part.realised_e16,
        fees_e8: part.fees_e8,
        cash_e16: part.realised_e16.saturating_sub(part.cost_e16),
        fills: part.fills,
    }
}
