//! What the shell is told about logins: the configuration's section, and secrets from the environment.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use ringfence_core::config::CoreConfig;
use ringfence_shell::auth::limits::{LimitsConfig, Rate};
use ringfence_shell::auth::{Auth, AuthConfig, FIRST_ADMIN, TokenRules};
use secrecy::{ExposeSecret as _, SecretString};

/// Names of the token secret, ours first.
const JWT_SECRET: [&str; 2] = ["RINGFENCE_JWT_SECRET", "VELOZ_JWT_SECRET"];
/// Names of the first administrator's password, ours first.
const ADMIN_PASSWORD: [&str; 2] = ["RINGFENCE_ADMIN_PASSWORD", "VELOZ_ADMIN_PASSWORD"];

/// A variable that is set and not empty.
fn secret(names: [&str; 2]) -> Option<SecretString> {
    let value = names.iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    value.map(SecretString::from)
}

/// Authentication as `core` wants it; none when it is off. A password that was made up is shown here, once.
pub fn open(core: &CoreConfig) -> anyhow::Result<Option<Arc<Auth>>> {
    let section = &core.auth;
    if !section.enabled {
        return Ok(None);
    }
    let seconds = Duration::from_secs;
    let config = AuthConfig {
        path: core.auth_path(),
        rules: TokenRules {
            issuer: section.issuer.clone(),
            audience: section.audience.clone(),
            leeway: seconds(section.leeway_s),
        },
        access_lives: seconds(section.access_lives_s),
        refresh_lives: seconds(section.refresh_lives_s),
        key_lives: seconds(section.key_lives_s),
        hashes_at_once: section.hashes_at_once,
        account: core.shell.account,
        jwt_secret: secret(JWT_SECRET),
        admin_password: secret(ADMIN_PASSWORD),
        limits: LimitsConfig {
            requests: Rate::per_second(section.request_capacity, section.request_rate),
            cancels: Rate::per_second(section.cancel_capacity, section.cancel_rate),
            address: Rate::per_second(section.address_capacity, section.address_rate),
            logins: Rate {
                capacity: section.login_capacity,
                refill: Duration::from_millis(section.login_interval_ms),
            },
        },
        public_metrics: section.public_metrics,
    };
    let (auth, made_up) = Auth::open(config).context("authentication cannot start")?;
    if let Some(password) = made_up {
        eprintln!("first start: log in as `{FIRST_ADMIN}` with the password {}", password.expose_secret());
        eprintln!("it is shown this once: keep it, or change it with POST /api/auth/password");
    }
    Ok(Some(auth))
}
