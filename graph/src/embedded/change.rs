//! Applying and releasing a strategy.

use std::collections::HashMap;

use rusqlite::{ErrorCode, OptionalExtension as _, Transaction};

use super::lists::{identity, rows};
use super::sentinels;
use crate::{Applied, Change, GraphError, Identity, NodeRow, Placed, QueueChange, RELEASED_KEPT_MS, to_hex};

/// Marks of released strategies that one release forgets at most.
const FORGOTTEN_BESIDE: i64 = 64;

struct Before {
    strategy: i64,
    applied: bool,
    released: bool,
}

fn before(work: &Transaction<'_>, strategy_id: &str) -> Result<Option<Before>, rusqlite::Error> {
    work.prepare_cached(
        "SELECT strategy, applied_at_ms IS NOT NULL, released_at_ms IS NOT NULL FROM strategies WHERE strategy_id = ?1",
    )?
    .query_row([strategy_id], |row| {
        Ok(Before { strategy: row.get(0)?, applied: row.get(1)?, released: row.get(2)? })
    })
    .optional()
}

pub(super) fn apply(work: &Transaction<'_>, change: &Change<'_>) -> Result<Applied, GraphError> {
    let placed = each_once(change.nodes);
    if let Some(before) = before(work, change.strategy_id)? {
        return if before.released {
            Err(GraphError::Released(change.strategy_id.to_owned()))
        } else {
            again(work, change.strategy_id, before.strategy, &placed)
        };
    }
    work.prepare_cached("INSERT INTO strategies (strategy_id, applied_at_ms) VALUES (?1, ?2)")?
        .execute((change.strategy_id, change.now_ms))?;
    let strategy = work.last_insert_rowid();
    let mut numbers = HashMap::with_capacity(placed.len());
    let (mut created, mut without_inputs) = (Vec::new(), Vec::new());
    for (position, placed) in placed.iter().enumerate() {
        let (node, state) = put(work, &placed.node, change.now_ms)?;
        numbers.insert(&placed.node.identity, node);
        if state == State::Created {
            created.push(placed.node.identity);
        }
        if state != State::Used {
            without_inputs.push(*placed);
        }
        work.prepare_cached("INSERT INTO uses VALUES (?1, ?2, ?3, ?4)")?.execute((
            strategy,
            position,
            node,
            state == State::Created,
        ))?;
    }
    let mut link = work.prepare_cached("INSERT OR IGNORE INTO inputs VALUES (?1, ?2, ?3)")?;
    for placed in without_inputs {
        for (position, input) in placed.inputs.iter().enumerate() {
            link.execute((numbers[&placed.node.identity], position, numbers[input]))?;
        }
    }
    if let Some(sentinel) = change.sentinel {
        sentinels::put(work, sentinel, numbers.values())?;
    }
    Ok(Applied { created })
}

fn each_once(nodes: &[Placed]) -> Vec<&Placed> {
    let mut seen = std::collections::HashSet::with_capacity(nodes.len());
    nodes.iter().filter(|placed| seen.insert(placed.node.identity)).collect()
}

/// The answer of the first time.
fn again(
    work: &Transaction<'_>,
    strategy_id: &str,
    strategy: i64,
    placed: &[&Placed],
) -> Result<Applied, GraphError> {
    let sql =
        "SELECT identity, created FROM uses JOIN nodes USING (node) WHERE strategy = ?1 ORDER BY position";
    let uses: Vec<(Identity, bool)> =
        rows(work, sql, &[&strategy], |row| Ok((identity(row, 0)?, row.get(1)?)))?;
    if !uses.iter().map(|(identity, _)| identity).eq(placed.iter().map(|placed| &placed.node.identity)) {
        return Err(GraphError::Conflict(strategy_id.to_owned()));
    }
    let created = uses.into_iter().filter_map(|(identity, created)| created.then_some(identity)).collect();
    Ok(Applied { created })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Created,
    /// It was an orphan, so what it reads may have gone meanwhile.
    Adopted,
    Used,
}

fn put(work: &Transaction<'_>, node: &NodeRow, now_ms: i64) -> Result<(i64, State), GraphError> {
    let found: Option<(i64, bool)> = work
        .prepare_cached("SELECT node, orphaned_at_ms IS NOT NULL FROM nodes WHERE identity = ?1")?
        .query_row([to_hex(&node.identity)], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    match found {
        Some((number, false)) => Ok((number, State::Used)),
        Some((number, true)) => {
            work.prepare_cached("UPDATE nodes SET orphaned_at_ms = NULL WHERE node = ?1")?
                .execute([number])?;
            Ok((number, State::Adopted))
        }
        None => Ok((create(work, node, now_ms)?, State::Created)),
    }
}

fn create(work: &Transaction<'_>, node: &NodeRow, now_ms: i64) -> Result<i64, GraphError> {
    let tags = tags_text(&node.tags);
    let inserted = work
        .prepare_cached(
            "INSERT INTO nodes (identity, family, node_id, node_type, name, class, code_hash, config_hash, schema_hash,
                 schema_compat_id, interval_s, period, tags, domain, created_at_ms, topic, partitions, replicas,
                 retention_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)",
        )?
        .execute(rusqlite::params![
            to_hex(&node.identity),
            node.family.as_ref().map(to_hex),
            node.node_id,
            node.node_type,
            node.name,
            node.class,
            node.code_hash,
            node.config_hash,
            node.schema_hash,
            node.schema_compat_id,
            node.interval_s,
            node.period,
            tags,
            node.domain,
            node.created_at_ms,
            node.queue.topic,
            node.queue.partitions,
            node.queue.replicas,
            node.queue.retention_ms,
        ]);
    match inserted {
        // The identity was looked for: only the topic is left.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
            return Err(GraphError::TopicTaken(node.queue.topic.clone()));
        }
        other => other?,
    };
    let number = work.last_insert_rowid();
    let mut tag = work.prepare_cached("INSERT OR IGNORE INTO tags VALUES (?1, ?2)")?;
    for of in &node.tags {
        tag.execute((of, number))?;
    }
    work.prepare_cached(
        "INSERT INTO outbox (at_ms, change, identity, node_id, topic, tags, interval_s, domain)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute((
        now_ms,
        QueueChange::Created.name(),
        to_hex(&node.identity),
        &node.node_id,
        &node.queue.topic,
        tags,
        node.interval_s,
        &node.domain,
    ))?;
    Ok(number)
}

/// Strings always can be written as JSON.
fn tags_text(tags: &[String]) -> String {
    serde_json::to_string(tags).unwrap_or_default()
}

pub(super) fn release(
    work: &Transaction<'_>,
    strategy_id: &str,
    now_ms: i64,
) -> Result<Vec<Identity>, GraphError> {
    forget(work, now_ms)?;
    let before = before(work, strategy_id)?;
    if before.as_ref().is_some_and(|before| before.released) {
        return Ok(Vec::new());
    }
    work.prepare_cached(
        "INSERT INTO strategies (strategy_id, released_at_ms) VALUES (?1, ?2)
         ON CONFLICT (strategy_id) DO UPDATE SET released_at_ms = ?2",
    )?
    .execute((strategy_id, now_ms))?;
    let Some(Before { strategy, applied: true, .. }) = before else { return Ok(Vec::new()) };
    let used: Vec<i64> =
        rows(work, "SELECT node FROM uses WHERE strategy = ?1 ORDER BY position", &[&strategy], |row| {
            Ok(row.get(0)?)
        })?;
    work.prepare_cached("DELETE FROM uses WHERE strategy = ?1")?.execute([strategy])?;
    work.prepare_cached("UPDATE sentinels SET retired_at_ms = ?2 WHERE strategy_id = ?1")?
        .execute((strategy_id, now_ms))?;
    work.prepare_cached("UPDATE nodes SET lease_until_ms = min(lease_until_ms, ?2) WHERE lease_holder = ?1")?
        .execute((strategy_id, now_ms))?;
    let mut orphan = work.prepare_cached(
        "UPDATE nodes SET orphaned_at_ms = ?2 WHERE node = ?1 AND NOT EXISTS (SELECT 1 FROM uses WHERE node = ?1)
         RETURNING identity",
    )?;
    let mut orphans = Vec::new();
    for node in used {
        let mut rows = orphan.query((node, now_ms))?;
        while let Some(row) = rows.next()? {
            orphans.push(identity(row, 0)?);
        }
    }
    Ok(orphans)
}

/// Marks of strategies released long ago: whoever would still apply them has given up.
fn forget(work: &Transaction<'_>, now_ms: i64) -> Result<(), rusqlite::Error> {
    work.prepare_cached(
        "DELETE FROM strategies WHERE strategy IN (
             SELECT strategy FROM strategies WHERE released_at_ms < ?1 ORDER BY released_at_ms LIMIT ?2
         )",
    )?
    .execute((now_ms.saturating_sub(RELEASED_KEPT_MS), FORGOTTEN_BESIDE))?;
    Ok(())
}
