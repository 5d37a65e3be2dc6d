//! What goes into the gate and what comes out of it.

use ringfence_ipc::journal::DecisionRecord;
use ringfence_ipc::msg::{
    AccountId, Command, Decision, DurabilityTier, Intent, Key, OrderId, OrderState, OrderType, Outcome,
    Report, Side, StrategyId, SymbolId, Tif, Words,
};
use ringfence_ipc::reason::{LimitId, Reason};

use super::pipeline::{Approved, Plan};

/// How much the gate can hold. Fixed at construction: nothing grows later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Order slots, a power of two: orders open at once, and how long a late fill finds its order.
    pub order_slots: usize,
    /// Symbol ids are below this.
    pub max_symbols: u16,
    /// Strategy ids are below this.
    pub max_strategies: u16,
    /// Account ids are below this.
    pub max_accounts: u16,
    /// (strategy, symbol) pairs that ever hold exposure.
    pub max_positions: usize,
}

impl Default for Capacity {
    fn default() -> Self {
        Self {
            order_slots: 1 << 16,
            max_symbols: 64,
            max_strategies: 64,
            max_accounts: 16,
            max_positions: 4096,
        }
    }
}

/// Room in a ring that was looked at before deciding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Space {
    /// None.
    Full,
    /// Only the part kept for cancels, flattening and reports.
    Reserved,
    /// As [`Space::Reserved`], and it will not get better: what is behind it has failed.
    Failed,
    /// For everything.
    Open,
}

/// Where a decision and its command would go. What cannot be emitted is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// The venue's command ring.
    pub venue: Space,
    /// The hot journal.
    pub journal: Space,
}

impl Room {
    /// Room for everything.
    pub const OPEN: Self = Self { venue: Space::Open, journal: Space::Open };
}

/// A reference price as a decision record carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Scaled price; 0: the decision used none.
    pub price: i64,
    /// Its age when the intent was decided, ns.
    pub age_ns: u64,
}

/// One intent with everything its decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Whose ring it came from. For an operator's ring of no meaning: the extension names the strategy.
    pub strategy: StrategyId,
    /// It came from an operator's ring.
    pub operator: bool,
    /// The intent's slot.
    pub words: &'a Words,
    /// The operator's extension slot, if one followed.
    pub ext: Option<&'a Words>,
    /// Gate time, ns.
    pub now_ns: u64,
    /// Position of the intent in the client's ring.
    pub position: u64,
    /// What the rings behind the gate can take.
    pub room: Room,
    /// `None`: the live reference. `Some`: the one a record carries, in replay.
    pub reference: Option<Reference>,
    /// What a journalled decision will have survived when it is shown.
    pub tier: DurabilityTier,
}

/// What the gate decided. Nothing has changed yet: [`super::Gate::commit`] of its [`Verdict::effect`] does that.
#[derive(Clone, Copy, Debug)]
pub enum Verdict<'a> {
    /// It passed every step.
    Accepted(Approved<'a>),
    /// It did not.
    Refused(Refusal),
}

/// The answer to an intent that some step stopped.
#[derive(Clone, Copy, Debug)]
pub struct Refusal {
    /// The answer. `journal_seq` is 0 for a new decision until `record` has been appended.
    pub decision: Decision,
    /// What to append to the journal; `None` for duplicates and transient rejects, which change nothing.
    pub record: Option<DecisionRecord>,
    pub(super) plan: Plan,
}

/// What a journalled decision changes. It belongs to the state it was decided in: nothing else may be applied between
/// [`super::Gate::decide`] and [`super::Gate::commit`].
#[derive(Clone, Copy, Debug)]
pub struct Effect {
    pub(super) plan: Plan,
    pub(super) strategy: StrategyId,
    pub(super) operator: bool,
    pub(super) intent: Intent,
    pub(super) now_ns: u64,
    pub(super) outcome: Outcome,
    pub(super) reason: Reason,
    pub(super) limit_id: LimitId,
    /// Accepted: the order's id. Rejected: the observed value.
    pub(super) value: u64,
    /// Rejected: the limit's value.
    pub(super) limit: i64,
    /// What one unit of a new order reserves, scaled.
    pub(super) reserve_price: i64,
    /// The reference that was consulted, scaled.
    pub(super) reference_price: i64,
}

/// Why a record cannot be applied: the journal is not this gate's, or does not fit its capacity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// An id lies beyond the capacity the gate was built with.
    #[error("position {position}: {what} {id} is beyond the configured capacity of {capacity}")]
    Capacity {
        /// Journal position.
        position: u64,
        /// What kind of id.
        what: &'static str,
        /// The id.
        id: u64,
        /// How many there may be.
        capacity: u64,
    },
    /// Order ids are slots of a table: its size stays as it was when the first order came.
    #[error(
        "position {position}: this journal's order table has {journal} slots, not {given}: set capacity.order_slots to \
         {journal}, or start with a new data_dir"
    )]
    OrderSlots {
        /// Journal position.
        position: u64,
        /// As the journal has it.
        journal: usize,
        /// As the new life wants it.
        given: usize,
    },
    /// The record contradicts the state that the records before it built.
    #[error("position {position}: {what}")]
    Contradiction {
        /// Journal position.
        position: u64,
        /// What does not fit.
        what: &'static str,
    },
}

/// Why a venue's report changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unbooked {
    /// The gate knows no order of that id.
    #[error("no order of that id")]
    UnknownOrder,
    /// The order's state already says so, or the fill is booked.
    #[error("already known")]
    Repeat,
    /// The report's numbers make no sense for that order.
    #[error("impossible numbers")]
    Impossible,
}

/// What a venue knows of the commands of the gate's life before, stated when it attaches to the next one. New orders are
/// handed out in the order of their ids, which grow across restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandedOut {
    /// The venue died with the gate: what it did exists only as journalled reports, and can be done again.
    Forgotten,
    /// The venue's adapter outlived the gate: it handed out new orders up to this id, and none above it.
    UpTo(OrderId),
    /// The adapter died as well: any command may have reached the venue.
    Unknown,
}

/// What happens to one order when the gate comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reentry {
    /// Goes to the venue.
    Command(Command),
    /// Is appended to the journal and then applied: the order, or its pending change, never reached the venue.
    Report(Report),
}

/// An order as its readers see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderView {
    /// Its id.
    pub order_id: OrderId,
    /// The key of the intent that asked for it.
    pub key: Key,
    /// Whose it is.
    pub strategy: StrategyId,
    /// The account it is booked to.
    pub account: AccountId,
    /// Its symbol.
    pub symbol: SymbolId,
    /// Buy or sell.
    pub side: Side,
    /// Limit or market.
    pub order_type: OrderType,
    /// Time in force.
    pub tif: Tif,
    /// Bits of the intent's flags.
    pub flags: u16,
    /// Where it is in its life.
    pub state: OrderState,
    /// Scaled price; 0 for market orders.
    pub price: i64,
    /// Scaled total quantity.
    pub qty: i64,
    /// Scaled quantity filled.
    pub cum_qty: i64,
    /// Scaled price of the amend that waits for the venue.
    pub amend_price: i64,
    /// Scaled quantity of the amend that waits for the venue; 0: none does.
    pub amend_qty: i64,
    /// Notional of its fills at 16 decimals, unsigned; the average price is this by `cum_qty * factor`.
    pub filled_notional_e16: i128,
    /// When it was accepted, gate time ns.
    pub created_ns: u64,
}

impl OrderView {
    /// Scaled quantity not filled yet, never negative.
    #[must_use]
    pub const fn leaves_qty(&self) -> i64 {
        let leaves = self.qty.saturating_sub(self.cum_qty);
        if leaves > 0 { leaves } else { 0 }
    }
}

/// One (strategy, symbol) position as its readers see it; `docs/accounting.md` defines every number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PositionView {
    /// Whose it is.
    pub strategy: StrategyId,
    /// Its account.
    pub account: AccountId,
    /// In what.
    pub symbol: SymbolId,
    /// Signed, scaled.
    pub qty: i64,
    /// Scaled quantity of open buys.
    pub open_buys: i64,
    /// Scaled quantity of open sells.
    pub open_sells: i64,
    /// Signed cost at 16 decimals.
    pub cost_e16: i128,
    /// Realised profit at 16 decimals, before fees.
    pub realised_e16: i128,
    /// Unrealised profit at the last mark, 16 decimals; 0 without a mark.
    pub unrealised_e16: i128,
    /// Fees paid, 1e-8 of the quote currency; negative: rebates.
    pub fees_e8: i128,
    /// Fills booked.
    pub fills: u64,
    /// The mark used, scaled; 0: none yet.
    pub mark_price: i64,
}

/// Sums over all positions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Realised profit at 16 decimals, before fees.
    pub realised_e16: i128,
    /// Unrealised profit at 16 decimals.
    pub unrealised_e16: i128,
    /// Fees paid, 1e-8.
    pub fees_e8: i128,
    /// Worst-case gross notional at 16 decimals.
    pub gross_e16: i128,
    /// Fills booked.
    pub fills: u64,
}

impl Totals {
    /// With one more position.
    pub(super) fn with(self, p: PositionView) -> Self {
        Self {
            realised_e16: self.realised_e16.saturating_add(p.realised_e16),
            unrealised_e16: self.unrealised_e16.saturating_add(p.unrealised_e16),
            fees_e8: self.fees_e8.saturating_add(p.fees_e8),
            gross_e16: self.gross_e16,
            fills: self.fills + p.fills,
        }
    }

    /// Realised + unrealised - fees, at 16 decimals.
    #[must_use]
    pub const fn pnl_e16(&self) -> i128 {
        self.realised_e16 + self.unrealised_e16 - self.fees_e8 * 100_000_000
    }
}
