//! Combined streams, live: `trade`, `bookTicker` and `depth@100ms` of every symbol over one connection.
//!
//! The book's snapshot is asked for after every connection and after every gap among the updates; the parser applies the
//! updates that came before it on top.

use super::parser::BinanceParser;
use super::{MAX_LINE_BYTES, MarketEvent};
use crate::adapter::StartError;
use crate::config::Config;
use crate::rest::{Answer, Request, Rest};
use crate::session::{open, pause};
use futures_util::{SinkExt as _, StreamExt as _};
use ringfence_ipc::msg::SymbolId;
use ringfence_ipc::symbol::Symbol;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::tungstenite::Message;

/// How long the updates may run before the first snapshot is asked for, so that the snapshot is newer than the first.
const SNAPSHOT_DELAY: Duration = Duration::from_millis(250);

/// How the market data is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MarketStatus {
    /// Messages arrive.
    pub connected: bool,
    /// Why they do not, or did not before.
    pub last_failure: String,
    /// Connections that were up.
    pub connections: u64,
    /// Messages that were no market event.
    pub malformed: u64,
    /// Depth updates that did not follow on the one before.
    pub gaps: u64,
}

/// The ends that the market task works with.
#[derive(Debug)]
pub struct MarketPorts {
    /// Events in the order of their arrival. A full channel lets the venue wait, which ends the connection in the end.
    pub events: mpsc::Sender<MarketEvent>,
    /// How it is doing.
    pub status: watch::Sender<MarketStatus>,
}

/// Streams the market of `symbols` until nobody takes its events any more. It needs no key.
///
/// # Errors
/// [`StartError`]: nothing was sent.
pub async fn run_market(config: Config, symbols: &[Symbol], ports: MarketPorts) -> Result<(), StartError> {
    config.check()?;
    let config = Arc::new(config);
    let rest = Rest::new(Arc::clone(&config)).map_err(|error| StartError::Http(error.to_string()))?;
    let mut market = Market {
        parser: BinanceParser::new(symbols),
        symbols: symbols.to_vec(),
        rest: Arc::new(rest),
        config,
        ports,
        status: MarketStatus::default(),
        snapshots: JoinSet::new(),
    };
    let mut failures: u32 = 0;
    while !market.ports.events.is_closed() {
        let began = Instant::now();
        market.status.last_failure = market.connection().await;
        market.status.connected = false;
        market.ports.status.send_replace(market.status.clone());
        failures = if began.elapsed() > market.config.silence_max { 0 } else { failures + 1 };
        tokio::select! {
            () = tokio::time::sleep(pause(market.config.reconnect_pause, failures, &market.rest.clock)) => {}
            () = market.ports.events.closed() => {}
        }
    }
    Ok(())
}

struct Market {
    config: Arc<Config>,
    rest: Arc<Rest>,
    symbols: Vec<Symbol>,
    parser: BinanceParser,
    ports: MarketPorts,
    status: MarketStatus,
    snapshots: JoinSet<(SymbolId, Option<Vec<u8>>)>,
}

impl Market {
    fn url(&self) -> String {
        let streams = self.symbols.iter().map(|symbol| {
            let name = symbol.name().to_ascii_lowercase();
            format!("{name}@trade/{name}@bookTicker/{name}@depth@100ms")
        });
        let streams: Vec<String> = streams.collect();
        format!("{}/stream?streams={}", self.config.stream_url.trim_end_matches('/'), streams.join("/"))
    }

    /// One connection, and why it ended.
    async fn connection(&mut self) -> String {
        let mut socket = match open(&self.url(), MAX_LINE_BYTES, self.config.request_timeout).await {
            Ok(socket) => socket,
            Err(why) => return why,
        };
        self.status.connected = true;
        self.status.connections += 1;
        self.snapshots.abort_all();
        for id in 0..self.symbols.len() {
            self.ask_snapshot(SymbolId::try_from(id).unwrap_or(SymbolId::MAX));
        }
        self.ports.status.send_replace(self.status.clone());
        let end = Instant::now() + self.config.session_max;
        let mut quiet = Instant::now() + self.config.silence_max;
        loop {
            let told = tokio::select! {
                () = self.ports.events.closed() => return "nobody takes the events".to_owned(),
                () = sleep_until(quiet.min(end)) => {
                    let old = Instant::now() >= end;
                    return if old { "the connection is old" } else { "nothing was heard" }.to_owned();
                }
                Some(Ok((symbol, Some(body)))) = self.snapshots.join_next(), if !self.snapshots.is_empty() => {
                    self.parser.parse_snapshot(symbol, &body, now_ns())
                }
                message = socket.next() => {
                    quiet = Instant::now() + self.config.silence_max;
                    match message {
                        Some(Ok(Message::Text(text))) => self.parser.parse(text.as_bytes(), now_ns()),
                        Some(Ok(Message::Close(_))) | None => return "the venue closed the connection".to_owned(),
                        // Pings are answered by the library with the next flush.
                        Some(Ok(_)) => match socket.flush().await {
                            Ok(()) => continue,
                            Err(error) => return error.to_string(),
                        },
                        Some(Err(error)) => return error.to_string(),
                    }
                }
            };
            match told {
                Ok(event) => {
                    let symbol = event.symbol;
                    if self.ports.events.send(event).await.is_err() {
                        return "nobody takes the events".to_owned();
                    }
                    if self.parser.gaps() != self.status.gaps {
                        self.status.gaps = self.parser.gaps();
                        self.ask_snapshot(symbol);
                        self.ports.status.send_replace(self.status.clone());
                    }
                }
                Err(error) => {
                    self.status.malformed += 1;
                    self.status.last_failure = error.to_string();
                    self.ports.status.send_replace(self.status.clone());
                }
            }
        }
    }

    /// Asks for the book of a symbol; one that does not come is asked for with the next gap or connection.
    fn ask_snapshot(&mut self, id: SymbolId) {
        let Some(symbol) = self.symbols.get(usize::from(id)) else { return };
        let (rest, symbol) = (Arc::clone(&self.rest), symbol.name().to_owned());
        self.snapshots.spawn(async move {
            tokio::time::sleep(SNAPSHOT_DELAY).await;
            match rest.ask(&Request::Depth { symbol }).await.result {
                Ok(Answer::Depth(body)) => (id, Some(body)),
                _ => (id, None),
            }
        });
    }
}

fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
