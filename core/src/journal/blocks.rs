//! Slots on their way to a segment, as whole aligned blocks: what direct IO asks for.

use ringfence_ipc::journal::MAX_RECORD_SLOTS;
use ringfence_ipc::msg::SLOT_BYTES;

/// Data is written in blocks of this size at multiples of it, from memory aligned to it.
pub(super) const BLOCK_BYTES: usize = 4096;
/// The most that is written at once.
const BUFFER_BYTES: usize = 1 << 20;
const RECORD_BYTES: usize = MAX_RECORD_SLOTS * SLOT_BYTES;

const _: () = assert!(BUFFER_BYTES.is_multiple_of(BLOCK_BYTES), "a full buffer ends with a block");
const _: () = assert!(BLOCK_BYTES.is_multiple_of(SLOT_BYTES), "no slot straddles a block");

/// The end of a segment from a block boundary on. The last block is kept until it is full, and written each time.
pub(super) struct Blocks {
    memory: Box<[u8]>,
    /// Index of the first aligned byte of `memory`.
    start: usize,
    /// Bytes filled.
    len: usize,
    /// Where in the file they belong.
    offset: u64,
}

impl Blocks {
    pub(super) fn new() -> Self {
        let memory = vec![0; BUFFER_BYTES + BLOCK_BYTES].into_boxed_slice();
        let start = memory.as_ptr().align_offset(BLOCK_BYTES);
        assert!(start <= BLOCK_BYTES, "memory has an aligned byte in every block");
        Self { memory, start, len: 0, offset: 0 }
    }

    /// Holds nothing; the next byte belongs at `offset` in the file, a multiple of [`BLOCK_BYTES`].
    pub(super) fn restart(&mut self, offset: u64) {
        assert!(offset.is_multiple_of(BLOCK_BYTES as u64), "blocks start at block boundaries");
        (self.offset, self.len) = (offset, 0);
    }

    /// Where in the file the next byte belongs.
    pub(super) const fn end(&self) -> u64 {
        self.offset + self.len as u64
    }

    /// No room for another record of any size.
    #[inline]
    pub(super) const fn is_full(&self) -> bool {
        self.len + RECORD_BYTES > BUFFER_BYTES
    }

    /// The bytes that come next.
    #[inline]
    pub(super) fn space(&mut self) -> &mut [u8] {
        &mut self.memory[self.start + self.len..self.start + BUFFER_BYTES]
    }

    /// That many bytes of [`Self::space`] are filled.
    #[inline]
    pub(super) fn fill(&mut self, count: usize) {
        assert!(count <= BUFFER_BYTES - self.len, "filled beyond the buffer");
        self.len += count;
    }

    /// All blocks, zeros behind the last byte, and where they belong.
    pub(super) fn whole(&mut self) -> (&[u8], u64) {
        let padded = self.len.next_multiple_of(BLOCK_BYTES);
        let bytes = &mut self.memory[self.start..self.start + padded];
        bytes[self.len..].fill(0);
        (bytes, self.offset)
    }

    /// The full blocks are in the file; the last one, if it is not full, is written again when it has grown.
    pub(super) fn written(&mut self) {
        let full = self.len / BLOCK_BYTES * BLOCK_BYTES;
        self.memory.copy_within(self.start + full..self.start + self.len, self.start);
        self.len -= full;
        self.offset += full as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_written_until_it_is_full() {
        let mut blocks = Blocks::new();
        blocks.restart(8192);
        blocks.space()[..5000].fill(7);
        blocks.fill(5000);
        let (bytes, offset) = blocks.whole();
        assert_eq!((bytes.len(), offset, bytes.as_ptr().align_offset(BLOCK_BYTES)), (8192, 8192, 0));
        assert!(bytes[..5000].iter().all(|b| *b == 7) && bytes[5000..].iter().all(|b| *b == 0));
        blocks.written();
        assert_eq!(blocks.end(), 8192 + 5000);
        blocks.space()[..8].fill(9);
        blocks.fill(8);
        let (bytes, offset) = blocks.whole();
        assert_eq!((bytes.len(), offset), (4096, 12_288));
        assert!(bytes[..904].iter().all(|b| *b == 7) && bytes[904..912].iter().all(|b| *b == 9));
        assert!(bytes[912..].iter().all(|b| *b == 0), "what a longer write left is gone");
    }

    #[test]
    fn a_full_buffer_leaves_no_room_for_a_record() {
        let mut blocks = Blocks::new();
        while !blocks.is_full() {
            assert!(blocks.space().len() >= RECORD_BYTES);
            blocks.fill(SLOT_BYTES);
        }
        assert!(blocks.space().len() < RECORD_BYTES);
        blocks.written();
        assert!(!blocks.is_full());
    }
}
