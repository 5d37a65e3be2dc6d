//! Versions and their weights.

use super::ask::{Fault, Row, Work, count, list, map, maybe, values};
use super::hex;
use crate::{GraphError, Identity, Sentinel, limits};

fn sentinels(rows: Vec<Row>) -> Result<Vec<Sentinel>, Fault> {
    let sentinel = |mut row: Row| {
        let mut row = row.node("v")?;
        Ok(Sentinel {
            sentinel_id: row.text("sentinel_id")?,
            strategy_id: row.text("strategy_id")?,
            version: row.text("version")?,
            line: row.maybe_text("line")?,
            weight: row.float("weight")?,
            created_at_ms: row.int("created_at")?,
            retired_at_ms: row.maybe_int("retired_at")?,
        })
    };
    rows.into_iter().map(sentinel).collect()
}

pub(super) fn one(work: &Work<'_, '_>, sentinel_id: &str) -> Result<Option<Sentinel>, Fault> {
    let found = work
        .ask("MATCH (v:VersionSentinel {sentinel_id: $id}) RETURN v", values([("id", sentinel_id.into())]))?;
    Ok(sentinels(found)?.pop())
}

pub(super) fn all(work: &Work<'_, '_>, after: Option<&str>, most: usize) -> Result<Vec<Sentinel>, Fault> {
    let found = work.ask(
        "MATCH (v:VersionSentinel) WHERE v.sentinel_id > $after RETURN v ORDER BY v.sentinel_id LIMIT $most",
        values([("after", after.unwrap_or_default().into()), ("most", count(most))]),
    )?;
    sentinels(found)
}

pub(super) fn nodes(work: &Work<'_, '_>, sentinel_id: &str) -> Result<Vec<Identity>, Fault> {
    let found = work.ask(
        "MATCH (:VersionSentinel {sentinel_id: $id})-[:HAS]->(n:Node) RETURN n.identity AS identity ORDER BY identity",
        values([("id", sentinel_id.into())]),
    )?;
    found.into_iter().map(|mut row| row.identity("identity")).collect()
}

pub(super) fn put<'a>(
    work: &Work<'_, '_>,
    new: &Sentinel,
    nodes: impl Iterator<Item = &'a Identity>,
) -> Result<(), Fault> {
    if one(work, &new.sentinel_id)?.is_some() {
        let why = format!("`{}` is there already, of another strategy", new.sentinel_id);
        return Err(GraphError::Invalid { what: "a sentinel's id", why }.into());
    }
    check_sum(work, new, 0.0, new.weight)?;
    let properties = map([
        ("sentinel_id", new.sentinel_id.as_str().into()),
        ("strategy_id", new.strategy_id.as_str().into()),
        ("version", new.version.as_str().into()),
        ("line", maybe(new.line.as_deref())),
        ("weight", new.weight.into()),
        ("created_at", new.created_at_ms.into()),
    ]);
    work.ask("CREATE (v:VersionSentinel) SET v = $properties", values([("properties", properties)]))?;
    let has = nodes
        .map(|identity| map([("sentinel", new.sentinel_id.as_str().into()), ("identity", hex(identity))]));
    work.each(
        "UNWIND $rows AS row MATCH (v:VersionSentinel {sentinel_id: row.sentinel})
         MATCH (n:Node {identity: row.identity}) CREATE (v)-[:HAS]->(n)",
        has.collect(),
    )?;
    Ok(())
}

/// Retired versions get no traffic, whatever their weight was.
fn check_sum(work: &Work<'_, '_>, of: &Sentinel, before: f64, weight: f64) -> Result<(), Fault> {
    let Some(line) = &of.line else { return Ok(()) };
    let found = work.ask(
        "MATCH (v:VersionSentinel {line: $line}) WHERE v.sentinel_id <> $id AND v.retired_at IS NULL
         RETURN 0.0 + sum(v.weight) AS others",
        values([("line", line.as_str().into()), ("id", of.sentinel_id.as_str().into())]),
    )?;
    let others = found.into_iter().next().map_or(Ok(0.0), |mut row| row.float("others"))?;
    Ok(limits::weight_sum(line, others, before, weight)?)
}

pub(super) fn set_weight(work: &Work<'_, '_>, version: &str, weight: f64) -> Result<Sentinel, Fault> {
    let found = work.ask(
        "MATCH (v:VersionSentinel) WHERE v.sentinel_id = $version OR v.version = $version
         RETURN v ORDER BY v.sentinel_id = $version DESC, v.created_at DESC, v.sentinel_id DESC LIMIT 1",
        values([("version", version.into())]),
    )?;
    let found = sentinels(found)?.pop();
    let found = found.ok_or_else(|| GraphError::UnknownVersion(version.chars().take(100).collect()))?;
    check_sum(work, &found, found.weight, weight)?;
    work.ask(
        "MATCH (v:VersionSentinel {sentinel_id: $id}) SET v.weight = $weight",
        values([("id", found.sentinel_id.as_str().into()), ("weight", weight.into())]),
    )?;
    Ok(Sentinel { weight, ..found })
}

pub(super) fn retired(work: &Work<'_, '_>, not_after_ms: i64, most: usize) -> Result<Vec<Sentinel>, Fault> {
    let found = work.ask(
        "MATCH (v:VersionSentinel) WHERE v.retired_at <= $since
         RETURN v ORDER BY v.retired_at, v.sentinel_id LIMIT $most",
        values([("since", not_after_ms.into()), ("most", count(most))]),
    )?;
    sentinels(found)
}

pub(super) fn remove(
    work: &Work<'_, '_>,
    sentinel_ids: &[&str],
    not_after_ms: i64,
) -> Result<Vec<String>, Fault> {
    let gone = work.ask(
        "UNWIND $ids AS id MATCH (v:VersionSentinel {sentinel_id: id}) WHERE v.retired_at <= $since
         WITH v, v.sentinel_id AS gone DETACH DELETE v RETURN DISTINCT gone",
        values([("ids", list(sentinel_ids.iter().copied())), ("since", not_after_ms.into())]),
    )?;
    gone.into_iter().map(|mut row| row.text("gone")).collect()
}
