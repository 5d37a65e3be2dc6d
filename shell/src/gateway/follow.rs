//! The follower thread: the journal into the projection, for good.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use ringfence_ipc::journal::{FollowError, Follower, Record};

use super::Gateway;

/// Records applied under one lock.
const BURST: usize = 512;
/// Slots behind the gate from which on events are not rendered: far more than the ring could keep.
const QUIET_ABOVE_SLOTS: u64 = 200_000;
const IDLE_MIN: Duration = Duration::from_micros(250);
const IDLE_MAX: Duration = Duration::from_millis(4);
const RETRY: Duration = Duration::from_millis(500);

/// The follower's thread; stops when dropped.
pub struct Following {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Follows the journal into `gateway`, from its beginning. The gate need not run yet.
///
/// # Errors
/// When no thread can be started.
pub fn start(gateway: Arc<Gateway>, hot_path: PathBuf, archive_dir: PathBuf) -> std::io::Result<Following> {
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    let thread = std::thread::Builder::new().name("follower".into()).spawn(move || {
        while !told.load(Ordering::Acquire) {
            if let Err(error) = follow(&gateway, &hot_path, &archive_dir, &told) {
                tracing::error!(%error, "cannot follow the journal; reading it again from the start");
                gateway.reset();
                std::thread::sleep(RETRY);
            }
        }
    })?;
    Ok(Following { stop, thread: Some(thread) })
}

fn follow(
    gateway: &Gateway,
    hot_path: &std::path::Path,
    archive_dir: &std::path::Path,
    stop: &AtomicBool,
) -> Result<(), FollowError> {
    let mut follower = Follower::open(hot_path, archive_dir, 0)?;
    let mut burst: Vec<(u64, Record)> = Vec::with_capacity(BURST);
    let mut idle = IDLE_MIN;
    while !stop.load(Ordering::Acquire) {
        let quiet = follower.lag() > QUIET_ABOVE_SLOTS;
        while burst.len() < BURST
            && let Some(found) = follower.next()?
        {
            burst.push(found);
        }
        if burst.is_empty() {
            // Without a hot ring there is no gate yet, and so nothing to be up to date with.
            if follower.hot().is_some() {
                gateway.set_caught_up();
            }
            std::thread::sleep(idle);
            idle = (idle * 2).min(IDLE_MAX);
        } else {
            gateway.apply(&burst, quiet);
            burst.clear();
            idle = IDLE_MIN;
        }
    }
    Ok(())
}
