//! Questions to the log, over current and archived files, newest records first, in bounded memory.
//!
//! One pass counts what matches and keeps the places of the newest ones; a second one reads the lines of the page.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io;

use serde_json::value::RawValue;

use super::AuditLog;
use super::files::{Line, LogFile, list};
use super::record::{LogType, Stored};
use super::time::DAY_US;

/// Records of one answer at most.
pub const MAX_LIMIT: usize = 1000;
/// Records that may be passed over at most: older ones are reached by `end_time`.
pub const MAX_OFFSET: usize = 100_000;
/// Lines between two looks whether anybody still waits.
const LOOK_EVERY: u64 = 1024;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Only this type.
    pub log_type: Option<LogType>,
    /// Only of this user.
    pub user_id: Option<String>,
    /// Only this action.
    pub action: Option<String>,
    /// Not before, us.
    pub start_us: u64,
    /// Not after, us.
    pub end_us: u64,
    /// So many records.
    pub limit: usize,
    /// After passing over so many.
    pub offset: usize,
}

impl Default for Query {
    fn default() -> Self {
        let (limit, offset, end_us) = (100, 0, u64::MAX);
        Self { log_type: None, user_id: None, action: None, start_us: 0, end_us, limit, offset }
    }
}

/// What was found.
#[derive(Debug)]
pub struct Found {
    /// The page's records as they were written, newest first.
    pub logs: Vec<Box<RawValue>>,
    /// All that match.
    pub total: u64,
    /// Lines that are no records: see `ringfence audit verify`.
    pub unreadable: u64,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// Nobody waits any more, or it took too long.
    #[error("it takes too long to look through the log")]
    Stopped,
    /// A file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Where a record stands; greater is newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    timestamp_us: u64,
    file: (LogType, u64),
    line: u64,
}

impl Query {
    fn wants_file(&self, file: &LogFile) -> bool {
        self.log_type.is_none_or(|log_type| log_type == file.log_type)
            && file.day >= self.start_us / DAY_US
            && file.day <= self.end_us / DAY_US
    }

    /// The time of a record that is asked for.
    fn takes(&self, record: &Stored<'_>) -> Option<u64> {
        let at = record.timestamp_us()?;
        let wanted = (self.start_us..=self.end_us).contains(&at)
            && self.user_id.as_ref().is_none_or(|user| *user == record.user_id)
            && self.action.as_ref().is_none_or(|action| *action == record.action);
        wanted.then_some(at)
    }
}

impl AuditLog {
    /// Answers `query`. Blocks; `stopped` is asked now and then whether to give up.
    ///
    /// # Errors
    /// [`QueryError`].
    pub fn query(&self, query: &Query, stopped: impl Fn() -> bool) -> Result<Found, QueryError> {
        self.settle();
        let dir = &self.shared.options.dir;
        let files: Vec<LogFile> = list(dir)?.into_iter().filter(|file| query.wants_file(file)).collect();
        let keep = query.offset.min(MAX_OFFSET) + query.limit.min(MAX_LIMIT);
        let mut newest: BinaryHeap<Reverse<Place>> = BinaryHeap::with_capacity(keep.min(4096) + 1);
        let mut found = Found { logs: Vec::new(), total: 0, unreadable: 0 };
        for file in &files {
            each_line(self, file, &stopped, |number, line| {
                let Ok(record) = Stored::parse(line) else { return found.unreadable += 1 };
                let Some(timestamp_us) = query.takes(&record) else { return };
                found.total += 1;
                newest.push(Reverse(Place {
                    timestamp_us,
                    file: (file.log_type, file.number),
                    line: number,
                }));
                if newest.len() > keep {
                    newest.pop();
                }
            })?;
        }
        // Oldest first in the heap's order, so newest first in the sorted one.
        let page: Vec<Place> =
            newest.into_sorted_vec().into_iter().map(|Reverse(place)| place).skip(query.offset).collect();
        found.logs = self.read_page(&files, &page, &stopped)?;
        Ok(found)
    }

    fn read_page(
        &self,
        files: &[LogFile],
        page: &[Place],
        stopped: &impl Fn() -> bool,
    ) -> Result<Vec<Box<RawValue>>, QueryError> {
        let mut wanted: BTreeMap<(LogType, u64), BTreeMap<u64, usize>> = BTreeMap::new();
        for (at, place) in page.iter().enumerate() {
            wanted.entry(place.file).or_default().insert(place.line, at);
        }
        let mut logs: Vec<Option<Box<RawValue>>> = vec![None; page.len()];
        for file in files {
            let Some(lines) = wanted.get(&(file.log_type, file.number)) else { continue };
            each_line(self, file, stopped, |number, line| {
                if let Some(at) = lines.get(&number) {
                    logs[*at] = serde_json::from_slice(line).ok();
                }
            })?;
        }
        // A file that retention has removed in between has no records any more.
        Ok(logs.into_iter().flatten().collect())
    }
}

/// Every whole line of `file` with its number, from 1.
fn each_line(
    log: &AuditLog,
    file: &LogFile,
    stopped: &impl Fn() -> bool,
    mut each: impl FnMut(u64, &[u8]),
) -> Result<(), QueryError> {
    let Some(mut lines) = file.open(&log.shared.options.dir)? else { return Ok(()) };
    let mut number = 0;
    // A line that is just being written is the next answer's.
    while let Some(Line::Full(line)) = lines.next_line()? {
        number += 1;
        if number % LOOK_EVERY == 1 && stopped() {
            return Err(QueryError::Stopped);
        }
        each(number, line);
    }
    Ok(())
}
