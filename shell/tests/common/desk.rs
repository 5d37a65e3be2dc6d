//! A shell with authentication on, its administrator, and hands to forge tokens with.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use ringfence_shell::auth::limits::{LimitsConfig, Rate};
use ringfence_shell::auth::{Auth, AuthConfig, TokenRules};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Answer, Shell, start_with};

pub const ADMIN_PASSWORD: &str = "the administrator's own";
pub const PASSWORD: &str = "twelve bytes or more";

/// A shell that wants credentials.
pub struct Desk {
    pub shell: Shell,
    pub auth: Arc<Auth>,
    pub dir: TempDir,
    /// The generated signing key, as an attacker would love to have it.
    pub pkcs8: Vec<u8>,
    pub admin: String,
}

pub fn config(dir: &Path) -> AuthConfig {
    let plenty = Rate::per_second(1_000_000, 1_000_000);
    AuthConfig {
        path: dir.join("auth.db"),
        rules: TokenRules {
            issuer: "ringfence".into(),
            audience: "ringfence-api".into(),
            leeway: Duration::from_secs(10),
        },
        access_lives: Duration::from_secs(3600),
        refresh_lives: Duration::from_secs(7 * 86_400),
        key_lives: Duration::from_secs(30 * 86_400),
        hashes_at_once: 2,
        account: 0,
        jwt_secret: None,
        admin_password: Some(ADMIN_PASSWORD.into()),
        limits: LimitsConfig { requests: plenty, cancels: plenty, address: plenty, logins: plenty },
        public_metrics: true,
    }
}

/// Reads the signing key from a store that nobody has open.
pub fn signing_key(dir: &Path) -> Vec<u8> {
    let store = rusqlite::Connection::open(dir.join("auth.db")).unwrap();
    let query = "SELECT pkcs8 FROM signing_keys WHERE retired_at IS NULL";
    store.query_row(query, (), |row| row.get(0)).unwrap()
}

impl Desk {
    pub fn open(edit: impl FnOnce(&mut AuthConfig)) -> Self {
        Self::open_over(edit, start_with)
    }

    /// A desk whose shell is started by this.
    pub fn open_over(
        edit: impl FnOnce(&mut AuthConfig),
        start: impl FnOnce(Option<Arc<Auth>>) -> Shell,
    ) -> Self {
        let dir = TempDir::with_prefix("ringfence-auth-").unwrap();
        let mut config = config(dir.path());
        edit(&mut config);
        drop(Auth::open(config.clone()).unwrap());
        let pkcs8 = signing_key(dir.path());
        let (auth, made_up) = Auth::open(config).unwrap();
        assert!(made_up.is_none(), "a configured password is never shown");
        let mut desk = Self { shell: start(Some(Arc::clone(&auth))), auth, dir, pkcs8, admin: String::new() };
        desk.admin = desk.login("admin", ADMIN_PASSWORD).json()["access_token"].as_str().unwrap().to_owned();
        desk
    }

    pub fn login(&self, user: &str, password: &str) -> Answer {
        self.shell.post("/api/auth/login", &json!({"user_id": user, "password": password}).to_string())
    }

    /// Both tokens of a new session.
    pub fn tokens(&self, user: &str, password: &str) -> (String, String) {
        let body = self.login(user, password).json();
        let text = |name: &str| body[name].as_str().unwrap_or_else(|| panic!("{body}")).to_owned();
        (text("access_token"), text("refresh_token"))
    }

    pub fn refresh(&self, token: &str) -> Answer {
        self.shell.post("/api/auth/refresh", &json!({"refresh_token": token}).to_string())
    }

    /// A request with this access token.
    pub fn ask(&self, token: &str, method: &str, path: &str, body: &Value) -> Answer {
        let bearer = format!("Bearer {token}");
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.shell.send(method, path, &headers, body.as_bytes())
    }

    pub fn as_admin(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.ask(&self.admin, method, path, body)
    }

    /// A new user with this role; its access token.
    pub fn user(&self, user: &str, role: &str) -> String {
        let body = json!({"user_id": user, "password": PASSWORD, "role": role});
        let made = self.as_admin("POST", "/api/auth/users", &body);
        assert_eq!(made.status, 201, "{made:?}");
        self.tokens(user, PASSWORD).0
    }

    /// A new API key of `token`'s user.
    pub fn key(&self, token: &str, permissions: &[&str]) -> String {
        let made =
            self.ask(token, "POST", "/api/auth/keys", &json!({"name": "k", "permissions": permissions}));
        assert_eq!(made.status, 201, "{made:?}");
        made.json()["api_key"].as_str().unwrap().to_owned()
    }

    /// A token of this header and these claims, signed with the shell's own key.
    pub fn sign(&self, header: &Header, claims: &Value) -> String {
        jsonwebtoken::encode(header, claims, &EncodingKey::from_ed_der(&self.pkcs8)).unwrap()
    }
}

pub fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The parts of a token that can be read.
pub fn parts(token: &str) -> (Header, Value) {
    let claims = token.split('.').nth(1).unwrap();
    let claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    (jsonwebtoken::decode_header(token).unwrap(), claims)
}

/// A token put together by hand.
pub fn by_hand(header: &Value, claims: &Value, signature: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{signature}", part(header), part(claims))
}

/// The header of a token of another algorithm, otherwise like this one.
pub fn with_algorithm(header: &Header, algorithm: Algorithm) -> Header {
    Header { alg: algorithm, ..header.clone() }
}

/// What went wrong.
pub fn error(answer: &Answer) -> (u16, String) {
    (answer.status, answer.json()["error"].as_str().unwrap_or("?").to_owned())
}

/// As [`error`] tells it.
pub fn is(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}
