//! Whoever watches orders goes away: a strategy's client, or the operator's process. What happens to the orders then is
//! configured; here runs the time that they have to come back.

use ringfence_ipc::counters::Counter;
use ringfence_ipc::handshake::Role;
use ringfence_ipc::journal::{ControlKind, ControlRecord};
use ringfence_ipc::msg::StrategyId;
use ringfence_ipc::reason::{CancelCause, Scope, StormCause, StormState};

use super::port::ClientPort;
use super::reactor::{NO_PORT, Reactor};
use super::switches::RECORDS_PER_ACT;
use crate::config::{CoreConfig, OnDisconnect, OnOperatorGone};
use crate::gate::Gate;
use crate::journal::Class;

/// After its own restart the gate gives everybody at least this long to attach again, ns.
const REATTACH_NS: u64 = 5_000_000_000;
const NS_PER_MS: u64 = 1_000_000;
const NEVER: u64 = u64::MAX;

/// A time to come back in.
#[derive(Clone, Copy)]
struct Grace {
    /// How long it is, ns; [`NEVER`]: nothing happens however long they stay away.
    ns: u64,
    /// When it is over, gate time ns; [`NEVER`]: it does not run.
    due_ns: u64,
}

impl Grace {
    const NONE: Self = Self { ns: NEVER, due_ns: NEVER };

    fn of_ms(ms: u64) -> Self {
        Self { ns: ms.saturating_mul(NS_PER_MS).min(NEVER - 1), due_ns: NEVER }
    }

    fn begin(&mut self, now_ns: u64) {
        self.due_ns = if self.ns == NEVER { NEVER } else { now_ns.saturating_add(self.ns) };
    }

    fn begin_with_gate(&mut self, now_ns: u64) {
        self.due_ns = if self.ns == NEVER { NEVER } else { now_ns.saturating_add(self.ns.max(REATTACH_NS)) };
    }
}

/// Who is away, and until when that has no consequences.
pub(super) struct Absence {
    /// By strategy.
    strategies: Box<[Grace]>,
    operator: Grace,
    on_operator_gone: OnOperatorGone,
    /// The earliest of them.
    due_ns: u64,
}

impl Absence {
    /// Nobody is missed: in lockstep the tape is the clock, and no process's death is on it.
    pub fn ignored() -> Self {
        Self {
            strategies: Box::new([]),
            operator: Grace::NONE,
            on_operator_gone: OnOperatorGone::Keep,
            due_ns: NEVER,
        }
    }

    /// At a gate's birth nobody is attached: whoever left orders behind has time to come back.
    pub fn begin(config: &CoreConfig, gate: &Gate, now_ns: u64) -> Self {
        let mut strategies =
            vec![Grace::NONE; usize::from(gate.capacity().max_strategies)].into_boxed_slice();
        for strategy in config.strategies.iter().filter(|s| s.on_disconnect == OnDisconnect::Cancel) {
            let id = gate.strategy_by_name(&strategy.name).map(|(id, _)| usize::from(id));
            if let Some(grace) = id.and_then(|id| strategies.get_mut(id)) {
                *grace = Grace::of_ms(strategy.resume_grace_ms);
                grace.begin_with_gate(now_ns);
            }
        }
        let on_operator_gone = config.operator.on_disconnect;
        let mut operator = Grace::NONE;
        if on_operator_gone != OnOperatorGone::Keep {
            operator = Grace::of_ms(config.operator.resume_grace_ms);
            // A gate without orders waits for its first operator as long as that takes.
            if gate.open_order_count() > 0 {
                operator.begin_with_gate(now_ns);
            }
        }
        let mut absence = Self { strategies, operator, on_operator_gone, due_ns: NEVER };
        absence.find_due();
        absence
    }

    fn find_due(&mut self) {
        let earliest = self.strategies.iter().map(|grace| grace.due_ns).min().unwrap_or(NEVER);
        self.due_ns = earliest.min(self.operator.due_ns);
    }

    fn of(&mut self, port: &ClientPort) -> Option<&mut Grace> {
        self.strategies.get_mut(usize::from(port.strategy)).filter(|_| port.role == Role::Strategy)
    }

    /// Somebody is back.
    pub fn came(&mut self, port: &ClientPort) {
        if port.dead_man {
            self.operator.due_ns = NEVER;
        } else if let Some(grace) = self.of(port) {
            grace.due_ns = NEVER;
        }
        self.find_due();
    }

    /// Somebody is gone: a strategy's client, or the last operator that is watched.
    pub fn left(&mut self, port: &ClientPort, now_ns: u64) {
        if port.dead_man {
            self.operator.begin(now_ns);
        } else if let Some(grace) = self.of(port) {
            grace.begin(now_ns);
        }
        self.find_due();
    }
}

impl Reactor {
    /// Does what is configured for those who stayed away too long.
    pub fn see_absence(&mut self, now_ns: u64) {
        if now_ns < self.absence.due_ns {
            return;
        }
        for id in 0..self.absence.strategies.len() {
            if self.absence.strategies[id].due_ns <= now_ns {
                // Without room in the journal it stays due.
                if !self.abandon(id as StrategyId, CancelCause::ClientGone, now_ns) {
                    return;
                }
                self.absence.strategies[id].due_ns = NEVER;
            }
        }
        if self.absence.operator.due_ns <= now_ns && self.operator_gone(now_ns) {
            self.absence.operator.due_ns = NEVER;
        }
        self.absence.find_due();
    }

    /// Cancels what a strategy has open. `false`: the journal has no room.
    fn abandon(&mut self, strategy: StrategyId, cause: CancelCause, now_ns: u64) -> bool {
        if self.gate.open_orders_in(Scope::Strategy, strategy, None) == 0 {
            return true;
        }
        if !self.journal.room(Class::Reserved) {
            return false;
        }
        let own = ControlRecord::own(ControlKind::CancelOrders { symbol: None, cause }, now_ns);
        self.write_control(&ControlRecord { scope: Scope::Strategy, scope_id: strategy, ..own });
        self.counters.inc(Counter::AbandonedCancels);
        true
    }

    fn operator_gone(&mut self, now_ns: u64) -> bool {
        let policy = self.absence.on_operator_gone;
        if policy == OnOperatorGone::Cancel {
            for id in 0..self.gate.capacity().max_strategies {
                // Whoever has a client of its own is watched by that.
                let watched = self.by_strategy.get(usize::from(id)).is_some_and(|port| *port != NO_PORT);
                if !watched && !self.abandon(id, CancelCause::OperatorGone, now_ns) {
                    return false;
                }
            }
            return true;
        }
        if !self.journal.room_for(Class::Reserved, RECORDS_PER_ACT) {
            return false;
        }
        if policy == OnOperatorGone::Halt {
            let (state, cause) = (StormState::Halt, StormCause::OperatorGone);
            let halt = ControlKind::Storm { state, cause, observed: 0, threshold: 0 };
            self.write_control(&ControlRecord::own(halt, now_ns));
        }
        let cancel = ControlKind::CancelOrders { symbol: None, cause: CancelCause::OperatorGone };
        self.write_control(&ControlRecord::own(cancel, now_ns));
        self.counters.inc(Counter::AbandonedCancels);
        true
    }
}
