//! What the control thread and the gate thread tell each other: two bounded rings, nothing shared.

use ringfence_ipc::handshake::{ControlDone, ControlRefusal};
use ringfence_ipc::journal::{AttachRecord, ControlRecord, StrategyRecord, StrayRecord};
use ringfence_ipc::msg::{OrderId, Report};
use ringfence_ipc::ring::Fault;

use super::limits::ChangeSet;
use super::nodes::NodeTurn;
use super::port::ClientPort;
use crate::gate::StrategyTables;

/// Messages the mailboxes hold; the control thread keeps what does not fit and tries again.
pub(super) const MAILBOX_SLOTS: usize = 256;

/// Control thread to gate thread.
pub(super) enum ToGate {
    /// A strategy becomes known: its tables were allocated off the gate thread.
    Install { record: StrategyRecord, tables: Box<StrategyTables> },
    /// A client is sealed, verified and populated: serve it.
    Attach { port: Box<ClientPort>, record: AttachRecord },
    /// A venue's adapter is sealed, verified and populated: serve it. `mark`: the newest order it was handed before, if
    /// it may state that.
    AttachVenue { port: Box<ClientPort>, record: AttachRecord, mark: Option<OrderId> },
    /// Ask the venue's adapter for snapshot `number`.
    AskVenue { number: u64 },
    /// A client is gone or must go: finish what it published, then hand its port back.
    Detach { client: u64 },
    /// An operator's act; `cancel_orders`: cancel the scope's orders with it, `None`: as it is configured.
    Control { record: ControlRecord, cancel_orders: Option<bool> },
    /// A client asks about a node.
    Node(Box<NodeTurn>),
    /// Other limits: all of them between two decisions.
    Configure(Box<ChangeSet>),
    /// Finish in good order.
    Stop,
}

/// Gate thread to control thread.
pub(super) enum FromGate {
    /// The client is served; events from journal position `position` on are in its fresh ring.
    Attached { client: u64, position: u64 },
    /// The client is no longer served; `fault` says why if it was the gate's decision.
    Retired { port: Box<ClientPort>, fault: Option<PortFault> },
    /// What came of an operator's act.
    Controlled { client: u64, outcome: Result<ControlDone, ControlRefusal> },
    /// Tier `power`: the disk failed, and this many answers, reports and commands are never shown.
    Unreleased { entries: u64, durable_pos: u64 },
    /// What became of a client's request about a node.
    Node(Box<NodeTurn>),
    /// The limits are in the journal and in force; their memory comes back.
    Configured { set: Box<ChangeSet>, journal_seq: u64 },
    /// A venue reported what must not be; the journal holds what was booked of it.
    Alarm(Alarm),
    /// The gate's books are, before the journal's `position`, what the venue's were when it was asked for snapshot `number`.
    VenueMark { number: u64, position: u64 },
    /// The venue's adapter has answered for every order: new orders pass, from journal position `position` on.
    VenueOpen { position: u64 },
    /// The gate thread has ended.
    Stopped,
}

/// What a venue reported that must not be. Somebody has to look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alarm {
    /// An order has more than it asked for: as booked.
    Overfill { report: Report, qty: i64 },
    /// A fill for an order that the gate does not know.
    Stray(StrayRecord),
    /// A fill whose numbers cannot be booked: as the venue said it.
    Unbookable(Report),
}

/// Why the gate stopped serving a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PortFault {
    /// Its memory contradicts the ring protocol.
    Ring(Fault),
    /// It does not read its events; it may resume with its ticket.
    Lagging,
    /// Tier `power`: the disk failed before what it waits for was safe.
    Unreleased,
    /// Lockstep: it did not finish its step in time.
    Silent,
}
