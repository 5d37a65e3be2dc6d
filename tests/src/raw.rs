//! A client that keeps no rule it does not want to keep: the real handshake, then bare shared memory.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use ringfence_ipc::handshake::socket::{self, Received};
use ringfence_ipc::handshake::{Hello, Packet, RefusalCode, Role, Welcome};
use ringfence_ipc::layout::{self, LAYOUT_HASH, PROTOCOL_MAJOR, PROTOCOL_MINOR};
use ringfence_ipc::msg::{Decision, Words, kind, kind_of};
use ringfence_ipc::ring::{Consumer, Producer, head_word};
use ringfence_ipc::segment::{Mapping, map_peer};
use ringfence_ipc::view::WriteSlots;

/// How long an answer of the gate may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The hello of a well-behaved client.
#[must_use]
pub fn hello(role: Role, name: &str) -> Hello {
    Hello {
        version: (PROTOCOL_MAJOR, PROTOCOL_MINOR),
        layout_hash: LAYOUT_HASH,
        role,
        paced: false,
        name: name.to_owned(),
        build_id: "hostile".to_owned(),
        key: None,
        ticket: None,
        last_seq: 0,
    }
}

/// A connection whose segments arrived.
pub struct Raw {
    /// The control socket.
    pub socket: OwnedFd,
    /// What the gate promised.
    pub welcome: Welcome,
    /// The client's own segment, mapped writable.
    pub intents: Mapping,
    /// The gate's segment, mapped read-only.
    pub events: Mapping,
    /// A second descriptor of the client's own segment.
    pub intents_fd: OwnedFd,
}

impl Raw {
    /// Says `hello` and maps what comes; the gate is not told yet.
    ///
    /// # Errors
    /// What the gate refused with.
    ///
    /// # Panics
    /// When the gate answers nothing or something else.
    pub fn begin(path: &Path, hello: &Hello) -> Result<Self, (RefusalCode, String)> {
        let socket = connect(path);
        socket::send(socket.as_fd(), &Packet::Hello(hello.clone()), &[]).expect("the gate listens");
        let (packet, fds) = receive(&socket).expect("the gate answers a hello");
        let welcome = match packet {
            Packet::Welcome(welcome) => welcome,
            Packet::Refused { code, text } => return Err((code, text)),
            other => panic!("no answer to a hello: {other:?}"),
        };
        let [intents, events, _market, _cache]: [OwnedFd; 4] = fds.try_into().expect("four descriptors");
        let intents_fd = intents.try_clone().expect("a descriptor can be copied");
        let bytes = layout::intents_bytes(welcome.intents_slots, welcome.tape_slots);
        let intents = map_peer(intents, bytes, true).expect("the client's segment maps");
        let bytes = layout::events_bytes(welcome.events_slots);
        let events = map_peer(events, bytes, false).expect("the gate's segment maps");
        Ok(Self { socket, welcome, intents, events, intents_fd })
    }

    /// Attaches to the end.
    ///
    /// # Panics
    /// When the gate refuses.
    #[must_use]
    pub fn attach(path: &Path, name: &str) -> Self {
        let raw = Self::begin(path, &hello(Role::Strategy, name)).expect("a strategy is welcome");
        raw.mapped().expect("a strategy that mapped is served");
        raw
    }

    /// Says "mapped" and waits until it is served.
    ///
    /// # Errors
    /// What the gate refused with.
    ///
    /// # Panics
    /// When the gate answers nothing or something else.
    pub fn mapped(&self) -> Result<u64, (RefusalCode, String)> {
        socket::send(self.socket.as_fd(), &Packet::Mapped, &[]).expect("the gate listens");
        match receive(&self.socket) {
            Some((Packet::Active { journal_position }, _)) => Ok(journal_position),
            Some((Packet::Refused { code, text }, _)) => Err((code, text)),
            other => panic!("no answer to \"mapped\": {other:?}"),
        }
    }

    /// The intents ring as bare slots.
    ///
    /// # Panics
    /// Never for a segment the gate made.
    #[must_use]
    pub fn slots(&self) -> WriteSlots {
        layout::intents_slots_mut(&self.intents, 0, self.welcome.intents_slots).expect("the ring is there")
    }

    /// Writes `words` at `position` under any sequence word.
    pub fn put(&self, position: u64, words: &Words, sequence: u64) {
        let slot = (position % u64::from(self.welcome.intents_slots)) as usize;
        let slots = self.slots();
        slots.store_payload(slot, words);
        slots.publish(slot, sequence);
    }

    /// Writes `words` as the message at `position`, as it should be.
    pub fn put_well(&self, position: u64, words: &Words) {
        self.put(position, words, head_word(position, 1));
    }

    /// Both ends of the rings, as a client has them.
    ///
    /// # Panics
    /// Never for segments the gate made.
    #[must_use]
    pub fn ends(&self) -> (Producer, Consumer) {
        let consumed = layout::events_consumed(&self.events, 0).expect("the word is there");
        let events =
            layout::events_slots(&self.events, self.welcome.events_slots).expect("the ring is there");
        let own = layout::intents_events_consumed_mut(&self.intents).expect("the word is there");
        (Producer::new(self.slots(), consumed, 0), Consumer::new(events, own, 0))
    }

    /// Claims to have read the events up to `position`.
    ///
    /// # Panics
    /// Never for a segment the gate made.
    pub fn claim_consumed(&self, position: u64) {
        layout::intents_events_consumed_mut(&self.intents).expect("the word is there").publish(position);
    }

    /// The next decision in the events ring.
    ///
    /// # Panics
    /// When none comes.
    pub fn decision(&self, events: &mut Consumer) -> Decision {
        let mut found = None;
        crate::await_that("a decision", PATIENCE, || {
            while let Some(head) = events.peek().expect("the gate keeps the protocol") {
                events.advance(head.slots);
                if kind_of(&head.words) == kind::DECISION {
                    found = Decision::decode(&head.words).ok();
                    return true;
                }
            }
            false
        });
        found.expect("a decision decodes")
    }

    /// Waits until the gate hangs up; says why, if it did.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn thrown_out(&self) -> Option<(RefusalCode, String)> {
        thrown_out(&self.socket)
    }
}

/// A bare connection to the control socket, with a timeout.
///
/// # Panics
/// When nobody listens.
#[must_use]
pub fn connect(path: &Path) -> OwnedFd {
    let socket = socket::connect(path).expect("the gate listens");
    socket::set_timeout(socket.as_fd(), PATIENCE).expect("a timeout can be set");
    socket
}

/// As [`Raw::thrown_out`], for a connection of any stage.
///
/// # Panics
/// When the gate does not hang up.
#[must_use]
pub fn thrown_out(socket: &OwnedFd) -> Option<(RefusalCode, String)> {
    let mut why = None;
    loop {
        match socket::receive(socket.as_fd(), true) {
            Ok(Received::Packet(Packet::Refused { code, text }, _)) => why = Some((code, text)),
            Ok(Received::Packet(..)) => {}
            Ok(Received::Closed) | Err(_) => return why,
            Ok(Received::Nothing) => panic!("the gate did not hang up within {PATIENCE:?}"),
        }
    }
}

/// The next packet; `None` when the gate hung up.
///
/// # Panics
/// When nothing comes.
#[must_use]
pub fn receive(socket: &OwnedFd) -> Option<(Packet, Vec<OwnedFd>)> {
    match socket::receive(socket.as_fd(), true) {
        Ok(Received::Packet(packet, fds)) => Some((packet, fds)),
        Ok(Received::Closed) | Err(_) => None,
        Ok(Received::Nothing) => panic!("the gate did not answer within {PATIENCE:?}"),
    }
}
