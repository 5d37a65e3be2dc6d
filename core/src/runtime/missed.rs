//! What a resuming client missed, read back from the journal.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use ringfence_ipc::handshake::{MISSED_PER_PACKET, Packet, Role};
use ringfence_ipc::journal::hot::status;
use ringfence_ipc::journal::{DecisionRecord, Follower, Record};
use ringfence_ipc::msg::{Decision, Report, StrategyId, Words};

/// A client further behind than this starts afresh instead.
const MAX_MISSED_EVENTS: usize = 1_000_000;

/// How long a record that must be there may take to be found, while the archive takes over from the hot ring.
const READ_PATIENCE: Duration = Duration::from_millis(200);

/// Where the journal lies.
#[derive(Clone, Debug)]
pub(super) struct JournalPaths {
    pub hot: PathBuf,
    pub archive: PathBuf,
}

/// The events of `strategy` in the journal after `last_seq` and before `end`, packed for the socket. Operators get the
/// decisions they asked for; they follow the journal for the rest.
pub(super) fn collect(
    paths: &JournalPaths,
    last_seq: u64,
    end: u64,
    role: Role,
    strategy: StrategyId,
) -> Result<Vec<Packet>, String> {
    let mut packets = Vec::new();
    let mut batch = Vec::with_capacity(MISSED_PER_PACKET);
    if last_seq.saturating_add(1) >= end {
        return Ok(packets);
    }
    let unreadable = |error: &dyn std::fmt::Display| format!("the journal cannot be read back: {error}");
    let mut follower =
        Follower::open(&paths.hot, &paths.archive, last_seq.max(1)).map_err(|error| unreadable(&error))?;
    let deadline = Instant::now() + READ_PATIENCE;
    while follower.position() < end {
        let Some((position, record)) = follower.next().map_err(|error| unreadable(&error))? else {
            let failed = status::POWER | status::FAILED;
            if follower.hot().is_some_and(|hot| hot.status() & failed == failed) {
                return Err(format!(
                    "the journal's disk failed: what came after {} is known when the gate was started again; \
                     until then attach without a ticket",
                    follower.position()
                ));
            }
            // Everything below `end` was written before this was asked for: leaving some of it out would be a loss.
            if Instant::now() > deadline {
                return Err(unreadable(&format!("it ends at {}, not at {end}", follower.position())));
            }
            std::thread::sleep(Duration::from_millis(1));
            continue;
        };
        if position <= last_seq || position >= end {
            continue;
        }
        let Some(event) = event_of(&record, position, role, strategy) else { continue };
        batch.push(event);
        if batch.len() == MISSED_PER_PACKET {
            packets.push(Packet::Missed(std::mem::take(&mut batch)));
        }
        if packets.len() * MISSED_PER_PACKET > MAX_MISSED_EVENTS {
            return Err(format!("more than {MAX_MISSED_EVENTS} events were missed: attach without a ticket"));
        }
    }
    if !batch.is_empty() {
        packets.push(Packet::Missed(batch));
    }
    Ok(packets)
}

pub(super) fn event_of(
    record: &Record,
    position: u64,
    role: Role,
    strategy: StrategyId,
) -> Option<Vec<Words>> {
    match (record, role) {
        (Record::Decision(made), Role::Strategy) if made.strategy == strategy && made.ext.is_none() => {
            Some(vec![decision(made, position).encode()])
        }
        (Record::Decision(made), Role::Operator) if made.ext.is_some() => {
            Some(vec![decision(made, position).encode()])
        }
        (Record::Report(report), Role::Strategy) if report.strategy == strategy => {
            Some(Report { journal_seq: position, ..*report }.encode().to_vec())
        }
        _ => None,
    }
}

/// The answer that stood in the ring, from its record.
fn decision(record: &DecisionRecord, position: u64) -> Decision {
    Decision {
        outcome: record.outcome,
        reason: record.reason,
        limit_id: record.limit_id,
        duplicate: false,
        tier: record.tier,
        intent_position: record.intent_position,
        journal_seq: position,
        decided_at_ns: record.now_ns,
        key_low: record.intent.key as u64,
        order_id: record.order_id,
        observed: record.observed,
        limit: record.limit,
    }
}
