//! TLS on the listener: one certificate chain and its key, read from files, and read again when somebody asks.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Where the certificate and its key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and those between it and its root, PEM.
    pub cert: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

/// Why a certificate cannot be used. Says nothing of what a file holds.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that cannot be read as what it must be.
    #[error("{what} {}: {why}: name a PEM file that this user may read", path.display())]
    File {
        /// Certificate or key.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// Two files that do not belong together, or that rustls does not take.
    #[error("the certificate {} cannot be used with the key {}: {why}", files.cert.display(), files.key.display())]
    Pair {
        /// Which.
        files: TlsFiles,
        /// Why not.
        why: String,
    },
}

/// What the listener speaks TLS with.
pub struct Tls {
    files: TlsFiles,
    config: RwLock<Arc<ServerConfig>>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Tls").field(&self.files).finish()
    }
}

impl Tls {
    /// Reads `files`.
    ///
    /// # Errors
    /// [`TlsError`], saying what to do.
    pub fn open(files: TlsFiles) -> Result<Arc<Self>, TlsError> {
        let config = RwLock::new(read(&files)?);
        Ok(Arc::new(Self { files, config }))
    }

    /// Reads them again, for the connections that come from here on.
    ///
    /// # Errors
    /// [`TlsError`]; then those that were read before still count.
    pub fn reload(&self) -> Result<(), TlsError> {
        let config = read(&self.files)?;
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        tracing::info!(cert = %self.files.cert.display(), "the certificate was read again");
        Ok(())
    }

    /// Shakes hands by what counts now.
    #[must_use]
    pub fn acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner)).into()
    }
}

fn unreadable(what: &'static str, path: &Path, why: impl ToString) -> TlsError {
    TlsError::File { what, path: path.to_owned(), why: why.to_string() }
}

fn read(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let bad_cert = |why: &dyn ToString| unreadable("the certificate", &files.cert, why.to_string());
    let chain: Vec<_> = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect)
        .map_err(|error| bad_cert(&error))?;
    if chain.is_empty() {
        return Err(bad_cert(&"there is no certificate in it"));
    }
    let key =
        PrivateKeyDer::from_pem_file(&files.key).map_err(|error| unreadable("the key", &files.key, error))?;
    let pair =
        |error: tokio_rustls::rustls::Error| TlsError::Pair { files: files.clone(), why: error.to_string() };
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(pair)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(pair)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
