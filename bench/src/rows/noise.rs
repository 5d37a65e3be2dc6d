//! `noise`: one thread that does nothing but read its clock. What it misses, the machine took from every other row too.

use std::time::Instant;

use anyhow::Result;
use ringfence_ipc::clock::rdtsc;

use super::Bench;
use crate::slice::Samples;
use crate::stats::{Latencies, Row};

/// Gaps between two clock readings on the measuring CPU.
///
/// # Errors
/// As [`Latencies::new`].
pub fn measure(bench: &mut Bench, name: &str) -> Result<Vec<Row>> {
    let (mut samples, mut gaps) = (Samples::new(), Latencies::new()?);
    let started = Instant::now();
    while started.elapsed() < bench.options.row_time() {
        samples.clear();
        let mut before = rdtsc();
        let mut room = true;
        while room {
            let after = rdtsc();
            room = samples.push(after - before);
            before = after;
        }
        gaps.add(samples.ticks());
    }
    Ok(vec![gaps.row(name, "any", None, 0, bench.clock.ns_per_tick)])
}
