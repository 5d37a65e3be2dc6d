//! What the gate knows of a symbol: its contract, its reference price, its last mark, its exposure.

use ringfence_ipc::journal::MarkRecord;
use ringfence_ipc::msg::SymbolId;
use ringfence_ipc::symbol::Symbol;

use super::Gate;
use super::api::Reference;
use super::limits::{LimitSet, SymbolLimits};
use super::position::Contract;

/// Prices of one moment; 0: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Prices {
    pub bid: i64,
    pub ask: i64,
    pub last: i64,
}

impl Prices {
    /// The price that positions are valued at: the mid rounded down, or the last trade where a side is missing.
    pub fn mark(&self) -> i64 {
        if self.bid > 0 && self.ask > 0 { mid(self.bid, self.ask) } else { self.last.max(0) }
    }
}

/// One symbol.
#[derive(Debug)]
pub(super) struct SymbolState {
    pub symbol: Symbol,
    /// The symbol table names it; until then no order passes.
    pub known: bool,
    pub contract: Contract,
    pub limits: SymbolLimits,
    /// Live prices, not part of the decision state.
    pub live: Prices,
    pub live_ns: u64,
    pub live_event: u64,
    /// The last journalled mark.
    pub marked: Prices,
    pub marked_ns: u64,
    /// What positions are valued at: of the last mark that had a price; 0: none had.
    pub mark_price: i64,
    /// Signed scaled quantity over all strategies.
    pub qty: i64,
    pub open_buys: i64,
    pub open_sells: i64,
    /// Worst-case gross notional over all strategies, 16 decimals.
    pub gross_e16: i128,
    /// Theoretical arrival time of the bucket for orders of all strategies, gate time ns.
    pub orders_arrival_ns: u64,
    /// Positions opened in it: 0 means it takes no room in the exposure store.
    pub positions: u32,
}

impl SymbolState {
    pub fn vacant() -> Self {
        let symbol =
            Symbol { name: [0; 16], price_scale: 0, qty_scale: 0, tick: 1, lot: 1, contract_multiplier: 1 };
        Self {
            symbol,
            known: false,
            contract: Contract::of(&symbol),
            limits: SymbolLimits::of(&LimitSet::EMPTY, &LimitSet::EMPTY),
            live: Prices::default(),
            live_ns: 0,
            live_event: 0,
            marked: Prices::default(),
            marked_ns: 0,
            mark_price: 0,
            qty: 0,
            open_buys: 0,
            open_sells: 0,
            gross_e16: 0,
            orders_arrival_ns: 0,
            positions: 0,
        }
    }

    /// The reference that a decision at `now_ns` uses, and whether the book behind it is crossed.
    pub fn reference(&self, replayed: Option<Reference>, now_ns: u64) -> (Reference, bool) {
        if let Some(reference) = replayed {
            return (reference, false);
        }
        if self.live.bid <= 0 || self.live.ask <= 0 {
            return (Reference { price: 0, age_ns: 0 }, false);
        }
        let reference = Reference {
            price: mid(self.live.bid, self.live.ask),
            age_ns: now_ns.saturating_sub(self.live_ns),
        };
        (reference, self.live.bid >= self.live.ask)
    }

    fn mark_record(&self, symbol: SymbolId, now_ns: u64) -> MarkRecord {
        MarkRecord {
            symbol,
            now_ns,
            bid_price: self.live.bid,
            ask_price: self.live.ask,
            last_price: self.live.last,
            event: self.live_event,
        }
    }
}

/// The mid of two prices, rounded down.
fn mid(bid: i64, ask: i64) -> i64 {
    ((i128::from(bid) + i128::from(ask)) >> 1) as i64
}

impl Gate {
    /// Sets the live reference of a symbol: best bid, best ask and last trade, scaled; 0 where there is none.
    ///
    /// `Some` when a mark is due (`mark_interval_ns` since the last applied one, and the prices moved): the caller
    /// appends it to the journal and applies it. Unknown symbols are ignored.
    pub fn set_reference(
        &mut self,
        symbol: SymbolId,
        bid_price: i64,
        ask_price: i64,
        last_price: i64,
        now_ns: u64,
        event: u64,
    ) -> Option<MarkRecord> {
        let interval_ns = self.limits.mark_interval_ns;
        let state = self.symbols.get_mut(usize::from(symbol)).filter(|s| s.known)?;
        state.live = Prices { bid: bid_price, ask: ask_price, last: last_price };
        (state.live_ns, state.live_event) = (now_ns, event);
        let due = state.marked_ns == 0 || now_ns.saturating_sub(state.marked_ns) >= interval_ns;
        (due && state.live != state.marked).then(|| state.mark_record(symbol, now_ns))
    }

    /// The mark of a symbol whose live prices differ from its last applied mark (for a clean close).
    #[must_use]
    pub fn mark_now(&self, symbol: SymbolId, now_ns: u64) -> Option<MarkRecord> {
        let state = self.symbols.get(usize::from(symbol)).filter(|s| s.known && s.live_event > 0)?;
        (state.live != state.marked).then(|| state.mark_record(symbol, now_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_the_mid_rounded_down_or_the_last_trade() {
        assert_eq!(Prices { bid: 10, ask: 13, last: 99 }.mark(), 11);
        assert_eq!(Prices { bid: 10, ask: 0, last: 99 }.mark(), 99);
        assert_eq!(Prices { bid: 0, ask: 13, last: 0 }.mark(), 0);
        assert_eq!(mid(i64::MAX, i64::MAX), i64::MAX);
    }
}
