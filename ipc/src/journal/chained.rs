//! Reading a whole archive, segment after segment, as one log.

use std::io;

use super::archive::{HeaderError, ReadAt, Tail};
use super::record::Record;
use super::scan::{Scan, SegmentError, SegmentReader};

/// Where segments are kept.
pub trait Segments {
    /// An open segment.
    type File: ReadAt;

    /// First positions of all segments, ascending.
    ///
    /// # Errors
    /// Those of the medium.
    fn firsts(&self) -> io::Result<Vec<u64>>;

    /// Opens the segment that starts at `first` for reading.
    ///
    /// # Errors
    /// Those of the medium.
    fn open_segment(&self, first: u64) -> io::Result<Self::File>;
}

impl<S: Segments> Segments for std::sync::Arc<S> {
    type File = S::File;

    fn firsts(&self) -> io::Result<Vec<u64>> {
        (**self).firsts()
    }

    fn open_segment(&self, first: u64) -> io::Result<Self::File> {
        (**self).open_segment(first)
    }
}

/// Why an archive cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The medium failed.
    #[error("cannot read journal segment {segment:020}: {source}")]
    Io {
        /// First position of the segment.
        segment: u64,
        /// What the system said.
        source: io::Error,
    },
    /// The directory cannot be listed.
    #[error("cannot list the journal directory: {0}")]
    List(io::Error),
    /// A segment's head is damaged or of another version.
    #[error("journal segment {segment:020} cannot be used: {source}; restore this file from a copy")]
    Header {
        /// First position of the segment.
        segment: u64,
        /// What is wrong.
        source: HeaderError,
    },
    /// Bytes that were written are not there any more.
    #[error(
        "the journal is damaged at position {position} (segment {segment:020}): found {tail:?} where a record was \
         written; everything before it is intact; restore this segment from a copy"
    )]
    Damaged {
        /// First position of the segment.
        segment: u64,
        /// Where the intact records end.
        position: u64,
        /// What stands there.
        tail: Tail,
    },
    /// The next segment does not continue this one.
    #[error(
        "journal segment {segment:020} does not continue the records before position {expected}: a segment is \
         missing or belongs to another journal; put the missing file back"
    )]
    Break {
        /// First position of the segment that does not fit.
        segment: u64,
        /// The position expected next.
        expected: u64,
    },
}

impl ArchiveError {
    /// Names the segment that could not be opened.
    #[must_use]
    pub fn open(segment: u64, error: SegmentError) -> Self {
        match error {
            SegmentError::Io(source) => Self::Io { segment, source },
            SegmentError::Header(source) => Self::Header { segment, source },
        }
    }
}

/// Streams all records of an archive, in order, checking the chain across segments. Memory: one buffer.
#[derive(Debug)]
pub struct ArchiveScan<S: Segments> {
    place: S,
    firsts: Vec<u64>,
    index: usize,
    current: Option<SegmentReader<S::File>>,
    tail: Option<Tail>,
}

impl<S: Segments> ArchiveScan<S> {
    /// Starts at the oldest segment.
    ///
    /// # Errors
    /// [`ArchiveError`] when the segments cannot be listed or the first one cannot be opened.
    pub fn new(place: S) -> Result<Self, ArchiveError> {
        let firsts = place.firsts().map_err(ArchiveError::List)?;
        let mut scan = Self { place, firsts, index: 0, current: None, tail: None };
        if let Some(first) = scan.firsts.first().copied() {
            scan.current = Some(scan.open(first)?);
        }
        Ok(scan)
    }

    /// Position of the next record; 0 when there is no segment at all.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.current.as_ref().map_or(0, SegmentReader::position)
    }

    /// First positions of the segments.
    #[must_use]
    pub fn firsts(&self) -> &[u64] {
        &self.firsts
    }

    /// How the records end, once they have.
    #[must_use]
    pub const fn tail(&self) -> Option<Tail> {
        self.tail
    }

    /// The last segment opened.
    #[must_use]
    pub const fn segment(&self) -> Option<&SegmentReader<S::File>> {
        self.current.as_ref()
    }

    /// Goes on at `position`, where a record must start; the checksum chain there, or `None` when no segment reaches so
    /// far.
    ///
    /// # Errors
    /// [`ArchiveError`] when the segment cannot be read.
    pub fn seek(&mut self, position: u64) -> Result<Option<u32>, ArchiveError> {
        let Some(index) = self.firsts.partition_point(|first| *first <= position).checked_sub(1) else {
            return Ok(None);
        };
        let segment = self.firsts[index];
        let mut reader = self.open(segment)?;
        if position > segment + reader.header().capacity {
            return Ok(None);
        }
        reader.seek(position).map_err(|source| ArchiveError::Io { segment, source })?;
        let chain = reader.chain();
        (self.index, self.current, self.tail) = (index, Some(reader), None);
        Ok(Some(chain))
    }

    /// Goes back to the oldest segment's first record.
    ///
    /// # Errors
    /// [`ArchiveError`] when that segment cannot be opened.
    pub fn rewind(&mut self) -> Result<(), ArchiveError> {
        let oldest = self.firsts.first().copied();
        self.current = oldest.map(|first| self.open(first)).transpose()?;
        (self.index, self.tail) = (0, None);
        Ok(())
    }

    /// The next record below `limit`, or `None` at the end of the last segment's records.
    ///
    /// # Errors
    /// [`ArchiveError`]; the end of the last segment is never one, whatever stands there: ask [`Self::tail`].
    pub fn next(&mut self, limit: u64) -> Result<Option<(u64, Record)>, ArchiveError> {
        // Each turn but the last moves to a later segment.
        for _ in 0..=self.firsts.len() {
            let Some(reader) = &mut self.current else { break };
            let segment = reader.header().first;
            let tail = match reader.next(limit).map_err(|source| ArchiveError::Io { segment, source })? {
                Scan::Record(position, record) => return Ok(Some((position, record))),
                Scan::End(tail) => tail,
            };
            let position = reader.position();
            let Some(next) = self.firsts.get(self.index + 1).copied() else {
                self.tail = Some(tail);
                return Ok(None);
            };
            if position >= limit {
                return Ok(None);
            }
            if !matches!(tail, Tail::Clean | Tail::Zeros) {
                return Err(ArchiveError::Damaged { segment, position, tail });
            }
            if position != next {
                return Err(ArchiveError::Break { segment: next, expected: position });
            }
            let (chain, journal_id) = (reader.chain(), reader.header().journal_id);
            let following = self.open(next)?;
            if following.header().chain != chain || following.header().journal_id != journal_id {
                return Err(ArchiveError::Break { segment: next, expected: position });
            }
            self.index += 1;
            self.current = Some(following);
        }
        self.tail.get_or_insert(Tail::Clean);
        Ok(None)
    }

    /// At the end of the records: whether what stands behind them is what a crash may leave.
    ///
    /// # Errors
    /// [`ArchiveError::Damaged`] when it is not, or when records are missing that were on disk.
    pub fn judge_tail(&self) -> Result<(), ArchiveError> {
        let (Some(reader), Some(tail)) = (&self.current, self.tail) else { return Ok(()) };
        if tail.is_crash_trace() && reader.position() >= reader.durable().position {
            return Ok(());
        }
        Err(ArchiveError::Damaged { segment: reader.header().first, position: reader.position(), tail })
    }

    fn open(&self, first: u64) -> Result<SegmentReader<S::File>, ArchiveError> {
        let file =
            self.place.open_segment(first).map_err(|source| ArchiveError::Io { segment: first, source })?;
        SegmentReader::open(file, first).map_err(|e| ArchiveError::open(first, e))
    }
}
