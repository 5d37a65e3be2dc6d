//! Every check trips at exactly one beyond its limit.

use ringfence_ipc::msg::{Intent, IntentKind, OrderType, ReportKind, Side, Tif, intent_flags};
use ringfence_ipc::reason::{LimitId, Reason, Scope};

use super::super::Capacity;
use super::*;

/// `at` passes and `beyond` is refused, each in a fresh rig, for a single limit order.
fn trips(limits: &[(Scope, u16, LimitId, i64)], at: (i64, i64), beyond: (i64, i64)) -> Decision {
    let mut rig = Rig::with(CAP, limits);
    assert_eq!(rig.try_order(ALICE, BTC, Side::Buy, at.0, at.1).reason, Reason::Ok);
    let mut rig = Rig::with(CAP, limits);
    let before = rig.gate.gross_e16(Scope::Global, 0);
    let decision = rig.try_order(ALICE, BTC, Side::Buy, beyond.0, beyond.1);
    assert_eq!(rig.gate.gross_e16(Scope::Global, 0), before, "a refusal reserves nothing");
    decision
}

#[test]
fn order_quantity_per_strategy_symbol_and_by_default() {
    for (scope, id) in [(Scope::Strategy, ALICE), (Scope::Symbol, BTC), (Scope::Global, 0)] {
        let refused = trips(&[(scope, id, LimitId::MaxOrderQty, 10)], (100, 10), (100, 11));
        assert_rejected(&refused, Reason::MaxOrderQty, LimitId::MaxOrderQty, 11, 10);
    }
}

#[test]
fn order_notional_per_gate_strategy_and_symbol() {
    for (scope, id) in [(Scope::Global, 0), (Scope::Strategy, ALICE), (Scope::Symbol, BTC)] {
        let limit = 1_000 * CENT_E8;
        let refused = trips(&[(scope, id, LimitId::MaxOrderNotionalE8, limit)], (100, 10), (1_001, 1));
        assert_rejected(
            &refused,
            Reason::MaxOrderNotional,
            LimitId::MaxOrderNotionalE8,
            limit + CENT_E8,
            limit,
        );
    }
}

#[test]
fn gross_notional_at_every_level() {
    for (scope, id) in
        [(Scope::Global, 0), (Scope::Strategy, ALICE), (Scope::Symbol, BTC), (Scope::Account, 0)]
    {
        let limit = 1_000 * CENT_E8;
        let mut rig = Rig::with(CAP, &[(scope, id, LimitId::MaxGrossNotionalE8, limit)]);
        rig.enter(ALICE, BTC, Side::Buy, 100, 6);
        rig.enter(ALICE, BTC, Side::Sell, 100, 4);
        let refused = rig.try_order(ALICE, BTC, Side::Sell, 1, 1);
        let observed = limit + CENT_E8;
        assert_rejected(&refused, Reason::GrossNotionalLimit, LimitId::MaxGrossNotionalE8, observed, limit);
        let elsewhere = rig.try_order(BOB, ETH, Side::Sell, 1, 1).reason;
        assert_eq!(elsewhere == Reason::Ok, scope != Scope::Global, "{scope}");
    }
}

#[test]
fn worst_case_position_per_strategy_counts_open_orders_of_one_side() {
    let mut rig = Rig::with(CAP, &[(Scope::Strategy, ALICE, LimitId::MaxPositionQty, 10)]);
    let first = rig.enter(ALICE, BTC, Side::Buy, 100, 4);
    rig.fill(first, 4, 100);
    rig.enter(ALICE, BTC, Side::Buy, 100, 6);
    let refused = rig.try_order(ALICE, BTC, Side::Buy, 100, 1);
    assert_rejected(&refused, Reason::PositionLimit, LimitId::MaxPositionQty, 11, 10);
    rig.enter(ALICE, BTC, Side::Sell, 100, 14);
    let refused = rig.try_order(ALICE, BTC, Side::Sell, 100, 1);
    assert_rejected(&refused, Reason::PositionLimit, LimitId::MaxPositionQty, 11, 10);
    rig.enter(ALICE, ETH, Side::Sell, 100, 10);
    rig.enter(BOB, BTC, Side::Buy, 100, 1_000);
}

#[test]
fn gross_notional_trips_on_an_amend_at_every_level() {
    for (scope, id) in
        [(Scope::Global, 0), (Scope::Strategy, ALICE), (Scope::Symbol, BTC), (Scope::Account, 0)]
    {
        let limit = 1_000 * CENT_E8;
        let mut rig = Rig::with(CAP, &[(scope, id, LimitId::MaxGrossNotionalE8, limit)]);
        let order = rig.enter(ALICE, BTC, Side::Buy, 100, 6);
        rig.enter(ALICE, BTC, Side::Sell, 100, 3);
        let mut amend = |price| {
            let intent = with_kind(rig.limit_order(BTC, Side::Buy, price, 7), IntentKind::Amend);
            rig.submit(ALICE, &Intent { ttl_ns_or_target: order, ..intent })
        };
        let (observed, reason) = (limit + 7 * CENT_E8, Reason::GrossNotionalLimit);
        assert_rejected(&amend(101), reason, LimitId::MaxGrossNotionalE8, observed, limit);
        assert_eq!(amend(100).reason, Reason::Ok, "{scope}");
    }
}

#[test]
fn strategies_inherit_the_gates_position_and_open_order_limits() {
    let mut rig = Rig::with(CAP, &[(Scope::Global, 0, LimitId::MaxPositionQty, 10)]);
    rig.enter(ALICE, BTC, Side::Sell, 100, 10);
    rig.enter(BOB, BTC, Side::Sell, 100, 10);
    let refused = rig.try_order(BOB, BTC, Side::Sell, 100, 1);
    assert_rejected(&refused, Reason::PositionLimit, LimitId::MaxPositionQty, 11, 10);
    let mut rig = Rig::with(CAP, &[(Scope::Global, 0, LimitId::MaxOpenOrders, 1)]);
    rig.enter(ALICE, BTC, Side::Buy, 100, 1);
    rig.enter(BOB, BTC, Side::Buy, 100, 1);
    let refused = rig.try_order(BOB, BTC, Side::Buy, 100, 1);
    assert_rejected(&refused, Reason::OpenOrders, LimitId::MaxOpenOrders, 2, 1);
}

#[test]
fn worst_case_position_per_symbol_counts_every_strategy() {
    let mut rig = Rig::with(CAP, &[(Scope::Symbol, BTC, LimitId::MaxPositionQty, 10)]);
    rig.enter(ALICE, BTC, Side::Buy, 100, 4);
    rig.enter(BOB, BTC, Side::Buy, 100, 6);
    let refused = rig.try_order(BOB, BTC, Side::Buy, 100, 1);
    assert_rejected(&refused, Reason::PositionLimit, LimitId::MaxPositionQty, 11, 10);
}

#[test]
fn a_reducing_order_passes_beyond_a_lowered_limit() {
    let mut rig = Rig::new();
    let id = rig.enter(ALICE, BTC, Side::Buy, 100, 10);
    rig.fill(id, 10, 100);
    rig.limit(Scope::Strategy, ALICE, LimitId::MaxPositionQty, 5);
    assert_eq!(rig.try_order(ALICE, BTC, Side::Buy, 100, 1).reason, Reason::PositionLimit);
    rig.enter(ALICE, BTC, Side::Sell, 100, 10);
}

#[test]
fn distinct_symbols_in_the_exposure_store() {
    let mut rig = Rig::with(CAP, &[(Scope::Global, 0, LimitId::ExposureMaxSymbols, 1)]);
    rig.enter(ALICE, BTC, Side::Buy, 100, 1);
    rig.enter(BOB, BTC, Side::Buy, 100, 1);
    let refused = rig.try_order(ALICE, ETH, Side::Buy, 100, 1);
    assert_rejected(&refused, Reason::ExposureSymbolLimit, LimitId::ExposureMaxSymbols, 2, 1);
}

#[test]
fn position_slots_of_the_exposure_store() {
    let mut rig = Rig::with(Capacity { max_positions: 1, ..CAP }, &[]);
    rig.enter(ALICE, BTC, Side::Buy, 100, 1);
    rig.enter(ALICE, BTC, Side::Sell, 100, 1);
    assert_eq!(rig.try_order(BOB, BTC, Side::Buy, 100, 1).reason, Reason::ExposureSymbolLimit);
}

#[test]
fn open_orders_per_strategy() {
    let mut rig = Rig::with(CAP, &[(Scope::Strategy, ALICE, LimitId::MaxOpenOrders, 2)]);
    let first = rig.enter(ALICE, BTC, Side::Buy, 100, 1);
    rig.enter(ALICE, BTC, Side::Buy, 100, 1);
    let refused = rig.try_order(ALICE, BTC, Side::Buy, 100, 1);
    assert_rejected(&refused, Reason::OpenOrders, LimitId::MaxOpenOrders, 3, 2);
    rig.tell(first, ReportKind::Expired).unwrap();
    rig.enter(ALICE, BTC, Side::Buy, 100, 1);
}

#[test]
fn collar_in_both_directions_at_exactly_its_width() {
    let mut rig = Rig::with(CAP, &[(Scope::Global, 0, LimitId::PriceCollarBps, 250)]);
    rig.quote(BTC, 9_999, 10_001);
    for price in [10_250, 9_750] {
        assert_eq!(rig.try_order(ALICE, BTC, Side::Buy, price, 1).reason, Reason::Ok);
        assert_eq!(rig.try_order(ALICE, BTC, Side::Sell, price, 1).reason, Reason::Ok);
    }
    let above = rig.try_order(ALICE, BTC, Side::Buy, 10_251, 1);
    assert_rejected(&above, Reason::PriceCollar, LimitId::PriceCollarBps, 251, 250);
    let below = rig.try_order(ALICE, BTC, Side::Sell, 9_749, 1);
    assert_rejected(&below, Reason::PriceCollar, LimitId::PriceCollarBps, -251, 250);
    rig.limit(Scope::Symbol, BTC, LimitId::PriceCollarBps, 300);
    assert_eq!(rig.try_order(ALICE, BTC, Side::Buy, 10_251, 1).reason, Reason::Ok);
}

#[test]
fn the_collar_fails_closed() {
    let age = 1_000;
    let limits = [
        (Scope::Global, 0, LimitId::PriceCollarBps, 250),
        (Scope::Global, 0, LimitId::ReferenceMaxAgeNs, age),
    ];
    let mut rig = Rig::with(CAP, &limits);
    assert_eq!(rig.try_order(ALICE, BTC, Side::Buy, 100, 1).reason, Reason::ReferenceMissing);
    rig.quote(BTC, 100, 0);
    assert_eq!(rig.try_order(ALICE, BTC, Side::Buy, 100, 1).reason, Reason::ReferenceMissing);
    rig.quote(BTC, 101, 101);
    assert_eq!(rig.try_order(ALICE, BTC, Side::Buy, 100, 1).reason, Reason::ReferenceCrossed);
    rig.quote(BTC, 99, 101);
    rig.now_ns += age as u64;
    assert_eq!(rig.try_order(ALICE, BTC, Side::Buy, 100, 1).reason, Reason::Ok);
    rig.now_ns += 1;
    let stale = rig.try_order(ALICE, BTC, Side::Buy, 100, 1);
    assert_rejected(&stale, Reason::ReferenceStale, LimitId::ReferenceMaxAgeNs, age + 1, age);
}

#[test]
fn a_market_order_reserves_the_reference_with_the_band_on_top() {
    let limits = [
        (Scope::Global, 0, LimitId::MarketBandBps, 1_000),
        (Scope::Strategy, ALICE, LimitId::MaxGrossNotionalE8, 1_100 * CENT_E8),
    ];
    let mut rig = Rig::with(CAP, &limits);
    let mut market = rig.limit_order(BTC, Side::Sell, 0, 10);
    (market.order_type, market.tif) = (OrderType::Market, Tif::Ioc);
    assert_eq!(rig.submit(ALICE, &market).reason, Reason::ReferenceMissing);
    rig.quote(BTC, 100, 101);
    let accepted = rig.submit(ALICE, &market);
    assert_eq!(accepted.reason, Reason::Ok);
    assert_eq!(rig.gate.gross_e16(Scope::Strategy, ALICE), Some(1_100 * CENT_E16));
    rig.tell(accepted.order_id, ReportKind::Expired).unwrap();
    rig.quote(BTC, 102, 101);
    market.key = rig.key();
    assert_eq!(rig.submit(ALICE, &market).reason, Reason::ReferenceCrossed);
    rig.quote(BTC, 101, 102);
    assert_eq!(rig.submit(ALICE, &market).reason, Reason::GrossNotionalLimit);
}

#[test]
fn rates_per_strategy_with_a_bucket_for_cancels() {
    let limits = [
        (Scope::Strategy, ALICE, LimitId::OrderRatePerS, 10),
        (Scope::Strategy, ALICE, LimitId::OrderBurst, 2),
        (Scope::Strategy, ALICE, LimitId::CancelRatePerS, 10),
        (Scope::Strategy, ALICE, LimitId::CancelBurst, 1),
    ];
    let mut rig = Rig::with(CAP, &limits);
    let id = rig.enter(ALICE, BTC, Side::Buy, 100, 1);
    rig.enter(ALICE, BTC, Side::Buy, 100, 1);
    let refused = rig.try_order(ALICE, BTC, Side::Buy, 100, 1);
    assert_rejected(&refused, Reason::OrderRate, LimitId::OrderBurst, 3, 2);
    rig.enter(BOB, BTC, Side::Buy, 100, 1);
    let cancel = Intent::cancel(BTC, id, rig.key(), rig.now_ns);
    assert_eq!(rig.submit(ALICE, &cancel).reason, Reason::Ok);
    let cancel = Intent::cancel(BTC, id, rig.key(), rig.now_ns);
    assert_rejected(&rig.submit(ALICE, &cancel), Reason::CancelRate, LimitId::CancelBurst, 2, 1);
    rig.now_ns += 100_000_000;
    assert_eq!(rig.submit(ALICE, &cancel).reason, Reason::Ok, "a refused intent does not move the bucket");
    rig.enter(ALICE, BTC, Side::Buy, 100, 1);
    assert_eq!(rig.try_order(ALICE, BTC, Side::Buy, 100, 1).reason, Reason::OrderRate);
}

#[test]
fn the_shape_of_an_order() {
    let mut rig = Rig::new();
    for (price, qty, reason) in [
        (100, 0, Reason::BadQty),
        (100, -1, Reason::BadQty),
        (0, 10, Reason::BadPrice),
        (-5, 10, Reason::BadPrice),
        (101, 10, Reason::OffTick),
        (100, 11, Reason::OffLot),
        (100, 10, Reason::Ok),
    ] {
        assert_eq!(rig.try_order(ALICE, ODD, Side::Buy, price, qty).reason, reason, "{price} x {qty}");
    }
    let refused = |rig: &mut Rig, change: &dyn Fn(&mut Intent)| {
        let mut intent = rig.limit_order(BTC, Side::Buy, 100, 1);
        change(&mut intent);
        rig.submit(ALICE, &intent).reason
    };
    rig.quote(BTC, 99, 101);
    assert_eq!(
        refused(&mut rig, &|i| (i.flags, i.tif) = (intent_flags::POST_ONLY, Tif::Ioc)),
        Reason::BadTif
    );
    assert_eq!(refused(&mut rig, &|i| i.flags = intent_flags::BY_KEY), Reason::BadTif);
    assert_eq!(refused(&mut rig, &|i| i.order_type = OrderType::Market), Reason::BadPrice);
    assert_eq!(refused(&mut rig, &|i| i.symbol = 3), Reason::UnknownSymbol);
    assert_eq!(refused(&mut rig, &|i| i.symbol = u16::MAX), Reason::UnknownSymbol);
    assert_eq!(refused(&mut rig, &|i| i.flags = intent_flags::POST_ONLY), Reason::Ok);
}

#[test]
fn numbers_that_would_overflow_are_refused() {
    let mut rig = Rig::new();
    let huge = i64::MAX - i64::MAX % 10;
    let refused = rig.try_order(ALICE, ODD, Side::Buy, huge, huge);
    assert_eq!(refused.reason, Reason::ArithOverflow);
    rig.enter(ALICE, BTC, Side::Buy, 1, i64::MAX);
    assert_eq!(rig.try_order(ALICE, BTC, Side::Buy, 1, 1).reason, Reason::ArithOverflow);
    assert_eq!(
        rig.try_order(BOB, BTC, Side::Buy, 1, 1).reason,
        Reason::ArithOverflow,
        "the symbol's sum, too"
    );
    assert_eq!(rig.try_order(BOB, BTC, Side::Sell, i64::MAX, i64::MIN).reason, Reason::BadQty);
}

#[test]
fn no_room_behind_the_gate_is_a_transient_refusal_that_spares_cancels() {
    use super::super::{Room, Space};
    let mut rig = Rig::new();
    let id = rig.enter(ALICE, BTC, Side::Buy, 100, 1);
    let order = rig.limit_order(BTC, Side::Buy, 100, 1);
    let cancel = Intent::cancel(BTC, id, rig.key(), rig.now_ns);
    for (room, order_reason, cancel_reason) in [
        (Room { venue: Space::Full, journal: Space::Open }, Reason::VenueBusy, Reason::VenueBusy),
        (Room { venue: Space::Open, journal: Space::Full }, Reason::JournalFull, Reason::JournalFull),
        (Room { venue: Space::Reserved, journal: Space::Open }, Reason::VenueBusy, Reason::Ok),
        (Room { venue: Space::Open, journal: Space::Reserved }, Reason::JournalFull, Reason::Ok),
        (Room { venue: Space::Open, journal: Space::Failed }, Reason::JournalFailed, Reason::Ok),
    ] {
        rig.room = room;
        assert_eq!(rig.decide(ALICE, &order, None).decision.reason, order_reason);
        assert_eq!(rig.decide(ALICE, &cancel, None).decision.reason, cancel_reason);
    }
    rig.room = Room::OPEN;
    assert_eq!(rig.submit(ALICE, &order).reason, Reason::Ok, "the same key may succeed later");
}

#[test]
fn a_full_order_table_is_a_transient_refusal() {
    let mut rig = Rig::with(Capacity { order_slots: 4, ..CAP }, &[]);
    let ids: Vec<_> = (0..4).map(|_| rig.enter(ALICE, BTC, Side::Buy, 100, 1)).collect();
    let refused = rig.try_order(ALICE, BTC, Side::Buy, 100, 1);
    assert_rejected(&refused, Reason::OrderTableFull, LimitId::OrderTableSlots, 5, 4);
    rig.tell(ids[2], ReportKind::Expired).unwrap();
    let next = rig.enter(ALICE, BTC, Side::Buy, 100, 1);
    assert_eq!(next % 4, ids[2] % 4, "sequences whose slot is taken are skipped");
    assert!(next > ids[3]);
}
