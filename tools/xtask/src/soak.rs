//! `cargo xtask soak`: the long versions of the proofs, with the sizes that `docs/testing.md` promises.

use std::process::ExitCode;
use std::time::Instant;

use crate::schemathesis;
use crate::step::{Step, built};
use crate::tally::Tally;

/// One goal's long run: tests of one target, chosen by name, at these sizes.
struct Row {
    goal: &'static str,
    package: &'static str,
    /// Cargo's choice of target.
    target: &'static [&'static str],
    /// Part of the tests' names.
    filter: &'static str,
    sizes: &'static [(&'static str, &'static str)],
}

const LIB: &[&str] = &["--lib"];
const MEMORY: &[&str] = &["--test", "memory"];
const SYSTEM: &[&str] = &["--test", "system"];

const ROWS: &[Row] = &[
    Row {
        goal: "G1",
        package: "ringfence-tests",
        target: SYSTEM,
        filter: "kills::",
        sizes: &[
            ("RINGFENCE_KILLS", "10000"),
            ("RINGFENCE_POWER_KILLS", "1000"),
            ("RINGFENCE_STRATEGY_KILLS", "1000"),
        ],
    },
    Row {
        goal: "G1",
        package: "ringfence-core",
        target: LIB,
        filter: "g1_",
        sizes: &[("RINGFENCE_G1_POWER_SEEDS", "200"), ("RINGFENCE_JOURNAL_KILLS", "1000")],
    },
    Row {
        goal: "G2",
        package: "ringfence-core",
        target: LIB,
        filter: "g2_",
        sizes: &[("RINGFENCE_G2_CASES", "2000000")],
    },
    Row {
        goal: "G3",
        package: "ringfence-core",
        target: LIB,
        filter: "g3_",
        sizes: &[("RINGFENCE_G3_SEEDS", "10000")],
    },
    Row {
        goal: "G4",
        package: "ringfence-ipc",
        target: MEMORY,
        filter: "g4_",
        sizes: &[("RINGFENCE_G4_EXECUTIONS", "1000000000")],
    },
    Row {
        goal: "G4",
        package: "ringfence-core",
        target: LIB,
        filter: "g4_",
        sizes: &[("RINGFENCE_G4_PASSES", "50000000")],
    },
    Row { goal: "G6", package: "ringfence-ipc", target: MEMORY, filter: "g6_", sizes: &[] },
    Row {
        goal: "G7",
        package: "ringfence-ipc",
        target: MEMORY,
        filter: "g7_",
        sizes: &[("RINGFENCE_G7_STRESS_MS", "60000"), ("RINGFENCE_G7_WAKES", "2000000")],
    },
    Row {
        goal: "G9",
        package: "ringfence-core",
        target: LIB,
        filter: "g9_",
        sizes: &[("RINGFENCE_G9_SEEDS", "1000"), ("RINGFENCE_G9_STEPS", "10000")],
    },
    Row {
        goal: "G10",
        package: "ringfence-core",
        target: LIB,
        filter: "g10_",
        sizes: &[("RINGFENCE_G10_DECISIONS", "1000000")],
    },
    Row {
        goal: "G11",
        package: "ringfence-core",
        target: LIB,
        filter: "g11_",
        sizes: &[("RINGFENCE_G11_INTENTS", "10000000")],
    },
    Row {
        goal: "G5",
        package: "ringfence-tests",
        target: SYSTEM,
        filter: "g5_",
        sizes: &[("RINGFENCE_G5_MS", "30000")],
    },
    Row {
        goal: "G8",
        package: "ringfence-tests",
        target: SYSTEM,
        filter: "g8_",
        sizes: &[("RINGFENCE_G8_MUTATIONS", "5000000")],
    },
    Row {
        goal: "G12",
        package: "ringfence-tests",
        target: SYSTEM,
        filter: "g12_",
        sizes: &[("RINGFENCE_G12_ROUNDS", "200")],
    },
    Row {
        goal: "G13",
        package: "ringfence-tests",
        target: SYSTEM,
        filter: "auth::",
        sizes: &[("RINGFENCE_AUTH_KILLS", "40")],
    },
    Row {
        goal: "G14",
        package: "ringfence-tests",
        target: SYSTEM,
        filter: "g14_",
        sizes: &[("RINGFENCE_G14_EXAMPLES", "100")],
    },
    Row {
        goal: "G17",
        package: "ringfence-tests",
        target: SYSTEM,
        filter: "g17_",
        sizes: &[("RINGFENCE_G17_KEYS", "10000000"), ("RINGFENCE_G17_SECONDS", "600")],
    },
    Row {
        goal: "hostile",
        package: "ringfence-tests",
        target: SYSTEM,
        filter: "hostile::",
        sizes: &[("RINGFENCE_HANDSHAKES", "10000")],
    },
    Row {
        goal: "streams",
        package: "ringfence-shell",
        target: &["--test", "stream"],
        filter: "scale::",
        sizes: &[("RINGFENCE_STREAM_CLIENTS", "1000"), ("RINGFENCE_STREAM_ORDERS_PER_S", "1000")],
    },
];

/// Runs every row, or those of the goals named after `--only`.
pub fn run(args: &[String]) -> ExitCode {
    let only: &[String] = match args.split_first() {
        None => &[],
        Some((flag, goals)) if flag == "--only" && !goals.is_empty() => goals,
        _ => return refused(),
    };
    if only.iter().any(|goal| !ROWS.iter().any(|row| row.goal.eq_ignore_ascii_case(goal))) {
        return refused();
    }
    let chosen = |row: &&Row| only.is_empty() || only.iter().any(|goal| row.goal.eq_ignore_ascii_case(goal));
    if !Step::cargo("build", &["build", "--release", "--workspace", "--bins"]).run() {
        return ExitCode::FAILURE;
    }
    let (binary, mut lines, mut all) = (built("release", "ringfence"), Vec::new(), Tally::default());
    for row in ROWS.iter().filter(chosen) {
        let (began, failed_before) = (Instant::now(), all.failed);
        row.run(&binary, &mut all);
        let verdict = if all.failed == failed_before { "held" } else { "FAILED" };
        let minutes = began.elapsed().as_secs_f64() / 60.0;
        lines.push(format!("{:4} {verdict} after {minutes:.1} min  {}", row.goal, row.described()));
    }
    println!("\n{}\n{}", lines.join("\n"), all.summary());
    if all.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn refused() -> ExitCode {
    let mut goals: Vec<&str> = ROWS.iter().map(|row| row.goal).collect();
    goals.dedup();
    eprintln!("xtask: soak [--only GOAL..], of {}", goals.join(" "));
    ExitCode::FAILURE
}

impl Row {
    fn run(&self, binary: &str, tally: &mut Tally) {
        let mut args = vec!["test", "--release", "--package", self.package];
        args.extend(self.target);
        // One after another: most of these want both CPUs.
        args.extend([self.filter, "--", "--show-output", "--test-threads=1"]);
        let mut step = Step::cargo(self.goal, &args).env("RINGFENCE_BIN", binary);
        if self.goal == "G14" {
            match schemathesis::installed() {
                Ok(program) => step = step.env(schemathesis::VARIABLE, &program),
                Err(why) => return tally.skip(&format!("{}: {why}", self.described())),
            }
        }
        for (name, value) in self.sizes {
            step = step.env(name, value);
        }
        let (failed_before, ran_before) = (tally.failed, tally.ran());
        let succeeded = step.run_seen(&mut |line| tally.see(line));
        if (!succeeded && tally.failed == failed_before) || tally.ran() == ran_before {
            tally.fail(&format!("{}: no test ran to its end", self.described()));
        }
    }

    fn described(&self) -> String {
        let sizes: String = self.sizes.iter().map(|(name, value)| format!(" {name}={value}")).collect();
        format!("{} {}{sizes}", self.package, self.filter)
    }
}
