//! Applying and releasing a strategy.

use std::collections::{HashMap, HashSet};

use ::neo4j::ValueSend;

use super::ask::{Fault, Row, Work, count, list, map, maybe, values};
use super::{hex, sentinels};
use crate::{Applied, Change, GraphError, Identity, NodeRow, Placed, QueueChange, RELEASED_KEPT_MS};

struct Before {
    applied: bool,
    released: bool,
}

fn before(work: &Work<'_, '_>, strategy_id: &str) -> Result<Option<Before>, Fault> {
    let found = work.ask(
        "MATCH (s:Strategy {strategy_id: $id})
         RETURN s.applied_at IS NOT NULL AS applied, s.released_at IS NOT NULL AS released",
        values([("id", strategy_id.into())]),
    )?;
    let before =
        |mut row: Row| Ok(Before { applied: row.boolean("applied")?, released: row.boolean("released")? });
    found.into_iter().next().map(before).transpose()
}

pub(super) fn apply(work: &Work<'_, '_>, change: &Change<'_>) -> Result<Applied, Fault> {
    let mut seen = HashSet::new();
    let placed: Vec<&Placed> =
        change.nodes.iter().filter(|placed| seen.insert(placed.node.identity)).collect();
    match before(work, change.strategy_id)? {
        Some(Before { released: true, .. }) => {
            return Err(GraphError::Released(change.strategy_id.to_owned()).into());
        }
        Some(_) => return again(work, change.strategy_id, &placed),
        None => {}
    }
    let orphaned = existing(work, &placed)?;
    let is_new = |placed: &&&Placed| !orphaned.contains_key(&placed.node.identity);
    let new: Vec<&NodeRow> = placed.iter().filter(is_new).map(|placed| &placed.node).collect();
    create(work, &new)?;
    work.each(
        "UNWIND $rows AS id MATCH (n:Node {identity: id}) REMOVE n.orphaned_at",
        orphaned.iter().filter(|(_, orphaned)| **orphaned).map(|(identity, _)| hex(identity)).collect(),
    )?;
    // What an orphan reads may have gone meanwhile.
    let without_inputs =
        placed.iter().filter(|placed| orphaned.get(&placed.node.identity).is_none_or(|orphaned| *orphaned));
    let links = without_inputs.flat_map(|placed| {
        placed.inputs.iter().enumerate().map(|(position, input)| {
            map([("node", hex(&placed.node.identity)), ("input", hex(input)), ("position", count(position))])
        })
    });
    work.each(
        "UNWIND $rows AS row MATCH (n:Node {identity: row.node}) MATCH (i:Node {identity: row.input})
         MERGE (n)-[:DEPENDS_ON {position: row.position}]->(i)",
        links.collect(),
    )?;
    work.ask(
        "CREATE (:Strategy {strategy_id: $id, applied_at: $now})",
        values([("id", change.strategy_id.into()), ("now", change.now_ms.into())]),
    )?;
    let uses = placed.iter().enumerate().map(|(position, placed)| {
        map([
            ("strategy", change.strategy_id.into()),
            ("identity", hex(&placed.node.identity)),
            ("position", count(position)),
            ("created", is_new(&placed).into()),
        ])
    });
    work.each(
        "UNWIND $rows AS row MATCH (s:Strategy {strategy_id: row.strategy}) MATCH (n:Node {identity: row.identity})
         CREATE (s)-[:USES {position: row.position, created: row.created}]->(n)",
        uses.collect(),
    )?;
    if let Some(sentinel) = change.sentinel {
        sentinels::put(work, sentinel, placed.iter().map(|placed| &placed.node.identity))?;
    }
    tell(work, QueueChange::Created, &new, change.now_ms)?;
    Ok(Applied { created: new.iter().map(|node| node.identity).collect() })
}

/// The answer of the first time.
fn again(work: &Work<'_, '_>, strategy_id: &str, placed: &[&Placed]) -> Result<Applied, Fault> {
    let uses = work.ask(
        "MATCH (:Strategy {strategy_id: $id})-[u:USES]->(n:Node)
         RETURN n.identity AS identity, u.created AS created ORDER BY u.position",
        values([("id", strategy_id.into())]),
    )?;
    let mut uses: Vec<(Identity, bool)> = uses
        .into_iter()
        .map(|mut row| Ok((row.identity("identity")?, row.boolean("created")?)))
        .collect::<Result<_, Fault>>()?;
    if !uses.iter().map(|(identity, _)| identity).eq(placed.iter().map(|placed| &placed.node.identity)) {
        return Err(GraphError::Conflict(strategy_id.to_owned()).into());
    }
    uses.retain(|(_, created)| *created);
    Ok(Applied { created: uses.into_iter().map(|(identity, _)| identity).collect() })
}

/// Those of the nodes that are there, and whether they are orphans.
fn existing(work: &Work<'_, '_>, placed: &[&Placed]) -> Result<HashMap<Identity, bool>, Fault> {
    let found = work.each(
        "UNWIND $rows AS id MATCH (n:Node {identity: id})
         RETURN n.identity AS identity, n.orphaned_at IS NOT NULL AS orphaned",
        placed.iter().map(|placed| hex(&placed.node.identity)).collect(),
    )?;
    found.into_iter().map(|mut row| Ok((row.identity("identity")?, row.boolean("orphaned")?))).collect()
}

fn create(work: &Work<'_, '_>, new: &[&NodeRow]) -> Result<(), Fault> {
    topics_are_free(work, new)?;
    let rows = new.iter().map(|node| {
        let mut tags: Vec<&str> = node.tags.iter().map(String::as_str).collect();
        tags.sort_unstable();
        tags.dedup();
        map([("node", node_properties(node)), ("queue", queue_properties(node)), ("tags", list(tags))])
    });
    work.each(
        "UNWIND $rows AS row CREATE (n:Node)-[:PRODUCES]->(q:Queue) SET n = row.node, q = row.queue
         WITH q, row UNWIND row.tags AS tag MERGE (t:Tag {name: tag}) CREATE (q)-[:TAGGED]->(t)",
        rows.collect(),
    )?;
    Ok(())
}

fn topics_are_free(work: &Work<'_, '_>, new: &[&NodeRow]) -> Result<(), Fault> {
    let mut own = HashSet::new();
    let twice = new.iter().find(|node| !own.insert(node.queue.topic.to_ascii_lowercase()));
    let taken = work.each(
        "UNWIND $rows AS key MATCH (q:Queue {topic_key: key}) RETURN q.topic_name AS topic LIMIT 1",
        own.into_iter().map(ValueSend::String).collect(),
    )?;
    let taken = taken.into_iter().next().map(|mut row| row.text("topic")).transpose()?;
    match taken.or_else(|| twice.map(|node| node.queue.topic.clone())) {
        Some(topic) => Err(GraphError::TopicTaken(topic).into()),
        None => Ok(()),
    }
}

fn node_properties(node: &NodeRow) -> ValueSend {
    map([
        ("identity", hex(&node.identity)),
        ("family", maybe(node.family.as_ref().map(hex))),
        ("node_id", node.node_id.as_str().into()),
        ("node_type", node.node_type.as_str().into()),
        ("name", node.name.as_str().into()),
        ("class", node.class.as_str().into()),
        ("code_hash", node.code_hash.as_str().into()),
        ("config_hash", maybe(node.config_hash.as_deref())),
        ("schema_hash", node.schema_hash.as_str().into()),
        ("schema_compat_id", maybe(node.schema_compat_id.as_deref())),
        ("interval", maybe(node.interval_s)),
        ("period", maybe(node.period)),
        ("tags", list(node.tags.iter().map(String::as_str))),
        ("domain", node.domain.as_str().into()),
        ("created_at", node.created_at_ms.into()),
        ("lease_number", ValueSend::Integer(0)),
    ])
}

fn queue_properties(node: &NodeRow) -> ValueSend {
    map([
        ("topic_name", node.queue.topic.as_str().into()),
        ("topic_key", node.queue.topic.to_ascii_lowercase().into()),
        ("node_id", node.node_id.as_str().into()),
        ("partition_count", node.queue.partitions.into()),
        ("replication_factor", node.queue.replicas.into()),
        ("retention_ms", maybe(node.queue.retention_ms)),
        ("tags", list(node.tags.iter().map(String::as_str))),
        ("interval", maybe(node.interval_s)),
    ])
}

/// Writes to the outbox. The places are counted on the locked node: they ascend in the order of the transactions.
pub(super) fn tell(
    work: &Work<'_, '_>,
    change: QueueChange,
    nodes: &[&NodeRow],
    now_ms: i64,
) -> Result<(), Fault> {
    let row = |(at, node): (usize, &&NodeRow)| {
        map([
            ("before", count(nodes.len() - at)),
            (
                "properties",
                map([
                    ("at", now_ms.into()),
                    ("change", change.name().into()),
                    ("identity", hex(&node.identity)),
                    ("node_id", node.node_id.as_str().into()),
                    ("topic_name", node.queue.topic.as_str().into()),
                    ("tags", list(node.tags.iter().map(String::as_str))),
                    ("interval", maybe(node.interval_s)),
                    ("domain", node.domain.as_str().into()),
                ]),
            ),
        ])
    };
    if nodes.is_empty() {
        return Ok(());
    }
    work.ask(
        "MATCH (l:Lock {name: 'graph'}) SET l.seq = coalesce(l.seq, 0) + $count",
        values([("count", count(nodes.len()))]),
    )?;
    work.each(
        "MATCH (l:Lock {name: 'graph'}) WITH l.seq AS last UNWIND $rows AS row
         CREATE (o:Outbox) SET o = row.properties, o.seq = last - row.before + 1",
        nodes.iter().enumerate().map(row).collect(),
    )?;
    Ok(())
}

pub(super) fn release(work: &Work<'_, '_>, strategy_id: &str, now_ms: i64) -> Result<Vec<Identity>, Fault> {
    // Marks of strategies released long ago, a few at a time: whoever would still apply them has given up.
    work.ask(
        "MATCH (s:Strategy) WHERE s.released_at < $long_ago WITH s ORDER BY s.released_at LIMIT 64 DETACH DELETE s",
        values([("long_ago", now_ms.saturating_sub(RELEASED_KEPT_MS).into())]),
    )?;
    let before = before(work, strategy_id)?;
    if before.as_ref().is_some_and(|before| before.released) {
        return Ok(Vec::new());
    }
    let of = || values([("id", strategy_id.into()), ("now", now_ms.into())]);
    work.ask("MERGE (s:Strategy {strategy_id: $id}) SET s.released_at = $now", of())?;
    if !before.is_some_and(|before| before.applied) {
        return Ok(Vec::new());
    }
    let used = work.ask(
        "MATCH (:Strategy {strategy_id: $id})-[u:USES]->(n:Node)
         WITH u, n.identity AS identity, u.position AS position DELETE u RETURN identity, position ORDER BY position",
        of(),
    )?;
    work.ask("MATCH (v:VersionSentinel {strategy_id: $id}) SET v.retired_at = $now", of())?;
    work.ask("MATCH (n:Node {lease_holder: $id}) WHERE n.lease_until > $now SET n.lease_until = $now", of())?;
    let used = used
        .into_iter()
        .map(|mut row| Ok(map([("identity", row.text("identity")?.into()), ("now", now_ms.into())])));
    let orphans = work.each(
        "UNWIND range(0, size($rows) - 1) AS at MATCH (n:Node {identity: $rows[at].identity})
         WHERE NOT EXISTS { (n)<-[:USES]-(:Strategy) }
         SET n.orphaned_at = $rows[at].now RETURN n.identity AS identity ORDER BY at",
        used.collect::<Result<_, Fault>>()?,
    )?;
    orphans.into_iter().map(|mut row| row.identity("identity")).collect()
}
