//! `recovery_10m`: from a dead gate's journal of ten million records, half intents and half reports, to a gate in the same
//! state: from the log alone, and from a checkpoint with the last fiftieth of the log.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use ringfence_core::checkpoint::{Plan, Recovery, Retention, Worker, keep_only, recover};
use ringfence_core::gate::{Capacity, Gate, Request, Room};
use ringfence_core::journal::{Class, JournalOptions, Writer, open};
use ringfence_core::venue::NullVenue;
use ringfence_ipc::journal::checkpoint::Checkpoint;
use ringfence_ipc::journal::{BootRecord, LimitRecord, Record, STRATEGY_NAME_BYTES, StrategyRecord};
use ringfence_ipc::msg::{DurabilityTier, Intent, Side};
use ringfence_ipc::reason::{LimitId, Scope};
use ringfence_ipc::symbol::Symbol;

use super::{Bench, KEYS_64K, Keys};
use crate::machine::{NEAR_CPU, pin, unpin};
use crate::stats::Row;

const RECORDS: u64 = 10_000_000;
const QUICK_RECORDS: u64 = 1_000_000;
/// The part of the log behind the checkpoint, as a divisor.
const TAIL_SHARE: u64 = 50;
/// Recoveries of each kind; the middle one counts.
const ROUNDS: usize = 3;
const NOW_NS: u64 = 1_795_000_000_000_000_000;
const STEP_NS: u64 = 200;
const PATIENCE: Duration = Duration::from_secs(120);

/// Writes the journal, then recovers it both ways.
///
/// # Errors
/// The disk fails, or a recovered gate is in another state than the one that wrote.
pub fn measure(bench: &mut Bench, name: &str) -> Result<Vec<Row>> {
    let records = if bench.options.quick { QUICK_RECORDS } else { RECORDS };
    let hot = tempfile::Builder::new().prefix("ringfence-bench-").tempdir_in("/dev/shm")?;
    std::fs::create_dir_all(&bench.options.out)?;
    let disk = tempfile::Builder::new().prefix("recovery-").tempdir_in(&bench.options.out)?;
    let place = Place { archive: disk.path().to_owned(), hot: hot.path().join("journal.hot") };
    // Recovery has the machine to itself, as at a start.
    unpin()?;
    let rows = place.measure(name, records, bench.options.seed);
    pin(NEAR_CPU)?;
    rows
}

struct Place {
    archive: PathBuf,
    hot: PathBuf,
}

impl Place {
    fn options(&self) -> JournalOptions {
        JournalOptions::new(&self.archive, &self.hot)
    }

    fn measure(&self, name: &str, records: u64, seed: u64) -> Result<Vec<Row>> {
        let state_hash = self.write(records, seed)?;
        let checkpoints = Checkpoint::list(&self.archive)?;
        ensure!(checkpoints.len() == 1, "{} checkpoints were written", checkpoints.len());
        let with = self.recover(name, "checkpoint", records, &state_hash, checkpoints.first().copied())?;
        keep_only(&self.archive, &[])?;
        let without = self.recover(name, "log", records, &state_hash, None)?;
        Ok(vec![without, with])
    }

    /// Writes so many records, with a checkpoint before the tail; the state in the end.
    fn write(&self, records: u64, seed: u64) -> Result<[u8; 32]> {
        let (writer, archiver) = open(self.options())?.start(1)?;
        let mut driver = Driver::new(writer, seed)?;
        driver.run(records - records / TAIL_SHARE)?;
        let deadline = Instant::now() + PATIENCE;
        while driver.writer.durable_pos() < driver.writer.position() {
            ensure!(
                Instant::now() < deadline && !driver.writer.is_failed(),
                "the archiver does not catch up"
            );
            std::thread::sleep(Duration::from_millis(1));
        }
        let worker = Worker::spawn(self.plan(driver.writer.position() - 1), archiver.watch(), None)?;
        while Checkpoint::list(&self.archive)?.is_empty() {
            ensure!(Instant::now() < deadline, "no checkpoint was written");
            std::thread::sleep(Duration::from_millis(1));
        }
        drop(worker);
        driver.run(records)?;
        archiver.stop()?;
        Ok(driver.gate.state_hash())
    }

    fn plan(&self, every_slots: u64) -> Plan {
        Plan {
            dir: self.archive.clone(),
            hot_path: self.hot.clone(),
            run_dir: self.hot.parent().unwrap_or(Path::new("/")).to_owned(),
            capacity: Capacity::default(),
            every_slots,
            retention: Retention { bytes: None, age: None, max_lag_bytes: u64::MAX },
            spare_bytes: 0,
            nice: 0,
        }
    }

    fn recover(
        &self,
        name: &str,
        regime: &str,
        records: u64,
        state_hash: &[u8; 32],
        checkpoint: Option<u64>,
    ) -> Result<Row> {
        let mut times = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            let started = Instant::now();
            let mut opened = open(self.options())?;
            let Recovery { recovered, checkpoint: used, .. } =
                recover(&self.archive, &mut opened.log, Capacity::default())?;
            times.push(started.elapsed().as_nanos() as f64);
            ensure!(used == checkpoint, "recovery began at {used:?} instead of {checkpoint:?}");
            ensure!(recovered.past.records == records, "{} records recovered", recovered.past.records);
            ensure!(recovered.gate.state_hash() == *state_hash, "the recovered gate is in another state");
        }
        times.sort_by(f64::total_cmp);
        Ok(Row {
            name: name.to_owned(),
            regime: regime.to_owned(),
            unit: "ns",
            p50: Some(times[ROUNDS / 2]),
            p95: None,
            p99: None,
            p999: None,
            max: times.last().copied(),
            value: Some(times[ROUNDS / 2]),
            raw_value: None,
            ratio_raw: None,
            lost: None,
            n: records,
            slices: ROUNDS as u64,
            dropped: 0,
        })
    }
}

/// A gate, its journal, and the null venue.
struct Driver {
    gate: Gate,
    writer: Writer,
    keys: Keys,
    records: u64,
    now_ns: u64,
}

impl Driver {
    fn new(writer: Writer, seed: u64) -> Result<Self> {
        let mut driver = Self {
            gate: Gate::new(Capacity::default(), seed, 1),
            writer,
            keys: Keys::new(seed),
            records: 0,
            now_ns: NOW_NS,
        };
        let mut strategy_name = [0; STRATEGY_NAME_BYTES];
        strategy_name[..5].copy_from_slice(b"bench");
        let (hash_seed, now_ns) = (seed, NOW_NS);
        let boot =
            BootRecord { epoch: 1, hash_seed, now_ns, layout_hash: 0, lockstep: false, build_id: [0; 40] };
        let quota = LimitRecord {
            scope: Scope::Global,
            scope_id: 0,
            limit: LimitId::DedupQuota,
            value: KEYS_64K as i64,
            now_ns,
            config_version: 1,
        };
        let strategy = StrategyRecord { strategy: 1, account: 0, name: strategy_name, now_ns };
        for record in [
            Record::Boot(boot),
            Record::Symbol { id: 0, symbol: Symbol::new("BTCUSDT", 2, 5, 1, 1)? },
            Record::Limit(quota),
            Record::Strategy(strategy),
        ] {
            let position = driver.append(&record)?;
            driver.gate.apply(position, &record)?;
        }
        Ok(driver)
    }

    fn append(&mut self, record: &Record) -> Result<u64> {
        while !self.writer.room(Class::Reserved) {
            ensure!(!self.writer.is_failed(), "the archiver failed");
            std::thread::sleep(Duration::from_micros(100));
        }
        self.records += 1;
        Ok(self.writer.append(&record.encode()))
    }

    /// Intents and reports until there are so many records.
    fn run(&mut self, records: u64) -> Result<()> {
        while self.records < records {
            let side = if self.records % 4 < 2 { Side::Buy } else { Side::Sell };
            let intent = Intent::limit(0, side, 6_174_568, 100, self.keys.next_key(), self.now_ns).encode();
            let request = Request {
                strategy: 1,
                operator: false,
                words: &intent,
                ext: None,
                now_ns: self.now_ns,
                position: self.records,
                room: Room::OPEN,
                reference: None,
                tier: DurabilityTier::Process,
            };
            let verdict = self.gate.decide(&request);
            let (record, effect, command) = (verdict.record(), verdict.effect(), verdict.command());
            let (record, effect) = record.zip(effect).context("an intent left no record")?;
            let position = self.append(&Record::Decision(record))?;
            self.gate.commit(&effect, position);
            let command = command.context("an intent was refused")?;
            let booked = self.gate.book(&NullVenue::answer(&command, self.now_ns), self.now_ns)?;
            self.append(&Record::Report(booked.report))?;
            self.gate.apply_report(&booked);
            self.now_ns += STEP_NS;
        }
        Ok(())
    }
}
