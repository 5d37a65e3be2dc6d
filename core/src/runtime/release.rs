//! Tier `power` on the gate thread: decides as in tier `process`, holds back what follows from it, and lets it out as
//! the disk catches up.

use std::time::{Duration, Instant};

use ringfence_ipc::counters::{Counter, Histo};
use ringfence_ipc::msg::{Command, Decision, DurabilityTier, Outcome, Report, Words, kind, kind_of};
use ringfence_ipc::reason::{LimitId, Reason};

use super::held::{Addressee, Waiting};
use super::intents::INTENTS_PER_CLIENT;
use super::mailbox::{FromGate, PortFault};
use super::port::REPORT_RESERVE_SLOTS;
use super::reactor::{DISK_LOOK, NO_PORT, Reactor};
use crate::gate::{Request, Room, Space};
use crate::journal::Class;

/// Entries let out in one pass.
const RELEASED_PER_PASS: usize = 1024;
/// How long a stop waits for the disk.
pub(super) const STOP_PATIENCE: Duration = Duration::from_secs(5);

impl Reactor {
    /// As [`Reactor::serve_intents`], in tier `power`.
    pub fn serve_held(&mut self, at: usize) -> Result<usize, PortFault> {
        let (mut served, mut now_ns) = (0, 0);
        while served < INTENTS_PER_CLIENT && self.held.space() > Space::Full {
            let beside = self.held.promised(at);
            let Some(port) = &mut self.ports[at] else { break };
            let Some(head) = port.intents.peek()? else { break };
            // A node's value follows from no record: nothing holds it back.
            if kind_of(&head.words) == kind::NODE_UPDATE {
                served += self.serve_long_update(at, &head)?;
                continue;
            }
            if !port.draining && !port.events.has_room(1 + beside + REPORT_RESERVE_SLOTS)? {
                self.counters.inc(Counter::FullEventRings);
                break;
            }
            let ext = if head.slots == 1 { None } else { Some(port.intents.continuation(1)?) };
            let position = port.intents.position();
            port.intents.advance(head.slots);
            if now_ns == 0 {
                now_ns = self.pass_now_ns();
                self.counters.record(Histo::RingNs, now_ns.saturating_sub(head.words[5]));
            }
            self.decide_held(at, &head.words, ext.as_ref(), position, now_ns)?;
            served += 1;
        }
        Ok(served)
    }

    /// As [`Reactor::decide_alone`], in tier `power`.
    pub fn decide_held(
        &mut self,
        at: usize,
        words: &Words,
        ext: Option<&Words>,
        position: u64,
        now_ns: u64,
    ) -> Result<(), PortFault> {
        if self.held.holds() && self.journal.is_failed() {
            self.give_up();
        }
        let tier = if self.held.holds() { DurabilityTier::Power } else { DurabilityTier::Process };
        let venue = self.venue.space_beside(self.held.commands());
        let room = Room { venue, journal: self.journal_space(1).min(self.held.space()) };
        let Some(port) = &self.ports[at] else { return Ok(()) };
        let request = Request { tier, ..port.request(words, ext, position, now_ns, room) };
        let verdict = self.gate.decide(&request);
        let (record, effect, command) = (verdict.record(), verdict.effect(), verdict.command());
        let mut decision = verdict.decision(0);
        if let Some(record) = record {
            decision.journal_seq = self.append(&record.encode());
        }
        if let Some(effect) = effect {
            self.gate.commit(&effect, decision.journal_seq);
        }
        if decision.duplicate && self.held.is_unreleased(decision.journal_seq) {
            decision = never_shown(&decision);
        }
        self.tally.intents += 1;
        if decision.outcome == Outcome::Accepted && !decision.duplicate {
            self.tally.accepted += 1;
        } else {
            self.count_refused(&decision);
        }
        let told = self.answer(at, &decision, now_ns);
        if let Some(command) = &command {
            self.send(command, decision.journal_seq + 1, now_ns);
        }
        told
    }

    /// A draining client reads nothing any more; the journal keeps its answers.
    fn answer(&mut self, at: usize, decision: &Decision, seen_ns: u64) -> Result<(), PortFault> {
        let Some(port) = self.ports[at].as_mut().filter(|port| !port.draining) else { return Ok(()) };
        let (words, to) = (decision.encode(), Addressee { at: at as u16, client: port.client });
        if self.held.holds() {
            // Not journalled, it only keeps its place in the order.
            let until = if decision.journal_seq == 0 { 0 } else { decision.journal_seq + 1 };
            self.held.push(until, Waiting::Answer { to, words, seen_ns });
            return Ok(());
        }
        port.events.push1(&words)?;
        Ok(())
    }

    /// A report for its strategy's ring, booked under `report.journal_seq`.
    pub fn hold_report(&mut self, report: &Report) {
        let at = self.by_strategy.get(usize::from(report.strategy)).copied().unwrap_or(NO_PORT);
        let Some(Some(port)) = self.ports.get(usize::from(at)) else { return };
        if !port.draining {
            let to = Addressee { at, client: port.client };
            self.held.push(report.journal_seq + 1, Waiting::Report { to, words: report.encode() });
        }
    }

    /// Whether another command may leave the gate.
    pub fn may_send(&mut self) -> bool {
        let free = self.held.free() > 0 && self.venue.takes_owed();
        free && self.venue.space_beside(self.held.commands()) > Space::Full
    }

    /// Hands a command to the venue: now, or in tier `power` when every record below `until` is on disk.
    pub fn send(&mut self, command: &Command, until: u64, now_ns: u64) {
        if self.held.holds() {
            return self.held.push(until, Waiting::Command { command: *command, now_ns });
        }
        self.venue.push(command, now_ns);
        self.tally.commands += 1;
    }

    /// Tells the control thread: now, or in tier `power` when every record below `until` is on disk.
    pub fn mail_out(&mut self, message: FromGate, until: u64) {
        if self.held.holds() {
            return self.held.push(until, Waiting::Mail(message));
        }
        let _ = self.outbox.push(message);
    }

    /// Lets out what is on disk by now. Says whether there was anything.
    pub fn release(&mut self) -> bool {
        // The status first: whatever was made durable before the failure is still shown.
        let failed = self.journal.is_failed();
        let durable_pos = self.journal.durable_pos();
        let now_ns = self.now_ns();
        let mut released = 0;
        while released < RELEASED_PER_PASS {
            let Some(next) = self.held.due(durable_pos) else { break };
            let fits = match next {
                Waiting::Mail(_) => !self.outbox.is_full(),
                // Killed meanwhile, it is reported instead.
                Waiting::Command { .. } => self.journal.room(Class::Reserved) && self.venue.has_place(),
                Waiting::Answer { .. } | Waiting::Report { .. } => true,
            };
            if !fits {
                return released > 0;
            }
            let Some(entry) = self.held.pop() else { break };
            self.show(entry, now_ns);
            released += 1;
        }
        if failed && self.held.is_waiting() && self.held.due(durable_pos).is_none() {
            self.give_up();
        }
        released > 0
    }

    fn show(&mut self, entry: Waiting, now_ns: u64) {
        let (to, told) = match entry {
            Waiting::Answer { to, words, seen_ns } => {
                let Some(port) = self.addressed(to) else { return };
                let told = port.events.push1(&words);
                if self.tape_now_ns.is_none() {
                    self.counters.record(Histo::DecisionNs, now_ns.saturating_sub(seen_ns));
                }
                (to, told)
            }
            Waiting::Report { to, words } => {
                let Some(port) = self.addressed(to) else { return };
                (to, port.events.push(&words))
            }
            Waiting::Command { command, now_ns: decided_ns } => {
                if self.gate.may_leave(&command) {
                    self.venue.push(&command, decided_ns);
                    self.tally.commands += 1;
                } else if let Some(report) = self.gate.never_sent(&command) {
                    self.book_all(&[report], now_ns);
                }
                return;
            }
            Waiting::Mail(message) => {
                let _ = self.outbox.push(message);
                return;
            }
        };
        match told {
            Ok(Some(_)) => {}
            // Reports took more than was kept for them: the client resumes from the journal.
            Ok(None) => self.retire(usize::from(to.at), Some(PortFault::Lagging)),
            Err(fault) => self.retire(usize::from(to.at), Some(PortFault::Ring(fault))),
        }
    }

    /// The client an entry is for, if it is still there and still reads.
    fn addressed(&mut self, to: Addressee) -> Option<&mut super::port::ClientPort> {
        let port = self.ports.get_mut(usize::from(to.at))?.as_deref_mut()?;
        (port.client == to.client && !port.draining).then_some(port)
    }

    /// The disk has failed. What waits is never shown, and whoever it was for is detached: the order of answers is
    /// broken for good. From here on the gate works as in tier `process` with a failed archive.
    #[cold]
    fn give_up(&mut self) {
        let (durable_pos, end) = (self.journal.durable_pos(), self.journal.position());
        let entries = self.held.len() as u64;
        self.held.fail(durable_pos, end);
        self.counters.add(Counter::Unreleased, entries);
        let _ = self.outbox.push(FromGate::Unreleased { entries, durable_pos });
        while let Some(entry) = self.held.pop() {
            let client = match entry {
                Waiting::Answer { to, .. } | Waiting::Report { to, .. } => to.client,
                Waiting::Mail(FromGate::Attached { client, .. } | FromGate::Controlled { client, .. }) => {
                    client
                }
                Waiting::Mail(_) | Waiting::Command { .. } => continue,
            };
            let at = self.ports.iter().position(|port| port.as_ref().is_some_and(|p| p.client == client));
            if let Some(at) = at {
                self.retire(at, Some(PortFault::Unreleased));
            }
        }
    }

    /// Waits until nothing waits, for `patience` at most: at a stop, and in lockstep, where the tape waits for the disk.
    pub fn release_all(&mut self, patience: Duration) {
        let started = Instant::now();
        while self.held.is_waiting() && started.elapsed() < patience {
            if !self.release() {
                std::thread::sleep(DISK_LOOK);
            }
        }
    }
}

/// What is told instead of a stored decision that must not be shown.
fn never_shown(stored: &Decision) -> Decision {
    Decision {
        outcome: Outcome::Rejected,
        reason: Reason::JournalFailed,
        limit_id: LimitId::None,
        duplicate: false,
        tier: DurabilityTier::None,
        journal_seq: 0,
        order_id: 0,
        observed: 0,
        limit: 0,
        ..*stored
    }
}
