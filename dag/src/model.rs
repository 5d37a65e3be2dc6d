//! A DAG as a client sends it, checked.

use std::collections::HashMap;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::canonical::canonical_json;
use crate::error::{DagError, Loc};
use crate::fields::{self, Issues};
use crate::json;

/// The most that is taken of one DAG.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of its JSON.
    pub bytes: usize,
    /// Nodes.
    pub nodes: usize,
    /// Inputs of one node.
    pub inputs: usize,
    /// Tags of one node.
    pub tags: usize,
    /// Bytes of an id, a name, a type or a hash.
    pub string_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 8 << 20, nodes: 5_000, inputs: 1_000, tags: 100, string_bytes: 1_024 }
    }
}

/// A unit of computation.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The public id. It may stand twice in a DAG: it says nothing about inputs, tags, interval and period.
    pub node_id: String,
    /// What kind of node it is: the name of its class.
    pub node_type: String,
    /// For people.
    pub name: String,
    /// Seconds between two values, 1 to 86,400.
    pub interval_s: Option<u32>,
    /// Values that it looks at, 1 to 10,000.
    pub period: Option<u32>,
    /// Labels by which tag queries find its values.
    pub tags: Vec<String>,
    /// Ids of the nodes it reads, in the order of its arguments; `dependencies` where the client sends only those.
    pub inputs: Vec<String>,
    /// What a canonical id is over instead of `inputs`, where it is given.
    pub dependencies: Option<Vec<String>>,
    /// Fingerprint of its code; none when it could not be computed.
    pub code_hash: Option<String>,
    /// Fingerprint of its configuration. Older clients leave it out.
    pub config_hash: Option<String>,
    /// Fingerprint of its schema; none when it could not be computed.
    pub schema_hash: Option<String>,
    /// Schemas of one such id can be read as each other.
    pub schema_compat_id: Option<String>,
    /// Its configuration itself, where the client sends it.
    pub params: Option<Value>,
    /// It waits for its first whole window.
    pub pre_warmup: bool,
    /// What it asks for, when it is a `TagQueryNode`.
    pub tag_query: Option<TagQuery>,
}

impl Node {
    /// It brings values in from outside: it reads no other node, and no tag query.
    #[must_use]
    pub fn is_source(&self) -> bool {
        self.inputs.is_empty() && self.tag_query.is_none()
    }
}

/// Which queues a `TagQueryNode` reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagQuery {
    /// Sorted, each once. Without any, nothing is found.
    pub tags: Vec<String>,
    /// How many of them a queue must have.
    pub mode: MatchMode,
    /// Seconds between two values of the queues.
    pub interval_s: Option<u32>,
}

/// How many of a query's tags a queue must have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MatchMode {
    /// One.
    #[default]
    Any,
    /// Every one.
    All,
}

impl MatchMode {
    /// In JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::All => "all",
        }
    }

    /// The mode of this name, in whatever case; empty is `any`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "" | "any" => Some(Self::Any),
            "all" => Some(Self::All),
            _ => None,
        }
    }
}

/// A strategy's DAG: nodes whose inputs are nodes of the same DAG. It may still have cycles;
/// [`topological_order`](crate::topological_order) finds them.
#[derive(Clone, Debug)]
pub struct Dag {
    raw: Value,
    nodes: Vec<Node>,
    /// Nodes by id. One id may be several nodes, so edges lead to groups: their number stays that of the inputs written
    /// down, whatever stands twice.
    groups: Vec<Vec<usize>>,
    group_of: Vec<usize>,
    input_groups: Vec<Vec<usize>>,
}

impl Dag {
    /// Reads a DAG. Fields that nobody knows are kept in [`Dag::raw`].
    ///
    /// # Errors
    /// [`DagError::TooLarge`], [`DagError::Garbage`] or [`DagError::Schema`].
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Self, DagError> {
        if bytes.len() > limits.bytes {
            return Err(DagError::TooLarge { what: "bytes", size: bytes.len(), limit: limits.bytes });
        }
        let raw = json::read(bytes)?;
        let mut issues = Issues { limits, found: Vec::new() };
        let items = node_list(&raw, &mut issues);
        if items.len() > limits.nodes {
            return Err(DagError::TooLarge { what: "nodes", size: items.len(), limit: limits.nodes });
        }
        let mut nodes = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            nodes.extend(fields::node(item, index, &mut issues));
            if issues.is_full() {
                break;
            }
        }
        if !issues.found.is_empty() {
            return Err(DagError::Schema(issues.found));
        }
        let (groups, group_of, by_id) = group(&nodes);
        let input_groups = resolve(items, &nodes, &by_id, &mut issues);
        if !issues.found.is_empty() {
            return Err(DagError::Schema(issues.found));
        }
        Ok(Self { raw, nodes, groups, group_of, input_groups })
    }

    /// All that was sent.
    #[must_use]
    pub const fn raw(&self) -> &Value {
        &self.raw
    }

    /// The nodes, in the order they were sent.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The document in its one spelling.
    #[must_use]
    pub fn canonical_json(&self) -> String {
        canonical_json(&self.raw)
    }

    /// What makes two submissions the same: SHA-256 over the canonical JSON.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.canonical_json()).into()
    }

    /// The nodes of each id.
    pub(crate) fn groups(&self) -> &[Vec<usize>] {
        &self.groups
    }

    /// The group that a node is in.
    pub(crate) fn group_of(&self, node: usize) -> usize {
        self.group_of[node]
    }

    /// The groups that a node reads, one for each input.
    pub(crate) fn input_groups(&self, node: usize) -> &[usize] {
        &self.input_groups[node]
    }
}

fn node_list<'a>(raw: &'a Value, issues: &mut Issues<'_>) -> &'a [Value] {
    let here = [Loc::Field("nodes")];
    match raw.as_object().map(|root| root.get("nodes")) {
        None => issues.add("dict_type", &[], raw, "a DAG is an object with a list `nodes`"),
        Some(None) => issues.add("missing", &here, &Value::Null, "`nodes` is missing: add the list of nodes"),
        Some(Some(Value::Array(items))) => return items,
        Some(Some(other)) => issues.add("list_type", &here, other, "`nodes` is a list"),
    }
    &[]
}

/// Nodes by id; the group of each node; and the groups by id.
fn group(nodes: &[Node]) -> (Vec<Vec<usize>>, Vec<usize>, HashMap<&str, usize>) {
    let mut by_id = HashMap::with_capacity(nodes.len());
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let group_of = nodes.iter().enumerate().map(|(index, node)| {
        let group = *by_id.entry(node.node_id.as_str()).or_insert(groups.len());
        match groups.get_mut(group) {
            Some(members) => members.push(index),
            None => groups.push(vec![index]),
        }
        group
    });
    let group_of = group_of.collect();
    (groups, group_of, by_id)
}

/// The groups that each node reads.
fn resolve(
    items: &[Value],
    nodes: &[Node],
    by_id: &HashMap<&str, usize>,
    issues: &mut Issues<'_>,
) -> Vec<Vec<usize>> {
    let mut resolved = Vec::with_capacity(nodes.len());
    for (index, (item, node)) in items.iter().zip(nodes).enumerate() {
        let field = if item["inputs"].is_null() { "dependencies" } else { "inputs" };
        let mut groups = Vec::with_capacity(node.inputs.len());
        for (at, input) in node.inputs.iter().enumerate() {
            match by_id.get(input.as_str()) {
                Some(group) => groups.push(*group),
                None => {
                    let loc = [Loc::Field("nodes"), Loc::Item(index), Loc::Field(field), Loc::Item(at)];
                    let msg = "no node of this DAG has this id: send that node too";
                    issues.add("unknown_input", &loc, &input.as_str().into(), msg);
                }
            }
        }
        resolved.push(groups);
    }
    resolved
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;
