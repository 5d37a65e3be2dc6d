//! What a configuration says about the audit log. Data only: what it means is the shell's.

use serde::{Deserialize, Serialize};

/// The audit log.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditConfig {
    /// Requests at work and records that wait, together.
    pub queue: usize,
    /// A record is on disk after this long, ms.
    pub sync_interval_ms: u64,
    /// A file ends here, bytes.
    pub max_file_bytes: u64,
    /// With less free space on the data disk nothing is changed, bytes.
    pub min_free_bytes: u64,
    /// Time between two sweeps, ms.
    pub sweep_interval_ms: u64,
    /// Logins, tokens and roles are kept so long, hours.
    pub retain_auth_h: u64,
    /// Orders, modes, limits and configuration, hours.
    pub retain_order_h: u64,
    /// API keys, hours.
    pub retain_api_key_h: u64,
    /// Refused requests, hours.
    pub retain_access_h: u64,
    /// Errors, hours.
    pub retain_error_h: u64,
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self {
            queue: 16_384,
            sync_interval_ms: 50,
            max_file_bytes: 100 << 20,
            min_free_bytes: 64 << 20,
            sweep_interval_ms: 3_600_000,
            retain_auth_h: 90 * 24,
            retain_order_h: 365 * 24,
            retain_api_key_h: 365 * 24,
            retain_access_h: 14 * 24,
            retain_error_h: 30 * 24,
        }
    }
}
