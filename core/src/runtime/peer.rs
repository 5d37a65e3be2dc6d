//! One connection of the control socket, from its hello to its end.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use ringfence_ipc::handshake::socket::{self, PeerCredentials};
use ringfence_ipc::handshake::{Packet, RefusalCode, Role};
use ringfence_ipc::msg::StrategyId;

use super::attach::Pending;

/// One connection.
pub(super) struct Peer {
    pub socket: OwnedFd,
    pub pidfd: Option<OwnedFd>,
    pub credentials: PeerCredentials,
    pub since: Instant,
    pub stage: Stage,
    /// The gate holds its port, or the mail that brings it there is under way.
    pub with_gate: bool,
    pub client: u64,
    pub role: Role,
    pub strategy: StrategyId,
    /// The gate has a request about a node of this client's.
    pub asking: bool,
    /// Eventfds it may wake the gate's threads with.
    pub bells: Vec<OwnedFd>,
    /// Packets the socket could not take yet.
    pub outgoing: VecDeque<Packet>,
}

pub(super) enum Stage {
    /// Its hello is awaited.
    Hello,
    /// Its "mapped" is awaited.
    Mapped(Box<Pending>),
    /// The gate's word is awaited; resume after this journal position.
    Activating { resume_after: Option<u64> },
    /// It is served.
    Active,
    /// It is gone or refused.
    Leaving,
}

impl Peer {
    /// Nothing is under way: the control thread may sleep longer.
    pub fn is_settled(&self) -> bool {
        matches!(self.stage, Stage::Active) && self.outgoing.is_empty() && !self.asking
    }

    /// Sends what the socket takes. `false`: the connection is broken.
    pub fn flush(&mut self) -> bool {
        while let Some(packet) = self.outgoing.front() {
            match socket::send(self.socket.as_fd(), packet, &[]) {
                Ok(()) => drop(self.outgoing.pop_front()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(_) => {
                    self.outgoing.clear();
                    return false;
                }
            }
        }
        true
    }

    pub fn refuse(&mut self, code: RefusalCode, text: &str) {
        self.outgoing.clear();
        refuse(&self.socket, code, text);
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Write);
    }
}

pub(super) fn refuse(socket: &OwnedFd, code: RefusalCode, text: &str) {
    // The peer may be gone already: then there is nobody to tell.
    let _ = socket::send(socket.as_fd(), &Packet::Refused { code, text: text.to_owned() }, &[]);
    // A connection that is closed over an unread hello tells its peer of a reset before it tells it why.
    let _ = socket::receive(socket.as_fd(), false);
}
