//! One symbol's price levels, built from the tape.
//!
//! A quote is newer than the depth around it: it sets the best level of each side, drops every level better than it,
//! and until the next quote no depth message may change what lies at or above it. Depth batches become visible as a
//! whole, with their last message. So a book that is fed with quotes is never crossed.

use ringfence_ipc::msg::{DepthDelta, Level, Quote, Side};

/// The most levels kept per side; the worst goes first.
pub const MAX_LEVELS_PER_SIDE: usize = 10_000;
/// The most levels one depth batch may carry (a full REST snapshot of Binance carries 10,000).
pub const MAX_BATCH_LEVELS: usize = 16_384;

/// One price level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BookLevel {
    /// Scaled price, above 0.
    pub price: i64,
    /// Scaled quantity displayed, above 0.
    pub qty: i64,
    /// How much of it the paper venue's own orders have taken, `0..=qty`. The tape does not know.
    pub taken: i64,
}

impl BookLevel {
    /// What may still be taken.
    #[must_use]
    pub const fn available(&self) -> i64 {
        self.qty - self.taken
    }
}

/// A level whose displayed quantity the last applied event changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// `Buy` is a bid.
    pub side: Side,
    /// Scaled price.
    pub price: i64,
    /// Displayed before, 0: no level.
    pub old_qty: i64,
    /// Displayed now, 0: no level.
    pub new_qty: i64,
}

/// What a depth message did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It waits for the last message of its batch.
    Pending,
    /// The batch is applied.
    Whole,
    /// The batch is applied, but some of it could not be: a level with a price or quantity out of range, or an
    /// earlier batch that never ended.
    Partly,
    /// The batch had more than [`MAX_BATCH_LEVELS`] levels: nothing of it is applied.
    TooLong,
}

/// The levels of one symbol.
#[derive(Clone, Debug)]
pub struct Book {
    bids: Ladder,
    asks: Ladder,
    /// The last quote since the last snapshot: (best bid rank, best ask rank), `i64::MIN` for an empty side.
    top: Option<(i64, i64)>,
    pending: Batch,
    changes: Vec<Change>,
    blank: bool,
}

#[derive(Clone, Debug, Default)]
struct Batch {
    levels: Vec<Level>,
    event: u64,
    open: bool,
    snapshot: bool,
    damaged: bool,
    too_long: bool,
}

/// One side. Levels ascend by rank (price for bids, minus price for asks): the best one is last, so that the busy
/// end is the cheap end.
#[derive(Clone, Debug)]
struct Ladder {
    side: Side,
    levels: Vec<BookLevel>,
}

impl Default for Book {
    fn default() -> Self {
        Self::new()
    }
}

impl Book {
    /// An empty book.
    #[must_use]
    pub fn new() -> Self {
        Self {
            bids: Ladder { side: Side::Buy, levels: Vec::new() },
            asks: Ladder { side: Side::Sell, levels: Vec::new() },
            top: None,
            pending: Batch::default(),
            changes: Vec::new(),
            blank: true,
        }
    }

    /// Applies a quote; returns whether it made sense. A crossed or negative quote changes nothing.
    pub fn apply_quote(&mut self, quote: &Quote) -> bool {
        self.changes.clear();
        let sane = |price: i64, qty: i64| qty == 0 || (qty > 0 && price > 0);
        let both = quote.bid_qty > 0 && quote.ask_qty > 0;
        if !sane(quote.bid_price, quote.bid_qty)
            || !sane(quote.ask_price, quote.ask_qty)
            || (both && quote.bid_price >= quote.ask_price)
        {
            return false;
        }
        self.blank = false;
        let bid = self.bids.set_best(quote.bid_price, quote.bid_qty, &mut self.changes);
        let ask = self.asks.set_best(quote.ask_price, quote.ask_qty, &mut self.changes);
        self.top = Some((bid, ask));
        true
    }

    /// Applies one message of a depth batch; the levels change with the batch's last message.
    pub fn apply_depth(&mut self, delta: &DepthDelta) -> Applied {
        self.changes.clear();
        let batch = &mut self.pending;
        if !batch.open || batch.event != delta.event || delta.snapshot {
            let torn = batch.open;
            batch.levels.clear();
            (batch.open, batch.event, batch.snapshot) = (true, delta.event, delta.snapshot);
            (batch.damaged, batch.too_long) = (torn, false);
        }
        for level in delta.levels.iter().flatten() {
            if level.price <= 0 || level.qty < 0 {
                batch.damaged = true;
            } else if batch.levels.len() == MAX_BATCH_LEVELS {
                batch.too_long = true;
            } else {
                batch.levels.push(*level);
            }
        }
        if !delta.last {
            return Applied::Pending;
        }
        batch.open = false;
        if batch.too_long {
            return Applied::TooLong;
        }
        let damaged = batch.damaged;
        self.apply_batch();
        if damaged { Applied::Partly } else { Applied::Whole }
    }

    fn apply_batch(&mut self) {
        let batch = std::mem::take(&mut self.pending);
        if batch.snapshot {
            self.replace(&batch.levels);
        } else {
            for level in &batch.levels {
                let ladder = match level.side {
                    Side::Buy => &mut self.bids,
                    Side::Sell => &mut self.asks,
                };
                let top = self.top.map(|(bid, ask)| if level.side == Side::Buy { bid } else { ask });
                if top.is_none_or(|rank| ladder.rank(level.price) < rank) {
                    ladder.set(level.price, level.qty, &mut self.changes);
                }
            }
        }
        self.blank &= batch.levels.is_empty();
        self.pending.levels = batch.levels;
    }

    /// A snapshot takes the place of every level and of the last quote's authority.
    fn replace(&mut self, levels: &[Level]) {
        self.top = None;
        for ladder in [&mut self.bids, &mut self.asks] {
            let old = std::mem::take(&mut ladder.levels);
            let (side, mut unheard) = (ladder.side, Vec::new());
            for level in levels.iter().filter(|level| level.side == side) {
                ladder.set(level.price, level.qty, &mut unheard);
            }
            ladder.compare(&old, &mut self.changes);
        }
    }

    /// Best bid.
    #[must_use]
    pub fn best_bid(&self) -> Option<BookLevel> {
        self.bids.levels.last().copied()
    }

    /// Best ask.
    #[must_use]
    pub fn best_ask(&self) -> Option<BookLevel> {
        self.asks.levels.last().copied()
    }

    /// Whether the best bid reaches the best ask: possible only without quotes.
    #[must_use]
    pub fn is_crossed(&self) -> bool {
        matches!((self.best_bid(), self.best_ask()), (Some(bid), Some(ask)) if bid.price >= ask.price)
    }

    /// Whether nothing has been heard of this symbol's levels yet.
    #[must_use]
    pub const fn is_blank(&self) -> bool {
        self.blank
    }

    /// One side's levels, best first.
    pub fn levels(&self, side: Side) -> impl Iterator<Item = &BookLevel> {
        self.ladder(side).levels.iter().rev()
    }

    /// The level at `price` of `side`.
    #[must_use]
    pub fn level(&self, side: Side, price: i64) -> Option<BookLevel> {
        self.ladder(side).find(price).ok().map(|at| self.ladder(side).levels[at])
    }

    /// What the last applied event changed, each price once per statement.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// What `side` offers at `limit` or better (`None`: at any price), counted up to `enough`.
    #[must_use]
    pub fn available(&self, side: Side, limit: Option<i64>, enough: i64) -> i64 {
        let mut sum: i64 = 0;
        for level in self.within(side, limit) {
            sum = sum.saturating_add(level.available());
            if sum >= enough {
                return enough;
            }
        }
        sum
    }

    /// Takes up to `want` from `side` at `limit` or better, best level first, telling `each` every (price, quantity);
    /// returns how much was taken. What is taken is not offered again until the level shows more.
    pub fn take(&mut self, side: Side, limit: Option<i64>, want: i64, mut each: impl FnMut(i64, i64)) -> i64 {
        let ladder = match side {
            Side::Buy => &mut self.bids,
            Side::Sell => &mut self.asks,
        };
        let worst = limit.map_or(i64::MIN, |price| ladder.rank(price));
        let mut left = want;
        for level in ladder.levels.iter_mut().rev() {
            if left <= 0 || rank(side, level.price) < worst {
                break;
            }
            let qty = level.available().min(left);
            if qty > 0 {
                level.taken += qty;
                left -= qty;
                each(level.price, qty);
            }
        }
        want - left
    }

    fn within(&self, side: Side, limit: Option<i64>) -> impl Iterator<Item = &BookLevel> {
        let worst = limit.map_or(i64::MIN, |price| rank(side, price));
        self.levels(side).take_while(move |level| rank(side, level.price) >= worst)
    }

    const fn ladder(&self, side: Side) -> &Ladder {
        match side {
            Side::Buy => &self.bids,
            Side::Sell => &self.asks,
        }
    }
}

/// Higher is better for whoever takes. Saturating, because a limit may be any number.
const fn rank(side: Side, price: i64) -> i64 {
    price.saturating_mul(side.sign())
}

impl Ladder {
    const fn rank(&self, price: i64) -> i64 {
        rank(self.side, price)
    }

    fn find(&self, price: i64) -> Result<usize, usize> {
        let wanted = self.rank(price);
        match self.levels.last() {
            Some(best) if best.price == price => Ok(self.levels.len() - 1),
            _ => self.levels.binary_search_by_key(&wanted, |level| self.rank(level.price)),
        }
    }

    /// The level at `price` now shows `qty`. What was taken stays taken as far as the level still shows it.
    fn set(&mut self, price: i64, qty: i64, changes: &mut Vec<Change>) {
        let found = self.find(price);
        let old_qty = found.map_or(0, |at| self.levels[at].qty);
        if old_qty != qty {
            changes.push(Change { side: self.side, price, old_qty, new_qty: qty });
        }
        match found {
            Ok(at) if qty == 0 => drop(self.levels.remove(at)),
            Ok(at) => {
                let level = &mut self.levels[at];
                level.qty = qty;
                level.taken = level.taken.min(qty);
            }
            Err(_) if qty == 0 => {}
            Err(at) if self.levels.len() < MAX_LEVELS_PER_SIDE => {
                self.levels.insert(at, BookLevel { price, qty, taken: 0 });
            }
            Err(0) => drop(changes.pop()),
            Err(at) => {
                self.levels.remove(0);
                self.levels.insert(at - 1, BookLevel { price, qty, taken: 0 });
            }
        }
    }

    /// A quote's side: everything better goes; returns the rank from which depth has no say.
    fn set_best(&mut self, price: i64, qty: i64, changes: &mut Vec<Change>) -> i64 {
        let best = if qty == 0 { i64::MIN } else { self.rank(price) };
        while let Some(level) = self.levels.pop_if(|level| rank(self.side, level.price) > best) {
            changes.push(Change { side: self.side, price: level.price, old_qty: level.qty, new_qty: 0 });
        }
        if qty > 0 {
            self.set(price, qty, changes);
        }
        best
    }

    /// Tells how these levels differ from `old`, as far as they reach: a snapshot says nothing about deeper prices.
    fn compare(&self, old: &[BookLevel], changes: &mut Vec<Change>) {
        let worst = self.levels.first().map_or(i64::MIN, |level| self.rank(level.price));
        let mut new = self.levels.iter().peekable();
        let mut tell = |price, old_qty, new_qty| {
            if old_qty != new_qty {
                changes.push(Change { side: self.side, price, old_qty, new_qty });
            }
        };
        for before in old.iter().filter(|level| self.rank(level.price) >= worst) {
            let at = self.rank(before.price);
            while let Some(level) = new.next_if(|level| self.rank(level.price) < at) {
                tell(level.price, 0, level.qty);
            }
            let now = new.next_if(|level| level.price == before.price);
            tell(before.price, before.qty, now.map_or(0, |level| level.qty));
        }
        for level in new {
            tell(level.price, 0, level.qty);
        }
    }
}

#[cfg(test)]
mod tests;
