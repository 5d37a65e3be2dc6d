//! Plays a source into the gate: pacing, back-pressure, and the gate's restarts.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ringfence_ipc::feed::{AttachError, AttachOptions, FeedClient, PublishError};
use ringfence_ipc::handshake::Role;
use ringfence_ipc::msg::Words;

use super::{
    BinanceParser, BookMirror, Live, LiveConfig, MarketEvent, Recording, Simulated, SimulatedConfig, Source,
    Speed, encode,
};

/// How long a vanished gate is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pause while the tape is full or a strategy is behind.
const WAIT_PAUSE: Duration = Duration::from_micros(20);
/// The longest sleep between two looks at the stop flag.
const STOP_LOOK: Duration = Duration::from_millis(20);

/// What to play.
#[derive(Clone, Debug)]
pub enum SourceConfig {
    /// A recording of Binance combined streams, gzip or plain.
    Recording(PathBuf),
    /// A market made up on the spot.
    Simulated {
        /// Seed of its randomness.
        seed: u64,
    },
    /// The market as it happens, at its own speed.
    Live(Box<LiveConfig>),
}

/// How to play it.
#[derive(Clone, Debug)]
pub struct PlayerConfig {
    /// The core's control socket.
    pub socket: PathBuf,
    /// What to play.
    pub source: SourceConfig,
    /// How fast.
    pub speed: Speed,
}

/// Why playing ended early.
#[derive(Debug, thiserror::Error)]
pub enum PlayError {
    /// The gate cannot be reached.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The recording cannot be read.
    #[error("{path}: {source}")]
    Recording {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The gate's memory contradicts the protocol.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

/// What was played.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlayReport {
    /// Events published.
    pub events: u64,
    /// Malformed lines among them.
    pub malformed: u64,
    /// The source came to its end.
    pub ended: bool,
}

/// Attaches as the gate's feed and plays until the source ends or `stop` is set. Survives restarts of the gate: every
/// event reaches its venue once, after a snapshot of the book.
///
/// # Errors
/// [`PlayError`].
pub fn play(config: &PlayerConfig, stop: &AtomicBool) -> Result<PlayReport, PlayError> {
    let options = AttachOptions::new(&config.socket, Role::Feed, "market");
    let feed = FeedClient::attach(options, PATIENCE)?;
    let source = open(&config.source, &feed)?;
    let mirror = BookMirror::new(feed.market().symbols().len());
    let mut player = Player { feed, source, mirror, words: Vec::new(), speed: config.speed, started: None };
    player.skip_consumed()?;
    player.run(stop)
}

fn open(config: &SourceConfig, feed: &FeedClient) -> Result<Source, PlayError> {
    let symbols = feed.market().symbols();
    Ok(match config {
        SourceConfig::Recording(path) => {
            let recording = Recording::open(path, BinanceParser::new(symbols))
                .map_err(|source| PlayError::Recording { path: path.clone(), source })?;
            Source::Recording(Box::new(recording))
        }
        SourceConfig::Simulated { seed } => {
            Source::Simulated(Simulated::new(&SimulatedConfig::for_table(symbols, *seed, feed.now_ns())))
        }
        SourceConfig::Live(live) => Source::Live(Box::new(Live::new(live, symbols))),
    })
}

struct Player {
    feed: FeedClient,
    source: Source,
    mirror: BookMirror,
    words: Vec<Words>,
    speed: Speed,
    /// When the first event was published, and how far into the source that was.
    started: Option<(Instant, u64)>,
}

impl Player {
    /// A feed that starts beside a gate which has already consumed part of the recording goes on behind that part.
    fn skip_consumed(&mut self) -> Result<(), PlayError> {
        let consumed = self.feed.next_event() - 1;
        if consumed == 0 || !matches!(self.source, Source::Recording(_)) {
            return Ok(());
        }
        for _ in 0..consumed {
            let Some(timed) = self.source.next() else { break };
            self.mirror.apply(&timed.value);
        }
        self.words.clear();
        self.mirror.snapshot(consumed, &mut self.words);
        self.feed.publish_snapshot(&self.words);
        Ok(())
    }

    fn run(&mut self, stop: &AtomicBool) -> Result<PlayReport, PlayError> {
        while let Some(timed) = self.source.next() {
            if !self.wait_until_due(timed.due_ns, stop) {
                return Ok(self.report(false));
            }
            self.mirror.apply(&timed.value);
            self.publish(&timed.value, stop)?;
            if stop.load(Ordering::Relaxed) {
                return Ok(self.report(false));
            }
        }
        if let Some(kind) = self.source.broken() {
            tracing::warn!(%kind, "the recording breaks off: it was cut short or damaged");
        }
        self.finish(stop)?;
        Ok(self.report(true))
    }

    fn report(&self, ended: bool) -> PlayReport {
        PlayReport { events: self.feed.next_event() - 1, malformed: self.source.malformed(), ended }
    }

    /// Waits for an event's time at the chosen speed. `false`: told to stop.
    fn wait_until_due(&mut self, due_ns: u64, stop: &AtomicBool) -> bool {
        let live = matches!(self.source, Source::Live(_));
        if live || self.speed == Speed::Max || self.feed.lockstep() {
            return true;
        }
        let (started, first_ns) = *self.started.get_or_insert_with(|| (Instant::now(), due_ns));
        let due = Duration::from_nanos(self.speed.due_ns(due_ns.saturating_sub(first_ns)));
        while let Some(left) = due.checked_sub(started.elapsed()).filter(|left| !left.is_zero()) {
            if stop.load(Ordering::Relaxed) {
                return false;
            }
            std::thread::sleep(left.min(STOP_LOOK));
        }
        true
    }

    fn publish(&mut self, event: &MarketEvent, stop: &AtomicBool) -> Result<(), PlayError> {
        let number = self.feed.next_event();
        self.words.clear();
        encode(number, event, &mut self.words);
        while !self.feed.is_paced(number) && self.feed.is_connected() && !stop.load(Ordering::Relaxed) {
            std::thread::sleep(WAIT_PAUSE);
        }
        loop {
            match self.feed.publish(&self.words) {
                Ok(()) => return Ok(()),
                Err(PublishError::Wait) if stop.load(Ordering::Relaxed) => return Ok(()),
                Err(PublishError::Wait) => std::thread::sleep(WAIT_PAUSE),
                Err(PublishError::Lost) => self.reattach()?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn reattach(&mut self) -> Result<(), PlayError> {
        let Self { feed, mirror, .. } = self;
        let consumed = feed.reattach(PATIENCE, |consumed| {
            let mut snapshot = Vec::new();
            mirror.snapshot(consumed, &mut snapshot);
            snapshot
        })?;
        tracing::info!(consumed, "the gate is back: the tape goes on");
        Ok(())
    }

    /// Says that the tape is over, and again to a gate that comes back; stays until told to stop.
    fn finish(&mut self, stop: &AtomicBool) -> Result<(), PlayError> {
        let mut told = false;
        while !stop.load(Ordering::Relaxed) {
            if !self.feed.is_connected() {
                self.reattach()?;
                told = false;
            }
            if !told {
                match self.feed.publish_end() {
                    Ok(()) => told = true,
                    Err(PublishError::Wait | PublishError::Lost) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            std::thread::sleep(if told { STOP_LOOK } else { WAIT_PAUSE });
        }
        Ok(())
    }
}
