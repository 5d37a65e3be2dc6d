//! `ringfence top`: a running gate, refreshed in place.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use ringfence_ipc::counters::Counter;
use serde_json::Value;

use super::sample::Sample;
use super::site::{Life, Site};
use super::text;
use crate::stop;

/// Clears the screen and goes to its first place.
const REPAINT: &str = "\x1b[H\x1b[2J";
/// How often a waiting loop looks whether it should stop.
const LOOK: Duration = Duration::from_millis(20);

/// Arguments of `ringfence top`.
#[derive(Args)]
#[command(
    after_help = "Rates and percentiles are those of the last interval. Ctrl-C ends it.\n\nExamples:\n  ringfence top\n  ringfence top --every 250ms\n  ringfence top --once --json"
)]
pub struct TopArgs {
    /// Data directory or run directory of the run (default: the latest).
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Time between two looks.
    #[arg(long, default_value = "1s", value_name = "T", value_parser = crate::up::parse_duration)]
    every: Duration,
    /// Look twice, one interval apart, print once and end.
    #[arg(long)]
    once: bool,
    /// One JSON object a look.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &TopArgs) -> anyhow::Result<()> {
    let stop = stop::flag()?;
    let site = Site::find(args.dir.as_deref())?;
    let path = site.counters();
    let take = || Sample::take(&path);
    let mut earlier = take().with_context(|| {
        format!("no gate has its counters in {}: start one with `ringfence up`", site.run_dir.display())
    })?;
    let in_place = !args.once && !args.json && std::io::stdout().is_terminal();
    loop {
        let next = Instant::now() + args.every;
        while Instant::now() < next && !stop.load(Ordering::Relaxed) {
            std::thread::sleep(LOOK.min(next.saturating_duration_since(Instant::now())));
        }
        if stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        // A gate that stops takes its counters along; the last look stays on the screen.
        let Ok(sample) = take() else {
            eprintln!("the gate stopped");
            return Ok(());
        };
        let restarted = sample.get(Counter::Epoch) != earlier.get(Counter::Epoch);
        let before = (!restarted).then_some(&earlier);
        let life = site.life(Some(sample.get(Counter::GatePid)));
        let shown = if args.json {
            format!("{}\n", json(&sample, before, life))
        } else {
            text::picture(&site, life, &sample, before)
        };
        let mut out = std::io::stdout().lock();
        match write!(out, "{}{shown}", if in_place { REPAINT } else { "" }).and_then(|()| out.flush()) {
            // `| head` has seen enough.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            other => other?,
        }
        if args.once {
            return Ok(());
        }
        earlier = sample;
    }
}

fn json(sample: &Sample, earlier: Option<&Sample>, life: Life) -> Value {
    let mut value = sample.json(earlier);
    value["gate"] = life.word().into();
    value
}
