//! The node cache's size.

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// Series at most that any gate has: the gate thread looks through all of them when a client registers one or goes.
pub(super) const MOST_SERIES: usize = 16_384;
/// Bytes at most; every client maps all of them.
pub(super) const MOST_BYTES: u64 = 64 << 30;

/// The node cache's size, fixed at boot.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct CacheConfig {
    /// Memory of all series together, bytes; 0 switches the cache off.
    pub budget_bytes: u64,
    /// Series at most.
    pub max_series: usize,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self { budget_bytes: 16 << 20, max_series: 1024 }
    }
}

impl CacheConfig {
    /// # Errors
    /// [`ConfigError::Value`] naming the key.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.max_series > MOST_SERIES {
            let text = format!("cache.max_series is {}: at most {MOST_SERIES}", self.max_series);
            return Err(ConfigError::Value(text));
        }
        if self.budget_bytes > MOST_BYTES {
            let text = format!("cache.budget_bytes is {}: at most {MOST_BYTES}", self.budget_bytes);
            return Err(ConfigError::Value(text));
        }
        Ok(())
    }
}
