//! The gate's side of a venue: commands out, reports in.

use ringfence_ipc::msg::{Command, CommandKind, OrderType, Report, Side, Tif};

use super::external::External;
use crate::gate::{HandedOut, Space};
use crate::venue::{NullVenue, PaperVenue};

/// Commands that fit between the gate and the paper thread.
pub(super) const COMMAND_SLOTS: usize = 4096;
/// Reports that fit between the paper thread and the gate.
pub(super) const REPORT_SLOTS: usize = 16_384;
/// Command slots kept for cancels.
const RESERVED_SLOTS: usize = COMMAND_SLOTS / 16;

/// A ring whose memory has all been written once: its first lap faults no page in.
pub(super) fn touched_ring<T: Copy>(slots: usize, blank: T) -> (rtrb::Producer<T>, rtrb::Consumer<T>) {
    let (mut producer, mut consumer) = rtrb::RingBuffer::new(slots);
    while producer.push(blank).is_ok() {}
    while consumer.pop().is_ok() {}
    (producer, consumer)
}

/// An empty vector whose memory has all been written once.
pub(super) fn touched_vec<T: Clone>(capacity: usize, blank: T) -> Vec<T> {
    let mut vec = vec![blank; capacity];
    vec.clear();
    vec
}

/// Where commands go. One per gate.
pub(super) enum VenuePort {
    /// The paper venue on its own thread.
    Paper { commands: rtrb::Producer<Command>, reports: rtrb::Consumer<Report> },
    /// The paper venue in the gate thread: lockstep.
    Inline { venue: Box<PaperVenue>, reports: Vec<Report> },
    /// Everything expires at once.
    Null { venue: NullVenue, reports: Vec<Report> },
    /// Another process, while its adapter is attached.
    External(Box<External>),
}

impl VenuePort {
    /// What this venue knows of the commands of the gate's life before. The gate asks when it comes back, before it
    /// decides anything; none: an adapter says so when it attaches.
    pub const fn handed_out(&self) -> Option<HandedOut> {
        match self {
            // They live in this process and died with it.
            Self::Paper { .. } | Self::Inline { .. } | Self::Null { .. } => Some(HandedOut::Forgotten),
            Self::External(_) => None,
        }
    }

    /// What may be commanded now.
    #[inline]
    pub fn space(&mut self) -> Space {
        self.space_beside(0)
    }

    /// What may be commanded beside `waiting` commands that are not handed over yet.
    #[inline]
    pub fn space_beside(&mut self, waiting: usize) -> Space {
        let free = match self {
            Self::Paper { commands, .. } => commands.slots(),
            Self::Inline { reports, .. } | Self::Null { reports, .. } => reports.capacity() - reports.len(),
            Self::External(venue) => return venue.space_beside(waiting),
        };
        let free = free.saturating_sub(waiting);
        if free > RESERVED_SLOTS {
            Space::Open
        } else if free > 0 {
            Space::Reserved
        } else {
            Space::Full
        }
    }

    /// Hands a command over; room was looked at before it was decided.
    #[inline]
    pub fn push(&mut self, command: &Command, now_ns: u64) {
        match self {
            Self::Paper { commands, .. } => {
                let pushed = commands.push(*command);
                assert!(pushed.is_ok(), "a command was decided without room at the venue");
            }
            Self::Inline { venue, reports } => venue.on_command(command, now_ns, reports),
            Self::Null { venue, reports } => venue.on_command(command, now_ns, reports),
            Self::External(venue) => venue.push(command),
        }
    }

    /// Whether there is anything to book.
    #[inline]
    pub fn has_reports(&mut self) -> bool {
        match self {
            Self::Paper { reports, .. } => !reports.is_empty(),
            Self::Inline { reports, .. } | Self::Null { reports, .. } => !reports.is_empty(),
            Self::External(venue) => venue.has_reports(),
        }
    }

    /// Whether a command that has waited for the disk finds room; where commands wait, their room is counted.
    pub fn has_place(&mut self) -> bool {
        match self {
            Self::Paper { .. } | Self::Inline { .. } | Self::Null { .. } => true,
            Self::External(venue) => venue.has_place(),
        }
    }

    /// Whether a cancel that a mass cancel owes would reach the venue now, given room.
    pub fn takes_owed(&mut self) -> bool {
        match self {
            Self::Paper { .. } | Self::Inline { .. } | Self::Null { .. } => true,
            Self::External(venue) => venue.takes_owed(),
        }
    }

    /// Every report taken so far is booked.
    #[inline]
    pub fn booked(&mut self) {
        if let Self::External(venue) = self {
            venue.booked();
        }
    }

    /// Takes the oldest reports, at most `limit`, into `out` (cleared first).
    #[inline]
    pub fn take_reports(&mut self, limit: usize, out: &mut Vec<Report>) {
        out.clear();
        match self {
            Self::Paper { reports, .. } => {
                while out.len() < limit {
                    match reports.pop() {
                        Ok(report) => out.push(report),
                        Err(_) => return,
                    }
                }
            }
            Self::Inline { reports, .. } | Self::Null { reports, .. } => {
                if reports.len() <= limit && out.capacity() >= reports.capacity() {
                    std::mem::swap(reports, out);
                } else {
                    let count = reports.len().min(limit);
                    out.extend(reports.drain(..count));
                }
            }
            Self::External(venue) => venue.take_reports(limit, out),
        }
    }
}

/// Fills fresh memory; never sent.
pub(super) const BLANK_COMMAND: Command = Command {
    kind: CommandKind::Cancel,
    order_id: 0,
    symbol: 0,
    side: Side::Buy,
    order_type: OrderType::Limit,
    tif: Tif::Gtc,
    flags: 0,
    price: 0,
    qty: 0,
    now_ns: 0,
    key: 0,
};

/// Fills fresh memory; never booked.
pub(super) const BLANK_REPORT: Report = Report::snapshot_mark(0);
