//! What nobody uses.

use std::collections::HashSet;

use super::ask::{Fault, Work, count, list, map, values};
use super::lists::{all_known, entry};
use super::{change, hex};
use crate::{Age, Identity, Known, NodeRow, QueueChange, QueueEntry};

pub(super) fn orphans(work: &Work<'_, '_>, ages: &[Age<'_>], most: usize) -> Result<Vec<QueueEntry>, Fault> {
    let ages = ages.iter().map(|age| map([("class", age.class.into()), ("since", age.not_after_ms.into())]));
    let found = work.ask(
        "UNWIND $ages AS age MATCH (n:Node) WHERE n.orphaned_at <= age.since AND n.class = age.class
         WITH DISTINCT n ORDER BY n.orphaned_at, n.identity LIMIT $most
         MATCH (n)-[:PRODUCES]->(q:Queue) RETURN n, q ORDER BY n.orphaned_at, n.identity",
        values([("ages", list(ages)), ("most", count(most))]),
    )?;
    Ok(all_known(found)?.iter().map(entry).collect())
}

pub(super) fn remove(
    work: &Work<'_, '_>,
    identities: &[Identity],
    not_after_ms: i64,
    now_ms: i64,
) -> Result<Vec<QueueEntry>, Fault> {
    let mut seen = HashSet::new();
    let asked = identities.iter().filter(|identity| seen.insert(**identity));
    let asked = asked.map(|identity| map([("identity", hex(identity)), ("since", not_after_ms.into())]));
    let found = work.each(
        "UNWIND range(0, size($rows) - 1) AS at MATCH (n:Node {identity: $rows[at].identity})-[:PRODUCES]->(q:Queue)
         WHERE n.orphaned_at <= $rows[at].since RETURN n, q ORDER BY at",
        asked.collect(),
    )?;
    let gone: Vec<Known> = all_known(found)?;
    work.each(
        "UNWIND $rows AS id MATCH (n:Node {identity: id})-[:PRODUCES]->(q:Queue) DETACH DELETE n, q",
        gone.iter().map(|known| hex(&known.node.identity)).collect(),
    )?;
    let tags: HashSet<&str> =
        gone.iter().flat_map(|known| known.node.tags.iter().map(String::as_str)).collect();
    work.each(
        "UNWIND $rows AS tag MATCH (t:Tag {name: tag}) WHERE NOT EXISTS { (t)<-[:TAGGED]-(:Queue) } DELETE t",
        tags.into_iter().map(Into::into).collect(),
    )?;
    let nodes: Vec<&NodeRow> = gone.iter().map(|known| &known.node).collect();
    change::tell(work, QueueChange::Removed, &nodes, now_ms)?;
    Ok(gone.iter().map(entry).collect())
}
