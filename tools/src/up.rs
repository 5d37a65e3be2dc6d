//! `ringfence up`: the supervisor. Starts core, strategy and shell as processes of this binary, keeps them alive, and
//! stops them in order.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::{Args, ValueEnum};
use ringfence_core::config::{
    AuthSection, BinanceSection, ClientConfig, CoreConfig, JournalConfig, Levels, Limits, OperatorConfig,
    PaperModel, ShellSection, StormConfig, StrategyConfig, SymbolConfig, VenueKind, Wait,
};
use ringfence_ipc::counters::{Counter, CountersReader};
use serde_json::Value;

use crate::child::Supervised;
use crate::config_cmd::{Set, source};
use crate::{place, stop};

/// How long a process may take to become ready.
const READY_PATIENCE: Duration = Duration::from_secs(30);
/// How long a process may take to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(20);
/// How often the supervisor looks around.
const LOOK: Duration = Duration::from_millis(10);
/// After the tape's end, how long answers may still be under way before the run counts as over.
const SETTLE: Duration = Duration::from_millis(300);

/// Arguments of `ringfence up`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  ringfence up\n  ringfence up --demo\n  ringfence up --demo --replay market.gz --speed max --for 60s --json\n  ringfence up --demo --replay market.gz --lockstep --for 60s --json"
)]
pub struct UpArgs {
    /// Also run the sample strategy, a process of its own over shared memory.
    #[arg(long)]
    demo: bool,
    /// Market from a recording of Binance combined streams (gzip or plain); default: a simulated market.
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
    /// Speed of the replay: a factor, or `max` (default: 1).
    #[arg(long, value_name = "X|max")]
    speed: Option<ringfence_shell::feed::Speed>,
    /// Decide in turns with the recording: same recording, same seed, same result.
    #[arg(long, requires = "replay")]
    lockstep: bool,
    /// Stop after this long (`90s`, `5m`), or at the recording's end if that comes first.
    #[arg(long = "for", value_name = "T", value_parser = parse_duration)]
    for_time: Option<Duration>,
    /// End with one JSON line on standard output.
    #[arg(long)]
    json: bool,
    /// Where the shell listens (default: 127.0.0.1:8080). Loopback only, unless `--set auth.enabled=true` asks for a login.
    #[arg(long, value_name = "ADDR:PORT")]
    bind: Option<SocketAddr>,
    /// Where orders go: the paper venue, or Binance's spot testnet, whose key is in BINANCE_API_KEY and
    /// BINANCE_API_SECRET; the market is then Binance's too (default: paper).
    #[arg(long, value_parser = ["paper", "binance_testnet_spot"])]
    venue: Option<String>,
    /// CPU to pin the gate thread to.
    #[arg(long, value_name = "CPU")]
    pin: Option<usize>,
    /// How the idle gate thread waits (default: backoff).
    #[arg(long, value_enum)]
    wait: Option<WaitArg>,
    /// Keep the run here, and continue it if it exists (default: a fresh run under the state directory).
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// What a decision survives before it is shown: process (`kill -9`) or power (the loss of power) (default:
    /// process).
    #[arg(long, value_parser = ["process", "power"])]
    tier: Option<String>,
    /// Seed of everything random (default: 1).
    #[arg(long)]
    seed: Option<u64>,
    /// Run with this configuration instead of the one for development; data_dir and run_dir are the run's own.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    set: Set,
}

/// How an idle gate thread waits.
#[derive(Clone, Copy, ValueEnum)]
pub enum WaitArg {
    /// Spin, yield, then sleep up to 50 us at a time.
    Backoff,
    /// Never give the CPU up; needs one to spare.
    Spin,
    /// Spin, yield, then sleep until somebody brings work.
    Park,
}

impl WaitArg {
    /// As the core's configuration says it.
    pub const fn wait(self) -> Wait {
        match self {
            Self::Backoff => Wait::Backoff,
            Self::Spin => Wait::Spin,
            Self::Park => Wait::Park,
        }
    }
}

pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let count: u64 = digits.parse().map_err(|_| format!("`{text}` is no duration: write 90s, 5m or 1h"))?;
    match unit {
        "ms" => Ok(Duration::from_millis(count)),
        "s" | "" => Ok(Duration::from_secs(count)),
        "m" => Ok(Duration::from_secs(count.saturating_mul(60))),
        "h" => Ok(Duration::from_secs(count.saturating_mul(3600))),
        _ => Err(format!("`{text}` is no duration: write 90s, 5m or 1h")),
    }
}

pub fn run(args: UpArgs) -> anyhow::Result<()> {
    let stop = stop::flag()?;
    let data = match &args.data {
        Some(dir) => {
            std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
            dir.canonicalize()?
        }
        None => place::new_run()?,
    };
    let run = Run::prepare(&args, &data)?;
    let mut group = Group::start(&args, &run, &stop)?;
    let outcome = if stop.load(Ordering::Relaxed) { Ok(()) } else { group.watch(&args, &stop) };
    let stopped = group.stop();
    outcome?;
    stopped?;
    report(&args, &run.config)
}

/// What a run's processes are started with.
struct Run {
    file: PathBuf,
    flags: Vec<(String, String)>,
    config: CoreConfig,
}

impl Run {
    /// Writes the development configuration to the run's directory, unless another file is given, and checks what the
    /// file, the environment and the flags give together.
    fn prepare(args: &UpArgs, data: &Path) -> anyhow::Result<Self> {
        let file = match &args.config {
            Some(file) => file.canonicalize().with_context(|| format!("cannot read {}", file.display()))?,
            None => {
                let file = data.join("core.toml");
                std::fs::write(&file, development(data)?.to_toml())
                    .with_context(|| format!("cannot write {}", file.display()))?;
                file
            }
        };
        let flags = args.flags(data)?;
        let config = source(&file, flags.clone()).load()?.config;
        let bind: SocketAddr = config.shell.bind.parse().context("`shell.bind` must be ADDR:PORT")?;
        ensure!(
            config.auth.enabled || bind.ip().is_loopback(),
            "{bind} is not a loopback address, and without a login only this machine is served: add --set auth.enabled=true"
        );
        if let Some(path) = &config.shell.replay {
            ensure!(path.is_file(), "{} is not a file: give --replay a recording", path.display());
        }
        Ok(Self { file, flags, config })
    }

    /// The arguments of one of its processes.
    fn process(&self, name: &str) -> Vec<String> {
        let file = self.file.display().to_string();
        let head = [name.to_owned(), "--supervised".to_owned(), "--config".to_owned(), file];
        let flags = self.flags.iter().flat_map(|(key, value)| ["--set".to_owned(), format!("{key}={value}")]);
        head.into_iter().chain(flags).collect()
    }
}

impl UpArgs {
    /// The flags as keys of the configuration.
    fn flags(&self, data: &Path) -> anyhow::Result<Vec<(String, String)>> {
        let text = |path: &Path| path.display().to_string();
        let seed = self.seed.map(|seed| seed.to_string());
        let lockstep = |value: String| self.lockstep.then_some(value);
        let wait = self.wait.and_then(|wait| wait.to_possible_value()).map(|wait| wait.get_name().to_owned());
        let flags = [
            ("data_dir", Some(text(data))),
            ("run_dir", Some(text(&place::run_dir(data)?))),
            ("wait", wait),
            ("venue", self.venue.clone()),
            ("journal.tier", self.tier.clone()),
            ("pin", self.pin.map(|cpu| cpu.to_string())),
            ("lockstep.strategies", lockstep(u8::from(self.demo).to_string())),
            ("lockstep.seed", lockstep(self.seed.unwrap_or(1).to_string())),
            ("paper.seed", seed.clone()),
            ("shell.seed", seed),
            ("shell.bind", self.bind.map(|bind| bind.to_string())),
            ("shell.replay", self.replay.as_deref().map(text)),
            ("shell.speed", self.speed.map(|speed| speed.to_string())),
        ];
        let short = flags.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
        Ok(short.chain(self.set.pairs.iter().cloned()).collect())
    }
}

/// What `up` runs with unless it is given a file; written to the run's directory, where a curious user finds it.
fn development(data: &Path) -> anyhow::Result<CoreConfig> {
    let uid = rustix::process::getuid().as_raw();
    let client = |role: &str, name: &str| ClientConfig {
        role: role.into(),
        name: name.into(),
        uid: Some(uid),
        key_file: None,
    };
    // Quantities at 8 decimals: real books hold amounts finer than today's lot.
    let symbol = |name: &str, lot: &str, max_qty: &str| SymbolConfig {
        name: name.into(),
        tick: "0.01".into(),
        lot: lot.into(),
        price_scale: 2,
        qty_scale: 8,
        limits: Limits { max_order_qty: Some(max_qty.into()), ..Limits::default() },
    };
    let strategy = |name: &str| StrategyConfig {
        name: name.into(),
        limits: Limits {
            max_gross_notional: Some("2000000".into()),
            max_open_orders: Some(1000),
            order_rate_per_s: Some(100_000),
            order_burst: Some(10_000),
            cancel_rate_per_s: Some(100_000),
            cancel_burst: Some(10_000),
            ..Limits::default()
        },
        ..StrategyConfig::default()
    };
    Ok(CoreConfig {
        data_dir: data.to_owned(),
        run_dir: place::run_dir(data)?,
        currency: "USDT".into(),
        wait: Wait::Backoff,
        pin: None,
        venue: VenueKind::Paper,
        lockstep: None,
        journal: JournalConfig { hot_bytes: 64 << 20, segment_bytes: 64 << 20, ..JournalConfig::default() },
        capacity: Default::default(),
        cache: Default::default(),
        paper: PaperModel::default(),
        shell: ShellSection::default(),
        binance: BinanceSection::default(),
        server: Default::default(),
        audit: Default::default(),
        events: Default::default(),
        dag: Default::default(),
        auth: AuthSection::development(),
        accounts: Vec::new(),
        limits: Limits {
            max_order_notional: Some("1000000".into()),
            max_gross_notional: Some("10000000".into()),
            price_collar_bps: Some(500),
            reference_max_age_ms: Some(5000),
            market_band_bps: Some(100),
            dedup_ttl_s: Some(300),
            ..Limits::default()
        },
        storm: StormConfig {
            capital: Some("1000000".into()),
            drawdown_bps: Levels { warm: Some(100), storm: Some(200), halt: Some(500) },
            feed_gap_ms: Levels { warm: Some(5000), ..Levels::default() },
            ..StormConfig::default()
        },
        kill_cancels_orders: true,
        operator: OperatorConfig::default(),
        symbols: vec![symbol("BTCUSDT", "0.00001", "10"), symbol("ETHUSDT", "0.0001", "200")],
        strategies: vec![strategy("manual"), strategy("demo")],
        clients: vec![
            client("strategy", "*"),
            client("operator", "*"),
            client("feed", "*"),
            client("observer", "*"),
            client("venue", "*"),
        ],
    })
}

/// The processes of one run.
struct Group {
    core: Supervised,
    demo: Option<Supervised>,
    shell: Supervised,
    counters: PathBuf,
}

impl Group {
    fn start(args: &UpArgs, run: &Run, stop: &AtomicBool) -> anyhow::Result<Self> {
        let text = |path: &Path| path.display().to_string();
        let config = &run.config;
        let mut core = Supervised::start("core", run.process("core"))?;
        let counters = config.counters_path();
        let socket = config.socket_path();
        wait_until("core", &mut core, stop, || socket.exists() && attached(&counters).is_some())?;
        let demo = if args.demo {
            let mut demo = Supervised::start(
                "demo",
                vec!["demo".into(), "--supervised".into(), "--socket".into(), text(&socket)],
            )?;
            // The market starts when the strategy listens.
            wait_until("demo", &mut demo, stop, || attached(&counters).is_some_and(|count| count > 0))?;
            Some(demo)
        } else {
            None
        };
        let address = text(&config.data_dir.join("shell.addr"));
        let _ = std::fs::remove_file(&address);
        let _ = std::fs::remove_file(place::feed_report(&config.data_dir));
        let mut shell_args = run.process("shell");
        shell_args.extend(["--address-file".into(), address.clone()]);
        let mut shell = Supervised::start("shell", shell_args)?;
        wait_until("shell", &mut shell, stop, || {
            std::fs::metadata(&address).is_ok_and(|file| file.len() > 0)
        })?;
        if let Ok(address) = std::fs::read_to_string(&address) {
            let login = if config.auth.enabled {
                "login needed"
            } else {
                "development mode: loopback only, no login"
            };
            let scheme = if config.server.tls_cert.is_some() { "https" } else { "http" };
            eprintln!("ringfence is up: {scheme}://{}  ({login})", address.trim());
            eprintln!("data: {}   stop: Ctrl-C", config.data_dir.display());
        }
        Ok(Self { core, demo, shell, counters })
    }

    fn watch(&mut self, args: &UpArgs, stop: &AtomicBool) -> anyhow::Result<()> {
        let started = Instant::now();
        let mut finished: Option<Instant> = None;
        while !stop.load(Ordering::Relaxed) {
            std::thread::sleep(LOOK);
            for child in
                [Some(&mut self.core), self.demo.as_mut(), Some(&mut self.shell)].into_iter().flatten()
            {
                ensure!(child.keep_alive()?, "a process ends again and again: see its messages above");
            }
            let Some(limit) = args.for_time else { continue };
            if started.elapsed() >= limit {
                return Ok(());
            }
            let over = CountersReader::open(&self.counters).is_ok_and(|c| c.get(Counter::TapeFinished) == 1);
            match finished {
                None if over => finished = Some(Instant::now()),
                Some(since) if since.elapsed() > SETTLE => return Ok(()),
                _ => {}
            }
        }
        Ok(())
    }

    /// The strategy first, then the market and HTTP, then the gate, whose last act is a synced journal.
    fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(demo) = &mut self.demo {
            demo.stop(STOP_PATIENCE)?;
        }
        self.shell.stop(STOP_PATIENCE)?;
        match self.core.stop(STOP_PATIENCE)? {
            Some(status) if status.success() => Ok(()),
            Some(status) => bail!("the core ended with {status}: see its messages above"),
            None => bail!("the core had to be killed: the next start recovers its journal"),
        }
    }
}

fn attached(counters: &Path) -> Option<u64> {
    CountersReader::open(counters).ok().map(|counters| counters.get(Counter::AttachedClients))
}

fn wait_until(
    name: &str,
    child: &mut Supervised,
    stop: &AtomicBool,
    mut ready: impl FnMut() -> bool,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + READY_PATIENCE;
    while !ready() && !stop.load(Ordering::Relaxed) {
        if let Some(status) = child.ended()? {
            bail!("{name} ended with {status} before it was ready: see its message above");
        }
        ensure!(Instant::now() < deadline, "{name} was not ready within {READY_PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn report(args: &UpArgs, config: &CoreConfig) -> anyhow::Result<()> {
    let path = config.summary_path();
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut summary: Value = serde_json::from_str(&text)?;
    let feed = std::fs::read_to_string(place::feed_report(&config.data_dir)).ok();
    let feed: Option<Value> = feed.and_then(|text| serde_json::from_str(&text).ok());
    summary["malformed_lines"] = feed.map_or(Value::Null, |feed| feed["malformed"].clone());
    if args.json {
        println!("{}", one_line(&summary)?);
        return Ok(());
    }
    println!(
        "{} market events, {} intents, {} accepted, {} fills, P&L {}; state hash {}",
        summary["market_events"],
        summary["intents"],
        summary["accepted"],
        summary["fills"],
        summary["pnl"].as_str().unwrap_or("?"),
        summary["state_hash"].as_str().unwrap_or("?"),
    );
    Ok(())
}

/// The summary on one line, its profit as an exact JSON number.
fn one_line(summary: &Value) -> anyhow::Result<String> {
    let object = summary.as_object().context("the core's summary is no object")?;
    let fields: Result<Vec<String>, serde_json::Error> = object
        .iter()
        .map(|(key, value)| {
            let text = match (key.as_str(), value) {
                ("pnl", Value::String(number)) => number.clone(),
                (_, value) => serde_json::to_string(value)?,
            };
            Ok(format!("\"{key}\":{text}"))
        })
        .collect();
    Ok(format!("{{{}}}", fields?.join(",")))
}
