//! What a comparison found.

use serde::{Deserialize, Serialize};

/// Differences that are listed; the others are counted.
pub const MAX_DIFFERENCES: usize = 1_000;

/// The name of a difference. Names are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Code {
    /// The snapshot is of another moment or life than the gate's books: what follows may be no difference.
    StaleSnapshot,
    /// Open here, and the venue does not list it.
    UnknownAtVenue,
    /// The venue lists it, and the gate does not know it.
    UnknownHere,
    /// The venue lists it twice.
    ListedTwice,
    /// Open on one side, final on the other, or final in another way.
    StateDiffers,
    /// Another symbol.
    SymbolDiffers,
    /// The other side.
    SideDiffers,
    /// Another client key.
    KeyDiffers,
    /// Another price than the order's, and than that of an amend under way.
    PriceDiffers,
    /// Another quantity, likewise.
    QtyDiffers,
    /// Another cumulative quantity.
    CumQtyDiffers,
    /// Another position.
    PositionDiffers,
    /// Other fees.
    FeesDiffer,
    /// A fill for an order that the gate does not know: at the venue, and in no position here.
    StrayFill,
    /// The venue names a symbol that the gate does not have.
    UnknownSymbol,
}

impl Code {
    /// What somebody should do about it.
    #[must_use]
    pub const fn act(self) -> &'static str {
        match self {
            Self::StaleSnapshot => "take a new snapshot and compare again",
            Self::UnknownAtVenue => {
                "ask the venue what became of it; it stays reserved until the venue says so"
            }
            Self::UnknownHere => "cancel it at the venue, and find out who entered it",
            Self::ListedTwice => "mend the snapshot: an order stands in it once",
            Self::StateDiffers => {
                "ask the venue for its last reports of this order; cancel it there if it is final here"
            }
            Self::SymbolDiffers | Self::SideDiffers | Self::KeyDiffers => {
                "cancel it at the venue: it is not the order that the gate sent"
            }
            Self::PriceDiffers | Self::QtyDiffers => {
                "cancel it at the venue, or amend it to the terms wanted: the gate reserves its own"
            }
            Self::CumQtyDiffers => "ask the venue for the fills of this order: one is missing on one side",
            Self::PositionDiffers => {
                "compare the fills of this symbol; trade the difference away at the venue"
            }
            Self::FeesDiffer => "compare the fees of this symbol's fills",
            Self::StrayFill => "find out who entered the order, and trade its quantity away at the venue",
            Self::UnknownSymbol => "add the symbol to the gate's table, or trade it away at the venue",
        }
    }
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// What kind.
    pub code: Code,
    /// The order, if it is one's.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub order_id: Option<String>,
    /// Its strategy, if the gate knows it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub strategy: Option<u16>,
    /// The account; none: all of them together.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub account: Option<u16>,
    /// The symbol.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub symbol: Option<String>,
    /// What the gate has.
    pub here: String,
    /// What the venue says.
    pub there: String,
    /// What to do.
    pub act: String,
}

/// An order that the gate does not know the state of, and what the venue says about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnknownOrder {
    /// The order.
    pub order_id: String,
    /// Whose it is.
    pub strategy: u16,
    /// Its symbol.
    pub symbol: String,
    /// Filled, as the gate knows.
    pub cum_qty: String,
    /// The venue's state of it; none: the venue does not list it.
    pub venue_state: Option<String>,
    /// Filled, as the venue says.
    pub venue_cum_qty: Option<String>,
}

/// Everything a comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Who was asked.
    pub venue: String,
    /// When the snapshot was taken, ns since the epoch of Unix.
    pub taken_ns: u64,
    /// The gate's books are those before this journal position.
    pub journal_position: u64,
    /// Orders compared.
    pub orders: usize,
    /// Positions compared.
    pub positions: usize,
    /// Orders on their way to the venue when the snapshot was taken: no difference.
    pub in_flight: usize,
    /// All differences.
    pub total: usize,
    /// The first [`MAX_DIFFERENCES`] of them.
    pub differences: Vec<Difference>,
    /// Orders in state UNKNOWN.
    pub unknown: Vec<UnknownOrder>,
}

impl Report {
    pub(super) fn add(&mut self, difference: Difference) {
        self.total += 1;
        if self.differences.len() < MAX_DIFFERENCES {
            self.differences.push(difference);
        }
    }

    /// Both sides say the same.
    #[must_use]
    pub const fn agrees(&self) -> bool {
        self.total == 0
    }
}
