//! From a configuration and whatever an earlier life left to a gate that can start.

use std::collections::BTreeSet;
use std::path::PathBuf;

use ringfence_ipc::clock::Clock;
use ringfence_ipc::journal::{BootRecord, ConfigOrigin, LimitRecord, Record};
use ringfence_ipc::msg::{Command, StrategyId, SymbolId};
use ringfence_ipc::reason::{LimitId, Scope};
use ringfence_ipc::symbol::Symbol;

use super::CoreError;
use super::limits;
use super::registry::{Registry, random_bytes, strategy_record};
use crate::checkpoint::{self, Recovered};
use crate::config::CoreConfig;
use crate::gate::{Capacity, Gate, HandedOut, Reentry};
use crate::journal::{Archiver, Class, Writer, open};

/// What [`boot`] hands over.
pub(super) struct Booted {
    pub gate: Gate,
    pub writer: Writer,
    pub archiver: Archiver,
    pub clock: Clock,
    pub registry: Registry,
    pub symbols: Vec<Symbol>,
    pub capacity: Capacity,
    pub hash_seed: u64,
    pub epoch: u16,
    pub next_client: u64,
    /// Position of the checkpoint that recovery began with.
    pub checkpoint: Option<u64>,
    /// Records in the journal so far.
    pub records: u64,
    /// Gate time of the new life's first records, ns.
    pub now_ns: u64,
}

/// Recovers, then journals what the configuration adds.
pub(super) fn boot(config: &CoreConfig) -> Result<Booted, CoreError> {
    let io = |path: &PathBuf| {
        let path = path.clone();
        move |source| CoreError::Directory { path, source }
    };
    make_dir(&config.data_dir, 0o700).map_err(io(&config.data_dir))?;
    let symbols = config.symbol_table()?;
    let capacity = config.gate_capacity();
    let mut opened = open(config.journal_options())?;
    let recovery = checkpoint::recover(&config.journal_dir(), &mut opened.log, capacity)?;
    let Recovered { gate, past } = recovery.recovered;
    let epoch = gate.epoch().checked_add(1).ok_or(CoreError::Epochs)?;
    let (writer, archiver) = opened.start(epoch)?;
    let clock = Clock::start(past.last_ns + 1);
    let mut registry = Registry::new(&config.clients, capacity.max_strategies, config.venue.is_external())?;
    for (id, account, name) in gate.strategies() {
        registry.recover_strategy(&strategy_record(name, id, account, 0));
    }
    past.tickets.iter().for_each(|(strategy, digest)| registry.set_ticket(*strategy, *digest));
    let hash_seed = match &config.lockstep {
        _ if past.records > 0 => gate.hash_seed(),
        Some(lockstep) => lockstep.seed,
        None => u64::from_le_bytes(random_bytes().map_err(CoreError::Random)?),
    };
    // Lockstep runs start at time 0: the tape is the clock, and nothing of this machine may enter the journal's state.
    let now_ns = if config.lockstep.is_some() { past.last_ns } else { clock.now_ns() };
    let known: Vec<Symbol> = (0..gate.capacity().max_symbols).map_while(|id| gate.symbol(id)).collect();
    let mut start = Start { gate, writer, now_ns, records: past.records };
    start.log(&Record::Boot(BootRecord {
        epoch,
        hash_seed,
        now_ns,
        layout_hash: ringfence_ipc::layout::LAYOUT_HASH,
        lockstep: config.lockstep.is_some(),
        build_id: build_id(),
    }))?;
    start.log(&Record::Capacity(capacity.record(now_ns)))?;
    start.symbols(&known, &symbols)?;
    start.configured(config, &mut registry)?;
    let Start { gate, writer, records, .. } = start;
    Ok(Booted {
        gate,
        writer,
        archiver,
        clock,
        registry,
        symbols,
        capacity,
        hash_seed,
        epoch,
        next_client: past.last_client + 1,
        checkpoint: recovery.checkpoint,
        records,
        now_ns,
    })
}

/// The records a new life begins with.
pub(super) struct Start {
    pub gate: Gate,
    pub writer: Writer,
    pub now_ns: u64,
    pub records: u64,
}

impl Start {
    pub fn log(&mut self, record: &Record) -> Result<(), CoreError> {
        self.wait_for_room()?;
        // Applied first: what does not fit must not be in the journal, which the next life has to read.
        self.gate.apply(self.writer.position(), record)?;
        self.writer.append(&record.encode());
        self.records += 1;
        Ok(())
    }

    fn wait_for_room(&mut self) -> Result<(), CoreError> {
        while !self.writer.room(Class::Reserved) {
            if self.writer.is_failed() {
                return Err(CoreError::Archiver);
            }
            std::thread::sleep(std::time::Duration::from_micros(100));
        }
        Ok(())
    }

    /// Symbols keep their ids for the life of a journal: the configuration may only add to the end.
    pub fn symbols(&mut self, past: &[Symbol], configured: &[Symbol]) -> Result<(), CoreError> {
        for (id, known) in past.iter().enumerate() {
            if configured.get(id) != Some(known) {
                return Err(CoreError::SymbolChanged { id: id as u16, name: known.name().to_owned() });
            }
        }
        for (id, symbol) in configured.iter().enumerate().skip(past.len()) {
            self.log(&Record::Symbol { id: id as u16, symbol: *symbol })?;
        }
        Ok(())
    }

    /// The strategies of the file, and its limits unless they are those of the last start or reload: what an operator
    /// has set since stays until the file says something new. Limits come first: a strategy's dedup quota is read when
    /// its tables are built.
    fn configured(&mut self, config: &CoreConfig, registry: &mut Registry) -> Result<(), CoreError> {
        let mut next = registry.next_strategy();
        let mut ids = Vec::with_capacity(config.strategies.len());
        for strategy in &config.strategies {
            ids.push(registry.id_of(&strategy.name).unwrap_or_else(|| {
                next = next.saturating_add(1);
                next - 1
            }));
        }
        self.limits(&config.resolved_limits(&ids, self.now_ns)?)?;
        for (strategy, id) in config.strategies.iter().zip(ids) {
            self.entitled(id, config.entitled(strategy)?)?;
            if registry.id_of(&strategy.name).is_none() {
                let record = strategy_record(&strategy.name, id, strategy.account, self.now_ns);
                self.log(&Record::Strategy(record))?;
                registry.recover_strategy(&record);
            }
        }
        Ok(())
    }

    /// Brings what a strategy may trade to `wanted`; none: everything.
    fn entitled(
        &mut self,
        strategy: StrategyId,
        wanted: Option<BTreeSet<SymbolId>>,
    ) -> Result<(), CoreError> {
        let set = self.gate.entitled(strategy);
        if set == wanted {
            return Ok(());
        }
        let place = |symbol: &SymbolId| i64::from(*symbol) + 1;
        let values: Vec<i64> = match (&set, &wanted) {
            (_, None) => vec![LimitRecord::NOT_SET],
            // Taking any symbol from an unrestricted strategy restricts it.
            (None, Some(wanted)) => std::iter::once(-1).chain(wanted.iter().map(place)).collect(),
            (Some(set), Some(wanted)) => {
                let taken = set.difference(wanted).map(|symbol| -place(symbol));
                taken.chain(wanted.difference(set).map(place)).collect()
            }
        };
        let (scope, limit, now_ns) = (Scope::Strategy, LimitId::Entitlement, self.now_ns);
        let config_version = self.gate.config().0;
        values.into_iter().try_for_each(|value| {
            self.log(&Record::Limit(LimitRecord {
                scope,
                scope_id: strategy,
                limit,
                value,
                now_ns,
                config_version,
            }))
        })
    }

    pub fn limits(&mut self, wanted: &[LimitRecord]) -> Result<(), CoreError> {
        let (version, applied) = self.gate.config();
        let digest = limits::digest(wanted);
        if applied == Some(digest) {
            return Ok(());
        }
        let set = self.gate.limits().map(|(scope, id, limit, value)| ((scope, id, limit), value)).collect();
        let changes = limits::differences(&set, wanted);
        let by = (self.now_ns, 0);
        let set = limits::change_set(ConfigOrigin::Boot, version + 1, digest, by, &changes);
        self.log(&Record::Config(set.config))?;
        set.limits.iter().try_for_each(|limit| self.log(&Record::Limit(*limit)))
    }

    /// What happens to the orders of the last life, given what the venue knows of it: reports are journalled and
    /// applied, commands come back.
    pub fn reenter(&mut self, handed_out: HandedOut) -> Result<Vec<Command>, CoreError> {
        let mut commands = Vec::new();
        for step in self.gate.reenter_commands(handed_out, self.now_ns) {
            match step {
                Reentry::Command(command) => commands.push(command),
                Reentry::Report(report) => {
                    self.wait_for_room()?;
                    let record = Record::Report(report);
                    let position = self.writer.append(&record.encode());
                    self.records += 1;
                    self.gate.apply(position, &record)?;
                }
            }
        }
        Ok(commands)
    }
}

pub(super) fn make_dir(path: &std::path::Path, mode: u32) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(mode).create(path)
}

fn build_id() -> [u8; 40] {
    let mut bytes = [0; 40];
    for (to, from) in bytes.iter_mut().zip(concat!("ringfence ", env!("CARGO_PKG_VERSION")).bytes()) {
        *to = from;
    }
    bytes
}
