//! Modes, StormGuard and mass cancels as HTTP users see them.

use ringfence_ipc::journal::{ControlKind, ControlRecord};
use ringfence_ipc::reason::{Mode, Scope};
use serde::Serialize;
use utoipa::ToSchema;

use super::events::Event;
use super::projection::{Guard, Names};

/// StormGuard's state.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct StormBody {
    state: &'static str,
    cause: &'static str,
    since_ns: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    observed: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    threshold: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// What may pass, and why: `/api/health`, `/api/mode`, the `mode` event and a part of the snapshot.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct GuardBody {
    /// Everything together: what passes.
    passing: &'static str,
    mode: &'static str,
    since_ns: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    storm: StormBody,
    strategies: Vec<StrategyMode>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct StrategyMode {
    strategy: String,
    mode: &'static str,
}

fn text(note: &ringfence_ipc::journal::Note) -> Option<String> {
    (!note.is_blank()).then(|| note.text().to_owned())
}

impl GuardBody {
    pub(crate) fn new(guard: &Guard, names: &Names) -> Self {
        let storm = &guard.storm;
        let measured = |value| (storm.threshold != 0).then_some(value);
        let strategy = |(id, mode): (&u16, &Mode)| StrategyMode {
            strategy: names.strategy_name(*id),
            mode: mode.name(),
        };
        Self {
            passing: guard.passing(),
            mode: guard.mode.name(),
            since_ns: guard.mode_since_ns,
            reason: text(&guard.mode_note),
            storm: StormBody {
                state: storm.state.name(),
                cause: storm.cause.name(),
                since_ns: storm.since_ns,
                observed: measured(storm.observed),
                threshold: measured(storm.threshold),
                reason: text(&storm.note),
            },
            strategies: guard.strategies.iter().map(strategy).collect(),
        }
    }
}

/// What may pass has changed. `id`: none where it follows another event of the same record.
pub(crate) fn mode_changed(id: Option<u64>, ts_ns: u64, guard: &Guard, names: &Names) -> Event {
    #[derive(Serialize)]
    struct Changed {
        ts_ns: u64,
        #[serde(flatten)]
        guard: GuardBody,
    }
    let body = Changed { ts_ns, guard: GuardBody::new(guard, names) };
    Event::new(id, "mode", &body)
}

/// Orders were cancelled all at once; `None`: the record does something else.
pub(crate) fn mass_cancel(position: u64, record: &ControlRecord, names: &Names) -> Option<Event> {
    #[derive(Serialize)]
    struct MassCancel {
        ts_ns: u64,
        scope: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        strategy: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        account: Option<u16>,
        #[serde(skip_serializing_if = "Option::is_none")]
        symbol: Option<String>,
        cause: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    }
    let ControlKind::CancelOrders { symbol, cause } = record.control else { return None };
    let body = MassCancel {
        ts_ns: record.now_ns,
        scope: record.scope.name(),
        strategy: (record.scope == Scope::Strategy).then(|| names.strategy_name(record.scope_id)),
        account: (record.scope == Scope::Account).then_some(record.scope_id),
        symbol: symbol.map(|symbol| names.symbol_name(symbol)),
        cause: cause.name(),
        reason: text(&record.note),
    };
    Some(Event::new(Some(position), "mass_cancel", &body))
}
