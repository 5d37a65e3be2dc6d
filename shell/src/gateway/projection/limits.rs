//! What limits what, as the journal tells it, and which version of the configuration decided when.

use std::collections::{BTreeMap, VecDeque};

use ringfence_ipc::journal::{ConfigRecord, LimitRecord};
use ringfence_ipc::reason::{LimitId, Scope};

/// Versions whose beginning is remembered; decisions older than those have an unknown one.
const KEPT_VERSIONS: usize = 1024;

/// Every limit that is set, and the versions of the configuration.
#[derive(Debug, Default)]
pub struct Limits {
    set: BTreeMap<(Scope, u16, LimitId), i64>,
    /// Where each version begins, oldest first.
    versions: VecDeque<(u64, u64)>,
}

impl Limits {
    /// A new version begins at `position`.
    pub fn begin(&mut self, position: u64, config: &ConfigRecord) {
        if self.versions.len() == KEPT_VERSIONS {
            self.versions.pop_front();
        }
        self.versions.push_back((position, config.version));
    }

    /// A limit is set or taken back.
    pub fn apply(&mut self, limit: &LimitRecord) {
        let at = (limit.scope, limit.scope_id, limit.limit);
        match limit.value {
            LimitRecord::NOT_SET => self.set.remove(&at),
            value => self.set.insert(at, value),
        };
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
    use ringfence_ipc::journal::ConfigOrigin;

    #[test]
    fn a_position_belongs_to_the_version_before_it() {
        let mut limits = Limits::default();
        for (position, version) in [(3, 1), (90, 2), (91, 3)] {
            let origin = ConfigOrigin::Boot;
            limits.begin(
                position,
                &ConfigRecord { origin, changes: 0, version, now_ns: 0, client: 0, digest: 0 },
            );
        }
        let at = [2, 3, 89, 90, 91, 1000].map(|position| limits.version_at(position));
        assert_eq!(at, [None, Some(1), Some(1), Some(2), Some(3), Some(3)]);
    }
}
