//! Checkpoints: the decision state at one journal position, as a file beside the segments.
//!
//! ```text
//!  <position, 20 digits>.rfc
//!  byte    0  magic "RFJCKPT1" | layout hash | journal id | position (of the first record that is not in it)
//!         32  epoch | chain before that position u32, 0 u32 | state hash, 4 words
//!         80  bytes of the body | CRC32C of the body u32, 0 u32 | reserved 0, 3 words
//!        120  CRC32C of bytes 0..120 u32, 0 u32
//!        128  body: every part once, in the order of [`Part::ALL`]:
//!             part number u32 << 32 | words of one item u32 | number of items u64 | the items
//! ```
//!
//! Everything is little-endian words. The chain ties a checkpoint to the very records before it: one of another journal,
//! or of another past of the same one, does not fit the slot before its position. A checkpoint appears under its name
//! only when it is whole and on disk; one that is damaged is passed over, because the records are still there.

mod parts;
mod trading;

#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::record::RecordError;
use super::{JOURNAL_LAYOUT_HASH, fnv1a};
use crate::msg::DecodeError;

pub use parts::{EntitlementPart, GatePart, LimitPart, Part, PastPart, StrategyPart, SymbolPart, TicketPart};
pub use trading::{NotePart, OrderPart, PositionPart, StrayPart};

/// Bytes before the body.
pub const CHECKPOINT_HEADER_BYTES: usize = 128;
/// Identifies the layout of checkpoints; the text changes with any part.
pub const CHECKPOINT_LAYOUT_HASH: u64 = fnv1a(parts::LAYOUT.as_bytes()) ^ JOURNAL_LAYOUT_HASH;

const MAGIC: u64 = u64::from_le_bytes(*b"RFJCKPT1");
const HEADER_WORDS: usize = CHECKPOINT_HEADER_BYTES / 8;
const PART_HEAD_BYTES: usize = 16;
const DIGITS: usize = 20;
const SUFFIX: &str = ".rfc";

/// What a checkpoint says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointHeader {
    /// The journal it belongs to.
    pub journal_id: u64,
    /// Everything below this position is in it; a record starts here.
    pub position: u64,
    /// Life of the gate at that position.
    pub epoch: u64,
    /// The checksum chain before that position.
    pub chain: u32,
    /// SHA-256 over the canonical decision state.
    pub state_hash: [u8; 32],
}

/// Why a file is no checkpoint that can be used.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Too short, changed after it was written, or not a checkpoint at all.
    #[error("it is damaged or cut off")]
    Torn,
    /// Written by a version with other layouts.
    #[error("written with checkpoint layout {found:#x}, this version reads {CHECKPOINT_LAYOUT_HASH:#x}")]
    Layout {
        /// The layout hash found.
        found: u64,
    },
    /// The name and the header disagree.
    #[error("its name and its header disagree")]
    Name,
    /// A field holds what no writer writes.
    #[error("part {part:?}: {what}")]
    Field {
        /// Where.
        part: Part,
        /// What is wrong.
        what: &'static str,
    },
    /// A word holds what no writer writes.
    #[error("a field: {0}")]
    Decode(#[from] DecodeError),
    /// An embedded record cannot be read.
    #[error("a record: {0}")]
    Record(#[from] RecordError),
}

/// A checkpoint in memory, its checksums found right.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    header: CheckpointHeader,
    bytes: Vec<u8>,
    /// Where each part's items begin and end in `bytes`, in the order of [`Part::ALL`].
    ranges: [(usize, usize); Part::ALL.len()],
}

impl CheckpointHeader {
    /// To the head of the file, for a body of so many bytes with this checksum.
    #[must_use]
    pub fn encode(&self, body_bytes: u64, body_crc: u32) -> [u8; CHECKPOINT_HEADER_BYTES] {
        let mut words = [0; HEADER_WORDS];
        words[..6].copy_from_slice(&[
            MAGIC,
            CHECKPOINT_LAYOUT_HASH,
            self.journal_id,
            self.position,
            self.epoch,
            u64::from(self.chain),
        ]);
        for (word, bytes) in words[6..10].iter_mut().zip(self.state_hash.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        (words[10], words[11]) = (body_bytes, u64::from(body_crc));
        let mut bytes = [0; CHECKPOINT_HEADER_BYTES];
        for (chunk, word) in bytes.as_chunks_mut().0.iter_mut().zip(words) {
            *chunk = word.to_le_bytes();
        }
        let crc = crc32c::crc32c(&bytes[..CHECKPOINT_HEADER_BYTES - 8]);
        bytes[CHECKPOINT_HEADER_BYTES - 8..CHECKPOINT_HEADER_BYTES - 4].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// From the head of a file; also the bytes and the checksum of its body.
    ///
    /// # Errors
    /// [`CheckpointError`] naming the first check that failed.
    pub fn decode(bytes: &[u8]) -> Result<(Self, u64, u32), CheckpointError> {
        let bytes: &[u8; CHECKPOINT_HEADER_BYTES] = bytes.first_chunk().ok_or(CheckpointError::Torn)?;
        let words: [u64; HEADER_WORDS] = std::array::from_fn(|i| word(bytes, i));
        let crc = crc32c::crc32c(&bytes[..CHECKPOINT_HEADER_BYTES - 8]);
        if words[0] != MAGIC || words[HEADER_WORDS - 1] != u64::from(crc) {
            return Err(CheckpointError::Torn);
        }
        if words[1] != CHECKPOINT_LAYOUT_HASH {
            return Err(CheckpointError::Layout { found: words[1] });
        }
        let mut state_hash = [0; 32];
        state_hash.copy_from_slice(&bytes[48..80]);
        let header = Self {
            journal_id: words[2],
            position: words[3],
            epoch: words[4],
            chain: words[5] as u32,
            state_hash,
        };
        Ok((header, words[10], words[11] as u32))
    }
}

impl Checkpoint {
    /// The name of the checkpoint at `position`.
    #[must_use]
    pub fn file_name(position: u64) -> String {
        format!("{position:020}{SUFFIX}")
    }

    /// The positions of the checkpoints in `dir`, as their names say, ascending.
    ///
    /// # Errors
    /// When the directory cannot be listed.
    pub fn list(dir: &Path) -> io::Result<Vec<u64>> {
        let mut positions = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            positions.extend(entry?.file_name().to_str().and_then(parse_file_name));
        }
        positions.sort_unstable();
        Ok(positions)
    }

    /// Reads the checkpoint at `position` in `dir`, whole, and checks it.
    ///
    /// # Errors
    /// [`CheckpointError`] when it cannot be read or used.
    pub fn read(dir: &Path, position: u64) -> Result<Self, CheckpointError> {
        let path = dir.join(Self::file_name(position));
        let bytes = std::fs::read(&path).map_err(|source| CheckpointError::Io { path, source })?;
        let checkpoint = Self::of(bytes)?;
        if checkpoint.header.position == position { Ok(checkpoint) } else { Err(CheckpointError::Name) }
    }

    /// Checks the bytes of a whole checkpoint.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn of(bytes: Vec<u8>) -> Result<Self, CheckpointError> {
        let (header, body_bytes, body_crc) = CheckpointHeader::decode(&bytes)?;
        let body = &bytes[CHECKPOINT_HEADER_BYTES..];
        if body.len() as u64 != body_bytes || self::body_crc(body) != body_crc {
            return Err(CheckpointError::Torn);
        }
        let (mut ranges, mut at) = ([(0, 0); Part::ALL.len()], CHECKPOINT_HEADER_BYTES);
        for (range, part) in ranges.iter_mut().zip(Part::ALL) {
            let bad = CheckpointError::Field { part, what: "is missing or cut off" };
            let start = at + PART_HEAD_BYTES;
            let Some(head) = bytes.get(at..start) else { return Err(bad) };
            let items = usize::try_from(word(head, 1)).ok();
            let len = items.and_then(|items| items.checked_mul(part.words() * 8));
            let end = len.and_then(|len| len.checked_add(start)).filter(|end| *end <= bytes.len());
            let (true, Some(end)) = (word(head, 0) == part.head(), end) else { return Err(bad) };
            *range = (start, end);
            at = end;
        }
        if at != bytes.len() {
            return Err(CheckpointError::Torn);
        }
        Ok(Self { header, bytes, ranges })
    }

    /// What it says about itself.
    #[must_use]
    pub const fn header(&self) -> &CheckpointHeader {
        &self.header
    }

    /// The items of a part, in the order in which they were written.
    pub fn items(&self, part: Part) -> impl ExactSizeIterator<Item = Item<'_>> {
        let (start, end) = self.ranges[part as usize];
        self.bytes[start..end].chunks_exact(part.words() * 8).map(move |bytes| Item { part, bytes })
    }
}

/// The checksum of a body.
#[must_use]
pub fn body_crc(body: &[u8]) -> u32 {
    crc32c::crc32c(body)
}

fn parse_file_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    (digits.len() == DIGITS && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
}

fn word(bytes: &[u8], index: usize) -> u64 {
    let at = index * 8;
    bytes.get(at..at + 8).and_then(|raw| raw.first_chunk()).map_or(0, |raw| u64::from_le_bytes(*raw))
}

/// One item of a part: its words.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    part: Part,
    bytes: &'a [u8],
}

impl Item<'_> {
    /// The word at `index`; there are [`Part::words`].
    #[must_use]
    pub fn word(&self, index: usize) -> u64 {
        word(self.bytes, index)
    }

    /// Two words, low half first.
    #[must_use]
    pub fn wide(&self, index: usize) -> u128 {
        u128::from(self.word(index)) | u128::from(self.word(index + 1)) << 64
    }

    /// An error that names this part.
    #[must_use]
    pub const fn bad(&self, what: &'static str) -> CheckpointError {
        CheckpointError::Field { part: self.part, what }
    }
}

/// Writes a body, part after part.
#[derive(Debug)]
pub struct BodyWriter<W: Write> {
    out: W,
    buffer: Vec<u8>,
    crc: u32,
    bytes: u64,
    next: usize,
    /// Items that the open part still owes.
    owed: usize,
}

impl<W: Write> BodyWriter<W> {
    const BUFFER_BYTES: usize = 1 << 18;

    /// Writes to `out`, which stands behind the header.
    pub fn new(out: W) -> Self {
        let buffer = Vec::with_capacity(Self::BUFFER_BYTES);
        Self { out, buffer, crc: 0, bytes: 0, next: 0, owed: 0 }
    }

    /// Begins `part`, of exactly so many items.
    ///
    /// # Errors
    /// Those of the medium.
    ///
    /// # Panics
    /// When it is not the part's turn, or the part before it is not complete.
    pub fn part(&mut self, part: Part, items: usize) -> io::Result<()> {
        assert!(self.owed == 0 && Part::ALL.get(self.next) == Some(&part), "parts come in order: {part:?}");
        (self.owed, self.next) = (items, self.next + 1);
        self.put(part.head())?;
        self.put(items as u64)
    }

    /// The next item of the open part.
    ///
    /// # Errors
    /// Those of the medium.
    ///
    /// # Panics
    /// When no item is owed, or it has another number of words.
    pub fn item(&mut self, words: &[u64]) -> io::Result<()> {
        let fits = self.next > 0 && Part::ALL[self.next - 1].words() == words.len();
        assert!(self.owed > 0 && fits, "an item of part {} does not fit", self.next);
        self.owed -= 1;
        words.iter().try_for_each(|word| self.put(*word))
    }

    /// Ends the body: the writer, the bytes and their checksum.
    ///
    /// # Errors
    /// Those of the medium.
    ///
    /// # Panics
    /// When a part is missing.
    pub fn finish(mut self) -> io::Result<(W, u64, u32)> {
        assert!(self.owed == 0 && self.next == Part::ALL.len(), "every part is written");
        self.flush()?;
        Ok((self.out, self.bytes, self.crc))
    }

    fn put(&mut self, word: u64) -> io::Result<()> {
        self.buffer.extend_from_slice(&word.to_le_bytes());
        if self.buffer.len() >= Self::BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.crc = crc32c::crc32c_append(self.crc, &self.buffer);
        self.bytes += self.buffer.len() as u64;
        self.out.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}
