//! Processes of the product: found or built once, started with their messages in a file, stopped by pid.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// The product's binary: `$RINGFENCE_BIN`, or built beside this test, in the same profile.
///
/// # Panics
/// When it cannot be built.
pub fn ringfence() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        if let Some(path) = std::env::var_os("RINGFENCE_BIN") {
            return path.into();
        }
        // target/<profile>/deps/system-0123456789abcdef
        let test = std::env::current_exe().expect("this test has a path");
        let profile = test.parent().and_then(Path::parent).expect("tests lie in target/<profile>/deps");
        let name = profile.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let mut build = Command::new(env!("CARGO"));
        build.args([
            "build",
            "--quiet",
            "--package",
            "ringfence",
            "--bin",
            "ringfence",
            "--features",
            "kafka",
            "--target-dir",
        ]);
        build.arg(profile.parent().expect("a profile lies in a target directory"));
        if name != "debug" {
            build.args(["--profile", &name]);
        }
        let built = build.current_dir(workspace()).status().expect("cargo runs");
        assert!(built.success(), "the product does not build");
        profile.join("ringfence")
    })
}

/// The workspace's root.
#[must_use]
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/"))
}

/// A child process. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `program ARGS`; what it says on standard error is appended to `log`.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(program: &Path, args: &[&str], log: &Path) -> Self {
        let said = OpenOptions::new().create(true).append(true).open(log).expect("a log can be opened");
        let child = Command::new(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(said)
            .spawn()
            .expect("the program starts");
        Self { child, log: log.to_owned() }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it with SIGKILL and waits for its end.
    ///
    /// # Panics
    /// When it ended by itself before: then something else went wrong.
    pub fn kill(mut self) {
        let ended = self.child.try_wait().expect("a child can be waited for");
        assert!(ended.is_none(), "ended by itself with {ended:?}:\n{}", self.said());
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a child can be waited for");
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it cannot be sent.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a child has a pid");
        kill_process(pid, signal).expect("a child can be signalled");
    }

    /// Asks it to stop with SIGTERM and returns how it ended.
    ///
    /// # Panics
    /// When it does not end within `patience`.
    pub fn stop(mut self, patience: Duration) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait(patience)
    }

    /// [`favour`] for its thread `name`.
    ///
    /// # Panics
    /// When it has no such thread.
    #[must_use]
    pub fn favour_thread(&self, name: &str) -> bool {
        let tasks =
            std::fs::read_dir(format!("/proc/{}/task", self.pid())).expect("a running process has threads");
        let named =
            |dir: &Path| std::fs::read_to_string(dir.join("comm")).is_ok_and(|comm| comm.trim() == name);
        let task =
            tasks.flatten().map(|entry| entry.path()).find(|path| named(path)).expect("the thread is there");
        task.file_name().and_then(|id| id.to_str()?.parse().ok()).is_some_and(favour)
    }

    /// Memory it has in RAM, bytes.
    ///
    /// # Panics
    /// When it is gone.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        let path = format!("/proc/{}/statm", self.pid());
        let statm = std::fs::read_to_string(path).expect("a running process has its numbers");
        let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
        pages.expect("the kernel's format") * rustix::param::page_size() as u64
    }

    /// Closes its standard input, which tells a hammer to finish.
    pub fn close_input(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// When it does not end within `patience`.
    pub fn wait(&mut self, patience: Duration) -> ExitStatus {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status;
            }
            assert!(Instant::now() < deadline, "did not end within {patience:?}:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// What it has said so far.
    #[must_use]
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.is_running() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Set when this process's standard input ends: when whoever started it wants its end, or is gone.
#[must_use]
pub fn until_input_ends() -> Arc<AtomicBool> {
    use std::io::Read as _;
    let stop = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&stop);
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        ended.store(true, Ordering::Relaxed);
    });
    stop
}

/// Puts a thread before everything else on its CPU (`SCHED_FIFO`), so that other work on a shared machine does not
/// count. `false`: this user may not.
#[must_use]
pub fn favour(thread_id: i32) -> bool {
    let id = thread_id.to_string();
    let chrt = Command::new("chrt").args(["--fifo", "--pid", "1", &id]).stderr(Stdio::null()).status();
    chrt.is_ok_and(|status| status.success())
}

/// Runs the product to its end.
///
/// # Panics
/// When it cannot be started.
pub fn run(args: &[&str], environment: &[(&str, &Path)]) -> Output {
    let mut command = Command::new(ringfence());
    command.args(args).stdin(Stdio::null());
    for (name, value) in environment {
        command.env(name, value);
    }
    command.output().expect("the product starts")
}
