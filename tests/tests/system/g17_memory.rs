//! G17: memory does not grow with what goes through. `RINGFENCE_G17_KEYS` and `RINGFENCE_G17_SECONDS` say how much that is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ringfence_core::config::{StrategyConfig, VenueKind};
use ringfence_ipc::client::{Client, Event, SubmitError};
use ringfence_ipc::msg::{Intent, Side, Tif};
use ringfence_ipc::reason::Reason;
use ringfence_tests::http::{Shell, Stream, post};
use ringfence_tests::process::Process;
use ringfence_tests::world::{PATIENCE, World};
use ringfence_tests::{both_cpus, size};
use serde_json::json;

const MIB: u64 = 1 << 20;

/// Sends orders under the keys `from..to`, each once; returns how many were answered, and how many as a repeat.
fn send_keys(client: &mut Client, from: u128, to: u128) -> (u64, u64) {
    let (mut keys, mut again, mut answered, mut repeats) = (from..to, Vec::new(), 0, 0);
    let total = (to - from) as u64;
    while answered < total {
        let mut went = 0;
        while went < 64 {
            let Some(key) = again.pop().or_else(|| keys.next()) else { break };
            let order = Intent::limit(0, Side::Buy, 5_000_000, 1000, key, client.now_ns());
            match client.submit(&Intent { tif: Tif::Ioc, ..order }) {
                Ok(_) => went += 1,
                Err(SubmitError::Full) => {
                    again.push(key);
                    break;
                }
                Err(other) => panic!("the gate stays: {other}"),
            }
        }
        let mut heard = 0;
        while let Some(event) = client.poll() {
            heard += 1;
            match event {
                // Nothing was decided: the archive has to catch up first.
                Event::Decision(decision) if decision.reason == Reason::JournalFull => {
                    again.push(u128::from(decision.key_low));
                }
                Event::Decision(decision) => {
                    answered += 1;
                    repeats += u64::from(decision.duplicate);
                }
                Event::Report(_) => {}
                other => panic!("the gate stays: {other:?}"),
            }
        }
        if heard == 0 && went == 0 {
            std::thread::yield_now();
        }
    }
    (answered, repeats)
}

#[test]
fn g17_unique_keys_leave_the_gates_memory_as_it_was() {
    let _turn = both_cpus();
    let keys = size("RINGFENCE_G17_KEYS", 400_000);
    let world = World::new(|config| {
        config.venue = VenueKind::Null;
        config.journal.hot_bytes = 16 << 20;
        config.capacity.intents_slots = 1024;
        config.capacity.events_slots = 4096;
    });
    let core = world.start_ready();
    let mut client = world.attach("hammer");
    // Every table and window has been full once after this.
    let warm = keys / 5;
    let began = Instant::now();
    send_keys(&mut client, 1, u128::from(warm) + 1);
    let before = core.resident_bytes();
    let (answered, repeats) = send_keys(&mut client, u128::from(warm) + 1, u128::from(keys) + 1);
    let after = core.resident_bytes();
    println!(
        "g17: {keys} unique keys in {:?}; gate's memory {} KiB after {warm}, {} KiB at the end",
        began.elapsed(),
        before / 1024,
        after / 1024
    );
    assert_eq!((answered, repeats), (keys - warm, 0));
    assert!(after <= before + MIB, "it grew from {before} to {after} bytes");
    // The newest are still known.
    let newest = u128::from(keys) - 1000;
    assert_eq!(send_keys(&mut client, newest, newest + 1000), (1000, 1000));
    drop(client);
    assert!(core.stop(PATIENCE).success());
}

/// Asks for orders over HTTP at a steady pace.
fn trade(address: std::net::SocketAddr, stop: &AtomicBool) -> u64 {
    let mut placed = 0;
    while !stop.load(Ordering::Relaxed) {
        let body = json!({"side": "BUY", "symbol": "BTCUSDT", "qty": "0.00001", "price": "1000.00", "tif": "IOC",
            "client_order_id": format!("g17-{placed}")});
        let answer = post(address, "/api/order", &body.to_string()).expect("the shell stays");
        assert!(matches!(answer.status, 200 | 422), "{answer:?}");
        placed += 1;
        std::thread::sleep(Duration::from_millis(4));
    }
    placed
}

/// The largest of the readings in a part of the run, from `from` to `to` of 8.
fn most(readings: &[[u64; 2]], which: usize, from: usize, to: usize) -> u64 {
    let part = &readings[readings.len() * from / 8..readings.len() * to / 8];
    part.iter().map(|reading| reading[which]).max().unwrap_or(0)
}

#[test]
fn g17_memory_is_flat_under_a_steady_load() {
    let _turn = both_cpus();
    let seconds = size("RINGFENCE_G17_SECONDS", 8);
    let world = World::new(|config| {
        config.strategies.push(StrategyConfig { name: "manual".into(), ..StrategyConfig::default() });
    });
    let core = world.start_ready();
    let shell = Shell::start(&world);
    let stop = Arc::new(AtomicBool::new(false));
    let trader = {
        let (stop, address) = (Arc::clone(&stop), shell.address);
        std::thread::spawn(move || trade(address, &stop))
    };
    let strategy = {
        let (stop, mut client) = (Arc::clone(&stop), world.attach("hammer"));
        std::thread::spawn(move || {
            let mut sent = 0;
            while !stop.load(Ordering::Relaxed) {
                send_keys(&mut client, sent + 1, sent + 21);
                sent += 20;
                std::thread::sleep(Duration::from_millis(10));
            }
            sent
        })
    };
    let stream = {
        let (stop, mut stream) = (Arc::clone(&stop), Stream::open(shell.address, None));
        std::thread::spawn(move || {
            let mut events = 0;
            while !stop.load(Ordering::Relaxed) {
                let enough = |events: &[_]| events.len() > 20 || stop.load(Ordering::Relaxed);
                events += stream.collect("events of the steady load", enough).len();
            }
            events
        })
    };
    let memory = |core: &Process, shell: &Process| [core, shell].map(Process::resident_bytes);
    let (began, mut readings) = (Instant::now(), Vec::new());
    while began.elapsed() < Duration::from_secs(seconds) {
        readings.push(memory(&core, &shell.process));
        std::thread::sleep(Duration::from_millis(250));
    }
    stop.store(true, Ordering::Relaxed);
    let (orders, intents) = (trader.join().unwrap(), strategy.join().unwrap());
    let events = stream.join().unwrap();
    let [gate, shell_memory] =
        [0, 1].map(|which| (most(&readings, which, 3, 5), most(&readings, which, 6, 8)));
    println!(
        "g17: {seconds} s, {orders} orders over HTTP, {intents} intents, {events} events; KiB in the middle and at the end: gate {} {}, shell {} {}",
        gate.0 / 1024,
        gate.1 / 1024,
        shell_memory.0 / 1024,
        shell_memory.1 / 1024
    );
    assert!(gate.1 <= gate.0 + MIB, "the gate grew: {gate:?}");
    // What the shell keeps is bounded by counts (100,000 finished orders, 65,536 events), and fills up at first: a short
    // run grants it that.
    let allowance = if seconds < 300 { 64 * MIB } else { 2 * MIB };
    assert!(shell_memory.1 <= shell_memory.0 + allowance, "the shell grew: {shell_memory:?}");
    assert!(shell.process.stop(PATIENCE).success());
    assert!(core.stop(PATIENCE).success());
}
