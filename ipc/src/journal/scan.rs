//! Reading one segment's slots back, checking each one.
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
