//! The audit log's endpoints and its trail, over a gate in memory.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod common;

use common::{Shell, start, start_audited};
use ringfence_shell::audit::verify;
use serde_json::Value;

const ORDER: &str = r#"{"side":"BUY","symbol":"BTCUSDT","qty":"0.001","price":"100","client_order_id":"ID"}"#;

fn place(shell: &Shell, id: &str) -> u16 {
    shell.post("/api/order", &ORDER.replace("ID", id)).status
}

fn logs(shell: &Shell, query: &str) -> Value {
    let answer = shell.get(&format!("/api/audit/logs?{query}"));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

#[test]
fn malformed_questions_name_the_field() {
    let shell = start();
    for (query, field) in [
        ("type=orders", "type"),
        ("type=", "type"),
        ("user_id=", "user_id"),
        ("action=", "action"),
        ("start_time=yesterday", "start_time"),
        ("start_time=2026-02-30", "start_time"),
        ("start_time=1e9", "start_time"),
        ("end_time=-1", "end_time"),
        ("end_time=2026-11-21T25:00:00Z", "end_time"),
        ("start_time=2026-11-22&end_time=2026-11-21", "end_time"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=ten", "limit"),
        ("limit=-1", "limit"),
        ("limit=1.5", "limit"),
        ("limit=99999999999999999999999", "limit"),
        ("offset=-1", "offset"),
        ("offset=100001", "offset"),
        ("limit=5&limit=6", "limit"),
    ] {
        let answer = shell.get(&format!("/api/audit/logs?{query}"));
        assert_eq!(answer.status, 400, "{query}");
        let body = answer.json();
        assert_eq!(
            (body["error"].as_str(), body["details"]["field"].as_str()),
            (Some("bad_params"), Some(field)),
            "{query}"
        );
    }
    for query in [
        "",
        "type=ORDER",
        "limit=1000&offset=100000",
        "start_time=0&end_time=1795271066.5",
        "unknown=1",
        "start_time=2026-11-21T00:00:00%2B01:00",
        "start_time=2026-11-21T00:00:00+01:00",
        "user_id=%22%0A",
    ] {
        assert_eq!(shell.get(&format!("/api/audit/logs?{query}")).status, 200, "{query}");
    }
}

#[test]
fn pages_fit_together_and_filters_hold() {
    let shell = start();
    (0..25).for_each(|i| assert_eq!(place(&shell, &format!("a-{i}")), 200));
    shell.post("/api/cancel", r#"{"client_order_id":"a-3"}"#);
    let all = logs(&shell, "limit=1000");
    assert_eq!((all["total"].as_u64(), all["has_more"].as_bool()), (Some(26), Some(false)));
    let mut paged = Vec::new();
    for offset in (0..26).step_by(10) {
        let page = logs(&shell, &format!("limit=10&offset={offset}"));
        assert_eq!(page["has_more"].as_bool(), Some(offset < 20));
        paged.extend(page["logs"].as_array().unwrap().iter().cloned());
    }
    assert_eq!(&paged, all["logs"].as_array().unwrap());
    assert_eq!(paged[0]["action"], "cancel");
    assert_eq!(logs(&shell, "action=cancel")["total"], 1);
    assert_eq!(logs(&shell, "user_id=local&type=order")["total"], 26);
    assert_eq!(logs(&shell, "type=auth")["total"], 0);
    assert_eq!(logs(&shell, "end_time=2020-01-01")["total"], 0);
    let since = paged[0]["datetime"].as_str().unwrap();
    assert_eq!(logs(&shell, &format!("start_time={since}&end_time={since}"))["total"], 1);
    let stats = shell.get("/api/audit/stats").json();
    assert_eq!(
        (&stats["status"], &stats["log_files"], &stats["records_written"]),
        (&"ok".into(), &1.into(), &26.into())
    );
    assert_eq!(stats["policies"].as_array().unwrap().len(), 5);
    assert!(stats["total_size_bytes"].as_u64().unwrap() > 5000);
    let swept = shell.post("/api/audit/archive", "").json();
    assert_eq!(
        (&swept["ok"], &swept["stats"]["archived_files"]),
        (&true.into(), &0.into()),
        "today's file is in use"
    );
}

#[test]
fn a_log_without_a_place_lets_nothing_happen() {
    let shell = start_audited(|options| options.queue = 2);
    let held = [shell.audit.reserve().unwrap(), shell.audit.reserve().unwrap()];
    for (path, body) in
        [("/api/order", ORDER), ("/api/cancel_all", ""), ("/api/kill", ""), ("/api/config/reload", "")]
    {
        let answer = shell.post(path, body);
        assert_eq!(
            (answer.status, answer.json()["error"].as_str()),
            (503, Some("audit_unavailable")),
            "{path}"
        );
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    assert_eq!(shell.get("/api/order_state?client_order_id=ID").status, 404);
    assert_eq!(shell.get("/api/positions").status, 200);
    let metrics = shell.get("/metrics").body;
    assert!(metrics.contains("ringfence_audit_unavailable_total 4\n"), "{metrics}");
    drop(held);
    assert_eq!(place(&shell, "x-1"), 200);
}

#[test]
fn metrics_and_health_tell_of_the_log() {
    let shell = start();
    assert_eq!(place(&shell, "x-1"), 200);
    assert_eq!(logs(&shell, "")["total"], 1);
    let metrics = shell.get("/metrics").body;
    for line in [
        "ringfence_audit_records_total{log_type=\"order\"} 1\n",
        "ringfence_audit_records_total{log_type=\"auth\"} 0\n",
        "ringfence_audit_queue_depth 0\n",
        "ringfence_audit_failing 0\n",
        "ringfence_audit_broken_chains 0\n",
        "ringfence_audit_missed_total 0\n",
        "ringfence_audit_sync_age_seconds ",
    ] {
        assert!(metrics.contains(line), "{line}{metrics}");
    }
    let health = shell.get("/api/health").json();
    assert_eq!(health["stores"]["audit"]["ok"], true);
}

#[test]
fn refusals_in_a_flood_are_counted_not_kept() {
    let shell = start();
    for _ in 0..250 {
        let answer = shell.send("POST", "/api/kill", &[("Host", "evil.example")], b"");
        assert_eq!(answer.status, 403);
        assert!(answer.header("x-request-id").is_some());
    }
    let kept = logs(&shell, "type=access&action=refused")["total"].as_u64().unwrap();
    let metrics = shell.get("/metrics").body;
    let missed = metrics.lines().find_map(|line| line.strip_prefix("ringfence_audit_missed_total "));
    assert_eq!(kept + missed.unwrap().parse::<u64>().unwrap(), 250);
    assert!(verify(shell.audit_dir.path(), |_, _| {}).unwrap().holds());
}
