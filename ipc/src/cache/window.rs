//! Copied windows, and what a consumer makes of missing buckets.

use super::ReadError;
use super::series::SeriesView;
use super::shape::{Shape, Stamp};

/// What a consumer does about a missing bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapPolicy {
    /// Takes the newest filled buckets and computes as if the missing ones had never been due.
    Skip,
    /// A gap is an error: [`ReadError::Gap`].
    Fail,
    /// Puts a value on the straight line between its neighbours, marked synthetic.
    Interpolate,
}

/// Memory that windows are copied into; used again and again, it allocates when it has to grow only.
#[derive(Clone, Debug, Default)]
pub struct WindowBuffer {
    words: Vec<u64>,
    used: usize,
}

impl WindowBuffer {
    /// Room for one whole window of `shape`.
    #[must_use]
    pub fn of(shape: &Shape) -> Self {
        let words = shape.period() as usize * shape.row_words();
        Self { words: vec![0; words], used: 0 }
    }

    #[inline]
    pub(super) fn sized(&mut self, words: usize) -> &mut [u64] {
        if self.words.len() < words {
            self.words.resize(words, 0);
        }
        self.used = words;
        &mut self.words[..words]
    }

    #[inline]
    pub(super) fn rows(&self) -> &[u64] {
        &self.words[..self.used]
    }
}

/// Copied buckets, oldest first. Row-major: stamp, then every feature.
#[derive(Clone, Copy, Debug)]
pub struct Window<'b> {
    rows: &'b [u64],
    row_words: usize,
    newest_bucket: u64,
}

impl<'b> Window<'b> {
    #[inline]
    pub(super) fn new(shape: &Shape, newest_bucket: u64, slots: usize, rows: &'b [u64]) -> Self {
        let row_words = shape.row_words();
        Self { rows: &rows[rows.len() - slots * row_words..], row_words, newest_bucket }
    }

    /// Buckets in it.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.rows.len() / self.row_words
    }

    /// The newest bucket: time / interval.
    #[must_use]
    pub fn newest_bucket(&self) -> u64 {
        self.newest_bucket
    }

    /// When the value of a bucket was made, and how it came; an empty stamp for a missing one.
    ///
    /// # Panics
    /// When there is no bucket of that index.
    #[inline]
    #[must_use]
    pub fn stamp(&self, index: usize) -> Stamp {
        Stamp(self.rows[index * self.row_words])
    }

    /// A feature of a bucket; not a number for a missing one.
    ///
    /// # Panics
    /// When there is no bucket or feature of that index.
    #[inline]
    #[must_use]
    pub fn value(&self, index: usize, feature: usize) -> f64 {
        assert!(feature + 1 < self.row_words, "the series has no such feature");
        f64::from_bits(self.rows[index * self.row_words + 1 + feature])
    }

    /// Every value of one feature, oldest first.
    ///
    /// # Panics
    /// When there is no such feature.
    pub fn values(&self, feature: usize) -> impl DoubleEndedIterator<Item = f64> + ExactSizeIterator + 'b {
        assert!(feature + 1 < self.row_words, "the series has no such feature");
        self.rows.chunks_exact(self.row_words).map(move |row| f64::from_bits(row[1 + feature]))
    }

    /// Buckets that hold a value.
    #[must_use]
    pub fn filled(&self) -> usize {
        self.rows.chunks_exact(self.row_words).filter(|row| row[0] != 0).count()
    }

    /// The copy itself: for each bucket its stamp and the bits of its values.
    #[must_use]
    pub fn words(&self) -> &'b [u64] {
        self.rows
    }
}

impl SeriesView {
    /// The window that a consumer of `slots` buckets may compute on. Every bucket in it has a value.
    ///
    /// # Errors
    /// As [`SeriesView::window`]; [`ReadError::NotReady`] while buckets are missing that the policy cannot do without,
    /// [`ReadError::Gap`] with [`GapPolicy::Fail`].
    #[inline]
    pub fn ready_window<'b>(
        &self,
        slots: usize,
        policy: GapPolicy,
        buffer: &'b mut WindowBuffer,
    ) -> Result<Window<'b>, ReadError> {
        let place = self.copy_window(slots, buffer)?;
        let bucket =
            if place.run() as usize >= slots { place.bucket() } else { self.mend(slots, policy, buffer)? };
        Ok(Window::new(self.shape(), bucket, slots, buffer.rows()))
    }

    /// The slower way, with buckets missing: copies the whole window and leaves `slots` rows to compute on at its end.
    #[cold]
    fn mend(&self, slots: usize, policy: GapPolicy, buffer: &mut WindowBuffer) -> Result<u64, ReadError> {
        let (row_words, interval_ns) = (self.shape().row_words(), self.shape().interval_ns());
        let period = self.shape().period() as usize;
        let bucket = self.copy_window(period, buffer)?.bucket();
        let rows = buffer.sized(period * row_words);
        let is_filled = |rows: &[u64], at: usize| rows[at * row_words] != 0;
        let wanted = period - slots..period;
        let missing = |rows: &[u64]| wanted.clone().rev().find(|at| !is_filled(rows, *at));
        let not_ready = |rows: &[u64]| ReadError::NotReady {
            filled: wanted.clone().filter(|at| is_filled(rows, *at)).count(),
            needed: slots,
        };
        if let Some(newest_missing) = missing(rows) {
            match policy {
                GapPolicy::Fail => {
                    let gap = (bucket + newest_missing as u64 + 1).saturating_sub(period as u64);
                    let is_gap = bucket >= period as u64 - 1 - newest_missing as u64 && gap > self.origin();
                    return Err(if is_gap { ReadError::Gap { bucket: gap } } else { not_ready(rows) });
                }
                GapPolicy::Skip => skip(rows, row_words, period),
                GapPolicy::Interpolate => {
                    let first_bucket = (bucket + 1).wrapping_sub(period as u64);
                    let at_ns = |row: usize| first_bucket.wrapping_add(row as u64).wrapping_mul(interval_ns);
                    interpolate(rows, row_words, at_ns);
                }
            }
        }
        if missing(rows).is_some() { Err(not_ready(rows)) } else { Ok(bucket) }
    }
}

/// Moves the filled rows to the end, in their order; what remains before them is empty.
fn skip(rows: &mut [u64], row_words: usize, count: usize) {
    let mut to = count;
    for from in (0..count).rev() {
        if rows[from * row_words] != 0 {
            to -= 1;
            rows.copy_within(from * row_words..(from + 1) * row_words, to * row_words);
        }
    }
    for row in rows[..to * row_words].chunks_exact_mut(row_words) {
        row[0] = 0;
    }
}

/// Fills every row that has a filled one on both sides.
fn interpolate(rows: &mut [u64], row_words: usize, at_ns: impl Fn(usize) -> u64) {
    let mut before: Option<usize> = None;
    for at in 0..rows.len() / row_words {
        if rows[at * row_words] == 0 {
            continue;
        }
        if let Some(left) = before {
            for between in left + 1..at {
                let share = (between - left) as f64 / (at - left) as f64;
                rows[between * row_words] = Stamp::synthetic(at_ns(between)).0;
                for word in 1..row_words {
                    let value = |row: usize| f64::from_bits(rows[row * row_words + word]);
                    // Weighted so, the difference of two large values cannot overflow.
                    let mixed = value(left) * (1.0 - share) + value(at) * share;
                    rows[between * row_words + word] = mixed.to_bits();
                }
            }
        }
        before = Some(at);
    }
}
