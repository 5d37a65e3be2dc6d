//! The gate's books against its venue's: under load, over a kill, from a file, over HTTP; lies are found and named.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use ringfence_ipc::client::{AttachOptions, Client};
use ringfence_ipc::handshake::Role;
use ringfence_ipc::msg::{Intent, Side};
use ringfence_tests::http::{Shell, get};
use ringfence_tests::process::run;
use ringfence_tests::world::{PATIENCE, World};
use ringfence_tests::{both_cpus, size};
use serde_json::{Value, json};

fn operator(world: &World) -> Client {
    let options = AttachOptions::new(world.config.socket_path(), Role::Operator, "desk");
    Client::attach_patiently(options, PATIENCE).unwrap()
}

fn report(client: &mut Client) -> Value {
    serde_json::from_slice(&client.reconcile(false).unwrap()).unwrap()
}

/// Orders that rest, and cancels of half of them, until told to stop.
fn trade(client: &mut Client, first_key: u128, orders: u64, stop: &AtomicBool) {
    let mut ids = Vec::new();
    for n in 0..orders {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let price = 100_000 + (n % 50) as i64;
        let intent = Intent::limit(0, Side::Buy, price, 1_000, first_key + u128::from(n), client.now_ns());
        let _ = client.submit(&intent);
        while let Some(event) = client.poll() {
            if let ringfence_ipc::client::Event::Decision(decision) = event
                && decision.order_id != 0
            {
                ids.push(decision.order_id);
            }
        }
        if n % 2 == 1
            && let Some(id) = ids.pop()
        {
            let key = first_key + u128::from(1_000_000 + n);
            let _ = client.submit(&Intent::cancel(0, id, key, client.now_ns()));
        }
        std::thread::sleep(std::time::Duration::from_micros(300));
    }
}

fn cli(world: &World, more: &[&str]) -> (Option<i32>, String, String) {
    let data = world.config.data_dir.display().to_string();
    let args: Vec<&str> = ["reconcile", "--data", &data].iter().chain(more).copied().collect();
    let output = run(&args, &[]);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// What the command says of a file: its exit code and the codes it found.
fn against(world: &World, file: &Path, content: &str) -> (Option<i32>, Vec<String>, String) {
    std::fs::write(file, content).unwrap();
    let (code, out, err) = cli(world, &["--venue", &file.display().to_string(), "--json"]);
    let found: Value = serde_json::from_str(&out).unwrap_or_default();
    let codes = found["differences"].as_array().cloned().unwrap_or_default();
    (code, codes.iter().map(|d| d["code"].as_str().unwrap().to_owned()).collect(), err)
}

#[test]
fn a_gate_under_load_agrees_with_its_venue_before_and_after_a_kill() {
    let _cpus = both_cpus();
    let world = World::new(|_| ());
    let (mut core, stop) = (world.start_ready(), AtomicBool::new(false));
    for life in 0..3u128 {
        stop.store(false, Ordering::Relaxed);
        let mut strategy = world.attach("hammer");
        let mut desk = operator(&world);
        std::thread::scope(|scope| {
            let stop = &stop;
            scope.spawn(move || trade(&mut strategy, 1 + life * 10_000_000, 3_000, stop));
            for _ in 0..size("RINGFENCE_RECONCILES", 12) {
                let report = report(&mut desk);
                assert_eq!(report["total"], 0, "{report:#}");
            }
            stop.store(true, Ordering::Relaxed);
        });
        let (code, out, err) = cli(&world, &[]);
        assert_eq!(code, Some(0), "{out}{err}");
        drop(desk);
        core.kill();
        core = world.start_ready();
    }
    assert!(core.stop(PATIENCE).success());
}

#[test]
fn lies_in_a_file_are_named_also_of_a_gate_that_is_dead() {
    let world = World::new(|_| ());
    let core = world.start_ready();
    let mut strategy = world.attach("hammer");
    trade(&mut strategy, 1, 60, &AtomicBool::new(false));
    let shell = Shell::start(&world);
    let answer = get(shell.address, "/api/reconcile").unwrap();
    assert_eq!((answer.status, &answer.body["total"]), (200, &json!(0)), "{answer:?}");
    let (code, snapshot, err) = cli(&world, &["--snapshot"]);
    assert_eq!(code, Some(0), "{err}");
    let honest: Value = serde_json::from_str(&snapshot).unwrap();
    assert!(honest["orders"].as_array().unwrap().len() > 5, "{honest:#}");
    assert!(shell.process.stop(PATIENCE).success());
    core.kill();

    let file = world.dir().join("venue.json");
    assert_eq!(
        against(&world, &file, &snapshot).0,
        Some(0),
        "the same moment, from the journal of a dead gate"
    );
    let lie = |change: &dyn Fn(&mut Value)| {
        let mut lying = honest.clone();
        change(&mut lying);
        let (code, codes, err) = against(&world, &file, &lying.to_string());
        assert_eq!(code, Some(1), "{codes:?} {err}");
        codes
    };
    assert_eq!(lie(&|v| drop(v["orders"].as_array_mut().unwrap().remove(0))), ["UNKNOWN_AT_VENUE"]);
    assert_eq!(lie(&|v| v["orders"][0]["cum_qty"] = "0.00000001".into()), ["CUM_QTY_DIFFERS"]);
    assert_eq!(lie(&|v| v["orders"][0]["price"] = "1.00".into()), ["PRICE_DIFFERS"]);
    assert_eq!(lie(&|v| v["orders"][0]["order_id"] = "99".into()), ["UNKNOWN_HERE", "UNKNOWN_AT_VENUE"]);
    assert_eq!(lie(&|v| v["positions"][0]["qty"] = "2".into()), ["POSITION_DIFFERS"]);
    assert_eq!(lie(&|v| v["epoch"] = 77.into()), ["STALE_SNAPSHOT"]);

    for (content, said) in [
        ("", "is no snapshot"),
        ("{\"venue\":", "is no snapshot"),
        ("[1, 2]", "is no snapshot"),
        ("{\"venue\":\"x\",\"taken_ns\":1,\"orders\":[],\"more\":1}", "unknown field `more`"),
    ] {
        let (code, codes, err) = against(&world, &file, content);
        assert!(code == Some(1) && codes.is_empty() && err.contains(said), "{content}: {err}");
    }
    let large = std::fs::File::create(&file).unwrap();
    large.set_len((64 << 20) + 1).unwrap();
    let (code, _, err) = cli(&world, &["--venue", &file.display().to_string()]);
    assert!(code == Some(1) && err.contains("is larger than"), "{err}");
    let (code, _, err) = cli(&world, &[]);
    assert!(code == Some(1) && err.contains("no gate answers"), "{err}");
}
