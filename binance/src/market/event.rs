//! One market event, whatever source it came from.

use ringfence_ipc::msg::{Level, Side, SymbolId};

/// Something at a moment of its source's own time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timed<T> {
    /// Since the source's first event, ns; never goes back.
    pub due_ns: u64,
    /// What.
    pub value: T,
}

/// One market event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarketEvent {
    /// The symbol; of an event that could not be read, 0.
    pub symbol: SymbolId,
    /// When it was received, ns since the Unix epoch by the receiver's clock.
    pub ts_ns: u64,
    /// What happened.
    pub body: MarketBody,
}

/// What happened. Prices and quantities are scaled by the symbol's scales.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MarketBody {
    /// The top of the book; quantity 0: that side is empty.
    Quote {
        /// Best bid.
        bid_price: i64,
        /// Quantity there.
        bid_qty: i64,
        /// Best ask.
        ask_price: i64,
        /// Quantity there.
        ask_qty: i64,
    },
    /// A public trade.
    Trade {
        /// Its price.
        price: i64,
        /// Its quantity.
        qty: i64,
        /// The venue's trade id.
        trade_id: u64,
        /// Who took.
        aggressor: Side,
    },
    /// Changed levels; quantity 0 removes one.
    Depth {
        /// The levels, at most [`super::MAX_EVENT_LEVELS`].
        levels: Vec<Level>,
        /// They are the whole book.
        snapshot: bool,
    },
    /// Nothing that changes the market: an update older than the snapshot, or a line that could not be read.
    Empty,
}
