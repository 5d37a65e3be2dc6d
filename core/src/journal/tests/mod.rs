//! The journal under faults: round trips, the recovery table, countdowns, torn bytes, kills.

mod corrupt;
mod countdown;
mod direct;
mod follow;
mod hot;
mod kill;
mod live;
mod power;
pub(crate) mod sim;
mod table;

use std::path::PathBuf;
use std::time::Duration;

use ringfence_ipc::journal::{BootRecord, CloseRecord, DecisionRecord, MarkRecord, Record};
use ringfence_ipc::msg::{DurabilityTier, Intent, OperatorExt, Outcome, Side, intent_flags};
use ringfence_ipc::reason::{LimitId, Reason};

use super::medium::Medium;
use super::{Class, JournalError, JournalOptions, Opened, Writer};

/// A size that the environment may raise or lower.
fn size(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.replace('_', "").parse().ok()).unwrap_or(default)
}

/// The n-th record of a test's log; one, two and three slots take turns.
fn record(n: u64) -> Record {
    match n % 4 {
        0 => Record::Mark(MarkRecord {
            symbol: 1,
            now_ns: n,
            bid_price: -1,
            ask_price: i64::MAX,
            last_price: 0,
            event: n,
        }),
        1 => Record::Decision(decision(n, false)),
        2 => Record::Decision(decision(n, true)),
        _ => Record::Boot(BootRecord {
            epoch: 1,
            hash_seed: n,
            now_ns: n,
            layout_hash: u64::MAX,
            lockstep: n.is_multiple_of(2),
            build_id: [b'x'; 40],
        }),
    }
}

fn decision(n: u64, operator: bool) -> DecisionRecord {
    let mut intent = Intent::limit(2, Side::Buy, 6_100_000, 500, n.into(), n);
    if operator {
        intent.flags = intent_flags::OPERATOR;
    }
    DecisionRecord {
        strategy: 3,
        account: 9,
        intent,
        ext: operator.then(|| OperatorExt::new(3, 9, "web-1", 5).unwrap()),
        outcome: Outcome::Accepted,
        reason: Reason::Ok,
        limit_id: LimitId::None,
        tier: DurabilityTier::Process,
        now_ns: n,
        order_id: n,
        observed: 0,
        limit: 0,
        reference_price: 1,
        reference_age_us: 12,
        intent_position: n,
    }
}

fn close_record(n: u64) -> Record {
    Record::Close(CloseRecord { now_ns: n, state_hash: [0xa5; 32], market_events: n })
}

/// A journal in a directory that goes away with the test.
struct Place {
    dir: tempfile::TempDir,
    segment_bytes: u64,
    power: bool,
}

impl Place {
    /// Segments of 64 slots, one block.
    fn new() -> Self {
        Self::with_segments(4096)
    }

    fn with_segments(segment_bytes: u64) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), segment_bytes, power: false }
    }

    fn in_power(self) -> Self {
        Self { power: true, ..self }
    }

    fn archive(&self) -> PathBuf {
        self.dir.path().join("journal")
    }

    fn hot(&self) -> PathBuf {
        self.dir.path().join("hot")
    }

    /// The smallest ring, a sync at every step.
    fn options(&self) -> JournalOptions {
        JournalOptions {
            dir: self.archive(),
            hot_path: self.hot(),
            hot_bytes: 64 << 10,
            segment_bytes: self.segment_bytes,
            sync_interval: Duration::ZERO,
            min_free_bytes: 0,
            power: self.power,
        }
    }
}

fn read_all<M: Medium>(opened: &mut Opened<M>) -> Result<Vec<(u64, Record)>, JournalError> {
    opened.log.by_ref().collect()
}

/// Appends record `n` and notes it down.
fn append(writer: &mut Writer, n: u64, log: &mut Vec<(u64, Record)>) {
    assert!(writer.room(Class::Reserved));
    let record = record(n);
    log.push((writer.append(&record.encode()), record));
}
