//! The book as the feed knows it, kept so that a restarted venue can be told.

use super::tape;
use ringfence_binance::{MarketBody, MarketEvent};
use ringfence_ipc::msg::{Level, Quote, Side, SymbolId, Words};
use std::collections::BTreeMap;

/// The most levels per side a snapshot tells.
pub const SNAPSHOT_LEVELS_PER_SIDE: usize = 1_000;
/// The most levels per side that are kept; the worst goes first.
const KEPT_LEVELS_PER_SIDE: usize = 10_000;

/// Every symbol's book, under the tape's rule: a quote is newer than the depth around it.
#[derive(Clone, Debug)]
pub struct BookMirror {
    books: Vec<Mirror>,
}

#[derive(Clone, Debug, Default)]
struct Mirror {
    ts_ns: u64,
    /// Scaled price to quantity, by rank: price for bids, minus price for asks, the best one last.
    bids: BTreeMap<i64, i64>,
    asks: BTreeMap<i64, i64>,
    /// The last quote since the last snapshot.
    quote: Option<[i64; 4]>,
}

impl BookMirror {
    /// Empty books for `symbols` symbols.
    #[must_use]
    pub fn new(symbols: usize) -> Self {
        Self { books: vec![Mirror::default(); symbols] }
    }

    /// Applies `event`; one about an unknown symbol changes nothing.
    pub fn apply(&mut self, event: &MarketEvent) {
        let Some(book) = self.books.get_mut(usize::from(event.symbol)) else { return };
        match &event.body {
            MarketBody::Quote { bid_price, bid_qty, ask_price, ask_qty } => {
                set_best(&mut book.bids, *bid_price, *bid_qty);
                set_best(&mut book.asks, ask_price.saturating_neg(), *ask_qty);
                book.quote = Some([*bid_price, *bid_qty, *ask_price, *ask_qty]);
            }
            MarketBody::Depth { levels, snapshot } => {
                if *snapshot {
                    *book = Mirror::default();
                }
                levels.iter().for_each(|level| book.set(level));
            }
            MarketBody::Trade { .. } | MarketBody::Empty => return,
        }
        book.ts_ns = event.ts_ns;
    }

    /// The best level of one side of `symbol` as (price, quantity), scaled.
    #[must_use]
    pub fn best(&self, symbol: SymbolId, side: Side) -> Option<(i64, i64)> {
        let book = self.books.get(usize::from(symbol))?;
        let levels = if side == Side::Buy { &book.bids } else { &book.asks };
        levels.last_key_value().map(|(rank, qty)| (rank * side.sign(), *qty))
    }

    /// Appends the books of all symbols that have one to `out`, as tape messages that carry event number `number`: a
    /// snapshot batch of at most [`SNAPSHOT_LEVELS_PER_SIDE`] levels a side, best first, then the last quote.
    pub fn snapshot(&self, number: u64, out: &mut Vec<Words>) {
        for (symbol, book) in (0..).zip(&self.books) {
            if book.bids.is_empty() && book.asks.is_empty() && book.quote.is_none() {
                continue;
            }
            let side = |side: Side, levels: &BTreeMap<i64, i64>| -> Vec<Level> {
                let best_first = levels.iter().rev().take(SNAPSHOT_LEVELS_PER_SIDE);
                best_first.map(|(rank, qty)| Level { side, price: rank * side.sign(), qty: *qty }).collect()
            };
            let mut levels = side(Side::Buy, &book.bids);
            levels.extend(side(Side::Sell, &book.asks));
            tape::depth(number, symbol, book.ts_ns, &levels, true, out);
            if let Some([bid_price, bid_qty, ask_price, ask_qty]) = book.quote {
                let ts_ns = book.ts_ns;
                out.push(
                    Quote { symbol, event: number, ts_ns, bid_price, bid_qty, ask_price, ask_qty }.encode(),
                );
            }
        }
    }
}

impl Mirror {
    fn set(&mut self, level: &Level) {
        let (levels, quoted) = match level.side {
            Side::Buy => (&mut self.bids, self.quote.map(|[price, qty, ..]| (price, qty))),
            Side::Sell => (&mut self.asks, self.quote.map(|[.., price, qty]| (price.saturating_neg(), qty))),
        };
        let rank = level.price.saturating_mul(level.side.sign());
        if quoted.is_some_and(|(best, qty)| qty == 0 || rank >= best) {
            return;
        }
        put(levels, rank, level.qty);
    }
}

fn set_best(levels: &mut BTreeMap<i64, i64>, rank: i64, qty: i64) {
    if qty == 0 {
        levels.clear();
        return;
    }
    while levels.last_key_value().is_some_and(|(better, _)| *better > rank) {
        levels.pop_last();
    }
    put(levels, rank, qty);
}

fn put(levels: &mut BTreeMap<i64, i64>, rank: i64, qty: i64) {
    if qty == 0 {
        levels.remove(&rank);
        return;
    }
    levels.insert(rank, qty);
    if levels.len() > KEPT_LEVELS_PER_SIDE {
        levels.pop_first();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringfence_ipc::msg::DepthDelta;

    fn top(mirror: &BookMirror, symbol: SymbolId) -> [Option<(i64, i64)>; 2] {
        [mirror.best(symbol, Side::Buy), mirror.best(symbol, Side::Sell)]
    }

    fn depth(levels: &[(Side, i64, i64)], snapshot: bool) -> MarketEvent {
        let levels =
            levels.iter().map(|(side, price, qty)| Level { side: *side, price: *price, qty: *qty }).collect();
        MarketEvent { symbol: 1, ts_ns: 7, body: MarketBody::Depth { levels, snapshot } }
    }

    fn quote(bid_price: i64, ask_price: i64) -> MarketEvent {
        MarketEvent {
            symbol: 1,
            ts_ns: 8,
            body: MarketBody::Quote { bid_price, bid_qty: 5, ask_price, ask_qty: 6 },
        }
    }

    #[test]
    fn a_quote_outranks_the_depth_around_it() {
        let mut mirror = BookMirror::new(2);
        mirror.apply(&depth(&[(Side::Buy, 99, 1), (Side::Buy, 98, 2), (Side::Sell, 101, 3)], true));
        mirror.apply(&quote(98, 100));
        mirror.apply(&depth(&[(Side::Buy, 99, 9), (Side::Sell, 100, 0), (Side::Sell, 102, 4)], false));
        assert_eq!(top(&mirror, 1), [Some((98, 5)), Some((100, 6))]);
        assert_eq!(top(&mirror, 0), [None, None]);
        assert_eq!(top(&mirror, 9), [None, None]);
    }

    #[test]
    fn the_snapshot_tells_the_book_and_is_bounded() {
        let mut mirror = BookMirror::new(2);
        let many: Vec<_> = (1..=1_500).map(|price| (Side::Buy, price, 1)).collect();
        mirror.apply(&depth(&many, true));
        mirror.apply(&quote(1_500, 1_600));
        let mut out = Vec::new();
        mirror.snapshot(41, &mut out);
        let quoted = Quote::decode(&out.pop().unwrap()).unwrap();
        assert_eq!((quoted.event, quoted.symbol, quoted.bid_price, quoted.ask_price), (41, 1, 1_500, 1_600));
        let deltas: Vec<_> = out.iter().map(|words| DepthDelta::decode(words).unwrap()).collect();
        let prices: Vec<_> =
            deltas.iter().flat_map(|delta| delta.levels).flatten().map(|l| l.price).collect();
        assert_eq!(prices.len(), SNAPSHOT_LEVELS_PER_SIDE + 1);
        assert_eq!((prices[0], prices[999], prices[1_000]), (1_500, 501, 1_600));
        assert!(deltas[0].snapshot && deltas[deltas.len() - 1].last);
    }

    #[test]
    fn an_empty_side_in_a_quote_clears_it() {
        let mut mirror = BookMirror::new(2);
        mirror.apply(&quote(98, 100));
        let body = MarketBody::Quote { bid_price: 0, bid_qty: 0, ask_price: 100, ask_qty: 6 };
        mirror.apply(&MarketEvent { symbol: 1, ts_ns: 9, body });
        mirror.apply(&depth(&[(Side::Buy, 97, 1)], false));
        assert_eq!(top(&mirror, 1), [None, Some((100, 6))]);
    }
}
