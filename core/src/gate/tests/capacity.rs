//! The size of the tables stands in the journal: replay needs no configuration, and a new life fits or is refused.

use super::super::{ApplyError, Replayer};
use super::*;

/// Two symbols' worth of orders until a store is full, journalled with the tables' size at the front.
fn full_store() -> Rig {
    let cap = Capacity { order_slots: 4, max_positions: 1, ..CAP };
    let mut rig = Rig::with(cap, &[]);
    let (_, boot) = rig.journal.remove(0);
    rig.journal.insert(0, (0, Record::Capacity(cap.record(START_NS))));
    rig.journal.insert(0, (0, boot));
    rig.enter(ALICE, BTC, Side::Buy, 100, 1);
    assert_eq!(rig.try_order(ALICE, ETH, Side::Buy, 100, 1).reason, Reason::ExposureSymbolLimit);
    rig
}

#[test]
fn replay_takes_the_size_of_the_tables_from_the_journal() {
    let rig = full_store();
    let report = Replayer::from_journal().run(rig.journal.iter().copied()).unwrap();
    assert_eq!((report.decisions, report.mismatches), (2, 0));
    assert_eq!(report.state_hash, rig.gate.state_hash());
}

#[test]
fn a_larger_store_in_a_later_life_decides_from_there_on() {
    let mut rig = full_store();
    let larger = Capacity { max_positions: 2, max_strategies: 9, max_symbols: 7, ..rig.gate.capacity() };
    rig.write(Record::Capacity(larger.record(START_NS)));
    rig.enter(ALICE, ETH, Side::Buy, 100, 1);
    rig.limit(Scope::Symbol, 6, LimitId::MaxOrderQty, 5);
    let report = Replayer::from_journal().run(rig.journal.iter().copied()).unwrap();
    assert_eq!((report.decisions, report.mismatches), (3, 0));
    assert_eq!(report.state_hash, rig.gate.state_hash());
    assert_eq!(rig.gate.capacity(), larger);
}

#[test]
fn tables_smaller_than_what_they_hold_are_refused_and_nothing_changes() {
    let mut rig = Rig::new();
    rig.enter(BOB, ETH, Side::Buy, 100, 1);
    let before = rig.gate.state_hash();
    for (cap, what) in [
        (Capacity { max_symbols: 2, ..CAP }, "symbol 2"),
        (Capacity { max_strategies: BOB, ..CAP }, "strategy 2"),
        (Capacity { max_accounts: 1, ..CAP }, "account 1"),
        (Capacity { max_positions: 0, ..CAP }, "position 0"),
        (Capacity { order_slots: CAP.order_slots * 2, ..CAP }, "set capacity.order_slots to 256"),
    ] {
        let refused = rig.gate.apply(9, &Record::Capacity(cap.record(0))).unwrap_err();
        assert!(refused.to_string().contains(what), "{refused}");
        assert_eq!((rig.gate.state_hash(), rig.gate.capacity()), (before, CAP));
    }
}

#[test]
fn the_order_table_may_change_until_the_first_order() {
    let mut rig = Rig::new();
    let larger = Capacity { order_slots: CAP.order_slots * 2, ..CAP };
    rig.write(Record::Capacity(larger.record(0)));
    rig.enter(ALICE, BTC, Side::Buy, 100, 1);
    let refused = rig.gate.apply(9, &Record::Capacity(CAP.record(0)));
    assert_eq!(refused, Err(ApplyError::OrderSlots { position: 9, journal: 512, given: 256 }));
}

#[test]
fn sizes_that_no_gate_has_are_refused() {
    let mut gate = Gate::new(CAP, SEED, 1);
    for (order_slots, max_positions) in [(0, 8), (3, 8), (256, u32::MAX)] {
        let record = ringfence_ipc::journal::CapacityRecord { order_slots, max_positions, ..CAP.record(0) };
        let refused = gate.apply(1, &Record::Capacity(record));
        assert!(matches!(refused, Err(ApplyError::Contradiction { .. })), "{refused:?}");
    }
}
