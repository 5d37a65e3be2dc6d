//! The service from a submission to a plan, on engines that are real.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod common;
mod embedded;
mod many;
mod refusals;
mod servers;
