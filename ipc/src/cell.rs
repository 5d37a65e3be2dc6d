//! One value of seven words that one process writes and many read.
//!
//! ```text
//!  line 0     announced sequence n (0: never written)
//!  line 1..4  slot n mod 4: seven words | sequence
//! ```
//!
//! The writer fills the slots in turn and announces each when it stands. A reader takes the announced slot and keeps the
//! copy only if the slot's own sequence was the announced one before and after: it has three writes' time for that, so
//! even a writer at full speed does not starve it. Readers write nothing, and give up after [`MAX_TRIES`].

use crate::atomic::{Ordering, SEQUENCE_WORD, fence};
use crate::msg::Words;
use crate::view::{ReadSlots, WriteSlots};

/// Lines of one cell.
pub const CELL_SLOTS: usize = 1 + VALUES;
/// How often a reader tries: one try is the rule, so a reader that needs all was descheduled or is being lied to.
pub const MAX_TRIES: usize = 64;

const VALUES: usize = 4;
const ANNOUNCED: usize = 0;

/// The writing side of one cell; by protocol the only one.
#[derive(Debug)]
pub struct CellWriter {
    lines: WriteSlots,
    sequence: u64,
}

impl CellWriter {
    /// Writes into `lines`, which are all zero.
    ///
    /// # Panics
    /// When there are not exactly [`CELL_SLOTS`] lines.
    #[must_use]
    pub fn new(lines: WriteSlots) -> Self {
        assert_eq!(lines.count(), CELL_SLOTS, "a cell has {CELL_SLOTS} lines");
        Self { lines, sequence: 0 }
    }

    /// Makes `value` the one that readers see.
    #[inline]
    pub fn publish(&mut self, value: &Words) {
        self.sequence += 1;
        let line = line_of(self.sequence);
        // A reader that sees any word of the new value must not see the slot's old sequence afterwards.
        self.lines.store(line, SEQUENCE_WORD, 0);
        fence(Ordering::Release);
        self.lines.store_payload(line, value);
        self.lines.publish(line, self.sequence);
        self.lines.store(ANNOUNCED, 0, self.sequence);
    }
}

/// Reads the cell in lines `first..first + CELL_SLOTS`. `None` when nothing was written yet, or no try in
/// [`MAX_TRIES`] met a whole value.
///
/// # Panics
/// When the view does not have those lines.
#[inline]
#[must_use]
pub fn read(lines: &ReadSlots, first: usize) -> Option<Words> {
    for _ in 0..MAX_TRIES {
        let announced = lines.load(first + ANNOUNCED, 0);
        if announced == 0 {
            return None;
        }
        let line = first + line_of(announced);
        let before = lines.sequence(line);
        fence(Ordering::Acquire);
        let value = lines.payload(line);
        fence(Ordering::Acquire);
        if before == announced && lines.sequence(line) == announced {
            return Some(value);
        }
        crate::atomic::spin_loop();
    }
    None
}

#[inline]
fn line_of(sequence: u64) -> usize {
    1 + (sequence % VALUES as u64) as usize
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn the_newest_value_is_read() {
        let lines = WriteSlots::heap(CELL_SLOTS);
        let mut writer = CellWriter::new(lines.clone());
        assert_eq!(read(&lines.reader(), 0), None);
        for n in 1..20 {
            writer.publish(&[n; 7]);
            assert_eq!(read(&lines.reader(), 0), Some([n; 7]));
        }
    }

    #[test]
    fn a_writer_at_full_speed_starves_no_reader_and_tears_no_value() {
        let lines = WriteSlots::heap(CELL_SLOTS);
        let mut writer = CellWriter::new(lines.clone());
        writer.publish(&[1; 7]);
        let until = Instant::now() + Duration::from_millis(200);
        let thread = std::thread::spawn(move || {
            let mut n = 1;
            while Instant::now() < until {
                for _ in 0..100 {
                    n += 1;
                    writer.publish(&[n; 7]);
                }
            }
        });
        let (mut reads, mut last) = (0u64, 0);
        while Instant::now() < until {
            if let Some(value) = read(&lines.reader(), 0) {
                assert!(value.iter().all(|word| *word == value[0]), "torn: {value:?}");
                assert!(value[0] >= last, "went back");
                last = value[0];
                reads += 1;
            }
        }
        thread.join().unwrap();
        assert!(reads > 100, "{reads}");
    }

    #[test]
    fn a_writer_that_lies_costs_a_bounded_number_of_tries() {
        let lines = WriteSlots::heap(CELL_SLOTS);
        for announced in [1, 7, u64::MAX] {
            lines.store(0, 0, announced);
            assert_eq!(read(&lines.reader(), 0), None);
        }
    }

    #[test]
    fn dies_mid_write_leaves_the_last_value() {
        let lines = WriteSlots::heap(CELL_SLOTS);
        let mut writer = CellWriter::new(lines.clone());
        writer.publish(&[5; 7]);
        lines.store(line_of(2), SEQUENCE_WORD, 0);
        lines.store_payload(line_of(2), &[9; 7]);
        assert_eq!(read(&lines.reader(), 0), Some([5; 7]));
    }
}
