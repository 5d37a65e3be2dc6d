//! `up` as a supervisor: what dies is started again, and nothing outlives it.

use std::path::Path;
use std::time::Duration;

use ringfence_tests::http::get;
use ringfence_tests::process::{Process, ringfence};
use ringfence_tests::world::PATIENCE;
use ringfence_tests::{await_that, both_cpus};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Processes whose command line names `dir`, with the command each runs.
fn processes_of(dir: &Path) -> Vec<(i32, String)> {
    let name = dir.display().to_string();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let line = std::fs::read(entry.path().join("cmdline")).ok()?;
            let words: Vec<String> = line
                .split(|byte| *byte == 0)
                .map(|word| String::from_utf8_lossy(word).into_owned())
                .collect();
            words.iter().any(|word| word.contains(&name)).then(|| (pid, words[1].clone()))
        })
        .collect()
}

fn pid_of(dir: &Path, command: &str) -> Option<i32> {
    processes_of(dir).into_iter().find(|(_, runs)| runs == command).map(|(pid, _)| pid)
}

/// `up --demo` on a simulated market, ready.
struct Up {
    process: Process,
    dir: TempDir,
}

impl Up {
    fn start() -> Self {
        let dir = TempDir::with_prefix("ringfence-test-").unwrap();
        let data = dir.path().join("data").display().to_string();
        let args = ["up", "--demo", "--bind", "127.0.0.1:0", "--data", &data];
        let process = Process::start(ringfence(), &args, &dir.path().join("up.log"));
        let up = Self { process, dir };
        await_that("up is ready", PATIENCE, || up.process.said().contains("ringfence is up"));
        up
    }

    fn is_healthy(&self) -> bool {
        let address = std::fs::read_to_string(self.dir.path().join("data/shell.addr")).unwrap_or_default();
        address
            .trim()
            .parse()
            .is_ok_and(|address| get(address, "/api/health").is_ok_and(|answer| answer.status == 200))
    }

    fn run_dir(&self) -> String {
        let config = std::fs::read_to_string(self.dir.path().join("data/core.toml")).unwrap();
        let line = config.lines().find_map(|line| line.strip_prefix("run_dir = ")).unwrap();
        line.trim_matches('"').to_owned()
    }
}

fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

#[test]
fn whatever_is_killed_is_started_again() {
    let _turn = both_cpus();
    let up = Up::start();
    let run_dir = up.run_dir();
    for command in ["core", "shell", "demo", "core"] {
        await_that("everything runs", PATIENCE, || up.is_healthy());
        let before = pid_of(up.dir.path(), command);
        let before = match (before, command) {
            // The demo is told its socket, not its data.
            (None, "demo") => pid_of(Path::new(&run_dir), "demo").expect("the demo runs"),
            (found, _) => found.unwrap_or_else(|| panic!("no {command} runs")),
        };
        kill(before);
        let dir = if command == "demo" { Path::new(&run_dir) } else { up.dir.path() };
        await_that("it is started again", PATIENCE, || pid_of(dir, command).is_some_and(|pid| pid != before));
        await_that("everything runs again", PATIENCE, || up.is_healthy());
    }
    let (dir, process) = (up.dir, up.process);
    assert!(process.stop(PATIENCE).success());
    assert_eq!(processes_of(dir.path()), [], "nothing outlives it");
    assert!(!Path::new(&run_dir).exists(), "{run_dir} was left behind");
}

#[test]
fn a_killed_supervisor_takes_everything_along() {
    let _turn = both_cpus();
    let up = Up::start();
    let run_dir = up.run_dir();
    await_that("everything runs", PATIENCE, || up.is_healthy());
    std::thread::sleep(Duration::from_millis(200));
    let (dir, process) = (up.dir, up.process);
    process.kill();
    await_that("its processes end", PATIENCE, || {
        processes_of(dir.path()).is_empty() && processes_of(Path::new(&run_dir)).is_empty()
    });
    assert!(!Path::new(&run_dir).exists(), "the gate stopped in good order: {run_dir} is gone");
}
