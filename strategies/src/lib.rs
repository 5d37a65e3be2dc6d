//! Strategies as DAGs: a submission becomes nodes of the global graph, each computed once whoever uses it.
//!
//! ```text
//!  HTTP -> Submission -> intake -> store (or spool) -> worker -> graph: fetch, diff, apply -> topics -> plan
//! ```
//!
//! [`Strategies`] is the service behind the HTTP edge. What it answers with 202 is durable before; one of the workers takes
//! it from the queue under a fenced claim, compares it with the graph, applies it in one transaction and stores the plan.
//! Every step may be repeated after any death: the graph knows a strategy by its id, and topics by their names.

#![forbid(unsafe_code)]

mod bodies;
mod clock;
mod intake;
mod mapping;
mod refused;
mod service;
mod submission;
mod worker;

pub use bodies::{Accepted, Detail, DryRun, Explained, Leased, Leases, List, Listed, Queues, Status};
pub use refused::Refused;
pub use service::{Options, Running, StartError, Strategies, start};
pub use submission::{Rules, Sent, Submission};
