//! Who may trade what and when, how often, with what result of the day, and never with itself. Every check trips at
//! exactly one beyond its limit.

use ringfence_ipc::msg::{Intent, IntentKind, OrderType, ReportKind, Side, Tif};
use ringfence_ipc::reason::{LimitId, Reason, Scope};

use super::*;

const SECOND_NS: u64 = 1_000_000_000;
const DAY_NS: u64 = 86_400 * SECOND_NS;

fn strategy(limit: LimitId, value: i64) -> (Scope, u16, LimitId, i64) {
    (Scope::Strategy, ALICE, limit, value)
}

fn symbol(limit: LimitId, value: i64) -> (Scope, u16, LimitId, i64) {
    (Scope::Symbol, BTC, limit, value)
}

/// A rig whose recovery is compared at the end of each test.
fn agrees(rig: &Rig) {
    assert_eq!(rig.recovered().state_hash(), rig.gate.state_hash(), "recovery builds the same state");
}

#[test]
fn identical_orders_in_a_row_trip_at_one_beyond_the_limit_and_only_within_the_window() {
    let window = strategy(LimitId::RepeatWindowNs, SECOND_NS as i64);
    let mut rig = Rig::with(CAP, &[strategy(LimitId::MaxRepeats, 3), window]);
    for _ in 0..3 {
        assert_eq!(rig.try_order(ALICE, BTC, Side::Buy, 100, 1).reason, Reason::Ok);
    }
    let refused = rig.try_order(ALICE, BTC, Side::Buy, 100, 1);
    assert_rejected(&refused, Reason::RepeatedOrder, LimitId::MaxRepeats, 4, 3);
    assert!(refused.reason.is_transient());
    assert_eq!(rig.try_order(BOB, BTC, Side::Buy, 100, 1).reason, Reason::Ok, "another strategy's row");
    rig.now_ns += SECOND_NS;
    assert_eq!(rig.try_order(ALICE, BTC, Side::Buy, 100, 1).reason, Reason::Ok, "a new row");
    agrees(&rig);
}

#[test]
fn another_order_between_begins_a_new_row() {
    let mut rig = Rig::with(CAP, &[strategy(LimitId::MaxRepeats, 2)]);
    for price in [100, 100, 101, 100, 100] {
        assert_eq!(rig.try_order(ALICE, BTC, Side::Buy, price, 1).reason, Reason::Ok);
    }
    assert_eq!(rig.try_order(ALICE, BTC, Side::Buy, 100, 1).reason, Reason::RepeatedOrder);
}

#[test]
fn messages_of_a_day_trip_at_one_beyond_what_fills_and_grace_allow() {
    let mut rig =
        Rig::with(CAP, &[strategy(LimitId::MaxOrderToTrade, 2), strategy(LimitId::OrderToTradeGrace, 3)]);
    // Nothing filled counts as one fill: 2 x 1 + 3.
    let first = rig.enter(ALICE, BTC, Side::Buy, 100, 2);
    for _ in 0..4 {
        rig.enter(ALICE, BTC, Side::Buy, 100, 1);
    }
    let refused = rig.try_order(ALICE, BTC, Side::Buy, 100, 1);
    assert_rejected(&refused, Reason::OrderToTrade, LimitId::MaxOrderToTrade, 6, 5);
    // A cancel always passes, and counts.
    let cancel = Intent::cancel(BTC, first, rig.key(), rig.now_ns);
    assert_eq!(rig.submit(ALICE, &cancel).reason, Reason::Ok);
    rig.fill(first, 1, 100);
    rig.fill(first, 1, 100);
    // 2 x 2 + 3 = 7 against the 6 so far.
    assert_eq!(rig.try_order(ALICE, BTC, Side::Buy, 100, 1).reason, Reason::Ok);
    assert_eq!(rig.try_order(ALICE, BTC, Side::Buy, 100, 1).reason, Reason::OrderToTrade);
    rig.now_ns += DAY_NS;
    assert_eq!(rig.try_order(ALICE, BTC, Side::Buy, 100, 1).reason, Reason::Ok, "a new day");
    agrees(&rig);
}

/// Alice holds 10 bought at 100, with a mark at 100.
fn long_ten(limits: &[(Scope, u16, LimitId, i64)]) -> Rig {
    let mut rig = Rig::with(CAP, limits);
    rig.quote(BTC, 100, 100);
    let id = rig.enter(ALICE, BTC, Side::Buy, 100, 10);
    rig.fill(id, 10, 100);
    rig
}

fn mark(rig: &mut Rig, price: i64) {
    rig.now_ns += SECOND_NS;
    rig.quote(BTC, price, price);
}

#[test]
fn a_daily_loss_beyond_the_soft_limit_lets_only_reducing_orders_pass() {
    // Ten units lose 10 cents per tick; every fill of the rig costs 3e-8.
    let limit = 50 * CENT_E8 + 3;
    let mut rig = long_ten(&[strategy(LimitId::DailyLossSoftE8, limit)]);
    mark(&mut rig, 95);
    assert_eq!(rig.try_order(ALICE, BTC, Side::Buy, 95, 1).reason, Reason::Ok, "exactly at the limit");
    mark(&mut rig, 94);
    let refused = rig.try_order(ALICE, BTC, Side::Buy, 94, 1);
    assert_rejected(&refused, Reason::DailyLossSoft, LimitId::DailyLossSoftE8, limit + 10 * CENT_E8, limit);
    assert_eq!(rig.try_order(ALICE, BTC, Side::Sell, 94, 10).reason, Reason::Ok, "reduces to flat");
    assert_eq!(rig.try_order(ALICE, BTC, Side::Sell, 94, 1).reason, Reason::DailyLossSoft, "would go short");
    assert_eq!(rig.try_order(BOB, BTC, Side::Buy, 94, 1).reason, Reason::Ok, "another strategy's day");
    mark(&mut rig, 95);
    assert_eq!(rig.try_order(ALICE, BTC, Side::Buy, 95, 1).reason, Reason::Ok, "recovered");
    agrees(&rig);
}

#[test]
fn a_daily_loss_beyond_the_hard_limit_stops_every_order_but_a_force_flat_until_the_next_day() {
    let limit = 50 * CENT_E8 + 3;
    let mut rig = long_ten(&[strategy(LimitId::DailyLossHardE8, limit)]);
    mark(&mut rig, 94);
    let refused = rig.try_order(ALICE, BTC, Side::Sell, 94, 1);
    assert_rejected(&refused, Reason::DailyLossHard, LimitId::DailyLossHardE8, limit + 10 * CENT_E8, limit);
    let flat = with_kind(Intent::limit(BTC, Side::Sell, 0, 0, rig.key(), rig.now_ns), IntentKind::ForceFlat);
    assert_eq!(rig.submit(ALICE, &flat).reason, Reason::Ok);
    rig.now_ns += DAY_NS;
    assert_eq!(
        rig.try_order(ALICE, BTC, Side::Sell, 94, 1).reason,
        Reason::Ok,
        "a new day begins at its own zero"
    );
    agrees(&rig);
}

#[test]
fn a_loss_taken_by_fills_counts_like_one_seen_by_marks() {
    let limit = 50 * CENT_E8 + 6;
    let mut rig = long_ten(&[strategy(LimitId::DailyLossHardE8, limit)]);
    let id = rig.enter(ALICE, BTC, Side::Sell, 95, 10);
    rig.fill(id, 10, 95);
    assert_eq!(rig.try_order(ALICE, BTC, Side::Buy, 95, 1).reason, Reason::Ok, "exactly at the limit");
    let id = rig.enter(BOB, BTC, Side::Sell, 95, 1);
    rig.fill(id, 1, 95);
    let id = rig.enter(ALICE, BTC, Side::Buy, 101, 1);
    rig.fill(id, 1, 101);
    assert_eq!(rig.try_order(ALICE, BTC, Side::Buy, 95, 1).reason, Reason::DailyLossHard);
    agrees(&rig);
}

#[test]
fn an_order_that_would_meet_the_strategys_own_is_refused_at_exactly_its_price() {
    let mut rig = Rig::with(CAP, &[strategy(LimitId::SelfCross, 1)]);
    let sell = rig.enter(ALICE, BTC, Side::Sell, 105, 5);
    assert_eq!(rig.try_order(ALICE, BTC, Side::Buy, 104, 1).reason, Reason::Ok);
    let refused = rig.try_order(ALICE, BTC, Side::Buy, 105, 1);
    assert_rejected(&refused, Reason::SelfCross, LimitId::SelfCross, 105, 105);
    assert_eq!(rig.try_order(ALICE, BTC, Side::Sell, 104, 1).reason, Reason::SelfCross);
    assert_eq!(rig.try_order(BOB, BTC, Side::Buy, 105, 1).reason, Reason::Ok, "another strategy");
    assert_eq!(rig.try_order(ALICE, ETH, Side::Buy, 105, 1).reason, Reason::Ok, "another symbol");
    // The bound stays where it was; the walk sees that nothing is left there.
    rig.enter(ALICE, BTC, Side::Sell, 110, 1);
    rig.tell(sell, ReportKind::Cancelled).unwrap();
    assert_eq!(rig.try_order(ALICE, BTC, Side::Buy, 105, 1).reason, Reason::Ok);
    agrees(&rig);
}

#[test]
fn a_market_order_meets_any_order_of_the_other_side_and_an_amend_is_looked_at_too() {
    let mut rig = Rig::with(CAP, &[strategy(LimitId::SelfCross, 1)]);
    rig.quote(BTC, 100, 101);
    let sell = rig.enter(ALICE, BTC, Side::Sell, 900, 1);
    let buy = rig.enter(ALICE, BTC, Side::Buy, 90, 1);
    let market = Intent {
        order_type: OrderType::Market,
        tif: Tif::Ioc,
        ..Intent::limit(BTC, Side::Buy, 0, 1, rig.key(), rig.now_ns)
    };
    assert_eq!(rig.submit(ALICE, &market).reason, Reason::SelfCross);
    let mut amend =
        with_kind(Intent::limit(BTC, Side::Buy, 900, 1, rig.key(), rig.now_ns), IntentKind::Amend);
    amend.ttl_ns_or_target = buy;
    assert_eq!(rig.submit(ALICE, &amend).reason, Reason::SelfCross);
    // A sell that may come down to 95 meets a buy at 95 already.
    let mut amend =
        with_kind(Intent::limit(BTC, Side::Sell, 95, 1, rig.key(), rig.now_ns), IntentKind::Amend);
    amend.ttl_ns_or_target = sell;
    assert_eq!(rig.submit(ALICE, &amend).reason, Reason::Ok);
    assert_eq!(rig.try_order(ALICE, BTC, Side::Buy, 95, 1).reason, Reason::SelfCross);
    agrees(&rig);
}

#[test]
fn without_the_limit_a_strategy_may_meet_itself() {
    let mut rig = Rig::new();
    rig.enter(ALICE, BTC, Side::Sell, 105, 5);
    assert_eq!(rig.try_order(ALICE, BTC, Side::Buy, 105, 1).reason, Reason::Ok);
}

#[test]
fn orders_per_second_of_a_symbol_and_of_the_venue_are_counted_over_all_strategies() {
    let per_symbol = [symbol(LimitId::OrderRatePerS, 10), symbol(LimitId::OrderBurst, 2)];
    let of_venue = [
        (Scope::Global, 0, LimitId::VenueOrderRatePerS, 10),
        (Scope::Global, 0, LimitId::VenueOrderBurst, 2),
    ];
    for (limits, limit_id, elsewhere) in [
        (per_symbol, LimitId::OrderBurst, Reason::Ok),
        (of_venue, LimitId::VenueOrderBurst, Reason::OrderRate),
    ] {
        let mut rig = Rig::with(CAP, &limits);
        rig.enter(ALICE, BTC, Side::Buy, 100, 1);
        rig.enter(BOB, BTC, Side::Buy, 100, 1);
        let refused = rig.try_order(ALICE, BTC, Side::Buy, 100, 1);
        assert_rejected(&refused, Reason::OrderRate, limit_id, 3, 2);
        assert_eq!(rig.try_order(ALICE, ETH, Side::Buy, 100, 1).reason, elsewhere);
        rig.now_ns += SECOND_NS / 10;
        assert_eq!(rig.try_order(ALICE, BTC, Side::Buy, 100, 1).reason, Reason::Ok);
        agrees(&rig);
    }
}

#[test]
fn a_price_beyond_the_collar_in_ticks_is_refused_on_both_sides() {
    let mut rig = Rig::with(CAP, &[(Scope::Symbol, ODD, LimitId::PriceCollarTicks, 4)]);
    rig.quote(ODD, 995, 1_005);
    for (price, ticks) in [(1_020, 0), (980, 0), (1_025, 5), (975, -5)] {
        let decision = rig.try_order(ALICE, ODD, Side::Buy, price, 10);
        if ticks == 0 {
            assert_eq!(decision.reason, Reason::Ok);
        } else {
            assert_rejected(&decision, Reason::PriceCollar, LimitId::PriceCollarTicks, ticks, 4);
        }
    }
    let mut rig = Rig::with(CAP, &[symbol(LimitId::PriceCollarTicks, 4)]);
    assert_eq!(rig.try_order(ALICE, BTC, Side::Buy, 100, 1).reason, Reason::ReferenceMissing, "fails closed");
}

#[test]
fn a_symbol_trades_from_its_opening_second_until_before_its_closing_one() {
    let hours = [symbol(LimitId::TradingOpenS, 100), symbol(LimitId::TradingCloseS, 200)];
    for (second, open) in [(99, false), (100, true), (199, true), (200, false)] {
        let mut rig = Rig::with(CAP, &hours);
        rig.now_ns = 20_000 * DAY_NS + second * SECOND_NS;
        let decision = rig.try_order(ALICE, BTC, Side::Buy, 100, 1);
        assert_eq!(decision.reason == Reason::Ok, open, "second {second}");
        if !open {
            let (limit_id, limit) =
                if second < 100 { (LimitId::TradingOpenS, 100) } else { (LimitId::TradingCloseS, 200) };
            assert_rejected(&decision, Reason::OutsideHours, limit_id, second as i64, limit);
        }
        assert_eq!(rig.try_order(ALICE, ETH, Side::Buy, 100, 1).reason, Reason::Ok);
    }
    let night = [symbol(LimitId::TradingOpenS, 80_000), symbol(LimitId::TradingCloseS, 100)];
    for (second, open) in [(79_999, false), (80_000, true), (99, true), (100, false)] {
        let mut rig = Rig::with(CAP, &night);
        rig.now_ns = 20_000 * DAY_NS + second * SECOND_NS;
        assert_eq!(
            rig.try_order(ALICE, BTC, Side::Buy, 100, 1).reason == Reason::Ok,
            open,
            "second {second}"
        );
    }
}

#[test]
fn a_strategy_trades_what_it_was_given_and_everything_before_the_first_gift() {
    let mut rig = Rig::new();
    assert_eq!(rig.try_order(ALICE, ETH, Side::Buy, 100, 1).reason, Reason::Ok);
    rig.limit(Scope::Strategy, ALICE, LimitId::Entitlement, i64::from(BTC) + 1);
    assert_eq!(rig.try_order(ALICE, BTC, Side::Buy, 100, 1).reason, Reason::Ok);
    let refused = rig.try_order(ALICE, ETH, Side::Buy, 100, 1);
    assert_rejected(&refused, Reason::NotEntitled, LimitId::Entitlement, i64::from(ETH) + 1, 0);
    assert_eq!(rig.try_order(BOB, ETH, Side::Buy, 100, 1).reason, Reason::Ok, "nobody restricted Bob");
    rig.limit(Scope::Strategy, ALICE, LimitId::Entitlement, -(i64::from(BTC) + 1));
    assert_eq!(rig.try_order(ALICE, BTC, Side::Buy, 100, 1).reason, Reason::NotEntitled);
    agrees(&rig);
}

#[test]
fn an_entitlement_beyond_the_capacity_is_a_contradiction_and_changes_nothing() {
    let mut rig = Rig::new();
    let before = rig.gate.state_hash();
    for value in [0, i64::from(CAP.max_symbols) + 1, -i64::MAX, i64::MAX] {
        let record = LimitRecord {
            scope: Scope::Strategy,
            scope_id: ALICE,
            limit: LimitId::Entitlement,
            value,
            now_ns: rig.now_ns,
            config_version: 1,
        };
        assert!(rig.gate.apply(9_999, &Record::Limit(record)).is_err());
    }
    assert_eq!(rig.gate.state_hash(), before);
}
