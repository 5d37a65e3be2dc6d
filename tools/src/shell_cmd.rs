//! `ringfence shell`: HTTP, streams, the page, and the market source.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use ringfence_core::config::CoreConfig;
use ringfence_shell::audit::AuditOptions;
use ringfence_shell::feed::{PlayerConfig, SourceConfig, Speed, play};
use ringfence_shell::http::TlsFiles;
use ringfence_shell::{ShellConfig, serve};

use crate::auth_cmd;
use crate::config_cmd::{Set, source};
use crate::{place, stop};

/// Arguments of `ringfence shell`.
#[derive(Args)]
#[command(after_help = "Example:\n  ringfence shell --config core.toml --bind 127.0.0.1:8080")]
pub struct ShellArgs {
    /// The core's configuration file: says where its socket, journal and counters are.
    #[arg(long)]
    config: PathBuf,
    /// Where to listen; short for `--set shell.bind=`.
    #[arg(long)]
    bind: Option<SocketAddr>,
    /// Write the address here once ready.
    #[arg(long)]
    address_file: Option<PathBuf>,
    /// Market from a recording; short for `--set shell.replay=`.
    #[arg(long)]
    replay: Option<PathBuf>,
    /// Speed of the replay; short for `--set shell.speed=`.
    #[arg(long)]
    speed: Option<Speed>,
    /// Seed of the simulated market; short for `--set shell.seed=`.
    #[arg(long)]
    seed: Option<u64>,
    #[command(flatten)]
    set: Set,
    /// Stop when the process that started this one dies.
    #[arg(long, hide = true)]
    supervised: bool,
}

/// The listener's certificate, if there is one.
fn tls_files(core: &CoreConfig) -> anyhow::Result<Option<TlsFiles>> {
    match (core.server.tls_cert.clone(), core.server.tls_key.clone()) {
        (None, None) => Ok(None),
        (Some(cert), Some(key)) => Ok(Some(TlsFiles { cert, key })),
        _ => anyhow::bail!("`server.tls_cert` and `server.tls_key` belong together: set both, or neither"),
    }
}

pub fn run(args: ShellArgs) -> anyhow::Result<()> {
    let stop = if args.supervised { stop::supervised()? } else { stop::flag()? };
    let core = source(&args.config, args.flags()).load()?.config;
    let shell = &core.shell;
    let player = PlayerConfig {
        socket: core.socket_path(),
        source: match &shell.replay {
            Some(path) => SourceConfig::Recording(path.clone()),
            None => SourceConfig::Simulated { seed: shell.seed },
        },
        speed: shell.speed.parse().map_err(|error| anyhow::anyhow!("`shell.speed`: {error}"))?,
    };
    let bind: SocketAddr = shell.bind.parse().context("`shell.bind` must be ADDR:PORT")?;
    let auth = auth_cmd::open(&core)?;
    let config = ShellConfig {
        auth,
        bind,
        account: shell.account,
        manual_strategy: shell.manual_strategy.clone(),
        market_symbol: shell.market_symbol.clone(),
        stale_after: Duration::from_millis(shell.stale_after_ms),
        market_source: if shell.replay.is_some() { "replay" } else { "sim" }.to_owned(),
        audit: audit_options(&core),
        tls: tls_files(&core)?,
        ..ShellConfig::new(&core.run_dir, core.journal_dir())
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("ringfence-http")
        .enable_all()
        .build()?;
    let feed_stop = Arc::clone(&stop);
    let feed = std::thread::Builder::new().name("ringfence-feed".into()).spawn(move || {
        let outcome = play(&player, &feed_stop);
        if let Err(error) = &outcome {
            tracing::error!(%error, "the market source failed");
            feed_stop.store(true, Ordering::Relaxed);
        }
        outcome
    })?;
    let ready = |address: SocketAddr| {
        if let Some(path) = &args.address_file
            && let Err(error) = std::fs::write(path, address.to_string())
        {
            tracing::error!(path = %path.display(), %error, "cannot write the address file");
        }
    };
    let served = runtime.block_on(serve(config, ready, until(Arc::clone(&stop))));
    stop.store(true, Ordering::Relaxed);
    let played = feed.join().map_err(|_| anyhow::anyhow!("the feed thread panicked"))?;
    served.context("the shell failed")?;
    let report = played?;
    let told =
        serde_json::json!({"events": report.events, "malformed": report.malformed, "ended": report.ended});
    std::fs::write(place::feed_report(&core.data_dir), told.to_string())
        .context("cannot write the market source's report")?;
    tracing::info!(
        events = report.events,
        malformed = report.malformed,
        ended = report.ended,
        "market source stopped"
    );
    Ok(())
}

fn audit_options(core: &CoreConfig) -> AuditOptions {
    let (audit, hours) = (&core.audit, |hours: u64| Duration::from_secs(hours * 3600));
    AuditOptions {
        queue: audit.queue,
        sync_interval: Duration::from_millis(audit.sync_interval_ms),
        max_file_bytes: audit.max_file_bytes,
        min_free_bytes: audit.min_free_bytes,
        sweep_interval: Duration::from_millis(audit.sweep_interval_ms),
        // In the order of `LogType::ALL`.
        retain: [
            hours(audit.retain_auth_h),
            hours(audit.retain_order_h),
            hours(audit.retain_api_key_h),
            hours(audit.retain_access_h),
            hours(audit.retain_error_h),
        ],
        ..AuditOptions::new(core.audit_dir())
    }
}

impl ShellArgs {
    /// The short flags as what they are short for, and the long ones after them.
    fn flags(&self) -> Vec<(String, String)> {
        let short = [
            ("shell.bind", self.bind.map(|bind| bind.to_string())),
            ("shell.replay", self.replay.as_ref().map(|path| path.display().to_string())),
            ("shell.speed", self.speed.map(|speed| speed.to_string())),
            ("shell.seed", self.seed.map(|seed| seed.to_string())),
        ];
        let short = short.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
        short.chain(self.set.pairs.iter().cloned()).collect()
    }
}

async fn until(stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
