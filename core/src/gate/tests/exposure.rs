//! The sums: what is reserved, where, and that nothing is left behind.

use ringfence_ipc::msg::{ReportKind, Side};
use ringfence_ipc::reason::{LimitId, Reason, Scope};

use super::*;

#[test]
fn a_reservation_stands_at_every_level_and_leaves_every_level() {
    let mut rig = Rig::new();
    let id = rig.enter(BOB, ODD, Side::Sell, 100, 20);
    let levels = [(Scope::Global, 0), (Scope::Account, 1), (Scope::Symbol, ODD), (Scope::Strategy, BOB)];
    for (scope, at) in levels {
        assert_eq!(rig.gate.gross_e16(scope, at), Some(100 * 20 * 3 * CENT_E16), "{scope}");
    }
    assert_eq!(rig.gate.gross_e16(Scope::Strategy, ALICE), Some(0));
    rig.tell(id, ReportKind::Rejected).unwrap();
    for (scope, at) in levels {
        assert_eq!(rig.gate.gross_e16(scope, at), Some(0), "{scope}");
    }
}

#[test]
fn a_risk_reject_leaves_no_phantom_exposure() {
    let mut rig = Rig::with(CAP, &[(Scope::Strategy, ALICE, LimitId::MaxGrossNotionalE8, 500 * CENT_E8)]);
    for _ in 0..10 {
        assert_eq!(rig.try_order(ALICE, BTC, Side::Buy, 100, 6).reason, Reason::GrossNotionalLimit);
    }
    assert_eq!(rig.gate.totals().gross_e16, 0);
    assert!(rig.gate.position(ALICE, BTC).is_none(), "not even a place in the store");
    rig.enter(ALICE, BTC, Side::Buy, 100, 5);
}

#[test]
fn a_closed_round_trip_leaves_no_gross() {
    let mut rig = Rig::new();
    let buy = rig.enter(ALICE, BTC, Side::Buy, 100, 5);
    rig.fill(buy, 5, 97);
    let sell = rig.enter(ALICE, BTC, Side::Sell, 100, 5);
    assert_eq!(rig.gate.totals().gross_e16, (97 * 5 + 500) * CENT_E16);
    rig.fill(sell, 5, 103);
    let totals = rig.gate.totals();
    assert_eq!((totals.gross_e16, totals.realised_e16), (0, 30 * CENT_E16));
}
