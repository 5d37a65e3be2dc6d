//! G13: every route of the table, by every kind of caller, with every defect a token can have. Both sides come from the
//! product's own table; what is expected is computed from roles and permissions alone.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod common;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use common::desk::{Desk, PASSWORD, by_hand, parts, unix_now, with_algorithm};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use ringfence_shell::auth::permission::{Permission, Permissions, Role};
use ringfence_shell::http::{Access, Row, rows};
use serde_json::{Value, json};

/// Headers that say who asks.
type Credentials = Vec<(String, String)>;

/// Sends only what the route's path and the caller's credentials make; the status is all that is read: some answers
/// never end.
fn status(desk: &Desk, row: &Row, credentials: &[(String, String)]) -> u16 {
    let mut stream = TcpStream::connect(desk.shell.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut head =
        format!("{} {} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n", row.method, common::filled(row.path));
    for (name, value) in credentials {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{line}"))
}

/// Whether somebody with these permissions may use the route; none: nobody in particular.
fn may(access: Access, permissions: Option<Permissions>) -> bool {
    match (access, permissions) {
        (Access::Public | Access::Metrics, _) => true,
        (_, None) => false,
        (Access::SignedIn, Some(_)) => true,
        (Access::AnyOf(wanted) | Access::Stream(wanted), Some(has)) => {
            Permission::ALL.iter().any(|permission| wanted.has(*permission) && has.has(*permission))
        }
    }
}

fn bearer(token: &str) -> Credentials {
    vec![("Authorization".into(), format!("Bearer {token}"))]
}

fn api_key(key: &str) -> Credentials {
    vec![("X-API-Key".into(), key.to_owned())]
}

/// Everybody who may knock: a name, credentials, and what they are allowed.
fn principals(desk: &Desk) -> Vec<(String, Credentials, Option<Permissions>)> {
    let mut all = vec![("nobody".to_owned(), Vec::new(), None)];
    for role in Role::ALL {
        let token =
            if role == Role::Admin { desk.admin.clone() } else { desk.user(role.name(), role.name()) };
        all.push((role.name().to_owned(), bearer(&token), Some(role.permissions())));
    }
    for permission in Permission::ALL {
        let key = desk.key(&desk.admin, &[permission.name()]);
        all.push((
            format!("key {}", permission.name()),
            api_key(&key),
            Some(Permissions::of(&[*permission])),
        ));
    }
    all
}

/// Every way a credential can be wrong. Each token but for its one defect is the administrator's own.
fn defects(desk: &Desk) -> Vec<(&'static str, Credentials)> {
    let (access, refresh) = desk.tokens("admin", common::desk::ADMIN_PASSWORD);
    let (header, claims) = parts(&access);
    let now = unix_now();
    let says = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        desk.sign(&header, &claims)
    };
    let lacks = |name: &str| {
        let mut claims = claims.clone();
        claims.as_object_mut().unwrap().remove(name);
        desk.sign(&header, &claims)
    };
    let headed = |edit: &dyn Fn(&mut Header)| {
        let mut header = header.clone();
        edit(&mut header);
        desk.sign(&header, &claims)
    };
    let jwks = desk.shell.get("/.well-known/jwks.json").json();
    let public = jwks["keys"][0]["x"].as_str().unwrap().to_owned();
    let hmac = |secret: &[u8], kid: Option<&str>| {
        let mut header = with_algorithm(&header, Algorithm::HS256);
        header.kid = kid.map(str::to_owned).or(header.kid);
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(secret)).unwrap()
    };
    let public_bytes = {
        use base64::Engine as _;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(&public).unwrap()
    };
    let unsigned = |alg: &str, signature: &str| {
        let head = json!({"typ": header.typ, "alg": alg, "kid": header.kid});
        by_hand(&head, &claims, signature)
    };
    let signature = access.rsplit('.').next().unwrap();
    let stranger = aws_lc_rs::signature::Ed25519KeyPair::generate().unwrap().to_pkcs8().unwrap();
    let forged =
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_ed_der(stranger.as_ref())).unwrap();
    let mut promoted = claims.clone();
    promoted["sub"] = "root".into();
    let (revoked, revoked_refresh) = desk.tokens("admin", common::desk::ADMIN_PASSWORD);
    let body = json!({"refresh_token": revoked_refresh}).to_string();
    assert_eq!(desk.shell.post("/api/auth/logout", &body).status, 200);
    let gone = {
        let token = desk.user("gone", "admin");
        assert_eq!(desk.as_admin("DELETE", "/api/auth/users?user_id=gone", &Value::Null).status, 200);
        token
    };
    let key = desk.key(&desk.admin, &["read:market"]);
    let revoked_key = {
        let id = key.split('.').next().unwrap();
        assert_eq!(desk.as_admin("DELETE", &format!("/api/auth/keys?key_id={id}"), &Value::Null).status, 200);
        key.clone()
    };
    let live = desk.key(&desk.admin, &Permission::ALL.map_names());
    let id = live.split('.').next().unwrap();
    let mut both = bearer(&access);
    both.extend(api_key(&live));
    let token_defects = [
        ("expired", says("exp", (now - 11).into())),
        ("expired long ago", says("exp", 1.into())),
        ("not yet", says("nbf", (now + 3600).into())),
        ("another audience", says("aud", "other".into())),
        ("another issuer", says("iss", "other".into())),
        ("another session", says("sid", "0123456789abcdef".into())),
        ("another user", says("sub", "viewer".into())),
        ("without exp", lacks("exp")),
        ("without nbf", lacks("nbf")),
        ("without aud", lacks("aud")),
        ("without iss", lacks("iss")),
        ("without sub", lacks("sub")),
        ("without sid", lacks("sid")),
        ("exp as text", says("exp", "9999999999".into())),
        ("typ JWT", headed(&|header| header.typ = Some("JWT".into()))),
        ("typ of a refresh token", headed(&|header| header.typ = Some("rt+jwt".into()))),
        ("without typ", headed(&|header| header.typ = None)),
        ("unknown kid", headed(&|header| header.kid = Some("ffffffffffffffff".into()))),
        ("without kid", headed(&|header| header.kid = None)),
        ("a path as kid", headed(&|header| header.kid = Some("../../dev/null".into()))),
        ("jku", headed(&|header| header.jku = Some("https://evil.example/jwks.json".into()))),
        ("x5u", headed(&|header| header.x5u = Some("https://evil.example/c.pem".into()))),
        ("crit", headed(&|header| header.crit = Some(vec!["exp".into()]))),
        ("alg none", unsigned("none", "")),
        ("alg None with a signature", unsigned("None", signature)),
        ("alg HS256 with the public key", hmac(&public_bytes, None)),
        ("alg HS256 with the public key's text", hmac(public.as_bytes(), None)),
        ("alg HS256 under the secret's kid", hmac(&public_bytes, Some("hs256"))),
        ("alg HS256 with no secret", hmac(b"", Some("hs256"))),
        ("signed by a stranger", forged),
        ("claims changed", by_hand(&json!(header), &promoted, signature)),
        ("signature cut", access[..access.len() - 4].to_owned()),
        ("signature left out", access[..access.rfind('.').unwrap()].to_owned()),
        ("cut in the middle", access[..access.len() / 2].to_owned()),
        ("empty", String::new()),
        ("three dots", "...".to_owned()),
        ("huge", "a".repeat(8000)),
        ("logged out", revoked),
        ("of a user that is gone", gone),
        ("refresh token as access token", refresh),
        ("an API key as a token", live.clone()),
    ];
    let mut all: Vec<_> = token_defects.map(|(name, token)| (name, bearer(&token))).into();
    all.extend([
        ("basic authentication", vec![("Authorization".into(), format!("Basic YWRtaW46{PASSWORD}"))]),
        ("two tokens", [bearer(&access), bearer(&access)].concat()),
        ("a token and a key", both),
        ("revoked API key", api_key(&revoked_key)),
        ("API key with another secret", api_key(&format!("{id}.{}", "A".repeat(43)))),
        ("API key without its secret", api_key(id)),
        ("API key with an empty secret", api_key(&format!("{id}."))),
        ("unknown API key", api_key("rk_0123456789abcdef.AAAA")),
        ("a token as an API key", api_key(&access)),
    ]);
    // The forger's tools work: without a defect the same token passes.
    assert_eq!(desk.ask(&desk.sign(&header, &claims), "GET", "/api/auth/roles", &Value::Null).status, 200);
    let soon = says("nbf", (now + 5).into());
    assert_eq!(desk.ask(&soon, "GET", "/api/auth/roles", &Value::Null).status, 200, "within the leeway");
    all
}

trait Names {
    fn map_names(&self) -> Vec<&'static str>;
}

impl Names for &[Permission] {
    fn map_names(&self) -> Vec<&'static str> {
        self.iter().map(|permission| permission.name()).collect()
    }
}

#[test]
fn no_route_lets_anybody_in_whom_the_table_does_not() {
    let desk = Desk::open(|_| ());
    let (mut tried, mut wrong) = (0, Vec::new());
    let mut expect = |name: &str, row: &Row, credentials: &[(String, String)], allowed: bool| {
        tried += 1;
        let got = status(&desk, row, credentials);
        let denied = matches!(got, 401 | 403);
        if denied == allowed || got == 429 || got == 404 && !allowed {
            wrong.push(format!("{} {} by {name}: {got}, allowed: {allowed}", row.method, row.path));
        }
    };
    let (principals, defects) = (principals(&desk), defects(&desk));
    for row in rows() {
        for (name, credentials, permissions) in &principals {
            expect(name, &row, credentials, may(row.access, *permissions));
        }
        for (name, credentials) in &defects {
            expect(name, &row, credentials, may(row.access, None));
        }
    }
    println!(
        "G13: {tried} combinations of {} routes, {} principals and {} defects; {} wrong",
        rows().len(),
        principals.len(),
        defects.len(),
        wrong.len()
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_path_without_a_row_is_nothing_and_a_method_without_a_row_is_refused() {
    let desk = Desk::open(|_| ());
    for path in ["/api", "/api/", "/api/auth", "/api/auth/keys/", "/api//order", "/api/admin", "/api/order/1"]
    {
        for token in ["", &desk.admin] {
            assert_eq!(desk.ask(token, "GET", path, &Value::Null).status, 404, "{path}");
        }
    }
    for (method, path) in
        [("PUT", "/api/order"), ("DELETE", "/api/order"), ("GET", "/api/kill"), ("PATCH", "/")]
    {
        assert_eq!(desk.as_admin(method, path, &Value::Null).status, 405, "{method} {path}");
    }
}

#[test]
fn with_authentication_off_everything_is_the_local_users_and_foreign_pages_stay_out() {
    let shell = common::start();
    for path in ["/api/config", "/api/orders_state", "/api/limits", "/api/account"] {
        assert_eq!(shell.get(path).status, 200, "{path}");
    }
    assert_eq!(shell.get("/api/config").json()["auth_enabled"], false);
    let foreign = [("Origin", "https://evil.example")];
    assert_eq!(shell.send("POST", "/api/kill", &foreign, b"{}").status, 403);
    let off = shell.post("/api/auth/login", r#"{"user_id":"admin","password":"x"}"#);
    assert_eq!((off.status, &off.json()["error"]), (404, &"auth_disabled".into()));
}
