//! Logins over real processes: the first start, an order by somebody who may, and what is revoked stays revoked when
//! the shell dies.

use std::net::SocketAddr;
use std::path::Path;

use ringfence_core::config::{AuthSection, CoreConfig, StrategyConfig};
use ringfence_ipc::journal::Record;
use ringfence_tests::http::{Answer, Shell, Stream, get, post, request_as};
use ringfence_tests::process::run;
use ringfence_tests::size;
use ringfence_tests::world::{PATIENCE, World};
use serde_json::{Value, json};

fn with_login(config: &mut CoreConfig) {
    config.strategies.push(StrategyConfig { name: "manual".into(), ..StrategyConfig::default() });
    config.auth = AuthSection { enabled: true, login_capacity: 1000, ..AuthSection::development() };
}

fn order(id: &str) -> String {
    json!({"side": "BUY", "symbol": "BTCUSDT", "qty": "0.5", "price": "1000.00", "client_order_id": id})
        .to_string()
}

/// The password that the first start showed.
fn shown(shell: &Shell) -> String {
    let said = shell.process.said();
    let lines: Vec<&str> =
        said.lines().filter_map(|line| line.split_once("with the password ")).map(|(_, p)| p).collect();
    let [password] = lines.as_slice() else { panic!("shown once:\n{said}") };
    (*password).to_owned()
}

fn login(address: SocketAddr, user: &str, password: &str) -> (String, String) {
    let body = json!({"user_id": user, "password": password}).to_string();
    let answer = post(address, "/api/auth/login", &body).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    let text = |name: &str| answer.body[name].as_str().unwrap().to_owned();
    (format!("Bearer {}", text("access_token")), text("refresh_token"))
}

fn ask(address: SocketAddr, token: &str, method: &str, path: &str, body: &str) -> Answer {
    request_as(address, Some(("Authorization", token)), method, path, body).unwrap()
}

fn make_key(address: SocketAddr, token: &str, permissions: &[&str]) -> (String, String) {
    let body = json!({"name": "test", "permissions": permissions}).to_string();
    let made = ask(address, token, "POST", "/api/auth/keys", &body);
    assert_eq!(made.status, 201, "{made:?}");
    let text = |name: &str| made.body[name].as_str().unwrap().to_owned();
    (text("key_id"), text("api_key"))
}

fn with_key(address: SocketAddr, key: &str, path: &str) -> u16 {
    request_as(address, Some(("X-API-Key", key)), "GET", path, "").unwrap().status
}

#[test]
fn an_order_passes_the_login_the_gate_and_the_stream_and_a_stranger_passes_nothing() {
    let world = World::new(with_login);
    let core = world.start_ready();
    let shell = Shell::start(&world);
    let address = shell.address;
    let (admin, _) = login(address, "admin", &shown(&shell));
    for path in ["/api/orders_state", "/api/config", "/api/stream"] {
        assert_eq!(get(address, path).unwrap().status, 401, "{path}");
    }
    assert_eq!(post(address, "/api/order", &order("stranger")).unwrap().status, 401);

    let body = json!({"user_id": "tina", "password": "tina's long password", "role": "trader"}).to_string();
    assert_eq!(ask(address, &admin, "POST", "/api/auth/users", &body).status, 201);
    let (tina, _) = login(address, "tina", "tina's long password");
    let ticket =
        ask(address, &tina, "POST", "/api/stream/ticket", "").body["ticket"].as_str().unwrap().to_owned();
    let mut stream = Stream::open_at(address, &format!("/api/stream?ticket={ticket}"), None);
    let placed = ask(address, &tina, "POST", "/api/order", &order("tina-1"));
    assert_eq!((placed.status, &placed.body["decision"]["outcome"]), (200, &json!("accepted")));
    let events = stream
        .collect("the order's events", |events| events.iter().any(|event| event.data.contains("tina-1")));
    assert_eq!(events[0].id, placed.body["decision"]["journal_seq"].as_u64());
    for (path, body) in [("/api/rearm", r#"{"reason":"x"}"#), ("/api/auth/keys", "{}"), ("/api/limits", "{}")]
    {
        assert_eq!(ask(address, &tina, "POST", path, body).status, 403, "{path}");
    }

    // The command line shows an API key that it takes from the environment.
    let url = format!("http://{address}");
    let (_, key) = make_key(address, &admin, &["write:orders"]);
    let command = |id: &str, key: &str| {
        let args = ["order", "BUY", "BTCUSDT", "0.5", "1000", "--id", id, "--url", &url];
        run(&args, &[("RINGFENCE_API_KEY", Path::new(key))])
    };
    let refused = command("cli-0", "");
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("401"), "{refused:?}");
    assert!(command("cli-1", &key).status.success());

    let wrong = "the password of somebody else";
    let body = json!({"user_id": "admin", "password": wrong}).to_string();
    assert_eq!(post(address, "/api/auth/login", &body).unwrap().status, 401);
    let log = world.dir().join("shell.log");
    assert!(shell.process.stop(PATIENCE).success());
    assert!(core.stop(PATIENCE).success());
    let said = std::fs::read_to_string(log).unwrap();
    for secret in [wrong, "tina's long password", &tina[7..], &admin[7..], &key] {
        assert!(!said.contains(secret), "in the log");
    }
    let ids: Vec<String> = world
        .journal()
        .into_iter()
        .filter_map(|(_, record)| match record {
            Record::Decision(made) => made.ext.map(|ext| ext.client_order_id().to_owned()),
            _ => None,
        })
        .collect();
    assert_eq!(ids, ["tina-1", "cli-1"], "nothing of a stranger reached the gate");
}

#[test]
fn what_was_revoked_stays_revoked_when_the_shell_is_killed_right_after_saying_so() {
    let world = World::new(with_login);
    let _core = world.start_ready();
    let mut shell = Shell::start(&world);
    let password = shown(&shell);
    let (admin, _) = login(shell.address, "admin", &password);
    let mut dead: Vec<(String, String)> = Vec::new();
    let kills = size("RINGFENCE_AUTH_KILLS", 4);
    println!("{kills} kills (RINGFENCE_AUTH_KILLS)");
    for _ in 0..kills {
        let address = shell.address;
        let (key_id, key) = make_key(address, &admin, &["read:config"]);
        let (_, live) = make_key(address, &admin, &["read:config"]);
        assert_eq!(with_key(address, &key, "/api/config"), 200);
        let (access, first) = login(address, "admin", &password);
        let refresh = |token: &str| {
            post(address, "/api/auth/refresh", &json!({"refresh_token": token}).to_string()).unwrap()
        };
        let second = refresh(&first).body["refresh_token"].as_str().unwrap().to_owned();
        assert_eq!(refresh(&first).status, 401, "reuse");
        let revoked = ask(address, &admin, "DELETE", &format!("/api/auth/keys?key_id={key_id}"), "");
        assert_eq!(revoked.body["ok"], true);
        shell.process.kill();
        shell = Shell::start(&world);
        dead.push((key, access));
        for (key, access) in &dead {
            assert_eq!(with_key(shell.address, key, "/api/config"), 401, "a revoked key");
            assert_eq!(
                ask(shell.address, access, "GET", "/api/config", "").status,
                401,
                "a session that ended"
            );
        }
        let body = json!({"refresh_token": second}).to_string();
        assert_eq!(post(shell.address, "/api/auth/refresh", &body).unwrap().status, 401);
        assert_eq!(
            ask(shell.address, &admin, "GET", "/api/config", "").status,
            200,
            "what was not revoked lives"
        );
        assert_eq!(with_key(shell.address, &live, "/api/config"), 200);
    }
    assert_eq!(shown(&shell), password, "the password of the first start is shown by no other");
}

#[test]
fn without_a_login_only_this_machine_is_served_and_the_refusal_says_what_to_do() {
    let world = World::new(|config| {
        with_login(config);
        config.auth.enabled = false;
    });
    let config = world.config_path().display().to_string();
    let args = ["shell", "--config", &config, "--bind", "0.0.0.0:0"];
    let refused = run(&args, &[]);
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("loopback") && said.contains("auth.enabled"), "{said}");
    assert!(!world.config.auth_path().exists(), "no users where nobody logs in");
    let weak = ["shell", "--config", &config, "--set", "auth.enabled=true"];
    let refused = run(&weak, &[("RINGFENCE_JWT_SECRET", Path::new("short"))]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("openssl rand"), "{said}");
    let shown =
        run(&["config", "show", &config, "--json"], &[("RINGFENCE_JWT_SECRET", Path::new("do not tell"))]);
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert!(!shown.to_string().contains("do not tell"));
    assert_eq!(shown["auth.enabled"]["value"], "false");
}
