//! Amends: the larger of both terms is reserved until the venue answers.

use ringfence_ipc::msg::{
    CommandKind, Intent, IntentKind, OrderId, OrderState, OrderType, ReportKind, Side, intent_flags,
};
use ringfence_ipc::reason::{LimitId, Reason, Scope};

use super::*;

fn amend(rig: &mut Rig, id: OrderId, price: i64, qty: i64) -> Decision {
    let symbol = rig.gate.order(id).map_or(BTC, |o| o.symbol);
    let mut intent = with_kind(rig.limit_order(symbol, Side::Buy, price, qty), IntentKind::Amend);
    intent.ttl_ns_or_target = id;
    rig.submit(ALICE, &intent)
}

fn gross(rig: &Rig) -> i128 {
    rig.gate.totals().gross_e16 / CENT_E16
}

#[test]
fn up_reserves_the_new_terms_at_once_and_down_keeps_the_old_until_the_venue_answers() {
    let mut rig = Rig::new();
    let id = rig.enter(ALICE, BTC, Side::Buy, 100, 5);
    rig.tell(id, ReportKind::Accepted).unwrap();
    assert_eq!(amend(&mut rig, id, 110, 6).order_id, id);
    let sent = *rig.commands.last().unwrap();
    assert_eq!((sent.kind, sent.price, sent.qty), (CommandKind::Amend, 110, 6));
    assert_eq!(gross(&rig), 660);
    rig.tell(id, ReportKind::Amended).unwrap();
    assert_eq!(gross(&rig), 660);
    amend(&mut rig, id, 100, 2);
    assert_eq!((gross(&rig), rig.gate.position(ALICE, BTC).unwrap().open_buys), (660, 6));
    let booked = rig.tell(id, ReportKind::Amended).unwrap();
    assert_eq!((booked.state, booked.leaves_qty), (OrderState::Accepted, 2));
    assert_eq!((gross(&rig), rig.gate.position(ALICE, BTC).unwrap().open_buys), (200, 2));
    assert_eq!(rig.recovered().state_hash(), rig.gate.state_hash());
}

#[test]
fn a_refused_amend_leaves_the_old_terms() {
    let mut rig = Rig::new();
    let id = rig.enter(ALICE, BTC, Side::Buy, 100, 5);
    amend(&mut rig, id, 110, 6);
    rig.tell(id, ReportKind::CancelRejected).unwrap();
    assert_eq!((gross(&rig), rig.gate.order(id).unwrap().price), (500, 100));
    assert_eq!(rig.tell(id, ReportKind::Amended), Err(Unbooked::Repeat));
}

#[test]
fn fills_while_an_amend_is_pending_reduce_both_terms() {
    let mut rig = Rig::new();
    let id = rig.enter(ALICE, BTC, Side::Buy, 100, 10);
    amend(&mut rig, id, 150, 5);
    assert_eq!(gross(&rig), 1_000, "the larger notional, not the larger price times the larger quantity");
    rig.fill(id, 4, 100);
    assert_eq!(gross(&rig), 400 + 600);
    let booked = rig.tell(id, ReportKind::Amended).unwrap();
    assert_eq!((booked.state, booked.leaves_qty), (OrderState::PartiallyFilled, 1));
    assert_eq!(gross(&rig), 400 + 150);
}

#[test]
fn an_amend_passes_the_checks_of_a_new_order() {
    let limits = [
        (Scope::Strategy, ALICE, LimitId::MaxOrderQty, 10),
        (Scope::Strategy, ALICE, LimitId::MaxPositionQty, 12),
        (Scope::Strategy, ALICE, LimitId::MaxOrderNotionalE8, 1_000 * CENT_E8),
        (Scope::Global, 0, LimitId::PriceCollarBps, 5_000),
    ];
    let mut rig = Rig::with(CAP, &limits);
    rig.quote(BTC, 99, 101);
    let id = rig.enter(ALICE, BTC, Side::Buy, 100, 5);
    rig.enter(ALICE, BTC, Side::Buy, 100, 5);
    assert_rejected(&amend(&mut rig, id, 60, 11), Reason::MaxOrderQty, LimitId::MaxOrderQty, 11, 10);
    assert_rejected(&amend(&mut rig, id, 60, 8), Reason::PositionLimit, LimitId::MaxPositionQty, 13, 12);
    let notional = amend(&mut rig, id, 143, 7);
    assert_rejected(
        &notional,
        Reason::MaxOrderNotional,
        LimitId::MaxOrderNotionalE8,
        1_001 * CENT_E8,
        1_000 * CENT_E8,
    );
    assert_eq!(amend(&mut rig, id, 151, 5).reason, Reason::PriceCollar);
    assert_eq!(amend(&mut rig, id, 0, 5).reason, Reason::BadPrice);
    assert_eq!(amend(&mut rig, id, 100, 0).reason, Reason::BadQty);
    assert_eq!(gross(&rig), 1_000, "no refusal reserves");
    assert_eq!(amend(&mut rig, id, 100, 7).reason, Reason::Ok);
}

#[test]
fn an_amend_cannot_pass_the_collar_by_calling_itself_a_market_order() {
    let mut rig = Rig::with(CAP, &[(Scope::Global, 0, LimitId::PriceCollarBps, 250)]);
    rig.quote(BTC, 99, 101);
    let id = rig.enter(ALICE, BTC, Side::Buy, 100, 5);
    let mut intent = with_kind(rig.limit_order(BTC, Side::Buy, 9_000, 5), IntentKind::Amend);
    intent.ttl_ns_or_target = id;
    assert_eq!(rig.submit(ALICE, &intent).reason, Reason::PriceCollar);
    (intent.key, intent.order_type) = (rig.key(), OrderType::Market);
    assert_eq!(rig.submit(ALICE, &intent).reason, Reason::Malformed);
    assert_eq!(gross(&rig), 500);
}

#[test]
fn a_repeated_answer_to_an_earlier_amend_confirms_nothing() {
    let mut rig = Rig::new();
    let id = rig.enter(ALICE, BTC, Side::Buy, 100, 5);
    amend(&mut rig, id, 100, 9);
    let first = Report { leaves_qty: 9, ..report(id, ReportKind::Amended) };
    rig.venue(&first).unwrap();
    amend(&mut rig, id, 100, 2);
    assert_eq!(rig.venue(&first), Err(Unbooked::Repeat));
    assert_eq!(gross(&rig), 900, "the venue may still hold nine");
    rig.tell(id, ReportKind::CancelRejected).unwrap();
    assert_eq!((gross(&rig), rig.gate.order(id).unwrap().qty), (900, 9));
}

#[test]
fn an_answer_that_names_another_price_confirms_nothing() {
    let mut rig = Rig::new();
    let id = rig.enter(ALICE, BTC, Side::Buy, 100, 5);
    amend(&mut rig, id, 110, 5);
    let first = Report { leaves_qty: 5, last_price: 110, ..report(id, ReportKind::Amended) };
    assert_eq!(rig.venue(&first).unwrap().last_price, 110, "the strategy is told the price");
    amend(&mut rig, id, 90, 5);
    assert_eq!(
        rig.venue(&first),
        Err(Unbooked::Repeat),
        "the same quantity, and not the price that is asked for"
    );
    assert_eq!(gross(&rig), 550, "the venue may still hold the higher price");
    let second = Report { last_price: 90, ..first };
    assert_eq!(rig.venue(&second).unwrap().last_price, 90);
    assert_eq!((gross(&rig), rig.gate.order(id).unwrap().price), (450, 90));
    assert_eq!(rig.recovered().state_hash(), rig.gate.state_hash());
}

#[test]
fn what_cannot_be_amended() {
    let mut rig = Rig::new();
    rig.quote(BTC, 99, 101);
    let id = rig.enter(ALICE, BTC, Side::Buy, 100, 5);
    rig.fill(id, 3, 100);
    assert_rejected(&amend(&mut rig, id, 100, 3), Reason::BadQty, LimitId::None, 3, 1);
    assert_eq!(amend(&mut rig, id, 100, 4).reason, Reason::Ok);
    assert_eq!(amend(&mut rig, id, 100, 6).reason, Reason::VenueBusy, "one amend at a time");
    let mut market = rig.limit_order(BTC, Side::Buy, 0, 5);
    market.order_type = OrderType::Market;
    let market = rig.submit(ALICE, &market).order_id;
    assert_eq!(amend(&mut rig, market, 100, 6).reason, Reason::UnknownOrder);
    let other = rig.enter(ALICE, BTC, Side::Buy, 100, 5);
    let cancel = Intent::cancel(BTC, other, rig.key(), rig.now_ns);
    rig.submit(ALICE, &cancel);
    assert_eq!(amend(&mut rig, other, 100, 6).reason, Reason::OrderTerminal);
    let mut elsewhere = with_kind(rig.limit_order(ETH, Side::Buy, 100, 6), IntentKind::Amend);
    elsewhere.ttl_ns_or_target = id;
    assert_eq!(rig.submit(ALICE, &elsewhere).reason, Reason::UnknownOrder);
    elsewhere.flags = intent_flags::BY_KEY;
    assert_eq!(rig.submit(BOB, &elsewhere).reason, Reason::Malformed);
}
