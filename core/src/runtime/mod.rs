//! The process around the gate: threads, rings, boot and shutdown.

mod absence;
mod affinity;
mod attach;
mod beds;
mod boot;
mod control;
mod external;
mod held;
mod intents;
mod limits;
mod lockstep;
mod mailbox;
mod missed;
mod nodes;
mod operator;
mod paper_thread;
mod peer;
mod port;
mod quotes;
mod reactor;
mod registry;
mod release;
mod reports;
#[cfg(test)]
mod simulation;
mod summary;
mod switches;
mod tend;
#[cfg(test)]
mod tests;
mod venue_port;
mod vigil;
mod wait;
mod watch;

use std::fs::{File, TryLockError};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use ringfence_ipc::counters::{Counter, CountersReader, CountersWriter};
use ringfence_ipc::handshake::socket;
use ringfence_ipc::hint::{populate_code, touch_stack};
use ringfence_ipc::journal::registry as followers;
use ringfence_ipc::layout;
use ringfence_ipc::market::MarketWriter;
use ringfence_ipc::msg::Command;
use ringfence_ipc::segment::{GateSegment, SegmentError};
use tracing::{error, info, warn};

use crate::checkpoint::{Plan, RecoverError, Worker};
use crate::config::{ConfigError, ConfigSource, CoreConfig, Tier, VenueKind};
use crate::gate::{ApplyError, Space};
use crate::journal::{Archiver, JournalError};
use crate::summary::Summary;
use crate::venue::{NullVenue, PaperConfig, PaperVenue};

use absence::Absence;
use affinity::KeepOff;
use attach::Setup;
use beds::Beds;
use boot::{Booted, Start};
use control::Control;
use external::External;
use held::Held;
use limits::Book;
use mailbox::{FromGate, MAILBOX_SLOTS};
use missed::JournalPaths;
use nodes::{Nodes, cache_segment};
use operator::KillFile;
use paper_thread::PaperThread;
use quotes::Quotes;
use reactor::{Parts, Reactor};
pub use switches::KILL_BY_SIGNAL;
use venue_port::{
    BLANK_COMMAND, BLANK_REPORT, COMMAND_SLOTS, REPORT_SLOTS, VenuePort, touched_ring, touched_vec,
};
use wait::Waiter;

/// Why a core cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum CoreError {
    /// A directory cannot be made.
    #[error("cannot create {path}: {source}")]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The configuration cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The journal cannot be opened.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The journal does not fit this configuration.
    #[error("the journal does not fit this configuration: {0}")]
    Apply(#[from] ApplyError),
    /// The journal knows a symbol the configuration changes.
    #[error(
        "symbol {id} is `{name}` in the journal and something else in the configuration: only add symbols at the end, or start with a new data_dir"
    )]
    SymbolChanged {
        /// Its id.
        id: u16,
        /// Its name in the journal.
        name: String,
    },
    /// The checkpoint thread cannot be started.
    #[error("cannot start the checkpoint thread: {0}")]
    Checkpoints(io::Error),
    /// Epochs are 16 bits.
    #[error("this journal has seen 65,535 lives: start with a new data_dir")]
    Epochs,
    /// The archiver failed while starting.
    #[error("the archiver failed: see the log; free the disk and start again")]
    Archiver,
    /// No randomness.
    #[error("no random bytes: {0}")]
    Random(io::Error),
    /// Shared memory cannot be set up.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// The control socket cannot be opened.
    #[error("control socket {path}: {source}")]
    Socket {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another gate runs there.
    #[error("{path} is used by a running gate: stop it first, or choose another run_dir")]
    RunDirInUse {
        /// The run directory.
        path: PathBuf,
    },
    /// A thread cannot be started or died.
    #[error("thread {name}: {what}")]
    Thread {
        /// Its name.
        name: &'static str,
        /// What happened.
        what: String,
    },
    /// The system has no descriptor left for the gate's beds.
    #[error("--wait park: {0}; raise `ulimit -n`")]
    Bells(io::Error),
    /// Spinning needs a CPU of its own.
    #[error(
        "--wait spin needs more than {cpus} CPU: the gate would starve the processes it serves; use backoff or park"
    )]
    SpinRefused {
        /// CPUs there are.
        cpus: usize,
    },
}

impl From<RecoverError> for CoreError {
    fn from(error: RecoverError) -> Self {
        match error {
            RecoverError::Journal(error) => Self::Journal(error),
            RecoverError::Apply(error) => Self::Apply(error),
        }
    }
}

/// What [`Core::start_with`] runs on the gate thread.
pub type OnGateThread = Box<dyn FnOnce() + Send>;

/// A running core.
pub struct Core {
    stop: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
    paper_stop: Arc<AtomicBool>,
    control: JoinHandle<io::Result<()>>,
    gate: JoinHandle<Reactor>,
    paper: Option<JoinHandle<()>>,
    archiver: Archiver,
    checkpoints: Worker,
    config: CoreConfig,
    symbols: Vec<ringfence_ipc::symbol::Symbol>,
    epoch: u16,
    /// Held while anything of this gate runs.
    _run_dir_lock: File,
}

impl Core {
    /// Recovers and starts every thread; when it returns, clients can attach.
    ///
    /// # Errors
    /// [`CoreError`]; nothing runs then.
    pub fn start(config: CoreConfig) -> Result<Self, CoreError> {
        Self::start_with(config, Box::new(|| ()))
    }

    /// As [`Core::start`], with what `source` says now; a reload reads it again. The gate is killed in the pass that finds
    /// `kill` other than 0: a signal handler may store [`KILL_BY_SIGNAL`] there at any time, before and after the start.
    ///
    /// # Errors
    /// As [`Core::start`].
    pub fn start_from(source: ConfigSource, kill: Arc<AtomicUsize>) -> Result<Self, CoreError> {
        let config = source.load()?.config;
        Self::launch(config, Some(source), Box::new(|| ()), kill)
    }

    /// As [`Core::start`]; the gate thread runs `on_gate_thread` once before its first pass. So that a test or a bench
    /// can watch that thread from inside: a system-call filter, an allocation counter, a scheduling class.
    ///
    /// # Errors
    /// As [`Core::start`].
    pub fn start_with(config: CoreConfig, on_gate_thread: OnGateThread) -> Result<Self, CoreError> {
        Self::launch(config, None, on_gate_thread, Arc::default())
    }

    fn launch(
        config: CoreConfig,
        source: Option<ConfigSource>,
        on_gate_thread: OnGateThread,
        kill: Arc<AtomicUsize>,
    ) -> Result<Self, CoreError> {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        if config.wait == crate::config::Wait::Spin && cpus < 2 {
            return Err(CoreError::SpinRefused { cpus });
        }
        let run_dir_lock = lock_run_dir(&config)?;
        // Every thread started from here on, but for the gate's own. One that rests leaves room for others on its CPU.
        let _keep_off = KeepOff::cpu(config.pin.filter(|_| config.wait == crate::config::Wait::Spin));
        link_data(&config);
        let Booted {
            gate,
            writer,
            archiver,
            clock,
            registry,
            symbols,
            capacity,
            hash_seed,
            epoch,
            next_client,
            checkpoint,
            records,
            now_ns,
        } = boot::boot(&config)?;
        let checkpoints =
            Worker::spawn(Plan::of(&config), archiver.watch(), checkpoint).map_err(CoreError::Checkpoints)?;
        let counters = open_counters(&config)?;
        counters.set(Counter::Epoch, u64::from(epoch));
        counters.set(Counter::GatePid, u64::from(std::process::id()));
        counters.set(Counter::JournalRecords, records);
        counters.set(Counter::TapeFinished, 0);
        let market = Arc::new(GateSegment::create("ringfence-market", layout::market_bytes(symbols.len()))?);
        let market_writer = MarketWriter::new(market.mapping(), &symbols, 1)?;
        let cache = Arc::new(cache_segment(&config.cache)?);
        let nodes = Nodes::new(&cache, &config.cache)?;
        let beds = Beds::new(&config, market.mapping())?;
        let (to_gate, inbox) = rtrb::RingBuffer::new(MAILBOX_SLOTS);
        let (outbox, from_gate) = rtrb::RingBuffer::new(MAILBOX_SLOTS);
        let (stop, reload) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let paper_stop = Arc::new(AtomicBool::new(false));
        let (fault_sender, paper_faults) = crossbeam_channel::bounded(64);
        let model = paper_config(&config, epoch);
        let base_event = counters.get(Counter::MarketEvents);
        let paper_venue = || {
            let mut venue = PaperVenue::new(model, &symbols);
            venue.resume_after(base_event);
            gate.positions().for_each(|p| venue.resume_holding(p.symbol, p.qty, p.fees_e8));
            venue
        };
        let (venue, paper) = match (config.venue, &config.lockstep) {
            (VenueKind::Null, _) => {
                (VenuePort::Null { venue: NullVenue, reports: touched_vec(REPORT_SLOTS, BLANK_REPORT) }, None)
            }
            (_, Some(_)) => {
                let venue = Box::new(paper_venue());
                (VenuePort::Inline { venue, reports: touched_vec(REPORT_SLOTS, BLANK_REPORT) }, None)
            }
            (_, None) => {
                let (commands, to_venue) = touched_ring(COMMAND_SLOTS, BLANK_COMMAND);
                let (reports_in, reports) = touched_ring(REPORT_SLOTS, BLANK_REPORT);
                let (to_paper, paper_inbox) = crossbeam_channel::bounded(16);
                let thread = PaperThread {
                    venue: paper_venue(),
                    clock,
                    commands: to_venue,
                    reports: reports_in,
                    inbox: paper_inbox,
                    faults: fault_sender,
                    counters: counters.clone(),
                    base_event,
                    epoch,
                    earlier: (counters.get(Counter::VenueCommands), counters.get(Counter::VenueReports)),
                    stop: Arc::clone(&paper_stop),
                    bed: beds.venue.clone(),
                    neighbours: Beds::bells([&beds.gate])?,
                };
                let port = match config.venue {
                    // The thread goes on reading the tape: no order reaches it.
                    kind if kind.is_external() => {
                        VenuePort::External(Box::new(External::new(epoch, capacity.order_slots)))
                    }
                    _ => VenuePort::Paper { commands, reports },
                };
                (port, Some((thread, to_paper)))
            }
        };
        let (paper_thread, to_paper) =
            paper.map_or((None, None), |(thread, sender)| (Some(thread), Some(sender)));
        let book = Book::new(&gate, config.clone(), source);
        book.announce(&registry);
        let mut start = Start { gate, writer, now_ns, records };
        let reentry = venue.handed_out().map_or(Ok(Vec::new()), |known| start.reenter(known))?;
        let Start { gate, writer, records, .. } = start;
        let dedup_quota = (0..=capacity.max_strategies).map(|id| gate.dedup_quota(id)).collect();
        let tape_counters = counters.clone();
        let setup = Setup {
            clock,
            epoch,
            lockstep: config.lockstep.is_some(),
            sizes: config.capacity.clone(),
            capacity,
            hash_seed,
            journal: JournalPaths { hot: config.hot_path(), archive: config.journal_dir() },
            market: Arc::clone(&market),
            cache,
            beds: beds.clone(),
            dedup_quota,
            dead_man: config.operator.name.clone(),
            tape_event: Box::new(move || tape_counters.get(Counter::MarketEvents)),
        };
        let path = config.socket_path();
        let listener = socket::listen(&path).map_err(|source| CoreError::Socket { path, source })?;
        let mut reactor = Reactor::new(Parts {
            gate,
            journal: writer,
            venue,
            clock,
            market: Quotes::new(market_writer, symbols.len()),
            nodes,
            counters,
            inbox,
            outbox,
            max_clients: config.capacity.max_clients,
            max_strategies: usize::from(capacity.max_strategies),
            kill: Arc::clone(&kill),
            kill_cancels_orders: config.kill_cancels_orders,
            lagging_patience_ns: config.capacity.lagging_patience_ms.saturating_mul(1_000_000),
            held: Held::new(held_entries(&config), config.capacity.max_clients),
        });
        reactor.records = records;
        reactor.base_event = base_event;
        reactor.tape_now_ns = config.lockstep.as_ref().map(|_| now_ns);
        reactor.begin_vigil(now_ns);
        if config.lockstep.is_none() {
            reactor.absence = Absence::begin(&config, &reactor.gate, now_ns);
        }
        reactor.show_guard();
        reactor.show_venue();
        let control = Control {
            setup,
            registry,
            listener,
            to_gate,
            from_gate,
            to_paper,
            asks_adapter: config.venue.is_external(),
            paper_faults,
            stop: Arc::clone(&stop),
            max_clients: config.capacity.max_clients,
            next_client,
            counters: reactor.counters.clone(),
            kill,
            kill_file: KillFile::new(config.kill_path()),
            bells: Beds::bells([&beds.gate, &beds.venue])?,
            reload: Arc::clone(&reload),
            book,
        };
        let waiter = Waiter::in_bed(config.wait, beds.gate.clone(), Beds::bells([&beds.venue])?);
        let paper = paper_thread.map(|thread| spawn("ringfence-paper", move || thread.run())).transpose()?;
        let gate = spawn_gate(reactor, reentry, waiter, &config, on_gate_thread)?;
        let control = spawn("ringfence-ctl", move || control.run())?;
        info!(epoch, socket = %config.socket_path().display(), "gate is running");
        if config.venue.is_external() {
            info!("only cancels pass until the venue's adapter attaches");
        }
        Ok(Self {
            stop,
            reload,
            paper_stop,
            control,
            gate,
            paper,
            archiver,
            checkpoints,
            config,
            symbols,
            epoch,
            _run_dir_lock: run_dir_lock,
        })
    }

    /// Setting this stops the core in good order.
    #[must_use]
    pub fn stop_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    /// Setting this has the configuration read again; the log says what came of it.
    #[must_use]
    pub fn reload_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.reload)
    }

    /// What it started with.
    #[must_use]
    pub fn config(&self) -> &CoreConfig {
        &self.config
    }

    /// Waits until the core has stopped, then syncs the journal, removes what only the living need, and sums up.
    ///
    /// # Errors
    /// [`CoreError::Thread`] when a thread panicked, [`CoreError::Archiver`] when the journal could not be finished.
    pub fn wait(self) -> Result<Summary, CoreError> {
        let mut reactor = join("ringfence-gate", self.gate)?;
        join("ringfence-ctl", self.control)?
            .map_err(|error| CoreError::Thread { name: "ringfence-ctl", what: error.to_string() })?;
        self.paper_stop.store(true, Ordering::Release);
        if let Some(paper) = self.paper {
            join("ringfence-paper", paper)?;
        }
        let state_hash = reactor.close();
        let records = reactor.records;
        let gate = reactor.gate;
        drop(reactor.journal);
        self.archiver.stop()?;
        self.checkpoints.stop();
        let reader = CountersReader::open(&self.config.counters_path())?;
        let summary = summary::build(&gate, &self.symbols, &reader, records, self.epoch, &state_hash);
        let link = self.config.run_dir.join(DATA_LINK);
        for path in [self.config.socket_path(), self.config.hot_path(), self.config.counters_path(), link] {
            if let Err(error) = std::fs::remove_file(&path)
                && error.kind() != io::ErrorKind::NotFound
            {
                error!(path = %path.display(), %error, "cannot remove");
            }
        }
        followers::close(&self.config.run_dir);
        let _ = std::fs::remove_dir(&self.config.run_dir);
        Ok(summary)
    }
}

/// One gate per run directory: taken before anything in it is touched, because a second gate would replace the first
/// one's hot journal before it found its socket in use. The kernel lets go of it when the process dies.
fn lock_run_dir(config: &CoreConfig) -> Result<File, CoreError> {
    let path = &config.run_dir;
    let refused = |source| CoreError::Directory { path: path.clone(), source };
    boot::make_dir(path, 0o750).map_err(refused)?;
    let dir = File::open(path).map_err(refused)?;
    dir.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => CoreError::RunDirInUse { path: path.clone() },
        TryLockError::Error(source) => refused(source),
    })?;
    Ok(dir)
}

/// In the run directory: where the run's data lie, for whoever finds only this directory.
const DATA_LINK: &str = "data";

fn link_data(config: &CoreConfig) {
    let link = config.run_dir.join(DATA_LINK);
    let _ = std::fs::remove_file(&link);
    let linked =
        std::path::absolute(&config.data_dir).and_then(|data| std::os::unix::fs::symlink(data, &link));
    if let Err(error) = linked {
        warn!(link = %link.display(), %error, "the run directory does not name its data");
    }
}

fn open_counters(config: &CoreConfig) -> Result<CountersWriter, SegmentError> {
    let path = config.counters_path();
    CountersWriter::open(&path).or_else(|_| CountersWriter::create(&path))
}

/// Tier `power` holds back at most this many entries; 0 in tier `process`.
fn held_entries(config: &CoreConfig) -> usize {
    match config.journal.tier {
        Tier::Process => 0,
        Tier::Power => config.journal.held_entries.max(held::MIN_ENTRIES),
    }
}

fn paper_config(config: &CoreConfig, epoch: u16) -> PaperConfig {
    let model = &config.paper;
    PaperConfig {
        latency_ns: model.latency_ns,
        jitter_ns: model.jitter_ns,
        maker_fee_ppm: model.maker_fee_ppm,
        taker_fee_ppm: model.taker_fee_ppm,
        reject_ppm: model.reject_ppm,
        seed: config.lockstep.as_ref().map_or(model.seed, |lockstep| lockstep.seed),
        // Trade ids stay unique across the lives of one journal.
        trade_id_base: u64::from(epoch) << 40,
        max_orders: config.capacity.order_slots,
    }
}

fn spawn<T: Send + 'static>(
    name: &'static str,
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, CoreError> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map_err(|error| CoreError::Thread { name, what: error.to_string() })
}

fn join<T>(name: &'static str, handle: JoinHandle<T>) -> Result<T, CoreError> {
    handle.join().map_err(|_| CoreError::Thread { name, what: "panicked: see the log above".to_owned() })
}

fn spawn_gate(
    mut reactor: Reactor,
    reentry: Vec<Command>,
    mut waiter: Waiter,
    config: &CoreConfig,
    on_gate_thread: OnGateThread,
) -> Result<JoinHandle<Reactor>, CoreError> {
    let (pin, lockstep) = (config.pin, config.lockstep.clone());
    spawn("ringfence-gate", move || {
        if let Some(id) = pin
            && !core_affinity::set_for_current(core_affinity::CoreId { id })
        {
            error!(cpu = id, "cannot pin the gate thread: check --pin against the CPUs this process may use");
        }
        for command in reentry {
            while reactor.venue.space() == Space::Full {
                std::thread::yield_now();
            }
            reactor.venue.push(&command, reactor.now_ns());
        }
        populate_code();
        touch_stack();
        on_gate_thread();
        match &lockstep {
            Some(settings) => reactor.run_lockstep(settings, &mut waiter),
            None => reactor.run(&mut waiter),
        }
        reactor.release_all(release::STOP_PATIENCE);
        let _ = reactor.outbox.push(FromGate::Stopped);
        reactor
    })
}
