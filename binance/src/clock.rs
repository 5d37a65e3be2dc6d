//! The venue's clock, guessed from ours: monotonic, set by `/api/v3/time`.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Says what time it is at the venue. Steps of the wall clock do not reach it.
#[derive(Debug)]
pub(crate) struct Clock {
    began: Instant,
    began_ms: i64,
    offset_ms: AtomicI64,
}

impl Clock {
    pub(crate) fn new() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let began_ms = i64::try_from(wall.as_millis()).unwrap_or(i64::MAX);
        Self { began: Instant::now(), began_ms, offset_ms: AtomicI64::new(0) }
    }

    fn local_ms(&self) -> i64 {
        let elapsed = i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.began_ms.saturating_add(elapsed)
    }

    /// Milliseconds since the Unix epoch, at the venue.
    pub(crate) fn now_ms(&self) -> u64 {
        self.local_ms().saturating_add(self.offset_ms()).max(0).cast_unsigned()
    }

    /// How far the venue's clock is ahead of ours.
    pub(crate) fn offset_ms(&self) -> i64 {
        self.offset_ms.load(Ordering::Relaxed)
    }

    /// The venue said `server_ms` to a question that took `took_ms`, just now: half of the way is taken as its age.
    pub(crate) fn set(&self, server_ms: u64, took_ms: u64) {
        let server_ms = i64::try_from(server_ms).unwrap_or(i64::MAX);
        let asked = self.local_ms().saturating_sub(i64::try_from(took_ms / 2).unwrap_or(0));
        self.offset_ms.store(server_ms.saturating_sub(asked), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_venues_clock_counts() {
        let clock = Clock::new();
        for server_ms in [1_000_000, 4_000_000_000_000] {
            clock.set(server_ms, 0);
            assert!(clock.now_ms().abs_diff(server_ms) < 1000);
        }
        clock.set(u64::MAX, u64::MAX);
        let _ = clock.now_ms();
    }
}
