//! Resting orders: when the tape fills them.

use super::floor::*;
use ringfence_ipc::msg::{OrderState, TapeEnd};

const LONG_AFTER_NS: u64 = 1_000_000_000;

#[test]
fn trades_eat_the_queue_before_they_fill_us() {
    let mut floor = Floor::new();
    floor.send(&limit(1, BUY, 99, 5));
    assert_eq!(floor.ahead(1), 4);
    assert_eq!(floor.trade(SELL, 99, 3), []);
    assert_eq!(floor.ahead(1), 1);
    let part = floor.trade(SELL, 99, 3);
    assert_eq!(
        (fills(&part), part[0].state, part[0].maker),
        (vec![(1, 2, 99)], OrderState::PartiallyFilled, true)
    );
    assert_eq!(fills(&floor.trade(SELL, 99, 30)), [(1, 3, 99)]);
    assert_eq!(floor.venue.open_orders(), 0);
}

#[test]
fn a_trade_of_the_other_aggressor_at_our_price_does_not_reach_us() {
    let mut floor = Floor::new();
    floor.send(&limit(1, BUY, 99, 5));
    assert_eq!(floor.trade(BUY, 99, 100), []);
}

#[test]
fn own_orders_at_one_price_fill_in_time_order() {
    let mut floor = Floor::new();
    floor.send(&limit(1, BUY, 99, 5));
    floor.depth(&[(BUY, 99, 10)], false);
    floor.send(&limit(2, BUY, 99, 5));
    assert_eq!((floor.ahead(1), floor.ahead(2)), (4, 15));
    assert_eq!(fills(&floor.trade(SELL, 99, 7)), [(1, 3, 99)]);
    assert_eq!(floor.ahead(2), 8);
    assert_eq!(fills(&floor.trade(SELL, 99, 9)), [(1, 2, 99), (2, 1, 99)]);
}

#[test]
fn a_better_price_fills_before_an_earlier_order() {
    let mut floor = Floor::new();
    floor.send(&limit(1, SELL, 101, 5));
    floor.send(&limit(2, SELL, 100, 5));
    assert_eq!(fills(&floor.trade(BUY, 101, 7)), [(2, 5, 100)], "two are left, three lie ahead of order 1");
    assert_eq!(floor.ahead(1), 1);
}

#[test]
fn a_trade_through_our_price_fills_us_up_to_its_quantity() {
    let mut floor = Floor::new();
    floor.send(&limit(1, BUY, 99, 5));
    assert_eq!(fills(&floor.trade(SELL, 98, 2)), [(1, 2, 99)]);
    assert_eq!(fills(&floor.trade(BUY, 98, 20)), [(1, 3, 99)]);
}

#[test]
fn a_quote_through_our_price_fills_us_up_to_its_quantity_once() {
    let mut floor = Floor::new();
    floor.send(&limit(1, BUY, 100, 5));
    let reports = floor.quote(98, 5, 99, 2);
    assert_eq!((fills(&reports), reports[0].maker), (vec![(1, 2, 100)], true));
    assert_eq!(floor.quote(98, 6, 99, 2), [], "the same two lots are not offered twice");
    assert_eq!(fills(&floor.quote(98, 6, 99, 3)), [(1, 1, 100)]);
    assert_eq!(floor.depth(&[(SELL, 99, 9)], false), [], "depth has no say where the quote has spoken");
    assert_eq!(fills(&floor.quote(98, 6, 100, 9)), [(1, 2, 100)], "an ask at our bid reaches us too");
}

#[test]
fn without_quotes_depth_through_our_price_fills_us() {
    let mut floor = Floor::new();
    floor.send(&limit(1, SELL, 100, 5));
    assert_eq!(fills(&floor.depth(&[(BUY, 100, 3), (BUY, 101, 1)], false)), [(1, 4, 100)]);
}

#[test]
fn what_leaves_the_level_leaves_evenly_and_never_more_than_is_shown_stays_ahead() {
    let mut floor = Floor::new();
    floor.send(&limit(1, BUY, 98, 7));
    floor.depth(&[(BUY, 98, 20)], false);
    assert_eq!(floor.ahead(1), 5, "what joins, joins behind");
    floor.depth(&[(BUY, 98, 10)], false);
    assert_eq!(floor.ahead(1), 3, "half left; rounded against us");
    floor.depth(&[(BUY, 98, 1)], false);
    assert_eq!(floor.ahead(1), 1);
    floor.depth(&[(BUY, 98, 0)], false);
    assert_eq!(floor.ahead(1), 0);
    floor.depth(&[(BUY, 98, 30)], false);
    assert_eq!(floor.ahead(1), 0);
}

#[test]
fn a_trade_announced_by_a_quote_is_not_counted_twice() {
    let mut floor = Floor::new();
    floor.depth(&[(BUY, 99, 10)], false);
    floor.send(&limit(1, BUY, 99, 5));
    floor.quote(99, 7, 101, 3);
    assert_eq!(floor.ahead(1), 7);
    assert_eq!(floor.trade(SELL, 99, 3), []);
    assert_eq!(floor.ahead(1), 7, "the quote had told of these three");
    assert_eq!(fills(&floor.trade(SELL, 99, 8)), [(1, 1, 99)]);
}

#[test]
fn a_level_that_a_quote_took_away_fills_us_only_with_what_the_trades_had_left() {
    let mut floor = Floor::new();
    floor.send(&limit(1, BUY, 99, 5));
    assert_eq!(floor.quote(98, 5, 101, 3), []);
    assert_eq!(floor.trade(SELL, 99, 3), []);
    assert_eq!(fills(&floor.trade(SELL, 99, 3)), [(1, 2, 99)]);
}

#[test]
fn a_decrease_long_ago_heralds_no_trade() {
    let mut floor = Floor::new();
    floor.send(&limit(1, BUY, 99, 5));
    floor.quote(99, 1, 101, 3);
    floor.now_ns += LONG_AFTER_NS;
    assert_eq!(fills(&floor.trade(SELL, 99, 3)), [(1, 2, 99)]);
}

#[test]
fn malformed_tape_is_counted_and_harmless() {
    let mut floor = Floor::new();
    let (mut out, before) = (Vec::new(), floor.venue.events_seen());
    for words in [[0; 7], [u64::MAX; 7], [255, 1, 2, 3, 4, 5, 6]] {
        floor.venue.on_tape(&words, 2_000, &mut out);
    }
    let strange = ringfence_ipc::msg::Trade {
        symbol: 9,
        event: 70,
        ts_ns: 1,
        price: 1,
        qty: 1,
        trade_id: 1,
        aggressor: BUY,
    };
    floor.venue.on_tape(&strange.encode(), 2_000, &mut out);
    floor.venue.on_tape(&TapeEnd { event: 70 }.encode(), 2_000, &mut out);
    assert_eq!((floor.venue.malformed(), out.len()), (4, 0));
    assert_eq!((floor.venue.events_seen(), floor.venue.last_event()), (before + 1, 70));
}

#[test]
fn a_snapshot_sent_again_under_a_known_number_is_no_new_event() {
    let mut floor = Floor::new();
    let snapshot = ringfence_ipc::msg::DepthDelta {
        symbol: 0,
        event: floor.venue.last_event(),
        ts_ns: 1,
        levels: [None, None],
        last: true,
        snapshot: true,
    };
    floor.venue.on_tape(&snapshot.encode(), 2_000, &mut Vec::new());
    assert_eq!((floor.venue.events_seen(), floor.venue.last_event()), (1, 1));
    assert!(floor.venue.book(0).unwrap().best_bid().is_none());
}

#[test]
fn a_second_life_does_not_count_the_snapshot_it_begins_with() {
    let mut floor = Floor::blank(INSTANT);
    floor.venue.resume_after(1);
    floor.depth(&[(BUY, 99, 4), (SELL, 101, 3)], true);
    assert_eq!((floor.venue.events_seen(), floor.venue.last_event()), (0, 1));
    assert_eq!(floor.venue.book(0).unwrap().best_bid().map(|level| level.price), Some(99));
    floor.quote(98, 1, 101, 3);
    assert_eq!((floor.venue.events_seen(), floor.venue.last_event()), (1, 2));
}
