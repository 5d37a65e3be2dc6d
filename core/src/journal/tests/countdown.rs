//! Crash by countdown: the medium fails at its n-th write, for every n; the process dies, or power is lost; reopen and
//! compare. Then the same with a second failure during recovery.

use std::time::Instant;

use ringfence_ipc::journal::Record;

use super::sim::{Rng, Sim};
use super::{Place, append, read_all, size};
use crate::journal::open_on;

/// Records of one run: enough for three segments of 64 slots.
const RECORDS: u64 = 70;
/// Power losses tried for every failing write.
fn power_seeds() -> u64 {
    size("RINGFENCE_G1_POWER_SEEDS", 12)
}

struct Run {
    log: Vec<(u64, Record)>,
    /// Everything below this was promised to be on disk.
    durable: u64,
}

/// Appends with the archiver in step until the medium fails or everything is written.
fn run(sim: &Sim, place: &Place, epoch: u16, mut log: Vec<(u64, Record)>) -> Run {
    let failed = |log, durable| Run { log, durable };
    let Ok(mut opened) = open_on(sim.clone(), place.options()) else { return failed(log, 0) };
    let recovered = opened.log.next_position();
    read_all(&mut opened).unwrap();
    let Ok((mut writer, mut pump)) = opened.start_parts(epoch) else { return failed(log, recovered) };
    for n in 0..RECORDS {
        append(&mut writer, n, &mut log);
        // Groups of one to four records, so that crashes fall everywhere.
        if n % 10 < 6 && pump.step(Instant::now(), false).is_err() {
            return failed(log, writer.durable_pos());
        }
    }
    while pump.step(Instant::now(), true).is_ok_and(|step| step != crate::journal::archiver::Step::Closed) {}
    failed(log, writer.durable_pos())
}

fn recovered(sim: &Sim, place: &Place) -> Vec<(u64, Record)> {
    let mut opened = open_on(sim.clone(), place.options()).unwrap_or_else(|e| panic!("{e}"));
    let log = read_all(&mut opened).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(
        log.last().map_or(1, |(at, r)| at + r.encode().slots().len() as u64),
        opened.log.next_position()
    );
    log
}

fn assert_power_loss_keeps_promises(sim: &Sim, run: &Run, case: &str) {
    for seed in 0..power_seeds() {
        // Another place: the hot ring went with the power.
        let log = recovered(&sim.after_power_loss(seed), &Place::new());
        assert!(run.log.starts_with(&log), "{case}, seed {seed}: not a prefix");
        let promised = run.log.iter().filter(|(at, _)| *at < run.durable).count();
        assert!(log.len() >= promised, "{case}, seed {seed}: {} of {promised} durable records", log.len());
    }
}

fn every_write_is_the_last(test: &str, place: impl Fn() -> Place) {
    let mut cases = 0;
    for n in 0.. {
        let (place, sim) = (place(), Sim::new());
        sim.fail_after(n);
        let before = run(&sim, &place, 1, Vec::new());
        assert_power_loss_keeps_promises(&sim, &before, &format!("write {n}"));
        let after = sim.after_kill();
        assert_eq!(recovered(&after, &place), before.log, "write {n}");
        cases += 1;
        if !sim.is_dead() {
            break;
        }
    }
    assert!(cases > 100, "{cases}");
    println!("{test}: {cases} writes, each the last once; {} power losses after each", power_seeds());
}

#[test]
fn g1_every_write_may_be_the_last() {
    every_write_is_the_last("g1_every_write_may_be_the_last", Place::new);
}

#[test]
fn g1_every_write_may_be_the_last_in_a_segment_of_many_blocks() {
    let test = "g1_every_write_may_be_the_last_in_a_segment_of_many_blocks";
    every_write_is_the_last(test, || Place::with_segments(32 << 10));
}

/// Here what is durable has been shown, and the archiver writes and syncs in another rhythm.
#[test]
fn g1_every_write_may_be_the_last_in_tier_power() {
    every_write_is_the_last("g1_every_write_may_be_the_last_in_tier_power", || Place::new().in_power());
}

/// The block that holds the end is written again with every group. Each such write is torn at each of its bytes, at
/// most up to which the disk has the new block, behind it the old one: what was on disk before is there.
#[test]
fn a_torn_rewrite_of_the_last_block_loses_nothing() {
    let (place, sim) = (Place::new(), Sim::new());
    let mut log = Vec::new();
    let (mut writer, mut pump) = open_on(sim.clone(), place.options()).unwrap().start_parts(1).unwrap();
    for n in 0..8 {
        append(&mut writer, 2 * n, &mut log);
        append(&mut writer, 2 * n + 1, &mut log);
        let (old, durable) = (sim.bytes(1).unwrap_or_default(), writer.durable_pos());
        pump.step(Instant::now(), false).unwrap();
        let new = sim.bytes(1).unwrap();
        for kept in (4096..new.len()).step_by(13).filter(|_| !old.is_empty()) {
            let torn = sim.after_kill();
            torn.tamper(1, |bytes| bytes[kept..].copy_from_slice(&old[kept..]));
            // The durable marks, too, are those of before.
            torn.tamper(1, |bytes| bytes[..4096].copy_from_slice(&old[..4096]));
            let found = recovered(&torn, &Place::new());
            assert!(log.starts_with(&found), "{kept}");
            assert!(found.len() >= log.iter().filter(|(at, _)| *at < durable).count(), "{kept}");
            // With the hot ring nothing at all is lost.
            assert_eq!(open_on(torn, place.options()).unwrap().log.next_position(), writer.position());
        }
    }
}

#[test]
fn g1_recovery_may_be_interrupted_at_every_write() {
    for n in (3..100).step_by(7) {
        for m in 0.. {
            let (place, sim) = (Place::new(), Sim::new());
            sim.fail_after(n);
            let before = run(&sim, &place, 1, Vec::new());
            let second = sim.after_kill();
            second.fail_after(m);
            // Fails somewhere in recovery, or soon after.
            let _ = open_on(second.clone(), place.options());
            assert_power_loss_keeps_promises(&second, &before, &format!("write {n}, then {m}"));
            assert_eq!(recovered(&second.after_kill(), &place), before.log, "write {n}, then {m}");
            if !second.is_dead() {
                break;
            }
        }
    }
}

#[test]
fn lives_follow_each_other() {
    let (place, mut sim) = (Place::new(), Sim::new());
    let mut log = Vec::new();
    for epoch in 1..20 {
        sim.fail_after(40 + u64::from(epoch) * 5);
        log = run(&sim, &place, epoch, log).log;
        sim = sim.after_kill();
        assert_eq!(recovered(&sim, &place), log, "life {epoch}");
    }
}

#[test]
fn g3_power_may_fail_again_and_again() {
    for seed in 0..power_seeds() * 4 {
        let (mut sim, mut rng, mut log) = (Sim::new(), Rng(seed), Vec::new());
        for epoch in 1..8 {
            sim.fail_after(rng.below(150));
            let life = run(&sim, &Place::new(), epoch, log);
            sim = sim.after_power_loss(rng.next());
            log = recovered(&sim, &Place::new());
            assert!(life.log.starts_with(&log), "seed {seed}, life {epoch}: not a prefix");
            let promised = life.log.iter().filter(|(at, _)| *at < life.durable).count();
            assert!(log.len() >= promised, "seed {seed}, life {epoch}: {} of {promised}", log.len());
            // What was recovered was promised too: its reader may act on it.
            sim = sim.after_power_loss(rng.next());
            assert_eq!(recovered(&sim, &Place::new()), log, "seed {seed}, life {epoch}");
        }
    }
}

#[test]
fn a_failed_sync_is_not_believed_after_a_restart() {
    let (place, sim) = (Place::new(), Sim::new());
    let mut log = Vec::new();
    let (mut writer, mut pump) = open_on(sim.clone(), place.options()).unwrap().start_parts(1).unwrap();
    for n in 0..5 {
        append(&mut writer, n, &mut log);
        pump.step(Instant::now(), false).unwrap();
    }
    // Several sectors of them: the last one would be written again by cutting the tail alone.
    for n in 5..30 {
        append(&mut writer, n, &mut log);
    }
    sim.fail_next_sync();
    assert!(pump.step(Instant::now(), false).is_err());
    drop((writer, pump));
    // The cache shows the records, the disk does not have them: recovery must write them again, not only sync.
    let after = sim.after_kill();
    assert_eq!(recovered(&after, &place), log);
    for seed in 0..power_seeds() {
        assert_eq!(recovered(&after.after_power_loss(seed), &Place::new()), log);
    }
}
