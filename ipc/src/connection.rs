//! One attachment: the handshake done, the segments mapped, the peer's death watched.

use crate::atomic::{AtomicBool, Ordering};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cache::CacheView;
use crate::clock::Clock;
use crate::handshake::socket::{self, Received, SocketError};
use crate::handshake::{
    ControlDone, ControlRefusal, ControlRequest, HandedOutMark, Hello, NodeRefusal, NodeRequest, Packet,
    RefusalCode, Role, SnapshotPart, Ticket, Welcome,
};
use crate::layout::{self, LAYOUT_HASH, PROTOCOL_MAJOR, PROTOCOL_MINOR, Parking};
use crate::market::MarketReader;
use crate::msg::{SLOT_BYTES, Words};
use crate::segment::{Mapping, SegmentError, map_peer};
use crate::wake::{Bell, ParkedView};

/// How to attach.
#[derive(Clone, Debug)]
pub struct AttachOptions {
    /// The core's control socket.
    pub socket: PathBuf,
    /// What to be.
    pub role: Role,
    /// Under which name.
    pub name: String,
    /// Content of the key file, when the core's identity list asks for one.
    pub key: Option<[u8; 32]>,
    /// A strategy that reads the market at its own pace: a feed at full speed waits for it.
    pub paced: bool,
    /// Bounds the whole handshake.
    pub timeout: Duration,
}

impl AttachOptions {
    /// Attach to the gate at `socket` as `role` under `name`, within 5 s.
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>, role: Role, name: &str) -> Self {
        Self {
            socket: socket.into(),
            role,
            name: name.to_owned(),
            key: None,
            paced: false,
            timeout: Duration::from_secs(5),
        }
    }
}

/// Why attaching failed.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// No gate listens there.
    #[error("no gate at {path}: {source}; start one with `ringfence up`")]
    NoGate {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The gate said no.
    #[error("the gate refused ({code:?}): {text}")]
    Refused {
        /// Stable code.
        code: RefusalCode,
        /// What to do.
        text: String,
    },
    /// The gate went away or fell silent during the handshake.
    #[error("the gate did not answer the handshake: {0}")]
    Silent(&'static str),
    /// The conversation broke.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// A segment could not be mapped.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// A thread or descriptor could not be made.
    #[error("cannot set up the attachment: {0}")]
    Io(#[from] io::Error),
}

impl AttachError {
    /// Whether trying again in a moment can help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::NoGate { .. } | Self::Silent(_) | Self::Socket(_) => true,
            Self::Refused { code, .. } => code.is_transient(),
            Self::Segment(_) | Self::Io(_) => false,
        }
    }
}

/// Why a control request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The gate stands as it stood.
    #[error(transparent)]
    Refused(#[from] ControlRefusal),
    /// Limits stand as they stood: what is wrong with the limit or the file, in words.
    #[error("{0}")]
    Config(String),
    /// There is nothing to compare: why, in words.
    #[error("{0}")]
    Reconcile(String),
    /// The connection broke, or this role may not ask: whether anything changed, the journal tells.
    #[error(transparent)]
    Connection(#[from] AttachError),
}

/// How long the gate may take to answer a control request.
const CONTROL_PATIENCE: Duration = Duration::from_secs(5);

/// How long a comparison may take: the journal is read from its last checkpoint.
const RECONCILE_PATIENCE: Duration = Duration::from_secs(30);
/// The longest answer to a reconciliation that is put together, bytes.
pub const MAX_ANSWER_BYTES: usize = 64 << 20;

/// A live attachment.
pub(crate) struct Connection {
    socket: Arc<OwnedFd>,
    lost: Arc<AtomicBool>,
    pub(crate) welcome: Welcome,
    pub(crate) intents: Mapping,
    pub(crate) events: Mapping,
    pub(crate) market: MarketReader,
    pub(crate) cache: CacheView,
    pub(crate) clock: Clock,
    pub(crate) bells: Bells,
    /// Events between `last_seq` and the fresh ring, oldest first.
    pub(crate) missed: Vec<Vec<Words>>,
    /// Journal position from which on events are in the fresh ring.
    pub(crate) begins_at: u64,
}

impl Connection {
    /// The whole handshake. `resume` carries the ticket and last journal position of an earlier attachment.
    pub(crate) fn open(options: &AttachOptions, resume: Option<(Ticket, u64)>) -> Result<Self, AttachError> {
        Self::open_as_venue(options, resume, None)
    }

    /// As [`Connection::open`], for an adapter that states what it handed out.
    pub(crate) fn open_as_venue(
        options: &AttachOptions,
        resume: Option<(Ticket, u64)>,
        handed_out: Option<HandedOutMark>,
    ) -> Result<Self, AttachError> {
        let deadline = Instant::now() + options.timeout;
        let socket = socket::connect(&options.socket)
            .map_err(|source| AttachError::NoGate { path: options.socket.clone(), source })?;
        socket::set_timeout(socket.as_fd(), options.timeout)?;
        let hello = Hello {
            version: (PROTOCOL_MAJOR, PROTOCOL_MINOR),
            layout_hash: LAYOUT_HASH,
            role: options.role,
            paced: options.paced,
            name: options.name.clone(),
            build_id: concat!("ringfence ", env!("CARGO_PKG_VERSION")).to_owned(),
            key: options.key,
            ticket: resume.map(|(ticket, _)| ticket),
            last_seq: resume.map_or(0, |(_, seq)| seq),
        };
        socket::send(socket.as_fd(), &Packet::Hello(hello), &[]).map_err(SocketError::Io)?;
        let (welcome, fds) = match receive(socket.as_fd(), deadline)? {
            (Packet::Welcome(welcome), fds) => (welcome, fds),
            _ => return Err(AttachError::Silent("expected a welcome")),
        };
        let mut fds = fds.into_iter();
        let (Some(intents_fd), Some(events_fd), Some(market_fd), Some(cache_fd)) =
            (fds.next(), fds.next(), fds.next(), fds.next())
        else {
            return Err(AttachError::Silent("expected four descriptors with the welcome"));
        };
        let intents_bytes = layout::intents_bytes(welcome.intents_slots, welcome.tape_slots);
        let intents = map_peer(intents_fd, intents_bytes, true)?;
        let events = map_peer(events_fd, layout::events_bytes(welcome.events_slots), false)?;
        layout::write_intents_header(&intents)?;
        let market = map_peer(market_fd, welcome.market_bytes as usize, false)?;
        let bells = Bells::new(&welcome, fds, &market)?;
        let market = MarketReader::new(&market)?;
        let cache = map_peer(cache_fd, welcome.cache_bytes as usize, false)?;
        let cache = CacheView::new(cache.read_slots(0, cache.len_bytes() / SLOT_BYTES)?)?;
        let clock = Clock::from_calibration(layout::read_calibration(&events)?);
        if let Some(mark) = handed_out {
            socket::send(socket.as_fd(), &Packet::HandedOut(mark), &[]).map_err(SocketError::Io)?;
        }
        socket::send(socket.as_fd(), &Packet::Mapped, &[]).map_err(SocketError::Io)?;
        let mut missed = Vec::new();
        let begins_at = loop {
            match receive(socket.as_fd(), deadline)?.0 {
                Packet::Missed(events) => missed.extend(events),
                Packet::Active { journal_position } => break journal_position,
                _ => return Err(AttachError::Silent("expected missed events or active")),
            }
        };
        let socket = Arc::new(socket);
        let lost = Arc::new(AtomicBool::new(false));
        watch(Arc::clone(&socket), Arc::clone(&lost))?;
        Ok(Self { socket, lost, welcome, intents, events, market, cache, clock, bells, missed, begins_at })
    }

    /// Whether the gate is gone. Set by the watcher thread; a dead gate writes nothing.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    /// Asks the control thread and waits for its answer. A connection whose answer did not come is given up: a late
    /// one must not be taken for that to the next request.
    pub(crate) fn control(&self, request: ControlRequest) -> Result<ControlDone, ControlError> {
        socket::send(self.socket.as_fd(), &Packet::Control(request), &[])
            .map_err(|error| AttachError::from(SocketError::Io(error)))?;
        let answer = receive(self.socket.as_fd(), Instant::now() + CONTROL_PATIENCE).and_then(|answer| {
            match answer.0 {
                Packet::ControlDone(done) => Ok(Ok(done)),
                Packet::ControlRefused(refusal) => Ok(Err(refusal.into())),
                Packet::ConfigRefused { text } => Ok(Err(ControlError::Config(text))),
                _ => Err(AttachError::Silent("expected the control answer")),
            }
        });
        match answer {
            Ok(answer) => answer,
            Err(error) => {
                self.hang_up();
                Err(error.into())
            }
        }
    }

    /// Asks for a comparison with the venue, and puts the parts of the answer together.
    pub(crate) fn reconcile(&self, snapshot: bool) -> Result<Vec<u8>, ControlError> {
        let request = Packet::Control(ControlRequest::Reconcile { snapshot });
        socket::send(self.socket.as_fd(), &request, &[])
            .map_err(|error| AttachError::from(SocketError::Io(error)))?;
        let deadline = Instant::now() + RECONCILE_PATIENCE;
        let mut json = Vec::new();
        let broken = loop {
            match receive(self.socket.as_fd(), deadline).map(|answer| answer.0) {
                Ok(Packet::Reconciled { part, .. }) if json.len() + part.len() > MAX_ANSWER_BYTES => {
                    break AttachError::Silent("expected a shorter answer");
                }
                Ok(Packet::Reconciled { last, part }) => {
                    json.extend(part);
                    if last {
                        return Ok(json);
                    }
                }
                Ok(Packet::ReconcileRefused { text }) => return Err(ControlError::Reconcile(text)),
                Ok(_) => break AttachError::Silent("expected the answer to a reconciliation"),
                Err(error) => break error,
            }
        };
        self.hang_up();
        Err(broken.into())
    }

    /// Tells the control thread a part of what the venue has.
    pub(crate) fn tell_snapshot(&self, part: SnapshotPart) -> io::Result<()> {
        socket::send(self.socket.as_fd(), &Packet::VenueSnapshot(part), &[])
    }

    /// Ends the attachment from this side.
    pub(crate) fn hang_up(&self) {
        let _ = rustix::net::shutdown(&*self.socket, rustix::net::Shutdown::Both);
    }

    /// Asks the control thread about a node and waits for its answer: a series, or why not.
    pub(crate) fn node(
        &self,
        request: NodeRequest,
    ) -> Result<Result<u32, (NodeRefusal, String)>, AttachError> {
        socket::send(self.socket.as_fd(), &Packet::Node(request), &[]).map_err(SocketError::Io)?;
        match receive(self.socket.as_fd(), Instant::now() + Duration::from_secs(5))?.0 {
            Packet::NodeGranted { series } => Ok(Ok(series)),
            Packet::NodeRefused { code, text } => Ok(Err((code, text))),
            _ => Err(AttachError::Silent("expected the answer about a node")),
        }
    }
}

/// What wakes the gate's threads, where they may sleep.
#[derive(Debug, Default)]
pub(crate) struct Bells {
    gate: Option<Bell>,
    venue: Option<Bell>,
}

impl Bells {
    fn new(
        welcome: &Welcome,
        mut fds: impl Iterator<Item = OwnedFd>,
        market: &Mapping,
    ) -> Result<Self, AttachError> {
        let mut bell = |number: u8, thread: Parking| -> Result<Option<Bell>, AttachError> {
            if welcome.bells < number {
                return Ok(None);
            }
            let fd = fds.next().ok_or(AttachError::Silent("expected an eventfd with the welcome"))?;
            Ok(Some(Bell::new(ParkedView::new(layout::market_parked(market, thread)?), fd)))
        };
        Ok(Self { gate: bell(1, Parking::Gate)?, venue: bell(2, Parking::Venue)? })
    }

    /// Something was published for the gate thread.
    #[inline]
    pub(crate) fn ring(&mut self) {
        if let Some(bell) = &mut self.gate {
            bell.ring_if_parked();
        }
    }

    /// Something was published for both threads.
    #[inline]
    pub(crate) fn ring_all(&mut self) {
        self.ring();
        if let Some(bell) = &mut self.venue {
            bell.ring_if_parked();
        }
    }

    /// How often the gate thread had to be woken.
    pub(crate) fn times_rung(&self) -> u64 {
        self.gate.as_ref().map_or(0, Bell::times_rung)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Wakes the watcher, which holds the other reference to the socket.
        self.hang_up();
    }
}

/// One packet, refusals turned into errors.
fn receive(socket: BorrowedFd<'_>, deadline: Instant) -> Result<(Packet, Vec<OwnedFd>), AttachError> {
    while Instant::now() < deadline {
        match socket::receive(socket, true)? {
            Received::Packet(Packet::Refused { code, text }, _) => {
                return Err(AttachError::Refused { code, text });
            }
            Received::Packet(packet, fds) => return Ok((packet, fds)),
            Received::Closed => return Err(AttachError::Silent("the gate closed the connection")),
            Received::Nothing => {}
        }
    }
    Err(AttachError::Silent("timed out"))
}

/// Waits for the gate's death in a thread of its own: the socket's hang-up or the process's exit, whichever the kernel
/// tells first.
fn watch(socket: Arc<OwnedFd>, lost: Arc<AtomicBool>) -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, poll};
    let pid = socket::peer_credentials(socket.as_fd())?.pid;
    let pidfd = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw)
        .and_then(|pid| rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok());
    std::thread::Builder::new().name("ringfence-watch".into()).spawn(move || {
        loop {
            let mut fds = vec![PollFd::new(&*socket, PollFlags::RDHUP)];
            if let Some(pidfd) = &pidfd {
                fds.push(PollFd::new(pidfd, PollFlags::IN));
            }
            match poll(&mut fds, None) {
                Err(rustix::io::Errno::INTR) | Ok(0) => {}
                _ => break,
            }
        }
        lost.store(true, Ordering::Release);
    })?;
    Ok(())
}
