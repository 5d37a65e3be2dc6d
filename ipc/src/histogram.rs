//! Log-linear histograms of nanoseconds in shared memory: 960 buckets from 0 to 17 s, at most 1.6 % off.
//!
//! Values below 64 have a bucket each; above, every power of two has 32. A bucket answers with its middle.

use crate::msg::PAYLOAD_WORDS;
use crate::view::{ReadSlots, WriteSlots};

const LINEAR: usize = 64;
const SUB_BITS: u32 = 5;
const SUB: usize = 1 << SUB_BITS;
/// Values of this many bits and more share the last bucket; the maximum is kept exactly.
const MAX_BITS: u32 = 34;
/// Buckets of one histogram.
pub(crate) const BUCKETS: usize = LINEAR + (MAX_BITS as usize - LINEAR.ilog2() as usize) * SUB;
const WORDS_PER_LINE: usize = PAYLOAD_WORDS + 1;
/// Cache lines of one histogram: sum and maximum, then the buckets.
pub(crate) const HISTOGRAM_LINES: usize = 1 + BUCKETS / WORDS_PER_LINE;

const SUM: usize = 0;
const MAX: usize = 1;

const _: () = assert!(BUCKETS.is_multiple_of(WORDS_PER_LINE));
// The buckets of a power of two join the linear ones without a gap.
const _: () = assert!(bucket_of(LINEAR as u64 - 1) + 1 == bucket_of(LINEAR as u64));
const _: () = assert!(bucket_of(u64::MAX) == BUCKETS - 1);

const fn bucket_of(value: u64) -> usize {
    if value < LINEAR as u64 {
        return value as usize;
    }
    let bits = value.ilog2();
    if bits >= MAX_BITS {
        return BUCKETS - 1;
    }
    let sub = (value >> (bits - SUB_BITS)) as usize - SUB;
    LINEAR + (bits - LINEAR.ilog2()) as usize * SUB + sub
}

/// Lowest and highest value of a bucket.
const fn bounds_of(bucket: usize) -> (u64, u64) {
    if bucket < LINEAR {
        return (bucket as u64, bucket as u64);
    }
    let octave = (bucket - LINEAR) / SUB;
    let width = 1u64 << (octave as u32 + LINEAR.ilog2() - SUB_BITS);
    let low = (((bucket - LINEAR) % SUB + SUB) as u64) * width;
    (low, low + width - 1)
}

/// The one writer of a histogram.
#[derive(Clone, Debug)]
pub(crate) struct HistogramWriter(pub(crate) WriteSlots);

impl HistogramWriter {
    /// Counts `n` values that are the same: three loads and at most three stores, no lock prefix.
    #[inline]
    pub(crate) fn record(&self, value: u64, n: u64) {
        let lines = &self.0;
        let bucket = bucket_of(value);
        let (line, word) = (1 + bucket / WORDS_PER_LINE, bucket % WORDS_PER_LINE);
        lines.store(line, word, lines.load(line, word).wrapping_add(n));
        lines.store(0, SUM, lines.load(0, SUM).wrapping_add(value.wrapping_mul(n)));
        if value > lines.load(0, MAX) {
            lines.store(0, MAX, value);
        }
    }
}

/// A copy of a histogram, taken while its writer goes on: every bucket is exact, but they are not of one instant.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    sum: u64,
    max: u64,
}

impl Histogram {
    pub(crate) fn read(lines: &ReadSlots) -> Self {
        let buckets: Vec<u64> =
            (0..BUCKETS).map(|b| lines.load(1 + b / WORDS_PER_LINE, b % WORDS_PER_LINE)).collect();
        let count = buckets.iter().fold(0u64, |sum, n| sum.saturating_add(*n));
        Self { buckets, count, sum: lines.load(0, SUM), max: lines.load(0, MAX) }
    }

    /// How many values were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The largest value ever counted, ns, exactly.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.max
    }

    /// Sum of all values, ns (wraps after 584 years).
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The value, ns, that the fraction `quantile` (0 to 1) of all values does not exceed, at most 1.6 % off; 0 when
    /// empty.
    #[must_use]
    pub fn percentile(&self, quantile: f64) -> u64 {
        let rank = (self.count as f64 * quantile.clamp(0.0, 1.0)).ceil().max(1.0) as u64;
        let mut seen = 0u64;
        for (bucket, n) in self.buckets.iter().enumerate() {
            seen = seen.saturating_add(*n);
            if seen >= rank {
                let (low, high) = bounds_of(bucket);
                return if bucket == BUCKETS - 1 { self.max } else { (low + (high - low) / 2).min(self.max) };
            }
        }
        0
    }

    /// How many values were at most `bound_ns`, counting only whole buckets: a cumulative bucket for Prometheus.
    #[must_use]
    pub fn count_at_most(&self, bound_ns: u64) -> u64 {
        let whole = |(bucket, _): &(usize, &u64)| bounds_of(*bucket).1 <= bound_ns;
        self.buckets.iter().enumerate().take_while(whole).fold(0, |sum, (_, n)| sum.saturating_add(*n))
    }

    /// What was counted after `earlier` was taken. The maximum stays that of all time.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let buckets: Vec<u64> =
            self.buckets.iter().zip(&earlier.buckets).map(|(now, then)| now.saturating_sub(*then)).collect();
        let count = buckets.iter().fold(0u64, |sum, n| sum.saturating_add(*n));
        Self { buckets, count, sum: self.sum.wrapping_sub(earlier.sum), max: self.max }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = u64>) -> Histogram {
        let writer = HistogramWriter(WriteSlots::heap(HISTOGRAM_LINES));
        values.into_iter().for_each(|value| writer.record(value, 1));
        Histogram::read(&writer.0.reader())
    }

    #[test]
    fn buckets_hold_their_values_without_gap_or_overlap() {
        let mut next = 0;
        for bucket in 0..BUCKETS {
            let (low, high) = bounds_of(bucket);
            assert_eq!(low, next);
            assert_eq!((bucket_of(low), bucket_of(high)), (bucket, bucket));
            next = high + 1;
        }
        assert_eq!(next, 1 << MAX_BITS);
    }

    #[test]
    fn percentiles_are_at_most_1_6_percent_off() {
        let histogram = of((1..=100_000).map(|n| n * 37));
        for quantile in [0.0f64, 0.01, 0.5, 0.9, 0.99, 0.999, 1.0] {
            let exact = (100_000.0 * quantile).max(1.0) * 37.0;
            let found = histogram.percentile(quantile) as f64;
            assert!((found - exact).abs() / exact <= 0.016 + 1e-3, "{quantile}: {found} {exact}");
        }
        assert_eq!((histogram.count(), histogram.max()), (100_000, 3_700_000));
    }

    #[test]
    fn extremes_are_counted_and_the_maximum_is_exact() {
        let histogram = of([0, u64::MAX, 1 << 40]);
        assert_eq!((histogram.count(), histogram.max()), (3, u64::MAX));
        assert_eq!((histogram.percentile(0.01), histogram.percentile(0.99)), (0, u64::MAX));
        assert_eq!(of([]).percentile(0.5), 0);
    }

    #[test]
    fn cumulative_counts_and_differences() {
        let writer = HistogramWriter(WriteSlots::heap(HISTOGRAM_LINES));
        (0..50).for_each(|value| writer.record(value, 1));
        let earlier = Histogram::read(&writer.0.reader());
        assert_eq!((earlier.count_at_most(9), earlier.count_at_most(1_000)), (10, 50));
        writer.record(1_000, 1);
        let later = Histogram::read(&writer.0.reader()).since(&earlier);
        assert_eq!((later.count(), later.sum(), later.count_at_most(900)), (1, 1_000, 0));
    }
}
