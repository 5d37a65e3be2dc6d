//! Modes, time to live, clocks.

use ringfence_ipc::msg::{Intent, IntentKind, ReportKind, Side};
use ringfence_ipc::reason::{LimitId, Mode, Reason, Scope};

use super::*;

#[test]
fn the_matrix_of_modes_and_intents() {
    use IntentKind as K;
    let passes = |mode: Mode, kind: K, operator: bool| match mode {
        Mode::AllowAll => true,
        Mode::CancelOnly => matches!(kind, K::Cancel | K::MassCancel | K::ForceFlat),
        Mode::Killed => matches!(kind, K::Cancel | K::MassCancel),
        Mode::RejectAll => operator && kind == K::MassCancel,
    };
    let reasons = [Reason::Ok, Reason::ModeCancelOnly, Reason::ModeRejectAll, Reason::Killed];
    for (mode, reason) in Mode::ALL.iter().zip(reasons) {
        for (scope, id) in [(Scope::Global, 0), (Scope::Strategy, ALICE)] {
            for kind in IntentKind::ALL {
                for operator in [false, true] {
                    let mut rig = Rig::new();
                    let held = rig.enter(ALICE, BTC, Side::Buy, 100, 2);
                    rig.fill(held, 1, 100);
                    rig.mode(scope, id, *mode);
                    let mut intent = with_kind(rig.limit_order(BTC, Side::Buy, 100, 5), *kind);
                    intent.ttl_ns_or_target = if *kind == K::New { 0 } else { held };
                    let decision =
                        if operator { rig.operate(ALICE, 0, intent) } else { rig.submit(ALICE, &intent) };
                    let expected = if passes(*mode, *kind, operator) { Reason::Ok } else { reason };
                    assert_eq!(decision.reason, expected, "{mode} {scope} {kind:?} operator {operator}");
                    let other = rig.try_order(BOB, BTC, Side::Buy, 100, 1).reason;
                    let free = *mode == Mode::AllowAll || scope == Scope::Strategy;
                    assert_eq!(other == Reason::Ok, free);
                }
            }
        }
    }
}

#[test]
fn after_a_kill_nothing_leaves_but_cancels() {
    let mut rig = Rig::new();
    let ids: Vec<_> = (0..3).map(|_| rig.enter(ALICE, BTC, Side::Buy, 100, 1)).collect();
    rig.mode(Scope::Global, 0, Mode::Killed);
    rig.commands.clear();
    for _ in 0..10 {
        assert_eq!(rig.try_order(ALICE, BTC, Side::Buy, 100, 1).reason, Reason::Killed);
    }
    let amend = with_kind(
        Intent { ttl_ns_or_target: ids[0], ..rig.limit_order(BTC, Side::Buy, 1, 1) },
        IntentKind::Amend,
    );
    assert_eq!(rig.submit(ALICE, &amend).reason, Reason::Killed);
    let cancel = Intent::cancel(BTC, ids[0], rig.key(), rig.now_ns);
    assert_eq!(rig.submit(ALICE, &cancel).reason, Reason::Ok);
    assert_eq!(rig.commands.len(), 1);
    rig.mode(Scope::Global, 0, Mode::AllowAll);
    rig.enter(ALICE, BTC, Side::Buy, 100, 1);
}

#[test]
fn time_to_live_ends_one_nanosecond_after() {
    let mut rig = Rig::new();
    let mut intent = rig.limit_order(BTC, Side::Buy, 100, 1);
    intent.ttl_ns_or_target = 1_000;
    rig.now_ns += 1_001;
    assert_rejected(&rig.submit(ALICE, &intent), Reason::TtlExpired, LimitId::TtlNs, 1_001, 1_000);
    rig.now_ns -= 1;
    assert_eq!(rig.submit(ALICE, &intent).reason, Reason::Ok);
    rig.now_ns += 1_000_000;
    assert!(rig.submit(ALICE, &intent).duplicate, "a resend of what was decided is not too late");
}

#[test]
fn a_clock_ahead_of_the_gate_is_refused_beyond_the_skew() {
    let mut rig = Rig::with(CAP, &[(Scope::Global, 0, LimitId::MaxClockSkewNs, 50)]);
    let mut intent = rig.limit_order(BTC, Side::Buy, 100, 1);
    intent.client_ts_ns += 51;
    assert_rejected(&rig.submit(ALICE, &intent), Reason::ClockSkew, LimitId::MaxClockSkewNs, 51, 50);
    intent.client_ts_ns -= 1;
    assert_eq!(rig.submit(ALICE, &intent).reason, Reason::Ok);
    intent.client_ts_ns = u64::MAX;
    intent.key = rig.key();
    assert_eq!(rig.submit(ALICE, &intent).reason, Reason::ClockSkew);
}

#[test]
fn a_transient_refusal_does_not_burn_the_key() {
    let mut rig = Rig::new();
    let intent = rig.limit_order(BTC, Side::Buy, 100, 1);
    rig.mode(Scope::Global, 0, Mode::RejectAll);
    assert_eq!(rig.submit(ALICE, &intent).reason, Reason::ModeRejectAll);
    rig.mode(Scope::Global, 0, Mode::AllowAll);
    let decision = rig.submit(ALICE, &intent);
    assert_eq!((decision.reason, decision.duplicate), (Reason::Ok, false));
    rig.tell(decision.order_id, ReportKind::Accepted).unwrap();
}
