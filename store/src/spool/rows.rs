//! The spool's statements.

use rusqlite::{Connection, OptionalExtension as _, Transaction};

use crate::change::{loaded, stored};
use crate::embedded::rows;
use crate::{Admission, Draft, RunType, StoreError, limits, words};

pub(super) fn admit(work: &Transaction<'_>, draft: &Draft, ttl_ms: u64) -> Result<Admission, StoreError> {
    let place = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
    let known = work
        .prepare_cached("SELECT place FROM spooled WHERE strategy_id = ?1")?
        .query_row([&draft.strategy_id], place)
        .optional()?;
    if let Some(place) = known {
        return Ok(Admission::Spooled { place: loaded(place) });
    }
    let free_since = stored(draft.at_ms.saturating_sub(ttl_ms));
    let holder: Option<String> = work
        .prepare_cached(
            "SELECT strategy_id FROM spooled WHERE duplicate_key = ?1 AND submitted_ms > ?2 ORDER BY place LIMIT 1",
        )?
        .query_row((draft.duplicate_key, free_since), |row| row.get(0))
        .optional()?;
    if let Some(strategy_id) = holder {
        return Ok(Admission::Duplicate { strategy_id });
    }
    work.prepare_cached(
        "INSERT INTO spooled (strategy_id, duplicate_key, run_type, worlds, sentinel_id, submitted_by, submitted_ms, bytes,
             meta, dag)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?
    .execute((
        &draft.strategy_id,
        draft.duplicate_key,
        draft.run_type.map(RunType::name),
        words::worlds_text(&draft.worlds),
        &draft.sentinel_id,
        &draft.submitted_by,
        stored(draft.at_ms),
        limits::size(draft),
        &draft.meta,
        &draft.dag,
    ))?;
    Ok(Admission::Spooled { place: loaded(work.last_insert_rowid()) })
}

/// In order, and no more than one submission may carry.
pub(super) fn oldest(connection: &Connection, most: usize) -> Result<Vec<Draft>, StoreError> {
    let sql = format!("SELECT {} FROM spooled ORDER BY place LIMIT ?1", rows::DRAFT);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = Vec::new();
    let mut bytes = 0;
    for draft in statement.query_map([most], rows::draft)? {
        let draft = draft?;
        bytes += limits::size(&draft);
        if bytes > limits::MAX_BATCH_BYTES {
            break;
        }
        found.push(draft);
    }
    Ok(found)
}

pub(super) fn remove(work: &Transaction<'_>, strategy_id: &str) -> Result<(), StoreError> {
    work.prepare_cached("DELETE FROM spooled WHERE strategy_id = ?1")?.execute([strategy_id])?;
    Ok(())
}

/// How many there are, and their bytes.
pub(super) fn held(connection: &Connection) -> Result<(u64, u64), StoreError> {
    let mut statement = connection.prepare_cached("SELECT drafts, bytes FROM held")?;
    Ok(statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?)
}

pub(super) fn contains(connection: &Connection, strategy_id: &str) -> Result<bool, StoreError> {
    Ok(connection.prepare_cached("SELECT 1 FROM spooled WHERE strategy_id = ?1")?.exists([strategy_id])?)
}
