//! Orders over HTTP, from the request to the journal, through the deaths of both processes.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ringfence_core::config::{CoreConfig, Limits, StrategyConfig};
use ringfence_ipc::journal::{DecisionRecord, Record};
use ringfence_ipc::msg::{IntentKind, Outcome};
use ringfence_tests::http::{Event, Shell, Stream, get, post};
use ringfence_tests::world::{PATIENCE, World};
use ringfence_tests::{Dice, both_cpus, size};
use serde_json::{Value, json};

fn with_manual(config: &mut CoreConfig) {
    let limits = Limits { max_order_qty: Some("10".into()), ..Limits::default() };
    config.strategies.push(StrategyConfig { name: "manual".into(), limits, ..StrategyConfig::default() });
}

/// A limit order that rests far below any market.
fn order(id: &str, qty: &str) -> String {
    json!({"side": "BUY", "symbol": "BTCUSDT", "qty": qty, "price": "1000.00", "client_order_id": id})
        .to_string()
}

fn place(address: SocketAddr, id: &str) -> Value {
    let answer = post(address, "/api/order", &order(id, "0.5")).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

/// New orders that the journal accepted, by client order id.
fn accepted(world: &World) -> HashMap<String, Vec<(u64, DecisionRecord)>> {
    let mut by_id: HashMap<String, Vec<(u64, DecisionRecord)>> = HashMap::new();
    for (position, record) in world.journal() {
        let Record::Decision(made) = record else { continue };
        if made.intent.kind == IntentKind::New && made.outcome == Outcome::Accepted {
            let id = made.ext.map(|ext| ext.client_order_id().to_owned()).unwrap_or_default();
            by_id.entry(id).or_default().push((position, made));
        }
    }
    by_id
}

#[test]
fn an_order_over_http_is_seen_everywhere_once() {
    let world = World::new(with_manual);
    let core = world.start_ready();
    let shell = Shell::start(&world);
    let mut stream = Stream::open(shell.address, None);
    let first = place(shell.address, "web-1");
    assert_eq!((&first["decision"]["outcome"], &first["duplicate"]), (&json!("accepted"), &json!(false)));
    let seq = first["decision"]["journal_seq"].as_u64().unwrap();
    let named = |event: &Event| event.data.contains("\"web-1\"");
    let events = stream.collect("the order's events", |events| {
        events.iter().any(|event| named(event) && event.data.contains("\"ACCEPTED\""))
    });
    let received = events.iter().find(|event| event.name == "order_received" && named(event)).unwrap();
    assert_eq!(received.id, Some(seq), "the stream's id is the journal position");

    let state = get(shell.address, "/api/orders_state").unwrap().body;
    assert_eq!(state["items"].as_array().unwrap().len(), 1, "{state}");
    assert_eq!(state["items"][0]["client_order_id"], "web-1");
    assert_eq!(state["items"][0]["venue_order_id"], first["venue_order_id"]);

    for _ in 0..3 {
        let again = place(shell.address, "web-1");
        assert_eq!(again["duplicate"], true);
        assert_eq!(again["venue_order_id"], first["venue_order_id"]);
        assert_eq!(again["decision"]["journal_seq"], first["decision"]["journal_seq"]);
    }
    let other = post(shell.address, "/api/order", &order("web-1", "0.6")).unwrap();
    assert_eq!((other.status, &other.body["error"]), (409, &json!("duplicate_client_order_id")));
    let large = post(shell.address, "/api/order", &order("web-2", "10.00001")).unwrap();
    assert_eq!((large.status, &large.body["details"]["reason"]), (422, &json!("MAX_ORDER_QTY")));

    assert!(shell.process.stop(PATIENCE).success());
    assert!(core.stop(PATIENCE).success());
    let accepted = accepted(&world);
    assert_eq!(accepted.len(), 1);
    let [(position, made)] = accepted["web-1"].as_slice() else { panic!("once: {accepted:?}") };
    assert_eq!((*position, made.order_id.to_string().into()), (seq, first["venue_order_id"].clone()));
}

/// What is wrong, the field that the answer must name, and the field's new text (none: left out).
const MALFORMED: [(&str, &str, Option<&str>); 26] = [
    ("side is missing", "side", None),
    ("side is no side", "side", Some("\"HOLD\"")),
    ("side is a number", "side", Some("1")),
    ("symbol is missing", "symbol", None),
    ("symbol is unknown", "symbol", Some("\"NOPE\"")),
    ("symbol is an object", "symbol", Some("{}")),
    ("qty is missing", "qty", None),
    ("qty is zero", "qty", Some("0")),
    ("qty is negative", "qty", Some("-1")),
    ("qty is no number", "qty", Some("\"NaN\"")),
    ("qty has an exponent", "qty", Some("1e3")),
    ("qty is off the lot", "qty", Some("\"0.000001\"")),
    ("qty overflows", "qty", Some("\"99999999999999999999\"")),
    ("qty is a list", "qty", Some("[1]")),
    ("price is missing", "price", None),
    ("price is zero", "price", Some("0")),
    ("price is negative", "price", Some("-0.01")),
    ("price is off the tick", "price", Some("\"1000.005\"")),
    ("price is a boolean", "price", Some("true")),
    ("price overflows", "price", Some("\"92233720368547758.08\"")),
    ("type is unknown", "type", Some("\"STOP\"")),
    ("tif is unknown", "tif", Some("\"GTD\"")),
    ("strategy_id is unknown", "strategy_id", Some("\"nobody\"")),
    ("client_order_id has a blank", "client_order_id", Some("\"a b\"")),
    ("client_order_id is too long", "client_order_id", Some("\"0123456789012345678901234567890123456\"")),
    ("client_order_id is a number", "client_order_id", Some("5")),
];

#[test]
fn a_malformed_order_names_its_field_and_goes_nowhere() {
    let world = World::new(with_manual);
    let core = world.start_ready();
    let shell = Shell::start(&world);
    for (what, field, text) in MALFORMED {
        let good = [
            ("side", "\"BUY\""),
            ("symbol", "\"BTCUSDT\""),
            ("qty", "\"0.5\""),
            ("price", "\"1000.00\""),
            ("client_order_id", "\"m\""),
        ];
        let kept = good.iter().filter(|(name, _)| *name != field).copied();
        let fields = kept.chain(text.map(|text| (field, text)));
        let body: Vec<String> = fields.map(|(name, text)| format!("\"{name}\":{text}")).collect();
        let answer = post(shell.address, "/api/order", &format!("{{{}}}", body.join(","))).unwrap();
        assert_eq!((answer.status, &answer.body["error"]), (400, &json!("bad_params")), "{what}: {answer:?}");
        assert_eq!(answer.body["details"]["field"], field, "{what}: {answer:?}");
    }
    for body in ["[]", "{", "nul", "{\"side\":\"BUY\"}{}", "\u{0}"] {
        let answer = post(shell.address, "/api/order", body).unwrap();
        assert_eq!((answer.status, &answer.body["details"]["field"]), (400, &json!("body")), "{body}");
    }
    assert!(shell.process.stop(PATIENCE).success());
    assert!(core.stop(PATIENCE).success());
    assert!(accepted(&world).is_empty(), "nothing went out");
}

/// Places order after order, each under its id until it is answered for good.
fn trade(address: SocketAddr, name: usize, stop: &AtomicBool) -> Vec<(String, Value)> {
    let mut placed = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let id = format!("t{name}-{}", placed.len());
        loop {
            match post(address, "/api/order", &order(&id, "0.00001")) {
                Ok(answer) if answer.status == 200 => {
                    placed.push((id, answer.body));
                    break;
                }
                Ok(answer) => assert_eq!(answer.status, 503, "{answer:?}"),
                Err(error) => panic!("the shell lives on: {error}"),
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    placed
}

#[test]
fn a_gate_killed_under_http_orders_executes_none_twice() {
    let _turn = both_cpus();
    let kills = size("RINGFENCE_HTTP_KILLS", 10);
    let world = World::new(|config| {
        with_manual(config);
        config.capacity.order_slots = 1 << 16;
    });
    let mut core = world.start_ready();
    let shell = Shell::start(&world);
    let (address, stop) = (shell.address, Arc::new(AtomicBool::new(false)));
    let traders: Vec<_> = (0..4)
        .map(|name| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || trade(address, name, &stop))
        })
        .collect();
    let mut dice = Dice::new(23);
    for _ in 0..kills {
        std::thread::sleep(Duration::from_millis(20 + dice.below(100)));
        core.kill();
        core = world.start_ready();
    }
    std::thread::sleep(Duration::from_millis(100));
    stop.store(true, Ordering::Relaxed);
    let placed: Vec<_> = traders.into_iter().flat_map(|trader| trader.join().unwrap()).collect();
    assert!(shell.process.stop(PATIENCE).success());
    assert!(core.stop(PATIENCE).success());
    let accepted = accepted(&world);
    assert!(accepted.values().all(|orders| orders.len() == 1), "an order was executed twice");
    assert_eq!(accepted.len(), placed.len(), "every order, and none that was not answered");
    for (id, answer) in &placed {
        let (position, made) = &accepted[id][0];
        assert_eq!(answer["decision"]["journal_seq"], *position, "{id}: {answer}");
        assert_eq!(answer["venue_order_id"], made.order_id.to_string(), "{id}: {answer}");
    }
    let repeats = placed.iter().filter(|(_, answer)| answer["duplicate"] == true).count();
    println!("http: {kills} kills, {} orders, {repeats} answered on a repeat", placed.len());
    assert!(placed.len() as u64 > kills);
}

#[test]
fn a_restarted_shell_keeps_history_and_streams_resume_exactly() {
    let world = World::new(with_manual);
    let core = world.start_ready();
    let shell = Shell::start(&world);
    let mut stream = Stream::open(shell.address, None);
    let orders = 20;
    for number in 0..orders {
        place(shell.address, &format!("kept-{number}"));
    }
    let accepts = |events: &[Event]| events.iter().filter(|e| e.data.contains("\"ACCEPTED\"")).count();
    let events = stream.collect("every order's events", |events| accepts(events) >= orders);
    let ids: Vec<u64> = events.iter().filter_map(|event| event.id).collect();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "ids grow: {ids:?}");
    let resume = |address, after: usize| {
        let mut stream = Stream::open(address, events[after].id);
        stream.collect("the rest", |rest| after + 1 + rest.len() >= events.len())
    };
    for after in [0, events.len() / 2, events.len() - 2] {
        assert_eq!(resume(shell.address, after), events[after + 1..], "resumed after event {after}");
    }
    shell.process.kill();
    let shell = Shell::start(&world);
    let state = get(shell.address, "/api/orders_state").unwrap().body;
    let known: Vec<&str> =
        state["items"].as_array().unwrap().iter().filter_map(|o| o["client_order_id"].as_str()).collect();
    assert!((0..orders).all(|number| known.contains(&format!("kept-{number}").as_str())), "{known:?}");
    for after in [0, events.len() / 2, events.len() - 2] {
        assert_eq!(
            resume(shell.address, after),
            events[after + 1..],
            "resumed after event {after} elsewhere"
        );
    }
    assert_eq!(place(shell.address, "kept-3")["duplicate"], true, "ids are remembered too");
    assert!(shell.process.stop(PATIENCE).success());
    assert!(core.stop(PATIENCE).success());
}
