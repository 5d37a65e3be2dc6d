//! The raw line: two cache lines, one each way, two processes, PAUSE. Every ratio of the report is to this.

use std::time::Duration;

use anyhow::Result;
use ringfence_ipc::view::{ReadWord, WriteWord};

use crate::peer::{Link, Task};
use crate::slice::{Samples, Subject, Ticks, spin_until};

/// Round trips of one probe; tens of microseconds when near.
const PROBE_TRIPS: usize = 400;
/// The value that ends a phase.
const STOP: u64 = u64::MAX;

/// This end of the two lines.
pub struct RawLine {
    link: Link,
    ping: WriteWord,
    pong: ReadWord,
    count: u64,
    clock: Ticks,
    probe_samples: Vec<u64>,
}

impl RawLine {
    /// Over the lines that `link`'s peer echoes.
    ///
    /// # Errors
    /// The shared file is too small.
    pub fn new(link: &Link, clock: Ticks) -> Result<Self> {
        let (ping, pong) = (link.memory().ping()?, link.memory().pong()?.reader());
        let probe_samples = Vec::with_capacity(PROBE_TRIPS);
        Ok(Self { link: link.clone(), ping, pong, count: 0, clock, probe_samples })
    }

    /// The clock that samples are in.
    #[must_use]
    pub const fn clock(&self) -> Ticks {
        self.clock
    }

    /// The median round trip right now, ns.
    ///
    /// # Errors
    /// The peer went silent.
    pub fn probe(&mut self) -> Result<f64> {
        self.link.start(Task::Raw)?;
        for _ in 0..PROBE_TRIPS / 4 {
            self.trip()?;
        }
        self.probe_samples.clear();
        let mut before = ringfence_ipc::clock::rdtsc();
        for _ in 0..PROBE_TRIPS {
            self.trip()?;
            let after = ringfence_ipc::clock::rdtsc();
            self.probe_samples.push(after - before);
            before = after;
        }
        self.stop()?;
        let (_, median, _) = self.probe_samples.select_nth_unstable(PROBE_TRIPS / 2);
        Ok(*median as f64 * self.clock.ns_per_tick)
    }

    #[inline]
    fn trip(&mut self) -> Result<()> {
        self.count += 1;
        let count = self.count;
        self.ping.set(count);
        spin_until(|| Ok((self.pong.get() == count).then_some(())))
    }

    /// The echo acknowledges the stop and goes back to sleep.
    fn stop(&self) -> Result<()> {
        self.ping.set(STOP);
        spin_until(|| Ok((self.pong.get() == STOP).then_some(())))
    }
}

impl Subject for RawLine {
    fn slice(&mut self, samples: &mut Samples, length: Duration) -> Result<()> {
        self.link.start(Task::Raw)?;
        let clock = self.clock;
        samples.fill(&clock, length, || self.trip())?;
        self.stop()
    }
}

/// The far end of one phase.
///
/// # Errors
/// The near end went silent.
pub fn echo(ping: &ReadWord, pong: &WriteWord) -> Result<()> {
    let mut last = pong.get();
    while {
        last = spin_until(|| Ok(Some(ping.get()).filter(|&value| value != last)))?;
        pong.set(last);
        last != STOP
    } {}
    Ok(())
}
