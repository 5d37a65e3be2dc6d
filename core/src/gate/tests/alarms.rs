//! What venues must not say: more than was asked for, and fills for orders that the gate does not know.

use ringfence_ipc::msg::{IntentKind, OrderState, Side};
use ringfence_ipc::reason::{Mode, Reason, Scope};

use super::*;

impl Rig {
    /// As the reactor does with a report that names no order.
    fn stray(&mut self, report: &Report) -> Option<i64> {
        assert_eq!(self.venue(report), Err(Unbooked::UnknownOrder));
        let stray = self.gate.stray(report, self.now_ns)?;
        self.write(Record::Stray(stray));
        Some(stray.qty)
    }

    fn modes(&self) -> [Mode; 3] {
        [self.gate.mode(None), self.gate.mode(Some(ALICE)), self.gate.mode(Some(BOB))]
    }
}

fn net(rig: &Rig) -> Vec<(u64, i64)> {
    rig.gate.strays().map(|s| (s.order_id, s.net_qty)).collect()
}

#[test]
fn an_overfill_is_booked_flagged_and_its_strategy_may_only_reduce() {
    let mut rig = Rig::new();
    let id = rig.enter(ALICE, BTC, Side::Buy, 100, 5);
    assert_eq!(rig.fill(id, 4, 100).reason, Reason::Ok);
    let over = rig.fill(id, 4, 100);
    assert_eq!((over.reason, over.state, over.cum_qty), (Reason::Overfill, OrderState::Filled, 8));
    assert_eq!(rig.gate.position(ALICE, BTC).unwrap().qty, 8);
    assert_eq!(rig.modes(), [Mode::AllowAll, Mode::CancelOnly, Mode::AllowAll]);
    assert_eq!(rig.try_order(ALICE, BTC, Side::Buy, 100, 1).reason, Reason::ModeCancelOnly);
    assert_eq!(rig.try_order(BOB, BTC, Side::Buy, 100, 1).reason, Reason::Ok);
    rig.quote(BTC, 99, 101);
    let flat = with_kind(rig.limit_order(BTC, Side::Buy, 0, 0), IntentKind::ForceFlat);
    assert_eq!(rig.submit(ALICE, &flat).reason, Reason::Ok, "what reduces passes");
    assert_eq!(rig.recovered().state_hash(), rig.gate.state_hash());
    rig.mode(Scope::Strategy, ALICE, Mode::AllowAll);
    assert_eq!(
        rig.try_order(ALICE, BTC, Side::Buy, 100, 1).reason,
        Reason::Ok,
        "an operator has looked at it"
    );
}

#[test]
fn an_overfill_after_a_cancel_is_late_and_flagged() {
    let mut rig = Rig::new();
    let id = rig.enter(ALICE, BTC, Side::Sell, 100, 5);
    rig.tell(id, ReportKind::Cancelled).unwrap();
    let late = rig.fill(id, 5, 100);
    assert_eq!((late.late, late.reason), (true, Reason::Ok), "late, and not more than was asked for");
    let over = rig.fill(id, 1, 100);
    assert_eq!((over.late, over.reason, over.state), (true, Reason::Overfill, OrderState::Cancelled));
    assert_eq!(rig.gate.position(ALICE, BTC).unwrap().qty, -6);
    assert_eq!(rig.modes()[1], Mode::CancelOnly);
}

#[test]
fn an_overfill_never_opens_what_is_shut() {
    for mode in [Mode::Killed, Mode::RejectAll, Mode::CancelOnly] {
        let mut rig = Rig::new();
        let id = rig.enter(ALICE, BTC, Side::Buy, 100, 5);
        rig.mode(Scope::Strategy, ALICE, mode);
        rig.fill(id, 9, 100);
        assert_eq!(rig.modes()[1], mode);
    }
}

#[test]
fn a_fill_within_either_terms_of_a_pending_amend_is_no_overfill() {
    let mut rig = Rig::new();
    let id = rig.enter(ALICE, BTC, Side::Buy, 100, 5);
    let mut more = with_kind(rig.limit_order(BTC, Side::Buy, 100, 9), IntentKind::Amend);
    more.ttl_ns_or_target = id;
    rig.submit(ALICE, &more);
    assert_eq!(rig.fill(id, 7, 100).reason, Reason::Ok);
    let refused = rig.tell(id, ReportKind::CancelRejected).unwrap();
    assert_eq!(refused.reason, Reason::Overfill, "the venue kept the old terms, and had filled more");
    assert_eq!(rig.modes()[1], Mode::CancelOnly);
}

#[test]
fn a_venue_cannot_raise_the_gates_alarm() {
    let mut rig = Rig::new();
    let id = rig.enter(ALICE, BTC, Side::Buy, 100, 5);
    let sly = Report { reason: Reason::Overfill, ..fill(id, 2, 100, 2, 7) };
    assert_eq!(rig.venue(&sly).unwrap().reason, Reason::Ok);
    assert_eq!(rig.modes()[1], Mode::AllowAll);
}

#[test]
fn a_fill_for_an_unknown_order_is_recorded_once_and_the_gate_may_only_reduce() {
    let mut rig = Rig::new();
    let unknown = 7 << 48 | 9;
    assert_eq!(rig.stray(&fill(unknown, 3, 100, 5, 1)), Some(3), "what came before was never ours");
    assert_eq!(rig.stray(&fill(unknown, 3, 100, 5, 1)), None, "the same fill again");
    assert_eq!(rig.stray(&fill(unknown, 1, 100, 4, 2)), None, "behind what is recorded");
    assert_eq!(rig.stray(&fill(unknown, 1, 100, 7, 3)), Some(2), "cumulative quantity is the authority");
    assert_eq!(net(&rig), [(unknown, 5)]);
    assert_eq!(rig.modes()[0], Mode::CancelOnly);
    assert_eq!(rig.try_order(BOB, BTC, Side::Buy, 100, 1).reason, Reason::ModeCancelOnly);
    assert_eq!(rig.gate.positions().count(), 0, "it is in no position");
    assert_eq!(rig.recovered().state_hash(), rig.gate.state_hash());
}

#[test]
fn a_fill_for_a_slot_that_was_taken_again_is_not_the_new_orders() {
    let mut rig = Rig::new();
    let old = rig.enter(ALICE, BTC, Side::Sell, 100, 5);
    rig.fill(old, 2, 100);
    rig.tell(old, ReportKind::Cancelled).unwrap();
    let young = loop {
        let id = rig.enter(BOB, BTC, Side::Buy, 50, 1);
        if id & 0xff == old & 0xff {
            break id;
        }
        rig.tell(id, ReportKind::Cancelled).unwrap();
    };
    let late = Report { side: Side::Sell, ..fill(old, 3, 100, 5, 99) };
    assert_eq!(rig.stray(&late), Some(3));
    assert_eq!((net(&rig), rig.gate.order(young).unwrap().cum_qty), (vec![(old, -3)], 0));
    assert_eq!(rig.gate.position(ALICE, BTC).unwrap().qty, -2);
}

#[test]
fn strays_that_are_nonsense_are_not_recorded() {
    let mut rig = Rig::new();
    let id = 9 << 48 | 1;
    for (qty, price, cum) in [(0, 1, 1), (1, 0, 1), (1, 1, 0), (-1, 1, 1), (1, 1, i64::MIN)] {
        assert_eq!(rig.stray(&fill(id, qty, price, cum, 1)), None);
    }
    assert_eq!(rig.stray(&Report { symbol: 3, ..fill(id, 1, 1, 1, 1) }), None, "no such symbol");
    assert_eq!(rig.stray(&report(id, ReportKind::Cancelled)), None, "no fill");
    assert_eq!(rig.modes()[0], Mode::AllowAll);
}

#[test]
fn a_thousand_strays_are_bounded_and_none_is_lost_from_the_sum() {
    let mut rig = Rig::new();
    for n in 1..=1_000u64 {
        let symbol = (n % 3) as u16;
        assert_eq!(rig.stray(&Report { symbol, ..fill(9 << 48 | n, 2, 100, 2, n) }), Some(2));
    }
    assert_eq!(rig.gate.strays().len(), 256 + 3);
    assert_eq!(rig.gate.strays().map(|s| s.net_qty).sum::<i64>(), 2_000);
    assert_eq!(rig.gate.strays().map(|s| s.fills).sum::<u64>(), 1_000);
    assert_eq!(rig.recovered().state_hash(), rig.gate.state_hash());
}
