//! One test's own gate: directories, configuration, and ways to look at what it did.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ringfence_core::config::{
    AuditConfig, AuthSection, BinanceSection, CacheConfig, CapacityConfig, ClientConfig, CoreConfig,
    EventsConfig, JournalConfig, Limits, OperatorConfig, PaperModel, ShellSection, StormConfig,
    StrategyConfig, SymbolConfig, VenueKind, Wait,
};
use ringfence_core::runtime::Core;
use ringfence_core::summary::Summary;
use ringfence_ipc::client::{AttachOptions, Client};
use ringfence_ipc::counters::{Counter, CountersReader};
use ringfence_ipc::handshake::{Role, socket};
use ringfence_ipc::journal::{FIRST_POSITION, Follower, Record};
use tempfile::TempDir;

use crate::await_that;
use crate::process::{Process, ringfence};

/// How long anything that should happen at once may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Directories and configuration of one gate.
#[derive(Debug)]
pub struct World {
    dir: TempDir,
    /// What the gate runs with.
    pub config: CoreConfig,
}

impl World {
    /// A gate with small tables, the paper venue, one symbol `BTCUSDT` (tick 0.01, lot 0.00001), and a strategy
    /// `hammer`; `edit` changes what a test needs otherwise.
    ///
    /// # Panics
    /// When the directories cannot be made.
    #[must_use]
    pub fn new(edit: impl FnOnce(&mut CoreConfig)) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let dir = TempDir::with_prefix("ringfence-test-").expect("a temporary directory");
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let run = format!("/dev/shm/ringfence-test-{}-{number}", std::process::id());
        let mut config = small(dir.path().join("data"), PathBuf::from(run));
        edit(&mut config);
        let world = Self { dir, config };
        std::fs::create_dir_all(&world.config.data_dir).expect("a data directory");
        world.save();
        world
    }

    /// Writes the configuration where processes read it.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn save(&self) {
        let text = self.config.to_toml();
        std::fs::write(self.config_path(), text).expect("the configuration can be written");
    }

    /// A directory for whatever else the test writes.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The configuration file.
    #[must_use]
    pub fn config_path(&self) -> PathBuf {
        self.config.data_dir.join("core.toml")
    }

    /// Starts the gate as a process; it may not be ready yet.
    #[must_use]
    pub fn start_process(&self) -> Process {
        let config = self.config_path().display().to_string();
        Process::start(ringfence(), &["core", "--config", &config], &self.dir.path().join("core.log"))
    }

    /// Starts the gate as a process and waits until clients can attach.
    #[must_use]
    pub fn start_ready(&self) -> Process {
        let mut core = self.start_process();
        await_that("the gate listens", PATIENCE, || {
            assert!(core.is_running(), "the gate did not start:\n{}", core.said());
            socket::connect(&self.config.socket_path()).is_ok()
        });
        core
    }

    /// Starts the gate inside this process.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start_here(&self) -> Here {
        Here { core: Some(Core::start(self.config.clone()).expect("the gate starts")) }
    }

    /// How to attach as strategy `name`.
    #[must_use]
    pub fn options(&self, name: &str) -> AttachOptions {
        AttachOptions::new(self.config.socket_path(), Role::Strategy, name)
    }

    /// Attaches as strategy `name`.
    ///
    /// # Panics
    /// When the gate refuses.
    #[must_use]
    pub fn attach(&self, name: &str) -> Client {
        Client::attach_patiently(self.options(name), PATIENCE).expect("a strategy attaches")
    }

    /// One of the running gate's counters; 0 while there is no gate.
    #[must_use]
    pub fn counter(&self, counter: Counter) -> u64 {
        CountersReader::open(&self.config.counters_path()).map_or(0, |counters| counters.get(counter))
    }

    /// The journal from its first record to its present end.
    ///
    /// # Panics
    /// When it cannot be read.
    #[must_use]
    pub fn journal(&self) -> Vec<(u64, Record)> {
        let (hot, archive) = (self.config.hot_path(), self.config.journal_dir());
        let mut follower = Follower::open(&hot, &archive, FIRST_POSITION).expect("the journal opens");
        std::iter::from_fn(|| follower.next().expect("the journal reads")).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.config.run_dir);
    }
}

/// A gate inside this process. Dropping it stops it.
pub struct Here {
    core: Option<Core>,
}

impl Here {
    /// Stops it in good order.
    ///
    /// # Panics
    /// When it does not.
    pub fn stop(mut self) -> Summary {
        let core = self.core.take().expect("a gate is stopped once");
        core.stop_flag().store(true, Ordering::Release);
        core.wait().expect("the gate stops in good order")
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        if let Some(core) = self.core.take() {
            core.stop_flag().store(true, Ordering::Release);
            let _ = core.wait();
        }
    }
}

/// Whoever runs this test may attach as `role` under any name.
#[must_use]
pub fn anybody(role: &str) -> ClientConfig {
    let uid = rustix::process::getuid().as_raw();
    ClientConfig { role: role.into(), name: "*".into(), uid: Some(uid), key_file: None }
}

fn small(data_dir: PathBuf, run_dir: PathBuf) -> CoreConfig {
    CoreConfig {
        data_dir,
        run_dir,
        currency: "USDT".into(),
        wait: Wait::Backoff,
        pin: None,
        venue: VenueKind::Paper,
        lockstep: None,
        journal: JournalConfig {
            hot_bytes: 1 << 20,
            segment_bytes: 16 << 20,
            min_free_bytes: 16 << 20,
            // Many lives begin at a checkpoint, and many at the first record.
            checkpoint_bytes: 256 << 10,
            ..JournalConfig::default()
        },
        capacity: CapacityConfig {
            order_slots: 4096,
            max_strategies: 16,
            max_positions: 64,
            max_clients: 16,
            intents_slots: 256,
            events_slots: 1024,
            tape_slots: 1024,
            ..CapacityConfig::default()
        },
        cache: CacheConfig { budget_bytes: 1 << 20, max_series: 64 },
        paper: PaperModel { latency_ns: 50_000, jitter_ns: 10_000, ..PaperModel::default() },
        limits: Limits::default(),
        storm: StormConfig::default(),
        kill_cancels_orders: true,
        shell: ShellSection::default(),
        binance: BinanceSection::default(),
        server: Default::default(),
        audit: AuditConfig::default(),
        events: EventsConfig::default(),
        dag: Default::default(),
        auth: AuthSection::default(),
        accounts: Vec::new(),
        operator: OperatorConfig::default(),
        symbols: vec![SymbolConfig {
            name: "BTCUSDT".into(),
            tick: "0.01".into(),
            lot: "0.00001".into(),
            price_scale: 2,
            qty_scale: 8,
            limits: Limits::default(),
        }],
        strategies: vec![StrategyConfig {
            name: "hammer".into(),
            limits: Limits { dedup_quota: Some(16_384), ..Limits::default() },
            ..StrategyConfig::default()
        }],
        clients: ["strategy", "operator", "feed", "observer"].map(anybody).into(),
    }
}
