//! A complete gate in a process of its own, as the gate rows see it: started, fed one quote, attached to, stopped.

use std::io::Write as _;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ringfence_core::config::CoreConfig;
use ringfence_core::runtime::Core;
use ringfence_ipc::client::{AttachOptions, Client};
use ringfence_ipc::counters::{Counter, CountersReader};
use ringfence_ipc::feed::FeedClient;
use ringfence_ipc::handshake::Role;
use ringfence_ipc::msg::Quote;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tempfile::TempDir;

use super::gate::PRICE;
use crate::machine::FAR_CPU;

const PATIENCE: Duration = Duration::from_secs(20);
/// Slots of the client's rings. The events ring holds what the intents ring can cause: a decision and a report each.
const INTENTS_SLOTS: u32 = 1024;
const EVENTS_SLOTS: u32 = 4096;

/// The running gate.
pub struct GateProcess {
    child: Child,
    config: CoreConfig,
    counters: CountersReader,
    /// Holds the feed's attachment open, and with it the reference price.
    _feed: FeedClient,
    _run: TempDir,
    _data: TempDir,
}

/// What the gate's own counters say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Decisions that accepted.
    pub accepted: u64,
    /// Commands that left for the venue.
    pub commands: u64,
    /// Records in the journal.
    pub journal_records: u64,
}

impl GateProcess {
    /// Starts it with a window of `live_keys` keys for the one strategy; archives below `disk`.
    ///
    /// # Errors
    /// It does not start, or the quote that makes its reference does not arrive.
    pub fn start(live_keys: usize, disk: &Path) -> Result<Self> {
        let run = tempfile::Builder::new().prefix("ringfence-bench-").tempdir_in("/dev/shm")?;
        std::fs::create_dir_all(disk)?;
        let data = tempfile::Builder::new().prefix("gate-").tempdir_in(disk)?;
        let path = run.path().join("core.toml");
        std::fs::File::create(&path)?.write_all(config(run.path(), data.path(), live_keys).as_bytes())?;
        let config = CoreConfig::load(&path)?;
        let child = Command::new(std::env::current_exe()?)
            .arg("--gate")
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .context("cannot start the gate process")?;
        let feed = AttachOptions::new(config.socket_path(), Role::Feed, "bench-feed");
        let mut feed = FeedClient::attach(feed, PATIENCE).context("the gate does not answer")?;
        let counters = CountersReader::open(&config.counters_path())?;
        let quote = Quote {
            symbol: 0,
            event: feed.next_event(),
            ts_ns: feed.now_ns(),
            bid_price: PRICE - 1,
            bid_qty: 1_000_000,
            ask_price: PRICE + 1,
            ask_qty: 1_000_000,
        };
        feed.publish(&[quote.encode()])?;
        let gate = Self { child, config, counters, _feed: feed, _run: run, _data: data };
        gate.wait_for("the reference price", |gate| gate.counters.get(Counter::MarketMessages) > 0)?;
        Ok(gate)
    }

    /// Attaches the one strategy.
    ///
    /// # Errors
    /// The gate refuses.
    pub fn client(&self) -> Result<Client> {
        let options = AttachOptions::new(self.config.socket_path(), Role::Strategy, "bench");
        Ok(Client::attach_patiently(options, PATIENCE)?)
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.config.socket_path()
    }

    /// Its configuration.
    #[must_use]
    pub const fn config(&self) -> &CoreConfig {
        &self.config
    }

    /// The gate's counters now.
    #[must_use]
    pub fn tally(&self) -> Tally {
        Tally {
            accepted: self.counters.get(Counter::Accepted),
            commands: self.counters.get(Counter::Commands),
            journal_records: self.counters.get(Counter::JournalRecords),
        }
    }

    /// Slots in the hot ring that are not on disk yet.
    #[must_use]
    pub fn unarchived_slots(&self) -> u64 {
        self.counters.get(Counter::JournalPos).saturating_sub(self.counters.get(Counter::ArchivedPos))
    }

    /// Slots that the hot ring holds.
    #[must_use]
    pub const fn hot_slots(&self) -> u64 {
        self.config.journal.hot_bytes / 64
    }

    /// Sleeps until the gate has counted `count`.
    ///
    /// # Errors
    /// It does not, or counts more.
    pub fn wait_counted(&self, counter: Counter, count: u64) -> Result<()> {
        self.wait_for(counter.name(), |gate| gate.counters.get(counter) >= count)?;
        let counted = self.counters.get(counter);
        ensure!(counted == count, "the gate counts {counted} {} where {count} were sent", counter.name());
        Ok(())
    }

    /// Sleeps until the archiver has caught up.
    ///
    /// # Errors
    /// It does not.
    pub fn wait_archived(&self) -> Result<()> {
        self.wait_for("the archiver", |gate| gate.unarchived_slots() == 0)
    }

    /// Takes the whole process off the CPUs.
    ///
    /// # Errors
    /// It has died.
    pub fn pause(&self) -> Result<()> {
        let pid = self.pid()?;
        kill_process(pid, Signal::STOP)?;
        let status = waitpid(Some(pid), WaitOptions::UNTRACED)?;
        let stopped = status.is_some_and(|(_, status)| status.stopped());
        ensure!(stopped, "the gate died while it was measured");
        Ok(())
    }

    /// Lets it run again.
    ///
    /// # Errors
    /// It has died.
    pub fn resume(&self) -> Result<()> {
        Ok(kill_process(self.pid()?, Signal::CONT)?)
    }

    /// Stops it in good order.
    ///
    /// # Errors
    /// It did not end well.
    pub fn stop(mut self) -> Result<()> {
        self.resume()?;
        drop(self.child.stdin.take());
        let status = self.child.wait()?;
        ensure!(status.success(), "the gate ended with {status} (signal {:?})", status.signal());
        Ok(())
    }

    fn pid(&self) -> Result<Pid> {
        Pid::from_raw(self.child.id().cast_signed()).context("the gate has no process id")
    }

    fn wait_for(&self, what: &str, ready: impl Fn(&Self) -> bool) -> Result<()> {
        let started = std::time::Instant::now();
        while !ready(self) {
            ensure!(started.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    }
}

impl Drop for GateProcess {
    fn drop(&mut self) {
        // Ended already after `stop`; otherwise a row failed and nothing of the gate is wanted any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The gate process's whole life: until its standard input closes.
///
/// # Errors
/// The gate cannot start or stop.
pub fn run(path: &Path) -> Result<()> {
    crate::machine::unpin()?;
    let core = Core::start(CoreConfig::load(path)?)?;
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    core.stop_flag().store(true, Ordering::Release);
    core.wait()?;
    Ok(())
}

fn config(run: &Path, data: &Path, live_keys: usize) -> String {
    let (run, data) = (toml_path(run), toml_path(data));
    let uid = rustix::process::getuid().as_raw();
    format!(
        r#"run_dir = {run}
data_dir = {data}
wait = "spin"
pin = {FAR_CPU}
venue = "null"

[capacity]
intents_slots = {INTENTS_SLOTS}
events_slots = {EVENTS_SLOTS}
max_strategies = 128
max_clients = 128

[limits]
max_order_notional = "1000000 USDT"
max_gross_notional = "10000000000 USDT"
price_collar = "500 bps"
reference_max_age = "24 h"

[[symbol]]
name = "BTCUSDT"
tick = "0.01"
lot = "0.00001"
price_scale = 2
qty_scale = 5
limits.max_position_qty = "10000 BTC"

[[strategy]]
name = "bench"

[strategy.limits]
max_order_qty = "10 BTC"
max_position_qty = "1000 BTC"
max_gross_notional = "1000000000 USDT"
order_rate = "1000000000 /s"
order_burst = 1000000000
max_open_orders = 10000
dedup_quota = {live_keys}

[[client]]
role = "strategy"
name = "*"
uid = {uid}

[[client]]
role = "operator"
name = "shell"
uid = {uid}

[[client]]
role = "feed"
name = "bench-feed"
uid = {uid}
"#
    )
}

/// A path as a TOML literal string.
fn toml_path(path: &Path) -> String {
    let absolute: PathBuf = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    format!("'{}'", absolute.display())
}
