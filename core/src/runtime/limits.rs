//! Limits while the gate runs: what is set, what a file or an operator wants instead, and the records that lead there.
//!
//! The control thread owns the book; the gate thread only appends and applies what the book made. All or nothing: what
//! cannot be applied whole is refused with a reason, and nothing has changed.

use std::collections::BTreeMap;

use ringfence_ipc::journal::{ConfigOrigin, ConfigRecord, LimitRecord};
use ringfence_ipc::msg::{SLOT_BYTES, StrategyId};
use ringfence_ipc::reason::{LimitId, Scope};
use sha2::{Digest as _, Sha256};

use tracing::info;

use super::registry::Registry;
use crate::config::keys::{Change, KEYS, Key};
use crate::config::{ConfigSource, CoreConfig, leaves};
use crate::gate::{Gate, quota_of};

/// Limits that change at once at most: the record counts them in 16 bits.
const MAX_CHANGES: usize = 4096;
/// The part of the hot ring that one change may take, as a divisor.
const RING_SHARE: u64 = 8;

/// A limit's place.
type At = (Scope, u16, LimitId);

/// The limits of one change, between one record and the next decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ChangeSet {
    pub config: ConfigRecord,
    pub limits: Box<[LimitRecord]>,
}

/// What is set, and the configuration it came from.
pub(super) struct Book {
    set: BTreeMap<At, i64>,
    version: u64,
    /// Where it begins, of this life's versions.
    at: u64,
    max_accounts: u16,
    digest: u128,
    running: CoreConfig,
    source: Option<ConfigSource>,
    /// Records that the hot ring takes at once.
    most: usize,
}

/// Identifies what a configuration says about limits.
pub(super) fn digest(wanted: &[LimitRecord]) -> u128 {
    let sorted: BTreeMap<At, i64> =
        wanted.iter().map(|l| ((l.scope, l.scope_id, l.limit), l.value)).collect();
    let mut hash = Sha256::new();
    for ((scope, id, limit), value) in sorted {
        hash.update((scope as u16).to_le_bytes());
        hash.update(id.to_le_bytes());
        hash.update((limit as u16).to_le_bytes());
        hash.update(value.to_le_bytes());
    }
    let mut first = [0; 16];
    first.copy_from_slice(&hash.finalize()[..16]);
    u128::from_le_bytes(first)
}

/// What leads from `set` to exactly `wanted`, in the order of scope, id and limit: limits nobody wants any more are taken
/// back.
pub(super) fn differences(set: &BTreeMap<At, i64>, wanted: &[LimitRecord]) -> Vec<(At, i64)> {
    let wanted: BTreeMap<At, i64> =
        wanted.iter().map(|l| ((l.scope, l.scope_id, l.limit), l.value)).collect();
    let gone = set.keys().filter(|at| !wanted.contains_key(at)).map(|at| (*at, LimitRecord::NOT_SET));
    let mut changes: BTreeMap<At, i64> = gone.collect();
    changes.extend(
        wanted.iter().filter(|(at, value)| set.get(at) != Some(value)).map(|(at, value)| (*at, *value)),
    );
    changes.into_iter().collect()
}

/// The records of a change.
pub(super) fn change_set(
    origin: ConfigOrigin,
    version: u64,
    digest: u128,
    (now_ns, client): (u64, u64),
    changes: &[(At, i64)],
) -> ChangeSet {
    let record = |((scope, scope_id, limit), value): &(At, i64)| LimitRecord {
        scope: *scope,
        scope_id: *scope_id,
        limit: *limit,
        value: *value,
        now_ns,
        config_version: version,
    };
    let count = u16::try_from(changes.len()).unwrap_or(u16::MAX);
    ChangeSet {
        config: ConfigRecord { origin, changes: count, version, now_ns, client, digest },
        limits: changes.iter().map(record).collect(),
    }
}

impl Book {
    /// What `gate` has set, running `config`.
    pub fn new(gate: &Gate, config: CoreConfig, source: Option<ConfigSource>) -> Self {
        let set = gate.limits().map(|(scope, id, limit, value)| ((scope, id, limit), value)).collect();
        let (version, digest) = gate.config();
        let most =
            usize::try_from(config.journal.hot_bytes / SLOT_BYTES as u64 / RING_SHARE).unwrap_or(usize::MAX);
        let digest = digest.unwrap_or(0);
        Self {
            set,
            version,
            digest,
            at: 0,
            max_accounts: gate.capacity().max_accounts,
            most: most.min(MAX_CHANGES),
            running: config,
            source,
        }
    }

    /// How many keys a strategy that becomes known now remembers.
    pub fn dedup_quota(&self, strategy: StrategyId) -> usize {
        let of = |scope, id| self.set.get(&(scope, id, LimitId::DedupQuota)).copied();
        quota_of(of(Scope::Strategy, strategy), of(Scope::Global, 0))
    }

    /// The file, the environment and the flags again: what changes, or why nothing does.
    pub fn reload(&mut self, registry: &Registry, by: (u64, u64)) -> Result<Option<ChangeSet>, String> {
        let source =
            self.source.as_ref().ok_or("this gate was not started from a file: set limits one by one")?;
        let loaded = source.load().map_err(|error| error.to_string())?.config;
        self.only_limits_differ(&loaded)?;
        let ids: Vec<StrategyId> = loaded.strategies.iter().filter_map(|s| registry.id_of(&s.name)).collect();
        let wanted = loaded.resolved_limits(&ids, by.0).map_err(|error| error.to_string())?;
        let changes = differences(&self.set, &wanted);
        let digest = digest(&wanted);
        if changes.is_empty() && digest == self.digest {
            return Ok(None);
        }
        let set = self.made(ConfigOrigin::Reload, digest, by, &changes, registry)?;
        self.running = loaded;
        Ok(Some(set))
    }

    /// The configuration version in force.
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// One limit, as an operator writes it.
    pub fn set(
        &mut self,
        (scope, scope_id): (Scope, u16),
        name: &str,
        value: &str,
        registry: &Registry,
        by: (u64, u64),
    ) -> Result<Option<ChangeSet>, String> {
        let exists = match scope {
            Scope::Global => scope_id == 0,
            Scope::Account => scope_id < self.max_accounts,
            Scope::Symbol => usize::from(scope_id) < self.running.symbols.len(),
            Scope::Strategy => registry.knows(scope_id),
        };
        if !exists {
            return Err(format!("there is no {scope} {scope_id}: `/api/limits` lists what there is"));
        }
        let (limit, value) =
            self.running.limit_value(scope, scope_id, name, value).map_err(|error| error.to_string())?;
        let at = (scope, scope_id, limit);
        if self.set.get(&at).copied().unwrap_or(LimitRecord::NOT_SET) == value {
            return Ok(None);
        }
        self.made(ConfigOrigin::Operator, self.digest, by, &[(at, value)], registry).map(Some)
    }

    /// Where the version in force begins in the journal; 0: in an earlier life.
    pub const fn at(&self) -> u64 {
        self.at
    }

    /// The newest version begins there.
    pub const fn begun(&mut self, position: u64) {
        self.at = position;
    }

    /// Tells the log every limit that is set, a line per scope.
    pub fn announce(&self, registry: &Registry) {
        let mut lines: BTreeMap<(Scope, u16), Vec<String>> = BTreeMap::new();
        for ((scope, id, limit), value) in &self.set {
            let (name, value) = self.running.limit_text(*scope, *id, *limit, *value);
            lines.entry((*scope, *id)).or_default().push(format!("{name} {value}"));
        }
        for ((scope, id), limits) in lines {
            let of = match scope {
                Scope::Global => "the whole gate".to_owned(),
                Scope::Account => format!("account {id}"),
                Scope::Symbol => {
                    format!("symbol {}", self.running.symbols.get(usize::from(id)).map_or("?", |s| &s.name))
                }
                Scope::Strategy => format!("strategy {}", registry.name_of(id).unwrap_or("?")),
            };
            info!(version = self.version, "limits of {of}: {}", limits.join(", "));
        }
    }

    /// What changes, in words.
    pub fn describe(&self, set: &ChangeSet) -> Vec<String> {
        let line = |l: &LimitRecord| {
            let (name, value) = self.running.limit_text(l.scope, l.scope_id, l.limit, l.value);
            format!("{} {name} = {value}", place(l.scope, l.scope_id))
        };
        set.limits.iter().map(line).collect()
    }

    fn made(
        &mut self,
        origin: ConfigOrigin,
        digest: u128,
        by: (u64, u64),
        changes: &[(At, i64)],
        registry: &Registry,
    ) -> Result<ChangeSet, String> {
        if changes.len() > self.most {
            return Err(format!(
                "{} limits change at once and this journal takes {}: restart, or enlarge journal.hot_size",
                changes.len(),
                self.most
            ));
        }
        let born = |((scope, id, limit), _): &&(At, i64)| {
            *limit == LimitId::DedupQuota && *scope == Scope::Strategy && registry.knows(*id)
        };
        if let Some(((_, id, _), _)) = changes.iter().find(born) {
            return Err(format!(
                "dedup_quota of strategy {id}: its memory of keys keeps the size it was made with; a strategy of a new name, or \
                 a new data_dir, gets the new one"
            ));
        }
        self.version += 1;
        self.digest = digest;
        for (at, value) in changes {
            match *value {
                LimitRecord::NOT_SET => self.set.remove(at),
                value => self.set.insert(*at, value),
            };
        }
        Ok(change_set(origin, self.version, digest, by, changes))
    }

    /// That nothing but limits is another in `new`.
    fn only_limits_differ(&self, new: &CoreConfig) -> Result<(), String> {
        let fixed = |config: &CoreConfig| {
            let all = leaves(&config.to_table()).into_iter();
            all.filter(|(key, _)| !is_limit(key)).collect::<BTreeMap<_, _>>()
        };
        let (old, new) = (fixed(&self.running), fixed(new));
        let differs = |key: &&String| old.get(*key) != new.get(*key);
        let keys: std::collections::BTreeSet<&String> =
            old.keys().chain(new.keys()).filter(differs).collect();
        if keys.is_empty() {
            return Ok(());
        }
        let names = keys.iter().take(3).map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
        let more = if keys.len() > 3 { format!(" and {} more", keys.len() - 3) } else { String::new() };
        Err(format!("restart the gate to change {names}{more}: only limits change while it runs"))
    }
}

/// Whether a key of the file is a limit: what is set while the gate runs.
fn is_limit(key: &str) -> bool {
    let hot = |known: &&Key| known.path == key && known.change == Change::Hot;
    key.starts_with("limits.") || key.contains(".limits.") || KEYS.iter().any(|known| hot(&known))
}

/// What a limit is set for, in words.
pub(super) fn place(scope: Scope, scope_id: u16) -> String {
    if scope == Scope::Global { scope.to_string() } else { format!("{scope} {scope_id}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROSS: At = (Scope::Strategy, 2, LimitId::MaxGrossNotionalE8);
    const OPEN: At = (Scope::Strategy, 2, LimitId::MaxOpenOrders);
    const COLLAR: At = (Scope::Global, 0, LimitId::PriceCollarBps);

    fn wanted(limits: &[(At, i64)]) -> Vec<LimitRecord> {
        let set = change_set(ConfigOrigin::Boot, 1, 0, (0, 0), limits);
        set.limits.to_vec()
    }

    #[test]
    fn the_differences_lead_to_exactly_what_is_wanted() {
        let set = BTreeMap::from([(GROSS, 5), (COLLAR, 250)]);
        let changes = differences(&set, &wanted(&[(OPEN, 7), (COLLAR, 250)]));
        assert_eq!(changes, [(GROSS, LimitRecord::NOT_SET), (OPEN, 7)]);
        assert_eq!(differences(&set, &wanted(&[(GROSS, 6), (COLLAR, 250)])), [(GROSS, 6)]);
        assert!(differences(&set, &wanted(&[(COLLAR, 250), (GROSS, 5)])).is_empty());
    }

    #[test]
    fn the_digest_knows_values_and_not_their_order() {
        let one = digest(&wanted(&[(OPEN, 7), (COLLAR, 250)]));
        assert_eq!(one, digest(&wanted(&[(COLLAR, 250), (OPEN, 7)])));
        assert_ne!(one, digest(&wanted(&[(COLLAR, 251), (OPEN, 7)])));
        assert_ne!(one, digest(&wanted(&[(COLLAR, 250)])));
    }
}
