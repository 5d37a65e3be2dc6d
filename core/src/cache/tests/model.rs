//! The cache against a naive model: a map from bucket to value, and every question answered the slow way.

use std::collections::BTreeMap;

use proptest::prelude::*;
use ringfence_ipc::cache::Consumer;

use super::*;

const INTERVAL_S: u64 = 5;
const INTERVAL_NS: u64 = INTERVAL_S * NS;

/// What a script can do.
#[derive(Clone, Debug)]
enum Op {
    /// A value so many buckets from the newest, at this time within the bucket.
    Feed { ahead: i64, offset_ns: u64, backfill: bool },
    /// Many values filled in at once.
    Bulk { ahead: Vec<i64> },
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Value {
    stamp: Stamp,
    value: f64,
}

#[derive(Default)]
struct Model {
    period: u64,
    values: BTreeMap<u64, Value>,
    newest: Option<u64>,
    origin: u64,
    stats: Stats,
    watermark_ns: u64,
}

impl Model {
    fn put(&mut self, time_ns: u64, value: f64, backfill: bool) -> Fed {
        let bucket = time_ns / INTERVAL_NS;
        let stamp = if backfill { Stamp::backfilled(time_ns) } else { Stamp::live(time_ns) };
        let newest = self.newest;
        if newest.is_some_and(|newest| bucket + self.period <= newest) {
            self.stats.late += u64::from(!backfill);
            return Fed::Outside;
        }
        let there = self.values.get(&bucket);
        if backfill && there.is_some_and(|there| !there.stamp.is_backfilled()) {
            return Fed::Kept;
        }
        self.values.insert(bucket, Value { stamp, value });
        if backfill {
            self.stats.backfills += 1;
        } else {
            self.stats.feeds += 1;
        }
        self.origin = if newest.is_none() { bucket } else { self.origin.min(bucket) };
        if newest.is_some_and(|newest| bucket <= newest) {
            return if newest == Some(bucket) { Fed::Updated } else { Fed::Placed };
        }
        self.stats.gaps += u64::from(newest.is_some_and(|newest| newest + 1 < bucket));
        self.newest = Some(bucket);
        self.values = self.values.split_off(&(bucket + 1).saturating_sub(self.period));
        Fed::Opened
    }

    fn raw(&self, slots: u64) -> Vec<Option<Value>> {
        let newest = self.newest.unwrap();
        (0..slots).rev().map(|back| self.values.get(&newest.checked_sub(back)?).copied()).collect()
    }

    fn ready(&self, slots: u64, policy: GapPolicy) -> Result<Vec<Value>, ReadError> {
        let newest = self.newest.ok_or(ReadError::Empty)?;
        let raw = self.raw(slots);
        let not_ready = |filled: usize| ReadError::NotReady { filled, needed: slots as usize };
        if raw.iter().all(Option::is_some) {
            return Ok(raw.into_iter().flatten().collect());
        }
        match policy {
            GapPolicy::Fail => {
                let missing = (0..slots).find(|back| raw[(slots - 1 - back) as usize].is_none()).unwrap();
                if newest >= missing && newest - missing > self.origin {
                    return Err(ReadError::Gap { bucket: newest - missing });
                }
                Err(not_ready(raw.iter().flatten().count()))
            }
            GapPolicy::Skip => {
                let kept: Vec<Value> = self.values.values().copied().collect();
                let first = kept.len().checked_sub(slots as usize).ok_or(not_ready(kept.len()))?;
                Ok(kept[first..].to_vec())
            }
            GapPolicy::Interpolate => {
                let all: Vec<Option<Value>> =
                    (0..slots).rev().map(|back| self.interpolated(newest.checked_sub(back)?)).collect();
                let filled = all.iter().flatten().count();
                if filled < slots as usize {
                    Err(not_ready(filled))
                } else {
                    Ok(all.into_iter().flatten().collect())
                }
            }
        }
    }

    fn interpolated(&self, bucket: u64) -> Option<Value> {
        if let Some(value) = self.values.get(&bucket) {
            return Some(*value);
        }
        let (left, before) = self.values.range(..bucket).next_back()?;
        let (right, after) = self.values.range(bucket..).next()?;
        let share = (bucket - left) as f64 / (right - left) as f64;
        let value = before.value * (1.0 - share) + after.value * share;
        Some(Value { stamp: Stamp::synthetic(bucket * INTERVAL_NS), value })
    }
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let ahead =
        prop_oneof![8 => 0..3_i64, 4 => -12..1_i64, 2 => 2..12_i64, 1 => 20..200_i64, 1 => -40..-10_i64];
    let feed = (ahead.clone(), 0..INTERVAL_NS, prop::bool::weighted(0.25))
        .prop_map(|(ahead, offset_ns, backfill)| Op::Feed { ahead, offset_ns, backfill });
    let bulk = prop::collection::vec(ahead, 0..30).prop_map(|ahead| Op::Bulk { ahead });
    prop::collection::vec(prop_oneof![12 => feed, 1 => bulk], 1..120)
}

fn time_ns(model: &Model, ahead: i64, offset_ns: u64) -> u64 {
    model.newest.unwrap_or(30).saturating_add_signed(ahead) * INTERVAL_NS + offset_ns.max(1)
}

fn compare(model: &mut Model, series: &SeriesView, consumer: &mut Consumer, stats: &Stats) {
    assert_eq!((&model.stats, series.late(), series.gaps()), (stats, stats.late, stats.gaps));
    let Some(newest) = model.newest else { return };
    assert_eq!(series.origin(), model.origin);
    let mut buffer = WindowBuffer::default();
    let value = |window: &ringfence_ipc::cache::Window<'_>, at| Value {
        stamp: window.stamp(at),
        value: window.value(at, 1),
    };
    for slots in [1, 2, model.period / 2, model.period].into_iter().filter(|n| (1..=model.period).contains(n))
    {
        let window = series.window(slots as usize, &mut buffer).unwrap();
        let raw: Vec<Option<Value>> =
            (0..slots as usize).map(|at| Some(value(&window, at)).filter(|v| v.stamp.is_filled())).collect();
        assert_eq!((window.newest_bucket(), raw), (newest, model.raw(slots)));
        assert_eq!(window.filled(), model.raw(slots).iter().flatten().count());
        for policy in [GapPolicy::Skip, GapPolicy::Fail, GapPolicy::Interpolate] {
            let found = series
                .ready_window(slots as usize, policy, &mut buffer)
                .map(|window| (0..slots as usize).map(|at| value(&window, at)).collect::<Vec<_>>());
            assert_eq!(found, model.ready(slots, policy), "{slots} {policy:?}");
        }
    }
    let newest_ns = model.values[&newest].stamp.time_ns();
    model.watermark_ns = model.watermark_ns.max(newest_ns.saturating_sub(NS));
    assert_eq!(consumer.watermark_ns(), model.watermark_ns);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn the_cache_is_a_map_from_bucket_to_value(period in 1..14_u32, script in ops()) {
        let (mut cache, view) = cache(1);
        let index = cache.register(&spec("node", INTERVAL_S as u32, period, 2), CLIENT, true).unwrap();
        let series = view.open("node", INTERVAL_S as u32).unwrap();
        let mut consumer = Consumer::new(GapPolicy::Skip, NS);
        consumer.declare(series.clone(), period).unwrap();
        let mut model = Model { period: u64::from(period), ..Model::default() };
        let mut n = 0.0;
        for op in script {
            match op {
                Op::Feed { ahead, offset_ns, backfill } => {
                    n += 1.0;
                    let time_ns = time_ns(&model, ahead, offset_ns);
                    let update = NodeUpdate::new(index, time_ns, &[0.5, n]).unwrap();
                    let update = if backfill { update.backfilled() } else { update };
                    let expected = model.put(time_ns, n, backfill);
                    prop_assert_eq!(cache.apply(CLIENT, &update), Ok(expected));
                }
                Op::Bulk { ahead } => {
                    let rows: Vec<(u64, [f64; 2])> = ahead
                        .iter()
                        .zip(1_u32..)
                        .map(|(ahead, at)| (time_ns(&model, *ahead, 7), [0.5, n + f64::from(at)]))
                        .collect();
                    n += rows.len() as f64;
                    let mut expected = Merged::default();
                    for (time_ns, [_, value]) in &rows {
                        match model.put(*time_ns, *value, true) {
                            Fed::Kept => expected.kept += 1,
                            Fed::Outside => expected.outside += 1,
                            _ => expected.filled += 1,
                        }
                    }
                    let given = rows.iter().map(|(time_ns, values)| (*time_ns, values.as_slice()));
                    prop_assert_eq!(cache.backfill(CLIENT, index, given), Ok(expected));
                }
            }
            compare(&mut model, &series, &mut consumer, cache.stats());
        }
    }
}

/// Scripts per run: `RINGFENCE_CACHE_CASES`.
fn cases() -> u32 {
    let cases = std::env::var("RINGFENCE_CACHE_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(300);
    println!("{cases} scripts (RINGFENCE_CACHE_CASES)");
    cases
}
