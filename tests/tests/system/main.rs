//! Whole-system tests over real processes and real shared memory; each test is named after what it proves.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod absence;
mod audit;
mod auth;
mod binance;
mod binance_gate;
mod checkpoints;
mod config;
mod g12_lives;
mod g14_openapi;
mod g17_memory;
mod g5_crowd;
mod g8_decoders;
mod guard;
mod hostile;
mod kills;
mod lagging;
mod limits;
mod look;
mod nodes;
mod order_events;
mod orders;
mod page;
mod park;
mod places;
mod power;
mod reconcile;
mod recording;
mod secured;
mod supervisor;
mod venue;
