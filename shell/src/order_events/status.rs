//! What health and metrics tell.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use super::source::Batch;

/// Whether messages go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// Not yet connected, or there is no journal yet.
    Waiting = 0,
    /// They do.
    Following = 1,
    /// The topic's engine fails or is away; they wait in the journal.
    Failing = 2,
}

impl State {
    /// In JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Following => "following",
            Self::Failing => "failing",
        }
    }
}

/// Written by the publishing thread alone.
#[derive(Debug)]
pub struct Status {
    engine: &'static str,
    state: AtomicU8,
    published: AtomicU64,
    gaps: AtomicU64,
    failures: AtomicU64,
    next: AtomicU64,
    end: AtomicU64,
}

impl Status {
    pub(super) fn new(engine: &'static str) -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            engine,
            state: AtomicU8::new(State::Waiting as u8),
            published: zero(),
            gaps: zero(),
            failures: zero(),
            next: zero(),
            end: zero(),
        }
    }

    /// `embedded` or `kafka`.
    #[must_use]
    pub const fn engine(&self) -> &'static str {
        self.engine
    }

    /// Whether messages go out.
    #[must_use]
    pub fn state(&self) -> State {
        match self.state.load(Ordering::Relaxed) {
            1 => State::Following,
            2 => State::Failing,
            _ => State::Waiting,
        }
    }

    /// Messages published since the start.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.published.load(Ordering::Relaxed)
    }

    /// Stretches of the journal that were gone before they were published.
    #[must_use]
    pub fn gaps(&self) -> u64 {
        self.gaps.load(Ordering::Relaxed)
    }

    /// Times that the engine began to fail.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Journal position up to which everything is published; 0 before the first.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.next.load(Ordering::Relaxed).saturating_sub(1)
    }

    /// Journal slots that are not published yet.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.end.load(Ordering::Relaxed).saturating_sub(self.next.load(Ordering::Relaxed))
    }

    /// True when this is news.
    pub(super) fn set(&self, state: State) -> bool {
        let news = self.state.swap(state as u8, Ordering::Relaxed) != state as u8;
        if news && state == State::Failing {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        news
    }

    pub(super) fn saw(&self, next: u64, end: u64) {
        self.next.store(next, Ordering::Relaxed);
        self.end.store(end.max(next), Ordering::Relaxed);
    }

    pub(super) fn ends(&self, end: u64) {
        self.end.store(end, Ordering::Relaxed);
    }

    pub(super) fn published(&self, batch: &Batch, end: u64) {
        self.published.fetch_add(batch.messages.len() as u64, Ordering::Relaxed);
        self.gaps.fetch_add(batch.gaps, Ordering::Relaxed);
        self.saw(batch.after.next, end);
    }
}
