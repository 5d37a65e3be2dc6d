//! How a process meets the gate: one `SOCK_SEQPACKET` conversation, then only rings.
//!
//! ```text
//!  client                                   core (control thread)
//!    | -- Hello{version, layout, role, name,   |   SO_PEERCRED against the identity list
//!    |          key?, ticket?, last_seq} ----> |
//!    | <-- Welcome{ids, sizes, ticket} + fds --|   intents, events, market, cache, eventfds (SCM_RIGHTS)
//!    |    maps                                 |
//!    | -- HandedOut{epoch, order id} (venue) -> |   only with the ticket of its last attachment
//!    | -- Mapped ----------------------------> |   seals intents, verifies, populates, hands it to the gate
//!    | <-- Missed{events}* --------------------|   only when resuming: what the journal holds in (last_seq, X]
//!    | <-- Active{journal position X} ---------|
//!    |        ...rings...                      |
//!    | -- Control{..} (operator) ------------> |   <-- ControlDone{journal seq, ..} or ControlRefused{code}
//!    | -- Control{Reconcile} (operator) ---> |   <-- Reconciled{last, part of the JSON}* or ReconcileRefused{text}
//!    | -- VenueSnapshot{number, lines}* (venue) ->|   the answer to a SNAPSHOT call in its commands
//!    | -- Node{register, release} -----------> |   <-- NodeGranted{series}, NodeRefused{code, text}
//! ```
//!
//! At any point the core may answer `Refused{code, text}` and close. The socket stays open for as long as both live:
//! its end of file is how each learns of the other's death.

mod codec;
mod control;
mod node;
pub mod socket;
mod venue;

pub use codec::{HandshakeError, MAX_BELLS, MAX_PACKET_BYTES, MISSED_PER_PACKET, PART_BYTES, Packet};
pub use control::{ControlDone, ControlRefusal, ControlRequest};
pub use node::{NodeRefusal, NodeRequest};
pub use venue::{
    HandedOutMark, SNAPSHOT_LINES_PER_PACKET, SnapshotEnd, SnapshotLine, SnapshotPart, VenueOrder,
    VenuePosition,
};

use crate::msg::{AccountId, StrategyId};

pub use crate::journal::Role;

/// The longest name a client may give itself, bytes.
pub const NAME_BYTES: usize = crate::journal::STRATEGY_NAME_BYTES;

/// A bearer secret that lets its holder resume a strategy without asking anybody else.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Ticket(pub [u8; 16]);

impl Ticket {
    /// What the journal remembers of it: the first 16 bytes of its SHA-256.
    #[must_use]
    pub fn digest(&self) -> u128 {
        use sha2::Digest as _;
        let hash = sha2::Sha256::digest(self.0);
        let mut first = [0; 16];
        first.copy_from_slice(&hash[..16]);
        u128::from_le_bytes(first)
    }
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ticket(..)")
    }
}

/// The first packet: who I am and what I speak.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Protocol version, major then minor.
    pub version: (u16, u16),
    /// Layout hash this process was built with.
    pub layout_hash: u64,
    /// What it wants to be.
    pub role: Role,
    /// It reads the market at its own pace: a feed at full speed waits for it.
    pub paced: bool,
    /// Its name: for strategies the identity their orders are booked under.
    pub name: String,
    /// Program version, journalled and shown, never compared.
    pub build_id: String,
    /// Content of its key file, when it identifies itself by one.
    pub key: Option<[u8; 32]>,
    /// The ticket of an earlier attachment.
    pub ticket: Option<Ticket>,
    /// The last journal position it has seen; resuming replays what came after.
    pub last_seq: u64,
}

/// The core's agreement, with four segments and up to two eventfds attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// Number of this attachment.
    pub client: u64,
    /// The strategy this client speaks for (0 for roles without one).
    pub strategy: StrategyId,
    /// Its account.
    pub account: AccountId,
    /// The gate's epoch.
    pub epoch: u16,
    /// The gate runs in lockstep with the tape.
    pub lockstep: bool,
    /// Slots of intents ring 0.
    pub intents_slots: u32,
    /// Slots of intents ring 1 (feeds: the tape; else 0).
    pub tape_slots: u32,
    /// Slots of the events ring.
    pub events_slots: u32,
    /// Bytes of the market segment.
    pub market_bytes: u64,
    /// Bytes of the node cache segment.
    pub cache_bytes: u64,
    /// For resuming later.
    pub ticket: Ticket,
    /// Feeds: the last market event the venue has consumed in an earlier life.
    pub tape_event: u64,
    /// Eventfds that follow the four segments, when the gate's threads may sleep: the gate's, then, for feeds, the
    /// venue's; 0 when none of them ever has to be woken.
    pub bells: u8,
}

/// Why the core said no. Numbers are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum RefusalCode {
    /// Another protocol version or layout.
    Version = 1,
    /// The identity list has no entry for this user, key, role and name.
    Identity = 2,
    /// A strategy of this name is attached already.
    NameTaken = 3,
    /// No free client, strategy or feed slot.
    Full = 4,
    /// Too many attaches at once; try again later.
    RateLimited = 5,
    /// The ticket is not this strategy's (or the venue's) newest.
    Ticket = 6,
    /// The intents segment carried unexpected seals.
    Seals = 7,
    /// The packet was not the one expected here.
    Protocol = 8,
    /// The gate is stopping.
    Stopping = 9,
    /// Could not set the connection up (memory, descriptors).
    Internal = 10,
    /// The journal no longer holds everything since `last_seq`.
    TooOld = 11,
    /// The client did not read its events; resuming brings them.
    Lagging = 12,
}

impl RefusalCode {
    pub(crate) const fn from_wire(value: u16) -> Option<Self> {
        Some(match value {
            1 => Self::Version,
            2 => Self::Identity,
            3 => Self::NameTaken,
            4 => Self::Full,
            5 => Self::RateLimited,
            6 => Self::Ticket,
            7 => Self::Seals,
            8 => Self::Protocol,
            9 => Self::Stopping,
            10 => Self::Internal,
            11 => Self::TooOld,
            12 => Self::Lagging,
            _ => return None,
        })
    }

    /// Whether trying again later can help.
    #[must_use]
    pub const fn is_transient(self) -> bool {
        matches!(
            self,
            Self::NameTaken
                | Self::Full
                | Self::RateLimited
                | Self::Internal
                | Self::Stopping
                | Self::Lagging
        )
    }
}
