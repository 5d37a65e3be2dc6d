//! Connections: few, kept, and given up when their server does not answer in time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool_postgres::{
    Client, Manager, ManagerConfig, Object, RecyclingMethod, Runtime as Timer, Transaction,
};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tokio_postgres::{Config, NoTls};

use super::migrations;
use crate::StoreError;

/// How long the server may take for one call, and a caller waits for a connection.
const PATIENCE: Duration = Duration::from_secs(5);
const CONNECT_PATIENCE: Duration = Duration::from_secs(2);
/// A migration may have to write an index.
const MIGRATION_PATIENCE: Duration = Duration::from_secs(600);
/// A small server has 100 for everybody.
const CONNECTIONS: usize = 16;
/// What every session begins with. The server ends what its client has given up, also when that client is gone; and a
/// commit is on the disk before it is acknowledged, whatever the server's own setting is.
const SESSION: &str = "-c statement_timeout=4s -c lock_timeout=4s -c idle_in_transaction_session_timeout=4s \
                       -c synchronous_commit=on";
const EXAMPLE: &str = "postgresql://user:password@host:5432/database";

/// What goes wrong inside of a call: the server's error is told with what was under way.
pub(super) enum Fault {
    Server(tokio_postgres::Error),
    Told(StoreError),
}

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Server(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Told(error)
    }
}

pub(super) struct Pool {
    connections: deadpool_postgres::Pool,
    /// Taken when this value goes: a runtime must not be waited for in a task of another.
    runtime: Option<Runtime>,
    migrated: AtomicBool,
}

impl Drop for Pool {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Pool {
    pub fn new(url: &SecretString) -> Result<Self, StoreError> {
        let address = |why: String| StoreError::Address { server: "PostgreSQL", why, example: EXAMPLE };
        let mut config: Config =
            url.expose_secret().parse().map_err(|error: tokio_postgres::Error| address(reason(&error)))?;
        let options = config.get_options().map_or(String::new(), |options| format!("{options} "));
        config.options(format!("{options}{SESSION}"));
        config.application_name("ringfence").connect_timeout(CONNECT_PATIENCE).tcp_user_timeout(PATIENCE);
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let connections = deadpool_postgres::Pool::builder(Manager::from_config(config, NoTls, recycling))
            .max_size(CONNECTIONS)
            .runtime(Timer::Tokio1)
            .wait_timeout(Some(PATIENCE))
            .create_timeout(Some(CONNECT_PATIENCE))
            .recycle_timeout(Some(CONNECT_PATIENCE))
            .build()
            .map_err(|error| address(error.to_string()))?;
        // One thread carries the bytes of all connections; those who ask wait in their own.
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("store").enable_all().build();
        let runtime = Some(runtime.map_err(|error| away("start", error.to_string()))?);
        Ok(Self { connections, runtime, migrated: AtomicBool::new(false) })
    }

    /// Outside of a transaction: each statement sees what is committed when it begins.
    pub fn read<T>(
        &self,
        doing: &'static str,
        work: impl AsyncFnOnce(&Client) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        self.migrate()?;
        self.with(doing, PATIENCE, async |client| work(client).await)
    }

    /// All of it or nothing; committed, on the server's disk, when it returns.
    pub fn write<T>(
        &self,
        doing: &'static str,
        work: impl AsyncFnOnce(&Transaction<'_>) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        self.migrate()?;
        self.with(doing, PATIENCE, async |client| {
            let transaction = client.transaction().await?;
            let done = work(&transaction).await?;
            transaction.commit().await?;
            Ok(done)
        })
    }

    /// Once in a life, at the first call that reaches the server.
    pub fn migrate(&self) -> Result<(), StoreError> {
        if self.migrated.load(Ordering::Acquire) {
            return Ok(());
        }
        self.with("be brought to this version", MIGRATION_PATIENCE, async |client| {
            migrations::run(client).await
        })?;
        self.migrated.store(true, Ordering::Release);
        Ok(())
    }

    fn with<T>(
        &self,
        doing: &'static str,
        patience: Duration,
        work: impl AsyncFnOnce(&mut Client) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let Some(runtime) = &self.runtime else { return Err(away(doing, "it was closed".to_owned())) };
        runtime.block_on(async {
            let mut client = self.connections.get().await.map_err(|error| away(doing, chain(&error)))?;
            let done = timeout(patience, work(&mut client)).await;
            match done {
                Ok(Ok(done)) => Ok(done),
                Ok(Err(Fault::Told(error))) => Err(error),
                Ok(Err(Fault::Server(error))) => Err(away(doing, reason(&error))),
                Err(_) => {
                    // What is under way on it would answer the next caller: it is closed.
                    drop(Object::take(client));
                    Err(away(doing, format!("no answer within {} s", patience.as_secs())))
                }
            }
        })
    }
}

fn away(doing: &'static str, why: String) -> StoreError {
    StoreError::Away { server: "PostgreSQL", doing, why }
}

/// What the server said, where it said something.
fn reason(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(|| chain(error), |said| said.message().to_owned())
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}
