//! The control thread: socket, handshakes, deaths. It may block, allocate and call the kernel, so that the gate never
//! has to.

mod alarms;
mod nodes;
mod reconcile;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use ringfence_ipc::counters::{Counter, CountersWriter};
use ringfence_ipc::handshake::socket::{self, PeerCredentials, Received};
use ringfence_ipc::handshake::{
    ControlDone, ControlRefusal, ControlRequest, HandedOutMark, Packet, RefusalCode, Role,
};
use ringfence_ipc::reason::Mode;
use ringfence_ipc::ring::Fault;
use ringfence_ipc::wake::Bell;
use tracing::{error, info, warn};

use super::attach::{Pending, Setup};
use super::limits::{Book, ChangeSet};
use super::mailbox::{FromGate, PortFault, ToGate};
use super::missed;
use super::operator::{KillFile, mail_of};
use super::paper_thread::ToPaper;
use super::peer::{Peer, Stage, refuse};
use super::registry::Registry;
use super::switches::KILL_BY_FILE;
use crate::gate::SEQUENCE_BITS;

/// A handshake must be over within this.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(5);
/// How often the gate's answers are looked for.
const TICK: Duration = Duration::from_millis(2);
/// How often when nobody waits for anything.
const IDLE_TICK: Duration = Duration::from_millis(20);
/// Connections that may be in their handshake beside the attached clients.
const HANDSHAKES: usize = 32;
/// Packets read from one connection in one turn: one that floods its socket delays nobody for longer.
const PACKETS_PER_TURN: usize = 64;
/// Connections accepted in one turn.
const ACCEPTS_PER_TURN: usize = 64;
/// The kill file's watch among the tokens; those of peers are small.
const KILL_FILE: Token = Token(usize::MAX - 1);
/// Attach attempts per second; a burst of as many is let through.
const ATTACHES_PER_S: f64 = 200.0;

/// Everything the control thread owns.
pub(super) struct Control {
    pub setup: Setup,
    pub registry: Registry,
    pub listener: OwnedFd,
    pub to_gate: rtrb::Producer<ToGate>,
    pub from_gate: rtrb::Consumer<FromGate>,
    pub to_paper: Option<crossbeam_channel::Sender<ToPaper>>,
    /// The venue is another process: its adapter is asked what it has.
    pub asks_adapter: bool,
    pub paper_faults: crossbeam_channel::Receiver<(u64, Fault)>,
    /// Set from outside: stop in good order.
    pub stop: Arc<AtomicBool>,
    pub max_clients: usize,
    pub next_client: u64,
    pub counters: CountersWriter,
    /// The gate thread looks at it in every pass.
    pub kill: Arc<AtomicUsize>,
    pub kill_file: KillFile,
    /// Wake the gate's threads, where they may park.
    pub bells: Vec<Bell>,
    /// Set from outside: read the configuration again.
    pub reload: Arc<AtomicBool>,
    pub book: Book,
}

/// The running control thread.
struct Loop {
    control: Control,
    poll: Poll,
    peers: Vec<Option<Peer>>,
    mail: VecDeque<ToGate>,
    /// Connections that had more to say than one turn reads.
    unread: Vec<usize>,
    /// More connections wait than one turn accepts.
    unaccepted: bool,
    /// Control requests that the gate has not answered.
    controls: usize,
    /// Snapshots asked for.
    snapshots: u64,
    reconciling: Option<reconcile::Reconciling>,
    tokens: f64,
    refilled: Instant,
    gate_stopped: bool,
}

impl Control {
    /// Runs until the gate has stopped.
    ///
    /// # Errors
    /// Only when the poll itself cannot be set up.
    pub fn run(self) -> io::Result<()> {
        let poll = Poll::new()?;
        poll.registry().register(&mut SourceFd(&self.listener.as_raw_fd()), Token(0), Interest::READABLE)?;
        if let Some(watch) = self.kill_file.raw_fd() {
            poll.registry().register(&mut SourceFd(&watch), KILL_FILE, Interest::READABLE)?;
        }
        let peers = (0..self.max_clients + HANDSHAKES).map(|_| None).collect();
        let now = Instant::now();
        Loop {
            control: self,
            poll,
            peers,
            mail: VecDeque::new(),
            unread: Vec::new(),
            unaccepted: false,
            controls: 0,
            snapshots: 0,
            reconciling: None,
            tokens: ATTACHES_PER_S,
            refilled: now,
            gate_stopped: false,
        }
        .run();
        Ok(())
    }
}

impl Loop {
    fn run(&mut self) {
        let mut events = Events::with_capacity(128);
        let mut stop_sent = false;
        while !self.gate_stopped {
            let waiting = !self.mail.is_empty()
                || self.controls > 0
                || self.peers.iter().flatten().any(|peer| !peer.is_settled());
            let tick = match (self.unaccepted || !self.unread.is_empty(), waiting) {
                (true, _) => Duration::ZERO,
                (false, true) => TICK,
                (false, false) => IDLE_TICK,
            };
            if let Err(error) = self.poll.poll(&mut events, Some(tick))
                && error.kind() != io::ErrorKind::Interrupted
            {
                warn!(%error, "control poll failed");
            }
            if std::mem::take(&mut self.unaccepted) {
                self.accept();
            }
            for at in std::mem::take(&mut self.unread) {
                self.on_socket(at);
            }
            for event in &events {
                match event.token() {
                    Token(0) => self.accept(),
                    KILL_FILE => self.control.kill_file.drain(),
                    Token(token) if token % 2 == 1 => self.on_socket((token - 1) / 2),
                    Token(token) => self.on_death((token - 2) / 2),
                }
            }
            if self.control.stop.load(Ordering::Acquire) && !stop_sent {
                stop_sent = true;
                self.mail.push_back(ToGate::Stop);
            }
            self.look_for_kill_file();
            if self.control.reload.swap(false, Ordering::AcqRel)
                && let Ok(Some(set)) = self.reload(0)
            {
                self.configure(set);
            }
            self.exchange_mail();
            self.flush_and_expire();
            let attached =
                self.peers.iter().flatten().filter(|peer| matches!(peer.stage, Stage::Active)).count();
            self.control.counters.set(Counter::AttachedClients, attached as u64);
        }
        for peer in self.peers.iter_mut().flatten() {
            peer.refuse(RefusalCode::Stopping, "the gate is stopping");
        }
    }

    fn accept(&mut self) {
        for _ in 0..ACCEPTS_PER_TURN {
            let accepted = socket::accept(self.control.listener.as_fd());
            let (socket, credentials) = match accepted {
                Ok(Some(accepted)) => accepted,
                Ok(None) => return,
                Err(error) => {
                    warn!(%error, "accept failed");
                    return;
                }
            };
            let elapsed = self.refilled.elapsed().as_secs_f64();
            self.refilled = Instant::now();
            self.tokens = (self.tokens + elapsed * ATTACHES_PER_S).min(ATTACHES_PER_S);
            let Some(at) = self.peers.iter().position(Option::is_none) else {
                self.control.counters.inc(Counter::AttachesRefused);
                refuse(&socket, RefusalCode::Full, "no free connection: detach a client first");
                continue;
            };
            if self.tokens < 1.0 {
                self.control.counters.inc(Counter::AttachesRefused);
                refuse(&socket, RefusalCode::RateLimited, "too many attaches at once: try again in a second");
                continue;
            }
            self.tokens -= 1.0;
            if let Err(error) = self.add(at, socket, credentials) {
                warn!(%error, "cannot watch a connection");
            }
        }
        self.unaccepted = true;
    }

    fn add(&mut self, at: usize, socket: OwnedFd, credentials: PeerCredentials) -> io::Result<()> {
        let pid = i32::try_from(credentials.pid).ok().and_then(rustix::process::Pid::from_raw);
        let pidfd =
            pid.and_then(|pid| rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok());
        let registry = self.poll.registry();
        registry.register(&mut SourceFd(&socket.as_raw_fd()), Token(2 * at + 1), Interest::READABLE)?;
        if let Some(pidfd) = &pidfd {
            registry.register(&mut SourceFd(&pidfd.as_raw_fd()), Token(2 * at + 2), Interest::READABLE)?;
        }
        self.peers[at] = Some(Peer {
            socket,
            pidfd,
            credentials,
            since: Instant::now(),
            stage: Stage::Hello,
            with_gate: false,
            client: 0,
            role: Role::Observer,
            strategy: 0,
            asking: false,
            bells: Vec::new(),
            outgoing: VecDeque::new(),
        });
        Ok(())
    }

    /// Reads what a connection says, packet by packet; edge-triggered, so until there is nothing or its turn is over.
    /// Whoever was refused is no longer listened to.
    fn on_socket(&mut self, at: usize) {
        for _ in 0..PACKETS_PER_TURN {
            let Some(Some(peer)) = self.peers.get_mut(at) else { return };
            if matches!(peer.stage, Stage::Leaving) {
                return;
            }
            match socket::receive(peer.socket.as_fd(), false) {
                Ok(Received::Packet(packet, _)) => self.on_packet(at, packet),
                Ok(Received::Nothing) => return,
                Ok(Received::Closed) => return self.on_death(at),
                Err(error) => {
                    warn!(%error, pid = peer.credentials.pid, "connection broken");
                    peer.refuse(RefusalCode::Protocol, &error.to_string());
                    return self.on_death(at);
                }
            }
        }
        if !self.unread.contains(&at) {
            self.unread.push(at);
        }
    }

    fn on_packet(&mut self, at: usize, packet: Packet) {
        let Some(Some(peer)) = self.peers.get_mut(at) else { return };
        let stage = std::mem::replace(&mut peer.stage, Stage::Hello);
        let outcome = match (stage, packet) {
            (Stage::Hello, Packet::Hello(hello)) => self.on_hello(at, &hello),
            (Stage::Mapped(pending), Packet::Mapped) => self.on_mapped(at, *pending),
            (Stage::Mapped(pending), Packet::HandedOut(mark)) => self.on_handed_out(at, pending, mark),
            (Stage::Active, Packet::Control(request)) => self.on_control(at, request),
            (Stage::Active, Packet::Node(request)) => self.on_node(at, request),
            (Stage::Active, Packet::VenueSnapshot(part)) => self.on_venue_snapshot(at, part),
            (stage, _) => {
                peer.stage = stage;
                Err((RefusalCode::Protocol, "this packet is not expected here".to_owned()))
            }
        };
        if let Err((code, text)) = outcome {
            if let Some(Some(peer)) = self.peers.get_mut(at) {
                info!(pid = peer.credentials.pid, ?code, text, "refused");
                self.control.counters.inc(Counter::AttachesRefused);
                peer.refuse(code, &text);
            }
            self.on_death(at);
        }
    }

    fn on_hello(
        &mut self,
        at: usize,
        hello: &ringfence_ipc::handshake::Hello,
    ) -> Result<(), super::registry::Refusal> {
        let Some(Some(peer)) = self.peers.get_mut(at) else { return Ok(()) };
        self.control.setup.check_version(hello)?;
        let now_ns = self.control.setup.clock.now_ns();
        let admitted = self.control.registry.admit(hello, peer.credentials, now_ns)?;
        // From here on the name is taken: leaving must release it.
        (peer.role, peer.strategy) = (hello.role, admitted.strategy);
        peer.client = self.control.next_client;
        self.control.next_client += 1;
        if let Some(record) = &admitted.new_strategy {
            let tables = self.control.setup.strategy_tables(record);
            self.mail.push_back(ToGate::Install { record: *record, tables });
        }
        // A ticket outlives every attachment it resumes: were a new one given each time, a gate killed between writing
        // it down and telling the client would leave the client with one that no longer counts.
        let ticket = hello.ticket.map_or_else(Registry::new_ticket, Ok).map_err(internal)?;
        let (mut pending, welcome) =
            self.control.setup.prepare(hello, peer.client, &admitted, ticket).map_err(internal)?;
        let sent = socket::send(peer.socket.as_fd(), &Packet::Welcome(welcome), &pending.fds());
        peer.bells = std::mem::take(&mut pending.bells);
        sent.map_err(internal)?;
        peer.stage = Stage::Mapped(Box::new(pending));
        Ok(())
    }

    fn on_mapped(&mut self, at: usize, pending: Pending) -> Result<(), super::registry::Refusal> {
        let Some(Some(peer)) = self.peers.get_mut(at) else { return Ok(()) };
        let (resume_after, mark) = (pending.resume_after, pending.mark);
        let digest = pending.ticket.digest();
        let served = self.control.setup.activate(pending, peer.credentials)?;
        if let (Some(to_paper), Some(tape)) = (&self.control.to_paper, served.paper_tape) {
            let _ = to_paper.send(ToPaper::Tape { client: peer.client, tape });
        }
        if matches!(peer.role, Role::Strategy | Role::Venue) {
            self.control.registry.set_ticket(peer.strategy, digest);
        }
        let (port, record) = (served.port, served.record);
        self.mail.push_back(match peer.role {
            Role::Venue => ToGate::AttachVenue { port, record, mark },
            _ => ToGate::Attach { port, record },
        });
        peer.with_gate = true;
        peer.stage = Stage::Activating { resume_after };
        Ok(())
    }

    /// An adapter states what it was handed. Believed only with the newest ticket, and only of lives that have been.
    fn on_handed_out(
        &mut self,
        at: usize,
        mut pending: Box<Pending>,
        mark: HandedOutMark,
    ) -> Result<(), super::registry::Refusal> {
        let Some(Some(peer)) = self.peers.get_mut(at) else { return Ok(()) };
        let lived =
            mark.epoch <= self.control.setup.epoch && mark.order_id >> SEQUENCE_BITS <= mark.epoch.into();
        let welcome = peer.role == Role::Venue && pending.resumes && pending.mark.is_none() && lived;
        pending.mark = Some(mark.order_id);
        peer.stage = Stage::Mapped(pending);
        if welcome {
            return Ok(());
        }
        let text = "what you say you were handed cannot be: attach without ticket and mark";
        Err((RefusalCode::Protocol, text.to_owned()))
    }

    fn on_control(&mut self, at: usize, request: ControlRequest) -> Result<(), super::registry::Refusal> {
        let Some(Some(peer)) = self.peers.get_mut(at) else { return Ok(()) };
        peer.stage = Stage::Active;
        if peer.role != Role::Operator {
            return Err((RefusalCode::Identity, "only an operator may control the gate".into()));
        }
        info!(?request, client = peer.client, "control");
        if matches!(request, ControlRequest::Reload | ControlRequest::SetLimit { .. }) {
            self.on_config(at, request);
            return Ok(());
        }
        if let ControlRequest::Reconcile { snapshot } = request {
            self.on_reconcile(at, snapshot);
            return Ok(());
        }
        let rearms = matches!(request, ControlRequest::Rearm { .. });
        match mail_of(request, peer.client) {
            None => self.control.stop.store(true, Ordering::Release),
            Some(_) if rearms && self.control.kill_file.is_there() => {
                peer.outgoing.push_back(Packet::ControlRefused(ControlRefusal::KillFile));
            }
            Some(mail) => {
                self.controls += 1;
                self.mail.push_back(mail);
            }
        }
        Ok(())
    }

    fn look_for_kill_file(&self) {
        let killed = self.control.counters.get(Counter::Mode) == Mode::Killed as u64;
        if !killed && self.control.kill_file.is_there() {
            self.control.kill.store(KILL_BY_FILE, Ordering::Relaxed);
        }
    }

    /// The file again. Says what changes, or why nothing does; the log does, too.
    fn reload(&mut self, client: u64) -> Result<Option<ChangeSet>, String> {
        let by = (self.control.setup.clock.now_ns(), client);
        let made = self.control.book.reload(&self.control.registry, by);
        match &made {
            Ok(Some(_)) => {}
            Ok(None) => {
                info!(version = self.control.book.version(), "configuration read again: nothing changes")
            }
            Err(reason) => warn!(reason, "configuration not changed"),
        }
        made
    }

    /// An operator wants other limits. It is answered when they are in the journal, or with what is wrong.
    fn on_config(&mut self, at: usize, request: ControlRequest) {
        let Some(client) = self.peers[at].as_ref().map(|peer| peer.client) else { return };
        let made = match request {
            ControlRequest::SetLimit { scope, scope_id, limit, value } => {
                let by = (self.control.setup.clock.now_ns(), client);
                let registry = &self.control.registry;
                self.control.book.set((scope, scope_id), limit.text(), value.text(), registry, by)
            }
            _ => self.reload(client),
        };
        let answer = match made {
            Ok(Some(set)) => {
                self.controls += 1;
                return self.configure(set);
            }
            Ok(None) => {
                Packet::ControlDone(ControlDone { journal_seq: self.control.book.at(), cancelling: 0 })
            }
            Err(text) => Packet::ConfigRefused { text },
        };
        if let Some(peer) = &mut self.peers[at] {
            peer.outgoing.push_back(answer);
        }
    }

    /// Hands a change to the gate.
    fn configure(&mut self, set: ChangeSet) {
        for line in self.control.book.describe(&set) {
            info!(version = set.config.version, client = set.config.client, "{line}");
        }
        let quota = |id: usize| self.control.book.dedup_quota(id as u16);
        self.control.setup.dedup_quota = (0..self.control.setup.dedup_quota.len()).map(quota).collect();
        self.mail.push_back(ToGate::Configure(Box::new(set)));
    }

    /// A connection ended: its process died, it hung up, or it was refused. What the gate holds comes back first.
    fn on_death(&mut self, at: usize) {
        let Some(Some(peer)) = self.peers.get_mut(at) else { return };
        let told = matches!(peer.stage, Stage::Leaving) && peer.with_gate;
        peer.stage = Stage::Leaving;
        if !peer.with_gate {
            return self.remove(at);
        }
        if told {
            return;
        }
        info!(client = peer.client, role = ?peer.role, "client gone");
        self.mail.push_back(ToGate::Detach { client: peer.client });
        if peer.role == Role::Venue {
            warn!(
                client = peer.client,
                "the venue is lost: only cancels pass until its adapter attaches again"
            );
        }
        if peer.role == Role::Feed
            && let Some(to_paper) = &self.control.to_paper
        {
            let _ = to_paper.send(ToPaper::NoTape);
        }
    }

    fn remove(&mut self, at: usize) {
        let Some(peer) = self.peers.get_mut(at).and_then(Option::take) else { return };
        let registry = self.poll.registry();
        let _ = registry.deregister(&mut SourceFd(&peer.socket.as_raw_fd()));
        if let Some(pidfd) = &peer.pidfd {
            let _ = registry.deregister(&mut SourceFd(&pidfd.as_raw_fd()));
        }
        self.control.setup.beds.remove(&peer.bells);
        if peer.client != 0 {
            self.control.registry.release(peer.role, peer.strategy);
        }
    }

    fn exchange_mail(&mut self) {
        let work = !self.mail.is_empty() || self.control.kill.load(Ordering::Relaxed) != 0;
        while let Some(message) = self.mail.pop_front() {
            if let Err(rtrb::PushError::Full(message)) = self.control.to_gate.push(message) {
                self.mail.push_front(message);
                break;
            }
        }
        if work {
            self.control.bells.iter_mut().for_each(Bell::ring_if_parked);
        }
        while let Ok((client, fault)) = self.control.paper_faults.try_recv() {
            warn!(client, %fault, "the feed's tape broke the ring protocol: feed detached");
            if let Some(at) = self.find(client) {
                self.on_death(at);
            }
        }
        while let Ok(message) = self.control.from_gate.pop() {
            self.on_gate(message);
        }
        self.look_for_reconciled();
    }

    fn on_gate(&mut self, message: FromGate) {
        match message {
            FromGate::Attached { client, position } => self.on_attached(client, position),
            FromGate::Retired { port, fault } => {
                if let Some(fault) = fault {
                    warn!(client = port.client, ?fault, "client detached by the gate");
                }
                match fault {
                    Some(PortFault::Ring(_)) => {
                        let count = self.control.registry.quarantine(port.role, port.strategy);
                        self.control.counters.set(Counter::QuarantinedClients, count);
                    }
                    Some(PortFault::Lagging) => self.control.counters.inc(Counter::LaggingDetached),
                    _ => {}
                }
                if let Some(at) = self.find(port.client) {
                    if let (Some(Some(peer)), Some(fault)) = (self.peers.get_mut(at), fault) {
                        let (code, text) = fault_refusal(fault);
                        peer.refuse(code, text);
                    }
                    self.remove(at);
                }
            }
            FromGate::Controlled { client, outcome } => {
                self.controls = self.controls.saturating_sub(1);
                if let Some(Some(peer)) = self.find(client).and_then(|at| self.peers.get_mut(at)) {
                    peer.outgoing.push_back(match outcome {
                        Ok(done) => Packet::ControlDone(done),
                        Err(refusal) => Packet::ControlRefused(refusal),
                    });
                }
            }
            FromGate::Unreleased { entries, durable_pos } => error!(
                entries,
                durable_pos,
                "the disk failed: what was decided after this position is not shown and not sent; \
                 start the gate again, recovery decides"
            ),
            FromGate::Alarm(alarm) => alarms::shout(&alarm),
            FromGate::VenueMark { number, position } => self.on_venue_mark(number, position),
            FromGate::VenueOpen { position } => {
                info!(position, "the venue's adapter has answered for every order: new orders pass");
            }
            FromGate::Node(turn) => self.on_node_answer(*turn),
            FromGate::Configured { set, journal_seq } => {
                info!(
                    version = set.config.version,
                    journal_seq,
                    limits = set.limits.len(),
                    "limits are in force"
                );
                self.control.book.begun(journal_seq);
                if set.config.client != 0 {
                    self.controls = self.controls.saturating_sub(1);
                }
                if let Some(Some(peer)) = self.find(set.config.client).and_then(|at| self.peers.get_mut(at)) {
                    peer.outgoing.push_back(Packet::ControlDone(ControlDone { journal_seq, cancelling: 0 }));
                }
            }
            FromGate::Stopped => self.gate_stopped = true,
        }
    }

    /// The gate serves the client from `position` on: what came between its last position and that one goes over the
    /// socket first.
    fn on_attached(&mut self, client: u64, position: u64) {
        let Some(at) = self.find(client) else { return };
        let Some(Some(peer)) = self.peers.get_mut(at) else { return };
        let Stage::Activating { resume_after } = peer.stage else { return };
        peer.stage = Stage::Active;
        if let Some(last_seq) = resume_after {
            match missed::collect(&self.control.setup.journal, last_seq, position, peer.role, peer.strategy) {
                Ok(packets) => peer.outgoing.extend(packets),
                Err(text) => {
                    peer.refuse(RefusalCode::TooOld, &text);
                    return self.on_death(at);
                }
            }
        }
        peer.outgoing.push_back(Packet::Active { journal_position: position });
        self.control.counters.inc(Counter::Attaches);
        let quarantined = self.control.registry.served(peer.role, peer.strategy);
        self.control.counters.set(Counter::QuarantinedClients, quarantined);
        info!(client, role = ?peer.role, strategy = peer.strategy, pid = peer.credentials.pid, "client attached");
    }

    fn flush_and_expire(&mut self) {
        for at in 0..self.peers.len() {
            let Some(Some(peer)) = self.peers.get_mut(at) else { continue };
            let handshake_over = matches!(peer.stage, Stage::Active | Stage::Leaving);
            if !peer.flush() || (!handshake_over && peer.since.elapsed() > HANDSHAKE_PATIENCE) {
                self.on_death(at);
            }
        }
    }

    fn find(&self, client: u64) -> Option<usize> {
        self.peers.iter().position(|peer| peer.as_ref().is_some_and(|peer| peer.client == client))
    }
}

fn fault_refusal(fault: PortFault) -> (RefusalCode, &'static str) {
    match fault {
        PortFault::Ring(_) => (RefusalCode::Protocol, "your ring broke the protocol: quarantined"),
        PortFault::Lagging => {
            (RefusalCode::Lagging, "you stopped reading your events: resume with your ticket")
        }
        PortFault::Unreleased => (
            RefusalCode::Internal,
            "the journal's disk failed: what you were not answered is known when the gate was started again",
        ),
        PortFault::Silent => (RefusalCode::Protocol, "lockstep: your step was not finished in 5 s"),
    }
}

fn internal(error: impl std::fmt::Display) -> super::registry::Refusal {
    (RefusalCode::Internal, error.to_string())
}
