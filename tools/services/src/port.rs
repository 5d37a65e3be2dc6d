//! Loopback ports for servers that are killed and come back.

use std::net::{Ipv4Addr, TcpListener};

/// Below the kernel's range for outgoing connections: none of them can take the port of a server that is away.
const BELOW: u16 = 32_000;

/// `count` ports from `from` on that nobody listens at.
pub fn free(count: usize, from: u16) -> Result<Vec<u16>, String> {
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let found: Vec<u16> = (from..BELOW).filter(free).take(count).collect();
    if found.len() == count {
        return Ok(found);
    }
    Err(format!("no {count} free loopback ports from {from} to {BELOW}: stop what listens there"))
}
