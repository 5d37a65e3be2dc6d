//! `ringfence journal verify|dump|export`.

use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use ringfence_core::config::CoreConfig;
use ringfence_ipc::journal::chained::Segments as _;
use ringfence_ipc::journal::checkpoint::Checkpoint;
use ringfence_ipc::journal::{ArchiveReader, FIRST_POSITION, Follower, Record, SegmentDir, Verification};

use crate::dump::{Names, Wanted};
use crate::{dump, export, place};

/// Journal commands.
#[derive(Subcommand)]
pub enum JournalCommand {
    /// Print every record as one JSON object a line.
    #[command(
        after_help = "Examples:\n  ringfence journal export | head\n  ringfence journal export --data DIR > journal.ndjson"
    )]
    Export(Run),
    /// Print records for people: all, from a position, of one order or of one key.
    #[command(
        after_help = "Examples:\n  ringfence journal dump --last 20\n  ringfence journal dump --from 12345 --limit 10\n  ringfence journal dump --order web-1\n  ringfence journal dump --key 0123456789abcdef0123456789abcdef --json"
    )]
    Dump(DumpArgs),
    /// Check every checksum and chain of the archive, and every checkpoint.
    #[command(
        after_help = "Examples:\n  ringfence journal verify\n  ringfence journal verify --data DIR --json"
    )]
    Verify(VerifyArgs),
}

/// Which run.
#[derive(Args)]
pub struct Run {
    /// Data directory of the run (default: the latest).
    #[arg(long)]
    data: Option<PathBuf>,
}

/// Arguments of `journal verify`.
#[derive(Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    run: Run,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Arguments of `journal dump`.
#[derive(Args)]
pub struct DumpArgs {
    #[command(flatten)]
    run: Run,
    /// First position to print.
    #[arg(long, value_name = "POSITION")]
    from: Option<u64>,
    /// Only what concerns this order: a client order id, or the gate's id (decimal, or hex with 0x).
    #[arg(long, value_name = "ID")]
    order: Option<String>,
    /// Only what concerns the intent of this key: 32 hex digits, as `export` prints them.
    #[arg(long, value_name = "HEX", conflicts_with = "order")]
    key: Option<String>,
    /// Print at most so many records, the first ones.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Print only the last so many records.
    #[arg(long, value_name = "N", conflicts_with = "limit")]
    last: Option<usize>,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

pub fn run(command: &JournalCommand) -> anyhow::Result<()> {
    match command {
        JournalCommand::Export(run) => export(run),
        JournalCommand::Dump(args) => dump(args),
        JournalCommand::Verify(args) => verify(args),
    }
}

/// The first position that a run's journal still has.
pub fn oldest(data: &Path) -> anyhow::Result<u64> {
    let dir = data.join("journal");
    let firsts = SegmentDir::new(&dir).firsts().with_context(|| format!("cannot list {}", dir.display()))?;
    Ok(firsts.first().copied().unwrap_or(FIRST_POSITION))
}

/// Reads a run's journal from `from` on, live or left behind.
pub fn follower(data: &Path, from: u64) -> anyhow::Result<Follower> {
    let hot = match CoreConfig::load(&data.join("core.toml")) {
        Ok(config) => config.hot_path(),
        Err(_) => place::run_dir(data)?.join("journal.hot"),
    };
    Ok(Follower::open(&hot, data.join("journal"), from)?)
}

fn export(run: &Run) -> anyhow::Result<()> {
    let data = place::data_dir(run.data.as_deref())?;
    let mut follower = follower(&data, oldest(&data)?)?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut written = Ok(());
    while written.is_ok()
        && let Some((position, record)) = follower.next()?
    {
        written = json_line(&mut out, position, &record);
    }
    finish(written.and_then(|()| out.flush()))
}

fn json_line(out: &mut impl Write, position: u64, record: &Record) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, &export::json(position, record))?;
    out.write_all(b"\n")
}

/// `| head` has seen enough: that is no error.
fn finish(written: std::io::Result<()>) -> anyhow::Result<()> {
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

fn dump(args: &DumpArgs) -> anyhow::Result<()> {
    let data = place::data_dir(args.run.data.as_deref())?;
    let oldest = oldest(&data)?;
    let from = args.from.unwrap_or(oldest);
    if from < oldest {
        bail!("position {from} is gone: the journal begins at {oldest}; use --from {oldest} or leave it out");
    }
    let mut wanted = Wanted::parse(args.order.as_deref(), args.key.as_deref())?;
    let (mut names, start) = names_before(&data, oldest, from)?;
    let mut follower = follower(&data, start)?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut last = std::collections::VecDeque::new();
    let (mut left, mut written) = (args.limit.unwrap_or(usize::MAX), Ok(()));
    let print = |out: &mut dyn Write, names: &Names, position, record: &Record| {
        if args.json {
            return json_line(&mut { out }, position, record);
        }
        writeln!(out, "{}", dump::line(names, position, record))
    };
    while left > 0
        && written.is_ok()
        && let Some((position, record)) = follower.next()?
    {
        names.learn(&record);
        if position < from || !wanted.takes(&record) {
            continue;
        }
        match args.last {
            Some(most) => {
                last.push_back((position, record));
                if last.len() > most {
                    last.pop_front();
                }
            }
            None => {
                left -= 1;
                written = print(&mut out, &names, position, &record);
            }
        }
    }
    for (position, record) in &last {
        written = written.and_then(|()| print(&mut out, &names, *position, record));
    }
    finish(written.and_then(|()| out.flush()))
}

/// The names known somewhere at or before `from`, and where that is: a checkpoint, or the journal's beginning.
fn names_before(data: &Path, oldest: u64, from: u64) -> anyhow::Result<(Names, u64)> {
    let dir = data.join("journal");
    for position in Checkpoint::list(&dir)?.into_iter().rev() {
        if (oldest..=from).contains(&position)
            && let Ok(saved) = Checkpoint::read(&dir, position)
            && let Ok(names) = Names::of(&saved)
        {
            return Ok((names, position));
        }
    }
    Ok((Names::default(), oldest))
}

fn verify(args: &VerifyArgs) -> anyhow::Result<()> {
    let data = place::data_dir(args.run.data.as_deref())?;
    let dir = data.join("journal");
    let found = ArchiveReader::verify(&dir);
    let (good, bad) = verify_checkpoints(&dir, &found)?;
    let oldest = oldest(&data)?;
    let covered = oldest == FIRST_POSITION || good.iter().any(|position| *position >= oldest);
    if args.json {
        let damaged: Vec<_> =
            bad.iter().map(|(at, why)| serde_json::json!({"position": at, "error": why})).collect();
        let told = serde_json::json!({
            "records": found.records, "segments": found.segments, "first_position": found.first_position,
            "last_position": found.last_position, "durable_position": found.durable_position, "checkpoints": good,
            "damaged_checkpoints": damaged, "error": found.error.as_ref().map(ToString::to_string),
        });
        println!("{told}");
    } else {
        println!(
            "{} records in {} segments, positions {} to {}, on disk below {}; checkpoints at {good:?}",
            found.records,
            found.segments,
            found.first_position.unwrap_or(0),
            found.last_position.unwrap_or(0),
            found.durable_position,
        );
    }
    for (position, why) in &bad {
        eprintln!("checkpoint {position} cannot be used: {why}; recovery passes it over, remove it at will");
    }
    if let Some(error) = found.error {
        bail!(
            "the archive is damaged: {error}; restore it from a copy, or start again with a new --data directory"
        );
    }
    if !covered {
        bail!(
            "the journal begins at position {oldest} and no checkpoint reaches it: put the missing segments or a \
             checkpoint back from a copy"
        );
    }
    Ok(())
}

type Damaged = Vec<(u64, String)>;

/// The positions of good checkpoints, and what is wrong with the others.
fn verify_checkpoints(dir: &Path, found: &Verification) -> anyhow::Result<(Vec<u64>, Damaged)> {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for position in Checkpoint::list(dir)? {
        let fault = match Checkpoint::read(dir, position) {
            Err(error) => Some(error.to_string()),
            Ok(_) if position > found.end_position => {
                Some(format!("the archive ends at {}", found.end_position))
            }
            Ok(saved) => dump::chain_at(dir, position)
                .is_none_or(|chain| chain != saved.header().chain)
                .then(|| "it was made from other records than the archive holds before it".to_owned()),
        };
        match fault {
            None => good.push(position),
            Some(why) => bad.push((position, why)),
        }
    }
    Ok((good, bad))
}
