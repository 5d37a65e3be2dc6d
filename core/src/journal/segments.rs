//! Writing the archive: seals slots into a buffer, writes groups, syncs, goes on to the next segment.

use std::io;
use std::sync::Arc;

use ringfence_ipc::journal::archive::{
    DurableMark, MARK_OFFSETS, SEGMENT_HEADER_BYTES, SegmentHeader, read_full, seal_slot,
};
use ringfence_ipc::msg::{SLOT_BYTES, Words};

use super::medium::{Medium, SegmentFile};

/// The most that is written at once.
pub(super) const GROUP_BYTES: usize = 1 << 20;
/// How much is read at once where a tail is written anew.
const COPY_BYTES: usize = 1 << 20;

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
    buffer: Vec<u8>,
}

impl<M: Medium> SegmentWriter<M> {
    /// Continues behind `position`, the chain being `chain`, in the segment given or else in a new one.
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
            buffer: Vec::with_capacity(GROUP_BYTES),
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

    /// Whether a whole group is staged.
    pub(super) fn is_group(&self) -> bool {
        self.buffer.len() >= GROUP_BYTES
    }

    /// Everything from `durable` on is written anew, the rest of the segment becomes zeros, all of it is synced.
    ///
    /// After a failed sync the cache may hold pages that the disk does not and that it takes for clean: only writing
    /// them again brings them there.
    pub(super) fn settle(&mut self, durable: DurableMark) -> io::Result<()> {
        let Some(OpenSegment { file, header }) = &self.current else { return Ok(()) };
        let end = header.offset_of(self.written);
        let mut at = header.offset_of(durable.position);
        self.spare_mark = durable.spare;
        file.resize(end, header.file_bytes())?;
        let mut copy = vec![0; COPY_BYTES];
        while at < end {
            let want = COPY_BYTES.min((end - at) as usize);
            let count = read_full(file, &mut copy[..want], at)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            file.write_at(&copy[..count], at)?;
            at += count as u64;
        }
        file.sync()?;
        self.mark(self.written)?;
        self.sync()
    }

    /// Stages a record; opens the next segment when this one has no room for it.
    pub(super) fn stage(&mut self, slots: &[Words]) -> io::Result<()> {
        let end = self.staged + slots.len() as u64;
        if !matches!(&self.current, Some(open) if end <= open.header.first + open.header.capacity) {
            self.next_segment()?;
        }
        for words in slots {
            let mut bytes = [0; SLOT_BYTES];
            self.chain = seal_slot(self.chain, self.staged, words, &mut bytes);
            self.buffer.extend_from_slice(&bytes);
            self.staged += 1;
        }
        Ok(())
    }

    /// Hands what is staged to the medium.
    pub(super) fn write(&mut self) -> io::Result<()> {
        let Some(OpenSegment { file, header }) = &self.current else { return Ok(()) };
        if self.staged > self.written {
            file.write_at(&self.buffer, header.offset_of(self.written))?;
            self.buffer.clear();
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
        self.spare_mark = 0;
        Ok(())
    }
}
