//! Modes and StormGuard, as the journal's control records tell them.

use std::collections::BTreeMap;

use ringfence_ipc::journal::{ControlKind, ControlRecord, Note};
use ringfence_ipc::msg::StrategyId;
use ringfence_ipc::reason::{Mode, Scope, StormCause, StormState};

/// StormGuard's state and how it got there.
#[derive(Clone, Copy, Debug)]
pub struct Storm {
    /// How rough it is.
    pub state: StormState,
    /// Why.
    pub cause: StormCause,
    /// Gate time at which it got there, ns; 0: from the beginning.
    pub since_ns: u64,
    /// What was seen, in the unit of the limit that was reached.
    pub observed: i64,
    /// The limit that was reached; 0: none.
    pub threshold: i64,
    /// Why, in the operator's words.
    pub note: Note,
}

/// What may pass, and why.
#[derive(Clone, Debug)]
pub struct Guard {
    /// The gate's mode.
    pub mode: Mode,
    /// Gate time at which it was set, ns; 0: never.
    pub mode_since_ns: u64,
    /// Why, in the operator's words.
    pub mode_note: Note,
    /// StormGuard.
    pub storm: Storm,
    /// Strategies whose own mode is not `ALLOW_ALL`.
    pub strategies: BTreeMap<StrategyId, Mode>,
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            mode: Mode::AllowAll,
            mode_since_ns: 0,
            mode_note: Note::EMPTY,
            storm: Storm {
                state: StormState::Normal,
                cause: StormCause::None,
                since_ns: 0,
                observed: 0,
                threshold: 0,
                note: Note::EMPTY,
            },
            strategies: BTreeMap::new(),
        }
    }
}

impl Guard {
    /// Takes a control record; says whether it changed what may pass.
    pub fn apply(&mut self, record: &ControlRecord) -> bool {
        match record.control {
            ControlKind::SetMode(mode) => self.set_mode(record, mode),
            ControlKind::Storm { state, cause, observed, threshold } => {
                let (since_ns, note) = (record.now_ns, record.note);
                self.storm = Storm { state, cause, since_ns, observed, threshold, note };
            }
            ControlKind::Rearm { .. } => {
                if self.mode_of(record) == Mode::Killed {
                    self.set_mode(record, Mode::AllowAll);
                }
                if record.scope == Scope::Global && self.storm.state == StormState::Halt {
                    self.storm = Storm {
                        state: StormState::Normal,
                        cause: StormCause::Operator,
                        since_ns: record.now_ns,
                        observed: 0,
                        threshold: 0,
                        note: record.note,
                    };
                }
            }
            ControlKind::CancelOrders { .. } | ControlKind::PnlPeak { .. } => return false,
        }
        true
    }

    /// An alarm: whoever may trade, a strategy or (`None`) the whole gate, may only reduce from here on. Says whether that
    /// changed anything.
    pub fn restrain(&mut self, strategy: Option<StrategyId>, now_ns: u64, why: &str) -> bool {
        match strategy {
            Some(id) if !self.strategies.contains_key(&id) => {
                self.strategies.insert(id, Mode::CancelOnly);
                true
            }
            None if self.mode == Mode::AllowAll => {
                (self.mode, self.mode_since_ns, self.mode_note) =
                    (Mode::CancelOnly, now_ns, Note::lossy(why));
                true
            }
            _ => false,
        }
    }

    fn mode_of(&self, record: &ControlRecord) -> Mode {
        match record.scope {
            Scope::Strategy => self.strategies.get(&record.scope_id).copied().unwrap_or(Mode::AllowAll),
            _ => self.mode,
        }
    }

    fn set_mode(&mut self, record: &ControlRecord, mode: Mode) {
        if record.scope == Scope::Strategy {
            self.strategies.remove(&record.scope_id);
            if mode != Mode::AllowAll {
                self.strategies.insert(record.scope_id, mode);
            }
        } else {
            (self.mode, self.mode_since_ns, self.mode_note) = (mode, record.now_ns, record.note);
        }
    }

    /// What passes in the whole gate, modes and StormGuard together.
    #[must_use]
    pub fn passing(&self) -> &'static str {
        match (self.mode, self.storm.state) {
            (Mode::RejectAll | Mode::Killed, _) => self.mode.name(),
            (_, StormState::Halt) => "HALTED",
            (Mode::AllowAll, StormState::Storm) => "STORM",
            _ => self.mode.name(),
        }
    }
}
