//! One series of files and its chain, for its only writer.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::files::{LogFile, walk};
use super::heads::Head;
use super::record::{ChainHash, Entry, Fault, LogType};
use super::time::DAY_US;

/// The newest file of a series.
#[derive(Debug)]
enum Open {
    /// Nothing is added to it any more, or there is none.
    No,
    /// It takes records.
    Yes(File),
    /// It takes records, but a write has failed: what it holds beyond the good bytes must go first.
    Lost,
}

/// One series.
#[derive(Debug)]
pub struct Series {
    dir: PathBuf,
    file: LogFile,
    open: Open,
    bytes: u64,
    records: u64,
    last: ChainHash,
    dirty: bool,
    /// A sync has failed.
    lost: bool,
}

/// What a series looked like at start, where something has to be said about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Noticed {
    /// A record was cut off by a crash: its bytes are removed.
    Torn {
        /// The file's name.
        file: String,
        /// Bytes removed.
        bytes: u64,
    },
    /// The chain does not hold: the file stays as it is, and a new one goes on.
    Broken {
        /// The file's name.
        file: String,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong.
        why: String,
    },
}

impl Series {
    /// Goes on with the newest of `files`, up to which the log was synced at `head`.
    ///
    /// # Errors
    /// When the file cannot be read or cut.
    pub fn resume(
        dir: &Path,
        log_type: LogType,
        files: &[LogFile],
        head: &Head,
        today: u64,
    ) -> io::Result<(Self, Option<Noticed>)> {
        let none = LogFile { log_type, number: head.number, day: today, archived: false };
        let mut series = Self {
            dir: dir.to_owned(),
            file: none,
            open: Open::No,
            bytes: 0,
            records: head.records,
            last: head.hash,
            dirty: false,
            lost: false,
        };
        let Some(file) = files.iter().rfind(|file| file.log_type == log_type).copied() else {
            let gone = (head.number > 0).then(|| {
                let file = LogFile { log_type, ..series.file }.name();
                Noticed::Broken { file, line: 1, why: "the newest file is missing".into() }
            });
            return Ok((series, gone));
        };
        let Some(mut lines) = file.open(dir)? else {
            return Err(io::Error::other(format!("{} vanished while it was opened", file.name())));
        };
        let mut at_head = None;
        let first = if file.number == 1 { Some(ChainHash::ZERO) } else { None };
        let walked = walk(&mut lines, &file, first, |line, _, hash| {
            if (file.number, line) == (head.number, head.records) {
                at_head = Some(*hash);
            }
        })?;
        let broken = |line, why: String| Noticed::Broken { file: file.name(), line, why };
        let behind = (file.number, walked.records) < (head.number, head.records);
        let other = file.number == head.number && head.records > 0 && at_head != Some(head.hash);
        let noticed = match &walked.fault {
            Some((_, Fault::Torn)) if !behind && !other && !file.archived => {
                let bytes = std::fs::metadata(file.path(dir))?.len().saturating_sub(walked.bytes);
                OpenOptions::new().write(true).open(file.path(dir))?.set_len(walked.bytes)?;
                Some(Noticed::Torn { file: file.name(), bytes })
            }
            Some((line, fault)) => Some(broken(*line, fault.to_string())),
            None if behind || other => {
                let why = format!("record {} of file {} had been here", head.records, head.number);
                Some(broken(walked.records, why))
            }
            None => None,
        };
        series.file.number = file.number.max(head.number);
        // Where the end is missing, what comes next follows the record that is gone: the gap stays visible.
        if walked.records > 0 && !behind && !other {
            series.last = walked.last;
        }
        let whole = !matches!(noticed, Some(Noticed::Broken { .. }));
        if whole && !file.archived && file.day == today {
            series.file = file;
            series.open = Open::Lost;
            (series.bytes, series.records) = (walked.bytes, walked.records);
        } else if whole {
            series.records = walked.records;
        }
        Ok((series, noticed))
    }

    /// Adds records with one write: as many of `entries` as the file takes, at least one; how many. Whatever fails, nothing
    /// of them stays, and the same may be tried again.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn append<'a>(
        &mut self,
        entries: impl IntoIterator<Item = &'a Entry>,
        now_us: impl Fn() -> u64,
        max_bytes: u64,
    ) -> io::Result<usize> {
        let (mut lines, mut last, mut count, mut day) = (Vec::new(), self.last, 0, 0);
        for entry in entries {
            let now_us = now_us();
            let (line, hash) = entry.line(now_us, &last);
            let fits = self.bytes + (lines.len() + line.len()) as u64 <= max_bytes;
            if count == 0 {
                day = now_us / DAY_US;
                let full = self.records > 0 && !fits;
                if self.is_open() && (full || self.file.day != day) {
                    self.close()?;
                }
            } else if !fits || now_us / DAY_US != day {
                break;
            }
            lines.extend_from_slice(&line);
            (last, count) = (hash, count + 1);
        }
        if count == 0 {
            return Ok(0);
        }
        let file = match &mut self.open {
            Open::Yes(file) => file,
            Open::No | Open::Lost => self.reach(day)?,
        };
        if let Err(error) = file.write_all(&lines) {
            self.open = Open::Lost;
            return Err(error);
        }
        self.bytes += lines.len() as u64;
        self.records += count as u64;
        self.last = last;
        self.dirty = true;
        Ok(count)
    }

    /// Opens the file again after a failure, or a new one.
    fn reach(&mut self, day: u64) -> io::Result<&mut File> {
        let file = if matches!(self.open, Open::Lost) {
            let file = OpenOptions::new().append(true).open(self.file.path(&self.dir))?;
            if file.metadata()?.len() != self.bytes {
                file.set_len(self.bytes)?;
            }
            file
        } else {
            let next = LogFile { number: self.file.number + 1, day, ..self.file }.archived(false);
            let file = OpenOptions::new().create_new(true).append(true).open(next.path(&self.dir))?;
            (self.file, self.bytes, self.records, self.dirty) = (next, 0, 0, true);
            self.open = Open::Lost;
            File::open(&self.dir)?.sync_all()?;
            file
        };
        self.open = Open::Yes(file);
        match &mut self.open {
            Open::Yes(file) => Ok(file),
            Open::No | Open::Lost => Err(io::Error::other("not open")),
        }
    }

    /// Has everything on disk.
    ///
    /// # Errors
    /// When that fails: what was written may be lost, whatever the kernel says later.
    pub fn sync(&mut self) -> io::Result<()> {
        if self.dirty
            && let Open::Yes(file) = &self.open
        {
            file.sync_data().inspect_err(|_| self.lost = true)?;
            self.dirty = false;
        }
        Ok(())
    }

    /// Adds nothing more to the file.
    ///
    /// # Errors
    /// As [`Self::sync`].
    pub fn close(&mut self) -> io::Result<()> {
        self.sync()?;
        self.open = Open::No;
        Ok(())
    }

    /// Whether its file takes records.
    pub const fn is_open(&self) -> bool {
        !matches!(self.open, Open::No)
    }

    /// Whether there is something to sync.
    pub const fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Whether a sync has failed: then nobody knows what is on disk.
    pub const fn is_lost(&self) -> bool {
        self.lost
    }

    /// The day of its file.
    pub const fn day(&self) -> u64 {
        self.file.day
    }

    /// The first file that takes records, whether it is there yet or not: those below it take no more.
    pub const fn first_open(&self) -> u64 {
        if self.is_open() { self.file.number } else { self.file.number + 1 }
    }

    /// Where it is now.
    pub const fn head(&self) -> Head {
        Head { number: self.file.number, records: self.records, hash: self.last }
    }
}
