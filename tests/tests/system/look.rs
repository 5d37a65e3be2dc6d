//! `top`, `inspect` and `doctor` on a real gate: alive, killed, and stopped.

use ringfence_core::config::VenueKind;
use ringfence_ipc::client::Event;
use ringfence_ipc::msg::{Intent, Side};
use ringfence_tests::await_that;
use ringfence_tests::process::run;
use ringfence_tests::world::{PATIENCE, World};
use serde_json::Value;

const ORDERS: u64 = 40;

fn answer(args: &[&str]) -> Value {
    let output = run(args, &[]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {said}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}: {said}"))
}

/// Some orders, answered.
fn trade(world: &World) -> ringfence_ipc::client::Client {
    let mut client = world.attach("hammer");
    for key in 1..=ORDERS {
        client
            .submit(&Intent::limit(0, Side::Buy, 6_000_000, 1000, u128::from(key), client.now_ns()))
            .unwrap();
    }
    let mut left = ORDERS;
    await_that("answers", PATIENCE, || {
        while let Some(event) = client.poll() {
            left -= u64::from(matches!(event, Event::Decision(_)));
        }
        left == 0
    });
    client
}

#[test]
fn a_gate_is_looked_into_alive_dead_and_stopped() {
    let world = World::new(|config| config.venue = VenueKind::Null);
    let core = world.start_ready();
    let client = trade(&world);
    let (data, run_dir) =
        (world.config.data_dir.display().to_string(), world.config.run_dir.display().to_string());
    let mut seen = Value::Null;
    await_that("its counters are written out", PATIENCE, || {
        seen = answer(&["inspect", &data, "--json"]);
        seen["counters"]["counters"]["intents"] == ORDERS
            && seen["counters"]["counters"]["dedup_keys"] == ORDERS
    });
    assert_eq!((&seen["gate"], &seen["counters"]["mode"]), (&"alive".into(), &"ALLOW_ALL".into()));
    let row = &seen["counters"]["clients"][0];
    assert_eq!((&row["name"], &row["role"]), (&"hammer".into(), &"strategy".into()), "{row}");
    assert_eq!(row["pid"], std::process::id());
    await_that("its row is brought up to date", PATIENCE, || {
        answer(&["inspect", &data, "--json"])["counters"]["clients"][0]["intents"]["read"] == ORDERS
    });
    assert_eq!(seen["counters"]["latency_ns"]["decision_ns"]["count"], ORDERS);
    assert_eq!(seen["journal"]["by_kind"]["decision"], ORDERS);
    assert_eq!(seen["journal"]["symbols"][0]["name"], "BTCUSDT");
    assert_eq!(seen["journal"]["strategies"][0]["name"], "hammer");
    assert_eq!(seen["journal"]["error"], Value::Null);
    // The run directory alone leads to the same run.
    assert_eq!(answer(&["inspect", &run_dir, "--json"])["journal"]["by_kind"], seen["journal"]["by_kind"]);

    let top = answer(&["top", &run_dir, "--once", "--json", "--every", "50ms"]);
    assert_eq!((&top["gate"], &top["counters"]["intents"]), (&"alive".into(), &ORDERS.into()));
    assert_eq!(top["per_second"]["intents"], 0.0, "nothing happened meanwhile");
    let text = run(&["top", &data, "--once", "--every", "50ms"], &[]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("gate alive") && text.contains("hammer") && text.contains("decision"), "{text}");

    core.kill();
    drop(client);
    let dead = answer(&["inspect", &run_dir, "--json", "--last", "3"]);
    assert_eq!(dead["gate"], "dead");
    assert_eq!(dead["counters"]["counters"]["intents"], ORDERS, "a dead gate's counters are still there");
    assert_eq!(dead["journal"]["by_kind"]["decision"], ORDERS);
    assert_eq!(dead["journal"]["last_records"].as_array().map(Vec::len), Some(3));

    let core = world.start_ready();
    assert!(core.stop(PATIENCE).success());
    assert!(!world.config.run_dir.exists(), "nothing is left in the run directory");
    let stopped = answer(&["inspect", &data, "--json"]);
    assert_eq!((&stopped["gate"], &stopped["hot_ring"]), (&"stopped".into(), &Value::Null));
    assert_eq!(stopped["journal"]["by_kind"]["decision"], ORDERS);
    assert_eq!(stopped["journal"]["by_kind"]["boot"], 2);
    let text = run(&["inspect", &data], &[]);
    assert!(String::from_utf8_lossy(&text.stdout).contains("gate stopped"));
}

#[test]
fn what_is_no_run_is_said_so() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().display().to_string();
    for args in [["inspect", empty.as_str()], ["top", empty.as_str()], ["inspect", "/nonexistent"]] {
        let output = run(&args, &[]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && said.contains("holds no run") || said.contains("no directory"),
            "{said}"
        );
    }
}

#[test]
fn garbage_where_counters_should_be_is_an_error_and_no_crash() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("counters"), vec![0xa5; 64 * 64]).unwrap();
    std::fs::write(dir.path().join("journal.hot"), vec![0x5a; 8192]).unwrap();
    let name = dir.path().display().to_string();
    let seen = answer(&["inspect", &name, "--json"]);
    assert_eq!((&seen["gate"], &seen["hot_ring"]), (&"stopped".into(), &Value::Null));
    assert!(seen["counters"]["error"].is_string(), "{seen}");
    assert!(!run(&["top", &name, "--once"], &[]).status.success());
}

#[test]
fn doctor_judges_this_machine() {
    let world = World::new(|_| ());
    let config = world.config_path().display().to_string();
    let output = run(&["doctor", "--config", &config, "--json"], &[]);
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.success(), seen["broken"] == 0);
    assert!(seen["findings"].as_array().is_some_and(|findings| findings.len() == 16), "{seen}");
    let output = run(&["doctor", "--config", &config, "--pin", "100000", "--json"], &[]);
    assert_eq!(output.status.code(), Some(1), "a pin on a CPU that is not there is broken");
}
