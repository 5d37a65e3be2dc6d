//! The Binance adapter against a mock of the venue: whatever fails, what it told is what the venue has.

use ringfence_binance::{Config, Key, MarketBody, MarketPorts, MarketStatus, Phase, run_market};
use ringfence_ipc::msg::{CommandKind, OrderState, ReportKind, Side, Tif};
use ringfence_ipc::reason::Reason;
use ringfence_tests::Dice;
use ringfence_tests::binance::rig::{config, hmac, symbols};
use ringfence_tests::binance::{EventFaults, Fault, Mock, ONE, Rig, Verifier};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

const PLACE: &str = "POST /api/v3/order";
const CANCEL: &str = "DELETE /api/v3/order";
const REPLACE: &str = "POST /api/v3/order/cancelReplace";
const REDUCE: &str = "PUT /api/v3/order/amend/keepPriority";
/// 60,000 USDT in cents.
const PRICE: i64 = 6_000_000;
/// 0.01 BTC in 1e-5.
const QTY: i64 = 1_000;

fn drive(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test);
}

async fn rig() -> Rig {
    rig_with(|_| ()).await
}

async fn rig_with(change: impl FnOnce(&mut Config)) -> Rig {
    let mock = Mock::start(hmac()).await;
    let mut config = config(&mock);
    change(&mut config);
    Rig::start(&mock, config).await
}

/// The market trades `qty` (1e-5) against our resting buys at [`PRICE`].
fn hit(rig: &Rig, qty: i64) {
    rig.mock.venue(|venue| venue.market_order("BTCUSDT", false, PRICE * 1_000_000, qty * 1_000));
}

async fn resting(rig: &mut Rig) -> u64 {
    let id = rig.order(Side::Buy, PRICE, QTY, Tif::Gtc).await;
    rig.report(id, ReportKind::Accepted).await;
    id
}

#[test]
fn orders_work_fill_and_are_cancelled() {
    drive(async {
        let mut rig = rig().await;
        let filled = resting(&mut rig).await;
        hit(&rig, 400);
        hit(&rig, 600);
        let cancelled = resting(&mut rig).await;
        hit(&rig, 100);
        rig.report(cancelled, ReportKind::Fill).await;
        rig.about(cancelled, CommandKind::Cancel, 0, 0).await;
        rig.report(cancelled, ReportKind::Cancelled).await;
        let immediate = rig.order(Side::Sell, PRICE, QTY, Tif::Ioc).await;
        rig.report(immediate, ReportKind::Expired).await;
        rig.agrees().await;
        assert_eq!(rig.kinds(filled), [ReportKind::Accepted, ReportKind::Fill, ReportKind::Fill]);
        assert_eq!(rig.kinds(cancelled), [ReportKind::Accepted, ReportKind::Fill, ReportKind::Cancelled]);
        assert_eq!(rig.reason(immediate), Some(Reason::NoLiquidity));
        let fee = rig.told.iter().find(|report| report.kind == ReportKind::Fill).unwrap().fee_e8;
        assert_eq!(fee, 24_000_000, "0.1 % of 0.004 BTC, in USDT");
    });
}

#[test]
fn an_ed25519_key_logs_on() {
    // The seed and the public key of RFC 8032's first test.
    let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----";
    let public = [
        0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e,
        0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a,
    ];
    drive(async move {
        let mock = Mock::start(Verifier::Ed25519(public.to_vec())).await;
        let mut config = config(&mock);
        config.key = Key::ed25519("mock-api-key", &pem.into()).unwrap();
        let mut rig = Rig::start(&mock, config).await;
        resting(&mut rig).await;
        hit(&rig, QTY);
        rig.agrees().await;
    });
}

#[test]
fn a_timeout_after_accept_is_unknown_then_found() {
    drive(async {
        let mut rig = rig().await;
        rig.mock.fault(PLACE, Fault::TimeoutAfter);
        rig.mock.events(EventFaults { drop: 2, ..EventFaults::default() });
        let id = rig.order(Side::Buy, PRICE, QTY, Tif::Gtc).await;
        rig.report(id, ReportKind::Accepted).await;
        assert_eq!(rig.kinds(id), [ReportKind::Unknown, ReportKind::Accepted]);
        hit(&rig, QTY);
        rig.agrees().await;
        assert_eq!(rig.mock.requests(PLACE), 1);
    });
}

#[test]
fn not_found_is_final_only_after_the_window() {
    drive(async {
        let mut rig = rig().await;
        rig.mock.fault(PLACE, Fault::TimeoutBefore);
        let began = std::time::Instant::now();
        let id = rig.order(Side::Buy, PRICE, QTY, Tif::Gtc).await;
        rig.report(id, ReportKind::Rejected).await;
        assert!(
            began.elapsed() > Duration::from_millis(1_900),
            "recvWindow and a margin: {:?}",
            began.elapsed()
        );
        assert_eq!(rig.kinds(id), [ReportKind::Unknown, ReportKind::Rejected]);
        assert_eq!(rig.reason(id), Some(Reason::VenueUnknownOrder));
        rig.agrees().await;
        assert_eq!(rig.mock.requests(PLACE), 1, "nothing is sent again");
    });
}

#[test]
fn server_errors_and_unreadable_answers_are_unknown_not_failures() {
    drive(async {
        let mut rig = rig().await;
        for fault in [
            Fault::Instead(503, -1008),
            Fault::After(500, -1000),
            Fault::After(504, -1007),
            Fault::After(400, -1007),
            Fault::Malformed,
        ] {
            rig.mock.fault(PLACE, fault);
        }
        let mut orders = Vec::new();
        for _ in 0..5 {
            orders.push(rig.order(Side::Buy, PRICE, QTY, Tif::Gtc).await);
        }
        for id in orders {
            rig.report(id, ReportKind::Unknown).await;
        }
        rig.agrees().await;
        hit(&rig, 3 * QTY);
        rig.agrees().await;
        assert_eq!(rig.mock.requests(PLACE), 5);
    });
}

#[test]
fn a_cancel_without_an_answer_is_asked_for_and_may_be_repeated() {
    drive(async {
        let mut rig = rig().await;
        for fault in [Fault::TimeoutAfter, Fault::TimeoutBefore, Fault::Instead(500, -1001)] {
            let id = resting(&mut rig).await;
            rig.mock.fault(CANCEL, fault);
            rig.about(id, CommandKind::Cancel, 0, 0).await;
            rig.report(id, ReportKind::Cancelled).await;
        }
        rig.agrees().await;
    });
}

#[test]
fn a_cancel_waits_for_its_orders_answer() {
    drive(async {
        let mut rig = rig().await;
        rig.mock.fault(PLACE, Fault::Slow(Duration::from_millis(300)));
        let id = rig.order(Side::Buy, PRICE, QTY, Tif::Gtc).await;
        rig.about(id, CommandKind::Cancel, 0, 0).await;
        rig.report(id, ReportKind::Cancelled).await;
        assert_eq!(rig.kinds(id), [ReportKind::Accepted, ReportKind::Cancelled]);
        rig.agrees().await;
    });
}

#[test]
fn a_venue_that_asks_for_a_pause_gets_it() {
    drive(async {
        let mut rig = rig().await;
        for status in [429, 418] {
            let id = resting(&mut rig).await;
            rig.mock.fault(PLACE, Fault::Busy(status, 1));
            let refused = rig.order(Side::Buy, PRICE, QTY, Tif::Gtc).await;
            rig.report(refused, ReportKind::Rejected).await;
            let (asked, cancels) = (rig.mock.requests(PLACE), rig.mock.requests(CANCEL));
            let began = std::time::Instant::now();
            rig.about(id, CommandKind::Cancel, 0, 0).await;
            let early = rig.order(Side::Buy, PRICE, QTY, Tif::Gtc).await;
            rig.report(early, ReportKind::Rejected).await;
            assert_eq!(rig.reason(early), Some(Reason::VenueBusy));
            rig.report(id, ReportKind::Cancelled).await;
            assert!(began.elapsed() > Duration::from_millis(800), "{:?}", began.elapsed());
            assert_eq!((rig.mock.requests(PLACE), rig.mock.requests(CANCEL)), (asked, cancels + 1));
        }
        rig.agrees().await;
    });
}

#[test]
fn repeated_and_reordered_events_change_nothing() {
    drive(async {
        let mut rig = rig().await;
        rig.mock.events(EventFaults { twice: true, reversed: true, ..EventFaults::default() });
        rig.mock.venue(|venue| {
            for price in [599_900, 599_950, 600_000] {
                venue.market_order("BTCUSDT", false, price * 10_000_000, ONE / 1_000);
            }
        });
        let taker = rig.order(Side::Buy, PRICE, QTY, Tif::Ioc).await;
        resting(&mut rig).await;
        hit(&rig, 300);
        hit(&rig, 300);
        rig.agrees().await;
        assert_eq!(rig.kinds(taker).iter().filter(|kind| **kind == ReportKind::Fill).count(), 3);
        assert!(rig.status.borrow().counts.duplicates > 0);
    });
}

#[test]
fn fills_that_no_event_brought_are_asked_for() {
    drive(async {
        let mut rig = rig().await;
        let (first, last) = (resting(&mut rig).await, resting(&mut rig).await);
        rig.mock.events(EventFaults { drop: 2, ..EventFaults::default() });
        hit(&rig, 300);
        hit(&rig, 300);
        rig.agrees().await;
        assert!(rig.kinds(first).len() == 3, "{:?}", rig.kinds(first));
        // Nothing follows on these: only the comparison of open orders finds out.
        rig.mock.events(EventFaults { drop: 100, ..EventFaults::default() });
        hit(&rig, 2 * QTY);
        rig.report(last, ReportKind::Fill).await;
        rig.mock.events(EventFaults::default());
        rig.mock.cut();
        rig.agrees().await;
    });
}

#[test]
fn a_cut_session_makes_orders_unknown_and_is_reconciled() {
    drive(async {
        let mut rig = rig().await;
        let (filled, open) = (resting(&mut rig).await, resting(&mut rig).await);
        rig.mock.cut();
        hit(&rig, QTY);
        rig.report(open, ReportKind::Unknown).await;
        rig.trades().await;
        rig.agrees().await;
        assert!(rig.kinds(filled).ends_with(&[ReportKind::Fill]));
        assert!(rig.kinds(open).ends_with(&[ReportKind::Unknown, ReportKind::Accepted]));
        assert_eq!(rig.status.borrow().sessions, 2);
    });
}

#[test]
fn what_happened_in_a_gap_behind_a_request_under_way_is_known_before_trading_resumes() {
    drive(async {
        let mut rig = rig_with(|config| config.sweep_interval = Duration::from_secs(600)).await;
        for request in [PLACE, CANCEL] {
            let id = if request == CANCEL { resting(&mut rig).await } else { 0 };
            let (placed, asked) = (rig.mock.requests(PLACE), rig.mock.requests(request));
            rig.mock.fault(request, Fault::Slow(Duration::from_millis(400)));
            let id = if request == CANCEL {
                hit(&rig, 100);
                rig.about(id, CommandKind::Cancel, 0, 0).await;
                id
            } else {
                rig.order(Side::Buy, PRICE, QTY, Tif::Gtc).await
            };
            rig.until("it is at the venue", |rig| rig.mock.requests(request) > asked).await;
            rig.mock.cut();
            if request == PLACE {
                hit(&rig, QTY);
            }
            rig.until("events are missing", |rig| rig.status.borrow().phase != Phase::Trading).await;
            rig.trades().await;
            let ended = rig.told.iter().any(|report| report.order_id == id && report.state.is_terminal());
            assert!(ended, "trading resumed without {id}: {:?}", rig.kinds(id));
            rig.agrees().await;
            assert_eq!(rig.mock.requests(PLACE), placed + u64::from(request == PLACE));
        }
    });
}

#[test]
fn a_snapshot_shows_what_was_told_and_orders_that_nobody_knows() {
    drive(async {
        let mut rig = rig().await;
        let (open, filled) = (resting(&mut rig).await, resting(&mut rig).await);
        rig.mock.events(EventFaults { drop: 100, ..EventFaults::default() });
        hit(&rig, QTY + 100);
        let stray = [("symbol", "BTCUSDT"), ("side", "BUY"), ("type", "LIMIT"), ("timeInForce", "GTC")];
        let terms = [("quantity", "0.01"), ("price", "59000"), ("newClientOrderId", "rf-00000000000000ff-0")];
        let stray = stray.into_iter().chain(terms).map(|(name, value)| (name.to_owned(), value.to_owned()));
        rig.mock.venue(|venue| venue.place(&stray.collect()).unwrap());
        let lines = rig.asks_snapshot().await;
        let line = |id: u64| lines.iter().find(|line| line.order_id == id).copied().unwrap();
        assert_eq!((line(open).state, line(open).cum_qty), (OrderState::Filled, QTY));
        assert_eq!((line(filled).state, line(filled).cum_qty), (OrderState::PartiallyFilled, 100));
        assert_eq!((line(0xff).state, line(0xff).price), (OrderState::Accepted, Some(5_900_000)));
        assert_eq!(rig.kinds(open).last(), Some(&ReportKind::Fill), "told before it is shown");
    });
}

#[test]
fn no_order_leaves_while_events_are_missing() {
    drive(async {
        let mut rig = rig_with(|config| config.reconnect_pause = Duration::from_millis(500)).await;
        let open = resting(&mut rig).await;
        rig.mock.cut();
        rig.report(open, ReportKind::Unknown).await;
        assert!(matches!(rig.status.borrow().phase, Phase::Lost(_)));
        let id = rig.order(Side::Buy, PRICE, QTY, Tif::Gtc).await;
        rig.report(id, ReportKind::Rejected).await;
        assert_eq!(rig.mock.requests(PLACE), 1);
        rig.about(open, CommandKind::Cancel, 0, 0).await;
        rig.report(open, ReportKind::Cancelled).await;
        rig.trades().await;
        rig.agrees().await;
    });
}

#[test]
fn a_message_that_cannot_be_read_is_a_gap() {
    drive(async {
        let mut rig = rig().await;
        resting(&mut rig).await;
        let lists = rig.mock.requests("GET /api/v3/openOrders");
        rig.mock.say("{\"event\":{\"e\":\"executionReport\",");
        rig.until("a comparison", |rig| rig.mock.requests("GET /api/v3/openOrders") > lists).await;
        rig.trades().await;
        rig.agrees().await;
    });
}

#[test]
fn the_testnets_monthly_wipe_is_survived() {
    drive(async {
        let mut rig = rig().await;
        let id = resting(&mut rig).await;
        hit(&rig, 100);
        rig.report(id, ReportKind::Fill).await;
        rig.mock.venue(|venue| venue.wipe());
        rig.mock.cut();
        let gone = rig.report(id, ReportKind::Expired).await;
        assert_eq!((gone.reason, gone.cum_qty), (Reason::VenueUnknownOrder, 100));
        rig.forget();
        rig.trades().await;
        resting(&mut rig).await;
        hit(&rig, QTY);
        rig.agrees().await;
    });
}

#[test]
fn a_clock_that_runs_away_is_followed() {
    drive(async {
        let mut rig = rig_with(|config| config.sweep_interval = Duration::from_secs(60)).await;
        for skew_ms in [60_000, -3_600_000] {
            rig.mock.skew(skew_ms);
            let id = resting(&mut rig).await;
            assert_eq!(rig.kinds(id), [ReportKind::Accepted]);
            let off = rig.status.borrow().clock_offset_ms - skew_ms;
            assert!(off.abs() < 500, "{off}");
        }
    });
}

#[test]
fn listen_keys_are_not_used() {
    drive(async {
        let mut rig = rig().await;
        resting(&mut rig).await;
        rig.mock.cut();
        rig.until("another session", |rig| rig.status.borrow().sessions == 2).await;
        for verb in ["POST", "PUT"] {
            assert_eq!(rig.mock.requests(&format!("{verb} /api/v3/userDataStream")), 0);
        }
        rig.mock.fault(PLACE, Fault::Instead(410, 0));
        rig.trades().await;
        let id = rig.order(Side::Buy, PRICE, QTY, Tif::Gtc).await;
        rig.report(id, ReportKind::Rejected).await;
        assert!(rig.status.borrow().last_failure.contains("newer Ringfence"));
        rig.agrees().await;
    });
}

#[test]
fn what_a_filter_refuses_is_not_sent() {
    drive(async {
        let mut rig = rig().await;
        let small = rig.order(Side::Buy, 100, 1, Tif::Gtc).await;
        let day = rig.order(Side::Buy, PRICE, QTY, Tif::Day).await;
        rig.report(small, ReportKind::Rejected).await;
        rig.report(day, ReportKind::Rejected).await;
        assert_eq!((rig.reason(small), rig.reason(day)), (Some(Reason::BadQty), Some(Reason::BadTif)));
        assert_eq!(rig.mock.requests(PLACE), 0);
        let poor = rig.order(Side::Buy, PRICE, 100 * 100_000, Tif::Gtc).await;
        rig.report(poor, ReportKind::Rejected).await;
        assert_eq!(rig.reason(poor), Some(Reason::VenueReject), "the balance is the venue's to judge");
        rig.agrees().await;
    });
}

#[test]
fn own_orders_that_meet_expire_in_match() {
    drive(async {
        let mut rig = rig().await;
        let id = resting(&mut rig).await;
        rig.order(Side::Sell, PRICE, QTY, Tif::Gtc).await;
        rig.report(id, ReportKind::Expired).await;
        assert_eq!(rig.reason(id), Some(Reason::SelfCross));
        rig.agrees().await;
    });
}

#[test]
fn amends_reduce_in_place_or_replace_and_never_twice() {
    drive(async {
        let mut rig = rig().await;
        let id = resting(&mut rig).await;
        rig.about(id, CommandKind::Amend, PRICE, 800).await;
        rig.report(id, ReportKind::Amended).await;
        for (fault, price) in [
            (Fault::Slow(Duration::ZERO), PRICE - 100),
            (Fault::TimeoutAfter, PRICE - 200),
            (Fault::After(502, 0), PRICE),
        ] {
            rig.mock.fault(REPLACE, fault);
            let told = rig.told.len();
            rig.about(id, CommandKind::Amend, price, 900).await;
            rig.until("amended", |rig| rig.told[told..].iter().any(|r| r.kind == ReportKind::Amended)).await;
            assert_eq!(rig.told.last().unwrap().leaves_qty, 900);
            rig.agrees().await;
        }
        rig.mock.fault(REPLACE, Fault::TimeoutBefore);
        rig.about(id, CommandKind::Amend, PRICE - 300, 900).await;
        rig.report(id, ReportKind::CancelRejected).await;
        rig.mock.fault(REDUCE, Fault::TimeoutAfter);
        rig.about(id, CommandKind::Amend, PRICE, 700).await;
        rig.until("reduced", |rig| rig.told.last().is_some_and(|r| r.leaves_qty == 700)).await;
        hit(&rig, 100);
        rig.report(id, ReportKind::Fill).await;
        let replaced = rig.mock.requests(REPLACE);
        rig.about(id, CommandKind::Amend, PRICE - 100, 700).await;
        rig.until("refused", |rig| rig.reason(id) == Some(Reason::VenueReject)).await;
        assert_eq!(rig.mock.requests(REPLACE), replaced, "a partly filled order is not replaced");
        rig.agrees().await;
    });
}

#[test]
fn another_life_of_the_adapter_tells_what_became_of_every_order() {
    drive(async {
        let mut before = rig().await;
        let ids = [resting(&mut before).await, resting(&mut before).await, resting(&mut before).await];
        before.about(ids[2], CommandKind::Amend, PRICE - 100, 500).await;
        before.report(ids[2], ReportKind::Amended).await;
        hit(&before, 1_500);
        before.agrees().await;
        let mut rig = Rig::start(&before.mock, config(&before.mock)).await;
        rig.inherit(&before).await;
        rig.agrees().await;
        rig.about(ids[2], CommandKind::Cancel, 0, 0).await;
        rig.report(ids[2], ReportKind::Cancelled).await;
        rig.agrees().await;
        assert_eq!(rig.mock.requests(PLACE), 3);
    });
}

#[test]
fn whatever_fails_in_whatever_order_the_books_agree() {
    let mut dice = Dice::new(24_301);
    drive(async {
        let mut rig = rig().await;
        let mut orders = Vec::new();
        for round in 0..120 {
            let request = [PLACE, CANCEL, REPLACE][dice.below(3) as usize];
            match dice.below(8) {
                0 => rig.mock.fault(request, Fault::TimeoutAfter),
                1 => rig.mock.fault(request, Fault::After(503, -1000)),
                2 => rig.mock.fault(request, Fault::Instead(500, -1001)),
                3 => rig.mock.fault(request, Fault::Malformed),
                4 => {
                    rig.mock.events(EventFaults { twice: round % 2 == 0, reversed: round % 3 == 0, drop: 0 })
                }
                5 => rig.mock.events(EventFaults { drop: 2, ..EventFaults::default() }),
                6 if round % 5 == 0 => rig.mock.cut(),
                _ => {}
            }
            let price = PRICE + 100 * dice.below(5) as i64;
            match dice.below(6) {
                0..=2 => orders.push(rig.order(Side::Buy, price, QTY, Tif::Gtc).await),
                3 => hit(&rig, 100 * (1 + dice.below(15) as i64)),
                other => {
                    if let Some(id) = orders.get(dice.below(orders.len().max(1) as u64) as usize) {
                        let kind = if other == 4 { CommandKind::Cancel } else { CommandKind::Amend };
                        rig.about(*id, kind, price, QTY).await;
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(dice.below(60))).await;
            rig.until("nothing", |_| true).await;
        }
        rig.mock.events(EventFaults::default());
        rig.mock.cut();
        rig.until("another session", |rig| matches!(rig.status.borrow().phase, Phase::Lost(_))).await;
        rig.trades().await;
        rig.agrees().await;
    });
}

#[test]
fn live_market_data_goes_through_the_recordings_parser() {
    drive(async {
        let mock = Mock::start(hmac()).await;
        let (events_end, mut events) = mpsc::channel(1_024);
        let (status_end, mut status) = watch::channel(MarketStatus::default());
        let ports = MarketPorts { events: events_end, status: status_end };
        let config = config(&mock);
        tokio::spawn(async move { run_market(config, &symbols(), ports).await.unwrap() });
        for life in 1..=2 {
            let up = status.wait_for(|status| status.connections == life && status.connected);
            tokio::time::timeout(Duration::from_secs(10), up).await.unwrap().unwrap();
            let mut seen = [false; 4];
            let deadline = std::time::Instant::now() + Duration::from_secs(10);
            while seen != [true; 4] {
                mock.venue(|venue| {
                    venue.market_order("BTCUSDT", false, PRICE * 1_000_000, ONE);
                    venue.market_order("BTCUSDT", true, PRICE * 1_000_000, ONE / 2);
                });
                assert!(deadline > std::time::Instant::now(), "{seen:?} {:?}", status.borrow().clone());
                while let Ok(Some(event)) =
                    tokio::time::timeout(Duration::from_millis(20), events.recv()).await
                {
                    let at = match event.body {
                        MarketBody::Trade { price, .. } => {
                            assert_eq!((event.symbol, price), (0, PRICE));
                            0
                        }
                        MarketBody::Quote { .. } => 1,
                        MarketBody::Depth { snapshot, .. } => 2 + usize::from(snapshot),
                        MarketBody::Empty => continue,
                    };
                    seen[at] = true;
                }
            }
            mock.cut();
        }
        assert_eq!(status.borrow().malformed, 0);
    });
}
