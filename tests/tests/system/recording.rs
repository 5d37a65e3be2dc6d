//! The whole product over a recorded market.

use std::path::{Path, PathBuf};
use std::process::Command;

use ringfence_tests::process::{run, workspace};
use ringfence_tests::{both_cpus, skipped};
use serde_json::Value;
use tempfile::TempDir;

/// Events of the recorded hour that the product must reproduce.
const RECORDED_EVENTS: u64 = 41_249;

/// The recording, or a loud line that says what was not tested.
fn recording(test: &str) -> Option<PathBuf> {
    let beside = workspace().parent().map(|parent| parent.join("shared/data"));
    let dirs = [std::env::var_os("RINGFENCE_DATA").map(PathBuf::from), beside];
    let found =
        dirs.into_iter().flatten().map(|dir| dir.join("btcusdt_20240808.gz")).find(|path| path.is_file());
    if found.is_none() {
        skipped(test, "no btcusdt_20240808.gz: set RINGFENCE_DATA to the directory that holds it");
    }
    found
}

/// What is left of a stopped run.
struct Run {
    state: TempDir,
    summary: Value,
    text: String,
    said: String,
}

impl Run {
    /// `up ARGS` to its own end.
    fn up(args: &[&str]) -> Self {
        let state = TempDir::with_prefix("ringfence-test-").unwrap();
        let mut all = vec!["up", "--json", "--bind", "127.0.0.1:0", "--for", "60s"];
        all.extend(args);
        let output = run(&all, &[("RINGFENCE_STATE_DIR", state.path())]);
        let said = plain(&output.stderr);
        assert!(output.status.success(), "up failed: {said}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.lines().count(), 1, "one JSON line: {text}");
        let summary = serde_json::from_str(&text).unwrap();
        Self { state, summary, text, said }
    }

    fn count(&self, name: &str) -> u64 {
        self.summary[name].as_u64().unwrap_or_else(|| panic!("no count {name} in {}", self.text))
    }

    fn tool(&self, args: &[&str]) -> String {
        let output = run(args, &[("RINGFENCE_STATE_DIR", self.state.path())]);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The books, computed again from the exported journal by code of another language.
    fn recompute(&self) {
        let export = self.state.path().join("journal.ndjson");
        std::fs::write(&export, self.tool(&["journal", "export"])).unwrap();
        let summary = self.state.path().join("summary.json");
        std::fs::write(&summary, &self.text).unwrap();
        let script = workspace().join("tests/accounting/recompute.py");
        let output = Command::new("python3").arg(script).arg(&export).arg("--summary").arg(&summary).output();
        let output = output.expect("python3 is installed");
        assert!(output.status.success(), "the books disagree: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Nothing of the run still lives: no process that names its directory, nothing on tmpfs.
    fn left_nothing(&self) {
        let name = self.state.path().display().to_string();
        let alive = processes().into_iter().filter(|(_, line)| line.contains(&name)).collect::<Vec<_>>();
        assert!(alive.is_empty(), "still running: {alive:?}");
        let config = std::fs::read_to_string(self.state.path().join("runs/latest/core.toml")).unwrap();
        let run_dir = config.lines().find_map(|line| line.strip_prefix("run_dir = ")).unwrap();
        let run_dir = run_dir.trim_matches('"');
        assert!(
            run_dir.starts_with("/dev/shm/") && !Path::new(run_dir).exists(),
            "{run_dir} was left behind"
        );
    }
}

/// What a process said, without colours.
fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut parts = text.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |said, part| said + part.split_once('m').map_or("", |(_, rest)| rest))
}

fn processes() -> Vec<(String, String)> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| {
            let line = std::fs::read(entry.path().join("cmdline")).ok()?;
            Some((entry.file_name().into_string().ok()?, String::from_utf8_lossy(&line).into_owned()))
        })
        .filter(|(pid, _)| pid.parse::<u32>().is_ok_and(|pid| pid != std::process::id()))
        .collect()
}

#[test]
fn up_on_the_recording() {
    let Some(recording) = recording("up_on_the_recording") else { return };
    let _turn = both_cpus();
    let run = Run::up(&["--demo", "--speed", "max", "--replay", recording.to_str().unwrap()]);
    assert_eq!(run.count("market_events"), RECORDED_EVENTS);
    assert!(run.count("fills") > 0 && run.count("accepted") > 0, "{}", run.text);
    assert_eq!(run.count("malformed_messages"), 0, "{}", run.text);
    run.recompute();
    run.left_nothing();
    println!("up_on_the_recording: {} fills", run.count("fills"));
}

#[test]
fn lockstep_twice_same_hash_and_replay_gives_that_hash() {
    let Some(recording) = recording("lockstep_twice_same_hash_and_replay_gives_that_hash") else { return };
    let _turn = both_cpus();
    let lockstep = |seed: &str| {
        Run::up(&[
            "--demo",
            "--lockstep",
            "--seed",
            seed,
            "--speed",
            "max",
            "--replay",
            recording.to_str().unwrap(),
        ])
    };
    let (first, second) = (lockstep("1"), lockstep("1"));
    assert_eq!(first.count("market_events"), RECORDED_EVENTS);
    assert!(first.count("fills") > 0);
    assert_eq!(first.summary["state_hash"], second.summary["state_hash"], "{}\n{}", first.text, second.text);
    for name in ["intents", "accepted", "rejected", "fills", "pnl", "positions"] {
        assert_eq!(first.summary[name], second.summary[name], "{name}");
    }
    assert_eq!(exported(&first), exported(&second), "the same decisions, record by record");
    let replayed: Value = serde_json::from_str(&first.tool(&["replay", "--json"])).unwrap();
    assert_eq!(replayed["state_hash"], first.summary["state_hash"]);
    assert_eq!(replayed["mismatches"], 0);
    assert!(replayed["decisions"].as_u64().unwrap() > 0);
    first.recompute();
    println!(
        "lockstep: {} twice, replay decided {} again",
        first.summary["state_hash"], replayed["decisions"]
    );
}

/// The exported journal without who attached when, which is the operating system's choice, and thus without positions.
fn exported(run: &Run) -> Vec<Value> {
    let journal = run.tool(&["journal", "export"]);
    let records = journal.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut records: Vec<Value> = records.filter(|record| record["kind"] != "attach").collect();
    for record in &mut records {
        record["pos"] = Value::Null;
    }
    records
}

/// Lines that a recorder could leave behind, none of them an event.
const GARBAGE: [&str; 8] = [
    "",
    "garbage",
    "1723075200000000000",
    "1723075200000000000 {",
    "1723075200000000000 {\"stream\":\"btcusdt@trade\",\"data\":{\"e\":\"trade\",\"p\":\"NaN\",\"q\":\"1\"}}",
    "x {\"stream\":\"btcusdt@trade\",\"data\":{}}",
    "1723075200000000000 [1,2,3]",
    "\u{1}\u{2}\u{3}",
];

#[test]
fn malformed_lines_are_counted_and_skipped() {
    let Some(recording) = recording("malformed_lines_are_counted_and_skipped") else { return };
    let _turn = both_cpus();
    let dir = TempDir::with_prefix("ringfence-test-").unwrap();
    let unpacked = Command::new("gzip").arg("-dc").arg(&recording).output().unwrap();
    let text = String::from_utf8_lossy(&unpacked.stdout);
    let good: Vec<&str> = text.lines().take(2000).collect();
    let (clean, dirty) = (dir.path().join("clean"), dir.path().join("dirty"));
    std::fs::write(&clean, good.join("\n") + "\n").unwrap();
    let mut lines = Vec::new();
    for (at, line) in good.iter().enumerate() {
        lines.push(*line);
        if at % 250 == 100 {
            lines.push(GARBAGE[at / 250]);
        }
    }
    std::fs::write(&dirty, lines.join("\n") + "\n").unwrap();
    let play = |path: &Path| Run::up(&["--demo", "--speed", "max", "--replay", path.to_str().unwrap()]);
    let (clean, dirty) = (play(&clean), play(&dirty));
    // Every line is an event with a number of its own, so that numbers do not depend on what could be read.
    assert_eq!((clean.count("market_events"), dirty.count("market_events")), (2000, 2008));
    assert!(clean.said.contains("malformed=0"), "{}", clean.said);
    assert!(dirty.said.contains("malformed=8"), "{}", dirty.said);
    assert_eq!((clean.count("malformed_messages"), dirty.count("malformed_messages")), (0, 0));
    assert_eq!((clean.count("malformed_lines"), dirty.count("malformed_lines")), (0, 8));
    dirty.recompute();
    dirty.left_nothing();
}
