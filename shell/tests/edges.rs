//! The edges of the endpoint table: what every path, method, body and header may be, and what it may not.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use common::desk::Desk;
use common::{Shell, filled, start};
use ringfence_shell::audit::{LogType, Query};
use ringfence_shell::http::{MAX_BODY_BYTES, rows};
use serde_json::{Value, json};

const FORM: [(&str, &str); 1] = [("Content-Type", "application/x-www-form-urlencoded")];

/// Sends these bytes; everything that comes back until the server hangs up.
fn raw(shell: &Shell, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(shell.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// Methods by path, as the table of routes has them.
fn methods() -> BTreeMap<&'static str, BTreeSet<String>> {
    let mut all = BTreeMap::<_, BTreeSet<String>>::new();
    for row in rows() {
        let methods = all.entry(row.path).or_default();
        if row.method == "GET" {
            methods.insert("HEAD".into());
        }
        methods.insert(row.method.to_string());
    }
    all
}

#[test]
fn the_document_is_public_and_names_itself() {
    for shell in [&start(), &Desk::open(|_| ()).shell] {
        let answer = shell.get("/openapi.json");
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
        assert_eq!(answer.json()["openapi"], "3.1.0");
        assert!(answer.json()["paths"]["/openapi.json"]["get"].is_object());
        assert_eq!(shell.get("/docs").status, 200);
    }
}

#[test]
fn another_method_is_405_everywhere_and_allow_names_the_right_ones() {
    let shell = start();
    for (path, has) in methods() {
        for method in ["PUT", "PATCH", "OPTIONS", "TRACE"] {
            let answer = shell.send(method, &filled(path), &[], b"");
            assert_eq!(answer.status, 405, "{method} {path}");
            let allow = answer.header("allow").unwrap_or_default();
            let allow: BTreeSet<String> = allow.split(',').map(|name| name.trim().to_owned()).collect();
            assert_eq!(allow, has, "{method} {path}");
            assert_eq!(answer.header("access-control-allow-origin"), None, "{method} {path}");
        }
    }
}

#[test]
fn unknown_paths_under_api_are_json_404_for_every_method_and_a_slash_makes_another_path() {
    let shell = start();
    for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        for path in
            ["/api", "/api/", "/api/nope", "/api/orders/", "/api/order/x", "/api//orders", "/api/%6frders"]
        {
            let answer = shell.send(method, path, &[], b"");
            assert_eq!(
                (answer.status, &answer.json()["error"]),
                (404, &"not_found".into()),
                "{method} {path}"
            );
        }
    }
    assert!(shell.send("HEAD", "/api/nope", &[], b"").head.contains(" 404 "));
}

#[test]
fn head_answers_like_get_and_has_no_body() {
    let shell = start();
    for path in
        ["/", "/health", "/api/health", "/api/market", "/api/orders", "/metrics", "/openapi.json", "/docs"]
    {
        let (head, get) = (shell.send("HEAD", path, &[], b""), shell.get(path));
        assert_eq!((head.status, head.body.as_str()), (get.status, ""), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
    }
    assert_eq!(shell.send("HEAD", "/api/market?symbol=NOPE", &[], b"").status, 404);
    assert_eq!(shell.send("HEAD", "/api/order", &[], b"").header("allow"), Some("POST"));
}

#[test]
fn every_route_carries_the_security_headers() {
    let shell = start();
    for row in rows().iter().filter(|row| row.path != "/api/stream") {
        let answer = shell.send(row.method.as_str(), &filled(row.path), &[], b"");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{} {}", row.method, row.path);
        }
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{}", row.path);
        assert!(answer.header("x-request-id").is_some() && answer.header("cache-control").is_some());
    }
}

#[test]
fn a_form_does_on_every_post_what_json_does() {
    let shell = start();
    for (path, form, json) in [
        ("/api/cancel", "client_order_id=never", r#"{"client_order_id":"never"}"#),
        ("/api/cancel_all", "strategy_id=momentum&reason=x", r#"{"strategy_id":"momentum","reason":"x"}"#),
        ("/api/cancel_all", "strategy_id=nobody", r#"{"strategy_id":"nobody"}"#),
        (
            "/api/mode",
            "mode=cancel_only&cancel_orders=false",
            r#"{"mode":"cancel_only","cancel_orders":false}"#,
        ),
        ("/api/mode", "mode=ALLOW_ALL", r#"{"mode":"ALLOW_ALL"}"#),
        (
            "/api/mode",
            "mode=ALLOW_ALL&cancel_orders=maybe",
            r#"{"mode":"ALLOW_ALL","cancel_orders":"maybe"}"#,
        ),
        ("/api/kill", "reason=form", r#"{"reason":"json"}"#),
        ("/api/rearm", "reason=", r#"{"reason":""}"#),
        ("/api/limits", "limit=max_open_orders&value=7", r#"{"limit":"max_open_orders","value":7}"#),
        ("/api/limits", "limit=max_open_orders&value=NaN", r#"{"limit":"max_open_orders","value":"NaN"}"#),
        ("/api/limits", "limit=max_open_orders&value=1e309", r#"{"limit":"max_open_orders","value":1e309}"#),
        ("/api/config", "market_symbol=ethusdt", r#"{"market_symbol":"ethusdt"}"#),
        ("/api/auth/login", "user_id=a&password=b", r#"{"user_id":"a","password":"b"}"#),
    ] {
        let (as_form, as_json) = (shell.send("POST", path, &FORM, form.as_bytes()), shell.post(path, json));
        let outcome =
            |answer: &common::Answer| (answer.status, answer.json()["error"].clone(), answer.field_or_none());
        assert_eq!(outcome(&as_form), outcome(&as_json), "{path} {form}");
    }
}

#[test]
fn a_query_parameter_that_stands_twice_is_refused_by_name() {
    let shell = start();
    for (path, field) in [
        ("/api/market?symbol=BTCUSDT&symbol=ETHUSDT", "symbol"),
        ("/api/market?symbol=BTCUSDT&symbol=BTCUSDT", "symbol"),
        ("/api/order_state?client_order_id=a&client_order_id=b", "client_order_id"),
        ("/api/audit/logs?limit=1&limit=2", "limit"),
        ("/api/stream?last_id=1&last_id=2", "last_id"),
    ] {
        let answer = shell.get(path);
        assert_eq!((answer.status, answer.field().as_str()), (400, field), "{path}");
    }
    assert_eq!(shell.get("/api/market?symbol=").field(), "symbol");
    assert_eq!(shell.get("/api/stream?last_id=1&snapshot=").field(), "snapshot", "though last_id wins");
    assert_eq!(shell.get("/api/market?symbol=BTCUSDT&colour=red&&=").status, 200, "others are ignored");
    assert_eq!(shell.get("/api/market?symbol=%FF%00").status, 404);
}

#[test]
fn a_mebibyte_is_read_and_one_byte_more_is_not_whether_announced_or_not() {
    let shell = start();
    let mut body = vec![b' '; MAX_BODY_BYTES - 2];
    body.extend(b"{}");
    assert_eq!(shell.send("POST", "/api/cancel", &[], &body).field(), "client_order_id");
    body.insert(0, b' ');
    assert_eq!(shell.send("POST", "/api/cancel", &[], &body).status, 413);
    let head = format!("POST /api/cancel HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", shell.address);
    let mut chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n", body.len()).into_bytes();
    chunked.extend(&body);
    chunked.extend(b"\r\n0\r\n\r\n");
    let answer = raw(&shell, &chunked);
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("too_large"), "{answer}");
}

#[test]
fn a_gzip_bomb_is_refused_unopened() {
    let shell = start();
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    (0..64).for_each(|_| packer.write_all(&vec![b' '; 1 << 20]).unwrap());
    let bomb = packer.finish().unwrap();
    assert!(bomb.len() < 1 << 17, "{}", bomb.len());
    for encoding in ["gzip", "GZIP", "deflate", "br", "gzip, gzip", "identity, gzip"] {
        let answer = shell.send("POST", "/api/order", &[("Content-Encoding", encoding)], &bomb);
        assert_eq!(
            (answer.status, &answer.json()["error"]),
            (415, &"unsupported_encoding".into()),
            "{encoding}"
        );
    }
    let plain = [("Content-Encoding", "identity")];
    assert_eq!(shell.send("POST", "/api/cancel", &plain, br#"{"client_order_id":"x"}"#).status, 404);
}

#[test]
fn floods_of_headers_and_endless_ones_are_cut() {
    let shell = start();
    let start = format!("GET /health HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", shell.address);
    let many: String = (0..100).map(|n| format!("X-Flood-{n}: 1\r\n")).collect();
    let answer = raw(&shell, format!("{start}{many}\r\n").as_bytes());
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let long = format!("X-Long: {}\r\n", "x".repeat(256 << 10));
    let answer = raw(&shell, format!("{start}{long}\r\n").as_bytes());
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let path = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(256 << 10));
    let answer = raw(&shell, path.as_bytes());
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    assert_eq!(shell.get("/health").status, 200);
}

#[test]
fn slowloris_a_head_or_a_body_that_never_ends_is_given_up() {
    let shell = start();
    let cut = |sent: &str| {
        let began = Instant::now();
        (raw(&shell, sent.as_bytes()), began.elapsed())
    };
    let body =
        format!("POST /api/order HTTP/1.1\r\nHost: {}\r\nContent-Length: 100\r\n\r\n{{", shell.address);
    let (head, body) = std::thread::scope(|scope| {
        let head = scope.spawn(|| cut("GET /health HTTP/1.1\r\nHost: loc"));
        let body = scope.spawn(|| cut(&body));
        (head.join().unwrap(), body.join().unwrap())
    });
    assert!(head.1 < Duration::from_secs(40), "{head:?}");
    assert!(body.0.starts_with("HTTP/1.1 408 ") && body.0.contains("timeout"), "{body:?}");
    assert!(body.1 < Duration::from_secs(40), "{body:?}");
}

#[test]
fn what_may_change_at_run_time_changes_and_is_recorded() {
    let shell = start();
    assert_eq!(shell.get("/api/config").json()["market_symbol"], "BTCUSDT");
    for name in ["sim_engine", "simulation", "paper", "sim", "PAPER"] {
        let body = json!({"market_source": "sim", "market_symbol": "ethusdt", "execution_mode": name, "auth_enabled": false});
        let answer = shell.post("/api/config", &body.to_string());
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(
            (&answer.json()["market_symbol"], &answer.json()["execution_mode"]),
            (&"ETHUSDT".into(), &"sim_engine".into())
        );
    }
    assert_eq!(shell.get("/api/config").json()["market_symbol"], "ETHUSDT");
    assert_eq!(shell.get("/api/market").json()["symbol"], "ETHUSDT");
    let query =
        Query { log_type: Some(LogType::Order), action: Some("set_config".into()), ..Query::default() };
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let found = shell.audit.query(&query, || false).unwrap();
        if found.total == 5 {
            let record: Value = serde_json::from_str(found.logs[0].get()).unwrap();
            assert_eq!(record["details"]["request"]["market_symbol"], "ethusdt", "{record}");
            break;
        }
        assert!(Instant::now() < deadline, "{} records", found.total);
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_may_not_change_at_run_time_is_refused_with_what_to_do_and_changes_nothing() {
    let shell = start();
    for (body, status, code, says) in [
        (json!({"market_source": "replay"}), 409, "restart_required", "--replay"),
        (json!({"auth_enabled": true}), 409, "restart_required", "auth.enabled"),
        (json!({"market_source": "binance"}), 409, "restart_required", "shell.market_source"),
        (json!({"execution_mode": "binance_testnet_spot"}), 409, "restart_required", "`venue`"),
        (json!({"binance_api_secret": "hush"}), 422, "unsupported", "binance_api_secret"),
        (json!({"market_source": "kraken"}), 400, "bad_params", "sim, replay, binance"),
        (json!({"execution_mode": "live"}), 400, "bad_params", "binance_testnet_spot"),
        (json!({"market_symbol": "NOPE"}), 400, "bad_params", "/api/symbols"),
        (json!({"market_symbol": 7}), 400, "bad_params", "string"),
        (json!({"colour": "red"}), 400, "bad_params", "market_symbol"),
        (json!({}), 400, "bad_params", "market_symbol"),
    ] {
        let mut body = body;
        if body.get("market_symbol").is_none() && body.as_object().unwrap().keys().any(|key| key != "colour")
        {
            body["market_symbol"] = "ETHUSDT".into();
        }
        let answer = shell.post("/api/config", &body.to_string());
        assert_eq!((answer.status, answer.json()["error"].as_str()), (status, Some(code)), "{body}");
        assert!(answer.json()["message"].as_str().unwrap().contains(says), "{body}: {answer:?}");
        assert!(!answer.body.contains("hush"));
    }
    assert_eq!(shell.get("/api/config").json()["market_symbol"], "BTCUSDT");
    let desk = Desk::open(|_| ());
    let trader = desk.user("tina", "trader");
    let body = json!({"market_symbol": "ETHUSDT"});
    assert_eq!(desk.ask(&trader, "POST", "/api/config", &body).status, 403);
    assert_eq!(desk.as_admin("POST", "/api/config", &body).status, 200);
}

#[test]
fn ping_tells_whether_the_gate_answers() {
    let shell = start();
    assert_eq!(shell.get("/api/execution/ping").json()["ok"], true);
    shell.switches.dead.store(true, Ordering::Relaxed);
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let answer = shell.get("/api/execution/ping");
        assert_eq!(answer.status, 200);
        if answer.json()["ok"] == false {
            break;
        }
        assert!(Instant::now() < deadline);
    }
}
