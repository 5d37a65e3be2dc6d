//! What goes to a venue, and what it says back.

use super::{
    DecodeError, Key, OrderId, OrderType, Side, SymbolId, Tif, Words, bits, enum_field, kind, wire_enum,
};
use crate::reason::Reason;

wire_enum! {
    /// Where an order is in its life. Terminal is terminal.
    OrderState {
        /// Commanded; the venue has not answered yet.
        PendingNew = 0,
        /// Resting at the venue.
        Accepted = 1,
        /// Partly filled, the rest rests.
        PartiallyFilled = 2,
        /// Terminal: filled whole.
        Filled = 3,
        /// Cancel commanded; the venue has not answered yet.
        PendingCancel = 4,
        /// Terminal: cancelled.
        Cancelled = 5,
        /// Terminal: refused by the venue.
        Rejected = 6,
        /// Terminal: expired (IOC rest, FOK, post-only, end of day).
        Expired = 7,
        /// Asked, no answer: to be reconciled.
        Unknown = 8,
    }
}

impl OrderState {
    /// Its stable name, as journals and snapshots write it for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PendingNew => "PENDING_NEW",
            Self::Accepted => "ACCEPTED",
            Self::PartiallyFilled => "PARTIALLY_FILLED",
            Self::Filled => "FILLED",
            Self::PendingCancel => "PENDING_CANCEL",
            Self::Cancelled => "CANCELLED",
            Self::Rejected => "REJECTED",
            Self::Expired => "EXPIRED",
            Self::Unknown => "UNKNOWN",
        }
    }

    /// Whether nothing can change any more.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Filled | Self::Cancelled | Self::Rejected | Self::Expired)
    }
}

wire_enum! {
    /// What a command asks of a venue.
    CommandKind {
        /// Enter an order.
        New = 0,
        /// Cancel it.
        Cancel = 1,
        /// Change price and quantity.
        Amend = 2,
        /// After a restart: the order was resting; it re-enters at the back of its queue.
        Reenter = 3,
        /// After a restart: say what became of the order, and enter nothing. Price and quantity are what the gate knows.
        Query = 4,
    }
}

/// What the gate hands to a venue, 56 bytes.
///
/// ```text
///  word 0: kind u8 = COMMAND | command u8 | side u8 | order_type u4, tif u4 | flags u16 | symbol u16
///  word 1: order id     word 2: price     word 3: quantity (total; Reenter: what is left)
///  word 4: gate time ns     word 5: key, low half     word 6: key, high half
///  (`with_filled`: flags bit 15 set, word 5 is the quantity filled before, word 6 is 0)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    /// What is asked.
    pub kind: CommandKind,
    /// The order.
    pub order_id: OrderId,
    /// Its symbol.
    pub symbol: SymbolId,
    /// Buy or sell.
    pub side: Side,
    /// Limit or market.
    pub order_type: OrderType,
    /// Time in force.
    pub tif: Tif,
    /// Bits of [`super::intent_flags`].
    pub flags: u16,
    /// Scaled price.
    pub price: i64,
    /// Scaled total quantity (`Reenter`: what is left).
    pub qty: i64,
    /// When the gate decided, gate time ns.
    pub now_ns: u64,
    /// The intent's key, for venues that take a client order id.
    pub key: Key,
}

impl Command {
    const FILLED: u16 = 1 << 15;

    /// Of a `Reenter`: how much of the order was filled before, scaled, so that the venue goes on counting from there.
    /// It takes the place of the key, which a venue that forgot the order has no use for.
    #[must_use]
    pub const fn with_filled(mut self, filled_qty: i64) -> Self {
        self.flags |= Self::FILLED;
        self.key = filled_qty as u64 as Key;
        self
    }

    /// What [`Command::with_filled`] said; 0 without it. May be any number: the caller checks it.
    #[must_use]
    pub const fn filled_qty(&self) -> i64 {
        if self.flags & Self::FILLED != 0 { self.key as u64 as i64 } else { 0 }
    }

    /// To the wire.
    #[must_use]
    pub const fn encode(&self) -> Words {
        [
            kind::COMMAND as u64
                | (self.kind as u64) << 8
                | (self.side as u64) << 16
                | (self.order_type as u64) << 24
                | (self.tif as u64) << 28
                | (self.flags as u64) << 32
                | (self.symbol as u64) << 48,
            self.order_id,
            self.price as u64,
            self.qty as u64,
            self.now_ns,
            self.key as u64,
            (self.key >> 64) as u64,
        ]
    }

    /// From the wire.
    ///
    /// # Errors
    /// [`DecodeError`] on another kind or an undefined number.
    pub fn decode(w: &Words) -> Result<Self, DecodeError> {
        if w[0] as u8 != kind::COMMAND {
            return Err(DecodeError::UnknownKind(w[0] as u8));
        }
        Ok(Self {
            kind: enum_field!(CommandKind, w[0], 8, 8, "command"),
            side: enum_field!(Side, w[0], 16, 8, "side"),
            order_type: enum_field!(OrderType, w[0], 24, 4, "order_type"),
            tif: enum_field!(Tif, w[0], 28, 4, "tif"),
            flags: bits(w[0], 32, 16) as u16,
            symbol: bits(w[0], 48, 16) as u16,
            order_id: w[1],
            price: w[2] as i64,
            qty: w[3] as i64,
            now_ns: w[4],
            key: (w[5] as u128) | ((w[6] as u128) << 64),
        })
    }
}

wire_enum! {
    /// What a venue reports.
    ReportKind {
        /// The order is working.
        Accepted = 0,
        /// Some or all of it traded.
        Fill = 1,
        /// It was cancelled.
        Cancelled = 2,
        /// It was refused.
        Rejected = 3,
        /// Its rest expired.
        Expired = 4,
        /// Price or quantity changed as asked.
        Amended = 5,
        /// A cancel or amend was refused; the order lives on.
        CancelRejected = 6,
        /// The venue did not answer: the order's state is unknown.
        Unknown = 7,
        /// The gate died before the venue saw the command: nothing happened, the reservation is released.
        LostBeforeSend = 8,
    }
}

impl ReportKind {
    /// Its stable name, as journals and order events write it for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Fill => "fill",
            Self::Cancelled => "cancelled",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Amended => "amended",
            Self::CancelRejected => "cancel_rejected",
            Self::Unknown => "unknown",
            Self::LostBeforeSend => "lost_before_send",
        }
    }
}

/// What a venue says about one order, two slots. In the journal and in a client's event ring the same words stand.
///
/// ```text
///  slot 0, word 0: kind u8 = REPORT | report u8 | state u8 | side u1, maker u1, late u1, reentered u1, reserved u4
///                  | reason u16 | symbol u16
///          word 1: journal sequence     word 2: order id     word 3: last quantity     word 4: last price
///          word 5: cumulative quantity  word 6: gate time ns
///  slot 1, word 0: venue trade id       word 1: fee, e8 of the quote currency          word 2: leaves quantity
///          word 3: key, low half        word 4: venue time ns
///          word 5: average price numerator is derivable; reserved 0                    word 6: strategy u16, account u16
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// What happened.
    pub kind: ReportKind,
    /// The order's state after it (filled in by the gate; a venue writes what it believes).
    pub state: OrderState,
    /// The order's side.
    pub side: Side,
    /// The fill added liquidity.
    pub maker: bool,
    /// A fill that arrived after the order was terminal: booked all the same.
    pub late: bool,
    /// The order re-entered its queue at the back after a restart of the venue.
    pub reentered: bool,
    /// The venue's reason for a reject or expiry; [`Reason::Overfill`], which the gate alone says, on a report with
    /// which the order has more than it asked for.
    pub reason: Reason,
    /// The order's symbol.
    pub symbol: SymbolId,
    /// Journal position of this report's record (0 on its way from the venue).
    pub journal_seq: u64,
    /// The order.
    pub order_id: OrderId,
    /// Scaled quantity of this fill, 0 otherwise.
    pub last_qty: i64,
    /// Scaled price: of this fill; of `Amended` the price the order has now (from a venue 0: it does not say). 0 otherwise.
    pub last_price: i64,
    /// Scaled quantity filled so far: the authority against lost or repeated fills.
    pub cum_qty: i64,
    /// When the gate booked it, gate time ns.
    pub ts_ns: u64,
    /// The venue's trade id, unique per (venue, symbol); 0 when not a fill.
    pub trade_id: u64,
    /// Fee of this fill, 1e-8 of the quote currency; negative is a rebate.
    pub fee_e8: i64,
    /// Scaled quantity still working after this report.
    pub leaves_qty: i64,
    /// Low half of the order's key.
    pub key_low: u64,
    /// When it happened at the venue, ns.
    pub venue_ts_ns: u64,
    /// The order's strategy.
    pub strategy: u16,
    /// The order's account.
    pub account: u16,
}

impl Report {
    /// The report by which a venue marks, among its reports, the moment of snapshot `number`: it names no order.
    #[must_use]
    pub const fn snapshot_mark(number: u64) -> Self {
        Self {
            kind: ReportKind::Unknown,
            state: OrderState::Unknown,
            side: Side::Buy,
            maker: false,
            late: false,
            reentered: false,
            reason: Reason::Ok,
            symbol: 0,
            journal_seq: 0,
            order_id: 0,
            last_qty: 0,
            last_price: 0,
            cum_qty: 0,
            ts_ns: 0,
            trade_id: number,
            fee_e8: 0,
            leaves_qty: 0,
            key_low: 0,
            venue_ts_ns: 0,
            strategy: 0,
            account: 0,
        }
    }

    /// The snapshot whose moment this report marks, if it is such a mark.
    #[must_use]
    pub const fn snapshot_number(&self) -> Option<u64> {
        let marks = self.order_id == 0 && matches!(self.kind, ReportKind::Unknown) && self.trade_id != 0;
        if marks { Some(self.trade_id) } else { None }
    }

    /// To the wire.
    #[must_use]
    #[inline(always)]
    pub const fn encode(&self) -> [Words; 2] {
        [
            [
                kind::REPORT as u64
                    | (self.kind as u64) << 8
                    | (self.state as u64) << 16
                    | (self.side as u64) << 24
                    | (self.maker as u64) << 25
                    | (self.late as u64) << 26
                    | (self.reentered as u64) << 27
                    | (self.reason as u64) << 32
                    | (self.symbol as u64) << 48,
                self.journal_seq,
                self.order_id,
                self.last_qty as u64,
                self.last_price as u64,
                self.cum_qty as u64,
                self.ts_ns,
            ],
            [
                self.trade_id,
                self.fee_e8 as u64,
                self.leaves_qty as u64,
                self.key_low,
                self.venue_ts_ns,
                0,
                self.strategy as u64 | (self.account as u64) << 16,
            ],
        ]
    }

    /// From the wire.
    ///
    /// # Errors
    /// [`DecodeError`] on another kind, an undefined number or non-zero reserved bits.
    #[inline(always)]
    pub fn decode(head: &Words, tail: &Words) -> Result<Self, DecodeError> {
        if head[0] as u8 != kind::REPORT {
            return Err(DecodeError::UnknownKind(head[0] as u8));
        }
        if bits(head[0], 28, 4) != 0 {
            return Err(DecodeError::Reserved(0));
        }
        if tail[5] != 0 || tail[6] >> 32 != 0 {
            return Err(DecodeError::Reserved(1));
        }
        Ok(Self {
            kind: enum_field!(ReportKind, head[0], 8, 8, "report"),
            state: enum_field!(OrderState, head[0], 16, 8, "state"),
            side: enum_field!(Side, head[0], 24, 1, "side"),
            maker: bits(head[0], 25, 1) == 1,
            late: bits(head[0], 26, 1) == 1,
            reentered: bits(head[0], 27, 1) == 1,
            reason: enum_field!(Reason, head[0], 32, 16, "reason"),
            symbol: bits(head[0], 48, 16) as u16,
            journal_seq: head[1],
            order_id: head[2],
            last_qty: head[3] as i64,
            last_price: head[4] as i64,
            cum_qty: head[5] as i64,
            ts_ns: head[6],
            trade_id: tail[0],
            fee_e8: tail[1] as i64,
            leaves_qty: tail[2] as i64,
            key_low: tail[3],
            venue_ts_ns: tail[4],
            strategy: tail[6] as u16,
            account: (tail[6] >> 16) as u16,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reentry_tells_what_was_filled_before() {
        let command = Command {
            kind: CommandKind::Reenter,
            order_id: 5,
            symbol: 1,
            side: Side::Sell,
            order_type: OrderType::Limit,
            tif: Tif::Gtc,
            flags: crate::msg::intent_flags::POST_ONLY,
            price: 7,
            qty: 3,
            now_ns: 9,
            key: u128::MAX,
        };
        assert_eq!(command.filled_qty(), 0);
        for filled_qty in [0, 4, i64::MAX, -1] {
            let told = command.with_filled(filled_qty);
            assert_eq!(Command::decode(&told.encode()).map(|c| c.filled_qty()), Ok(filled_qty));
            assert_eq!(told.flags & crate::msg::intent_flags::ALL, command.flags);
        }
    }
}
