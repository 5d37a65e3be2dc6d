//! The node cache: `cache_rtt` through a gate process, `cache_feed` and `cache_window_60` in this one.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use ringfence_core::cache::Cache;
use ringfence_ipc::cache::{GapPolicy, Newest, NodeSpec, SeriesView, WindowBuffer, segment_bytes};
use ringfence_ipc::client::{Client, Node};
use ringfence_ipc::clock::rdtsc;
use ringfence_ipc::counters::Counter;
use ringfence_ipc::view::WriteSlots;

use super::Bench;
use super::gate_process::GateProcess;
use crate::slice::{Samples, Subject, Ticks, measure, spin_until};
use crate::stats::{Latencies, Row};

const NS: u64 = 1_000_000_000;
/// The dedup window of the gate that `cache_rtt` goes through; no intent is sent.
const LIVE_KEYS: usize = 1024;
/// Values of one bucket, one after the other, before the next bucket begins.
const VALUES_PER_BUCKET: u64 = 4;
const PERIOD: u32 = 60;
/// Series that `cache_feed` feeds in turn.
const SERIES: u64 = 64;
/// Feeds between two looks at the clock.
const BURST: u64 = 1 << 16;
/// Windows between two looks at the clock.
const WINDOWS: usize = 16;
const PRODUCER: u64 = 1;

/// The bucket and time of value `n` of a series.
const fn time_ns(n: u64) -> u64 {
    (1_000_000 + n / VALUES_PER_BUCKET) * NS + n % VALUES_PER_BUCKET
}

/// `cache_rtt`: a value into the intents ring, through the gate into the cache, and seen there.
///
/// # Errors
/// The gate refuses or loses a value.
pub fn round_trips(bench: &mut Bench, name: &str) -> Result<Vec<Row>> {
    let gate = GateProcess::start(LIVE_KEYS, &bench.options.out)?;
    let mut client = gate.client()?;
    let spec = NodeSpec::new("bench:rtt", 1, PERIOD, &["bid", "ask", "last"])?;
    let node = client.register_node(&spec, true)?;
    let series = client.cache().open(spec.id(), 1)?;
    gate.pause()?;
    let mut echo =
        NodeEcho { gate, client, node, series, newest: Newest::default(), clock: bench.clock, sent: 0 };
    let rows = measure(name, &mut echo, &mut bench.raw, &mut bench.raw_total, bench.options.row_time())?;
    echo.finish()?;
    Ok(rows)
}

struct NodeEcho {
    gate: GateProcess,
    client: Client,
    node: Node,
    series: SeriesView,
    newest: Newest,
    clock: Ticks,
    sent: u64,
}

impl NodeEcho {
    #[inline]
    fn trip(&mut self) -> Result<()> {
        let value = self.sent as f64;
        self.client.update_node(self.node, time_ns(self.sent), &[value, -value, 0.5])?;
        self.sent += 1;
        spin_until(|| Ok(self.series.poll(&mut self.newest).then_some(())))?;
        ensure!(
            self.newest.version == self.sent && self.newest.value(1) == -value,
            "value {} of version {} where {value} was sent",
            self.newest.value(1),
            self.newest.version
        );
        Ok(())
    }

    /// The gate counts as many values as were seen.
    fn finish(self) -> Result<()> {
        self.gate.resume()?;
        self.gate.wait_counted(Counter::NodeFeeds, self.sent)?;
        drop(self.client);
        self.gate.stop()
    }
}

impl Subject for NodeEcho {
    fn slice(&mut self, samples: &mut Samples, length: Duration) -> Result<()> {
        self.gate.resume()?;
        let clock = self.clock;
        samples.fill(&clock, length, || self.trip())?;
        self.gate.pause()
    }
}

fn cache(series: u64) -> Result<Cache> {
    let slots = WriteSlots::heap(segment_bytes(series as usize, 1 << 20) / 64);
    let mut cache = Cache::new(slots, series as usize)?;
    for n in 0..series {
        let spec = NodeSpec::new(&format!("bench:{n}"), 1, PERIOD, &["v"])?;
        ensure!(cache.register(&spec, PRODUCER, true)? == n as u32, "series are numbered in order");
    }
    Ok(cache)
}

/// `cache_feed`: values into 64 series in turn, a new bucket every fourth time.
///
/// # Errors
/// A value was refused, or is not there afterwards.
pub fn feed(bench: &mut Bench, name: &'static str) -> Result<Vec<Row>> {
    let mut cache = cache(SERIES)?;
    let view = cache.view()?;
    let (mut n, mut rates) = (0, Vec::new());
    let time = bench.options.row_time().min(Duration::from_secs(5));
    let started = Instant::now();
    while started.elapsed() < time {
        let burst = Instant::now();
        for _ in 0..BURST / SERIES {
            for series in 0..SERIES as u32 {
                cache.feed(PRODUCER, series, time_ns(n), &[(n + u64::from(series)) as f64])?;
            }
            n += 1;
        }
        rates.push(BURST as f64 / burst.elapsed().as_secs_f64());
        let mut buffer = WindowBuffer::default();
        for index in 0..SERIES as u32 {
            let series = view.open(&format!("bench:{index}"), 1)?;
            let window = series.ready_window(PERIOD as usize, GapPolicy::Fail, &mut buffer)?;
            for (at, value) in window.values(0).enumerate() {
                let last = (n / VALUES_PER_BUCKET - (PERIOD as u64 - at as u64)) * VALUES_PER_BUCKET;
                let expected = last + VALUES_PER_BUCKET - 1 + u64::from(index);
                ensure!(value == expected as f64, "{value} where {expected} was fed");
            }
        }
    }
    let fed = n * SERIES;
    ensure!(cache.stats().feeds == fed && cache.stats().gaps == 0, "{:?} for {fed} feeds", cache.stats());
    let seconds = rates.iter().map(|rate| BURST as f64 / rate).sum();
    Ok(vec![Row::rate(name, "any", fed, seconds, &mut rates, 0)])
}

/// `cache_window_60`: the last 60 buckets, copied and checked, while the ring moves on between the samples.
///
/// # Errors
/// A window does not hold what was fed.
pub fn window(bench: &mut Bench, name: &'static str) -> Result<Vec<Row>> {
    let mut cache = cache(1)?;
    let series = cache.view()?.open("bench:0", 1)?;
    let mut buffer = WindowBuffer::of(series.shape());
    let (mut samples, mut latencies) = (Samples::new(), Latencies::new()?);
    let mut bucket = 1_000;
    let mut next = |cache: &mut Cache| {
        bucket += 1;
        cache.feed(PRODUCER, 0, bucket * NS, &[bucket as f64]).map(|_| bucket)
    };
    for _ in 0..PERIOD {
        next(&mut cache)?;
    }
    let time = bench.options.row_time().min(Duration::from_secs(5));
    let started = Instant::now();
    while started.elapsed() < time {
        samples.clear();
        let mut room = true;
        while room {
            let newest = next(&mut cache)?;
            let (mut first, mut last) = (0.0, 0.0);
            let before = rdtsc();
            for _ in 0..WINDOWS {
                let window = series.ready_window(PERIOD as usize, GapPolicy::Fail, &mut buffer)?;
                (first, last) = (first + window.value(0, 0), last + window.value(PERIOD as usize - 1, 0));
            }
            room = samples.push(rdtsc() - before);
            let expected = |bucket: u64| (bucket * WINDOWS as u64) as f64;
            ensure!(
                first == expected(newest + 1 - u64::from(PERIOD)) && last == expected(newest),
                "a wrong window"
            );
        }
        latencies.add(samples.ticks());
    }
    let mut row = latencies.row(name, "any", None, 0, bench.clock.ns_per_tick / WINDOWS as f64);
    row.n *= WINDOWS as u64;
    Ok(vec![row])
}
