//! What is answered.

use std::collections::BTreeMap;

use ringfence_dag::QueueEntry;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// To a submission that was taken.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = StrategyAccepted)]
pub struct Accepted {
    /// Its strategy.
    pub strategy_id: String,
    /// By node id: the topics of tag queries, and the topic to read instead of computing a node.
    #[schema(value_type = Object)]
    pub queue_map: BTreeMap<String, QueueEntry>,
    /// Whether nodes to reuse are in it already; the rest follows with the strategy's plan.
    pub queue_map_complete: bool,
    /// Of its version; empty: none was wanted.
    pub sentinel_id: String,
    /// Over the ids of its nodes.
    pub node_ids_crc32: u32,
    /// It does not run live, though it asked to.
    pub downgraded: bool,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub downgrade_reason: Option<&'static str>,
}

/// What would become of a node.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = StrategyNode)]
pub struct Explained {
    /// Its id.
    pub node_id: String,
    /// `reuse`: others compute it. `compute`: the client does.
    pub decision: &'static str,
    /// `reuse`, `buffer` or `new`.
    pub action: &'static str,
    /// For people.
    pub why: String,
    /// Where its values are or will be.
    pub topic: String,
    /// What it is shared by; hexadecimal.
    pub identity: String,
}

/// To a submission that was only tried.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = StrategyDryRun)]
pub struct DryRun {
    /// What a submission would answer.
    #[serde(flatten)]
    pub answer: Accepted,
    /// Every node, in the order it runs.
    pub nodes: Vec<Explained>,
}

/// Where a strategy is.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = StrategyStatus)]
pub struct Status {
    /// `queued`, `processing`, `completed` or `failed`.
    pub status: &'static str,
    /// Its state.
    pub state: &'static str,
    /// What last went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A strategy in a list.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = StrategyListed)]
pub struct Listed {
    /// Its id.
    pub strategy_id: String,
    /// Its place in the queue; lists go on after it.
    pub seq: u64,
    /// Where it is.
    #[serde(flatten)]
    pub status: Status,
    /// What it runs for.
    pub run_type: Option<&'static str>,
    /// Its worlds.
    pub world_ids: Vec<String>,
    /// Of its version.
    pub sentinel_id: Option<String>,
    /// Whose it is.
    pub submitted_by: String,
    /// When, ms since the Unix epoch.
    pub submitted_ms: u64,
    /// When it last moved, ms since the Unix epoch.
    pub updated_ms: u64,
}

/// Strategies in order.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Strategies)]
pub struct List {
    /// Some of them.
    pub strategies: Vec<Listed>,
    /// Where the next page begins; none: that was all.
    pub next: Option<u64>,
}

/// A strategy with what is done with its nodes.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = StrategyDetail)]
pub struct Detail {
    /// The strategy.
    #[serde(flatten)]
    pub listed: Listed,
    /// `new_nodes`, `reuse_nodes`, `queue_mappings`, `execution_plan`; none before it is mapped.
    #[schema(value_type = Option<Object>)]
    pub plan: Option<Box<RawValue>>,
}

/// The right to compute a node.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = NodeLease)]
pub struct Leased {
    /// The node's id.
    pub node_id: String,
    /// Where its values go.
    pub topic: String,
    /// It is this strategy's; else somebody else computes the node.
    pub granted: bool,
    /// The number that every value carries; whoever has a lower one computes no more.
    pub number: i64,
    /// Until when, ms since the Unix epoch.
    pub until_ms: i64,
}

/// The rights that were asked for.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = NodeLeases)]
pub struct Leases {
    /// One for each node.
    pub leases: Vec<Leased>,
}

/// Topics found by tags.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Queues)]
pub struct Queues {
    /// Their names, in order.
    pub queues: Vec<String>,
}
