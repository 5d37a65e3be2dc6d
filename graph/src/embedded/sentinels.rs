//! Versions and their weights.

use rusqlite::{Connection, Row, Transaction};

use super::lists::{identity, rows};
use crate::{GraphError, Identity, Sentinel, limits};

const SENTINEL: &str = "sentinel_id, strategy_id, version, line, weight, created_at_ms, retired_at_ms";

fn sentinel(row: &Row<'_>) -> Result<Sentinel, GraphError> {
    Ok(Sentinel {
        sentinel_id: row.get(0)?,
        strategy_id: row.get(1)?,
        version: row.get(2)?,
        line: row.get(3)?,
        weight: row.get(4)?,
        created_at_ms: row.get(5)?,
        retired_at_ms: row.get(6)?,
    })
}

pub(super) fn one(view: &Connection, sentinel_id: &str) -> Result<Option<Sentinel>, GraphError> {
    let sql = format!("SELECT {SENTINEL} FROM sentinels WHERE sentinel_id = ?1");
    Ok(rows(view, &sql, &[&sentinel_id], sentinel)?.pop())
}

pub(super) fn all(view: &Connection, after: Option<&str>, most: usize) -> Result<Vec<Sentinel>, GraphError> {
    let sql =
        format!("SELECT {SENTINEL} FROM sentinels WHERE sentinel_id > ?1 ORDER BY sentinel_id LIMIT ?2");
    rows(view, &sql, &[&after.unwrap_or_default(), &most], sentinel)
}

pub(super) fn nodes(view: &Connection, sentinel_id: &str) -> Result<Vec<Identity>, GraphError> {
    let sql = "SELECT identity FROM sentinels JOIN sentinel_nodes USING (sentinel) JOIN nodes USING (node)
        WHERE sentinel_id = ?1 ORDER BY identity";
    rows(view, sql, &[&sentinel_id], |row| identity(row, 0))
}

/// A sentinel that is there already stays as it is: only its own strategy can have brought it.
pub(super) fn put<'a>(
    work: &Transaction<'_>,
    new: &Sentinel,
    nodes: impl Iterator<Item = &'a i64>,
) -> Result<(), GraphError> {
    if one(work, &new.sentinel_id)?.is_some() {
        let why = format!("`{}` is there already, of another strategy", new.sentinel_id);
        return Err(GraphError::Invalid { what: "a sentinel's id", why });
    }
    check_sum(work, new, 0.0, new.weight)?;
    work.prepare_cached(
        "INSERT INTO sentinels (sentinel_id, strategy_id, version, line, weight, created_at_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute((
        &new.sentinel_id,
        &new.strategy_id,
        &new.version,
        &new.line,
        new.weight,
        new.created_at_ms,
    ))?;
    let number = work.last_insert_rowid();
    let mut has = work.prepare_cached("INSERT INTO sentinel_nodes VALUES (?1, ?2)")?;
    for node in nodes {
        has.execute((number, node))?;
    }
    Ok(())
}

/// Retired versions get no traffic, whatever their weight was.
fn check_sum(work: &Transaction<'_>, of: &Sentinel, before: f64, weight: f64) -> Result<(), GraphError> {
    let Some(line) = &of.line else { return Ok(()) };
    let others: f64 = work
        .prepare_cached(
            "SELECT total(weight) FROM sentinels WHERE line = ?1 AND sentinel_id <> ?2 AND retired_at_ms IS NULL",
        )?
        .query_row((line, &of.sentinel_id), |row| row.get(0))?;
    limits::weight_sum(line, others, before, weight)
}

pub(super) fn set_weight(work: &Transaction<'_>, version: &str, weight: f64) -> Result<Sentinel, GraphError> {
    let sql = format!(
        "SELECT {SENTINEL} FROM sentinels WHERE sentinel_id = ?1 OR version = ?1
         ORDER BY sentinel_id = ?1 DESC, created_at_ms DESC, sentinel_id DESC LIMIT 1"
    );
    let found = rows(work, &sql, &[&version], sentinel)?.pop();
    let found = found.ok_or_else(|| GraphError::UnknownVersion(version.chars().take(100).collect()))?;
    check_sum(work, &found, found.weight, weight)?;
    work.prepare_cached("UPDATE sentinels SET weight = ?2 WHERE sentinel_id = ?1")?
        .execute((&found.sentinel_id, weight))?;
    Ok(Sentinel { weight, ..found })
}

pub(super) fn retired(
    view: &Connection,
    not_after_ms: i64,
    most: usize,
) -> Result<Vec<Sentinel>, GraphError> {
    let sql = format!(
        "SELECT {SENTINEL} FROM sentinels WHERE retired_at_ms <= ?1 ORDER BY retired_at_ms, sentinel_id LIMIT ?2"
    );
    rows(view, &sql, &[&not_after_ms, &most], sentinel)
}

pub(super) fn remove(
    work: &Transaction<'_>,
    sentinel_ids: &[&str],
    not_after_ms: i64,
) -> Result<Vec<String>, GraphError> {
    let mut gone = Vec::new();
    for sentinel_id in sentinel_ids {
        let sql =
            "DELETE FROM sentinels WHERE sentinel_id = ?1 AND retired_at_ms <= ?2 RETURNING sentinel_id";
        gone.extend(rows(work, sql, &[sentinel_id, &not_after_ms], |row| Ok(row.get(0)?))?);
    }
    Ok(gone)
}
