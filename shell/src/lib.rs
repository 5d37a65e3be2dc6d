//! The Ringfence shell: HTTP, streams, market sources and the web page around the gate.
//!
//! Edges ([`http`]) call services ([`gateway`]), and services reach the gate through shared memory only: orders go out
//! through one operator client, and everything that is shown is read from the gate's journal.

#![forbid(unsafe_code)]

pub mod audit;
pub mod auth;
mod config;
mod error;
pub mod feed;
pub mod gateway;
pub mod http;
pub mod order_events;
mod server;
pub mod venue;

pub use config::ShellConfig;
pub use error::ShellError;
pub use server::{sample, serve};
