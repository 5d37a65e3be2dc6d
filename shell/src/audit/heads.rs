//! How far each series had come at its last sync: what a file that ends too early is found by.
//!
//! One line for each type, of fixed length, written in place by one write.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::record::{ChainHash, LogType};

/// Its name in the log's directory.
pub const NAME: &str = "heads";
const LINE_BYTES: usize = 160;
const FILE_BYTES: usize = LINE_BYTES * LogType::ALL.len();

/// The end of a series when it was last synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The file; 0: there was none yet.
    pub number: u64,
    /// Records in it.
    pub records: u64,
    /// Hash of the last of them, or of the last one before the file.
    pub hash: ChainHash,
}

impl Head {
    /// Of a series without a record.
    pub const NONE: Self = Self { number: 0, records: 0, hash: ChainHash::ZERO };
}

/// One for each type.
pub type Heads = [Head; 5];

#[derive(Serialize, Deserialize)]
struct Row<'a> {
    log_type: &'a str,
    file: u64,
    records: u64,
    hash: &'a str,
}

/// What `dir` says; none: it says nothing.
///
/// # Errors
/// When the file cannot be read, or is damaged.
pub fn read(dir: &Path) -> io::Result<Option<Heads>> {
    let text = match std::fs::read(dir.join(NAME)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    parse(&text).map(Some).ok_or_else(|| io::Error::other("the file `heads` is damaged"))
}

fn parse(text: &[u8]) -> Option<Heads> {
    let mut heads = [Head::NONE; 5];
    for log_type in LogType::ALL {
        let line = text.get(log_type.index() * LINE_BYTES..)?.get(..LINE_BYTES)?;
        let row: Row<'_> = serde_json::from_slice(line).ok()?;
        let hash = ChainHash::parse(row.hash.as_bytes())?;
        let head = Head { number: row.file, records: row.records, hash };
        // Only the one spelling that is ever written.
        if line != self::line(log_type, &head) {
            return None;
        }
        heads[log_type.index()] = head;
    }
    (text.len() == FILE_BYTES).then_some(heads)
}

fn line(log_type: LogType, head: &Head) -> Vec<u8> {
    let row =
        Row { log_type: log_type.name(), file: head.number, records: head.records, hash: head.hash.text() };
    let mut line = serde_json::to_vec(&row).unwrap_or_default();
    line.resize(LINE_BYTES - 1, b' ');
    line.push(b'\n');
    line
}

/// The file, open for its only writer.
#[derive(Debug)]
pub struct HeadsFile(File);

impl HeadsFile {
    /// Opens or creates it.
    ///
    /// # Errors
    /// When that fails.
    pub fn open(dir: &Path) -> io::Result<Self> {
        OpenOptions::new().create(true).truncate(false).write(true).open(dir.join(NAME)).map(Self)
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// When that fails.
    pub fn write(&self, heads: &Heads) -> io::Result<()> {
        let lines = LogType::ALL.iter().flat_map(|log_type| line(*log_type, &heads[log_type.index()]));
        self.0.write_all_at(&lines.collect::<Vec<u8>>(), 0)
    }
}
