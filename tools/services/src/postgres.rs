//! PostgreSQL from the system's packages: one server with a data directory of its own.
//!
//! It refuses to run as root: then it runs as user `postgres` (or `nobody`), and its folder becomes that user's.

use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::node::{self, Node};
use crate::port;

/// Where a port is looked for.
pub const FIRST_PORT: u16 = 19_432;
/// Its superuser, without a password on loopback, and the first database.
pub const USER: &str = "ringfence";
const PATIENCE: Duration = Duration::from_secs(60);
const STOP_PATIENCE: Duration = Duration::from_secs(20);
const PACKAGES: &str = "/usr/lib/postgresql";
const MISSING: &str = "PostgreSQL is not installed (apt-get install postgresql)";

/// A server that lives and dies with this value, and can be killed and started again.
#[derive(Debug)]
pub struct Postgres {
    programs: PathBuf,
    dir: PathBuf,
    port: u16,
    user: Option<User>,
    node: Option<Node>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct User {
    uid: u32,
    gid: u32,
}

/// Where its programs are: the newest version that is installed.
///
/// # Errors
/// How to install it.
pub fn programs() -> Result<PathBuf, String> {
    let versions = std::fs::read_dir(PACKAGES).into_iter().flatten().flatten();
    let versions = versions.filter_map(|entry| entry.file_name().to_string_lossy().parse::<u32>().ok());
    let path = |version: u32| Path::new(PACKAGES).join(version.to_string()).join("bin");
    let mut found: Vec<u32> = versions.filter(|version| path(*version).join("initdb").exists()).collect();
    found.sort_unstable();
    found.pop().map(path).ok_or_else(|| MISSING.to_owned())
}

impl Postgres {
    /// Sets up a data directory below `dir`, unless an earlier call left one, starts the server and waits until it serves.
    ///
    /// # Errors
    /// What is missing or went wrong, and what to do.
    pub fn start(dir: &Path, first_port: u16) -> Result<Self, String> {
        let programs = programs()?;
        let port = port::free(1, first_port)?[0];
        let cannot = |error: std::io::Error| format!("{}: {error}", dir.display());
        std::fs::create_dir_all(dir).map_err(cannot)?;
        let root = std::fs::metadata("/proc/self").map_err(cannot)?.uid() == 0;
        let user = if root { Some(other_user()?) } else { None };
        if let Some(user) = &user {
            chown(dir, Some(user.uid), Some(user.gid)).map_err(cannot)?;
        }
        let mut server = Self { programs, dir: dir.to_owned(), port, user, node: None };
        server.set_up()?;
        server.restart()?;
        Ok(server)
    }

    /// Its address; the database `postgres` is always there.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgresql://{USER}@127.0.0.1:{}/{database}", self.port)
    }

    /// Its folder, with the Unix socket in it.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its main process, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.node.as_ref().map(Node::pid)
    }

    /// Says a statement by `psql`; answers with what it prints, rows in lines, values parted by `|`.
    ///
    /// # Errors
    /// What it complains about.
    pub fn psql(&self, database: &str, statement: &str) -> Result<String, String> {
        let url = self.url(database);
        let said = Command::new(self.programs.join("psql"))
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statement, &url])
            .output();
        let said = said.map_err(|error| format!("psql does not start: {error}"))?;
        if said.status.success() {
            return Ok(String::from_utf8_lossy(&said.stdout).trim_end().to_owned());
        }
        Err(String::from_utf8_lossy(&said.stderr).into_owned())
    }

    /// Ends all of its processes at once, as a crash of the machine would; its data stays.
    pub fn kill(&mut self) {
        let Some(mut node) = self.node.take() else { return };
        let pid = node.pid();
        // Stopped first, so that it starts no more of them.
        signal("-STOP", &[pid.to_string()]);
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children: Vec<String> =
            children.unwrap_or_default().split_whitespace().map(str::to_owned).collect();
        node.kill();
        signal("-KILL", &children);
        // One that is still on its way out holds the shared memory, and the next server would not start.
        let deadline = Instant::now() + STOP_PATIENCE;
        while children.iter().any(|pid| is_there(pid)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Starts a server that was killed and waits until it serves.
    ///
    /// # Errors
    /// What it said last.
    pub fn restart(&mut self) -> Result<(), String> {
        self.kill();
        let mut command = self.run("postgres");
        command.arg("-D").arg(self.dir.join("data")).arg("-p").arg(self.port.to_string());
        command.arg("-k").arg(&self.dir);
        for setting in ["listen_addresses=127.0.0.1", "max_connections=80", "shared_buffers=32MB"] {
            command.args(["-c", setting]);
        }
        let ready = "database system is ready to accept connections";
        self.node = Some(Node::start(command, &self.dir, ready, PATIENCE)?);
        Ok(())
    }

    /// Leaves the server running; [`stop`] ends it.
    pub fn leave(mut self) {
        drop(self.node.take());
    }

    fn set_up(&self) -> Result<(), String> {
        let data = self.dir.join("data");
        if data.join("PG_VERSION").exists() {
            return Ok(());
        }
        let done = self
            .run("initdb")
            .args(["-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "-D"])
            .arg(&data)
            .output();
        let done = done.map_err(|error| format!("initdb does not start: {error}"))?;
        if done.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&done.stderr);
        Err(format!(
            "no data directory {}: {said}(its user must be able to enter the folder)",
            data.display()
        ))
    }

    /// A program of it, as the user it takes. `setpriv` becomes the program: the pid stays.
    fn run(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        let mut command = match &self.user {
            None => Command::new(program),
            Some(user) => {
                let mut command = Command::new("setpriv");
                command.arg(format!("--reuid={}", user.uid)).arg(format!("--regid={}", user.gid));
                command.args(["--clear-groups", "--"]).arg(program);
                command
            }
        };
        // The caller's folder may be closed to that user.
        command.current_dir(&self.dir).env("LC_ALL", "C");
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whoever is gone already needs none.
fn signal(name: &str, pids: &[String]) {
    if !pids.is_empty() {
        let _ = Command::new("kill").arg(name).args(pids).output();
    }
}

/// A process that has ended has no command line, also while nobody has asked for its end yet.
fn is_there(pid: &str) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

fn other_user() -> Result<User, String> {
    let users = std::fs::read_to_string("/etc/passwd").map_err(|error| format!("/etc/passwd: {error}"))?;
    let found = ["postgres", "nobody"].into_iter().find_map(|name| user(&users, name));
    found.ok_or_else(|| {
        "there is no user `postgres` or `nobody`, and PostgreSQL refuses root: add one".to_owned()
    })
}

fn user(users: &str, name: &str) -> Option<User> {
    let mut fields =
        users.lines().map(|line| line.split(':')).find(|fields| fields.clone().next() == Some(name))?;
    let uid = fields.nth(2)?.parse().ok()?;
    Some(User { uid, gid: fields.next()?.parse().ok()? })
}

/// Stops the server in `dir` that another process left running. `false`: none ran.
///
/// # Errors
/// When it does not end.
pub fn stop(dir: &Path) -> Result<bool, String> {
    // To this signal it ends its clients' sessions and itself; to SIGTERM it would wait for them.
    node::stop_by(dir, "-INT", STOP_PATIENCE)
}

/// Whether the server in `dir` runs.
#[must_use]
pub fn runs(dir: &Path) -> bool {
    node::running(dir).is_some()
}

#[cfg(test)]
mod tests {
    use super::{User, user};

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let users = "postgres2:x:1:1::/:\npostgres:x:101:104::/:\nbroken:x\n";
        assert_eq!(user(users, "postgres"), Some(User { uid: 101, gid: 104 }));
        assert_eq!(user(users, "broken"), None);
        assert_eq!(user(users, "nobody"), None);
    }
}
