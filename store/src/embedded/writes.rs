//! What is written, inside a transaction.

use rusqlite::{OptionalExtension as _, Transaction};

use crate::change::{Change, loaded, stored};
use crate::limits::PRUNED_AT_ONCE;
use crate::{
    Admission, Draft, Duplicates, OnDuplicate, Pruned, Retention, RunType, State, StoreError, words,
};

pub(super) fn admit(
    work: &Transaction<'_>,
    draft: &Draft,
    duplicates: Duplicates,
) -> Result<Admission, StoreError> {
    let known = work
        .prepare_cached("SELECT seq FROM strategies WHERE strategy_id = ?1")?
        .query_row([&draft.strategy_id], |row| row.get::<_, i64>(0))
        .optional()?;
    if let Some(seq) = known {
        return Ok(Admission::Accepted { seq: loaded(seq) });
    }
    let free_since = stored(draft.at_ms.saturating_sub(duplicates.ttl_ms));
    let holder: Option<String> = work
        .prepare_cached(
            "SELECT strategy_id FROM duplicate_keys WHERE duplicate_key = ?1 AND held_since_ms > ?2",
        )?
        .query_row((draft.duplicate_key, free_since), |row| row.get(0))
        .optional()?;
    match (holder, duplicates.then) {
        (None, _) => {
            work.prepare_cached("INSERT OR REPLACE INTO duplicate_keys VALUES (?1, ?2, ?3)")?.execute((
                draft.duplicate_key,
                &draft.strategy_id,
                stored(draft.at_ms),
            ))?;
            Ok(Admission::Accepted { seq: loaded(insert(work, draft, None)?) })
        }
        (Some(strategy_id), OnDuplicate::Refuse) => Ok(Admission::Duplicate { strategy_id }),
        (Some(strategy_id), OnDuplicate::KeepAsFailed) => {
            insert(work, draft, Some(&format!("duplicate of {strategy_id}")))?;
            Ok(Admission::Duplicate { strategy_id })
        }
    }
}

/// A new row after its event; `failed`: it is over at once, and why.
fn insert(work: &Transaction<'_>, draft: &Draft, failed: Option<&str>) -> Result<i64, StoreError> {
    let at_ms = stored(draft.at_ms);
    event(work, &draft.strategy_id, None, State::Submitted, "{}", at_ms)?;
    if let Some(why) = failed {
        let detail = serde_json::json!({ "error": why }).to_string();
        event(work, &draft.strategy_id, Some(State::Submitted), State::Failed, &detail, at_ms)?;
    }
    let state = if failed.is_some() { State::Failed } else { State::Submitted };
    work.prepare_cached(
        "INSERT INTO strategies (strategy_id, duplicate_key, state, due_ms, run_type, worlds, sentinel_id, submitted_by,
             submitted_ms, updated_ms, ended_ms, error, meta, dag)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9, ?10, ?11, ?12, ?13)",
    )?
    .execute((
        &draft.strategy_id,
        draft.duplicate_key,
        state.name(),
        failed.is_none().then_some(0_i64),
        draft.run_type.map(RunType::name),
        words::worlds_text(&draft.worlds),
        &draft.sentinel_id,
        &draft.submitted_by,
        at_ms,
        failed.map(|_| at_ms),
        failed,
        &draft.meta,
        &draft.dag,
    ))?;
    Ok(work.last_insert_rowid())
}

fn event(
    work: &Transaction<'_>,
    strategy_id: &str,
    from: Option<State>,
    to: State,
    detail: &str,
    at_ms: i64,
) -> Result<(), StoreError> {
    work.prepare_cached(
        "INSERT INTO events (strategy_id, from_state, to_state, detail, at_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute((strategy_id, from.map(State::name), to.name(), detail, at_ms))?;
    Ok(())
}

pub(super) fn next_token(work: &Transaction<'_>) -> Result<i64, StoreError> {
    let mut next = work.prepare_cached("UPDATE tokens SET newest = newest + 1 RETURNING newest")?;
    Ok(next.query_row([], |row| row.get(0))?)
}

pub(super) fn apply(work: &Transaction<'_>, change: &Change) -> Result<(), StoreError> {
    let row = &change.row;
    for step in &change.events {
        event(work, &row.strategy_id, Some(step.from), step.to, &step.detail, change.now_ms)?;
    }
    work.prepare_cached(
        "UPDATE strategies SET state = ?2, token = ?3, attempt = ?4, worker = ?5, due_ms = ?6, ended_ms = ?7,
             updated_ms = ?8, error = coalesce(?9, error), plan = coalesce(?10, plan) WHERE seq = ?1",
    )?
    .execute((
        row.seq,
        row.state.name(),
        row.token,
        row.attempt,
        &row.worker,
        row.due_ms,
        change.ended_ms(),
        change.now_ms,
        &change.error,
        &change.plan,
    ))?;
    if row.state.frees_duplicate_key() {
        work.prepare_cached("DELETE FROM duplicate_keys WHERE duplicate_key = ?1 AND strategy_id = ?2")?
            .execute((&row.duplicate_key, &row.strategy_id))?;
    }
    Ok(())
}

pub(super) fn prune(
    work: &Transaction<'_>,
    retention: &Retention,
    now_ms: u64,
) -> Result<Pruned, StoreError> {
    let before = |kept_ms: u64| stored(now_ms.saturating_sub(kept_ms));
    // The newest ended strategy that is one too many.
    let beyond: Option<(i64, i64)> = work
        .prepare_cached(
            "SELECT ended_ms, seq FROM strategies WHERE ended_ms IS NOT NULL ORDER BY ended_ms DESC, seq DESC
             LIMIT 1 OFFSET ?1",
        )?
        .query_row([stored(retention.ended_count)], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (beyond_ms, beyond_seq) = beyond.unwrap_or((-1, -1));
    let strategies = work
        .prepare_cached(
            "DELETE FROM strategies WHERE seq IN (SELECT seq FROM strategies WHERE ended_ms IS NOT NULL
                 AND (ended_ms < ?1 OR (ended_ms, seq) <= (?2, ?3)) ORDER BY ended_ms, seq LIMIT ?4)",
        )?
        .execute((before(retention.ended_ms), beyond_ms, beyond_seq, PRUNED_AT_ONCE))?;
    let newest: i64 = work.query_row("SELECT coalesce(max(seq), 0) FROM events", [], |row| row.get(0))?;
    // Only the oldest are looked at: a short walk, however many there are.
    let events = work
        .prepare_cached(
            "DELETE FROM events WHERE seq IN (SELECT seq FROM (SELECT seq, at_ms FROM events ORDER BY seq LIMIT ?3)
                 WHERE at_ms < ?1 OR seq <= ?2)",
        )?
        .execute((
            before(retention.events_ms),
            newest.saturating_sub(stored(retention.events_count)),
            PRUNED_AT_ONCE,
        ))?;
    let keys = work
        .prepare_cached(
            "DELETE FROM duplicate_keys WHERE duplicate_key IN (SELECT duplicate_key FROM duplicate_keys
                 WHERE held_since_ms <= ?1 ORDER BY held_since_ms LIMIT ?2)",
        )?
        .execute((before(retention.duplicate_ttl_ms), PRUNED_AT_ONCE))?;
    let count = |removed: usize| removed as u64;
    Ok(Pruned { strategies: count(strategies), events: count(events), keys: count(keys) })
}
