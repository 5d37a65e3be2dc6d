//! `cargo xtask fuzz`: builds the decoders instrumented for coverage, and runs libFuzzer on each.

use std::process::ExitCode;

use crate::step::Step;

/// Every decoder, as `tests/src/fuzz.rs` lists them.
const TARGETS: [&str; 12] = [
    "messages",
    "ring",
    "journal_record",
    "handshake",
    "segment_header",
    "hot_ring",
    "archive",
    "order_body",
    "binance",
    "decimal",
    "config",
    "dag_json",
];
/// Coverage as libFuzzer reads it. All of these are stable options of the compiler; address checks are not, but the
/// decoders hold no `unsafe`, and overflow checks and debug assertions are on.
const FLAGS: &str = "--cfg fuzzing -C target-cpu=x86-64-v3 -C passes=sancov-module \
    -C llvm-args=-sanitizer-coverage-level=4 -C llvm-args=-sanitizer-coverage-inline-8bit-counters \
    -C llvm-args=-sanitizer-coverage-pc-table -C llvm-args=-sanitizer-coverage-trace-compares";
const HOST: &str = "x86_64-unknown-linux-gnu";

/// `[--seconds N] [TARGET..]`: so long for each decoder, 60 s and all of them unless told otherwise.
pub fn run(args: &[String]) -> ExitCode {
    let (seconds, names) = match args {
        [flag, seconds, names @ ..] if flag == "--seconds" => (seconds.as_str(), names),
        names => ("60", names),
    };
    if seconds.parse::<u32>().is_err() || names.iter().any(|name| !TARGETS.contains(&name.as_str())) {
        eprintln!("xtask: fuzz [--seconds N] [TARGET..], of {}", TARGETS.join(" "));
        return ExitCode::FAILURE;
    }
    // Naming the host keeps the flags off build scripts and macros, which have no fuzzer to link to.
    let build = [
        "build",
        "--release",
        "--manifest-path",
        "fuzz/Cargo.toml",
        "--target",
        HOST,
        "--target-dir",
        "target/fuzz",
    ];
    if !Step::cargo("build", &build).env("RUSTFLAGS", FLAGS).run() {
        return ExitCode::FAILURE;
    }
    let program = format!("target/fuzz/{HOST}/release/decoder");
    let chosen = TARGETS.iter().filter(|target| names.is_empty() || names.iter().any(|name| name == *target));
    let broken: Vec<&str> = chosen.filter(|target| !fuzz(&program, target, seconds)).copied().collect();
    if broken.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("FAILED: {}; the input lies in target/fuzz", broken.join(", "));
    ExitCode::FAILURE
}

fn fuzz(program: &str, target: &str, seconds: &str) -> bool {
    let (found, kept) = (format!("target/fuzz/corpus/{target}"), format!("fuzz/corpus/{target}"));
    if let Err(error) = std::fs::create_dir_all(&found) {
        eprintln!("xtask: {found}: {error}");
        return false;
    }
    let time = format!("-max_total_time={seconds}");
    // New inputs go where git does not look; `-merge=1` brings the few that matter into the kept corpus.
    let args = [
        found.as_str(),
        &kept,
        &time,
        "-max_len=8192",
        "-timeout=5",
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
        "-artifact_prefix=target/fuzz/",
    ];
    Step::new("fuzz", program, &args).env("RINGFENCE_FUZZ_TARGET", target).run()
}
