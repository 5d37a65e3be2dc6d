//! Step 1: has this strategy asked this before? Reads header and key only.

use ringfence_ipc::msg::{
    Decision, DurabilityTier, IntentKind, OperatorExt, Words, intent_flags, key_of, kind_of,
};
use ringfence_ipc::reason::Reason;

use super::{Origin, Plan, Reject, dispatch};
use crate::gate::Gate;
use crate::gate::api::Request;
use crate::gate::tables::StrategyTables;
use crate::gate::window::{Entry, Probe};

/// An intent that was never decided.
#[derive(Clone, Copy, Debug)]
pub(in crate::gate) struct Fresh<'a> {
    pub(super) origin: Origin<'a>,
    pub(super) plan: Plan,
    _only_dedup: (),
}

/// Why an intent goes no further than step 1.
#[derive(Clone, Copy, Debug)]
pub(in crate::gate) enum Early {
    /// Its key was decided: this is the stored answer.
    Duplicate(Decision),
    /// Nothing is stored.
    Transient(Reject),
}

#[inline(always)]
pub(in crate::gate) fn check<'a>(gate: &'a Gate, req: &Request<'a>) -> Result<Fresh<'a>, Early> {
    let transient = |reason| Early::Transient(Reject::plain(reason));
    let Some(kind) = IntentKind::from_wire(u64::from(kind_of(req.words))) else {
        return Err(transient(Reason::Malformed));
    };
    let tables = identify(gate, req).map_err(transient)?;
    let origin = Origin { req: *req, tables, kind };
    let w = req.words;
    let key = key_of(w);
    let window = &tables.window;
    let content = window.content(w[0], w[3], w[4], w[6]);
    if key == 0 {
        if !gate.limits.allow_keyless {
            return Err(transient(Reason::KeyRequired));
        }
        dispatch::room_for(kind, req.room).map_err(Early::Transient)?;
        return Ok(Fresh { origin, plan: Plan { spot: None, content }, _only_dedup: () });
    }
    let spot = match window.probe(key) {
        Probe::Vacant(spot) => spot,
        Probe::Known(entry) => return Err(known(req, entry, content)),
        Probe::Full => return Err(transient(Reason::DedupBusy)),
    };
    if w[5] <= window.horizon_ns() {
        let horizon_ns = i64::try_from(window.horizon_ns()).unwrap_or(i64::MAX);
        let observed_ns = i64::try_from(w[5]).unwrap_or(i64::MAX);
        let limit_id = ringfence_ipc::reason::LimitId::DedupTtlNs;
        return Err(Early::Transient(Reject::limit(Reason::StaleKey, limit_id, observed_ns, horizon_ns)));
    }
    dispatch::room_for(kind, req.room).map_err(Early::Transient)?;
    Ok(Fresh { origin, plan: Plan { spot: Some(spot), content }, _only_dedup: () })
}

/// The strategy that an intent is decided for: the slot's, or the one that an operator names.
#[inline(always)]
fn identify<'a>(gate: &'a Gate, req: &Request<'_>) -> Result<&'a StrategyTables, Reason> {
    let flagged = (req.words[0] >> 32) as u16 & intent_flags::OPERATOR != 0;
    if req.operator {
        return named(gate, req.ext.filter(|_| flagged));
    }
    if flagged || req.ext.is_some() {
        return Err(Reason::RoleForbidden);
    }
    gate.registered(req.strategy).ok_or(Reason::UnknownStrategy)
}

fn named<'a>(gate: &'a Gate, ext: Option<&Words>) -> Result<&'a StrategyTables, Reason> {
    let ext = OperatorExt::decode(ext.ok_or(Reason::Malformed)?).map_err(|_| Reason::Malformed)?;
    let tables = gate.registered(ext.strategy).filter(|t| t.account == ext.account);
    tables.ok_or(Reason::UnknownStrategy)
}

#[cold]
fn known(req: &Request<'_>, entry: &Entry, content: u64) -> Early {
    if entry.kind.is_some() && entry.content != content {
        return Early::Transient(Reject::plain(Reason::IdempotencyConflict));
    }
    let accepted = entry.outcome == ringfence_ipc::msg::Outcome::Accepted;
    Early::Duplicate(Decision {
        outcome: entry.outcome,
        reason: entry.reason,
        limit_id: entry.limit_id,
        duplicate: true,
        tier: DurabilityTier::None,
        intent_position: req.position,
        journal_seq: entry.journal_seq,
        decided_at_ns: entry.decided_at_ns,
        key_low: req.words[1],
        order_id: if accepted { entry.value } else { 0 },
        observed: if accepted { 0 } else { entry.value as i64 },
        limit: if accepted { 0 } else { entry.limit },
    })
}
