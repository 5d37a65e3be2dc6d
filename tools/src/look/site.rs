//! Where a run keeps what can be looked at, and whether its gate lives.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use ringfence_core::config::CoreConfig;

use crate::place;

/// One run.
#[derive(Clone, Debug)]
pub struct Site {
    /// Journal archive and configuration; missing when only a run directory is left.
    pub data_dir: Option<PathBuf>,
    /// Counters, hot journal and socket; gone after a stop in good order.
    pub run_dir: PathBuf,
}

/// What has become of a run's gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It runs.
    Alive,
    /// It died: its files are still there.
    Dead,
    /// It stopped in good order, or never started.
    Stopped,
}

impl Life {
    /// The stable word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Dead => "dead",
            Self::Stopped => "stopped",
        }
    }
}

impl Site {
    /// The run that `given` names, by its data directory or its run directory; without one the latest.
    pub fn find(given: Option<&Path>) -> anyhow::Result<Self> {
        let Some(dir) = given else { return Self::of_data(&place::data_dir(None)?) };
        if !dir.is_dir() {
            bail!("{} is no directory: name a run's data directory or run directory", dir.display());
        }
        if dir.join("core.toml").is_file() || dir.join("journal").is_dir() {
            return Self::of_data(dir);
        }
        if dir.join("counters").is_file() || dir.join("journal.hot").is_file() {
            // The gate leaves a link to its data beside its counters.
            let data_dir = std::fs::read_link(dir.join("data")).ok().filter(|data| data.is_dir());
            return Ok(Self { data_dir, run_dir: dir.to_owned() });
        }
        bail!("{} holds no run: neither core.toml nor counters nor a journal", dir.display())
    }

    fn of_data(data_dir: &Path) -> anyhow::Result<Self> {
        let config = data_dir.join("core.toml");
        let run_dir = if config.is_file() {
            CoreConfig::load(&config).with_context(|| format!("cannot read {}", config.display()))?.run_dir
        } else {
            place::run_dir(data_dir)?
        };
        Ok(Self { data_dir: Some(data_dir.to_owned()), run_dir })
    }

    pub fn counters(&self) -> PathBuf {
        self.run_dir.join("counters")
    }

    pub fn hot(&self) -> PathBuf {
        self.run_dir.join("journal.hot")
    }

    pub fn archive(&self) -> Option<PathBuf> {
        self.data_dir.as_ref().map(|data| data.join("journal"))
    }

    /// `pid` is what the counters name as the gate's process. Another process that got the number has no gate thread.
    pub fn life(&self, pid: Option<u64>) -> Life {
        let Some(pid) = pid else { return Life::Stopped };
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        let is_gate = |task: std::fs::DirEntry| {
            std::fs::read_to_string(task.path().join("comm"))
                .is_ok_and(|name| name.trim() == "ringfence-gate")
        };
        if tasks.into_iter().any(is_gate) { Life::Alive } else { Life::Dead }
    }
}
