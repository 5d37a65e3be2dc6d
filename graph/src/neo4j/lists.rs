//! What is read.

use super::ask::{Fault, Row, Work, count, list, maybe, values};
use super::hex;
use crate::{
    Binding, Fetched, GraphError, Identity, Known, Lease, Match, NodeRow, OutboxRow, QueueChange, QueueEntry,
    QueueFilter, QueueRow, Strategy, TagQuery, to_hex,
};

fn queue(row: &mut Row) -> Result<QueueRow, Fault> {
    Ok(QueueRow {
        topic: row.text("topic_name")?,
        partitions: row.narrow("partition_count")?,
        replicas: row.narrow("replication_factor")?,
        retention_ms: row.maybe_int("retention_ms")?,
    })
}

/// A row with a node `n` and its queue `q`.
fn known(row: &mut Row) -> Result<Known, Fault> {
    let queue = queue(&mut row.node("q")?)?;
    let mut n = row.node("n")?;
    let lease_number = n.int("lease_number")?;
    let lease = match n.maybe_text("lease_holder")? {
        Some(holder) => Some(Lease { number: lease_number, holder, until_ms: n.int("lease_until")? }),
        None => None,
    };
    let orphaned_at_ms = n.maybe_int("orphaned_at")?;
    let period = n.maybe_int("period")?;
    let node = NodeRow {
        identity: n.identity("identity")?,
        family: n.maybe_text("family")?.map(|text| crate::identity::from_hex(&text)).transpose()?,
        node_id: n.text("node_id")?,
        node_type: n.text("node_type")?,
        name: n.text("name")?,
        class: n.text("class")?,
        code_hash: n.text("code_hash")?,
        config_hash: n.maybe_text("config_hash")?,
        schema_hash: n.text("schema_hash")?,
        schema_compat_id: n.maybe_text("schema_compat_id")?,
        interval_s: n.maybe_int("interval")?,
        period: period
            .map(i32::try_from)
            .transpose()
            .map_err(|_| GraphError::Damaged("a property `period`".to_owned()))?,
        tags: n.texts("tags")?,
        domain: n.text("domain")?,
        created_at_ms: n.int("created_at")?,
        queue,
    };
    Ok(Known { node, lease, lease_number, orphaned_at_ms })
}

/// What a list of queues, and the outbox, tell of a node.
pub(super) fn entry(known: &Known) -> QueueEntry {
    let node = &known.node;
    QueueEntry {
        identity: node.identity,
        node_id: node.node_id.clone(),
        class: node.class.clone(),
        interval_s: node.interval_s,
        orphaned_at_ms: known.orphaned_at_ms,
        queue: node.queue.clone(),
    }
}

pub(super) fn all_known(rows: Vec<Row>) -> Result<Vec<Known>, Fault> {
    rows.into_iter().map(|mut row| known(&mut row)).collect()
}

fn entries(rows: Vec<Row>) -> Result<Vec<QueueEntry>, Fault> {
    Ok(all_known(rows)?.iter().map(entry).collect())
}

pub(super) fn fetch(
    work: &Work<'_, '_>,
    identities: &[Identity],
    families: &[Identity],
) -> Result<Fetched, Fault> {
    let nodes = work.each(
        "UNWIND range(0, size($rows) - 1) AS at MATCH (n:Node {identity: $rows[at]})-[:PRODUCES]->(q:Queue)
         RETURN n, q ORDER BY at",
        identities.iter().map(hex).collect(),
    )?;
    let by_family = work.each(
        "UNWIND range(0, size($rows) - 1) AS at
         CALL { WITH at MATCH (n:Node {family: $rows[at]}) RETURN n ORDER BY n.created_at DESC, n.identity DESC LIMIT 1 }
         MATCH (n)-[:PRODUCES]->(q:Queue) RETURN n, q ORDER BY at",
        families.iter().map(hex).collect(),
    )?;
    Ok(Fetched { nodes: all_known(nodes)?, by_family: all_known(by_family)? })
}

pub(super) fn bindings(work: &Work<'_, '_>, node_ids: &[&str]) -> Result<Vec<Binding>, Fault> {
    let found = work.each(
        "UNWIND range(0, size($rows) - 1) AS at MATCH (n:Node {node_id: $rows[at]})
         RETURN DISTINCT at, n.node_id AS node_id, n.node_type AS node_type, n.code_hash AS code_hash,
             n.config_hash AS config_hash, n.schema_hash AS schema_hash
         ORDER BY at, node_type, code_hash, config_hash, schema_hash",
        node_ids.iter().map(|id| (*id).into()).collect(),
    )?;
    let binding = |mut row: Row| {
        Ok(Binding {
            node_id: row.text("node_id")?,
            node_type: row.text("node_type")?,
            code_hash: row.text("code_hash")?,
            config_hash: row.maybe_text("config_hash")?,
            schema_hash: row.text("schema_hash")?,
        })
    };
    found.into_iter().map(binding).collect()
}

pub(super) fn nodes(
    work: &Work<'_, '_>,
    after: Option<&Identity>,
    most: usize,
) -> Result<Vec<(Known, Vec<Identity>)>, Fault> {
    let found = work.ask(
        "MATCH (n:Node) WHERE n.identity > $after WITH n ORDER BY n.identity LIMIT $most
         MATCH (n)-[:PRODUCES]->(q:Queue)
         CALL { WITH n MATCH (n)-[d:DEPENDS_ON]->(i:Node) WITH d, i ORDER BY d.position RETURN collect(i.identity) AS inputs }
         RETURN n, q, inputs ORDER BY n.identity",
        values([("after", after.map(to_hex).unwrap_or_default().into()), ("most", count(most))]),
    )?;
    let one = |mut row: Row| {
        let inputs = row.texts("inputs")?;
        let inputs = inputs.iter().map(|text| crate::identity::from_hex(text)).collect::<Result<_, _>>()?;
        Ok((known(&mut row)?, inputs))
    };
    found.into_iter().map(one).collect()
}

pub(super) fn strategy_nodes(work: &Work<'_, '_>, strategy_id: &str) -> Result<Vec<NodeRow>, Fault> {
    let found = work.ask(
        "MATCH (:Strategy {strategy_id: $id})-[u:USES]->(n:Node)-[:PRODUCES]->(q:Queue) RETURN n, q ORDER BY u.position",
        values([("id", strategy_id.into())]),
    )?;
    Ok(all_known(found)?.into_iter().map(|known| known.node).collect())
}

pub(super) fn strategies(
    work: &Work<'_, '_>,
    after: Option<&str>,
    most: usize,
) -> Result<Vec<Strategy>, Fault> {
    let found = work.ask(
        "MATCH (s:Strategy) WHERE s.strategy_id > $after WITH s ORDER BY s.strategy_id LIMIT $most
         CALL {
             WITH s MATCH (s)-[u:USES]->(n:Node) WITH u, n ORDER BY u.position
             RETURN collect({identity: n.identity, created: u.created}) AS nodes
         }
         RETURN s.strategy_id AS id, s.applied_at AS applied_at, s.released_at AS released_at, nodes ORDER BY id",
        values([("after", after.unwrap_or_default().into()), ("most", count(most))]),
    )?;
    let strategy = |mut row: Row| {
        let node = |mut row: Row| Ok((row.identity("identity")?, row.boolean("created")?));
        Ok(Strategy {
            strategy_id: row.text("id")?,
            applied_at_ms: row.maybe_int("applied_at")?,
            released_at_ms: row.maybe_int("released_at")?,
            nodes: row.rows("nodes")?.into_iter().map(node).collect::<Result<_, Fault>>()?,
        })
    };
    found.into_iter().map(strategy).collect()
}

pub(super) fn strategies_of(
    work: &Work<'_, '_>,
    identity: &Identity,
    most: usize,
) -> Result<Vec<String>, Fault> {
    let found = work.ask(
        "MATCH (:Node {identity: $identity})<-[:USES]-(s:Strategy) RETURN s.strategy_id AS id ORDER BY id LIMIT $most",
        values([("identity", hex(identity)), ("most", count(most))]),
    )?;
    found.into_iter().map(|mut row| row.text("id")).collect()
}

pub(super) fn queues_by_tags(
    work: &Work<'_, '_>,
    query: &TagQuery<'_>,
    tags: &[&str],
    most: usize,
) -> Result<Vec<QueueEntry>, Fault> {
    let needed = match query.mode {
        Match::Any => 1,
        Match::All => tags.len(),
    };
    let found = work.ask(
        "UNWIND $tags AS tag MATCH (:Tag {name: tag})<-[:TAGGED]-(q:Queue) WITH q, count(*) AS hits WHERE hits >= $needed
         MATCH (n:Node)-[:PRODUCES]->(q)
         WHERE ($interval IS NULL OR n.interval = $interval) AND ($domain IS NULL OR n.domain = $domain)
         RETURN n, q ORDER BY q.topic_key LIMIT $most",
        values([
            ("tags", list(tags.iter().copied())),
            ("needed", count(needed)),
            ("interval", maybe(query.interval_s)),
            ("domain", maybe(query.domain)),
            ("most", count(most)),
        ]),
    )?;
    entries(found)
}

pub(super) fn queues(
    work: &Work<'_, '_>,
    filter: &QueueFilter<'_>,
    after: Option<&str>,
    most: usize,
) -> Result<Vec<QueueEntry>, Fault> {
    let found = work.ask(
        "MATCH (q:Queue) WHERE q.topic_key > $after AND q.topic_key STARTS WITH $prefix
         MATCH (n:Node)-[:PRODUCES]->(q) WHERE $class IS NULL OR n.class = $class
         RETURN n, q ORDER BY q.topic_key LIMIT $most",
        values([
            ("after", after.unwrap_or_default().to_ascii_lowercase().into()),
            ("prefix", filter.prefix.to_ascii_lowercase().into()),
            ("class", maybe(filter.class)),
            ("most", count(most)),
        ]),
    )?;
    entries(found)
}

pub(super) fn outbox(work: &Work<'_, '_>, after: i64, most: usize) -> Result<Vec<OutboxRow>, Fault> {
    let found = work.ask(
        "MATCH (o:Outbox) WHERE o.seq > $after RETURN o ORDER BY o.seq LIMIT $most",
        values([("after", after.into()), ("most", count(most))]),
    )?;
    let one = |mut row: Row| {
        let mut row = row.node("o")?;
        let change = row.text("change")?;
        let change = QueueChange::from_name(&change)
            .ok_or_else(|| GraphError::Damaged(format!("the change `{}`", change.escape_debug())))?;
        Ok(OutboxRow {
            seq: row.int("seq")?,
            at_ms: row.int("at")?,
            change,
            identity: row.identity("identity")?,
            node_id: row.text("node_id")?,
            topic: row.text("topic_name")?,
            tags: row.texts("tags")?,
            interval_s: row.maybe_int("interval")?,
            domain: row.text("domain")?,
        })
    };
    found.into_iter().map(one).collect()
}
