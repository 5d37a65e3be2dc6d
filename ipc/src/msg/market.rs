//! What a feed tells, and the lockstep turn.

use super::{DecodeError, Side, SymbolId, Words, bits, kind};

/// Top of book, one slot. All market messages share word 0's layout and words 1 and 2.
///
/// ```text
///  word 0: kind u8 | flags u8 | levels u8 | reserved u8 | reserved u16 | symbol u16
///  word 1: event number (1, 2, 3, .. over the whole tape)     word 2: receive time ns
///  word 3: bid price   word 4: bid quantity   word 5: ask price   word 6: ask quantity   (0 quantity: side empty)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quote {
    /// The symbol.
    pub symbol: SymbolId,
    /// Number of the market event this message belongs to.
    pub event: u64,
    /// When the feed received it, ns since the Unix epoch by the feed's clock.
    pub ts_ns: u64,
    /// Best bid, scaled.
    pub bid_price: i64,
    /// Quantity at the best bid, scaled; 0: no bid.
    pub bid_qty: i64,
    /// Best ask, scaled.
    pub ask_price: i64,
    /// Quantity at the best ask, scaled; 0: no ask.
    pub ask_qty: i64,
}

/// Flag: the last message of its market event.
const FINAL: u64 = 1;
/// Flag: a trade whose aggressor sold (Binance `m`: the buyer was the maker).
const SELL: u64 = 2;
/// Flag: drop the book before applying: a snapshot begins.
const SNAPSHOT: u64 = 4;
/// Flag: level 0 / level 1 is an ask.
const ASK: [u64; 2] = [8, 16];

const fn header(kind: u8, flags: u64, levels: u64, symbol: SymbolId) -> u64 {
    kind as u64 | flags << 8 | levels << 16 | (symbol as u64) << 48
}

fn check(w: &Words, expected: u8, flags: u64) -> Result<u64, DecodeError> {
    if w[0] as u8 != expected {
        return Err(DecodeError::UnknownKind(w[0] as u8));
    }
    let found = bits(w[0], 8, 8);
    if found & !flags != 0 || bits(w[0], 24, 24) != 0 {
        return Err(DecodeError::Reserved(0));
    }
    Ok(found)
}

/// As [`check`], for what is always its event's only message and carries no levels.
fn check_single(w: &Words, expected: u8, flags: u64) -> Result<u64, DecodeError> {
    let found = check(w, expected, FINAL | flags)?;
    if found & FINAL == 0 || bits(w[0], 16, 8) != 0 { Err(DecodeError::Reserved(0)) } else { Ok(found) }
}

/// Word 0 names neither levels nor a symbol.
fn check_bare(w: &Words) -> Result<(), DecodeError> {
    if w[0] >> 16 == 0 { Ok(()) } else { Err(DecodeError::Reserved(0)) }
}

/// Words `first` and up are reserved.
fn check_zero_from(w: &Words, first: usize) -> Result<(), DecodeError> {
    (first..w.len()).find(|word| w[*word] != 0).map_or(Ok(()), |word| Err(DecodeError::Reserved(word)))
}

impl Quote {
    /// To the wire. A quote is always its event's only and final message.
    #[must_use]
    pub const fn encode(&self) -> Words {
        [
            header(kind::QUOTE, FINAL, 0, self.symbol),
            self.event,
            self.ts_ns,
            self.bid_price as u64,
            self.bid_qty as u64,
            self.ask_price as u64,
            self.ask_qty as u64,
        ]
    }

    /// From the wire.
    ///
    /// # Errors
    /// [`DecodeError`] on another kind or non-zero reserved bits.
    pub fn decode(w: &Words) -> Result<Self, DecodeError> {
        check_single(w, kind::QUOTE, 0)?;
        Ok(Self {
            symbol: (w[0] >> 48) as u16,
            event: w[1],
            ts_ns: w[2],
            bid_price: w[3] as i64,
            bid_qty: w[4] as i64,
            ask_price: w[5] as i64,
            ask_qty: w[6] as i64,
        })
    }
}

/// A public trade, one slot: words 3 price, 4 quantity, 5 venue trade id, 6 reserved 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trade {
    /// The symbol.
    pub symbol: SymbolId,
    /// Number of the market event.
    pub event: u64,
    /// When the feed received it, ns.
    pub ts_ns: u64,
    /// Scaled price.
    pub price: i64,
    /// Scaled quantity.
    pub qty: i64,
    /// The venue's trade id.
    pub trade_id: u64,
    /// Who took: `Sell` means a sell order hit a resting bid.
    pub aggressor: Side,
}

impl Trade {
    /// To the wire. A trade is always its event's only and final message.
    #[must_use]
    pub const fn encode(&self) -> Words {
        let flags = FINAL | if matches!(self.aggressor, Side::Sell) { SELL } else { 0 };
        [
            header(kind::TRADE, flags, 0, self.symbol),
            self.event,
            self.ts_ns,
            self.price as u64,
            self.qty as u64,
            self.trade_id,
            0,
        ]
    }

    /// From the wire.
    ///
    /// # Errors
    /// [`DecodeError`] on another kind or non-zero reserved bits.
    pub fn decode(w: &Words) -> Result<Self, DecodeError> {
        let flags = check_single(w, kind::TRADE, SELL)?;
        check_zero_from(w, 6)?;
        Ok(Self {
            symbol: (w[0] >> 48) as u16,
            event: w[1],
            ts_ns: w[2],
            price: w[3] as i64,
            qty: w[4] as i64,
            trade_id: w[5],
            aggressor: if flags & SELL != 0 { Side::Sell } else { Side::Buy },
        })
    }
}

/// One book level: `qty` 0 removes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// `Buy` is a bid, `Sell` an ask.
    pub side: Side,
    /// Scaled price.
    pub price: i64,
    /// Scaled quantity now resting there.
    pub qty: i64,
}

/// Up to two changed book levels; an event of many levels is a batch whose last message is `last`.
/// Words 3, 4: price and quantity of level 0; words 5, 6: of level 1. An event without levels is one empty message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DepthDelta {
    /// The symbol.
    pub symbol: SymbolId,
    /// Number of the market event.
    pub event: u64,
    /// When the feed received it, ns.
    pub ts_ns: u64,
    /// The levels, first those that are `Some`.
    pub levels: [Option<Level>; 2],
    /// The last message of its event: the book is consistent after it.
    pub last: bool,
    /// The first message of a snapshot: the book is emptied before it.
    pub snapshot: bool,
}

impl DepthDelta {
    /// To the wire.
    #[must_use]
    pub fn encode(&self) -> Words {
        let mut flags = if self.last { FINAL } else { 0 } | if self.snapshot { SNAPSHOT } else { 0 };
        let mut w = [0, self.event, self.ts_ns, 0, 0, 0, 0];
        let mut count = 0;
        for level in self.levels.iter().flatten() {
            if level.side == Side::Sell {
                flags |= ASK[count];
            }
            w[3 + 2 * count] = level.price as u64;
            w[4 + 2 * count] = level.qty as u64;
            count += 1;
        }
        w[0] = header(kind::DEPTH, flags, count as u64, self.symbol);
        w
    }

    /// From the wire.
    ///
    /// # Errors
    /// [`DecodeError`] on another kind, more than two levels or non-zero reserved bits.
    pub fn decode(w: &Words) -> Result<Self, DecodeError> {
        let flags = check(w, kind::DEPTH, FINAL | SNAPSHOT | ASK[0] | ASK[1])?;
        let count = bits(w[0], 16, 8);
        if count > 2 {
            return Err(DecodeError::BadEnum { field: "levels", value: count });
        }
        for (absent, ask) in ASK.iter().enumerate().skip(count as usize) {
            if flags & ask != 0 {
                return Err(DecodeError::Reserved(0));
            }
            check_zero_from(w, 3 + 2 * absent)?;
        }
        let level = |i: usize| {
            ((i as u64) < count).then(|| Level {
                side: if flags & ASK[i] != 0 { Side::Sell } else { Side::Buy },
                price: w[3 + 2 * i] as i64,
                qty: w[4 + 2 * i] as i64,
            })
        };
        Ok(Self {
            symbol: (w[0] >> 48) as u16,
            event: w[1],
            ts_ns: w[2],
            levels: [level(0), level(1)],
            last: flags & FINAL != 0,
            snapshot: flags & SNAPSHOT != 0,
        })
    }
}

/// The tape is over: `event` is the number of the last market event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TapeEnd {
    /// Number of the last event before the end.
    pub event: u64,
}

impl TapeEnd {
    /// To the wire.
    #[must_use]
    pub const fn encode(&self) -> Words {
        [header(kind::TAPE_END, FINAL, 0, 0), self.event, 0, 0, 0, 0, 0]
    }

    /// From the wire.
    ///
    /// # Errors
    /// [`DecodeError`] on another kind or non-zero reserved bits.
    pub fn decode(w: &Words) -> Result<Self, DecodeError> {
        check_single(w, kind::TAPE_END, 0)?;
        check_bare(w)?;
        check_zero_from(w, 2)?;
        Ok(Self { event: w[1] })
    }
}

/// Lockstep: the gate has applied market event `event`; it is your turn.
/// word 0: kind, symbol of the event; word 1: event; word 2: now ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The market event just applied.
    pub event: u64,
    /// Gate time, ns: the event's time.
    pub now_ns: u64,
    /// The symbol it was about.
    pub symbol: SymbolId,
}

impl Step {
    /// To the wire.
    #[must_use]
    pub const fn encode(&self) -> Words {
        [header(kind::STEP, 0, 0, self.symbol), self.event, self.now_ns, 0, 0, 0, 0]
    }

    /// From the wire.
    ///
    /// # Errors
    /// [`DecodeError`] on another kind or non-zero reserved bits.
    pub fn decode(w: &Words) -> Result<Self, DecodeError> {
        check(w, kind::STEP, 0)?;
        if bits(w[0], 16, 8) != 0 {
            return Err(DecodeError::Reserved(0));
        }
        check_zero_from(w, 3)?;
        Ok(Self { event: w[1], now_ns: w[2], symbol: (w[0] >> 48) as u16 })
    }
}

/// Lockstep: all my intents for event `event` are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepDone {
    /// The event answered.
    pub event: u64,
}

impl StepDone {
    /// To the wire.
    #[must_use]
    pub const fn encode(&self) -> Words {
        [header(kind::STEP_DONE, 0, 0, 0), self.event, 0, 0, 0, 0, 0]
    }

    /// From the wire.
    ///
    /// # Errors
    /// [`DecodeError`] on another kind or non-zero reserved bits.
    pub fn decode(w: &Words) -> Result<Self, DecodeError> {
        check(w, kind::STEP_DONE, 0)?;
        check_bare(w)?;
        check_zero_from(w, 2)?;
        Ok(Self { event: w[1] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_survives_the_wire() {
        let bid = Level { side: Side::Buy, price: 6_100_000, qty: 5 };
        let ask = Level { side: Side::Sell, price: 6_100_100, qty: 0 };
        for levels in [[None, None], [Some(ask), None], [Some(bid), Some(ask)]] {
            let delta = DepthDelta { symbol: 1, event: 9, ts_ns: 7, levels, last: true, snapshot: false };
            assert_eq!(DepthDelta::decode(&delta.encode()), Ok(delta));
        }
    }

    #[test]
    fn what_no_writer_writes_is_refused() {
        let quote =
            Quote { symbol: 1, event: 2, ts_ns: 3, bid_price: 4, bid_qty: 5, ask_price: 6, ask_qty: 7 };
        let depth = DepthDelta {
            symbol: 1,
            event: 2,
            ts_ns: 3,
            levels: [Some(Level { side: Side::Buy, price: 4, qty: 5 }), None],
            last: true,
            snapshot: false,
        };
        // Every single bit that is added to a good message makes another message, or none.
        let each_bit = |words: Words, again: &dyn Fn(&Words) -> Option<Words>| {
            assert_eq!(again(&words), Some(words));
            for bit in 0..7 * 64 {
                let mut flipped = words;
                flipped[bit / 64] ^= 1 << (bit % 64);
                assert!(again(&flipped).is_none_or(|told| told == flipped), "bit {bit} of {words:x?}");
            }
        };
        each_bit(quote.encode(), &|w| Quote::decode(w).ok().map(|quote| quote.encode()));
        each_bit(depth.encode(), &|w| DepthDelta::decode(w).ok().map(|depth| depth.encode()));
        each_bit(TapeEnd { event: 9 }.encode(), &|w| TapeEnd::decode(w).ok().map(|end| end.encode()));
        let step = Step { event: 9, now_ns: 8, symbol: 7 };
        each_bit(step.encode(), &|w| Step::decode(w).ok().map(|step| step.encode()));
        each_bit(StepDone { event: 9 }.encode(), &|w| StepDone::decode(w).ok().map(|done| done.encode()));
        let trade =
            Trade { symbol: 1, event: 2, ts_ns: 3, price: 4, qty: 5, trade_id: 6, aggressor: Side::Sell };
        each_bit(trade.encode(), &|w| Trade::decode(w).ok().map(|trade| trade.encode()));
    }
}
