//! Shared memory under peers that do not play fair; each module carries the number of its goal in `docs/testing.md`.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, missing_docs)]

mod g4_hostile_memory;
mod g6_seals;
mod g7_cell;
mod g7_ring;
mod g7_wake;
mod guarded;
#[path = "../model/mod.rs"]
mod model;

/// A size that the environment may raise or lower.
fn size(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.replace('_', "").parse().ok()).unwrap_or(default)
}

/// xorshift64*: a seeded stream is enough here, and fast.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}
