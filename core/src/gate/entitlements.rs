//! Which strategy may trade which symbol. A strategy that was given nothing by name may trade everything.

use std::collections::BTreeSet;

use ringfence_ipc::journal::LimitRecord;
use ringfence_ipc::msg::{StrategyId, SymbolId};

use super::tables::touched;

/// The table, one row per strategy id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entitlements {
    symbols: usize,
    /// Rows that begin with nothing.
    restricted: Box<[bool]>,
    given: Box<[bool]>,
}

impl Entitlements {
    pub fn new(strategies: u16, symbols: u16) -> Self {
        let (strategies, symbols) = (usize::from(strategies), usize::from(symbols));
        Self { symbols, restricted: touched(strategies, false), given: touched(strategies * symbols, false) }
    }

    /// The same in a table of another size. Allocates.
    pub fn resized(&self, strategies: u16, symbols: u16) -> Self {
        let mut table = Self::new(strategies, symbols);
        for (strategy, symbol) in self.iter() {
            if let Some(restricted) = table.restricted.get_mut(usize::from(strategy)) {
                *restricted = true;
            }
            if let Some(symbol) = symbol {
                table.set(strategy, i64::from(symbol) + 1);
            }
        }
        table
    }

    #[inline(always)]
    pub fn allow(&self, strategy: StrategyId, symbol: SymbolId) -> bool {
        let (strategy, symbol) = (usize::from(strategy), usize::from(symbol));
        !self.restricted.get(strategy).copied().unwrap_or(true)
            || (symbol < self.symbols
                && self.given.get(strategy * self.symbols + symbol).copied() == Some(true))
    }

    /// Takes over the value of an entitlement: `symbol + 1` gives, its negative takes, [`LimitRecord::NOT_SET`] gives
    /// everything. False: there is no such place.
    pub fn set(&mut self, strategy: StrategyId, value: i64) -> bool {
        if value == LimitRecord::NOT_SET {
            let row = usize::from(strategy) * self.symbols;
            let Some(restricted) = self.restricted.get_mut(usize::from(strategy)) else { return false };
            *restricted = false;
            self.given[row..row + self.symbols].fill(false);
            return true;
        }
        let symbol = usize::try_from(value.unsigned_abs()).ok().and_then(|n| n.checked_sub(1));
        let Some(symbol) = symbol.filter(|symbol| *symbol < self.symbols) else { return false };
        let strategy = usize::from(strategy);
        let Some(restricted) = self.restricted.get_mut(strategy) else { return false };
        *restricted = true;
        self.given[strategy * self.symbols + symbol] = value > 0;
        true
    }

    /// What a strategy may trade; none: everything.
    pub fn of(&self, strategy: StrategyId) -> Option<BTreeSet<SymbolId>> {
        let row = usize::from(strategy) * self.symbols;
        let given = || (0u16..).zip(&self.given[row..row + self.symbols]).filter(|(_, given)| **given);
        let restricted = self.restricted.get(usize::from(strategy)).copied().unwrap_or(false);
        restricted.then(|| given().map(|(symbol, _)| symbol).collect())
    }

    /// Every (strategy, symbol) that was given, and (strategy, none) first for each that is restricted, in order.
    pub fn iter(&self) -> impl Iterator<Item = (StrategyId, Option<SymbolId>)> + '_ {
        let rows = (0u16..).zip(&self.restricted).filter(|(_, restricted)| **restricted);
        rows.flat_map(move |(strategy, _)| {
            let row = usize::from(strategy) * self.symbols;
            let given = (0u16..).zip(&self.given[row..row + self.symbols]).filter(|(_, given)| **given);
            std::iter::once((strategy, None)).chain(given.map(move |(symbol, _)| (strategy, Some(symbol))))
        })
    }
}
