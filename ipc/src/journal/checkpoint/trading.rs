//! Positions and orders, as parts of a checkpoint.

use super::{CheckpointError, Item, Part};
use crate::msg::{
    AccountId, Key, OperatorExt, OrderId, OrderState, OrderType, Side, StrategyId, SymbolId, Tif, Words,
};

const fn low(value: u128) -> u64 {
    value as u64
}

const fn high(value: u128) -> u64 {
    (value >> 64) as u64
}

/// A position; `docs/accounting.md` defines every number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PositionPart {
    /// Whose it is.
    pub strategy: StrategyId,
    /// Its account.
    pub account: AccountId,
    /// In what.
    pub symbol: SymbolId,
    /// Signed scaled quantity.
    pub qty: i64,
    /// Signed cost at 16 decimals.
    pub cost_e16: i128,
    /// Realised profit at 16 decimals, before fees.
    pub realised_e16: i128,
    /// Fees paid, 1e-8.
    pub fees_e8: i128,
    /// Fills booked.
    pub fills: u64,
    /// No open buy is above it, scaled.
    pub highest_buy: i64,
    /// No open sell is below it, scaled.
    pub lowest_sell: i64,
}

impl PositionPart {
    /// To the file.
    #[must_use]
    pub const fn encode(&self) -> [u64; Part::Positions.words()] {
        let (cost, realised, fees) = (self.cost_e16 as u128, self.realised_e16 as u128, self.fees_e8 as u128);
        [
            self.strategy as u64 | (self.account as u64) << 16 | (self.symbol as u64) << 32,
            self.qty as u64,
            low(cost),
            high(cost),
            low(realised),
            high(realised),
            low(fees),
            high(fees),
            self.fills,
            self.highest_buy as u64,
            self.lowest_sell as u64,
        ]
    }

    /// From the file.
    #[must_use]
    pub fn decode(item: &Item<'_>) -> Self {
        let head = item.word(0);
        Self {
            strategy: head as u16,
            account: (head >> 16) as u16,
            symbol: (head >> 32) as u16,
            qty: item.word(1) as i64,
            cost_e16: item.wide(2) as i128,
            realised_e16: item.wide(4) as i128,
            fees_e8: item.wide(6) as i128,
            fills: item.word(8),
            highest_buy: item.word(9) as i64,
            lowest_sell: item.word(10) as i64,
        }
    }
}

/// An order as the gate keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderPart {
    /// Its id.
    pub order_id: OrderId,
    /// Scaled price; 0 for market orders.
    pub price: i64,
    /// Scaled total quantity.
    pub qty: i64,
    /// Scaled quantity filled.
    pub cum_qty: i64,
    /// What one unit of quantity reserves, scaled.
    pub reserve_price: i64,
    /// Of the amend that waits for the venue, scaled.
    pub amend_price: i64,
    /// Of the amend that waits for the venue, scaled; 0: none does.
    pub amend_qty: i64,
    /// The key of the intent that asked for it.
    pub key: Key,
    /// Notional of the fills at 16 decimals, unsigned.
    pub filled_e16: i128,
    /// The last fill's trade id.
    pub last_trade_id: u64,
    /// Gate time of acceptance, ns.
    pub created_ns: u64,
    /// Whose it is.
    pub strategy: StrategyId,
    /// Its symbol.
    pub symbol: SymbolId,
    /// Bits of the intent's flags.
    pub flags: u16,
    /// The gate's own marks.
    pub marks: u8,
    /// Buy or sell.
    pub side: Side,
    /// Limit or market.
    pub order_type: OrderType,
    /// Time in force.
    pub tif: Tif,
    /// Where it is in its life.
    pub state: OrderState,
}

impl OrderPart {
    /// To the file.
    #[must_use]
    pub const fn encode(&self) -> [u64; Part::Orders.words()] {
        [
            self.order_id,
            self.price as u64,
            self.qty as u64,
            self.cum_qty as u64,
            self.reserve_price as u64,
            self.amend_price as u64,
            self.amend_qty as u64,
            low(self.key),
            high(self.key),
            low(self.filled_e16 as u128),
            high(self.filled_e16 as u128),
            self.last_trade_id,
            self.created_ns,
            self.strategy as u64
                | (self.symbol as u64) << 16
                | (self.flags as u64) << 32
                | (self.marks as u64) << 48,
            self.side as u64
                | (self.order_type as u64) << 8
                | (self.tif as u64) << 16
                | (self.state as u64) << 24,
        ]
    }

    /// From the file.
    ///
    /// # Errors
    /// [`CheckpointError`] when the item is none.
    pub fn decode(item: &Item<'_>) -> Result<Self, CheckpointError> {
        let (whose, kinds) = (item.word(13), item.word(14));
        let byte = |shift: u32| kinds >> shift & 0xff;
        Ok(Self {
            order_id: item.word(0),
            price: item.word(1) as i64,
            qty: item.word(2) as i64,
            cum_qty: item.word(3) as i64,
            reserve_price: item.word(4) as i64,
            amend_price: item.word(5) as i64,
            amend_qty: item.word(6) as i64,
            key: item.wide(7),
            filled_e16: item.wide(9) as i128,
            last_trade_id: item.word(11),
            created_ns: item.word(12),
            strategy: whose as u16,
            symbol: (whose >> 16) as u16,
            flags: (whose >> 32) as u16,
            marks: (whose >> 48) as u8,
            side: Side::from_wire(byte(0)).ok_or(item.bad("side"))?,
            order_type: OrderType::from_wire(byte(8)).ok_or(item.bad("order type"))?,
            tif: Tif::from_wire(byte(16)).ok_or(item.bad("time in force"))?,
            state: OrderState::from_wire(kinds >> 24).ok_or(item.bad("order state"))?,
        })
    }
}

/// What a reader of open orders wants to know beyond what the gate keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotePart {
    /// The order.
    pub order_id: OrderId,
    /// Journal position of its decision.
    pub journal_seq: u64,
    /// Price as first asked for, before any amend, scaled.
    pub asked_price: i64,
    /// Quantity as first asked for, scaled.
    pub asked_qty: i64,
    /// What its operator said; `None`: a strategy entered it.
    pub ext: Option<OperatorExt>,
}

impl NotePart {
    /// To the file.
    #[must_use]
    pub fn encode(&self) -> [u64; Part::Notes.words()] {
        let mut words = [0; Part::Notes.words()];
        words[..4].copy_from_slice(&[
            self.order_id,
            self.journal_seq,
            self.asked_price as u64,
            self.asked_qty as u64,
        ]);
        if let Some(ext) = &self.ext {
            words[4..].copy_from_slice(&ext.encode());
        }
        words
    }

    /// From the file.
    ///
    /// # Errors
    /// [`CheckpointError`] when the item is none.
    pub fn decode(item: &Item<'_>) -> Result<Self, CheckpointError> {
        let words: Words = std::array::from_fn(|i| item.word(4 + i));
        let ext = if words == [0; 7] { None } else { Some(OperatorExt::decode(&words)?) };
        Ok(Self {
            order_id: item.word(0),
            journal_seq: item.word(1),
            asked_price: item.word(2) as i64,
            asked_qty: item.word(3) as i64,
            ext,
        })
    }
}

/// What came in for an order that the gate does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StrayPart {
    /// The order; 0: all that no longer fit, of this symbol.
    pub order_id: OrderId,
    /// Its symbol.
    pub symbol: SymbolId,
    /// Scaled cumulative quantity at the venue.
    pub cum_qty: i64,
    /// Signed scaled quantity that came in.
    pub net_qty: i64,
    /// The last fill's trade id.
    pub last_trade_id: u64,
    /// Fills.
    pub fills: u64,
}

impl StrayPart {
    /// To the file.
    #[must_use]
    pub const fn encode(&self) -> [u64; Part::Strays.words()] {
        [
            self.order_id,
            self.symbol as u64,
            self.cum_qty as u64,
            self.net_qty as u64,
            self.last_trade_id,
            self.fills,
        ]
    }

    /// From the file.
    ///
    /// # Errors
    /// [`CheckpointError`] when the item is none.
    pub fn decode(item: &Item<'_>) -> Result<Self, CheckpointError> {
        Ok(Self {
            order_id: item.word(0),
            symbol: u16::try_from(item.word(1)).map_err(|_| item.bad("symbol"))?,
            cum_qty: item.word(2) as i64,
            net_qty: item.word(3) as i64,
            last_trade_id: item.word(4),
            fills: item.word(5),
        })
    }
}
