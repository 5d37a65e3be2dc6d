//! What both engines take, checked once for both.

use std::collections::HashSet;

use crate::{Change, GraphError, Identity, NodeRow, Sentinel, TagQuery, to_hex};

/// Nodes of one change.
pub const MAX_NODES: usize = 10_000;
/// Identities, ids or leases of one call.
pub const MAX_BATCH: usize = 20_000;
/// Items of one list.
pub const MAX_PAGE: usize = 10_000;
/// Inputs of one node.
pub const MAX_INPUTS: usize = 1_000;
/// Tags of one node, or of one query.
pub const MAX_TAGS: usize = 100;
/// Bytes of an id, a name, a hash or a tag.
pub const MAX_TEXT_BYTES: usize = 1_000;
/// Bytes of a topic's name, and partitions of a topic: what topics take.
const MAX_TOPIC_BYTES: usize = 249;
const MAX_PARTITIONS: u32 = 64;
/// Sums of weights are of floating point.
const WEIGHT_SLACK: f64 = 1e-9;

pub(crate) fn page(most: usize) -> usize {
    most.min(MAX_PAGE)
}

pub(crate) fn batch(what: &'static str, count: usize) -> Result<(), GraphError> {
    at_most(what, count, MAX_BATCH)
}

fn at_most(what: &'static str, count: usize, most: usize) -> Result<(), GraphError> {
    if count > most { Err(GraphError::TooMany { what, count, most }) } else { Ok(()) }
}

pub(crate) fn text(what: &'static str, value: &str) -> Result<(), GraphError> {
    let why = if value.is_empty() {
        "it is empty".to_owned()
    } else if value.len() > MAX_TEXT_BYTES {
        format!("it has {} bytes, at most {MAX_TEXT_BYTES} are taken", value.len())
    } else if value.contains('\0') {
        "it holds a zero byte".to_owned()
    } else {
        return Ok(());
    };
    Err(GraphError::Invalid { what, why })
}

fn length(what: &'static str, value: &str) -> Result<(), GraphError> {
    if value.is_empty() { Ok(()) } else { text(what, value) }
}

pub(crate) fn change(change: &Change<'_>) -> Result<(), GraphError> {
    text("the strategy's id", change.strategy_id)?;
    at_most("nodes", change.nodes.len(), MAX_NODES)?;
    let own: HashSet<&Identity> = change.nodes.iter().map(|placed| &placed.node.identity).collect();
    for placed in change.nodes {
        node(&placed.node)?;
        at_most("inputs", placed.inputs.len(), MAX_INPUTS)?;
        if let Some(input) = placed.inputs.iter().find(|input| !own.contains(input)) {
            return Err(GraphError::UnknownInput {
                node: to_hex(&placed.node.identity),
                input: to_hex(input),
            });
        }
    }
    change.sentinel.map_or(Ok(()), |of| sentinel(of, change.strategy_id))
}

fn node(node: &NodeRow) -> Result<(), GraphError> {
    text("a node's id", &node.node_id)?;
    text("a node's type", &node.node_type)?;
    text("a node's class", &node.class)?;
    for (what, value) in [
        ("a node's name", &node.name),
        ("a node's code hash", &node.code_hash),
        ("a node's schema hash", &node.schema_hash),
        ("a node's domain", &node.domain),
    ] {
        length(what, value)?;
    }
    length("a node's config hash", node.config_hash.as_deref().unwrap_or_default())?;
    length("a node's schema_compat_id", node.schema_compat_id.as_deref().unwrap_or_default())?;
    at_most("tags", node.tags.len(), MAX_TAGS)?;
    node.tags.iter().try_for_each(|tag| text("a tag", tag))?;
    topic(&node.queue.topic)?;
    if (1..=MAX_PARTITIONS).contains(&node.queue.partitions) && node.queue.replicas >= 1 {
        return Ok(());
    }
    let why = format!("it needs 1 to {MAX_PARTITIONS} partitions and a copy at least");
    Err(GraphError::Invalid { what: "a queue", why })
}

fn topic(name: &str) -> Result<(), GraphError> {
    text("a topic", name)?;
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if name.len() <= MAX_TOPIC_BYTES && name.bytes().all(legal) && ![".", ".."].contains(&name) {
        return Ok(());
    }
    let why = format!("use 1 to {MAX_TOPIC_BYTES} of A-Z a-z 0-9 . _ - (not `.` or `..`)");
    Err(GraphError::Invalid { what: "a topic", why })
}

fn sentinel(sentinel: &Sentinel, strategy_id: &str) -> Result<(), GraphError> {
    text("a sentinel's id", &sentinel.sentinel_id)?;
    text("a sentinel's version", &sentinel.version)?;
    sentinel.line.as_deref().map_or(Ok(()), |line| text("a sentinel's line", line))?;
    if sentinel.strategy_id != strategy_id {
        let why = "it is of another strategy than the change".to_owned();
        return Err(GraphError::Invalid { what: "a sentinel", why });
    }
    weight(sentinel.weight)
}

pub(crate) fn weight(weight: f64) -> Result<(), GraphError> {
    // NaN is in no range.
    if (0.0..=1.0).contains(&weight) { Ok(()) } else { Err(GraphError::Weight(weight)) }
}

/// `others` and `weight` are shares of one line's traffic. Lowering is always taken.
pub(crate) fn weight_sum(line: &str, others: f64, before: f64, weight: f64) -> Result<(), GraphError> {
    let sum = others + weight;
    if sum <= 1.0 + WEIGHT_SLACK || weight <= before {
        return Ok(());
    }
    Err(GraphError::WeightSum { line: line.to_owned(), sum })
}

/// The tags of a query, each once.
pub(crate) fn tags<'a>(query: &TagQuery<'a>) -> Result<Vec<&'a str>, GraphError> {
    at_most("tags", query.tags.len(), MAX_TAGS)?;
    let mut tags: Vec<&str> = query.tags.iter().map(String::as_str).collect();
    tags.sort_unstable();
    tags.dedup();
    tags.iter().try_for_each(|tag| text("a tag", tag))?;
    if tags.is_empty() {
        return Err(GraphError::Invalid { what: "a tag query", why: "it names no tag".to_owned() });
    }
    Ok(tags)
}

pub(crate) fn lease(count: usize, holder: &str, ttl_ms: i64) -> Result<(), GraphError> {
    /// A day: a lease is a sign of life, not a possession.
    const MAX_TTL_MS: i64 = 24 * 3600 * 1000;
    batch("leases", count)?;
    text("a lease's holder", holder)?;
    if (1..=MAX_TTL_MS).contains(&ttl_ms) {
        return Ok(());
    }
    Err(GraphError::Invalid {
        what: "a lease's time",
        why: format!("it lasts 1 to {MAX_TTL_MS} ms, not {ttl_ms}"),
    })
}
