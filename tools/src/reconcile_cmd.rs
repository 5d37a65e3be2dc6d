//! `ringfence reconcile`: the gate's books against what its venue says it has.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use ringfence_core::config::CoreConfig;
use ringfence_core::reconcile::{MAX_SNAPSHOT_BYTES, Report, SnapshotFile, differences, view_at};
use ringfence_ipc::client::{AttachOptions, Client};
use ringfence_ipc::handshake::Role;

use crate::place;

/// The name under which this command attaches to the gate.
const NAME: &str = "cli";

/// Arguments of `ringfence reconcile`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  ringfence reconcile\n  ringfence reconcile --json\n  ringfence reconcile --snapshot > venue.json\n  ringfence reconcile --venue venue.json      (also of a gate that is dead)\n\nExit code 1: there are differences. The format of FILE: docs/reconcile.md."
)]
pub struct ReconcileArgs {
    /// Data directory of the run (default: the latest).
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// What the venue says, from a file; none: the running gate asks its own venue.
    #[arg(long, value_name = "FILE")]
    venue: Option<PathBuf>,
    /// Print what the gate's own venue says it has, as JSON, and compare nothing.
    #[arg(long, conflicts_with_all = ["venue", "json"])]
    snapshot: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

/// Whether both sides agree.
pub fn run(args: &ReconcileArgs) -> anyhow::Result<bool> {
    let config = CoreConfig::load(&place::data_dir(args.data.as_deref())?.join("core.toml"))?;
    let report = match &args.venue {
        None => {
            let answer = ask(&config, args.snapshot)?;
            if args.snapshot {
                println!("{}", String::from_utf8_lossy(&answer));
                return Ok(true);
            }
            serde_json::from_slice(&answer).context("the gate's answer is no report of this version")?
        }
        Some(path) => {
            let file = read(path)?;
            let view = view_at(&config.hot_path(), &config.journal_dir(), file.journal_position)
                .context("cannot rebuild the gate's books from its journal")?;
            let snapshot = file.read(&view).with_context(|| path.display().to_string())?;
            differences(&view, &snapshot)
        }
    };
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        tell(&report);
    }
    Ok(report.agrees())
}

fn ask(config: &CoreConfig, snapshot: bool) -> anyhow::Result<Vec<u8>> {
    let options = AttachOptions::new(config.socket_path(), Role::Operator, NAME);
    let mut client = Client::attach(options)
        .context("no gate answers: start it, or give the venue's snapshot with --venue FILE")?;
    Ok(client.reconcile(snapshot)?)
}

fn read(path: &Path) -> anyhow::Result<SnapshotFile> {
    let name = path.display();
    let file = File::open(path).with_context(|| format!("cannot open {name}"))?;
    let mut text = Vec::new();
    file.take(MAX_SNAPSHOT_BYTES + 1)
        .read_to_end(&mut text)
        .with_context(|| format!("cannot read {name}"))?;
    if text.len() as u64 > MAX_SNAPSHOT_BYTES {
        bail!("{name} is larger than {MAX_SNAPSHOT_BYTES} bytes: leave final orders out of the snapshot");
    }
    serde_json::from_slice(&text).with_context(|| format!("{name} is no snapshot: see docs/reconcile.md"))
}

fn tell(report: &Report) {
    for d in &report.differences {
        let words = [
            d.order_id.as_ref().map(|id| format!("order {id}")),
            d.strategy.map(|strategy| format!("strategy {strategy}")),
            d.account.map(|account| format!("account {account}")),
            d.symbol.clone(),
        ];
        let what: Vec<String> = words.into_iter().flatten().collect();
        let code = serde_json::to_value(d.code).unwrap_or_default();
        let code = code.as_str().unwrap_or("?");
        println!("{code:<17} {}: here {}, venue {}", what.join(" "), d.here, d.there);
        println!("{:<17} -> {}", "", d.act);
    }
    if report.total > report.differences.len() {
        println!("... and {} more", report.total - report.differences.len());
    }
    for u in &report.unknown {
        let venue = match (&u.venue_state, &u.venue_cum_qty) {
            (Some(state), Some(cum_qty)) => format!("{state} with {cum_qty} filled"),
            _ => "not listed".to_owned(),
        };
        println!("UNKNOWN order {} strategy {} {}: venue {venue}", u.order_id, u.strategy, u.symbol);
    }
    println!(
        "{}: {} differences; {} orders and {} positions compared before journal position {}; {} orders on their way, \
         {} in state UNKNOWN",
        report.venue,
        report.total,
        report.orders,
        report.positions,
        report.journal_position,
        report.in_flight,
        report.unknown.len(),
    );
}
