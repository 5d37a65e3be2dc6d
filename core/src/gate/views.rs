//! The gate as its readers see it.

use std::collections::BTreeSet;

use ringfence_ipc::msg::{AccountId, OrderId, StrategyId, SymbolId};
use ringfence_ipc::reason::{LimitId, Mode, Scope};
use ringfence_ipc::symbol::Symbol;

use super::api::{Capacity, OrderView, PositionView, Totals};
use super::orders::{Order, SEQUENCE_BITS, mark};
use super::position::Position;
use super::{Gate, StrategyTables};

const E8: i128 = 100_000_000;

impl Gate {
    /// What it was built for.
    #[must_use]
    pub const fn capacity(&self) -> Capacity {
        self.cap
    }

    /// The life of the journal it is in: the high bits of new order ids.
    #[must_use]
    pub const fn epoch(&self) -> u16 {
        self.epoch
    }

    /// The seed for the next strategy's tables.
    #[must_use]
    pub const fn hash_seed(&self) -> u64 {
        self.hash_seed
    }

    /// Orders that are not final, in no particular order.
    pub fn open_orders(&self) -> impl Iterator<Item = OrderView> + '_ {
        self.orders.iter_open().map(|order| self.view(order))
    }

    /// Every order that can still be found, open or final, in no particular order.
    pub fn known_orders(&self) -> impl Iterator<Item = OrderView> + '_ {
        self.orders.iter_known().map(|order| self.view(order))
    }

    /// How many orders are not final.
    #[must_use]
    pub const fn open_order_count(&self) -> usize {
        self.orders.open()
    }

    /// The open orders of one strategy, oldest first.
    pub fn open_orders_of(&self, strategy: StrategyId) -> impl Iterator<Item = OrderView> + '_ {
        let tables = self.registered(strategy);
        tables.into_iter().flat_map(|t| self.orders.walk(&t.open)).map(|(_, order)| self.view(order))
    }

    /// The order with this id, final or not, while its slot is not taken again.
    #[must_use]
    pub fn order(&self, id: OrderId) -> Option<OrderView> {
        self.orders.get(id).map(|order| self.view(order))
    }

    /// Every position that ever was, in the order they began.
    pub fn positions(&self) -> impl Iterator<Item = PositionView> + '_ {
        self.positions[..self.positions_used].iter().map(|position| self.value(position))
    }

    /// One strategy's position in one symbol.
    #[must_use]
    pub fn position(&self, strategy: StrategyId, symbol: SymbolId) -> Option<PositionView> {
        self.registered(strategy).and_then(|t| self.position_of(t, symbol)).map(|p| self.value(p))
    }

    /// Sums over all positions, saturating.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let start = Totals { gross_e16: self.gross_e16, ..Totals::default() };
        self.positions().fold(start, Totals::with)
    }

    /// Sums over the positions of one account, saturating; `None`: there is no such account.
    #[must_use]
    pub fn account_totals(&self, account: AccountId) -> Option<Totals> {
        let start = Totals { gross_e16: self.gross_e16(Scope::Account, account)?, ..Totals::default() };
        Some(self.positions().filter(|p| p.account == account).fold(start, Totals::with))
    }

    /// Realised and unrealised less fees at 16 decimals, saturating, over the `count` positions from `first` on; the
    /// second is where to go on, `None` behind the last.
    #[must_use]
    pub(super) fn pnl_part_e16(&self, first: usize, count: usize) -> (i128, Option<usize>) {
        let end = first.saturating_add(count).min(self.positions_used);
        let part = self.positions.get(first..end).unwrap_or_default().iter().map(|p| self.value(p));
        let pnl_e16 = part.fold(0i128, |sum, p| {
            let gained_e16 = p.realised_e16.saturating_add(p.unrealised_e16);
            sum.saturating_add(gained_e16).saturating_sub(p.fees_e8.saturating_mul(E8))
        });
        (pnl_e16, (end < self.positions_used).then_some(end))
    }

    /// Realised and unrealised less fees over all positions, 1e-8, saturating.
    #[must_use]
    pub fn pnl_e8(&self) -> i64 {
        pnl_e8(self.pnl_part_e16(0, usize::MAX).0)
    }

    /// Worst-case gross notional of one scope at 16 decimals; `None`: there is no such account, symbol or strategy.
    #[must_use]
    pub fn gross_e16(&self, scope: Scope, scope_id: u16) -> Option<i128> {
        let id = usize::from(scope_id);
        match scope {
            Scope::Global => Some(self.gross_e16),
            Scope::Account => self.accounts.get(id).map(|a| a.gross_e16),
            Scope::Symbol => self.symbols.get(id).filter(|s| s.known).map(|s| s.gross_e16),
            Scope::Strategy => self.registered(scope_id).map(|t| t.gross_e16),
        }
    }

    /// Whether any symbol ever had a price.
    #[must_use]
    pub fn has_seen_a_market(&self) -> bool {
        self.symbols.iter().any(|symbol| symbol.marked_ns > 0)
    }

    /// The id of the order that was accepted last, if any was.
    #[must_use]
    pub const fn newest_order_id(&self) -> OrderId {
        (self.epoch as u64) << SEQUENCE_BITS | (self.orders.next_sequence() - 1)
    }

    /// Since when, gate time ns, an open order waits for the venue's first word; `None`: it does not.
    #[must_use]
    pub fn unanswered_since_ns(&self, id: OrderId) -> Option<u64> {
        let order = self.orders.get(id).filter(|order| order.is_open() && !order.has(mark::ACKED));
        order.map(|order| order.created_ns)
    }

    /// The mode of the whole gate (`None`) or of one strategy without the gate's; unknown strategies pass nothing.
    #[must_use]
    pub fn mode(&self, strategy: Option<StrategyId>) -> Mode {
        match strategy {
            None => self.mode,
            Some(id) => self.registered(id).map_or(Mode::RejectAll, |t| t.mode),
        }
    }

    /// The value of a limit set for exactly this scope; `None`: not set.
    #[must_use]
    pub fn limit(&self, scope: Scope, scope_id: u16, limit: LimitId) -> Option<i64> {
        let (sets, id) = (&self.limit_sets, usize::from(scope_id));
        match scope {
            Scope::Global => Some(&sets.global),
            Scope::Account => sets.accounts.get(id),
            Scope::Symbol => sets.symbols.get(id),
            Scope::Strategy => sets.strategies.get(id),
        }?
        .get(limit)
    }

    /// The version of the configuration in force, and the digest of the file's limits that it stands on; `None`: the
    /// records of that version are not all there, as when the gate died while it wrote them.
    #[must_use]
    pub fn config(&self) -> (u64, Option<u128>) {
        let config = &self.config;
        (config.version, (config.version > 0 && config.missing == 0).then_some(config.digest))
    }

    /// Every limit that is set: scope, id, limit, value.
    pub fn limits(&self) -> impl Iterator<Item = (Scope, u16, LimitId, i64)> + '_ {
        let sets = &self.limit_sets;
        let scopes = [
            (Scope::Global, std::slice::from_ref(&sets.global)),
            (Scope::Account, &sets.accounts),
            (Scope::Symbol, &sets.symbols),
            (Scope::Strategy, &sets.strategies),
        ];
        scopes.into_iter().flat_map(|(scope, sets)| {
            let numbered = sets.iter().zip(0u16..);
            numbered
                .flat_map(move |(set, id)| set.iter().map(move |(limit, value)| (scope, id, limit, value)))
        })
    }

    /// What a strategy may trade; none: everything.
    #[must_use]
    pub fn entitled(&self, strategy: StrategyId) -> Option<BTreeSet<SymbolId>> {
        self.entitlements.of(strategy)
    }

    /// A symbol of the table.
    #[must_use]
    pub fn symbol(&self, id: SymbolId) -> Option<Symbol> {
        self.symbols.get(usize::from(id)).filter(|s| s.known).map(|s| s.symbol)
    }

    /// Every strategy that may trade, by id.
    pub fn strategies(&self) -> impl Iterator<Item = (StrategyId, AccountId, &str)> + '_ {
        self.strategies.iter().flatten().filter(|t| t.registered).map(|t| (t.id, t.account, t.name()))
    }

    /// The strategy known under this name, and its account.
    #[must_use]
    pub fn strategy_by_name(&self, name: &str) -> Option<(StrategyId, AccountId)> {
        self.strategies().find(|(_, _, n)| *n == name).map(|(id, account, _)| (id, account))
    }

    /// The lowest strategy id that is free, if any.
    #[must_use]
    pub fn free_strategy_id(&self) -> Option<StrategyId> {
        (0..self.cap.max_strategies).find(|id| self.strategies[usize::from(*id)].is_none())
    }

    /// Keys remembered over all strategies.
    #[must_use]
    pub fn dedup_keys(&self) -> u64 {
        self.strategies.iter().flatten().map(|t| t.window.keys()).sum()
    }

    /// How far back the shortest dedup window in use reaches, ns; 0: none is in use.
    #[must_use]
    pub fn dedup_effective_age_ns(&self, now_ns: u64) -> u64 {
        let ages = self.strategies.iter().flatten().filter(|t| t.window.keys() > 0);
        ages.map(|t| t.window.age_ns(now_ns)).min().unwrap_or(0)
    }

    fn view(&self, order: &Order) -> OrderView {
        order.view(self.registered(order.strategy).map_or(0, |t| t.account))
    }

    fn value(&self, p: &Position) -> PositionView {
        let symbol = &self.symbols[usize::from(p.symbol)];
        let mark_price = symbol.mark_price;
        let unrealised_e16 =
            if mark_price > 0 || p.qty == 0 { p.unrealised_e16(&symbol.contract, mark_price) } else { 0 };
        PositionView {
            strategy: p.strategy,
            account: p.account,
            symbol: p.symbol,
            qty: p.qty,
            open_buys: p.open_buys,
            open_sells: p.open_sells,
            cost_e16: p.cost_e16,
            realised_e16: p.realised_e16,
            unrealised_e16,
            fees_e8: p.fees_e8,
            fills: p.fills,
            mark_price,
        }
    }
}

/// 16 decimals as 8, rounded down, saturating.
pub(super) fn pnl_e8(pnl_e16: i128) -> i64 {
    let e8 = pnl_e16.div_euclid(E8);
    e8.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

impl StrategyTables {
    fn name(&self) -> &str {
        let len = self.name.iter().position(|b| *b == 0).unwrap_or(self.name.len());
        std::str::from_utf8(&self.name[..len]).unwrap_or("?")
    }
}
