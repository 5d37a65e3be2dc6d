//! The services behind the HTTP edge: orders through the gate, and the projection of its journal.

pub mod account;
mod alarms;
pub mod events;
pub mod exact;
pub mod follow;
pub mod guarding;
pub mod hub;
pub mod key;
pub mod link;
mod lock;
pub mod market;
pub mod operate;
pub mod orders;
pub mod projection;
pub mod pump;
pub mod rendered;

use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ringfence_binance::{Balances, MarketStatus};
use ringfence_ipc::journal::Record;
use ringfence_ipc::journal::checkpoint::{Checkpoint, CheckpointError};
use ringfence_ipc::msg::AccountId;
use serde::Serialize;
use tokio::sync::watch;

use account::AccountBody;
use events::{Event, OrderStateBody};
use guarding::GuardBody;
use hub::Hub;
use market::{Board, MarketBody};
use projection::Projection;
use pump::GateHandle;
use utoipa::ToSchema;

/// How long a reader of its own writes waits for the projection.
const SETTLE_WITHIN: Duration = Duration::from_millis(250);
/// Finished orders that a snapshot or `/api/orders_state` shows beside the open ones.
pub const SHOWN_FINISHED: usize = 500;
/// Open orders shown at most.
pub const SHOWN_OPEN: usize = 10_000;

/// What the services are set up with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The account that HTTP users trade for.
    pub account: AccountId,
    /// The strategy that HTTP orders are booked for unless they name one.
    pub manual_strategy: String,
    /// What the paper account started with: asset and whole units.
    pub starting_balances: Vec<(String, i64)>,
    /// A market without an event for this long is stale.
    pub stale_after: Duration,
    /// How the live market is doing; without a connection every market is stale.
    pub live_market: Option<watch::Receiver<MarketStatus>>,
    /// What the account has at the exchange; none: the paper account is counted here.
    pub venue_balances: Option<watch::Receiver<Balances>>,
}

/// Everything the edges need.
pub struct Gateway {
    /// As configured.
    pub settings: Settings,
    /// The way to the gate.
    pub gate: GateHandle,
    /// Order events for streams.
    pub hub: Hub,
    /// The market.
    pub board: Board,
    projection: RwLock<Projection>,
    caught_up: AtomicBool,
    applied: watch::Sender<u64>,
}

/// `/api/orders_state`, and a part of the snapshot.
#[derive(Debug, Serialize, ToSchema)]
pub struct OrdersBody {
    items: Vec<OrderStateBody>,
}

#[derive(Serialize)]
struct SnapshotBody {
    position: u64,
    epoch: u16,
    guard: GuardBody,
    orders: Vec<OrderStateBody>,
    balances: AccountBody,
    positions: account::PositionsBody,
    market: Vec<MarketBody>,
}

impl Gateway {
    /// Services over a gate; the projection is empty until a follower feeds it.
    #[must_use]
    pub fn new(settings: Settings, gate: GateHandle) -> Self {
        Self {
            board: Board::new(settings.stale_after, settings.live_market.clone()),
            settings,
            gate,
            hub: Hub::default(),
            projection: RwLock::default(),
            caught_up: AtomicBool::new(false),
            applied: watch::Sender::new(0),
        }
    }

    /// Applies a burst of records in order. `quiet`: nobody will want their events (the reader is far behind).
    pub fn apply(&self, burst: &[(u64, Record)], quiet: bool) {
        let Some((last, _)) = burst.last() else { return };
        let mut events = Vec::new();
        let mut projection = lock::write(&self.projection);
        for (position, record) in burst {
            projection.apply(*position, record, quiet, &mut events);
        }
        // Published under the lock: a snapshot and the ring always tell of the same moment.
        if quiet {
            self.hub.skip_to(*last);
        } else {
            self.hub.publish(&events);
        }
        drop(projection);
        self.applied.send_replace(*last);
    }

    /// Begins anew at a checkpoint; streams get a snapshot.
    ///
    /// # Errors
    /// [`CheckpointError`] when it cannot be read; nothing has changed then.
    pub fn restore(&self, saved: &Checkpoint) -> Result<(), CheckpointError> {
        let restored = Projection::restore(saved)?;
        let mut projection = lock::write(&self.projection);
        let position = restored.position();
        *projection = restored;
        self.hub.skip_to(position);
        drop(projection);
        self.applied.send_replace(position);
        Ok(())
    }

    /// Forgets everything: the journal is another one.
    pub fn reset(&self) {
        let mut projection = lock::write(&self.projection);
        *projection = Projection::default();
        self.hub.skip_to(0);
        drop(projection);
        self.caught_up.store(false, Ordering::Release);
        self.applied.send_replace(0);
    }

    /// The follower has read everything there was.
    pub fn set_caught_up(&self) {
        self.caught_up.store(true, Ordering::Release);
    }

    /// Whether the projection has once been up to date.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        self.caught_up.load(Ordering::Acquire)
    }

    /// Looks at the projection. Keep it short: the follower waits.
    pub fn look<T>(&self, f: impl FnOnce(&Projection) -> T) -> T {
        f(&lock::read(&self.projection))
    }

    /// Waits, for a bounded time, until the projection has seen every decision that was answered before this call.
    pub async fn settle(&self) {
        self.settle_at(self.gate.newest_seq()).await;
    }

    /// Waits, for a bounded time, until the projection has seen the record at `wanted`.
    pub async fn settle_at(&self, wanted: u64) {
        let mut applied = self.applied.subscribe();
        // A timeout is no error: the caller looks once more and tells what is there.
        let _ = tokio::time::timeout(SETTLE_WITHIN, applied.wait_for(|at| *at >= wanted)).await;
    }

    /// Waits, for a bounded time, until the projection has the configuration that begins at `wanted`, whole: its limits follow
    /// it in records of their own.
    pub async fn settle_limits_at(&self, wanted: u64) {
        let mut applied = self.applied.subscribe();
        let whole = |p: &Projection| p.position() >= wanted && p.limits.is_whole();
        let _ = tokio::time::timeout(SETTLE_WITHIN, applied.wait_for(|_| self.look(whole))).await;
    }

    /// What may pass, and why.
    #[must_use]
    pub fn guard(&self) -> GuardBody {
        self.look(|p| GuardBody::new(&p.guard, &p.names))
    }

    /// The version of the configuration that decided what stands at a journal position; for 0, not journalled, the one in
    /// force. Waits a little where the projection has not read that far; `None`: it still has not, or it is too long ago.
    pub async fn config_version(&self, journal_seq: u64) -> Option<u64> {
        if journal_seq > self.look(Projection::position) {
            self.settle().await;
        }
        self.look(|p| match journal_seq {
            0 => Some(p.limits.version()),
            seq if seq > p.position() => None,
            seq => p.limits.version_at(seq),
        })
    }

    /// Open orders and the newest finished ones, newest first.
    #[must_use]
    pub fn orders_state(&self) -> OrdersBody {
        self.look(|p| OrdersBody { items: shown_orders(p) })
    }

    /// Everything a stream needs to start from nothing, as one event.
    #[must_use]
    pub fn snapshot(&self) -> (Event, hub::Cursor) {
        let projection = lock::read(&self.projection);
        let cursor = self.hub.cursor(hub::Start::Live);
        let p = &*projection;
        let body = SnapshotBody {
            position: p.position(),
            epoch: p.epoch(),
            guard: GuardBody::new(&p.guard, &p.names),
            orders: shown_orders(p),
            balances: account::balances(p, &self.settings),
            positions: account::positions(p),
            market: p.names.symbols().map(|(id, symbol)| self.board.body(id, symbol)).collect(),
        };
        (Event::new(Some(self.hub.newest_id()), "snapshot", &body), cursor)
    }

    /// Publishes a sample of the market to streams.
    pub fn sample_market(&self) {
        let symbols: Vec<_> = self.look(|p| p.names.symbols().map(|(id, symbol)| (id, *symbol)).collect());
        self.board.sample(&symbols);
    }
}

fn shown_orders(p: &Projection) -> Vec<OrderStateBody> {
    let open = p.orders.open().take(SHOWN_OPEN);
    open.chain(p.orders.finished().take(SHOWN_FINISHED))
        .map(|order| OrderStateBody::new(order, &p.names))
        .collect()
}
