//! The graph on Neo4j, over Bolt, in Cypher without procedures.
//!
//! Everything is asked of the leader, in transactions that carry the bookmarks of this process's earlier ones. Transactions
//! that change more than leases begin by taking the lock of one node: Neo4j alone promises no more than to read what was
//! committed, and two changes that look before they write must not do so at the same time. Behind that stand unique
//! constraints. What failed for a reason that passes is tried again a few times.

mod ask;
mod change;
mod gc;
mod lease;
mod lists;
mod sentinels;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use ::neo4j::bookmarks::{BookmarkManager, bookmark_managers};
use ::neo4j::driver::auth::AuthToken;
use ::neo4j::driver::{ConnectionConfig, Driver, DriverConfig};
use ::neo4j::retry::RetryPolicy;
use ::neo4j::session::SessionConfig;
use ::neo4j::transaction::TransactionTimeout;
use ::neo4j::{Neo4jError, ValueSend};
use secrecy::ExposeSecret as _;

use self::ask::{Fault, Work, values};
use crate::cypher::MIGRATIONS;
use crate::{
    Age, Applied, Binding, Change, Claim, Expired, Fetched, Graph, GraphError, Identity, Known, Neo4jConfig,
    NodeRow, OutboxRow, QueueEntry, QueueFilter, Sentinel, Strategy, TagQuery, limits,
};

/// Connections of one process.
const CONNECTIONS: usize = 16;
const CONNECT_PATIENCE: Duration = Duration::from_secs(2);
const ACQUIRE_PATIENCE: Duration = Duration::from_secs(5);
/// A connection that was idle for so long is tried before it is used: the server may have gone and come back.
const TRUSTED_FOR: Duration = Duration::from_secs(1);
/// The server ends a transaction that takes longer.
const TRANSACTION_MS: i64 = 15_000;
/// Tries after the first one, and the pause before the first of them; each pause is twice the last one.
const RETRIES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// No try begins later: a server that does not answer at all is asked once.
const RETRY_FOR: Duration = Duration::from_secs(3);

/// The engine on Neo4j.
pub struct Neo4j {
    driver: Driver,
    session: SessionConfig,
    /// Whether the database is of this program's version; held while that is seen to.
    migrated: Mutex<bool>,
}

impl Neo4j {
    /// Sets the client up; the server is not asked yet.
    ///
    /// # Errors
    /// [`GraphError::Invalid`] when the address is none.
    pub fn open(config: &Neo4jConfig) -> Result<Self, GraphError> {
        let address =
            ConnectionConfig::try_from(config.uri.as_str()).map_err(|error| GraphError::Invalid {
                what: "Neo4j's address",
                why: format!("{error}; write `bolt://host:port` or, for a cluster, `neo4j://host:port`"),
            })?;
        let auth = config.login.as_ref().map_or_else(AuthToken::new_none_auth, |(user, password)| {
            AuthToken::new_basic_auth(user, password.expose_secret())
        });
        let settings = DriverConfig::new()
            .with_auth(Arc::new(auth))
            .with_user_agent(concat!("ringfence/", env!("CARGO_PKG_VERSION")).to_owned())
            .with_max_connection_pool_size(CONNECTIONS)
            .with_connection_timeout(CONNECT_PATIENCE)
            .with_connection_acquisition_timeout(ACQUIRE_PATIENCE)
            .with_idle_time_before_connection_test(TRUSTED_FOR)
            .with_telemetry(false);
        let bookmarks: Arc<dyn BookmarkManager> = Arc::new(bookmark_managers::simple(None));
        let mut session = SessionConfig::new().with_bookmark_manager(bookmarks);
        if let Some(database) = &config.database {
            session = session.with_database(Arc::new(database.clone()));
        }
        Ok(Self { driver: Driver::new(address, settings), session, migrated: Mutex::new(false) })
    }

    /// One transaction, tried again when it failed for a reason that passes.
    #[allow(clippy::result_large_err, reason = "the driver's own error")]
    fn transaction<T>(
        &self,
        doing: &'static str,
        work: impl Fn(&Work<'_, '_>) -> Result<T, Fault>,
    ) -> Result<T, GraphError> {
        let mut session = self.driver.session(self.session.clone());
        let done = session
            .transaction()
            .with_transaction_timeout(TransactionTimeout::from_millis(TRANSACTION_MS).unwrap_or_default())
            .run_with_retry(AFewTimes, |transaction| match work(&Work { transaction: &transaction }) {
                Ok(answer) => transaction.commit().map(|()| Ok(answer)),
                Err(Fault::Graph(refusal)) => transaction.rollback().map(|()| Err(refusal)),
                Err(Fault::Driver(error)) => Err(*error),
            });
        done.unwrap_or_else(|error| Err(GraphError::Away { doing, why: error.to_string() }))
    }

    fn read<T>(
        &self,
        doing: &'static str,
        work: impl Fn(&Work<'_, '_>) -> Result<T, Fault>,
    ) -> Result<T, GraphError> {
        self.migrate()?;
        self.transaction(doing, work)
    }

    /// A transaction that no other one of these runs beside.
    fn alone<T>(
        &self,
        doing: &'static str,
        work: impl Fn(&Work<'_, '_>) -> Result<T, Fault>,
    ) -> Result<T, GraphError> {
        self.migrate()?;
        self.transaction(doing, |transaction| {
            let lock = "MERGE (l:Lock {name: 'graph'}) SET l.held = true REMOVE l.held";
            transaction.ask(lock, values([]))?;
            work(transaction)
        })
    }

    /// Brings the database to this program's version, once.
    fn migrate(&self) -> Result<(), GraphError> {
        let doing = "bring the graph to this version";
        let mut migrated = self.migrated.lock().unwrap_or_else(PoisonError::into_inner);
        if *migrated {
            return Ok(());
        }
        let found = self.transaction(doing, |work| {
            let found =
                work.ask("MATCH (m:Migration {name: 'ringfence'}) RETURN m.version AS version", values([]))?;
            found.into_iter().next().map_or(Ok(0), |mut row| row.int("version"))
        })?;
        let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
        let missing = usize::try_from(found).ok().and_then(|found| MIGRATIONS.get(found..));
        for statement in missing.ok_or(GraphError::Newer { found, known })?.iter().copied().flatten() {
            self.transaction(doing, |work| work.ask(statement, values([])).map(drop))?;
        }
        if found < known {
            // Two programs may do this at once; the later version stands.
            let cypher = "MERGE (m:Migration {name: 'ringfence'})
                SET m.version = CASE WHEN m.version > $known THEN m.version ELSE $known END";
            self.transaction(doing, |work| work.ask(cypher, values([("known", known.into())])).map(drop))?;
        }
        *migrated = true;
        Ok(())
    }
}

/// Retries what the driver says may pass: a deadlock, a lost connection, a change of leader.
struct AFewTimes;

impl RetryPolicy for AFewTimes {
    type Error = Neo4jError;

    fn execute<R>(&self, mut work: impl FnMut() -> ::neo4j::Result<R>) -> Result<R, Neo4jError> {
        let began = Instant::now();
        let mut pause = FIRST_PAUSE;
        for _ in 0..RETRIES {
            match work() {
                Err(error) if error.is_retryable() && began.elapsed() < RETRY_FOR => {
                    std::thread::sleep(jittered(pause));
                }
                done => return done,
            }
            pause *= 2;
        }
        work()
    }
}

/// Half of the pause to all of it, so that those who met once do not meet again.
fn jittered(pause: Duration) -> Duration {
    let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().subsec_nanos();
    pause / 2 + (pause / 2) * (nanos % 1000) / 1000
}

impl Graph for Neo4j {
    fn fetch(&self, identities: &[Identity], families: &[Identity]) -> Result<Fetched, GraphError> {
        limits::batch("identities", identities.len() + families.len())?;
        self.read("fetch nodes", |work| lists::fetch(work, identities, families))
    }

    fn bindings(&self, node_ids: &[&str]) -> Result<Vec<Binding>, GraphError> {
        limits::batch("ids", node_ids.len())?;
        self.read("tell what ids are bound to", |work| lists::bindings(work, node_ids))
    }

    fn apply(&self, change: &Change<'_>) -> Result<Applied, GraphError> {
        limits::change(change)?;
        self.alone("apply a strategy", |work| change::apply(work, change))
    }

    fn release(&self, strategy_id: &str, now_ms: i64) -> Result<Vec<Identity>, GraphError> {
        limits::text("the strategy's id", strategy_id)?;
        self.alone("release a strategy", |work| change::release(work, strategy_id, now_ms))
    }

    fn nodes(
        &self,
        after: Option<&Identity>,
        most: usize,
    ) -> Result<Vec<(Known, Vec<Identity>)>, GraphError> {
        self.read("list nodes", |work| lists::nodes(work, after, limits::page(most)))
    }

    fn strategy_nodes(&self, strategy_id: &str) -> Result<Vec<NodeRow>, GraphError> {
        self.read("list a strategy's nodes", |work| lists::strategy_nodes(work, strategy_id))
    }

    fn strategies(&self, after: Option<&str>, most: usize) -> Result<Vec<Strategy>, GraphError> {
        self.read("list strategies", |work| lists::strategies(work, after, limits::page(most)))
    }

    fn strategies_of(&self, identity: &Identity, most: usize) -> Result<Vec<String>, GraphError> {
        self.read("list a node's strategies", |work| lists::strategies_of(work, identity, limits::page(most)))
    }

    fn queues_by_tags(&self, query: &TagQuery<'_>, most: usize) -> Result<Vec<QueueEntry>, GraphError> {
        let tags = limits::tags(query)?;
        self.read("find queues", |work| lists::queues_by_tags(work, query, &tags, limits::page(most)))
    }

    fn queues(
        &self,
        filter: &QueueFilter<'_>,
        after: Option<&str>,
        most: usize,
    ) -> Result<Vec<QueueEntry>, GraphError> {
        self.read("list queues", |work| lists::queues(work, filter, after, limits::page(most)))
    }

    fn sentinel(&self, sentinel_id: &str) -> Result<Option<Sentinel>, GraphError> {
        self.read("tell a sentinel", |work| sentinels::one(work, sentinel_id))
    }

    fn sentinels(&self, after: Option<&str>, most: usize) -> Result<Vec<Sentinel>, GraphError> {
        self.read("list sentinels", |work| sentinels::all(work, after, limits::page(most)))
    }

    fn sentinel_nodes(&self, sentinel_id: &str) -> Result<Vec<Identity>, GraphError> {
        self.read("list a sentinel's nodes", |work| sentinels::nodes(work, sentinel_id))
    }

    fn set_weight(&self, version: &str, weight: f64) -> Result<Sentinel, GraphError> {
        limits::weight(weight)?;
        self.alone("set a weight", |work| sentinels::set_weight(work, version, weight))
    }

    fn retired_sentinels(&self, not_after_ms: i64, most: usize) -> Result<Vec<Sentinel>, GraphError> {
        self.read("list retired sentinels", |work| sentinels::retired(work, not_after_ms, limits::page(most)))
    }

    fn remove_sentinels(&self, sentinel_ids: &[&str], not_after_ms: i64) -> Result<Vec<String>, GraphError> {
        limits::batch("sentinels", sentinel_ids.len())?;
        self.alone("remove sentinels", |work| sentinels::remove(work, sentinel_ids, not_after_ms))
    }

    fn orphans(&self, ages: &[Age<'_>], most: usize) -> Result<Vec<QueueEntry>, GraphError> {
        limits::batch("classes", ages.len())?;
        self.read("list orphans", |work| gc::orphans(work, ages, limits::page(most)))
    }

    fn remove(
        &self,
        identities: &[Identity],
        not_after_ms: i64,
        now_ms: i64,
    ) -> Result<Vec<QueueEntry>, GraphError> {
        limits::batch("identities", identities.len())?;
        self.alone("remove orphans", |work| gc::remove(work, identities, not_after_ms, now_ms))
    }

    fn outbox(&self, after: i64, most: usize) -> Result<Vec<OutboxRow>, GraphError> {
        self.read("read the outbox", |work| lists::outbox(work, after, limits::page(most)))
    }

    fn outbox_done(&self, up_to: i64) -> Result<(), GraphError> {
        let cypher = "MATCH (o:Outbox) WHERE o.seq <= $up_to DELETE o";
        self.alone("clear the outbox", |work| work.ask(cypher, values([("up_to", up_to.into())])).map(drop))
    }

    fn lease(
        &self,
        identities: &[Identity],
        holder: &str,
        ttl_ms: i64,
        now_ms: i64,
    ) -> Result<Vec<Claim>, GraphError> {
        limits::lease(identities.len(), holder, ttl_ms)?;
        let until_ms = now_ms.saturating_add(ttl_ms);
        self.read("grant leases", |work| lease::lease(work, identities, holder, until_ms, now_ms))
    }

    fn renew(
        &self,
        leases: &[(Identity, i64)],
        holder: &str,
        ttl_ms: i64,
        now_ms: i64,
    ) -> Result<Vec<Claim>, GraphError> {
        limits::lease(leases.len(), holder, ttl_ms)?;
        self.read("renew leases", |work| lease::renew(work, leases, holder, now_ms.saturating_add(ttl_ms)))
    }

    fn expire(&self, now_ms: i64, most: usize) -> Result<Vec<Expired>, GraphError> {
        self.read("sweep leases", |work| lease::expire(work, now_ms, limits::page(most)))
    }

    fn ping(&self) -> Result<(), GraphError> {
        self.read("answer", |work| work.ask("RETURN 1", values::<0>([])).map(drop))
    }
}

/// An identity as a value.
fn hex(identity: &Identity) -> ValueSend {
    ValueSend::String(crate::to_hex(identity))
}
