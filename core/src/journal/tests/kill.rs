//! Real processes, really killed: what a child told its parent over a pipe is recovered.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use ringfence_ipc::journal::Record;

use super::sim::Rng;
use super::{Place, read_all, record, size};
use crate::journal::{Class, JournalOptions, open};

const PLACE: &str = "RINGFENCE_TEST_JOURNAL";
const EPOCH: &str = "RINGFENCE_TEST_EPOCH";
const POWER: &str = "RINGFENCE_TEST_POWER";

fn options(root: &std::path::Path, power: bool) -> JournalOptions {
    JournalOptions {
        dir: root.join("journal"),
        hot_path: root.join("hot"),
        hot_bytes: 64 << 10,
        segment_bytes: 64 << 10,
        sync_interval: Duration::from_millis(2),
        min_free_bytes: 0,
        power,
    }
}

/// Not a test by itself: the process that is killed. Recovers, then appends and acknowledges for ever.
#[test]
fn child_that_appends() {
    let (Some(root), Some(epoch)) = (std::env::var_os(PLACE), std::env::var(EPOCH).ok()) else { return };
    let power = std::env::var_os(POWER).is_some();
    let mut opened = open(options(root.as_ref(), power)).unwrap();
    let mut n = read_all(&mut opened).unwrap().len() as u64;
    let (mut writer, _archiver) = opened.start(epoch.parse().unwrap()).unwrap();
    let mut out = std::io::stdout().lock();
    loop {
        while !writer.room(Class::Order) {
            std::thread::yield_now();
        }
        let position = writer.append(&record(n).encode());
        while power && writer.durable_pos() <= position {
            std::thread::yield_now();
        }
        if n.is_multiple_of(8) {
            writeln!(out, "\nack {n} {position}").unwrap();
            out.flush().unwrap();
        }
        n += 1;
    }
}

#[test]
fn g1_acknowledged_records_survive_kill_9() {
    kill_again_and_again("g1_acknowledged_records_survive_kill_9", false);
}

/// Even the hot ring is gone: what was acknowledged was on disk.
#[test]
fn g1_in_tier_power_they_survive_without_the_hot_ring() {
    kill_again_and_again("g1_in_tier_power_they_survive_without_the_hot_ring", true);
}

fn kill_again_and_again(test: &str, power: bool) {
    let kills = size("RINGFENCE_JOURNAL_KILLS", 20) as u16;
    let place = Place::new();
    let mut rng = Rng(11);
    let (mut known, mut acknowledged) = (Vec::new(), 0);
    for epoch in 1..=kills {
        let mut child = Command::new(std::env::current_exe().unwrap());
        if power {
            child.env(POWER, "1");
        }
        let mut child = child
            .args(["journal::tests::kill::child_that_appends", "--exact", "--nocapture"])
            .env(PLACE, place.dir.path())
            .env(EPOCH, epoch.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut acks = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let parse = |line: String| -> Option<(u64, u64)> {
            let (n, position) = line.strip_prefix("ack ")?.split_once(' ')?;
            Some((n.parse().ok()?, position.parse().ok()?))
        };
        let mut last = acks.by_ref().find_map(parse).expect("the child never acknowledged anything");
        let kill_after = rng.below(500);
        last = acks.by_ref().filter_map(parse).take(kill_after as usize).last().unwrap_or(last);
        child.kill().unwrap();
        child.wait().unwrap();
        let mut lines: Vec<String> = acks.collect();
        // The last line may have been cut.
        lines.pop();
        last = lines.into_iter().rev().find_map(parse).unwrap_or(last);

        if power {
            std::fs::remove_file(place.hot()).unwrap();
        }
        let mut opened = open(options(place.dir.path(), power)).unwrap();
        let log: Vec<(u64, Record)> = read_all(&mut opened).unwrap();
        assert!(log.starts_with(&known), "life {epoch} changed the past");
        assert!(log.iter().enumerate().all(|(n, (_, found))| *found == record(n as u64)), "life {epoch}");
        assert_eq!(log.get(last.0 as usize).map(|(at, _)| *at), Some(last.1), "life {epoch} lost {last:?}");
        acknowledged += last.0 - known.len() as u64;
        known = log;
    }
    assert!(acknowledged > u64::from(kills), "{acknowledged}");
    println!("{test}: {kills} kills, {acknowledged} records acknowledged");
}
