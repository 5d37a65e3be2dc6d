//! Step 7: what leaves the gate, and whether there is room for it.

use ringfence_ipc::journal::DecisionRecord;
use ringfence_ipc::msg::{
    Command, Decision, DurabilityTier, Intent, IntentKind, OperatorExt, OrderId, Outcome,
};
use ringfence_ipc::reason::{LimitId, Reason};

use super::dedup::Early;
use super::exposure::Sized;
use super::risk::Approved;
use super::{Plan, Reject};
use crate::gate::api::{Request, Room, Space, Verdict};

const NS_PER_US: u64 = 1_000;

/// What cannot be emitted is not accepted. A part of both rings is kept for what reduces risk.
#[inline(always)]
pub(super) fn room_for(kind: IntentKind, room: Room) -> Result<(), Reject> {
    let reduces = matches!(kind, IntentKind::Cancel | IntentKind::MassCancel | IntentKind::ForceFlat);
    let needed = if reduces { Space::Reserved } else { Space::Open };
    if room.journal < needed {
        return Err(Reject::plain(Reason::JournalFull));
    }
    // A mass cancel itself sends nothing: its cancels leave as the venue has room.
    if kind != IntentKind::MassCancel && room.venue < needed {
        return Err(Reject::plain(Reason::VenueBusy));
    }
    Ok(())
}

/// The answer of step 1 where the intent goes no further.
#[cold]
pub(super) fn early(req: &Request<'_>, answer: &Early) -> Verdict {
    match answer {
        Early::Duplicate(decision) => {
            Verdict { decision: *decision, record: None, command: None, plan: Plan::NOTHING }
        }
        Early::Transient(reject) => transient(req, reject),
    }
}

/// A refusal that leaves no trace: a retry under the same key may succeed.
#[cold]
pub(super) fn transient(req: &Request<'_>, reject: &Reject) -> Verdict {
    let decision = decision(req, DurabilityTier::None, reject, Outcome::Rejected, 0);
    Verdict { decision, record: None, command: None, plan: Plan::NOTHING }
}

/// A refusal of `risk`: journalled and stored, unless a retry may cure it.
#[cold]
pub(super) fn refuse(sized: &Sized<'_>, reject: &Reject) -> Verdict {
    if reject.reason.is_transient() {
        return transient(sized.origin.req, reject);
    }
    let decision = decision(sized.origin.req, sized.origin.req.tier, reject, Outcome::Rejected, 0);
    Verdict { decision, record: Some(record(sized, &decision)), command: None, plan: sized.plan }
}

#[inline(always)]
pub(super) fn accept(approved: &Approved<'_>, command: Option<Command>) -> Verdict {
    let sized = approved.sized;
    let ok = Reject { reason: Reason::Ok, limit_id: LimitId::None, observed: 0, limit: 0 };
    let req = sized.origin.req;
    let decision = decision(req, req.tier, &ok, Outcome::Accepted, approved.order_id);
    Verdict { decision, record: Some(record(sized, &decision)), command, plan: sized.plan }
}

#[inline(always)]
fn decision(
    req: &Request<'_>,
    tier: DurabilityTier,
    reject: &Reject,
    outcome: Outcome,
    order_id: OrderId,
) -> Decision {
    Decision {
        outcome,
        reason: reject.reason,
        limit_id: reject.limit_id,
        duplicate: false,
        tier,
        intent_position: req.position,
        journal_seq: 0,
        decided_at_ns: req.now_ns,
        key_low: req.words[1],
        order_id,
        observed: reject.observed,
        limit: reject.limit,
    }
}

#[inline(always)]
fn record(sized: &Sized<'_>, decision: &Decision) -> DecisionRecord {
    let origin = &sized.origin;
    // Step 1 has decoded it before.
    let ext = if origin.is_operator() {
        origin.req.ext.and_then(|words| OperatorExt::decode(words).ok())
    } else {
        None
    };
    DecisionRecord {
        strategy: origin.tables.id,
        account: origin.tables.account,
        // Decoded anew from its words: a copy of the fields decoded before would wait until they have all left the store
        // buffer. It decoded then, so it does now.
        intent: Intent::decode(origin.req.words).unwrap_or(*sized.intent),
        ext,
        outcome: decision.outcome,
        reason: decision.reason,
        limit_id: decision.limit_id,
        tier: decision.tier,
        now_ns: decision.decided_at_ns,
        order_id: decision.order_id,
        observed: decision.observed,
        limit: decision.limit,
        reference_price: sized.reference.price,
        reference_age_us: u32::try_from(sized.reference.age_ns / NS_PER_US).unwrap_or(u32::MAX),
        intent_position: origin.req.position,
    }
}
