//! Gate, shell and a mock of Binance, as a user runs them: whatever fails between them, and whoever is killed, orders,
//! positions and balances end as the venue has them, and the venue has seen each order once.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ringfence_core::config::{BinanceSection, CoreConfig, VenueKind};
use ringfence_core::reconcile::view_at;
use ringfence_ipc::client::{Client, Event, SubmitError};
use ringfence_ipc::counters::Counter;
use ringfence_ipc::msg::{Decision, Intent, OrderId, OrderState, Outcome, Side};
use ringfence_tests::binance::rig::hmac;
use ringfence_tests::binance::{EventFaults, Fault, Mock, ONE};
use ringfence_tests::http::{Answer, Shell, get, post};
use ringfence_tests::process::Process;
use ringfence_tests::world::{PATIENCE, World, anybody};
use ringfence_tests::{Dice, await_that, both_cpus};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

const PLACE: &str = "POST /api/v3/order";
const CANCEL: &str = "DELETE /api/v3/order";
/// What the gauge says of a venue that is open.
const OPEN: u64 = 3;
/// 60,000 USDT, the venue's numbers.
const PRICE: i64 = 60_000 * ONE;
const SECRET: &str = "mock-secret";

/// A world whose venue is the mock at `address`.
fn world(address: SocketAddr, edit: impl FnOnce(&mut CoreConfig)) -> World {
    let keys = |config: &CoreConfig, name: &str| -> PathBuf { config.data_dir.join(name) };
    let world = World::new(|config| {
        config.venue = VenueKind::BinanceTestnetSpot;
        config.clients.push(anybody("venue"));
        config.shell.manual_strategy = "hammer".into();
        config.binance = BinanceSection {
            rest_url: Some(format!("http://{address}")),
            ws_api_url: Some(format!("ws://{address}/ws-api/v3")),
            stream_url: Some(format!("ws://{address}")),
            api_key_file: Some(keys(config, "api.key")),
            secret_file: Some(keys(config, "api.secret")),
            recv_window_ms: 1_000,
            request_timeout_ms: 700,
            sweep_interval_ms: 2_000,
            reconnect_pause_ms: 20,
            ..BinanceSection::default()
        };
        edit(config);
    });
    for (name, text) in [("api.key", "mock-api-key\n"), ("api.secret", "mock-secret\n")] {
        let path = keys(&world.config, name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    }
    world
}

/// Everything, running.
struct Street {
    shell: Option<Shell>,
    core: Option<Process>,
    mock: Mock,
    world: World,
    orders: u64,
    /// Position of fills that the venue has forgotten.
    forgotten_qty: i64,
    _runtime: Runtime,
}

impl Street {
    fn open() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mock = runtime.block_on(Mock::start(hmac()));
        let world = world(mock.address, |_| ());
        let core = world.start_ready();
        let shell = Shell::start(&world);
        let street = Self {
            shell: Some(shell),
            core: Some(core),
            mock,
            world,
            orders: 0,
            forgotten_qty: 0,
            _runtime: runtime,
        };
        street.trades();
        street
    }

    fn get(&self, path: &str) -> Value {
        get(self.shell.as_ref().unwrap().address, path).map_or(Value::Null, |answer| answer.body)
    }

    /// Waits until new orders pass.
    fn trades(&self) {
        await_that("new orders pass", PATIENCE, || {
            self.get("/api/execution/ping")["ok"] == true && self.world.counter(Counter::VenueState) == OPEN
        });
    }

    /// A limit buy of 0.01 BTC over HTTP; gives its id.
    fn buy(&mut self) -> String {
        let id = format!("o-{}", self.orders + 1);
        let answer = self.place(&id);
        assert_eq!(answer.status, 200, "{answer:?}");
        id
    }

    fn place(&mut self, id: &str) -> Answer {
        self.orders += 1;
        let body = json!({"side": "BUY", "symbol": "BTCUSDT", "qty": "0.01", "price": "60000",
            "client_order_id": id});
        post(self.shell.as_ref().unwrap().address, "/api/order", &body.to_string()).unwrap()
    }

    fn cancel(&self, id: &str) {
        let body = json!({ "client_order_id": id }).to_string();
        let answer = post(self.shell.as_ref().unwrap().address, "/api/cancel", &body).unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    fn becomes(&self, id: &str, status: &str) {
        let mut state = Value::Null;
        let deadline = std::time::Instant::now() + PATIENCE;
        while state["status"] != status {
            assert!(std::time::Instant::now() < deadline, "{id} is not {status}: {state}");
            state = self.get(&format!("/api/order_state?client_order_id={id}"));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The market sells so much, 1e-8 BTC.
    fn hit(&self, qty: i64) {
        self.mock.venue(|venue| venue.market_order("BTCUSDT", false, PRICE, qty));
    }

    /// What gate and venue disagree about.
    fn differences(&self) -> Vec<String> {
        let config = &self.world.config;
        let view = view_at(&config.hot_path(), &config.journal_dir(), None).unwrap();
        let mut found = Vec::new();
        let mut theirs: BTreeMap<OrderId, (OrderState, i64)> = BTreeMap::new();
        let (position, balances) = self.mock.venue(|venue| {
            for order in venue.orders.values().filter(|order| order.ours) {
                let id = order.client_id.split('-').nth(1);
                let id = id.and_then(|hex| u64::from_str_radix(hex, 16).ok()).expect("an id of ours");
                theirs.insert(id, (state(order.status), order.done));
            }
            if let Some((id, times)) = venue.accepted.iter().find(|(_, times)| **times != 1) {
                found.push(format!("{id} was entered {times} times"));
            }
            let sign = |id: &u64| if venue.orders[id].buy { 1 } else { -1 };
            let filled: i64 = venue.trades.iter().map(|trade| sign(&trade.order_id) * trade.qty).sum();
            (filled, venue.balances.clone())
        });
        for (id, there) in &theirs {
            let here = view.orders.get(id).map(|order| (order.state, order.cum_qty));
            if here != Some(*there) {
                found.push(format!("{id:x}: here {here:?}, there {there:?}"));
            }
        }
        for order in view.orders.values().filter(|order| !order.state.is_terminal()) {
            if !theirs.contains_key(&order.order_id) {
                found.push(format!("only here: {order:?}"));
            }
        }
        if !view.strays.is_empty() {
            found.push(format!("strays {:?}", view.strays));
        }
        let here: i64 = view.positions.iter().map(|position| position.qty).sum();
        if here != position + self.forgotten_qty {
            found.push(format!("position {here}, there {position}"));
        }
        let account = self.get("/api/account");
        for (asset, held) in balances {
            let line = account["balances"].as_array().into_iter().flatten().find(|b| b["asset"] == *asset);
            let number = |name: &str| line.and_then(|line| line[name].as_f64()).unwrap_or(-1.0);
            let told = (number("free"), number("locked"));
            let wanted = (held.0 as f64 / ONE as f64, held.1 as f64 / ONE as f64);
            if (told.0 - wanted.0).abs() > 1e-6 || (told.1 - wanted.1).abs() > 1e-6 {
                found.push(format!("{asset}: here {told:?}, there {wanted:?}"));
            }
        }
        found
    }

    /// Waits until orders, positions and balances are the venue's; the gate's own comparison then finds nothing.
    fn agrees(&self) {
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            let found = self.differences();
            if found.is_empty() {
                break;
            }
            assert!(std::time::Instant::now() < deadline, "{found:#?}\n{}", self.said());
            std::thread::sleep(Duration::from_millis(50));
        }
        let report = self.get("/api/reconcile");
        assert_eq!(report["total"], 0, "{report:#}\n{}", self.said());
    }

    fn said(&self) -> String {
        self.shell.as_ref().map_or_else(String::new, |shell| shell.process.said())
    }

    /// Stops everything in good order.
    fn close(mut self) {
        let said = self.said();
        assert!(!said.contains(SECRET) && !said.contains("mock-api-key"), "keys stay out of messages");
        assert!(self.shell.take().unwrap().process.stop(PATIENCE).success());
        assert!(self.core.take().unwrap().stop(PATIENCE).success());
    }
}

fn state(status: &str) -> OrderState {
    match status {
        "NEW" => OrderState::Accepted,
        "PARTIALLY_FILLED" => OrderState::PartiallyFilled,
        "FILLED" => OrderState::Filled,
        "CANCELED" => OrderState::Cancelled,
        "REJECTED" => OrderState::Rejected,
        _ => OrderState::Expired,
    }
}

#[test]
fn an_order_goes_to_the_venue_and_everything_tells_the_truth_about_it() {
    let mut street = Street::open();
    // One after the other: requests travel side by side, and the market fills what came first.
    let filled = street.buy();
    street.becomes(&filled, "ACCEPTED");
    let cancelled = street.buy();
    street.becomes(&cancelled, "ACCEPTED");
    street.hit(ONE / 100);
    street.becomes(&filled, "FILLED");
    street.cancel(&cancelled);
    street.becomes(&cancelled, "CANCELLED");
    street.buy();
    street.agrees();
    let config = street.get("/api/config");
    assert_eq!(
        (&config["execution_mode"], &config["market_source"]),
        (&"binance_testnet_spot".into(), &"binance".into())
    );
    assert_eq!(config["binance_rest_url"], format!("http://{}", street.mock.address));
    assert_eq!(config["binance_testnet"], true);
    let health = street.get("/api/health");
    assert_eq!((&health["venue"]["state"], &health["ok"]), (&"trading".into(), &true.into()), "{health}");
    await_that("the market is the venue's", PATIENCE, || {
        // A seller and a buyer: they trade whatever of ours is left.
        street.hit(ONE / 1_000);
        street.mock.venue(|venue| venue.market_order("BTCUSDT", true, PRICE, ONE / 1_000));
        let market = street.get("/api/market");
        market["price"] == 60_000 && market["stale"] == false
    });
    street.mock.cut();
    street.agrees();
    street.close();
}

#[test]
fn a_timeout_after_accept_and_an_answer_that_cannot_be_read_are_found_out() {
    let mut street = Street::open();
    for fault in [Fault::TimeoutAfter, Fault::Malformed, Fault::TimeoutBefore] {
        street.mock.fault(PLACE, fault);
        street.buy();
    }
    street.hit(ONE / 200);
    street.agrees();
    assert_eq!(street.mock.requests(PLACE), 3, "nothing is sent twice");
    street.close();
}

#[test]
fn duplicates_and_events_in_another_order_change_nothing() {
    let mut street = Street::open();
    street.mock.events(EventFaults { twice: true, reversed: true, ..EventFaults::default() });
    for _ in 0..4 {
        street.buy();
        street.hit(ONE / 300 / 1_000 * 1_000);
    }
    street.agrees();
    street.close();
}

#[test]
fn dropped_events_are_asked_for() {
    let mut street = Street::open();
    let id = street.buy();
    street.becomes(&id, "ACCEPTED");
    street.mock.events(EventFaults { drop: 4, ..EventFaults::default() });
    street.hit(ONE / 100);
    street.becomes(&id, "FILLED");
    // Balances come with the next session, or the next event.
    street.mock.cut();
    street.agrees();
    street.close();
}

#[test]
fn server_errors_leave_no_doubt_behind() {
    let mut street = Street::open();
    for fault in [Fault::After(503, -1000), Fault::Instead(500, -1001), Fault::After(504, -1007)] {
        street.mock.fault(PLACE, fault);
        let id = street.buy();
        street.mock.fault(CANCEL, Fault::After(502, 0));
        await_that("the venue has answered", PATIENCE, || {
            let state = street.get(&format!("/api/order_state?client_order_id={id}"));
            state["status"] != "UNKNOWN" && state["status"] != "PENDING"
        });
    }
    street.agrees();
    street.close();
}

#[test]
fn what_is_gone_and_what_wants_a_pause_is_refused_and_said() {
    let mut street = Street::open();
    let resting = street.buy();
    street.becomes(&resting, "ACCEPTED");
    street.mock.fault(PLACE, Fault::Instead(410, 0));
    let gone = street.buy();
    street.becomes(&gone, "REJECTED");
    let ping = street.get("/api/execution/ping");
    assert!(ping["venue"]["last_failure"].as_str().unwrap().contains("410"), "{ping}");
    for status in [429, 418] {
        street.mock.fault(PLACE, Fault::Busy(status, 1));
        let refused = street.buy();
        street.becomes(&refused, "REJECTED");
        std::thread::sleep(Duration::from_millis(1_100));
    }
    street.cancel(&resting);
    street.becomes(&resting, "CANCELLED");
    street.agrees();
    street.close();
}

#[test]
fn a_session_cut_after_24_hours_is_reconciled() {
    let mut street = Street::open();
    let ids = [street.buy(), street.buy()];
    ids.iter().for_each(|id| street.becomes(id, "ACCEPTED"));
    street.mock.cut();
    street.hit(ONE / 100);
    street.becomes(&ids[0], "FILLED");
    street.trades();
    street.buy();
    street.agrees();
    street.close();
}

#[test]
fn the_monthly_wipe_is_survived() {
    let mut street = Street::open();
    let id = street.buy();
    street.becomes(&id, "ACCEPTED");
    street.hit(ONE / 500);
    street.becomes(&id, "PARTIALLY_FILLED");
    street.forgotten_qty = ONE / 500;
    street.mock.venue(|venue| venue.wipe());
    street.mock.cut();
    street.becomes(&id, "EXPIRED");
    street.trades();
    let id = street.buy();
    street.becomes(&id, "ACCEPTED");
    street.hit(ONE / 100);
    street.becomes(&id, "FILLED");
    street.agrees();
    street.close();
}

#[test]
fn a_clock_that_runs_away_is_followed() {
    let mut street = Street::open();
    for skew_ms in [-60_000, 60_000] {
        street.mock.skew(skew_ms);
        let id = street.buy();
        street.becomes(&id, "ACCEPTED");
        let offset = street.get("/api/execution/ping")["venue"]["clock_offset_ms"].as_i64().unwrap();
        assert!((offset - skew_ms).abs() < 1_000, "{offset}");
    }
    street.hit(ONE / 100);
    street.mock.cut();
    street.agrees();
    street.close();
}

/// Orders that rest and cancels of them, over every death of the gate.
fn stream(mut client: Client, stop: &AtomicBool) -> u64 {
    let mut dice = Dice::new(7);
    let (mut ids, mut key, mut accepted) = (Vec::<OrderId>::new(), 0, 0);
    while !stop.load(Ordering::Relaxed) {
        key += 1;
        let now_ns = client.now_ns();
        let target = ids.get(dice.below(ids.len().max(1) as u64) as usize).copied();
        let intent = match target {
            Some(id) if dice.below(3) == 0 => Intent::cancel(0, id, key, now_ns),
            _ => Intent::limit(0, Side::Buy, 6_000_000, ONE / 1_000, key, now_ns),
        };
        if client.submit(&intent) == Err(SubmitError::Lost) {
            let _ = client.reattach(PATIENCE);
        }
        while let Some(event) = client.poll() {
            match event {
                Event::Decision(Decision {
                    outcome: Outcome::Accepted, order_id, duplicate: false, ..
                }) => {
                    accepted += 1;
                    ids.push(order_id);
                }
                Event::Lost => client.reattach(PATIENCE).expect("the gate comes back"),
                _ => {}
            }
        }
        std::thread::sleep(Duration::from_millis(15));
    }
    accepted
}

fn lives_through(shell_dies: bool, core_dies: bool) {
    let _cpus = both_cpus();
    let mut street = Street::open();
    let stop = AtomicBool::new(false);
    let strategy = street.world.attach("hammer");
    let accepted = std::thread::scope(|scope| {
        let trading = scope.spawn(|| stream(strategy, &stop));
        for _ in 0..2 {
            for _ in 0..8 {
                std::thread::sleep(Duration::from_millis(50));
                street.hit(ONE / 2_000);
            }
            if shell_dies {
                street.shell.take().unwrap().process.kill();
            }
            if core_dies {
                street.core.take().unwrap().kill();
            }
            street.hit(ONE / 2_000);
            if core_dies {
                street.core = Some(street.world.start_ready());
            }
            if shell_dies {
                street.shell = Some(Shell::start(&street.world));
            }
            street.trades();
        }
        stop.store(true, Ordering::Relaxed);
        trading.join().expect("the strategy lives on")
    });
    street.agrees();
    let seen = street.mock.venue(|venue| venue.accepted.len());
    assert!(accepted > 10 && seen > 10, "{accepted} accepted, {seen} seen");
    street.close();
}

#[test]
fn the_shell_is_killed_in_a_stream_of_orders() {
    lives_through(true, false);
}

#[test]
fn the_core_is_killed_in_a_stream_of_orders() {
    lives_through(false, true);
}

#[test]
fn both_are_killed_in_a_stream_of_orders() {
    lives_through(true, true);
}

/// The shell ends by itself, and says this.
fn refused(world: &World, says: &[&str]) {
    let mut shell = Shell::launch(world);
    assert!(!shell.wait(PATIENCE).success());
    let said = shell.said();
    assert!(says.iter().all(|says| said.contains(says)), "{said}");
    assert!(!said.contains(SECRET), "{said}");
}

#[test]
fn what_cannot_work_is_refused_at_the_start_with_what_to_do() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mock = runtime.block_on(Mock::start(hmac()));
    let fine = world(mock.address, |config| {
        (config.symbols[0].tick, config.symbols[0].price_scale) = ("0.001".into(), 3);
    });
    let core = fine.start_ready();
    refused(&fine, &["the gate's tick is 0.001, the venue's is 0.01"]);
    assert_eq!(mock.requests(PLACE), 0);
    let secret = fine.config.data_dir.join("api.secret");
    std::fs::set_permissions(&secret, Permissions::from_mode(0o644)).unwrap();
    refused(&fine, &["can be read by others", "chmod 600"]);
    assert!(core.stop(PATIENCE).success());
    let live = world(mock.address, |config| config.binance.allow_mainnet = true);
    refused(&live, &["real money", "auth.enabled"]);
    let keyless = world(mock.address, |config| config.binance.secret_file = None);
    let core = keyless.start_ready();
    refused(&keyless, &["BINANCE_API_SECRET"]);
    assert!(core.stop(PATIENCE).success());
}
