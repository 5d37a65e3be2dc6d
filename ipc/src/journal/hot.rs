//! The hot ring's bytes: the journal's first stage, a file on tmpfs that survives the gate's death.
//!
//! ```text
//!  byte    0  magic u64 | layout hash u64 | journal id u64 | epoch u64 | capacity in slots u64 | start position u64
//!         64  archived position     every record below it is in the archive   (archiver)
//!        128  durable position      every record below it is on disk          (archiver)
//!        192  status bits: 1 closed, 2 disk low, 4 archiver failed, 8 power   (archiver)
//!       4096  slot of position p at index p mod capacity (a power of two):  payload words 0..6 | sequence
//!
//!  sequence   0..59: p + 1   60: continuation   61..63: slots - 1 of a head, else 0;  0: being written
//! ```
//!
//! The gate zeroes the sequences it is about to overwrite, writes continuations, then the head, its sequence last. A
//! reader copies a record and looks at the sequences again: unchanged means the copy is whole. Nobody waits.

use std::path::Path;

use super::{FIRST_POSITION, JOURNAL_LAYOUT_HASH, MAX_RECORD_SLOTS, POSITION_LIMIT};
use crate::atomic::{Ordering, fence};
use crate::msg::{SLOT_BYTES, Words};
use crate::segment::{Mapping, SegmentError};
use crate::view::{ReadSlots, ReadWord, WriteWord};

/// Bytes before the first slot, one page.
pub const HOT_HEADER_BYTES: usize = 4096;
/// The fewest slots a ring may have.
pub const MIN_HOT_SLOTS: u64 = 1024;
/// The most slots a ring may have.
pub const MAX_HOT_SLOTS: u64 = 1 << 32;

/// Sequence bit of a continuation slot.
pub const CONTINUATION: u64 = 1 << 60;
/// Where a head's sequence word says how many slots follow it.
pub const MORE_SLOTS_SHIFT: u32 = 61;
const NUMBER: u64 = CONTINUATION - 1;

const MAGIC: u64 = u64::from_le_bytes(*b"RFJHOT01");
const FIELD_WORDS: usize = 6;
const ARCHIVED_OFFSET: usize = 64;
const DURABLE_OFFSET: usize = 128;
const STATUS_OFFSET: usize = 192;

const _: () = assert!(POSITION_LIMIT <= NUMBER, "a position's sequence must fit its bits");
const _: () = assert!(FIELD_WORDS * 8 <= ARCHIVED_OFFSET, "fixed fields keep off the lines that change");
const _: () = assert!(MIN_HOT_SLOTS >= 64 * MAX_RECORD_SLOTS as u64, "a sixteenth must hold several records");

/// Bits of the status word.
pub mod status {
    /// The gate stopped in good order: every record is archived and on disk.
    pub const CLOSED: u64 = 1;
    /// The archive's disk is nearly full.
    pub const DISK_LOW: u64 = 2;
    /// The archiver met an error and has stopped for good.
    pub const FAILED: u64 = 4;
    /// Tier `power`: what is not on disk yet is shown to nobody.
    pub const POWER: u64 = 8;
}

/// What a hot ring says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HotHeader {
    /// Random, given when the journal was created; its segments carry the same.
    pub journal_id: u64,
    /// Life of the gate that writes the ring.
    pub epoch: u64,
    /// Slots, a power of two from [`MIN_HOT_SLOTS`] to [`MAX_HOT_SLOTS`].
    pub capacity: u64,
    /// First position this ring can hold.
    pub start: u64,
}

/// Why a file is no hot ring that this version can read.
#[derive(Debug, thiserror::Error)]
pub enum HotError {
    /// It cannot be mapped.
    #[error(transparent)]
    Map(#[from] SegmentError),
    /// It does not start with a hot ring's magic, or its fields contradict its size.
    #[error("the file is no journal hot ring")]
    NotAHotRing,
    /// Written by a version with other record layouts.
    #[error("the hot ring has journal layout {found:#x}, this version reads {JOURNAL_LAYOUT_HASH:#x}")]
    Layout {
        /// The layout hash found.
        found: u64,
    },
}

impl HotHeader {
    /// Bytes of the file.
    #[must_use]
    pub const fn file_bytes(&self) -> usize {
        HOT_HEADER_BYTES + self.capacity as usize * SLOT_BYTES
    }

    /// Writes the header into a fresh mapping whose slots are all zero.
    ///
    /// # Errors
    /// [`SegmentError`] when the mapping is too small or read-only.
    pub fn write(&self, mapping: &Mapping) -> Result<(), SegmentError> {
        let page = mapping.write_slots(0, 1)?;
        let fields = [MAGIC, JOURNAL_LAYOUT_HASH, self.journal_id, self.epoch, self.capacity, self.start];
        for (i, field) in fields.into_iter().enumerate() {
            page.store(0, i, field);
        }
        let words = HotWords::of(mapping)?;
        words.archived.publish(self.start);
        words.durable.publish(self.start);
        words.status.publish(0);
        Ok(())
    }

    fn read(mapping: &Mapping) -> Result<Self, HotError> {
        let page = mapping.read_slots(0, 1)?;
        let field = |i| page.load(0, i);
        if field(0) != MAGIC {
            return Err(HotError::NotAHotRing);
        }
        if field(1) != JOURNAL_LAYOUT_HASH {
            return Err(HotError::Layout { found: field(1) });
        }
        let header = Self { journal_id: field(2), epoch: field(3), capacity: field(4), start: field(5) };
        let sane = header.capacity.is_power_of_two()
            && (MIN_HOT_SLOTS..=MAX_HOT_SLOTS).contains(&header.capacity)
            && header.file_bytes() == mapping.len_bytes()
            && (FIRST_POSITION..POSITION_LIMIT).contains(&header.start);
        if sane { Ok(header) } else { Err(HotError::NotAHotRing) }
    }
}

/// The words of the header that the archiver publishes, for it to write.
#[derive(Clone, Debug)]
pub struct HotWords {
    /// Every record below this position is in the archive.
    pub archived: WriteWord,
    /// Every record below this position is on disk.
    pub durable: WriteWord,
    /// [`status`] bits.
    pub status: WriteWord,
}

impl HotWords {
    /// The words of a writable hot ring.
    ///
    /// # Errors
    /// [`SegmentError`] when the mapping is too small or read-only.
    pub fn of(mapping: &Mapping) -> Result<Self, SegmentError> {
        Ok(Self {
            archived: mapping.write_word(ARCHIVED_OFFSET)?,
            durable: mapping.write_word(DURABLE_OFFSET)?,
            status: mapping.write_word(STATUS_OFFSET)?,
        })
    }
}

/// A record copied out of the ring, whole but not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HotRecord {
    words: [Words; MAX_RECORD_SLOTS],
    len: usize,
}

impl HotRecord {
    /// The payloads, in order.
    #[must_use]
    pub fn slots(&self) -> &[Words] {
        &self.words[..self.len]
    }
}

/// The head of a record in the ring, as last seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HotHead {
    position: u64,
    sequence: u64,
    len: usize,
}

impl HotHead {
    /// Slots of the record, 1 to [`MAX_RECORD_SLOTS`].
    #[must_use]
    pub const fn slots(&self) -> usize {
        self.len
    }
}

/// What stands at a position of the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "a look is used at once and dropped")]
pub enum Look<R = HotRecord> {
    /// A whole record.
    Record(R),
    /// Nothing yet, or a record being written.
    NotYet,
    /// A later lap's record: the position is only in the archive now.
    Overwritten,
    /// What no writer writes.
    Damaged,
}

impl<R> Look<R> {
    /// Looks on, if a record was there.
    #[inline]
    pub fn and_then<S>(self, next: impl FnOnce(R) -> Look<S>) -> Look<S> {
        match self {
            Self::Record(record) => next(record),
            Self::NotYet => Look::NotYet,
            Self::Overwritten => Look::Overwritten,
            Self::Damaged => Look::Damaged,
        }
    }
}

/// Reads a hot ring, live or left behind by a dead gate.
#[derive(Clone, Debug)]
pub struct HotReader {
    header: HotHeader,
    slots: ReadSlots,
    archived: ReadWord,
    durable: ReadWord,
    status: ReadWord,
}

impl HotReader {
    /// Maps the file read-only.
    ///
    /// # Errors
    /// [`HotError`] when it cannot be mapped or is no hot ring of this version.
    pub fn open(path: &Path) -> Result<Self, HotError> {
        Self::of(&Mapping::open_file(path, false)?)
    }

    /// Reads what is already mapped.
    ///
    /// # Errors
    /// [`HotError`] when it is no hot ring of this version.
    pub fn of(mapping: &Mapping) -> Result<Self, HotError> {
        if mapping.len_bytes() < HOT_HEADER_BYTES {
            return Err(HotError::NotAHotRing);
        }
        let header = HotHeader::read(mapping)?;
        Ok(Self {
            header,
            slots: mapping.read_slots(HOT_HEADER_BYTES, header.capacity as usize)?,
            archived: mapping.read_word(ARCHIVED_OFFSET)?,
            durable: mapping.read_word(DURABLE_OFFSET)?,
            status: mapping.read_word(STATUS_OFFSET)?,
        })
    }

    /// The ring's header.
    #[must_use]
    pub const fn header(&self) -> &HotHeader {
        &self.header
    }

    /// Every record below this position is in the archive.
    #[must_use]
    pub fn archived_pos(&self) -> u64 {
        self.archived.get_acquire()
    }

    /// Every record below this position is on disk.
    #[must_use]
    pub fn durable_pos(&self) -> u64 {
        self.durable.get_acquire()
    }

    /// The [`status`] bits.
    #[must_use]
    pub fn status(&self) -> u64 {
        self.status.get_acquire()
    }

    /// Whoever follows the gate reads nothing from this position on: in tier `power` what is not on disk yet.
    #[must_use]
    pub fn shown_pos(&self) -> u64 {
        if self.status() & status::POWER == 0 { u64::MAX } else { self.durable_pos() }
    }

    /// Copies the record that starts at `position`, if it is there.
    #[must_use]
    pub fn look(&self, position: u64) -> Look {
        self.head(position).and_then(|head| {
            let (mut words, mut parts) = ([[0; 7]; MAX_RECORD_SLOTS], 0);
            let copied = self.copy(head, |part| {
                words[parts] = *part;
                parts += 1;
            });
            copied.and_then(|()| Look::Record(HotRecord { words, len: head.len }))
        })
    }

    /// The head of the record that starts at `position`, if it is there; [`Self::copy`] comes next.
    #[inline]
    #[must_use]
    pub fn head(&self, position: u64) -> Look<HotHead> {
        let sequence = self.slots.sequence(self.index(position));
        fence(Ordering::Acquire);
        let number = sequence & NUMBER;
        if number != position + 1 {
            return match number.checked_sub(position + 1) {
                None => Look::NotYet,
                Some(ahead) if ahead.is_multiple_of(self.header.capacity) => Look::Overwritten,
                Some(_) => Look::Damaged,
            };
        }
        let len = (sequence >> MORE_SLOTS_SHIFT) as usize + 1;
        if sequence & CONTINUATION != 0 || len > MAX_RECORD_SLOTS {
            return Look::Damaged;
        }
        Look::Record(HotHead { position, sequence, len })
    }

    /// Hands out the record's payloads in order, each read once. Anything but [`Look::Record`] takes them back: they
    /// were no record.
    #[inline]
    #[must_use]
    pub fn copy(&self, head: HotHead, mut put: impl FnMut(&Words)) -> Look<()> {
        let mut whole = true;
        for at in head.position..head.position + head.len as u64 {
            put(&self.slots.payload(self.index(at)));
            whole &= at == head.position || self.slots.sequence(self.index(at)) == (at + 1) | CONTINUATION;
        }
        fence(Ordering::Acquire);
        if self.slots.sequence(self.index(head.position)) != head.sequence {
            return Look::Overwritten;
        }
        if whole { Look::Record(()) } else { Look::Damaged }
    }

    /// Asks the cache for the slot of `position`.
    #[inline]
    pub fn prefetch(&self, position: u64) {
        self.slots.prefetch(self.index(position));
    }

    /// Whether any slot of `position` itself, head or continuation, is there; for finding what a crash left.
    #[must_use]
    pub fn holds(&self, position: u64) -> Option<Piece> {
        let sequence = self.slots.sequence(self.index(position));
        let piece = if sequence & CONTINUATION != 0 { Piece::Continuation } else { Piece::Head };
        (sequence & NUMBER == position + 1).then_some(piece)
    }

    /// The position behind the newest record, found by bisection; exact when the gate is idle.
    #[must_use]
    pub fn end(&self) -> u64 {
        // The gate is never more than one lap ahead of the archive, and every slot it wrote says its position.
        let archived = self.archived_pos().min(POSITION_LIMIT);
        let (mut low, mut width) = (archived.max(self.header.start), self.header.capacity);
        while width > 0 {
            let half = width / 2;
            let middle = low + half;
            if self.is_written(middle) {
                low = middle + 1;
                width -= half + 1;
            } else {
                width = half;
            }
        }
        low
    }

    /// Whether the gate has written the slot of `position`, which is less than a lap ahead of the archive.
    #[must_use]
    pub fn is_written(&self, position: u64) -> bool {
        self.slots.sequence(self.index(position)) & NUMBER > position
    }

    fn index(&self, position: u64) -> usize {
        (position & (self.header.capacity - 1)) as usize
    }
}

/// A slot found at its own position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// The first slot of a record.
    Head,
    /// A further slot of a record.
    Continuation,
}
