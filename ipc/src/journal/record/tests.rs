//! Every record survives the log; nothing else decodes.

use super::*;
use crate::msg::{
    DurabilityTier, Intent, OperatorExt, OrderState, Outcome, Report, ReportKind, Side, Words, intent_flags,
};
use crate::reason::{LimitId, Mode, Reason, Scope};
use crate::symbol::Symbol;

fn samples() -> Vec<Record> {
    let mut operator = Intent::limit(2, Side::Sell, 6_100_000, 500, 77, 1_000);
    operator.flags = intent_flags::OPERATOR;
    let decision = DecisionRecord {
        strategy: 3,
        account: 9,
        intent: Intent::limit(2, Side::Buy, 6_100_000, 500, 78, 1_000),
        ext: None,
        outcome: Outcome::Rejected,
        reason: Reason::PriceCollar,
        limit_id: LimitId::PriceCollarBps,
        tier: DurabilityTier::Process,
        now_ns: 2_000,
        order_id: 0,
        observed: -300,
        limit: 250,
        reference_price: 6_000_000,
        reference_age_us: 12,
        intent_position: 4,
    };
    vec![
        Record::Boot(BootRecord {
            epoch: 2,
            hash_seed: u64::MAX,
            now_ns: 5,
            layout_hash: 6,
            lockstep: true,
            build_id: *b"ringfence 0.1.0-test....................",
        }),
        Record::Symbol { id: 4, symbol: Symbol::new("BTCUSDT", 2, 5, 1, 1).unwrap() },
        Record::Strategy(StrategyRecord {
            strategy: 1,
            account: 2,
            name: *b"momentum-2026-11-20-long",
            now_ns: 3,
        }),
        Record::Attach(AttachRecord {
            role: Role::Feed,
            detached: true,
            strategy: 7,
            now_ns: 1,
            client: 8,
            ticket_digest: u128::MAX - 5,
            pid: 10,
            uid: 11,
        }),
        Record::Limit(LimitRecord {
            scope: Scope::Strategy,
            scope_id: 65_535,
            limit: LimitId::MaxGrossNotionalE8,
            value: -1,
            now_ns: 2,
            config_version: 3,
        }),
        Record::Control(ControlRecord {
            control: ControlKind::SetMode(Mode::Killed),
            scope: Scope::Global,
            scope_id: 0,
            now_ns: 9,
            client: 1,
            note: Note::new("fat finger").unwrap(),
        }),
        Record::Stray(StrayRecord {
            order_id: 3 << 48 | 5,
            symbol: 2,
            side: Side::Sell,
            qty: 4,
            price: 6_100_000,
            cum_qty: 9,
            trade_id: u64::MAX,
            fee_e8: -7,
            key_low: 8,
            venue_ts_ns: 10,
            now_ns: 11,
        }),
        Record::Mark(MarkRecord {
            symbol: 1,
            now_ns: 2,
            bid_price: 3,
            ask_price: 4,
            last_price: 5,
            event: 6,
        }),
        Record::Decision(decision),
        Record::Decision(DecisionRecord {
            intent: operator,
            ext: Some(OperatorExt::new(3, 9, "web-1", 5).unwrap()),
            outcome: Outcome::Accepted,
            reason: Reason::Ok,
            limit_id: LimitId::None,
            order_id: 1 << 48 | 5,
            observed: 0,
            limit: 0,
            ..decision
        }),
        Record::Report(Report {
            kind: ReportKind::Fill,
            state: OrderState::PartiallyFilled,
            side: Side::Sell,
            maker: true,
            late: false,
            reentered: true,
            reason: Reason::Ok,
            symbol: 2,
            journal_seq: 0,
            order_id: 1 << 48 | 5,
            last_qty: 100,
            last_price: 6_100_000,
            cum_qty: 100,
            ts_ns: 3,
            trade_id: 4,
            fee_e8: -5,
            leaves_qty: 400,
            key_low: 77,
            venue_ts_ns: 6,
            strategy: 3,
            account: 9,
        }),
        Record::Report(Report {
            kind: ReportKind::Expired,
            state: OrderState::Expired,
            side: Side::Buy,
            maker: false,
            late: true,
            reentered: false,
            reason: Reason::NoLiquidity,
            symbol: 2,
            journal_seq: 0,
            order_id: 1 << 48 | 6,
            last_qty: 0,
            last_price: 0,
            cum_qty: 0,
            ts_ns: 3,
            trade_id: 0,
            fee_e8: 0,
            leaves_qty: 0,
            key_low: 78,
            venue_ts_ns: 0,
            strategy: 3,
            account: 9,
        }),
        Record::Config(ConfigRecord {
            origin: ConfigOrigin::Reload,
            changes: 500,
            version: 1 << 40,
            now_ns: 5,
            client: 6,
            digest: u128::MAX - 7,
        }),
        Record::Capacity(CapacityRecord {
            order_slots: 1 << 31,
            max_positions: 4096,
            max_symbols: 1,
            max_strategies: u16::MAX,
            max_accounts: 16,
            now_ns: 9,
        }),
        Record::Close(CloseRecord { now_ns: 1, state_hash: [0xa5; 32], market_events: 41_249 }),
    ]
}

#[test]
fn every_record_survives_the_log() {
    for record in samples() {
        let words = record.encode();
        assert_eq!(Record::slots_of(&words.slots()[0]), Ok(words.slots().len()));
        assert_eq!(Record::decode(words.slots()), Ok(record));
    }
}

#[test]
fn a_record_cut_short_is_an_error_not_a_panic() {
    for record in samples() {
        let words = record.encode();
        assert!(Record::decode(&words.slots()[..words.slots().len() - 1]).is_err());
    }
    assert_eq!(Record::slots_of(&[0; 7]), Err(RecordError::UnknownKind(0)));
}

#[test]
fn a_flipped_bit_of_a_rare_record_is_another_record_or_none() {
    let rare = |record: &Record| !matches!(record, Record::Decision(_) | Record::Report(_));
    for record in samples().into_iter().filter(rare) {
        let words = record.encode();
        let bits = words.slots().len() * 7 * 64;
        for bit in 0..bits {
            let mut slots: Vec<Words> = words.slots().to_vec();
            slots[bit / 448][bit % 448 / 64] ^= 1 << (bit % 64);
            if let Ok(other) = Record::decode(&slots) {
                assert_eq!(other.encode().slots(), slots, "bit {bit} of {record:?} was read as {other:?}");
            }
        }
    }
}
