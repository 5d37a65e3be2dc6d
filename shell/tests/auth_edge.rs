//! Rates, malformed requests, and what no answer may hold.

mod common;

use std::time::Duration;

use common::Answer;
use common::desk::{ADMIN_PASSWORD, Desk, PASSWORD, config, error, is};
use ringfence_shell::auth::limits::Rate;
use serde_json::{Value, json};

const NONE: Value = Value::Null;

#[test]
fn guessing_passwords_is_slowed_down_before_anything_is_hashed() {
    let desk = Desk::open(|config| {
        config.limits.logins = Rate { capacity: 4, refill: Duration::from_secs(30) };
    });
    let before = desk.auth.password_hashes();
    let answers: Vec<_> = (0..10).map(|n| desk.login("admin", &format!("guess {n}"))).collect();
    // One login of the four was the administrator's own.
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [401, 401, 401, 429, 429, 429, 429, 429, 429, 429]);
    assert_eq!(desk.auth.password_hashes(), before + 3);
    let refused = &answers[9];
    assert_eq!(error(refused), is(429, "rate_limited"));
    let seconds: u32 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=30).contains(&seconds), "{seconds}");
    assert_eq!(desk.as_admin("GET", "/api/config", &NONE).status, 200, "who is in stays in");
}

#[test]
fn orders_never_use_up_the_way_out_and_every_answer_says_what_is_left() {
    let slow = Rate { capacity: 3, refill: Duration::from_secs(100) };
    let desk = Desk::open(|config| (config.limits.requests, config.limits.cancels) = (slow, slow));
    let left = |answer: &Answer| {
        ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"]
            .map(|name| answer.header(name).unwrap().parse::<u32>().unwrap())
    };
    let seen: Vec<_> = (0..3).map(|_| left(&desk.as_admin("GET", "/api/orders", &NONE))).collect();
    assert_eq!(seen, [[3, 2, 100], [3, 1, 200], [3, 0, 300]]);
    let refused = desk.as_admin("POST", "/api/order", &json!({}));
    assert_eq!(error(&refused), is(429, "rate_limited"));
    assert_eq!((left(&refused), refused.header("retry-after").is_some()), ([3, 0, 300], true));
    let cancel = desk.as_admin("POST", "/api/cancel", &json!({"client_order_id": "x"}));
    assert_eq!((cancel.status, left(&cancel)[1]), (404, 2), "cancels have their own");
}

#[test]
fn a_key_has_its_own_bucket_and_a_flood_from_one_address_is_stopped_at_the_door() {
    let slow = Rate { capacity: 4, refill: Duration::from_secs(100) };
    let desk = Desk::open(|config| config.limits.requests = slow);
    let keys = [desk.key(&desk.admin, &["read:config"]), desk.key(&desk.admin, &["read:config"])];
    for key in &keys {
        let statuses: Vec<_> = (0..5)
            .map(|_| desk.shell.send("GET", "/api/config", &[("X-API-Key", key)], b"").status)
            .collect();
        assert_eq!(statuses, [200, 200, 200, 200, 429]);
    }
    let desk = Desk::open(|config| config.limits.address = Rate { capacity: 20, ..slow });
    let statuses: Vec<_> = (0..30).map(|_| desk.shell.get("/api/config").status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 429).count(), 30 - 19, "{statuses:?}");
}

#[test]
fn what_is_no_request_gets_a_clear_answer() {
    let desk = Desk::open(|_| ());
    let hashes = desk.auth.password_hashes();
    let long = "x".repeat(257);
    for (path, body, status, code) in [
        ("/api/auth/login", "", 400, "bad_params"),
        ("/api/auth/login", "{", 400, "bad_json"),
        ("/api/auth/login", "[1]", 400, "bad_json"),
        ("/api/auth/login", r#"{"user_id":"admin"}"#, 400, "bad_params"),
        ("/api/auth/login", r#"{"user_id":1,"password":"x"}"#, 400, "bad_params"),
        ("/api/auth/login", r#"{"user_id":"a","user_id":"b","password":"x"}"#, 400, "bad_params"),
        ("/api/auth/login", r#"{"user_id":"admin","password":["x"]}"#, 400, "bad_params"),
        ("/api/auth/login", &format!(r#"{{"user_id":"admin","password":"{long}"}}"#), 400, "bad_params"),
        ("/api/auth/login", &format!(r#"{{"user_id":"{long}","password":"x"}}"#), 400, "bad_params"),
        ("/api/auth/login", &"x".repeat((1 << 20) + 1), 413, "too_large"),
        ("/api/auth/refresh", "{}", 400, "bad_params"),
        ("/api/auth/refresh", r#"{"refresh_token":"x"}"#, 401, "invalid_refresh_token"),
        (
            "/api/auth/refresh",
            &format!(r#"{{"refresh_token":"{}"}}"#, "x".repeat(1 << 19)),
            401,
            "invalid_refresh_token",
        ),
    ] {
        let answer = desk.shell.post(path, body);
        assert_eq!(error(&answer), is(status, code), "{path} {}", &body[..body.len().min(60)]);
    }
    assert_eq!(desk.auth.password_hashes(), hashes, "nothing of this was hashed");
    let many: Vec<String> = (0..100).map(|n| format!("p{n}")).collect();
    for (path, body, status, field) in [
        ("/api/auth/keys", json!({}), 400, "name"),
        ("/api/auth/keys", json!({"name": "a b"}), 400, "name"),
        ("/api/auth/keys", json!({"name": "k", "permissions": []}), 400, "permissions"),
        ("/api/auth/keys", json!({"name": "k", "permissions": ["admin:all"]}), 400, "permissions"),
        ("/api/auth/keys", json!({"name": "k", "permissions": [1]}), 400, "permissions"),
        ("/api/auth/keys", json!({"name": "k", "permissions": many}), 400, "permissions"),
        ("/api/auth/roles", json!({"user_id": "admin"}), 400, "role"),
        ("/api/auth/roles", json!({"user_id": "admin", "role": "root"}), 400, "role"),
        (
            "/api/auth/users",
            json!({"user_id": "a\nb", "password": PASSWORD, "role": "viewer"}),
            400,
            "user_id",
        ),
        (
            "/api/auth/users",
            json!({"user_id": "ann", "password": "short", "role": "viewer"}),
            400,
            "password",
        ),
        (
            "/api/auth/users",
            json!({"user_id": "ann", "password": PASSWORD, "role": "viewer", "account": 70000}),
            400,
            "account",
        ),
    ] {
        let answer = desk.as_admin("POST", path, &body);
        assert_eq!((answer.status, answer.field().as_str()), (status, field), "{path} {body}");
    }
    let twice = json!({"user_id": "admin", "password": PASSWORD, "role": "viewer"});
    assert_eq!(error(&desk.as_admin("POST", "/api/auth/users", &twice)), is(409, "user_exists"));
    let nobody = json!({"user_id": "nobody", "role": "viewer"});
    assert_eq!(error(&desk.as_admin("POST", "/api/auth/roles", &nobody)), is(404, "not_found"));
}

#[test]
fn no_answer_no_debug_output_and_no_metric_holds_a_secret() {
    let desk = Desk::open(|config| config.jwt_secret = Some("a secret of thirty-two bytes, sure".into()));
    let (access, refresh) = desk.tokens("admin", ADMIN_PASSWORD);
    let key = desk.key(&desk.admin, &["read:config"]);
    let mut told = format!("{:?} {:?}", desk.auth, config(desk.dir.path()));
    for path in
        ["/metrics", "/api/config", "/api/health", "/api/auth/keys", "/api/auth/roles", "/admin/signing_keys"]
    {
        told += &desk.as_admin("GET", path, &NONE).body;
    }
    told += &desk.ask(&format!("{access}x"), "GET", "/api/config", &NONE).body;
    told += &desk.refresh(&format!("{refresh}x")).body;
    for secret in [ADMIN_PASSWORD, "thirty-two bytes", &access, &refresh, key.split_once('.').unwrap().1] {
        assert!(!told.contains(secret));
    }
}

#[test]
fn every_answer_carries_the_security_headers_and_none_invites_another_origin() {
    let desk = Desk::open(|_| ());
    let origin = [("Origin", "https://evil.example")];
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/api/config"),
        ("POST", "/api/auth/login"),
        ("OPTIONS", "/api/order"),
        ("GET", "/api/none"),
    ] {
        let answer = desk.shell.send(method, path, &origin, b"");
        for name in
            ["content-security-policy", "x-content-type-options", "x-frame-options", "referrer-policy"]
        {
            assert!(answer.header(name).is_some(), "{method} {path}: {name}");
        }
        assert_eq!(answer.header("access-control-allow-origin"), None);
        assert_eq!(answer.header("www-authenticate").is_some(), answer.status == 401);
    }
}
