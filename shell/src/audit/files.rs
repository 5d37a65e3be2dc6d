//! Files of the log: their names, and their lines one at a time.
//!
//! `order-00000042-20261121.ndjson`: type, number of the file in its series, UTC day of all its records; `.gz` once it
//! is archived.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use super::record::{ChainHash, Fault, LogType, MAX_LINE_BYTES, Stored, check_line};
use super::time::{DAY_US, day_name, parse_day_name};

/// An archive begins with these bytes: gzip, no name, no time, unknown system.
pub const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
const PLAIN: &str = ".ndjson";
const ARCHIVE: &str = ".ndjson.gz";
/// An archive that is being written.
pub const UNFINISHED: &str = ".tmp";

/// One file of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogFile {
    /// Its series.
    pub log_type: LogType,
    /// Its place in the series, from 1.
    pub number: u64,
    /// The UTC day of its records, since the epoch.
    pub day: u64,
    /// Compressed.
    pub archived: bool,
}

impl LogFile {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> String {
        let end = if self.archived { ARCHIVE } else { PLAIN };
        format!("{}-{:08}-{}{end}", self.log_type.name(), self.number, day_name(self.day))
    }

    /// Its path in `dir`.
    #[must_use]
    pub fn path(&self, dir: &Path) -> PathBuf {
        dir.join(self.name())
    }

    /// The same file, archived or not.
    #[must_use]
    pub const fn archived(self, archived: bool) -> Self {
        Self { archived, ..self }
    }

    /// The file of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let (stem, archived) = match name.strip_suffix(ARCHIVE) {
            Some(stem) => (stem, true),
            None => (name.strip_suffix(PLAIN)?, false),
        };
        let mut parts = stem.rsplitn(3, '-');
        let (day, number) = (parse_day_name(parts.next()?)?, parts.next()?.parse().ok()?);
        let found = Self { log_type: LogType::parse(parts.next()?)?, number, day, archived };
        (found.name() == name).then_some(found)
    }

    /// Opens it, archived meanwhile or not; none: retention has removed it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(&self, dir: &Path) -> io::Result<Option<Lines>> {
        for file in [*self, self.archived(!self.archived)] {
            match File::open(file.path(dir)) {
                Ok(opened) => return Ok(Some(Lines::new(opened, file.archived))),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

/// Every file in `dir`, by series and number. A file that is there twice, because its archiving was interrupted, is
/// listed as it was before.
///
/// # Errors
/// When the directory cannot be listed.
pub fn list(dir: &Path) -> io::Result<Vec<LogFile>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        files.extend(entry?.file_name().to_str().and_then(LogFile::parse));
    }
    files.sort();
    files.dedup_by_key(|file| (file.log_type, file.number, file.day));
    Ok(files)
}

/// The lines of a file, never more than one in memory.
pub struct Lines {
    reader: Box<dyn BufRead + Send>,
    line: Vec<u8>,
}

/// What stands in the place of a line.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// A line, without its newline.
    Full(&'a [u8]),
    /// The rest of the file is longer than a line can be.
    TooLong,
    /// The file ends within a line.
    Torn(&'a [u8]),
}

impl Lines {
    fn new(file: File, archived: bool) -> Self {
        let file = BufReader::with_capacity(64 << 10, file);
        let reader: Box<dyn BufRead + Send> = if archived {
            Box::new(BufReader::with_capacity(64 << 10, MultiGzDecoder::new(file)))
        } else {
            Box::new(file)
        };
        Self { reader, line: Vec::new() }
    }

    /// The next line; none at the end.
    ///
    /// # Errors
    /// When the file cannot be read, or is no archive.
    pub fn next_line(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        let most = MAX_LINE_BYTES as u64;
        let read = self.reader.by_ref().take(most).read_until(b'\n', &mut self.line)?;
        Ok(match self.line.split_last() {
            None => None,
            Some((b'\n', line)) => Some(Line::Full(line)),
            Some(_) if read == MAX_LINE_BYTES => Some(Line::TooLong),
            Some(_) => Some(Line::Torn(&self.line)),
        })
    }
}

/// What a walk along a file's chain has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walk {
    /// Good lines, from the first on.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The hash of the last of them; of none: the one before the file.
    pub last: ChainHash,
    /// The first bad line, counted from 1, and why.
    pub fault: Option<(u64, Fault)>,
}

/// Walks along the chain of `file` after `prev` (none: whatever the first line says), up to the first bad line. `each`
/// sees the number and the bytes of every good one, and its hash.
///
/// # Errors
/// When the file cannot be read.
pub fn walk(
    lines: &mut Lines,
    file: &LogFile,
    prev: Option<ChainHash>,
    mut each: impl FnMut(u64, &[u8], &ChainHash),
) -> io::Result<Walk> {
    let mut found = Walk { records: 0, bytes: 0, last: prev.unwrap_or(ChainHash::ZERO), fault: None };
    let mut expected = prev;
    while let Some(line) = lines.next_line()? {
        let checked = match line {
            Line::Full(line) => check(line, file, expected).map(|hash| (line, hash)),
            Line::TooLong => Err(Fault::TooLong),
            Line::Torn(_) => Err(Fault::Torn),
        };
        match checked {
            Ok((line, hash)) => {
                found.records += 1;
                found.bytes += line.len() as u64 + 1;
                found.last = hash;
                expected = Some(hash);
                each(found.records, line, &hash);
            }
            Err(fault) => {
                found.fault = Some((found.records + 1, fault));
                break;
            }
        }
    }
    Ok(found)
}

fn check(line: &[u8], file: &LogFile, expected: Option<ChainHash>) -> Result<ChainHash, Fault> {
    let (prev, hash) = check_line(line)?;
    if expected.is_some_and(|expected| expected != prev) {
        return Err(Fault::Link);
    }
    let record = Stored::parse(line)?;
    if record.log_type != file.log_type.name() {
        return Err(Fault::Type);
    }
    if record.timestamp_us().ok_or(Fault::Form)? / DAY_US != file.day {
        return Err(Fault::Day);
    }
    Ok(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_comes_back_and_nothing_else_is_one() {
        for archived in [false, true] {
            let file = LogFile { log_type: LogType::ApiKey, number: 42, day: 20_778, archived };
            assert_eq!(LogFile::parse(&file.name()), Some(file));
        }
        for name in [
            "order.ndjson",
            "order-1-20261121.ndjson",
            "order-00000001-20261131.ndjson",
            "x-00000001-20261121.ndjson",
            "order-00000001-20261121.ndjson.gz.tmp",
            "heads",
            "order--0000001-20261121.ndjson",
        ] {
            assert_eq!(LogFile::parse(name), None, "{name}");
        }
    }
}
