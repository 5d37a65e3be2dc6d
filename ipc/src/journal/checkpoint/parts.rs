//! What the parts of a checkpoint hold, word by word.
//!
//! ```text
//!  GATE (15)     mode | epoch | hash seed | next order sequence
//!                | order slots u32 | positions u32 << 32 | symbols u16 | strategies u16 << 16 | accounts u16 << 32 (capacities)
//!                | arrival ns of all orders | end of the day ns | storm state u32, cause << 32 | since ns | P&L peak e8
//!                | configuration: version | digest, 2 words | limits to come u16
//!  LIMITS (2)    scope u16 | scope id u16 << 16 | limit id u16 << 32; value
//!  ENTITLEMENTS (1)  strategy u16 | 0: it is restricted, else a symbol given to it + 1 << 16
//!  SYMBOLS (13)  the SYMBOL record, 7 words | last mark: bid, ask, last price, ns | price positions are valued at
//!                | arrival ns of orders
//!  STRATEGIES (15)  id u16 | account u16 << 16 | mode u8 << 32 | name, 3 words | arrival ns of orders | of cancels
//!                | conduct: repeat content, since ns, repeats, messages, fills, P&L e16 at day's begin, 2, now, 2
//!  WINDOWS (33)  dedup window of a strategy: strategy u16 | slots u64 << 16 | seed, 2 words | current u16 | expired u16 << 16
//!                | swept | keys per generation | horizon ns | 8 counts | 8 newest ns | 8 opened ns | 0, 2 words
//!  KEYS (11)     key in the window, remembered or not swept yet: strategy u16 | tag u16 << 16 | slot u32 << 32 | key, 2 words | content | journal seq | decided ns
//!                | value | limit | reason u16 | limit id u16 << 16 | outcome u8 << 32 | kind u8 << 40 (0: none) | 0, 2 words
//!  SPILLS (1)    strategy u16 | overflow bits u8 << 16 | bucket u32 << 32
//!  POSITIONS (11) strategy u16 | account u16 << 16 | symbol u16 << 32 | qty | cost e16, 2 | realised e16, 2 | fees e8, 2 | fills
//!                | bounds of the open buys and sells
//!  ORDERS (15)   id | price | qty | cum qty | reserve price | amend price | amend qty | key, 2 | filled e16, 2
//!                | last trade id | created ns | strategy u16 | symbol u16 | flags u16 | marks u8
//!                | side u8 | type u8 << 8 | tif u8 << 16 | state u8 << 24
//!  NOTES (11)    order id | journal position of its decision | price, quantity as first asked for
//!                | OPERATOR_EXT or 0, 7 words
//!  TICKETS (3)   strategy u16 | ticket digest, 2 words
//!  PAST (3)      records | gate time of the newest, ns | highest client number
//!  STRAYS (6)    order id (0: all that no longer fit, by symbol) | symbol u16 | cumulative qty | net qty | last trade id | fills
//! ```

use super::{CheckpointError, Item};
use crate::journal::{Record, STRATEGY_NAME_BYTES};
use crate::msg::{AccountId, StrategyId, SymbolId, Words};
use crate::reason::{LimitId, Mode, Scope, StormCause, StormState};
use crate::symbol::Symbol;

pub(super) const LAYOUT: &str = "checkpoint 1; gate15 limits2 entitlements1 symbols13 strategies15 windows33 keys11 spills1 positions11 \
                                 orders15 notes11 tickets3 past3 strays6";

/// A list of items of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// One item: what belongs to the whole gate.
    Gate,
    /// Every limit that is set.
    Limits,
    /// What strategies may trade, where they may not trade everything.
    Entitlements,
    /// The symbol table, with the last marks.
    Symbols,
    /// Every strategy.
    Strategies,
    /// The head of each strategy's dedup window.
    Windows,
    /// The keys in them.
    Keys,
    /// Which of their buckets spilled.
    Spills,
    /// Every position, in the order in which they began.
    Positions,
    /// Every order that can still be found, open or final.
    Orders,
    /// What the gate does not keep of open orders and readers want to know.
    Notes,
    /// The newest resume ticket of each strategy; of strategy 0: of the venue's adapter.
    Tickets,
    /// One item: how long the journal is.
    Past,
    /// Fills of orders that the gate does not know.
    Strays,
}

impl Part {
    /// All of them, in the order of the file.
    pub const ALL: [Self; 14] = [
        Self::Gate,
        Self::Limits,
        Self::Entitlements,
        Self::Symbols,
        Self::Strategies,
        Self::Windows,
        Self::Keys,
        Self::Spills,
        Self::Positions,
        Self::Orders,
        Self::Notes,
        Self::Tickets,
        Self::Past,
        Self::Strays,
    ];

    /// Words of one item.
    #[must_use]
    pub const fn words(self) -> usize {
        match self {
            Self::Entitlements | Self::Spills => 1,
            Self::Limits => 2,
            Self::Tickets | Self::Past => 3,
            Self::Strays => 6,
            Self::Keys | Self::Positions | Self::Notes => 11,
            Self::Symbols => 13,
            Self::Gate | Self::Strategies | Self::Orders => 15,
            Self::Windows => 33,
        }
    }

    pub(super) const fn head(self) -> u64 {
        (self as u64) << 32 | self.words() as u64
    }
}

/// What belongs to the whole gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatePart {
    /// Its mode.
    pub mode: Mode,
    /// Its life.
    pub epoch: u16,
    /// Seeds the dedup windows that are created from here on.
    pub hash_seed: u64,
    /// Sequence of the next order id.
    pub next_sequence: u64,
    /// Order slots of its table.
    pub order_slots: u32,
    /// Positions it can hold.
    pub max_positions: u32,
    /// Symbols it can hold.
    pub max_symbols: u16,
    /// Strategies it can hold.
    pub max_strategies: u16,
    /// Accounts it can hold.
    pub max_accounts: u16,
    /// Theoretical arrival time of the bucket for orders of all strategies, ns.
    pub orders_arrival_ns: u64,
    /// When the day ends, ns.
    pub day_ends_ns: u64,
    /// StormGuard's state.
    pub storm: StormState,
    /// Why.
    pub storm_cause: StormCause,
    /// Since when, ns.
    pub storm_since_ns: u64,
    /// The highest P&L, 1e-8, that drawdowns are measured from.
    pub pnl_peak_e8: i64,
    /// Version of the configuration in force.
    pub config_version: u64,
    /// Digest of the configuration's limits that it stands on.
    pub config_digest: u128,
    /// Limits of that version that are yet to come.
    pub config_missing: u16,
}

impl GatePart {
    /// To the file.
    #[must_use]
    pub const fn encode(&self) -> [u64; Part::Gate.words()] {
        [
            self.mode as u64,
            self.epoch as u64,
            self.hash_seed,
            self.next_sequence,
            self.order_slots as u64 | (self.max_positions as u64) << 32,
            self.max_symbols as u64 | (self.max_strategies as u64) << 16 | (self.max_accounts as u64) << 32,
            self.orders_arrival_ns,
            self.day_ends_ns,
            self.storm as u64 | (self.storm_cause as u64) << 32,
            self.storm_since_ns,
            self.pnl_peak_e8 as u64,
            self.config_version,
            self.config_digest as u64,
            (self.config_digest >> 64) as u64,
            self.config_missing as u64,
        ]
    }

    /// From the file.
    ///
    /// # Errors
    /// [`CheckpointError`] when the item is none.
    pub fn decode(item: &Item<'_>) -> Result<Self, CheckpointError> {
        Ok(Self {
            mode: Mode::from_wire(item.word(0)).ok_or(item.bad("mode"))?,
            epoch: u16::try_from(item.word(1)).map_err(|_| item.bad("epoch"))?,
            hash_seed: item.word(2),
            next_sequence: item.word(3),
            order_slots: item.word(4) as u32,
            max_positions: (item.word(4) >> 32) as u32,
            max_symbols: item.word(5) as u16,
            max_strategies: (item.word(5) >> 16) as u16,
            max_accounts: (item.word(5) >> 32) as u16,
            orders_arrival_ns: item.word(6),
            day_ends_ns: item.word(7),
            storm: StormState::from_wire(item.word(8) & 0xffff_ffff).ok_or(item.bad("storm state"))?,
            storm_cause: StormCause::from_wire(item.word(8) >> 32).ok_or(item.bad("storm cause"))?,
            storm_since_ns: item.word(9),
            pnl_peak_e8: item.word(10) as i64,
            config_version: item.word(11),
            config_digest: item.wide(12),
            config_missing: u16::try_from(item.word(14)).map_err(|_| item.bad("limits to come"))?,
        })
    }
}

/// A limit that is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitPart {
    /// For what.
    pub scope: Scope,
    /// Its number there.
    pub scope_id: u16,
    /// Which limit.
    pub limit: LimitId,
    /// As its record says it.
    pub value: i64,
}

impl LimitPart {
    /// To the file.
    #[must_use]
    pub const fn encode(&self) -> [u64; Part::Limits.words()] {
        let head = self.scope as u64 | (self.scope_id as u64) << 16 | (self.limit as u64) << 32;
        [head, self.value as u64]
    }

    /// From the file.
    ///
    /// # Errors
    /// [`CheckpointError`] when the item is none.
    pub fn decode(item: &Item<'_>) -> Result<Self, CheckpointError> {
        let head = item.word(0);
        Ok(Self {
            scope: Scope::from_wire(head & 0xffff).ok_or(item.bad("scope"))?,
            scope_id: (head >> 16) as u16,
            limit: LimitId::from_wire(head >> 32).ok_or(item.bad("limit id"))?,
            value: item.word(1) as i64,
        })
    }
}

/// What a strategy may trade: one item that says it may not trade everything, then one per symbol it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntitlementPart {
    /// Which strategy.
    pub strategy: StrategyId,
    /// A symbol that it was given.
    pub symbol: Option<SymbolId>,
}

impl EntitlementPart {
    /// To the file.
    #[must_use]
    pub fn encode(&self) -> [u64; Part::Entitlements.words()] {
        let place = self.symbol.map_or(0, |symbol| u64::from(symbol) + 1);
        [u64::from(self.strategy) | place << 16]
    }

    /// From the file.
    ///
    /// # Errors
    /// [`CheckpointError`] when the item is none.
    pub fn decode(item: &Item<'_>) -> Result<Self, CheckpointError> {
        let place = (item.word(0) >> 16).checked_sub(1);
        let symbol = place.map(|id| SymbolId::try_from(id).map_err(|_| item.bad("symbol"))).transpose()?;
        Ok(Self { strategy: item.word(0) as u16, symbol })
    }

    /// The value of the [`LimitId::Entitlement`] record that does the same to a strategy with less: whoever is
    /// restricted begins without the first symbol, and is given it again if that was so.
    #[must_use]
    pub fn value(&self) -> i64 {
        self.symbol.map_or(-1, |symbol| i64::from(symbol) + 1)
    }
}

/// A symbol of the table and its last mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SymbolPart {
    /// Its id.
    pub id: SymbolId,
    /// Name, scales, steps.
    pub symbol: Symbol,
    /// The last journalled mark, scaled; 0: none.
    pub bid_price: i64,
    /// As `bid_price`.
    pub ask_price: i64,
    /// As `bid_price`.
    pub last_price: i64,
    /// Gate time of that mark, ns; 0: there was none.
    pub marked_ns: u64,
    /// What positions are valued at, scaled; 0: nothing yet.
    pub mark_price: i64,
    /// Theoretical arrival time of the bucket for its orders, ns.
    pub orders_arrival_ns: u64,
}

impl SymbolPart {
    /// To the file.
    #[must_use]
    pub fn encode(&self) -> [u64; Part::Symbols.words()] {
        let mut words = [0; Part::Symbols.words()];
        let record = Record::Symbol { id: self.id, symbol: self.symbol }.encode();
        words[..7].copy_from_slice(&record.slots()[0]);
        words[7..].copy_from_slice(&[
            self.bid_price as u64,
            self.ask_price as u64,
            self.last_price as u64,
            self.marked_ns,
            self.mark_price as u64,
            self.orders_arrival_ns,
        ]);
        words
    }

    /// From the file.
    ///
    /// # Errors
    /// [`CheckpointError`] when the item is none.
    pub fn decode(item: &Item<'_>) -> Result<Self, CheckpointError> {
        let words: Words = std::array::from_fn(|i| item.word(i));
        let Record::Symbol { id, symbol } = Record::decode(&[words])? else {
            return Err(item.bad("holds another record"));
        };
        Ok(Self {
            id,
            symbol,
            bid_price: item.word(7) as i64,
            ask_price: item.word(8) as i64,
            last_price: item.word(9) as i64,
            marked_ns: item.word(10),
            mark_price: item.word(11) as i64,
            orders_arrival_ns: item.word(12),
        })
    }
}

/// A strategy and its rate buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StrategyPart {
    /// Its id.
    pub strategy: StrategyId,
    /// Its account.
    pub account: AccountId,
    /// Its mode.
    pub mode: Mode,
    /// Its name, ASCII, zero-padded.
    pub name: [u8; STRATEGY_NAME_BYTES],
    /// Theoretical arrival time of the orders' bucket, ns.
    pub orders_arrival_ns: u64,
    /// Of the cancels' bucket, ns.
    pub cancels_arrival_ns: u64,
    /// Digest of the last accepted new order's content.
    pub repeat_content: u64,
    /// When the first of the identical orders in a row was accepted, ns.
    pub repeat_since_ns: u64,
    /// How many there are in the row.
    pub repeats: i64,
    /// Messages of the day.
    pub messages: i64,
    /// Fills of the day.
    pub fills: i64,
    /// Profit when the day began, 16 decimals.
    pub day_base_e16: i128,
    /// Profit now, 16 decimals.
    pub pnl_e16: i128,
}

impl StrategyPart {
    /// To the file.
    #[must_use]
    pub fn encode(&self) -> [u64; Part::Strategies.words()] {
        let mut words = [0; Part::Strategies.words()];
        words[0] = u64::from(self.strategy) | u64::from(self.account) << 16 | (self.mode as u64) << 32;
        for (word, bytes) in words[1..4].iter_mut().zip(self.name.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        let (base, pnl) = (self.day_base_e16 as u128, self.pnl_e16 as u128);
        words[4..].copy_from_slice(&[
            self.orders_arrival_ns,
            self.cancels_arrival_ns,
            self.repeat_content,
            self.repeat_since_ns,
            self.repeats as u64,
            self.messages as u64,
            self.fills as u64,
            base as u64,
            (base >> 64) as u64,
            pnl as u64,
            (pnl >> 64) as u64,
        ]);
        words
    }

    /// From the file.
    ///
    /// # Errors
    /// [`CheckpointError`] when the item is none.
    pub fn decode(item: &Item<'_>) -> Result<Self, CheckpointError> {
        let mut name = [0; STRATEGY_NAME_BYTES];
        for (i, bytes) in name.as_chunks_mut().0.iter_mut().enumerate() {
            *bytes = item.word(1 + i).to_le_bytes();
        }
        let head = item.word(0);
        Ok(Self {
            strategy: head as u16,
            account: (head >> 16) as u16,
            mode: Mode::from_wire(head >> 32).ok_or(item.bad("mode"))?,
            name,
            orders_arrival_ns: item.word(4),
            cancels_arrival_ns: item.word(5),
            repeat_content: item.word(6),
            repeat_since_ns: item.word(7),
            repeats: item.word(8) as i64,
            messages: item.word(9) as i64,
            fills: item.word(10) as i64,
            day_base_e16: item.wide(11) as i128,
            pnl_e16: item.wide(13) as i128,
        })
    }
}

/// The newest resume ticket of a strategy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TicketPart {
    /// Whose.
    pub strategy: StrategyId,
    /// First 16 bytes of SHA-256 over the ticket.
    pub digest: u128,
}

impl TicketPart {
    /// To the file.
    #[must_use]
    pub const fn encode(&self) -> [u64; Part::Tickets.words()] {
        [self.strategy as u64, self.digest as u64, (self.digest >> 64) as u64]
    }

    /// From the file.
    #[must_use]
    pub fn decode(item: &Item<'_>) -> Self {
        Self { strategy: item.word(0) as u16, digest: item.wide(1) }
    }
}

/// How long the journal is up to the checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PastPart {
    /// Records before the checkpoint.
    pub records: u64,
    /// Gate time of the newest of them, ns.
    pub last_ns: u64,
    /// The highest client number given so far.
    pub last_client: u64,
}

impl PastPart {
    /// To the file.
    #[must_use]
    pub const fn encode(&self) -> [u64; Part::Past.words()] {
        [self.records, self.last_ns, self.last_client]
    }

    /// From the file.
    #[must_use]
    pub fn decode(item: &Item<'_>) -> Self {
        Self { records: item.word(0), last_ns: item.word(1), last_client: item.word(2) }
    }
}
