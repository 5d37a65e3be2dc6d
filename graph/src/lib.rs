//! The global graph: which nodes exist on the installation, who uses them, who produces them, and where their values go.
//!
//! One port, [`Graph`], with two engines: a SQLite file, and Neo4j behind a feature. Every change is one transaction. A
//! strategy is applied once, however often it is asked for; a node and its queue are created once, however many strategies
//! bring them at the same time. Whoever computes a node holds a lease on it, with a number that only grows.

#![forbid(unsafe_code)]

mod cypher;
mod embedded;
mod error;
mod export;
mod identity;
mod lease;
mod limits;
#[cfg(feature = "neo4j")]
mod neo4j;
mod rows;

use std::io::Write;
use std::path::PathBuf;

use secrecy::SecretString;

pub use embedded::Embedded;
pub use error::GraphError;
pub use identity::{Identity, to_hex};
pub use limits::{MAX_BATCH, MAX_INPUTS, MAX_NODES, MAX_PAGE, MAX_TAGS, MAX_TEXT_BYTES};
#[cfg(feature = "neo4j")]
pub use neo4j::Neo4j;
pub use rows::{
    Age, Applied, Binding, Change, Claim, Expired, Fetched, Known, Lease, Match, NodeRow, OutboxRow, Placed,
    QueueChange, QueueEntry, QueueFilter, QueueRow, Sentinel, Strategy, TagQuery,
};

/// The graph, wherever it is kept.
///
/// Every method may fail with a [`GraphError`]: where [`GraphError::is_unavailable`], the engine is at fault, else what was
/// asked is refused and nothing has happened. Lists hold at most `most` items, and never more than [`MAX_PAGE`].
#[allow(clippy::missing_errors_doc, reason = "said once, above")]
pub trait Graph: Send + Sync {
    /// The nodes of these identities, and the newest node of each of these families, in one batch.
    fn fetch(&self, identities: &[Identity], families: &[Identity]) -> Result<Fetched, GraphError>;

    /// Which preimages these public ids are bound to; an id that is not bound is left out.
    fn bindings(&self, node_ids: &[&str]) -> Result<Vec<Binding>, GraphError>;

    /// Takes the nodes of a strategy into the graph, in one transaction. Applied again, it changes nothing and answers as it
    /// did the first time; with other nodes, or after [`Graph::release`], it is refused.
    fn apply(&self, change: &Change<'_>) -> Result<Applied, GraphError>;

    /// The strategy uses its nodes no more; its leases run out now, its sentinels are retired. Gives the nodes that nobody
    /// uses since then. A strategy that was never applied cannot be applied after it. Marks of released strategies are
    /// forgotten after [`RELEASED_KEPT_MS`].
    fn release(&self, strategy_id: &str, now_ms: i64) -> Result<Vec<Identity>, GraphError>;

    /// All nodes, by identity, after this one, with what they read.
    fn nodes(&self, after: Option<&Identity>, most: usize)
    -> Result<Vec<(Known, Vec<Identity>)>, GraphError>;

    /// The nodes of a strategy, in the order of its DAG.
    fn strategy_nodes(&self, strategy_id: &str) -> Result<Vec<NodeRow>, GraphError>;

    /// All strategies, by id, after this one.
    fn strategies(&self, after: Option<&str>, most: usize) -> Result<Vec<Strategy>, GraphError>;

    /// Strategies that use a node, by id.
    fn strategies_of(&self, identity: &Identity, most: usize) -> Result<Vec<String>, GraphError>;

    /// Queues of nodes with these tags, by topic.
    fn queues_by_tags(&self, query: &TagQuery<'_>, most: usize) -> Result<Vec<QueueEntry>, GraphError>;

    /// All queues, by topic in lower case, after this one.
    fn queues(
        &self,
        filter: &QueueFilter<'_>,
        after: Option<&str>,
        most: usize,
    ) -> Result<Vec<QueueEntry>, GraphError>;

    /// One sentinel.
    fn sentinel(&self, sentinel_id: &str) -> Result<Option<Sentinel>, GraphError>;

    /// All sentinels, by id, after this one.
    fn sentinels(&self, after: Option<&str>, most: usize) -> Result<Vec<Sentinel>, GraphError>;

    /// The nodes of a sentinel that are still there, by identity.
    fn sentinel_nodes(&self, sentinel_id: &str) -> Result<Vec<Identity>, GraphError>;

    /// Sets the weight of the newest sentinel of this version, or of the sentinel with this id.
    fn set_weight(&self, version: &str, weight: f64) -> Result<Sentinel, GraphError>;

    /// Sentinels whose strategies are released since then or earlier, oldest first.
    fn retired_sentinels(&self, not_after_ms: i64, most: usize) -> Result<Vec<Sentinel>, GraphError>;

    /// Removes those that are retired since then or earlier; gives what went.
    fn remove_sentinels(&self, sentinel_ids: &[&str], not_after_ms: i64) -> Result<Vec<String>, GraphError>;

    /// Nodes that nobody uses, old enough for their class, oldest first.
    fn orphans(&self, ages: &[Age<'_>], most: usize) -> Result<Vec<QueueEntry>, GraphError>;

    /// Removes those nodes that nobody uses since then or earlier, with their queues; gives what went. Their topics are to be
    /// deleted after that, not before.
    fn remove(
        &self,
        identities: &[Identity],
        not_after_ms: i64,
        now_ms: i64,
    ) -> Result<Vec<QueueEntry>, GraphError>;

    /// What is to be published, after this place.
    fn outbox(&self, after: i64, most: usize) -> Result<Vec<OutboxRow>, GraphError>;

    /// All up to this place is published and may go.
    fn outbox_done(&self, up_to: i64) -> Result<(), GraphError>;

    /// Asks to produce these nodes; one answer for each. A holder keeps what it has, for longer.
    fn lease(
        &self,
        identities: &[Identity],
        holder: &str,
        ttl_ms: i64,
        now_ms: i64,
    ) -> Result<Vec<Claim>, GraphError>;

    /// Goes on producing nodes under these numbers; one answer for each.
    fn renew(
        &self,
        leases: &[(Identity, i64)],
        holder: &str,
        ttl_ms: i64,
        now_ms: i64,
    ) -> Result<Vec<Claim>, GraphError>;

    /// Sweeps leases that ran out: each is given once, to one caller.
    fn expire(&self, now_ms: i64, most: usize) -> Result<Vec<Expired>, GraphError>;

    /// Asks the engine for a sign of life.
    fn ping(&self) -> Result<(), GraphError>;

    /// One node.
    fn node(&self, identity: &Identity) -> Result<Option<Known>, GraphError> {
        Ok(self.fetch(std::slice::from_ref(identity), &[])?.nodes.pop())
    }

    /// Writes Cypher that rebuilds the graph in an empty Neo4j, page by page: what changes meanwhile is in it or not.
    /// The outbox is not.
    fn export(&self, out: &mut dyn Write) -> Result<(), GraphError> {
        export::write(self, out)
    }
}

/// How long it is remembered that a strategy was released: 30 days.
pub const RELEASED_KEPT_MS: i64 = 30 * 24 * 3600 * 1000;

/// How to reach Neo4j.
#[derive(Clone, Debug)]
pub struct Neo4jConfig {
    /// `bolt://host:port` for one server, `neo4j://..` for a cluster; `+s` after the scheme for TLS.
    pub uri: String,
    /// User and password; none: the server asks for none.
    pub login: Option<(String, SecretString)>,
    /// The database; none: the user's own.
    pub database: Option<String>,
}

/// Where the graph is kept.
#[derive(Clone, Debug)]
pub enum Engine {
    /// In this SQLite file.
    Embedded(PathBuf),
    /// On this server.
    Neo4j(Neo4jConfig),
}

impl Engine {
    /// In JSON and logs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Embedded(_) => "embedded",
            Self::Neo4j(_) => "neo4j",
        }
    }

    /// Opens it, and brings what an older program wrote to this one's version. Neo4j is not asked before the first call.
    ///
    /// # Errors
    /// [`GraphError`].
    pub fn open(&self) -> Result<Box<dyn Graph>, GraphError> {
        match self {
            Self::Embedded(path) => Ok(Box::new(Embedded::open(path)?)),
            #[cfg(feature = "neo4j")]
            Self::Neo4j(config) => Ok(Box::new(Neo4j::open(config)?)),
            #[cfg(not(feature = "neo4j"))]
            Self::Neo4j(_) => Err(GraphError::NotBuilt),
        }
    }
}
