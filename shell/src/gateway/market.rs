//! The market as HTTP users see it: read from the gate's cells on request, sampled for streams.

use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use ringfence_binance::MarketStatus;
use ringfence_ipc::market::MarketView;
use ringfence_ipc::msg::SymbolId;
use ringfence_ipc::symbol::Symbol;
use serde::Serialize;
use tokio::sync::watch;
use utoipa::ToSchema;

use super::events::Event;
use super::exact::Exact;
use super::hub::write_sse;
use super::lock;
use super::rendered::{Form, Rendered};

/// How often streams see the market.
pub const SAMPLE_EVERY: Duration = Duration::from_millis(100);

/// Where market values come from.
pub type Quotes = Arc<dyn Fn(SymbolId) -> Option<MarketView> + Send + Sync>;

/// `/api/market` and the `market` event.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MarketBody {
    symbol: String,
    price: Option<Exact>,
    ts_ns: Option<u64>,
    bid: Option<Exact>,
    ask: Option<Exact>,
    bid_qty: Option<Exact>,
    ask_qty: Option<Exact>,
    stale: bool,
}

impl MarketBody {
    fn new(symbol: &Symbol, now: Option<MarketView>, stale: bool) -> Self {
        let now = now.filter(|m| m.event > 0).unwrap_or_default();
        let price = |value: i64| (value > 0).then(|| Exact::new(value, symbol.price_scale));
        let qty = |value: i64| (value > 0).then(|| Exact::new(value, symbol.qty_scale));
        Self {
            symbol: symbol.name().to_owned(),
            price: price(now.last_price),
            ts_ns: (now.event > 0).then_some(now.ts_ns),
            bid: price(now.bid_price).filter(|_| now.bid_qty > 0),
            ask: price(now.ask_price).filter(|_| now.ask_qty > 0),
            bid_qty: qty(now.bid_qty),
            ask_qty: qty(now.ask_qty),
            stale: stale || now.event == 0,
        }
    }
}

/// What streams get of one symbol: the newest only.
#[derive(Clone, Default)]
struct Shown {
    version: u64,
    text: Rendered,
}

/// All symbols as of one sample; streams keep the version they have seen.
#[derive(Clone, Default)]
pub struct Sample {
    version: u64,
    symbols: Vec<Shown>,
    /// Everything that changed with this version, for the many streams that have seen the one before.
    latest: Rendered,
}

impl Sample {
    /// Every symbol that changed since `seen`, which moves on. Older values were overtaken.
    pub fn since(&self, seen: &mut u64, form: Form) -> Vec<Bytes> {
        let before = std::mem::replace(seen, self.version);
        if before + 1 == self.version {
            return vec![self.latest.text(form)];
        }
        self.symbols.iter().filter(|s| s.version > before).map(|s| s.text.text(form)).collect()
    }
}

#[derive(Clone, Copy)]
struct Seen {
    event: u64,
    changed: Instant,
    stale: bool,
}

/// The market board.
pub struct Board {
    quotes: RwLock<Option<Quotes>>,
    seen: RwLock<Vec<Seen>>,
    samples: watch::Sender<Arc<Sample>>,
    stale_after: Duration,
    live: Option<watch::Receiver<MarketStatus>>,
}

impl Board {
    /// An empty board; a market without an event for `stale_after` is stale, and a live one without a connection.
    #[must_use]
    pub fn new(stale_after: Duration, live: Option<watch::Receiver<MarketStatus>>) -> Self {
        Self {
            quotes: RwLock::default(),
            seen: RwLock::default(),
            samples: watch::Sender::default(),
            stale_after,
            live,
        }
    }

    fn is_cut_off(&self) -> bool {
        self.live.as_ref().is_some_and(|live| !live.borrow().connected)
    }

    /// Reads the market from here on from `quotes` (a new attachment has new memory).
    pub fn source(&self, quotes: Option<Quotes>) {
        *lock::write(&self.quotes) = quotes;
    }

    /// One symbol's market now.
    pub fn now(&self, id: SymbolId) -> Option<MarketView> {
        let quotes = lock::read(&self.quotes).clone()?;
        quotes(id)
    }

    /// One symbol's market as JSON.
    pub fn body(&self, id: SymbolId, symbol: &Symbol) -> MarketBody {
        let now = self.now(id);
        // An event that the sampler has not seen yet is fresh by definition.
        let seen = lock::read(&self.seen).get(usize::from(id)).copied();
        let stale = match (now, seen) {
            (Some(now), Some(seen)) => seen.event == now.event && seen.changed.elapsed() > self.stale_after,
            (Some(_), None) => false,
            (None, _) => true,
        };
        MarketBody::new(symbol, now, stale || self.is_cut_off())
    }

    /// Samples every symbol; streams are told of those that changed, or went stale.
    pub fn sample(&self, symbols: &[(SymbolId, Symbol)]) {
        let mut fresh = Vec::new();
        let cut_off = self.is_cut_off();
        {
            let mut seen = lock::write(&self.seen);
            for (id, symbol) in symbols {
                let at = usize::from(*id);
                let now = self.now(*id);
                let event = now.map_or(0, |m| m.event);
                if seen.len() <= at {
                    seen.resize(at + 1, Seen { event: 0, changed: Instant::now(), stale: true });
                }
                let known = &mut seen[at];
                let moved = event != known.event;
                if moved {
                    (known.event, known.changed) = (event, Instant::now());
                }
                let stale = cut_off || now.is_none() || known.changed.elapsed() > self.stale_after;
                let turned = std::mem::replace(&mut known.stale, stale) != stale;
                if event > 0 && (moved || turned) {
                    fresh.push((at, MarketBody::new(symbol, now, stale)));
                }
            }
        }
        if !fresh.is_empty() {
            self.show(&fresh);
        }
    }

    fn show(&self, fresh: &[(usize, MarketBody)]) {
        let mut sample = Sample::clone(&self.samples.borrow());
        sample.version += 1;
        let mut latest = Vec::new();
        for (at, body) in fresh {
            let mut text = Vec::with_capacity(256);
            write_sse(&Event::new(None, "market", body), &mut text);
            latest.extend_from_slice(&text);
            if sample.symbols.len() <= *at {
                sample.symbols.resize(at + 1, Shown::default());
            }
            sample.symbols[*at] = Shown { version: sample.version, text: Bytes::from(text).into() };
        }
        sample.latest = Bytes::from(latest).into();
        self.samples.send_replace(Arc::new(sample));
    }

    /// Follows the samples.
    pub fn samples(&self) -> watch::Receiver<Arc<Sample>> {
        self.samples.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    fn board(event: &Arc<AtomicU64>) -> (Board, Vec<(SymbolId, Symbol)>) {
        let board = Board::new(Duration::from_secs(5), None);
        let event = Arc::clone(event);
        board.source(Some(Arc::new(move |id| {
            let event = event.load(Ordering::Relaxed);
            Some(MarketView { last_price: 100 + i64::from(id), event, ts_ns: 7, ..MarketView::default() })
        })));
        let symbols = (0..2).map(|id| (id, Symbol::new(&format!("S{id}"), 2, 5, 1, 1).unwrap())).collect();
        (board, symbols)
    }

    #[test]
    fn before_the_first_tick_everything_is_null_and_stale() {
        let event = Arc::new(AtomicU64::new(0));
        let (board, symbols) = board(&event);
        let body = serde_json::to_string(&board.body(0, &symbols[0].1)).unwrap();
        assert_eq!(
            body,
            r#"{"symbol":"S0","price":null,"ts_ns":null,"bid":null,"ask":null,"bid_qty":null,"ask_qty":null,"stale":true}"#
        );
    }

    #[test]
    fn a_stream_that_missed_samples_gets_each_symbol_once() {
        let event = Arc::new(AtomicU64::new(0));
        let (board, symbols) = board(&event);
        let (samples, mut seen) = (board.samples(), 0);
        for n in 1..5 {
            event.store(n, Ordering::Relaxed);
            board.sample(&symbols);
        }
        let sample = Arc::clone(&samples.borrow());
        assert_eq!(sample.since(&mut seen, Form::Sse).len(), 2);
        assert!(sample.since(&mut seen, Form::Sse).is_empty());
        event.store(9, Ordering::Relaxed);
        board.sample(&symbols);
        let text = samples.borrow().since(&mut seen, Form::Sse);
        assert_eq!(text.len(), 1, "one shared text for those who keep up");
        assert!(
            text[0].starts_with(b"event: market\ndata: {\"type\":\"market\",\"symbol\":\"S0\",\"price\":1,")
        );
    }
}
