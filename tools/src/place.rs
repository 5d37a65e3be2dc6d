//! Where runs live: one directory per run under the user's state directory, and `latest`.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};

/// Runs that are kept; older ones go when a new one starts.
const KEPT_RUNS: usize = 10;

/// `$RINGFENCE_STATE_DIR`, or `ringfence` under the user's XDG state directory.
pub fn state_dir() -> anyhow::Result<PathBuf> {
    if let Some(dir) = std::env::var_os("RINGFENCE_STATE_DIR") {
        return Ok(dir.into());
    }
    if let Some(dir) = std::env::var_os("XDG_STATE_HOME") {
        return Ok(PathBuf::from(dir).join("ringfence"));
    }
    let home = std::env::var_os("HOME").context("neither HOME nor RINGFENCE_STATE_DIR is set: set one")?;
    Ok(PathBuf::from(home).join(".local/state/ringfence"))
}

/// A fresh run directory; `latest` names it, and the oldest runs beyond [`KEPT_RUNS`] are removed.
pub fn new_run() -> anyhow::Result<PathBuf> {
    let runs = state_dir()?.join("runs");
    std::fs::create_dir_all(&runs).with_context(|| format!("cannot create {}", runs.display()))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let name = format!("run-{:013}-{}", now.as_millis(), std::process::id());
    let run = runs.join(&name);
    std::fs::create_dir(&run).with_context(|| format!("cannot create {}", run.display()))?;
    prune(&runs)?;
    let (latest, fresh) = (runs.join("latest"), runs.join(format!("latest.{}", std::process::id())));
    std::os::unix::fs::symlink(&name, &fresh)
        .and_then(|()| std::fs::rename(&fresh, &latest))
        .with_context(|| format!("cannot update {}", latest.display()))?;
    Ok(run)
}

fn prune(runs: &Path) -> anyhow::Result<()> {
    let mut old: Vec<PathBuf> = std::fs::read_dir(runs)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("run-")))
        .collect();
    old.sort();
    for path in old.iter().rev().skip(KEPT_RUNS) {
        std::fs::remove_dir_all(path)
            .with_context(|| format!("cannot remove the old run {}", path.display()))?;
    }
    Ok(())
}

/// The run a reading command means: the one given, else the latest.
pub fn data_dir(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    let dir = match given {
        Some(dir) => dir.to_owned(),
        None => state_dir()?.join("runs/latest"),
    };
    if !dir.join("journal").is_dir() {
        bail!("{} holds no run: start one with `ringfence up`, or name it with --data DIR", dir.display());
    }
    dir.canonicalize().with_context(|| format!("cannot resolve {}", dir.display()))
}

/// Where the market source leaves its counts when it stops.
pub fn feed_report(data_dir: &Path) -> PathBuf {
    data_dir.join("feed.json")
}

/// Socket, hot journal and counters of a run: on tmpfs where there is one.
pub fn run_dir(data_dir: &Path) -> anyhow::Result<PathBuf> {
    let name = data_dir.canonicalize()?.display().to_string();
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let uid = rustix::process::getuid().as_raw();
    let base = Path::new("/dev/shm");
    let base = if base.is_dir() { base.to_owned() } else { std::env::temp_dir() };
    Ok(base.join(format!("ringfence-{uid}-{hash:016x}")))
}
