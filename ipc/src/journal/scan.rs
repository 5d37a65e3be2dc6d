//! Reading archived slots back, checking each one: over one segment's bytes, and over a whole archive.
//!
//! Nothing here repairs or judges: a scan says how far the records go and what stands there.

use std::io;

use super::archive::{
    DurableMark, HEADER_FIELD_BYTES, HeaderError, ReadAt, SECTOR_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader,
    SlotState, Tail, chain_after, check_slot, payload, read_full,
};
use super::record::{MAX_RECORD_SLOTS, Record, RecordError};
use crate::msg::{SLOT_BYTES, Words};

const BUFFER_BYTES: usize = 1 << 20;
const SECTOR_SLOTS: u64 = SECTOR_BYTES / SLOT_BYTES as u64;
/// A window ends here only where the file does: a whole record and the rest of its last sector are in view.
const LOOKAHEAD_BYTES: usize = (MAX_RECORD_SLOTS + SECTOR_SLOTS as usize) * SLOT_BYTES;

/// Why a segment cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Its head is not what a writer writes.
    #[error(transparent)]
    Header(#[from] HeaderError),
}

/// One step of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "a step is looked at once and dropped")]
pub enum Scan {
    /// The record at this position.
    Record(u64, Record),
    /// No record here; the reader stands at the end of the last whole one.
    End(Tail),
}

/// Reads one segment's records in order.
#[derive(Debug)]
pub struct SegmentReader<R> {
    source: R,
    header: SegmentHeader,
    durable: DurableMark,
    position: u64,
    chain: u32,
    buffer: Vec<u8>,
    /// Position of the buffer's first slot, bytes filled, and the first position whose slot may have changed since.
    held: (u64, usize, u64),
}

impl<R: ReadAt> SegmentReader<R> {
    /// Reads and checks the header of the segment whose file name says `named`.
    ///
    /// # Errors
    /// [`SegmentError`] when the file cannot be read or is no segment of this version.
    pub fn open(source: R, named: u64) -> Result<Self, SegmentError> {
        let mut page = [0; SEGMENT_HEADER_BYTES as usize];
        let count = read_full(&source, &mut page, 0)?;
        let header = SegmentHeader::decode(&page[..count.min(HEADER_FIELD_BYTES)], named)?;
        let durable = header.decode_marks(&page[..count])?;
        let (position, chain) = (header.first, header.chain);
        Ok(Self { source, header, durable, position, chain, buffer: Vec::new(), held: (0, 0, 0) })
    }

    /// The segment's header.
    #[must_use]
    pub const fn header(&self) -> &SegmentHeader {
        &self.header
    }

    /// The durable mark as read at open.
    #[must_use]
    pub const fn durable(&self) -> DurableMark {
        self.durable
    }

    /// Position of the next record.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// Gives the file back.
    #[must_use]
    pub fn into_source(self) -> R {
        self.source
    }

    /// The chain before the next record.
    #[must_use]
    pub const fn chain(&self) -> u32 {
        self.chain
    }

    /// Continues at `position`, where a record must start, taking the chain from the slot before it on trust.
    ///
    /// # Errors
    /// Those of the medium; `InvalidInput` when the segment has no such slot.
    pub fn seek(&mut self, position: u64) -> io::Result<()> {
        if position < self.header.first || position > self.header.first + self.header.capacity {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.chain = self.header.chain;
        if position > self.header.first {
            let mut slot = [0; SLOT_BYTES];
            if read_full(&self.source, &mut slot, self.header.offset_of(position - 1))? < SLOT_BYTES {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.chain = chain_after(&slot);
        }
        self.position = position;
        self.held = (0, 0, 0);
        Ok(())
    }

    /// The next record whose slots all lie below `limit`. After an end it may be asked again: the file is read anew.
    ///
    /// # Errors
    /// Those of the medium.
    pub fn next(&mut self, limit: u64) -> io::Result<Scan> {
        let end = limit.min(self.header.first + self.header.capacity);
        if self.position >= end {
            return Ok(Scan::End(Tail::Clean));
        }
        let at = self.fill(end)?;
        let sector_slot = (self.position - self.header.first) % SECTOR_SLOTS;
        match record_at(&self.buffer[at..self.held.1], sector_slot, self.position, self.chain) {
            Ok((_, slots, _)) if self.position + slots > self.header.first + self.header.capacity => {
                let slots = slots as u8;
                Ok(Scan::End(Tail::Undecodable(RecordError::BadLength { kind: self.buffer[at], slots })))
            }
            Ok((record, slots, chain)) => {
                let position = self.position;
                self.position += slots;
                self.chain = chain;
                Ok(Scan::Record(position, record))
            }
            Err(tail) => {
                self.held = (0, 0, 0);
                Ok(Scan::End(tail))
            }
        }
    }

    /// Makes the buffer show the next record; returns its byte offset there.
    fn fill(&mut self, end: u64) -> io::Result<usize> {
        let (start, filled, fresh) = self.held;
        let at = self.position.wrapping_sub(start).saturating_mul(SLOT_BYTES as u64);
        let ended = filled < self.buffer.len();
        if self.position < fresh
            && at < filled as u64
            && (ended || filled as u64 - at >= LOOKAHEAD_BYTES as u64)
        {
            return Ok(at as usize);
        }
        let room = (self.header.capacity as usize).saturating_mul(SLOT_BYTES);
        self.buffer.resize(room.min(BUFFER_BYTES), 0);
        let filled = read_full(&self.source, &mut self.buffer, self.header.offset_of(self.position))?;
        self.held = (self.position, filled, end);
        Ok(0)
    }
}

/// The record that starts at the front of `bytes`, its slots, and the chain after it.
///
/// `sector_slot` is the first slot's index within its sector.
///
/// # Errors
/// What stands there instead.
pub fn record_at(
    bytes: &[u8],
    sector_slot: u64,
    position: u64,
    chain: u32,
) -> Result<(Record, u64, u32), Tail> {
    let mut words: [Words; MAX_RECORD_SLOTS] = [[0; 7]; MAX_RECORD_SLOTS];
    let (first, mut chain) = slot_at(bytes, 0, sector_slot, position, chain)?;
    words[0] = first;
    let slots = Record::slots_of(&first).map_err(Tail::Undecodable)?;
    for (i, words) in words.iter_mut().enumerate().take(slots).skip(1) {
        (*words, chain) = slot_at(bytes, i, sector_slot, position, chain).map_err(|tail| match tail {
            Tail::Clean | Tail::Zeros | Tail::TornSlot => Tail::TornRecord,
            damage => damage,
        })?;
    }
    let record = Record::decode(&words[..slots]).map_err(Tail::Undecodable)?;
    Ok((record, slots as u64, chain))
}

fn slot_at(
    bytes: &[u8],
    index: usize,
    sector_slot: u64,
    first: u64,
    chain: u32,
) -> Result<(Words, u32), Tail> {
    let at = index * SLOT_BYTES;
    let rest = bytes.get(at..).unwrap_or(&[]);
    let Some(slot) = rest.first_chunk::<SLOT_BYTES>() else {
        return Err(if rest.is_empty() { Tail::Clean } else { Tail::TornSlot });
    };
    let tail = match check_slot(slot, first + index as u64, chain) {
        SlotState::Valid(chain) => return Ok((payload(slot), chain)),
        SlotState::Zeros => Tail::Zeros,
        SlotState::Torn => Tail::TornSlot,
        SlotState::BadChain => Tail::BadChain,
        SlotState::StaleLap => Tail::StaleLap,
        SlotState::WrongPosition => Tail::WrongPosition,
    };
    let behind = SECTOR_SLOTS - 1 - (sector_slot + index as u64) % SECTOR_SLOTS;
    let behind = &rest[SLOT_BYTES..rest.len().min(SLOT_BYTES * (1 + behind as usize))];
    let hole = matches!(tail, Tail::Zeros | Tail::TornSlot) && behind.iter().any(|b| *b != 0);
    Err(if hole { Tail::Hole } else { tail })
}

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
