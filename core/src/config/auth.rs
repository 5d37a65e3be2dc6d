//! What a configuration says about authentication. Data only: what it means is the shell's. Secrets are no part of it:
//! they come from the environment.

use serde::{Deserialize, Serialize};

/// Login, tokens, and how often who may ask.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthSection {
    /// Whether requests need credentials. Without, only loopback addresses are served.
    pub enabled: bool,
    /// Who tokens say they are from.
    pub issuer: String,
    /// Whom tokens say they are for.
    pub audience: String,
    /// How long an access token works, s.
    pub access_lives_s: u64,
    /// How long a refresh token works, s.
    pub refresh_lives_s: u64,
    /// How far clocks may differ, s.
    pub leeway_s: u64,
    /// A signing key of this age is replaced, s.
    pub key_lives_s: u64,
    /// Password hashes computed at once.
    pub hashes_at_once: usize,
    /// `/metrics` needs no credentials.
    pub public_metrics: bool,
    /// Requests at once, of a key, user or address.
    pub request_capacity: u32,
    /// Requests per second, sustained.
    pub request_rate: u32,
    /// Cancels at once.
    pub cancel_capacity: u32,
    /// Cancels per second, sustained.
    pub cancel_rate: u32,
    /// Anything at once from one address.
    pub address_capacity: u32,
    /// Anything per second from one address, sustained.
    pub address_rate: u32,
    /// Logins and refreshes at once from one address.
    pub login_capacity: u32,
    /// Time until one address may log in once more, ms.
    pub login_interval_ms: u64,
}

impl Default for AuthSection {
    fn default() -> Self {
        Self {
            enabled: false,
            issuer: "ringfence".to_owned(),
            audience: "ringfence-api".to_owned(),
            access_lives_s: 3600,
            refresh_lives_s: 7 * 86_400,
            leeway_s: 10,
            key_lives_s: 30 * 86_400,
            hashes_at_once: 2,
            public_metrics: true,
            request_capacity: 100,
            request_rate: 10,
            cancel_capacity: 100,
            cancel_rate: 10,
            address_capacity: 400,
            address_rate: 100,
            login_capacity: 10,
            login_interval_ms: 6000,
        }
    }
}

impl AuthSection {
    /// What a developer's own machine allows.
    #[must_use]
    pub fn development() -> Self {
        Self {
            request_capacity: 10_000,
            request_rate: 10_000,
            cancel_capacity: 10_000,
            cancel_rate: 10_000,
            address_capacity: 20_000,
            address_rate: 20_000,
            ..Self::default()
        }
    }
}
