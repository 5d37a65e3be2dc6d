//! The HTTP contract over a gate in memory.

mod common;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use common::{Shell, start};
use ringfence_ipc::reason::Reason;

#[test]
fn an_order_is_decided_shown_and_cancelled() {
    let shell = start();
    let placed = shell.order("web-1", "0.5");
    assert_eq!(placed.status, 200, "{placed:?}");
    let body = placed.json();
    assert_eq!(
        (&body["ok"], &body["client_order_id"], &body["duplicate"]),
        (&true.into(), &"web-1".into(), &false.into())
    );
    assert_eq!(body["decision"]["outcome"], "accepted");
    assert_eq!(body["decision"]["gate_latency_ns"], 700);
    assert!(body["venue_order_id"].is_string() && body["decision"]["journal_seq"].is_u64());

    // Read your own write: at once, whatever the follower is doing.
    let state = shell.get("/api/order_state?client_order_id=web-1");
    assert_eq!(state.status, 200, "{state:?}");
    let state = shell.await_status("web-1", "ACCEPTED");
    for key in [
        "client_order_id",
        "symbol",
        "side",
        "order_type",
        "order_qty",
        "limit_price",
        "venue_order_id",
        "status",
        "reason",
        "executed_qty",
        "avg_price",
        "last_ts_ns",
    ] {
        assert!(state.get(key).is_some(), "{key}");
    }
    assert_eq!((&state["order_qty"], &state["limit_price"]), (&0.5.into(), &61000.5.into()));

    assert_eq!(shell.post("/api/cancel", r#"{"client_order_id":"web-1"}"#).status, 200);
    shell.await_status("web-1", "CANCELLED");
    let again = shell.post("/api/cancel", r#"{"client_order_id":"web-1"}"#);
    assert_eq!((again.status, again.json()["details"]["status"].as_str()), (409, Some("CANCELLED")));
    assert_eq!(shell.post("/api/cancel", r#"{"client_order_id":"never"}"#).status, 404);
    let recent = shell.get("/api/orders").json();
    assert_eq!(recent["items"][0]["status"], "CANCELLED");
    assert_eq!(shell.get("/api/orders_state").json()["items"].as_array().unwrap().len(), 1);
}

#[test]
fn a_repeat_returns_the_first_answer_and_another_body_is_a_conflict() {
    let shell = start();
    let first = shell.order("same", "0.5").json();
    for _ in 0..3 {
        let again = shell.order("same", "0.50").json();
        assert_eq!(again["duplicate"], true);
        assert_eq!(again["venue_order_id"], first["venue_order_id"]);
        assert_eq!(again["decision"]["journal_seq"], first["decision"]["journal_seq"]);
    }
    let other = shell.order("same", "0.6");
    assert_eq!((other.status, &other.json()["error"]), (409, &"duplicate_client_order_id".into()));
}

#[test]
fn eight_at_once_are_one_order() {
    let shell = start();
    for round in 0..5 {
        let id = format!("race-{round}");
        let answers: Vec<_> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..8).map(|_| scope.spawn(|| shell.order(&id, "0.5"))).collect();
            all.into_iter().map(|one| one.join().unwrap().json()).collect()
        });
        let firsts = answers.iter().filter(|answer| answer["duplicate"] == false).count();
        assert_eq!(firsts, 1, "{answers:?}");
        assert!(answers.iter().all(|answer| answer["venue_order_id"] == answers[0]["venue_order_id"]));
    }
}

#[test]
fn a_full_ring_delays_an_order_and_loses_nothing() {
    let shell = start();
    shell.switches.full.store(500, Ordering::Relaxed);
    assert_eq!(shell.order("patient", "0.5").status, 200);
    assert_eq!(shell.switches.full.load(Ordering::Relaxed), 0);
}

#[test]
fn a_risk_reject_names_reason_limit_and_observed() {
    let shell = start();
    let reject = shell.order("big", "11");
    assert_eq!(reject.status, 422);
    let body = reject.json();
    assert_eq!(body["error"], "risk_rejected");
    let details = &body["details"];
    assert_eq!(
        (&details["reason"], &details["limit_id"]),
        (&"MAX_ORDER_QTY".into(), &"max_order_qty".into())
    );
    assert_eq!((&details["observed"], &details["limit"]), (&11.into(), &10.into()));
    assert_eq!(details["permanent"], true);
    shell.await_status("big", "REJECTED");
    let again = shell.order("big", "11");
    assert_eq!((again.status, &again.json()["details"]["duplicate"]), (422, &true.into()));
}

#[test]
fn what_passes_by_itself_says_when_to_come_back() {
    let shell = start();
    for (reason, status) in [
        (Reason::OrderRate, 429),
        (Reason::VenueBusy, 503),
        (Reason::JournalFull, 503),
        (Reason::JournalFailed, 503),
        (Reason::Killed, 422),
    ] {
        shell.switches.refuse.store(reason as u64, Ordering::Relaxed);
        let answer = shell.order("later", "0.5");
        assert_eq!(answer.status, status, "{reason}");
        assert_eq!(answer.header("retry-after").is_some(), status != 422, "{reason}");
    }
    shell.switches.refuse.store(0, Ordering::Relaxed);
    assert_eq!(shell.order("later", "0.5").status, 200, "a transient reject must not burn the id");
}

#[test]
fn forms_any_case_numbers_as_text_and_unknown_fields_are_taken() {
    let shell = start();
    let form = [("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")];
    let answer = shell.send(
        "POST",
        "/api/order",
        &form,
        b"side=Sell&symbol=btcusdt&qty=0.0100&price=61000.50&client_order_id=form%2D1&tif=day&colour=red",
    );
    assert_eq!(answer.status, 200, "{answer:?}");
    let state = shell.await_status("form-1", "ACCEPTED");
    assert_eq!(
        (&state["side"], &state["tif"], &state["order_qty"]),
        (&"SELL".into(), &"DAY".into(), &0.01.into())
    );
    assert_eq!(shell.send("POST", "/api/cancel", &form, b"client_order_id=form-1").status, 200);
    assert_eq!(
        shell.send("POST", "/api/cancel", &form, b"client_order_id=a&client_order_id=b").field(),
        "client_order_id"
    );
    let market = shell
        .post("/api/order", r#"{"side":"BUY","symbol":"BTCUSDT","qty":"1","type":"market","strategy_id":2}"#);
    assert_eq!(market.status, 200, "{market:?}");
    let id = market.json()["client_order_id"].as_str().unwrap().to_owned();
    let state = shell.await_status(&id, "FILLED");
    assert_eq!((&state["avg_price"], &state["strategy"]), (&61_000.into(), &"momentum".into()));
}

#[test]
fn positions_and_balances_follow_the_fills() {
    let shell = start();
    let ioc = r#"{"side":"BUY","symbol":"BTCUSDT","qty":2,"price":50000,"tif":"IOC","client_order_id":"f"}"#;
    assert_eq!(shell.post("/api/order", ioc).status, 200);
    shell.await_status("f", "FILLED");
    shell.order("rest", "1");
    shell.await_status("rest", "ACCEPTED");
    let account = shell.get("/api/account");
    assert!(account.body.contains(r#"{"asset":"BTC","free":2,"locked":0}"#), "{}", account.body);
    assert!(
        account.body.contains(r#"{"asset":"USDT","free":838999.49,"locked":61000.5}"#),
        "{}",
        account.body
    );
    let positions = shell.get("/api/positions").json();
    let position = &positions["items"][0];
    assert_eq!((&position["strategy"], &position["qty"]), (&"manual".into(), &2.into()));
    assert_eq!((&position["cost"], &position["avg_entry"]), (&100_000.into(), &50_000.into()));
}

#[test]
fn cancel_all_reaches_every_order() {
    let shell = start();
    (0..5).for_each(|i| assert_eq!(shell.order(&format!("c{i}"), "0.5").status, 200));
    let answer = shell.post("/api/cancel_all", "");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!((&answer.json()["orders"], &answer.json()["strategies"]), (&5.into(), &1.into()));
    (0..5).for_each(|i| drop(shell.await_status(&format!("c{i}"), "CANCELLED")));
    assert_eq!(shell.post("/api/cancel_all", r#"{"strategy_id":"nobody"}"#).field(), "strategy_id");
}

#[test]
fn cancel_all_reaches_only_the_symbol_it_names() {
    let shell = start();
    (0..2).for_each(|i| assert_eq!(shell.order(&format!("c{i}"), "0.5").status, 200));
    assert_eq!(shell.post("/api/cancel_all", r#"{"symbol":"ETHUSDT"}"#).json()["orders"], 0);
    assert_eq!(shell.post("/api/cancel_all", r#"{"symbol":"NOPE"}"#).field(), "symbol");
    assert_eq!(shell.post("/api/cancel_all", r#"{"symbol":"btcusdt"}"#).json()["orders"], 2);
}

#[test]
fn a_kill_is_told_everywhere_and_ends_with_a_rearm_that_says_why() {
    let shell = start();
    assert_eq!(shell.get("/api/mode").json()["passing"], "ALLOW_ALL");
    let killed = shell.post("/api/kill", r#"{"reason":"fat finger"}"#);
    assert_eq!(killed.status, 200, "{killed:?}");
    let health = shell.get("/api/health").json();
    for guard in [&killed.json()["guard"], &health["engine"]["guard"], &shell.get("/api/mode").json()] {
        assert_eq!(
            (&guard["passing"], &guard["reason"]),
            (&"KILLED".into(), &"fat finger".into()),
            "{guard}"
        );
        assert_eq!(guard["since_ns"], 6_000, "{guard}");
    }
    let early = shell.post("/api/mode", r#"{"mode":"ALLOW_ALL"}"#);
    assert_eq!((early.status, &early.json()["error"]), (409, &"killed".into()));
    for body in ["{}", r#"{"reason":""}"#, r#"{"reason":"  "}"#, r#"{"reason":7}"#] {
        let refused = shell.post("/api/rearm", body);
        assert_eq!((refused.status, refused.field().as_str()), (400, "reason"), "{body}");
    }
    let rearmed = shell.post("/api/rearm", r#"{"reason":"checked with the desk"}"#);
    assert_eq!((rearmed.status, &rearmed.json()["guard"]["passing"]), (200, &"ALLOW_ALL".into()));
    let again = shell.post("/api/rearm", r#"{"reason":"once more"}"#);
    assert_eq!((again.status, &again.json()["error"]), (409, &"nothing_to_rearm".into()));
}

#[test]
fn modes_are_set_per_gate_and_per_strategy() {
    let shell = start();
    let set = |body: &str| shell.post("/api/mode", body);
    let one = set(r#"{"mode":"cancel_only","strategy_id":"momentum"}"#).json();
    assert_eq!(one["guard"]["passing"], "ALLOW_ALL");
    assert_eq!(one["guard"]["strategies"][0]["strategy"], "momentum");
    assert_eq!(one["guard"]["strategies"][0]["mode"], "CANCEL_ONLY");
    assert_eq!(set(r#"{"mode":"REJECT_ALL"}"#).json()["guard"]["passing"], "REJECT_ALL");
    let halted = set(r#"{"mode":"HALT","reason":"exchange down"}"#).json();
    assert_eq!(halted["guard"]["storm"]["state"], "HALT");
    assert_eq!(halted["guard"]["storm"]["reason"], "exchange down");
    assert_eq!(set("{}").field(), "mode");
    assert_eq!(set(r#"{"mode":"KILLED"}"#).field(), "mode", "a kill is POST /api/kill");
    assert_eq!(set(r#"{"mode":"HALT","strategy_id":"momentum"}"#).field(), "strategy_id");
    assert_eq!(set(r#"{"mode":"ALLOW_ALL","strategy_id":"nobody"}"#).field(), "strategy_id");
    assert_eq!(set(r#"{"mode":"ALLOW_ALL","cancel_orders":"yes"}"#).field(), "cancel_orders");
    let long = format!(r#"{{"mode":"ALLOW_ALL","reason":"{}"}}"#, "x".repeat(57));
    assert_eq!(set(&long).field(), "reason");
}

#[test]
fn a_dead_gate_is_503_and_comes_back_by_itself() {
    let shell = start();
    shell.switches.dead.store(true, Ordering::Relaxed);
    let deadline = Instant::now() + Duration::from_secs(5);
    while shell.get("/api/health").status != 503 {
        assert!(Instant::now() < deadline);
    }
    let answer = shell.order("away", "0.5");
    assert_eq!((answer.status, &answer.json()["error"]), (503, &"execution_unavailable".into()));
    assert!(answer.header("retry-after").is_some());
    assert_eq!(shell.get("/health").status, 200);
    shell.switches.dead.store(false, Ordering::Relaxed);
    while shell.get("/api/health").status != 200 {
        assert!(Instant::now() < deadline);
    }
    assert_eq!(shell.order("away", "0.5").status, 200);
}

#[test]
fn an_order_without_an_answer_is_reported_unknown_not_failed() {
    let shell = start();
    shell.switches.mute.store(true, Ordering::Relaxed);
    let began = Instant::now();
    let answer = shell.order("lost", "0.5");
    assert_eq!(answer.status, 503);
    assert!(answer.json()["message"].as_str().unwrap().contains("unknown"), "{answer:?}");
    assert!(began.elapsed() < Duration::from_secs(4));
}

#[test]
fn unknown_paths_wrong_methods_and_large_bodies() {
    let shell = start();
    for path in ["/api", "/api/", "/api/nope", "/api/order/x"] {
        let answer = shell.get(path);
        assert_eq!((answer.status, &answer.json()["error"]), (404, &"not_found".into()), "{path}");
    }
    for (method, path) in
        [("GET", "/api/order"), ("POST", "/api/market"), ("DELETE", "/api/orders"), ("POST", "/page")]
    {
        let answer = shell.send(method, path, &[], b"");
        assert_eq!(
            (answer.status, &answer.json()["error"]),
            (405, &"method_not_allowed".into()),
            "{method} {path}"
        );
    }
    assert_eq!(shell.send("GET", "/api/order", &[], b"").header("allow"), Some("POST"));
    let large = vec![b' '; ringfence_shell::http::MAX_BODY_BYTES + 1];
    let answer = shell.send("POST", "/api/order", &[], &large);
    assert_eq!((answer.status, &answer.json()["error"]), (413, &"too_large".into()));
    let page = shell.get("/anything/else");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
}

#[test]
fn no_stranger_gets_through_without_authentication() {
    let shell = start();
    let own = format!("http://{}", shell.address);
    let post = |headers: &[(&str, &str)]| shell.send("POST", "/api/cancel_all", headers, b"{}").status;
    assert_eq!(post(&[]), 200);
    assert_eq!(post(&[("Origin", &own), ("Sec-Fetch-Site", "same-origin")]), 200);
    assert_eq!(post(&[("Origin", "https://evil.example")]), 403);
    assert_eq!(post(&[("Origin", "null")]), 403);
    assert_eq!(post(&[("Sec-Fetch-Site", "cross-site")]), 403);
    assert_eq!(post(&[("Host", "rebound.example")]), 403);
    assert_eq!(shell.send("GET", "/api/orders", &[("Host", "rebound.example")], b"").status, 403);
    let answer = shell.get("/");
    for header in ["content-security-policy", "x-content-type-options", "x-frame-options", "referrer-policy"]
    {
        assert!(answer.header(header).is_some(), "{header}");
    }
}

#[test]
fn market_config_and_health_tell_the_truth() {
    let shell = start();
    let none = shell.get("/api/market").json();
    assert_eq!(
        (&none["symbol"], &none["price"], &none["stale"]),
        (&"BTCUSDT".into(), &serde_json::Value::Null, &true.into())
    );
    shell.last_price.store(6_174_568, Ordering::Relaxed);
    let market = shell.get("/api/market?symbol=btcusdt");
    assert!(market.body.contains(r#""price":61745.68,"#), "{}", market.body);
    assert_eq!(market.json()["stale"], false);
    assert_eq!(shell.get("/api/market?symbol=NOPE").status, 404);
    let config = shell.get("/api/config").json();
    assert_eq!((&config["execution_mode"], &config["auth_enabled"]), (&"sim_engine".into(), &false.into()));
    let health = shell.get("/api/health").json();
    assert_eq!((&health["ok"], &health["engine"]["connected"]), (&true.into(), &true.into()));
    assert!(health["memory_bytes"].as_u64().unwrap() > 1 << 20);
    assert_eq!(shell.get("/api/gate").status, 503, "no counters file here");
    assert_eq!(shell.get("/api/order_state").field(), "client_order_id");
    assert_eq!(shell.get("/api/order_state?client_order_id=x").status, 404);
}

#[test]
fn metrics_are_prometheus_text() {
    let shell = start();
    shell.order("m", "0.5");
    shell.get("/no/such/path");
    let metrics = shell.get("/metrics");
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let mut samples = 0;
    for line in metrics.body.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
        assert!(name.starts_with("ringfence_") || name.starts_with("gateway_"), "{line}");
        samples += 1;
    }
    assert!(samples > 20);
    assert!(metrics.body.contains(r#"route="/api/order",status="200"} 1"#), "{}", metrics.body);
    assert!(metrics.body.contains("ringfence_engine_running 1"));
    assert!(!metrics.body.contains("no/such"), "labels are bounded");
}

#[test]
fn the_page_is_whole_and_needs_nothing_foreign() {
    let shell = start();
    for (path, content_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/app.js", "text/javascript; charset=utf-8"),
        ("/chart.js", "text/javascript; charset=utf-8"),
        ("/style.css", "text/css; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
        ("/docs", "text/html; charset=utf-8"),
        ("/docs.js", "text/javascript; charset=utf-8"),
        ("/docs.css", "text/css; charset=utf-8"),
    ] {
        let answer = shell.get(path);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(content_type)), "{path}");
        let text = answer.body.replace("http://www.w3.org/2000/svg", "");
        for foreign in
            ["http://", "https://", "<style", "style=\"", "onclick", "<script>", "innerHTML", "eval("]
        {
            assert!(!text.contains(foreign), "{path} has {foreign}");
        }
        for rest in text.split("=\"/").skip(1) {
            let asset = format!("/{}", rest.split('"').next().unwrap_or(""));
            assert_ne!(shell.get(&asset).header("content-type"), Some("text/html; charset=utf-8"), "{asset}");
        }
    }
}

#[test]
fn a_public_address_is_refused() {
    let mut config = ringfence_shell::ShellConfig::new("/nonexistent", "/nonexistent");
    config.bind = "0.0.0.0:0".parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let refused = runtime.block_on(ringfence_shell::serve(config, |_| {}, async {})).unwrap_err();
    assert!(refused.to_string().contains("loopback"), "{refused}");
}

#[test]
fn a_slow_head_does_not_hold_others_up() {
    use std::io::Write;
    let shell: Shell = start();
    let mut slow: Vec<_> = (0..50).map(|_| std::net::TcpStream::connect(shell.address).unwrap()).collect();
    slow.iter_mut().for_each(|s| s.write_all(b"GET /health HT").unwrap());
    let began = Instant::now();
    assert_eq!(shell.get("/health").status, 200);
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[test]
fn limits_are_listed_and_set() {
    let shell = start();
    let empty = shell.get("/api/limits").json();
    assert_eq!((empty["config_version"].as_u64(), empty["items"].as_array().unwrap().len()), (Some(0), 0));
    let set = |body: &str| shell.post("/api/limits", body);
    let done = set(r#"{"scope":"strategy","of":"momentum","limit":"max_open_orders","value":5}"#);
    assert_eq!((done.status, done.json()["config_version"].as_u64()), (200, Some(1)));
    let listed = shell.get("/api/limits").json();
    let item = &listed["items"][0];
    assert_eq!(listed["config_version"], 1);
    assert_eq!((&item["scope"], &item["name"]), (&"strategy".into(), &"momentum".into()));
    assert_eq!((&item["limit"], &item["value"]), (&"max_open_orders".into(), &5.into()));
    assert_eq!(item["observed"], 0);
    for (body, status, said) in [
        (r#"{"limit":"max_open_order","value":5}"#, 422, "unknown key"),
        (r#"{"limit":"max_open_orders","value":"many"}"#, 422, "whole number"),
        (r#"{"scope":"strategy","limit":"max_open_orders","value":5}"#, 400, "of is required"),
        (r#"{"scope":"strategy","of":"nobody","limit":"max_open_orders","value":5}"#, 400, "strategy"),
        (r#"{"scope":"symbol","of":"XRPUSDT","limit":"max_order_qty","value":"5 XRP"}"#, 400, "symbol table"),
        (r#"{"scope":"account","of":"x","limit":"max_gross_notional","value":"5 USDT"}"#, 400, "number"),
        (r#"{"scope":"planet","limit":"max_open_orders","value":5}"#, 400, "must be one of"),
        (r#"{"limit":"max_open_orders"}"#, 400, "value is required"),
        (r#"{"value":5}"#, 400, "limit is required"),
    ] {
        let answer = set(body);
        assert_eq!(answer.status, status, "{body}: {}", answer.body);
        assert!(answer.body.contains(said), "{body}: {}", answer.body);
    }
    let reload = shell.post("/api/config/reload", "");
    assert_eq!((reload.status, &reload.json()["error"]), (422, &"config_refused".into()));
    assert_eq!(shell.get("/api/limits").json()["config_version"], 1, "nothing has changed");
}
