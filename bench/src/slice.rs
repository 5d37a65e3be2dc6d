//! Slices: 5-20 ms of work between two short probes of the raw line that say how far apart the CPUs are.
//!
//! ```text
//!  probe | subject | probe | raw | probe | subject | probe | raw | ..
//! ```
//! A slice whose two probes disagree by more than [`MAX_DISAGREEMENT`] is dropped: the machine moved under it.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use ringfence_ipc::clock::rdtsc;

use crate::raw::RawLine;
use crate::stats::{FAR_FROM_NS, Latencies, Regime, Row};

/// How long subject and raw slices are.
pub const SLICE: Duration = Duration::from_millis(8);
/// Trips before each slice that are not measured: caches and branch predictors settle, the far end wakes up.
pub const WARM_UP_TRIPS: usize = 256;
/// The larger of two probes may exceed the smaller by this share.
const MAX_DISAGREEMENT: f64 = 0.35;
/// Samples of one slice at most; 256 KiB stay in the private cache.
const MAX_SAMPLES: usize = 1 << 16;
/// PAUSEs before a silent peer is given up: more than 5 s.
const MAX_SPINS: u32 = 1 << 28;

/// The latencies of one slice, in ticks. Filled without allocation.
pub struct Samples(Vec<u32>);

impl Samples {
    /// Room for one slice, its pages touched.
    #[must_use]
    pub fn new() -> Self {
        let mut ticks = vec![1; MAX_SAMPLES];
        ticks.clear();
        Self(ticks)
    }

    /// What was measured.
    #[must_use]
    pub fn ticks(&self) -> &[u32] {
        &self.0
    }

    /// Empties it for the next slice.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Adds one latency; false once the slice is full.
    #[inline]
    pub fn push(&mut self, ticks: u64) -> bool {
        if self.0.len() < MAX_SAMPLES {
            self.0.push(u32::try_from(ticks).unwrap_or(u32::MAX));
        }
        self.0.len() < MAX_SAMPLES
    }

    /// Repeats `trip` for `length`, one clock read per trip, and returns how often it ran, warm-up included.
    ///
    /// # Errors
    /// The trip's.
    #[inline]
    pub fn fill(
        &mut self,
        clock: &Ticks,
        length: Duration,
        mut trip: impl FnMut() -> Result<()>,
    ) -> Result<u64> {
        self.clear();
        for _ in 0..WARM_UP_TRIPS {
            trip()?;
        }
        let mut before = rdtsc();
        let end = before + clock.ticks(length);
        let mut room = true;
        while room && before < end {
            trip()?;
            let after = rdtsc();
            room = self.push(after - before);
            before = after;
        }
        Ok((WARM_UP_TRIPS + self.0.len()) as u64)
    }
}

/// The TSC's rate.
#[derive(Clone, Copy, Debug)]
pub struct Ticks {
    /// Nanoseconds of one tick.
    pub ns_per_tick: f64,
}

impl Ticks {
    /// Compares the TSC with the system's clock for 50 ms.
    #[must_use]
    pub fn calibrate() -> Self {
        let (started, first) = (Instant::now(), rdtsc());
        std::thread::sleep(Duration::from_millis(50));
        let (elapsed, last) = (started.elapsed(), rdtsc());
        Self { ns_per_tick: elapsed.as_nanos() as f64 / (last - first) as f64 }
    }

    /// A duration in ticks.
    #[must_use]
    pub fn ticks(&self, duration: Duration) -> u64 {
        (duration.as_nanos() as f64 / self.ns_per_tick) as u64
    }
}

/// Spins with PAUSE until `ready` has something.
///
/// # Errors
/// `ready`'s own, or that nothing came for seconds.
#[inline]
pub fn spin_until<T>(mut ready: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    for _ in 0..MAX_SPINS {
        if let Some(value) = ready()? {
            return Ok(value);
        }
        std::hint::spin_loop();
    }
    bail!("the far end did not answer for seconds")
}

/// Something whose round trips are measured slice by slice.
pub trait Subject {
    /// Measures for `length`. Before and after, nothing of the subject may run on the far CPU.
    ///
    /// # Errors
    /// The far end went silent, or did not do the work.
    fn slice(&mut self, samples: &mut Samples, length: Duration) -> Result<()>;
}

/// Latencies by regime.
pub struct ByRegime {
    near: Latencies,
    far: Latencies,
}

impl ByRegime {
    /// Nothing yet.
    ///
    /// # Errors
    /// As [`Latencies::new`].
    pub fn new() -> Result<Self> {
        Ok(Self { near: Latencies::new()?, far: Latencies::new()? })
    }

    /// Those of one regime.
    #[must_use]
    pub const fn of(&self, regime: Regime) -> &Latencies {
        match regime {
            Regime::Near => &self.near,
            Regime::Far => &self.far,
        }
    }

    fn add(&mut self, regime: Regime, samples: &Samples) {
        match regime {
            Regime::Near => self.near.add(samples.ticks()),
            Regime::Far => self.far.add(samples.ticks()),
        }
    }
}

/// What two probes say about the time between them; `None`: they disagree.
#[must_use]
pub fn classify(before_ns: f64, after_ns: f64) -> Option<Regime> {
    let (low, high) = (before_ns.min(after_ns), before_ns.max(after_ns));
    if high > low * (1.0 + MAX_DISAGREEMENT) {
        return None;
    }
    Some(if f64::midpoint(low, high) < FAR_FROM_NS { Regime::Near } else { Regime::Far })
}

/// Measures `subject` in turn with the raw line for `time`; one row for each regime that was met. The raw line's own
/// slices also go to `raw_total`.
///
/// # Errors
/// The subject's or the raw line's; or that every slice had to be dropped.
pub fn measure(
    name: &str,
    subject: &mut dyn Subject,
    raw: &mut RawLine,
    raw_total: &mut ByRegime,
    time: Duration,
) -> Result<Vec<Row>> {
    let (mut own, mut raw_own) = (ByRegime::new()?, ByRegime::new()?);
    let mut samples = Samples::new();
    let mut dropped = 0;
    let started = Instant::now();
    let mut before = raw.probe()?;
    while started.elapsed() < time {
        subject.slice(&mut samples, SLICE)?;
        let between = raw.probe()?;
        match classify(before, between) {
            Some(regime) => own.add(regime, &samples),
            None => dropped += 1,
        }
        raw.slice(&mut samples, SLICE)?;
        before = raw.probe()?;
        if let Some(regime) = classify(between, before) {
            raw_own.add(regime, &samples);
            raw_total.add(regime, &samples);
        }
    }
    let ns_per_tick = raw.clock().ns_per_tick;
    let rows: Vec<Row> = Regime::ALL
        .into_iter()
        .filter(|&regime| own.of(regime).slices > 0)
        .map(|regime| {
            let raw = raw_own.of(regime).mean_to_p99().or_else(|| raw_total.of(regime).mean_to_p99());
            own.of(regime).row(name, regime.name(), raw, dropped, ns_per_tick)
        })
        .collect();
    if rows.is_empty() {
        bail!("{name}: all {dropped} slices dropped: the machine is too busy to measure on");
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_that_agree_classify() {
        assert_eq!(classify(82.0, 95.0), Some(Regime::Near));
        assert_eq!(classify(500.0, 440.0), Some(Regime::Far));
        assert_eq!(classify(82.0, 440.0), None);
        assert_eq!(classify(100.0, 134.0), Some(Regime::Near));
        assert_eq!(classify(100.0, 136.0), None);
    }

    #[test]
    fn a_slice_ends_when_full_or_over() {
        let clock = Ticks::calibrate();
        let mut samples = Samples::new();
        let trips = samples.fill(&clock, Duration::from_secs(5), || Ok(())).unwrap();
        assert_eq!(trips as usize, MAX_SAMPLES + WARM_UP_TRIPS);
        let slow = || {
            std::thread::sleep(Duration::from_micros(1));
            Ok(())
        };
        samples.fill(&clock, Duration::from_millis(1), slow).unwrap();
        assert!(samples.ticks().len() < 1000);
    }
}
