//! Market data: combined streams, live, and the one parser of their messages, which recordings share.

mod event;
mod live;
mod parser;

pub use event::{MarketBody, MarketEvent, Timed};
pub use live::{MarketPorts, MarketStatus, run_market};
pub use parser::{BinanceParser, ParseError};

/// The longest message that is read; longer ones are skipped and counted as malformed.
pub const MAX_LINE_BYTES: usize = 1 << 20;
/// The most levels one event may carry (a full Binance snapshot has 10,000).
pub const MAX_EVENT_LEVELS: usize = 16_384;
