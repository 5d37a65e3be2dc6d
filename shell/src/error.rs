//! Why a shell cannot serve.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why [`crate::serve`] gave up.
#[derive(Debug, thiserror::Error)]
pub enum ShellError {
    /// Without authentication nobody else may reach the gate.
    #[error(
        "refusing to serve on {0}: authentication is off, so only loopback addresses (127.0.0.1, [::1]) are allowed; bind one of them, or \
         switch authentication on (auth.enabled = true)"
    )]
    NotLoopback(SocketAddr),
    /// The address cannot be bound.
    #[error("cannot serve on {address}: {source}; choose another address with --bind")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The audit log cannot be opened.
    #[error("cannot open the audit log in {dir}: {source}; without it nothing may be changed")]
    Audit {
        /// Where.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The certificate cannot be used.
    #[error("cannot speak TLS: {0}")]
    Tls(#[from] crate::http::TlsError),
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] io::Error),
}
