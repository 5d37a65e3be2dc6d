//! What every engine must do, asked of each of them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod conformance;
mod embedded;
mod servers;
mod spool;
