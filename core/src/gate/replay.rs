//! Replay: decide every journalled decision again and compare.

use ringfence_ipc::journal::{DecisionRecord, Record};

use super::Gate;
use super::api::{ApplyError, Capacity, Reference, Request, Room};

/// The first mismatches are kept, the others counted.
const KEPT_MISMATCHES: usize = 100;
const NS_PER_US: u64 = 1_000;

/// A decision or a final state that replay does not reproduce.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// The same intent in the same state is decided otherwise.
    #[error("position {position}: recorded {recorded}, replayed {replayed}")]
    Decision {
        /// Journal position.
        position: u64,
        /// What the journal says.
        recorded: String,
        /// What replay says.
        replayed: String,
    },
    /// A close record or a checkpoint carries another state hash.
    #[error("position {position}: the state there has another hash")]
    State {
        /// Journal position.
        position: u64,
    },
    /// The journal does not fit together.
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

/// Decides a journalled decision again, in the state that the records before it built, and commits it.
///
/// # Errors
/// [`Mismatch::Decision`] when the decision comes out otherwise: the recorded one is applied then, so that what follows
/// is compared with the recorded history; [`Mismatch::Apply`] when not even that is possible.
pub fn redecide(gate: &mut Gate, record: &DecisionRecord, position: u64) -> Result<(), Mismatch> {
    let words = record.intent.encode();
    let ext = record.ext.map(|ext| ext.encode());
    let verdict = gate.decide(&Request {
        strategy: record.strategy,
        operator: ext.is_some(),
        words: &words,
        ext: ext.as_ref(),
        now_ns: record.now_ns,
        position: record.intent_position,
        room: Room::OPEN,
        reference: Some(Reference {
            price: record.reference_price,
            age_ns: u64::from(record.reference_age_us) * NS_PER_US,
        }),
        tier: record.tier,
    });
    let (replayed, effect) = (verdict.record(), verdict.effect());
    if let Some(effect) = effect.filter(|_| replayed.as_ref() == Some(record)) {
        gate.commit(&effect, position);
        return Ok(());
    }
    let decision = verdict.decision(position);
    gate.apply(position, &Record::Decision(*record))?;
    let replayed = match &replayed {
        Some(replayed) => describe(replayed),
        None => format!("{:?} {} (not journalled)", decision.outcome, decision.reason),
    };
    Err(Mismatch::Decision { position, recorded: describe(record), replayed })
}

fn describe(record: &DecisionRecord) -> String {
    let DecisionRecord { outcome, reason, limit_id, order_id, observed, limit, .. } = record;
    format!("{outcome:?} {reason} {limit_id} order {order_id:#x} observed {observed} limit {limit}")
}

/// What a replay found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplayReport {
    /// Records read.
    pub records: u64,
    /// Decisions decided again.
    pub decisions: u64,
    /// Close records whose state hash was compared.
    pub closes: u64,
    /// Checkpoints whose state hash was compared.
    pub checkpoints: u64,
    /// All mismatches.
    pub mismatches: u64,
    /// The first of them.
    pub first: Vec<Mismatch>,
    /// The state hash after the last record.
    pub state_hash: [u8; 32],
}

/// Replays a journal from its beginning.
#[derive(Debug)]
pub struct Replayer {
    gate: Gate,
    report: ReplayReport,
}

impl Replayer {
    /// For a journal that says by itself how large its gate's tables were, as every journal of a gate process does.
    #[must_use]
    pub fn from_journal() -> Self {
        Self::new(Capacity::SMALLEST)
    }

    /// For records of a gate built for `cap`, without a `Capacity` record at their beginning.
    #[must_use]
    pub fn new(cap: Capacity) -> Self {
        Self { gate: Gate::new(cap, 0, 0), report: ReplayReport::default() }
    }

    /// For the records behind a checkpoint, whose state `gate` has.
    #[must_use]
    pub fn resume(gate: Gate) -> Self {
        Self { gate, report: ReplayReport::default() }
    }

    /// The state before `position` must have this hash, as a checkpoint there says.
    pub fn compare(&mut self, position: u64, state_hash: &[u8; 32]) {
        self.report.checkpoints += 1;
        if self.gate.state_hash() != *state_hash {
            self.differs(Mismatch::State { position });
        }
    }

    /// Takes the next record.
    ///
    /// # Errors
    /// [`ApplyError`]: the journal does not fit together, and nothing after it means anything.
    pub fn feed(&mut self, position: u64, record: &Record) -> Result<(), ApplyError> {
        self.report.records += 1;
        let outcome = match record {
            Record::Decision(decision) => {
                self.report.decisions += 1;
                redecide(&mut self.gate, decision, position)
            }
            Record::Close(close) => {
                self.report.closes += 1;
                let same = self.gate.state_hash() == close.state_hash;
                if same { Ok(()) } else { Err(Mismatch::State { position }) }
            }
            other => self.gate.apply(position, other).map_err(Mismatch::Apply),
        };
        match outcome {
            Ok(()) => Ok(()),
            Err(Mismatch::Apply(error)) => Err(error),
            Err(mismatch) => {
                self.differs(mismatch);
                Ok(())
            }
        }
    }

    fn differs(&mut self, mismatch: Mismatch) {
        self.report.mismatches += 1;
        if self.report.first.len() < KEPT_MISMATCHES {
            self.report.first.push(mismatch);
        }
    }

    /// Takes every record of a journal.
    ///
    /// # Errors
    /// As [`Replayer::feed`].
    pub fn run(
        mut self,
        journal: impl IntoIterator<Item = (u64, Record)>,
    ) -> Result<ReplayReport, ApplyError> {
        for (position, record) in journal {
            self.feed(position, &record)?;
        }
        Ok(self.finish())
    }

    /// The state so far.
    #[must_use]
    pub const fn gate(&self) -> &Gate {
        &self.gate
    }

    /// What was found.
    #[must_use]
    pub fn finish(mut self) -> ReplayReport {
        self.report.state_hash = self.gate.state_hash();
        self.report
    }
}
