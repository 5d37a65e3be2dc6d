//! Step 2: may anything like this pass now? Modes, the intent's own time to live, the client's clock.

use ringfence_ipc::msg::IntentKind;
use ringfence_ipc::reason::{LimitId, Reason};

use super::dedup::Fresh;
use super::{Origin, Plan, Reject};
use crate::gate::Gate;
use crate::gate::modes::Barrier;

/// An intent that the modes let pass.
#[derive(Clone, Copy, Debug)]
pub(in crate::gate) struct Permitted<'a> {
    pub(super) origin: Origin<'a>,
    pub(super) plan: Plan,
    _only_policy: (),
}

#[inline(always)]
pub(in crate::gate) fn permit<'a>(gate: &Gate, fresh: Fresh<'a>) -> Result<Permitted<'a>, Reject> {
    let origin = fresh.origin;
    let barrier = origin.tables.barrier;
    if barrier != Barrier::Open && !barrier.passes(origin.kind, origin.is_operator()) {
        return Err(Reject::plain(barrier.reason()));
    }
    let (client_ts_ns, now_ns) = (origin.req.words[5], origin.req.now_ns);
    let ahead_ns = client_ts_ns.saturating_sub(now_ns);
    if ahead_ns > gate.limits.max_clock_skew_ns as u64 {
        let observed = i64::try_from(ahead_ns).unwrap_or(i64::MAX);
        return Err(Reject::limit(
            Reason::ClockSkew,
            LimitId::MaxClockSkewNs,
            observed,
            gate.limits.max_clock_skew_ns,
        ));
    }
    let ttl_ns = if origin.kind == IntentKind::New { origin.req.words[6] } else { 0 };
    if ttl_ns != 0 && now_ns > client_ts_ns.saturating_add(ttl_ns) {
        let age = i64::try_from(now_ns - client_ts_ns).unwrap_or(i64::MAX);
        let ttl = i64::try_from(ttl_ns).unwrap_or(i64::MAX);
        return Err(Reject::limit(Reason::TtlExpired, LimitId::TtlNs, age, ttl));
    }
    Ok(Permitted { origin, plan: fresh.plan, _only_policy: () })
}
