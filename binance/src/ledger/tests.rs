//! The ledger on its own: what the mock of the venue cannot bring about in a short time.

use super::*;
use crate::rest::{Answer, Failure, Outcome, TRADES_PER_ANSWER};
use crate::wire::{Execution, TradeInfo};
use ringfence_ipc::msg::{Command, CommandKind, OrderType, ReportKind, Side, Tif};
use ringfence_ipc::reason::Reason;

const EPOCH: u16 = 2;
const ID: OrderId = (EPOCH as u64) << 48 | 1;

fn ledger(max_orders: usize) -> Ledger {
    let symbols = [Symbol::new("BTCUSDT", 2, 5, 1, 1).expect("a symbol")];
    let tuning = Tuning { recv_window_ms: 5_000, gap_patience_ms: 100, max_orders };
    let mut ledger = Ledger::new(&symbols, tuning);
    let info =
        r#"{"symbols":[{"symbol":"BTCUSDT","status":"TRADING","baseAsset":"BTC","quoteAsset":"USDT"}]}"#;
    ledger.learn(&serde_json::from_str(info).expect("exchangeInfo")).expect("steps that fit");
    ledger.trading();
    ledger
}

fn new_order(order_id: OrderId) -> Command {
    Command {
        kind: CommandKind::New,
        order_id,
        symbol: 0,
        side: Side::Buy,
        order_type: OrderType::Limit,
        tif: Tif::Gtc,
        flags: 0,
        price: 6_000_000,
        qty: 5_000,
        now_ns: 0,
        key: 0,
    }
}

fn said(result: Result<Answer, Failure>) -> Outcome {
    Outcome { result, sent_ms: 0 }
}

fn placed() -> Outcome {
    said(Ok(Answer::Placed(serde_json::from_str(r#"{"orderId":7,"transactTime":1}"#).expect("an answer"))))
}

fn reports(actions: &[Action]) -> Vec<Report> {
    let told = actions.iter().filter_map(|action| match action {
        Action::Report(report) => Some(*report),
        Action::Ask(..) => None,
    });
    told.collect()
}

fn asked(actions: &[Action]) -> Vec<&Request> {
    let asked = actions.iter().filter_map(|action| match action {
        Action::Ask(_, request) => Some(request),
        Action::Report(_) => None,
    });
    asked.collect()
}

fn event(cum_qty: &str) -> Execution {
    let text = format!(
        r#"{{"s":"BTCUSDT","c":"rf-{ID:016x}-0","C":"","x":"TRADE","X":"PARTIALLY_FILLED","i":7,"q":"0.05","l":"0.00001",
            "z":"{cum_qty}","L":"60000","n":"0","N":null,"T":1,"t":900000,"I":5,"m":true}}"#
    );
    serde_json::from_str(&text).expect("an event")
}

#[test]
fn an_order_of_another_life_of_the_gate_is_not_sent() {
    let mut ledger = ledger(10);
    ledger.command(&new_order(1 << 48 | 1), EPOCH, 0);
    let actions = ledger.take();
    assert_eq!(reports(&actions)[0].kind, ReportKind::LostBeforeSend);
    assert!(asked(&actions).is_empty());
}

#[test]
fn a_full_ledger_refuses_and_forgets_only_what_is_finished() {
    let mut ledger = ledger(1);
    ledger.command(&new_order(ID), EPOCH, 0);
    ledger.command(&new_order(ID + 1), EPOCH, 0);
    assert_eq!(reports(&ledger.take())[0].reason, Reason::VenueBusy);
    let refused = Failure::Refused { status: 400, code: -2010, message: String::new(), replace: None };
    ledger.answered(ID, said(Err(refused)), 1);
    ledger.command(&new_order(ID + 2), EPOCH, 2);
    let actions = ledger.take();
    assert_eq!(reports(&actions)[0].kind, ReportKind::Rejected);
    assert!(matches!(asked(&actions)[..], [Request::Place(_)]));
}

#[test]
fn more_fills_than_one_answer_holds_are_all_told() {
    let mut ledger = ledger(10);
    ledger.command(&new_order(ID), EPOCH, 0);
    ledger.answered(ID, placed(), 0);
    ledger.execution(&event("0.02500"), 10);
    assert_eq!(reports(&ledger.take()).len(), 1, "accepted; the fill waits for those before it");
    let mut told = 0;
    for now_ms in [200, 400, 600, 800] {
        ledger.tick(now_ms);
        let actions = ledger.take();
        told += reports(&actions).len();
        let [Request::Trades { from_id, .. }] = asked(&actions)[..] else { break };
        let first = from_id.unwrap_or(1);
        let list = (first..=2_500).take(TRADES_PER_ANSWER).map(|id| TradeInfo {
            id,
            price: "60000.00".to_owned(),
            qty: "0.00001".to_owned(),
            commission: "0".to_owned(),
            commission_asset: "BNB".to_owned(),
            time: 1,
            is_maker: true,
        });
        ledger.answered(ID, said(Ok(Answer::Trades(list.collect()))), now_ms + 1);
        let actions = std::mem::take(&mut ledger.out);
        told += reports(&actions).len();
        // The next page was asked for at once: put the question back for the next round.
        ledger.out = actions.into_iter().filter(|action| matches!(action, Action::Ask(..))).collect();
    }
    assert_eq!(told, 2_501, "2,500 listed, and the one that waited");
}

#[test]
fn numbers_that_are_not_exact_are_counted_and_change_nothing() {
    let mut ledger = ledger(10);
    ledger.command(&new_order(ID), EPOCH, 0);
    ledger.answered(ID, placed(), 0);
    ledger.take();
    for text in ["NaN", "0.000001", "99999999999999999999", ""] {
        let mut event = event(text);
        event.execution_id = 0;
        ledger.execution(&event, 10);
    }
    assert!(reports(&ledger.take()).is_empty());
    assert_eq!(ledger.counts.unreadable, 4);
}
