use super::*;

/// One lie in an honest snapshot is found, named, and nothing else is.
fn lie(code: Code, change: impl FnOnce(&mut VenueSnapshot)) {
    let view = view();
    let mut snapshot = honest(&view);
    assert_eq!(codes(&view, &snapshot), [], "honest");
    change(&mut snapshot);
    assert_eq!(codes(&view, &snapshot), [code]);
}

#[test]
fn each_lie_about_an_order_has_its_name() {
    lie(Code::CumQtyDiffers, |s| s.orders[1].cum_qty = 99);
    lie(Code::PriceDiffers, |s| s.orders[0].price = Some(6_100_001));
    lie(Code::PriceDiffers, |s| s.orders[0].price = None);
    lie(Code::QtyDiffers, |s| s.orders[0].qty = 501);
    lie(Code::SideDiffers, |s| s.orders[0].side = Side::Sell);
    lie(Code::SymbolDiffers, |s| s.orders[0].symbol = 1);
    lie(Code::KeyDiffers, |s| s.orders[0].key = Some(1));
    lie(Code::StateDiffers, |s| s.orders[0].state = OrderState::Cancelled);
    lie(Code::StateDiffers, |s| s.orders[0].state = OrderState::Unknown);
    lie(Code::StateDiffers, |s| s.orders.push(VenueOrder { order_id: 4, key: None, ..s.orders[0] }));
    lie(Code::UnknownAtVenue, |s| s.orders.truncate(1));
    lie(Code::UnknownHere, |s| s.orders.push(VenueOrder { order_id: 77, ..s.orders[0] }));
    lie(Code::ListedTwice, |s| s.orders.push(s.orders[0]));
}

#[test]
fn a_final_order_that_ended_otherwise_differs() {
    let there =
        VenueOrder { order_id: 4, key: None, state: OrderState::Rejected, ..honest(&view()).orders[0] };
    lie(Code::StateDiffers, |s| s.orders.push(there));
    let gone = VenueOrder { order_id: 66, state: OrderState::Filled, ..there };
    let view = view();
    let mut snapshot = honest(&view);
    snapshot.orders.push(gone);
    assert_eq!(codes(&view, &snapshot), [], "a final order may have left the gate's table");
}

#[test]
fn each_lie_about_a_position_has_its_name() {
    let line = |s: &mut VenueSnapshot, change: &dyn Fn(&mut VenuePosition)| {
        s.positions.iter_mut().flatten().for_each(change);
    };
    lie(Code::PositionDiffers, |s| line(s, &|p| p.qty = 501));
    lie(Code::PositionDiffers, |s| s.positions = Some(Vec::new()));
    lie(Code::FeesDiffer, |s| line(s, &|p| p.fees_e8 = Some(13)));
    lie(Code::UnknownSymbol, |s| {
        s.strangers.push(Stranger { symbol: "DOGE".into(), order_id: None, qty: "5".into() });
    });
}

#[test]
fn positions_of_single_accounts_are_compared_with_theirs() {
    let view = view();
    let mut snapshot = honest(&view);
    let line = |account, qty, fees_e8| VenuePosition { account, symbol: 0, qty, fees_e8 };
    snapshot.positions = Some(vec![line(Some(0), 600, Some(7)), line(Some(1), -100, None)]);
    assert_eq!(codes(&view, &snapshot), []);
    snapshot.positions = Some(vec![line(Some(0), 600, Some(7))]);
    let report = differences(&view, &snapshot);
    let found = &report.differences[0];
    assert_eq!((report.total, found.code, found.account), (1, Code::PositionDiffers, Some(1)));
    assert_eq!((found.here.as_str(), found.there.as_str()), ("-0.100", "0.000"));
    snapshot.positions = None;
    assert_eq!(codes(&view, &snapshot), [], "a venue that does not tell");
}

#[test]
fn a_snapshot_of_another_moment_says_so() {
    lie(Code::StaleSnapshot, |s| s.journal_position = Some(89));
    lie(Code::StaleSnapshot, |s| s.epoch = Some(1));
    lie(Code::StaleSnapshot, |s| (s.journal_position, s.taken_ns) = (None, 999));
    let view = view();
    let fresh = VenueSnapshot { journal_position: None, ..honest(&view) };
    assert_eq!(codes(&view, &fresh), []);
}

#[test]
fn what_was_on_its_way_is_no_difference() {
    let mut view = view();
    view.orders.insert(5, order(5, OrderState::PendingNew));
    let snapshot = honest(&self::view());
    let report = differences(&view, &snapshot);
    assert_eq!((report.total, report.in_flight), (0, 1));
    let arrived = VenueSnapshot { last_order_id: Some(5), ..snapshot.clone() };
    assert_eq!(codes(&view, &arrived), [Code::UnknownAtVenue], "it had arrived, and is not there");
    let silent = VenueSnapshot { last_order_id: None, ..snapshot };
    assert_eq!(codes(&view, &silent), [], "never answered: nobody knows");
    if let Some(order) = view.orders.get_mut(&1) {
        (order.state, order.amend_price, order.amend_qty) = (OrderState::PendingCancel, 6_000_000, 400);
    }
    assert_eq!(codes(&view, &silent), [], "the venue has seen neither amend nor cancel");
    let mut amended = silent;
    (amended.orders[0].price, amended.orders[0].qty) = (Some(6_000_000), 400);
    assert_eq!(codes(&view, &amended), [], "the venue has seen the amend");
    amended.orders[0].qty = 500;
    assert_eq!(codes(&view, &amended), [Code::PriceDiffers], "the price of one, the quantity of the other");
}

#[test]
fn unknown_orders_are_listed_with_what_the_venue_says() {
    let mut view = view();
    view.orders.entry(1).and_modify(|order| order.state = OrderState::Unknown);
    let mut snapshot = honest(&self::view());
    let report = differences(&view, &snapshot);
    assert_eq!((report.total, report.unknown.len()), (0, 1));
    assert_eq!(report.unknown[0].venue_state.as_deref(), Some("ACCEPTED"));
    snapshot.orders.remove(0);
    let report = differences(&view, &snapshot);
    assert_eq!((report.total, report.unknown[0].venue_state.clone()), (0, None));
}

#[test]
fn a_stray_fill_is_named_and_explains_the_position() {
    let mut view = view();
    let stray = StrayView { order_id: 99, symbol: 0, cum_qty: 30, net_qty: -30, last_trade_id: 8, fills: 2 };
    view.strays.push(stray);
    let mut snapshot = honest(&view);
    let lines = Some(vec![VenuePosition { account: None, symbol: 0, qty: 470, fees_e8: Some(99) }]);
    snapshot.positions = lines;
    let report = differences(&view, &snapshot);
    let found = &report.differences[0];
    assert_eq!((report.total, found.code, found.order_id.as_deref()), (1, Code::StrayFill, Some("99")));
    assert!(found.there.starts_with("-0.030 filled in 2 fills"), "{found:?}");
    snapshot.positions = Some(vec![VenuePosition { account: None, symbol: 0, qty: 471, fees_e8: None }]);
    assert_eq!(codes(&view, &snapshot), [Code::StrayFill, Code::PositionDiffers], "it does not explain that");
}

#[test]
fn a_thousand_differences_are_listed_and_the_others_counted() {
    let view = view();
    let mut snapshot = honest(&view);
    let one = snapshot.orders[0];
    snapshot.orders.extend((100..3_100).map(|order_id| VenueOrder { order_id, ..one }));
    let report = differences(&view, &snapshot);
    assert_eq!((report.total, report.differences.len()), (3_000, MAX_DIFFERENCES));
}
