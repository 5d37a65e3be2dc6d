//! Logins, sessions, keys and roles over HTTP, by what could go wrong with them.

mod common;

use std::sync::Arc;

use common::desk::{ADMIN_PASSWORD, Desk, PASSWORD, config, error, is, unix_now};
use common::start_with;
use ringfence_shell::auth::{Auth, AuthConfig};
use serde_json::{Value, json};

const NONE: Value = Value::Null;

#[test]
fn a_stolen_refresh_token_that_is_used_twice_ends_the_whole_session_for_good() {
    let desk = Desk::open(|_| ());
    let (first_access, first) = desk.tokens("admin", ADMIN_PASSWORD);
    let next = desk.refresh(&first).json();
    let (second, access) = (next["refresh_token"].as_str().unwrap(), next["access_token"].as_str().unwrap());
    assert_eq!((&next["token_type"], &next["expires_in"]), (&"Bearer".into(), &3600.into()));
    assert_eq!(desk.ask(access, "GET", "/api/config", &NONE).status, 200);

    assert_eq!(error(&desk.refresh(&first)), is(401, "invalid_refresh_token"), "reuse");
    assert_eq!(error(&desk.refresh(second)), is(401, "invalid_refresh_token"), "the family is gone");
    for token in [&*first_access, access] {
        assert_eq!(desk.ask(token, "GET", "/api/config", &NONE).status, 401, "and its access tokens");
    }
    assert_eq!(desk.as_admin("GET", "/api/config", &NONE).status, 200, "another session of the user lives");

    let Desk { shell, auth, dir, admin, .. } = desk;
    drop((shell, auth));
    let (auth, _) = Auth::open(config(dir.path())).unwrap();
    assert!(auth.by_token(access).is_none() && auth.refresh(second).is_err(), "also after a restart");
    assert!(auth.by_token(&admin).is_some());
}

#[test]
fn of_many_refreshes_at_once_at_most_one_wins() {
    let desk = Desk::open(|_| ());
    for _ in 0..5 {
        let (_, token) = desk.tokens("admin", ADMIN_PASSWORD);
        let answers: Vec<u16> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..8).map(|_| scope.spawn(|| desk.refresh(&token).status)).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert_eq!(answers.iter().filter(|status| **status == 200).count(), 1, "{answers:?}");
    }
}

#[test]
fn logout_ends_the_session_at_once_and_no_other() {
    let desk = Desk::open(|_| ());
    let (access, refresh) = desk.tokens("admin", ADMIN_PASSWORD);
    let body = json!({"refresh_token": refresh}).to_string();
    assert_eq!(desk.shell.post("/api/auth/logout", &body).json(), json!({"ok": true}));
    assert_eq!(desk.ask(&access, "GET", "/api/config", &NONE).status, 401);
    assert_eq!(error(&desk.refresh(&refresh)), is(401, "invalid_refresh_token"));
    assert_eq!(desk.as_admin("GET", "/api/config", &NONE).status, 200);
    let nonsense = desk.shell.post("/api/auth/logout", r#"{"refresh_token":"a.b.c"}"#);
    assert_eq!(error(&nonsense), is(401, "invalid_refresh_token"));
}

#[test]
fn an_unknown_user_and_a_wrong_password_look_and_cost_the_same() {
    let desk = Desk::open(|_| ());
    let mut seen = Vec::new();
    for (user, password) in [("admin", "not the password"), ("nobody", "not the password"), ("ädmin\n", "x")]
    {
        let before = desk.auth.password_hashes();
        let answer = desk.login(user, password);
        assert_eq!(desk.auth.password_hashes(), before + 1, "{user}");
        seen.push((answer.status, answer.body));
    }
    assert_eq!(seen[0].0, 401);
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:?}");
}

#[test]
fn a_session_too_many_pushes_the_oldest_out() {
    let desk = Desk::open(|_| ());
    let sessions: Vec<_> = (0..20).map(|_| desk.tokens("admin", ADMIN_PASSWORD).0).collect();
    let alive = sessions.iter().filter(|token| desk.ask(token, "GET", "/api/config", &NONE).status == 200);
    assert_eq!(alive.count(), 16);
    assert_eq!(desk.ask(&sessions[19], "GET", "/api/config", &NONE).status, 200, "the newest always lives");
}

#[test]
fn permissions_follow_roles_at_request_time() {
    let desk = Desk::open(|_| ());
    let token = desk.user("tina", "trader");
    let key = desk.as_admin("POST", "/api/auth/roles", &json!({"user_id": "tina", "role": "admin"}));
    assert_eq!(key.json()["roles"], json!(["admin", "trader"]));
    let key = desk.key(&token, &["admin:users", "write:orders"]);
    let with_key = |path: &str| desk.shell.send("GET", path, &[("X-API-Key", &key)], b"").status;
    assert_eq!(
        (desk.ask(&token, "GET", "/api/auth/roles", &NONE).status, with_key("/api/auth/roles")),
        (200, 200)
    );
    let taken = desk.as_admin("DELETE", "/api/auth/roles?user_id=tina&role=admin", &NONE);
    assert_eq!(taken.json()["roles"], json!(["trader"]));
    assert_eq!(desk.ask(&token, "GET", "/api/auth/roles", &NONE).status, 403, "at once, with the same token");
    assert_eq!(with_key("/api/auth/roles"), 403, "a key never has more than its owner");
    assert_eq!(desk.ask(&token, "GET", "/api/orders", &NONE).status, 200);
    assert_eq!(desk.as_admin("DELETE", "/api/auth/users?user_id=tina", &NONE).status, 200);
    assert_eq!(desk.ask(&token, "GET", "/api/orders", &NONE).status, 401);
    assert_eq!(with_key("/api/orders"), 401);
}

#[test]
fn nobody_gives_what_they_do_not_have() {
    let desk = Desk::open(|_| ());
    let key = desk.key(&desk.admin, &["admin:users", "admin:keys", "read:market"]);
    let ask = |path: &str, body: Value| {
        let headers = [("X-API-Key", key.as_str()), ("Content-Type", "application/json")];
        desk.shell.send("POST", path, &headers, body.to_string().as_bytes())
    };
    for (path, body) in [
        ("/api/auth/roles", json!({"user_id": "admin", "role": "admin"})),
        ("/api/auth/roles", json!({"user_id": "admin", "role": "trader"})),
        ("/api/auth/users", json!({"user_id": "eve", "password": PASSWORD, "role": "admin"})),
        ("/api/auth/keys", json!({"name": "more", "permissions": ["write:orders"]})),
    ] {
        assert_eq!(error(&ask(path, body)), is(403, "forbidden"), "{path}");
    }
    let same = ask("/api/auth/keys", json!({"name": "same", "permissions": ["read:market"]}));
    assert_eq!(same.status, 201);
    let default = ask("/api/auth/keys", json!({"name": "default"})).json();
    let keys = desk.as_admin("GET", "/api/auth/keys", &NONE).json();
    let of = |id: &Value| {
        keys["keys"].as_array().unwrap().iter().find(|key| key["key_id"] == *id).unwrap().clone()
    };
    assert_eq!(
        of(&default["key_id"])["permissions"],
        json!(["read:market"]),
        "no more than it was asked for"
    );
}

#[test]
fn the_last_administrator_stays() {
    let desk = Desk::open(|_| ());
    for path in ["/api/auth/roles?user_id=admin&role=admin", "/api/auth/users?user_id=admin"] {
        assert_eq!(error(&desk.as_admin("DELETE", path, &NONE)), is(409, "last_admin"));
    }
    desk.user("second", "admin");
    assert_eq!(desk.as_admin("DELETE", "/api/auth/users?user_id=admin", &NONE).status, 200);
    assert_eq!(desk.as_admin("GET", "/api/config", &NONE).status, 401);
}

#[test]
fn a_key_is_shown_once_listed_without_its_secret_and_refused_once_revoked() {
    let desk = Desk::open(|_| ());
    let key = desk.key(&desk.admin, &["read:config"]);
    let (id, secret) = key.split_once('.').unwrap();
    let hex = id.strip_prefix("rk_").unwrap();
    assert!(hex.len() == 16 && hex.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    let used = desk.shell.send("GET", "/api/config", &[("X-API-Key", &key)], b"");
    assert_eq!(used.status, 200);
    let listed = desk.as_admin("GET", "/api/auth/keys", &NONE);
    assert!(!listed.body.contains(secret));
    let row = &listed.json()["keys"][0];
    assert_eq!(
        (&row["key_id"], &row["user_id"], &row["revoked"]),
        (&id.into(), &"admin".into(), &false.into())
    );
    assert!(row["last_used_at"].as_u64().unwrap() + 5 > unix_now());
    let revoked = desk.as_admin("DELETE", &format!("/api/auth/keys?key_id={id}"), &NONE);
    assert_eq!(revoked.json(), json!({"ok": true, "key_id": id}));
    assert_eq!(desk.shell.send("GET", "/api/config", &[("X-API-Key", &key)], b"").status, 401);
    assert_eq!(error(&desk.as_admin("DELETE", "/api/auth/keys?key_id=rk_0", &NONE)), is(404, "not_found"));
    let raw: String = ["auth.db", "auth.db-wal"]
        .iter()
        .map(|file| {
            String::from_utf8_lossy(&std::fs::read(desk.dir.path().join(file)).unwrap_or_default())
                .into_owned()
        })
        .collect();
    assert!(raw.contains(id) && !raw.contains(secret) && !raw.contains(ADMIN_PASSWORD), "stored as a digest");
}

#[test]
fn a_changed_password_ends_every_session_and_needs_the_old_one() {
    let desk = Desk::open(|_| ());
    let token = desk.user("tina", "trader");
    let change = |old: &str, new: &str| {
        desk.ask(&token, "POST", "/api/auth/password", &json!({"password": old, "new_password": new}))
    };
    assert_eq!(error(&change("wrong wrong wrong", "a new one of mine")), is(401, "invalid_credentials"));
    assert_eq!(error(&change(PASSWORD, "short")), is(400, "bad_params"));
    assert_eq!(change(PASSWORD, "a new one of mine").status, 200);
    assert_eq!(desk.ask(&token, "GET", "/api/config", &NONE).status, 401);
    assert_eq!(desk.login("tina", PASSWORD).status, 401);
    assert_eq!(desk.login("tina", "a new one of mine").status, 200);
}

#[test]
fn a_user_of_another_account_sees_and_touches_nothing() {
    let desk = Desk::open(|_| ());
    let body = json!({"user_id": "other", "password": PASSWORD, "role": "trader", "account": 7});
    assert_eq!(desk.as_admin("POST", "/api/auth/users", &body).json()["account"], 7);
    let (token, _) = desk.tokens("other", PASSWORD);
    for (method, path) in [
        ("GET", "/api/orders_state"),
        ("GET", "/api/account"),
        ("POST", "/api/cancel"),
        ("GET", "/api/stream"),
    ] {
        assert_eq!(error(&desk.ask(&token, method, path, &NONE)), is(403, "forbidden"), "{path}");
    }
}

#[test]
fn keys_rotate_without_ending_a_session_and_a_revoked_one_ends_its_tokens() {
    let desk = Desk::open(|_| ());
    let old = desk.as_admin("GET", "/admin/signing_keys", &NONE).json()["keys"][0].clone();
    let new = desk.as_admin("POST", "/admin/signing_keys", &NONE).json()["kid"].clone();
    let listed = desk.as_admin("GET", "/admin/signing_keys", &NONE).json();
    assert_eq!((&listed["keys"][0]["kid"], &listed["keys"][0]["signs"]), (&new, &true.into()));
    assert_eq!((&listed["keys"][1]["kid"], &listed["keys"][1]["signs"]), (&old["kid"], &false.into()));
    let (young, _) = desk.tokens("admin", ADMIN_PASSWORD);
    assert_eq!(common::desk::parts(&young).0.kid.as_deref(), new.as_str());
    for path in ["/.well-known/jwks.json", "/events/jwks"] {
        let set = desk.shell.get(path).json();
        for key in set["keys"].as_array().unwrap() {
            let names: Vec<_> = key.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(names, ["alg", "crv", "kid", "kty", "use", "x"], "public halves only");
        }
        assert_eq!(set["keys"].as_array().unwrap().len(), 2);
    }
    let path = format!("/admin/signing_keys?kid={}", old["kid"].as_str().unwrap());
    assert_eq!(desk.as_admin("DELETE", &path, &NONE).status, 200, "signed by the key that goes");
    assert_eq!(desk.as_admin("GET", "/api/config", &NONE).status, 401);
    assert_eq!(desk.ask(&young, "GET", "/api/config", &NONE).status, 200);
    let path = format!("/admin/signing_keys?kid={}", new.as_str().unwrap());
    assert_eq!(desk.ask(&young, "DELETE", &path, &NONE).status, 200, "the one that signs");
    assert_eq!(desk.ask(&young, "GET", "/api/config", &NONE).status, 401);
    assert_eq!(desk.login("admin", ADMIN_PASSWORD).status, 200, "a new one signs");
}

#[test]
fn with_a_configured_secret_tokens_are_hs256_and_the_set_of_public_keys_does_not_tell_it() {
    let secret = "0123456789abcdef0123456789abcdef";
    let desk = Desk::open(|config| config.jwt_secret = Some(secret.into()));
    let (header, claims) = common::desk::parts(&desk.admin);
    assert_eq!((header.alg, header.kid.as_deref()), (jsonwebtoken::Algorithm::HS256, Some("hs256")));
    let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
    let own = jsonwebtoken::encode(&header, &claims, &key).unwrap();
    assert_eq!(desk.ask(&own, "GET", "/api/config", &NONE).status, 200);
    let swapped = common::desk::with_algorithm(&header, jsonwebtoken::Algorithm::HS512);
    let swapped = jsonwebtoken::encode(&swapped, &claims, &key).unwrap();
    assert_eq!(desk.ask(&swapped, "GET", "/api/config", &NONE).status, 401);
    assert!(!desk.shell.get("/.well-known/jwks.json").body.contains("oct"));
    let refused = |edit: &dyn Fn(&mut AuthConfig)| {
        let dir = tempfile::TempDir::new().unwrap();
        let mut config = config(dir.path());
        edit(&mut config);
        Auth::open(config).err().unwrap().to_string()
    };
    assert!(refused(&|config| config.jwt_secret = Some("short".into())).contains("RINGFENCE_JWT_SECRET"));
    assert!(
        refused(&|config| config.admin_password = Some("short".into())).contains("RINGFENCE_ADMIN_PASSWORD")
    );
}

#[test]
fn a_stream_takes_a_ticket_once_shows_what_may_be_read_and_ends_with_its_credentials() {
    let desk = Desk::open(|_| ());
    let viewer = desk.user("vera", "viewer");
    let ticket = |token: &str| {
        desk.ask(token, "POST", "/api/stream/ticket", &NONE).json()["ticket"].as_str().unwrap().to_owned()
    };
    let (of_viewer, of_admin) = (ticket(&viewer), ticket(&desk.admin));
    let mut market = desk.shell.stream(&format!("/api/stream?snapshot=1&ticket={of_viewer}"), &[]);
    let mut all = desk.shell.stream(&format!("/api/stream?snapshot=1&ticket={of_admin}"), &[]);
    for used in [&of_viewer, &of_admin, "made-up"] {
        assert_eq!(desk.shell.get(&format!("/api/stream?ticket={used}")).status, 401);
    }
    assert_eq!(
        desk.shell.get(&format!("/api/orders?ticket={}", ticket(&desk.admin))).status,
        401,
        "streams only"
    );
    assert_eq!(all.next().unwrap().name, "snapshot");
    let order = json!({"side": "buy", "symbol": "BTCUSDT", "qty": 0.5, "price": 61000.5, "client_order_id": "secret"});
    assert_eq!(desk.as_admin("POST", "/api/order", &order).status, 200);
    assert_eq!(all.next_numbered().name, "order_received");
    desk.shell.last_price.store(6_100_000, std::sync::atomic::Ordering::Relaxed);
    let seen = loop {
        let event = market.next().unwrap();
        assert_eq!(event.name, "market", "a viewer sees the market alone");
        if event.data["price"] == 61000 {
            break event;
        }
    };
    assert_eq!(seen.id, None);
    assert_eq!(desk.as_admin("DELETE", "/api/auth/users?user_id=vera", &NONE).status, 200);
    let last = std::iter::from_fn(|| market.next()).last().unwrap();
    assert_eq!((last.name.as_str(), &last.data["error"]), ("error", &"unauthorized".into()));
}

#[test]
fn the_first_password_is_made_up_told_once_and_works() {
    let dir = tempfile::TempDir::new().unwrap();
    let open = || Auth::open(AuthConfig { admin_password: None, ..config(dir.path()) }).unwrap();
    let (auth, password) = open();
    let password = secrecy::ExposeSecret::expose_secret(&password.unwrap()).to_owned();
    assert!(password.len() >= 40);
    let shell = start_with(Some(Arc::clone(&auth)));
    let body = json!({"user_id": "admin", "password": password}).to_string();
    assert_eq!(shell.post("/api/auth/login", &body).status, 200);
    drop((shell, auth));
    assert!(open().1.is_none(), "told once");
}
