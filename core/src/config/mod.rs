//! What one core process runs with: a TOML file, every unknown key an error.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ringfence_ipc::handshake::Role;
use ringfence_ipc::journal::LimitRecord;
use ringfence_ipc::msg::{StrategyId, SymbolId};
use ringfence_ipc::reason::Scope;
use ringfence_ipc::symbol::{Symbol, parse_scaled};
use serde::{Deserialize, Serialize};

use crate::gate::Capacity;
use crate::journal::JournalOptions;

mod audit;
mod auth;
mod binance;
mod cache;
mod dag;
mod events;
mod guard;
pub mod keys;
mod limits;
mod reference;
mod server;
mod setting;
mod shell;
mod source;
#[cfg(test)]
mod tests;
mod text;
mod unit;

pub use audit::AuditConfig;
pub use auth::AuthSection;
pub use binance::BinanceSection;
pub use cache::CacheConfig;
pub use dag::DagConfig;
pub use events::EventsConfig;
pub use guard::{Levels, OnDisconnect, OnOperatorGone, OperatorConfig, StormConfig};
pub use limits::Limits;
pub use reference::reference;
pub use server::ServerSection;
pub use shell::{MarketSource, ShellSection};
pub(crate) use source::leaves;
pub use source::{ConfigSource, Loaded, Origin};
pub use text::KeyError;
pub use unit::{Measure, UnitError};

/// How an idle thread waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Wait {
    /// Spin, yield, then sleep up to 50 us: shares the CPU.
    #[default]
    Backoff,
    /// Never give the CPU up: needs one of its own.
    Spin,
    /// Spin, yield, then sleep until a client wakes it: an idle gate costs next to nothing, a waking one tens of us.
    Park,
}

/// Where commands go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum VenueKind {
    /// The paper venue: fills against the tape.
    #[default]
    Paper,
    /// Answers every order with "expired" at once; for benches.
    Null,
    /// An adapter in another process, which attaches as `venue`.
    External,
    /// The same; the shell is that process, and the exchange is Binance spot.
    BinanceTestnetSpot,
}

impl VenueKind {
    /// Whether commands leave for another process.
    #[must_use]
    pub const fn is_external(self) -> bool {
        matches!(self, Self::External | Self::BinanceTestnetSpot)
    }
}

/// What a decision has survived before anybody sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// `kill -9` of every process, not the loss of power.
    #[default]
    Process,
    /// The loss of power: every answer, report and command waits until its record is on disk.
    Power,
}

/// The whole configuration of a core process.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CoreConfig {
    /// Durable files: archive segments, lock.
    pub data_dir: PathBuf,
    /// Socket, hot journal and counters; on tmpfs.
    pub run_dir: PathBuf,
    /// What money is counted in.
    #[serde(default = "default_currency")]
    pub currency: String,
    /// How the gate thread waits.
    #[serde(default)]
    pub wait: Wait,
    /// CPU to pin the gate thread to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<usize>,
    /// Where commands go.
    #[serde(default)]
    pub venue: VenueKind,
    /// Decide in turns with the tape (reproducible runs).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lockstep: Option<Lockstep>,
    /// Journal sizes.
    #[serde(default)]
    pub journal: JournalConfig,
    /// Table sizes.
    #[serde(default)]
    pub capacity: CapacityConfig,
    /// Size of the node cache.
    #[serde(default)]
    pub cache: CacheConfig,
    /// Paper venue model.
    #[serde(default)]
    pub paper: PaperModel,
    /// Limits of the whole gate.
    #[serde(default)]
    pub limits: Limits,
    /// Thresholds of StormGuard.
    #[serde(default)]
    pub storm: StormConfig,
    /// The kill switch cancels every open order too, unless whoever pulls it says otherwise.
    #[serde(default = "yes")]
    pub kill_cancels_orders: bool,
    /// The shell: HTTP and the market source.
    #[serde(default)]
    pub shell: ShellSection,
    /// Binance: the venue, the market source, or both.
    #[serde(default)]
    pub binance: BinanceSection,
    /// How the shell is reached.
    #[serde(default)]
    pub server: ServerSection,
    /// The audit log.
    #[serde(default)]
    pub audit: AuditConfig,
    /// Order events.
    #[serde(default)]
    pub events: EventsConfig,
    /// Strategies as DAGs.
    #[serde(default)]
    pub dag: DagConfig,
    /// Who may use the shell.
    #[serde(default)]
    pub auth: AuthSection,
    /// Accounts with limits of their own.
    #[serde(default, rename = "account")]
    pub accounts: Vec<AccountConfig>,
    /// The dead-man switch.
    #[serde(default)]
    pub operator: OperatorConfig,
    /// The symbol table; a symbol's id is its place in this list.
    #[serde(default, rename = "symbol")]
    pub symbols: Vec<SymbolConfig>,
    /// Strategies known from the start.
    #[serde(default, rename = "strategy")]
    pub strategies: Vec<StrategyConfig>,
    /// Who may attach as what.
    #[serde(default, rename = "client")]
    pub clients: Vec<ClientConfig>,
}

const fn yes() -> bool {
    true
}

/// Lockstep settings.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Lockstep {
    /// How many strategies must have attached before the first event.
    pub strategies: usize,
    /// Seed of everything random.
    pub seed: u64,
}

/// Journal sizes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct JournalConfig {
    /// Hot ring on tmpfs, bytes.
    pub hot_bytes: u64,
    /// One archive segment, bytes.
    pub segment_bytes: u64,
    /// Below this many free bytes on the data disk new orders are refused.
    pub min_free_bytes: u64,
    /// Journal growth between two checkpoints, bytes; 0: none are written.
    pub checkpoint_bytes: u64,
    /// Segments further back than this, bytes, are removed once nobody needs them. Absent: all are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retain_bytes: Option<u64>,
    /// Segments last written longer ago than this, ns, are removed once nobody needs them. Absent: all are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retain_ns: Option<u64>,
    /// A registered follower further behind than this, bytes, is not waited for.
    pub max_lag_bytes: u64,
    /// What a decision survives before it is shown.
    pub tier: Tier,
    /// Tier `power`: answers, reports and commands that wait for the disk at most; beyond it new orders are refused.
    pub held_entries: usize,
}

impl Default for JournalConfig {
    fn default() -> Self {
        Self {
            hot_bytes: 256 << 20,
            segment_bytes: 256 << 20,
            min_free_bytes: 256 << 20,
            checkpoint_bytes: 128 << 20,
            retain_bytes: None,
            retain_ns: None,
            max_lag_bytes: 1 << 30,
            tier: Tier::Process,
            held_entries: 1 << 16,
        }
    }
}

/// Table sizes, fixed at boot.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct CapacityConfig {
    /// Live orders at most; a power of two.
    pub order_slots: usize,
    /// Strategies ever known.
    pub max_strategies: u16,
    /// (strategy, symbol) pairs with a position.
    pub max_positions: usize,
    /// Attached clients.
    pub max_clients: usize,
    /// Slots of a client's intents ring; a power of two.
    pub intents_slots: u32,
    /// Slots of a client's events ring; a power of two.
    pub events_slots: u32,
    /// Slots of a feed's tape ring; a power of two.
    pub tape_slots: u32,
    /// A client whose full events ring keeps the gate waiting for longer is detached; it may resume, ms.
    pub lagging_patience_ms: u64,
}

impl Default for CapacityConfig {
    fn default() -> Self {
        Self {
            order_slots: 1 << 16,
            max_strategies: 64,
            max_positions: 4096,
            max_clients: 64,
            intents_slots: 1024,
            events_slots: 4096,
            tape_slots: 16_384,
            lagging_patience_ms: 5000,
        }
    }
}

/// The paper venue's model.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct PaperModel {
    /// Gate to venue, ns.
    pub latency_ns: u64,
    /// Added at random, up to this much, ns.
    pub jitter_ns: u64,
    /// Maker fee, millionths of the notional; negative is a rebate.
    pub maker_fee_ppm: i32,
    /// Taker fee, millionths of the notional.
    pub taker_fee_ppm: i32,
    /// Share of new orders refused at random, millionths.
    pub reject_ppm: u32,
    /// Seed of the model's randomness.
    pub seed: u64,
}

impl Default for PaperModel {
    fn default() -> Self {
        Self {
            latency_ns: 500_000,
            jitter_ns: 100_000,
            maker_fee_ppm: 1000,
            taker_fee_ppm: 1000,
            reject_ppm: 0,
            seed: 1,
        }
    }
}

/// One symbol.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SymbolConfig {
    /// Name, e.g. `BTCUSDT`.
    pub name: String,
    /// Smallest price step, decimal text.
    pub tick: String,
    /// Smallest quantity step, decimal text.
    pub lot: String,
    /// Decimals of a price.
    pub price_scale: u8,
    /// Decimals of a quantity.
    pub qty_scale: u8,
    /// Limits of this symbol.
    #[serde(default)]
    pub limits: Limits,
}

/// One account.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AccountConfig {
    /// Its id.
    pub id: u16,
    /// Its limits.
    #[serde(default)]
    pub limits: Limits,
}

fn default_currency() -> String {
    "USDT".to_owned()
}

/// One strategy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StrategyConfig {
    /// Its name.
    pub name: String,
    /// Its account.
    #[serde(default)]
    pub account: u16,
    /// The symbols it may trade, by name. Absent: every symbol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbols: Option<Vec<String>>,
    /// What happens to its open orders when its client is gone.
    #[serde(default)]
    pub on_disconnect: OnDisconnect,
    /// How long its client has to come back before that.
    #[serde(default)]
    pub resume_grace_ms: u64,
    /// Its limits.
    #[serde(default)]
    pub limits: Limits,
}

/// Who may attach: by user id or by the content of a key file that only this user can read (mode 0600).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ClientConfig {
    /// What it may be: strategy, operator, feed, venue, observer.
    pub role: String,
    /// Its name; `*` admits any.
    pub name: String,
    /// The user it must run as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// The 32-byte key it must present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
}

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The text is not a configuration.
    #[error("{path}: {message}")]
    Parse {
        /// Which file.
        path: PathBuf,
        /// What and where.
        message: String,
    },
    /// One key is wrong.
    #[error("{origin}: {error}")]
    Key {
        /// Who said it.
        origin: Origin,
        /// What is wrong.
        error: Box<KeyError>,
    },
    /// A value cannot work.
    #[error("{0}")]
    Value(String),
}

impl CoreConfig {
    /// Reads and checks `path` and this process's environment.
    ///
    /// # Errors
    /// [`ConfigError`], naming the key.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Ok(ConfigSource::new(path).load()?.config)
    }

    /// That the parts fit each other.
    ///
    /// # Errors
    /// [`ConfigError::Value`], naming the key.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.symbol_table()?;
        self.limit_records(0)?;
        self.strategies.iter().try_for_each(|strategy| self.entitled(strategy).map(drop))?;
        if !self.journal.hot_bytes.is_power_of_two() {
            return Err(ConfigError::Value("journal.hot_size must be a power of two".into()));
        }
        if self.venue.is_external() && self.lockstep.is_some() {
            return Err(ConfigError::Value(
                "a venue in another process does not work in lockstep, where the tape is the clock: use paper"
                    .into(),
            ));
        }
        if self.venue.is_external() && !self.clients.iter().any(|c| c.role() == Some(Role::Venue)) {
            return Err(ConfigError::Value(
                "a venue in another process needs a [[client]] with role = \"venue\": say who its adapter is"
                    .into(),
            ));
        }
        self.check_binance()?;
        self.cache.check()
    }

    /// Where the market comes from.
    #[must_use]
    pub fn market_source(&self) -> MarketSource {
        match self.shell.market_source {
            _ if self.shell.replay.is_some() => MarketSource::Replay,
            Some(source) => source,
            None if self.venue == VenueKind::BinanceTestnetSpot => MarketSource::Binance,
            None => MarketSource::Sim,
        }
    }

    fn check_binance(&self) -> Result<(), ConfigError> {
        let wrong = |text: &str| Err(ConfigError::Value(text.to_owned()));
        let live = self.venue == VenueKind::BinanceTestnetSpot && self.binance.allow_mainnet;
        if live && !self.auth.enabled {
            return wrong(
                "binance.allow_mainnet: orders there may cost real money, so a login is needed: set auth.enabled = true",
            );
        }
        let said = self.shell.market_source;
        if self.shell.replay.is_some() && said.is_some_and(|said| said != MarketSource::Replay) {
            return wrong("shell.replay and another shell.market_source exclude each other: leave one out");
        }
        if self.shell.replay.is_none() && said == Some(MarketSource::Replay) {
            return wrong("shell.market_source = \"replay\" needs shell.replay: name the recording");
        }
        if self.lockstep.is_some() && self.market_source() == MarketSource::Binance {
            return wrong("a live market does not work in lockstep: use shell.replay");
        }
        Ok(())
    }

    /// The checked symbol table.
    ///
    /// # Errors
    /// [`ConfigError::Value`] naming the symbol.
    pub fn symbol_table(&self) -> Result<Vec<Symbol>, ConfigError> {
        let bad = |name: &str, what: &str, error: &dyn std::fmt::Display| {
            ConfigError::Value(format!("symbol {name}: {what}: {error}"))
        };
        let mut table = Vec::with_capacity(self.symbols.len());
        for s in &self.symbols {
            let tick = parse_scaled(&s.tick, s.price_scale).map_err(|e| bad(&s.name, "tick", &e))?;
            let lot = parse_scaled(&s.lot, s.qty_scale).map_err(|e| bad(&s.name, "lot", &e))?;
            let symbol = Symbol::new(&s.name, s.price_scale, s.qty_scale, tick, lot)
                .map_err(|e| bad(&s.name, "symbol", &e))?;
            if table.iter().any(|known: &Symbol| known.name == symbol.name) {
                return Err(ConfigError::Value(format!("symbol {} is listed twice", s.name)));
            }
            table.push(symbol);
        }
        if table.is_empty() {
            return Err(ConfigError::Value("no [[symbol]] is configured: add at least one".into()));
        }
        Ok(table)
    }

    /// What `strategy` may trade, by id; none: everything.
    ///
    /// # Errors
    /// [`ConfigError::Value`] naming the symbol.
    pub fn entitled(&self, strategy: &StrategyConfig) -> Result<Option<BTreeSet<SymbolId>>, ConfigError> {
        let id = |name: &String| {
            let found = (0..).zip(&self.symbols).find(|(_, symbol)| symbol.name == *name);
            found.map(|(id, _)| id).ok_or_else(|| {
                let strategy = &strategy.name;
                ConfigError::Value(format!("strategy.{strategy}.symbols: there is no symbol `{name}`"))
            })
        };
        strategy.symbols.as_ref().map(|names| names.iter().map(id).collect()).transpose()
    }

    /// Every configured limit as the record that sets it; strategy ids count from 1.
    ///
    /// # Errors
    /// [`ConfigError::Value`] naming the limit.
    pub fn limit_records(&self, now_ns: u64) -> Result<Vec<LimitRecord>, ConfigError> {
        let mut records = Vec::new();
        let mut push = |limits: &Limits, scope: Scope, id: u16| {
            limits.push_records(scope, id, self.quantity(scope, id).1, now_ns, &mut records)
        };
        push(&self.limits, Scope::Global, 0)?;
        self.accounts.iter().try_for_each(|account| push(&account.limits, Scope::Account, account.id))?;
        for (symbol, id) in self.symbols.iter().zip(0..) {
            push(&symbol.limits, Scope::Symbol, id)?;
        }
        for (strategy, id) in self.strategies.iter().zip(1..) {
            push(&strategy.limits, Scope::Strategy, id)?;
        }
        self.storm.push_records(now_ns, &mut records)?;
        Ok(records)
    }

    /// As [`Self::limit_records`], with the ids that the strategies of the list have in the journal.
    ///
    /// # Errors
    /// [`ConfigError::Value`] naming the limit.
    pub fn resolved_limits(&self, ids: &[StrategyId], now_ns: u64) -> Result<Vec<LimitRecord>, ConfigError> {
        let mut records = self.limit_records(now_ns)?;
        for record in records.iter_mut().filter(|record| record.scope == Scope::Strategy) {
            if let Some(id) = ids.get(usize::from(record.scope_id) - 1) {
                record.scope_id = *id;
            }
        }
        Ok(records)
    }

    /// How the journal is kept.
    #[must_use]
    pub fn journal_options(&self) -> JournalOptions {
        JournalOptions {
            hot_bytes: self.journal.hot_bytes,
            segment_bytes: self.journal.segment_bytes,
            min_free_bytes: self.journal.min_free_bytes,
            // Tier `process` waits for no sync; rarer syncs leave the disk to the copying.
            sync_interval: Duration::from_millis(100),
            power: self.journal.tier == Tier::Power,
            ..JournalOptions::new(self.journal_dir(), self.hot_path())
        }
    }

    /// What the gate's tables hold.
    #[must_use]
    pub fn gate_capacity(&self) -> Capacity {
        Capacity {
            order_slots: self.capacity.order_slots,
            max_symbols: self.symbols.len() as u16,
            max_strategies: self.capacity.max_strategies,
            max_positions: self.capacity.max_positions,
            ..Capacity::default()
        }
    }

    /// The control socket.
    #[must_use]
    pub fn socket_path(&self) -> PathBuf {
        self.run_dir.join("core.sock")
    }

    /// The hot journal ring.
    #[must_use]
    pub fn hot_path(&self) -> PathBuf {
        self.run_dir.join("journal.hot")
    }

    /// While this file is there, the gate is killed.
    #[must_use]
    pub fn kill_path(&self) -> PathBuf {
        self.run_dir.join("kill")
    }

    /// The counters file.
    #[must_use]
    pub fn counters_path(&self) -> PathBuf {
        self.run_dir.join("counters")
    }

    /// Users, sessions and keys of the shell.
    #[must_use]
    pub fn auth_path(&self) -> PathBuf {
        self.data_dir.join("auth.db")
    }

    /// The archive directory.
    #[must_use]
    pub fn journal_dir(&self) -> PathBuf {
        self.data_dir.join("journal")
    }

    /// The audit log's directory.
    #[must_use]
    pub fn audit_dir(&self) -> PathBuf {
        self.data_dir.join("audit")
    }

    /// Topics that are kept in a file.
    #[must_use]
    pub fn topics_path(&self) -> PathBuf {
        self.data_dir.join("topics.db")
    }

    /// Strategies, their graph and their values, where these are kept in files; and submissions that wait.
    #[must_use]
    pub fn dag_dir(&self) -> PathBuf {
        self.data_dir.join("dag")
    }

    /// Where a clean stop leaves its summary.
    #[must_use]
    pub fn summary_path(&self) -> PathBuf {
        self.data_dir.join("summary.json")
    }
}

impl ClientConfig {
    /// The role, if the name is one.
    #[must_use]
    pub fn role(&self) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.name() == self.role)
    }
}
