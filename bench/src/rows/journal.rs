//! `journal_append`: one decision record into the hot ring on tmpfs, with the archiver running.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use ringfence_core::journal::{Class, JournalOptions, open};
use ringfence_ipc::clock::rdtsc;
use ringfence_ipc::journal::DecisionRecord;
use ringfence_ipc::msg::{DurabilityTier, Intent, Outcome, Side};
use ringfence_ipc::reason::{LimitId, Reason};

use super::Bench;
use crate::machine::{FAR_CPU, NEAR_CPU, pin};
use crate::slice::Samples;
use crate::stats::{Latencies, Row};

/// Records under one clock reading.
const PER_SAMPLE: u64 = 64;
/// Samples of a burst; a burst is a fraction of the hot ring.
const BURST: u64 = 1024;
const SLOTS_PER_RECORD: u64 = 2;

/// Measures the append alone; between bursts the archiver catches up.
///
/// # Errors
/// The journal cannot be opened, fails, or does not hold every record in the end.
pub fn measure(bench: &mut Bench, name: &str) -> Result<Vec<Row>> {
    let hot = tempfile::Builder::new().prefix("ringfence-bench-").tempdir_in("/dev/shm")?;
    std::fs::create_dir_all(&bench.options.out)?;
    let disk = tempfile::Builder::new().prefix("journal-").tempdir_in(&bench.options.out)?;
    let opened = open(JournalOptions::new(disk.path(), hot.path().join("journal.hot")))?;
    // The archiver's thread inherits its CPU from here.
    pin(FAR_CPU)?;
    let (mut writer, archiver) = opened.start(1)?;
    pin(NEAR_CPU)?;

    let record = sample().encode();
    let first = writer.position();
    let (mut samples, mut latencies) = (Samples::new(), Latencies::new()?);
    let time = bench.options.row_time().min(Duration::from_secs(5));
    let started = Instant::now();
    while started.elapsed() < time {
        samples.clear();
        for _ in 0..BURST {
            let before = rdtsc();
            for _ in 0..PER_SAMPLE {
                ensure!(writer.room(Class::Order), "the hot ring is full inside a burst");
                writer.append(black_box(&record));
            }
            samples.push(rdtsc() - before);
        }
        latencies.add(samples.ticks());
        while archiver.report().lag_slots > 0 {
            ensure!(!writer.is_failed(), "the archiver failed");
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    let written = writer.position() - first;
    drop(writer);
    let report = archiver.stop()?;
    let records = latencies.len() * PER_SAMPLE;
    ensure!(written == records * SLOTS_PER_RECORD, "{written} slots written for {records} records");
    ensure!(report.durable_pos == first + written, "the archive ends at {}", report.durable_pos);
    let mut row = latencies.row(name, "any", None, 0, bench.clock.ns_per_tick / PER_SAMPLE as f64);
    row.n = records;
    Ok(vec![row])
}

fn sample() -> DecisionRecord {
    DecisionRecord {
        strategy: 1,
        account: 0,
        intent: Intent::limit(0, Side::Buy, 6_174_568, 100, 77, 1),
        ext: None,
        outcome: Outcome::Accepted,
        reason: Reason::Ok,
        limit_id: LimitId::None,
        tier: DurabilityTier::Process,
        now_ns: 2,
        order_id: 3,
        observed: 0,
        limit: 0,
        reference_price: 6_174_568,
        reference_age_us: 1,
        intent_position: 4,
    }
}
