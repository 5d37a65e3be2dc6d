//! The graph in one SQLite file, for an installation that has no Neo4j.
//!
//! One connection writes, a few read beside it. The file is in WAL mode with `synchronous = FULL`: what was acknowledged
//! survives a loss of power. Other processes may use the file at the same time.

mod change;
mod gc;
mod lease;
mod lists;
mod schema;
mod sentinels;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::{
    Age, Applied, Binding, Change, Claim, Expired, Fetched, Graph, GraphError, Identity, Known, NodeRow,
    OutboxRow, QueueEntry, QueueFilter, Sentinel, Strategy, TagQuery, limits,
};

/// Connections that read.
const READERS: usize = 4;

/// The embedded engine.
pub struct Embedded {
    writer: Mutex<Connection>,
    readers: [Mutex<Connection>; READERS],
    /// Whose turn it is when all readers are taken.
    turn: AtomicUsize,
}

impl Embedded {
    /// Opens or creates the file, readable by its owner alone.
    ///
    /// # Errors
    /// [`GraphError`], saying what to do.
    pub fn open(path: &Path) -> Result<Self, GraphError> {
        let writer = Mutex::new(schema::writer(path)?);
        let reader = || schema::reader(path).map(Mutex::new);
        let readers = [reader()?, reader()?, reader()?, reader()?];
        Ok(Self { writer, readers, turn: AtomicUsize::new(0) })
    }

    fn read<T>(&self, ask: impl FnOnce(&Connection) -> Result<T, GraphError>) -> Result<T, GraphError> {
        let free = self.readers.iter().find_map(|reader| reader.try_lock().ok());
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % READERS;
        let mut connection = free.unwrap_or_else(|| lock(&self.readers[turn]));
        // One view for all statements of an answer.
        let view = connection.transaction()?;
        ask(&view)
    }

    fn write<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, GraphError>,
    ) -> Result<T, GraphError> {
        let mut connection = lock(&self.writer);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let answer = work(&transaction)?;
        transaction.commit()?;
        Ok(answer)
    }
}

/// A panic in another thread leaves a transaction rolled back, and nothing else.
fn lock(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Graph for Embedded {
    fn fetch(&self, identities: &[Identity], families: &[Identity]) -> Result<Fetched, GraphError> {
        limits::batch("identities", identities.len() + families.len())?;
        self.read(|view| lists::fetch(view, identities, families))
    }

    fn bindings(&self, node_ids: &[&str]) -> Result<Vec<Binding>, GraphError> {
        limits::batch("ids", node_ids.len())?;
        self.read(|view| lists::bindings(view, node_ids))
    }

    fn apply(&self, change: &Change<'_>) -> Result<Applied, GraphError> {
        limits::change(change)?;
        self.write(|work| change::apply(work, change))
    }

    fn release(&self, strategy_id: &str, now_ms: i64) -> Result<Vec<Identity>, GraphError> {
        limits::text("the strategy's id", strategy_id)?;
        self.write(|work| change::release(work, strategy_id, now_ms))
    }

    fn nodes(
        &self,
        after: Option<&Identity>,
        most: usize,
    ) -> Result<Vec<(Known, Vec<Identity>)>, GraphError> {
        self.read(|view| lists::nodes(view, after, limits::page(most)))
    }

    fn strategy_nodes(&self, strategy_id: &str) -> Result<Vec<NodeRow>, GraphError> {
        self.read(|view| lists::strategy_nodes(view, strategy_id))
    }

    fn strategies(&self, after: Option<&str>, most: usize) -> Result<Vec<Strategy>, GraphError> {
        self.read(|view| lists::strategies(view, after, limits::page(most)))
    }

    fn strategies_of(&self, identity: &Identity, most: usize) -> Result<Vec<String>, GraphError> {
        self.read(|view| lists::strategies_of(view, identity, limits::page(most)))
    }

    fn queues_by_tags(&self, query: &TagQuery<'_>, most: usize) -> Result<Vec<QueueEntry>, GraphError> {
        let tags = limits::tags(query)?;
        self.read(|view| lists::queues_by_tags(view, query, &tags, limits::page(most)))
    }

    fn queues(
        &self,
        filter: &QueueFilter<'_>,
        after: Option<&str>,
        most: usize,
    ) -> Result<Vec<QueueEntry>, GraphError> {
        self.read(|view| lists::queues(view, filter, after, limits::page(most)))
    }

    fn sentinel(&self, sentinel_id: &str) -> Result<Option<Sentinel>, GraphError> {
        self.read(|view| sentinels::one(view, sentinel_id))
    }

    fn sentinels(&self, after: Option<&str>, most: usize) -> Result<Vec<Sentinel>, GraphError> {
        self.read(|view| sentinels::all(view, after, limits::page(most)))
    }

    fn sentinel_nodes(&self, sentinel_id: &str) -> Result<Vec<Identity>, GraphError> {
        self.read(|view| sentinels::nodes(view, sentinel_id))
    }

    fn set_weight(&self, version: &str, weight: f64) -> Result<Sentinel, GraphError> {
        limits::weight(weight)?;
        self.write(|work| sentinels::set_weight(work, version, weight))
    }

    fn retired_sentinels(&self, not_after_ms: i64, most: usize) -> Result<Vec<Sentinel>, GraphError> {
        self.read(|view| sentinels::retired(view, not_after_ms, limits::page(most)))
    }

    fn remove_sentinels(&self, sentinel_ids: &[&str], not_after_ms: i64) -> Result<Vec<String>, GraphError> {
        limits::batch("sentinels", sentinel_ids.len())?;
        self.write(|work| sentinels::remove(work, sentinel_ids, not_after_ms))
    }

    fn orphans(&self, ages: &[Age<'_>], most: usize) -> Result<Vec<QueueEntry>, GraphError> {
        limits::batch("classes", ages.len())?;
        self.read(|view| gc::orphans(view, ages, limits::page(most)))
    }

    fn remove(
        &self,
        identities: &[Identity],
        not_after_ms: i64,
        now_ms: i64,
    ) -> Result<Vec<QueueEntry>, GraphError> {
        limits::batch("identities", identities.len())?;
        self.write(|work| gc::remove(work, identities, not_after_ms, now_ms))
    }

    fn outbox(&self, after: i64, most: usize) -> Result<Vec<OutboxRow>, GraphError> {
        self.read(|view| lists::outbox(view, after, limits::page(most)))
    }

    fn outbox_done(&self, up_to: i64) -> Result<(), GraphError> {
        self.write(|work| {
            work.prepare_cached("DELETE FROM outbox WHERE seq <= ?1")?.execute([up_to])?;
            Ok(())
        })
    }

    fn lease(
        &self,
        identities: &[Identity],
        holder: &str,
        ttl_ms: i64,
        now_ms: i64,
    ) -> Result<Vec<Claim>, GraphError> {
        limits::lease(identities.len(), holder, ttl_ms)?;
        self.write(|work| lease::lease(work, identities, holder, now_ms.saturating_add(ttl_ms), now_ms))
    }

    fn renew(
        &self,
        leases: &[(Identity, i64)],
        holder: &str,
        ttl_ms: i64,
        now_ms: i64,
    ) -> Result<Vec<Claim>, GraphError> {
        limits::lease(leases.len(), holder, ttl_ms)?;
        self.write(|work| lease::renew(work, leases, holder, now_ms.saturating_add(ttl_ms)))
    }

    fn expire(&self, now_ms: i64, most: usize) -> Result<Vec<Expired>, GraphError> {
        self.write(|work| lease::expire(work, now_ms, limits::page(most)))
    }

    fn ping(&self) -> Result<(), GraphError> {
        self.read(|view| Ok(view.query_row("SELECT 1", [], |_| Ok(()))?))
    }
}
