//! What may pass at all: modes, kill switch and StormGuard folded into one barrier per strategy; and the control records
//! that change them.

use ringfence_ipc::handshake::ControlRefusal;
use ringfence_ipc::journal::{ControlKind, ControlRecord};
use ringfence_ipc::msg::{Command, CommandKind, IntentKind, StrategyId, SymbolId};
use ringfence_ipc::reason::{Mode, Reason, Scope, StormCause, StormState};

use super::apply::contradiction;
use super::{ApplyError, Gate};

/// The strictest of everything that has a say. Each lets pass a part of what the one before it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Barrier {
    /// Everything.
    Open,
    /// Cancels and force flats: StormGuard is in STORM.
    Storm,
    /// Cancels and force flats: a mode says so.
    CancelOnly,
    /// Cancels, and an operator's force flat: StormGuard is in HALT.
    Halted,
    /// Cancels.
    Killed,
    /// An operator's mass cancel.
    RejectAll,
}

impl Barrier {
    const fn of_mode(mode: Mode) -> Self {
        match mode {
            Mode::AllowAll => Self::Open,
            Mode::CancelOnly => Self::CancelOnly,
            Mode::Killed => Self::Killed,
            Mode::RejectAll => Self::RejectAll,
        }
    }

    const fn of_storm(state: StormState) -> Self {
        match state {
            StormState::Normal | StormState::Warm => Self::Open,
            StormState::Storm => Self::Storm,
            StormState::Halt => Self::Halted,
        }
    }

    #[cold]
    pub fn passes(self, kind: IntentKind, operator: bool) -> bool {
        match kind {
            IntentKind::Cancel => self < Self::RejectAll,
            IntentKind::MassCancel => self < Self::RejectAll || operator,
            IntentKind::ForceFlat => self < Self::Halted || (self == Self::Halted && operator),
            IntentKind::New | IntentKind::Amend => self == Self::Open,
        }
    }

    pub const fn reason(self) -> Reason {
        match self {
            Self::Open => Reason::Ok,
            Self::Storm => Reason::StormCancelOnly,
            Self::CancelOnly => Reason::ModeCancelOnly,
            Self::Halted => Reason::Halted,
            Self::Killed => Reason::Killed,
            Self::RejectAll => Reason::ModeRejectAll,
        }
    }
}

impl Gate {
    /// Whether a command that was approved earlier may still leave: after a kill nothing does but cancels.
    #[must_use]
    pub fn may_leave(&self, command: &Command) -> bool {
        let barrier =
            || self.registered(self.orders.get(command.order_id)?.strategy).map(|tables| tables.barrier);
        matches!(command.kind, CommandKind::Cancel | CommandKind::Query)
            || barrier().is_some_and(|barrier| barrier < Barrier::Killed)
    }

    /// After anything changed that has a say.
    pub(super) fn refresh_barriers(&mut self) {
        let all = Barrier::of_mode(self.mode).max(Barrier::of_storm(self.storm.view().state));
        for tables in self.strategies.iter_mut().flatten() {
            tables.barrier = all.max(Barrier::of_mode(tables.mode));
        }
    }

    /// Whether an operator's act may be journalled and applied now.
    ///
    /// # Errors
    /// [`ControlRefusal`], which says what to do; nothing has changed.
    pub fn admit_control(&self, record: &ControlRecord) -> Result<(), ControlRefusal> {
        let whole = record.scope == Scope::Global && record.scope_id == 0;
        let strategy = record.scope == Scope::Strategy && self.registered(record.scope_id).is_some();
        let account = record.scope == Scope::Account && record.scope_id < self.cap.max_accounts;
        let mode = if strategy { self.mode(Some(record.scope_id)) } else { self.mode };
        let known = match record.control {
            ControlKind::CancelOrders { symbol, .. } => {
                let symbol_known = symbol.is_none_or(|symbol| self.symbol(symbol).is_some());
                symbol_known && (whole || strategy || account)
            }
            ControlKind::SetMode(_) | ControlKind::Rearm { .. } => whole || strategy,
            ControlKind::Storm { .. } | ControlKind::PnlPeak { .. } => whole,
        };
        if !known {
            return Err(ControlRefusal::UnknownScope);
        }
        match record.control {
            ControlKind::SetMode(wanted) if mode == Mode::Killed && wanted != Mode::Killed => {
                Err(ControlRefusal::Killed)
            }
            ControlKind::Rearm { .. } if record.note.is_blank() => Err(ControlRefusal::NoteRequired),
            ControlKind::Rearm { .. } => {
                let halted = whole && self.storm().state == StormState::Halt;
                if halted || mode == Mode::Killed { Ok(()) } else { Err(ControlRefusal::NothingToRearm) }
            }
            _ => Ok(()),
        }
    }

    pub(super) fn apply_control(&mut self, position: u64, record: &ControlRecord) -> Result<(), ApplyError> {
        let strategy = match record.scope {
            Scope::Strategy if self.registered(record.scope_id).is_none() => {
                return contradiction(position, "a control record for a strategy that does not exist");
            }
            Scope::Strategy => Some(record.scope_id),
            Scope::Global | Scope::Account | Scope::Symbol => None,
        };
        match (record.control, record.scope) {
            (ControlKind::SetMode(mode), Scope::Global | Scope::Strategy) => self.set_mode(strategy, mode),
            (ControlKind::Rearm { pnl_e8 }, Scope::Global | Scope::Strategy) => {
                if self.mode(strategy) == Mode::Killed {
                    self.set_mode(strategy, Mode::AllowAll);
                }
                if strategy.is_none() {
                    self.rearm_storm(pnl_e8, record.now_ns);
                }
            }
            (ControlKind::Storm { state, cause, .. }, Scope::Global) => {
                self.storm.enter(state, cause, record.now_ns);
            }
            (ControlKind::PnlPeak { pnl_e8 }, Scope::Global) => self.storm.set_pnl_peak(pnl_e8),
            (ControlKind::CancelOrders { symbol, .. }, Scope::Global | Scope::Account | Scope::Strategy) => {
                for id in 0..self.cap.max_strategies {
                    if self.is_in(id, record.scope, record.scope_id) {
                        self.queue_cancels(id, |order| symbol.is_none_or(|symbol| order.symbol == symbol));
                    }
                }
            }
            _ => return contradiction(position, "this control does not exist for this scope"),
        }
        self.refresh_barriers();
        Ok(())
    }

    fn set_mode(&mut self, strategy: Option<StrategyId>, mode: Mode) {
        let tables = strategy.and_then(|id| self.strategies.get_mut(usize::from(id)));
        match tables {
            Some(tables) => tables.iter_mut().for_each(|tables| tables.mode = mode),
            None => self.mode = mode,
        }
    }

    /// Whoever re-arms accepts what was lost: drawdowns count from here again.
    fn rearm_storm(&mut self, pnl_e8: i64, now_ns: u64) {
        self.storm.set_pnl_peak(pnl_e8);
        if self.storm.view().state == StormState::Halt {
            self.storm.enter(StormState::Normal, StormCause::Operator, now_ns);
        }
    }

    fn is_in(&self, strategy: StrategyId, scope: Scope, scope_id: u16) -> bool {
        let Some(tables) = self.registered(strategy) else { return false };
        match scope {
            Scope::Global => true,
            Scope::Account => tables.account == scope_id,
            Scope::Strategy => strategy == scope_id,
            Scope::Symbol => false,
        }
    }

    /// Open orders of a scope (global, account or strategy), in one symbol if one is given.
    #[must_use]
    pub fn open_orders_in(&self, scope: Scope, scope_id: u16, symbol: Option<SymbolId>) -> usize {
        let mut open = 0;
        for id in 0..self.cap.max_strategies {
            let Some(tables) = self.registered(id).filter(|_| self.is_in(id, scope, scope_id)) else {
                continue;
            };
            open += match symbol {
                None => tables.open.count as usize,
                Some(symbol) => {
                    self.orders.walk(&tables.open).filter(|(_, order)| order.symbol == symbol).count()
                }
            };
        }
        open
    }
}
