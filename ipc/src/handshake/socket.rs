//! The control socket: `SOCK_SEQPACKET` over a Unix path, one packet a message, descriptors attached where needed.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::net::{
    self, AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, sockopt,
};

use super::{HandshakeError, MAX_BELLS, MAX_PACKET_BYTES, Packet};

/// The most descriptors one packet carries: four segments and the bells.
pub const MAX_FDS: usize = 4 + MAX_BELLS;

/// Who the kernel says the peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerCredentials {
    /// Process id at connect time.
    pub pid: u32,
    /// Effective user id.
    pub uid: u32,
}

/// What one receive brought.
#[derive(Debug)]
pub enum Received {
    /// A packet, with its descriptors.
    Packet(Packet, Vec<OwnedFd>),
    /// The peer is gone.
    Closed,
    /// Nothing yet (non-blocking or timed out).
    Nothing,
}

/// What can go wrong on the control socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The operating system refused.
    #[error("control socket: {0}")]
    Io(#[from] io::Error),
    /// The peer sent bytes that are no packet.
    #[error("control socket: {0}")]
    Packet(#[from] HandshakeError),
}

/// Listens at `path` (mode 0660), which must not be in use. A stale socket file of a dead gate is replaced.
///
/// # Errors
/// Any socket error; `AddrInUse` when somebody still listens there.
pub fn listen(path: &Path) -> io::Result<OwnedFd> {
    if connect(path).is_ok() {
        return Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            format!(
                "{} is served by a running gate: stop it first, or choose another --run-dir",
                path.display()
            ),
        ));
    }
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    net::listen(&socket, 64)?;
    Ok(socket)
}

/// Accepts one connection, non-blocking; `None` when there is none.
///
/// # Errors
/// Any socket error but "would block".
pub fn accept(listener: BorrowedFd<'_>) -> io::Result<Option<(OwnedFd, PeerCredentials)>> {
    match net::accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
        Ok(socket) => {
            let credentials = sockopt::socket_peercred(&socket)?;
            let pid = credentials.pid.as_raw_nonzero().get().unsigned_abs();
            Ok(Some((socket, PeerCredentials { pid, uid: credentials.uid.as_raw() })))
        }
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::CONNABORTED | rustix::io::Errno::INTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Connects to the gate at `path`, blocking mode.
///
/// # Errors
/// Any socket error: `NotFound` or `ConnectionRefused` when no gate listens there.
pub fn connect(path: &Path) -> io::Result<OwnedFd> {
    let socket = net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

/// Bounds every later blocking receive and send on `socket`.
///
/// # Errors
/// Any socket error.
pub fn set_timeout(socket: BorrowedFd<'_>, timeout: Duration) -> io::Result<()> {
    sockopt::set_socket_timeout(socket, sockopt::Timeout::Recv, Some(timeout))?;
    sockopt::set_socket_timeout(socket, sockopt::Timeout::Send, Some(timeout))?;
    Ok(())
}

/// The peer as the kernel names it.
///
/// # Errors
/// Any socket error.
pub fn peer_credentials(socket: BorrowedFd<'_>) -> io::Result<PeerCredentials> {
    let credentials = sockopt::socket_peercred(socket)?;
    let pid = credentials.pid.as_raw_nonzero().get().unsigned_abs();
    Ok(PeerCredentials { pid, uid: credentials.uid.as_raw() })
}

/// Sends one packet with `fds` attached. A full socket buffer of a non-blocking socket is an error: peers that do not
/// read their handshake are closed.
///
/// # Errors
/// Any socket error.
pub fn send(socket: BorrowedFd<'_>, packet: &Packet, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let bytes = packet.encode();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors for one packet"));
    }
    net::sendmsg(socket, &[io::IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives one packet. `allow_fds` is false on the core's side: the gate accepts no descriptors, and any that a peer
/// attaches are closed unseen by the kernel (`MSG_CTRUNC` without a control buffer).
///
/// # Errors
/// [`SocketError::Packet`] on bytes that are no packet, [`SocketError::Io`] on socket errors.
pub fn receive(socket: BorrowedFd<'_>, allow_fds: bool) -> Result<Received, SocketError> {
    let mut bytes = [0; MAX_PACKET_BYTES + 1];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut ancillary =
        if allow_fds { RecvAncillaryBuffer::new(&mut space) } else { RecvAncillaryBuffer::default() };
    let received = net::recvmsg(
        socket.as_fd(),
        &mut [io::IoSliceMut::new(&mut bytes)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    );
    let length = match received {
        Ok(message) => message.bytes,
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(Received::Nothing),
        Err(rustix::io::Errno::CONNRESET) => return Ok(Received::Closed),
        Err(error) => return Err(io::Error::from(error).into()),
    };
    let fds = ancillary
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds.collect::<Vec<_>>()),
            _ => None,
        })
        .flatten()
        .collect();
    if length == 0 {
        return Ok(Received::Closed);
    }
    let packet = bytes
        .get(..length)
        .filter(|bytes| bytes.len() <= MAX_PACKET_BYTES)
        .ok_or(HandshakeError::Trailing)?;
    Ok(Received::Packet(Packet::decode(packet)?, fds))
}
