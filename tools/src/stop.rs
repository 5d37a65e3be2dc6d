//! Ctrl-C and SIGTERM as a flag, and dying with the parent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use anyhow::Context as _;
use ringfence_core::runtime::KILL_BY_SIGNAL;

/// A flag that SIGINT and SIGTERM set.
pub fn flag() -> anyhow::Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&flag)).context("cannot handle signals")?;
    }
    Ok(flag)
}

/// SIGUSR1 pulls the kill switch: the handler itself does, so that it needs no thread that is free.
pub fn kill_switch() -> anyhow::Result<Arc<AtomicUsize>> {
    let switch = Arc::new(AtomicUsize::new(0));
    signal_hook::flag::register_usize(signal_hook::consts::SIGUSR1, Arc::clone(&switch), KILL_BY_SIGNAL)
        .context("cannot handle signals")?;
    Ok(switch)
}

/// A flag that SIGHUP sets: read the configuration again.
pub fn hangup() -> anyhow::Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGHUP, Arc::clone(&flag))
        .context("cannot handle signals")?;
    Ok(flag)
}

/// For children of `up`: Ctrl-C in a terminal reaches the whole group, but only `up` decides the order of stopping; and
/// a supervisor that is killed takes its children along.
pub fn supervised() -> anyhow::Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGTERM, Arc::clone(&flag))
        .context("cannot handle signals")?;
    let ignored = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGINT, ignored).context("cannot handle signals")?;
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))
        .context("cannot ask to die with the supervisor")?;
    Ok(flag)
}
