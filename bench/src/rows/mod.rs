//! One module per kind of row, and the table of all rows.

mod cache;
mod dag;
mod fanout;
pub mod gate;
pub mod gate_process;
mod http;
mod http_load;
mod http_shell;
mod journal;
mod noise;
mod pipeline;
mod recovery;
pub mod ring;
pub mod rtrb;
pub mod strategies;
pub mod uds;

use anyhow::{Result, ensure};

use crate::args::Options;
use crate::peer::Link;
use crate::raw::RawLine;
use crate::slice::{ByRegime, Ticks, measure};
use crate::stats::Row;

/// What every row needs.
pub struct Bench {
    /// How to measure.
    pub options: Options,
    /// The peer process.
    pub link: Link,
    /// The raw line to it.
    pub raw: RawLine,
    /// All raw slices of the run.
    pub raw_total: ByRegime,
    /// The TSC's rate.
    pub clock: Ticks,
}

/// A row, or several of one name, and how to measure it.
type Measure = fn(&mut Bench, &'static str) -> Result<Vec<Row>>;

/// Keys in the dedup window: one that fits the cache, and one that does not.
const KEYS_64K: usize = 1 << 16;
const KEYS_1M: usize = 1 << 20;

/// Every row, in report order.
pub const ALL: &[(&str, Measure)] = &[
    ("noise", noise::measure),
    ("raw", raw_line),
    ("ring_rtt", ring_rtt),
    ("gate_rtt_64k", |bench, name| gate::round_trips(bench, name, KEYS_64K)),
    ("gate_rtt_1m", |bench, name| gate::round_trips(bench, name, KEYS_1M)),
    ("gate_throughput_64k", |bench, name| gate::throughput(bench, name, KEYS_64K)),
    ("gate_throughput_1m", |bench, name| gate::throughput(bench, name, KEYS_1M)),
    ("gate_sustained", |bench, name| gate::sustained(bench, name, KEYS_64K)),
    ("pipeline_inproc", |bench, name| pipeline::measure(bench, name, KEYS_64K)),
    ("pipeline_inproc_1m", |bench, name| pipeline::measure(bench, name, KEYS_1M)),
    ("journal_append", journal::measure),
    ("recovery_10m", recovery::measure),
    ("cache_rtt", |bench, name| cache::round_trips(bench, name)),
    ("cache_feed", cache::feed),
    ("cache_window_60", cache::window),
    ("http_health", |bench, name| http::round_trips(bench, name, http::Kind::Health)),
    ("http_market", |bench, name| http::round_trips(bench, name, http::Kind::Market)),
    ("http_order", |bench, name| http::round_trips(bench, name, http::Kind::Order)),
    ("http_ratio_axum", http::against_axum),
    ("sse_fanout", |bench, name| fanout::measure(bench, name, fanout::Form::Sse)),
    ("ws_fanout", |bench, name| fanout::measure(bench, name, fanout::Form::WebSocket)),
    ("diff_1000_embedded", dag::diff_embedded),
    ("dag_burst_embedded", dag::burst_embedded),
    ("peer_rtrb", peer_rtrb),
    ("peer_uds", peer_uds),
    ("peer_uds_spinning", peer_uds_spinning),
];

/// Rows of `--sweep`, which would make the usual run too long.
pub const SWEEP: &[(&str, Measure)] = &[
    ("strategies_1", |bench, name| strategies::measure(bench, name, 1)),
    ("strategies_2", |bench, name| strategies::measure(bench, name, 2)),
    ("strategies_4", |bench, name| strategies::measure(bench, name, 4)),
    ("strategies_8", |bench, name| strategies::measure(bench, name, 8)),
    ("strategies_16", |bench, name| strategies::measure(bench, name, 16)),
    ("strategies_32", |bench, name| strategies::measure(bench, name, 32)),
    ("strategies_64", |bench, name| strategies::measure(bench, name, 64)),
];

fn raw_line(bench: &mut Bench, name: &'static str) -> Result<Vec<Row>> {
    // Measured like any other row, so its ratio to the slices in turn with it shows how far the method can be trusted.
    let mut subject = RawLine::new(&bench.link, bench.clock)?;
    measure(name, &mut subject, &mut bench.raw, &mut bench.raw_total, bench.options.row_time())
}

fn ring_rtt(bench: &mut Bench, name: &'static str) -> Result<Vec<Row>> {
    let mut subject = ring::RingEcho::new(&bench.link, bench.clock)?;
    measure(name, &mut subject, &mut bench.raw, &mut bench.raw_total, bench.options.row_time())
}

fn peer_rtrb(bench: &mut Bench, name: &'static str) -> Result<Vec<Row>> {
    let mut subject = rtrb::RtrbEcho::new(bench.clock)?;
    let rows = measure(name, &mut subject, &mut bench.raw, &mut bench.raw_total, bench.options.row_time())?;
    subject.finish()?;
    Ok(rows)
}

fn peer_uds(bench: &mut Bench, name: &'static str) -> Result<Vec<Row>> {
    let mut subject = uds::SocketEcho::blocking(&bench.link, bench.clock);
    measure(name, &mut subject, &mut bench.raw, &mut bench.raw_total, bench.options.row_time())
}

fn peer_uds_spinning(bench: &mut Bench, name: &'static str) -> Result<Vec<Row>> {
    let mut subject = uds::SocketEcho::spinning(&bench.link, bench.clock);
    measure(name, &mut subject, &mut bench.raw, &mut bench.raw_total, bench.options.row_time())
}

/// The rows that `only` names; without names all of them, or with `sweep` those of the sweep.
///
/// # Errors
/// A name that no row has.
pub fn selected(only: &[String], sweep: bool) -> Result<Vec<(&'static str, Measure)>> {
    let every = || ALL.iter().chain(SWEEP);
    for name in only {
        let known: Vec<&str> = every().map(|(known, _)| *known).collect();
        ensure!(known.contains(&name.as_str()), "no row `{name}`; there are {}", known.join(", "));
    }
    if only.is_empty() {
        return Ok(if sweep { SWEEP } else { ALL }.to_vec());
    }
    Ok(every().filter(|(name, _)| only.iter().any(|o| o == name)).copied().collect())
}

/// Idempotency keys that never repeat and do not follow each other in any table.
pub struct Keys {
    seed: u64,
    count: u64,
}

impl Keys {
    /// A sequence of its own for each seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed, count: 0 }
    }

    /// The next key.
    #[inline]
    pub const fn next_key(&mut self) -> u128 {
        self.count += 1;
        // SplitMix64: a bijection of the counter, so no low half repeats either.
        let mut mixed = self.count.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(self.seed);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (self.count as u128) << 64 | (mixed ^ (mixed >> 31)) as u128
    }

    /// The last key was not used after all.
    #[inline]
    pub const fn take_back(&mut self) {
        self.count -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_do_not_repeat() {
        let mut keys = Keys::new(7);
        let mut seen: Vec<u64> = (0..10_000).map(|_| keys.next_key() as u64).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 10_000);
        let last = keys.next_key();
        keys.take_back();
        assert_eq!(keys.next_key(), last);
    }

    #[test]
    fn rows_are_chosen_by_name() {
        assert_eq!(selected(&[], false).unwrap().len(), ALL.len());
        assert_eq!(selected(&["raw".to_owned(), "strategies_8".to_owned()], false).unwrap().len(), 2);
        assert_eq!(selected(&[], true).unwrap().len(), SWEEP.len());
        assert!(selected(&["row".to_owned()], true).is_err());
    }
}
