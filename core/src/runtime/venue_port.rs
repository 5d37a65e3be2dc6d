//! The gate's side of a venue: commands out, reports in.

use ringfence_ipc::msg::{Command, Report};

use crate::gate::Space;
use crate::venue::{NullVenue, PaperVenue};

/// Commands that fit between the gate and the paper thread.
pub(super) const COMMAND_SLOTS: usize = 4096;
/// Reports that fit between the paper thread and the gate.
pub(super) const REPORT_SLOTS: usize = 16_384;
/// Command slots kept for cancels.
const RESERVED_SLOTS: usize = COMMAND_SLOTS / 16;

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
    /// What may be commanded now.
    #[inline]
    pub fn space(&self) -> Space {
        let (free, reserved) = match self {
            Self::Paper { commands, .. } => (commands.slots(), RESERVED_SLOTS),
            Self::Inline { reports, .. } | Self::Null { reports, .. } => {
                (reports.capacity() - reports.len(), RESERVED_SLOTS)
            }
        };
        if free > reserved {
            Space::Open
        } else if free > 0 {
            Space::Reserved
        } else {
            Space::Full
        }
    }

    /// Hands a command over; room was looked at before it was decided.
    #[inline]
    pub fn push(&mut self, command: Command, now_ns: u64) {
        match self {
            Self::Paper { commands, .. } => {
                let pushed = commands.push(command);
                assert!(pushed.is_ok(), "a command was decided without room at the venue");
            }
            Self::Inline { venue, reports } => venue.on_command(&command, now_ns, reports),
            Self::Null { venue, reports } => venue.on_command(&command, now_ns, reports),
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
                let count = reports.len().min(limit);
                out.extend(reports.drain(..count));
            }
        }
    }
}
