//! Checkpoints: recovery starts at the newest good one instead of at the journal's first record.
//!
//! ```text
//!  gate thread ──records──▶ hot ring ──▶ archive          never knows of any of this
//!                              │             │
//!                              └──Follower───┴──▶ replica: the same Gate ──▶ <position>.rfc, the newest two are kept
//! ```
//!
//! [`Recovered`] is what records make of a gate and of what boot needs beside it; [`Replica`] adds what readers of a
//! checkpoint want to know; [`Worker`] is the thread that follows, writes, and removes what nobody needs; [`recover`]
//! decides where a new life begins to read.

mod choose;
mod files;
mod recovered;
mod retention;
mod worker;

#[cfg(test)]
mod tests;

pub use choose::{Fault, RecoverError, Recovery, recover};
pub use files::{keep_only, write};
pub use recovered::{Past, Recovered, Replica, ReplicaError, VENUE};
pub use retention::Retention;
pub use worker::{Plan, Worker};
