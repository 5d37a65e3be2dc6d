//! What venues say: in order, twice, late, too much, and nonsense.

use ringfence_ipc::msg::{OrderState, ReportKind, Side};

use super::*;

#[test]
fn fills_move_from_reserved_to_position() {
    let mut rig = Rig::new();
    let id = rig.enter(ALICE, BTC, Side::Buy, 100, 5);
    assert_eq!(rig.tell(id, ReportKind::Accepted).unwrap().state, OrderState::Accepted);
    let first = rig.fill(id, 2, 99);
    assert_eq!((first.state, first.leaves_qty, first.strategy), (OrderState::PartiallyFilled, 3, ALICE));
    let p = rig.gate.position(ALICE, BTC).unwrap();
    assert_eq!((p.qty, p.open_buys, p.cost_e16), (2, 3, 198 * CENT_E16));
    assert_eq!(rig.gate.totals().gross_e16, (198 + 300) * CENT_E16);
    assert_eq!(rig.fill(id, 3, 100).state, OrderState::Filled);
    let p = rig.gate.position(ALICE, BTC).unwrap();
    assert_eq!((p.qty, p.open_buys, p.cost_e16, p.fees_e8, p.fills), (5, 0, 498 * CENT_E16, 6, 2));
    assert_eq!(rig.gate.order(id).unwrap().filled_notional_e16, 498 * CENT_E16);
    assert_eq!(rig.gate.open_order_count(), 0);
}

#[test]
fn a_repeated_fill_is_booked_once() {
    let mut rig = Rig::new();
    let id = rig.enter(ALICE, BTC, Side::Buy, 100, 5);
    let first = fill(id, 2, 100, 2, 77);
    rig.venue(&first).unwrap();
    assert_eq!(rig.venue(&first), Err(Unbooked::Repeat));
    assert_eq!(rig.venue(&fill(id, 2, 100, 4, 77)), Err(Unbooked::Repeat), "the same trade id again");
    assert_eq!(rig.venue(&fill(id, 1, 100, 1, 78)), Err(Unbooked::Repeat), "behind what is booked");
    assert_eq!(rig.gate.position(ALICE, BTC).unwrap().qty, 2);
}

#[test]
fn a_lost_fill_is_made_good_by_the_cumulative_quantity() {
    let mut rig = Rig::new();
    let id = rig.enter(ALICE, BTC, Side::Buy, 100, 5);
    let booked = rig.venue(&fill(id, 1, 100, 4, 9)).unwrap();
    assert_eq!((booked.last_qty, booked.cum_qty, booked.leaves_qty), (4, 4, 1));
    assert_eq!(rig.gate.position(ALICE, BTC).unwrap().qty, 4);
    assert_eq!(rig.recovered().state_hash(), rig.gate.state_hash());
}

#[test]
fn a_late_fill_is_booked_and_flagged_and_the_order_stays_final() {
    let mut rig = Rig::new();
    let id = rig.enter(ALICE, BTC, Side::Sell, 100, 5);
    rig.tell(id, ReportKind::Cancelled).unwrap();
    let late = rig.fill(id, 2, 100);
    assert_eq!((late.late, late.state, late.leaves_qty), (true, OrderState::Cancelled, 0));
    let p = rig.gate.position(ALICE, BTC).unwrap();
    assert_eq!((p.qty, p.open_sells), (-2, 0));
    assert_eq!(rig.gate.totals().gross_e16, 200 * CENT_E16);
    assert_eq!(rig.recovered().state_hash(), rig.gate.state_hash());
}

#[test]
fn an_overfill_is_booked_in_full() {
    let mut rig = Rig::new();
    let id = rig.enter(ALICE, BTC, Side::Buy, 100, 5);
    let booked = rig.fill(id, 8, 100);
    assert_eq!((booked.state, booked.leaves_qty, booked.cum_qty), (OrderState::Filled, 0, 8));
    let p = rig.gate.position(ALICE, BTC).unwrap();
    assert_eq!((p.qty, p.open_buys), (8, 0));
    assert_eq!(rig.gate.totals().gross_e16, 800 * CENT_E16);
}

#[test]
fn final_is_final() {
    for last in [ReportKind::Cancelled, ReportKind::Rejected, ReportKind::Expired] {
        let mut rig = Rig::new();
        let id = rig.enter(ALICE, BTC, Side::Buy, 100, 5);
        rig.tell(id, last).unwrap();
        let state = rig.state(id);
        for kind in ReportKind::ALL.iter().filter(|kind| **kind != ReportKind::Fill) {
            assert_eq!(rig.tell(id, *kind), Err(Unbooked::Repeat), "{kind:?} after {last:?}");
        }
        assert_eq!(rig.state(id), state);
        assert_eq!(rig.gate.totals().gross_e16, 0);
    }
}

#[test]
fn nonsense_changes_nothing() {
    let mut rig = Rig::new();
    let id = rig.enter(ALICE, BTC, Side::Buy, 100, 5);
    let hash = rig.gate.state_hash();
    for (qty, price, cum) in
        [(0, 1, 1), (1, 0, 1), (1, 1, 0), (-1, 1, 1), (1, -1, 1), (1, 1, -1), (i64::MIN, i64::MIN, i64::MIN)]
    {
        assert_eq!(rig.venue(&fill(id, qty, price, cum, 1)), Err(Unbooked::Impossible));
    }
    let huge = fill(id, i64::MAX, i64::MAX, i64::MAX, 1);
    assert_eq!(rig.venue(&huge), Err(Unbooked::Impossible), "beyond 128 bits");
    for unknown in [0, id + 1, u64::MAX, id | 7 << 48] {
        for kind in ReportKind::ALL {
            assert_eq!(rig.tell(unknown, *kind), Err(Unbooked::UnknownOrder));
        }
    }
    assert_eq!(rig.gate.state_hash(), hash);
}

#[test]
fn an_unknown_order_keeps_its_reservation_until_the_venue_speaks() {
    let mut rig = Rig::new();
    let id = rig.enter(ALICE, BTC, Side::Buy, 100, 5);
    rig.tell(id, ReportKind::Unknown).unwrap();
    assert_eq!((rig.state(id), rig.gate.position(ALICE, BTC).unwrap().open_buys), (OrderState::Unknown, 5));
    assert_eq!(rig.tell(id, ReportKind::Unknown), Err(Unbooked::Repeat));
    assert_eq!(rig.tell(id, ReportKind::Accepted).unwrap().state, OrderState::Accepted);
    assert_eq!(rig.tell(id, ReportKind::LostBeforeSend), Err(Unbooked::Impossible));
}

#[test]
fn profit_is_marked_at_the_mid_of_the_last_mark() {
    let mut rig = Rig::new();
    let id = rig.enter(ALICE, BTC, Side::Buy, 100, 5);
    rig.fill(id, 5, 100);
    assert_eq!(rig.gate.position(ALICE, BTC).unwrap().unrealised_e16, 0, "no mark yet");
    rig.quote(BTC, 110, 113);
    let p = rig.gate.position(ALICE, BTC).unwrap();
    assert_eq!((p.mark_price, p.unrealised_e16), (111, 55 * CENT_E16));
    rig.quote(BTC, 120, 121);
    assert_eq!(rig.gate.position(ALICE, BTC).unwrap().mark_price, 111, "within the mark interval");
    let close = rig.gate.mark_now(BTC, rig.now_ns).unwrap();
    rig.write(Record::Mark(close));
    assert_eq!(rig.gate.mark_now(BTC, rig.now_ns), None);
    rig.now_ns += 1_000_000_000;
    rig.quote(BTC, 0, 0);
    assert_eq!(
        rig.gate.position(ALICE, BTC).unwrap().mark_price,
        120,
        "an empty book has no price to mark at"
    );
    let sell = rig.enter(ALICE, BTC, Side::Sell, 100, 2);
    rig.fill(sell, 2, 130);
    let totals = rig.gate.totals();
    assert_eq!((totals.realised_e16, totals.unrealised_e16), (60 * CENT_E16, 60 * CENT_E16));
    assert_eq!(totals.pnl_e16(), 120 * CENT_E16 - 6 * 100_000_000);
}
