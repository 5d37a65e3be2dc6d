//! Secrets that stand in files of their own.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, ensure};
use secrecy::SecretString;

/// The longest file that is read as a secret.
const MAX_BYTES: u64 = 16 << 10;

/// What a file holds that its owner alone can read; `what` says what that is.
pub fn read(path: &Path, what: &str) -> anyhow::Result<SecretString> {
    let shown = path.display();
    let about = std::fs::metadata(path).with_context(|| format!("cannot read {shown}"))?;
    ensure!(about.permissions().mode() & 0o077 == 0, "{shown} can be read by others: chmod 600 {shown}");
    ensure!(about.len() <= MAX_BYTES, "{shown} is too long for {what}");
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
    ensure!(!text.trim().is_empty(), "{shown} is empty: it has to hold {what}");
    Ok(text.trim().into())
}
