//! The gate's end of the journal: append a record to the hot ring in a few nanoseconds.
//!
//! No system call, no lock, no wait: whether there is room is asked first, and then appending cannot fail.

use ringfence_ipc::atomic::{Ordering, fence};
use ringfence_ipc::journal::hot::{CONTINUATION, HOT_HEADER_BYTES, HotHeader, MORE_SLOTS_SHIFT, status};
use ringfence_ipc::journal::{MAX_RECORD_SLOTS, RecordWords};
use ringfence_ipc::msg::Words;
use ringfence_ipc::segment::{Mapping, SegmentError};
use ringfence_ipc::view::{ReadWord, WriteSlots};

use super::archiver::HotStage;

/// The part of the ring that only cancels and reports may use, as a divisor.
const RESERVE: u64 = 16;
/// How far ahead lines are fetched for writing.
const PREFETCH_SLOTS: u64 = 8;
const RECORD_SLOTS: u64 = MAX_RECORD_SLOTS as u64;

/// Who asks for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A new order: leaves the reserve alone, and needs a disk that is neither failed nor nearly full.
    Order,
    /// A cancel, a report, anything that must still be written down: may use the whole ring.
    Reserved,
}

/// Appends records. The only writer of its ring.
#[derive(Debug)]
pub struct Writer {
    slots: WriteSlots,
    mask: u64,
    position: u64,
    /// First position that may not be written: one lap behind the archived position as last seen.
    limit: u64,
    archived: ReadWord,
    durable: ReadWord,
    status: ReadWord,
}

impl Writer {
    pub(super) fn new(mapping: &Mapping, header: &HotHeader, stage: &HotStage) -> Result<Self, SegmentError> {
        Ok(Self {
            slots: mapping.write_slots(HOT_HEADER_BYTES, header.capacity as usize)?,
            mask: header.capacity - 1,
            position: header.start,
            limit: header.start + header.capacity,
            archived: stage.words.archived.reader(),
            durable: stage.words.durable.reader(),
            status: stage.words.status.reader(),
        })
    }

    /// Whether one more record of any size may be appended.
    #[inline]
    pub fn room(&mut self, class: Class) -> bool {
        self.room_for(class, 1)
    }

    /// Whether `records` more records of any size may be appended one after the other.
    #[inline]
    pub fn room_for(&mut self, class: Class, records: u64) -> bool {
        let mut end = self.position.saturating_add(records.saturating_mul(RECORD_SLOTS));
        if class == Class::Order {
            if self.status.get() & (status::DISK_LOW | status::FAILED) != 0 {
                return false;
            }
            end = end.saturating_add((self.mask + 1) / RESERVE);
        }
        if end <= self.limit {
            return true;
        }
        // Acquire: the archiver has read a slot before it says so, and only then is the slot written again.
        self.limit = self.archived.get_acquire() + self.mask + 1;
        end <= self.limit
    }

    /// Appends a record and returns its position.
    ///
    /// # Panics
    /// As [`Self::append_slots`].
    pub fn append(&mut self, record: &RecordWords) -> u64 {
        let slots = record.slots();
        self.write(slots.len(), |at| &slots[at])
    }

    /// Appends a record, given as the payloads of its slots, and returns its position. Whoever follows sees it from now on.
    ///
    /// # Panics
    /// When called without a preceding [`Self::room`]: it would overwrite what is not archived.
    #[inline(always)]
    pub fn append_slots<const N: usize>(&mut self, parts: &[Words; N]) -> u64 {
        self.write(N, |at| &parts[at])
    }

    /// With a `count` known to the compiler the payloads go from registers into the ring: words that were just stored
    /// and are read back in other widths would wait until the stores before them have left the core.
    #[inline(always)]
    fn write<'a>(&mut self, count: usize, part: impl Fn(usize) -> &'a Words) -> u64 {
        let position = self.position;
        let end = position + count as u64;
        assert!(end <= self.limit && count > 0, "a journal record without room for it");
        for at in 0..count as u64 {
            self.slots.ring(position + at).withdraw();
        }
        // Whoever sees a word stored below also sees that the old sequences are gone.
        fence(Ordering::Release);
        for further in 1..count {
            let at = position + further as u64;
            self.slots.ring(at).publish(part(further), (at + 1) | CONTINUATION);
        }
        self.slots.ring(position).publish(part(0), (position + 1) | (count as u64 - 1) << MORE_SLOTS_SHIFT);
        for at in 0..count as u64 {
            self.slots.ring(end + PREFETCH_SLOTS + at).prefetch();
        }
        self.position = end;
        position
    }

    /// Position that the next record will get.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// Every record below this position is on disk.
    #[inline]
    #[must_use]
    pub fn durable_pos(&self) -> u64 {
        self.durable.get_acquire()
    }

    /// Every record below this position is in the archive: it survives the loss of the hot ring, not yet of power.
    #[inline]
    #[must_use]
    pub fn archived_pos(&self) -> u64 {
        self.archived.get_acquire()
    }

    /// The archiver met an error: nothing more becomes archived or durable in this life of the gate.
    #[inline]
    #[must_use]
    pub fn is_failed(&self) -> bool {
        self.status.get() & status::FAILED != 0
    }

    /// The archive's disk is nearly full.
    #[inline]
    #[must_use]
    pub fn is_disk_low(&self) -> bool {
        self.status.get() & status::DISK_LOW != 0
    }
}
