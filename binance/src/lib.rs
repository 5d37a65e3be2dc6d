//! Binance spot as a venue: orders over REST, user events over the WebSocket API, market streams, and the one parser of
//! market messages for live data and recordings.
//!
//! ```text
//!  room                what it is                                          what never enters
//!  config, sign        addresses, windows, keys; percent-encoding          IO
//!  rest, limits, clock one request and what became of it                   orders
//!  session             user events, one session after another             orders
//!  ledger              our orders at the venue: a state machine without IO sockets, time
//!  adapter             the task that joins them                            rules about orders
//!  market              combined streams and their parser                   keys
//! ```
//!
//! Nothing is sent twice on a guess. What the venue may or may not have done is UNKNOWN until the venue says so.

mod adapter;
mod balances;
mod client_id;
mod clock;
mod config;
mod ledger;
mod limits;
mod market;
mod rest;
mod rules;
mod session;
mod sign;
mod wire;

pub use adapter::{Ask, Phase, Ports, StartError, Status, Told, run};
pub use balances::{Balance, Balances};
pub use config::{Config, ConfigError, TESTNET_REST, TESTNET_STREAMS, TESTNET_WS_API};
pub use ledger::Counts;
pub use market::{
    BinanceParser, MAX_EVENT_LEVELS, MAX_LINE_BYTES, MarketBody, MarketEvent, MarketPorts, MarketStatus,
    ParseError, Timed, run_market,
};
pub use rules::StepError;
pub use sign::{Key, KeyError, Params};
