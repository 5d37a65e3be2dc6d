//! How a thread waits when there is nothing to do.

use std::sync::Arc;
use std::time::Duration;

use ringfence_ipc::wake::{Bell, Sleeper};

use crate::config::Wait;

const SPINS: u32 = 200;
const YIELDS: u32 = 50;
const MAX_SLEEP: Duration = Duration::from_micros(50);
/// A parked thread looks around this often even if nobody wakes it: a peer that died between its two steps, and what
/// has no bell (a journal that was full, a client that makes room), wait no longer.
const PARKED_AT_MOST: Duration = Duration::from_millis(10);
/// A thread that has something due sooner than this naps instead of parking.
const WORTH_PARKING: Duration = Duration::from_millis(1);

/// Counts idle passes and waits accordingly.
pub(super) struct Waiter {
    wait: Wait,
    idle: u32,
    bed: Option<Arc<Sleeper>>,
    /// Threads that a busy pass may have given work to.
    neighbours: Vec<Bell>,
}

/// What [`Waiter::after_pass`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// Nothing that took long.
    None,
    /// Slept until a bell rang.
    Woken,
    /// Slept until the sleep was over by itself.
    Overslept,
}

impl Waiter {
    /// Spins or backs off; `park` backs off too, for want of a bed.
    pub fn new(wait: Wait) -> Self {
        Self { wait, idle: 0, bed: None, neighbours: Vec::new() }
    }

    /// As [`Self::new`]; with `--wait park` it sleeps in `bed`, and wakes the sleeping `neighbours` after a busy pass.
    pub fn in_bed(wait: Wait, bed: Option<Arc<Sleeper>>, neighbours: Vec<Bell>) -> Self {
        Self { wait, idle: 0, bed, neighbours }
    }

    /// The last pass found work, or did not.
    #[inline]
    pub fn after_pass(&mut self, busy: bool) -> Rest {
        self.after_pass_until(busy, Duration::MAX)
    }

    /// As [`Self::after_pass`], by a thread that has something to do in `due_in` even if nobody wakes it.
    #[inline]
    pub fn after_pass_until(&mut self, busy: bool, due_in: Duration) -> Rest {
        if busy {
            if self.idle >= SPINS + YIELDS
                && let Some(bed) = &self.bed
            {
                bed.stay_awake();
            }
            self.idle = 0;
            self.neighbours.iter_mut().for_each(Bell::ring_if_parked);
            return Rest::None;
        }
        self.idle = self.idle.saturating_add(1);
        match self.wait {
            Wait::Spin => std::hint::spin_loop(),
            _ if self.idle < SPINS => std::hint::spin_loop(),
            _ if self.idle < SPINS + YIELDS => std::thread::yield_now(),
            Wait::Backoff => std::thread::sleep(MAX_SLEEP.min(due_in)),
            Wait::Park => return self.park(due_in),
        }
        Rest::None
    }

    /// One idle pass after the announcement comes the sleep; the pass in between is the last look for work.
    #[cold]
    fn park(&mut self, due_in: Duration) -> Rest {
        let Some(bed) = self.bed.as_ref().filter(|_| due_in > WORTH_PARKING) else {
            self.stay_awake();
            std::thread::sleep(MAX_SLEEP.min(due_in));
            return Rest::None;
        };
        if self.idle <= SPINS + YIELDS {
            self.idle = SPINS + YIELDS;
            bed.announce();
            return Rest::None;
        }
        self.idle = SPINS + YIELDS - 1;
        if bed.sleep(PARKED_AT_MOST.min(due_in)) { Rest::Woken } else { Rest::Overslept }
    }

    /// Takes an announcement back that no sleep followed.
    fn stay_awake(&mut self) {
        if let Some(bed) = &self.bed {
            bed.stay_awake();
        }
        self.idle = SPINS + YIELDS - 1;
    }
}
