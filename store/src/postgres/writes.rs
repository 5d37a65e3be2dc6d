//! What is written, inside a transaction: whole batches in few statements, because each costs a way to the server.

use std::collections::HashMap;

use deadpool_postgres::Transaction;

use super::pool::Fault;
use crate::change::{Change, loaded, stored};
use crate::limits::PRUNED_AT_ONCE;
use crate::{
    Admission, Draft, Duplicates, OnDuplicate, Pruned, Retention, RunType, State, StoreError, words,
};

/// The lock of the log. Any number that nobody else uses.
const LOG_LOCK: &str = "SELECT pg_advisory_xact_lock(7217412980001)";

/// One event to write.
struct NewEvent<'a> {
    strategy_id: &'a str,
    from: Option<State>,
    to: State,
    detail: String,
    at_ms: i64,
}

/// A draft to write, and why it is over at once, if it is.
type NewRow<'a> = (&'a Draft, Option<String>);

pub(super) async fn admit(
    work: &Transaction<'_>,
    drafts: &[Draft],
    duplicates: Duplicates,
) -> Result<Vec<Admission>, Fault> {
    work.batch_execute(LOG_LOCK).await?;
    let mut seqs = known(work, drafts).await?;
    let mut holders = holders(work, drafts).await?;
    let mut new: Vec<NewRow<'_>> = Vec::new();
    let mut first: HashMap<&str, usize> = HashMap::new();
    // Who stands in the way of a draft.
    let mut ahead: Vec<Option<String>> = Vec::new();
    for draft in drafts {
        let again = seqs.contains_key(&draft.strategy_id) || first.contains_key(draft.strategy_id.as_str());
        let free_since = stored(draft.at_ms.saturating_sub(duplicates.ttl_ms));
        let holder = holders.get(&draft.duplicate_key).filter(|(_, since)| *since > free_since);
        let holder = holder.map(|(id, _)| id.clone()).filter(|_| !again);
        match &holder {
            _ if again => {}
            None => {
                holders.insert(draft.duplicate_key, (draft.strategy_id.clone(), stored(draft.at_ms)));
                first.insert(&draft.strategy_id, new.len());
                new.push((draft, None));
            }
            Some(holder) if duplicates.then == OnDuplicate::KeepAsFailed => {
                first.insert(&draft.strategy_id, new.len());
                new.push((draft, Some(format!("duplicate of {holder}"))));
            }
            Some(_) => {}
        }
        ahead.push(holder);
    }
    write_new(work, &new, &mut seqs).await?;
    let admission = |(draft, holder): (&Draft, Option<String>)| match holder {
        Some(strategy_id) => Ok(Admission::Duplicate { strategy_id }),
        None => {
            let seq = seqs.get(&draft.strategy_id).copied().map(loaded);
            let lost = || StoreError::Unknown(draft.strategy_id.clone());
            Ok(Admission::Accepted { seq: seq.ok_or_else(lost)? })
        }
    };
    drafts.iter().zip(ahead).map(admission).collect()
}

/// The numbers of those that are there already.
async fn known(work: &Transaction<'_>, drafts: &[Draft]) -> Result<HashMap<String, i64>, Fault> {
    let ids: Vec<&str> = drafts.iter().map(|draft| draft.strategy_id.as_str()).collect();
    let sql = "SELECT strategy_id, seq FROM ringfence.strategies WHERE strategy_id = ANY($1)";
    let statement = work.prepare_cached(sql).await?;
    let rows = work.query(&statement, &[&ids]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// Who holds the drafts' keys, and since when.
async fn holders(
    work: &Transaction<'_>,
    drafts: &[Draft],
) -> Result<HashMap<[u8; 32], (String, i64)>, Fault> {
    let keys: Vec<&[u8]> = drafts.iter().map(|draft| draft.duplicate_key.as_slice()).collect();
    let sql = "SELECT duplicate_key, strategy_id, held_since_ms FROM ringfence.duplicate_keys
               WHERE duplicate_key = ANY($1)";
    let statement = work.prepare_cached(sql).await?;
    let rows = work.query(&statement, &[&keys]).await?;
    rows.iter().map(|row| Ok((words::key(row.try_get(0)?)?, (row.try_get(1)?, row.try_get(2)?)))).collect()
}

/// Events first, then keys and rows.
async fn write_new(
    work: &Transaction<'_>,
    new: &[NewRow<'_>],
    seqs: &mut HashMap<String, i64>,
) -> Result<(), Fault> {
    if new.is_empty() {
        return Ok(());
    }
    let mut moves = Vec::new();
    for (draft, failed) in new {
        let (strategy_id, at_ms) = (draft.strategy_id.as_str(), stored(draft.at_ms));
        let submitted = State::Submitted;
        moves.push(NewEvent { strategy_id, from: None, to: submitted, detail: "{}".to_owned(), at_ms });
        if let Some(why) = failed {
            let detail = serde_json::json!({ "error": why }).to_string();
            moves.push(NewEvent { strategy_id, from: Some(submitted), to: State::Failed, detail, at_ms });
        }
    }
    events(work, &moves).await?;
    // Of several drafts with one key, only the last that was taken holds it: a statement writes a row once.
    let held: HashMap<&[u8], &Draft> = new
        .iter()
        .filter(|(_, failed)| failed.is_none())
        .map(|(draft, _)| (draft.duplicate_key.as_slice(), *draft))
        .collect();
    let keys: Vec<&[u8]> = held.keys().copied().collect();
    let holders: Vec<&str> = held.values().map(|draft| draft.strategy_id.as_str()).collect();
    let since: Vec<i64> = held.values().map(|draft| stored(draft.at_ms)).collect();
    let statement = work
        .prepare_cached(
            "INSERT INTO ringfence.duplicate_keys SELECT * FROM unnest($1::bytea[], $2::text[], $3::bigint[])
             ON CONFLICT (duplicate_key) DO UPDATE
                 SET strategy_id = excluded.strategy_id, held_since_ms = excluded.held_since_ms",
        )
        .await?;
    work.execute(&statement, &[&keys, &holders, &since]).await?;
    rows(work, new, seqs).await
}

async fn rows(
    work: &Transaction<'_>,
    new: &[NewRow<'_>],
    seqs: &mut HashMap<String, i64>,
) -> Result<(), Fault> {
    let state = |failed: &Option<String>| if failed.is_some() { State::Failed } else { State::Submitted };
    let ids: Vec<&str> = new.iter().map(|(draft, _)| draft.strategy_id.as_str()).collect();
    let keys: Vec<&[u8]> = new.iter().map(|(draft, _)| draft.duplicate_key.as_slice()).collect();
    let states: Vec<&str> = new.iter().map(|(_, failed)| state(failed).name()).collect();
    let due: Vec<Option<i64>> = new.iter().map(|(_, failed)| failed.is_none().then_some(0)).collect();
    let runs: Vec<Option<&str>> = new.iter().map(|(draft, _)| draft.run_type.map(RunType::name)).collect();
    let worlds: Vec<String> = new.iter().map(|(draft, _)| words::worlds_text(&draft.worlds)).collect();
    let sentinels: Vec<Option<&str>> = new.iter().map(|(draft, _)| draft.sentinel_id.as_deref()).collect();
    let users: Vec<&str> = new.iter().map(|(draft, _)| draft.submitted_by.as_str()).collect();
    let times: Vec<i64> = new.iter().map(|(draft, _)| stored(draft.at_ms)).collect();
    let errors: Vec<Option<&str>> = new.iter().map(|(_, failed)| failed.as_deref()).collect();
    let metas: Vec<&str> = new.iter().map(|(draft, _)| draft.meta.as_str()).collect();
    let dags: Vec<&str> = new.iter().map(|(draft, _)| draft.dag.as_str()).collect();
    let statement = work
        .prepare_cached(
            "INSERT INTO ringfence.strategies (strategy_id, duplicate_key, state, due_ms, run_type, worlds, sentinel_id,
                 submitted_by, submitted_ms, updated_ms, ended_ms, error, meta, dag)
             SELECT id, key, state, due, run, worlds, sentinel, who, at, at,
                 CASE WHEN error IS NOT NULL THEN at END, error, meta, dag
             FROM unnest($1::text[], $2::bytea[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::text[],
                 $8::text[], $9::bigint[], $10::text[], $11::text[], $12::text[]) WITH ORDINALITY
                 AS new (id, key, state, due, run, worlds, sentinel, who, at, error, meta, dag, place)
             ORDER BY place RETURNING strategy_id, seq",
        )
        .await?;
    let found = work
        .query(
            &statement,
            &[&ids, &keys, &states, &due, &runs, &worlds, &sentinels, &users, &times, &errors, &metas, &dags],
        )
        .await?;
    for row in found {
        seqs.insert(row.try_get(0)?, row.try_get(1)?);
    }
    Ok(())
}

async fn events(work: &Transaction<'_>, new: &[NewEvent<'_>]) -> Result<(), Fault> {
    let ids: Vec<&str> = new.iter().map(|event| event.strategy_id).collect();
    let from: Vec<Option<&str>> = new.iter().map(|event| event.from.map(State::name)).collect();
    let to: Vec<&str> = new.iter().map(|event| event.to.name()).collect();
    let details: Vec<&str> = new.iter().map(|event| event.detail.as_str()).collect();
    let times: Vec<i64> = new.iter().map(|event| event.at_ms).collect();
    let statement = work
        .prepare_cached(
            "INSERT INTO ringfence.events (strategy_id, from_state, to_state, detail, at_ms)
             SELECT id, from_state, to_state, detail, at
             FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[]) WITH ORDINALITY
                 AS new (id, from_state, to_state, detail, at, place)
             ORDER BY place",
        )
        .await?;
    work.execute(&statement, &[&ids, &from, &to, &details, &times]).await?;
    Ok(())
}

pub(super) async fn next_tokens(work: &Transaction<'_>, count: usize) -> Result<Vec<i64>, Fault> {
    let sql = "SELECT nextval('ringfence.tokens') FROM generate_series(1, $1::bigint)";
    let statement = work.prepare_cached(sql).await?;
    let rows = work.query(&statement, &[&stored(count as u64)]).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// The rows are locked.
pub(super) async fn apply(work: &Transaction<'_>, changes: &[Change]) -> Result<(), Fault> {
    let mut moves = Vec::new();
    for change in changes {
        moves.extend(change.events.iter().map(|step| NewEvent {
            strategy_id: &change.row.strategy_id,
            from: Some(step.from),
            to: step.to,
            detail: step.detail.clone(),
            at_ms: change.now_ms,
        }));
    }
    if !moves.is_empty() {
        work.batch_execute(LOG_LOCK).await?;
        events(work, &moves).await?;
    }
    let rows: Vec<_> = changes.iter().map(|change| &change.row).collect();
    let seqs: Vec<i64> = rows.iter().map(|row| row.seq).collect();
    let states: Vec<&str> = rows.iter().map(|row| row.state.name()).collect();
    let tokens: Vec<i64> = rows.iter().map(|row| row.token).collect();
    let attempts: Vec<i32> = rows.iter().map(|row| i32::try_from(row.attempt).unwrap_or(i32::MAX)).collect();
    let workers: Vec<Option<&str>> = rows.iter().map(|row| row.worker.as_deref()).collect();
    let due: Vec<Option<i64>> = rows.iter().map(|row| row.due_ms).collect();
    let ended: Vec<Option<i64>> = changes.iter().map(Change::ended_ms).collect();
    let now: Vec<i64> = changes.iter().map(|change| change.now_ms).collect();
    let errors: Vec<Option<&str>> = changes.iter().map(|change| change.error.as_deref()).collect();
    let plans: Vec<Option<&str>> = changes.iter().map(|change| change.plan.as_deref()).collect();
    let statement = work
        .prepare_cached(
            "UPDATE ringfence.strategies AS old SET state = new.state, token = new.token, attempt = new.attempt,
                 worker = new.worker, due_ms = new.due, ended_ms = new.ended, updated_ms = new.now,
                 error = coalesce(new.error, old.error), plan = coalesce(new.plan, old.plan)
             FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::integer[], $5::text[], $6::bigint[],
                 $7::bigint[], $8::bigint[], $9::text[], $10::text[])
                 AS new (seq, state, token, attempt, worker, due, ended, now, error, plan)
             WHERE old.seq = new.seq",
        )
        .await?;
    work.execute(
        &statement,
        &[&seqs, &states, &tokens, &attempts, &workers, &due, &ended, &now, &errors, &plans],
    )
    .await?;
    for row in rows.into_iter().filter(|row| row.state.frees_duplicate_key()) {
        let sql = "DELETE FROM ringfence.duplicate_keys WHERE duplicate_key = $1 AND strategy_id = $2";
        let statement = work.prepare_cached(sql).await?;
        work.execute(&statement, &[&row.duplicate_key, &row.strategy_id]).await?;
    }
    Ok(())
}

pub(super) async fn prune(
    work: &Transaction<'_>,
    retention: &Retention,
    now_ms: u64,
) -> Result<Pruned, Fault> {
    let before = |kept_ms: u64| stored(now_ms.saturating_sub(kept_ms));
    let most = stored(PRUNED_AT_ONCE as u64);
    // Keys change under this lock alone; rows that somebody holds are left for the next time.
    work.batch_execute(LOG_LOCK).await?;
    // The newest ended strategy that is one too many.
    let statement = work
        .prepare_cached(
            "SELECT ended_ms, seq FROM ringfence.strategies WHERE ended_ms IS NOT NULL
             ORDER BY ended_ms DESC, seq DESC LIMIT 1 OFFSET $1",
        )
        .await?;
    let beyond = work.query_opt(&statement, &[&stored(retention.ended_count)]).await?;
    let (beyond_ms, beyond_seq): (i64, i64) = match beyond {
        Some(row) => (row.try_get(0)?, row.try_get(1)?),
        None => (-1, -1),
    };
    let statement = work
        .prepare_cached(
            "DELETE FROM ringfence.strategies WHERE seq IN (SELECT seq FROM ringfence.strategies
                 WHERE ended_ms IS NOT NULL AND (ended_ms < $1 OR (ended_ms, seq) <= ($2, $3))
                 ORDER BY ended_ms, seq LIMIT $4 FOR UPDATE SKIP LOCKED)",
        )
        .await?;
    let strategies =
        work.execute(&statement, &[&before(retention.ended_ms), &beyond_ms, &beyond_seq, &most]).await?;
    let newest = work.query_one("SELECT coalesce(max(seq), 0) FROM ringfence.events", &[]).await?;
    let newest: i64 = newest.try_get(0)?;
    // Only the oldest are looked at: a short walk, however many there are.
    let statement = work
        .prepare_cached(
            "DELETE FROM ringfence.events WHERE seq IN (SELECT seq FROM
                 (SELECT seq, at_ms FROM ringfence.events ORDER BY seq LIMIT $3) AS oldest
                 WHERE at_ms < $1 OR seq <= $2)",
        )
        .await?;
    let beyond = newest.saturating_sub(stored(retention.events_count));
    let events = work.execute(&statement, &[&before(retention.events_ms), &beyond, &most]).await?;
    let statement = work
        .prepare_cached(
            "DELETE FROM ringfence.duplicate_keys WHERE duplicate_key IN (SELECT duplicate_key
                 FROM ringfence.duplicate_keys WHERE held_since_ms <= $1 ORDER BY held_since_ms LIMIT $2)",
        )
        .await?;
    let keys = work.execute(&statement, &[&before(retention.duplicate_ttl_ms), &most]).await?;
    Ok(Pruned { strategies, events, keys })
}
