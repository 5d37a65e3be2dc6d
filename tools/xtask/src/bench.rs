//! `cargo xtask bench`: builds the bench program and runs it.

use std::process::ExitCode;

use crate::step::{Step, built};

/// Hands everything but `--dist` to the bench program.
pub fn run(args: &[String]) -> ExitCode {
    let (dist, rest): (Vec<String>, Vec<String>) = args.iter().cloned().partition(|arg| arg == "--dist");
    let profile = if dist.is_empty() { "release" } else { "dist" };
    let build = Step::cargo("build", &["build", "--profile", profile, "--package", "ringfence-bench"]);
    let bench = Step::new("bench", &built(profile, "ringfence-bench"), &[]).args(&rest);
    if build.run() && bench.run() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
