//! What limits what, as the journal tells it, and which version of the configuration decided when.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ringfence_ipc::journal::LimitRecord;
use ringfence_ipc::msg::{StrategyId, SymbolId};
use ringfence_ipc::reason::{LimitId, Scope};

/// Versions whose beginning is remembered; decisions older than those have an unknown one.
const KEPT_VERSIONS: usize = 1024;

/// Every limit that is set, and the versions of the configuration.
#[derive(Debug, Default)]
pub struct Limits {
    set: BTreeMap<(Scope, u16, LimitId), i64>,
    /// Where each version begins, oldest first.
    versions: VecDeque<(u64, u64)>,
    /// Records of the newest version that are still to come.
    missing: u16,
    /// What strategies may trade, where they may not trade everything.
    entitled: BTreeMap<StrategyId, BTreeSet<SymbolId>>,
}

impl Limits {
    /// A new version begins at `position`, and so many limits follow.
    pub fn begin(&mut self, position: u64, version: u64, changes: u16) {
        self.missing = changes;
        if self.versions.len() == KEPT_VERSIONS {
            self.versions.pop_front();
        }
        self.versions.push_back((position, version));
    }

    /// A limit is set or taken back.
    pub fn apply(&mut self, limit: &LimitRecord) {
        self.missing = self.missing.saturating_sub(1);
        self.set((limit.scope, limit.scope_id, limit.limit), limit.value);
    }

    /// As [`Self::apply`].
    pub(super) fn set(&mut self, at: (Scope, u16, LimitId), value: i64) {
        match (at, value) {
            ((_, strategy, LimitId::Entitlement), value) => self.entitle(strategy, value),
            (at, LimitRecord::NOT_SET) => drop(self.set.remove(&at)),
            (at, value) => drop(self.set.insert(at, value)),
        }
    }

    /// As the gate does it: `symbol + 1` gives, its negative takes, and either leaves only what was given.
    pub(super) fn entitle(&mut self, strategy: StrategyId, value: i64) {
        if value == LimitRecord::NOT_SET {
            self.entitled.remove(&strategy);
            return;
        }
        let given = self.entitled.entry(strategy).or_default();
        let Some(symbol) = value.unsigned_abs().checked_sub(1).and_then(|id| SymbolId::try_from(id).ok())
        else {
            return;
        };
        if value > 0 {
            given.insert(symbol);
        } else {
            given.remove(&symbol);
        }
    }

    /// What strategies may trade, where they may not trade everything.
    pub fn entitled(&self) -> impl Iterator<Item = (StrategyId, &BTreeSet<SymbolId>)> {
        self.entitled.iter().map(|(strategy, symbols)| (*strategy, symbols))
    }

    /// Whether the newest version is here with all of its limits.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.missing == 0
    }

    /// The version in force; 0 before the first.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.versions.back().map_or(0, |(_, version)| *version)
    }

    /// The version that decided what stands at a journal position.
    #[must_use]
    pub fn version_at(&self, position: u64) -> Option<u64> {
        let after = self.versions.partition_point(|(begin, _)| *begin <= position);
        after.checked_sub(1).map(|at| self.versions[at].1)
    }

    /// Every limit that is set, by scope, id and number.
    pub fn iter(&self) -> impl Iterator<Item = (Scope, u16, LimitId, i64)> {
        self.set.iter().map(|((scope, id, limit), value)| (*scope, *id, *limit, *value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_belongs_to_the_version_before_it() {
        let mut limits = Limits::default();
        for (position, version) in [(3, 1), (90, 2), (91, 3)] {
            limits.begin(position, version, 1);
        }
        let at = [2, 3, 89, 90, 91, 1000].map(|position| limits.version_at(position));
        assert_eq!(at, [None, Some(1), Some(1), Some(2), Some(3), Some(3)]);
    }
}
