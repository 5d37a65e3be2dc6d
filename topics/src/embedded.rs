//! Topics in one SQLite file, for a host that has no Kafka.
//!
//! Every append is one transaction, the writer's mark included. The file is in WAL mode with `synchronous = NORMAL`: a
//! killed process loses nothing; a loss of power may take back the newest appends, each as a whole and with its mark.
//! Whoever derives messages from a log of its own then derives the same ones again, at the same offsets.
//! Other processes may read the file; one writes.

use std::fs::OpenOptions;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior};

use crate::{Created, Draft, Reader, Stored, TopicError, TopicSpec, Topics, Writer, limits};

const VERSION: i64 = 1;
const SCHEMA: &str = "
    CREATE TABLE topics (
        topic INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        retention_ms INTEGER,
        retention_bytes INTEGER
    ) STRICT;
    CREATE TABLE partitions (
        topic INTEGER NOT NULL REFERENCES topics (topic),
        partition INTEGER NOT NULL,
        next_offset INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        PRIMARY KEY (topic, partition)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE messages (
        topic INTEGER NOT NULL,
        partition INTEGER NOT NULL,
        offset INTEGER NOT NULL,
        appended_ms INTEGER NOT NULL,
        key BLOB NOT NULL,
        value BLOB NOT NULL,
        PRIMARY KEY (topic, partition, offset)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE writers (
        name TEXT PRIMARY KEY,
        life INTEGER NOT NULL,
        mark BLOB
    ) STRICT, WITHOUT ROWID;
";
/// A reader of the file may hold it for a moment.
const BUSY: Duration = Duration::from_secs(5);
/// How often a waiting reader looks.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Old messages removed at most beyond as many as came.
const REMOVED_BESIDE: usize = 64;

/// The embedded engine.
pub struct Embedded {
    connection: Arc<Mutex<Connection>>,
}

struct EmbeddedWriter {
    connection: Arc<Mutex<Connection>>,
    name: String,
    life: i64,
    mark: Option<Vec<u8>>,
}

struct EmbeddedReader {
    connection: Arc<Mutex<Connection>>,
    topic: i64,
    partition: u32,
    offset: u64,
}

impl Embedded {
    /// Opens or creates the file, readable by its owner alone.
    ///
    /// # Errors
    /// [`TopicError`], saying what to do.
    pub fn open(path: &Path) -> Result<Self, TopicError> {
        let failed = |why: String| TopicError::File { path: path.to_owned(), why };
        private(path).map_err(failed)?;
        let connection = opened(path).map_err(|error| failed(error.to_string()))?;
        let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if version != VERSION {
            return Err(failed(format!("it is of version {version}, this program knows {VERSION}")));
        }
        Ok(Self { connection: Arc::new(Mutex::new(connection)) })
    }
}

fn opened(path: &Path) -> Result<Connection, rusqlite::Error> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;",
    )?;
    let work = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i64 = work.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version == 0 {
        work.execute_batch(SCHEMA)?;
        work.pragma_update(None, "user_version", VERSION)?;
    }
    work.commit()?;
    Ok(connection)
}

/// Creates the file for its owner alone; refuses one that others can read.
fn private(path: &Path) -> Result<(), String> {
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    let mode = file.and_then(|file| file.metadata()).map_err(|error| error.to_string())?.permissions().mode();
    if mode & 0o077 == 0 { Ok(()) } else { Err(format!("its mode is {:o}", mode & 0o777)) }
}

/// A panic in another thread leaves a transaction rolled back, and nothing else.
fn lock(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Topics for Embedded {
    fn create(&self, spec: &TopicSpec<'_>) -> Result<Created, TopicError> {
        limits::spec(spec)?;
        let mut connection = lock(&self.connection);
        let work = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if let Some(topic) = topic_id(&work, spec.name)? {
            let partitions =
                work.query_row("SELECT count(*) FROM partitions WHERE topic = ?1", [topic], |row| {
                    row.get(0)
                })?;
            return Ok(Created { existed: true, partitions });
        }
        let retention_ms = spec.retention.map(|time| i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
        let retention_bytes = spec.retention_bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
        work.execute(
            "INSERT INTO topics (name, retention_ms, retention_bytes) VALUES (?1, ?2, ?3)",
            (spec.name, retention_ms, retention_bytes),
        )?;
        let topic = work.last_insert_rowid();
        for partition in 0..spec.partitions {
            work.execute("INSERT INTO partitions VALUES (?1, ?2, 0, 0)", (topic, partition))?;
        }
        work.commit()?;
        Ok(Created { existed: false, partitions: spec.partitions })
    }

    fn writer(&self, name: &str) -> Result<Box<dyn Writer>, TopicError> {
        limits::mark_topic(name)?;
        let mut connection = lock(&self.connection);
        let work = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let (life, mark) = work.query_row(
            "INSERT INTO writers (name, life) VALUES (?1, 1) ON CONFLICT (name) DO UPDATE SET life = life + 1
             RETURNING life, mark",
            [name],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        work.commit()?;
        let connection = Arc::clone(&self.connection);
        Ok(Box::new(EmbeddedWriter { connection, name: name.to_owned(), life, mark }))
    }

    fn reader(&self, topic: &str, partition: u32, offset: u64) -> Result<Box<dyn Reader>, TopicError> {
        let unknown = || TopicError::Unknown(topic.to_owned());
        let connection = lock(&self.connection);
        let id = topic_id(&connection, topic)?.ok_or_else(unknown)?;
        partition_of(&connection, id, partition)?.ok_or_else(unknown)?;
        let connection = Arc::clone(&self.connection);
        Ok(Box::new(EmbeddedReader { connection, topic: id, partition, offset }))
    }
}

fn topic_id(connection: &Connection, name: &str) -> Result<Option<i64>, rusqlite::Error> {
    let mut statement = connection.prepare_cached("SELECT topic FROM topics WHERE name = ?1")?;
    statement.query_row([name], |row| row.get(0)).optional()
}

/// The next offset of a partition and the bytes in it.
fn partition_of(
    connection: &Connection,
    topic: i64,
    partition: u32,
) -> Result<Option<(i64, i64)>, rusqlite::Error> {
    let mut statement = connection
        .prepare_cached("SELECT next_offset, bytes FROM partitions WHERE topic = ?1 AND partition = ?2")?;
    statement.query_row((topic, partition), |row| Ok((row.get(0)?, row.get(1)?))).optional()
}

impl Writer for EmbeddedWriter {
    fn mark(&self) -> Option<&[u8]> {
        self.mark.as_deref()
    }

    fn append(&mut self, drafts: &[Draft<'_>], mark: &[u8]) -> Result<(), TopicError> {
        limits::batch(drafts, mark)?;
        let mut connection = lock(&self.connection);
        let work = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let marked = work.execute(
            "UPDATE writers SET mark = ?3 WHERE name = ?1 AND life = ?2",
            (&self.name, self.life, mark),
        )?;
        if marked == 0 {
            return Err(TopicError::Fenced(self.name.clone()));
        }
        let now_ms = now_ms();
        for draft in drafts {
            put(&work, draft, now_ms)?;
        }
        let mut topics: Vec<&str> = drafts.iter().map(|draft| draft.topic).collect();
        topics.sort_unstable();
        topics.dedup();
        for topic in topics {
            remove_old(&work, topic, now_ms, drafts.len() + REMOVED_BESIDE)?;
        }
        work.commit()?;
        self.mark = Some(mark.to_vec());
        Ok(())
    }
}

fn put(work: &Transaction<'_>, draft: &Draft<'_>, now_ms: i64) -> Result<(), TopicError> {
    let unknown = || TopicError::Unknown(draft.topic.to_owned());
    let topic = topic_id(work, draft.topic)?.ok_or_else(unknown)?;
    let partitions: u32 = work
        .prepare_cached("SELECT count(*) FROM partitions WHERE topic = ?1")?
        .query_row([topic], |row| row.get(0))?;
    let partition = u32::try_from(fnv1a(draft.key) % u64::from(partitions.max(1))).unwrap_or(0);
    let (offset, _) = partition_of(work, topic, partition)?.ok_or_else(unknown)?;
    work.prepare_cached("INSERT INTO messages VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?.execute((
        topic,
        partition,
        offset,
        now_ms,
        draft.key,
        draft.value,
    ))?;
    work.prepare_cached(
        "UPDATE partitions SET next_offset = next_offset + 1, bytes = bytes + ?3 WHERE topic = ?1 AND partition = ?2",
    )?
    .execute((topic, partition, size(draft)))?;
    Ok(())
}

fn size(draft: &Draft<'_>) -> i64 {
    i64::try_from(draft.key.len() + draft.value.len()).unwrap_or(i64::MAX)
}

/// Removes what is too old or too much, oldest first, and no more than `most` messages of a partition: an append takes a
/// bounded time, and still more goes than comes.
fn remove_old(work: &Transaction<'_>, name: &str, now_ms: i64, most: usize) -> Result<(), rusqlite::Error> {
    let (topic, age, bytes): (i64, Option<i64>, Option<i64>) = work
        .prepare_cached("SELECT topic, retention_ms, retention_bytes FROM topics WHERE name = ?1")?
        .query_row([name], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let oldest_ms = age.map_or(i64::MIN, |age| now_ms.saturating_sub(age));
    let mut partitions = work.prepare_cached("SELECT partition, bytes FROM partitions WHERE topic = ?1")?;
    let partitions: Vec<(u32, i64)> =
        partitions.query_map([topic], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    for (partition, held) in partitions {
        let mut oldest = work.prepare_cached(
            "SELECT offset, appended_ms, length(key) + length(value) FROM messages
             WHERE topic = ?1 AND partition = ?2 ORDER BY offset LIMIT ?3",
        )?;
        let mut rows = oldest.query((topic, partition, most))?;
        let (mut left, mut below) = (held, None);
        while let Some(row) = rows.next()? {
            let (offset, appended_ms, own): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            if appended_ms >= oldest_ms && bytes.is_none_or(|bytes| left <= bytes) {
                break;
            }
            (left, below) = (left - own, Some(offset));
        }
        if let Some(last) = below {
            let of = (topic, partition, last);
            work.prepare_cached("DELETE FROM messages WHERE topic = ?1 AND partition = ?2 AND offset <= ?3")?
                .execute(of)?;
            work.prepare_cached("UPDATE partitions SET bytes = ?3 WHERE topic = ?1 AND partition = ?2")?
                .execute((topic, partition, left))?;
        }
    }
    Ok(())
}

/// Which partition a key goes to must never change.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, b| (hash ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01b3))
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

impl EmbeddedReader {
    fn look(&mut self, most: usize) -> Result<Vec<Stored>, TopicError> {
        let connection = lock(&self.connection);
        let mut statement = connection.prepare_cached(
            "SELECT offset, key, value FROM messages WHERE topic = ?1 AND partition = ?2 AND offset >= ?3
             ORDER BY offset LIMIT ?4",
        )?;
        let found = statement.query_map((self.topic, self.partition, self.offset, most), |row| {
            Ok(Stored { offset: row.get(0)?, key: row.get(1)?, value: row.get(2)? })
        })?;
        let found = found.collect::<Result<Vec<_>, _>>()?;
        self.offset = found.last().map_or(self.offset, |last| last.offset + 1);
        Ok(found)
    }
}

impl Reader for EmbeddedReader {
    fn next(&mut self, most: usize, patience: Duration) -> Result<Vec<Stored>, TopicError> {
        let deadline = Instant::now() + patience;
        loop {
            let found = self.look(most)?;
            if !found.is_empty() || Instant::now() >= deadline {
                return Ok(found);
            }
            std::thread::sleep(LOOK_EVERY.min(patience));
        }
    }
}
