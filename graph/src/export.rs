//! The graph as Cypher text, one statement a line.

use std::io::Write;

use crate::cypher::{MIGRATIONS, map, quoted};
use crate::{Graph, GraphError, Identity, Known, Sentinel, Strategy, to_hex};

/// Small: a strategy may have thousands of nodes.
const PAGE: usize = 200;

pub(crate) fn write<G: Graph + ?Sized>(graph: &G, out: &mut dyn Write) -> Result<(), GraphError> {
    for statement in MIGRATIONS.iter().copied().flatten() {
        writeln!(out, "{statement};")?;
    }
    writeln!(out, "MERGE (m:Migration {{name: 'ringfence'}}) SET m.version = {};", MIGRATIONS.len())?;
    // Every node stands before the first that reads one.
    let page = |after: Option<&Identity>| graph.nodes(after, PAGE);
    each(page, |(known, _)| known.node.identity, |(known, _)| Ok(writeln!(out, "{};", node(known))?))?;
    each(
        page,
        |(known, _)| known.node.identity,
        |(known, inputs)| {
            if inputs.is_empty() {
                return Ok(());
            }
            Ok(writeln!(out, "{};", reads(&known.node.identity, inputs))?)
        },
    )?;
    each(
        |after: Option<&String>| graph.strategies(after.map(String::as_str), PAGE),
        |strategy| strategy.strategy_id.clone(),
        |of| Ok(writeln!(out, "{};", strategy(of))?),
    )?;
    each(
        |after: Option<&String>| graph.sentinels(after.map(String::as_str), PAGE),
        |sentinel| sentinel.sentinel_id.clone(),
        |of| Ok(writeln!(out, "{};", sentinel(of, &graph.sentinel_nodes(&of.sentinel_id)?))?),
    )?;
    Ok(out.flush()?)
}

/// Goes through all pages; each begins after the key of the last item before it.
fn each<T, K>(
    page: impl Fn(Option<&K>) -> Result<Vec<T>, GraphError>,
    key: impl Fn(&T) -> K,
    mut write: impl FnMut(&T) -> Result<(), GraphError>,
) -> Result<(), GraphError> {
    let mut after: Option<K> = None;
    loop {
        let items = page(after.as_ref())?;
        items.iter().try_for_each(&mut write)?;
        match items.last() {
            Some(last) => after = Some(key(last)),
            None => return Ok(()),
        }
    }
}

fn node(known: &Known) -> String {
    let node = &known.node;
    let lease = known.lease.as_ref();
    let properties = map(&[
        ("identity", &to_hex(&node.identity)),
        ("family", &node.family.as_ref().map(to_hex)),
        ("node_id", &node.node_id),
        ("node_type", &node.node_type),
        ("name", &node.name),
        ("class", &node.class),
        ("code_hash", &node.code_hash),
        ("config_hash", &node.config_hash),
        ("schema_hash", &node.schema_hash),
        ("schema_compat_id", &node.schema_compat_id),
        ("interval", &node.interval_s),
        ("period", &node.period.map(i64::from)),
        ("tags", &node.tags),
        ("domain", &node.domain),
        ("created_at", &node.created_at_ms),
        ("orphaned_at", &known.orphaned_at_ms),
        ("lease_number", &known.lease_number),
        ("lease_holder", &lease.map(|lease| lease.holder.clone())),
        ("lease_until", &lease.map(|lease| lease.until_ms)),
    ]);
    let queue = map(&[
        ("topic_name", &node.queue.topic),
        ("topic_key", &node.queue.topic.to_ascii_lowercase()),
        ("node_id", &node.node_id),
        ("partition_count", &i64::from(node.queue.partitions)),
        ("replication_factor", &i64::from(node.queue.replicas)),
        ("retention_ms", &node.queue.retention_ms),
        ("tags", &node.tags),
        ("interval", &node.interval_s),
    ]);
    let mut tags: Vec<&String> = node.tags.iter().collect();
    tags.sort_unstable();
    tags.dedup();
    let tags = list(tags.iter().map(|tag| quoted(tag)));
    format!(
        "CREATE (:Node {properties})-[:PRODUCES]->(q:Queue {queue}) WITH q UNWIND {tags} AS tag \
         MERGE (t:Tag {{name: tag}}) CREATE (q)-[:TAGGED]->(t)"
    )
}

fn reads(identity: &Identity, inputs: &[Identity]) -> String {
    let inputs = list(inputs.iter().enumerate().map(|(at, input)| format!("[{at}, '{}']", to_hex(input))));
    format!(
        "MATCH (n:Node {{identity: '{}'}}) UNWIND {inputs} AS input MATCH (i:Node {{identity: input[1]}}) \
         CREATE (n)-[:DEPENDS_ON {{position: input[0]}}]->(i)",
        to_hex(identity)
    )
}

fn strategy(strategy: &Strategy) -> String {
    let properties = map(&[
        ("strategy_id", &strategy.strategy_id),
        ("applied_at", &strategy.applied_at_ms),
        ("released_at", &strategy.released_at_ms),
    ]);
    let uses = strategy.nodes.iter().enumerate();
    let uses =
        list(uses.map(|(at, (identity, created))| format!("[{at}, '{}', {created}]", to_hex(identity))));
    format!(
        "CREATE (s:Strategy {properties}) WITH s UNWIND {uses} AS use MATCH (n:Node {{identity: use[1]}}) \
         CREATE (s)-[:USES {{position: use[0], created: use[2]}}]->(n)"
    )
}

fn sentinel(sentinel: &Sentinel, nodes: &[Identity]) -> String {
    let properties = map(&[
        ("sentinel_id", &sentinel.sentinel_id),
        ("strategy_id", &sentinel.strategy_id),
        ("version", &sentinel.version),
        ("line", &sentinel.line),
        ("weight", &sentinel.weight),
        ("created_at", &sentinel.created_at_ms),
        ("retired_at", &sentinel.retired_at_ms),
    ]);
    let nodes = list(nodes.iter().map(|identity| format!("'{}'", to_hex(identity))));
    format!(
        "CREATE (v:VersionSentinel {properties}) WITH v UNWIND {nodes} AS identity \
         MATCH (n:Node {{identity: identity}}) CREATE (v)-[:HAS]->(n)"
    )
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}
