//! What happens to the store behind everybody's back.

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::limits::LimitsConfig;
use super::permission::{Permission, Permissions};
use super::{Auth, AuthConfig, KEEP_ENDED_S, TokenPair, TokenRules, now};

const PASSWORD: &str = "the administrator's own";

fn config(dir: &TempDir) -> AuthConfig {
    AuthConfig {
        path: dir.path().join("auth.db"),
        rules: TokenRules { issuer: "i".into(), audience: "a".into(), leeway: Duration::from_secs(10) },
        access_lives: Duration::from_secs(60),
        refresh_lives: Duration::from_secs(600),
        key_lives: Duration::from_secs(86_400),
        hashes_at_once: 1,
        account: 0,
        jwt_secret: None,
        admin_password: Some(PASSWORD.into()),
        limits: LimitsConfig::default(),
        public_metrics: true,
    }
}

fn open(dir: &TempDir) -> Arc<Auth> {
    Auth::open(config(dir)).unwrap().0
}

async fn login(auth: &Arc<Auth>) -> TokenPair {
    auth.login("admin".into(), PASSWORD.into()).await.ok().unwrap()
}

fn edit(auth: &Auth, statement: &str, at: u64) {
    auth.change(|tx, _, _| Ok(tx.execute(statement, [at])?)).unwrap();
}

fn count(auth: &Auth, table: &str) -> u64 {
    let store = auth.store.lock().unwrap();
    store.connection().query_row(&format!("SELECT count(*) FROM {table}"), (), |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn when_a_key_was_last_used_survives_a_restart() {
    let dir = TempDir::new().unwrap();
    let auth = open(&dir);
    let admin = auth.by_token(&login(&auth).await.access_token).unwrap();
    let made = auth.create_key(&admin, "bot", Permissions::of(&[Permission::ReadMarket])).unwrap();
    assert_eq!(auth.api_keys()[0].last_used_at, None);
    assert!(auth.by_api_key(&made.api_key).is_some());
    // A change of something else does not forget it either.
    login(&auth).await;
    let used = auth.api_keys()[0].last_used_at;
    assert!(used.is_some_and(|at| at + 5 > now()), "{used:?}");
    auth.housekeeping().unwrap();
    drop(auth);
    let auth = open(&dir);
    assert_eq!(auth.api_keys()[0].last_used_at, used);
    assert!(auth.by_api_key(&made.api_key).is_some());
}

#[tokio::test]
async fn a_retired_key_verifies_until_its_longest_token_has_ended_and_no_longer() {
    let dir = TempDir::new().unwrap();
    let auth = open(&dir);
    let tokens = login(&auth).await;
    auth.rotate_signing_key().unwrap();
    let retire = "UPDATE signing_keys SET retired_at = ?1 WHERE retired_at IS NOT NULL";
    for (ago, kept) in [(0, true), (600, true), (620, false)] {
        edit(&auth, retire, now() - ago);
        auth.housekeeping().unwrap();
        assert_eq!(auth.by_token(&tokens.access_token).is_some(), kept, "{ago} s ago");
    }
    edit(&auth, "UPDATE signing_keys SET created_at = ?1", now() - 86_401);
    let before = auth.signing_keys()[0].kid.clone();
    auth.housekeeping().unwrap();
    assert_ne!(auth.signing_keys()[0].kid, before, "an old key is replaced by itself");
    assert_eq!(auth.signing_keys().len(), 2);
}

#[tokio::test]
async fn ended_sessions_are_refused_at_once_and_removed_later() {
    let dir = TempDir::new().unwrap();
    let auth = open(&dir);
    let tokens = login(&auth).await;
    edit(&auth, "UPDATE families SET expires_at = ?1", now() - 1);
    assert!(auth.by_token(&tokens.access_token).is_none() && auth.refresh(&tokens.refresh_token).is_err());
    auth.housekeeping().unwrap();
    assert_eq!(count(&auth, "families"), 1);
    edit(&auth, "UPDATE families SET expires_at = ?1", now() - KEEP_ENDED_S - 10);
    auth.housekeeping().unwrap();
    assert_eq!(count(&auth, "families"), 0);
}

#[tokio::test]
async fn a_store_that_cannot_be_read_any_more_lets_nobody_pass() {
    let dir = TempDir::new().unwrap();
    let auth = open(&dir);
    let tokens = login(&auth).await;
    assert!(auth.by_token(&tokens.access_token).is_some());
    let broken = auth.change(|tx, _, _| Ok(tx.execute("UPDATE signing_keys SET pkcs8 = x'00'", ())?));
    assert!(broken.is_err());
    assert!(auth.by_token(&tokens.access_token).is_none());
    assert!(auth.login("admin".into(), PASSWORD.into()).await.is_err());
}
