//! What a venue says it has, held against what the gate believes: every difference by a stable name, with what to do.
//!
//! `docs/reconcile.md` has the JSON of both sides. Comparing is a pure function; where the two sides come from is
//! another matter: a venue's own snapshot or a file ([`SnapshotFile`]), and a gate, live or rebuilt from its journal
//! (`view_at`).

mod differences;
#[cfg(feature = "io")]
mod rebuild;
mod report;
mod snapshot;
#[cfg(test)]
mod tests;
mod view;

pub use differences::differences;
#[cfg(feature = "io")]
pub use rebuild::{ViewError, view_at};
pub use report::{Code, Difference, MAX_DIFFERENCES, Report, UnknownOrder};
pub use snapshot::{
    MAX_SNAPSHOT_BYTES, OrderLine, PositionLine, SnapshotError, SnapshotFile, Stranger, VenueOrder,
    VenuePosition, VenueSnapshot,
};
pub use view::GateView;
