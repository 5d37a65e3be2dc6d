//! What the market does to resting orders.

use super::order::{Fill, Order, Till};
use super::resting::Key;
use super::{Market, PaperVenue};
use crate::venue::book::Applied;
use ringfence_ipc::msg::{DepthDelta, Quote, Report, Side, Trade, Words, kind, kind_of};

impl PaperVenue {
    /// Applies one tape message at gate time `now_ns`, after every command due by then. Reports of fills are appended
    /// to `out`. Messages that make no sense are counted, see [`PaperVenue::malformed`].
    pub fn on_tape(&mut self, words: &Words, now_ns: u64, out: &mut Vec<Report>) {
        self.advance(now_ns, out);
        let sound = match kind_of(words) {
            kind::QUOTE => Quote::decode(words).is_ok_and(|quote| self.on_quote(&quote, now_ns, out)),
            kind::TRADE => Trade::decode(words).is_ok_and(|trade| self.on_trade(&trade, now_ns, out)),
            kind::DEPTH => DepthDelta::decode(words).is_ok_and(|delta| self.on_depth(&delta, now_ns, out)),
            kind::TAPE_END => true,
            _ => false,
        };
        if !sound {
            self.counts.malformed += 1;
        }
    }

    fn on_quote(&mut self, quote: &Quote, now_ns: u64, out: &mut Vec<Report>) -> bool {
        self.counts.event_done(quote.event);
        let Some(market) = self.markets.get_mut(usize::from(quote.symbol)) else { return false };
        let sound = market.book.apply_quote(quote);
        if sound {
            self.book_changed(quote.symbol, quote.ts_ns, now_ns, out);
        }
        sound
    }

    fn on_depth(&mut self, delta: &DepthDelta, now_ns: u64, out: &mut Vec<Report>) -> bool {
        if delta.last {
            self.counts.event_done(delta.event);
        }
        let Some(market) = self.markets.get_mut(usize::from(delta.symbol)) else { return false };
        let applied = market.book.apply_depth(delta);
        if matches!(applied, Applied::Whole | Applied::Partly) {
            self.book_changed(delta.symbol, delta.ts_ns, now_ns, out);
        }
        matches!(applied, Applied::Whole | Applied::Pending)
    }

    /// Moves own orders in their queues and fills those that the displayed market has reached.
    fn book_changed(&mut self, symbol: u16, tape_ns: u64, now_ns: u64, out: &mut Vec<Report>) {
        let Some(market) = self.markets.get_mut(usize::from(symbol)) else { return };
        for side in [Side::Buy, Side::Sell] {
            if market.resting(side).is_empty() {
                continue;
            }
            let Market { symbol, book, bids, asks } = &mut *market;
            let resting = if side == Side::Buy { bids } else { asks };
            for change in book.changes().iter().filter(|change| change.side == side) {
                resting.level_changed(change, tape_ns);
            }
            while let Some((key, order)) = resting.next_after(None) {
                let qty = book.take(side.opposite(), Some(order.price), order.leaves(), |_, _| {});
                if qty == 0 {
                    break;
                }
                let fill = Fill { price: order.price, qty, maker: true, ts_ns: now_ns };
                out.push(self.till.book(symbol, order, fill));
                if order.leaves() > 0 {
                    break;
                }
                let id = order.id;
                resting.remove(key);
                self.places.remove(&id);
                self.finished.insert(id);
            }
        }
    }

    fn on_trade(&mut self, trade: &Trade, now_ns: u64, out: &mut Vec<Report>) -> bool {
        self.counts.event_done(trade.event);
        let Some(market) = self.markets.get_mut(usize::from(trade.symbol)) else { return false };
        if trade.price <= 0 || trade.qty <= 0 {
            return false;
        }
        let hit = trade.aggressor.opposite();
        let mut left = trade.qty;
        for side in [hit, trade.aggressor] {
            let print =
                Print { price: trade.price, qty: left, tape_ns: trade.ts_ns, now_ns, at_price: side == hit };
            left -= market.print(side, &print, &mut self.till, out, &mut self.done);
        }
        for (side, key, id) in self.done.drain(..) {
            market.resting(side).remove(key);
            self.places.remove(&id);
            self.finished.insert(id);
        }
        true
    }
}

/// A trade as one side's resting orders see it.
struct Print {
    price: i64,
    /// Scaled quantity that may still fill orders.
    qty: i64,
    tape_ns: u64,
    now_ns: u64,
    /// Whether orders at exactly the price were hit too: the aggressor came from the other side.
    at_price: bool,
}

impl Market {
    /// Fills `side`'s orders with `print`, best first; returns the quantity used. Orders filled whole are put on
    /// `done` for removal.
    fn print(
        &mut self,
        side: Side,
        print: &Print,
        till: &mut Till,
        out: &mut Vec<Report>,
        done: &mut Vec<(Side, Key, u64)>,
    ) -> i64 {
        let Self { symbol, bids, asks, .. } = self;
        let resting = if side == Side::Buy { bids } else { asks };
        let (mut used, mut after, mut exhausted) = (0, None, false);
        while let Some((key, order)) = resting.next_after(after) {
            let Some(reaches) = print.reaching(order, print.qty - used) else { break };
            after = Some(key);
            let qty = if exhausted { 0 } else { reaches.min(order.leaves()) };
            if qty > 0 {
                used += qty;
                let fill = Fill { price: order.price, qty, maker: true, ts_ns: print.now_ns };
                out.push(till.book(symbol, order, fill));
            }
            if order.leaves() == 0 {
                done.push((side, key, order.id));
            } else {
                exhausted = true;
            }
        }
        used
    }
}

impl Print {
    /// How much of `qty` gets past the queue to `order`; `None` when the print does not touch its price.
    fn reaching(&self, order: &mut Order, qty: i64) -> Option<i64> {
        let through_by = (order.price - self.price) * order.side.sign();
        match through_by {
            1.. => Some(qty),
            0 if self.at_price => Some(order.queue.traded(qty, self.tape_ns)),
            _ => None,
        }
    }
}
