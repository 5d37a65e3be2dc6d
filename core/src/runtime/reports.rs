//! What the venue says: journalled, told to the strategy, booked. And what the market says.

use ringfence_ipc::counters::{Counter, Histo};
use ringfence_ipc::journal::{Record, ReportSlots, report_slots};
use ringfence_ipc::msg::{Report, ReportKind, StrategyId, Words};

use super::mailbox::{Alarm, FromGate, PortFault};
use super::reactor::{NO_PORT, REPORTS_PER_PASS, Reactor};
use crate::gate::Unbooked;
use crate::journal::Class;

/// Market messages applied in one pass.
const QUOTES_PER_PASS: usize = 64;

impl Reactor {
    /// Books what the venue reported, and hands over cancels that a mass cancel still owes.
    pub fn book_reports(&mut self) -> bool {
        let reported = self.venue.has_reports();
        if reported {
            let now_ns = self.pass_now_ns();
            let mut reports = std::mem::take(&mut self.reports);
            let limit = self.reports_that_fit();
            self.venue.take_reports(limit, &mut reports);
            self.book_all(&reports, now_ns);
            self.venue.booked();
            self.reports = reports;
        }
        if self.gate.mass_cancels_owed() > 0 {
            let now_ns = self.pass_now_ns();
            while self.may_send() {
                let Some(command) = self.gate.next_mass_cancel(now_ns) else { break };
                self.send(&command, self.journal.position(), now_ns);
            }
        }
        reported
    }

    /// Reports that can be taken now, at most a pass's worth.
    pub fn reports_that_fit(&mut self) -> usize {
        let journal = if self.journal.room_for(Class::Reserved, REPORTS_PER_PASS as u64) {
            REPORTS_PER_PASS
        } else {
            usize::from(self.journal.room(Class::Reserved))
        };
        journal.min(self.held.free())
    }

    /// Books reports that fit.
    pub fn book_all(&mut self, reports: &[Report], now_ns: u64) {
        if self.held.holds() {
            reports.iter().for_each(|report| self.book::<true>(report, now_ns));
        } else {
            reports.iter().for_each(|report| self.book::<false>(report, now_ns));
        }
    }

    /// One report: journal, books, the strategy's ring, or with `HELD` the queue that waits for the disk.
    fn book<const HELD: bool>(&mut self, report: &Report, now_ns: u64) {
        let booked = match self.gate.book(report, now_ns) {
            Ok(booked) => booked,
            Err(why) => return self.unbooked(report, why, now_ns),
        };
        let journal_seq = match report_slots(&booked.report) {
            ReportSlots::Short(slots) => self.journal.append_slots(&slots),
            ReportSlots::Long(slots) => self.journal.append_slots(&slots),
        };
        self.records += 1;
        let told = Report { journal_seq, ..booked.report };
        if HELD {
            self.hold_report(&told);
        } else {
            self.tell(told.strategy, &told.encode());
        }
        if matches!(booked.report.kind, ReportKind::Accepted | ReportKind::Rejected)
            && let Some(order) = self.gate.order(booked.report.order_id)
        {
            let waited_ns = now_ns.saturating_sub(order.created_ns);
            self.counters.record(Histo::OrderRoundtripNs, waited_ns);
            // An order that came back with a new gate has waited for the gate, not for the venue.
            if !booked.report.reentered {
                self.vigil.on_report(&booked.report, waited_ns);
            }
        }
        self.gate.apply_report(&booked);
        self.tally.reports += 1;
        if booked.report.kind == ReportKind::Fill {
            self.counters.inc(Counter::Fills);
        }
        if booked.is_overfill() {
            // A copy: what only a rare path reads need not be in memory on the way of every report.
            self.overfilled(&{ told });
        }
    }

    /// A report that changes no order: a repeat, the mark of a snapshot, or an alarm.
    #[cold]
    #[inline(never)]
    fn unbooked(&mut self, report: &Report, why: Unbooked, now_ns: u64) {
        if let Some(number) = report.snapshot_number() {
            let position = self.journal.position();
            let _ = self.outbox.push(FromGate::VenueMark { number, position });
            return;
        }
        self.counters.inc(Counter::UnbookedReports);
        if why == Unbooked::UnknownOrder
            && let Some(stray) = self.gate.stray(report, now_ns)
        {
            let record = Record::Stray(stray);
            let seq = self.append(&record.encode());
            // It names a symbol of this gate's own table: applying it cannot fail.
            let _ = self.gate.apply(seq, &record);
            self.counters.inc(Counter::StrayFills);
            self.show_guard();
            self.alarm(Alarm::Stray(stray));
        } else if why == Unbooked::Impossible && report.kind == ReportKind::Fill {
            self.alarm(Alarm::Unbookable(*report));
        }
    }

    #[cold]
    #[inline(never)]
    fn overfilled(&mut self, told: &Report) {
        self.counters.inc(Counter::Overfills);
        self.show_guard();
        let qty = self.gate.order(told.order_id).map_or(0, |order| order.qty);
        self.alarm(Alarm::Overfill { report: *told, qty });
    }

    /// Has the control thread say it. With a full outbox only the counters and the journal do.
    fn alarm(&mut self, alarm: Alarm) {
        let _ = self.outbox.push(FromGate::Alarm(alarm));
    }

    /// Puts a report into its strategy's ring. A ring that cannot take it belongs to a client that stopped reading: it
    /// is detached, and resumes from the journal.
    #[inline(always)]
    fn tell(&mut self, strategy: StrategyId, report: &[Words; 2]) {
        let at = self.by_strategy.get(usize::from(strategy)).copied().unwrap_or(NO_PORT);
        let Some(Some(port)) = self.ports.get_mut(usize::from(at)) else { return };
        if port.draining {
            return;
        }
        match port.push_report(report) {
            Ok(true) => {}
            Ok(false) => self.retire(usize::from(at), Some(PortFault::Lagging)),
            Err(fault) => self.retire(usize::from(at), Some(PortFault::Ring(fault))),
        }
    }

    /// Applies a feed's quotes and trades.
    pub fn serve_quotes(&mut self, at: usize) -> Result<usize, PortFault> {
        let mut served = 0;
        let mut now_ns = 0;
        while served < QUOTES_PER_PASS {
            let Some(port) = &mut self.ports[at] else { break };
            let Some(head) = port.intents.peek().map_err(PortFault::Ring)? else { break };
            port.intents.advance(head.slots);
            if served == 0 {
                now_ns = self.pass_now_ns();
            }
            self.on_market(&head.words, now_ns);
            served += 1;
        }
        Ok(served)
    }

    /// One quote or trade: market cell, reference, and now and then a journalled mark.
    pub fn on_market(&mut self, words: &Words, now_ns: u64) {
        let Some((symbol, view)) = self.market.apply(words, now_ns) else {
            self.counters.inc(Counter::MalformedMessages);
            return;
        };
        self.vigil.on_market(symbol, &view, now_ns);
        let due = self.gate.set_reference(
            symbol,
            view.bid_price,
            view.ask_price,
            view.last_price,
            now_ns,
            view.event,
        );
        if let Some(mark) = due.filter(|_| self.journal.room(Class::Order)) {
            let record = Record::Mark(mark);
            let seq = self.append(&record.encode());
            // A mark names a symbol of this gate's own table: applying it cannot fail.
            let _ = self.gate.apply(seq, &record);
        }
        self.counters.inc(Counter::MarketMessages);
    }
}
