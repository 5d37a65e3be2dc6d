//! Where downloaded programs are kept.

use std::path::PathBuf;

/// Outside of the repository, so that every worktree and later runs find it again.
#[must_use]
pub fn cache_dir() -> PathBuf {
    let home = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    home.unwrap_or_else(std::env::temp_dir).join("ringfence")
}
