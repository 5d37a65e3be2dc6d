//! What a configuration says about order events. Data only: what it means is the shell's.

use serde::{Deserialize, Serialize};

/// The topic of order events.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct EventsConfig {
    /// They are published.
    pub enabled: bool,
    /// On these brokers, `host:port,..`; none: in a file of the data directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kafka_brokers: Option<String>,
    /// The topic.
    pub topic: String,
    /// Copies on Kafka.
    pub replicas: u32,
    /// They are kept so long, hours.
    pub retain_h: u64,
    /// The file's oldest go beyond this, bytes.
    pub size_bytes: u64,
}

impl Default for EventsConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            kafka_brokers: None,
            topic: "orders.events".to_owned(),
            replicas: 3,
            retain_h: 7 * 24,
            size_bytes: 1 << 30,
        }
    }
}
