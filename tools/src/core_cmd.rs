//! `ringfence core`: the gate process.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use ringfence_core::config::{CoreConfig, Tier};
use ringfence_core::runtime::Core;

use crate::stop;

/// Arguments of `ringfence core`.
#[derive(Args)]
#[command(
    after_help = "Example:\n  ringfence core --config core.toml\n\nSIGUSR1, or a file `kill` in the run directory, pulls the kill switch."
)]
pub struct CoreArgs {
    /// Configuration file (TOML).
    #[arg(long)]
    config: PathBuf,
    /// What a decision survives before it is shown: process (`kill -9`) or power (the loss of power).
    #[arg(long, value_name = "process|power")]
    tier: Option<Tier>,
    /// Stop when the process that started this one dies.
    #[arg(long, hide = true)]
    supervised: bool,
}

pub fn run(args: &CoreArgs) -> anyhow::Result<()> {
    let kill = stop::kill_switch()?;
    let signalled = if args.supervised { stop::supervised()? } else { stop::flag()? };
    let mut config = CoreConfig::load(&args.config)?;
    config.journal.tier = args.tier.unwrap_or(config.journal.tier);
    let summary_path = config.summary_path();
    let core = Core::start_switched(config, Box::new(|| ()), kill).context("the gate cannot start")?;
    let stop = core.stop_flag();
    std::thread::Builder::new().name("ringfence-signal".into()).spawn(move || {
        while !signalled.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(10));
        }
        stop.store(true, Ordering::Release);
    })?;
    let summary = core.wait().context("the gate did not stop in good order")?;
    std::fs::write(&summary_path, serde_json::to_vec_pretty(&summary)?)
        .with_context(|| format!("cannot write {}", summary_path.display()))
}
