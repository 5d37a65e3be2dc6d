//! The file: who may read it, how it is opened, and its tables.

use std::fs::OpenOptions;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::GraphError;

/// One after the other; a file's `user_version` says how many it has.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE nodes (
        node INTEGER PRIMARY KEY,
        identity TEXT NOT NULL UNIQUE,
        family TEXT,
        node_id TEXT NOT NULL,
        node_type TEXT NOT NULL,
        name TEXT NOT NULL,
        class TEXT NOT NULL,
        code_hash TEXT NOT NULL,
        config_hash TEXT,
        schema_hash TEXT NOT NULL,
        schema_compat_id TEXT,
        interval_s INTEGER,
        period INTEGER,
        tags TEXT NOT NULL,
        domain TEXT NOT NULL,
        created_at_ms INTEGER NOT NULL,
        topic TEXT NOT NULL,
        partitions INTEGER NOT NULL,
        replicas INTEGER NOT NULL,
        retention_ms INTEGER,
        orphaned_at_ms INTEGER,
        lease_number INTEGER NOT NULL DEFAULT 0,
        lease_holder TEXT,
        lease_until_ms INTEGER
    ) STRICT;
    CREATE UNIQUE INDEX nodes_topic ON nodes (lower(topic));
    CREATE INDEX nodes_family ON nodes (family, created_at_ms) WHERE family IS NOT NULL;
    CREATE INDEX nodes_node_id ON nodes (node_id);
    CREATE INDEX nodes_orphaned ON nodes (class, orphaned_at_ms) WHERE orphaned_at_ms IS NOT NULL;
    CREATE INDEX nodes_lease ON nodes (lease_until_ms) WHERE lease_holder IS NOT NULL;
    CREATE INDEX nodes_holder ON nodes (lease_holder) WHERE lease_holder IS NOT NULL;
    CREATE TABLE tags (
        tag TEXT NOT NULL,
        node INTEGER NOT NULL REFERENCES nodes ON DELETE CASCADE,
        PRIMARY KEY (tag, node)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX tags_node ON tags (node);
    CREATE TABLE inputs (
        node INTEGER NOT NULL REFERENCES nodes ON DELETE CASCADE,
        position INTEGER NOT NULL,
        input INTEGER NOT NULL REFERENCES nodes ON DELETE CASCADE,
        PRIMARY KEY (node, position)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX inputs_input ON inputs (input);
    CREATE TABLE strategies (
        strategy INTEGER PRIMARY KEY,
        strategy_id TEXT NOT NULL UNIQUE,
        applied_at_ms INTEGER,
        released_at_ms INTEGER
    ) STRICT;
    CREATE INDEX strategies_released ON strategies (released_at_ms) WHERE released_at_ms IS NOT NULL;
    CREATE TABLE uses (
        strategy INTEGER NOT NULL REFERENCES strategies,
        position INTEGER NOT NULL,
        node INTEGER NOT NULL REFERENCES nodes,
        created INTEGER NOT NULL,
        PRIMARY KEY (strategy, position)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX uses_node ON uses (node);
    CREATE TABLE sentinels (
        sentinel INTEGER PRIMARY KEY,
        sentinel_id TEXT NOT NULL UNIQUE,
        strategy_id TEXT NOT NULL,
        version TEXT NOT NULL,
        line TEXT,
        weight REAL NOT NULL,
        created_at_ms INTEGER NOT NULL,
        retired_at_ms INTEGER
    ) STRICT;
    CREATE INDEX sentinels_version ON sentinels (version, created_at_ms);
    CREATE INDEX sentinels_line ON sentinels (line) WHERE line IS NOT NULL;
    CREATE INDEX sentinels_strategy ON sentinels (strategy_id);
    CREATE INDEX sentinels_retired ON sentinels (retired_at_ms) WHERE retired_at_ms IS NOT NULL;
    CREATE TABLE sentinel_nodes (
        sentinel INTEGER NOT NULL REFERENCES sentinels ON DELETE CASCADE,
        node INTEGER NOT NULL REFERENCES nodes ON DELETE CASCADE,
        PRIMARY KEY (sentinel, node)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX sentinel_nodes_node ON sentinel_nodes (node);
    CREATE TABLE outbox (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        at_ms INTEGER NOT NULL,
        change TEXT NOT NULL,
        identity TEXT NOT NULL,
        node_id TEXT NOT NULL,
        topic TEXT NOT NULL,
        tags TEXT NOT NULL,
        interval_s INTEGER,
        domain TEXT NOT NULL
    ) STRICT;
"];
/// Another process may hold the file for a moment.
const BUSY: Duration = Duration::from_secs(5);
/// Statements that stay prepared on a connection: all there are.
const PREPARED: usize = 64;

/// The connection that writes; the file is created, or brought to this program's version.
pub(super) fn writer(path: &Path) -> Result<Connection, GraphError> {
    let failed = |why: String| GraphError::File { path: path.to_owned(), why };
    for_owner_alone(path).map_err(failed)?;
    migrated(path).map_err(|error| match error {
        // Told apart from a broken file.
        GraphError::Store(error) => failed(error.to_string()),
        other => other,
    })
}

fn migrated(path: &Path) -> Result<Connection, GraphError> {
    let mut connection = Connection::open(path)?;
    set_up(&connection)?;
    connection
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")?;
    let work = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: i64 = work.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let missing = usize::try_from(found).ok().and_then(|found| MIGRATIONS.get(found..));
    for migration in missing.ok_or(GraphError::Newer { found, known })? {
        work.execute_batch(migration)?;
    }
    work.pragma_update(None, "user_version", known)?;
    work.commit()?;
    Ok(connection)
}

/// A connection that reads.
pub(super) fn reader(path: &Path) -> Result<Connection, GraphError> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    set_up(&connection)?;
    connection.execute_batch("PRAGMA query_only = ON;")?;
    Ok(connection)
}

fn set_up(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(PREPARED);
    connection.execute_batch("PRAGMA trusted_schema = OFF;")
}

/// Creates the file with mode 0600; refuses one that anybody else may open.
fn for_owner_alone(path: &Path) -> Result<(), String> {
    let said = |error: std::io::Error| error.to_string();
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path).map_err(said)?;
    match file.metadata().map_err(said)?.permissions().mode() & 0o777 {
        mode if mode & 0o077 == 0 => Ok(()),
        mode => Err(format!("its mode is {mode:o}")),
    }
}
