//! The service behind the edge.

use std::path::PathBuf;
use std::sync::Arc;

use ringfence_graph::Graph;
use ringfence_store::Store;
use ringfence_topics::Topics;

use crate::bodies::{Accepted, Detail, DryRun, Leases, List, Queues, Status};
use crate::{Refused, Rules, Submission};

/// What the service is set up with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where strategies are kept.
    pub store: ringfence_store::Engine,
    /// Where the graph is kept.
    pub graph: ringfence_graph::Engine,
    /// Where values go.
    pub topics: ringfence_topics::Engine,
    /// Submissions wait in this file while the store is away; none: they are refused then.
    pub spool: Option<PathBuf>,
    /// What is taken.
    pub rules: Rules,
    /// The same DAG is a duplicate for so long, ms.
    pub duplicate_ttl_ms: u64,
    /// Strategies worked on at once.
    pub workers: usize,
}

/// Why the service does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store.
    #[error(transparent)]
    Store(#[from] ringfence_store::StoreError),
    /// The graph.
    #[error(transparent)]
    Graph(#[from] ringfence_graph::GraphError),
    /// The topics.
    #[error(transparent)]
    Topics(#[from] ringfence_topics::TopicError),
    /// A thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// The service's threads; they end when this is dropped.
pub struct Running {}

/// Submitted strategies and what they share.
pub struct Strategies {
    pub(crate) store: Box<dyn Store>,
    pub(crate) graph: Box<dyn Graph>,
    pub(crate) topics: Box<dyn Topics>,
    pub(crate) options: Options,
}

/// Opens the engines and starts the workers.
///
/// # Errors
/// [`StartError`].
pub fn start(options: Options) -> Result<(Arc<Strategies>, Running), StartError> {
    let store = options.store.open(ringfence_store::Settings::default())?;
    let (graph, topics) = (options.graph.open()?, options.topics.open()?);
    Ok((Arc::new(Strategies { store, graph, topics, options }), Running {}))
}

const UNBUILT: &str = "not yet";

#[allow(clippy::missing_errors_doc, clippy::unused_async, reason = "Refused, each")]
impl Strategies {
    /// What is taken.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.options.rules
    }

    /// Takes a submission of `user`; durable when it returns.
    pub async fn submit(self: &Arc<Self>, _submission: Submission, _user: &str) -> Result<Accepted, Refused> {
        Err(Refused::away(UNBUILT))
    }

    /// What a submission would answer, and why; nothing happens.
    pub async fn dry_run(self: &Arc<Self>, _submission: Submission) -> Result<DryRun, Refused> {
        Err(Refused::away(UNBUILT))
    }

    /// Where a strategy is.
    pub async fn status(self: &Arc<Self>, _strategy_id: &str) -> Result<Status, Refused> {
        Err(Refused::away(UNBUILT))
    }

    /// A strategy with its plan.
    pub async fn detail(self: &Arc<Self>, _strategy_id: &str) -> Result<Detail, Refused> {
        Err(Refused::away(UNBUILT))
    }

    /// Strategies with places after `after`, at most `most` (1 to 1000), in this state (its name), if one is given.
    pub async fn list(
        self: &Arc<Self>,
        _after: u64,
        _most: usize,
        _state: Option<&str>,
    ) -> Result<List, Refused> {
        Err(Refused::away(UNBUILT))
    }

    /// Ends a strategy and releases what it uses.
    pub async fn delete(self: &Arc<Self>, _strategy_id: &str) -> Result<Status, Refused> {
        Err(Refused::away(UNBUILT))
    }

    /// What a client that executes by itself says: `executing`, `completed` or `failed`.
    pub async fn report(
        self: &Arc<Self>,
        _strategy_id: &str,
        _state: &str,
        _error: Option<&str>,
    ) -> Result<Status, Refused> {
        Err(Refused::away(UNBUILT))
    }

    /// Asks for the right to compute these nodes (ids of its DAG), or to go on with it; none: all of them.
    pub async fn lease(
        self: &Arc<Self>,
        _strategy_id: &str,
        _nodes: Option<Vec<String>>,
    ) -> Result<Leases, Refused> {
        Err(Refused::away(UNBUILT))
    }

    /// Topics of nodes with these tags (at least one), of buckets of this length, if one is given.
    pub async fn queues_by_tags(
        self: &Arc<Self>,
        _tags: Vec<String>,
        _interval_s: Option<i64>,
        _all: bool,
    ) -> Result<Queues, Refused> {
        Err(Refused::away(UNBUILT))
    }
}
