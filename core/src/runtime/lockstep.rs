//! Lockstep: the gate thread is the sequencer, and the tape is the clock.
//!
//! Per market event k: venue, reports, quote, `Step{k}` to every strategy in id order, then every strategy's intents up
//! to its `Done{k}`, decided in (strategy id, position) order at the event's time. Intents are collected first and
//! decided once all have said `Done`, so that no answer can overtake a step. Same recording, same seed, same
//! strategies: same journal, whatever the machine does in between.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ringfence_ipc::counters::{Counter, Histo};
use ringfence_ipc::handshake::Role;
use ringfence_ipc::msg::{NodeUpdate, Step, StepDone, TapeEnd, Words, kind, kind_of};

use super::mailbox::PortFault;
use super::reactor::Reactor;
use super::venue_port::VenuePort;
use super::wait::Waiter;
use crate::config::{Lockstep, Wait};
use crate::journal::{Class, Writer};

/// A strategy that does not finish its step within this is detached.
const STEP_PATIENCE: Duration = Duration::from_secs(5);
/// Intents one strategy may write in one step.
const INTENTS_PER_STEP: usize = 256;
/// Node values one strategy may feed in one step.
const UPDATES_PER_STEP: usize = 4096;

impl Reactor {
    /// Runs the whole tape in turns, then serves what is left like any gate until told to stop.
    pub(super) fn run_lockstep(&mut self, settings: &Lockstep, waiter: &mut Waiter) {
        while !self.stopping && self.strategies().len() < settings.strategies {
            let busy = self.idle_pass();
            waiter.after_pass(busy);
        }
        while !self.stopping {
            let stepped = self.next_event();
            let busy = stepped | self.idle_pass();
            waiter.after_pass(busy);
        }
    }

    /// Mailbox, operators and chores: what does not wait for the tape.
    fn idle_pass(&mut self) -> bool {
        if self.kill.load(Ordering::Relaxed) != 0 {
            self.pull_kill();
        }
        let mut busy = self.mail();
        busy |= self.held.is_waiting() && self.release();
        for at in 0..self.ports.len() {
            let operator = self.ports[at].as_ref().is_some_and(|port| port.role == Role::Operator);
            let draining = self.ports[at].as_ref().is_some_and(|port| port.draining);
            if draining {
                self.retire(at, None);
            } else if operator {
                busy |= self.served(at);
            }
        }
        self.chores();
        busy
    }

    fn served(&mut self, at: usize) -> bool {
        let outcome = if self.held.is_on() { self.serve_held(at) } else { self.serve_intents(at) };
        match outcome {
            Ok(served) => served > 0,
            Err(fault) => {
                self.retire(at, Some(fault));
                true
            }
        }
    }

    /// Places of the attached strategies, in strategy id order.
    fn strategies(&self) -> Vec<usize> {
        let mut found: Vec<(u16, usize)> = self
            .ports
            .iter()
            .enumerate()
            .filter_map(|(at, port)| port.as_ref().map(|port| (port, at)))
            .filter(|(port, _)| port.role == Role::Strategy && !port.draining)
            .map(|(port, at)| (port.strategy, at))
            .collect();
        found.sort_unstable();
        found.into_iter().map(|(_, at)| at).collect()
    }

    /// Takes one message off the tape; on the last one of an event, plays the event.
    fn next_event(&mut self) -> bool {
        let Some(at) = self.ports.iter().position(|p| p.as_ref().is_some_and(|port| port.tape.is_some()))
        else {
            return false;
        };
        let peeked = match self.ports[at].as_mut().and_then(|port| port.tape.as_mut()) {
            Some(tape) => tape.peek().inspect(|head| {
                if let Some(head) = head {
                    tape.advance(head.slots);
                }
            }),
            None => return false,
        };
        match peeked {
            Ok(Some(head)) => {
                self.on_tape(&head.words);
                true
            }
            Ok(None) => false,
            Err(fault) => {
                self.retire(at, Some(fault.into()));
                true
            }
        }
    }

    fn on_tape(&mut self, words: &Words) {
        if kind_of(words) == kind::TAPE_END {
            if TapeEnd::decode(words).is_ok() {
                self.counters.set(Counter::TapeFinished, 1);
            }
            return;
        }
        // Every market message carries its event number and receive time in words 1 and 2 and "final" in bit 8.
        let (event, ts_ns, last) = (words[1], words[2], words[0] >> 8 & 1 == 1);
        let now_ns = self.now_ns().max(ts_ns);
        self.tape_now_ns = Some(now_ns);
        if let VenuePort::Inline { venue, reports } = &mut self.venue {
            venue.advance(now_ns, reports);
            venue.on_tape(words, now_ns, reports);
            self.counters.set(Counter::MarketEvents, self.base_event + venue.events_seen());
            self.counters.set(Counter::VenueMalformed, venue.malformed());
        }
        while self.book_reports_now() {}
        if matches!(kind_of(words), kind::QUOTE | kind::TRADE) {
            self.on_market(words, now_ns);
        }
        if last {
            self.step(event, now_ns, (words[0] >> 48) as u16);
        }
    }

    fn book_reports_now(&mut self) -> bool {
        let mut reports = std::mem::take(&mut self.reports);
        self.wait_for_journal();
        let limit = self.reports_that_fit();
        self.venue.take_reports(limit, &mut reports);
        let now_ns = self.now_ns();
        self.book_all(&reports, now_ns);
        self.release_all(Duration::MAX);
        let busy = !reports.is_empty();
        self.reports = reports;
        busy
    }

    /// In lockstep the tape waits for the archiver, so that no answer depends on the disk's speed.
    fn wait_for_journal(&mut self) {
        let stuck = |journal: &Writer| journal.is_failed() || journal.is_disk_low();
        while !self.journal.room(Class::Order) && !stuck(&self.journal) {
            std::thread::sleep(Duration::from_micros(50));
        }
    }

    /// One turn: tell every strategy, collect what each asks, then decide in order.
    fn step(&mut self, event: u64, now_ns: u64, symbol: u16) {
        self.keep_vigil(now_ns);
        let strategies = self.strategies();
        for at in &strategies {
            let told = self.ports[*at]
                .as_mut()
                .map(|port| port.events.push1(&Step { event, now_ns, symbol }.encode()));
            match told {
                Some(Ok(Some(_))) | None => {}
                Some(Ok(None)) => self.retire(*at, Some(PortFault::Lagging)),
                Some(Err(fault)) => self.retire(*at, Some(fault.into())),
            }
        }
        let deadline = Instant::now() + STEP_PATIENCE;
        let mut updates = Vec::new();
        for at in strategies {
            match self.collect(at, event, deadline, &mut updates) {
                Ok(intents) => {
                    for (position, words) in intents {
                        self.wait_for_journal();
                        let started_ns = self.clock.now_ns();
                        let decided = if self.held.is_on() {
                            self.decide_held(at, &words, None, position, now_ns)
                        } else {
                            self.decide_alone(at, &words, None, position, now_ns)
                        };
                        if let Err(fault) = decided {
                            self.retire(at, Some(fault));
                        }
                        self.counters
                            .record(Histo::DecisionNs, self.clock.now_ns().saturating_sub(started_ns));
                    }
                }
                Err(fault) => self.retire(at, Some(fault)),
            }
        }
        self.release_all(Duration::MAX);
        // Nobody sees a value of this step before all have finished it.
        for (client, update) in &updates {
            let _ = self.nodes.cache.apply(*client, update);
        }
        while self.book_reports_now() {}
    }

    /// Reads one strategy's intents up to its `Done{event}`, and the node values it feeds.
    fn collect(
        &mut self,
        at: usize,
        event: u64,
        deadline: Instant,
        updates: &mut Vec<(u64, NodeUpdate)>,
    ) -> Result<Vec<(u64, Words)>, PortFault> {
        let mut intents = Vec::new();
        let updates_before = updates.len();
        let mut waiter = Waiter::new(Wait::Backoff);
        loop {
            let Some(port) = &mut self.ports[at] else { return Ok(intents) };
            let Some(head) = port.intents.peek().map_err(PortFault::Ring)? else {
                self.mail();
                let gone = self.stopping || self.ports[at].as_ref().is_none_or(|port| port.draining);
                if gone {
                    return Ok(intents);
                }
                if Instant::now() > deadline {
                    return Err(PortFault::Silent);
                }
                waiter.after_pass(false);
                continue;
            };
            waiter.after_pass(true);
            let (client, position) = (port.client, port.intents.position());
            let is_update = kind_of(&head.words) == kind::NODE_UPDATE;
            let update = if is_update { self.read_update(at, &head)? } else { None };
            let Some(port) = &mut self.ports[at] else { return Ok(intents) };
            port.intents.advance(head.slots);
            port.intents.publish();
            if is_update {
                match update {
                    Some(_) if updates.len() - updates_before >= UPDATES_PER_STEP => {
                        return Err(PortFault::Lagging);
                    }
                    Some(update) => updates.push((client, update)),
                    None => self.counters.inc(Counter::MalformedMessages),
                }
                continue;
            }
            match StepDone::decode(&head.words) {
                Ok(done) if done.event >= event => return Ok(intents),
                Ok(_) => {}
                Err(_) if intents.len() < INTENTS_PER_STEP => intents.push((position, head.words)),
                Err(_) => return Err(PortFault::Lagging),
            }
        }
    }
}
