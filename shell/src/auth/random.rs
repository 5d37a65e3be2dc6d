//! Randomness from the kernel, and how secrets and ids look as text.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustix::rand::{GetRandomFlags, getrandom};
use sha2::{Digest as _, Sha256};

use super::AuthError;

/// `N` random bytes.
///
/// # Errors
/// [`AuthError::Internal`] when the kernel has none.
pub fn bytes<const N: usize>() -> Result<[u8; N], AuthError> {
    const { assert!(N <= 256, "the kernel gives up to 256 bytes at once") };
    let mut bytes = [0; N];
    match getrandom(&mut bytes, GetRandomFlags::empty()) {
        Ok(count) if count == N => Ok(bytes),
        _ => Err(AuthError::Internal("the kernel gave no randomness")),
    }
}

/// A random id of 16 hex digits.
///
/// # Errors
/// [`AuthError::Internal`] when the kernel has no randomness.
pub fn id() -> Result<String, AuthError> {
    Ok(hex(&bytes::<8>()?))
}

/// A random secret of 256 bits as text.
///
/// # Errors
/// [`AuthError::Internal`] when the kernel has no randomness.
pub fn secret() -> Result<String, AuthError> {
    Ok(base64url(&bytes::<32>()?))
}

/// Lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Base64 for URLs, without padding.
#[must_use]
pub fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// SHA-256: enough for secrets that are random themselves.
#[must_use]
pub fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// Whether both are the same, in a time that tells nothing.
#[must_use]
pub fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(a, b).is_ok()
}
