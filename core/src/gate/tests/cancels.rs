//! Cancels: one, by key, before arrival, all; and force flat.

use ringfence_ipc::msg::{CommandKind, Intent, IntentKind, OrderState, OrderType, ReportKind, Side, Tif};
use ringfence_ipc::reason::{LimitId, Reason, Scope};

use super::*;

#[test]
fn a_cancel_waits_for_the_venue_and_only_then_releases() {
    let mut rig = Rig::new();
    let id = rig.enter(ALICE, BTC, Side::Buy, 100, 5);
    rig.tell(id, ReportKind::Accepted).unwrap();
    let cancel = Intent::cancel(BTC, id, rig.key(), rig.now_ns);
    assert_eq!(rig.submit(ALICE, &cancel).order_id, id);
    assert_eq!(rig.commands.last().map(|c| (c.kind, c.order_id)), Some((CommandKind::Cancel, id)));
    assert_eq!(rig.state(id), OrderState::PendingCancel);
    assert_eq!(rig.gate.position(ALICE, BTC).unwrap().open_buys, 5);
    rig.tell(id, ReportKind::Cancelled).unwrap();
    assert_eq!(rig.state(id), OrderState::Cancelled);
    assert_eq!(rig.gate.position(ALICE, BTC).unwrap().open_buys, 0);
    assert_eq!(rig.gate.totals().gross_e16, 0);
}

#[test]
fn a_refused_cancel_returns_the_order_to_work() {
    let mut rig = Rig::new();
    let id = rig.enter(ALICE, BTC, Side::Buy, 100, 5);
    rig.fill(id, 1, 100);
    let cancel = Intent::cancel(BTC, id, rig.key(), rig.now_ns);
    rig.submit(ALICE, &cancel);
    rig.tell(id, ReportKind::CancelRejected).unwrap();
    assert_eq!(rig.state(id), OrderState::PartiallyFilled);
}

#[test]
fn nobody_cancels_what_is_unknown_final_or_another_strategys() {
    let mut rig = Rig::new();
    let id = rig.enter(ALICE, BTC, Side::Buy, 100, 5);
    let cancel = |rig: &mut Rig, who, id| {
        let intent = Intent::cancel(BTC, id, rig.key(), rig.now_ns);
        rig.submit(who, &intent).reason
    };
    assert_eq!(cancel(&mut rig, BOB, id), Reason::UnknownOrder);
    assert_eq!(cancel(&mut rig, ALICE, id + 1), Reason::UnknownOrder);
    assert_eq!(cancel(&mut rig, ALICE, 0), Reason::UnknownOrder);
    rig.tell(id, ReportKind::Expired).unwrap();
    assert_eq!(cancel(&mut rig, ALICE, id), Reason::OrderTerminal);
    assert_eq!(rig.commands.len(), 1);
}

#[test]
fn by_key_finds_the_order() {
    let mut rig = Rig::new();
    let order = rig.limit_order(BTC, Side::Buy, 100, 5);
    let id = rig.submit(ALICE, &order).order_id;
    let cancel = Intent::cancel_by_key(BTC, order.key, rig.key(), rig.now_ns);
    assert_eq!(rig.submit(ALICE, &cancel).order_id, id);
    rig.tell(id, ReportKind::Cancelled).unwrap();
    let again = Intent::cancel_by_key(BTC, order.key, rig.key(), rig.now_ns);
    assert_eq!(rig.submit(ALICE, &again).reason, Reason::OrderTerminal);
    let a_cancels_key = Intent::cancel_by_key(BTC, cancel.key, rig.key(), rig.now_ns);
    assert_eq!(rig.submit(ALICE, &a_cancels_key).reason, Reason::UnknownOrder);
}

#[test]
fn by_key_finds_a_live_order_that_dedup_forgot() {
    let mut rig = Rig::with(CAP, &[(Scope::Strategy, ALICE, LimitId::DedupQuota, 8)]);
    let order = rig.limit_order(BTC, Side::Buy, 100, 5);
    let id = rig.submit(ALICE, &order).order_id;
    for _ in 0..20 {
        rig.now_ns += 1;
        let other = rig.enter(ALICE, BTC, Side::Buy, 100, 1);
        rig.tell(other, ReportKind::Expired).unwrap();
    }
    assert_eq!(rig.submit(ALICE, &order).reason, Reason::StaleKey);
    let cancel = Intent::cancel_by_key(BTC, order.key, rig.key(), rig.now_ns);
    assert_eq!(rig.submit(ALICE, &cancel).order_id, id);
}

#[test]
fn a_cancel_before_its_order_reserves_the_key() {
    let mut rig = Rig::new();
    let order = rig.limit_order(BTC, Side::Buy, 100, 5);
    let cancel = Intent::cancel_by_key(BTC, order.key, rig.key(), rig.now_ns);
    let first = rig.submit(ALICE, &cancel);
    assert_eq!((first.outcome, first.order_id), (Outcome::Accepted, 0));
    assert!(rig.commands.is_empty());
    for content in [order, Intent { qty: 99, ..order }] {
        let decision = rig.submit(ALICE, &content);
        assert_eq!((decision.reason, decision.duplicate), (Reason::CancelledBeforeArrival, true));
        assert_eq!(decision.journal_seq, first.journal_seq);
    }
    let again = Intent::cancel_by_key(BTC, order.key, rig.key(), rig.now_ns);
    assert_eq!(rig.submit(ALICE, &again).order_id, 0);
    assert!(rig.submit(ALICE, &cancel).duplicate);
    let recovered = rig.recovered();
    assert_eq!(recovered.state_hash(), rig.gate.state_hash());
    assert_eq!(recovered.open_order_count(), 0);
}

#[test]
fn mass_cancel_owes_one_cancel_per_order() {
    let mut rig = Rig::new();
    let mine: Vec<_> = [BTC, ETH, BTC].iter().map(|s| rig.enter(ALICE, *s, Side::Buy, 100, 1)).collect();
    let his = rig.enter(BOB, BTC, Side::Buy, 100, 1);
    let all = with_kind(rig.limit_order(BTC, Side::Buy, 0, 0), IntentKind::MassCancel);
    let before = rig.commands.len();
    let decision = rig.submit(ALICE, &all);
    assert_eq!((decision.outcome, rig.commands.len()), (Outcome::Accepted, before));
    rig.tell(mine[1], ReportKind::Expired).unwrap();
    let now_ns = rig.now_ns;
    let sent: Vec<_> = std::iter::from_fn(|| rig.gate.next_mass_cancel(now_ns)).map(|c| c.order_id).collect();
    assert_eq!(sent, [mine[0], mine[2]], "oldest first, without what became final meanwhile");
    assert_eq!(rig.state(his), OrderState::PendingNew);
    assert_eq!(rig.gate.mass_cancels_owed(), 0);
    assert_eq!(rig.recovered().state_hash(), rig.gate.state_hash());
}

#[test]
fn mass_cancels_that_are_never_drained_stay_bounded() {
    let mut rig = Rig::with(Capacity { order_slots: 4, ..CAP }, &[]);
    for _ in 0..20 {
        let id = rig.enter(ALICE, BTC, Side::Buy, 100, 1);
        let all = with_kind(rig.limit_order(BTC, Side::Buy, 0, 0), IntentKind::MassCancel);
        rig.submit(ALICE, &all);
        rig.tell(id, ReportKind::Cancelled).unwrap();
    }
    assert!(rig.gate.mass_cancels_owed() <= 4);
    let id = rig.enter(ALICE, BTC, Side::Buy, 100, 1);
    let all = with_kind(rig.limit_order(BTC, Side::Buy, 0, 0), IntentKind::MassCancel);
    rig.submit(ALICE, &all);
    assert_eq!(rig.gate.next_mass_cancel(1).map(|c| c.order_id), Some(id));
    assert_eq!(rig.gate.next_mass_cancel(1), None);
}

#[test]
fn force_flat_trades_the_position_to_zero_whatever_the_limits() {
    let limits = [
        (Scope::Global, 0, LimitId::PriceCollarBps, 1),
        (Scope::Strategy, ALICE, LimitId::MaxGrossNotionalE8, 2_000 * CENT_E8),
        (Scope::Strategy, ALICE, LimitId::MaxOrderQty, 15),
        (Scope::Strategy, ALICE, LimitId::OrderRatePerS, 2),
    ];
    let mut rig = Rig::with(CAP, &limits);
    rig.quote(BTC, 100, 100 + 1);
    let held = rig.enter(ALICE, BTC, Side::Buy, 100, 15);
    rig.fill(held, 15, 100);
    let resting = rig.enter(ALICE, BTC, Side::Sell, 100, 1);
    rig.quote(BTC, 0, 0);
    let flat = with_kind(rig.limit_order(BTC, Side::Buy, 0, 0), IntentKind::ForceFlat);
    let decision = rig.submit(ALICE, &flat);
    assert_eq!(decision.reason, Reason::Ok);
    let sent = *rig.commands.last().unwrap();
    assert_eq!(
        (sent.side, sent.qty, sent.order_type, sent.tif),
        (Side::Sell, 15, OrderType::Market, Tif::Ioc)
    );
    assert_eq!(rig.state(resting), OrderState::PendingCancel);
    assert_eq!(rig.gate.next_mass_cancel(1).map(|c| c.order_id), Some(resting));
    let twice = with_kind(rig.limit_order(BTC, Side::Buy, 0, 0), IntentKind::ForceFlat);
    assert_eq!(rig.submit(ALICE, &twice).reason, Reason::NothingToFlatten, "the first one is still working");
    rig.fill(decision.order_id, 10, 99);
    rig.tell(decision.order_id, ReportKind::Expired).unwrap();
    let rest = with_kind(rig.limit_order(BTC, Side::Buy, 0, 0), IntentKind::ForceFlat);
    rig.submit(ALICE, &rest);
    assert_eq!(rig.commands.last().unwrap().qty, 5);
    let recovered = rig.recovered();
    assert_eq!(recovered.state_hash(), rig.gate.state_hash());
}

#[test]
fn there_is_nothing_to_flatten_without_a_position() {
    let mut rig = Rig::new();
    rig.enter(ALICE, BTC, Side::Buy, 100, 1);
    let flat = with_kind(rig.limit_order(BTC, Side::Buy, 0, 0), IntentKind::ForceFlat);
    assert_eq!(rig.submit(ALICE, &flat).reason, Reason::NothingToFlatten);
    let unknown = with_kind(rig.limit_order(3, Side::Buy, 0, 0), IntentKind::ForceFlat);
    assert_eq!(rig.submit(ALICE, &unknown).reason, Reason::UnknownSymbol);
}
