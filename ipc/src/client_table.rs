//! The attached clients as the gate sees them: rows of the counters file, so that a dead gate's can still be read.
//!
//! ```text
//!  row, two cache lines
//!   0  client number, 0: free     64  name, 24 bytes
//!   1  role u8 | lagging u8 | mode u8 | 0 u8 | strategy u16 | 0 u16
//!   2  process id                 88  lagging since, ns (0: it is not)
//!   3  attached at, ns
//!   4  intents read, slots        5  intents waiting u32 | capacity u32, slots
//!   6  events written, slots      7  events unread u32 | capacity u32, slots
//! ```
//!
//! The gate thread writes a row when a client comes, goes, and now and then between: the words of one row are not of one
//! instant. A reader keeps a row only if its client number was the same before and after.

use crate::journal::{Role, STRATEGY_NAME_BYTES};
use crate::msg::{SLOT_BYTES, StrategyId};
use crate::reason::Mode;
use crate::view::{ReadSlots, WriteSlots};

/// Clients that have a row; further ones are served and not shown.
pub const CLIENT_ROWS: usize = 256;
const LINES_PER_ROW: usize = 2;
/// Cache lines of the table.
pub(crate) const TABLE_LINES: usize = CLIENT_ROWS * LINES_PER_ROW;
const NAME_WORDS: usize = STRATEGY_NAME_BYTES / 8;

const _: () = assert!(STRATEGY_NAME_BYTES.is_multiple_of(8) && NAME_WORDS < SLOT_BYTES / 8);

/// One attached client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientRow {
    /// Number of the attachment, never 0.
    pub client: u64,
    /// What it may send.
    pub role: Role,
    /// Its strategy; 0 for roles without one.
    pub strategy: StrategyId,
    /// The mode in force for it.
    pub mode: Mode,
    /// Its process.
    pub pid: u32,
    /// When it attached, gate time ns.
    pub attached_ns: u64,
    /// Its name, zero-padded.
    pub name: [u8; STRATEGY_NAME_BYTES],
    /// Since when the gate waits for it to read its events, gate time ns; 0: it does not.
    pub lagging_since_ns: u64,
    /// Slots of its intents ring that the gate has read.
    pub intents_read: u64,
    /// Slots of it that wait to be read.
    pub intents_waiting: u32,
    /// Slots it has.
    pub intents_capacity: u32,
    /// Slots of its events ring that the gate has written.
    pub events_written: u64,
    /// Of these, slots that it has not said to have read.
    pub events_unread: u32,
    /// Slots it has.
    pub events_capacity: u32,
}

impl ClientRow {
    /// Its name as text.
    #[must_use]
    pub fn name(&self) -> &str {
        let end = self.name.iter().position(|byte| *byte == 0).unwrap_or(self.name.len());
        std::str::from_utf8(&self.name[..end]).unwrap_or("?")
    }

    fn encode(&self) -> [[u64; 8]; LINES_PER_ROW] {
        let lagging = u64::from(self.lagging_since_ns != 0);
        let kind = self.role as u64
            | lagging << 8
            | (self.mode as u64 & 0xff) << 16
            | u64::from(self.strategy) << 32;
        let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        let mut second = [0; 8];
        for (word, bytes) in second.iter_mut().zip(self.name.chunks_exact(8)) {
            *word = bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        }
        second[NAME_WORDS] = self.lagging_since_ns;
        let first = [
            self.client,
            kind,
            u64::from(self.pid),
            self.attached_ns,
            self.intents_read,
            pair(self.intents_waiting, self.intents_capacity),
            self.events_written,
            pair(self.events_unread, self.events_capacity),
        ];
        [first, second]
    }

    /// `None` for words that no gate writes.
    fn decode(lines: &[[u64; 8]; LINES_PER_ROW]) -> Option<Self> {
        let [first, second] = lines;
        let mut name = [0; STRATEGY_NAME_BYTES];
        for (to, from) in name.iter_mut().zip(second.iter().flat_map(|word| word.to_le_bytes())) {
            *to = from;
        }
        Some(Self {
            client: first[0],
            role: Role::from_wire(first[1] & 0xff)?,
            mode: Mode::from_wire(first[1] >> 16 & 0xff)?,
            strategy: (first[1] >> 32) as StrategyId,
            pid: first[2] as u32,
            attached_ns: first[3],
            intents_read: first[4],
            intents_waiting: first[5] as u32,
            intents_capacity: (first[5] >> 32) as u32,
            events_written: first[6],
            events_unread: first[7] as u32,
            events_capacity: (first[7] >> 32) as u32,
            name,
            lagging_since_ns: second[NAME_WORDS],
        })
    }
}

/// The gate thread's side.
#[derive(Clone, Debug)]
pub(crate) struct TableWriter(pub(crate) WriteSlots);

impl TableWriter {
    /// Writes row `at`; beyond the table nothing happens.
    pub(crate) fn set(&self, at: usize, row: &ClientRow) {
        if at >= CLIENT_ROWS {
            return;
        }
        let [first, second] = row.encode();
        if self.0.load(at * LINES_PER_ROW, 0) != row.client {
            self.clear(at);
        }
        let words = first.iter().enumerate().skip(1);
        words.for_each(|(word, value)| self.0.store(at * LINES_PER_ROW, word, *value));
        second
            .iter()
            .enumerate()
            .for_each(|(word, value)| self.0.store(at * LINES_PER_ROW + 1, word, *value));
        self.0.store(at * LINES_PER_ROW, 0, row.client);
    }

    /// Frees row `at`.
    pub(crate) fn clear(&self, at: usize) {
        if at < CLIENT_ROWS {
            self.0.store(at * LINES_PER_ROW, 0, 0);
        }
    }
}

/// Every row in use, with its place.
pub(crate) fn read(table: &ReadSlots) -> Vec<(usize, ClientRow)> {
    let row = |at: usize| {
        let line = |line: usize| std::array::from_fn(|word| table.load(at * LINES_PER_ROW + line, word));
        let lines = [line(0), line(1)];
        let same = table.load(at * LINES_PER_ROW, 0) == lines[0][0];
        ClientRow::decode(&lines).filter(|row| same && row.client != 0).map(|row| (at, row))
    };
    (0..CLIENT_ROWS).filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(client: u64) -> ClientRow {
        let mut name = [0; STRATEGY_NAME_BYTES];
        name[..4].copy_from_slice(b"demo");
        ClientRow {
            client,
            role: Role::Strategy,
            strategy: 65_535,
            mode: Mode::CancelOnly,
            pid: u32::MAX,
            attached_ns: 1,
            name,
            lagging_since_ns: 2,
            intents_read: u64::MAX,
            intents_waiting: 3,
            intents_capacity: 4,
            events_written: 5,
            events_unread: u32::MAX,
            events_capacity: 6,
        }
    }

    #[test]
    fn rows_survive_and_do_not_touch_each_other() {
        let table = TableWriter(WriteSlots::heap(TABLE_LINES));
        (0..CLIENT_ROWS).for_each(|at| table.set(at, &row(at as u64 + 1)));
        let found = read(&table.0.reader());
        assert_eq!(found.len(), CLIENT_ROWS);
        assert!(found.iter().all(|(at, found)| *found == row(*at as u64 + 1) && found.name() == "demo"));
        table.clear(7);
        assert!(read(&table.0.reader()).iter().all(|(at, _)| *at != 7));
        table.set(CLIENT_ROWS, &row(1));
        table.clear(usize::MAX);
    }

    #[test]
    fn words_that_no_gate_writes_are_no_row() {
        let table = WriteSlots::heap(TABLE_LINES);
        table.store(0, 0, 9);
        table.store(0, 1, u64::MAX);
        assert_eq!(read(&table.reader()), []);
    }
}
