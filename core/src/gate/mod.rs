//! The gate as a state machine without IO: it takes the clock as input and returns what should happen.
//!
//! ```text
//!  decide(&self, intent) ─▶ Verdict ─▶ journal, answer, venue ─▶ commit(&mut self)      book(&self, report) ─▶ Report
//!                                                                                        ─▶ journal ─▶ apply_report
//! ```
//!
//! Deciding only reads; what changes state is a journalled record, live as in recovery and replay: [`Gate::commit`] and
//! [`Gate::apply`] end in the same code. After construction and [`Gate::install`] nothing on these paths allocates.
//!
//! Invariants:
//! - an order reserves its worst case from acceptance until the venue says otherwise;
//! - a final order stays final; a late fill changes the position, never the state;
//! - quantities and notionals are exact integers, and a sum that would not fit is refused before it is formed.

mod api;
mod apply;
mod cancels;
mod capacity;
mod conduct;
mod entitlements;
mod hash;
mod limits;
mod market;
mod modes;
mod orders;
mod pipeline;
mod position;
mod reentry;
mod replay;
mod reports;
mod saved;
mod storm;
mod strays;
mod tables;
mod views;
mod window;

#[cfg(test)]
mod tests;

pub use api::{
    ApplyError, Capacity, Effect, HandedOut, OrderView, PositionView, Reentry, Reference, Refusal, Request,
    Room, Space, Totals, Unbooked, Verdict,
};
pub use apply::quota_of;
pub use pipeline::Approved;
pub use replay::{Mismatch, ReplayReport, Replayer, redecide};
pub use reports::Booked;
pub use saved::RestoreError;
pub(crate) use storm::THRESHOLDS as STORM_THRESHOLDS;
pub use storm::{PnlSweep, StormInputs, StormView};
pub use strays::StrayView;
pub use tables::StrategyTables;

pub(crate) use limits::is_legal;
pub(crate) use orders::SEQUENCE_BITS;

use ringfence_ipc::msg::{StrategyId, SymbolId, Words, key_of};
use ringfence_ipc::reason::{LimitId, Mode, Reason};

use cancels::CancelQueue;
use entitlements::Entitlements;
use limits::{GlobalLimits, LimitSet, Notional};
use market::SymbolState;
use orders::OrderTable;
use pipeline::Reject;
use position::Position;
use storm::StormGuard;
use strays::Strays;
pub(crate) use tables::touched;

/// Intents that are decided in one go, of one client: what one of them waits for is asked for with all the others'.
pub(crate) const BATCH: usize = 16;

/// What the gate keeps per account.
#[derive(Clone, Copy, Debug)]
struct AccountState {
    /// Worst-case gross notional, 16 decimals.
    gross_e16: i128,
    max_gross: Notional,
}

/// Every limit that was set, by scope.
#[derive(Debug)]
struct LimitSets {
    global: LimitSet,
    accounts: Box<[LimitSet]>,
    symbols: Box<[LimitSet]>,
    strategies: Box<[LimitSet]>,
}

/// The version of the configuration in force.
#[derive(Clone, Copy, Debug, Default)]
struct ConfigState {
    version: u64,
    /// Of the limits of the file last applied.
    digest: u128,
    /// Limits that belong to the version and have not come.
    missing: u16,
}

/// The decision state and the code that moves it.
#[derive(Debug)]
pub struct Gate {
    cap: Capacity,
    /// Counts the lives of the journal: the high bits of order ids.
    epoch: u16,
    /// Seeds the dedup windows that are created from here on.
    hash_seed: u64,
    mode: Mode,
    storm: StormGuard,
    limits: GlobalLimits,
    limit_sets: LimitSets,
    config: ConfigState,
    strategies: Box<[Option<Box<StrategyTables>>]>,
    accounts: Box<[AccountState]>,
    /// By symbol id; one more than there may be, which is never known.
    symbols: Box<[SymbolState]>,
    /// The first `positions_used` of them exist.
    positions: Box<[Position]>,
    positions_used: usize,
    /// Symbols with at least one position.
    exposed_symbols: i64,
    /// Worst-case gross notional over everything, 16 decimals.
    gross_e16: i128,
    /// Theoretical arrival time of the bucket for orders of all strategies, gate time ns.
    orders_arrival_ns: u64,
    /// When the day ends, gate time ns; 0: none has begun.
    day_ends_ns: u64,
    entitlements: Entitlements,
    orders: OrderTable,
    cancels: CancelQueue,
    strays: Strays,
}

impl Gate {
    /// An empty gate. Allocates and touches everything it will need, except the strategies' tables.
    ///
    /// # Panics
    /// When `cap.order_slots` is not a power of two up to 2^31, or `cap.max_positions` is beyond 2^31.
    #[must_use]
    pub fn new(cap: Capacity, hash_seed: u64, epoch: u16) -> Self {
        assert!(cap.max_positions <= 1 << 31, "positions are numbered in 32 bits");
        let sets = |n: u16| vec![LimitSet::EMPTY; usize::from(n)].into_boxed_slice();
        let max_gross = Notional::of(&LimitSet::EMPTY, LimitId::MaxGrossNotionalE8);
        Self {
            cap,
            epoch,
            hash_seed,
            mode: Mode::AllowAll,
            storm: StormGuard::new(),
            limits: GlobalLimits::of(&LimitSet::EMPTY),
            limit_sets: LimitSets {
                global: LimitSet::EMPTY,
                accounts: sets(cap.max_accounts),
                symbols: sets(cap.max_symbols),
                strategies: sets(cap.max_strategies),
            },
            config: ConfigState::default(),
            strategies: (0..cap.max_strategies).map(|_| None).collect(),
            accounts: vec![AccountState { gross_e16: 0, max_gross }; usize::from(cap.max_accounts)]
                .into_boxed_slice(),
            symbols: (0..=cap.max_symbols).map(|_| SymbolState::vacant()).collect(),
            positions: touched(cap.max_positions, Position::flat(0, 0, 0)),
            positions_used: 0,
            exposed_symbols: 0,
            gross_e16: 0,
            orders_arrival_ns: 0,
            day_ends_ns: 0,
            entitlements: Entitlements::new(cap.max_strategies, cap.max_symbols),
            orders: OrderTable::new(cap.order_slots),
            cancels: CancelQueue::new(cap.order_slots),
            strays: Strays::new(cap.max_symbols),
        }
    }

    /// Takes over a strategy's tables; O(1), no allocation. It may trade once its `Strategy` record is applied.
    ///
    /// # Errors
    /// The tables come back when the id or account is beyond the capacity, or the strategy has tables already.
    pub fn install(&mut self, tables: Box<StrategyTables>) -> Result<(), Box<StrategyTables>> {
        let fits = tables.account < self.cap.max_accounts
            && tables.positions.len() == usize::from(self.cap.max_symbols);
        match self.strategies.get_mut(usize::from(tables.id)) {
            Some(place @ None) if fits => {
                *place = Some(tables);
                Ok(())
            }
            _ => Err(tables),
        }
    }

    /// Asks for the cache lines that deciding a batch of intents for `strategy` will read and write, when they are first
    /// seen. What one of them needs to be known before the next can be asked for comes in a second round, when it is on
    /// its way for all.
    #[inline]
    pub fn prefetch(&self, strategy: StrategyId, batch: &[Words]) {
        let Some(Some(tables)) = self.strategies.get(usize::from(strategy)) else { return };
        tables.prefetch();
        let mut buckets = [0; BATCH];
        for (words, bucket) in batch.iter().zip(&mut buckets) {
            *bucket = tables.window.prefetch(key_of(words));
        }
        // The only one's are asked for by the look itself.
        if batch.len() > 1 {
            for bucket in buckets.iter().take(batch.len()) {
                tables.window.prefetch_entry(*bucket);
            }
        }
    }

    #[inline(always)]
    fn registered(&self, strategy: StrategyId) -> Option<&StrategyTables> {
        self.strategies.get(usize::from(strategy))?.as_deref().filter(|tables| tables.registered)
    }

    /// The symbol, or the one that is never known.
    #[inline(always)]
    fn symbol_or_vacant(&self, symbol: SymbolId) -> &SymbolState {
        &self.symbols[usize::from(symbol).min(self.symbols.len() - 1)]
    }

    #[inline(always)]
    fn position_of(&self, tables: &StrategyTables, symbol: SymbolId) -> Option<&Position> {
        tables.position_in(symbol).map(|index| &self.positions[index])
    }

    /// Whether one more position, in `symbol`, is one too many.
    fn exposure_store_is_full(&self, symbol: &SymbolState) -> bool {
        let new_symbol = symbol.positions == 0 && self.exposed_symbols >= self.limits.exposure_max_symbols;
        new_symbol || self.positions_used >= self.positions.len()
    }

    fn exposure_store_reject(&self, symbol: &SymbolState) -> Reject {
        let new_symbol = symbol.positions == 0 && self.exposed_symbols >= self.limits.exposure_max_symbols;
        let (used, max) = if new_symbol {
            (self.exposed_symbols, self.limits.exposure_max_symbols)
        } else {
            (self.positions_used as i64, self.positions.len() as i64)
        };
        Reject::limit(Reason::ExposureSymbolLimit, LimitId::ExposureMaxSymbols, used.saturating_add(1), max)
    }
}
