//! Writing the archive: seals slots into whole blocks, writes groups, syncs, goes on to the next segment.
//!
//! The last block is written again each time it has grown. Its older slots are then the same bytes in the same places:
//! however such a write is torn, they are still there.

use std::io;
use std::sync::Arc;

use ringfence_ipc::journal::MAX_RECORD_SLOTS;
use ringfence_ipc::journal::archive::{
    DurableMark, MARK_BYTES, MARK_OFFSETS, SEGMENT_HEADER_BYTES, SegmentHeader, read_full, seal_slot,
};
use ringfence_ipc::journal::hot::{HotReader, Look};
use ringfence_ipc::msg::SLOT_BYTES;

use super::blocks::{BLOCK_BYTES, Blocks};
use super::medium::{Medium, SegmentFile};

const _: () =
    assert!(SEGMENT_HEADER_BYTES.is_multiple_of(BLOCK_BYTES as u64), "slots and marks share no block");

struct OpenSegment<F> {
    file: F,
    header: SegmentHeader,
}

/// The archive's only writer. After an error it must not be used again: what is on disk is unknown.
pub(super) struct SegmentWriter<M: Medium> {
    medium: Arc<M>,
    journal_id: u64,
    epoch: u64,
    segment_slots: u64,
    current: Option<OpenSegment<M::File>>,
    chain: u32,
    /// Position behind the staged, the written and the synced slots.
    staged: u64,
    written: u64,
    synced: u64,
    /// Which of the segment's two durable marks is written next.
    spare_mark: usize,
    blocks: Blocks,
}

impl<M: Medium> SegmentWriter<M> {
    /// Continues behind `position`, the chain being `chain`, in the segment given or else in a new one.
    /// [`Self::settle`] comes first.
    pub(super) fn new(
        medium: Arc<M>,
        identity: (u64, u64),
        segment_slots: u64,
        current: Option<(M::File, SegmentHeader)>,
        (position, chain): (u64, u32),
    ) -> Self {
        Self {
            medium,
            journal_id: identity.0,
            epoch: identity.1,
            segment_slots,
            current: current.map(|(file, header)| OpenSegment { file, header }),
            chain,
            staged: position,
            written: position,
            synced: position,
            spare_mark: 0,
            blocks: Blocks::new(),
        }
    }

    pub(super) fn medium(&self) -> &M {
        &self.medium
    }

    /// From here on, segments say that this life of the gate created them.
    pub(super) const fn set_epoch(&mut self, epoch: u64) {
        self.epoch = epoch;
    }

    pub(super) const fn staged(&self) -> u64 {
        self.staged
    }

    pub(super) const fn written(&self) -> u64 {
        self.written
    }

    pub(super) const fn synced(&self) -> u64 {
        self.synced
    }

    /// First position of the segment that is being written.
    pub(super) fn segment(&self) -> Option<u64> {
        self.current.as_ref().map(|open| open.header.first)
    }

    /// Bytes of the segments that must be made before `slots` more slots fit, at most.
    pub(super) fn bytes_for(&self, slots: u64) -> u64 {
        const WASTED: u64 = MAX_RECORD_SLOTS as u64 - 1;
        let end = self.current.as_ref().map_or(0, |open| open.header.first + open.header.capacity);
        let room = end.saturating_sub(self.staged).saturating_sub(WASTED);
        let missing = slots.saturating_sub(room);
        // A record never spans two segments: each may end with slots that the next record did not fit into.
        missing.div_ceil(self.segment_slots - WASTED)
            * (SEGMENT_HEADER_BYTES + self.segment_slots * SLOT_BYTES as u64)
    }

    /// Whether a whole group is staged.
    pub(super) fn is_group(&self) -> bool {
        self.blocks.is_full()
    }

    /// Everything from `durable` on is written anew, the rest of the segment becomes zeros, all of it is synced.
    ///
    /// After a failed sync the cache may hold pages that the disk does not and that it takes for clean: only writing
    /// them again brings them there.
    pub(super) fn settle(&mut self, durable: DurableMark) -> io::Result<()> {
        let Some(OpenSegment { file, header }) = &self.current else { return Ok(()) };
        let end = header.offset_of(self.written);
        let durable_end = header.offset_of(durable.position);
        self.spare_mark = durable.spare;
        file.resize(end, header.file_bytes())?;
        // So too for the mark that counts: it must be on disk before the other one is overwritten.
        let (mut mark, kept) = ([0; MARK_BYTES], MARK_OFFSETS[1 - durable.spare]);
        let count = read_full(file, &mut mark, kept)?;
        file.write_at(&mark[..count], kept)?;
        let blocks = &mut self.blocks;
        blocks.restart(durable_end - durable_end % BLOCK_BYTES as u64);
        while blocks.end() < end {
            let (at, left) = (blocks.end(), (end - blocks.end()) as usize);
            let space = blocks.space();
            let want = left.min(space.len());
            if read_full(file, &mut space[..want], at)? < want {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            blocks.fill(want);
            let (bytes, offset) = blocks.whole();
            file.write_at(bytes, offset)?;
            blocks.written();
        }
        file.sync()?;
        self.mark(self.written)?;
        self.sync()
    }

    /// Stages the next record of `ring`, if it is there; opens the next segment when this one has no room for it.
    /// Must not be called with a whole group staged.
    #[inline]
    pub(super) fn stage(&mut self, ring: &HotReader) -> io::Result<Look<()>> {
        let head = match ring.head(self.staged) {
            Look::Record(head) => head,
            other => return Ok(other.and_then(|_| Look::NotYet)),
        };
        let end = self.staged + head.slots() as u64;
        if !matches!(&self.current, Some(open) if end <= open.header.first + open.header.capacity) {
            self.next_segment()?;
        }
        let (mut position, mut chain) = (self.staged, self.chain);
        let (mut room, _) = self.blocks.space().as_chunks_mut::<SLOT_BYTES>();
        let copied = ring.copy(head, |words| {
            if let Some(out) = room.split_off_first_mut() {
                chain = seal_slot(chain, position, words, out);
                position += 1;
            }
        });
        if copied == Look::Record(()) {
            assert!(position == end, "a record is staged only where it fits");
            self.blocks.fill(head.slots() * SLOT_BYTES);
            (self.staged, self.chain) = (end, chain);
        }
        Ok(copied)
    }

    /// Hands what is staged to the medium.
    pub(super) fn write(&mut self) -> io::Result<()> {
        let Some(OpenSegment { file, .. }) = &self.current else { return Ok(()) };
        if self.staged > self.written {
            let (bytes, offset) = self.blocks.whole();
            file.write_at(bytes, offset)?;
            self.blocks.written();
            self.written = self.staged;
        }
        Ok(())
    }

    /// Brings what is written to disk. The durable mark written along is that of the sync before: it never promises
    /// more than is true.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        let Some(OpenSegment { file, .. }) = &self.current else { return Ok(()) };
        file.sync()?;
        self.synced = self.written;
        Ok(())
    }

    /// Writes down that everything below `durable` is on disk; itself on disk after the next [`Self::sync`].
    pub(super) fn mark(&mut self, durable: u64) -> io::Result<()> {
        let Some(OpenSegment { file, header }) = &self.current else { return Ok(()) };
        file.write_at(&header.encode_mark(durable.max(header.first)), MARK_OFFSETS[self.spare_mark])?;
        self.spare_mark = 1 - self.spare_mark;
        Ok(())
    }

    /// Ends in good order: everything on disk, and marked so.
    pub(super) fn close(&mut self) -> io::Result<()> {
        self.write()?;
        self.sync()?;
        self.mark(self.synced)?;
        self.sync()
    }

    fn next_segment(&mut self) -> io::Result<()> {
        self.close()?;
        let header = SegmentHeader {
            journal_id: self.journal_id,
            first: self.staged,
            epoch: self.epoch,
            capacity: self.segment_slots,
            chain: self.chain,
        };
        let mut head = vec![0; SEGMENT_HEADER_BYTES as usize];
        let fields = header.encode();
        head[..fields.len()].copy_from_slice(&fields);
        let file = self.medium.create_segment(header.first, &head, header.file_bytes())?;
        self.current = Some(OpenSegment { file, header });
        self.blocks.restart(SEGMENT_HEADER_BYTES);
        self.spare_mark = 0;
        Ok(())
    }
}
