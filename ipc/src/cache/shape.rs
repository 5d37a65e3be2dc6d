//! How large a series is and where its words stand; the packed words of a bucket.

use crate::atomic::SLOT_WORDS;

/// Named features of one node at most.
pub const MAX_FEATURES: usize = 16;
/// Buckets of one window at most.
pub const MAX_PERIOD: u32 = 10_000;
/// Seconds of one bucket at most: a day.
pub const MAX_INTERVAL_S: u32 = 86_400;
/// Words of the widest bucket: the stamp and every feature.
pub const MAX_ROW_WORDS: usize = 1 + MAX_FEATURES;
/// Times are below this, ns since the Unix epoch (the year 2116): the bits above are the stamp's marks.
pub const TIME_END_NS: u64 = 1 << 62;

/// Newest values that stand beside each other; a reader of one has the time of three writes.
pub(crate) const VERSIONS: u64 = 4;
/// Words of a row that the first line of a version holds, beside the place and the sequence.
pub(super) const FIRST_LINE_WORDS: usize = SLOT_WORDS - 2;

const NS_PER_S: u64 = 1_000_000_000;
const SPARE_BUCKETS: u32 = 8;
const MAX_BUCKETS: u32 = (1 << Place::SLOT_BITS) - 1;

const _: () = assert!(MAX_PERIOD + MAX_PERIOD / 4 + SPARE_BUCKETS <= MAX_BUCKETS);
const _: () = assert!(MAX_PERIOD < 1 << Place::RUN_BITS);
const _: () = assert!(TIME_END_NS / NS_PER_S < 1 << Place::BUCKET_BITS);
const _: () = assert!(Place::BUCKET_BITS + Place::SLOT_BITS + Place::RUN_BITS <= 64);

/// The size of one series, fixed at its registration.
///
/// ```text
///  line 0      state: generation | claimed bucket | origin bucket | late | gaps | producer
///  line 1      announced version
///  line 2..    four versions of the newest bucket, 1 to 3 lines each
///              place | stamp | features 0..4 | version      then features 5..12, 13..15
///  line ..     the ring: one row for each bucket, rows packed: stamp | features
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    interval_s: u32,
    period: u32,
    features: u8,
    buckets: u32,
}

impl Shape {
    /// A window of `period` buckets of `interval_s` seconds with `features` values each; the ring has a quarter more
    /// and eight, which is the time a reader has to copy it. `None` when a number is 0 or too large.
    #[must_use]
    pub const fn new(interval_s: u32, period: u32, features: usize) -> Option<Self> {
        if period > MAX_PERIOD {
            return None;
        }
        Self::with_buckets(interval_s, period, features, period + period / 4 + SPARE_BUCKETS)
    }

    /// As [`Shape::new`], with a ring of exactly `buckets`: more than `period`.
    #[must_use]
    pub const fn with_buckets(interval_s: u32, period: u32, features: usize, buckets: u32) -> Option<Self> {
        let fits = interval_s >= 1
            && interval_s <= MAX_INTERVAL_S
            && period >= 1
            && period <= MAX_PERIOD
            && features >= 1
            && features <= MAX_FEATURES
            && buckets > period
            && buckets <= MAX_BUCKETS;
        if fits { Some(Self { interval_s, period, features: features as u8, buckets }) } else { None }
    }

    /// Seconds of one bucket.
    #[must_use]
    pub const fn interval_s(&self) -> u32 {
        self.interval_s
    }

    /// Nanoseconds of one bucket.
    #[must_use]
    pub const fn interval_ns(&self) -> u64 {
        self.interval_s as u64 * NS_PER_S
    }

    /// Buckets of the window.
    #[must_use]
    pub const fn period(&self) -> u32 {
        self.period
    }

    /// Values of one bucket.
    #[must_use]
    pub const fn features(&self) -> usize {
        self.features as usize
    }

    /// Buckets of the ring.
    #[must_use]
    pub const fn buckets(&self) -> u32 {
        self.buckets
    }

    /// Words of one bucket: stamp and features.
    #[must_use]
    pub const fn row_words(&self) -> usize {
        1 + self.features as usize
    }

    /// 64-byte lines of the whole series.
    #[must_use]
    pub const fn lines(&self) -> usize {
        self.ring_line() + (self.buckets as usize * self.row_words()).div_ceil(SLOT_WORDS)
    }

    /// First line of a version.
    pub(crate) const fn version_line(&self, version: u64) -> usize {
        CELLS_LINE + (version % VERSIONS) as usize * self.version_lines()
    }

    /// First line of the ring.
    pub(crate) const fn ring_line(&self) -> usize {
        CELLS_LINE + VERSIONS as usize * self.version_lines()
    }

    /// First word of a ring slot.
    pub(super) const fn ring_word(&self, slot: usize) -> usize {
        self.ring_line() * SLOT_WORDS + slot * self.row_words()
    }

    const fn version_lines(&self) -> usize {
        1 + self.row_words().saturating_sub(FIRST_LINE_WORDS).div_ceil(SLOT_WORDS)
    }
}

/// Line of the words that change at most once per bucket.
pub(super) const STATE_LINE: usize = 0;
/// Line of the announced version.
pub(super) const ANNOUNCED_LINE: usize = 1;
const CELLS_LINE: usize = 2;

/// Words of the state line.
pub(crate) mod state {
    /// Backfill generation: odd while closed buckets are being written.
    pub const GENERATION: usize = 0;
    /// The newest bucket that the writer has claimed, before it wrote anything for it.
    pub const CLAIMED: usize = 1;
    /// The oldest bucket that ever held a value: what is missing before it is warm-up, after it a gap.
    pub const ORIGIN: usize = 2;
    /// Values that came for buckets already outside the window.
    pub const LATE: usize = 3;
    /// How often a bucket did not follow its predecessor.
    pub const GAPS: usize = 4;
    /// The client that may feed the series; 0: nobody.
    pub const PRODUCER: usize = 5;
}

/// Where the newest bucket stands: its number (time / interval), its ring slot, and the buckets in a row that end with
/// it, at least (the writer does not look further back than it must).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(u64);

impl Place {
    const BUCKET_BITS: u32 = 36;
    const SLOT_BITS: u32 = 14;
    const RUN_BITS: u32 = 14;

    /// Packs the three; every one fits by the limits of [`Shape`] and [`TIME_END_NS`].
    #[inline]
    #[must_use]
    pub const fn new(bucket: u64, slot: u32, run: u32) -> Self {
        Self(
            bucket
                | (slot as u64) << Self::BUCKET_BITS
                | (run as u64) << (Self::BUCKET_BITS + Self::SLOT_BITS),
        )
    }

    pub(super) const fn from_word(word: u64) -> Self {
        Self(word)
    }

    pub(super) const fn word(self) -> u64 {
        self.0
    }

    /// The bucket's number.
    #[must_use]
    pub const fn bucket(self) -> u64 {
        self.0 & ((1 << Self::BUCKET_BITS) - 1)
    }

    /// Its slot in the ring.
    #[must_use]
    pub const fn slot(self) -> u32 {
        (self.0 >> Self::BUCKET_BITS) as u32 & ((1 << Self::SLOT_BITS) - 1)
    }

    /// Filled buckets in a row that end with it, at least.
    #[must_use]
    pub const fn run(self) -> u32 {
        (self.0 >> (Self::BUCKET_BITS + Self::SLOT_BITS)) as u32
    }
}

/// First word of a row: when its value was made, and how it came. 0: the bucket is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp(pub u64);

impl Stamp {
    const BACKFILLED: u64 = 1 << 63;
    const SYNTHETIC: u64 = 1 << 62;

    /// Of a value fed while its time was now.
    #[must_use]
    pub const fn live(time_ns: u64) -> Self {
        Self(time_ns)
    }

    /// Of a value that was filled in afterwards.
    #[must_use]
    pub const fn backfilled(time_ns: u64) -> Self {
        Self(time_ns | Self::BACKFILLED)
    }

    /// Of a value that nobody fed: a reader interpolated it.
    #[must_use]
    pub const fn synthetic(time_ns: u64) -> Self {
        Self(time_ns | Self::SYNTHETIC)
    }

    /// The value's time, ns since the Unix epoch.
    #[must_use]
    pub const fn time_ns(self) -> u64 {
        self.0 & (TIME_END_NS - 1)
    }

    /// There is a value.
    #[must_use]
    pub const fn is_filled(self) -> bool {
        self.0 != 0
    }

    /// It was filled in afterwards; a live value replaces it.
    #[must_use]
    pub const fn is_backfilled(self) -> bool {
        self.0 & Self::BACKFILLED != 0
    }

    /// It was interpolated.
    #[must_use]
    pub const fn is_synthetic(self) -> bool {
        self.0 & Self::SYNTHETIC != 0
    }

    /// Whether the row belongs to the bucket that begins at `from_ns`: a ring slot may still hold an older lap's.
    #[inline]
    #[must_use]
    pub const fn is_in(self, from_ns: u64, interval_ns: u64) -> bool {
        self.is_filled() && self.time_ns().wrapping_sub(from_ns) < interval_ns
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_no_series_has() {
        for (interval_s, period, features) in [
            (0, 1, 1),
            (1, 0, 1),
            (1, 1, 0),
            (86_401, 1, 1),
            (1, 10_001, 1),
            (1, 1, 17),
            (u32::MAX, u32::MAX, usize::MAX),
        ] {
            assert_eq!(Shape::new(interval_s, period, features), None);
        }
        assert_eq!(Shape::with_buckets(1, 60, 1, 60), None);
        assert_eq!(Shape::with_buckets(1, 60, 1, 1 << 14), None);
        assert!(Shape::new(MAX_INTERVAL_S, MAX_PERIOD, MAX_FEATURES).is_some());
    }

    #[test]
    fn lines_as_documented() {
        let lines = |features| Shape::new(60, 60, features).unwrap().version_lines();
        assert_eq!((1..=16).map(lines).collect::<Vec<_>>(), [1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3]);
        let shape = Shape::new(60, 60, 1).unwrap();
        assert_eq!((shape.buckets(), shape.ring_line(), shape.lines()), (83, 6, 6 + 21));
        assert_eq!((shape.version_line(1), shape.version_line(4), shape.version_line(7)), (3, 2, 5));
    }

    #[test]
    fn a_place_keeps_its_parts_at_their_limits() {
        let newest = (TIME_END_NS - 1) / NS_PER_S;
        for (bucket, slot, run) in [(0, 0, 0), (newest, MAX_BUCKETS, MAX_PERIOD), (1, 2, 3)] {
            let place = Place::from_word(Place::new(bucket, slot, run).word());
            assert_eq!((place.bucket(), place.slot(), place.run()), (bucket, slot, run));
        }
    }

    #[test]
    fn stamps_keep_time_and_marks_apart() {
        let time = TIME_END_NS - 1;
        for stamp in [Stamp::live(time), Stamp::backfilled(time), Stamp::synthetic(time)] {
            assert!(stamp.is_filled() && stamp.time_ns() == time);
        }
        assert!(Stamp::backfilled(1).is_backfilled() && !Stamp::backfilled(1).is_synthetic());
        assert!(Stamp::live(119).is_in(60, 60) && Stamp::backfilled(60).is_in(60, 60));
        assert!(!Stamp::live(59).is_in(60, 60) && !Stamp::live(120).is_in(60, 60));
        assert!(!Stamp(0).is_in(0, 60), "never written is never filled");
    }
}
