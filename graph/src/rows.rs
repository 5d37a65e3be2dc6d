//! What stands in the graph, and what is asked of it.

use crate::Identity;

/// A topic, as its node's producer must create it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueRow {
    /// Its name; no other differs from it in case alone.
    pub topic: String,
    /// Partitions.
    pub partitions: u32,
    /// Copies.
    pub replicas: u32,
    /// How long messages are kept; none: for ever.
    pub retention_ms: Option<i64>,
}

/// A node: computed once, whoever uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRow {
    /// What it computes.
    pub identity: Identity,
    /// The identity without its schema, where schemas are compatible by name.
    pub family: Option<Identity>,
    /// The public id. Several nodes may share one.
    pub node_id: String,
    /// `StreamInput`, `ProcessingNode` and so on.
    pub node_type: String,
    /// What its first author called it.
    pub name: String,
    /// By what it is kept once nobody uses it: `raw`, `indicator`, `trade_exec`.
    pub class: String,
    /// Hash of its code.
    pub code_hash: String,
    /// Hash of its parameters, where the client sent one.
    pub config_hash: Option<String>,
    /// Hash of its output's schema.
    pub schema_hash: String,
    /// Schemas of one name can be read as each other.
    pub schema_compat_id: Option<String>,
    /// Bucket length, seconds.
    pub interval_s: Option<i64>,
    /// Buckets that it looks back.
    pub period: Option<i32>,
    /// Tags by which others find its topic.
    pub tags: Vec<String>,
    /// Execution domain: results of a backtest stay apart from live ones.
    pub domain: String,
    /// When it was first applied, ms since the Unix epoch.
    pub created_at_ms: i64,
    /// Where its values go.
    pub queue: QueueRow,
}

/// A node as the graph knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The node.
    pub node: NodeRow,
    /// Its latest lease that was not swept yet, run out or not.
    pub lease: Option<Lease>,
    /// The number of the last lease that was granted; 0: none was.
    pub lease_number: i64,
    /// Since when no strategy refers to it.
    pub orphaned_at_ms: Option<i64>,
}

impl Known {
    /// Whether somebody computes it now.
    #[must_use]
    pub fn has_producer(&self, now_ms: i64) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.until_ms > now_ms)
    }
}

/// What [`fetch`](crate::Graph::fetch) found; what is not there is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Nodes of the identities.
    pub nodes: Vec<Known>,
    /// The newest node of each family.
    pub by_family: Vec<Known>,
}

/// The preimage that a public id stands for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Binding {
    /// The public id.
    pub node_id: String,
    /// Type of the node.
    pub node_type: String,
    /// Hash of its code.
    pub code_hash: String,
    /// Hash of its parameters.
    pub config_hash: Option<String>,
    /// Hash of its output's schema.
    pub schema_hash: String,
}

/// A node of a change, with what it reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The node.
    pub node: NodeRow,
    /// What it reads, in order; each is a node of the same change.
    pub inputs: Vec<Identity>,
}

/// A version of something, by submission.
#[derive(Clone, Debug, PartialEq)]
pub struct Sentinel {
    /// Its own id.
    pub sentinel_id: String,
    /// The submission.
    pub strategy_id: String,
    /// What it is called; the newest of a name is meant by it.
    pub version: String,
    /// Of what it is a version: weights of one line sum to at most 1. None: of nothing that others are versions of.
    pub line: Option<String>,
    /// Its share of the traffic, 0 to 1.
    pub weight: f64,
    /// When it was applied, ms since the Unix epoch.
    pub created_at_ms: i64,
    /// Since when its strategy is released.
    pub retired_at_ms: Option<i64>,
}

/// The result of a diff, to be applied in one transaction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change<'a> {
    /// Who uses the nodes. A strategy is applied once.
    pub strategy_id: &'a str,
    /// All nodes of its DAG, new and known; of two with one identity the first counts.
    pub nodes: &'a [Placed],
    /// Its version, unless it wants none.
    pub sentinel: Option<&'a Sentinel>,
    /// Now, ms since the Unix epoch.
    pub now_ms: i64,
}

/// What a change did, the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Nodes, with their queues, that were not there before, in the order of the change.
    pub created: Vec<Identity>,
}

/// A strategy and what it uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strategy {
    /// Its id.
    pub strategy_id: String,
    /// When it was applied; none: it was released before that.
    pub applied_at_ms: Option<i64>,
    /// When it was released.
    pub released_at_ms: Option<i64>,
    /// Its nodes in the order of its DAG, and whether it created them.
    pub nodes: Vec<(Identity, bool)>,
}

/// How tags are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// One of them is enough.
    Any,
    /// Each must be there.
    All,
}

/// Which queues a tag query means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagQuery<'a> {
    /// Tags, at least one.
    pub tags: &'a [String],
    /// Of this bucket length, seconds; none: of any.
    pub interval_s: Option<i64>,
    /// One tag or all of them.
    pub mode: Match,
    /// Of this execution domain; none: of any.
    pub domain: Option<&'a str>,
}

/// Which queues are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueFilter<'a> {
    /// Their names begin so, whatever the case; empty: all.
    pub prefix: &'a str,
    /// Of this class; none: of any.
    pub class: Option<&'a str>,
}

/// A queue and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueEntry {
    /// The node that fills it.
    pub identity: Identity,
    /// Its public id.
    pub node_id: String,
    /// Its class.
    pub class: String,
    /// Its bucket length, seconds.
    pub interval_s: Option<i64>,
    /// Since when nobody uses it.
    pub orphaned_at_ms: Option<i64>,
    /// The queue.
    pub queue: QueueRow,
}

/// How long the nodes of a class stay when nobody uses them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age<'a> {
    /// The class.
    pub class: &'a str,
    /// What is an orphan since then or earlier, ms since the Unix epoch.
    pub not_after_ms: i64,
}

/// What became of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueChange {
    /// It is new.
    Created,
    /// It went with its node.
    Removed,
}

impl QueueChange {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Removed => "removed",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Created, Self::Removed].into_iter().find(|change| change.name() == name)
    }
}

/// Something to publish, written in the transaction that did it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxRow {
    /// Its place. Places ascend in the order of the transactions; not every number is one.
    pub seq: i64,
    /// When, ms since the Unix epoch.
    pub at_ms: i64,
    /// What happened.
    pub change: QueueChange,
    /// The node.
    pub identity: Identity,
    /// Its public id.
    pub node_id: String,
    /// The queue's topic.
    pub topic: String,
    /// The node's tags.
    pub tags: Vec<String>,
    /// Its bucket length, seconds.
    pub interval_s: Option<i64>,
    /// Its execution domain.
    pub domain: String,
}

/// The right to produce a node's values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Fences: whoever has a lower one produces no more. It only grows, also over the removal of the node.
    pub number: i64,
    /// The strategy that computes the node.
    pub holder: String,
    /// Until when, ms since the Unix epoch.
    pub until_ms: i64,
}

/// What became of a lease that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is the asker's.
    Granted(Lease),
    /// It is somebody else's.
    Held(Lease),
    /// Nobody's: the node is not there, or the lease to renew ran out and was swept. Ask for a new one.
    Gone,
}

/// A lease that ran out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expired {
    /// The node that nobody computes now.
    pub identity: Identity,
    /// What ran out.
    pub lease: Lease,
}
