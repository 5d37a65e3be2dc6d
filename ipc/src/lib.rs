//! The contract between Ringfence processes.
//!
//! Everything two processes must agree on stands here and nowhere else: the wire messages ([`msg`]), the reasons a
//! decision can carry ([`reason`]), the symbol table ([`symbol`]) and the journal's record layout ([`journal`]).
//!
//! A peer's memory is input: it is copied once, checked, and only then used.

pub mod atomic;
pub mod cache;
pub mod cell;
#[cfg(not(loom))]
pub mod client;
#[cfg(not(loom))]
pub mod client_table;
#[cfg(not(loom))]
pub mod clock;
#[cfg(not(loom))]
mod connection;
#[cfg(not(loom))]
pub mod counters;
#[cfg(not(loom))]
pub mod feed;
#[cfg(not(loom))]
pub mod handshake;
pub mod hint;
#[cfg(not(loom))]
mod histogram;
#[cfg(not(loom))]
pub mod journal;
#[cfg(not(loom))]
pub mod layout;
#[cfg(not(loom))]
pub mod market;
pub mod msg;
pub mod reason;
pub mod ring;
#[cfg(not(loom))]
pub mod segment;
pub mod symbol;
#[cfg(not(loom))]
pub mod venue;
pub mod view;
pub mod wake;
