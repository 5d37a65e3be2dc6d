//! Ringfence's development commands: `cargo xtask help`.
//!
//! No dependencies but our own servers, which have none, so that it builds in a second. Each command runs the project's own tools as steps, shows their
//! output, and exits with 0 only if every step did what it should.

mod bench;
mod fuzz;
mod schemathesis;
mod services;
mod soak;
mod step;
mod tally;
mod test;

use std::path::PathBuf;
use std::process::ExitCode;

use step::Step;

const HELP: &str = "\
cargo xtask <command>

  test               every test: cargo's, the loom models, the accounting check; ends with `N passed, N failed, N skipped`
  loom               the loom models of the rings alone (target/loom)
  soak [--only G..]  the long versions of the proofs (docs/testing.md); hours, unless `--only` names goals
  fuzz [--seconds N] [TARGET..]
                     libFuzzer on every decoder (needs a C++ compiler); new inputs in target/fuzz
  bench [--quick] [--sweep] [--only NAME..] [--dist]
                     the benches; writes target/bench/report.json and report.md (--quick: under a minute;
                     --sweep: instead of the usual rows 1 to 64 strategy processes on one gate;
                     --dist: with fat LTO, as installed)
  services up|down kafka|neo4j|postgres|redis .. [--brokers 1|3]
                     real servers on loopback (docs/services.md)
  ci-lint            rustfmt --check, clippy and rustdoc, warnings refused
  help               this

Examples
  cargo xtask test
  cargo xtask bench --quick --only ring_rtt gate_rtt_64k
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) =
        args.split_first().map_or(("help", &[][..]), |(first, rest)| (first.as_str(), rest));
    if let Err(error) = std::env::set_current_dir(workspace()) {
        eprintln!("xtask: cannot enter the workspace: {error}");
        return ExitCode::FAILURE;
    }
    match (command, rest) {
        ("test", []) => test::all(),
        ("loom", []) => test::loom_only(),
        ("fuzz", rest) => fuzz::run(rest),
        ("soak", rest) => soak::run(rest),
        ("bench", rest) => bench::run(rest),
        ("services", rest) => services::run(rest),
        ("ci-lint", []) => lint(),
        ("help" | "--help" | "-h", _) => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("xtask: cannot run `{}`\n\n{HELP}", args.join(" "));
            ExitCode::FAILURE
        }
    }
}

/// The workspace this program was built in.
fn workspace() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().nth(2).map_or(manifest.clone(), PathBuf::from)
}

fn lint() -> ExitCode {
    // The release profile shares its build scripts and macros with the build that the tests need anyway.
    let steps = [
        Step::cargo("rustfmt", &["fmt", "--all", "--check"]),
        Step::cargo(
            "clippy",
            &["clippy", "--release", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"],
        ),
        Step::cargo("rustdoc", &["doc", "--release", "--workspace", "--no-deps", "--quiet"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    ];
    let failed: Vec<&str> = steps.iter().filter(|step| !step.run()).map(Step::name).collect();
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("FAILED: {}", failed.join(", "));
    ExitCode::FAILURE
}
