//! Drafts that were acknowledged while the store was away: written to a file of this host first, handed over in order and
//! exactly once when the store is back.
//!
//! For one gateway: a duplicate is seen when it lies in the spool too, or else at the hand-over. By then its client was told
//! that it is taken, so it ends as `Failed`, with the reason. A hand-over that nobody heard the answer of is made again:
//! the store knows a strategy by its id.

mod rows;

use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::sqlite::{self, lock};
use crate::{Admission, Draft, Duplicates, OnDuplicate, Store, StoreError, limits};

const MIGRATIONS: [&str; 1] = [include_str!("spool/schema.sql")];
/// A store that failed is left alone for so long: a submission does not wait for it each time.
const BACK_OFF: Duration = Duration::from_secs(1);

/// How much a spool takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpoolBounds {
    /// Strategies.
    pub drafts: u64,
    /// Bytes of them, about.
    pub bytes: u64,
}

impl Default for SpoolBounds {
    fn default() -> Self {
        Self { drafts: 100_000, bytes: 1 << 30 }
    }
}

/// What a hand-over did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HandedOver {
    /// Strategies that the store has now.
    pub taken: u64,
    /// Those that had a duplicate there, and are `Failed`.
    pub duplicates: Vec<String>,
    /// Left in the spool.
    pub left: u64,
}

/// The spool. Its calls block, as the store's do.
pub struct Spool {
    connection: Mutex<Connection>,
    bounds: SpoolBounds,
    /// Hand-overs are made one after the other.
    handing: Mutex<()>,
    not_before: Mutex<Option<Instant>>,
}

impl Spool {
    /// Opens or creates the file, readable by its owner alone.
    ///
    /// # Errors
    /// [`StoreError`], saying what to do.
    pub fn open(path: &Path, bounds: SpoolBounds) -> Result<Self, StoreError> {
        let connection = Mutex::new(sqlite::open(path, &MIGRATIONS)?);
        Ok(Self { connection, bounds, handing: Mutex::default(), not_before: Mutex::default() })
    }

    /// Submits to `store`, or, when it is away or earlier drafts still wait here, into the spool. Durable when it returns.
    ///
    /// # Errors
    /// Refusals of the store; [`StoreError::SpoolFull`].
    pub fn submit(
        &self,
        store: &dyn Store,
        drafts: &[Draft],
        ttl_ms: u64,
    ) -> Result<Vec<Admission>, StoreError> {
        let resting = lock(&self.not_before).is_some_and(|time| Instant::now() < time);
        if !resting && self.depth()? == 0 {
            match store.submit(drafts, Duplicates { ttl_ms, then: OnDuplicate::Refuse }) {
                Err(error) if error.is_unavailable() => self.rest(),
                done => return done,
            }
        }
        self.take(drafts, ttl_ms)
    }

    /// Takes drafts whatever the store does.
    ///
    /// # Errors
    /// [`StoreError::SpoolFull`], or the file's.
    pub fn take(&self, drafts: &[Draft], ttl_ms: u64) -> Result<Vec<Admission>, StoreError> {
        limits::batch(drafts)?;
        let mut connection = lock(&self.connection);
        let work = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let admitted =
            drafts.iter().map(|draft| rows::admit(&work, draft, ttl_ms)).collect::<Result<_, _>>()?;
        let (count, bytes) = rows::held(&work)?;
        if count > self.bounds.drafts || bytes > self.bounds.bytes {
            return Err(StoreError::SpoolFull { drafts: count, bytes });
        }
        work.commit()?;
        Ok(admitted)
    }

    /// Hands up to `most` of the oldest drafts to the store.
    ///
    /// # Errors
    /// The store's; everything that it has not acknowledged stays.
    pub fn hand_over(&self, store: &dyn Store, most: usize, ttl_ms: u64) -> Result<HandedOver, StoreError> {
        let _handing = lock(&self.handing);
        // Submissions go on meanwhile: only this call takes anything out.
        let drafts = rows::oldest(&lock(&self.connection), most.min(limits::MAX_BATCH_DRAFTS))?;
        let mut done = HandedOver::default();
        if !drafts.is_empty() {
            let admitted = store.submit(&drafts, Duplicates { ttl_ms, then: OnDuplicate::KeepAsFailed });
            let admitted = admitted.inspect_err(|error| {
                if error.is_unavailable() {
                    self.rest();
                }
            })?;
            self.remove(&drafts)?;
            let duplicate = |(draft, admission): (&Draft, &Admission)| {
                matches!(admission, Admission::Duplicate { .. }).then(|| draft.strategy_id.clone())
            };
            done.taken = drafts.len() as u64;
            done.duplicates = drafts.iter().zip(&admitted).filter_map(duplicate).collect();
        }
        *lock(&self.not_before) = None;
        done.left = self.depth()?;
        Ok(done)
    }

    /// How many wait.
    ///
    /// # Errors
    /// The file's.
    pub fn depth(&self) -> Result<u64, StoreError> {
        rows::held(&lock(&self.connection)).map(|(count, _)| count)
    }

    /// Whether this strategy waits here: it is queued then.
    ///
    /// # Errors
    /// The file's.
    pub fn contains(&self, strategy_id: &str) -> Result<bool, StoreError> {
        rows::contains(&lock(&self.connection), strategy_id)
    }

    fn remove(&self, drafts: &[Draft]) -> Result<(), StoreError> {
        let mut connection = lock(&self.connection);
        let work: Transaction<'_> = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for draft in drafts {
            rows::remove(&work, &draft.strategy_id)?;
        }
        Ok(work.commit()?)
    }

    fn rest(&self) {
        *lock(&self.not_before) = Some(Instant::now() + BACK_OFF);
    }
}
