//! Intents: read, decided, journalled, answered; then the private tables.

use ringfence_ipc::counters::{Counter, Histo};
use ringfence_ipc::msg::{Command, Decision, DurabilityTier, Words, kind, kind_of};

use super::mailbox::PortFault;
use super::port::ClientPort;
use super::reactor::Reactor;
use crate::gate::{Approved, BATCH, Effect, Refusal, Request, Room, Verdict};

/// Intents taken from one client in one pass.
pub(super) const INTENTS_PER_CLIENT: usize = BATCH;

/// What follows from an approval beside its command, free of the state it was decided in. The command is built apart:
/// who takes it looks at it in memory, and nothing of this has to be there.
struct Accepted {
    slots: [Words; 2],
    decision: Decision,
    effect: Effect,
}

impl Accepted {
    #[inline(always)]
    fn of(approved: &Approved<'_>) -> Self {
        Self { slots: approved.record_slots(), decision: approved.decision(0), effect: approved.effect() }
    }
}

impl Reactor {
    /// Decides what one client has asked, at most a batch. All of it is copied first and what each will need is sent
    /// for, so that neither the ring's misses nor the tables' are waited for one by one.
    pub fn serve_intents(&mut self, at: usize) -> Result<usize, PortFault> {
        // Batch and port are taken out and put back: clearing an array would cost every pass more than the look that
        // finds it empty, and a port at hand need not be looked up for every intent.
        let mut batch = std::mem::take(&mut self.batch);
        let Some(mut port) = self.ports[at].take() else { return Ok(0) };
        let count = port.intents.peek_run(&mut batch);
        let asked = batch.get(..count).filter(|asked| asked.first().is_some_and(|w| !is_update(w)));
        let served = asked.map(|asked| self.serve_batch(&mut port, asked));
        self.ports[at] = Some(port);
        let served = match served {
            Some(served) => served,
            None if count == 0 => self.serve_long(at),
            None => Ok(self.serve_updates(at, &batch[..count])),
        };
        self.batch = batch;
        served
    }

    #[inline(always)]
    fn serve_batch(&mut self, port: &mut ClientPort, batch: &[Words]) -> Result<usize, PortFault> {
        self.gate.prefetch(port.strategy, batch);
        let now_ns = self.pass_now_ns();
        // Looked at once for all, where there is plenty.
        let plenty = self.room(batch.len()) == Room::OPEN
            && (port.draining || port.has_room_for_decisions(batch.len())?);
        let first = port.intents.position();
        let mut served = 0;
        for (words, position) in batch.iter().zip(first..) {
            let room = if plenty { Room::OPEN } else { self.room(1) };
            if is_update(words) {
                break;
            }
            if !plenty && !port.draining && !port.has_room_for_decisions(1)? {
                self.counters.inc(Counter::FullEventRings);
                break;
            }
            port.intents.advance(1);
            served += 1;
            let request = port.request(words, None, position, now_ns, room);
            match self.gate.pass(&request) {
                Some(approved) => {
                    let (accepted, command) = (Accepted::of(&approved), approved.command());
                    self.accept(port, &accepted, command.as_ref(), None)?;
                }
                None => self.decide_slowly(port, port.request(words, None, position, now_ns, room))?,
            }
        }
        self.count_served(served, now_ns, batch[0][5]);
        Ok(served as usize)
    }

    /// Takes what stands next and is several slots long: an operator's intent or a node's update.
    fn serve_long(&mut self, at: usize) -> Result<usize, PortFault> {
        let Some(port) = &mut self.ports[at] else { return Ok(0) };
        let Some(head) = port.intents.peek()? else { return Ok(0) };
        if is_update(&head.words) {
            return self.serve_long_update(at, &head);
        }
        if !port.draining && !port.has_room_for_decisions(1)? {
            self.counters.inc(Counter::FullEventRings);
            return Ok(0);
        }
        let ext = if head.slots == 1 { None } else { Some(port.intents.continuation(1)?) };
        let position = port.intents.position();
        port.intents.advance(head.slots);
        let now_ns = self.pass_now_ns();
        self.decide_alone(at, &head.words, ext.as_ref(), position, now_ns)?;
        self.count_served(1, now_ns, head.words[5]);
        Ok(1)
    }

    /// What the rings behind the gate take, if they must take `intents`.
    #[inline]
    fn room(&mut self, intents: usize) -> Room {
        let journal = self.journal_space(intents as u64);
        Room { venue: self.venue.space_beside(intents - 1), journal }
    }

    /// Decides one intent that comes by itself: an operator's, or one of a lockstep turn.
    pub fn decide_alone(
        &mut self,
        at: usize,
        words: &Words,
        ext: Option<&Words>,
        position: u64,
        now_ns: u64,
    ) -> Result<(), PortFault> {
        let room = self.room(1);
        let Some(mut port) = self.ports[at].take() else { return Ok(()) };
        let request = port.request(words, ext, position, now_ns, room);
        let told = self.decide_slowly(&mut port, request);
        self.ports[at] = Some(port);
        told
    }

    /// Any intent; in a batch, what is not a new order that passes.
    #[inline(never)]
    fn decide_slowly(&mut self, port: &mut ClientPort, request: Request<'_>) -> Result<(), PortFault> {
        match self.gate.decide(&request) {
            Verdict::Accepted(approved) => {
                let (accepted, command) = (Accepted::of(&approved), approved.command());
                self.accept(port, &accepted, command.as_ref(), request.ext)
            }
            Verdict::Refused(refusal) => self.refuse(port, &refusal),
        }
    }

    /// Journal, answer, and only then update the private tables and hand the command over.
    #[inline(always)]
    fn accept(
        &mut self,
        port: &mut ClientPort,
        accepted: &Accepted,
        command: Option<&Command>,
        ext: Option<&Words>,
    ) -> Result<(), PortFault> {
        let [first, second] = accepted.slots;
        let journal_seq = match ext {
            None => self.journal.append_slots(&accepted.slots),
            Some(ext) => self.journal.append_slots(&[first, second, *ext]),
        };
        self.records += 1;
        // A draining client reads nothing any more; the journal keeps its answers. A ring that is at fault costs the
        // client its place, never the decision: it is in the journal, so it counts.
        let told = if port.draining {
            Ok(())
        } else {
            let answer = Decision { journal_seq, ..accepted.decision };
            port.events.push1(&answer.encode()).map(|told| {
                debug_assert!(told.is_some(), "room was looked at before the intent was read");
            })
        };
        self.gate.commit(&accepted.effect, journal_seq);
        if let Some(command) = command {
            self.venue.push(command, accepted.decision.decided_at_ns);
            self.tally.commands += 1;
        }
        self.tally.intents += 1;
        self.tally.accepted += 1;
        Ok(told?)
    }

    /// As [`Reactor::accept`], for what was refused.
    #[cold]
    #[inline(never)]
    fn refuse(&mut self, port: &mut ClientPort, refusal: &Refusal) -> Result<(), PortFault> {
        let mut decision = refusal.decision;
        if let Some(record) = &refusal.record {
            decision.journal_seq = self.append(&record.encode());
        }
        let told = if port.draining { Ok(()) } else { port.events.push1(&decision.encode()).map(|_| ()) };
        if let Some(effect) = refusal.effect() {
            self.gate.commit(&effect, decision.journal_seq);
        }
        self.tally.intents += 1;
        self.count_refused(&decision);
        Ok(told?)
    }

    #[cold]
    pub fn count_refused(&self, decision: &Decision) {
        let counters = &self.counters;
        if decision.duplicate {
            counters.inc(Counter::Duplicates);
        } else {
            counters.reject(decision.reason);
            let transient = decision.tier == DurabilityTier::None;
            counters.inc(if transient { Counter::TransientRejects } else { Counter::Rejected });
        }
    }

    /// Residence in the gate, an upper bound for each intent of the batch: from the clock read that saw the first to
    /// the one after the last was answered, which is off the path of every answer. And how long the first had waited.
    fn count_served(&mut self, served: u64, started_ns: u64, first_client_ts_ns: u64) {
        if self.tape_now_ns.is_none() && served > 0 {
            self.counters.record(Histo::RingNs, started_ns.saturating_sub(first_client_ts_ns));
            let residence_ns = self.clock.now_ns().saturating_sub(started_ns);
            self.counters.record_n(Histo::DecisionNs, residence_ns, served);
        }
    }
}

fn is_update(words: &Words) -> bool {
    kind_of(words) == kind::NODE_UPDATE
}
