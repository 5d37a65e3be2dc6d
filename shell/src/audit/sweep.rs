//! What happens to files that take no more records: they are compressed, and removed when their time is over.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use flate2::{Compression, GzBuilder};

use super::files::{LogFile, UNFINISHED, list, walk};
use super::record::{ChainHash, Entry, LogType, Object};
use super::time::DAY_US;
use super::{AuditLog, Line};

/// Files that one sweep compresses, and files that it removes, at most; the rest is the next one's.
const MAX_FILES: usize = 32;
/// When files are left over, the next sweep comes after this long.
const SOON: Duration = Duration::from_secs(5);
/// What a removed file is recorded as.
pub const EXPIRED: &str = "audit_expired";

/// What the sweeper is told.
pub enum Wake {
    /// A file has ended.
    Sweep,
    /// No more.
    Stop,
}

/// What a sweep has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Files compressed.
    pub archived: usize,
    /// Files removed because their time was over.
    pub deleted: usize,
    /// Bytes that are free now.
    pub freed_bytes: u64,
    /// What could not be done, in words.
    pub errors: Vec<String>,
    /// There is more to do.
    pub more: bool,
}

/// What lies on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Files that are not compressed.
    pub log_files: usize,
    /// Files that are.
    pub archive_files: usize,
    /// Their bytes.
    pub total_bytes: u64,
}

/// As low as there is: compressing a full file takes a second of a CPU.
const NICE: i32 = 19;

/// Sweeps now and then, and when a file has ended.
pub fn run(log: &AuditLog, woken: &Receiver<Wake>) {
    // Whoever waits for an answer goes first; on Linux this is the thread's own.
    if let Err(error) = rustix::process::nice(NICE) {
        tracing::debug!(%error, "the audit log's sweep keeps its priority");
    }
    let usual = log.shared.options.sweep_interval;
    let mut pause = SOON.min(usual);
    loop {
        match woken.recv_timeout(pause) {
            Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            Ok(Wake::Sweep) | Err(RecvTimeoutError::Timeout) => {}
        }
        let swept = log.sweep();
        for error in &swept.errors {
            tracing::warn!(error, "the audit log's sweep");
        }
        pause = if swept.more { SOON } else { usual };
    }
}

impl AuditLog {
    /// Compresses files that take no more records and removes those whose time is over, a bounded number of them. Blocks.
    #[must_use]
    pub fn sweep(&self) -> Swept {
        let _turn = self.shared.sweeping.lock().unwrap_or_else(PoisonError::into_inner);
        let mut swept = Swept::default();
        match list(&self.shared.options.dir) {
            Ok(files) => {
                let left = self.expire(&files, &mut swept);
                self.archive(&left, &mut swept);
            }
            Err(error) => swept.errors.push(format!("the log's directory cannot be listed: {error}")),
        }
        swept
    }

    /// What lies on the disk. Blocks.
    ///
    /// # Errors
    /// When the directory cannot be listed.
    pub fn stats(&self) -> io::Result<Stats> {
        let dir = &self.shared.options.dir;
        let mut stats = Stats::default();
        for file in list(dir)? {
            // A file that is gone by now has no bytes.
            stats.total_bytes += file.path(dir).metadata().map_or(0, |meta| meta.len());
            stats.log_files += usize::from(!file.archived);
            stats.archive_files += usize::from(file.archived);
        }
        Ok(stats)
    }

    /// How long each type is kept.
    #[must_use]
    pub fn retention(&self) -> [(LogType, Duration); 5] {
        LogType::ALL.map(|log_type| (log_type, self.shared.options.retain[log_type.index()]))
    }

    /// Whether it may take records: a file that was just begun is ahead of what the writer has told.
    fn is_open(&self, file: &LogFile) -> bool {
        file.number >= self.shared.first_open[file.log_type.index()].load(Ordering::Acquire)
    }

    /// Removes the oldest files of each series whose last moment is over for long enough. That is recorded first, in the
    /// same series, so that it is not taken for a theft. Returns the files that stay.
    fn expire(&self, files: &[LogFile], swept: &mut Swept) -> Vec<LogFile> {
        let now_us = self.shared.now_us();
        let mut left = Vec::new();
        for log_type in LogType::ALL {
            let retain = self.shared.options.retain[log_type.index()].as_micros();
            let due = |file: &LogFile| {
                let end = u128::from(file.day + 1) * u128::from(DAY_US);
                !self.is_open(file) && u128::from(now_us) >= end + retain
            };
            let mut blocked = false;
            for file in files.iter().filter(|file| file.log_type == log_type) {
                blocked |= !due(file);
                if !blocked && swept.deleted >= MAX_FILES {
                    (blocked, swept.more) = (true, true);
                }
                if !blocked {
                    match self.remove(file) {
                        Ok(bytes) => {
                            (swept.deleted, swept.freed_bytes) =
                                (swept.deleted + 1, swept.freed_bytes + bytes);
                            continue;
                        }
                        Err(error) => swept.errors.push(format!("{} stays: {error}", file.name())),
                    }
                    blocked = true;
                }
                left.push(*file);
            }
        }
        left
    }

    /// Records that `file` goes, then removes it; its bytes.
    fn remove(&self, file: &LogFile) -> io::Result<u64> {
        let dir = &self.shared.options.dir;
        let Some(mut lines) = file.open(dir)? else { return Ok(0) };
        let (mut records, mut last) = (0_u64, None);
        while let Some(Line::Full(line)) = lines.next_line()? {
            records += 1;
            last = super::record::check_line(line).ok().map(|(_, hash)| hash);
        }
        let last_hash = last.unwrap_or(ChainHash::ZERO);
        let mut details = Object::default();
        details.put("file", &file.number);
        details.put("name", &file.archived(false).name());
        details.put("records", &records);
        details.put("last_hash", last_hash.text());
        let slot = self.reserve().map_err(io::Error::other)?;
        let recorded = slot.write_durably(Entry::system(file.log_type, EXPIRED, &details));
        recorded.blocking_recv().map_err(|_| io::Error::other("its end could not be recorded"))?;
        let mut bytes = 0;
        for file in [*file, file.archived(!file.archived)] {
            bytes += file.path(dir).metadata().map_or(0, |meta| meta.len());
            remove_if_there(&file.path(dir))?;
        }
        Ok(bytes)
    }

    fn archive(&self, files: &[LogFile], swept: &mut Swept) {
        for file in files.iter().filter(|file| !file.archived && !self.is_open(file)) {
            if swept.archived >= MAX_FILES {
                swept.more = true;
                return;
            }
            match self.compress(file) {
                Ok(freed) => {
                    (swept.archived, swept.freed_bytes) = (swept.archived + 1, swept.freed_bytes + freed);
                }
                Err(error) => swept.errors.push(format!("{} is not compressed: {error}", file.name())),
            }
        }
    }

    /// Compresses one file, byte for byte, and looks whether its chain holds on the way; the bytes that are free then.
    fn compress(&self, file: &LogFile) -> io::Result<u64> {
        let dir = &self.shared.options.dir;
        let (plain, done) = (file.path(dir), file.archived(true).path(dir));
        let unfinished = done.with_extension(format!("gz{UNFINISHED}"));
        let out = OpenOptions::new().create(true).truncate(true).write(true).open(&unfinished)?;
        let mut gzip = GzBuilder::new()
            .operating_system(255)
            .write(BufWriter::with_capacity(64 << 10, out), Compression::default());
        let before = io::copy(&mut File::open(&plain)?, &mut gzip)?;
        let mut buffered = gzip.finish()?;
        buffered.flush()?;
        let out = buffered.into_inner().map_err(|error| io::Error::other(error.to_string()))?;
        out.sync_all()?;
        let after = out.metadata()?.len();
        if let Some(mut lines) = file.open(dir)? {
            let walked = walk(&mut lines, file, None, |_, _, _| {})?;
            if let Some((line, fault)) = walked.fault {
                self.shared.tell_broken(format!("{}, line {line}: {fault}", file.name()));
            }
        }
        std::fs::rename(&unfinished, &done)?;
        File::open(dir)?.sync_all()?;
        remove_if_there(&plain)?;
        Ok(before.saturating_sub(after))
    }
}

fn remove_if_there(path: &std::path::Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
