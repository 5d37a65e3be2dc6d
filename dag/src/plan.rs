//! What is left to compute, when one knows what is computed already.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::error::clip;
use crate::identity::{Identity, NodeIdentity, Sharing};
use crate::model::{Dag, TagQuery};
use crate::order::Order;
use crate::topic::{TopicClass, topic_name};

/// How long after the family's newest member was recorded a compatible change of the schema may begin with its values.
pub const MAX_BUFFER_AGE_MS: u64 = 7 * 24 * 60 * 60 * 1_000;

/// What the installation has of an identity, or of a family: then its newest member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Of the node that is there.
    pub identity: Identity,
    /// Where its values are.
    pub topic: String,
    /// When it was recorded, ms since the Unix epoch.
    pub created_at_ms: u64,
    /// Somebody feeds the topic right now.
    pub has_producer: bool,
}

/// What to do with a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is known: its topic is there, with what it holds.
    Reuse,
    /// Its schema changed compatibly: it is computed into a topic of its own, and until it has seen a whole window, the
    /// `lag` newest values of the topic `from` stand in for what is missing.
    Buffer {
        /// How many: the node's period.
        lag: u32,
        /// Where they are.
        from: String,
    },
    /// It is computed from the beginning.
    New,
}

impl Action {
    /// In JSON.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Reuse => "reuse",
            Self::Buffer { .. } => "buffer",
            Self::New => "new",
        }
    }
}

/// What to do with one node, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePlan {
    /// Which, as it stands in [`Dag::nodes`].
    pub index: usize,
    /// Its identity.
    pub identity: Identity,
    /// What to do.
    pub action: Action,
    /// Why, for people.
    pub reason: String,
    /// Where its values are, or will be.
    pub topic: String,
    /// How that topic is kept.
    pub class: TopicClass,
    /// Somebody feeds it already.
    pub has_producer: bool,
}

/// What to do with a DAG.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Every node, after its inputs.
    pub nodes: Vec<NodePlan>,
}

/// What a client finds in the queue map under a node's id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum QueueEntry {
    /// The topic to read instead of computing the node.
    Topic(String),
    /// The topics that a tag query found.
    Topics(Vec<String>),
}

/// Compares a DAG with what is known. `known` is asked for identities, `family` for families (the newest member).
/// `order` and `identities` are those of this DAG.
#[must_use]
pub fn diff(
    dag: &Dag,
    order: &Order,
    identities: &[NodeIdentity],
    known: &impl Fn(&Identity) -> Option<Known>,
    family: &impl Fn(&Identity) -> Option<Known>,
    now_ms: u64,
) -> Plan {
    let plan = |index: &usize| {
        let (node, own) = (&dag.nodes()[*index], &identities[*index]);
        let there = known(&own.identity);
        let has_producer = there.as_ref().is_some_and(|there| there.has_producer);
        let own_topic = topic_name(&own.identity, node);
        let (action, topic, mut reason) = match there {
            Some(there) => {
                let reason = if has_producer { "the same node is being computed" } else { NOBODY_FEEDS };
                (Action::Reuse, there.topic, reason.to_owned())
            }
            None => {
                let relative = own.family.as_ref().and_then(family);
                let (action, reason) = without_own(relative, node.period.unwrap_or(0), now_ms);
                (action, own_topic, reason)
            }
        };
        if let Sharing::Private(why) = &own.sharing {
            reason.push_str(&format!("; it is never shared, because {why}"));
        }
        if node.tag_query.is_some() {
            reason.push_str("; what it reads is found by its tags");
        }
        let class = TopicClass::of(node);
        NodePlan { index: *index, identity: own.identity, action, reason, topic, class, has_producer }
    };
    Plan { nodes: order.indices().iter().map(plan).collect() }
}

const NOBODY_FEEDS: &str =
    "the same node was computed before; nobody feeds its topic now, so it is computed into it";

/// A node that is not there itself.
fn without_own(relative: Option<Known>, lag: u32, now_ms: u64) -> (Action, String) {
    let Some(relative) = relative else {
        return (Action::New, "no node with the same identity is known".to_owned());
    };
    let from = clip(&relative.topic);
    if now_ms.saturating_sub(relative.created_at_ms) >= MAX_BUFFER_AGE_MS {
        let reason =
            format!("its schema changed compatibly, but {from} began more than 7 days ago: computed in full");
        return (Action::New, reason);
    }
    let reason =
        format!("its schema changed compatibly: computed, with the last {lag} values of {from} before");
    (Action::Buffer { lag, from: relative.topic }, reason)
}

impl Plan {
    /// What the client gets: every tag query with the topics that `by_tags` finds for it, and every node that it need not
    /// compute, since somebody feeds its topic. An id that is several different nodes is left out: the client could not
    /// tell which of them it may leave to others.
    #[must_use]
    pub fn queue_map(
        &self,
        dag: &Dag,
        by_tags: &impl Fn(&TagQuery) -> Vec<String>,
    ) -> BTreeMap<String, QueueEntry> {
        let mut found: BTreeMap<&str, Vec<&NodePlan>> = BTreeMap::new();
        for node in &self.nodes {
            found.entry(&dag.nodes()[node.index].node_id).or_default().push(node);
        }
        let mut map = BTreeMap::new();
        for (id, nodes) in found {
            let queries: Vec<_> =
                nodes.iter().filter_map(|node| dag.nodes()[node.index].tag_query.as_ref()).collect();
            let is_one = nodes.iter().all(|node| node.identity == nodes[0].identity);
            if !queries.is_empty() {
                let mut topics: Vec<String> = queries.into_iter().flat_map(by_tags).collect();
                topics.sort_unstable();
                topics.dedup();
                map.insert(id.to_owned(), QueueEntry::Topics(topics));
            } else if is_one && nodes[0].action == Action::Reuse && nodes[0].has_producer {
                map.insert(id.to_owned(), QueueEntry::Topic(nodes[0].topic.clone()));
            }
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{ExecutionDomain, Limits, Scope, Verification, hex, identities, topological_order};

    const NOW_MS: u64 = 1_800_000_000_000;

    struct Case {
        dag: Dag,
        order: Order,
        identities: Vec<NodeIdentity>,
    }

    impl Case {
        fn of(nodes: &[Value]) -> Self {
            let dag = json!({ "nodes": nodes }).to_string();
            let dag = Dag::parse(dag.as_bytes(), &Limits::default()).unwrap();
            let order = topological_order(&dag).unwrap();
            let scope = Scope { strategy_id: "s-1", domain: ExecutionDomain::Live };
            let identities = identities(&dag, &order, &vec![Verification::Verified; nodes.len()], &scope);
            Self { dag, order, identities }
        }

        fn diff(&self, known: &[Known], family: &[(Identity, Known)]) -> Plan {
            let known = |id: &Identity| known.iter().find(|known| known.identity == *id).cloned();
            let family = |id: &Identity| family.iter().find(|(f, _)| f == id).map(|(_, known)| known.clone());
            diff(&self.dag, &self.order, &self.identities, &known, &family, NOW_MS)
        }

        fn known(&self, node: usize, has_producer: bool) -> Known {
            let identity = self.identities[node].identity;
            let topic = topic_name(&identity, &self.dag.nodes()[node]);
            Known { identity, topic, created_at_ms: NOW_MS - 1, has_producer }
        }

        fn map(&self, plan: &Plan) -> Value {
            let by_tags = |query: &TagQuery| query.tags.iter().map(|tag| format!("t-{tag}")).collect();
            serde_json::to_value(plan.queue_map(&self.dag, &by_tags)).unwrap()
        }
    }

    fn feed(id: &str, interval: u32) -> Value {
        json!({"node_id": id, "node_type": "StreamInput", "interval": interval, "code_hash": "c", "schema_hash": "s"})
    }

    fn mean(schema: &str) -> Value {
        json!({"node_id": "mean", "node_type": "P", "interval": 60, "period": 5, "inputs": ["feed"], "code_hash": "c",
            "schema_hash": schema, "schema_compat_id": "v1"})
    }

    #[test]
    fn what_nobody_knows_is_new_in_the_order_it_runs() {
        let case = Case::of(&[mean("s1"), feed("feed", 60)]);
        let plan = case.diff(&[], &[]);
        assert_eq!(plan.nodes.iter().map(|node| node.index).collect::<Vec<_>>(), [1, 0]);
        for node in &plan.nodes {
            assert_eq!((&node.action, node.action.name()), (&Action::New, "new"));
            assert_eq!(node.topic, topic_name(&node.identity, &case.dag.nodes()[node.index]));
            assert!(node.reason.contains("no node with the same identity"), "{}", node.reason);
        }
        assert_eq!(plan.nodes[0].class, TopicClass::Raw);
        assert_eq!(case.map(&plan), json!({}));
    }

    #[test]
    fn a_known_node_is_read_only_while_somebody_feeds_it() {
        let case = Case::of(&[feed("feed", 60), mean("s1")]);
        let plan = case.diff(&[case.known(0, true), case.known(1, false)], &[]);
        assert_eq!((&plan.nodes[0].action, &plan.nodes[1].action), (&Action::Reuse, &Action::Reuse));
        assert!(plan.nodes[0].has_producer && !plan.nodes[1].has_producer);
        assert!(plan.nodes[1].reason.contains("nobody feeds"), "{}", plan.nodes[1].reason);
        assert_eq!(case.map(&plan), json!({"feed": plan.nodes[0].topic}));
    }

    #[test]
    fn a_compatible_change_of_the_schema_begins_with_the_values_before_for_seven_days() {
        let (old, new) =
            (Case::of(&[feed("feed", 60), mean("s1")]), Case::of(&[feed("feed", 60), mean("s2")]));
        let (known, family) = (old.known(1, true), new.identities[1].family.unwrap());
        assert_eq!(old.identities[1].family, Some(family));
        let plan_at = |age_ms| {
            let known = Known { created_at_ms: NOW_MS - age_ms, ..known.clone() };
            new.diff(&[old.known(0, true)], &[(family, known)]).nodes[1].clone()
        };
        let plan = plan_at(MAX_BUFFER_AGE_MS - 1);
        assert_eq!(plan.action, Action::Buffer { lag: 5, from: known.topic.clone() });
        assert_ne!(plan.topic, known.topic);
        assert!(!plan.has_producer && plan.reason.contains("last 5 values"), "{}", plan.reason);
        let plan = plan_at(MAX_BUFFER_AGE_MS);
        assert_eq!(plan.action, Action::New);
        assert!(plan.reason.contains("more than 7 days"), "{}", plan.reason);
        let itself = new.diff(&[new.known(1, true)], &[(family, known)]);
        assert_eq!(itself.nodes[1].action, Action::Reuse, "what is there itself comes first");
    }

    #[test]
    fn a_clock_that_went_back_breaks_nothing() {
        let case = Case::of(&[feed("feed", 60), mean("s2")]);
        let known = Known { created_at_ms: u64::MAX, ..case.known(0, true) };
        let plan = case.diff(&[], &[(case.identities[1].family.unwrap(), known)]);
        assert_eq!(plan.nodes[1].action.name(), "buffer");
    }

    #[test]
    fn an_id_that_is_two_nodes_has_two_topics_and_is_left_out_of_the_map() {
        let case = Case::of(&[feed("feed", 60), feed("feed", 300), mean("s1")]);
        let plan = case.diff(&[case.known(0, true), case.known(1, true), case.known(2, true)], &[]);
        assert_ne!(plan.nodes[0].topic, plan.nodes[1].topic);
        assert_eq!(case.map(&plan).get("feed"), None);
        assert!(
            plan.nodes[2].reason.contains("never shared, because its input feed is several"),
            "{:?}",
            plan.nodes[2]
        );
        let twice = Case::of(&[feed("feed", 60), feed("feed", 60)]);
        let plan = twice.diff(&[twice.known(0, true)], &[]);
        assert_eq!(twice.map(&plan), json!({"feed": hex_topic(&plan)}), "the same node twice is one");
    }

    fn hex_topic(plan: &Plan) -> String {
        format!("streaminput-{}", hex(&plan.nodes[0].identity))
    }

    #[test]
    fn tag_queries_are_always_in_the_map() {
        let query = |id: &str, tags: Value| {
            json!({"node_id": id, "node_type": "TagQueryNode", "interval": 60, "tags": tags, "code_hash": "c",
                "schema_hash": "s"})
        };
        let case = Case::of(&[
            query("q", json!(["b", "a"])),
            query("none", json!([])),
            query("q", json!(["c", "b"])),
        ]);
        let expected = json!({"none": [], "q": ["t-a", "t-b", "t-c"]});
        assert_eq!(case.map(&case.diff(&[], &[])), expected);
        assert_eq!(case.map(&case.diff(&[case.known(1, true)], &[])), expected);
        assert!(case.diff(&[], &[]).nodes[0].reason.contains("by its tags"));
    }
}
