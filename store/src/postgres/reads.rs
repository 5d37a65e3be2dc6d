//! What is read.

use deadpool_postgres::{Client, Transaction};
use tokio_postgres::Row as Columns;
use tokio_postgres::types::ToSql;

use super::pool::Fault;
use super::rows;
use crate::change::{Row, loaded, stored};
use crate::{Claim, Depth, Draft, Event, Filter, Hold, State, StoreError, Strategy, words};

type Of<'a> = &'a [&'a (dyn ToSql + Sync)];

/// A row that nobody else changes until the transaction ends.
pub(super) async fn locked(work: &Transaction<'_>, strategy_id: &str) -> Result<Option<Row>, Fault> {
    let sql =
        format!("SELECT {} FROM ringfence.strategies WHERE strategy_id = $1 FOR UPDATE", rows::DECIDING);
    let statement = work.prepare_cached(&sql).await?;
    work.query_opt(&statement, &[&strategy_id]).await?.as_ref().map(rows::deciding).transpose()
}

/// What may be claimed, oldest first, without what others are claiming just now; locked too.
pub(super) async fn due(work: &Transaction<'_>, now_ms: i64, most: usize) -> Result<Vec<Row>, Fault> {
    let sql = format!(
        "SELECT {} FROM ringfence.strategies WHERE due_ms IS NOT NULL AND due_ms <= $1 ORDER BY seq LIMIT $2
         FOR UPDATE SKIP LOCKED",
        rows::DECIDING
    );
    let statement = work.prepare_cached(&sql).await?;
    work.query(&statement, &[&now_ms, &stored(most as u64)]).await?.iter().map(rows::deciding).collect()
}

/// The claims on rows that were just claimed.
pub(super) async fn claims(work: &Transaction<'_>, claimed: &[&Row]) -> Result<Vec<Claim>, Fault> {
    let sql = format!("SELECT {} FROM ringfence.strategies WHERE seq = ANY($1) ORDER BY seq", rows::DRAFT);
    let statement = work.prepare_cached(&sql).await?;
    let seqs: Vec<i64> = claimed.iter().map(|row| row.seq).collect();
    let drafts = work.query(&statement, &[&seqs]).await?;
    if drafts.len() != claimed.len() {
        return Err(StoreError::Unknown("a strategy that was just claimed".to_owned()).into());
    }
    let claim = |(row, columns): (&&Row, &Columns)| {
        let hold = Hold { strategy_id: row.strategy_id.clone(), token: loaded(row.token) };
        Ok(Claim { hold, seq: loaded(row.seq), attempt: row.attempt, draft: rows::draft(columns)? })
    };
    claimed.iter().zip(&drafts).map(claim).collect()
}

pub(super) async fn status(client: &Client, strategy_id: &str) -> Result<Option<State>, Fault> {
    let sql = "SELECT state FROM ringfence.strategies WHERE strategy_id = $1";
    one(client, sql, &[&strategy_id], |row| Ok(words::state(row.try_get(0)?)?)).await
}

pub(super) async fn strategy(client: &Client, strategy_id: &str) -> Result<Option<Strategy>, Fault> {
    let sql = format!("SELECT {} FROM ringfence.strategies WHERE strategy_id = $1", rows::STRATEGY);
    one(client, &sql, &[&strategy_id], rows::strategy).await
}

pub(super) async fn draft(client: &Client, strategy_id: &str) -> Result<Option<Draft>, Fault> {
    let sql = format!("SELECT {} FROM ringfence.strategies WHERE strategy_id = $1", rows::DRAFT);
    one(client, &sql, &[&strategy_id], rows::draft).await
}

pub(super) async fn plan(client: &Client, strategy_id: &str) -> Result<Option<String>, Fault> {
    let sql = "SELECT plan FROM ringfence.strategies WHERE strategy_id = $1";
    Ok(one(client, sql, &[&strategy_id], |row| Ok(row.try_get(0)?)).await?.flatten())
}

pub(super) async fn list(
    client: &Client,
    after: i64,
    most: usize,
    filter: &Filter,
) -> Result<Vec<Strategy>, Fault> {
    let most = stored(most as u64);
    let (state, user) = (filter.state.map(State::name), filter.submitted_by.as_deref());
    let mut of: Vec<&(dyn ToSql + Sync)> = vec![&after, &most];
    // Written out for each filter, so that each walks an index of its own.
    let mut wanted = String::new();
    for (column, value) in [("state", &state), ("submitted_by", &user)] {
        if let Some(value) = value {
            of.push(value);
            wanted += &format!(" AND {column} = ${}", of.len());
        }
    }
    let columns = rows::STRATEGY;
    let sql =
        format!("SELECT {columns} FROM ringfence.strategies WHERE seq > $1{wanted} ORDER BY seq LIMIT $2");
    all(client, &sql, &of, rows::strategy).await
}

pub(super) async fn events(client: &Client, after: i64, most: usize) -> Result<Vec<Event>, Fault> {
    let sql =
        "SELECT seq, strategy_id, from_state, to_state, detail, at_ms FROM ringfence.events WHERE seq > $1
               ORDER BY seq LIMIT $2";
    all(client, sql, &[&after, &stored(most as u64)], rows::event).await
}

pub(super) async fn depth(client: &Client) -> Result<Depth, Fault> {
    let sql = "SELECT count(*) FILTER (WHERE state = 'submitted'), count(*) FILTER (WHERE state = 'processing'),
                   (SELECT submitted_ms FROM ringfence.strategies WHERE state = 'submitted' ORDER BY seq LIMIT 1)
               FROM ringfence.strategies WHERE due_ms IS NOT NULL";
    let found = one(client, sql, &[], |row| {
        let oldest: Option<i64> = row.try_get(2)?;
        let (queued, processing) = (loaded(row.try_get(0)?), loaded(row.try_get(1)?));
        Ok(Depth { queued, processing, oldest_ms: oldest.map(loaded) })
    });
    Ok(found.await?.unwrap_or_default())
}

async fn one<T>(
    client: &Client,
    sql: &str,
    of: Of<'_>,
    read: fn(&Columns) -> Result<T, Fault>,
) -> Result<Option<T>, Fault> {
    let statement = client.prepare_cached(sql).await?;
    client.query_opt(&statement, of).await?.as_ref().map(read).transpose()
}

async fn all<T>(
    client: &Client,
    sql: &str,
    of: Of<'_>,
    read: fn(&Columns) -> Result<T, Fault>,
) -> Result<Vec<T>, Fault> {
    let statement = client.prepare_cached(sql).await?;
    client.query(&statement, of).await?.iter().map(read).collect()
}
