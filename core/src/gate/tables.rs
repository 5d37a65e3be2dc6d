//! What the gate keeps per strategy.

use std::hint::black_box;

use ringfence_ipc::hint::{huge_pages, prefetch_read};
use ringfence_ipc::journal::{STRATEGY_NAME_BYTES, StrategyRecord};
use ringfence_ipc::msg::{AccountId, StrategyId, SymbolId};
use ringfence_ipc::reason::Mode;

use super::api::Capacity;
use super::conduct::Conduct;
use super::limits::{LimitSet, StrategyLimits};
use super::modes::Barrier;
use super::orders::OpenList;
use super::window::DedupWindow;

/// Index of no position.
pub(super) const NO_POSITION: u32 = u32::MAX;

/// `len` times `value` in memory that is mapped, in huge pages where it is large: the gate thread must not be the one to
/// fault, and zeroed memory is not mapped before its first write.
pub(crate) fn touched<T: Copy>(len: usize, value: T) -> Box<[T]> {
    let mut memory = Vec::with_capacity(len);
    huge_pages(memory.spare_capacity_mut());
    memory.extend((0..len).map(|_| black_box(value)));
    memory.into_boxed_slice()
}

/// Everything one strategy needs, allocated and touched before the gate thread sees it.
#[derive(Debug)]
pub struct StrategyTables {
    pub(super) id: StrategyId,
    pub(super) account: AccountId,
    /// Its `Strategy` record is applied: it may trade.
    pub(super) registered: bool,
    pub(super) mode: Mode,
    /// Its mode, the gate's and StormGuard's folded into one: what the path of an intent looks at.
    pub(super) barrier: Barrier,
    pub(super) name: [u8; STRATEGY_NAME_BYTES],
    pub(super) limits: StrategyLimits,
    /// Worst-case gross notional, 16 decimals.
    pub(super) gross_e16: i128,
    /// Theoretical arrival times of the rate buckets, gate time ns.
    pub(super) orders_arrival_ns: u64,
    pub(super) cancels_arrival_ns: u64,
    pub(super) conduct: Conduct,
    pub(super) open: OpenList,
    /// By symbol: index of the position, or [`NO_POSITION`].
    pub(super) positions: Box<[u32]>,
    pub(super) window: DedupWindow,
}

impl StrategyTables {
    /// For the strategy of `rec`; its dedup window remembers up to `dedup_quota` keys ([`super::Gate::dedup_quota`])
    /// and hashes with `hash_seed`, the seed of the journal's last boot record. Touches every page it allocates.
    #[must_use]
    pub fn new(rec: &StrategyRecord, dedup_quota: usize, hash_seed: u64, cap: &Capacity) -> Box<Self> {
        Box::new(Self {
            id: rec.strategy,
            account: rec.account,
            registered: false,
            mode: Mode::AllowAll,
            barrier: Barrier::Open,
            name: rec.name,
            limits: StrategyLimits::of(&LimitSet::EMPTY, &LimitSet::EMPTY),
            gross_e16: 0,
            orders_arrival_ns: 0,
            cancels_arrival_ns: 0,
            conduct: Conduct::default(),
            open: OpenList::EMPTY,
            positions: touched(usize::from(cap.max_symbols), NO_POSITION),
            window: DedupWindow::new(dedup_quota, hash_seed),
        })
    }

    /// The index of the strategy's position in a symbol.
    #[inline(always)]
    pub(super) fn position_in(&self, symbol: SymbolId) -> Option<usize> {
        self.positions.get(usize::from(symbol)).filter(|p| **p != NO_POSITION).map(|p| *p as usize)
    }

    /// Asks for the strategy's own lines.
    pub(super) fn prefetch(&self) {
        prefetch_read(&self.open);
    }
}
