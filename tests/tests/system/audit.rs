//! The audit log of a real shell in front of a real gate: what it says, what it survives, and that nothing is done that
//! it cannot say.

use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use ringfence_core::config::{CoreConfig, StrategyConfig};
use ringfence_ipc::journal::Record;
use ringfence_tests::await_that;
use ringfence_tests::http::{Answer, Shell, get, post};
use ringfence_tests::process::{run, workspace};
use ringfence_tests::world::{PATIENCE, World};
use rustix::process::Signal;
use serde_json::{Value, json};

fn with_manual(config: &mut CoreConfig) {
    config.strategies.push(StrategyConfig { name: "manual".into(), ..StrategyConfig::default() });
}

fn order(id: &str, qty: &str) -> String {
    json!({"side": "BUY", "symbol": "BTCUSDT", "qty": qty, "price": "1000.00", "client_order_id": id})
        .to_string()
}

/// `ringfence audit verify --orders --json`: whether its exit code was 0, and what it said.
fn proved(world: &World) -> (bool, Value) {
    let data = world.config.data_dir.display().to_string();
    let told = run(&["audit", "verify", "--data", &data, "--orders", "--json"], &[]);
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    let value = serde_json::from_str(&text);
    let said = || format!("{text}\n{}", String::from_utf8_lossy(&told.stderr));
    (told.status.success(), value.unwrap_or_else(|error| panic!("{error}: {}", said())))
}

fn records(address: SocketAddr, query: &str) -> Vec<Value> {
    let answer = get(address, &format!("/api/audit/logs?limit=1000&{query}")).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.body["has_more"], false);
    answer.body["logs"].as_array().unwrap().iter().rev().cloned().collect()
}

/// As [`post`], with headers; the answer's head, too.
fn send(address: SocketAddr, path: &str, headers: &str, body: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let length = body.len();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    )?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.map(|status| (status, text)).ok_or_else(|| std::io::Error::other("no HTTP answer"))
}

#[test]
fn what_was_done_over_http_is_recorded_and_agrees_with_the_journal() {
    let world = World::new(with_manual);
    let core = world.start_ready();
    let shell = Shell::start(&world);
    let address = shell.address;
    let act = |path: &str, body: &str| -> Answer { post(address, path, body).unwrap() };
    assert_eq!(act("/api/order", &order("web-1", "0.5")).status, 200);
    assert_eq!(act("/api/order", &order("web-1", "0.5")).body["duplicate"], true);
    assert_eq!(act("/api/order", &order("web-1", "0.6")).status, 409);
    assert_eq!(act("/api/order", &order("web-2", "0.25")).status, 200);
    assert_eq!(act("/api/order", "{\"side\":\"HOLD\"}").status, 400);
    assert_eq!(act("/api/cancel", r#"{"client_order_id":"web-1"}"#).status, 200);
    assert_eq!(act("/api/cancel", r#"{"client_order_id":"nope"}"#).status, 404);
    assert_eq!(
        act("/api/limits", r#"{"limit":"max_open_orders","value":100,"scope":"strategy","of":"manual"}"#)
            .status,
        200
    );
    assert_eq!(act("/api/config/reload", "").status, 200);
    assert_eq!(act("/api/mode", r#"{"mode":"CANCEL_ONLY"}"#).status, 200);
    assert_eq!(act("/api/kill", r#"{"reason":"drill"}"#).status, 200);
    // A refusal that may be tried again under its id is not journalled: it names no position.
    let killed = act("/api/order", &order("web-3", "0.1"));
    assert_eq!((killed.status, &killed.body["details"]["journal_seq"]), (422, &Value::Null), "{killed:?}");
    assert_eq!(act("/api/rearm", r#"{"reason":"over"}"#).status, 200);
    assert_eq!(act("/api/cancel_all", "").status, 200);
    let (status, head) = send(
        address,
        "/api/order",
        "X-Request-Id: mine-1\r\nX-Correlation-Id: flow-7\r\n",
        &order("web-4", "0.1"),
    )
    .unwrap();
    assert!(head.to_ascii_lowercase().contains("x-request-id: mine-1\r\n"), "{head}");
    assert_eq!(status, 200, "{head}");
    let (status, head) = send(
        address,
        "/api/order",
        "Origin: http://evil.example\r\nX-Request-Id: b@d\r\n",
        &order("web-5", "0.1"),
    )
    .unwrap();
    assert!(status == 403 && !head.contains("b@d"), "{head}");

    let orders = records(address, "type=order");
    let told: Vec<(&str, &str, u64)> = orders
        .iter()
        .map(|r| {
            (
                r["action"].as_str().unwrap(),
                r["details"]["outcome"].as_str().unwrap(),
                r["details"]["status"].as_u64().unwrap(),
            )
        })
        .collect();
    let expected = [
        ("order", "ok", 200),
        ("order", "ok", 200),
        ("order", "refused", 409),
        ("order", "ok", 200),
        ("order", "refused", 400),
        ("cancel", "ok", 200),
        ("cancel", "refused", 404),
        ("set_limit", "ok", 200),
        ("reload_config", "ok", 200),
        ("mode", "ok", 200),
        ("kill", "ok", 200),
        ("order", "refused", 422),
        ("rearm", "ok", 200),
        ("cancel_all", "ok", 200),
        ("order", "ok", 200),
    ];
    assert_eq!(told, expected);
    let kill = &orders[10];
    assert_eq!((&kill["user_id"], &kill["ip_address"]), (&json!("local"), &json!("127.0.0.1")));
    assert_eq!(kill["details"]["request"], json!({"reason": "drill"}));
    assert!(kill["details"]["journal_seq"].as_u64().unwrap() > 0, "{kill}");
    assert_eq!(
        (&orders[14]["request_id"], &orders[14]["correlation_id"]),
        (&json!("mine-1"), &json!("flow-7"))
    );
    let refused = records(address, "type=access");
    assert_eq!((refused.len(), &refused[0]["action"]), (1, &json!("refused")));
    assert_eq!(refused[0]["details"]["status"], 403);

    let (fine, live) = proved(&world);
    assert!(fine && live["live"] == true, "{live}");
    assert!(shell.process.stop(PATIENCE).success());
    assert!(core.stop(PATIENCE).success());
    let (fine, told) = proved(&world);
    assert!(fine && told["live"] == false, "{told}");
    assert_eq!(
        told["orders"],
        json!({"compared": 11, "beyond_retention": 0, "unanswered": 0, "differences": 0, "first": []})
    );

    // One byte, and then all of it.
    let dir = world.config.audit_dir();
    let file = std::fs::read_dir(&dir).unwrap().flatten().map(|e| e.path());
    let file =
        file.into_iter().find(|p| p.file_name().unwrap().to_string_lossy().starts_with("order-")).unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    let third: usize = bytes.split_inclusive(|byte| *byte == b'\n').take(2).map(<[u8]>::len).sum();
    bytes[third + 30] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let (fine, told) = proved(&world);
    let series = told["series"].as_array().unwrap().iter().find(|s| s["log_type"] == "order").unwrap();
    assert!(!fine && series["bad"]["line"] == 3, "{told}");
    for entry in std::fs::read_dir(&dir).unwrap().flatten() {
        std::fs::remove_file(entry.path()).unwrap();
    }
    let (fine, told) = proved(&world);
    assert!(!fine, "{told}");
    let unaudited = told["orders"]["first"].as_array().unwrap();
    assert!(unaudited[0]["why"].as_str().unwrap().contains("\"web-1\""), "{told}");
    assert_eq!(told["orders"]["differences"], 4, "web-1, web-2, the cancel, web-4: {told}");
}

#[test]
fn a_shell_killed_under_load_loses_no_login_that_was_answered() {
    let world = World::new(with_manual);
    let _core = world.start_ready();
    let mut answered = HashSet::new();
    for life in 0..4 {
        let shell = Shell::start(&world);
        let (address, over) = (shell.address, Arc::new(AtomicBool::new(false)));
        let (told, next) = (Arc::new(Mutex::new(HashSet::new())), Arc::new(AtomicU64::new(0)));
        let workers: Vec<_> = (0..4)
            .map(|worker| {
                let (over, told, next) = (Arc::clone(&over), Arc::clone(&told), Arc::clone(&next));
                std::thread::spawn(move || {
                    while !over.load(Ordering::Relaxed) {
                        let id = format!("life-{life}-{}", next.fetch_add(1, Ordering::Relaxed));
                        let login = r#"{"user_id":"mallory","password":"hunter2-secret"}"#;
                        if send(address, "/api/auth/login", &format!("X-Request-Id: {id}\r\n"), login).is_ok()
                        {
                            told.lock().unwrap().insert(id.clone());
                        }
                        // Others do not wait for the disk.
                        let _ = post(address, "/api/order", &order(&format!("{worker}-{id}"), "0.001"));
                    }
                })
            })
            .collect();
        await_that("logins are answered", PATIENCE, || told.lock().unwrap().len() > 40);
        shell.process.kill();
        over.store(true, Ordering::Relaxed);
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        answered.extend(told.lock().unwrap().drain());
        let (_, told) = proved(&world);
        assert!(told["series"].as_array().unwrap().iter().all(|s| s["bad"].is_null()), "life {life}: {told}");
    }
    let shell = Shell::start(&world);
    let recorded = records(shell.address, "type=auth");
    let ids: HashSet<String> =
        recorded.iter().map(|r| r["request_id"].as_str().unwrap().to_owned()).collect();
    let lost: Vec<_> = answered.difference(&ids).collect();
    assert!(lost.is_empty(), "{} of {} lost: {lost:?}", lost.len(), answered.len());
    assert!(recorded.iter().all(|r| r["action"] == "login" || r["user_id"] == "system"));
    for entry in std::fs::read_dir(world.config.audit_dir()).unwrap().flatten() {
        let bytes = std::fs::read(entry.path()).unwrap();
        assert!(!bytes.windows(14).any(|text| text == b"hunter2-secret"), "{:?}", entry.path());
    }
}

#[test]
fn a_full_queue_is_503_and_no_order_reaches_the_gate() {
    const PLACES: usize = 8;
    let world = World::new(|config| {
        with_manual(config);
        config.audit.queue = PLACES;
    });
    let core = world.start_ready();
    let shell = Shell::start(&world);
    let address = shell.address;
    // Whoever asks the gate now waits for it, with a place.
    core.signal(Signal::STOP);
    let waiting: Vec<_> = (0..PLACES)
        .map(|i| {
            std::thread::spawn(move || post(address, "/api/order", &order(&format!("waits-{i}"), "0.01")))
        })
        .collect();
    await_that("every place is taken", PATIENCE, || {
        let stats = get(address, "/api/audit/stats").unwrap();
        stats.body["queue_depth"] == PLACES
    });
    for i in 0..20 {
        let answer = post(address, "/api/order", &order(&format!("full-{i}"), "0.01")).unwrap();
        assert_eq!((answer.status, &answer.body["error"]), (503, &json!("audit_unavailable")), "{answer:?}");
        let kill = post(address, "/api/kill", "{}").unwrap();
        assert_eq!((kill.status, &kill.body["error"]), (503, &json!("audit_unavailable")));
    }
    assert_eq!(get(address, "/api/orders_state").unwrap().status, 200, "reads go on");
    core.signal(Signal::CONT);
    waiting.into_iter().for_each(|waits| drop(waits.join().unwrap().unwrap()));
    await_that("orders pass again", PATIENCE, || {
        post(address, "/api/order", &order("after", "0.01")).is_ok_and(|answer| answer.status == 200)
    });
    assert!(shell.process.stop(PATIENCE).success());
    assert!(core.stop(PATIENCE).success());
    let mut ids = Vec::new();
    for (_, record) in world.journal() {
        match record {
            Record::Decision(made) => ids.extend(made.ext.map(|ext| ext.client_order_id().to_owned())),
            Record::Control(control) => assert!(!format!("{control:?}").contains("Killed"), "{control:?}"),
            _ => {}
        }
    }
    assert!(ids.iter().any(|id| id == "after"), "{ids:?}");
    assert!(!ids.iter().any(|id| id.starts_with("full-")), "{ids:?}");
    let (fine, told) = proved(&world);
    assert!(fine, "{told}");
}

#[test]
fn a_disk_without_room_refuses_changes_and_lets_reads_go_on() {
    let world = World::new(|config| {
        with_manual(config);
        config.audit.min_free_bytes = 1 << 60;
    });
    let core = world.start_ready();
    let shell = Shell::start(&world);
    let address = shell.address;
    await_that("the shell refuses", PATIENCE, || {
        post(address, "/api/order", &order("early", "0.01")).is_ok_and(|answer| answer.status == 503)
    });
    for (path, body) in [
        ("/api/order", order("full", "0.01")),
        ("/api/kill", String::new()),
        ("/api/config/reload", String::new()),
    ] {
        let answer = post(address, path, &body).unwrap();
        assert_eq!((answer.status, &answer.body["error"]), (503, &json!("audit_unavailable")), "{path}");
    }
    let health = get(address, "/api/health").unwrap();
    assert_eq!((health.status, &health.body["stores"]["audit"]["ok"]), (200, &json!(false)));
    let why = health.body["stores"]["audit"]["failing"].as_str().unwrap();
    assert!(why.contains("audit.min_free"), "{why}");
    assert_eq!(get(address, "/api/audit/logs").unwrap().status, 200);
    assert!(shell.process.stop(PATIENCE).success());
    assert!(core.stop(PATIENCE).success());
    let full = world.journal().into_iter().any(|(_, record)| {
        matches!(record, Record::Decision(made) if made.ext.as_ref().is_some_and(|ext| ext.client_order_id() == "full"))
    });
    assert!(!full, "nothing reached the gate");
}

#[test]
fn docs_name_every_action_of_the_log() {
    let docs = std::fs::read_to_string(workspace().join("docs/audit.md")).unwrap();
    let trail = std::fs::read_to_string(workspace().join("shell/src/http/trail.rs")).unwrap();
    let table = trail.split_once("const ACTIONS").unwrap().1.split_once("];").unwrap().0;
    let quoted: Vec<&str> = table.split('"').skip(1).step_by(2).collect();
    assert!(quoted.len() > 30);
    for word in
        quoted.into_iter().filter(|word| !word.contains('/') && word.starts_with(|c: char| c.is_lowercase()))
    {
        assert!(docs.contains(&format!("`{word}`")), "docs/audit.md does not name {word}");
    }
}
