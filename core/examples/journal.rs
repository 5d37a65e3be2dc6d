//! Measures the journal on this machine: append, sustained archiving and its CPU time, recovery.
//!
//! `cargo run --release -p ringfence-core --example journal -- [archive directory] [seconds] [sync interval, ms]`
//!
//! The hot ring goes to `/dev/shm`, the archive to the given directory (default: the current one), which should be on
//! the disk that production uses. Records are two slots, 128 bytes. Everything is removed afterwards.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use ringfence_core::journal::{Class, JournalError, JournalOptions, Writer, open};
use ringfence_ipc::journal::{BootRecord, Record, RecordWords};

fn main() -> Result<(), JournalError> {
    let mut args = std::env::args().skip(1);
    let root = args.next().map_or_else(|| PathBuf::from("."), PathBuf::from);
    let seconds = args.next().and_then(|s| s.parse().ok()).unwrap_or(5);
    let dir = root.join(format!("journal-measure-{}", std::process::id()));
    let hot_path = PathBuf::from(format!("/dev/shm/journal-measure-{}", std::process::id()));
    let mut options = JournalOptions::new(&dir, &hot_path);
    if let Some(sync_ms) = args.next().and_then(|s| s.parse().ok()) {
        options.sync_interval = Duration::from_millis(sync_ms);
    }
    let result = measure(&options, Duration::from_secs(seconds));
    // Best effort: the numbers are out, and a leftover is visible.
    let _ = (std::fs::remove_dir_all(&dir), std::fs::remove_file(&hot_path));
    result
}

fn measure(options: &JournalOptions, sustained: Duration) -> Result<(), JournalError> {
    let record = two_slots();
    let (mut writer, archiver) = open(options.clone())?.start(1)?;
    // Half a ring at most: it never waits for the archiver. The first burst touches the memory for the first time.
    for burst in ["first lap", "again", "again", "again"] {
        let count = 1_000_000;
        let started = Instant::now();
        let appended = append_for_free(&mut writer, &record, count);
        let ns = started.elapsed().as_nanos() as f64 / count as f64;
        println!("append, {burst}: {ns:.2} ns/record ({appended} records, 128 bytes each)");
        while writer.archived_pos() < writer.position() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    let (started, first, cpu_before) = (Instant::now(), writer.position(), archiver_cpu_ns());
    let mut waits = 0_u64;
    while started.elapsed() < sustained {
        for _ in 0..4096 {
            while !writer.room(Class::Order) {
                waits += 1;
                std::thread::sleep(Duration::from_micros(50));
            }
            writer.append(&record);
        }
    }
    let appended = writer.position() - first;
    while writer.archived_pos() < writer.position() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let cpu_ns = archiver_cpu_ns().zip(cpu_before).map(|(after, before)| after - before);
    let report = archiver.stop()?;
    let rate = appended as f64 / 2.0 / started.elapsed().as_secs_f64();
    println!(
        "sustained: {:.2} M records/s to disk, drained and synced ({} records in {:.1} s, {waits} waits)",
        rate / 1e6,
        appended / 2,
        started.elapsed().as_secs_f64()
    );
    println!("archiver: {} groups, {} syncs, {} errors", report.groups, report.syncs, report.errors);
    if let Some(cpu_ns) = cpu_ns {
        let cpu_s = cpu_ns as f64 / 1e9;
        println!("archiver: {:.3} CPU seconds per million records", cpu_s * 2e6 / appended as f64);
    }
    drop(writer);

    let started = Instant::now();
    let mut opened = open(options.clone())?;
    let opening = started.elapsed();
    let mut records = 0_u64;
    for found in opened.log.by_ref() {
        found?;
        records += 1;
    }
    let all = started.elapsed().as_secs_f64();
    println!(
        "recovery: {records} records in {all:.2} s = {:.2} M records/s (opening {opening:.1?}); 10 M would take {:.2} s",
        records as f64 / all / 1e6,
        all * 1e7 / records as f64
    );
    Ok(())
}

/// Time that the archiver thread was on a CPU, kernel included; `None` where the kernel does not say.
fn archiver_cpu_ns() -> Option<u64> {
    for task in std::fs::read_dir("/proc/self/task").ok()?.flatten() {
        let read = |name: &str| std::fs::read_to_string(task.path().join(name)).ok();
        if read("comm")?.trim() == "archiver" {
            return read("schedstat")?.split(' ').next()?.parse().ok();
        }
    }
    None
}

fn append_for_free(writer: &mut Writer, record: &RecordWords, count: u64) -> u64 {
    let before = writer.position();
    for _ in 0..count {
        assert!(writer.room(Class::Order));
        writer.append(record);
    }
    (writer.position() - before) / 2
}

fn two_slots() -> RecordWords {
    Record::Boot(BootRecord {
        epoch: 1,
        hash_seed: 2,
        now_ns: 3,
        layout_hash: 4,
        lockstep: false,
        build_id: [b'x'; 40],
    })
    .encode()
}
