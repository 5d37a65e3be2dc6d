//! Binance's combined streams (`trade`, `bookTicker`, `depth`) and REST depth snapshots: the one parser for live data
//! and recordings.
//!
//! A snapshot is older than the moment it arrives: depth updates that it already contains (`u <= lastUpdateId`) become
//! empty events, and newer ones that came before it are applied again on top of it. Numbers become scaled integers
//! exactly or not at all.

mod json;

use super::MAX_EVENT_LEVELS;
use super::event::{MarketBody, MarketEvent};
use json::{Data, Line, SideField};
use ringfence_ipc::msg::{Level, Side, SymbolId};
use ringfence_ipc::symbol::{DecimalError, Symbol, parse_scaled};
use std::collections::VecDeque;

/// Why a line is no market event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Not `<receive time, ns> <JSON>`.
    #[error("the line does not start with a receive time in ns and a space")]
    NoTimestamp,
    /// Longer than [`super::MAX_LINE_BYTES`]; it was skipped.
    #[error("the line is longer than {} bytes", super::MAX_LINE_BYTES)]
    TooLong,
    /// The file broke off or could not be read on: what was left of a line.
    #[error("the recording breaks off inside this line")]
    CutOff,
    /// Not the JSON of any message known here (bytes that are not UTF-8 included).
    #[error("not a Binance stream message: {0:?} error")]
    Json(serde_json::error::Category),
    /// A stream other than `trade`, `bookTicker` and `depth`.
    #[error("unknown stream")]
    UnknownStream,
    /// The symbol is not in the symbol table.
    #[error("unknown symbol")]
    UnknownSymbol,
    /// A snapshot names no symbol, and it is not clear which one it is about.
    #[error("a depth snapshot without a symbol, and more than one symbol to choose from")]
    SnapshotOfWhat,
    /// A field of this message is missing.
    #[error("field `{0}` is missing")]
    Missing(&'static str),
    /// A field is no exact decimal at the symbol's scale.
    #[error("field `{field}`: {error}")]
    Number {
        /// Its name.
        field: &'static str,
        /// Why.
        error: DecimalError,
    },
    /// A price that is not above 0, or a quantity below 0.
    #[error("field `{0}` is out of range")]
    OutOfRange(&'static str),
    /// More levels than one event may carry.
    #[error("more than {MAX_EVENT_LEVELS} levels")]
    TooManyLevels,
}

/// Depth updates remembered per symbol for a snapshot on its way: three seconds of `depth@100ms`.
const REMEMBERED_UPDATES: usize = 32;

/// Turns messages into market events. It remembers per symbol what the last snapshot contained.
#[derive(Clone, Debug)]
pub struct BinanceParser {
    symbols: Vec<Known>,
    /// The symbol of every message so far, if it was always the same one.
    only: Only,
    gaps: u64,
}

#[derive(Clone, Debug)]
struct Known {
    symbol: Symbol,
    snapshot_id: Option<u64>,
    /// `u` of the last depth update, 0 before the first.
    last_update_id: u64,
    /// The newest updates, oldest first: `u` and levels.
    recent: VecDeque<(u64, Vec<Level>)>,
}

#[derive(Clone, Copy, Debug)]
enum Only {
    NoneYet,
    One(SymbolId),
    Several,
}

impl BinanceParser {
    /// For the symbols of the table; a symbol's id is its index, ids beyond 65,535 do not exist.
    #[must_use]
    pub fn new(symbols: &[Symbol]) -> Self {
        let known = |symbol: &Symbol| Known {
            symbol: *symbol,
            snapshot_id: None,
            last_update_id: 0,
            recent: VecDeque::with_capacity(REMEMBERED_UPDATES),
        };
        let only = if symbols.len() == 1 { Only::One(0) } else { Only::NoneYet };
        Self { symbols: symbols.iter().take(1 << 16).map(known).collect(), only, gaps: 0 }
    }

    /// Depth updates that did not follow on the one before: the book may miss changes until the next snapshot.
    #[must_use]
    pub const fn gaps(&self) -> u64 {
        self.gaps
    }

    /// Parses one message, received at `ts_ns`.
    ///
    /// # Errors
    /// [`ParseError`]; the parser's state is as before.
    pub fn parse(&mut self, message: &[u8], ts_ns: u64) -> Result<MarketEvent, ParseError> {
        let line: Line<'_> = serde_json::from_slice(message).map_err(|e| ParseError::Json(e.classify()))?;
        let (symbol, body) = match (line.stream, &line.data) {
            (Some(stream), Some(data)) => self.stream(stream, data)?,
            (Some(_), None) => return Err(ParseError::Missing("data")),
            (None, _) => self.snapshot(None, &line)?,
        };
        Ok(MarketEvent { symbol, ts_ns, body })
    }

    /// Parses a REST depth snapshot of this symbol, received at `ts_ns`.
    ///
    /// # Errors
    /// [`ParseError`]; the parser's state is as before.
    pub fn parse_snapshot(
        &mut self,
        symbol: SymbolId,
        message: &[u8],
        ts_ns: u64,
    ) -> Result<MarketEvent, ParseError> {
        let line: Line<'_> = serde_json::from_slice(message).map_err(|e| ParseError::Json(e.classify()))?;
        let (symbol, body) = self.snapshot(Some(symbol), &line)?;
        Ok(MarketEvent { symbol, ts_ns, body })
    }

    fn stream(&mut self, stream: &str, data: &Data<'_>) -> Result<(SymbolId, MarketBody), ParseError> {
        let (_, kind) = stream.split_once('@').ok_or(ParseError::UnknownStream)?;
        let id = self.lookup(data.symbol.ok_or(ParseError::Missing("s"))?)?;
        let known = &mut self.symbols[usize::from(id)];
        let body = match kind {
            "bookTicker" => quote(&known.symbol, data)?,
            "trade" => trade(&known.symbol, data)?,
            "depth" | "depth@100ms" => {
                let (body, gap) = known.update(data)?;
                self.gaps += u64::from(gap);
                body
            }
            _ => return Err(ParseError::UnknownStream),
        };
        self.only = match self.only {
            Only::NoneYet => Only::One(id),
            Only::One(same) if same == id => Only::One(id),
            _ => Only::Several,
        };
        Ok((id, body))
    }

    fn lookup(&self, name: &str) -> Result<SymbolId, ParseError> {
        let at = self.symbols.iter().position(|known| known.symbol.name() == name);
        at.and_then(|at| SymbolId::try_from(at).ok()).ok_or(ParseError::UnknownSymbol)
    }

    /// The snapshot of a symbol; of none that is named, the only one that every message was about.
    fn snapshot(
        &mut self,
        of: Option<SymbolId>,
        line: &Line<'_>,
    ) -> Result<(SymbolId, MarketBody), ParseError> {
        let id = line.last_update_id.ok_or(ParseError::Missing("lastUpdateId"))?;
        let bids = line.bids.as_deref().ok_or(ParseError::Missing("bids"))?;
        let asks = line.asks.as_deref().ok_or(ParseError::Missing("asks"))?;
        let symbol = match (of, self.only) {
            (Some(symbol), _) | (None, Only::One(symbol)) => symbol,
            _ => return Err(ParseError::SnapshotOfWhat),
        };
        let known = self.symbols.get_mut(usize::from(symbol)).ok_or(ParseError::UnknownSymbol)?;
        let mut levels = levels(&known.symbol, bids, asks)?;
        for (_, newer) in known.recent.iter().filter(|(last, _)| *last > id) {
            levels.extend_from_slice(newer);
        }
        if levels.len() > MAX_EVENT_LEVELS {
            return Err(ParseError::TooManyLevels);
        }
        known.snapshot_id = Some(id);
        Ok((symbol, MarketBody::Depth { levels, snapshot: true }))
    }
}

impl Known {
    /// A depth update, and whether updates are missing before it.
    fn update(&mut self, data: &Data<'_>) -> Result<(MarketBody, bool), ParseError> {
        let first = data.first_update_id.ok_or(ParseError::Missing("U"))?;
        let last = data.update_id.ok_or(ParseError::Missing("u"))?;
        let (Some(SideField::Levels(bids)), Some(SideField::Levels(asks))) = (&data.bid, &data.ask) else {
            return Err(ParseError::Missing("b, a"));
        };
        let levels = levels(&self.symbol, bids, asks)?;
        let gap = self.last_update_id != 0 && first > self.last_update_id.saturating_add(1);
        self.last_update_id = last;
        if self.snapshot_id.is_some_and(|id| last <= id) {
            return Ok((MarketBody::Empty, gap));
        }
        if self.recent.len() == REMEMBERED_UPDATES {
            self.recent.pop_front();
        }
        self.recent.push_back((last, levels.clone()));
        Ok((MarketBody::Depth { levels, snapshot: false }, gap))
    }
}

fn quote(symbol: &Symbol, data: &Data<'_>) -> Result<MarketBody, ParseError> {
    let side = |price: &Option<SideField<'_>>, qty: Option<&str>, names: [&'static str; 2]| {
        let Some(SideField::Price(price)) = price else { return Err(ParseError::Missing(names[0])) };
        let qty = number(qty.ok_or(ParseError::Missing(names[1]))?, symbol.qty_scale, names[1])?;
        let price = number(price, symbol.price_scale, names[0])?;
        if qty < 0 {
            return Err(ParseError::OutOfRange(names[1]));
        }
        if qty > 0 && price <= 0 {
            return Err(ParseError::OutOfRange(names[0]));
        }
        Ok((price, qty))
    };
    let (bid_price, bid_qty) = side(&data.bid, data.bid_qty, ["b", "B"])?;
    let (ask_price, ask_qty) = side(&data.ask, data.ask_qty, ["a", "A"])?;
    Ok(MarketBody::Quote { bid_price, bid_qty, ask_price, ask_qty })
}

fn trade(symbol: &Symbol, data: &Data<'_>) -> Result<MarketBody, ParseError> {
    let price = number(data.price.ok_or(ParseError::Missing("p"))?, symbol.price_scale, "p")?;
    let qty = number(data.qty.ok_or(ParseError::Missing("q"))?, symbol.qty_scale, "q")?;
    if price <= 0 {
        return Err(ParseError::OutOfRange("p"));
    }
    if qty <= 0 {
        return Err(ParseError::OutOfRange("q"));
    }
    let buyer_was_maker = data.buyer_was_maker.ok_or(ParseError::Missing("m"))?;
    Ok(MarketBody::Trade {
        price,
        qty,
        trade_id: data.trade_id.ok_or(ParseError::Missing("t"))?,
        aggressor: if buyer_was_maker { Side::Sell } else { Side::Buy },
    })
}

fn levels(symbol: &Symbol, bids: &[(&str, &str)], asks: &[(&str, &str)]) -> Result<Vec<Level>, ParseError> {
    if bids.len() + asks.len() > MAX_EVENT_LEVELS {
        return Err(ParseError::TooManyLevels);
    }
    let tagged =
        bids.iter().map(|level| (Side::Buy, level)).chain(asks.iter().map(|level| (Side::Sell, level)));
    tagged
        .map(|(side, (price, qty))| {
            let price = number(price, symbol.price_scale, "level price")?;
            let qty = number(qty, symbol.qty_scale, "level quantity")?;
            if price <= 0 {
                return Err(ParseError::OutOfRange("level price"));
            }
            if qty < 0 {
                return Err(ParseError::OutOfRange("level quantity"));
            }
            Ok(Level { side, price, qty })
        })
        .collect()
}

fn number(text: &str, scale: u8, field: &'static str) -> Result<i64, ParseError> {
    parse_scaled(text, scale).map_err(|error| ParseError::Number { field, error })
}

#[cfg(test)]
mod tests;
