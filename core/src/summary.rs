//! What a core says when it stops in good order.

use serde::Serialize;
use std::collections::BTreeMap;

/// The end of a run, as `up --json` prints it. Money is exact: decimal texts.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// Market events the venue consumed.
    pub market_events: u64,
    /// Market messages that could not be understood.
    pub malformed_messages: u64,
    /// Intents decided.
    pub intents: u64,
    /// Accepted intents.
    pub accepted: u64,
    /// Rejected intents by stable reason code.
    pub rejected: BTreeMap<String, u64>,
    /// Fills booked.
    pub fills: u64,
    /// Repeats answered with their stored decision.
    pub duplicates: u64,
    /// Realised + unrealised - fees, quote currency.
    pub pnl: String,
    /// Every position that ever was.
    pub positions: Vec<PositionSummary>,
    /// Residence in the gate.
    pub decision_ns: Percentiles,
    /// Records in the journal, all lives together.
    pub journal_records: u64,
    /// Lives of this journal's gate.
    pub epoch: u64,
    /// SHA-256 over the canonical state, hex.
    pub state_hash: String,
}

/// One (strategy, symbol) position.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PositionSummary {
    /// Strategy name.
    pub strategy: String,
    /// Symbol name.
    pub symbol: String,
    /// Signed quantity.
    pub qty: String,
    /// Signed cost.
    pub cost: String,
    /// Realised profit before fees.
    pub realised: String,
    /// Unrealised profit at the last mark.
    pub unrealised: String,
    /// Fees paid.
    pub fees: String,
}

/// Percentiles of a latency, ns.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Percentiles {
    /// Median.
    pub p50: u64,
    /// 99 %.
    pub p99: u64,
    /// 99.9 %.
    pub p999: u64,
    /// Largest.
    pub max: u64,
}
