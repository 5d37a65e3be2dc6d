//! What a configuration says about strategies as DAGs. Data only: what it means is the shell's.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Strategies as DAGs.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct DagConfig {
    /// They can be submitted.
    pub enabled: bool,
    /// The same DAG is a duplicate for so long, s.
    pub duplicate_ttl_s: u64,
    /// Strategies that are worked on at once.
    pub workers: u32,
    /// `accept_unverified` or `strict`.
    pub missing_config_hash: String,
    /// A file with the address of a PostgreSQL; none: in files of the data directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postgres_url_file: Option<PathBuf>,
    /// A file with the address of a Redis before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis_url_file: Option<PathBuf>,
    /// Submissions wait in a file of the data directory while PostgreSQL is away.
    pub spool: bool,
    /// Where a Neo4j is; none: in a file of the data directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub neo4j_uri: Option<String>,
    /// A file with the user and the password for it, in a line each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub neo4j_login_file: Option<PathBuf>,
    /// Values go to these brokers, `host:port,..`; none: to a file of the data directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kafka_brokers: Option<String>,
}

impl Default for DagConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            duplicate_ttl_s: 86_400,
            workers: 2,
            missing_config_hash: "accept_unverified".to_owned(),
            postgres_url_file: None,
            redis_url_file: None,
            spool: true,
            neo4j_uri: None,
            neo4j_login_file: None,
            kafka_brokers: None,
        }
    }
}
