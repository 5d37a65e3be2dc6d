//! What each record says.

use super::control::ControlRecord;
use crate::msg::{
    AccountId, DecodeError, DurabilityTier, Intent, OperatorExt, OrderId, Outcome, Report, Side, StrategyId,
    SymbolId,
};
use crate::reason::{LimitId, Reason, Scope};
use crate::symbol::Symbol;

/// The longest strategy name, bytes.
pub const STRATEGY_NAME_BYTES: usize = 24;

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The first word names no record kind.
    #[error("unknown record kind {0}")]
    UnknownKind(u8),
    /// The slot count is not the kind's.
    #[error("a record of kind {kind} cannot take {slots} slots")]
    BadLength {
        /// The record kind.
        kind: u8,
        /// The slot count found.
        slots: u8,
    },
    /// A field holds what no writer writes.
    #[error("record field: {0}")]
    Field(#[from] DecodeError),
}

/// A new life of the gate begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootRecord {
    /// Counts the lives of this journal's gate, from 1.
    pub epoch: u16,
    /// Seed of the dedup hash.
    pub hash_seed: u64,
    /// Gate time at boot, ns.
    pub now_ns: u64,
    /// `ringfence_ipc` layout hash of the writer.
    pub layout_hash: u64,
    /// The gate's clock is the tape's (lockstep).
    pub lockstep: bool,
    /// Version of the program, ASCII, zero-padded.
    pub build_id: [u8; 40],
}

/// How large the gate's tables are from here on. Decisions depend on it: order ids are slots of a table, and a full
/// store refuses. So it stands in the journal and replay needs no configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapacityRecord {
    /// Order slots, a power of two; the same for the life of a journal once it holds an order.
    pub order_slots: u32,
    /// (strategy, symbol) pairs that ever hold exposure.
    pub max_positions: u32,
    /// Symbol ids are below this.
    pub max_symbols: u16,
    /// Strategy ids are below this.
    pub max_strategies: u16,
    /// Account ids are below this.
    pub max_accounts: u16,
    /// Gate time, ns.
    pub now_ns: u64,
}

/// A strategy is known under this id from here on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StrategyRecord {
    /// Its id.
    pub strategy: StrategyId,
    /// The account it trades for.
    pub account: AccountId,
    /// Its name, ASCII, zero-padded.
    pub name: [u8; STRATEGY_NAME_BYTES],
    /// Gate time, ns.
    pub now_ns: u64,
}

impl StrategyRecord {
    /// The name as text.
    #[must_use]
    pub fn name(&self) -> &str {
        let len = self.name.iter().position(|b| *b == 0).unwrap_or(STRATEGY_NAME_BYTES);
        std::str::from_utf8(&self.name[..len]).unwrap_or("?")
    }
}

/// What a connection may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Role {
    /// Its own intents.
    Strategy = 1,
    /// Intents for any strategy, and control.
    Operator = 2,
    /// Market data.
    Feed = 3,
    /// Reports.
    Venue = 4,
    /// Nothing.
    Observer = 5,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] = [Self::Strategy, Self::Operator, Self::Feed, Self::Venue, Self::Observer];

    /// Its stable name, as configurations and journals write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Strategy => "strategy",
            Self::Operator => "operator",
            Self::Feed => "feed",
            Self::Venue => "venue",
            Self::Observer => "observer",
        }
    }

    /// The role a number stands for.
    #[must_use]
    pub const fn from_wire(value: u64) -> Option<Self> {
        match value {
            1 => Some(Self::Strategy),
            2 => Some(Self::Operator),
            3 => Some(Self::Feed),
            4 => Some(Self::Venue),
            5 => Some(Self::Observer),
            _ => None,
        }
    }
}

/// A client came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttachRecord {
    /// Its role.
    pub role: Role,
    /// It left (or died, or was detached) instead of coming.
    pub detached: bool,
    /// Its strategy; 0 for roles without one.
    pub strategy: StrategyId,
    /// Gate time, ns.
    pub now_ns: u64,
    /// Counts attachments of this journal.
    pub client: u64,
    /// First 16 bytes of SHA-256 over the resume ticket: who presents the ticket may resume.
    pub ticket_digest: u128,
    /// The peer's process, as the kernel told it.
    pub pid: u32,
    /// The peer's user, as the kernel told it.
    pub uid: u32,
}

/// A limit takes this value from here on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitRecord {
    /// What it is set for.
    pub scope: Scope,
    /// The account, symbol or strategy; 0 for the whole gate.
    pub scope_id: u16,
    /// Which limit.
    pub limit: LimitId,
    /// Its value, in the limit's unit.
    pub value: i64,
    /// Gate time, ns.
    pub now_ns: u64,
    /// Version of the configuration it came with.
    pub config_version: u64,
}

impl LimitRecord {
    /// The value that takes a limit back: it does not limit any more.
    pub const NOT_SET: i64 = i64::MIN;
}

/// Why limits change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ConfigOrigin {
    /// A start found another file than the last life had.
    Boot = 1,
    /// The file was read again.
    Reload = 2,
    /// An operator set one.
    Operator = 3,
}

impl ConfigOrigin {
    /// The origin a number stands for.
    #[must_use]
    pub const fn from_wire(value: u64) -> Option<Self> {
        match value {
            1 => Some(Self::Boot),
            2 => Some(Self::Reload),
            3 => Some(Self::Operator),
            _ => None,
        }
    }

    /// In JSON and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Boot => "boot",
            Self::Reload => "reload",
            Self::Operator => "operator",
        }
    }
}

/// A version of the configuration begins: the `Limit` records that change follow at once, and no decision stands between
/// them. What a decision was decided by is the last version before its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigRecord {
    /// Why.
    pub origin: ConfigOrigin,
    /// `Limit` records that follow.
    pub changes: u16,
    /// Counts the versions of this journal, from 1.
    pub version: u64,
    /// Gate time, ns.
    pub now_ns: u64,
    /// The client that asked; 0 for the gate itself.
    pub client: u64,
    /// First 16 bytes of SHA-256 over the limits of the file last applied: a start with the same file changes nothing.
    pub digest: u128,
}

/// The market as the gate's P&L sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkRecord {
    /// The symbol.
    pub symbol: SymbolId,
    /// Gate time, ns.
    pub now_ns: u64,
    /// Best bid, scaled; 0: none.
    pub bid_price: i64,
    /// Best ask, scaled; 0: none.
    pub ask_price: i64,
    /// Last trade, scaled; 0: none.
    pub last_price: i64,
    /// Number of the market event it was taken at.
    pub event: u64,
}

/// One decided intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecisionRecord {
    /// Who asked.
    pub strategy: StrategyId,
    /// For which account.
    pub account: AccountId,
    /// What was asked.
    pub intent: Intent,
    /// For whom an operator asked, if one did.
    pub ext: Option<OperatorExt>,
    /// The answer.
    pub outcome: Outcome,
    /// Its reason.
    pub reason: Reason,
    /// The limit that tripped.
    pub limit_id: LimitId,
    /// What the answer survives.
    pub tier: DurabilityTier,
    /// When it was decided, ns.
    pub now_ns: u64,
    /// Accepted: the order.
    pub order_id: OrderId,
    /// Rejected: the observed value.
    pub observed: i64,
    /// Rejected: the limit's value.
    pub limit: i64,
    /// The reference price that the collar used, scaled; 0: none.
    pub reference_price: i64,
    /// Its age, microseconds, saturating.
    pub reference_age_us: u32,
    /// Position of the intent in the client's ring.
    pub intent_position: u64,
}

/// A fill for an order that the gate does not know: its slot was taken again, or it never was the gate's. The account
/// holds what it moved; no strategy's position does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StrayRecord {
    /// The order, as the venue names it.
    pub order_id: OrderId,
    /// Its symbol.
    pub symbol: SymbolId,
    /// Its side.
    pub side: Side,
    /// Scaled quantity that this fill adds.
    pub qty: i64,
    /// Scaled price.
    pub price: i64,
    /// Scaled cumulative quantity of the order at the venue.
    pub cum_qty: i64,
    /// The venue's trade id.
    pub trade_id: u64,
    /// Its fee, 1e-8 of the quote currency.
    pub fee_e8: i64,
    /// Low half of the order's key, where the venue says it.
    pub key_low: u64,
    /// When it happened at the venue, ns.
    pub venue_ts_ns: u64,
    /// Gate time, ns.
    pub now_ns: u64,
}

/// The gate stopped in good order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseRecord {
    /// Gate time, ns.
    pub now_ns: u64,
    /// SHA-256 over the canonical state; what a replay must reach.
    pub state_hash: [u8; 32],
    /// Market events the venue consumed.
    pub market_events: u64,
}

/// One journal record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    missing_docs,
    clippy::large_enum_variant,
    reason = "the payload types carry the docs; records are transient"
)]
pub enum Record {
    Boot(BootRecord),
    Symbol { id: SymbolId, symbol: Symbol },
    Strategy(StrategyRecord),
    Attach(AttachRecord),
    Limit(LimitRecord),
    Control(ControlRecord),
    Mark(MarkRecord),
    Decision(DecisionRecord),
    Report(Report),
    Close(CloseRecord),
    Capacity(CapacityRecord),
    Config(ConfigRecord),
    Stray(StrayRecord),
}
