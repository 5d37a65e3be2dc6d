//! A venue whose adapter is another process: its rings, and what becomes of orders when it comes and goes.
//!
//! ```text
//!  LOST ──attach──▶ SETTLING ──every open order was looked at──▶ ASKING ──no order is UNKNOWN──▶ OPEN
//!   ▲                  │                                            │                             │
//!   └──every order was looked at── LOSING ◀────────── the adapter is gone ───────────────────────┘
//! ```
//!
//! New orders pass in OPEN alone. A cancel passes in every state: without an adapter, or before the walk has come to its
//! order, it is not handed over; the order is PENDING_CANCEL, and the walk of the next attachment asks for it.
//! Everything here is bounded per pass, allocates nothing and calls nobody.

use ringfence_ipc::msg::{Command, CommandKind, OrderId, Report, VenueCall, kind, kind_of};
use ringfence_ipc::ring::Fault;

use super::mailbox::PortFault;
use super::port::ClientPort;
use super::venue_port::{BLANK_COMMAND, touched_vec};
use crate::gate::{HandedOut, Reentry, SEQUENCE_BITS, Space};

/// New orders that were accepted and cannot be handed over: they wait for one pass.
const UNSENT_SLOTS: usize = 1024;
/// Commands that one order may need when an adapter comes: its query, its amend, its cancel.
const COMMANDS_PER_ORDER: u64 = 3;
/// Slots of one report.
const REPORT_SLOTS: u8 = 2;

/// Where the venue stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// No adapter is attached.
    Lost,
    /// It has just gone: orders from this slot on are not UNKNOWN yet.
    Losing { next: u32 },
    /// It has just come: orders from this slot on wait for what its mark means for them.
    Settling { next: u32 },
    /// It was asked: orders from this slot on may be UNKNOWN still.
    Asking { next: u32 },
    /// Open for everything.
    Open,
}

impl Stage {
    /// As the counters file says it.
    pub const fn number(self) -> u64 {
        match self {
            Self::Lost | Self::Losing { .. } => 1,
            Self::Settling { .. } | Self::Asking { .. } => 2,
            Self::Open => 3,
        }
    }
}

/// The attached adapter.
pub(super) struct Link {
    pub port: Box<ClientPort>,
    pub handed_out: HandedOut,
    /// Orders up to this one are the walk's; later ones were not handed to anybody.
    pub until: OrderId,
    /// The snapshot that was asked for and whose mark has not come; 0: none.
    asked: u64,
    /// It is gone: its ring is read up to here at most; 0: it is there.
    drain_to: u64,
    /// It must go.
    pub fault: Option<PortFault>,
}

/// The gate's side.
pub(super) struct External {
    pub link: Option<Link>,
    pub stage: Stage,
    /// The newest order that may have gone to an adapter: at first, every order of earlier lives.
    pushed: OrderId,
    /// From this order on, in this life, nobody but the adapter with the present ticket was given any.
    pub since: OrderId,
    /// New orders that found no open venue: they are lost before they were sent.
    pub unsent: Vec<Command>,
    /// Messages of the adapter that were no reports, not yet counted.
    pub malformed: u64,
    /// What one order needs, while the walk is at it.
    pub steps: Vec<Reentry>,
    /// Finds an order's slot.
    slot_mask: u64,
}

impl External {
    /// Without an adapter, in life `epoch` of a gate with `order_slots`.
    pub fn new(epoch: u16, order_slots: usize) -> Self {
        let first = u64::from(epoch) << SEQUENCE_BITS;
        Self {
            link: None,
            stage: Stage::Lost,
            pushed: first,
            since: first,
            unsent: touched_vec(UNSENT_SLOTS, BLANK_COMMAND),
            malformed: 0,
            steps: touched_vec(8, Reentry::Command(BLANK_COMMAND)),
            slot_mask: order_slots as u64 - 1,
        }
    }

    /// Serves an adapter from now on. Without a mark it is told that others may have been handed orders before it.
    pub fn attach(&mut self, port: Box<ClientPort>, mark: Option<OrderId>) {
        let until = self.pushed;
        let handed_out = mark.map_or(HandedOut::Unknown, HandedOut::UpTo);
        let mut link = Link { port, handed_out, until, asked: 0, drain_to: 0, fault: None };
        if mark.is_none() {
            self.since = until + 1;
            link.call(VenueCall::Begin { known: until });
        }
        self.link = Some(link);
        self.stage = Stage::Settling { next: 0 };
    }

    /// The adapter, if it is this client, is given nothing more, and read to its end: a ring's worth at most, because
    /// who closed its socket may still write.
    pub fn drain(&mut self, client: u64) {
        if let Some(link) = self.link.as_mut().filter(|link| link.port.client == client) {
            link.port.draining = true;
            link.drain_to = link.port.intents.position() + link.port.intents.capacity();
        }
    }

    /// Whether the adapter was to be drained and is.
    pub fn is_drained(&mut self) -> bool {
        let Some(link) = self.link.as_ref().filter(|link| link.port.draining) else { return false };
        link.port.intents.position() >= link.drain_to || !self.has_reports()
    }

    /// Takes the adapter away; what its orders are is to be found out.
    pub fn detach(&mut self) -> Option<Link> {
        let link = self.link.take()?;
        self.stage = Stage::Losing { next: 0 };
        Some(link)
    }

    /// The newest order that may have gone to an adapter.
    pub const fn pushed(&self) -> OrderId {
        self.pushed
    }

    /// The adapter, while it may be given something.
    fn served(&mut self) -> Option<&mut Link> {
        self.link.as_mut().filter(|link| !link.port.draining && link.fault.is_none())
    }

    /// What may be commanded beside `waiting` commands that are not handed over yet.
    #[inline]
    pub fn space_beside(&mut self, waiting: usize) -> Space {
        let (stage, unsent) = (self.stage, self.unsent.len());
        let room = self.unsent.capacity() - unsent > waiting;
        let Some(link) = self.served() else {
            return if room { Space::Reserved } else { Space::Full };
        };
        let reserved = link.port.events.capacity() / 16;
        let needed = 1 + waiting as u64;
        if stage == Stage::Open && link.has_room(reserved + needed) {
            Space::Open
        } else if room && link.has_room(needed) {
            Space::Reserved
        } else {
            Space::Full
        }
    }

    /// Whether a command that a mass cancel owes would reach the adapter now.
    pub fn takes_owed(&mut self) -> bool {
        matches!(self.stage, Stage::Asking { .. } | Stage::Open) && self.served().is_some()
    }

    /// Whether one more command finds room, wherever it goes.
    pub fn has_place(&mut self) -> bool {
        self.space_beside(0) > Space::Full
    }

    /// Hands a command over, or keeps what it means for later.
    #[inline]
    pub fn push(&mut self, command: &Command) {
        let enters = command.kind == CommandKind::New;
        let slot = (command.order_id & self.slot_mask) as u32;
        let goes = match self.stage {
            Stage::Open => true,
            Stage::Asking { .. } => !enters,
            Stage::Settling { next } => !enters && slot < next,
            Stage::Lost | Stage::Losing { .. } => false,
        };
        let sent = goes && self.served().is_some_and(|link| link.push(command));
        if enters && sent {
            self.pushed = command.order_id;
        } else if enters {
            debug_assert!(self.unsent.len() < self.unsent.capacity(), "room was looked at");
            if self.unsent.len() < self.unsent.capacity() {
                self.unsent.push(*command);
            }
        }
    }

    /// What the walk asks of the adapter.
    pub fn ask(&mut self, command: &Command) {
        if let Some(link) = self.served() {
            link.push(command);
        }
    }

    /// Whether the walk may take the next order: all of its commands fit, beside `waiting` others.
    pub fn may_settle(&mut self, waiting: usize) -> bool {
        self.served().is_some_and(|link| link.has_room(COMMANDS_PER_ORDER + waiting as u64))
    }

    /// Asks for a snapshot. Not when the ring is full: whoever waits for it gives up.
    pub fn call_snapshot(&mut self, number: u64) {
        if let Some(link) = self.served() {
            link.asked = number;
            link.call(VenueCall::Snapshot { number });
        }
    }

    /// Whether there is anything to look after beside commands and reports.
    #[inline]
    pub fn needs_care(&self) -> bool {
        let settled = matches!(self.stage, Stage::Open | Stage::Lost);
        let leaves = self.link.as_ref().is_some_and(|link| link.port.draining || link.fault.is_some());
        !settled || leaves || self.malformed > 0 || !self.unsent.is_empty()
    }

    /// Whether the adapter has said something.
    #[inline]
    pub fn has_reports(&mut self) -> bool {
        let Some(link) = self.link.as_mut().filter(|link| link.fault.is_none()) else { return false };
        match link.port.intents.peek() {
            Ok(head) => head.is_some(),
            Err(fault) => {
                link.fail(fault);
                false
            }
        }
    }

    /// Takes at most `limit` messages; what is a report goes into `out`.
    pub fn take_reports(&mut self, limit: usize, out: &mut Vec<Report>) {
        let Some(link) = &mut self.link else { return };
        // The ring publishes by itself how far it was read every quarter of it; only what is booked may be published.
        let unpublished = (link.port.intents.capacity() / 4 - 1) as usize / usize::from(REPORT_SLOTS);
        for _ in 0..limit.min(unpublished) {
            match link.next_report() {
                Ok(Some(Some(report))) => out.push(report),
                Ok(Some(None)) => self.malformed += 1,
                Ok(None) => return,
                Err(fault) => return link.fail(fault),
            }
        }
    }

    /// Everything taken is booked: the adapter may forget it.
    pub fn booked(&mut self) {
        if let Some(link) = &mut self.link {
            link.port.intents.publish();
        }
    }
}

impl Link {
    #[cold]
    fn fail(&mut self, fault: Fault) {
        self.fault = Some(PortFault::Ring(fault));
    }

    #[inline]
    fn has_room(&mut self, slots: u64) -> bool {
        match self.port.events.has_room(slots) {
            Ok(room) => room,
            Err(fault) => {
                self.fail(fault);
                false
            }
        }
    }

    /// One publish. An adapter whose ring is full where room was seen is taken for one that stopped reading.
    #[inline]
    fn push(&mut self, command: &Command) -> bool {
        match self.port.events.push1(&command.encode()) {
            Ok(Some(_)) => return true,
            Ok(None) => self.fault = Some(PortFault::Lagging),
            Err(fault) => self.fail(fault),
        }
        false
    }

    fn call(&mut self, call: VenueCall) {
        if let Err(fault) = self.port.events.push1(&call.encode()) {
            self.fail(fault);
        }
    }

    /// The next message: a report, or one that means nothing. A mark counts once, and only for what was asked.
    fn next_report(&mut self) -> Result<Option<Option<Report>>, Fault> {
        let ring = &mut self.port.intents;
        let Some(head) = ring.peek()? else { return Ok(None) };
        let report = if kind_of(&head.words) == kind::REPORT && head.slots == REPORT_SLOTS {
            Report::decode(&head.words, &ring.continuation(1)?).ok()
        } else {
            None
        };
        ring.advance(head.slots);
        let marked = report.as_ref().and_then(Report::snapshot_number);
        if marked.is_some_and(|number| number != self.asked) {
            return Ok(Some(None));
        }
        if marked.is_some() {
            self.asked = 0;
        }
        Ok(Some(report))
    }
}
