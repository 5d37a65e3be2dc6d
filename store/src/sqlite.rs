//! SQLite files, opened alike for the store and the spool: for their owner alone, in WAL mode, and with every commit on
//! the disk before it is acknowledged.

use std::fs::OpenOptions;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::StoreError;

/// Another process may be writing.
const BUSY: Duration = Duration::from_secs(5);

/// Opens or creates the file and brings it to the version of the last of `migrations`.
pub(crate) fn open(path: &Path, migrations: &[&str]) -> Result<Connection, StoreError> {
    let failed = |why: String| StoreError::File { path: path.to_owned(), why };
    private(path).map_err(failed)?;
    let mut connection = connect(path, false).map_err(|error| failed(error.to_string()))?;
    migrate(&mut connection, path, migrations)?;
    Ok(connection)
}

/// One more connection to a file that [`open`] has opened; it can only read.
pub(crate) fn reader(path: &Path) -> Result<Connection, StoreError> {
    connect(path, true).map_err(|error| StoreError::File { path: path.to_owned(), why: error.to_string() })
}

fn connect(path: &Path, reads: bool) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open_with_flags(path, OpenFlags::default())?;
    connection.busy_timeout(BUSY)?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;",
    )?;
    connection.pragma_update(None, "query_only", reads)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// All that is missing in one transaction: nobody sees a half of it.
fn migrate(connection: &mut Connection, path: &Path, migrations: &[&str]) -> Result<(), StoreError> {
    let known = i64::try_from(migrations.len()).unwrap_or(i64::MAX);
    let work = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: i64 = work.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found > known {
        return Err(StoreError::Newer { place: path.display().to_string(), found, known });
    }
    for migration in migrations.iter().skip(usize::try_from(found).unwrap_or(0)) {
        work.execute_batch(migration)?;
    }
    work.pragma_update(None, "user_version", known)?;
    work.commit()?;
    Ok(())
}

/// Creates the file for its owner alone; refuses one that others can read.
fn private(path: &Path) -> Result<(), String> {
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    let mode = file.and_then(|file| file.metadata()).map_err(|error| error.to_string())?.permissions().mode();
    if mode & 0o077 == 0 { Ok(()) } else { Err(format!("its mode is {:o}", mode & 0o777)) }
}

/// A panic in another thread leaves a transaction rolled back, and nothing else.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
