//! An adapter's side of its rings: commands of the gate in, reports of the venue out, and what is known when either
//! process has died in between.
//!
//! A command counts as handed out from the moment [`VenueClient::poll`] returns it: an adapter sends it to its venue
//! then, once, and never again on its own. When the gate is gone nothing more is handed out; the adapter states the
//! newest order it was given when it attaches again, and the gate knows which orders cannot have reached the venue.
//!
//! Reports are kept until the gate has booked them and said again after a re-attachment: a gate that dies between
//! reading and booking loses none.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use crate::client::retry;
use crate::connection::Connection;
pub use crate::connection::{AttachError, AttachOptions};
use crate::handshake::{
    HandedOutMark, RefusalCode, Role, SNAPSHOT_LINES_PER_PACKET, SnapshotEnd, SnapshotLine, SnapshotPart,
    VenueOrder, VenuePosition,
};
use crate::layout;
use crate::market::MarketReader;
use crate::msg::{Command, CommandKind, DecodeError, OrderId, Report, VenueCall, kind, kind_of};
use crate::ring::{Consumer, Fault, Producer};

/// Reports that wait for the gate at most: what a venue says during a restart of the gate has to fit.
pub const MAX_UNBOOKED: usize = 1 << 16;
/// Slots of one report.
const REPORT_SLOTS: u64 = 2;
/// The high bits of an order id are the life of the gate that gave it.
const EPOCH_SHIFT: u32 = 48;

/// What [`VenueClient::poll`] brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VenueEvent {
    /// Carry it out, once. A [`CommandKind::Query`] asks what became of an order and enters nothing.
    Command(Command),
    /// Say what the venue has: [`VenueClient::answer_snapshot`] with this number.
    Snapshot(u64),
    /// The gate is gone, or this attachment is: call [`VenueClient::reattach`].
    Lost,
}

/// Why this attachment was given up from this side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VenueFault {
    /// The gate's memory contradicts the ring protocol.
    #[error("the gate broke the ring protocol: {0}")]
    Ring(#[from] Fault),
    /// A message that no gate sends.
    #[error("the gate sent no command: {0}")]
    Message(#[from] DecodeError),
    /// A command of another life of the gate.
    #[error("order {order_id} belongs to another epoch than {epoch}: not sent")]
    Epoch {
        /// The order.
        order_id: OrderId,
        /// Of this attachment.
        epoch: u16,
    },
    /// A new order that was handed out before.
    #[error("order {order_id} was handed out before: not sent again")]
    Repeated {
        /// The order.
        order_id: OrderId,
    },
}

/// Why the gate was not told.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// Too many reports wait for a gate that is gone or hangs. Nothing was taken: keep it, and say it again later.
    #[error("{MAX_UNBOOKED} reports wait for the gate: poll and re-attach, then report again")]
    Full,
    /// The control socket is broken: the gate asks again.
    #[error("the control socket: {0}")]
    Socket(#[from] io::Error),
}

/// One attached adapter. Not `Clone`: a ring has one producer.
pub struct VenueClient {
    options: AttachOptions,
    connection: Connection,
    commands: Consumer,
    reports: Producer,
    /// Said and not known to be booked, oldest first; the first `in_ring` of them stand in the ring.
    unbooked: VecDeque<Report>,
    in_ring: usize,
    /// Slots of the ring whose reports are booked.
    booked_slots: u64,
    /// Every new order up to this one may have been handed out; none: it is not known what an earlier adapter did.
    mark: Option<OrderId>,
    fault: Option<VenueFault>,
    lost_told: bool,
}

impl VenueClient {
    /// Attaches as the gate's venue without a past, trying again while the reason is transient. The gate asks for every
    /// order that is open.
    ///
    /// # Errors
    /// The last [`AttachError`] after `patience`.
    pub fn attach(options: AttachOptions, patience: Duration) -> Result<Self, AttachError> {
        let options = AttachOptions { role: Role::Venue, ..options };
        let connection = retry(patience, || Connection::open(&options, None))?;
        let (commands, reports) = rings(&connection)?;
        Ok(Self {
            options,
            connection,
            commands,
            reports,
            unbooked: VecDeque::new(),
            in_ring: 0,
            booked_slots: 0,
            mark: None,
            fault: None,
            lost_told: false,
        })
    }

    /// Attaches again after the gate died or detached this adapter: states what was handed out, and says again every
    /// report that is not known to be booked. When another adapter was attached since, this one has no say any more:
    /// the gate asks for every order that is open.
    ///
    /// # Errors
    /// The last [`AttachError`] after `patience`.
    pub fn reattach(&mut self, patience: Duration) -> Result<(), AttachError> {
        self.connection.hang_up();
        // What a gate booked before its end counts, also what it said last.
        let _ = self.forget_booked();
        let resume = Some((self.connection.welcome.ticket, 0));
        let stated = self.handed_out();
        let opened = retry(patience, || Connection::open_as_venue(&self.options, resume, stated));
        let connection = match opened {
            Err(AttachError::Refused { code: RefusalCode::Ticket, .. }) => {
                self.mark = None;
                retry(patience, || Connection::open(&self.options, None))?
            }
            opened => opened?,
        };
        let (commands, reports) = rings(&connection)?;
        (self.commands, self.reports) = (commands, reports);
        self.connection = connection;
        (self.fault, self.lost_told) = (None, false);
        (self.in_ring, self.booked_slots) = (0, 0);
        // Whoever asked for a snapshot has given up.
        self.unbooked.retain(|report| report.snapshot_number().is_none());
        self.flush();
        Ok(())
    }

    /// The next thing to do, if there is one. Once the gate is gone: [`VenueEvent::Lost`], once, and then nothing.
    #[inline]
    pub fn poll(&mut self) -> Option<VenueEvent> {
        // Looked at before the ring: what a dead gate left there is not handed out.
        if self.fault.is_some() || self.connection.is_lost() {
            return (!std::mem::replace(&mut self.lost_told, true)).then_some(VenueEvent::Lost);
        }
        match self.next_from_ring() {
            Ok(Some(event)) => Some(event),
            Ok(None) => {
                self.commands.publish();
                self.flush();
                None
            }
            Err(fault) => {
                self.give_up(fault);
                self.poll()
            }
        }
    }

    fn next_from_ring(&mut self) -> Result<Option<VenueEvent>, VenueFault> {
        while let Some(head) = self.commands.peek()? {
            let event = if kind_of(&head.words) == kind::VENUE_CALL {
                match VenueCall::decode(&head.words)? {
                    VenueCall::Begin { known } => {
                        self.mark = self.mark.max(Some(known));
                        None
                    }
                    VenueCall::Snapshot { number } => Some(VenueEvent::Snapshot(number)),
                }
            } else {
                let command = Command::decode(&head.words)?;
                self.hand_out(&command)?;
                Some(VenueEvent::Command(command))
            };
            self.commands.advance(head.slots);
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    /// Only what this life of the gate commands, and a new order only once.
    fn hand_out(&mut self, command: &Command) -> Result<(), VenueFault> {
        let (order_id, epoch) = (command.order_id, self.epoch());
        let of = (order_id >> EPOCH_SHIFT) as u16;
        let enters = matches!(command.kind, CommandKind::New | CommandKind::Reenter);
        if of > epoch || (enters && of != epoch) {
            return Err(VenueFault::Epoch { order_id, epoch });
        }
        if enters && self.mark.is_some_and(|mark| order_id <= mark) {
            return Err(VenueFault::Repeated { order_id });
        }
        if enters {
            self.mark = Some(order_id);
        }
        Ok(())
    }

    /// Says what happened to an order; kept until the gate has booked it, over its restarts too.
    ///
    /// # Errors
    /// [`ReportError::Full`].
    pub fn report(&mut self, report: &Report) -> Result<(), ReportError> {
        if self.unbooked.len() >= MAX_UNBOOKED {
            self.flush();
            if self.unbooked.len() >= MAX_UNBOOKED {
                return Err(ReportError::Full);
            }
        }
        self.unbooked.push_back(*report);
        self.flush();
        Ok(())
    }

    /// Answers [`VenueEvent::Snapshot`]: what the venue has after everything reported so far, and nothing else. Blocks
    /// while the gate reads it. `last_order_id` is the newest order that had reached the venue: what was handed out, unless
    /// the adapter keeps orders waiting. `positions`, if told, are all of them.
    ///
    /// # Errors
    /// [`ReportError`].
    pub fn answer_snapshot(
        &mut self,
        number: u64,
        taken_ns: u64,
        last_order_id: OrderId,
        orders: &[VenueOrder],
        positions: Option<&[VenuePosition]>,
    ) -> Result<(), ReportError> {
        self.report(&Report::snapshot_mark(number))?;
        let lines = orders.iter().map(|order| SnapshotLine::Order(*order));
        let told = positions.unwrap_or_default().iter().map(|position| SnapshotLine::Position(*position));
        let lines: Vec<SnapshotLine> = lines.chain(told).collect();
        for part in lines.chunks(SNAPSHOT_LINES_PER_PACKET) {
            self.connection.tell_snapshot(SnapshotPart { number, lines: part.to_vec(), end: None })?;
        }
        let end = SnapshotEnd { taken_ns, last_order_id, has_positions: positions.is_some() };
        Ok(self.connection.tell_snapshot(SnapshotPart { number, lines: Vec::new(), end: Some(end) })?)
    }

    /// Moves reports to the gate as far as they fit and takes no commands: for an adapter that ends. [`VenueClient::poll`]
    /// does so too.
    pub fn flush(&mut self) {
        if self.fault.is_none()
            && !self.connection.is_lost()
            && let Err(fault) = self.push_reports()
        {
            self.give_up(VenueFault::Ring(fault));
        }
    }

    fn push_reports(&mut self) -> Result<(), Fault> {
        self.forget_booked()?;
        let mut pushed = false;
        while let Some(report) = self.unbooked.get(self.in_ring) {
            if self.reports.push(&report.encode())?.is_none() {
                break;
            }
            self.in_ring += 1;
            pushed = true;
        }
        if pushed {
            self.connection.bells.ring();
        }
        Ok(())
    }

    /// The gate publishes how far it has read only once it has booked what it read.
    fn forget_booked(&mut self) -> Result<(), Fault> {
        let booked = self.reports.position() - (self.reports.capacity() - self.reports.free()?);
        while self.booked_slots + REPORT_SLOTS <= booked && self.in_ring > 0 {
            self.unbooked.pop_front();
            self.in_ring -= 1;
            self.booked_slots += REPORT_SLOTS;
        }
        Ok(())
    }

    #[cold]
    fn give_up(&mut self, fault: VenueFault) {
        self.fault = Some(fault);
        self.connection.hang_up();
    }

    /// What this adapter would state now; none: it cannot know what an earlier one did.
    #[must_use]
    pub fn handed_out(&self) -> Option<HandedOutMark> {
        self.mark.map(|order_id| HandedOutMark { epoch: self.epoch(), order_id })
    }

    /// Why this attachment was given up from this side, if it was.
    #[must_use]
    pub fn fault(&self) -> Option<VenueFault> {
        self.fault
    }

    /// Reports that the gate is not known to have booked.
    #[must_use]
    pub fn unbooked(&self) -> usize {
        self.unbooked.len()
    }

    /// The gate's epoch.
    #[must_use]
    pub fn epoch(&self) -> u16 {
        self.connection.welcome.epoch
    }

    /// The symbol table.
    #[must_use]
    pub fn market(&self) -> &MarketReader {
        &self.connection.market
    }

    /// Gate time, ns; no syscall.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        self.connection.clock.now_ns()
    }

    /// Whether the attachment still stands.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.fault.is_none() && !self.connection.is_lost()
    }
}

fn rings(connection: &Connection) -> Result<(Consumer, Producer), AttachError> {
    let welcome = &connection.welcome;
    let header = layout::read_events_header(&connection.events)?;
    if header.epoch != welcome.epoch {
        return Err(AttachError::Silent("expected a ring of the epoch in the welcome"));
    }
    let commands = Consumer::new(
        layout::events_slots(&connection.events, welcome.events_slots)?,
        layout::intents_events_consumed_mut(&connection.intents)?,
        0,
    );
    let reports = Producer::new(
        layout::intents_slots_mut(&connection.intents, 0, welcome.intents_slots)?,
        layout::events_consumed(&connection.events, 0)?,
        0,
    );
    Ok((commands, reports))
}
