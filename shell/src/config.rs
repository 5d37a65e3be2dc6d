//! What a shell runs with.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ringfence_binance::MarketStatus;
use ringfence_ipc::msg::AccountId;
use ringfence_strategies::Strategies;
use tokio::sync::watch;

use crate::audit::AuditOptions;
use crate::auth::Auth;
use crate::http::TlsFiles;
use crate::order_events;
use crate::venue::Venue;

/// The shell's configuration. While authentication is off, only loopback addresses may be bound.
#[derive(Clone)]
pub struct ShellConfig {
    /// Where HTTP is served; port 0 takes a free one.
    pub bind: SocketAddr,
    /// The core's control socket.
    pub socket: PathBuf,
    /// The hot journal ring.
    pub hot_path: PathBuf,
    /// The journal's archive segments.
    pub archive_dir: PathBuf,
    /// The gate's counters file.
    pub counters_path: PathBuf,
    /// The account that HTTP users trade for.
    pub account: AccountId,
    /// Name of the strategy that HTTP orders are booked for unless they name one.
    pub manual_strategy: String,
    /// What the paper account started with: asset and whole units.
    pub starting_balances: Vec<(String, i64)>,
    /// What `/api/config` tells as market_source: `sim`, `replay` or `binance`.
    pub market_source: String,
    /// How the live market is doing; none: it is not live.
    pub live_market: Option<watch::Receiver<MarketStatus>>,
    /// The exchange that this shell drives; none: the gate has a venue of its own.
    pub venue: Option<Venue>,
    /// The symbol of `/api/market` without one; none: the first in the gate's table.
    pub market_symbol: Option<String>,
    /// A market without an event for this long is stale.
    pub stale_after: Duration,
    /// The audit log.
    pub audit: AuditOptions,
    /// Where order events go; none: nowhere.
    pub order_events: Option<order_events::Options>,
    /// Who may do what; none: authentication is off.
    pub auth: Option<Arc<Auth>>,
    /// The certificate to speak TLS with; none: plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Strategies and what they share; none: `/strategies` answers 503.
    pub strategies: Option<Arc<Strategies>>,
}

impl ShellConfig {
    /// A shell on 127.0.0.1:8080 for the gate whose tmpfs files lie in `run_dir` and whose archive is `archive_dir`; its
    /// audit log lies beside the archive.
    #[must_use]
    pub fn new(run_dir: impl Into<PathBuf>, archive_dir: impl Into<PathBuf>) -> Self {
        let (run_dir, archive_dir) = (run_dir.into(), archive_dir.into());
        Self {
            bind: SocketAddr::from(([127, 0, 0, 1], 8080)),
            socket: run_dir.join("core.sock"),
            hot_path: run_dir.join("journal.hot"),
            audit: AuditOptions::new(archive_dir.with_file_name("audit")),
            archive_dir,
            counters_path: run_dir.join("counters"),
            account: 0,
            manual_strategy: "manual".to_owned(),
            starting_balances: vec![("USDT".to_owned(), 1_000_000)],
            market_source: "sim".to_owned(),
            live_market: None,
            venue: None,
            market_symbol: None,
            stale_after: Duration::from_secs(5),
            order_events: None,
            auth: None,
            tls: None,
            strategies: None,
        }
    }
}
