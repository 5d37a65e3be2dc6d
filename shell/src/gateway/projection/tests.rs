//! The projection against hand-made journals.

#![allow(clippy::inconsistent_digit_grouping, reason = "prices read as units and cents")]

use ringfence_ipc::journal::{DecisionRecord, Record, StrategyRecord};
use ringfence_ipc::msg::{
    DurabilityTier, Intent, OperatorExt, OrderState, Outcome, Report, ReportKind, Side, intent_flags,
};
use ringfence_ipc::reason::{LimitId, Reason};
use ringfence_ipc::symbol::Symbol;
use serde_json::Value;

use super::*;
use crate::gateway::events::OrderStateBody;

const ORDER: u64 = 1 << 48 | 5;

fn journal() -> Projection {
    let mut p = Projection::default();
    let mut out = Vec::new();
    let symbol = Symbol::new("BTCUSDT", 2, 5, 1, 1).unwrap();
    p.apply(1, &Record::Symbol { id: 0, symbol }, false, &mut out);
    let mut name = [0; 24];
    name[..6].copy_from_slice(b"manual");
    let strategy = StrategyRecord { strategy: 1, account: 0, name, now_ns: 1 };
    p.apply(2, &Record::Strategy(strategy), false, &mut out);
    assert!(out.is_empty());
    p
}

fn decision(intent: Intent, id: Option<&str>, order_id: u64, reason: Reason) -> Record {
    let mut intent = intent;
    intent.flags |= if id.is_some() { intent_flags::OPERATOR } else { 0 };
    Record::Decision(DecisionRecord {
        strategy: 1,
        account: 0,
        intent,
        ext: id.map(|id| OperatorExt::new(1, 0, id, 0).unwrap()),
        outcome: if reason == Reason::Ok { Outcome::Accepted } else { Outcome::Rejected },
        reason,
        limit_id: if reason == Reason::MaxOrderQty { LimitId::MaxOrderQty } else { LimitId::None },
        tier: DurabilityTier::Process,
        now_ns: 1_000,
        order_id,
        observed: 200_000,
        limit: 100_000,
        reference_price: 0,
        reference_age_us: 0,
        intent_position: 0,
    })
}

fn report(kind: ReportKind, state: OrderState, last: (i64, i64), cum_qty: i64, leaves_qty: i64) -> Report {
    Report {
        kind,
        state,
        side: Side::Buy,
        maker: true,
        late: false,
        reentered: false,
        reason: Reason::Ok,
        symbol: 0,
        journal_seq: 0,
        order_id: ORDER,
        last_qty: last.0,
        last_price: last.1,
        cum_qty,
        ts_ns: 2_000,
        trade_id: 9,
        fee_e8: 100_000_000,
        leaves_qty,
        key_low: 1,
        venue_ts_ns: 3,
        strategy: 1,
        account: 0,
    }
}

fn state(p: &Projection, id: &str) -> Value {
    let order = p.orders.find(0, id).unwrap();
    serde_json::to_value(OrderStateBody::new(order, &p.names)).unwrap()
}

fn names(events: &[Event]) -> Vec<(Option<u64>, &'static str)> {
    events.iter().map(|e| (e.id, e.name)).collect()
}

#[test]
fn an_order_is_accepted_partly_filled_and_cancelled() {
    let mut p = journal();
    let mut out = Vec::new();
    let intent = Intent::limit(0, Side::Buy, 61_000_00, 100_000, 7, 1);
    p.apply(10, &decision(intent, Some("web-1"), ORDER, Reason::Ok), false, &mut out);
    assert_eq!(names(&out), [(Some(10), "order_received"), (None, "order_state")]);
    assert_eq!(state(&p, "web-1")["status"], "PENDING");

    let accepted = report(ReportKind::Accepted, OrderState::Accepted, (0, 0), 0, 100_000);
    p.apply(13, &Record::Report(accepted), false, &mut out);
    assert_eq!(state(&p, "web-1")["status"], "ACCEPTED");

    out.clear();
    let fill = report(ReportKind::Fill, OrderState::PartiallyFilled, (20_000, 60_999_99), 20_000, 80_000);
    p.apply(14, &Record::Report(fill), false, &mut out);
    assert_eq!(names(&out), [(Some(14), "fill"), (Some(15), "order_update"), (None, "order_state")]);
    let fill = report(ReportKind::Fill, OrderState::PartiallyFilled, (10_000, 60_000_00), 30_000, 70_000);
    p.apply(16, &Record::Report(fill), false, &mut out);

    p.apply(18, &decision(Intent::cancel(0, ORDER, 8, 2), Some("web-1"), ORDER, Reason::Ok), false, &mut out);
    assert_eq!(state(&p, "web-1")["status"], "PARTIALLY_FILLED");
    let cancelled = report(ReportKind::Cancelled, OrderState::Cancelled, (0, 0), 30_000, 0);
    p.apply(21, &Record::Report(cancelled), false, &mut out);

    let order = p.orders.find(0, "web-1").unwrap();
    let text = serde_json::to_string(&OrderStateBody::new(order, &p.names)).unwrap();
    for exact in [
        r#""order_qty":1,"#,
        r#""limit_price":61000,"#,
        r#""executed_qty":0.3,"#,
        r#""avg_price":60666.66,"#,
        r#""status":"CANCELLED""#,
    ] {
        assert!(text.contains(exact), "{exact} in {text}");
    }
    let (_, _, position) = p.ledger.iter().next().unwrap();
    assert_eq!((position.qty, position.fees_e8, position.fills), (30_000, 200_000_000, 2));
    assert_eq!(p.orders.open_count(), 0);
    assert_eq!((p.counts.fills, p.counts.cancelled, p.counts.orders_accepted), (2, 1, 1));
    assert_eq!(p.recent().next().unwrap().id, Some(21));
}

#[test]
fn a_rejected_http_order_is_kept_with_reason_and_limit() {
    let mut p = journal();
    let mut out = Vec::new();
    let intent = Intent::limit(0, Side::Sell, 61_000_00, 200_000, 7, 1);
    p.apply(10, &decision(intent, Some("big"), 0, Reason::MaxOrderQty), false, &mut out);
    assert_eq!(names(&out), [(Some(10), "order_update"), (None, "order_state")]);
    let update: Value = serde_json::from_str(&out[0].json).unwrap();
    assert_eq!(update["type"], "order_update");
    assert_eq!((&update["reason"], &update["limit_id"]), (&"MAX_ORDER_QTY".into(), &"max_order_qty".into()));
    assert!(out[0].json.contains(r#""observed":2,"limit":1"#), "{}", out[0].json);
    assert_eq!(state(&p, "big")["status"], "REJECTED");
    assert_eq!(state(&p, "big")["venue_order_id"], Value::Null);
}

#[test]
fn strategies_own_orders_have_derived_ids_and_their_rejects_leave_no_order() {
    let mut p = journal();
    let mut out = Vec::new();
    let intent = Intent::limit(0, Side::Buy, 61_000_00, 100_000, 7, 1);
    p.apply(10, &decision(intent, None, ORDER, Reason::Ok), false, &mut out);
    assert_eq!(state(&p, "s1-1000000000005")["status"], "PENDING");
    p.apply(12, &decision(intent, None, 0, Reason::OffTick), false, &mut out);
    assert_eq!((p.orders.len(), p.counts.orders_rejected), (1, 1));
}

#[test]
fn a_refused_cancel_is_an_error_event_and_the_order_lives_on() {
    let mut p = journal();
    let mut out = Vec::new();
    let intent = Intent::limit(0, Side::Buy, 61_000_00, 100_000, 7, 1);
    p.apply(10, &decision(intent, Some("a"), ORDER, Reason::Ok), false, &mut out);
    out.clear();
    let cancel = decision(Intent::cancel(0, ORDER, 8, 2), Some("a"), 0, Reason::OrderTerminal);
    p.apply(13, &cancel, false, &mut out);
    assert_eq!(names(&out), [(Some(13), "error")]);
    assert!(out[0].json.contains(r#""client_order_id":"a""#));
    let refused = report(ReportKind::CancelRejected, OrderState::Accepted, (0, 0), 0, 100_000);
    p.apply(16, &Record::Report(refused), false, &mut out);
    assert_eq!(state(&p, "a")["status"], "ACCEPTED");
}

#[test]
fn a_report_of_an_unknown_order_is_shown_not_lost() {
    let mut p = journal();
    let mut out = Vec::new();
    let fill = report(ReportKind::Fill, OrderState::Filled, (100_000, 60_000_00), 100_000, 0);
    p.apply(10, &Record::Report(fill), false, &mut out);
    assert_eq!(state(&p, "s1-1000000000005")["status"], "FILLED");
    assert_eq!(state(&p, "s1-1000000000005")["order_qty"], 1);
}

#[test]
fn finished_orders_beyond_the_bound_are_evicted_oldest_first() {
    let mut p = journal();
    let mut out = Vec::new();
    let total = MAX_FINISHED_ORDERS + 10;
    for i in 0..total as u64 {
        let intent = Intent::limit(0, Side::Buy, 1, 1, 7, 1);
        let id = format!("n{i}");
        p.apply(10 + i * 3, &decision(intent, Some(&id), 0, Reason::OffTick), true, &mut out);
    }
    assert!(out.is_empty());
    assert_eq!(p.orders.len(), MAX_FINISHED_ORDERS);
    assert!(p.orders.find(0, "n9").is_none());
    assert!(p.orders.find(0, "n10").is_some());
}

#[test]
fn an_amend_changes_price_and_quantity_only_when_the_venue_confirms() {
    let mut p = journal();
    let mut out = Vec::new();
    let intent = Intent::limit(0, Side::Buy, 61_000_00, 100_000, 7, 1);
    p.apply(10, &decision(intent, Some("a"), ORDER, Reason::Ok), false, &mut out);
    let mut amend = Intent::cancel(0, ORDER, 8, 2);
    amend.kind = IntentKind::Amend;
    (amend.price, amend.qty) = (60_000_00, 50_000);
    p.apply(13, &decision(amend, Some("a"), ORDER, Reason::Ok), false, &mut out);
    assert_eq!(state(&p, "a")["limit_price"], 61_000);
    let amended = report(ReportKind::Amended, OrderState::Accepted, (0, 0), 0, 50_000);
    p.apply(16, &Record::Report(amended), false, &mut out);
    assert_eq!((&state(&p, "a")["limit_price"], &state(&p, "a")["order_qty"]), (&60_000.into(), &0.5.into()));
}

#[test]
fn an_overfill_is_an_error_event_and_its_strategy_may_only_reduce() {
    let (mut p, mut out) = (journal(), Vec::new());
    let order = Intent::limit(0, Side::Buy, 60_000_00, 100_000, 7, 1);
    p.apply(3, &decision(order, Some("web-1"), ORDER, Reason::Ok), false, &mut out);
    let mut over = report(ReportKind::Fill, OrderState::Filled, (150_000, 60_000_00), 150_000, 0);
    over.reason = Reason::Overfill;
    out.clear();
    p.apply(5, &Record::Report(over), false, &mut out);
    let error = out.iter().find(|event| event.name == "error").unwrap();
    let body: Value = serde_json::from_str(&error.json).unwrap();
    assert_eq!((error.id, &body["error"]), (None, &Value::from("overfill")), "{body}");
    assert_eq!(body["client_order_id"], "web-1");
    assert_eq!((body["order_qty"].to_string(), body["executed_qty"].to_string()), ("1".into(), "1.5".into()));
    assert_eq!((p.guard.strategies.get(&1), p.counts.overfills), (Some(&Mode::CancelOnly), 1));
    let ids: Vec<u64> = out.iter().filter_map(|event| event.id).collect();
    assert_eq!(ids, [5, 6], "no two events share an id");
}

#[test]
fn a_stray_fill_is_an_error_event_and_the_gate_may_only_reduce() {
    let (mut p, mut out) = (journal(), Vec::new());
    let stray = StrayRecord {
        order_id: 9,
        symbol: 0,
        side: Side::Sell,
        qty: 100_000,
        price: 60_000_00,
        cum_qty: 100_000,
        trade_id: 4,
        fee_e8: 0,
        key_low: 0,
        venue_ts_ns: 0,
        now_ns: 77,
    };
    p.apply(3, &Record::Stray(stray), false, &mut out);
    let names: Vec<_> = out.iter().map(|event| (event.name, event.id)).collect();
    assert_eq!(names, [("error", Some(3)), ("mode", Some(4))]);
    let body: Value = serde_json::from_str(&out[0].json).unwrap();
    assert_eq!((&body["error"], &body["venue_order_id"]), (&Value::from("stray_fill"), &Value::from("9")));
    assert_eq!((p.mode(), p.counts.stray_fills), (Mode::CancelOnly, 1));
    assert_eq!(p.ledger.iter().count(), 0, "it is in no position");
}
