//! `ringfence shell`: HTTP, streams, the page, and the market source.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use ringfence_binance::{MarketStatus, Phase};
use ringfence_core::config::{CoreConfig, MarketSource, VenueKind};
use ringfence_shell::audit::AuditOptions;
use ringfence_shell::feed::{LiveConfig, PlayerConfig, SourceConfig, Speed, play};
use ringfence_shell::http::TlsFiles;
use ringfence_shell::venue::{Venue, VenueError};
use ringfence_shell::{ShellConfig, order_events, serve};
use ringfence_topics::Engine;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::config_cmd::{Set, source};
use crate::{auth_cmd, binance, dag, place, stop};

/// How long a start waits for the exchange's first word, so that a refusal is seen at once.
const FIRST_WORD_WITHIN: Duration = Duration::from_secs(2);
/// How long tasks that are left over may take to end.
const RUNTIME_ENDS_WITHIN: Duration = Duration::from_secs(1);

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
    let bind: SocketAddr = shell.bind.parse().context("`shell.bind` must be ADDR:PORT")?;
    let auth = auth_cmd::open(&core)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("ringfence-http")
        .enable_all()
        .build()?;
    let (market_status, live_market) = watch::channel(MarketStatus::default());
    let player = PlayerConfig {
        socket: core.socket_path(),
        source: match (core.market_source(), &shell.replay) {
            (MarketSource::Binance, _) => SourceConfig::Live(Box::new(LiveConfig {
                runtime: runtime.handle().clone(),
                config: checked(binance::public(&core.binance))?,
                status: market_status,
            })),
            (_, Some(path)) => SourceConfig::Recording(path.clone()),
            (_, None) => SourceConfig::Simulated { seed: shell.seed },
        },
        speed: shell.speed.parse().map_err(|error| anyhow::anyhow!("`shell.speed`: {error}"))?,
    };
    let exchange = Exchange::start(&core, &runtime, &stop)?;
    let (strategies, _working) = dag::options(&core)?.map(ringfence_strategies::start).transpose()?.unzip();
    let config = ShellConfig {
        auth,
        bind,
        account: shell.account,
        manual_strategy: shell.manual_strategy.clone(),
        market_symbol: shell.market_symbol.clone(),
        stale_after: Duration::from_millis(shell.stale_after_ms),
        market_source: match core.market_source() {
            MarketSource::Sim => "sim",
            MarketSource::Replay => "replay",
            MarketSource::Binance => "binance",
        }
        .to_owned(),
        live_market: (core.market_source() == MarketSource::Binance).then_some(live_market),
        venue: exchange.venue.clone(),
        audit: audit_options(&core),
        order_events: order_events(&core),
        strategies,
        tls: tls_files(&core)?,
        ..ShellConfig::new(&core.run_dir, core.journal_dir())
    };
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
    let traded = exchange.join();
    // A live market ends with its task.
    runtime.shutdown_timeout(RUNTIME_ENDS_WITHIN);
    let played = feed.join().map_err(|_| anyhow::anyhow!("the feed thread panicked"))?;
    traded?;
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

fn checked(config: ringfence_binance::Config) -> anyhow::Result<ringfence_binance::Config> {
    config.check().context("`[binance]`")?;
    Ok(config)
}

/// The exchange that this shell drives, if its gate has one.
struct Exchange {
    venue: Option<Venue>,
    thread: Option<JoinHandle<Result<(), VenueError>>>,
}

impl Exchange {
    /// Starts to drive it. Symbols that do not fit are an error; an exchange that cannot be reached is waited for later.
    fn start(core: &CoreConfig, runtime: &Runtime, stop: &Arc<AtomicBool>) -> anyhow::Result<Self> {
        if core.venue != VenueKind::BinanceTestnetSpot {
            return Ok(Self { venue: None, thread: None });
        }
        let config = checked(binance::trading(&core.binance)?)?;
        let (handle, socket) = (runtime.handle().clone(), core.socket_path());
        let (venue, thread) = ringfence_shell::venue::start(handle, socket, config, Arc::clone(stop))?;
        let deadline = Instant::now() + FIRST_WORD_WITHIN;
        let mute = || venue.status.borrow().phase == Phase::Connecting;
        while mute() && !thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        let exchange = Self { venue: Some(venue), thread: Some(thread) };
        if exchange.thread.as_ref().is_some_and(JoinHandle::is_finished) {
            exchange.join()?;
            return Ok(Self { venue: None, thread: None });
        }
        Ok(exchange)
    }

    /// Waits for its end, and says why it ended.
    fn join(self) -> anyhow::Result<()> {
        let Some(thread) = self.thread else { return Ok(()) };
        let ended = thread.join().map_err(|_| anyhow::anyhow!("the venue's thread panicked"))?;
        ended.context("the venue failed")
    }
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

fn order_events(core: &CoreConfig) -> Option<order_events::Options> {
    let events = &core.events;
    events.enabled.then(|| order_events::Options {
        engine: Engine::chosen(events.kafka_brokers.as_deref(), &core.topics_path()),
        topic: events.topic.clone(),
        retention: Duration::from_secs(events.retain_h * 3600),
        size_bytes: events.size_bytes,
        replicas: events.replicas,
    })
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
