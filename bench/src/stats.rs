//! Numbers of one row: percentiles, the mean up to p99, the ratio to the raw line.

use anyhow::Result;
use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// How far apart the two CPUs were during a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Regime {
    /// Raw round trip below [`FAR_FROM_NS`].
    Near,
    /// From there on.
    Far,
}

/// A raw round trip of this many ns or more means that the two CPUs do not share a cache.
pub const FAR_FROM_NS: f64 = 200.0;

impl Regime {
    /// Both, in report order.
    pub const ALL: [Self; 2] = [Self::Near, Self::Far];

    /// As the report names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Near => "near",
            Self::Far => "far",
        }
    }
}

/// Latencies of all kept slices of one regime, in clock ticks.
pub struct Latencies {
    ticks: Histogram<u64>,
    /// Slices that were kept.
    pub slices: u64,
}

impl Latencies {
    /// Nothing yet.
    ///
    /// # Errors
    /// Never with these bounds; hdrhistogram checks them at run time.
    pub fn new() -> Result<Self> {
        Ok(Self { ticks: Histogram::new_with_bounds(1, 1 << 40, 3)?, slices: 0 })
    }

    /// Adds a slice.
    pub fn add(&mut self, ticks: &[u32]) {
        for &value in ticks {
            self.ticks.saturating_record(u64::from(value));
        }
        self.slices += 1;
    }

    /// Samples so far.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.ticks.len()
    }

    /// Mean of the samples up to the 99th percentile, in ticks: what the machine's stalls cannot move.
    #[must_use]
    pub fn mean_to_p99(&self) -> Option<f64> {
        let p99 = self.ticks.value_at_quantile(0.99);
        let (mut sum, mut count) = (0.0, 0.0);
        for bucket in self.ticks.iter_recorded().take_while(|bucket| bucket.value_iterated_to() <= p99) {
            let samples = bucket.count_at_value() as f64;
            sum += self.ticks.median_equivalent(bucket.value_iterated_to()) as f64 * samples;
            count += samples;
        }
        (count > 0.0).then(|| sum / count)
    }

    /// A row of the report; `raw` is the raw line's mean up to p99 in the same slices, in ticks.
    #[must_use]
    pub fn row(&self, name: &str, regime: &str, raw: Option<f64>, dropped: u64, ns_per_tick: f64) -> Row {
        let ns = |quantile| Some(self.ticks.value_at_quantile(quantile) as f64 * ns_per_tick);
        let mean = self.mean_to_p99();
        Row {
            name: name.to_owned(),
            regime: regime.to_owned(),
            unit: "ns",
            p50: ns(0.5),
            p95: None,
            p99: ns(0.99),
            p999: ns(0.999),
            max: Some(self.ticks.max() as f64 * ns_per_tick),
            value: mean.map(|ticks| ticks * ns_per_tick),
            raw_value: raw.map(|ticks| ticks * ns_per_tick),
            ratio_raw: mean.zip(raw).map(|(mean, raw)| mean / raw),
            lost: None,
            n: self.len(),
            slices: self.slices,
            dropped,
        }
    }

    /// What this share of the samples does not exceed, in ticks.
    #[must_use]
    pub fn at(&self, share: f64) -> Option<f64> {
        (self.len() > 0).then(|| self.ticks.value_at_quantile(share) as f64)
    }
}

/// One line of the report. A row exists only after its work was checked.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was measured.
    pub name: String,
    /// `near`, `far`, or `any` where the distance of the CPUs plays no part.
    pub regime: String,
    /// `ns` or `1/s`.
    pub unit: &'static str,
    /// Median, in `unit`.
    pub p50: Option<f64>,
    /// 95th percentile, where a goal is set for it.
    pub p95: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
    /// 99.9th percentile.
    pub p999: Option<f64>,
    /// Largest.
    pub max: Option<f64>,
    /// Latencies: mean up to p99. Rates: all work through all time.
    pub value: Option<f64>,
    /// The raw line's mean up to p99 over the slices taken in turn with this row's, ns.
    pub raw_value: Option<f64>,
    /// `value` / `raw_value`.
    pub ratio_raw: Option<f64>,
    /// Of bursts: what was acknowledged and is not there.
    pub lost: Option<u64>,
    /// Samples or pieces of work.
    pub n: u64,
    /// Slices kept.
    pub slices: u64,
    /// Slices dropped because the two probes around them disagreed.
    pub dropped: u64,
}

impl Row {
    /// A rate over `n` pieces of work; `rates` are those of its bursts, per second.
    #[must_use]
    pub fn rate(name: &str, regime: &str, n: u64, seconds: f64, rates: &mut [f64], dropped: u64) -> Self {
        rates.sort_by(f64::total_cmp);
        // "p99" of a rate is what 99 of 100 bursts reach.
        let reached_by = |share: f64| {
            let last = rates.len().checked_sub(1)?;
            rates.get(((1.0 - share) * last as f64).floor() as usize).copied()
        };
        Self {
            name: name.to_owned(),
            regime: regime.to_owned(),
            unit: "1/s",
            p50: reached_by(0.5),
            p95: None,
            p99: reached_by(0.99),
            p999: reached_by(0.999),
            max: rates.last().copied(),
            value: (seconds > 0.0).then(|| n as f64 / seconds),
            raw_value: None,
            ratio_raw: None,
            lost: None,
            n,
            slices: rates.len() as u64,
            dropped,
        }
    }

    /// As JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let round = |value: Option<f64>| value.map(|v| (v * 100.0).round() / 100.0);
        let mut row = json!({
            "name": self.name, "regime": self.regime, "unit": self.unit,
            "p50": round(self.p50), "p99": round(self.p99), "p999": round(self.p999), "max": round(self.max),
            "ratio_raw": self.ratio_raw.map(|r| (r * 1000.0).round() / 1000.0), "value": round(self.value),
            "raw_value": round(self.raw_value), "n": self.n, "slices": self.slices, "dropped": self.dropped,
            "work_checked": true,
        });
        for (name, value) in [("p95", round(self.p95).map(Value::from)), ("lost", self.lost.map(Value::from))]
        {
            if let Some(value) = value {
                row[name] = value;
            }
        }
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stalls_do_not_move_the_mean_up_to_p99() {
        let mut quiet = Latencies::new().unwrap();
        quiet.add(&[100; 1000]);
        let mut stalled = Latencies::new().unwrap();
        stalled.add(&[100; 995]);
        stalled.add(&[1_000_000; 5]);
        assert_eq!(quiet.mean_to_p99(), stalled.mean_to_p99());
        assert_eq!(quiet.mean_to_p99(), Some(100.0));
        assert_eq!(Latencies::new().unwrap().mean_to_p99(), None);
    }

    #[test]
    fn a_row_carries_its_ratio() {
        let mut subject = Latencies::new().unwrap();
        subject.add(&[200; 100]);
        let row = subject.row("x", "near", Some(100.0), 3, 0.5);
        assert_eq!((row.ratio_raw, row.p50, row.raw_value, row.n), (Some(2.0), Some(100.0), Some(50.0), 100));
    }

    #[test]
    fn the_p99_of_rates_is_the_slow_end() {
        let mut rates: Vec<f64> = (1..=100).map(f64::from).collect();
        let row = Row::rate("x", "near", 1000, 2.0, &mut rates, 0);
        assert_eq!((row.value, row.max), (Some(500.0), Some(100.0)));
        assert!(row.p99 < row.p50);
        assert_eq!(Row::rate("x", "near", 0, 0.0, &mut [], 0).p50, None);
    }
}
