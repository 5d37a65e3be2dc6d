//! `--wait park`: an idle gate sleeps, and whoever brings it work wakes it; `--wait spin`: refused where it would starve.

use std::process::Command;
use std::time::{Duration, Instant};

use ringfence_core::config::{VenueKind, Wait};
use ringfence_ipc::client::{Client, Event, SubmitError};
use ringfence_ipc::counters::Counter;
use ringfence_ipc::feed::FeedClient;
use ringfence_ipc::handshake::Role;
use ringfence_ipc::msg::{Intent, Quote, Side};
use ringfence_tests::process::ringfence;
use ringfence_tests::world::{PATIENCE, World};
use ringfence_tests::{await_that, both_cpus, size, skipped};

fn parked_world(venue: VenueKind) -> World {
    World::new(|config| (config.wait, config.venue) = (Wait::Park, venue))
}

fn ask(client: &mut Client, key: u128) {
    client.submit(&Intent::limit(0, Side::Buy, 6_000_000, 1000, key, client.now_ns())).unwrap();
}

fn answered(client: &mut Client, count: u64) -> u64 {
    let mut left = count;
    await_that("answers", PATIENCE, || {
        while let Some(event) = client.poll() {
            match event {
                Event::Decision(_) => left -= 1,
                Event::Lost => panic!("the gate is gone"),
                _ => {}
            }
        }
        left == 0
    });
    count
}

fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[14 - 3].parse::<u64>().unwrap() + fields[15 - 3].parse::<u64>().unwrap()
}

#[test]
fn an_idle_gate_sleeps_and_costs_next_to_nothing() {
    let _turn = both_cpus();
    let world = parked_world(VenueKind::Paper);
    let core = world.start_ready();
    let mut client = world.attach("hammer");
    ask(&mut client, 1);
    answered(&mut client, 1);
    await_that("it falls asleep", PATIENCE, || world.counter(Counter::Parks) > 5);
    let (began, before, parks) = (Instant::now(), cpu_ticks(core.pid()), world.counter(Counter::Parks));
    std::thread::sleep(Duration::from_secs(2));
    let took = began.elapsed().as_secs_f64();
    // A tick is 10 ms.
    let share = (cpu_ticks(core.pid()) - before) as f64 / 100.0 / took;
    let slept = world.counter(Counter::Parks) - parks;
    println!("an idle gate: {:.1} % of one CPU, {slept} sleeps in {took:.1} s", share * 100.0);
    assert!(share < 0.1, "{:.1} % of one CPU while idle", share * 100.0);
    assert!(slept > 20, "{slept} sleeps");
    assert!(core.stop(PATIENCE).success());
}

#[test]
fn whoever_brings_work_wakes_the_gate() {
    let _turn = both_cpus();
    let world = parked_world(VenueKind::Paper);
    let gate = world.start_here();
    let mut client = world.attach("hammer");
    let mut feed = FeedClient::attach(
        ringfence_ipc::client::AttachOptions { role: Role::Feed, ..world.options("feed") },
        PATIENCE,
    )
    .unwrap();
    let rounds = size("RINGFENCE_PARK_ROUNDS", 50);
    for round in 0..rounds {
        // Two sleeps since the last work: it spins and yields no more, so it sleeps now but for a moment in 10 ms.
        let parks = world.counter(Counter::Parks);
        await_that("it sleeps", PATIENCE, || world.counter(Counter::Parks) > parks + 1);
        ask(&mut client, u128::from(round) + 1);
        answered(&mut client, 1);
        let event = feed.next_event();
        let quote = Quote {
            symbol: 0,
            event,
            ts_ns: feed.now_ns(),
            bid_price: 6_000_000,
            bid_qty: 1000,
            ask_price: 6_000_001,
            ask_qty: 1000,
        };
        feed.publish(&[quote.encode()]).unwrap();
        await_that("the quote is seen", PATIENCE, || client.market().latest_event() == event);
        await_that("the venue has it", PATIENCE, || world.counter(Counter::MarketEvents) == event);
    }
    let (rung, woken) = (client.times_gate_woken(), world.counter(Counter::ParksWoken));
    println!(
        "{rounds} orders and quotes; the strategy rang {rung} times, {woken} sleeps were ended by a bell"
    );
    assert!(rung >= rounds / 2 && woken >= rung / 2, "{rung} rings ended {woken} sleeps");
    gate.stop();
}

#[test]
fn a_busy_gate_is_hardly_woken() {
    let _turn = both_cpus();
    let intents = size("RINGFENCE_PARK_INTENTS", 200_000);
    let world = parked_world(VenueKind::Null);
    let gate = world.start_here();
    let mut client = world.attach("hammer");
    let (mut sent, mut left) = (0, intents);
    let deadline = Instant::now() + 3 * PATIENCE;
    while left > 0 {
        assert!(Instant::now() < deadline, "{left} of {intents} are not answered");
        if sent < intents {
            let intent = Intent::limit(0, Side::Buy, 6_000_000, 1000, u128::from(sent) + 1, client.now_ns());
            match client.submit(&intent) {
                Ok(_) => sent += 1,
                Err(SubmitError::Full) => {}
                Err(error) => panic!("{error}"),
            }
        }
        while let Some(event) = client.poll() {
            left -= u64::from(matches!(event, Event::Decision(_)));
        }
    }
    let (woken, parks) = (client.times_gate_woken(), world.counter(Counter::Parks));
    println!("a_busy_gate_is_hardly_woken: {intents} intents, {parks} sleeps, {woken} system calls");
    assert!(woken < intents / 20, "{woken} wakes for {intents} intents and {parks} sleeps");
    gate.stop();
}

#[test]
fn without_park_nobody_holds_a_bell() {
    let world = World::new(|_| ());
    let gate = world.start_here();
    let mut client = world.attach("hammer");
    std::thread::sleep(Duration::from_millis(2));
    ask(&mut client, 1);
    answered(&mut client, 1);
    assert_eq!((client.times_gate_woken(), world.counter(Counter::Parks)), (0, 0));
    gate.stop();
}

#[test]
fn spinning_without_a_cpu_to_spare_is_refused() {
    let world = World::new(|config| config.wait = Wait::Spin);
    let config = world.config_path().display().to_string();
    let core = ringfence().display().to_string();
    let Ok(output) = Command::new("taskset").args(["-c", "0", &core, "core", "--config", &config]).output()
    else {
        return skipped("spinning_without_a_cpu_to_spare_is_refused", "taskset is not installed");
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("needs more than 1 CPU"), "{said}");
    assert!(said.contains("backoff") && said.contains("park"), "it says what to use: {said}");
}
