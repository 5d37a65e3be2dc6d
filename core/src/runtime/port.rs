//! One attached client as the gate thread sees it.

use ringfence_ipc::handshake::Role;
use ringfence_ipc::journal::STRATEGY_NAME_BYTES;
use ringfence_ipc::msg::{DurabilityTier, StrategyId, Words};
use ringfence_ipc::ring::{Consumer, Fault, Producer};
use ringfence_ipc::view::{ReadWord, WriteWord};

use crate::gate::{Request, Room};

/// A client's rings and the few words beside them. Built by the control thread, owned by the gate thread while served.
pub(super) struct ClientPort {
    /// Number of the attachment.
    pub client: u64,
    /// What it may send.
    pub role: Role,
    /// Whose intents these are (strategies).
    pub strategy: StrategyId,
    /// What it asks.
    pub intents: Consumer,
    /// What it is told.
    pub events: Producer,
    /// Feeds in lockstep: the tape, read by the gate thread itself.
    pub tape: Option<Consumer>,
    /// Paced strategies: the last market event it has handled, as it says.
    pub market_seen: Option<ReadWord>,
    /// Feeds: how far they may run.
    pub paced_limit: Option<WriteWord>,
    /// The operator that the dead-man switch watches.
    pub dead_man: bool,
    /// It is gone: serve what it published, then retire it.
    pub draining: bool,
    /// Says to the client that the gate waits for it.
    pub lagging: WriteWord,
    /// Since when it waits, ns; 0: it does not.
    pub lagging_since_ns: u64,
    /// For whoever looks on.
    pub about: About,
    /// The last market event a paced strategy claimed, and when that last changed (gate time ns).
    pub seen: (u64, u64),
}

/// What is shown of a client and never acted on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct About {
    /// Its name, zero-padded.
    pub name: [u8; STRATEGY_NAME_BYTES],
    /// Its process.
    pub pid: u32,
    /// When it was attached, gate time ns.
    pub attached_ns: u64,
    /// Slots of its intents ring that waited at the last look.
    pub waiting: u32,
}

/// Slots of the events ring that decisions leave free, so that reports of live orders still fit.
pub(super) const REPORT_RESERVE_SLOTS: u64 = 64;

impl ClientPort {
    /// Whether `decisions` may be made for this client now: their answers must fit, and leave room for reports.
    #[inline]
    pub fn has_room_for_decisions(&mut self, decisions: usize) -> Result<bool, Fault> {
        self.events.has_room(decisions as u64 + REPORT_RESERVE_SLOTS)
    }

    /// What it asks with an intent that stands at `position` of its ring.
    #[inline(always)]
    pub fn request<'a>(
        &self,
        words: &'a Words,
        ext: Option<&'a Words>,
        position: u64,
        now_ns: u64,
        room: Room,
    ) -> Request<'a> {
        Request {
            strategy: self.strategy,
            operator: self.role == Role::Operator,
            words,
            ext,
            now_ns,
            position,
            room,
            reference: None,
            tier: DurabilityTier::Process,
        }
    }

    /// Tells the client about a report.
    #[inline]
    pub fn push_report(&mut self, words: &[Words; 2]) -> Result<bool, Fault> {
        Ok(self.events.push_slots(words)?.is_some())
    }
}
