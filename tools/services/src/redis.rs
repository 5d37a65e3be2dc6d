//! Redis from the system's packages: one server that keeps everything in memory.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::node::{self, Node};
use crate::port;

/// Where a port is looked for.
pub const FIRST_PORT: u16 = 19_379;
const PATIENCE: Duration = Duration::from_secs(30);
const STOP_PATIENCE: Duration = Duration::from_secs(10);
const MISSING: &str = "Redis is not installed (apt-get install redis-server)";

/// A server that lives and dies with this value, and can be killed and started again, empty.
#[derive(Debug)]
pub struct Redis {
    dir: PathBuf,
    port: u16,
    node: Option<Node>,
}

/// Whether it is there.
///
/// # Errors
/// How to install it.
pub fn found() -> Result<(), String> {
    let asked = Command::new("redis-server").arg("--version").output();
    if asked.is_ok_and(|said| said.status.success()) { Ok(()) } else { Err(MISSING.to_owned()) }
}

impl Redis {
    /// Starts it in `dir` and waits until it serves.
    ///
    /// # Errors
    /// What is missing or went wrong, and what to do.
    pub fn start(dir: &Path, first_port: u16) -> Result<Self, String> {
        found()?;
        let port = port::free(1, first_port)?[0];
        std::fs::create_dir_all(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        let mut server = Self { dir: dir.to_owned(), port, node: None };
        server.restart()?;
        Ok(server)
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Its process, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.node.as_ref().map(Node::pid)
    }

    /// Says a command by `redis-cli`; answers with what it prints.
    ///
    /// # Errors
    /// What it complains about.
    pub fn cli(&self, words: &[&str]) -> Result<String, String> {
        let said = Command::new("redis-cli").args(["-p", &self.port.to_string()]).args(words).output();
        let said = said.map_err(|error| format!("redis-cli does not start: {error}"))?;
        if said.status.success() {
            return Ok(String::from_utf8_lossy(&said.stdout).trim_end().to_owned());
        }
        Err(String::from_utf8_lossy(&said.stderr).into_owned())
    }

    /// Ends it as a crash would; what it held is lost.
    pub fn kill(&mut self) {
        if let Some(mut node) = self.node.take() {
            node.kill();
        }
    }

    /// Starts a server that was killed and waits until it serves.
    ///
    /// # Errors
    /// What it said last.
    pub fn restart(&mut self) -> Result<(), String> {
        self.kill();
        let socket = self.dir.join("redis.sock");
        let mut command = Command::new("redis-server");
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"]);
        command.args(["--save", "", "--appendonly", "no", "--daemonize", "no"]);
        // Its command line names the folder then, by which it is known again.
        command.args(["--set-proc-title", "no"]);
        command.arg("--unixsocket").arg(socket).arg("--dir").arg(&self.dir);
        self.node = Some(Node::start(command, &self.dir, "Ready to accept connections", PATIENCE)?);
        Ok(())
    }

    /// Leaves the server running; [`stop`] ends it.
    pub fn leave(mut self) {
        drop(self.node.take());
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Stops the server in `dir` that another process left running. `false`: none ran.
///
/// # Errors
/// When it does not end.
pub fn stop(dir: &Path) -> Result<bool, String> {
    node::stop(dir, STOP_PATIENCE)
}

/// Whether the server in `dir` runs.
#[must_use]
pub fn runs(dir: &Path) -> bool {
    node::running(dir).is_some()
}
