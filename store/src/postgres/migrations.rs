//! The schema's versions. What is there already needs no right to create anything.

use deadpool_postgres::Client;

use super::pool::Fault;
use crate::StoreError;

const MIGRATIONS: [&str; 1] = [include_str!("schema.sql")];
const VERSION: &str = "SELECT version FROM ringfence.store_version";
/// Two programs that start at once migrate one after the other. Any number that nobody else uses.
const LOCK: &str = "SELECT pg_advisory_xact_lock(7217412980003)";

pub(super) async fn run(client: &mut Client) -> Result<(), Fault> {
    let known = i32::try_from(MIGRATIONS.len()).unwrap_or(i32::MAX);
    let there = client.query_one("SELECT to_regclass('ringfence.store_version') IS NOT NULL", &[]).await?;
    if there.try_get(0)? && found(client.query_one(VERSION, &[]).await?.try_get(0)?, known)? == known {
        return Ok(());
    }
    let work = client.transaction().await?;
    // One lasts as long as it must.
    work.batch_execute("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0").await?;
    work.batch_execute(LOCK).await?;
    work.batch_execute(
        "CREATE SCHEMA IF NOT EXISTS ringfence;
         CREATE TABLE IF NOT EXISTS ringfence.store_version (
             place integer PRIMARY KEY CHECK (place = 1), version integer NOT NULL
         );
         INSERT INTO ringfence.store_version VALUES (1, 0) ON CONFLICT DO NOTHING",
    )
    .await?;
    let version = found(work.query_one(VERSION, &[]).await?.try_get(0)?, known)?;
    for migration in MIGRATIONS.iter().skip(usize::try_from(version).unwrap_or(0)) {
        work.batch_execute(migration).await?;
    }
    work.execute("UPDATE ringfence.store_version SET version = $1", &[&known]).await?;
    work.commit().await?;
    Ok(())
}

fn found(version: i32, known: i32) -> Result<i32, StoreError> {
    if version <= known {
        return Ok(version);
    }
    let place = "the database's schema `ringfence`".to_owned();
    Err(StoreError::Newer { place, found: version.into(), known: known.into() })
}
