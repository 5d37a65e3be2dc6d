//! Columns to values. What no program of ours wrote is an error, never a panic.

use tokio_postgres::Row as Columns;

use super::pool::Fault;
use crate::change::{Row, loaded};
use crate::{Draft, Event, Strategy, words};

/// What [`deciding`] reads.
pub(super) const DECIDING: &str = "seq, strategy_id, duplicate_key, state, token, attempt, worker, due_ms";

pub(super) fn deciding(row: &Columns) -> Result<Row, Fault> {
    Ok(Row {
        seq: row.try_get(0)?,
        strategy_id: row.try_get(1)?,
        duplicate_key: row.try_get(2)?,
        state: words::state(row.try_get(3)?)?,
        token: row.try_get(4)?,
        attempt: count(row.try_get(5)?),
        worker: row.try_get(6)?,
        due_ms: row.try_get(7)?,
    })
}

/// What [`strategy`] reads.
pub(super) const STRATEGY: &str = "strategy_id, seq, state, attempt, worker, error, run_type, worlds, sentinel_id, \
                                   submitted_by, submitted_ms, updated_ms";

pub(super) fn strategy(row: &Columns) -> Result<Strategy, Fault> {
    Ok(Strategy {
        strategy_id: row.try_get(0)?,
        seq: loaded(row.try_get(1)?),
        state: words::state(row.try_get(2)?)?,
        attempt: count(row.try_get(3)?),
        worker: row.try_get(4)?,
        error: row.try_get(5)?,
        run_type: words::run_type(row.try_get(6)?)?,
        worlds: words::worlds(row.try_get(7)?)?,
        sentinel_id: row.try_get(8)?,
        submitted_by: row.try_get(9)?,
        submitted_ms: loaded(row.try_get(10)?),
        updated_ms: loaded(row.try_get(11)?),
    })
}

/// What [`draft`] reads.
pub(super) const DRAFT: &str =
    "strategy_id, duplicate_key, dag, meta, run_type, worlds, sentinel_id, submitted_by, submitted_ms";

pub(super) fn draft(row: &Columns) -> Result<Draft, Fault> {
    Ok(Draft {
        strategy_id: row.try_get(0)?,
        duplicate_key: words::key(row.try_get(1)?)?,
        dag: row.try_get(2)?,
        meta: row.try_get(3)?,
        run_type: words::run_type(row.try_get(4)?)?,
        worlds: words::worlds(row.try_get(5)?)?,
        sentinel_id: row.try_get(6)?,
        submitted_by: row.try_get(7)?,
        at_ms: loaded(row.try_get(8)?),
    })
}

pub(super) fn event(row: &Columns) -> Result<Event, Fault> {
    let from: Option<&str> = row.try_get(2)?;
    Ok(Event {
        seq: loaded(row.try_get(0)?),
        strategy_id: row.try_get(1)?,
        from: from.map(words::state).transpose()?,
        to: words::state(row.try_get(3)?)?,
        detail: row.try_get(4)?,
        at_ms: loaded(row.try_get(5)?),
    })
}

fn count(found: i32) -> u32 {
    u32::try_from(found).unwrap_or(0)
}
