//! The archive offline: export and verify, without a gate.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::FIRST_POSITION;
use super::archive::{SegmentHeader, Tail};
use super::chained::{ArchiveError, ArchiveScan, Segments};
use super::record::Record;

/// A running gate may be writing the very bytes that are read: damage at the end counts when it is still there after
/// this many looks, this far apart.
const TAIL_LOOKS: usize = 4;
const TAIL_PAUSE: Duration = Duration::from_millis(2);

/// A directory of segment files.
#[derive(Clone, Debug)]
pub struct SegmentDir(PathBuf);

impl SegmentDir {
    /// The segments in `dir`.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self(dir.to_owned())
    }

    /// The oldest position that the archive holds; the journal's first where nothing is archived yet.
    ///
    /// # Errors
    /// [`ArchiveError::List`].
    pub fn oldest(&self) -> Result<u64, ArchiveError> {
        match self.firsts() {
            Ok(firsts) => Ok(firsts.first().copied().unwrap_or(FIRST_POSITION)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(FIRST_POSITION),
            Err(error) => Err(ArchiveError::List(error)),
        }
    }
}

impl Segments for SegmentDir {
    type File = File;

    fn firsts(&self) -> io::Result<Vec<u64>> {
        let mut firsts = Vec::new();
        for entry in std::fs::read_dir(&self.0)? {
            firsts.extend(entry?.file_name().to_str().and_then(SegmentHeader::parse_file_name));
        }
        firsts.sort_unstable();
        Ok(firsts)
    }

    fn open_segment(&self, first: u64) -> io::Result<File> {
        File::open(self.0.join(SegmentHeader::file_name(first)))
    }
}

/// Streams every record of an archive, oldest first. Safe beside a running gate: it only reads.
#[derive(Debug)]
pub struct ArchiveReader {
    scan: ArchiveScan<SegmentDir>,
}

impl ArchiveReader {
    /// Starts at the oldest segment in `dir`.
    ///
    /// # Errors
    /// [`ArchiveError`] when the directory cannot be listed or its first segment cannot be opened.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, ArchiveError> {
        Ok(Self { scan: ArchiveScan::new(SegmentDir::new(dir.as_ref()))? })
    }

    /// The next record and its position; `None` behind the last whole one.
    ///
    /// # Errors
    /// [`ArchiveError`] when records that were written cannot be read any more.
    #[allow(clippy::should_implement_trait, reason = "an iterator cannot stop at its first error")]
    pub fn next(&mut self) -> Result<Option<(u64, Record)>, ArchiveError> {
        for _ in 0..TAIL_LOOKS {
            if let Some(found) = self.scan.next(u64::MAX)? {
                return Ok(Some(found));
            }
            if self.scan.judge_tail().is_ok() {
                return Ok(None);
            }
            std::thread::sleep(TAIL_PAUSE);
        }
        self.scan.judge_tail()?;
        Ok(None)
    }

    /// Position behind the last record read; 0 when the archive is empty.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.scan.position()
    }

    /// Reads a whole archive and says what it found.
    #[must_use]
    pub fn verify(dir: impl AsRef<Path>) -> Verification {
        let mut found = Verification::default();
        let mut reader = match Self::open(dir) {
            Ok(reader) => reader,
            Err(error) => return Verification { error: Some(error), ..found },
        };
        loop {
            match reader.next() {
                Ok(Some((position, _))) => {
                    found.records += 1;
                    found.first_position.get_or_insert(position);
                    found.last_position = Some(position);
                }
                Ok(None) => break,
                Err(error) => {
                    found.error = Some(error);
                    break;
                }
            }
        }
        found.segments = reader.scan.firsts().len();
        found.end_position = reader.position();
        found.durable_position = reader.scan.segment().map_or(0, |segment| segment.durable().position);
        found.tail = reader.scan.tail();
        found
    }
}

/// What [`ArchiveReader::verify`] found.
#[derive(Debug, Default)]
pub struct Verification {
    /// Whole records read.
    pub records: u64,
    /// Segment files.
    pub segments: usize,
    /// Position of the first record.
    pub first_position: Option<u64>,
    /// Position of the last whole record.
    pub last_position: Option<u64>,
    /// Position behind it; 0 when there is no segment.
    pub end_position: u64,
    /// Every position below this was on disk, by the last segment's own mark.
    pub durable_position: u64,
    /// How the records end; `None` when an error came first.
    pub tail: Option<Tail>,
    /// The first damage, with its position.
    pub error: Option<ArchiveError>,
}
