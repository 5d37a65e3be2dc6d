//! The paper venue on its own thread: tape and commands in, reports out. Never blocks the gate.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ringfence_ipc::clock::Clock;
use ringfence_ipc::counters::{Counter, CountersWriter};
use ringfence_ipc::msg::{Command, Report, TapeEnd, kind, kind_of};
use ringfence_ipc::ring::{Consumer, Fault};
use ringfence_ipc::wake::{Bell, Sleeper};

use super::wait::Waiter;
use crate::config::Wait;
use crate::reconcile::VenueSnapshot;
use crate::venue::PaperVenue;

/// Commands taken in one pass.
const COMMANDS_PER_PASS: usize = 256;
/// Tape messages applied in one pass.
const TAPE_PER_PASS: usize = 256;
/// Reports that one tape message or command may cause at most before the ring is looked at again.
const REPORT_SLACK: usize = 1024;

/// What the control thread tells the paper thread.
pub(super) enum ToPaper {
    /// A feed attached: read its tape.
    Tape { client: u64, tape: Consumer },
    /// A feed is gone.
    NoTape,
    /// Say what the venue has, and mark the moment among the reports.
    Snapshot { number: u64, answer: crossbeam_channel::Sender<VenueSnapshot> },
}

/// Everything the paper thread owns.
pub(super) struct PaperThread {
    pub venue: PaperVenue,
    pub clock: Clock,
    pub commands: rtrb::Consumer<Command>,
    pub reports: rtrb::Producer<Report>,
    pub inbox: crossbeam_channel::Receiver<ToPaper>,
    /// Feeds whose tape broke the ring protocol, by client number.
    pub faults: crossbeam_channel::Sender<(u64, Fault)>,
    pub counters: CountersWriter,
    /// Market events consumed in earlier lives.
    pub base_event: u64,
    /// The gate's life.
    pub epoch: u16,
    /// Commands and reports of earlier lives.
    pub earlier: (u64, u64),
    pub stop: Arc<AtomicBool>,
    /// With `--wait park`: where it sleeps, and the gate thread's bell.
    pub bed: Option<Arc<Sleeper>>,
    pub neighbours: Vec<Bell>,
}

impl PaperThread {
    /// Runs until told to stop.
    pub fn run(mut self) {
        // Never spins: with the gate spinning there may be no third CPU.
        let wait = if self.bed.is_some() { Wait::Park } else { Wait::Backoff };
        let mut waiter = Waiter::in_bed(wait, self.bed.take(), std::mem::take(&mut self.neighbours));
        let mut out = Vec::with_capacity(4 * REPORT_SLACK);
        let mut tape: Option<(u64, Consumer)> = None;
        let mut leaving = false;
        let mut asked = None;
        while !self.stop.load(Ordering::Acquire) {
            if let Ok(message) = self.inbox.try_recv() {
                match message {
                    ToPaper::Tape { client, tape: attached } => {
                        (tape, leaving) = (Some((client, attached)), false);
                    }
                    ToPaper::NoTape => leaving = true,
                    ToPaper::Snapshot { number, answer } => asked = Some((number, answer)),
                }
            }
            let mut busy = self.flush(&mut out);
            if out.is_empty() && self.reports.slots() >= REPORT_SLACK {
                busy |= self.take_commands(&mut out);
                self.venue.advance(self.clock.now_ns(), &mut out);
                if let Some((client, consumer)) = &mut tape {
                    match self.take_tape(consumer, &mut out) {
                        // A feed that left is read to the end of what it published.
                        Ok(false) if leaving => tape = None,
                        Ok(read) => busy |= read,
                        Err(fault) => {
                            let _ = self.faults.try_send((*client, fault));
                            tape = None;
                        }
                    }
                }
                busy |= self.flush(&mut out);
            }
            // Behind every report so far, none of them left here: the mark stands for exactly this moment.
            if out.is_empty()
                && !self.reports.is_full()
                && let Some((number, answer)) = asked.take()
            {
                let _ = self.reports.push(Report::snapshot_mark(number));
                // Whoever asked may have given up.
                let _ = answer.try_send(self.snapshot());
                busy = true;
            }
            let due_ns = self.venue.next_due_ns().map(|due| due.saturating_sub(self.clock.now_ns()));
            waiter.after_pass_until(busy, due_ns.map_or(Duration::MAX, Duration::from_nanos));
        }
    }

    fn snapshot(&self) -> VenueSnapshot {
        VenueSnapshot {
            epoch: Some(self.epoch),
            commands: Some(self.counters.get(Counter::VenueCommands).saturating_sub(self.earlier.0)),
            reports: Some(self.counters.get(Counter::VenueReports).saturating_sub(self.earlier.1)),
            ..self.venue.snapshot(self.clock.now_ns())
        }
    }

    /// Moves reports to the gate as far as they fit; the rest waits, and nothing new is taken meanwhile.
    fn flush(&mut self, out: &mut Vec<Report>) -> bool {
        let fit = self.reports.slots().min(out.len());
        for report in out.drain(..fit) {
            let pushed = self.reports.push(report);
            debug_assert!(pushed.is_ok(), "slots were counted");
        }
        self.counters.add(Counter::VenueReports, fit as u64);
        fit > 0
    }

    fn take_commands(&mut self, out: &mut Vec<Report>) -> bool {
        let mut taken = 0;
        while taken < COMMANDS_PER_PASS {
            let Ok(command) = self.commands.pop() else { break };
            self.venue.on_command(&command, self.clock.now_ns(), out);
            taken += 1;
        }
        self.counters.add(Counter::VenueCommands, taken as u64);
        taken > 0
    }

    fn take_tape(&mut self, tape: &mut Consumer, out: &mut Vec<Report>) -> Result<bool, Fault> {
        let mut taken = 0;
        let now_ns = self.clock.now_ns();
        while taken < TAPE_PER_PASS && out.len() < REPORT_SLACK {
            let Some(head) = tape.peek()? else { break };
            if kind_of(&head.words) == kind::TAPE_END {
                if TapeEnd::decode(&head.words).is_ok() {
                    self.counters.set(Counter::TapeFinished, 1);
                }
            } else {
                self.venue.on_tape(&head.words, now_ns, out);
            }
            tape.advance(head.slots);
            taken += 1;
        }
        if taken > 0 {
            tape.publish();
            self.counters.add(Counter::VenueTapeMessages, taken as u64);
            self.counters.set(Counter::MarketEvents, self.base_event + self.venue.events_seen());
            self.counters.set(Counter::VenueMalformed, self.venue.malformed());
        }
        Ok(taken > 0)
    }
}
