//! The gate: one thread decides every order intent, writes the decision down, and answers.
//!
//! The feature `sim` is the gate without its process: [`gate`], [`venue`], [`cache`] and replay, free of IO. The feature
//! `io` adds the journal's writer ([`journal`]), checkpoints ([`checkpoint`]) and the process around it ([`runtime`]).

#[cfg(feature = "sim")]
pub mod cache;
#[cfg(feature = "io")]
pub mod checkpoint;
#[cfg(feature = "io")]
pub mod config;
#[cfg(feature = "sim")]
pub mod gate;
#[cfg(feature = "io")]
pub mod journal;
#[cfg(feature = "sim")]
pub mod reconcile;
#[cfg(feature = "io")]
pub mod runtime;
#[cfg(feature = "io")]
pub mod summary;
#[cfg(feature = "sim")]
pub mod venue;
