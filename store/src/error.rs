//! What can go wrong, and what to do then.

use std::path::PathBuf;

use crate::limits::{MAX_BATCH_BYTES, MAX_BATCH_DRAFTS};
use crate::{Hold, State};

/// Why a store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A value that no engine takes.
    #[error("{what} of strategy `{strategy_id}` cannot be stored: {why}")]
    Value {
        /// Which strategy, as far as its id can be shown.
        strategy_id: String,
        /// Which of its values.
        what: &'static str,
        /// Why, and what is taken.
        why: String,
    },
    /// Too much at once.
    #[error(
        "{drafts} drafts of {bytes} bytes are too much for one submission ({MAX_BATCH_DRAFTS} drafts, {MAX_BATCH_BYTES} \
         bytes): split it"
    )]
    Batch {
        /// How many.
        drafts: usize,
        /// How large together.
        bytes: usize,
    },
    /// No such strategy.
    #[error("there is no strategy `{0}`: look at its id; ended ones are removed after a while")]
    Unknown(String),
    /// Another worker may hold it now, or nobody.
    #[error("the claim on {0} is held no more: stop working on it and claim again")]
    Stale(Hold),
    /// There is no such move.
    #[error("strategy `{strategy_id}` is {from} and cannot become {to}: look at its state first")]
    Illegal {
        /// Which.
        strategy_id: String,
        /// Where it is.
        from: State,
        /// Where it should have gone.
        to: State,
    },
    /// A worker holds it, and only that one may move it.
    #[error("a worker holds strategy `{0}`: wait until it is mapped")]
    Held(String),
    /// The spool takes no more.
    #[error(
        "the spool holds {drafts} strategies of {bytes} bytes and takes no more: bring the store back, then submit again"
    )]
    SpoolFull {
        /// How many.
        drafts: u64,
        /// How large together.
        bytes: u64,
    },
    /// This program has no PostgreSQL client in it.
    #[error(
        "this program was built without PostgreSQL: build it with `--features postgres`, or name no database"
    )]
    NotBuilt,
    /// The address of a server cannot be used.
    #[error("the address of {server} cannot be used: {why}; write {example}")]
    Address {
        /// Which server.
        server: &'static str,
        /// What is wrong with it; without the address itself, which may hold a password.
        why: String,
        /// What one looks like.
        example: &'static str,
    },
    /// A later program has been here.
    #[error(
        "{place} is of version {found}, this program knows {known}: use the program that wrote it, or a later one"
    )]
    Newer {
        /// Where.
        place: String,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The file cannot be used.
    #[error(
        "cannot use the strategies in {path}: {why}; look at its owner, its mode (0600) and the disk's room"
    )]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The embedded store failed.
    #[error("the embedded store of strategies failed: {0}; look at the disk's room")]
    Embedded(#[from] rusqlite::Error),
    /// A server does not answer, or not well.
    #[error("{server} cannot {doing}: {why}; is it up, and are its address and password right?")]
    Away {
        /// Which.
        server: &'static str,
        /// What was under way.
        doing: &'static str,
        /// What the client library says.
        why: String,
    },
    /// What stands in a table is none of our words.
    #[error(
        "the store holds `{found}` where {expected} should stand: somebody else wrote there; restore it from a copy"
    )]
    Foreign {
        /// What stands there.
        found: String,
        /// What should.
        expected: &'static str,
    },
}

impl StoreError {
    /// The engine is away or broken: what was asked may succeed later, and a breaker counts this. Everything else is a
    /// refusal: nothing has happened, and asking again brings the same answer.
    #[must_use]
    pub const fn is_unavailable(&self) -> bool {
        matches!(
            self,
            Self::File { .. }
                | Self::Embedded(_)
                | Self::Away { .. }
                | Self::Foreign { .. }
                | Self::Newer { .. }
                | Self::SpoolFull { .. }
        )
    }
}
