//! Real servers on loopback, for tests and trials. Each has a module of its own; `cargo xtask services` and the tests
//! start them by the same code. They are found outside of the repository, keep everything they write in a scratch folder,
//! and are stopped by pid.

#![forbid(unsafe_code)]

mod jars;
pub mod kafka;
pub mod neo4j;
mod node;
mod place;
mod port;
pub mod postgres;
pub mod redis;

pub use node::Node;
pub use place::cache_dir;
