//! `peer_rtrb`: the same round trip through two rtrb rings, between two threads (rtrb lives on the heap only).

use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use rtrb::{Consumer, Producer, RingBuffer};

use crate::machine::{FAR_CPU, pin};
use crate::slice::{Samples, Subject, Ticks, spin_until};

const SLOTS: usize = 1024;
/// Word 0 of the message that ends a phase.
const STOP: u64 = u64::MAX;

/// The same payload, on a cache line of its own: rtrb at its best.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(align(64))]
struct Line([u64; 7]);

/// The near end.
pub struct RtrbEcho {
    requests: Producer<Line>,
    answers: Consumer<Line>,
    start: mpsc::Sender<()>,
    far_end: JoinHandle<Result<u64>>,
    clock: Ticks,
    count: u64,
}

impl RtrbEcho {
    /// Starts the far thread.
    ///
    /// # Errors
    /// No thread.
    pub fn new(clock: Ticks) -> Result<Self> {
        let (requests, far_requests) = RingBuffer::new(SLOTS);
        let (far_answers, answers) = RingBuffer::new(SLOTS);
        let (start, started) = mpsc::channel();
        let far_end = std::thread::Builder::new()
            .name("rtrb-echo".into())
            .spawn(move || echo(&started, far_requests, far_answers))?;
        Ok(Self { requests, answers, start, far_end, clock, count: 0 })
    }

    /// Stops the far thread and checks that it echoed every message.
    ///
    /// # Errors
    /// It did not.
    pub fn finish(self) -> Result<()> {
        drop(self.start);
        let echoed = self.far_end.join().map_err(|_| anyhow!("the echo thread panicked"))??;
        ensure!(echoed == self.count, "{echoed} of {} messages echoed", self.count);
        Ok(())
    }

    #[inline]
    fn trip(&mut self, head: u64) -> Result<()> {
        self.count += 1;
        let message = Line([head, self.count, 2, 3, 4, 5, 6]);
        self.requests.push(message)?;
        let echoed = spin_until(|| Ok(self.answers.pop().ok()))?;
        ensure!(echoed == message, "the echo changed the message");
        Ok(())
    }
}

impl Subject for RtrbEcho {
    fn slice(&mut self, samples: &mut Samples, length: Duration) -> Result<()> {
        self.start.send(())?;
        let clock = self.clock;
        samples.fill(&clock, length, || self.trip(0))?;
        self.trip(STOP)
    }
}

fn echo(
    started: &mpsc::Receiver<()>,
    mut requests: Consumer<Line>,
    mut answers: Producer<Line>,
) -> Result<u64> {
    pin(FAR_CPU)?;
    let mut echoed = 0;
    while started.recv().is_ok() {
        loop {
            let message = spin_until(|| Ok(requests.pop().ok()))?;
            answers.push(message)?;
            echoed += 1;
            if message.0[0] == STOP {
                break;
            }
        }
    }
    Ok(echoed)
}
