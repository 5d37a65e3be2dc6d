//! How long a stream may go on: until its credentials end or are taken away, and no longer.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::auth::permission::Permission;
use crate::auth::{Auth, Principal};

/// What a stream shows, and as long as it may.
pub struct Lease {
    needs: Permission,
    principal: Principal,
    /// None while authentication is off.
    auth: Option<(Arc<Auth>, watch::Receiver<u64>)>,
    until: Option<Instant>,
}

impl Lease {
    /// For `principal`: everything, if it may read orders; the market alone otherwise.
    #[must_use]
    pub fn new(auth: Option<&Arc<Auth>>, principal: Principal) -> Self {
        let needs = if principal.may(Permission::ReadOrders) {
            Permission::ReadOrders
        } else {
            Permission::ReadMarket
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let left = |at: u64| Duration::from_secs(at).saturating_sub(now);
        Self {
            needs,
            auth: auth.map(|auth| {
                let mut changes = auth.changes();
                // What changed since the check at the door counts, too.
                changes.mark_changed();
                (Arc::clone(auth), changes)
            }),
            until: principal.expires_at().map(|at| Instant::now() + left(at)),
            principal,
        }
    }

    /// Whether order events are shown, and not the market alone.
    #[must_use]
    pub fn shows_orders(&self) -> bool {
        self.needs == Permission::ReadOrders
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_over(&mut self) -> bool {
        if self.until.is_some_and(|until| Instant::now() >= until) {
            return true;
        }
        let Some((auth, changes)) = &mut self.auth else { return false };
        // An error means that authentication itself is gone.
        if !changes.has_changed().unwrap_or(true) {
            return false;
        }
        changes.mark_unchanged();
        auth.renew(&self.principal).is_none_or(|principal| !principal.may(self.needs))
    }

    /// Returns when it may be over.
    pub async fn changed(&mut self) {
        let ends = self.until;
        let end = async move {
            match ends {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        let Some((_, changes)) = &mut self.auth else { return end.await };
        tokio::select! {
            () = end => {}
            changed = changes.changed() => if changed.is_ok() { changes.mark_changed() },
        }
    }
}
