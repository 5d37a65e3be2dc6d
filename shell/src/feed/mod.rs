//! Where market events come from: recordings and a simulated market, and how they are told on the tape.
//!
//! Every line of a source is one event, malformed ones too (they change nothing, but are counted): so event numbers
//! equal line numbers, and nothing is dropped silently. Sources know no rings and no clock; whoever owns the thread
//! asks [`Source::next`] and waits by [`Speed`].

mod live;
mod mirror;
mod player;
mod recording;
mod simulated;
mod tape;

pub use live::{Live, LiveConfig};
pub use mirror::{BookMirror, SNAPSHOT_LEVELS_PER_SIDE};
pub use player::{PlayError, PlayReport, PlayerConfig, SourceConfig, play};
pub use recording::{Recording, RecordingCounts};
pub use ringfence_binance::{
    BinanceParser, MAX_EVENT_LEVELS, MAX_LINE_BYTES, MarketBody, MarketEvent, ParseError, Timed,
};
pub use simulated::{Simulated, SimulatedConfig, SimulatedSymbol};
pub use tape::encode;

use std::io;
use std::str::FromStr;

/// A source of market events.
#[derive(Debug)]
pub enum Source {
    /// A recorded market, as fast or slow as its reader likes.
    Recording(Box<Recording>),
    /// A market made up on the spot; it never ends.
    Simulated(Simulated),
    /// The market as it happens.
    Live(Box<Live>),
}

impl Source {
    /// The next event, `None` at the end of a recording or of a live market, whose next event is waited for. A malformed line is an event with an empty body.
    #[allow(clippy::should_implement_trait, reason = "a source is asked one by one, never adapted")]
    pub fn next(&mut self) -> Option<Timed<MarketEvent>> {
        match self {
            Self::Recording(recording) => recording.next_event(),
            Self::Simulated(market) => Some(market.next_event()),
            Self::Live(market) => market.next_event(),
        }
    }

    /// Events given so far, malformed ones included.
    #[must_use]
    pub fn events(&self) -> u64 {
        match self {
            Self::Recording(recording) => recording.counts().lines,
            Self::Simulated(market) => market.events(),
            Self::Live(market) => market.events(),
        }
    }

    /// How many of them were malformed.
    #[must_use]
    pub fn malformed(&self) -> u64 {
        match self {
            Self::Recording(recording) => recording.counts().malformed,
            Self::Simulated(_) => 0,
            Self::Live(market) => market.malformed(),
        }
    }

    /// Why the latest malformed event was refused.
    #[must_use]
    pub fn last_error(&self) -> Option<ParseError> {
        match self {
            Self::Recording(recording) => recording.last_error(),
            Self::Simulated(_) | Self::Live(_) => None,
        }
    }

    /// Why the source ended before its end: a gzip file cut short, a disk error. To be asked after the last event.
    #[must_use]
    pub fn broken(&self) -> Option<io::ErrorKind> {
        match self {
            Self::Recording(recording) => recording.broken(),
            Self::Simulated(_) | Self::Live(_) => None,
        }
    }
}

/// How fast a source is played.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// Without waiting.
    Max,
    /// So many times faster than it happened; finite and above 0.
    Times(f64),
}

impl Speed {
    /// When an event that was due `due_ns` after the first one is due at this speed, ns after the first one.
    #[must_use]
    pub fn due_ns(self, due_ns: u64) -> u64 {
        match self {
            Self::Max => 0,
            Self::Times(factor) => (due_ns as f64 / factor) as u64,
        }
    }
}

/// The text is neither `max` nor a number above 0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("speed `{0}` is neither `max` nor a number above 0")]
pub struct SpeedError(String);

impl std::fmt::Display for Speed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Max => f.write_str("max"),
            Self::Times(factor) => write!(f, "{factor}"),
        }
    }
}

impl FromStr for Speed {
    type Err = SpeedError;

    fn from_str(text: &str) -> Result<Self, SpeedError> {
        if text == "max" {
            return Ok(Self::Max);
        }
        match text.trim_end_matches('x').parse::<f64>() {
            Ok(factor) if factor.is_finite() && factor > 0.0 => Ok(Self::Times(factor)),
            _ => Err(SpeedError(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests;
