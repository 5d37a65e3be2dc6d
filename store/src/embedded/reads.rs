//! What is read, on any connection.

use rusqlite::{Connection, OptionalExtension as _, Params, Row as Columns};

use super::rows;
use crate::change::{Row, loaded};
use crate::{Claim, Depth, Draft, Event, Filter, Hold, State, StoreError, Strategy, words};

pub(super) fn row(connection: &Connection, strategy_id: &str) -> Result<Option<Row>, StoreError> {
    let sql = format!("SELECT {} FROM strategies WHERE strategy_id = ?1", rows::DECIDING);
    one(connection, &sql, [strategy_id], rows::deciding)
}

pub(super) fn any_due(connection: &Connection, now_ms: i64) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM strategies WHERE due_ms IS NOT NULL AND due_ms <= ?1 LIMIT 1";
    Ok(one(connection, sql, [now_ms], |_| Ok(()))?.is_some())
}

/// What may be claimed, oldest first.
pub(super) fn due(connection: &Connection, now_ms: i64, most: usize) -> Result<Vec<Row>, StoreError> {
    let sql = format!(
        "SELECT {} FROM strategies INDEXED BY strategies_due WHERE due_ms IS NOT NULL AND due_ms <= ?1
         ORDER BY seq LIMIT ?2",
        rows::DECIDING
    );
    all(connection, &sql, (now_ms, most), rows::deciding)
}

/// The claim on a row that was just claimed.
pub(super) fn claimed(connection: &Connection, row: &Row) -> Result<Claim, StoreError> {
    let unknown = || StoreError::Unknown(row.strategy_id.clone());
    let draft = draft(connection, &row.strategy_id)?.ok_or_else(unknown)?;
    let hold = Hold { strategy_id: row.strategy_id.clone(), token: loaded(row.token) };
    Ok(Claim { hold, seq: loaded(row.seq), attempt: row.attempt, draft })
}

pub(super) fn status(connection: &Connection, strategy_id: &str) -> Result<Option<State>, StoreError> {
    let sql = "SELECT state FROM strategies WHERE strategy_id = ?1";
    let found = one(connection, sql, [strategy_id], |row| row.get::<_, String>(0))?;
    found.map(|found| words::state(&found)).transpose()
}

pub(super) fn strategy(connection: &Connection, strategy_id: &str) -> Result<Option<Strategy>, StoreError> {
    let sql = format!("SELECT {} FROM strategies WHERE strategy_id = ?1", rows::STRATEGY);
    one(connection, &sql, [strategy_id], rows::strategy)
}

pub(super) fn draft(connection: &Connection, strategy_id: &str) -> Result<Option<Draft>, StoreError> {
    let sql = format!("SELECT {} FROM strategies WHERE strategy_id = ?1", rows::DRAFT);
    one(connection, &sql, [strategy_id], rows::draft)
}

pub(super) fn plan(connection: &Connection, strategy_id: &str) -> Result<Option<String>, StoreError> {
    let sql = "SELECT plan FROM strategies WHERE strategy_id = ?1";
    Ok(one(connection, sql, [strategy_id], |row| row.get(0))?.flatten())
}

pub(super) fn list(
    connection: &Connection,
    after: i64,
    most: usize,
    filter: &Filter,
) -> Result<Vec<Strategy>, StoreError> {
    let (state, user) = (filter.state.map(State::name), filter.submitted_by.as_deref());
    // Written out for each filter, so that each walks an index of its own.
    let wanted = match (state, user) {
        (None, None) => "?3 IS NULL AND ?4 IS NULL",
        (Some(_), None) => "state = ?3 AND ?4 IS NULL",
        (None, Some(_)) => "?3 IS NULL AND submitted_by = ?4",
        (Some(_), Some(_)) => "state = ?3 AND submitted_by = ?4",
    };
    let sql = format!(
        "SELECT {} FROM strategies WHERE seq > ?1 AND {wanted} ORDER BY seq LIMIT ?2",
        rows::STRATEGY
    );
    all(connection, &sql, (after, most, state, user), rows::strategy)
}

pub(super) fn events(connection: &Connection, after: i64, most: usize) -> Result<Vec<Event>, StoreError> {
    let sql = "SELECT seq, strategy_id, from_state, to_state, detail, at_ms FROM events WHERE seq > ?1
               ORDER BY seq LIMIT ?2";
    all(connection, sql, (after, most), rows::event)
}

pub(super) fn depth(connection: &Connection) -> Result<Depth, StoreError> {
    let sql =
        "SELECT count(*) FILTER (WHERE state = 'submitted'), count(*) FILTER (WHERE state = 'processing')
               FROM strategies WHERE due_ms IS NOT NULL";
    let counts = one(connection, sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?.unwrap_or_default();
    let sql = "SELECT submitted_ms FROM strategies WHERE state = 'submitted' ORDER BY seq LIMIT 1";
    let oldest = one(connection, sql, [], |row| row.get(0))?.map(loaded);
    Ok(Depth { queued: counts.0, processing: counts.1, oldest_ms: oldest })
}

fn one<T>(
    connection: &Connection,
    sql: &str,
    of: impl Params,
    read: impl FnOnce(&Columns<'_>) -> Result<T, rusqlite::Error>,
) -> Result<Option<T>, StoreError> {
    Ok(connection.prepare_cached(sql)?.query_row(of, read).optional()?)
}

fn all<T>(
    connection: &Connection,
    sql: &str,
    of: impl Params,
    read: fn(&Columns<'_>) -> Result<T, rusqlite::Error>,
) -> Result<Vec<T>, StoreError> {
    Ok(connection.prepare_cached(sql)?.query_map(of, read)?.collect::<Result<_, _>>()?)
}
