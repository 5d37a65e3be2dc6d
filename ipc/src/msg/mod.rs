//! Wire messages: every message is one to four 64-byte slots, and every slot carries seven payload words.
//!
//! ```text
//!  word 0                 1        2        3        4        5        6        7
//!  +--------+-------------+--------+--------+--------+--------+--------+--------+----------+
//!  | kind u8| per-kind    |            payload words 1..=6                      | sequence |
//!  +--------+-------------+--------+--------+--------+--------+--------+--------+----------+
//! ```
//!
//! Word 7 belongs to the ring, never to a message. Multi-byte fields inside a word are little-endian bit ranges.
//! Decoding is a checked match: unknown kinds, out-of-range enums and non-zero reserved bits are errors, because the
//! writer may be hostile.
//!
//! Prices and quantities are scaled integers: `value * 10^scale`, with the scales of the symbol table
//! ([`crate::symbol::Symbol`]). Timestamps are gate time: nanoseconds since the Unix epoch, advanced by the
//! monotonic clock only.

mod decision;
mod intent;
mod market;
mod node;
mod order;
mod venue;

pub use decision::{Decision, DurabilityTier, Outcome};
pub use intent::{Intent, IntentKind, Key, OperatorExt, flags as intent_flags, key_of};
pub use market::{DepthDelta, Level, Quote, Step, StepDone, TapeEnd, Trade};
pub use node::{NODE_UPDATE_SLOTS, NodeUpdate};
pub use order::{Command, CommandKind, OrderState, Report, ReportKind};
pub use venue::VenueCall;

/// Payload words of one slot.
pub const PAYLOAD_WORDS: usize = 7;

/// The payload of one slot: seven little-endian words, 56 bytes.
pub type Words = [u64; PAYLOAD_WORDS];

/// The most slots one message may take.
pub const MAX_SLOTS: usize = 4;

/// The bytes of a slot: payload plus sequence word, one cache line.
pub const SLOT_BYTES: usize = 64;

const _: () = assert!((PAYLOAD_WORDS + 1) * 8 == SLOT_BYTES);

/// What byte 0 of word 0 may say. Numbers are part of the wire contract and never reused.
pub mod kind {
    /// Intents, strategy or operator to gate.
    pub const NEW: u8 = 1;
    /// Cancel one order.
    pub const CANCEL: u8 = 2;
    /// Change price or quantity of one order.
    pub const AMEND: u8 = 3;
    /// Cancel all of a strategy's orders.
    pub const MASS_CANCEL: u8 = 4;
    /// Flatten the strategy's position in one symbol.
    pub const FORCE_FLAT: u8 = 5;
    /// Continuation slot: who an operator's intent speaks for.
    pub const OPERATOR_EXT: u8 = 6;
    /// The gate's answer.
    pub const DECISION: u8 = 16;
    /// What a venue says about an order, two slots.
    pub const REPORT: u8 = 17;
    /// Top of book.
    pub const QUOTE: u8 = 32;
    /// A public trade.
    pub const TRADE: u8 = 33;
    /// Up to two changed book levels.
    pub const DEPTH: u8 = 34;
    /// The recording has ended.
    pub const TAPE_END: u8 = 35;
    /// What a node computed, one to three slots.
    pub const NODE_UPDATE: u8 = 36;
    /// Lockstep: the gate has applied market event k.
    pub const STEP: u8 = 48;
    /// Lockstep: the strategy has written all its intents for event k.
    pub const STEP_DONE: u8 = 49;
    /// What goes to a venue.
    pub const COMMAND: u8 = 64;
    /// What a venue's adapter is told between its commands.
    pub const VENUE_CALL: u8 = 65;
}

/// The id of a symbol: its index in the symbol table.
pub type SymbolId = u16;
/// The id of a strategy, given by the gate when it first attaches and kept for good.
pub type StrategyId = u16;
/// The id of an account.
pub type AccountId = u16;
/// `epoch << 48 | sequence`: increases across restarts, never reused. 0 is "no order".
pub type OrderId = u64;

/// Why a message could not be decoded. The gate answers it with `MALFORMED` and counts it; it is never a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Byte 0 names no message that may stand here.
    #[error("unknown message kind {0}")]
    UnknownKind(u8),
    /// A field holds a value outside its enumeration.
    #[error("field `{field}` has the undefined value {value}")]
    BadEnum {
        /// The field's name.
        field: &'static str,
        /// What it held.
        value: u64,
    },
    /// Reserved bits must be zero.
    #[error("reserved bits of word {0} are not zero")]
    Reserved(usize),
    /// Text that must be ASCII or at most n bytes long is not.
    #[error("field `{0}` is not valid text")]
    BadText(&'static str),
}

/// The message kind in byte 0.
#[must_use]
pub const fn kind_of(words: &Words) -> u8 {
    words[0] as u8
}

/// `width` bits of `word` from bit `at`.
pub(crate) const fn bits(word: u64, at: u32, width: u32) -> u64 {
    (word >> at) & (u64::MAX >> (64 - width))
}

macro_rules! wire_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $value:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum $name { $($(#[$vmeta])* $variant = $value),+ }
        impl $name {
            /// The variant a peer's number stands for, if any.
            pub const fn from_wire(value: u64) -> Option<Self> {
                match value { $($value => Some(Self::$variant),)+ _ => None }
            }
            /// Every variant, in wire order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
        }
    };
}
pub(crate) use wire_enum;

wire_enum! {
    /// Buy or sell.
    Side {
        /// Buy.
        Buy = 0,
        /// Sell.
        Sell = 1,
    }
}

impl Side {
    /// `BUY` or `SELL`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Buy => "BUY",
            Self::Sell => "SELL",
        }
    }

    /// +1 for buy, -1 for sell.
    #[must_use]
    pub const fn sign(self) -> i64 {
        match self {
            Self::Buy => 1,
            Self::Sell => -1,
        }
    }

    /// The other side.
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Buy => Self::Sell,
            Self::Sell => Self::Buy,
        }
    }
}

wire_enum! {
    /// How an order is priced.
    OrderType {
        /// At `price` or better.
        Limit = 0,
        /// At whatever the book offers.
        Market = 1,
    }
}

impl OrderType {
    /// `LIMIT` or `MARKET`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Limit => "LIMIT",
            Self::Market => "MARKET",
        }
    }
}

wire_enum! {
    /// How long an order lives.
    Tif {
        /// Good till cancelled.
        Gtc = 0,
        /// Fill what is there, expire the rest.
        Ioc = 1,
        /// All at once or nothing.
        Fok = 2,
        /// Rest of day.
        Day = 3,
    }
}

impl Tif {
    /// `GTC`, `IOC`, `FOK` or `DAY`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gtc => "GTC",
            Self::Ioc => "IOC",
            Self::Fok => "FOK",
            Self::Day => "DAY",
        }
    }
}

/// Reads an enum field of a header, naming it in the error.
macro_rules! enum_field {
    ($ty:ty, $word:expr, $at:expr, $width:expr, $field:literal) => {{
        let value = crate::msg::bits($word, $at, $width);
        <$ty>::from_wire(value).ok_or(crate::msg::DecodeError::BadEnum { field: $field, value })?
    }};
}
pub(crate) use enum_field;
