//! `ringfence core`: the gate process.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use ringfence_core::runtime::Core;

use crate::config_cmd::{Set, source};
use crate::stop;

/// Arguments of `ringfence core`.
#[derive(Args)]
#[command(
    after_help = "Example:\n  ringfence core --config core.toml\n  ringfence core --config core.toml --set limits.price_collar=\"250 bps\"\n  kill -HUP PID     read the limits of core.toml again\n\nSIGUSR1, or a file `kill` in the run directory, pulls the kill switch."
)]
pub struct CoreArgs {
    /// Configuration file (TOML).
    #[arg(long)]
    config: PathBuf,
    #[command(flatten)]
    set: Set,
    /// Stop when the process that started this one dies.
    #[arg(long, hide = true)]
    supervised: bool,
}

pub fn run(args: &CoreArgs) -> anyhow::Result<()> {
    let kill = stop::kill_switch()?;
    let signalled = if args.supervised { stop::supervised()? } else { stop::flag()? };
    let hangup = stop::hangup()?;
    let core = Core::start_from(source(&args.config, args.set.pairs.clone()), kill)
        .context("the gate cannot start")?;
    let summary_path = core.config().summary_path();
    let (stop, reload) = (core.stop_flag(), core.reload_flag());
    std::thread::Builder::new().name("ringfence-signal".into()).spawn(move || {
        while !signalled.load(Ordering::Relaxed) {
            if hangup.swap(false, Ordering::Relaxed) {
                reload.store(true, Ordering::Release);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        stop.store(true, Ordering::Release);
    })?;
    let summary = core.wait().context("the gate did not stop in good order")?;
    std::fs::write(&summary_path, serde_json::to_vec_pretty(&summary)?)
        .with_context(|| format!("cannot write {}", summary_path.display()))
}
