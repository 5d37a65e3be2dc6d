//! Tier `power` on a medium that drops, reorders and tears what was not synced: what was shown is never lost, and after
//! a failed sync nothing is shown any more.

use std::time::Instant;

use ringfence_ipc::journal::Record;
use ringfence_ipc::journal::hot::HotReader;

use super::sim::{Rng, Sim};
use super::{Place, append, read_all, size};
use crate::journal::archiver::Pump;
use crate::journal::{Class, JournalError, Writer, open_on};

const LIVES: u16 = 4;

/// One journal through its lives.
struct World {
    sim: Sim,
    place: Place,
    rng: Rng,
    log: Vec<(u64, Record)>,
    /// Records that somebody was shown: the first so many.
    shown: usize,
    failures: u64,
}

fn place() -> Place {
    Place::new().in_power()
}

impl World {
    fn new(seed: u64) -> Self {
        let (sim, rng) = (Sim::new(), Rng(seed));
        Self { sim, place: place(), rng, log: Vec::new(), shown: 0, failures: 0 }
    }

    /// Appends and archives until something breaks or the life is over.
    fn live(&mut self, epoch: u16) -> Result<(), JournalError> {
        let mut opened = open_on(self.sim.clone(), self.place.options())?;
        let found = read_all(&mut opened)?;
        assert!(self.log.starts_with(&found), "what was recovered is no prefix of what was decided");
        assert!(found.len() >= self.shown, "{} of {} shown records are left", found.len(), self.shown);
        self.log = found;
        let (mut writer, mut pump) = opened.start_parts(epoch)?;
        self.shown = self.log.len();
        for _ in 0..4 + self.rng.below(40) {
            for _ in 0..self.rng.below(6) {
                if writer.room(Class::Order) {
                    append(&mut writer, self.rng.below(100), &mut self.log);
                }
            }
            if self.rng.below(40) == 0 {
                self.sim.fail_next_sync();
            }
            let stepped = pump.step(Instant::now(), false);
            self.shown = self.log.iter().filter(|(at, _)| *at < writer.durable_pos()).count();
            let reader = HotReader::open(&self.place.hot()).unwrap();
            assert_eq!(reader.shown_pos(), writer.durable_pos(), "followers see as much as clients");
            if let Err(error) = stepped {
                self.failures += 1;
                self.is_halted(&mut writer, &mut pump);
                return Err(error);
            }
            assert_eq!(self.shown, self.log.len(), "a step leaves nothing unsynced");
        }
        Ok(())
    }

    /// No order is taken, and nothing becomes durable, whatever is still appended or tried.
    fn is_halted(&mut self, writer: &mut Writer, pump: &mut Pump<Sim>) {
        let durable_pos = writer.durable_pos();
        assert!(writer.is_failed() && !writer.room(Class::Order) && writer.room(Class::Reserved));
        append(writer, 1, &mut self.log);
        assert!(pump.step(Instant::now(), false).is_err(), "a failed disk is not tried again");
        assert_eq!(writer.durable_pos(), durable_pos);
    }

    fn run(&mut self) {
        for epoch in 1..=LIVES {
            if self.rng.below(3) == 0 {
                self.sim.fail_after(self.rng.below(60));
            }
            // What stopped it is what the next life has to live with.
            let _ = self.live(epoch);
            if self.rng.below(3) == 0 {
                self.sim = self.sim.after_kill();
            } else {
                (self.sim, self.place) = (self.sim.after_power_loss(self.rng.next()), place());
            }
        }
        // After a kill everything is there; after the loss of power at least what was shown.
        let mut opened = open_on(self.sim.clone(), self.place.options()).unwrap();
        let found = read_all(&mut opened).unwrap();
        assert!(self.log.starts_with(&found) && found.len() >= self.shown);
    }
}

#[test]
fn g3_what_was_shown_in_tier_power_survives_the_loss_of_power() {
    let seeds = size("RINGFENCE_G3_SEEDS", 400);
    let (mut shown, mut failures) = (0, 0);
    for seed in 0..seeds {
        let run = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            world.run();
            (world.shown as u64, world.failures)
        });
        let (more_shown, more_failures) = run.unwrap_or_else(|panic| {
            eprintln!("seed {seed} of g3_what_was_shown_in_tier_power_survives_the_loss_of_power");
            std::panic::resume_unwind(panic)
        });
        (shown, failures) = (shown + more_shown, failures + more_failures);
    }
    println!(
        "g3_what_was_shown_in_tier_power_survives_the_loss_of_power: {seeds} seeds of {LIVES} lives, \
         {shown} records shown, {failures} failed disks"
    );
    assert!(shown > seeds && failures > seeds / 10, "too little happened: {shown}, {failures}");
}
