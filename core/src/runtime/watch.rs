//! What the gate looks after and shows now and then, off the way of every intent: clients that do not read, their rows in
//! the counters file, and gauges.

use ringfence_ipc::client_table::ClientRow;
use ringfence_ipc::counters::{Counter, Histo};
use ringfence_ipc::handshake::Role;

use super::mailbox::PortFault;
use super::reactor::Reactor;
use super::venue_port::VenuePort;

/// Chores between two looks at what costs a walk through all strategies.
const CHORES_PER_WALK: u64 = 16;

/// Where the watch stands.
pub(super) struct Watch {
    /// A client that lets the gate wait for longer is detached, ns.
    lagging_patience_ns: u64,
    chores: u64,
    /// Whose row comes next.
    turn: usize,
}

impl Watch {
    pub fn new(lagging_patience_ns: u64) -> Self {
        Self { lagging_patience_ns, chores: 0, turn: 0 }
    }
}

impl Reactor {
    /// Looks at every client's room for answers, shows one client's row, and now and then the gauges.
    pub fn watch_clients(&mut self, now_ns: u64) {
        self.watch.chores += 1;
        let mut turn = 0;
        while let Some(at) = self.active.get(turn).copied() {
            match self.lags(usize::from(at), now_ns) {
                Ok(()) => {}
                Err(fault) => self.retire(usize::from(at), Some(fault)),
            }
            // Whoever was detached left the list, and the next one moved into its place.
            turn += usize::from(self.active.get(turn) == Some(&at));
        }
        self.watch.turn = if self.watch.turn + 1 < self.active.len() { self.watch.turn + 1 } else { 0 };
        if let Some(at) = self.active.get(self.watch.turn).copied() {
            self.show_client(usize::from(at));
        }
        if self.watch.chores.is_multiple_of(CHORES_PER_WALK) {
            self.counters.set(Counter::DedupKeys, self.gate.dedup_keys());
            self.counters.set(Counter::DedupEffectiveAgeNs, self.gate.dedup_effective_age_ns(now_ns));
            let waiting = self.ports.iter().flatten().map(|port| u64::from(port.about.waiting)).sum();
            self.counters.set(Counter::IntentBacklog, waiting);
            if !matches!(self.venue, VenuePort::Paper { .. } | VenuePort::External(_)) {
                // Without a venue thread these have no other writer.
                self.counters.set(Counter::VenueCommands, self.counters.get(Counter::Commands));
                self.counters.set(Counter::VenueReports, self.counters.get(Counter::Reports));
            }
        }
    }

    /// Whether a client leaves room for an answer. It is told when it does not, and detached when that lasts: it resumes
    /// from the journal. In lockstep the tape waits for its strategies instead.
    fn lags(&mut self, at: usize, now_ns: u64) -> Result<(), PortFault> {
        let Some(port) = &mut self.ports[at] else { return Ok(()) };
        if port.draining || self.tape_now_ns.is_some() {
            return Ok(());
        }
        if port.has_room_for_decisions(1)? {
            if port.lagging_since_ns != 0 {
                port.lagging_since_ns = 0;
                port.lagging.set(0);
            }
            return Ok(());
        }
        if port.lagging_since_ns == 0 {
            port.lagging_since_ns = now_ns;
            port.lagging.set(1);
        }
        if now_ns.saturating_sub(port.lagging_since_ns) > self.watch.lagging_patience_ns {
            return Err(PortFault::Lagging);
        }
        Ok(())
    }

    /// Brings one client's row up to date.
    pub fn show_client(&mut self, at: usize) {
        let Some(port) = &mut self.ports[at] else { return };
        let capacity = port.events.capacity();
        // A contradiction in the ring is for the next answer to find.
        let unread = capacity - port.events.free().unwrap_or(0);
        port.about.waiting = port.intents.waiting() as u32;
        let strategy = Some(port.strategy).filter(|_| port.role == Role::Strategy);
        let row = ClientRow {
            client: port.client,
            role: port.role,
            strategy: port.strategy,
            mode: self.gate.mode(strategy),
            pid: port.about.pid,
            attached_ns: port.about.attached_ns,
            name: port.about.name,
            lagging_since_ns: port.lagging_since_ns,
            intents_read: port.intents.position(),
            intents_waiting: port.about.waiting,
            intents_capacity: port.intents.capacity() as u32,
            events_written: port.events.position(),
            events_unread: unread as u32,
            events_capacity: capacity as u32,
        };
        self.counters.show_client(at, &row);
    }

    /// Times the pass that ends here, if it did anything: from when it first asked for the time.
    pub fn time_pass(&mut self) {
        if let Some(began_ns) = self.pass_began_ns() {
            self.counters.record(Histo::PassNs, self.clock.now_ns().saturating_sub(began_ns));
        }
    }
}
