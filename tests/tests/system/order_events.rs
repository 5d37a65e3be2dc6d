//! The topic of order events against the journal: every record about an order once, in the journal's order, over kills of
//! the shell, of the broker and of both; embedded, and on a real Kafka that the test starts.

use std::collections::HashMap;
use std::time::Duration;

use ringfence_core::config::{CoreConfig, StrategyConfig};
use ringfence_ipc::journal::Record;
use ringfence_services::kafka::{Cluster, FIRST_PORT, jars};
use ringfence_tests::http::{Shell, get, post};
use ringfence_tests::process::ringfence;
use ringfence_tests::world::{PATIENCE, World};
use ringfence_tests::{await_that, size, skipped};
use ringfence_topics::{Engine, Stored, Topics};
use serde_json::Value;

/// A broker that comes back, and a producer that finds it, take their time on a busy machine.
const LONG: Duration = Duration::from_secs(120);

fn manual(config: &mut CoreConfig) {
    config.strategies.push(StrategyConfig { name: "manual".into(), ..StrategyConfig::default() });
}

/// A shell that has read the journal: before, it takes no orders.
fn start(world: &World) -> Shell {
    let shell = Shell::start(world);
    await_that("the shell has read the journal", PATIENCE, || {
        let answer = get(shell.address, "/api/health").expect("health");
        answer.body["stores"]["projection"]["caught_up"] == true
    });
    shell
}

/// Orders `from..to`; half of them are asked to be cancelled. All are answered, whatever the topic does.
fn order(shell: &Shell, from: u64, to: u64) {
    for number in from..to {
        let body = format!(
            r#"{{"side":"BUY","symbol":"BTCUSDT","qty":"0.001","price":"{}.00","client_order_id":"o-{number}"}}"#,
            20_000 + number % 100
        );
        let answer = post(shell.address, "/api/order", &body).expect("orders never wait for a topic");
        assert!([200, 422].contains(&answer.status), "{answer:?}");
        if number % 2 == 0 && answer.status == 200 {
            let cancel = format!(r#"{{"client_order_id":"o-{number}"}}"#);
            let answer = post(shell.address, "/api/cancel", &cancel).expect("nor do cancels");
            assert!([200, 409].contains(&answer.status), "{answer:?}");
        }
    }
}

fn health(shell: &Shell) -> Value {
    get(shell.address, "/api/health").expect("health").body["stores"]["order_events"].clone()
}

/// Positions of the journal's records about orders.
fn expected(world: &World) -> Vec<u64> {
    let about_orders =
        |record: &Record| matches!(record, Record::Decision(_) | Record::Report(_) | Record::Stray(_));
    world.journal().iter().filter(|(_, record)| about_orders(record)).map(|(position, _)| *position).collect()
}

/// Everything in the topic, as a consumer that begins at its start sees it, once there is as much as in the journal.
fn consume(topics: &dyn Topics, world: &World) -> Vec<Stored> {
    let mut reader = topics.reader("orders.events", 0, 0).unwrap();
    let mut seen = Vec::new();
    await_that("the topic has everything that the journal has", LONG, || {
        seen.extend(reader.next(1000, Duration::from_millis(500)).unwrap());
        seen.len() >= expected(world).len()
    });
    // Whatever should not be there would come now.
    seen.extend(reader.next(1000, Duration::from_secs(2)).unwrap());
    seen
}

/// Each position once and in order; each message under its order's key.
fn compare(seen: &[Stored], world: &World) {
    let values: Vec<Value> = seen.iter().map(|m| serde_json::from_slice(&m.value).unwrap()).collect();
    let positions: Vec<u64> = values.iter().map(|value| value["position"].as_u64().unwrap()).collect();
    assert_eq!(positions, expected(world));
    let mut last: HashMap<&[u8], u64> = HashMap::new();
    for (message, value) in seen.iter().zip(&values) {
        assert_eq!(value["version"], 1);
        let id = value["client_order_id"].as_str().unwrap_or_default();
        assert_eq!(message.key, format!("0:{id}").into_bytes(), "{value}");
        let position = value["position"].as_u64().unwrap();
        assert!(last.insert(&message.key, position).is_none_or(|before| before < position), "{value}");
    }
}

#[test]
fn embedded_order_events_are_complete_over_kills_of_the_shell() {
    let world = World::new(manual);
    let _core = world.start_ready();
    let mut shell = start(&world);
    for round in 0..4 {
        order(&shell, round * 50, round * 50 + 50);
        shell.process.kill();
        shell = start(&world);
    }
    order(&shell, 200, 250);
    let topics = Engine::Embedded(world.config.topics_path()).open().unwrap();
    compare(&consume(&*topics, &world), &world);
    await_that("health tells it", PATIENCE, || {
        let health = health(&shell);
        health["state"] == "following"
            && health["engine"] == "embedded"
            && health["lag"].as_u64() < Some(1000)
    });
}

#[test]
fn kafka_order_events_are_complete_over_kills_of_broker_and_shell() {
    let test = "kafka_order_events_are_complete_over_kills_of_broker_and_shell";
    if let Err(why) = jars() {
        return skipped(test, &why);
    }
    let _ = ringfence();
    let orders = size("RINGFENCE_EVENT_ORDERS", 1000);
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(dir.path(), 1, FIRST_PORT + 2000).unwrap();
    let world = World::new(|config| {
        manual(config);
        config.events.kafka_brokers = Some(cluster.addresses());
    });
    let _core = world.start_ready();
    let mut shell = start(&world);
    let part = |number: u64| number * orders / 10;
    order(&shell, 0, part(2));
    // The broker in the middle of its work.
    cluster.kill(0);
    order(&shell, part(2), part(4));
    await_that("health says that the topic is away", LONG, || health(&shell)["state"] == "failing");
    cluster.restart(0).unwrap();
    order(&shell, part(4), part(5));
    // The shell in the middle of its own.
    shell.process.kill();
    shell = start(&world);
    order(&shell, part(5), part(7));
    // Both.
    cluster.kill(0);
    shell.process.kill();
    shell = start(&world);
    order(&shell, part(7), part(9));
    cluster.restart(0).unwrap();
    order(&shell, part(9), orders);
    let topics = Engine::Kafka(cluster.addresses()).open().unwrap();
    compare(&consume(&*topics, &world), &world);
    await_that("health says that it is well again", LONG, || {
        let health = health(&shell);
        health["state"] == "following" && health["engine"] == "kafka" && health["lag"].as_u64() < Some(1000)
    });
}

#[test]
fn brokers_that_never_were_there_stop_no_order() {
    let world = World::new(|config| {
        manual(config);
        config.events.kafka_brokers = Some("127.0.0.1:1".into());
    });
    let _core = world.start_ready();
    let shell = start(&world);
    order(&shell, 0, 50);
    await_that("health says so", LONG, || {
        health(&shell)["state"] == "failing" && health(&shell)["lag"].as_u64() > Some(50)
    });
    assert!(shell.process.stop(PATIENCE).success());
}
