//! Control requests on their way to the gate thread, and the kill file.

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use ringfence_ipc::handshake::ControlRequest;
use ringfence_ipc::journal::{ControlKind, ControlRecord};
use ringfence_ipc::reason::{CancelCause, Scope, StormCause, StormState};
use rustix::fs::inotify;
use tracing::warn;

use super::mailbox::ToGate;

/// The mail that carries a request out; `None`: it is none of the gate thread's.
pub(super) fn mail_of(request: ControlRequest, client: u64) -> Option<ToGate> {
    let (control, scope, scope_id, cancel_orders, note) = match request {
        ControlRequest::SetMode { scope, scope_id, mode, cancel_orders, note } => {
            (ControlKind::SetMode(mode), scope, scope_id, cancel_orders, note)
        }
        ControlRequest::Stop
        | ControlRequest::Reload
        | ControlRequest::SetLimit { .. }
        | ControlRequest::Reconcile { .. } => return None,
        ControlRequest::Halt { cancel_orders, note } => {
            let (state, cause) = (StormState::Halt, StormCause::Operator);
            let control = ControlKind::Storm { state, cause, observed: 0, threshold: 0 };
            (control, Scope::Global, 0, Some(cancel_orders), note)
        }
        ControlRequest::Rearm { scope, scope_id, note } => {
            // The gate thread knows the P&L and the time.
            (ControlKind::Rearm { pnl_e8: 0 }, scope, scope_id, Some(false), note)
        }
        ControlRequest::CancelOrders { scope, scope_id, symbol, note } => {
            let control = ControlKind::CancelOrders { symbol, cause: CancelCause::Operator };
            (control, scope, scope_id, None, note)
        }
    };
    let record = ControlRecord { control, scope, scope_id, now_ns: 0, client, note };
    Some(ToGate::Control { record, cancel_orders })
}

/// A file that kills the gate while it is there.
pub(super) struct KillFile {
    path: PathBuf,
    /// Wakes the control thread when something appears in the run directory. Without it the file is found at the next
    /// tick.
    watch: Option<OwnedFd>,
}

impl KillFile {
    pub fn new(path: PathBuf) -> Self {
        let dir = path.parent().unwrap_or(Path::new("/"));
        let watch = watch(dir).inspect_err(|error| warn!(%error, "cannot watch the run directory")).ok();
        Self { path, watch }
    }

    pub fn raw_fd(&self) -> Option<i32> {
        self.watch.as_ref().map(OwnedFd::as_raw_fd)
    }

    pub fn is_there(&self) -> bool {
        self.path.exists()
    }

    /// Takes what the watch has to say, so that it can wake again.
    pub fn drain(&self) {
        let mut buffer = [0; 4096];
        if let Some(watch) = &self.watch {
            while rustix::io::read(watch, &mut buffer).is_ok_and(|bytes| bytes > 0) {}
        }
    }
}

fn watch(dir: &Path) -> rustix::io::Result<OwnedFd> {
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
    inotify::add_watch(&watch, dir, inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO)?;
    Ok(watch)
}
