//! `peer_uds` and `peer_uds_spinning`: a 56-byte datagram through a Unix seqpacket socket and back.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use crate::peer::{Link, Task};
use crate::slice::{Samples, Subject, Ticks, spin_until};

const PAYLOAD: usize = 56;
/// A datagram of this length ends a phase.
const STOP: usize = 1;

/// The near end.
pub struct SocketEcho {
    link: Link,
    task: Task,
    flags: RecvFlags,
    clock: Ticks,
    count: u64,
}

impl SocketEcho {
    /// Both ends sleep in `recv`.
    #[must_use]
    pub fn blocking(link: &Link, clock: Ticks) -> Self {
        Self { link: link.clone(), task: Task::SocketBlocking, flags: RecvFlags::empty(), clock, count: 0 }
    }

    /// Both ends spin on a non-blocking `recv`.
    #[must_use]
    pub fn spinning(link: &Link, clock: Ticks) -> Self {
        Self { link: link.clone(), task: Task::SocketSpinning, flags: RecvFlags::DONTWAIT, clock, count: 0 }
    }

    fn trip(&mut self, length: usize) -> Result<()> {
        self.count += 1;
        let mut message = [0; PAYLOAD];
        message[..8].copy_from_slice(&self.count.to_le_bytes());
        let socket = self.link.socket().as_fd();
        rustix::net::send(socket, &message[..length], SendFlags::NOSIGNAL)?;
        let mut echoed = [0; PAYLOAD];
        let received = spin_until(|| receive(socket, &mut echoed, self.flags))?;
        ensure!(received == length && echoed[..length] == message[..length], "the echo changed the message");
        Ok(())
    }
}

impl Subject for SocketEcho {
    fn slice(&mut self, samples: &mut Samples, length: Duration) -> Result<()> {
        self.link.start(self.task)?;
        let clock = self.clock;
        samples.fill(&clock, length, || self.trip(PAYLOAD))?;
        self.trip(STOP)
    }
}

fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8], flags: RecvFlags) -> Result<Option<usize>> {
    match rustix::net::recv(socket, buffer, flags) {
        Ok((0, _)) => anyhow::bail!("the peer is gone"),
        Ok((length, _)) => Ok(Some(length)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The far end of one phase.
///
/// # Errors
/// The near end went away.
pub fn echo(socket: BorrowedFd<'_>, flags: RecvFlags) -> Result<()> {
    let mut message = [0; PAYLOAD];
    loop {
        let length = spin_until(|| receive(socket, &mut message, flags))?;
        rustix::net::send(socket, &message[..length], SendFlags::NOSIGNAL)?;
        if length == STOP {
            return Ok(());
        }
    }
}
