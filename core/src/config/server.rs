//! What a configuration says about how the shell is reached. Data only: what it means is the shell's.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The listener's certificate; both files, or neither.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerSection {
    /// The certificate and those between it and its root, PEM; none: plain HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cert: Option<PathBuf>,
    /// Its private key, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key: Option<PathBuf>,
}
