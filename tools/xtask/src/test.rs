//! `cargo xtask test`: every test this machine can run.

use std::path::Path;
use std::process::ExitCode;

use crate::schemathesis;
use crate::step::{Step, built};
use crate::tally::Tally;

/// Cargo's tests, the loom models and the accounting check.
pub fn all() -> ExitCode {
    let mut tally = Tally::default();
    cargo_tests(&mut tally);
    loom(&mut tally);
    python_tests(&mut tally);
    finish(&tally)
}

/// The loom models alone.
pub fn loom_only() -> ExitCode {
    let mut tally = Tally::default();
    loom(&mut tally);
    finish(&tally)
}

fn finish(tally: &Tally) -> ExitCode {
    println!("{}", tally.summary());
    if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Release, like the program the tests start: one build serves both.
fn cargo_tests(tally: &mut Tally) {
    if !Step::cargo("build", &["build", "--release", "--workspace", "--bins"]).run() {
        tally.fail("build: the workspace does not compile");
        return;
    }
    // Whole-system tests start the one binary as processes.
    let binary = built("release", "ringfence");
    // --show-output lets a test that cannot run here say so.
    let args = ["test", "--release", "--workspace", "--no-fail-fast", "--", "--show-output"];
    let mut step = Step::cargo("cargo tests", &args).env("RINGFENCE_BIN", &binary);
    // Without it the tests that need it say that they were skipped; why stands beside them at the end.
    match schemathesis::installed() {
        Ok(program) => step = step.env(schemathesis::VARIABLE, &program),
        Err(why) => tally.skip(&why),
    }
    counted(&step, tally);
}

/// The rings under loom's scheduler. `--cfg loom` changes every crate, so it builds apart; RUSTFLAGS replaces the
/// flags of `.cargo/config.toml`, so the target CPU is named again.
fn loom(tally: &mut Tally) {
    if !Path::new("ipc/tests/loom.rs").exists() {
        tally.skip("loom models: ipc/tests/loom.rs is not there");
        return;
    }
    let args =
        ["test", "--release", "--package", "ringfence-ipc", "--test", "loom", "--target-dir", "target/loom"];
    counted(&Step::cargo("loom", &args).env("RUSTFLAGS", "--cfg loom -C target-cpu=x86-64-v3"), tally);
}

fn python_tests(tally: &mut Tally) {
    let known = std::process::Command::new("python3").arg("--version").output();
    if !known.is_ok_and(|output| output.status.success()) {
        tally.skip("accounting check: python3 is not installed (apt-get install python3)");
        return;
    }
    let args = ["-m", "unittest", "discover", "--start-directory", "tests/accounting"];
    counted(&Step::new("accounting check", "python3", &args), tally);
}

/// Runs the step and adds its own summary; a runner that dies without one is a failure of its own.
fn counted(step: &Step, tally: &mut Tally) {
    let failed_before = tally.failed;
    let succeeded = step.run_seen(&mut |line| tally.see(line));
    if !succeeded && tally.failed == failed_before {
        tally.fail(&format!("{}: ended without a summary", step.name()));
    }
}
