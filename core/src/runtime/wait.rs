//! How a thread waits when there is nothing to do.

use std::time::Duration;

use crate::config::Wait;

const SPINS: u32 = 200;
const YIELDS: u32 = 50;
const MAX_SLEEP: Duration = Duration::from_micros(50);

/// Counts idle passes and waits accordingly.
pub(super) struct Waiter {
    wait: Wait,
    idle: u32,
}

impl Waiter {
    pub fn new(wait: Wait) -> Self {
        Self { wait, idle: 0 }
    }

    /// The last pass found work, or did not.
    #[inline]
    pub fn after_pass(&mut self, busy: bool) {
        if busy {
            self.idle = 0;
            return;
        }
        self.idle = self.idle.saturating_add(1);
        match self.wait {
            Wait::Spin => std::hint::spin_loop(),
            Wait::Backoff if self.idle < SPINS => std::hint::spin_loop(),
            Wait::Backoff if self.idle < SPINS + YIELDS => std::thread::yield_now(),
            Wait::Backoff => std::thread::sleep(MAX_SLEEP),
        }
    }
}
