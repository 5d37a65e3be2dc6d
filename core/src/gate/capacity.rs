//! The size of the gate's tables as the journal says it: what a replay needs instead of a configuration.

use ringfence_ipc::journal::CapacityRecord;
use ringfence_ipc::reason::LimitId;

use super::api::{ApplyError, Capacity};
use super::cancels::CancelQueue;
use super::limits::{LimitSet, Notional};
use super::market::SymbolState;
use super::orders::OrderTable;
use super::position::Position;
use super::tables::{NO_POSITION, touched};
use super::{AccountState, Gate};

/// What [`Gate::new`] takes.
const MAX_SLOTS: u32 = 1 << 31;

impl Capacity {
    /// For reading a journal, whose own records say the rest.
    pub const SMALLEST: Self =
        Self { order_slots: 1, max_symbols: 0, max_strategies: 0, max_accounts: 0, max_positions: 0 };

    /// As a record, at gate time `now_ns`.
    #[must_use]
    pub fn record(&self, now_ns: u64) -> CapacityRecord {
        CapacityRecord {
            order_slots: u32::try_from(self.order_slots).unwrap_or(MAX_SLOTS),
            max_positions: u32::try_from(self.max_positions).unwrap_or(MAX_SLOTS),
            max_symbols: self.max_symbols,
            max_strategies: self.max_strategies,
            max_accounts: self.max_accounts,
            now_ns,
        }
    }
}

impl From<&CapacityRecord> for Capacity {
    fn from(record: &CapacityRecord) -> Self {
        Self {
            order_slots: record.order_slots as usize,
            max_positions: record.max_positions as usize,
            max_symbols: record.max_symbols,
            max_strategies: record.max_strategies,
            max_accounts: record.max_accounts,
        }
    }
}

impl Gate {
    /// Tables of this size from here on; they keep what they hold. Allocates when the size is another one.
    pub(super) fn apply_capacity(
        &mut self,
        position: u64,
        record: &CapacityRecord,
    ) -> Result<(), ApplyError> {
        let to = Capacity::from(record);
        if to == self.cap {
            return Ok(());
        }
        if !record.order_slots.is_power_of_two() || record.order_slots.max(record.max_positions) > MAX_SLOTS {
            return Err(ApplyError::Contradiction { position, what: "no gate has tables of this size" });
        }
        self.check_held(position, &to)?;
        if to.order_slots != self.orders.len() {
            self.orders = OrderTable::new(to.order_slots);
            self.cancels = CancelQueue::new(to.order_slots);
        }
        self.resize(&to);
        self.cap = to;
        self.refresh_limits();
        Ok(())
    }

    /// That everything the tables hold fits the new ones.
    fn check_held(&self, position: u64, to: &Capacity) -> Result<(), ApplyError> {
        // An id's slot is its sequence modulo the table's size: once there was an order, the size stays.
        if to.order_slots != self.orders.len() && self.orders.next_sequence() > 1 {
            return Err(ApplyError::OrderSlots {
                position,
                journal: self.orders.len(),
                given: to.order_slots,
            });
        }
        let strategies = self.strategies.iter().flatten();
        let held = [
            ("symbol", self.symbols.iter().rposition(|s| s.known), usize::from(to.max_symbols)),
            ("strategy", strategies.clone().map(|t| t.id.into()).max(), usize::from(to.max_strategies)),
            ("account", strategies.map(|t| t.account.into()).max(), usize::from(to.max_accounts)),
            ("position", self.positions_used.checked_sub(1), to.max_positions),
        ];
        for (what, highest, capacity) in held {
            if let Some(id) = highest.filter(|id| *id >= capacity) {
                let (id, capacity) = (id as u64, capacity as u64);
                return Err(ApplyError::Capacity { position, what, id, capacity });
            }
        }
        Ok(())
    }

    fn resize(&mut self, to: &Capacity) {
        let sets = &mut self.limit_sets;
        resized(&mut sets.accounts, to.max_accounts.into(), || LimitSet::EMPTY);
        resized(&mut sets.symbols, to.max_symbols.into(), || LimitSet::EMPTY);
        resized(&mut sets.strategies, to.max_strategies.into(), || LimitSet::EMPTY);
        resized(&mut self.strategies, to.max_strategies.into(), || None);
        let max_gross = Notional::of(&LimitSet::EMPTY, LimitId::MaxGrossNotionalE8);
        resized(&mut self.accounts, to.max_accounts.into(), || AccountState { gross_e16: 0, max_gross });
        // One more than there may be, which is never known.
        resized(&mut self.symbols, usize::from(to.max_symbols) + 1, SymbolState::vacant);
        self.entitlements = self.entitlements.resized(to.max_strategies, to.max_symbols);
        if to.max_positions != self.positions.len() {
            let mut positions = touched(to.max_positions, Position::flat(0, 0, 0));
            positions[..self.positions_used].copy_from_slice(&self.positions[..self.positions_used]);
            self.positions = positions;
        }
        for tables in self.strategies.iter_mut().flatten() {
            resized(&mut tables.positions, to.max_symbols.into(), || NO_POSITION);
        }
    }
}

fn resized<T>(table: &mut Box<[T]>, len: usize, vacant: impl FnMut() -> T) {
    if table.len() != len {
        let mut all = std::mem::take(table).into_vec();
        all.resize_with(len, vacant);
        *table = all.into_boxed_slice();
    }
}
