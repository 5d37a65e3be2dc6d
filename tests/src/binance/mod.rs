//! A mock of Binance spot on loopback: REST, WebSocket API, market streams, and everything that goes wrong there.
//!
//! [`rig`] is an adapter beside it, and the comparison of both. [`venue`] is the venue as a state machine; [`server`] speaks its protocols and injects [`server::Fault`]s.

pub mod rig;
pub mod server;
pub mod venue;

pub use rig::Rig;
pub use server::{EventFaults, Fault, Mock, Verifier};
pub use venue::{ONE, Venue};
