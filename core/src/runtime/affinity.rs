//! The gate's CPU is the gate's: no other thread of this process is scheduled there.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tracing::warn;

/// While it lives, threads that the current one starts keep off one CPU, and so does the current one. Dropping it gives
/// the current thread its CPUs back; those it started keep what they have.
pub(super) struct KeepOff {
    before: Option<CpuSet>,
}

impl KeepOff {
    /// Keeps off `cpu`. Without effect when there is none to keep off, or none but that.
    pub fn cpu(cpu: Option<usize>) -> Self {
        let before = cpu.and_then(|cpu| {
            let before =
                sched_getaffinity(None).ok().filter(|set| cpu < CpuSet::MAX_CPU && set.is_set(cpu))?;
            let mut others = before;
            others.unset(cpu);
            (others.count() > 0)
                .then(|| sched_setaffinity(None, &others))?
                .inspect_err(|error| warn!(%error, cpu, "threads may run on the gate's CPU"))
                .ok()?;
            Some(before)
        });
        Self { before }
    }
}

impl Drop for KeepOff {
    fn drop(&mut self) {
        if let Some(before) = self.before.take()
            && let Err(error) = sched_setaffinity(None, &before)
        {
            warn!(%error, "this thread stays off the gate's CPU");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_started_meanwhile_keep_off_and_the_starter_gets_its_cpus_back() {
        let all = sched_getaffinity(None).unwrap();
        let first = (0..CpuSet::MAX_CPU).find(|cpu| all.is_set(*cpu)).unwrap();
        let kept = KeepOff::cpu(Some(first));
        let child = std::thread::spawn(|| sched_getaffinity(None).unwrap()).join().unwrap();
        assert_eq!(child.is_set(first), all.count() == 1);
        drop(kept);
        assert_eq!(sched_getaffinity(None).unwrap(), all);
        drop(KeepOff::cpu(None));
        drop(KeepOff::cpu(Some(usize::MAX)));
        assert_eq!(sched_getaffinity(None).unwrap(), all);
    }
}
