//! From a DAG to what is shared and what is left to compute: one look at the graph, one change of it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use ringfence_dag::{
    Action, Dag, ExecutionDomain, Identity, MatchMode, NodeIdentity, NodePlan, Order, Plan, QueueEntry,
    Scope, TagQuery, Verification, diff, hex, identities,
};
use ringfence_graph::{
    Change, Claim, Fetched, Graph, GraphError, Known, Lease, Match, NodeRow, Placed, QueueRow, Sentinel,
};
use ringfence_topics::{TopicError, TopicSpec};
use serde_json::{Map, Value, json};

use crate::bodies::{Explained, Leased};
use crate::clock::signed;
use crate::service::Strategies;

/// A producer that is silent for so long is none any more, ms.
pub const LEASE_MS: i64 = 15_000;
/// Topics that one tag query may find.
const MAX_FOUND: usize = 1_000;

/// A DAG whose ids and order are known, for one strategy.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    pub dag: &'a Dag,
    pub order: &'a Order,
    pub verified: &'a [Verification],
    pub strategy_id: &'a str,
    pub domain: ExecutionDomain,
}

/// A DAG beside what the graph knows.
pub struct Resolved<'a> {
    subject: Subject<'a>,
    identities: Vec<NodeIdentity>,
    plan: Plan,
    /// Topics of each tag query.
    found: Vec<(TagQuery, Vec<String>)>,
}

/// Why a strategy could not be mapped.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error(transparent)]
    Topics(#[from] TopicError),
}

impl MapError {
    /// Trying again may help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Graph(error) => error.is_unavailable(),
            Self::Topics(error) => !error.is_refusal(),
        }
    }
}

fn dag_known(known: &Known, now_ms: u64) -> ringfence_dag::Known {
    ringfence_dag::Known {
        identity: known.node.identity,
        topic: known.node.queue.topic.clone(),
        created_at_ms: u64::try_from(known.node.created_at_ms).unwrap_or(0),
        has_producer: known.has_producer(signed(now_ms)),
    }
}

/// Compares a DAG with the graph.
pub fn resolve<'a>(graph: &dyn Graph, subject: Subject<'a>, now_ms: u64) -> Result<Resolved<'a>, GraphError> {
    let Subject { dag, order, verified, strategy_id, domain } = subject;
    let identities = identities(dag, order, verified, &Scope { strategy_id, domain });
    let own: Vec<Identity> = identities.iter().map(|node| node.identity).collect();
    let families: Vec<Identity> = identities.iter().filter_map(|node| node.family).collect();
    let Fetched { nodes, by_family } = graph.fetch(&own, &families)?;
    let known: HashMap<Identity, &Known> = nodes.iter().map(|known| (known.node.identity, known)).collect();
    let family: HashMap<Identity, &Known> =
        by_family.iter().filter_map(|known| Some((known.node.family?, known))).collect();
    let plan = diff(
        dag,
        order,
        &identities,
        &|id| known.get(id).map(|known| dag_known(known, now_ms)),
        &|id| family.get(id).map(|known| dag_known(known, now_ms)),
        now_ms,
    );
    let mut found: Vec<(TagQuery, Vec<String>)> = Vec::new();
    for query in dag.nodes().iter().filter_map(|node| node.tag_query.as_ref()) {
        if !found.iter().any(|(asked, _)| asked == query) {
            found.push((query.clone(), topics_of(graph, query, Some(domain.name()))?));
        }
    }
    Ok(Resolved { subject, identities, plan, found })
}

fn topics_of(graph: &dyn Graph, query: &TagQuery, domain: Option<&str>) -> Result<Vec<String>, GraphError> {
    if query.tags.is_empty() {
        return Ok(Vec::new());
    }
    let mode = if query.mode == MatchMode::All { Match::All } else { Match::Any };
    let interval_s = query.interval_s.map(i64::from);
    let query = ringfence_graph::TagQuery { tags: &query.tags, interval_s, mode, domain };
    Ok(graph.queues_by_tags(&query, MAX_FOUND)?.into_iter().map(|entry| entry.queue.topic).collect())
}

impl Resolved<'_> {
    fn node(&self, plan: &NodePlan) -> &ringfence_dag::Node {
        &self.subject.dag.nodes()[plan.index]
    }

    /// What the client finds under its nodes' ids.
    pub fn queue_map(&self) -> BTreeMap<String, QueueEntry> {
        let by_tags = |query: &TagQuery| {
            self.found
                .iter()
                .find(|(asked, _)| asked == query)
                .map_or_else(Vec::new, |(_, topics)| topics.clone())
        };
        self.plan.queue_map(self.subject.dag, &by_tags)
    }

    /// Every node, and why.
    pub fn explained(&self) -> Vec<Explained> {
        let explain = |plan: &NodePlan| Explained {
            node_id: self.node(plan).node_id.clone(),
            decision: if plan.action == Action::Reuse && plan.has_producer { "reuse" } else { "compute" },
            action: plan.action.name(),
            why: plan.reason.clone(),
            topic: plan.topic.clone(),
            identity: hex(&plan.identity),
        };
        self.plan.nodes.iter().map(explain).collect()
    }

    /// The queue map once it is settled who computes what: a repeated look would find the strategy's own nodes produced, by
    /// itself.
    fn queue_map_with(&self, leases: &[Leased]) -> BTreeMap<String, QueueEntry> {
        let mut map = self.queue_map();
        map.retain(|_, entry| matches!(entry, QueueEntry::Topics(_)));
        let mut topics: HashMap<&str, HashSet<&str>> = HashMap::new();
        for lease in leases {
            topics.entry(&lease.node_id).or_default().insert(&lease.topic);
        }
        for lease in leases.iter().filter(|lease| !lease.granted && topics[lease.node_id.as_str()].len() == 1)
        {
            map.insert(lease.node_id.clone(), QueueEntry::Topic(lease.topic.clone()));
        }
        map
    }

    fn placed(&self, now_ms: u64) -> Vec<Placed> {
        let dag = self.subject.dag;
        let mut by_id: HashMap<&str, Vec<Identity>> = HashMap::new();
        for (node, own) in dag.nodes().iter().zip(&self.identities) {
            let identities = by_id.entry(&node.node_id).or_default();
            if !identities.contains(&own.identity) {
                identities.push(own.identity);
            }
        }
        let place = |plan: &NodePlan| {
            let node = self.node(plan);
            let inputs = node.inputs.iter().filter_map(|id| by_id.get(id.as_str())).flatten().copied();
            Placed { node: self.row(plan, now_ms), inputs: inputs.collect() }
        };
        self.plan.nodes.iter().map(place).collect()
    }

    fn row(&self, plan: &NodePlan, now_ms: u64) -> NodeRow {
        let node = self.node(plan);
        NodeRow {
            identity: plan.identity,
            family: self.identities[plan.index].family,
            node_id: node.node_id.clone(),
            node_type: node.node_type.clone(),
            name: node.name.clone(),
            class: plan.class.name().to_owned(),
            code_hash: node.code_hash.clone().unwrap_or_default(),
            config_hash: node.config_hash.clone(),
            schema_hash: node.schema_hash.clone().unwrap_or_default(),
            schema_compat_id: node.schema_compat_id.clone(),
            interval_s: node.interval_s.map(i64::from),
            period: node.period.and_then(|period| i32::try_from(period).ok()),
            tags: node.tags.clone(),
            domain: self.subject.domain.name().to_owned(),
            created_at_ms: signed(now_ms),
            queue: QueueRow {
                topic: plan.topic.clone(),
                partitions: plan.class.partitions(),
                replicas: plan.class.replicas(),
                retention_ms: Some(signed(plan.class.retention_ms())),
            },
        }
    }

    /// Takes the nodes into the graph, and the right to compute those that nobody computes; the plan for the client, JSON.
    pub fn apply(
        &self,
        service: &Strategies,
        sentinel_id: Option<&str>,
        meta: &Map<String, Value>,
        now_ms: u64,
    ) -> Result<String, MapError> {
        let strategy_id = self.subject.strategy_id;
        let text = |name: &str| meta.get(name).and_then(Value::as_str).map(str::to_owned);
        let sentinel = sentinel_id.map(|sentinel_id| Sentinel {
            sentinel_id: sentinel_id.to_owned(),
            strategy_id: strategy_id.to_owned(),
            version: text("version").unwrap_or_else(|| sentinel_id.to_owned()),
            line: None,
            weight: 1.0,
            created_at_ms: signed(now_ms),
            retired_at_ms: None,
        });
        let nodes = self.placed(now_ms);
        let change =
            Change { strategy_id, nodes: &nodes, sentinel: sentinel.as_ref(), now_ms: signed(now_ms) };
        let created: HashSet<Identity> = service.graph.apply(&change)?.created.into_iter().collect();
        let wanted: Vec<(&str, NodeRow)> = self
            .plan
            .nodes
            .iter()
            .filter(|plan| self.node(plan).tag_query.is_none())
            .map(|plan| (self.node(plan).node_id.as_str(), self.row(plan, now_ms)))
            .collect();
        let leases = lease(service, strategy_id, &wanted, now_ms)?;
        let is_created = |plan: &NodePlan| created.contains(&plan.identity);
        let id = |plan: &NodePlan| self.node(plan).node_id.clone();
        let others: HashSet<&str> =
            leases.iter().filter(|lease| !lease.granted).map(|lease| lease.topic.as_str()).collect();
        let held = |plan: &NodePlan| others.contains(plan.topic.as_str());
        let steps: Vec<Value> = self
            .plan
            .nodes
            .iter()
            .map(|plan| {
                let lag = if let Action::Buffer { lag, from } = &plan.action {
                    json!({"lag": lag, "from": from})
                } else {
                    Value::Null
                };
                json!({"node_id": id(plan), "decision": if held(plan) { "reuse" } else { "compute" },
                    "action": plan.action.name(), "why": plan.reason, "topic": plan.topic,
                    "identity": hex(&plan.identity), "buffer": lag})
            })
            .collect();
        let queue_map = self.queue_map_with(&leases);
        Ok(json!({
            "new_nodes": self.plan.nodes.iter().filter(|plan| is_created(plan)).map(id).collect::<Vec<_>>(),
            "reuse_nodes": self.plan.nodes.iter().filter(|plan| held(plan))
                .map(|plan| (id(plan), json!(plan.topic))).collect::<Map<_, _>>(),
            "queue_mappings": queue_map,
            "execution_plan": steps,
            "leases": leases,
        })
        .to_string())
    }
}

/// Asks for the right to compute these nodes, and creates the topics of those that are granted.
pub fn lease(
    service: &Strategies,
    holder: &str,
    wanted: &[(&str, NodeRow)],
    now_ms: u64,
) -> Result<Vec<Leased>, MapError> {
    let identities: Vec<Identity> = wanted.iter().map(|(_, node)| node.identity).collect();
    if identities.is_empty() {
        return Ok(Vec::new());
    }
    let claims = service.graph.lease(&identities, holder, LEASE_MS, signed(now_ms))?;
    let mut leases = Vec::with_capacity(wanted.len());
    for ((node_id, node), claim) in wanted.iter().zip(claims) {
        let (granted, Lease { number, until_ms, .. }) = match claim {
            Claim::Granted(lease) => (true, lease),
            Claim::Held(lease) => (false, lease),
            // It was collected just now, and comes back with the next submission.
            Claim::Gone => continue,
        };
        if granted {
            create(service, &node.queue)?;
        }
        let (node_id, topic) = ((*node_id).to_owned(), node.queue.topic.clone());
        leases.push(Leased { node_id, topic, granted, number, until_ms });
    }
    Ok(leases)
}

fn create(service: &Strategies, queue: &QueueRow) -> Result<(), TopicError> {
    if service.topics_there.has(&queue.topic) {
        return Ok(());
    }
    let retention = queue.retention_ms.and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis);
    let spec = TopicSpec {
        name: &queue.topic,
        partitions: queue.partitions,
        replicas: queue.replicas,
        retention,
        retention_bytes: None,
    };
    service.topics.create(&spec)?;
    service.topics_there.add(&queue.topic);
    Ok(())
}

/// Topics of nodes with these tags, whatever they run for.
pub fn by_tags(
    graph: &dyn Graph,
    tags: Vec<String>,
    interval_s: Option<u32>,
    all: bool,
) -> Result<Vec<String>, GraphError> {
    let mode = if all { MatchMode::All } else { MatchMode::Any };
    let mut topics = topics_of(graph, &TagQuery { tags, mode, interval_s }, None)?;
    topics.sort_unstable();
    Ok(topics)
}
