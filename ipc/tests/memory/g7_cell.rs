//! G7: a cell between two processes at full speed, and one whose writer is killed.

use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use ringfence_ipc::cell::{self, CELL_SLOTS, CellWriter};
use ringfence_ipc::msg::SLOT_BYTES;
use ringfence_ipc::segment::Mapping;

use crate::size;

const CHILD: &str = "RINGFENCE_TEST_CELL_FILE";
const BYTES: usize = (CELL_SLOTS + 1) * SLOT_BYTES;

fn stress() -> Duration {
    Duration::from_millis(size("RINGFENCE_G7_STRESS_MS", 300))
}

fn cell_of_child(path: &Path) -> (Mapping, Child) {
    let mapping = Mapping::create_file(path, BYTES).unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "g7_cell::child_publishes", "--test-threads=1"])
        .env(CHILD, path)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    (mapping, child)
}

/// Not a test of its own: the other process of the next ones.
#[test]
fn child_publishes() {
    if let Some(path) = std::env::var_os(CHILD) {
        let mapping = Mapping::open_file(Path::new(&path), true).unwrap();
        let mut writer = CellWriter::new(mapping.write_slots(0, CELL_SLOTS).unwrap());
        let (until, mut n) = (Instant::now() + stress(), 0);
        while Instant::now() < until {
            for _ in 0..100 {
                n += 1;
                writer.publish(&[n; 7]);
            }
        }
        mapping.store(CELL_SLOTS * SLOT_BYTES, n).unwrap();
    }
}

/// Reads until `over`; every value must be whole and none older than the one before. Says how many, and the last.
fn read_until(mapping: &Mapping, mut over: impl FnMut(u64) -> bool) -> (u64, u64) {
    let lines = mapping.read_slots(0, CELL_SLOTS).unwrap();
    let (mut reads, mut last) = (0, 0);
    loop {
        let ending = over(reads);
        if let Some(value) = cell::read(&lines, 0) {
            assert!(value.iter().all(|word| *word == value[0]), "torn: {value:?}");
            assert!(value[0] >= last, "{} after {last}", value[0]);
            last = value[0];
            reads += 1;
        }
        if ending {
            return (reads, last);
        }
    }
}

#[test]
fn two_processes_tear_nothing_and_never_go_back() {
    let dir = tempfile::tempdir().unwrap();
    let (mapping, mut child) = cell_of_child(&dir.path().join("cell"));
    let (reads, last) = read_until(&mapping, |_| child.try_wait().unwrap().is_some());
    assert!(child.wait().unwrap().success());
    assert_eq!(mapping.load(CELL_SLOTS * SLOT_BYTES).unwrap(), last, "the newest value is the last one read");
    println!("two processes on a cell: {last} values, {reads} reads in {:?}", stress());
    assert!(reads > 1_000 && last > 1_000, "{reads} reads of {last} values");
}

#[test]
fn a_killed_writer_leaves_a_whole_value() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..10_u64 {
        let (mapping, mut child) = cell_of_child(&dir.path().join("cell"));
        let mut kill_at = None;
        let (reads, last) = read_until(&mapping, |reads| {
            if reads > 0 && kill_at.is_none() {
                kill_at = Some(Instant::now() + Duration::from_micros(round * 517));
            }
            let due = kill_at.is_some_and(|at| Instant::now() >= at);
            if due {
                child.kill().unwrap();
                child.wait().unwrap();
            }
            due
        });
        assert!(reads > 0 && last > 0);
    }
}
