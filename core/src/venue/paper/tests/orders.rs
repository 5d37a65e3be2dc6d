//! Commands: what they are answered with.

use super::floor::*;
use crate::venue::PaperConfig;
use ringfence_ipc::msg::{Command, CommandKind, OrderState, OrderType, ReportKind, Tif, intent_flags};
use ringfence_ipc::reason::Reason;

use CommandKind::{Amend, Cancel, Reenter};
use ReportKind::{Accepted, Amended, CancelRejected, Cancelled, Expired, Fill, Rejected};

#[test]
fn a_limit_order_that_reaches_nothing_rests() {
    let mut floor = Floor::new();
    let reports = floor.send(&limit(1, BUY, 100, 7));
    assert_eq!(seen(&reports), [(Accepted, 0, 0, 0, 7, Reason::Ok)]);
    assert_eq!((reports[0].order_id, reports[0].key_low, reports[0].state), (1, 1_001, OrderState::Accepted));
    assert_eq!(floor.venue.open_orders(), 1);
}

#[test]
fn an_aggressive_order_takes_level_by_level_and_rests_with_the_rest() {
    let mut floor = Floor::new();
    let reports = floor.send(&limit(1, BUY, 102, 15));
    assert_eq!(
        seen(&reports),
        [
            (Accepted, 0, 0, 0, 15, Reason::Ok),
            (Fill, 3, 101, 3, 12, Reason::Ok),
            (Fill, 9, 102, 12, 3, Reason::Ok)
        ]
    );
    assert!(reports.iter().all(|r| !r.maker));
    assert_eq!((reports[1].trade_id, reports[2].trade_id), (5_001, 5_002));
    assert_eq!(floor.venue.open_orders(), 1);
}

#[test]
fn liquidity_taken_once_is_not_there_for_the_next_order() {
    let mut floor = Floor::new();
    floor.send(&limit(1, BUY, 102, 12));
    let ioc = Command { tif: Tif::Ioc, ..limit(2, BUY, 102, 5) };
    assert_eq!(seen(&floor.send(&ioc)), [(Expired, 0, 0, 0, 0, Reason::NoLiquidity)]);
    floor.depth(&[(SELL, 102, 11)], false);
    assert_eq!(fills(&floor.send(&Command { order_id: 3, ..ioc })), [(3, 2, 102)]);
}

#[test]
fn an_ioc_rest_expires() {
    let mut floor = Floor::new();
    let reports = floor.send(&Command { tif: Tif::Ioc, ..limit(1, SELL, 99, 6) });
    assert_eq!(
        seen(&reports),
        [
            (Accepted, 0, 0, 0, 6, Reason::Ok),
            (Fill, 4, 99, 4, 2, Reason::Ok),
            (Expired, 0, 0, 4, 0, Reason::NoLiquidity)
        ]
    );
    assert_eq!(floor.venue.open_orders(), 0);
}

#[test]
fn fill_or_kill_is_all_or_nothing() {
    let mut floor = Floor::new();
    let fok = Command { tif: Tif::Fok, ..limit(1, BUY, 102, 13) };
    assert_eq!(seen(&floor.send(&fok)), [(Expired, 0, 0, 0, 0, Reason::FokUnfilled)]);
    let whole = floor.send(&Command { order_id: 2, qty: 12, ..fok });
    assert_eq!(fills(&whole), [(2, 3, 101), (2, 9, 102)]);
    assert_eq!(whole[2].state, OrderState::Filled);
}

#[test]
fn a_market_order_walks_the_book_and_never_rests() {
    let mut floor = Floor::new();
    let market = Command { order_type: OrderType::Market, price: 0, ..limit(1, BUY, 0, 20) };
    let reports = floor.send(&market);
    assert_eq!(fills(&reports), [(1, 3, 101), (1, 9, 102)]);
    assert_eq!(reports[3].reason, Reason::NoLiquidity);
    assert_eq!(floor.venue.open_orders(), 0);
}

#[test]
fn an_empty_book_expires_market_and_ioc() {
    let mut floor = Floor::blank(INSTANT);
    let market = Command { order_type: OrderType::Market, price: 0, ..limit(1, BUY, 0, 20) };
    assert_eq!(seen(&floor.send(&market)), [(Expired, 0, 0, 0, 0, Reason::NoLiquidity)]);
    let ioc = Command { tif: Tif::Ioc, ..limit(2, BUY, 102, 5) };
    assert_eq!(seen(&floor.send(&ioc)), [(Expired, 0, 0, 0, 0, Reason::NoLiquidity)]);
}

#[test]
fn post_only_that_would_take_expires() {
    let mut floor = Floor::new();
    let post = Command { flags: intent_flags::POST_ONLY, ..limit(1, BUY, 101, 1) };
    assert_eq!(seen(&floor.send(&post)), [(Expired, 0, 0, 0, 0, Reason::WouldTake)]);
    let reports = floor.send(&Command { order_id: 2, price: 100, ..post });
    assert_eq!(seen(&reports), [(Accepted, 0, 0, 0, 1, Reason::Ok)]);
    let amend = of_kind(Amend, 2, 101, 1);
    assert_eq!(seen(&floor.send(&amend)), [(CancelRejected, 0, 0, 0, 1, Reason::WouldTake)]);
    assert_eq!(floor.venue.open_orders(), 1);
}

#[test]
fn own_orders_never_match_each_other() {
    let mut floor = Floor::new();
    floor.send(&limit(1, SELL, 100, 5));
    let reports = floor.send(&limit(2, BUY, 100, 5));
    assert_eq!(seen(&reports), [(Accepted, 0, 0, 0, 5, Reason::Ok)]);
    assert_eq!(floor.venue.open_orders(), 2);
}

#[test]
fn cancel_ends_the_order_and_a_second_cancel_is_refused() {
    let mut floor = Floor::new();
    floor.send(&limit(1, BUY, 98, 7));
    let cancel = of_kind(Cancel, 1, 0, 0);
    assert_eq!(seen(&floor.send(&cancel)), [(Cancelled, 0, 0, 0, 0, Reason::CancelRequested)]);
    assert_eq!(seen(&floor.send(&cancel)), [(CancelRejected, 0, 0, 0, 0, Reason::VenueUnknownOrder)]);
    assert_eq!(floor.trade(SELL, 90, 100), []);
}

#[test]
fn an_order_id_already_known_is_never_doubled() {
    let mut floor = Floor::new();
    let order = limit(1, BUY, 98, 7);
    floor.send(&order);
    assert_eq!(floor.send(&order), []);
    floor.send(&of_kind(Cancel, 1, 0, 0));
    assert_eq!(floor.send(&order), [], "not after its end either");
    assert_eq!((floor.venue.repeated(), floor.venue.open_orders()), (2, 0));
}

#[test]
fn amend_to_less_keeps_the_place_in_the_queue() {
    let mut floor = Floor::new();
    floor.send(&limit(1, BUY, 98, 7));
    floor.depth(&[(BUY, 98, 50)], false);
    assert_eq!(floor.ahead(1), 5);
    assert_eq!(seen(&floor.send(&of_kind(Amend, 1, 98, 6))), [(Amended, 0, 98, 0, 6, Reason::Ok)]);
    assert_eq!(floor.ahead(1), 5);
}

#[test]
fn amend_to_more_or_to_another_price_goes_to_the_back() {
    let mut floor = Floor::new();
    floor.send(&limit(1, BUY, 98, 7));
    floor.send(&limit(2, BUY, 98, 1));
    floor.depth(&[(BUY, 98, 50)], false);
    floor.send(&of_kind(Amend, 1, 98, 8));
    assert_eq!((floor.ahead(1), floor.ahead(2)), (51, 5));
    floor.send(&of_kind(Amend, 1, 99, 8));
    assert_eq!(floor.ahead(1), 4);
}

#[test]
fn amend_through_the_market_takes() {
    let mut floor = Floor::new();
    floor.send(&limit(1, BUY, 98, 2));
    let reports = floor.send(&of_kind(Amend, 1, 101, 4));
    assert_eq!(seen(&reports), [(Amended, 0, 101, 0, 4, Reason::Ok), (Fill, 3, 101, 3, 1, Reason::Ok)]);
    assert!(!reports[1].maker);
}

#[test]
fn amend_to_no_more_than_is_filled_is_refused() {
    let mut floor = Floor::new();
    floor.send(&limit(1, BUY, 101, 7));
    for qty in [3, 2, 0, -1] {
        let reports = floor.send(&of_kind(Amend, 1, 101, qty));
        assert_eq!(seen(&reports), [(CancelRejected, 0, 0, 3, 4, Reason::VenueReject)]);
        assert_eq!(reports[0].state, OrderState::PartiallyFilled);
    }
    let unknown = floor.send(&of_kind(Amend, 9, 101, 5));
    assert_eq!(unknown[0].reason, Reason::VenueUnknownOrder);
}

#[test]
fn a_reentered_order_goes_to_the_back_and_says_so() {
    let mut floor = Floor::new();
    let reports = floor.send(&Command { kind: Reenter, ..limit(1, BUY, 99, 2) });
    assert_eq!((reports[0].kind, reports[0].reentered), (Accepted, true));
    assert_eq!(floor.ahead(1), 4);
    let filled = floor.trade(SELL, 99, 6);
    assert!(filled[0].reentered && filled[0].state == OrderState::Filled);
}

#[test]
fn a_reentered_order_goes_on_counting_where_it_was() {
    let mut floor = Floor::new();
    let reenter = Command { kind: Reenter, ..limit(1, BUY, 99, 6) }.with_filled(4);
    let reports = floor.send(&reenter);
    assert_eq!(
        (seen(&reports), reports[0].state),
        (vec![(Accepted, 0, 0, 4, 6, Reason::Ok)], OrderState::PartiallyFilled)
    );
    assert_eq!(seen(&floor.trade(SELL, 98, 2)), [(Fill, 2, 99, 6, 4, Reason::Ok)]);
    assert_eq!(seen(&floor.send(&of_kind(Amend, 1, 99, 8))), [(Amended, 0, 99, 6, 2, Reason::Ok)]);
    assert_eq!(seen(&floor.trade(SELL, 98, 9)), [(Fill, 2, 99, 8, 0, Reason::Ok)]);
    for nonsense in [-1, i64::MAX] {
        let reports = floor.send(&Command { order_id: 2, ..reenter }.with_filled(nonsense));
        assert!(reports.is_empty() || reports[0].kind == Rejected);
    }
}

#[test]
fn an_order_reentered_before_the_book_is_known_queues_behind_what_appears() {
    let mut floor = Floor::blank(INSTANT);
    floor.send(&Command { kind: Reenter, ..limit(1, BUY, 99, 2) });
    assert_eq!(floor.ahead(1), 0);
    floor.depth(&[(BUY, 99, 4), (SELL, 101, 3)], true);
    assert_eq!(floor.ahead(1), 4);
    floor.depth(&[(BUY, 99, 40)], false);
    assert_eq!(floor.ahead(1), 4, "only the first appearance counts");
}

#[test]
fn fees_and_maker_flags() {
    let mut floor = Floor::new();
    let taken = floor.send(&limit(1, BUY, 101, 3));
    // 1.01 x 0.00003 = 0.0000303; 1,000 ppm of it is 3.03e-8, rounded up.
    assert_eq!((taken[1].fee_e8, taken[1].maker), (4, false));
    floor.send(&limit(2, BUY, 99, 400_000));
    let made = floor.trade(SELL, 99, 400_004);
    // 0.99 x 4 at -100 ppm is exactly -0.000396.
    assert_eq!((made[0].fee_e8, made[0].maker, made[0].last_qty), (-39_600, true, 400_000));
}

#[test]
fn commands_arrive_after_the_latency_in_order() {
    let mut floor = Floor::blank(PaperConfig { latency_ns: 500, ..INSTANT });
    assert_eq!(floor.send(&limit(1, BUY, 98, 7)), []);
    assert_eq!(floor.send(&of_kind(Cancel, 1, 0, 0)), []);
    assert_eq!(floor.venue.next_due_ns(), Some(1_500));
    assert_eq!(floor.advance(1_499), []);
    let reports = floor.advance(2_000);
    assert_eq!(
        reports.iter().map(|r| (r.kind, r.ts_ns)).collect::<Vec<_>>(),
        [(Accepted, 1_500), (Cancelled, 1_500)]
    );
    assert_eq!(floor.venue.next_due_ns(), None);
}

#[test]
fn a_tape_message_comes_after_the_commands_due_before_it() {
    let mut floor = Floor::blank(PaperConfig { latency_ns: 500, ..INSTANT });
    floor.quote(99, 4, 101, 3);
    floor.send(&limit(1, BUY, 101, 3));
    floor.now_ns = 1_500;
    let reports = floor.quote(99, 4, 105, 3);
    assert_eq!(fills(&reports), [(1, 3, 101)]);
}

#[test]
fn jitter_never_lets_a_cancel_overtake_its_order() {
    let mut floor = Floor::blank(PaperConfig { latency_ns: 10, jitter_ns: 1_000_000, ..INSTANT });
    for id in 1..=200 {
        floor.send(&limit(id, BUY, 98, 7));
        floor.send(&of_kind(Cancel, id, 0, 0));
    }
    let reports = floor.advance(10_000_000);
    let kinds: Vec<_> = reports.iter().map(|r| (r.kind, r.order_id)).collect();
    let expected: Vec<_> = (1..=200).flat_map(|id| [(Accepted, id), (Cancelled, id)]).collect();
    assert_eq!(kinds, expected);
}

#[test]
fn the_reject_model_refuses_its_share() {
    let mut floor = Floor::blank(PaperConfig { reject_ppm: 250_000, max_orders: 10_000, ..INSTANT });
    let rejected = (1..=4_000).filter(|id| floor.send(&limit(*id, BUY, 98, 7))[0].kind == Rejected).count();
    assert!((900..1_100).contains(&rejected), "{rejected} of 4000");
}

#[test]
fn what_no_gate_would_send_is_refused() {
    let mut floor = Floor::new();
    let good = limit(1, BUY, 98, 7);
    let bad = [
        (Command { symbol: 1, ..good }, Reason::UnknownSymbol),
        (Command { qty: 0, ..good }, Reason::VenueReject),
        (Command { qty: -1, ..good }, Reason::VenueReject),
        (Command { price: 0, ..good }, Reason::VenueReject),
        (Command { price: i64::MIN, ..good }, Reason::VenueReject),
        (Command { price: i64::MAX, qty: i64::MAX, ..good }, Reason::VenueReject),
    ];
    for (i, (command, reason)) in bad.into_iter().enumerate() {
        let reports = floor.send(&Command { order_id: 10 + i as u64, ..command });
        assert_eq!(seen(&reports), [(Rejected, 0, 0, 0, 0, reason)]);
    }
}

#[test]
fn more_than_max_orders_is_refused() {
    let mut floor = Floor::blank(PaperConfig { max_orders: 2, ..INSTANT });
    floor.send(&limit(1, BUY, 98, 7));
    floor.send(&limit(2, BUY, 98, 7));
    assert_eq!(seen(&floor.send(&limit(3, BUY, 98, 7))), [(Rejected, 0, 0, 0, 0, Reason::VenueReject)]);
}
