//! Every shared field by name, offset and size, folded into one hash.
//!
//! A peer built with another layout has another hash and is refused at the handshake. Offsets are bytes from the start of
//! the segment, message or record slot named before the dot.

use super::{CELL_BYTES, HASH, HEADER_BYTES, MAGIC, events, intents, market};
use crate::cache::{MAX_ROW_WORDS, at as cache, state};
use crate::counters::{Counter, Histo};
use crate::journal::MAX_RECORD_SLOTS;
use crate::msg::{MAX_SLOTS, SLOT_BYTES};
use crate::reason::{CancelCause, LimitId, Mode, Reason, Scope, StormCause, StormState};

/// One shared field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Where it stands and what it is.
    pub name: &'static str,
    /// First byte.
    pub offset: usize,
    /// Bytes.
    pub bytes: usize,
}

const fn at(name: &'static str, offset: usize, bytes: usize) -> Field {
    Field { name, offset, bytes }
}

/// Every shared field.
pub const FIELDS: &[Field] = &[
    at("slot.payload", 0, 56),
    at("slot.sequence", 56, 8),
    at("message", 0, MAX_SLOTS * SLOT_BYTES),
    at("record", 0, MAX_RECORD_SLOTS * SLOT_BYTES),
    at("events.magic", MAGIC, 8),
    at("events.layout_hash", HASH, 8),
    at("events.epoch", events::EPOCH, 8),
    at("events.capacity", events::CAPACITY, 8),
    at("events.calibration.tick_base", events::CALIBRATION, 8),
    at("events.calibration.ns_base", events::CALIBRATION + 8, 8),
    at("events.calibration.ns_per_tick_q32", events::CALIBRATION + 16, 8),
    at("events.calibration.flags", events::CALIBRATION + 24, 8),
    at("events.gate_state", events::GATE_STATE, 8),
    at("events.lagging", events::LAGGING, 8),
    at("events.heartbeat_ns", events::HEARTBEAT, 8),
    at("events.consumed_0", events::CONSUMED[0], 8),
    at("events.consumed_1", events::CONSUMED[1], 8),
    at("events.paced_event", events::PACED, 8),
    at("events.ring", HEADER_BYTES, SLOT_BYTES),
    at("intents.magic", MAGIC, 8),
    at("intents.layout_hash", HASH, 8),
    at("intents.events_consumed", intents::CONSUMED, 8),
    at("intents.market_seen", intents::MARKET_SEEN, 8),
    at("intents.ring", HEADER_BYTES, SLOT_BYTES),
    at("market.magic", MAGIC, 8),
    at("market.layout_hash", HASH, 8),
    at("market.symbol_count", market::SYMBOLS, 8),
    at("market.table_version", market::TABLE_VERSION, 8),
    at("market.latest_event", market::LATEST, 8),
    at("market.parked_0", market::PARKED[0], 8),
    at("market.parked_1", market::PARKED[1], 8),
    at("market.symbol", HEADER_BYTES, SLOT_BYTES),
    at("market.cell", 0, CELL_BYTES),
    at("client_row.client", 0, 8),
    at("client_row.kind", 8, 8),
    at("client_row.pid", 16, 8),
    at("client_row.attached_ns", 24, 8),
    at("client_row.intents", 32, 16),
    at("client_row.events", 48, 16),
    at("client_row.name", 64, 24),
    at("client_row.lagging_since_ns", 88, 8),
    at("cell.announced", 0, 8),
    at("cell.bid_price", 64, 8),
    at("cell.bid_qty", 72, 8),
    at("cell.ask_price", 80, 8),
    at("cell.ask_qty", 88, 8),
    at("cell.last_price", 96, 8),
    at("cell.event", 104, 8),
    at("cell.ts_ns", 112, 8),
    at("cell.sequence", 120, 8),
    at("cache.magic", MAGIC, 8),
    at("cache.layout_hash", HASH, 8),
    at("cache.max_series", cache::MAX_SERIES, 8),
    at("cache.lines", cache::LINES, 8),
    at("cache.series_count", cache::COUNT, 8),
    at("cache.used_lines", cache::USED_LINES, 8),
    at("cache.entry", HEADER_BYTES, cache::ENTRY_BYTES),
    at("cache_entry.interval_s", cache::ENTRY_SIZE, 4),
    at("cache_entry.period", cache::ENTRY_SIZE + 4, 4),
    at("cache_entry.features", cache::ENTRY_FORM, 1),
    at("cache_entry.id_length", cache::ENTRY_FORM + 1, 1),
    at("cache_entry.ring_buckets", cache::ENTRY_FORM + 4, 4),
    at("cache_entry.first_line", cache::ENTRY_LINE, 8),
    at("cache_entry.generation", cache::ENTRY_GENERATION, 8),
    at("cache_entry.id", cache::ENTRY_ID, cache::ENTRY_NAMES - cache::ENTRY_ID),
    at("cache_entry.feature_names", cache::ENTRY_NAMES, cache::ENTRY_BYTES - cache::ENTRY_NAMES),
    at("series.generation", state::GENERATION * 8, 8),
    at("series.claimed_bucket", state::CLAIMED * 8, 8),
    at("series.origin_bucket", state::ORIGIN * 8, 8),
    at("series.late", state::LATE * 8, 8),
    at("series.gaps", state::GAPS * 8, 8),
    at("series.producer", state::PRODUCER * 8, 8),
    at("series.announced", SLOT_BYTES, 8),
    at("series.version", 2 * SLOT_BYTES, SLOT_BYTES),
    at("series_row", 0, MAX_ROW_WORDS * 8),
    at("intent.kind", 0, 1),
    at("intent.side", 1, 1),
    at("intent.order_type", 2, 1),
    at("intent.tif", 3, 1),
    at("intent.flags", 4, 2),
    at("intent.symbol", 6, 2),
    at("intent.key", 8, 16),
    at("intent.price", 24, 8),
    at("intent.qty", 32, 8),
    at("intent.client_ts_ns", 40, 8),
    at("intent.ttl_ns_or_target", 48, 8),
    at("operator_ext.kind", 0, 1),
    at("operator_ext.id_length", 1, 1),
    at("operator_ext.strategy", 2, 2),
    at("operator_ext.account", 4, 2),
    at("operator_ext.client_order_id", 8, 40),
    at("operator_ext.correlation_id", 48, 8),
    at("decision.kind", 0, 1),
    at("decision.outcome", 1, 1),
    at("decision.reason", 2, 2),
    at("decision.limit_id", 4, 2),
    at("decision.duplicate_tier", 6, 1),
    at("decision.intent_position", 8, 8),
    at("decision.journal_seq", 16, 8),
    at("decision.decided_at_ns", 24, 8),
    at("decision.key_low", 32, 8),
    at("decision.order_id_or_observed", 40, 8),
    at("decision.limit", 48, 8),
    at("report.kind", 0, 1),
    at("report.report", 1, 1),
    at("report.state", 2, 1),
    at("report.side_flags", 3, 1),
    at("report.reason", 4, 2),
    at("report.symbol", 6, 2),
    at("report.journal_seq", 8, 8),
    at("report.order_id", 16, 8),
    at("report.last_qty", 24, 8),
    at("report.last_price", 32, 8),
    at("report.cum_qty", 40, 8),
    at("report.ts_ns", 48, 8),
    at("report.1.trade_id", 64, 8),
    at("report.1.fee_e8", 72, 8),
    at("report.1.leaves_qty", 80, 8),
    at("report.1.key_low", 88, 8),
    at("report.1.venue_ts_ns", 96, 8),
    at("report.1.strategy", 112, 2),
    at("report.1.account", 114, 2),
    at("market_message.kind", 0, 1),
    at("market_message.flags", 1, 1),
    at("market_message.levels", 2, 1),
    at("market_message.symbol", 6, 2),
    at("market_message.event", 8, 8),
    at("market_message.ts_ns", 16, 8),
    at("market_message.values", 24, 32),
    at("node_update.kind", 0, 1),
    at("node_update.features", 1, 1),
    at("node_update.flags", 2, 1),
    at("node_update.series", 4, 4),
    at("node_update.time_ns", 8, 8),
    at("node_update.values", 16, 40),
];

/// Const FNV-1a over every field, every reason, limit and counter, by name and number.
///
/// Peers compare it at the handshake, the journal records it at boot, files on tmpfs carry it in their header.
pub const LAYOUT_HASH: u64 = hash_codes(hash_fields(0xcbf2_9ce4_8422_2325));

const fn fold(mut hash: u64, bytes: &[u8]) -> u64 {
    let mut i = 0;
    while i < bytes.len() {
        hash = (hash ^ bytes[i] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        i += 1;
    }
    // A byte that no name contains, so that ("ab", "c") and ("a", "bc") differ.
    (hash ^ 0xff).wrapping_mul(0x0000_0100_0000_01b3)
}

const fn hash_fields(mut hash: u64) -> u64 {
    let mut i = 0;
    while i < FIELDS.len() {
        hash = fold(hash, FIELDS[i].name.as_bytes());
        hash = fold(hash, &(FIELDS[i].offset as u64).to_le_bytes());
        hash = fold(hash, &(FIELDS[i].bytes as u64).to_le_bytes());
        i += 1;
    }
    hash
}

macro_rules! fold_codes {
    ($hash:ident, $($codes:ty),+) => {
        $({
            let mut i = 0;
            while i < <$codes>::ALL.len() {
                $hash = fold($hash, <$codes>::ALL[i].name().as_bytes());
                $hash = fold($hash, &(<$codes>::ALL[i] as u64).to_le_bytes());
                i += 1;
            }
        })+
    };
}

const fn hash_codes(mut hash: u64) -> u64 {
    fold_codes!(hash, Reason, LimitId, Scope, Mode, StormState, StormCause, CancelCause, Counter, Histo);
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::msg::{Decision, DurabilityTier, Intent, OperatorExt, Outcome, Side, Words};

    /// Which bytes of a message change when one of its fields does.
    fn changed(a: &[Words], b: &[Words]) -> Option<(usize, usize)> {
        let bytes = |m: &[Words]| -> Vec<u8> {
            m.iter().flat_map(|w| w.iter().copied().chain([0]).flat_map(u64::to_le_bytes)).collect()
        };
        let (a, b) = (bytes(a), bytes(b));
        let differ: Vec<usize> = (0..a.len()).filter(|i| a[*i] != b[*i]).collect();
        Some((*differ.first()?, *differ.last()? - *differ.first()? + 1))
    }

    fn field(name: &str) -> (usize, usize) {
        let field = FIELDS.iter().find(|f| f.name == name).unwrap();
        (field.offset, field.bytes)
    }

    #[test]
    fn names_are_unique_and_fields_fit() {
        for (i, field) in FIELDS.iter().enumerate() {
            assert!(FIELDS[..i].iter().all(|other| other.name != field.name), "{}", field.name);
            assert!(field.bytes > 0, "{}", field.name);
        }
    }

    #[test]
    fn intent_fields_stand_where_the_table_says() {
        let base = Intent { tif: crate::msg::Tif::Gtc, ..Intent::limit(0, Side::Buy, 0, 0, 0, 0) };
        let check = |name: &str, other: Intent| {
            assert_eq!(changed(&[base.encode()], &[other.encode()]), Some(field(name)), "{name}");
        };
        check("intent.symbol", Intent { symbol: u16::MAX, ..base });
        check("intent.key", Intent { key: u128::MAX, ..base });
        check("intent.price", Intent { price: -1, ..base });
        check("intent.qty", Intent { qty: -1, ..base });
        check("intent.client_ts_ns", Intent { client_ts_ns: u64::MAX, ..base });
        check("intent.ttl_ns_or_target", Intent { ttl_ns_or_target: u64::MAX, ..base });
        check("intent.side", Intent { side: Side::Sell, ..base });
        check("intent.order_type", Intent { order_type: crate::msg::OrderType::Market, ..base });
        check("intent.tif", Intent { tif: crate::msg::Tif::Day, ..base });
    }

    #[test]
    fn decision_and_ext_fields_stand_where_the_table_says() {
        let base = Decision {
            outcome: Outcome::Accepted,
            reason: Reason::Ok,
            limit_id: LimitId::None,
            duplicate: false,
            tier: DurabilityTier::None,
            intent_position: 0,
            journal_seq: 0,
            decided_at_ns: 0,
            key_low: 0,
            order_id: 0,
            observed: 0,
            limit: 0,
        };
        let check = |name: &str, other: Decision| {
            assert_eq!(changed(&[base.encode()], &[other.encode()]), Some(field(name)), "{name}");
        };
        check("decision.intent_position", Decision { intent_position: u64::MAX, ..base });
        check("decision.journal_seq", Decision { journal_seq: u64::MAX, ..base });
        check("decision.decided_at_ns", Decision { decided_at_ns: u64::MAX, ..base });
        check("decision.key_low", Decision { key_low: u64::MAX, ..base });
        check("decision.order_id_or_observed", Decision { order_id: u64::MAX, ..base });
        check("decision.duplicate_tier", Decision { duplicate: true, ..base });

        let ext = OperatorExt::new(0, 0, "", 0).unwrap();
        let check = |name: &str, other: OperatorExt| {
            assert_eq!(changed(&[ext.encode()], &[other.encode()]), Some(field(name)), "{name}");
        };
        check("operator_ext.strategy", OperatorExt { strategy: u16::MAX, ..ext });
        check("operator_ext.account", OperatorExt { account: u16::MAX, ..ext });
        check("operator_ext.correlation_id", OperatorExt { correlation_id: u64::MAX, ..ext });
    }
}
