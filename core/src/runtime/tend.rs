//! The gate thread looks after a venue in another process: attaches and detaches its adapter, and walks through the
//! orders when it comes and goes. A few slots of the order table per pass.

use ringfence_ipc::counters::Counter;
use ringfence_ipc::journal::Record;
use ringfence_ipc::msg::{OrderId, OrderState};

use super::external::Stage;
use super::mailbox::{FromGate, PortFault};
use super::port::ClientPort;
use super::reactor::Reactor;
use super::venue_port::VenuePort;
use crate::gate::{HandedOut, Reentry};

/// Order slots looked at in one pass.
const SLOTS_PER_PASS: u32 = 256;
/// Reports of its own that the gate books for one order at most.
const REPORTS_PER_ORDER: usize = 2;

impl Reactor {
    /// An adapter is sealed, verified and populated; `mark` is what it says it handed out.
    pub fn attach_venue(&mut self, port: Box<ClientPort>, record: &Record, mark: Option<OrderId>) {
        let client = port.client;
        match &mut self.venue {
            VenuePort::External(venue) if venue.link.is_none() => venue.attach(port, mark),
            _ => {
                // The control thread lets one adapter in at a time, and only where it belongs.
                let _ = self.outbox.push(FromGate::Retired { port, fault: None });
                return;
            }
        }
        self.append(&record.encode());
        self.show_venue();
        let position = self.journal.position();
        self.counters.set(Counter::JournalPos, position);
        self.mail_out(FromGate::Attached { client, position }, position);
    }

    /// The client is gone: if it was the adapter, that is read to its end.
    pub fn detach_venue(&mut self, client: u64) {
        if let VenuePort::External(venue) = &mut self.venue {
            venue.drain(client);
        }
    }

    /// What a pass does for the venue beside its commands and reports. Says whether there was anything.
    #[inline]
    pub fn tend_venue(&mut self) -> bool {
        matches!(&self.venue, VenuePort::External(venue) if venue.needs_care()) && self.tend_slowly()
    }

    #[cold]
    #[inline(never)]
    fn tend_slowly(&mut self) -> bool {
        self.lose_unsent();
        let VenuePort::External(venue) = &mut self.venue else { return false };
        let before = venue.stage;
        self.counters.add(Counter::MalformedMessages, std::mem::take(&mut venue.malformed));
        let drained = venue.is_drained();
        let fault = venue.link.as_ref().and_then(|link| link.fault);
        if drained || fault.is_some() {
            self.retire_venue(fault);
        }
        let VenuePort::External(venue) = &mut self.venue else { return false };
        match venue.stage {
            Stage::Losing { next } => self.lose_orders(next),
            Stage::Settling { next } => self.settle_orders(next),
            Stage::Asking { next } => self.await_answers(next),
            Stage::Lost | Stage::Open => {}
        }
        // A walk that waits, for room or for an answer, keeps nobody awake.
        matches!(&self.venue, VenuePort::External(venue) if venue.stage != before)
    }

    /// The adapter's port goes back to the control thread. Waits while the outbox is full.
    fn retire_venue(&mut self, fault: Option<PortFault>) {
        if self.outbox.is_full() {
            return;
        }
        let VenuePort::External(venue) = &mut self.venue else { return };
        let Some(link) = venue.detach() else { return };
        if matches!(fault, Some(PortFault::Ring(_))) {
            self.counters.inc(Counter::Faults);
        }
        let _ = self.outbox.push(FromGate::Retired { port: link.port, fault });
        self.show_venue();
    }

    /// New orders that found no open venue were never sent: what they reserved is released.
    fn lose_unsent(&mut self) {
        let now_ns = self.pass_now_ns();
        while self.reports_that_fit() > 0 {
            let VenuePort::External(venue) = &mut self.venue else { return };
            let Some(command) = venue.unsent.pop() else { return };
            if let Some(report) = self.gate.never_sent(&command) {
                self.book_all(&[report], now_ns);
            }
        }
    }

    /// What the adapter was given is UNKNOWN now.
    fn lose_orders(&mut self, next: u32) {
        let now_ns = self.pass_now_ns();
        let end = (next + SLOTS_PER_PASS).min(self.gate.order_slots());
        for slot in next..end {
            if self.reports_that_fit() == 0 {
                return self.venue_at(Stage::Losing { next: slot });
            }
            let VenuePort::External(venue) = &self.venue else { return };
            let given = self.gate.open_at(slot).is_some_and(|(id, _)| id <= venue.pushed());
            if let Some(report) = self.gate.unheard_of(slot).filter(|_| given) {
                self.book_all(&[report], now_ns);
            }
        }
        let over = end == self.gate.order_slots();
        self.venue_at(if over { Stage::Lost } else { Stage::Losing { next: end } });
    }

    /// What the mark of an adapter that came means for each open order; what may be at the venue is asked for.
    fn settle_orders(&mut self, next: u32) {
        let now_ns = self.pass_now_ns();
        let end = (next + SLOTS_PER_PASS).min(self.gate.order_slots());
        for slot in next..end {
            let Some((id, _)) = self.gate.open_at(slot) else { continue };
            let waiting = self.held.commands();
            let room = self.reports_that_fit() >= REPORTS_PER_ORDER;
            let VenuePort::External(venue) = &mut self.venue else { return };
            if !room || !venue.may_settle(waiting) {
                return self.venue_at(Stage::Settling { next: slot });
            }
            let Some(link) = &venue.link else { return };
            let (handed_out, until, since) = (link.handed_out, link.until, venue.since);
            if id <= until {
                let mut steps = std::mem::take(&mut venue.steps);
                if handed_out == HandedOut::Unknown {
                    steps.extend(self.gate.unheard_of(slot).map(Reentry::Report));
                }
                self.gate.settle_order(slot, handed_out, since, now_ns, &mut steps);
                self.carry_on(&steps, now_ns);
                steps.clear();
                let VenuePort::External(venue) = &mut self.venue else { return };
                venue.steps = steps;
            }
        }
        let over = end == self.gate.order_slots();
        self.venue_at(if over { Stage::Asking { next: 0 } } else { Stage::Settling { next: end } });
    }

    fn carry_on(&mut self, steps: &[Reentry], now_ns: u64) {
        for step in steps {
            match step {
                Reentry::Report(report) => self.book_all(&[*report], now_ns),
                Reentry::Command(command) => {
                    if let VenuePort::External(venue) = &mut self.venue {
                        venue.ask(command);
                    }
                    self.tally.commands += 1;
                }
            }
        }
    }

    /// Waits at the first order that is UNKNOWN; behind the last one the venue opens.
    fn await_answers(&mut self, next: u32) {
        let end = (next + SLOTS_PER_PASS).min(self.gate.order_slots());
        let unknown =
            |slot: &u32| self.gate.open_at(*slot).is_some_and(|(_, state)| state == OrderState::Unknown);
        if let Some(slot) = (next..end).find(unknown) {
            return self.venue_at(Stage::Asking { next: slot });
        }
        if end < self.gate.order_slots() {
            return self.venue_at(Stage::Asking { next: end });
        }
        self.venue_at(Stage::Open);
        self.show_venue();
        let position = self.journal.position();
        let _ = self.outbox.push(FromGate::VenueOpen { position });
    }

    fn venue_at(&mut self, stage: Stage) {
        if let VenuePort::External(venue) = &mut self.venue {
            venue.stage = stage;
        }
    }

    /// Brings the gauge up to date.
    pub fn show_venue(&self) {
        let state = match &self.venue {
            VenuePort::External(venue) => venue.stage.number(),
            _ => 0,
        };
        self.counters.set(Counter::VenueState, state);
    }
}
