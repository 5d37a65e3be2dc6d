//! `ringfence replay`: the same code decides the same intents again.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use ringfence_core::gate::Replayer;
use ringfence_ipc::journal::{FIRST_POSITION, Follower};

use crate::place;

/// Arguments of `ringfence replay`.
#[derive(Args)]
#[command(after_help = "Example:\n  ringfence replay --data DIR --json")]
pub struct ReplayArgs {
    /// Data directory of the run (default: the latest).
    #[arg(long)]
    data: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &ReplayArgs) -> anyhow::Result<()> {
    let data = place::data_dir(args.data.as_deref())?;
    let hot = place::run_dir(&data)?.join("journal.hot");
    let mut follower = Follower::open(&hot, data.join("journal"), FIRST_POSITION)?;
    let mut replayer = Replayer::from_journal();
    while let Some((position, record)) = follower.next()? {
        replayer.feed(position, &record)?;
    }
    let report = replayer.finish();
    let hash: String = report.state_hash.iter().map(|byte| format!("{byte:02x}")).collect();
    if args.json {
        println!(
            "{}",
            serde_json::json!({"decisions": report.decisions, "mismatches": report.mismatches, "state_hash": hash})
        );
    } else {
        println!(
            "{} decisions decided again, {} differ; state hash {hash}",
            report.decisions, report.mismatches
        );
    }
    if report.mismatches > 0 {
        bail!("the replay differs from the journal: it was decided by another version, or is damaged");
    }
    Ok(())
}
