//! The gate as a state machine without IO: it takes the clock as input and returns what should happen.

mod api;
mod pipeline;

pub use api::{
    ApplyError, Capacity, OrderView, PositionView, Reentry, Reference, Request, Room, Space, Totals,
    Unbooked, Verdict,
};

use ringfence_ipc::journal::{MarkRecord, Record, StrategyRecord};
use ringfence_ipc::msg::{
    AccountId, Command, Decision, DurabilityTier, OrderId, Outcome, Report, StrategyId, SymbolId, Words,
};
use ringfence_ipc::reason::{LimitId, Mode, Reason, Scope};

/// Everything one strategy needs, allocated and touched before the gate thread sees it.
#[derive(Debug)]
pub struct StrategyTables {
    id: StrategyId,
    account: AccountId,
}

impl StrategyTables {
    /// For the strategy of `rec`; `dedup_quota` keys are remembered.
    #[must_use]
    pub fn new(rec: &StrategyRecord, _dedup_quota: usize, _hash_seed: u64, _cap: &Capacity) -> Box<Self> {
        Box::new(Self { id: rec.strategy, account: rec.account })
    }
}

/// The gate.
#[derive(Debug)]
pub struct Gate {
    cap: Capacity,
    epoch: u16,
}

impl Gate {
    /// An empty gate.
    #[must_use]
    pub fn new(cap: Capacity, _hash_seed: u64, epoch: u16) -> Self {
        Self { cap, epoch }
    }

    /// Takes over a strategy's tables; O(1). The strategy may trade once its `Strategy` record is applied.
    ///
    /// # Errors
    /// The tables come back when the id or account is beyond the capacity, or the strategy has tables already.
    pub fn install(&mut self, tables: Box<StrategyTables>) -> Result<(), Box<StrategyTables>> {
        if tables.id >= self.cap.max_strategies || tables.account >= self.cap.max_accounts {
            Err(tables)
        } else {
            Ok(())
        }
    }

    /// Applies one journal record of any kind.
    ///
    /// # Errors
    /// [`ApplyError`] when the record does not fit the state that the records before it built.
    pub fn apply(&mut self, _position: u64, record: &Record) -> Result<(), ApplyError> {
        if let Record::Boot(boot) = record {
            self.epoch = boot.epoch;
        }
        Ok(())
    }

    /// The live reference price of a symbol. `Some` when a mark is due: the reactor appends it and applies it.
    #[allow(clippy::too_many_arguments)]
    pub fn set_reference(
        &mut self,
        _symbol: SymbolId,
        _bid_price: i64,
        _ask_price: i64,
        _last_price: i64,
        _now_ns: u64,
        _event: u64,
    ) -> Option<MarkRecord> {
        None
    }

    /// The mark of a symbol whose live reference is newer than its last applied mark (for a clean close).
    #[must_use]
    pub fn mark_now(&self, _symbol: SymbolId, _now_ns: u64) -> Option<MarkRecord> {
        None
    }

    /// Pulls the cache lines that deciding `words` will need.
    pub fn prefetch(&self, _strategy: StrategyId, _words: &Words) {}

    /// Decides one intent. Changes nothing.
    #[must_use]
    pub fn decide(&self, req: &Request<'_>) -> Verdict {
        Verdict {
            decision: Decision {
                outcome: Outcome::Rejected,
                reason: Reason::Malformed,
                limit_id: LimitId::None,
                duplicate: false,
                tier: DurabilityTier::None,
                intent_position: req.position,
                journal_seq: 0,
                decided_at_ns: req.now_ns,
                key_low: req.words[1],
                order_id: 0,
                observed: 0,
                limit: 0,
            },
            record: None,
            command: None,
            plan: pipeline::Plan,
        }
    }

    /// Makes a verdict with a record true. A verdict without one changes nothing.
    pub fn commit(&mut self, _verdict: &Verdict, _journal_seq: u64) {}

    /// What a venue's report means: the same report enriched for the journal. Changes nothing.
    ///
    /// # Errors
    /// [`Unbooked`] says why there is nothing to journal.
    pub fn book(&self, _venue_report: &Report, _now_ns: u64) -> Result<Report, Unbooked> {
        Err(Unbooked::UnknownOrder)
    }

    /// Applies a report that [`Gate::book`] returned, once it is journalled at `seq`.
    pub fn apply_report(&mut self, _report: &Report, _seq: u64) {}

    /// The next cancel that an accepted mass cancel or force flat still owes the venue.
    pub fn next_mass_cancel(&mut self, _now_ns: u64) -> Option<Command> {
        None
    }

    /// What happens to each order after recovery, in order of order id.
    #[must_use]
    pub fn reenter_commands(&self, _now_ns: u64) -> Vec<Reentry> {
        Vec::new()
    }

    /// Orders that are not final, in no particular order.
    pub fn open_orders(&self) -> impl Iterator<Item = OrderView> + '_ {
        std::iter::empty()
    }

    /// Every position that ever was.
    pub fn positions(&self) -> impl Iterator<Item = PositionView> + '_ {
        std::iter::empty()
    }

    /// Sums over all positions.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals::default()
    }

    /// The order with this id, final or not, while the gate remembers it.
    #[must_use]
    pub fn order(&self, _id: OrderId) -> Option<OrderView> {
        None
    }

    /// The mode of the whole gate (`strategy` `None`) or of one strategy, without the gate's.
    #[must_use]
    pub fn mode(&self, _strategy: Option<StrategyId>) -> Mode {
        Mode::AllowAll
    }

    /// The value of a limit set for exactly this scope; `None`: not set.
    #[must_use]
    pub fn limit(&self, _scope: Scope, _scope_id: u16, _limit: LimitId) -> Option<i64> {
        None
    }

    /// How many keys a strategy's tables must be built for.
    #[must_use]
    pub fn dedup_quota(&self, _strategy: StrategyId) -> usize {
        65_536
    }

    /// The strategy known under this name, and its account.
    #[must_use]
    pub fn strategy_by_name(&self, _name: &str) -> Option<(StrategyId, AccountId)> {
        None
    }

    /// SHA-256 over the sorted canonical encoding of the decision state.
    #[must_use]
    pub fn state_hash(&self) -> [u8; 32] {
        [0; 32]
    }
}
