//! Step 7: what leaves the gate, and whether there is room for it.

use ringfence_ipc::journal::{DecisionHead, DecisionRecord};
use ringfence_ipc::msg::{
    Command, Decision, DurabilityTier, IntentKind, OperatorExt, OrderId, Outcome, Words,
};
use ringfence_ipc::reason::{LimitId, Reason};

use super::dedup::Early;
use super::exposure::Sized;
use super::risk::Approved;
use super::{Plan, Reject, command};
use crate::gate::api::{Effect, Refusal, Request, Room, Space, Verdict};

const NS_PER_US: u64 = 1_000;

/// What cannot be emitted is not accepted. A part of both rings is kept for what reduces risk.
#[inline(always)]
pub(super) fn room_for(kind: IntentKind, room: Room) -> Result<(), Reject> {
    let reduces = matches!(kind, IntentKind::Cancel | IntentKind::MassCancel | IntentKind::ForceFlat);
    let needed = if reduces { Space::Reserved } else { Space::Open };
    if room.journal < needed {
        let failed = room.journal == Space::Failed;
        return Err(Reject::plain(if failed { Reason::JournalFailed } else { Reason::JournalFull }));
    }
    // A mass cancel itself sends nothing: its cancels leave as the venue has room.
    if kind != IntentKind::MassCancel && room.venue < needed {
        return Err(Reject::plain(Reason::VenueBusy));
    }
    Ok(())
}

/// The answer of step 1 where the intent goes no further.
pub(super) fn early(req: &Request<'_>, answer: &Early) -> Refusal {
    match answer {
        Early::Duplicate(decision) => Refusal { decision: *decision, record: None, plan: Plan::NOTHING },
        Early::Transient(reject) => transient(req, reject),
    }
}

/// A refusal that leaves no trace: a retry under the same key may succeed.
pub(super) fn transient(req: &Request<'_>, reject: &Reject) -> Refusal {
    let decision = decision(req, DurabilityTier::None, reject, Outcome::Rejected, 0);
    Refusal { decision, record: None, plan: Plan::NOTHING }
}

/// A refusal of `risk`: journalled and stored, unless a retry may cure it.
pub(super) fn refuse(sized: &Sized<'_>, reject: &Reject) -> Refusal {
    let req = &sized.origin.req;
    if reject.reason.is_transient() {
        return transient(req, reject);
    }
    let decision = decision(req, req.tier, reject, Outcome::Rejected, 0);
    Refusal { decision, record: Some(record(sized, &decision)), plan: sized.plan }
}

impl Approved<'_> {
    /// The answer, whose record is journalled at `journal_seq`.
    #[inline(always)]
    #[must_use]
    pub fn decision(&self, journal_seq: u64) -> Decision {
        let req = &self.sized.origin.req;
        let ok = Reject::plain(Reason::Ok);
        Decision { journal_seq, ..decision(req, req.tier, &ok, Outcome::Accepted, self.order_id) }
    }

    /// What to append to the journal.
    #[must_use]
    pub fn record(&self) -> DecisionRecord {
        record(&self.sized, &self.decision(0))
    }

    /// [`Approved::record`] as the journal's words, without the operator's extension, which follows as it came:
    /// the intent's words are known to be good and go where they belong.
    #[inline(always)]
    #[must_use]
    pub fn record_slots(&self) -> [Words; 2] {
        let origin = &self.sized.origin;
        let head = DecisionHead {
            strategy: origin.tables.id,
            account: origin.tables.account,
            extended: origin.req.ext.is_some(),
            outcome: Outcome::Accepted,
            reason: Reason::Ok,
            limit_id: LimitId::None,
            tier: origin.req.tier,
            now_ns: origin.req.now_ns,
            value: self.order_id,
            limit: 0,
            reference_price: self.sized.reference.price,
            reference_age_us: age_us(&self.sized),
            intent_position: origin.req.position,
        };
        head.slots(origin.req.words)
    }

    /// The venue's command, once the record is appended; `None`: nothing leaves now.
    #[inline(always)]
    #[must_use]
    pub fn command(&self) -> Option<Command> {
        command::build(self)
    }

    /// What it changes.
    #[inline(always)]
    #[must_use]
    pub fn effect(&self) -> Effect {
        let (sized, origin) = (&self.sized, &self.sized.origin);
        Effect {
            plan: sized.plan,
            strategy: origin.tables.id,
            operator: origin.is_operator(),
            intent: sized.intent,
            now_ns: origin.req.now_ns,
            outcome: Outcome::Accepted,
            reason: Reason::Ok,
            limit_id: LimitId::None,
            value: self.order_id,
            limit: 0,
            reserve_price: sized.reserve_price,
            reference_price: sized.reference.price,
        }
    }
}

impl Refusal {
    /// What it changes; `None`: nothing.
    #[must_use]
    pub fn effect(&self) -> Option<Effect> {
        self.record.as_ref().map(|record| Effect::of(record, self.plan, 0))
    }
}

impl Verdict<'_> {
    /// The answer, whose record is journalled at `journal_seq` if it has one.
    #[must_use]
    pub fn decision(&self, journal_seq: u64) -> Decision {
        match self {
            Self::Accepted(approved) => approved.decision(journal_seq),
            Self::Refused(Refusal { decision, record: None, .. }) => *decision,
            Self::Refused(refusal) => Decision { journal_seq, ..refusal.decision },
        }
    }

    /// What to append to the journal; `None` for duplicates and transient rejects, which change nothing.
    #[must_use]
    pub fn record(&self) -> Option<DecisionRecord> {
        match self {
            Self::Accepted(approved) => Some(approved.record()),
            Self::Refused(refusal) => refusal.record,
        }
    }

    /// What goes to the venue once the record is appended.
    #[must_use]
    pub fn command(&self) -> Option<Command> {
        match self {
            Self::Accepted(approved) => approved.command(),
            Self::Refused(_) => None,
        }
    }

    /// What it changes; `None`: nothing.
    #[must_use]
    pub fn effect(&self) -> Option<Effect> {
        match self {
            Self::Accepted(approved) => Some(approved.effect()),
            Self::Refused(refusal) => refusal.effect(),
        }
    }
}

impl Effect {
    /// Of a decision as the journal has it.
    pub(in crate::gate) const fn of(record: &DecisionRecord, plan: Plan, reserve_price: i64) -> Self {
        let accepted = matches!(record.outcome, Outcome::Accepted);
        Self {
            plan,
            strategy: record.strategy,
            operator: record.ext.is_some(),
            intent: record.intent,
            now_ns: record.now_ns,
            outcome: record.outcome,
            reason: record.reason,
            limit_id: record.limit_id,
            value: if accepted { record.order_id } else { record.observed as u64 },
            limit: if accepted { 0 } else { record.limit },
            reserve_price,
            reference_price: record.reference_price,
        }
    }
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

fn record(sized: &Sized<'_>, decision: &Decision) -> DecisionRecord {
    let origin = &sized.origin;
    // Step 1 has decoded it before.
    let ext = origin.req.ext.and_then(|words| OperatorExt::decode(words).ok());
    DecisionRecord {
        strategy: origin.tables.id,
        account: origin.tables.account,
        intent: sized.intent,
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
        reference_age_us: age_us(sized),
        intent_position: origin.req.position,
    }
}

fn age_us(sized: &Sized<'_>) -> u32 {
    u32::try_from(sized.reference.age_ns / NS_PER_US).unwrap_or(u32::MAX)
}
