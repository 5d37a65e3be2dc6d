//! A market made up on the spot, for `up` without a recording: seeded, in integers, the same on every machine.
//!
//! Per symbol a mid price walks at random around an anchor that itself drifts; quotes, trades at the touch and ten
//! levels of depth every 100 ms follow it, about 200 events a second.

mod walk;

use ringfence_binance::{MarketBody, MarketEvent, Timed};
use ringfence_ipc::msg::SymbolId;
use ringfence_ipc::symbol::Symbol;
use walk::Walk;

/// Mean time between two events of a symbol, ns.
const EVENT_INTERVAL_NS: u64 = 5_000_000;
/// Time between two depth events of a symbol, ns.
const DEPTH_INTERVAL_NS: u64 = 100_000_000;

/// What to simulate.
#[derive(Clone, Debug)]
pub struct SimulatedConfig {
    /// The same seed gives the same market.
    pub seed: u64,
    /// Receive time of the first event, ns since the Unix epoch.
    pub start_ns: u64,
    /// The symbols, at most 65,536.
    pub symbols: Vec<SimulatedSymbol>,
}

/// One simulated symbol.
#[derive(Clone, Copy, Debug)]
pub struct SimulatedSymbol {
    /// Its scales, tick and lot.
    pub symbol: Symbol,
    /// Where its price starts, scaled, above 0.
    pub start_price: i64,
}

impl SimulatedConfig {
    /// For every symbol of the table, at prices of the usual size: BTC 60,000, ETH 2,600, anything else 100.
    #[must_use]
    pub fn for_table(symbols: &[Symbol], seed: u64, start_ns: u64) -> Self {
        let simulated = |symbol: &Symbol| {
            let whole: i64 = match symbol.name().get(..3) {
                Some("BTC") => 60_000,
                Some("ETH") => 2_600,
                _ => 100,
            };
            let unit = 10_i64.checked_pow(u32::from(symbol.price_scale)).unwrap_or(i64::MAX);
            SimulatedSymbol { symbol: *symbol, start_price: whole.saturating_mul(unit) }
        };
        Self { seed, start_ns, symbols: symbols.iter().map(simulated).collect() }
    }
}

/// A simulated market. It never ends.
#[derive(Clone, Debug)]
pub struct Simulated {
    start_ns: u64,
    markets: Vec<SimulatedMarket>,
    events: u64,
}

#[derive(Clone, Debug)]
struct SimulatedMarket {
    id: SymbolId,
    walk: Walk,
    due_ns: u64,
    depth_due_ns: u64,
}

impl Simulated {
    /// The market before its first event. Without symbols it gives empty events.
    #[must_use]
    pub fn new(config: &SimulatedConfig) -> Self {
        let markets = (0..=SymbolId::MAX).zip(&config.symbols);
        let market = |(id, symbol): (SymbolId, &SimulatedSymbol)| SimulatedMarket {
            id,
            walk: Walk::new(symbol, config.seed.wrapping_add(u64::from(id) << 32)),
            due_ns: u64::from(id) * 1_000,
            depth_due_ns: 0,
        };
        Self { start_ns: config.start_ns, markets: markets.map(market).collect(), events: 0 }
    }

    /// When the next event is due, ns after the first one.
    #[must_use]
    pub fn next_due_ns(&self) -> u64 {
        let idle_ns = self.events * EVENT_INTERVAL_NS;
        self.markets.iter().map(|market| market.due_ns).min().unwrap_or(idle_ns)
    }

    /// Events given so far.
    #[must_use]
    pub const fn events(&self) -> u64 {
        self.events
    }

    /// The next event.
    pub fn next_event(&mut self) -> Timed<MarketEvent> {
        let due_ns = self.next_due_ns();
        self.events += 1;
        let ts_ns = self.start_ns.saturating_add(due_ns);
        let value = match self.markets.iter_mut().find(|market| market.due_ns == due_ns) {
            Some(market) => MarketEvent { symbol: market.id, ts_ns, body: market.next_body() },
            None => MarketEvent { symbol: 0, ts_ns, body: MarketBody::Empty },
        };
        Timed { due_ns, value }
    }
}

impl SimulatedMarket {
    fn next_body(&mut self) -> MarketBody {
        let now_ns = self.due_ns;
        self.due_ns += EVENT_INTERVAL_NS / 5 + self.walk.draw(EVENT_INTERVAL_NS * 8 / 5);
        if now_ns >= self.depth_due_ns {
            self.depth_due_ns = now_ns + DEPTH_INTERVAL_NS;
            self.walk.depth()
        } else if self.walk.draw(4) == 0 {
            self.walk.trade()
        } else {
            self.walk.quote()
        }
    }
}

#[cfg(test)]
mod tests;
