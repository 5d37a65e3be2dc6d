//! Columns to values. What no program of ours wrote is an error, never a panic.

use rusqlite::Row as Columns;
use rusqlite::types::Type;

use crate::change::{Row, loaded};
use crate::words;
use crate::{Draft, Event, StoreError, Strategy};

/// What [`deciding`] reads.
pub(super) const DECIDING: &str = "seq, strategy_id, duplicate_key, state, token, attempt, worker, due_ms";

pub(super) fn deciding(row: &Columns<'_>) -> Result<Row, rusqlite::Error> {
    Ok(Row {
        seq: row.get(0)?,
        strategy_id: row.get(1)?,
        duplicate_key: row.get(2)?,
        state: known(3, words::state(&row.get::<_, String>(3)?))?,
        token: row.get(4)?,
        attempt: row.get(5)?,
        worker: row.get(6)?,
        due_ms: row.get(7)?,
    })
}

/// What [`strategy`] reads.
pub(super) const STRATEGY: &str = "strategy_id, seq, state, attempt, worker, error, run_type, worlds, sentinel_id, \
                                   submitted_by, submitted_ms, updated_ms";

pub(super) fn strategy(row: &Columns<'_>) -> Result<Strategy, rusqlite::Error> {
    Ok(Strategy {
        strategy_id: row.get(0)?,
        seq: loaded(row.get(1)?),
        state: known(2, words::state(&row.get::<_, String>(2)?))?,
        attempt: row.get(3)?,
        worker: row.get(4)?,
        error: row.get(5)?,
        run_type: known(6, words::run_type(row.get::<_, Option<String>>(6)?.as_deref()))?,
        worlds: known(7, words::worlds(&row.get::<_, String>(7)?))?,
        sentinel_id: row.get(8)?,
        submitted_by: row.get(9)?,
        submitted_ms: loaded(row.get(10)?),
        updated_ms: loaded(row.get(11)?),
    })
}

/// What [`draft`] reads.
pub(crate) const DRAFT: &str =
    "strategy_id, duplicate_key, dag, meta, run_type, worlds, sentinel_id, submitted_by, submitted_ms";

pub(crate) fn draft(row: &Columns<'_>) -> Result<Draft, rusqlite::Error> {
    Ok(Draft {
        strategy_id: row.get(0)?,
        duplicate_key: known(1, words::key(&row.get::<_, Vec<u8>>(1)?))?,
        dag: row.get(2)?,
        meta: row.get(3)?,
        run_type: known(4, words::run_type(row.get::<_, Option<String>>(4)?.as_deref()))?,
        worlds: known(5, words::worlds(&row.get::<_, String>(5)?))?,
        sentinel_id: row.get(6)?,
        submitted_by: row.get(7)?,
        at_ms: loaded(row.get(8)?),
    })
}

pub(super) fn event(row: &Columns<'_>) -> Result<Event, rusqlite::Error> {
    let from = row.get::<_, Option<String>>(2)?;
    Ok(Event {
        seq: loaded(row.get(0)?),
        strategy_id: row.get(1)?,
        from: from.map(|from| known(2, words::state(&from))).transpose()?,
        to: known(3, words::state(&row.get::<_, String>(3)?))?,
        detail: row.get(4)?,
        at_ms: loaded(row.get(5)?),
    })
}

fn known<T>(column: usize, found: Result<T, StoreError>) -> Result<T, rusqlite::Error> {
    found.map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}
