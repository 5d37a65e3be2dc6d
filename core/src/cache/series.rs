//! One series: which bucket a value belongs to, and what becomes of the one that is there.

use ringfence_ipc::cache::{MAX_ROW_WORDS, Place, SeriesWriter, Shape, Stamp, TIME_END_NS};

use super::{Fed, FeedError, Merged, Stats};

/// Buckets looked back at most, in one go, to find how many follow each other. What is not found then is found by the
/// reader, or with the next bucket.
const LOOK_BACK: u32 = 64;
/// No bucket is open: nothing lies within an interval after this time.
const NOT_OPEN_NS: u64 = 1 << 63;

const _: () = assert!(NOT_OPEN_NS > 2 * TIME_END_NS - 1);

/// How a value came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Live,
    Backfill,
}

impl Origin {
    const fn stamp(self, time_ns: u64) -> Stamp {
        match self {
            Self::Live => Stamp::live(time_ns),
            Self::Backfill => Stamp::backfilled(time_ns),
        }
    }

    /// Live values replace whatever is there; others only what was filled in as well.
    const fn replaces(self, there: Stamp) -> bool {
        matches!(self, Self::Live) || !there.is_filled() || there.is_backfilled()
    }
}

/// A series and its newest bucket, which stands in the versions until a later one begins.
#[derive(Debug)]
pub(super) struct Series {
    writer: SeriesWriter,
    /// 0: nobody.
    producer: u64,
    interval_ns: u64,
    /// When the newest bucket begins, ns; [`NOT_OPEN_NS`] before the first value.
    open_from_ns: u64,
    newest: u64,
    slot: u32,
    /// Buckets in a row that end with the newest, at least.
    run: u32,
    /// The oldest bucket that ever held a value.
    origin: u64,
    row: [u64; MAX_ROW_WORDS],
}

impl Series {
    pub fn new(writer: SeriesWriter) -> Self {
        let interval_ns = writer.shape().interval_ns();
        Self {
            writer,
            producer: 0,
            interval_ns,
            open_from_ns: NOT_OPEN_NS,
            newest: 0,
            slot: 0,
            run: 0,
            origin: 0,
            row: [0; MAX_ROW_WORDS],
        }
    }

    pub fn shape(&self) -> &Shape {
        self.writer.shape()
    }

    pub fn producer(&self) -> u64 {
        self.producer
    }

    pub fn set_producer(&mut self, client: u64) {
        self.producer = client;
        self.writer.set_producer(client);
    }

    /// Whether a value may be put.
    #[inline]
    pub fn admit(&self, client: u64, time_ns: u64, values: &[f64]) -> Result<(), FeedError> {
        let expected = self.shape().features();
        let finite = values.iter().fold(true, |finite, value| finite & value.is_finite());
        let timely = time_ns.wrapping_sub(1) < TIME_END_NS - 1;
        let leased = self.producer == client && client != 0;
        if leased & timely & finite & (values.len() == expected) {
            return Ok(());
        }
        Err(if !leased {
            FeedError::NotProducer
        } else if values.len() != expected {
            FeedError::Features { given: values.len(), expected }
        } else if !timely {
            FeedError::Time(time_ns)
        } else {
            FeedError::NotFinite
        })
    }

    /// Puts an admitted value where it belongs.
    #[inline]
    pub fn put(&mut self, time_ns: u64, values: &[f64], origin: Origin, stats: &mut Stats) -> Fed {
        let since_ns = time_ns.wrapping_sub(self.open_from_ns);
        if since_ns < self.interval_ns {
            if !origin.replaces(Stamp(self.row[0])) {
                return Fed::Kept;
            }
            self.publish(time_ns, values, origin);
            Fed::Updated
        } else if self.open_from_ns == NOT_OPEN_NS || time_ns > self.open_from_ns {
            self.open(time_ns, since_ns, stats);
            self.publish(time_ns, values, origin);
            Fed::Opened
        } else {
            self.put_older(time_ns, values, origin, stats)
        }
    }

    /// Begins the bucket of `time_ns`, which is later than every other one.
    #[inline]
    fn open(&mut self, time_ns: u64, since_ns: u64, stats: &mut Stats) {
        let follows = since_ns < 2 * self.interval_ns;
        let bucket = if follows { self.newest + 1 } else { time_ns / self.interval_ns };
        self.writer.claim(bucket);
        if self.open_from_ns == NOT_OPEN_NS {
            self.set_origin(bucket);
        } else {
            self.writer.close(self.slot, &self.row[..self.shape().row_words()]);
        }
        if follows {
            self.run = (self.run + 1).min(self.shape().period());
            self.slot = if self.slot + 1 < self.shape().buckets() { self.slot + 1 } else { 0 };
        } else {
            if self.open_from_ns != NOT_OPEN_NS {
                stats.gaps += 1;
                self.writer.count_gap();
            }
            self.run = 1;
            self.slot = self.slot_of(bucket);
        }
        (self.newest, self.open_from_ns) = (bucket, bucket * self.interval_ns);
    }

    #[inline]
    fn publish(&mut self, time_ns: u64, values: &[f64], origin: Origin) {
        self.row[0] = origin.stamp(time_ns).0;
        for (to, value) in self.row[1..].iter_mut().zip(values) {
            *to = value.to_bits();
        }
        let row_words = self.shape().row_words();
        self.writer.publish(Place::new(self.newest, self.slot, self.run), &self.row[..row_words]);
    }

    #[cold]
    fn put_older(&mut self, time_ns: u64, values: &[f64], origin: Origin, stats: &mut Stats) -> Fed {
        self.writer.begin_backfill();
        let fed = self.place(time_ns, values, origin);
        self.writer.end_backfill();
        if fed == Fed::Outside && origin == Origin::Live {
            stats.late += 1;
            self.writer.count_late();
        }
        fed
    }

    /// Puts a value into a closed bucket, inside a backfill.
    fn place(&mut self, time_ns: u64, values: &[f64], origin: Origin) -> Fed {
        let bucket = time_ns / self.interval_ns;
        if bucket + u64::from(self.shape().period()) <= self.newest {
            return Fed::Outside;
        }
        if !self.stamp(bucket).is_none_or(|there| origin.replaces(there)) {
            return Fed::Kept;
        }
        let mut row = [0; MAX_ROW_WORDS];
        row[0] = origin.stamp(time_ns).0;
        for (to, value) in row[1..].iter_mut().zip(values) {
            *to = value.to_bits();
        }
        self.writer.close(self.slot_of(bucket), &row[..self.shape().row_words()]);
        if bucket < self.origin {
            self.set_origin(bucket);
        }
        self.look_back();
        Fed::Placed
    }

    /// Everything that `rows` has, in one backfill.
    pub fn merge<'a>(
        &mut self,
        client: u64,
        rows: impl IntoIterator<Item = (u64, &'a [f64])>,
        stats: &mut Stats,
    ) -> Merged {
        let mut merged = Merged::default();
        self.writer.begin_backfill();
        for (time_ns, values) in rows {
            if self.admit(client, time_ns, values).is_err() {
                merged.refused += 1;
                continue;
            }
            let older = self.open_from_ns != NOT_OPEN_NS && time_ns < self.open_from_ns;
            let fed = if older {
                self.place(time_ns, values, Origin::Backfill)
            } else {
                self.put(time_ns, values, Origin::Backfill, stats)
            };
            match fed {
                Fed::Opened | Fed::Updated | Fed::Placed => merged.filled += 1,
                Fed::Kept => merged.kept += 1,
                Fed::Outside => merged.outside += 1,
            }
        }
        self.writer.end_backfill();
        merged
    }

    /// A bucket before the run may have been filled: then the run is longer now.
    fn look_back(&mut self) {
        for _ in 0..LOOK_BACK {
            let before = self.newest.checked_sub(u64::from(self.run));
            let filled = before.is_some_and(|bucket| self.stamp(bucket).is_some());
            if !filled || self.run >= self.shape().period() {
                break;
            }
            self.run += 1;
        }
    }

    /// The stamp of a closed bucket that holds a value.
    fn stamp(&self, bucket: u64) -> Option<Stamp> {
        let stamp = self.writer.stamp(self.slot_of(bucket));
        stamp.is_in(bucket * self.interval_ns, self.interval_ns).then_some(stamp)
    }

    fn slot_of(&self, bucket: u64) -> u32 {
        (bucket % u64::from(self.shape().buckets())) as u32
    }

    fn set_origin(&mut self, bucket: u64) {
        self.origin = bucket;
        self.writer.set_origin(bucket);
    }
}
