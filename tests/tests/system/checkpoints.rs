//! A journal whose beginning is gone: gate, shell and tools go on from a checkpoint.

use std::time::Duration;

use ringfence_core::config::{CoreConfig, StrategyConfig};
use ringfence_ipc::journal::chained::Segments as _;
use ringfence_ipc::journal::checkpoint::Checkpoint;
use ringfence_ipc::journal::{SegmentDir, registry};
use ringfence_ipc::msg::{Intent, Side};
use ringfence_tests::http::{Shell, get, post};
use ringfence_tests::process::run;
use ringfence_tests::world::{PATIENCE, World};
use ringfence_tests::{await_that, both_cpus};
use serde_json::{Value, json};

/// Segments and checkpoints so small that a few thousand intents outlive them.
fn forgetful(config: &mut CoreConfig) {
    config.strategies.push(StrategyConfig { name: "manual".into(), ..StrategyConfig::default() });
    config.journal.segment_bytes = 64 << 10;
    config.journal.checkpoint_bytes = 64 << 10;
    config.journal.retain_bytes = Some(0);
}

fn oldest(world: &World) -> u64 {
    SegmentDir::new(&world.config.journal_dir()).firsts().unwrap().first().copied().unwrap_or(1)
}

/// A strategy that keeps the journal growing until `done`.
fn grow(world: &World, what: &str, mut done: impl FnMut() -> bool) {
    let mut client = world.attach("hammer");
    let mut key = u128::from(client.now_ns());
    await_that(what, PATIENCE * 3, || {
        for _ in 0..100 {
            key += 1;
            // Far below the market and gone at once: an intent, a report, nothing left open.
            let mut intent = Intent::limit(0, Side::Buy, 100, 1000, key, client.now_ns());
            intent.tif = ringfence_ipc::msg::Tif::Ioc;
            let _ = client.submit(&intent);
        }
        std::thread::sleep(Duration::from_millis(2));
        while client.poll().is_some() {}
        done()
    });
}

fn tool(world: &World, args: &[&str]) -> (bool, String) {
    let data = world.config.data_dir.display().to_string();
    let output = run(&[args, &["--data", &data]].concat(), &[]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.success(), text + &String::from_utf8_lossy(&output.stderr))
}

/// Open orders and positions as HTTP tells them.
fn shown(shell: &Shell) -> (Vec<Value>, Value) {
    let orders = get(shell.address, "/api/orders_state").unwrap().body;
    let open = |order: &Value| {
        ["ACCEPTED", "PARTIALLY_FILLED", "PENDING"].contains(&order["status"].as_str().unwrap())
    };
    let mut open: Vec<Value> =
        orders["items"].as_array().unwrap().iter().filter(|o| open(o)).cloned().collect();
    // Told by the last news, which a checkpoint does not keep.
    open.iter_mut().for_each(|order| drop(order.as_object_mut().map(|o| o.remove("last_ts_ns"))));
    (open, get(shell.address, "/api/positions").unwrap().body)
}

fn place(shell: &Shell, body: &Value) -> Value {
    let answer = post(shell.address, "/api/order", &body.to_string()).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

#[test]
fn gate_shell_and_tools_go_on_when_the_journals_beginning_is_gone() {
    let _turn = both_cpus();
    let world = World::new(forgetful);
    let mut core = world.start_ready();
    let shell = Shell::start(&world);
    let resting = json!({"side": "BUY", "symbol": "BTCUSDT", "qty": "0.5", "price": "1000.00", "client_order_id": "web-open"});
    let first = place(&shell, &resting);
    let market = json!({"side": "BUY", "symbol": "BTCUSDT", "qty": "0.25", "order_type": "MARKET", "client_order_id": "web-fill"});
    // Refused as long as there is no price, and tried again under the same id.
    await_that("a price", PATIENCE, || {
        post(shell.address, "/api/order", &market.to_string()).is_ok_and(|answer| answer.status == 200)
    });
    await_that("a position", PATIENCE, || shown(&shell).1.to_string().contains("0.25"));
    let waited_for = registry::registered(&world.config.run_dir).len();
    assert_eq!(waited_for, 2, "what the shell shows, and the order events that it publishes");
    grow(&world, "the journal's beginning is gone", || oldest(&world) > 1);
    std::thread::sleep(Duration::from_millis(100));
    let before = shown(&shell);
    assert!(before.0.iter().any(|order| order["client_order_id"] == "web-open"), "{before:?}");
    assert!(shell.process.stop(PATIENCE).success());
    assert_eq!(registry::registered(&world.config.run_dir), [], "a shell that stops takes its entry along");

    core.kill();
    core = world.start_ready();
    let shell = Shell::start(&world);
    await_that("the shell is up to date", PATIENCE, || shown(&shell).0.len() == before.0.len());
    let after = shown(&shell);
    assert_eq!(after.0[0]["client_order_id"], before.0[0]["client_order_id"]);
    assert_eq!(after.0[0]["venue_order_id"], before.0[0]["venue_order_id"]);
    let size = |(_, positions): &(Vec<Value>, Value)| positions.to_string().matches("0.25").count();
    assert_eq!(size(&after), size(&before), "{after:?} {before:?}");
    let again = place(&shell, &resting);
    assert_eq!((&again["duplicate"], &again["venue_order_id"]), (&json!(true), &first["venue_order_id"]));
    let other = json!({"side": "BUY", "symbol": "BTCUSDT", "qty": "0.6", "price": "1000.00", "client_order_id": "web-open"});
    assert_eq!(post(shell.address, "/api/order", &other.to_string()).unwrap().status, 409);
    assert!(shell.process.stop(PATIENCE).success());
    assert!(core.stop(PATIENCE).success());

    let (ok, told) = tool(&world, &["journal", "verify"]);
    assert!(ok && told.contains("checkpoints at ["), "{told}");
    let (ok, told) = tool(&world, &["replay", "--json"]);
    let report: Value = serde_json::from_str(told.lines().next().unwrap()).unwrap();
    assert!(ok && report["mismatches"] == 0 && report["from"].as_u64().unwrap() > 1, "{told}");
    let (ok, told) = tool(&world, &["journal", "dump", "--last", "1"]);
    assert!(ok && told.contains(" close "), "{told}");
    let (ok, told) = tool(&world, &["journal", "dump", "--from", "1"]);
    assert!(!ok && told.contains("the journal begins at"), "{told}");
}

#[test]
fn a_journal_without_beginning_and_checkpoints_is_refused_with_what_to_do() {
    let world = World::new(forgetful);
    let core = world.start_ready();
    grow(&world, "the journal's beginning is gone", || oldest(&world) > 1);
    assert!(core.stop(PATIENCE).success());
    let dir = world.config.journal_dir();
    for position in Checkpoint::list(&dir).unwrap() {
        std::fs::write(dir.join(Checkpoint::file_name(position)), b"torn").unwrap();
    }
    let (ok, told) = tool(&world, &["journal", "verify"]);
    assert!(!ok && told.contains("cannot be used") && told.contains("put the missing segments"), "{told}");
    let mut core = world.start_process();
    assert!(!core.wait(PATIENCE).success());
    assert!(core.said().contains("no checkpoint that reaches it can be used"), "{}", core.said());
}

#[test]
fn dump_follows_one_order_by_its_name_and_its_id() {
    let world = World::new(|config| {
        config.strategies.push(StrategyConfig { name: "manual".into(), ..StrategyConfig::default() });
    });
    let core = world.start_ready();
    let shell = Shell::start(&world);
    let order = json!({"side": "BUY", "symbol": "BTCUSDT", "qty": "0.5", "price": "1000.00", "client_order_id": "web-1"});
    let placed = place(&shell, &order);
    place(
        &shell,
        &json!({"side": "BUY", "symbol": "BTCUSDT", "qty": "0.5", "price": "1000.00", "client_order_id": "web-2"}),
    );
    let (ok, live) = tool(&world, &["journal", "dump", "--order", "web-1"]);
    assert!(
        ok && live.contains("manual new BUY 0.5") && live.contains("id web-1") && !live.contains("web-2"),
        "{live}"
    );
    assert!(shell.process.stop(PATIENCE).success());
    assert!(core.stop(PATIENCE).success());
    let (ok, by_id) =
        tool(&world, &["journal", "dump", "--order", placed["venue_order_id"].as_str().unwrap()]);
    assert!(ok && by_id.contains("id web-1") && by_id.contains("report     order"), "{by_id}");
    let (ok, lines) = tool(&world, &["journal", "dump", "--order", "web-1", "--json", "--limit", "1"]);
    let line: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert!(ok && line["client_order_id"] == "web-1", "{lines}");
    let key = line["key"].as_str().unwrap();
    let (ok, by_key) = tool(&world, &["journal", "dump", "--key", key]);
    assert!(ok && by_key.contains("id web-1") && by_key.contains("report     order"), "{by_key}");
}
