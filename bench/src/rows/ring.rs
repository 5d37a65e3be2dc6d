//! `ring_rtt`: a 56-byte message to the other process and back through two slot-sequence rings.

use std::time::Duration;

use anyhow::{Result, ensure};
use ringfence_ipc::msg::Words;
use ringfence_ipc::ring::{Consumer, Producer};

use crate::peer::{Link, Task};
use crate::slice::{Samples, Subject, Ticks, spin_until};

/// Word 0 of the message that ends a phase.
const STOP: u64 = u64::MAX;

/// The near end.
pub struct RingEcho {
    link: Link,
    requests: Producer,
    answers: Consumer,
    clock: Ticks,
    count: u64,
}

impl RingEcho {
    /// Over the rings of `link`'s peer; at most one may live at a time.
    ///
    /// # Errors
    /// The shared file is too small.
    pub fn new(link: &Link, clock: Ticks) -> Result<Self> {
        let (requests, answers) = link.memory().near_rings()?;
        Ok(Self { link: link.clone(), requests, answers, clock, count: 0 })
    }

    #[inline]
    fn trip(&mut self, head: u64) -> Result<()> {
        self.count += 1;
        let message = [head, self.count, 2, 3, 4, 5, 6];
        ensure!(self.requests.push1(&message)?.is_some(), "the request ring is full");
        let echoed = spin_until(|| take(&mut self.answers))?;
        ensure!(echoed == message, "the echo changed the message");
        Ok(())
    }
}

impl Subject for RingEcho {
    fn slice(&mut self, samples: &mut Samples, length: Duration) -> Result<()> {
        self.link.start(Task::Ring)?;
        let clock = self.clock;
        samples.fill(&clock, length, || self.trip(0))?;
        self.trip(STOP)
    }
}

#[inline]
fn take(ring: &mut Consumer) -> Result<Option<Words>> {
    let Some(head) = ring.peek()? else { return Ok(None) };
    ring.advance(head.slots);
    Ok(Some(head.words))
}

/// The far end of one phase.
///
/// # Errors
/// The near end went silent or broke the ring.
pub fn echo((answers, requests): &mut (Producer, Consumer)) -> Result<()> {
    loop {
        let message = spin_until(|| take(requests))?;
        ensure!(answers.push1(&message)?.is_some(), "the answer ring is full");
        if message[0] == STOP {
            return Ok(());
        }
    }
}
