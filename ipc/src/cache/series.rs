//! A reader of one series: the newest value, and windows by validated copy or in place.

use super::ReadError;
use super::shape::{ANNOUNCED_LINE, FIRST_LINE_WORDS, MAX_ROW_WORDS, Place, STATE_LINE, Shape, Stamp, state};
use super::window::{Window, WindowBuffer};
use crate::atomic::{Ordering, SLOT_WORDS, fence, spin_loop};
use crate::cell::MAX_TRIES;
use crate::view::ReadSlots;

/// Reads one series; writes nothing. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SeriesView {
    block: ReadSlots,
    shape: Shape,
}

/// The newest value of a series, as copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Newest {
    /// Counts the values of the newest bucket, from 1; 0: none was read yet.
    pub version: u64,
    place: Place,
    row: [u64; MAX_ROW_WORDS],
}

impl Default for Newest {
    fn default() -> Self {
        Self { version: 0, place: Place::new(0, 0, 0), row: [0; MAX_ROW_WORDS] }
    }
}

impl Newest {
    /// Its bucket: time / interval.
    #[must_use]
    pub fn bucket(&self) -> u64 {
        self.place.bucket()
    }

    /// When it was made, and how it came.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        Stamp(self.row[0])
    }

    /// One of its features.
    ///
    /// # Panics
    /// When no series has that feature.
    #[must_use]
    pub fn value(&self, feature: usize) -> f64 {
        f64::from_bits(self.row[1 + feature])
    }
}

/// What a copy must still be true to when it is finished.
#[derive(Clone, Copy, Debug)]
struct Snapshot {
    place: Place,
    generation: u64,
}

impl SeriesView {
    /// Over the block of one series; `None` when it has not the lines of `shape`.
    #[must_use]
    pub fn new(block: ReadSlots, shape: Shape) -> Option<Self> {
        (block.count() == shape.lines()).then_some(Self { block, shape })
    }

    /// The series' size.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The newest value, if it is newer than `newest`, which it then replaces. Looks at one line only while nothing has
    /// come, so it can be polled.
    #[inline]
    pub fn poll(&self, newest: &mut Newest) -> bool {
        let next = newest.version + 1;
        match self.block.sequence(self.shape.version_line(next)) {
            found if found < next => false,
            found if found == next && self.copy_version(next, newest) => true,
            _ => self.newest(newest).is_ok(),
        }
    }

    /// The newest value.
    ///
    /// # Errors
    /// [`ReadError::Empty`] before the first, [`ReadError::Busy`] when no try met a whole one.
    #[inline]
    pub fn newest(&self, newest: &mut Newest) -> Result<(), ReadError> {
        for _ in 0..MAX_TRIES {
            let announced = self.block.load(ANNOUNCED_LINE, 0);
            if announced == 0 {
                return Err(ReadError::Empty);
            }
            if self.copy_version(announced, newest) {
                return Ok(());
            }
            spin_loop();
        }
        Err(ReadError::Busy)
    }

    #[inline]
    fn copy_version(&self, version: u64, newest: &mut Newest) -> bool {
        let Some(place) = self.copy_row(version, &mut newest.row[..self.shape.row_words()]) else {
            return false;
        };
        (newest.version, newest.place) = (version, place);
        true
    }

    /// Copies a version's row, if its line holds that version before and after.
    #[inline]
    fn copy_row(&self, version: u64, row: &mut [u64]) -> Option<Place> {
        let line = self.shape.version_line(version);
        let before = self.block.sequence(line);
        fence(Ordering::Acquire);
        let place = Place::from_word(self.block.load(line, 0));
        let (first, rest) = row.split_at_mut(row.len().min(FIRST_LINE_WORDS));
        self.block.copy_words(line * SLOT_WORDS + 1, first);
        if !rest.is_empty() {
            self.block.copy_words((line + 1) * SLOT_WORDS, rest);
        }
        fence(Ordering::Acquire);
        let whole = before == version && self.block.sequence(line) == version;
        (whole && place.slot() < self.shape.buckets()).then_some(place)
    }

    /// Copies the last `slots` buckets, the newest included. Missing ones come empty, with values that are no number.
    ///
    /// # Errors
    /// [`ReadError::Length`] for 0 or more than the period, [`ReadError::Empty`] before the first value,
    /// [`ReadError::Busy`] when the writer overtook every try.
    #[inline]
    pub fn window<'b>(&self, slots: usize, buffer: &'b mut WindowBuffer) -> Result<Window<'b>, ReadError> {
        let place = self.copy_window(slots, buffer)?;
        Ok(Window::new(&self.shape, place.bucket(), slots, buffer.rows()))
    }

    /// As [`SeriesView::window`]; the rows are the buffer's.
    #[inline]
    pub(super) fn copy_window(&self, slots: usize, buffer: &mut WindowBuffer) -> Result<Place, ReadError> {
        if slots == 0 || slots > self.shape.period() as usize {
            return Err(ReadError::Length { period: self.shape.period() });
        }
        let row_words = self.shape.row_words();
        let rows = buffer.sized(slots * row_words);
        let (older, last) = rows.split_at_mut((slots - 1) * row_words);
        let found = self.attempts(slots, |place| {
            *place = self.copy_row(self.block.load(ANNOUNCED_LINE, 0), last)?;
            self.copy_older(*place, older);
            Some(())
        })?;
        if (found.place.run() as usize) < slots {
            self.mark_missing(found.place, slots, older);
        }
        Ok(found.place)
    }

    /// Repeats `copy` until what it copied was whole: no backfill came between, and the writer has not begun to write
    /// over the oldest of `slots` buckets.
    #[inline]
    fn attempts(
        &self,
        slots: usize,
        mut copy: impl FnMut(&mut Place) -> Option<()>,
    ) -> Result<Snapshot, ReadError> {
        for _ in 0..MAX_TRIES {
            let generation = self.state(state::GENERATION);
            if self.block.load(ANNOUNCED_LINE, 0) == 0 {
                return Err(ReadError::Empty);
            }
            let mut place = Place::from_word(0);
            let snapshot = copy(&mut place).map(|()| Snapshot { place, generation });
            match snapshot {
                Some(found) if self.still_holds(&found, slots) => return Ok(found),
                _ => spin_loop(),
            }
        }
        Err(ReadError::Busy)
    }

    #[inline]
    fn still_holds(&self, snapshot: &Snapshot, slots: usize) -> bool {
        fence(Ordering::Acquire);
        let ahead = self.state(state::CLAIMED).saturating_sub(snapshot.place.bucket());
        // Writing bucket b erases bucket b - buckets; everything before the claimed one may have been written.
        snapshot.generation.is_multiple_of(2)
            && self.state(state::GENERATION) == snapshot.generation
            && ahead <= (self.shape.buckets() as usize - slots) as u64
    }

    /// The rows before the newest: at most two runs of ring slots.
    #[inline]
    fn copy_older(&self, place: Place, rows: &mut [u64]) {
        let row_words = self.shape.row_words();
        let (slot, count) = (place.slot() as usize, rows.len() / row_words);
        let (wrapped, straight) = (count.saturating_sub(slot), slot.min(count));
        let (before_wrap, after_wrap) = rows.split_at_mut(wrapped * row_words);
        if wrapped > 0 {
            let first = self.shape.buckets() as usize - wrapped;
            self.block.copy_words(self.shape.ring_word(first), before_wrap);
        }
        self.block.copy_words(self.shape.ring_word(slot - straight), after_wrap);
    }

    /// Empties copied rows whose ring slot holds another bucket's value, or none.
    #[cold]
    fn mark_missing(&self, place: Place, slots: usize, older: &mut [u64]) {
        let interval_ns = self.shape.interval_ns();
        for (row, back) in older.chunks_exact_mut(self.shape.row_words()).zip((1..slots as u64).rev()) {
            let from_ns = place.bucket().checked_sub(back).map(|bucket| bucket.saturating_mul(interval_ns));
            if !from_ns.is_some_and(|from_ns| Stamp(row[0]).is_in(from_ns, interval_ns)) {
                row.fill(f64::NAN.to_bits());
                row[0] = 0;
            }
        }
    }

    /// The last `slots` buckets in place: nothing but the newest is copied. Whatever is read counts only if
    /// [`Peek::holds`] says so afterwards.
    ///
    /// # Errors
    /// As [`SeriesView::window`].
    #[inline]
    pub fn peek(&self, slots: usize) -> Result<Peek<'_>, ReadError> {
        if slots == 0 || slots > self.shape.period() as usize {
            return Err(ReadError::Length { period: self.shape.period() });
        }
        let mut newest = [0; MAX_ROW_WORDS];
        let row = &mut newest[..self.shape.row_words()];
        let snapshot = self.attempts(slots, |place| {
            *place = self.copy_row(self.block.load(ANNOUNCED_LINE, 0), row)?;
            Some(())
        })?;
        Ok(Peek { series: self, snapshot, slots, newest })
    }

    /// The oldest bucket that ever held a value: what is missing before it is warm-up, after it a gap. Meaningless
    /// before the first value.
    #[must_use]
    pub fn origin(&self) -> u64 {
        self.state(state::ORIGIN)
    }

    /// How often closed buckets were filled or corrected afterwards, twice; odd while one is.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.state(state::GENERATION)
    }

    /// Values that came for buckets already outside the window.
    #[must_use]
    pub fn late(&self) -> u64 {
        self.state(state::LATE)
    }

    /// How often a bucket did not follow its predecessor.
    #[must_use]
    pub fn gaps(&self) -> u64 {
        self.state(state::GAPS)
    }

    /// The attachment that may feed the series; `None`: nobody holds its lease.
    #[must_use]
    pub fn producer(&self) -> Option<u64> {
        Some(self.state(state::PRODUCER)).filter(|client| *client != 0)
    }

    #[inline]
    fn state(&self, word: usize) -> u64 {
        self.block.load(STATE_LINE, word)
    }
}

/// A window that is read where it stands. Bucket 0 is the oldest.
#[derive(Debug)]
pub struct Peek<'s> {
    series: &'s SeriesView,
    snapshot: Snapshot,
    slots: usize,
    newest: [u64; MAX_ROW_WORDS],
}

impl Peek<'_> {
    /// Buckets of the window.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// When the value of a bucket was made; `None` when the bucket is empty or outside the window.
    #[inline]
    #[must_use]
    pub fn stamp(&self, index: usize) -> Option<Stamp> {
        let interval_ns = self.series.shape.interval_ns();
        let back = (self.slots.checked_sub(index + 1)?) as u64;
        let from_ns = self.snapshot.place.bucket().checked_sub(back)?.saturating_mul(interval_ns);
        Some(Stamp(self.word(index, 0)?)).filter(|stamp| back == 0 || stamp.is_in(from_ns, interval_ns))
    }

    /// A feature of a bucket that [`Peek::stamp`] has something for; `None` outside the window.
    #[inline]
    #[must_use]
    pub fn value(&self, index: usize, feature: usize) -> Option<f64> {
        if feature >= self.series.shape.features() {
            return None;
        }
        self.word(index, 1 + feature).map(f64::from_bits)
    }

    /// Everything read so far was whole: no backfill came between and nothing was overwritten.
    #[inline]
    #[must_use]
    pub fn holds(&self) -> bool {
        self.series.still_holds(&self.snapshot, self.slots)
    }

    #[inline]
    fn word(&self, index: usize, word: usize) -> Option<u64> {
        let back = self.slots.checked_sub(index + 1)?;
        if back == 0 {
            return self.newest.get(word).copied();
        }
        let (slot, buckets) = (self.snapshot.place.slot() as usize, self.series.shape.buckets() as usize);
        let slot = if slot >= back { slot - back } else { slot + buckets - back };
        let at = self.series.shape.ring_word(slot) + word;
        Some(self.series.block.load(at / SLOT_WORDS, at % SLOT_WORDS))
    }
}
