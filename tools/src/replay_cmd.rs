//! `ringfence replay`: the same code decides the same intents again.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use ringfence_core::gate::{Gate, Replayer};
use ringfence_ipc::journal::FIRST_POSITION;
use ringfence_ipc::journal::checkpoint::Checkpoint;

use crate::{journal_cmd, place};

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
    let (mut replayer, from) = begin(&data)?;
    let mut checkpoints = checkpoints(&data, from);
    let mut follower = journal_cmd::follower(&data, from)?;
    while let Some((position, record)) = follower.next()? {
        if let Some(hash) = checkpoints.remove(&position) {
            replayer.compare(position, &hash);
        }
        replayer.feed(position, &record)?;
    }
    if let Some(hash) = checkpoints.remove(&follower.position()) {
        replayer.compare(follower.position(), &hash);
    }
    let report = replayer.finish();
    let hash = crate::export::hex(&report.state_hash);
    if args.json {
        println!(
            "{}",
            serde_json::json!({"from": from, "decisions": report.decisions, "mismatches": report.mismatches,
                "closes": report.closes, "checkpoints": report.checkpoints, "state_hash": hash})
        );
    } else {
        println!(
            "{} decisions decided again from position {from}, {} differ; {} closes and {} checkpoints compared; state hash {hash}",
            report.decisions, report.mismatches, report.closes, report.checkpoints
        );
    }
    if report.mismatches > 0 {
        bail!("the replay differs from the journal: it was decided by another version, or is damaged");
    }
    Ok(())
}

/// At the journal's first record, or at the oldest checkpoint where that is gone.
fn begin(data: &Path) -> anyhow::Result<(Replayer, u64)> {
    let oldest = journal_cmd::oldest(data)?;
    if oldest == FIRST_POSITION {
        return Ok((Replayer::from_journal(), FIRST_POSITION));
    }
    let dir = data.join("journal");
    let position = Checkpoint::list(&dir)?.into_iter().find(|position| *position >= oldest).with_context(|| {
        format!("the journal begins at position {oldest} and no checkpoint reaches it: put one back from a copy")
    })?;
    let unusable = || format!("the checkpoint at {position} cannot be used; see `ringfence journal verify`");
    let saved = Checkpoint::read(&dir, position).with_context(unusable)?;
    let gate = Gate::restore(&saved).with_context(unusable)?;
    Ok((Replayer::resume(gate), position))
}

/// The state hashes of the good checkpoints behind `from`, by position.
fn checkpoints(data: &Path, from: u64) -> std::collections::HashMap<u64, [u8; 32]> {
    let dir = data.join("journal");
    let positions = Checkpoint::list(&dir).unwrap_or_default();
    let good = positions.into_iter().filter(|position| *position > from).filter_map(|position| {
        let saved = Checkpoint::read(&dir, position).ok()?;
        Some((position, saved.header().state_hash))
    });
    good.collect()
}
