//! What waits for the gate and what is under way, served by one at a time: whoever asks, or the pump's thread.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crossbeam_channel::Receiver;
use ringfence_ipc::msg::Decision;
use tokio::sync::oneshot;

use super::{ANSWER_WITHIN, Answered, GateLink, Job, LinkEvent, LinkRefusal, PumpError};

/// Requests sent before answers are looked for.
const BURST: usize = 64;

struct Sent {
    /// In the ring: positions only ascend.
    position: u64,
    since: Instant,
    sent_ns: u64,
    reply: oneshot::Sender<Result<Answered, PumpError>>,
}

/// The link and its requests.
pub(super) struct Desk {
    jobs: Receiver<Job>,
    /// Oldest first.
    sent: VecDeque<Sent>,
    /// Taken from the queue, not yet taken by a full ring.
    held: Option<Job>,
    /// None while there is no gate, and while the thread has it.
    link: Option<Box<dyn GateLink>>,
    lost: bool,
}

impl Desk {
    pub fn new(jobs: Receiver<Job>) -> Self {
        Self { jobs, sent: VecDeque::new(), held: None, link: None, lost: false }
    }

    /// The link has been lost: only [`Desk::attach`] helps.
    pub const fn is_lost(&self) -> bool {
        self.lost
    }

    /// Nothing waits and nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.jobs.is_empty() && self.sent.is_empty() && self.held.is_none()
    }

    /// Requests that were sent and not answered.
    pub fn unanswered(&self) -> usize {
        self.sent.len()
    }

    /// Requests wait from here on.
    pub fn take_link(&mut self) -> Option<Box<dyn GateLink>> {
        self.link.take()
    }

    /// A link that works: requests go out from here on.
    pub fn attach(&mut self, link: Box<dyn GateLink>) {
        (self.link, self.lost) = (Some(link), false);
    }

    /// The link that was taken.
    pub fn put_link(&mut self, link: Box<dyn GateLink>) {
        self.link = Some(link);
    }

    /// Sends what waits and hands out what has been answered; `newest_seq` follows the journal. Whether there was anything.
    pub fn serve(&mut self, newest_seq: &AtomicU64) -> bool {
        let mut any = self.send();
        while let Some(event) = self.poll() {
            any = true;
            match event {
                LinkEvent::Decision(decision) => self.answer(decision, newest_seq),
                LinkEvent::Other => {}
                LinkEvent::Lost => self.lost = true,
            }
        }
        any
    }

    fn poll(&mut self) -> Option<LinkEvent> {
        self.link.as_mut().filter(|_| !self.lost)?.poll()
    }

    fn send(&mut self) -> bool {
        let Some(link) = self.link.as_mut().filter(|_| !self.lost) else { return false };
        for done in 0..BURST {
            let Some(mut job) = self.held.take().or_else(|| self.jobs.try_recv().ok()) else {
                return done > 0;
            };
            if job.since.elapsed() > ANSWER_WITHIN {
                let _ = job.reply.send(Err(PumpError::Busy));
                continue;
            }
            let sent_ns = link.now_ns();
            job.intent.client_ts_ns = sent_ns;
            match link.submit_for(&job.intent, &job.ext) {
                Ok(position) => {
                    let (since, reply) = (job.since, job.reply);
                    self.sent.push_back(Sent { position, since, sent_ns, reply });
                }
                Err(LinkRefusal::Full) => {
                    self.held = Some(job);
                    return done > 0;
                }
                Err(LinkRefusal::Lost) => {
                    let _ = job.reply.send(Err(PumpError::Away));
                }
            }
        }
        true
    }

    fn answer(&mut self, decision: Decision, newest_seq: &AtomicU64) {
        if !decision.duplicate {
            newest_seq.fetch_max(decision.journal_seq, Ordering::AcqRel);
        }
        let at = self.sent.binary_search_by_key(&decision.intent_position, |sent| sent.position);
        if let Some(sent) = at.ok().and_then(|at| self.sent.remove(at)) {
            let _ = sent.reply.send(Ok(Answered { decision, sent_ns: sent.sent_ns }));
        }
    }

    /// Answers what waits while there is no gate.
    pub fn refuse(&mut self) {
        for job in self.held.take().into_iter().chain(self.jobs.try_iter()) {
            let _ = job.reply.send(Err(PumpError::Away));
        }
    }

    /// Gives up on answers that are overdue: the gate lives but does not answer.
    pub fn expire(&mut self) {
        while self.sent.front().is_some_and(|oldest| oldest.since.elapsed() > ANSWER_WITHIN)
            && let Some(oldest) = self.sent.pop_front()
        {
            let _ = oldest.reply.send(Err(PumpError::Unknown));
        }
    }

    /// Gives up on every answer.
    pub fn forget(&mut self) {
        for sent in self.sent.drain(..) {
            let _ = sent.reply.send(Err(PumpError::Unknown));
        }
    }
}
