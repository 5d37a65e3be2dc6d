//! The pump's thread: makes and mends the link, carries out what operators ask for, and serves whatever takes the gate
//! longer than its asker stays.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use super::desk::Desk;
use super::{CONTROL_QUEUE, ControlJob, GateLink, LinkError, PumpError, Shared};
use crate::gateway::lock::lock;

/// How often an idle pump looks at its event ring.
const IDLE: Duration = Duration::from_millis(10);
const RECONNECT_MIN: Duration = Duration::from_millis(10);
const RECONNECT_MAX: Duration = Duration::from_millis(500);
/// How long one attempt to re-attach may block the pump.
const REATTACH_PATIENCE: Duration = Duration::from_millis(50);
/// Polls without an answer before the pump yields, and before it sleeps.
const SPINS: u32 = 200;
const YIELDS: u32 = 2_000;

/// What the thread has to do.
pub(super) struct Work {
    acts: Receiver<ControlJob>,
    shared: Arc<Shared>,
}

impl Work {
    pub const fn new(acts: Receiver<ControlJob>, shared: Arc<Shared>) -> Self {
        Self { acts, shared }
    }

    fn stopping(&self) -> bool {
        self.shared.stop.load(Ordering::Acquire)
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        lock(&self.shared.desk)
    }

    /// Until the pump stops.
    pub fn run<L: GateLink>(self, mut connect: impl FnMut() -> Result<L, LinkError>) {
        let mut pause = RECONNECT_MIN;
        let mut told = String::new();
        while !self.stopping() {
            match connect() {
                Ok(link) => {
                    tracing::info!("attached to the gate");
                    pause = RECONNECT_MIN;
                    told.clear();
                    self.desk().attach(Box::new(link));
                    self.shared.connected.store(true, Ordering::Release);
                    self.serve();
                    self.shared.connected.store(false, Ordering::Release);
                }
                Err(error) => {
                    if told != error.message {
                        tracing::warn!(reason = %error.message, "no gate yet, trying on");
                        told = error.message;
                    }
                    self.refuse_for(pause);
                    pause = (pause * 2).min(RECONNECT_MAX);
                }
            }
        }
        self.desk().forget();
    }

    /// Until the link is lost for good or the pump stops.
    fn serve(&self) {
        let mut idle = 0;
        while !self.stopping() {
            let acted = self.act();
            let mut desk = self.desk();
            let busy = desk.serve(&self.shared.newest_seq) || acted;
            let (is_lost, is_idle) = (desk.is_lost(), desk.is_idle());
            drop(desk);
            if is_lost {
                if !self.mend() {
                    self.desk().forget();
                    return;
                }
                continue;
            }
            idle = if busy { 0 } else { idle + 1 };
            match idle {
                // A wake-up between the look and here ends the pause at once.
                _ if is_idle && self.acts.is_empty() => std::thread::park_timeout(IDLE),
                0..SPINS => std::hint::spin_loop(),
                SPINS..YIELDS => std::thread::yield_now(),
                _ => {
                    self.desk().expire();
                    std::thread::sleep(Duration::from_micros(50));
                }
            }
        }
        drop(self.desk().take_link());
    }

    /// What operators ask for comes first: a kill does not queue behind orders. The gate's answer may take a while, so the
    /// desk is free meanwhile, and orders wait.
    fn act(&self) -> bool {
        let mut any = false;
        for _ in 0..CONTROL_QUEUE {
            let Ok(ControlJob { request, reply }) = self.acts.try_recv() else { break };
            let Some(mut link) = self.desk().take_link() else {
                let _ = reply.send(Err(PumpError::Away.into()));
                continue;
            };
            let outcome = link.control(request);
            self.desk().put_link(link);
            if let Ok(done) = &outcome {
                self.shared.newest_seq.fetch_max(done.journal_seq, Ordering::AcqRel);
            }
            let _ = reply.send(outcome);
            any = true;
        }
        any
    }

    /// Answers requests while there is no gate.
    fn refuse_for(&self, pause: Duration) {
        let until = Instant::now() + pause;
        loop {
            self.desk().refuse();
            for act in self.acts.try_iter() {
                let _ = act.reply.send(Err(PumpError::Away.into()));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || self.stopping() {
                return;
            }
            std::thread::park_timeout(left);
        }
    }

    /// Re-attaches. `false`: this link will not come back.
    fn mend(&self) -> bool {
        self.shared.connected.store(false, Ordering::Release);
        let mut desk = self.desk();
        let (link, unanswered) = (desk.take_link(), desk.unanswered());
        drop(desk);
        let Some(mut link) = link else { return false };
        tracing::warn!(unanswered, "the gate is gone, re-attaching");
        let mut pause = RECONNECT_MIN;
        while !self.stopping() {
            match link.reattach(REATTACH_PATIENCE) {
                Ok(()) => {
                    tracing::info!("attached to the gate again");
                    self.desk().attach(link);
                    self.shared.connected.store(true, Ordering::Release);
                    return true;
                }
                Err(error) if !error.transient => {
                    tracing::warn!(reason = %error.message, "the gate does not know this client any more");
                    return false;
                }
                Err(_) => self.refuse_for(pause),
            }
            self.desk().expire();
            pause = (pause * 2).min(RECONNECT_MAX);
        }
        false
    }
}
