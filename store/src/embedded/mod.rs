//! Strategies in one SQLite file, for a host that has no PostgreSQL.
//!
//! Every call that changes something is one immediate transaction on the one writing connection, and on the disk when it
//! returns; what came together shares it. Readers have connections of their own and never wait for the writer. Several
//! processes may use the file.

mod reads;
pub(crate) mod rows;
mod writes;

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::change::{self, stored};
use crate::sqlite::{self, lock};
use crate::{
    Admission, Attempt, By, Claim, Depth, Draft, Duplicates, Event, Filter, Hold, Pruned, Retention,
    Settings, State, Step, Store, StoreError, Strategy, limits,
};

const MIGRATIONS: [&str; 1] = [include_str!("schema.sql")];
/// Readers that are kept open for the next one.
const MAX_IDLE_READERS: usize = 8;

/// The embedded engine.
pub struct Embedded {
    path: PathBuf,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
    settings: Settings,
}

impl Embedded {
    /// Opens or creates the file, readable by its owner alone.
    ///
    /// # Errors
    /// [`StoreError`], saying what to do.
    pub fn open(path: &Path, settings: Settings) -> Result<Self, StoreError> {
        let writer = Mutex::new(sqlite::open(path, &MIGRATIONS)?);
        Ok(Self { path: path.to_owned(), writer, readers: Mutex::default(), settings })
    }

    fn write<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut connection = lock(&self.writer);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let done = work(&transaction)?;
        transaction.commit()?;
        Ok(done)
    }

    fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let idle = lock(&self.readers).pop();
        let connection = idle.map_or_else(|| sqlite::reader(&self.path), Ok)?;
        let done = work(&connection);
        let mut readers = lock(&self.readers);
        if done.is_ok() && readers.len() < MAX_IDLE_READERS {
            readers.push(connection);
        }
        done
    }

    /// Decides about a strategy's row and writes down what was decided, if anything.
    fn change(
        &self,
        strategy_id: &str,
        decide: impl FnOnce(&change::Row) -> Result<Option<change::Change>, StoreError>,
    ) -> Result<Option<State>, StoreError> {
        limits::strategy_id(strategy_id)?;
        self.write(|work| {
            let unknown = || StoreError::Unknown(strategy_id.to_owned());
            let row = reads::row(work, strategy_id)?.ok_or_else(unknown)?;
            let Some(change) = decide(&row)? else { return Ok(None) };
            writes::apply(work, &change)?;
            Ok(Some(change.row.state))
        })
    }
}

impl Store for Embedded {
    fn migrate(&self) -> Result<(), StoreError> {
        // Opening has done it.
        self.ping()
    }

    fn ping(&self) -> Result<(), StoreError> {
        self.read(|connection| Ok(connection.query_row("SELECT 1", [], |_| Ok(()))?))
    }

    fn submit(&self, drafts: &[Draft], duplicates: Duplicates) -> Result<Vec<Admission>, StoreError> {
        limits::batch(drafts)?;
        self.write(|work| drafts.iter().map(|draft| writes::admit(work, draft, duplicates)).collect())
    }

    fn claim(&self, worker: &str, most: usize, lease_ms: u64, now_ms: u64) -> Result<Vec<Claim>, StoreError> {
        limits::worker(worker)?;
        // Whoever only looks does not make others wait for the disk.
        if !self.read(|connection| reads::any_due(connection, stored(now_ms)))? {
            return Ok(Vec::new());
        }
        self.write(|work| {
            let mut claims = Vec::new();
            for row in reads::due(work, stored(now_ms), most.min(limits::MAX_CLAIMS))? {
                let token = writes::next_token(work)?;
                let most_attempts = self.settings.most_attempts;
                let change = change::claim(&row, worker, token, lease_ms, now_ms, most_attempts)?;
                writes::apply(work, &change)?;
                if change.row.state == State::Processing {
                    claims.push(reads::claimed(work, &change.row)?);
                }
            }
            Ok(claims)
        })
    }

    fn renew(&self, hold: &Hold, lease_ms: u64, now_ms: u64) -> Result<(), StoreError> {
        self.change(&hold.strategy_id, |row| change::renew(row, hold, lease_ms, now_ms).map(Some)).map(drop)
    }

    fn give_back(
        &self,
        hold: &Hold,
        attempt: Attempt,
        not_before_ms: u64,
        error: &str,
        now_ms: u64,
    ) -> Result<State, StoreError> {
        let most = (attempt == Attempt::Counted).then_some(self.settings.most_attempts);
        let decide = |row: &_| change::give_back(row, hold, not_before_ms, error, now_ms, most).map(Some);
        self.change(&hold.strategy_id, decide).map(|state| state.unwrap_or(State::Submitted))
    }

    fn advance(&self, by: By<'_>, steps: &[Step<'_>], now_ms: u64) -> Result<(), StoreError> {
        let id = by.strategy_id();
        limits::steps(id, steps)?;
        self.change(id, |row| change::advance(row, by, steps, now_ms).map(Some)).map(drop)
    }

    fn report(
        &self,
        strategy_id: &str,
        to: State,
        error: Option<&str>,
        now_ms: u64,
    ) -> Result<bool, StoreError> {
        self.change(strategy_id, |row| change::report(row, to, error, now_ms)).map(|state| state.is_some())
    }

    fn delete(&self, strategy_id: &str, now_ms: u64) -> Result<bool, StoreError> {
        self.change(strategy_id, |row| change::delete(row, now_ms)).map(|state| state.is_some())
    }

    fn status(&self, strategy_id: &str) -> Result<Option<State>, StoreError> {
        self.read(|connection| reads::status(connection, strategy_id))
    }

    fn get(&self, strategy_id: &str) -> Result<Option<Strategy>, StoreError> {
        self.read(|connection| reads::strategy(connection, strategy_id))
    }

    fn draft(&self, strategy_id: &str) -> Result<Option<Draft>, StoreError> {
        self.read(|connection| reads::draft(connection, strategy_id))
    }

    fn plan(&self, strategy_id: &str) -> Result<Option<String>, StoreError> {
        self.read(|connection| reads::plan(connection, strategy_id))
    }

    fn list(&self, after: u64, most: usize, filter: &Filter) -> Result<Vec<Strategy>, StoreError> {
        limits::filter(filter)?;
        self.read(|connection| reads::list(connection, stored(after), most.min(limits::MAX_LIST), filter))
    }

    fn events(&self, after: u64, most: usize) -> Result<Vec<Event>, StoreError> {
        self.read(|connection| reads::events(connection, stored(after), most.min(limits::MAX_LIST)))
    }

    fn depth(&self) -> Result<Depth, StoreError> {
        self.read(reads::depth)
    }

    fn prune(&self, retention: &Retention, now_ms: u64) -> Result<Pruned, StoreError> {
        self.write(|work| writes::prune(work, retention, now_ms))
    }
}
