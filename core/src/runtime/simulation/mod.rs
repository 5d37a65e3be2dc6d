//! The whole system in one thread: clients, gate, journal, venue, disk and clock under faults, held against a reference
//! model after every step.
//!
//! What is real: reactor, gate, dedup windows, hot ring, archiver, recovery, re-entry, the rings' ends, the paper venue.
//! What is simulated: the disk (in memory; it fails, tears and forgets), the road to the venue (loses, doubles, delays and
//! overstates), time, and the client processes. What is asked: safety after every step (each intent is answered as the
//! reference says, and modes, orders, positions and exposure are its own, and nothing works at the venue that is not
//! reserved), and at the end, when everything may settle, liveness (each intent is answered once, each order is final or
//! at the venue, each report was told once, the books agree).
//!
//! A run is a seed and a number of steps. A failing one says how to run it again, and which of its steps are enough.

mod act;
mod books;
mod check;
mod client;
mod life;
mod model;
mod quiet;
mod setting;
mod shrink;
mod street;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use ringfence_ipc::journal::Record;
use ringfence_ipc::reason::Reason;

use act::{Step, steps};
use world::World;

/// What runs did, so that a run which did nothing does not look like one that held.
#[derive(Debug, Default)]
struct Tally {
    records: AtomicU64,
    asked: AtomicU64,
    fills: AtomicU64,
    lives: AtomicU64,
    overfills: AtomicU64,
    strays: AtomicU64,
}

impl Tally {
    fn add(&self, world: &World) {
        let sums = [
            (&self.records, world.log.len() as u64),
            (&self.asked, world.clients.iter().map(|client| client.asked).sum()),
            (&self.fills, world.model.positions.values().map(|position| position.fills).sum()),
            (&self.lives, u64::from(world.model.epoch)),
            (
                &self.overfills,
                count(world, |r| matches!(r, Record::Report(r) if r.reason == Reason::Overfill)),
            ),
            (&self.strays, count(world, |r| matches!(r, Record::Stray(_)))),
        ];
        for (sum, more) in sums {
            sum.fetch_add(more, Ordering::Relaxed);
        }
    }
}

fn count(world: &World, which: impl Fn(&Record) -> bool) -> u64 {
    world.log.iter().filter(|(_, record)| which(record)).count() as u64
}

/// Runs `steps`; what went wrong, and in which step.
fn run(seed: u64, steps: &[Step], tally: &Tally) -> Result<(), (usize, String)> {
    let mut at = 0;
    let ran = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(seed)?;
        for step in steps {
            world.step(*step)?;
            at += 1;
        }
        world.come_to_rest()?;
        tally.add(&world);
        Ok(())
    }));
    let said = |panic: Box<dyn std::any::Any + Send>| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or(panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
    };
    ran.unwrap_or_else(|panic| Err(format!("panicked: {}", said(panic)))).map_err(|what| (at, what))
}

fn size(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.replace('_', "").parse().ok()).unwrap_or(default)
}

/// The whole system holds in every run. `RINGFENCE_G9_SEEDS` and `RINGFENCE_G9_STEPS` set the size (the long run:
/// 1,000 and 10,000), `RINGFENCE_G9_SEED` the first seed, `RINGFENCE_G9_KEEP` leaves out all other steps.
#[test]
fn g9_the_whole_system_agrees_with_its_reference() {
    let (seeds, count) = (size("RINGFENCE_G9_SEEDS", 24), size("RINGFENCE_G9_STEPS", 2_000));
    let first = size("RINGFENCE_G9_SEED", 1);
    let keep = std::env::var("RINGFENCE_G9_KEEP").ok();
    let (next, tally) = (AtomicU64::new(first), Tally::default());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + seeds {
                return None;
            }
            let all = steps(seed, count);
            let chosen = shrink::chosen(&all, keep.as_deref());
            if let Err((at, what)) = run(seed, &chosen, &tally) {
                return Some((seed, chosen, at, what));
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, |cpus| cpus.get().min(8));
    let failed: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().filter_map(|worker| worker.join().expect("runs catch their panics")).collect()
    });
    let failed: Vec<String> =
        failed.iter().map(|(seed, steps, at, what)| shrink::report(*seed, count, steps, *at, what)).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
    println!("g9: {seeds} seeds x {count} steps: {tally:?}");
    let least = if keep.is_some() { 0 } else { seeds };
    let sums = [
        ("fills", &tally.fills),
        ("answers", &tally.asked),
        ("lives", &tally.lives),
        ("overfills", &tally.overfills),
        ("strays", &tally.strays),
    ];
    for (what, sum) in sums {
        assert!(sum.load(Ordering::Relaxed) >= least, "too few {what}: {tally:?}");
    }
}
