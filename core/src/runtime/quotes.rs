//! The gate's copy of the market and its publication: the one writer of the market cells.

use ringfence_ipc::market::{MarketView, MarketWriter};
use ringfence_ipc::msg::{Quote, SymbolId, Trade, Words, kind, kind_of};

/// Last view per symbol, and the cells that show it.
pub(super) struct Quotes {
    writer: MarketWriter,
    views: Vec<MarketView>,
    latest_event: u64,
}

impl Quotes {
    pub fn new(writer: MarketWriter, symbols: usize) -> Self {
        Self { writer, views: vec![MarketView::default(); symbols], latest_event: 0 }
    }

    /// Applies a quote or a trade and publishes the symbol's new view; `None` for anything else.
    pub fn apply(&mut self, words: &Words, now_ns: u64) -> Option<(SymbolId, MarketView)> {
        let symbol = (words[0] >> 48) as SymbolId;
        let view = self.views.get_mut(usize::from(symbol))?;
        match kind_of(words) {
            kind::QUOTE => {
                let quote = Quote::decode(words).ok()?;
                (view.bid_price, view.bid_qty) = (quote.bid_price, quote.bid_qty);
                (view.ask_price, view.ask_qty) = (quote.ask_price, quote.ask_qty);
            }
            kind::TRADE => view.last_price = Trade::decode(words).ok()?.price,
            _ => return None,
        }
        // Every market message carries its event's number in word 1.
        (view.event, view.ts_ns) = (words[1], now_ns);
        let view = *view;
        self.writer.publish(symbol, &view);
        self.latest_event = self.latest_event.max(view.event);
        self.writer.set_latest_event(self.latest_event);
        Some((symbol, view))
    }

    /// Number of the newest event the gate has applied.
    pub fn latest_event(&self) -> u64 {
        self.latest_event
    }

    /// Symbols in the table.
    pub fn symbols(&self) -> u16 {
        self.views.len() as u16
    }
}
