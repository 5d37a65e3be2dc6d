//! The journal's writing side: one log, two stages, the one source of truth.
//!
//! The gate appends to the hot ring on tmpfs ([`Writer`]); the archiver thread copies it to segments on disk
//! ([`Archiver`]); [`open`] recovers what an earlier life left, by a table over the states of both ends ([`recovery`]).
//! Layouts and readers live in [`ringfence_ipc::journal`].
//!
//! ```text
//!  gate ──append──▶ hot ring ──archiver──▶ segments        written ≥ archived ≥ durable
//!                   tmpfs        pwrite: archived_pos       a hot slot is reused only below archived_pos
//!                                fdatasync: durable_pos
//! ```

mod archiver;
mod blocks;
mod error;
pub mod medium;
mod open;
pub mod recovery;
mod segments;
mod writer;

#[cfg(test)]
pub(crate) mod tests;

pub use archiver::{Archiver, ArchiverReport};
#[cfg(test)]
pub(crate) use archiver::{Pump, Step};
pub use error::JournalError;
pub use open::{JournalOptions, Opened, RecoveredLog, RecoveryReport, open, open_on};
pub use writer::{Class, Writer};
