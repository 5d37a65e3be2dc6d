//! Submitted strategies behind one port: a durable first-in-first-out queue with claims and a state machine, in SQLite,
//! or in PostgreSQL with Redis before it.
//!
//! What [`Store::submit`] accepts is durable when it returns, and its number is its place in the queue. A worker holds a
//! strategy by a [`Hold`]: a token that only grows. Every effect carries it, and one that is not the newest is refused, so
//! at most one worker ever acts on a strategy, whatever clocks, locks and caches say. Each move of the state machine is an
//! event row first and the strategy's row second, in one transaction; events have one total order.

#![forbid(unsafe_code)]

mod change;
mod embedded;
mod error;
mod limits;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "postgres")]
mod redis_front;
mod spool;
mod sqlite;
mod state;
mod types;
mod words;

use std::path::PathBuf;

use secrecy::SecretString;

pub use embedded::Embedded;
pub use error::StoreError;
pub use limits::{
    MAX_BATCH_BYTES, MAX_BATCH_DRAFTS, MAX_CLAIMS, MAX_DETAIL_BYTES, MAX_DRAFT_BYTES, MAX_ERROR_BYTES,
    MAX_ID_BYTES, MAX_LIST, MAX_STEPS,
};
#[cfg(feature = "postgres")]
pub use postgres::Postgres;
#[cfg(feature = "postgres")]
pub use redis_front::RedisFront;
pub use spool::{HandedOver, Spool, SpoolBounds};
pub use state::State;
pub use types::{
    Admission, Attempt, By, Claim, Depth, Draft, Duplicates, Event, Filter, Hold, OnDuplicate, Pruned,
    Retention, RunType, Settings, Step, Strategy,
};

/// Where strategies are kept.
///
/// Times are the caller's: milliseconds since the Unix epoch. Clocks of several hosts should agree within a fraction of a
/// lease; when they do not, claims expire early or late, and nothing else.
pub trait Store: Send + Sync {
    /// Brings tables to this program's version; asked for by hand or by the first use.
    ///
    /// # Errors
    /// [`StoreError::Newer`] when a later program has been here.
    fn migrate(&self) -> Result<(), StoreError>;

    /// Whether the engine answers.
    ///
    /// # Errors
    /// [`StoreError`]: it does not.
    fn ping(&self) -> Result<(), StoreError>;

    /// Whether the cache before the engine answers; none: there is none. The engine does without it.
    fn front_answers(&self) -> Option<bool> {
        None
    }

    /// Takes all of `drafts` in order, each accepted or found to be a duplicate; durable when it returns. A strategy that is
    /// known already is accepted again under its number, so whoever did not hear the answer may ask again.
    ///
    /// # Errors
    /// [`StoreError`]. Where it is a refusal nothing was taken; else all of it or nothing: ask again.
    fn submit(&self, drafts: &[Draft], duplicates: Duplicates) -> Result<Vec<Admission>, StoreError>;

    /// Claims up to `most` of the oldest strategies that are due, for `lease_ms`. A claim that expired is due again, at its
    /// old place; one that expired too often fails.
    ///
    /// # Errors
    /// [`StoreError`].
    fn claim(&self, worker: &str, most: usize, lease_ms: u64, now_ms: u64) -> Result<Vec<Claim>, StoreError>;

    /// Makes a claim last until `lease_ms` from now.
    ///
    /// # Errors
    /// [`StoreError::Stale`] when it is held no more.
    fn renew(&self, hold: &Hold, lease_ms: u64, now_ms: u64) -> Result<(), StoreError>;

    /// Ends a claim without a result: the strategy is due again at `not_before_ms`, or fails after as many attempts as
    /// there may be, if this one counts. Says which.
    ///
    /// # Errors
    /// [`StoreError::Stale`] when it is held no more.
    fn give_back(
        &self,
        hold: &Hold,
        attempt: Attempt,
        not_before_ms: u64,
        error: &str,
        now_ms: u64,
    ) -> Result<State, StoreError>;

    /// Makes these moves, all or none. Out of `Processing` only its holder leads, and the claim ends with that; out of
    /// `Mapped` and `Executing` nobody holds a claim.
    ///
    /// # Errors
    /// [`StoreError::Stale`], [`StoreError::Illegal`], [`StoreError::Unknown`], or the engine's.
    fn advance(&self, by: By<'_>, steps: &[Step<'_>], now_ms: u64) -> Result<(), StoreError>;

    /// What a client that executes by itself says of its strategy: `Executing`, `Completed` or `Failed`. `false`: it said so
    /// before.
    ///
    /// # Errors
    /// As [`Store::advance`].
    fn report(
        &self,
        strategy_id: &str,
        to: State,
        error: Option<&str>,
        now_ms: u64,
    ) -> Result<bool, StoreError>;

    /// Ends a strategy for good, whoever holds it. `false`: it was deleted before.
    ///
    /// # Errors
    /// [`StoreError::Unknown`], or the engine's.
    fn delete(&self, strategy_id: &str, now_ms: u64) -> Result<bool, StoreError>;

    /// Its state; a front may answer with what it was a few seconds ago.
    ///
    /// # Errors
    /// [`StoreError`].
    fn status(&self, strategy_id: &str) -> Result<Option<State>, StoreError>;

    /// What is known about it.
    ///
    /// # Errors
    /// [`StoreError`].
    fn get(&self, strategy_id: &str) -> Result<Option<Strategy>, StoreError>;

    /// What was submitted.
    ///
    /// # Errors
    /// [`StoreError`].
    fn draft(&self, strategy_id: &str) -> Result<Option<Draft>, StoreError>;

    /// What a worker stored with `Mapped`, JSON.
    ///
    /// # Errors
    /// [`StoreError`].
    fn plan(&self, strategy_id: &str) -> Result<Option<String>, StoreError>;

    /// Strategies with numbers above `after`, in order.
    ///
    /// # Errors
    /// [`StoreError`].
    fn list(&self, after: u64, most: usize, filter: &Filter) -> Result<Vec<Strategy>, StoreError>;

    /// Events with numbers above `after`, in order. What appears later has a higher number than all that was seen.
    ///
    /// # Errors
    /// [`StoreError`].
    fn events(&self, after: u64, most: usize) -> Result<Vec<Event>, StoreError>;

    /// How much waits.
    ///
    /// # Errors
    /// [`StoreError`].
    fn depth(&self) -> Result<Depth, StoreError>;

    /// Removes a piece of what need not be kept; call it again while it finds something.
    ///
    /// # Errors
    /// [`StoreError`].
    fn prune(&self, retention: &Retention, now_ms: u64) -> Result<Pruned, StoreError>;
}

/// Which engine.
#[derive(Clone, Debug)]
pub enum Engine {
    /// In this SQLite file.
    Embedded(PathBuf),
    /// In PostgreSQL at this address (`postgresql://..`), with Redis (`redis://..`) before it, if one is named.
    Postgres {
        /// Holds a password.
        url: SecretString,
        /// Holds a password, perhaps.
        redis: Option<SecretString>,
    },
}

impl Engine {
    /// In JSON and logs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Embedded(_) => "embedded",
            Self::Postgres { redis: None, .. } => "postgres",
            Self::Postgres { redis: Some(_), .. } => "postgres+redis",
        }
    }

    /// Opens it. Servers need not be there yet.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(&self, settings: Settings) -> Result<Box<dyn Store>, StoreError> {
        match self {
            Self::Embedded(path) => Ok(Box::new(Embedded::open(path, settings)?)),
            #[cfg(feature = "postgres")]
            Self::Postgres { url, redis: None } => Ok(Box::new(Postgres::open(url, settings)?)),
            #[cfg(feature = "postgres")]
            Self::Postgres { url, redis: Some(redis) } => {
                Ok(Box::new(RedisFront::open(redis, Postgres::open(url, settings)?)?))
            }
            #[cfg(not(feature = "postgres"))]
            Self::Postgres { .. } => Err(StoreError::NotBuilt),
        }
    }
}
