//! G16: the page in a real browser: what a trader sees and does, the kill switch, a gate and a shell that die. Pictures
//! stay in `target/page`.

use ringfence_core::config::{CoreConfig, StrategyConfig};
use ringfence_ipc::counters::Counter;
use ringfence_ipc::reason::Mode;
use ringfence_tests::browser::Browser;
use ringfence_tests::http::{Shell, get};
use ringfence_tests::process::{ringfence, workspace};
use ringfence_tests::world::{PATIENCE, World};
use ringfence_tests::{await_that, both_cpus, skipped};

fn manual(config: &mut CoreConfig) {
    config.strategies.push(StrategyConfig { name: "manual".into(), ..StrategyConfig::default() });
    config.limits.max_order_notional = Some("100000".into());
}

fn browser(world: &World, test: &str) -> Option<Browser> {
    // Built before the browser waits for it.
    let _ = ringfence();
    let shots = workspace().join("target/page");
    Browser::start(world.dir(), &shots).map_err(|why| skipped(test, &why)).ok()
}

/// Fills the ticket and sends it by keyboard alone.
fn order(page: &Browser, side: &str, qty: &str, price: &str) {
    page.run("document.activeElement.blur();");
    page.press(side);
    page.type_into("#qty", qty);
    page.type_into("#price", price);
    page.click("#send");
}

#[test]
fn g16_a_trader_reads_the_market_orders_fills_kills_and_goes_on() {
    let test = "g16_a_trader_reads_the_market_orders_fills_kills_and_goes_on";
    let _turn = both_cpus();
    let world = World::new(manual);
    let Some(page) = browser(&world, test) else { return };
    let core = world.start_ready();
    let shell = Shell::start(&world);
    page.open(&format!("http://{}/", shell.address));
    page.await_text("#link", "is live", |text| text == "live");
    let price = |text: &str| text.replace([',', ' '], "").parse::<f64>();
    page.await_text("#bid", "has a price", |text| price(text).is_ok());
    let ask = price(&page.await_text("#ask", "has a price", |text| price(text).is_ok())).unwrap();
    assert_eq!(page.text("#mode"), "ALLOW ALL");

    // Far below the market it rests; the answer names the gate's latency.
    order(&page, "b", "0.01", &format!("{:.2}", ask * 0.97));
    let answer = page.await_text("#answer", "is the gate's", |text| text.contains("gate "));
    assert!(answer.contains("Accepted"), "{answer}");
    page.await_text("#orders", "shows it", |text| text.contains("BTCUSDT") && text.contains("ACCEPTED"));
    page.screenshot("1-working-order");

    // Through the market it fills, and the position follows.
    order(&page, "b", "0.02", &format!("{:.2}", ask * 1.01));
    page.await_text("#fills", "shows the fill", |text| text.contains("BTCUSDT"));
    page.await_text("#positions", "shows what is held", |text| text.contains("0.02"));
    page.screenshot("2-filled");

    // Refused by a limit: the page says which, what it saw and what the limit is; nothing new rests.
    order(&page, "b", "10", &format!("{:.2}", ask * 0.97));
    page.await_text("#answer", "names the limit", |text| text.contains("max_order_notional"));
    // What is no number never leaves the page's server.
    order(&page, "b", "1e3", "1");
    page.await_text("#answer", "names the field", |text| text.to_lowercase().contains("qty"));
    page.screenshot("3-refused");

    // The gate dies and comes back: the page says so, goes on by itself, and the resting order is still there.
    core.kill();
    page.await_text("#link", "says the gate is away", |text| text == "gate away");
    assert!(page.text("#banner").contains("The gate is away"), "{}", page.text("#banner"));
    page.screenshot("4-gate-away");
    let core = world.start_ready();
    page.await_text("#link", "is live again", |text| text == "live");
    page.await_text("#orders", "still shows it", |text| text.contains("BTCUSDT"));

    // One press on the kill switch asks, the second kills; what rests is cancelled, and new orders are refused.
    page.click("#kill");
    page.await_text("#kill", "asks", |text| text.contains("again"));
    assert_eq!(world.counter(Counter::Mode), Mode::AllowAll as u64, "one press does nothing");
    page.click("#kill");
    page.await_text("#mode", "is killed", |text| text == "KILLED");
    await_that("the order is cancelled", PATIENCE, || world.counter(Counter::OpenOrders) == 0);
    page.await_text("#orders", "is empty", |text| !text.contains("BTCUSDT"));
    order(&page, "s", "0.01", &format!("{:.2}", ask * 1.02));
    page.await_text("#answer", "says why", |text| text.contains("KILLED"));
    page.screenshot("5-killed");
    page.type_into("#rearm-reason", "checked");
    page.click("#rearm button");
    page.await_text("#mode", "is open again", |text| text == "ALLOW ALL");
    order(&page, "s", "0.01", &format!("{:.2}", ask * 1.02));
    page.await_text("#answer", "is the gate's", |text| text.contains("Accepted"));

    // What the page did is what the gate wrote down.
    let orders = get(shell.address, "/api/orders_state").unwrap().body;
    let states: Vec<&str> =
        orders["items"].as_array().unwrap().iter().filter_map(|o| o["status"].as_str()).collect();
    assert_eq!(states.iter().filter(|s| **s == "FILLED").count(), 1, "{states:?}");
    assert_eq!(states.iter().filter(|s| **s == "CANCELLED").count(), 1, "{states:?}");

    // The shell dies: what stands there is marked as old, and a new shell is found.
    let address = shell.address;
    drop(shell);
    page.await_text("#link", "says so", |text| text == "no connection");
    page.screenshot("6-no-connection");
    let bind = address.to_string();
    let mut again = ringfence_tests::process::Process::start(
        ringfence(),
        &["shell", "--config", &world.config_path().display().to_string(), "--bind", &bind],
        &world.dir().join("shell.log"),
    );
    page.await_text("#link", "is live again", |text| text == "live");
    page.await_text("#orders", "shows what rests", |text| text.contains("SELL"));
    assert!(again.is_running() && core.stop(PATIENCE).success());
}
