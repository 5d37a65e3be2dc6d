//! What operators, signals and files do to the gate: modes, kill, halt, re-arm, mass cancels.

use std::sync::atomic::Ordering;

use ringfence_ipc::counters::Counter;
use ringfence_ipc::handshake::ControlDone;
use ringfence_ipc::journal::{ControlKind, ControlRecord, Note, Record};
use ringfence_ipc::reason::{CancelCause, Mode};

use super::mailbox::FromGate;
use super::reactor::Reactor;
use crate::journal::Class;

/// What the kill switch holds when it was pulled by a signal.
pub const KILL_BY_SIGNAL: usize = 1;
/// What the kill switch holds when it was pulled by the kill file.
pub(super) const KILL_BY_FILE: usize = 2;
/// Records that one act writes at most: itself, and the cancel of every order.
pub(super) const RECORDS_PER_ACT: u64 = 2;

impl Reactor {
    /// An operator's act; room in journal and outbox was looked at before.
    pub fn on_control(&mut self, asked: ControlRecord, cancel_orders: Option<bool>) {
        let mut record = ControlRecord { now_ns: self.now_ns(), ..asked };
        if let ControlKind::Rearm { pnl_e8 } = &mut record.control {
            *pnl_e8 = self.gate.pnl_e8();
        }
        let outcome = self.gate.admit_control(&record).map(|()| self.carry_out(&record, cancel_orders));
        let until = outcome.as_ref().map_or(0, |done| done.journal_seq + 1);
        self.mail_out(FromGate::Controlled { client: record.client, outcome }, until);
    }

    fn carry_out(&mut self, record: &ControlRecord, cancel_orders: Option<bool>) -> ControlDone {
        let kill = record.control == ControlKind::SetMode(Mode::Killed);
        let (symbol, sweeps) = match record.control {
            ControlKind::CancelOrders { symbol, .. } => (symbol, true),
            _ => (None, cancel_orders.unwrap_or(kill && self.kill_cancels_orders)),
        };
        let open = self.gate.open_orders_in(record.scope, record.scope_id, symbol);
        let journal_seq = self.write_control(record);
        if sweeps && !matches!(record.control, ControlKind::CancelOrders { .. }) {
            let control = ControlKind::CancelOrders { symbol, cause: CancelCause::Kill };
            self.write_control(&ControlRecord { control, note: Note::EMPTY, ..*record });
        }
        let cancelling = if sweeps { u32::try_from(open).unwrap_or(u32::MAX) } else { 0 };
        ControlDone { journal_seq, cancelling }
    }

    /// Journals a control record that is admitted, and brings it into force.
    pub fn write_control(&mut self, control: &ControlRecord) -> u64 {
        let record = Record::Control(*control);
        let seq = self.append(&record.encode());
        // It was admitted, or is the gate's own about what it knows: applying it cannot fail.
        let _ = self.gate.apply(seq, &record);
        match control.control {
            ControlKind::SetMode(Mode::Killed) => self.counters.inc(Counter::Kills),
            ControlKind::Storm { .. } => self.counters.inc(Counter::StormTransitions),
            _ => {}
        }
        self.show_guard();
        seq
    }

    /// Mode and StormGuard, into the counters file.
    pub fn show_guard(&self) {
        let storm = self.gate.storm();
        self.counters.set(Counter::Mode, self.gate.mode(None) as u64);
        self.counters.set(Counter::StormState, storm.state as u64);
        self.counters.set(Counter::StormCause, storm.cause as u64);
        self.counters.set(Counter::StormSinceNs, storm.since_ns);
    }

    /// The kill switch was pulled by a signal or a file: whatever this pass would decide, it decides killed. Stays
    /// pulled until the journal has room for it; orders need more room than that.
    #[cold]
    pub fn pull_kill(&mut self) {
        if !self.journal.room_for(Class::Reserved, RECORDS_PER_ACT) {
            return;
        }
        let by = self.kill.swap(0, Ordering::Relaxed);
        if by == 0 || self.gate.mode(None) == Mode::Killed {
            return;
        }
        let text = if by == KILL_BY_FILE { "kill file" } else { "signal" };
        let control = ControlKind::SetMode(Mode::Killed);
        let record = ControlRecord { note: Note::lossy(text), ..ControlRecord::own(control, self.now_ns()) };
        self.carry_out(&record, None);
    }
}
