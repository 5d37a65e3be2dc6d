//! The exchange that the shell drives: the gate's commands from its ring to the adapter, the adapter's reports back.
//!
//! ```text
//!  gate ══commands══▶ driver (a thread: rings) ──asks──▶ adapter (a task: REST, user events) ──▶ Binance
//!       ◀══reports═══                          ◀──told──
//! ```
//!
//! Gate, shell and exchange live and die apart: `docs/external-venues.md` says what becomes of an order.

mod driver;

pub use driver::{VenueError, start};

use ringfence_binance::{Balances, Config, Phase, Status};
use tokio::sync::watch;

/// Under which name it attaches to the gate.
pub const VENUE_NAME: &str = "binance";

/// What the rest of the shell sees of the exchange.
#[derive(Clone, Debug)]
pub struct Venue {
    /// As the HTTP contract names it.
    pub execution_mode: &'static str,
    /// Base address of REST.
    pub rest_url: String,
    /// Address of the WebSocket API.
    pub ws_api_url: String,
    /// Base address of the market streams.
    pub stream_url: String,
    /// How long the venue may still take a request, ms.
    pub recv_window_ms: u64,
    /// Whether no real money can be at the other end.
    pub testnet: bool,
    /// Whether the gate has this shell as its venue.
    pub attached: watch::Receiver<bool>,
    /// What the adapter says of itself.
    pub status: watch::Receiver<Status>,
    /// What the account has there.
    pub balances: watch::Receiver<Balances>,
}

impl Venue {
    fn new(
        config: &Config,
        attached: watch::Receiver<bool>,
        status: watch::Receiver<Status>,
        balances: watch::Receiver<Balances>,
    ) -> Self {
        let testnet = config.is_testnet();
        Self {
            execution_mode: if testnet { "binance_testnet_spot" } else { "binance_spot" },
            rest_url: config.rest_url.clone(),
            ws_api_url: config.ws_api_url.clone(),
            stream_url: config.stream_url.clone(),
            recv_window_ms: config.recv_window_ms,
            testnet,
            attached,
            status,
            balances,
        }
    }

    /// Whether new orders pass.
    #[must_use]
    pub fn is_trading(&self) -> bool {
        *self.attached.borrow() && self.status.borrow().phase == Phase::Trading
    }

    /// Where it stands, in a word, and why it stands there.
    #[must_use]
    pub fn state(&self) -> (&'static str, String) {
        if !*self.attached.borrow() {
            return ("detached", "the gate is away, or has no place for this venue".to_owned());
        }
        match &self.status.borrow().phase {
            Phase::Connecting => ("connecting", String::new()),
            Phase::Connected => ("connected", "no user events yet".to_owned()),
            Phase::Reconciling => ("reconciling", "orders are being compared".to_owned()),
            Phase::Trading => ("trading", String::new()),
            Phase::Lost(why) => ("lost", why.clone()),
        }
    }
}
