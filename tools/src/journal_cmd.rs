//! `ringfence journal export|verify`.

use std::io::{BufWriter, Write as _};
use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, Subcommand};
use ringfence_ipc::journal::{ArchiveReader, FIRST_POSITION, Follower};

use crate::{export, place};

/// Journal commands.
#[derive(Subcommand)]
pub enum JournalCommand {
    /// Print every record as one JSON object a line.
    #[command(
        after_help = "Examples:\n  ringfence journal export | head\n  ringfence journal export --data DIR > journal.ndjson"
    )]
    Export(Run),
    /// Check every checksum and chain of the archive.
    #[command(after_help = "Example:\n  ringfence journal verify --data DIR")]
    Verify(Run),
}

/// Which run.
#[derive(Args)]
pub struct Run {
    /// Data directory of the run (default: the latest).
    #[arg(long)]
    data: Option<PathBuf>,
}

pub fn run(command: &JournalCommand) -> anyhow::Result<()> {
    match command {
        JournalCommand::Export(run) => export(run),
        JournalCommand::Verify(run) => verify(run),
    }
}

fn export(run: &Run) -> anyhow::Result<()> {
    let data = place::data_dir(run.data.as_deref())?;
    let hot = place::run_dir(&data)?.join("journal.hot");
    let mut follower = Follower::open(&hot, data.join("journal"), FIRST_POSITION)?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    while let Some((position, record)) = follower.next()? {
        let line = serde_json::to_writer(&mut out, &export::json(position, &record));
        match line.map_err(std::io::Error::from).and_then(|()| out.write_all(b"\n")) {
            // `| head` has seen enough.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            other => other?,
        }
    }
    Ok(out.flush()?)
}

fn verify(run: &Run) -> anyhow::Result<()> {
    let data = place::data_dir(run.data.as_deref())?;
    let found = ArchiveReader::verify(data.join("journal"));
    println!(
        "{} records in {} segments, positions {} to {}, on disk below {}",
        found.records,
        found.segments,
        found.first_position.unwrap_or(0),
        found.last_position.unwrap_or(0),
        found.durable_position,
    );
    if let Some(error) = found.error {
        bail!(
            "the archive is damaged: {error}; restore it from a copy, or start again with a new --data directory"
        );
    }
    Ok(())
}
