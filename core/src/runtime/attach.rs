//! Building one attachment: segments, seals, and the port the gate thread will own.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use ringfence_ipc::clock::Clock;
use ringfence_ipc::handshake::socket::PeerCredentials;
use ringfence_ipc::handshake::{Hello, RefusalCode, Role, Ticket, Welcome};
use ringfence_ipc::journal::{AttachRecord, StrategyRecord};
use ringfence_ipc::layout::{self, EventsHeader, LAYOUT_HASH, PROTOCOL_MAJOR};
use ringfence_ipc::msg::{AccountId, OrderId, StrategyId};
use ringfence_ipc::ring::{Consumer, Producer};
use ringfence_ipc::segment::{ClientSegment, GateSegment, SegmentError};
use tracing::warn;

use super::beds::Beds;
use super::missed::JournalPaths;
use super::port::{About, ClientPort};
use super::registry::{Admitted, Refusal, name_bytes};
use crate::config::CapacityConfig;
use crate::gate::{Capacity, StrategyTables};

/// What every attachment is built from.
pub(super) struct Setup {
    pub clock: Clock,
    pub epoch: u16,
    pub lockstep: bool,
    pub sizes: CapacityConfig,
    pub capacity: Capacity,
    pub hash_seed: u64,
    pub journal: JournalPaths,
    pub market: Arc<GateSegment>,
    pub cache: Arc<GateSegment>,
    pub beds: Beds,
    /// Keys remembered per strategy, by strategy id; the last entry is everybody else's.
    pub dedup_quota: Vec<usize>,
    /// Name of the operator that the dead-man switch watches.
    pub dead_man: String,
    /// Market events the venue had consumed when this life began, and since.
    pub tape_event: Box<dyn Fn() -> u64 + Send>,
}

/// An attachment whose client has been sent its descriptors and has not mapped them yet.
pub(super) struct Pending {
    client: u64,
    role: Role,
    paced: bool,
    name: String,
    dead_man: bool,
    strategy: StrategyId,
    pub ticket: Ticket,
    pub resume_after: Option<u64>,
    /// It showed the ticket of an earlier attachment.
    pub resumes: bool,
    /// The newest order an adapter says it was handed.
    pub mark: Option<OrderId>,
    intents: ClientSegment,
    events: GateSegment,
    market: OwnedFd,
    cache: OwnedFd,
    /// Wake the gate's threads; empty unless they may park.
    pub bells: Vec<OwnedFd>,
    intents_slots: u32,
    tape_slots: u32,
    events_slots: u32,
}

/// A sealed, verified attachment, ready for the gate.
pub(super) struct Served {
    pub port: Box<ClientPort>,
    pub record: AttachRecord,
    /// Feeds: the tape, for the paper thread (outside lockstep).
    pub paper_tape: Option<Consumer>,
}

impl Pending {
    /// What travels with the welcome: intents, events, market, node cache, then the bells.
    pub fn fds(&self) -> Vec<BorrowedFd<'_>> {
        let segments = [self.intents.fd(), self.events.fd(), self.market.as_fd(), self.cache.as_fd()];
        segments.into_iter().chain(self.bells.iter().map(AsFd::as_fd)).collect()
    }
}

impl Setup {
    /// Refuses other versions before anything is created.
    pub fn check_version(&self, hello: &Hello) -> Result<(), Refusal> {
        if hello.version.0 == PROTOCOL_MAJOR && hello.layout_hash == LAYOUT_HASH {
            return Ok(());
        }
        let text = format!(
            "you speak protocol {}.{} layout {:016x}, this gate {PROTOCOL_MAJOR}.{} layout {LAYOUT_HASH:016x}: build both from the same release",
            hello.version.0,
            hello.version.1,
            hello.layout_hash,
            layout::PROTOCOL_MINOR
        );
        Err((RefusalCode::Version, text))
    }

    /// Tables for a new strategy, allocated here so that the gate thread does not.
    pub fn strategy_tables(&self, record: &StrategyRecord) -> Box<StrategyTables> {
        let at = usize::from(record.strategy).min(self.dedup_quota.len() - 1);
        StrategyTables::new(record, self.dedup_quota[at], self.hash_seed, &self.capacity)
    }

    /// Creates the client's segments and the welcome that announces them.
    pub fn prepare(
        &self,
        hello: &Hello,
        client: u64,
        admitted: &Admitted,
        ticket: Ticket,
    ) -> Result<(Pending, Welcome), SegmentError> {
        let (strategy, account): (StrategyId, AccountId) = (admitted.strategy, admitted.account);
        let (intents_slots, events_slots) = (self.sizes.intents_slots, self.sizes.events_slots);
        let tape_slots = if hello.role == Role::Feed { self.sizes.tape_slots } else { 0 };
        let intents =
            ClientSegment::create("ringfence-intents", layout::intents_bytes(intents_slots, tape_slots))?;
        let events = GateSegment::create("ringfence-events", layout::events_bytes(events_slots))?;
        let header =
            EventsHeader { epoch: self.epoch, capacity: events_slots, calibration: self.clock.calibration() };
        layout::write_events_header(events.mapping(), &header)?;
        let report = events.mapping().report();
        if !report.is_clean() {
            warn!(client, %report, "events segment");
        }
        let (market, cache) = (another_fd(&self.market, "market")?, another_fd(&self.cache, "cache")?);
        let bells = self.beds.client_bells(hello.role).map_err(|source| SegmentError::Os {
            step: "eventfd",
            name: "bell".into(),
            source,
            advice: "raise the open files limit",
        })?;
        let welcome = Welcome {
            client,
            strategy,
            account,
            epoch: self.epoch,
            lockstep: self.lockstep,
            intents_slots,
            tape_slots,
            events_slots,
            market_bytes: self.market.mapping().len_bytes() as u64,
            cache_bytes: self.cache.mapping().len_bytes() as u64,
            ticket,
            tape_event: (self.tape_event)(),
            bells: bells.len() as u8,
        };
        let pending = Pending {
            client,
            role: hello.role,
            paced: hello.paced,
            name: hello.name.clone(),
            dead_man: hello.role == Role::Operator && hello.name == self.dead_man,
            strategy,
            ticket,
            // An adapter missed nothing: what it was not handed is settled otherwise.
            resume_after: hello.ticket.filter(|_| hello.role != Role::Venue).map(|_| hello.last_seq),
            resumes: hello.ticket.is_some(),
            mark: None,
            intents,
            events,
            market,
            cache,
            bells,
            intents_slots,
            tape_slots,
            events_slots,
        };
        Ok((pending, welcome))
    }

    /// The client says it has mapped: seal, verify, populate, and build its port.
    pub fn activate(&self, pending: Pending, peer: PeerCredentials) -> Result<Served, Refusal> {
        self.build(pending, peer).map_err(|error| {
            let code = match error {
                SegmentError::Seals { .. } => RefusalCode::Seals,
                _ => RefusalCode::Internal,
            };
            (code, error.to_string())
        })
    }

    fn build(&self, pending: Pending, peer: PeerCredentials) -> Result<Served, SegmentError> {
        let intents = pending.intents.activate()?;
        let events = pending.events.mapping();
        let ring = |index: usize, slots: u32| -> Result<Consumer, SegmentError> {
            let read = layout::intents_slots(&intents, index, slots)?;
            Ok(Consumer::new(read, layout::events_consumed_mut(events, index)?, 0))
        };
        let tape = if pending.tape_slots > 0 { Some(ring(1, pending.tape_slots)?) } else { None };
        let (tape, paper_tape) = if self.lockstep { (tape, None) } else { (None, tape) };
        let feed = pending.role == Role::Feed;
        let port = Box::new(ClientPort {
            client: pending.client,
            role: pending.role,
            strategy: pending.strategy,
            intents: ring(0, pending.intents_slots)?,
            events: Producer::new(
                layout::events_slots_mut(events, pending.events_slots)?,
                layout::intents_events_consumed(&intents)?,
                0,
            ),
            tape,
            market_seen: if pending.paced { Some(layout::market_seen(&intents)?) } else { None },
            paced_limit: if feed { Some(layout::events_paced_mut(events)?) } else { None },
            dead_man: pending.dead_man,
            draining: false,
            lagging: layout::events_lagging_mut(events)?,
            lagging_since_ns: 0,
            about: About {
                name: name_bytes(&pending.name),
                pid: peer.pid,
                attached_ns: self.clock.now_ns(),
                waiting: 0,
            },
            seen: (0, 0),
        });
        let record = AttachRecord {
            role: pending.role,
            detached: false,
            strategy: pending.strategy,
            now_ns: if self.lockstep { 0 } else { self.clock.now_ns() },
            client: pending.client,
            ticket_digest: pending.ticket.digest(),
            pid: peer.pid,
            uid: peer.uid,
        };
        Ok(Served { port, record, paper_tape })
    }
}

fn another_fd(segment: &GateSegment, name: &str) -> Result<OwnedFd, SegmentError> {
    segment.fd().try_clone_to_owned().map_err(|source| SegmentError::Os {
        step: "dup",
        name: name.to_owned(),
        source,
        advice: "raise the open files limit",
    })
}
