//! The archive's bytes: segments of 64-byte slots, each slot carrying its position and a checksum chain.
//!
//! ```text
//!  <first position, 20 digits>.rfj
//!  byte    0  magic u64 | layout hash u64 | journal id u64 | first position u64
//!         32  epoch u64 | capacity in slots u64 | chain at start u32, 0 u32 | CRC32C of bytes 0..56 u32, 0 u32
//!        512  durable mark A: position u64 | CRC32C u32 | 0 u32
//!       1024  durable mark B: the two are written in turn, so that a torn one leaves the other
//!       4096  slot of `first`, 64 bytes:  payload words 0..6 | word 7
//!       4160  slot of `first + 1` ..      word 7 = chain u32 << 32 | low 32 bits of (position + 1)
//! ```
//!
//! The chain is CRC32C continued over the payloads of all slots before, so a slot proves itself and its whole past.
//! A segment is preallocated with zeros and written from its front; a record never spans two segments. Below the
//! durable mark every slot was on disk: what is missing there was lost, what is missing above was never promised.

use std::io;

use super::chain::{PAYLOAD_BYTES, chain_payload};
use super::record::RecordError;
use super::{FIRST_POSITION, JOURNAL_LAYOUT_HASH, POSITION_LIMIT};
use crate::msg::{PAYLOAD_WORDS, SLOT_BYTES, Words};

/// Bytes before a segment's first slot, one page.
pub const SEGMENT_HEADER_BYTES: u64 = 4096;
/// The bytes that a disk writes as a whole or not at all, in practice.
pub const SECTOR_BYTES: u64 = 512;
/// Where a segment's two durable marks stand, each alone in its sector.
pub const MARK_OFFSETS: [u64; 2] = [SECTOR_BYTES, 2 * SECTOR_BYTES];
/// Bytes of one durable mark.
pub const MARK_BYTES: usize = 16;
/// Bytes of the encoded [`SegmentHeader`].
pub const HEADER_FIELD_BYTES: usize = 64;

/// The most slots a segment may have: offsets stay far from overflow.
pub const MAX_SEGMENT_SLOTS: u64 = 1 << 32;

const MAGIC: u64 = u64::from_le_bytes(*b"RFJARCH1");
const DIGITS: usize = 20;
const SUFFIX: &str = ".rfj";

const _: () = assert!(SEGMENT_HEADER_BYTES.is_multiple_of(SECTOR_BYTES), "slots must not straddle sectors");
const _: () = assert!(SECTOR_BYTES.is_multiple_of(SLOT_BYTES as u64), "slots must not straddle sectors");
const _: () =
    assert!(MARK_OFFSETS[1] + SECTOR_BYTES <= SEGMENT_HEADER_BYTES, "the marks live in the header page");

/// What a segment says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Random, given when the journal was created; the hot ring carries the same.
    pub journal_id: u64,
    /// Position of the first slot, at least [`FIRST_POSITION`].
    pub first: u64,
    /// Life of the gate that created the segment.
    pub epoch: u64,
    /// Slots the file has room for; at least one.
    pub capacity: u64,
    /// The chain before the first slot.
    pub chain: u32,
}

/// What the two marks of a segment say together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DurableMark {
    /// Every position below it was on disk.
    pub position: u64,
    /// Which of the two may be written next: the other one still counts, should this write be torn.
    pub spare: usize,
}

/// Why the head of a file is no segment header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Fewer bytes than a header.
    #[error("the file is shorter than a segment header")]
    Short,
    /// Not a journal segment.
    #[error("the file does not start with a segment's magic")]
    Magic,
    /// The header's checksum does not match: its bytes changed after they were written.
    #[error("the header's checksum is wrong")]
    Checksum,
    /// Written by a version with other record layouts.
    #[error("written with journal layout {found:#x}, this version reads {JOURNAL_LAYOUT_HASH:#x}")]
    Layout {
        /// The layout hash found.
        found: u64,
    },
    /// A field no writer writes, or the name and the header disagree.
    #[error("the header contradicts itself or the file's name")]
    Contradiction,
    /// Neither durable mark can be read.
    #[error("both durable marks are damaged")]
    Marks,
}

fn word(bytes: &[u8], index: usize) -> u64 {
    let mut raw = [0; 8];
    raw.copy_from_slice(&bytes[index * 8..index * 8 + 8]);
    u64::from_le_bytes(raw)
}

impl SegmentHeader {
    /// To the head of the file.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_FIELD_BYTES] {
        let words = [
            MAGIC,
            JOURNAL_LAYOUT_HASH,
            self.journal_id,
            self.first,
            self.epoch,
            self.capacity,
            u64::from(self.chain),
        ];
        let mut bytes = [0; HEADER_FIELD_BYTES];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(words) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        let crc = crc32c::crc32c(&bytes[..HEADER_FIELD_BYTES - 8]);
        bytes[HEADER_FIELD_BYTES - 8..HEADER_FIELD_BYTES - 4].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// From the head of the file named after position `named`.
    ///
    /// # Errors
    /// [`HeaderError`] naming the first check that failed.
    pub fn decode(bytes: &[u8], named: u64) -> Result<Self, HeaderError> {
        let bytes = bytes.get(..HEADER_FIELD_BYTES).ok_or(HeaderError::Short)?;
        if word(bytes, 0) != MAGIC {
            return Err(HeaderError::Magic);
        }
        if word(bytes, 7) != u64::from(crc32c::crc32c(&bytes[..HEADER_FIELD_BYTES - 8])) {
            return Err(HeaderError::Checksum);
        }
        if word(bytes, 1) != JOURNAL_LAYOUT_HASH {
            return Err(HeaderError::Layout { found: word(bytes, 1) });
        }
        let header = Self {
            journal_id: word(bytes, 2),
            first: word(bytes, 3),
            epoch: word(bytes, 4),
            capacity: word(bytes, 5),
            chain: word(bytes, 6) as u32,
        };
        let sane = header.first == named
            && (FIRST_POSITION..POSITION_LIMIT).contains(&header.first)
            && (1..=MAX_SEGMENT_SLOTS).contains(&header.capacity);
        if sane { Ok(header) } else { Err(HeaderError::Contradiction) }
    }

    /// The name of the segment that starts at `first`.
    #[must_use]
    pub fn file_name(first: u64) -> String {
        format!("{first:020}{SUFFIX}")
    }

    /// The first position that a segment's file name says; `None` for other files.
    #[must_use]
    pub fn parse_file_name(name: &str) -> Option<u64> {
        let digits = name.strip_suffix(SUFFIX)?;
        (digits.len() == DIGITS && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
    }

    /// Byte offset of a position's slot in this segment's file. `position >= first`.
    #[must_use]
    pub const fn offset_of(&self, position: u64) -> u64 {
        SEGMENT_HEADER_BYTES + (position - self.first) * SLOT_BYTES as u64
    }

    /// Bytes of the preallocated file.
    #[must_use]
    pub const fn file_bytes(&self) -> u64 {
        SEGMENT_HEADER_BYTES + self.capacity * SLOT_BYTES as u64
    }

    fn mark_crc(&self, position: u64) -> u32 {
        let start = crc32c::crc32c(&self.journal_id.to_le_bytes());
        crc32c::crc32c_append(
            crc32c::crc32c_append(start, &self.first.to_le_bytes()),
            &position.to_le_bytes(),
        )
    }

    /// The bytes of a durable mark: all positions below `position` are on disk.
    #[must_use]
    pub fn encode_mark(&self, position: u64) -> [u8; MARK_BYTES] {
        let mut bytes = [0; MARK_BYTES];
        bytes[..8].copy_from_slice(&position.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.mark_crc(position).to_le_bytes());
        bytes
    }

    /// The durable mark in a segment's header page.
    ///
    /// # Errors
    /// [`HeaderError::Marks`] when something was written and none of it can be read.
    pub fn decode_marks(&self, page: &[u8]) -> Result<DurableMark, HeaderError> {
        let mut best = None;
        let mut blank = 0;
        for (turn, offset) in MARK_OFFSETS.into_iter().enumerate() {
            let at = offset as usize;
            let bytes = page.get(at..at + MARK_BYTES).ok_or(HeaderError::Short)?;
            let (position, crc) = (word(bytes, 0), word(bytes, 1));
            if position == 0 && crc == 0 {
                blank += 1;
            } else if crc == u64::from(self.mark_crc(position)) && position >= self.first {
                best = best.max(Some((position, turn)));
            }
        }
        match best {
            Some((position, turn)) => Ok(DurableMark { position, spare: 1 - turn }),
            None if blank > 0 => Ok(DurableMark { position: self.first, spare: 0 }),
            None => Err(HeaderError::Marks),
        }
    }
}

/// The chain before the first slot of a journal: tied to the journal, so that slots of another one never fit.
#[must_use]
pub fn chain_seed(journal_id: u64) -> u32 {
    crc32c::crc32c_append(JOURNAL_LAYOUT_HASH as u32, &journal_id.to_le_bytes())
}

/// Writes the archived form of a slot and returns the chain after it.
#[inline]
#[must_use]
pub fn seal_slot(chain: u32, position: u64, words: &Words, out: &mut [u8; SLOT_BYTES]) -> u32 {
    let mut payload = [0; PAYLOAD_BYTES];
    for (chunk, word) in payload.as_chunks_mut().0.iter_mut().zip(words) {
        *chunk = word.to_le_bytes();
    }
    let chain = chain_payload(chain, &payload);
    out[..PAYLOAD_BYTES].copy_from_slice(&payload);
    out[PAYLOAD_BYTES..].copy_from_slice(&sequence_word(chain, position).to_le_bytes());
    chain
}

const fn sequence_word(chain: u32, position: u64) -> u64 {
    (chain as u64) << 32 | (position + 1) as u32 as u64
}

/// The chain after the slot in `bytes`, as the slot itself says it.
#[must_use]
pub fn chain_after(bytes: &[u8; SLOT_BYTES]) -> u32 {
    (word(bytes, PAYLOAD_WORDS) >> 32) as u32
}

/// What stands where a slot is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotState {
    /// The slot, and the chain after it.
    Valid(u32),
    /// Nothing was written.
    Zeros,
    /// A front part of a slot, zeros behind it.
    Torn,
    /// The position is right, the chain is not.
    BadChain,
    /// A slot of an earlier position.
    StaleLap,
    /// A slot of a later position, or no slot at all.
    WrongPosition,
}

/// Judges the slot in `bytes` at `position` after `chain`.
#[must_use]
pub fn check_slot(bytes: &[u8; SLOT_BYTES], position: u64, chain: u32) -> SlotState {
    let mut payload = [0; PAYLOAD_BYTES];
    payload.copy_from_slice(&bytes[..PAYLOAD_BYTES]);
    let after = chain_payload(chain, &payload);
    let (found, expected) = (word(bytes, PAYLOAD_WORDS), sequence_word(after, position));
    if found == expected {
        return SlotState::Valid(after);
    }
    if bytes.iter().all(|b| *b == 0) {
        return SlotState::Zeros;
    }
    if (0..8).any(|kept| found == expected & ((1 << (8 * kept)) - 1)) {
        return SlotState::Torn;
    }
    match (found as u32).wrapping_sub(expected as u32) as i32 {
        0 => SlotState::BadChain,
        1.. => SlotState::WrongPosition,
        _ => SlotState::StaleLap,
    }
}

/// The payload words of a slot.
#[must_use]
pub fn payload(bytes: &[u8; SLOT_BYTES]) -> Words {
    std::array::from_fn(|i| word(bytes, i))
}

/// How a run of records ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// The segment, or what the reader may see of it, is read to its end.
    Clean,
    /// Preallocated zeros follow.
    Zeros,
    /// The front part of a slot, then zeros.
    TornSlot,
    /// A whole first slot whose continuations are missing.
    TornRecord,
    /// Zeros or a torn slot, but data behind it in the same sector: no crash leaves that.
    Hole,
    /// A slot at the right position whose checksum chain does not fit.
    BadChain,
    /// A slot of an earlier position.
    StaleLap,
    /// A slot of a later position, or no slot at all.
    WrongPosition,
    /// The checksum fits, but the words are no record of this version.
    Undecodable(RecordError),
}

impl Tail {
    /// Whether a crash of the machine can leave this above the durable mark. Everything else is damage.
    #[must_use]
    pub const fn is_crash_trace(self) -> bool {
        matches!(self, Self::Clean | Self::Zeros | Self::TornSlot | Self::TornRecord)
    }
}

/// A file, or what stands in for one, read by offset.
pub trait ReadAt {
    /// Reads at most `buffer.len()` bytes from `offset`; 0 at the end.
    ///
    /// # Errors
    /// Those of the medium.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl ReadAt for std::fs::File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, buffer, offset)
    }
}

impl ReadAt for [u8] {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|at| self.get(at..)).unwrap_or(&[]);
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        (**self).read_at(buffer, offset)
    }
}

/// Fills `buffer` from `offset` as far as the source goes.
///
/// # Errors
/// Those of the medium.
pub fn read_full<R: ReadAt + ?Sized>(source: &R, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match source.read_at(&mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}
