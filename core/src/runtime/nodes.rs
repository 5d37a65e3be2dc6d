//! Nodes: what clients feed into the cache, and what they register there.

use ringfence_ipc::cache::segment_bytes;
use ringfence_ipc::counters::{Counter, CountersWriter};
use ringfence_ipc::handshake::{NodeRefusal, NodeRequest};
use ringfence_ipc::msg::{NODE_UPDATE_SLOTS, NodeUpdate, PAYLOAD_WORDS, SLOT_BYTES, Words, kind, kind_of};
use ringfence_ipc::ring::Head;
use ringfence_ipc::segment::{GateSegment, SegmentError};

use super::mailbox::{FromGate, PortFault};
use super::reactor::Reactor;
use crate::cache::{Cache, RegisterError, Stats};
use crate::config::CacheConfig;

/// The cache as the gate thread has it.
pub(super) struct Nodes {
    pub cache: Cache,
    /// What the counters file says already.
    told: Stats,
}

/// One client's request on its way through the gate thread and back. It was allocated by the control thread, and goes
/// back to be freed there.
pub(super) struct NodeTurn {
    pub client: u64,
    pub request: NodeRequest,
    pub outcome: Result<u32, NodeFault>,
}

/// Why a request about a node was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NodeFault {
    #[error(transparent)]
    Register(#[from] RegisterError),
    #[error("you do not hold the lease of this series")]
    NotHeld,
}

impl NodeFault {
    pub fn code(self) -> NodeRefusal {
        match self {
            Self::Register(RegisterError::Full(_)) => NodeRefusal::Full,
            Self::Register(RegisterError::Period { .. }) => NodeRefusal::Period,
            Self::Register(RegisterError::Features) => NodeRefusal::Features,
            Self::Register(RegisterError::LeaseTaken(_)) => NodeRefusal::LeaseTaken,
            Self::NotHeld => NodeRefusal::NotHeld,
        }
    }
}

/// The cache's memory, all of it present.
pub(super) fn cache_segment(config: &CacheConfig) -> Result<GateSegment, SegmentError> {
    let budget = usize::try_from(config.budget_bytes).unwrap_or(usize::MAX);
    GateSegment::create("ringfence-cache", segment_bytes(config.max_series, budget))
}

impl Nodes {
    /// An empty cache in `segment`.
    pub fn new(segment: &GateSegment, config: &CacheConfig) -> Result<Self, SegmentError> {
        let mapping = segment.mapping();
        let slots = mapping.write_slots(0, mapping.len_bytes() / SLOT_BYTES)?;
        Ok(Self { cache: Cache::new(slots, config.max_series)?, told: Stats::default() })
    }

    /// Brings the counters file up to date. Counters outlive a gate, the cache does not.
    pub fn flush(&mut self, counters: &CountersWriter) {
        let (now, told) = (*self.cache.stats(), self.told);
        self.told = now;
        counters.add(Counter::NodeFeeds, now.feeds - told.feeds);
        counters.add(Counter::NodeBackfills, now.backfills - told.backfills);
        counters.add(Counter::NodeLate, now.late - told.late);
        counters.add(Counter::NodeGaps, now.gaps - told.gaps);
        counters.add(Counter::NodeRejects, now.rejects - told.rejects);
        counters.add(Counter::NodeRejectsNoLease, now.rejects_no_lease - told.rejects_no_lease);
        counters.set(Counter::NodeSeries, self.cache.len() as u64);
        counters.set(Counter::NodeCacheBytes, self.cache.resident_bytes() as u64);
    }
}

impl Reactor {
    /// Applies the updates that `batch` begins with; they are one slot long and still stand in the client's ring.
    pub(super) fn serve_updates(&mut self, at: usize, batch: &[Words]) -> usize {
        let Some(port) = &mut self.ports[at] else { return 0 };
        let mut served = 0;
        for words in batch.iter().take_while(|words| kind_of(words) == kind::NODE_UPDATE) {
            port.intents.advance(1);
            served += 1;
            match NodeUpdate::decode(std::slice::from_ref(words)) {
                // What cannot be used is counted where it is refused.
                Ok(update) => drop(self.nodes.cache.apply(port.client, &update)),
                Err(_) => self.counters.inc(Counter::MalformedMessages),
            }
        }
        served
    }

    /// Applies an update of several slots: the next message of the client's ring.
    pub(super) fn serve_long_update(&mut self, at: usize, head: &Head) -> Result<usize, PortFault> {
        let update = self.read_update(at, head)?;
        let Some(port) = &mut self.ports[at] else { return Ok(0) };
        port.intents.advance(head.slots);
        match update {
            Some(update) => drop(self.nodes.cache.apply(port.client, &update)),
            None => self.counters.inc(Counter::MalformedMessages),
        }
        Ok(1)
    }

    /// The update that `head` begins; `None` when it is none.
    pub(super) fn read_update(&self, at: usize, head: &Head) -> Result<Option<NodeUpdate>, PortFault> {
        let Some(port) = &self.ports[at] else { return Ok(None) };
        let count = usize::from(head.slots);
        let mut slots = [[0; PAYLOAD_WORDS]; NODE_UPDATE_SLOTS];
        if count > NODE_UPDATE_SLOTS {
            return Ok(None);
        }
        slots[0] = head.words;
        for (index, slot) in slots[..count].iter_mut().enumerate().skip(1) {
            *slot = port.intents.continuation(index as u8)?;
        }
        Ok(NodeUpdate::decode(&slots[..count]).ok())
    }

    /// Registers a node, or gives its lease back, for a client that is still served.
    pub(super) fn on_node(&mut self, mut turn: Box<NodeTurn>) {
        let mut ports = self.ports.iter().flatten();
        let is_served = ports.any(|port| port.client == turn.client && !port.draining);
        let cache = &mut self.nodes.cache;
        turn.outcome = match &turn.request {
            _ if !is_served => Err(NodeFault::NotHeld),
            NodeRequest::Register { spec, produce } => {
                cache.register(spec, turn.client, *produce).map_err(NodeFault::Register)
            }
            NodeRequest::Release { series } if cache.release(*series, turn.client) => Ok(*series),
            NodeRequest::Release { .. } => Err(NodeFault::NotHeld),
        };
        self.nodes.flush(&self.counters);
        let _ = self.outbox.push(FromGate::Node(turn));
    }
}
