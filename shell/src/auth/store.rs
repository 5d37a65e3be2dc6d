//! The durable half: one SQLite file, readable by its owner alone, synced before anything it acknowledges is shown.
//!
//! Its tables are read into a [`Directory`] at the start and after every change, so no request waits for the disk to be
//! authorised. One process owns the file (exclusive lock), or two would not see each other's revocations.

use std::fs::OpenOptions;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::directory::Directory;
use super::{AuthError, OpenError};

/// Each brings the file from the version of its place to the next; they are only ever added to.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE users (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        user_id TEXT NOT NULL UNIQUE,
        password TEXT NOT NULL,
        account INTEGER NOT NULL,
        created_at INTEGER NOT NULL,
        created_by TEXT NOT NULL,
        updated_at INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE roles (
        user INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        role TEXT NOT NULL,
        PRIMARY KEY (user, role)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE families (
        id TEXT PRIMARY KEY,
        user INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        current TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        revoked_at INTEGER,
        revoked_for TEXT
    ) STRICT;
    CREATE INDEX families_of_user ON families (user);
    CREATE TABLE api_keys (
        key_id TEXT PRIMARY KEY,
        user INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        name TEXT NOT NULL,
        secret_sha256 BLOB NOT NULL,
        permissions TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        last_used_at INTEGER,
        revoked_at INTEGER
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE signing_keys (
        kid TEXT PRIMARY KEY,
        pkcs8 BLOB NOT NULL,
        created_at INTEGER NOT NULL,
        retired_at INTEGER
    ) STRICT, WITHOUT ROWID;
"];

/// The file.
pub struct Store {
    connection: Connection,
}

impl Store {
    /// Opens or creates it, and brings it to this version.
    ///
    /// # Errors
    /// [`OpenError`], saying what to do.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        private(path)?;
        let failed = |source| OpenError::Store { path: path.to_owned(), source };
        let mut connection = Connection::open(path).map_err(failed)?;
        connection
            .execute_batch(
                "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
                 PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;",
            )
            .map_err(failed)?;
        migrate(&mut connection, path)?;
        Ok(Self { connection })
    }

    /// All of `work` or nothing; on disk when this returns.
    ///
    /// # Errors
    /// What `work` says, or [`AuthError::Store`].
    pub fn change<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, AuthError>,
    ) -> Result<T, AuthError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let done = work(&transaction)?;
        transaction.commit()?;
        Ok(done)
    }

    /// Everything that authorises, as it stands.
    ///
    /// # Errors
    /// [`AuthError::Store`].
    pub fn directory(&self, now: u64) -> Result<Directory, AuthError> {
        Directory::load(&self.connection, now)
    }

    /// For reads of the rest.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }
}

/// Creates the file for its owner alone; refuses one that others can read.
fn private(path: &Path) -> Result<(), OpenError> {
    let failed = |source| OpenError::File { path: path.to_owned(), source };
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(OpenError::Exposed { path: path.to_owned(), mode });
    }
    Ok(())
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), OpenError> {
    let failed = |source| OpenError::Store { path: path.to_owned(), source };
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive).map_err(failed)?;
    let version: u32 =
        transaction.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
    let done = version as usize;
    if done > MIGRATIONS.len() {
        return Err(OpenError::Newer { path: PathBuf::from(path), version });
    }
    for migration in &MIGRATIONS[done..] {
        transaction.execute_batch(migration).map_err(failed)?;
    }
    transaction.pragma_update(None, "user_version", MIGRATIONS.len() as u32).map_err(failed)?;
    transaction.commit().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("ringfence-{name}-{}.db", std::process::id()));
        let _ = std::fs::remove_file(&path);
        path
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let path = file("exposed");
        std::fs::write(&path, b"").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let refused = Store::open(&path).err().unwrap().to_string();
        assert!(refused.contains("chmod 600"), "{refused}");
        let _ = std::fs::remove_file(&path);
    }

    #[test]
    fn a_file_of_a_newer_version_is_refused_and_an_older_one_is_brought_up() {
        let path = file("versions");
        drop(Store::open(&path).unwrap());
        drop(Store::open(&path).unwrap());
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
        let refused = Store::open(&path).err().unwrap().to_string();
        assert!(refused.contains("newer"), "{refused}");
        let _ = std::fs::remove_file(&path);
    }

    #[test]
    fn a_second_process_on_the_same_file_is_refused() {
        let path = file("twice");
        let _first = Store::open(&path).unwrap();
        assert!(Store::open(&path).is_err());
        let _ = std::fs::remove_file(&path);
    }

    #[test]
    fn what_failed_half_way_left_nothing() {
        let path = file("half");
        let mut store = Store::open(&path).unwrap();
        let failed: Result<(), AuthError> = store.change(|tx| {
            tx.execute("INSERT INTO users VALUES (1, 'a', 'p', 0, 1, 'x', 1)", ())?;
            Err(AuthError::Busy)
        });
        assert!(failed.is_err());
        assert!(store.directory(0).unwrap().users.is_empty());
        let _ = std::fs::remove_file(&path);
    }
}
