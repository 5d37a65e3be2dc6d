//! The market as it happens: Binance's streams as a source.

use ringfence_binance::{Config, MarketEvent, MarketPorts, MarketStatus, Timed, run_market};
use ringfence_ipc::symbol::Symbol;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

/// Events that may wait for the gate; beyond them the venue waits.
const QUEUE: usize = 8_192;

/// What a live market needs.
#[derive(Clone, Debug)]
pub struct LiveConfig {
    /// Where its task runs. The source ends with it.
    pub runtime: Handle,
    /// The addresses; its key is not used.
    pub config: Config,
    /// Where it says how it is doing.
    pub status: watch::Sender<MarketStatus>,
}

/// A live market. It ends with its runtime, or when its configuration cannot work.
#[derive(Debug)]
pub struct Live {
    events: mpsc::Receiver<MarketEvent>,
    status: watch::Receiver<MarketStatus>,
    given: u64,
    first_ns: Option<u64>,
    latest_ns: u64,
}

impl Live {
    /// Begins to listen to the market of `symbols`.
    #[must_use]
    pub fn new(live: &LiveConfig, symbols: &[Symbol]) -> Self {
        let (sender, events) = mpsc::channel(QUEUE);
        let ports = MarketPorts { events: sender, status: live.status.clone() };
        let (config, symbols) = (live.config.clone(), symbols.to_vec());
        live.runtime.spawn(async move {
            if let Err(error) = run_market(config, &symbols, ports).await {
                tracing::error!(%error, "no live market");
            }
        });
        Self { events, status: live.status.subscribe(), given: 0, first_ns: None, latest_ns: 0 }
    }

    /// The next event; waits for it.
    pub fn next_event(&mut self) -> Option<Timed<MarketEvent>> {
        let value = self.events.blocking_recv()?;
        self.given += 1;
        self.latest_ns = self.latest_ns.max(value.ts_ns);
        let first_ns = *self.first_ns.get_or_insert(value.ts_ns);
        Some(Timed { due_ns: self.latest_ns.saturating_sub(first_ns), value })
    }

    /// Events given so far.
    #[must_use]
    pub const fn events(&self) -> u64 {
        self.given
    }

    /// Messages that were no event; they are not given.
    #[must_use]
    pub fn malformed(&self) -> u64 {
        self.status.borrow().malformed
    }
}
