//! One server process. What is known about it lies in its folder, so that another process can stop it.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const LOOK_EVERY: Duration = Duration::from_millis(50);
/// What of its words is shown when it does not start, bytes.
const TAIL_BYTES: u64 = 2000;

/// A started server.
#[derive(Debug)]
pub struct Node {
    child: Child,
    dir: PathBuf,
}

impl Node {
    /// Starts `command` in a process group of its own; what it says is appended to `dir/out.log`, its pid stands in
    /// `dir/pid`. Waits until it has said `ready`.
    ///
    /// # Errors
    /// What it said last, when it ended or took longer than `patience`.
    pub fn start(mut command: Command, dir: &Path, ready: &str, patience: Duration) -> Result<Self, String> {
        let log = dir.join("out.log");
        let cannot = |error: std::io::Error| format!("{}: {error}", dir.display());
        let out = OpenOptions::new().create(true).append(true).open(&log).map_err(cannot)?;
        let from = out.metadata().map_err(cannot)?.len();
        command.stdin(Stdio::null()).stdout(out.try_clone().map_err(cannot)?).stderr(out).process_group(0);
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().map_err(|error| format!("{program} does not start: {error}"))?;
        let mut node = Self { child, dir: dir.to_owned() };
        std::fs::write(dir.join("pid"), node.pid().to_string()).map_err(cannot)?;
        let deadline = Instant::now() + patience;
        loop {
            let said = read_from(&log, from);
            if said.contains(ready) {
                return Ok(node);
            }
            let ended = node.child.try_wait().map_err(cannot)?;
            if ended.is_some() || Instant::now() >= deadline {
                node.kill();
                let end = ended.map_or("took too long".to_owned(), |status| format!("ended with {status}"));
                let tail = read_from(&log, from.max(from + (said.len() as u64).saturating_sub(TAIL_BYTES)));
                return Err(format!("{program} {end}; see {}:\n{tail}", log.display()));
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        // Only a process that is gone already cannot be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(self.dir.join("pid"));
    }
}

fn read_from(path: &Path, from: u64) -> String {
    let mut said = Vec::new();
    let read = File::open(path).and_then(|mut file| {
        file.seek(SeekFrom::Start(from))?;
        file.read_to_end(&mut said)
    });
    read.map_or(String::new(), |_| String::from_utf8_lossy(&said).into_owned())
}

/// Whether the server in `dir` runs: a process with its pid, whose command line names the folder.
#[must_use]
pub fn running(dir: &Path) -> Option<u32> {
    let pid: u32 = std::fs::read_to_string(dir.join("pid")).ok()?.trim().parse().ok()?;
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    // A pid is given out again: another program's is left alone.
    String::from_utf8_lossy(&line).contains(&*dir.to_string_lossy()).then_some(pid)
}

/// Asks the server in `dir` to stop, kills it when it does not. `false`: none ran.
///
/// # Errors
/// When it cannot be ended.
pub fn stop(dir: &Path, patience: Duration) -> Result<bool, String> {
    stop_by(dir, "-TERM", patience)
}

/// The same, asked by another signal.
///
/// # Errors
/// When it cannot be ended.
pub fn stop_by(dir: &Path, signal: &str, patience: Duration) -> Result<bool, String> {
    let Some(pid) = running(dir) else { return Ok(false) };
    for signal in [signal, "-KILL"] {
        let sent = Command::new("kill").args([signal, &pid.to_string()]).status();
        sent.map_err(|error| format!("kill cannot be run: {error}"))?;
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if running(dir).is_none() {
                // The file may be gone with the server's own parent.
                let _ = std::fs::remove_file(dir.join("pid"));
                return Ok(true);
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
    Err(format!("process {pid} does not end: end it by hand"))
}
