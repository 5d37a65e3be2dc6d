//! `ringfence doctor`: what this machine lacks, and what to do about it.

mod checks;
mod machine;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use ringfence_core::config::CoreConfig;
use serde_json::json;

use crate::place;
use crate::up::WaitArg;
use checks::{Finding, Needs, Verdict};
use machine::Machine;

/// Arguments of `ringfence doctor`.
#[derive(Args)]
#[command(
    after_help = "Exit code: 0 nothing is broken, 1 something is (`slow` findings cost latency, not correctness).\n\nExamples:\n  ringfence doctor\n  ringfence doctor --wait spin --pin 3\n  ringfence doctor --config core.toml --json"
)]
pub struct DoctorArgs {
    /// Judge the machine by this core configuration (default: the latest run's).
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// As if the gate thread waited like this.
    #[arg(long, value_enum)]
    wait: Option<WaitArg>,
    /// As if the gate thread were pinned to this CPU.
    #[arg(long, value_name = "CPU")]
    pin: Option<usize>,
    /// Where the shell would listen.
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDR:PORT")]
    bind: SocketAddr,
    /// Print the findings as JSON.
    #[arg(long)]
    json: bool,
}

/// Whether nothing is broken.
pub fn run(args: &DoctorArgs) -> anyhow::Result<bool> {
    let mut config = match &args.config {
        Some(path) => CoreConfig::load(path)?,
        None => usual_config()?,
    };
    config.wait = args.wait.map_or(config.wait, WaitArg::wait);
    config.pin = args.pin.or(config.pin);
    let machine = Machine::read(Path::new("/"), &config.run_dir, &config.data_dir, Some(args.bind));
    let findings = checks::all(&machine, &Needs::of(&config));
    if args.json {
        println!("{}", to_json(&findings));
    } else {
        print!("{}", to_text(&findings));
    }
    Ok(findings.iter().all(|finding| finding.verdict < Verdict::Broken))
}

/// The latest run's configuration, or the defaults of one without.
fn usual_config() -> anyhow::Result<CoreConfig> {
    if let Ok(data) = place::data_dir(None)
        && let Ok(config) = CoreConfig::load(&data.join("core.toml"))
    {
        return Ok(config);
    }
    let state = place::state_dir()?;
    let data_dir = state.ancestors().find(|dir| dir.is_dir()).unwrap_or(Path::new("/"));
    // Whatever a configuration leaves out has a default.
    let mut places = toml::Table::new();
    for (key, path) in [("data_dir", data_dir.to_owned()), ("run_dir", place::run_dir(data_dir)?)] {
        places.insert(key.to_owned(), path.display().to_string().into());
    }
    Ok(places.try_into()?)
}

fn to_json(findings: &[Finding]) -> serde_json::Value {
    let broken = findings.iter().filter(|finding| finding.verdict == Verdict::Broken).count();
    let slow = findings.iter().filter(|finding| finding.verdict == Verdict::Slow).count();
    let rows: Vec<_> = findings
        .iter()
        .map(|f| json!({"check": f.check, "verdict": f.verdict.word(), "found": f.found, "advice": f.advice}))
        .collect();
    json!({"broken": broken, "slow": slow, "findings": rows})
}

fn to_text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        text += &format!("{:<7} {:<14} {}\n", finding.verdict.word(), finding.check, finding.found);
        if !finding.advice.is_empty() {
            text += &format!("{:<22} -> {}\n", "", finding.advice);
        }
    }
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    text + &format!("{} broken, {} slow\n", count(Verdict::Broken), count(Verdict::Slow))
}
