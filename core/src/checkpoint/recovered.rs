//! What a journal's records make of a gate, and of what a new life needs to know beside it.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};

use ringfence_ipc::journal::checkpoint::{
    BodyWriter, Checkpoint, CheckpointError, NotePart, Part, PastPart, TicketPart,
};
use ringfence_ipc::journal::{DecisionRecord, Record, Role};
use ringfence_ipc::msg::{IntentKind, OrderId, Outcome, StrategyId};

use crate::gate::{ApplyError, Capacity, Gate, RestoreError};

/// Stands for the venue's adapter among the strategies' tickets: strategies are numbered from 1.
pub const VENUE: StrategyId = 0;

/// What is not the gate's, but the journal's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// Records so far.
    pub records: u64,
    /// Gate time of the newest record that has one, ns.
    pub last_ns: u64,
    /// The highest client number given so far.
    pub last_client: u64,
    /// Digest of each strategy's newest resume ticket; under [`VENUE`] that of the venue's adapter.
    pub tickets: BTreeMap<StrategyId, u128>,
}

impl Past {
    fn note(&mut self, record: &Record) {
        self.records += 1;
        let now_ns = match record {
            Record::Boot(boot) => boot.now_ns,
            Record::Attach(attach) => {
                self.last_client = self.last_client.max(attach.client);
                let resumes = matches!(attach.role, Role::Strategy | Role::Venue);
                if resumes && !attach.detached {
                    self.tickets.insert(attach.strategy, attach.ticket_digest);
                }
                attach.now_ns
            }
            Record::Decision(decision) => decision.now_ns,
            Record::Report(report) => report.ts_ns,
            Record::Mark(mark) => mark.now_ns,
            Record::Stray(stray) => stray.now_ns,
            Record::Close(close) => close.now_ns,
            Record::Config(config) => config.now_ns,
            Record::Symbol { .. }
            | Record::Strategy(_)
            | Record::Limit(_)
            | Record::Control(_)
            | Record::Capacity(_) => 0,
        };
        self.last_ns = self.last_ns.max(now_ns);
    }
}

/// A gate as far as its journal was read.
#[derive(Debug)]
pub struct Recovered {
    /// The decision state.
    pub gate: Gate,
    /// The rest.
    pub past: Past,
}

impl Recovered {
    /// Before the first record; tables of this size until a record says otherwise.
    #[must_use]
    pub fn new(cap: Capacity) -> Self {
        Self { gate: Gate::new(cap, 0, 0), past: Past::default() }
    }

    /// As a checkpoint holds it.
    ///
    /// # Errors
    /// [`RestoreError`] when the checkpoint does not add up.
    pub fn restore(saved: &Checkpoint) -> Result<Self, RestoreError> {
        let gate = Gate::restore(saved)?;
        let missing = CheckpointError::Field { part: Part::Past, what: "one item" };
        let past = PastPart::decode(&saved.items(Part::Past).next().ok_or(missing)?);
        let tickets = saved.items(Part::Tickets).map(|item| TicketPart::decode(&item));
        let past = Past {
            records: past.records,
            last_ns: past.last_ns,
            last_client: past.last_client,
            tickets: tickets.map(|ticket| (ticket.strategy, ticket.digest)).collect(),
        };
        Ok(Self { gate, past })
    }

    /// Takes the next record.
    ///
    /// # Errors
    /// [`ApplyError`] when it does not fit the records before it.
    #[inline]
    pub fn apply(&mut self, position: u64, record: &Record) -> Result<(), ApplyError> {
        self.gate.apply(position, record)?;
        self.past.note(record);
        Ok(())
    }
}

/// Why a replica cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ReplicaError {
    /// A record does not fit.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The gate closed in another state than its own records lead to.
    #[error("position {position}: the gate closed in another state than its journal leads to")]
    State {
        /// Position of the close record.
        position: u64,
    },
}

/// A gate that follows the journal of another, and what readers of its checkpoints want to know of open orders.
#[derive(Debug)]
pub struct Replica {
    recovered: Recovered,
    notes: HashMap<OrderId, NotePart>,
}

impl Replica {
    /// Before the first record.
    #[must_use]
    pub fn new(cap: Capacity) -> Self {
        Self { recovered: Recovered::new(cap), notes: HashMap::new() }
    }

    /// As a checkpoint holds it.
    ///
    /// # Errors
    /// As [`Recovered::restore`].
    pub fn restore(saved: &Checkpoint) -> Result<Self, RestoreError> {
        let recovered = Recovered::restore(saved)?;
        let notes = saved.items(Part::Notes).map(|item| NotePart::decode(&item));
        let notes = notes.map(|note| note.map(|note| (note.order_id, note))).collect::<Result<_, _>>()?;
        Ok(Self { recovered, notes })
    }

    /// Takes the next record; a close record must carry the hash of the state reached here.
    ///
    /// # Errors
    /// [`ReplicaError`]: what this replica holds must not be used any more.
    pub fn apply(&mut self, position: u64, record: &Record) -> Result<(), ReplicaError> {
        self.recovered.apply(position, record)?;
        match record {
            Record::Decision(decision) => self.note(position, decision),
            Record::Report(report) if report.state.is_terminal() => drop(self.notes.remove(&report.order_id)),
            Record::Close(close) if self.gate().state_hash() != close.state_hash => {
                return Err(ReplicaError::State { position });
            }
            _ => {}
        }
        Ok(())
    }

    fn note(&mut self, position: u64, decision: &DecisionRecord) {
        let enters = matches!(decision.intent.kind, IntentKind::New | IntentKind::ForceFlat);
        if enters && decision.outcome == Outcome::Accepted {
            let note = NotePart {
                order_id: decision.order_id,
                journal_seq: position,
                asked_price: decision.intent.price,
                asked_qty: decision.intent.qty,
                ext: decision.ext,
            };
            self.notes.insert(note.order_id, note);
        }
    }

    /// The decision state.
    #[must_use]
    pub const fn gate(&self) -> &Gate {
        &self.recovered.gate
    }

    /// How large a checkpoint's body is.
    ///
    /// # Errors
    /// None: nothing is written anywhere.
    pub fn saved_bytes(&self) -> io::Result<u64> {
        let mut body = BodyWriter::new(io::sink());
        self.save(&mut body)?;
        body.finish().map(|(_, bytes, _)| bytes)
    }

    /// Writes a whole checkpoint's body.
    ///
    /// # Errors
    /// Those of the medium.
    pub fn save<W: Write>(&self, body: &mut BodyWriter<W>) -> io::Result<()> {
        self.recovered.gate.save(body)?;
        let mut notes: Vec<&NotePart> = self.notes.values().collect();
        notes.sort_unstable_by_key(|note| note.journal_seq);
        body.part(Part::Notes, notes.len())?;
        notes.into_iter().try_for_each(|note| body.item(&note.encode()))?;
        let Past { records, last_ns, last_client, tickets } = &self.recovered.past;
        body.part(Part::Tickets, tickets.len())?;
        for (strategy, digest) in tickets {
            body.item(&TicketPart { strategy: *strategy, digest: *digest }.encode())?;
        }
        body.part(Part::Past, 1)?;
        let past = PastPart { records: *records, last_ns: *last_ns, last_client: *last_client };
        body.item(&past.encode())?;
        self.recovered.gate.save_strays(body)
    }
}
