//! A client that does not read its events: it is told, then detached, and misses nothing.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use ringfence_core::config::VenueKind;
use ringfence_ipc::client::{Client, Event, SubmitError};
use ringfence_ipc::counters::Counter;
use ringfence_ipc::journal::Record;
use ringfence_ipc::msg::{Intent, ReportKind, Side};
use ringfence_tests::await_that;
use ringfence_tests::world::{PATIENCE, World};

/// A gate that waits so long for a client.
fn world(patience_ms: u64) -> World {
    World::new(|config| {
        config.venue = VenueKind::Null;
        config.capacity.lagging_patience_ms = patience_ms;
    })
}

/// Submits until nothing more fits, reading nothing; how many went out.
fn submit_without_reading(client: &mut Client, first_key: u128) -> u64 {
    let (mut sent, mut full_since) = (0, Instant::now());
    while full_since.elapsed() < Duration::from_millis(50) {
        let key = first_key + u128::from(sent);
        match client.submit(&Intent::limit(0, Side::Buy, 6_000_000, 1000, key, client.now_ns())) {
            Ok(_) => (sent, full_since) = (sent + 1, Instant::now()),
            Err(SubmitError::Full) => std::thread::sleep(Duration::from_micros(50)),
            Err(error) => panic!("{error}"),
        }
    }
    sent
}

/// What a client was told, each counted.
#[derive(Default)]
struct Told {
    decisions: HashMap<u64, u64>,
    orders: HashMap<u64, u64>,
    lost: u64,
}

fn read_all(client: &mut Client, told: &mut Told, decisions: u64) {
    await_that("every decision and report", PATIENCE, || {
        while let Some(event) = client.poll() {
            match event {
                Event::Decision(decision) => *told.decisions.entry(decision.key_low).or_default() += 1,
                Event::Report(report) => *told.orders.entry(report.order_id).or_default() += 1,
                Event::Lost => {
                    told.lost += 1;
                    client.reattach(PATIENCE).unwrap();
                }
                Event::Step(_) => {}
            }
        }
        told.decisions.len() as u64 == decisions && told.orders.len() as u64 == decisions
    });
}

#[test]
fn a_client_that_never_reads_is_detached_and_misses_nothing() {
    let world = world(300);
    let gate = world.start_here();
    let mut slow = world.attach("slow");
    let sent = submit_without_reading(&mut slow, 1);
    assert!(sent > 100, "{sent}");
    await_that("it is told", PATIENCE, || slow.is_lagging() || !slow.is_connected());
    await_that("it is detached", PATIENCE, || !slow.is_connected());
    assert_eq!(world.counter(Counter::LaggingDetached), 1);
    assert_eq!(world.counter(Counter::QuarantinedClients), 0, "slow is not hostile");
    let mut told = Told::default();
    read_all(&mut slow, &mut told, sent);
    assert_eq!(told.lost, 1);
    assert!(told.decisions.values().all(|times| *times == 1), "a decision came twice");
    // The null venue answers each order once.
    assert!(told.orders.values().all(|times| *times == 1), "a report came twice");
    gate.stop();
    let journal = world.journal();
    let decided = journal.iter().filter(|(_, record)| matches!(record, Record::Decision(_))).count() as u64;
    let expired = |record: &Record| matches!(record, Record::Report(r) if r.kind == ReportKind::Expired);
    let reported = journal.iter().filter(|(_, record)| expired(record)).count() as u64;
    assert_eq!((decided, reported), (sent, sent), "each intent was decided and answered once");
}

#[test]
fn a_client_that_reads_in_time_stays() {
    let world = world(60_000);
    let gate = world.start_here();
    let mut slow = world.attach("slow");
    let mut told = Told::default();
    let mut sent = 0;
    for _ in 0..3 {
        sent += submit_without_reading(&mut slow, u128::from(sent) + 1);
        read_all(&mut slow, &mut told, sent);
        await_that("it is waited for no more", PATIENCE, || !slow.is_lagging());
    }
    assert_eq!((told.lost, world.counter(Counter::LaggingDetached)), (0, 0));
    assert!(slow.is_connected());
    gate.stop();
}

#[test]
fn a_slow_client_costs_the_others_nothing() {
    let world = world(60_000);
    let gate = world.start_here();
    let (mut slow, mut quick) = (world.attach("slow"), world.attach("quick"));
    let stuck = submit_without_reading(&mut slow, 1);
    let mut told = Told::default();
    for key in 1..=500 {
        quick.submit(&Intent::limit(0, Side::Buy, 6_000_000, 1000, key, quick.now_ns())).unwrap();
        read_all(&mut quick, &mut told, key as u64);
    }
    assert_eq!(told.lost, 0);
    let mut told = Told::default();
    read_all(&mut slow, &mut told, stuck);
    gate.stop();
}

#[test]
fn who_was_thrown_out_is_counted_until_it_comes_back() {
    use ringfence_tests::raw::Raw;
    let world = world(300);
    let gate = world.start_here();
    let hostile = Raw::attach(&world.config.socket_path(), "hostile");
    hostile.put(0, &[0; 7], u64::MAX >> 1);
    let _ = hostile.thrown_out();
    await_that("it is counted", PATIENCE, || world.counter(Counter::QuarantinedClients) == 1);
    let _back = world.attach("hostile");
    await_that("it is back", PATIENCE, || world.counter(Counter::QuarantinedClients) == 0);
    assert_eq!(world.counter(Counter::Faults), 1);
    gate.stop();
}
