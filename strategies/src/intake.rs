//! The intake: one thread writes what came in together with one commit, so that one sync serves many submissions.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use ringfence_store::{Admission, Draft, Duplicates, MAX_BATCH_DRAFTS, OnDuplicate, StoreError};
use tokio::sync::oneshot;

use crate::Refused;
use crate::service::Strategies;

/// Submissions that may wait.
const QUEUE: usize = 4096;
/// Bytes of DAGs in one commit.
const BATCH_BYTES: usize = 16 << 20;

struct Ask {
    draft: Draft,
    reply: oneshot::Sender<Result<Admission, Refused>>,
}

/// Where submissions wait to be written.
pub struct Intake {
    queue: Sender<Ask>,
}

/// The thread's end of it.
pub struct Writing {
    queue: Receiver<Ask>,
}

/// Both ends.
pub fn intake() -> (Intake, Writing) {
    let (queue, asked) = bounded(QUEUE);
    (Intake { queue }, Writing { queue: asked })
}

impl Intake {
    /// Has it written; durable when it returns.
    pub async fn take(&self, draft: Draft) -> Result<Admission, Refused> {
        let (reply, answer) = oneshot::channel();
        match self.queue.try_send(Ask { draft, reply }) {
            Ok(()) => {
                answer.await.unwrap_or_else(|_| Err(Refused::away("the shell is stopping: submit again")))
            }
            Err(TrySendError::Full(_)) => {
                Err(Refused::away("too many submissions wait to be written: nothing was taken, submit again"))
            }
            Err(TrySendError::Disconnected(_)) => Err(Refused::away("the shell is stopping: submit again")),
        }
    }
}

impl Writing {
    /// Until every asker is gone.
    pub fn run(self, service: &Arc<Strategies>) {
        while let Ok(first) = self.queue.recv() {
            let mut bytes = first.draft.dag.len();
            let mut batch = vec![first];
            while batch.len() < MAX_BATCH_DRAFTS && bytes < BATCH_BYTES {
                let Ok(ask) = self.queue.try_recv() else { break };
                bytes += ask.draft.dag.len();
                batch.push(ask);
            }
            let (drafts, replies): (Vec<Draft>, Vec<_>) =
                batch.into_iter().map(|ask| (ask.draft, ask.reply)).unzip();
            match write(service, &drafts) {
                Ok(admissions) => {
                    for (reply, admission) in replies.into_iter().zip(admissions) {
                        // Whoever waits no longer may ask again: the same draft is the same strategy.
                        let _ = reply.send(Ok(admission));
                    }
                    service.bell.ring();
                }
                // One that no engine takes must not refuse the others.
                Err(error) if !error.is_unavailable() && drafts.len() > 1 => {
                    for (draft, reply) in drafts.iter().zip(replies) {
                        let one = write(service, std::slice::from_ref(draft));
                        let one = one.map_err(Refused::from).and_then(|mut done| {
                            done.pop().ok_or_else(|| Refused::away("the store gave no answer: submit again"))
                        });
                        let _ = reply.send(one);
                    }
                    service.bell.ring();
                }
                Err(error) => {
                    let refused = Refused::from(error);
                    for reply in replies {
                        let _ = reply.send(Err(refused.clone()));
                    }
                }
            }
        }
    }
}

fn write(service: &Strategies, drafts: &[Draft]) -> Result<Vec<Admission>, StoreError> {
    let ttl_ms = service.options.duplicate_ttl_ms;
    match &service.spool {
        Some(spool) => spool.submit(&*service.store, drafts, ttl_ms),
        None => service.store.submit(drafts, Duplicates { ttl_ms, then: OnDuplicate::Refuse }),
    }
}
