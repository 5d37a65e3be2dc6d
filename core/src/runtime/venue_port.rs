//! The gate's side of a venue: commands out, reports in.

use ringfence_ipc::msg::{Command, CommandKind, OrderState, OrderType, Report, ReportKind, Side, Tif};
use ringfence_ipc::reason::Reason;

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
}

impl VenuePort {
    /// What this venue knows of the commands of the gate's life before. The gate asks when it comes back, before it
    /// decides anything.
    pub const fn handed_out(&self) -> HandedOut {
        match self {
            // They live in this process and died with it.
            Self::Paper { .. } | Self::Inline { .. } | Self::Null { .. } => HandedOut::Forgotten,
        }
    }

    /// What may be commanded now.
    #[inline]
    pub fn space(&self) -> Space {
        self.space_beside(0)
    }

    /// What may be commanded beside `waiting` commands that are not handed over yet.
    #[inline]
    pub fn space_beside(&self, waiting: usize) -> Space {
        let free = match self {
            Self::Paper { commands, .. } => commands.slots(),
            Self::Inline { reports, .. } | Self::Null { reports, .. } => reports.capacity() - reports.len(),
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
        }
    }

    /// Whether there is anything to book.
    #[inline]
    pub fn has_reports(&self) -> bool {
        match self {
            Self::Paper { reports, .. } => !reports.is_empty(),
            Self::Inline { reports, .. } | Self::Null { reports, .. } => !reports.is_empty(),
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

/// The report by which a venue marks, among its reports, the moment of snapshot `number`: it names no order, so that
/// only a gate that finds nothing to book looks at it.
pub(super) const fn snapshot_mark(number: u64) -> Report {
    Report { trade_id: number, ..BLANK_REPORT }
}

/// The snapshot whose moment this report marks, if it is such a mark.
pub(super) const fn snapshot_number(report: &Report) -> Option<u64> {
    let marks = report.order_id == 0 && matches!(report.kind, ReportKind::Unknown) && report.trade_id != 0;
    if marks { Some(report.trade_id) } else { None }
}

/// Fills fresh memory; never booked.
pub(super) const BLANK_REPORT: Report = Report {
    kind: ReportKind::Unknown,
    state: OrderState::Unknown,
    side: Side::Buy,
    maker: false,
    late: false,
    reentered: false,
    reason: Reason::Ok,
    symbol: 0,
    journal_seq: 0,
    order_id: 0,
    last_qty: 0,
    last_price: 0,
    cum_qty: 0,
    ts_ns: 0,
    trade_id: 0,
    fee_e8: 0,
    leaves_qty: 0,
    key_low: 0,
    venue_ts_ns: 0,
    strategy: 0,
    account: 0,
};
