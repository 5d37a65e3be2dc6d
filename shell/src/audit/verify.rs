//! The proof that nothing was changed: every chain, from file to file, current and archived.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use serde::Deserialize;

use super::LOCK;
use super::files::{GZIP_HEADER, LogFile, list, walk};
use super::heads::{self, Head, Heads};
use super::record::{ChainHash, Fault, LogType, Stored};
use super::sweep::EXPIRED;

/// Looks again when a file was archived or removed meanwhile.
const ATTEMPTS: usize = 3;

/// What was found in one series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesFinding {
    /// Which.
    pub log_type: LogType,
    /// Its files.
    pub files: usize,
    /// Records whose chain holds.
    pub records: u64,
    /// Number of its first file: those before it were removed by retention.
    pub first_file: u64,
    /// The first thing that is wrong.
    pub bad: Option<Bad>,
    /// Bytes after the last record, which a crash cut off; the next start removes them.
    pub torn_bytes: u64,
}

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    /// The file's name.
    pub file: String,
    /// The line, from 1; none: the file as a whole.
    pub line: Option<u64>,
    /// What is wrong.
    pub why: String,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// Every series.
    pub series: Vec<SeriesFinding>,
    /// What is wrong with the log as a whole.
    pub bad: Option<Bad>,
    /// A shell writes it now.
    pub live: bool,
}

impl Verification {
    /// Whether every chain holds.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.bad.is_none() && self.series.iter().all(|series| series.bad.is_none())
    }
}

/// Proves the log in `dir`, live or left behind. `each` sees every good record's line, series by series.
///
/// # Errors
/// When the directory cannot be read; a file that cannot be is a finding.
pub fn verify(dir: &Path, mut each: impl FnMut(LogType, &[u8])) -> io::Result<Verification> {
    let mut attempt = 1;
    loop {
        // Before the files: they may only have grown since.
        let heads = heads::read(dir);
        let files = list(dir)?;
        let mut found = once(dir, &files, heads, &mut |_, _| {});
        let moved = !found.holds() && list(dir)? != files;
        if (moved || found.live && !found.holds()) && attempt < ATTEMPTS {
            attempt += 1;
            continue;
        }
        if found.holds() {
            // The records are shown once, after it is clear that they are what they were.
            let again = once(dir, &files, Ok(None), &mut each);
            if again.series.iter().any(|series| series.bad.is_some()) {
                found = again;
            }
        }
        return Ok(found);
    }
}

fn once(
    dir: &Path,
    files: &[LogFile],
    heads: io::Result<Option<Heads>>,
    each: &mut impl FnMut(LogType, &[u8]),
) -> Verification {
    let whole = |why: String| Some(Bad { file: heads::NAME.into(), line: None, why });
    let (heads, bad) = match heads {
        Ok(Some(heads)) => (heads, None),
        Ok(None) if files.is_empty() => ([Head::NONE; 5], None),
        Ok(None) => (
            [Head::NONE; 5],
            whole("it is missing: nothing tells whether the newest records are there".into()),
        ),
        Err(error) => ([Head::NONE; 5], whole(error.to_string())),
    };
    let live = File::open(dir.join(LOCK)).is_ok_and(|lock| lock.try_lock_shared().is_err());
    let series = LogType::ALL.map(|log_type| {
        let own: Vec<LogFile> = files.iter().filter(|file| file.log_type == log_type).copied().collect();
        let mut chain = Chain::new(dir, log_type, heads[log_type.index()]);
        let bad = chain.verify(&own, each).err();
        SeriesFinding {
            log_type,
            files: own.len(),
            records: chain.records,
            first_file: own.first().map_or(0, |file| file.number),
            bad,
            torn_bytes: chain.torn_bytes,
        }
    });
    Verification { series: series.into(), bad, live }
}

/// One series while it is walked along.
struct Chain<'a> {
    dir: &'a Path,
    log_type: LogType,
    head: Head,
    records: u64,
    torn_bytes: u64,
    /// Files that retention has removed: number and last hash, as records say.
    expired: BTreeMap<u64, String>,
    /// The hash where the series was last synced, if that record is there.
    at_head: Option<ChainHash>,
}

#[derive(Deserialize)]
struct Expired {
    file: u64,
    last_hash: String,
}

impl<'a> Chain<'a> {
    fn new(dir: &'a Path, log_type: LogType, head: Head) -> Self {
        Self { dir, log_type, head, records: 0, torn_bytes: 0, expired: BTreeMap::new(), at_head: None }
    }

    fn verify(&mut self, files: &[LogFile], each: &mut impl FnMut(LogType, &[u8])) -> Result<(), Bad> {
        let mut before: Option<(LogFile, ChainHash)> = None;
        let mut begins = None;
        for (i, file) in files.iter().enumerate() {
            if let Some((earlier, _)) = before
                && file.number != earlier.number + 1
            {
                return Err(bad(
                    file,
                    None,
                    &format!("file {} of the series is missing before it", file.number - 1),
                ));
            }
            let prev = match before {
                Some((_, last)) => Some(last),
                None => (file.number == 1).then_some(ChainHash::ZERO),
            };
            let newest = i + 1 == files.len();
            let (first_prev, last) = self.file(file, prev, newest, each)?;
            begins = begins.or(first_prev.map(|prev| (*file, prev)));
            before = Some((*file, last.unwrap_or(prev.unwrap_or(ChainHash::ZERO))));
        }
        self.end(before.map(|(file, _)| file))?;
        begins.map_or(Ok(()), |(file, prev)| self.beginning(&files[0], &file, prev))
    }

    /// Walks along one file; what its first record follows, and the hash of its last one.
    fn file(
        &mut self,
        file: &LogFile,
        prev: Option<ChainHash>,
        newest: bool,
        each: &mut impl FnMut(LogType, &[u8]),
    ) -> Result<(Option<ChainHash>, Option<ChainHash>), Bad> {
        let unreadable = |error: io::Error| bad(file, None, &format!("it cannot be read: {error}"));
        self.header(file).map_err(unreadable)?;
        let gone = || io::Error::other("it is gone");
        let mut lines = file.open(self.dir).and_then(|lines| lines.ok_or_else(gone)).map_err(unreadable)?;
        let (mut first_prev, mut told) = (None, None);
        let walked = walk(&mut lines, file, prev, |line, bytes, hash| {
            if line == 1 {
                first_prev = super::record::check_line(bytes).ok().map(|(prev, _)| prev);
            }
            if (file.number, line) == (self.head.number, self.head.records) {
                self.at_head = Some(*hash);
            }
            self.records += 1;
            told = told.take().or_else(|| self.learn(line, bytes));
            each(self.log_type, bytes);
        })
        .map_err(|error| bad(file, None, &format!("it cannot be read: {error}")))?;
        if let Some((line, why)) = told {
            return Err(bad(file, Some(line), &why));
        }
        match walked.fault {
            // What was synced is whole; what came after it may have been cut off by a crash.
            Some((line, Fault::Torn))
                if newest
                    && !file.archived
                    && (file.number, line) > (self.head.number, self.head.records) =>
            {
                let bytes = file.path(self.dir).metadata().map_or(0, |meta| meta.len());
                self.torn_bytes = bytes.saturating_sub(walked.bytes);
            }
            Some((line, fault)) => return Err(bad(file, Some(line), &fault.to_string())),
            None => {}
        }
        Ok((first_prev, (walked.records > 0).then_some(walked.last)))
    }

    /// The bytes of an archive that its checksum does not cover.
    fn header(&self, file: &LogFile) -> io::Result<()> {
        let mut header = [0; GZIP_HEADER.len()];
        if file.archived && file.path(self.dir).exists() {
            File::open(file.path(self.dir))?.read_exact(&mut header)?;
            if header != GZIP_HEADER {
                return Err(io::Error::other("its header was changed"));
            }
        }
        Ok(())
    }

    /// What the log says about itself.
    fn learn(&mut self, line: u64, bytes: &[u8]) -> Option<(u64, String)> {
        let record = Stored::parse(bytes).ok()?;
        match &*record.action {
            EXPIRED => {
                let expired: Expired = serde_json::from_str(record.details.get()).ok()?;
                self.expired.insert(expired.file, expired.last_hash);
                None
            }
            "audit_chain_broken" => {
                let found = record.details.get();
                Some((line, format!("here the shell noticed at its start that the log was broken: {found}")))
            }
            _ => None,
        }
    }

    /// Everything that was synced is there.
    fn end(&self, newest: Option<LogFile>) -> Result<(), Bad> {
        let head = &self.head;
        if head.number == 0 || self.at_head == Some(head.hash) {
            return Ok(());
        }
        let name =
            newest.map_or_else(|| format!("{}-{:08}", self.log_type.name(), head.number), |file| file.name());
        if newest.is_some_and(|file| file.number >= head.number) && self.at_head.is_some() {
            let why =
                format!("record {} of file {} is not the one that was synced", head.records, head.number);
            return Err(Bad { file: name, line: None, why });
        }
        if head.records == 0 && newest.is_some_and(|file| file.number >= head.number) {
            return Ok(());
        }
        let why = format!(
            "it ends too early: record {} of file {} was on disk and is missing",
            head.records, head.number
        );
        Err(Bad { file: name, line: None, why })
    }

    /// The first file is the very first, or retention has removed the one before it.
    fn beginning(&self, first: &LogFile, with_records: &LogFile, prev: ChainHash) -> Result<(), Bad> {
        if first.number == 1 {
            return Ok(());
        }
        let before = first.number - 1;
        if !self.expired.contains_key(&before) {
            let why = format!("file {before} is missing before it, and retention did not remove it");
            return Err(bad(first, None, &why));
        }
        // A file without records passes on what the one before it ended with.
        let zero = ChainHash::ZERO.text();
        let removed = (1..first.number).rev().map_while(|number| self.expired.get(&number));
        let expected = removed.map(String::as_str).find(|hash| *hash != zero).unwrap_or(zero);
        if expected == prev.text() {
            return Ok(());
        }
        Err(bad(with_records, Some(1), "it does not follow the file that retention removed"))
    }
}

fn bad(file: &LogFile, line: Option<u64>, why: &str) -> Bad {
    Bad { file: file.name(), line, why: why.to_owned() }
}
