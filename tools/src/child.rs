//! Processes that `up` starts, restarts and stops.

use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};

use crate::binance::{API_KEY, API_SECRET};

/// Restarts of one child within [`RESTART_WINDOW`] before `up` gives up.
const MAX_RESTARTS: u32 = 5;
const RESTART_WINDOW: Duration = Duration::from_secs(10);

/// One supervised process of this same binary.
pub struct Supervised {
    name: &'static str,
    args: Vec<String>,
    child: Child,
    restarts: u32,
    window: Instant,
}

impl Supervised {
    /// Starts `ringfence ARGS`; what it prints goes to standard error.
    pub fn start(name: &'static str, args: Vec<String>) -> anyhow::Result<Self> {
        let child = spawn(name, &args)?;
        Ok(Self { name, args, child, restarts: 0, window: Instant::now() })
    }

    /// Whether it has ended, and how.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("cannot wait for {}", self.name))
    }

    /// Starts it again if it ended; `false` when it ends too often to go on.
    pub fn keep_alive(&mut self) -> anyhow::Result<bool> {
        let Some(status) = self.ended()? else { return Ok(true) };
        if self.window.elapsed() > RESTART_WINDOW {
            (self.restarts, self.window) = (0, Instant::now());
        }
        self.restarts += 1;
        if self.restarts > MAX_RESTARTS {
            return Ok(false);
        }
        tracing::warn!(process = self.name, %status, "ended by itself: starting it again");
        self.child = spawn(self.name, &self.args)?;
        Ok(true)
    }

    /// Asks it to stop, waits up to `patience`, then kills it. `None`: it had to be killed.
    pub fn stop(&mut self, patience: Duration) -> anyhow::Result<Option<ExitStatus>> {
        let deadline = Instant::now() + patience;
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It may have ended already: then there is nobody to ask.
            let _ = kill_process(pid, Signal::TERM);
        }
        while Instant::now() < deadline {
            if let Some(status) = self.ended()? {
                return Ok(Some(status));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        tracing::error!(process = self.name, "did not stop in time: killed");
        self.child
            .kill()
            .and_then(|()| self.child.wait())
            .with_context(|| format!("cannot kill {}", self.name))?;
        Ok(None)
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn spawn(name: &'static str, args: &[String]) -> anyhow::Result<Child> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let mut command = Command::new(program);
    if name != "shell" {
        // The exchange's key is for the process that signs with it.
        for secret in API_KEY.iter().chain(&API_SECRET) {
            command.env_remove(secret);
        }
    }
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {name}"))
}
