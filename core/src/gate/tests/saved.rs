//! A checkpoint holds everything a later decision can depend on.

use proptest::prelude::*;
use ringfence_ipc::journal::Record;
use ringfence_ipc::journal::checkpoint::{
    BodyWriter, CHECKPOINT_HEADER_BYTES, Checkpoint, CheckpointHeader, Part, body_crc,
};

use super::super::redecide;
use super::surge::{Surge, op};
use super::*;
use crate::gate::RestoreError;

/// The bytes of a checkpoint of `gate`; what the gate does not write is empty.
fn saved(gate: &Gate, state_hash: [u8; 32]) -> Vec<u8> {
    let mut body = BodyWriter::new(Vec::new());
    gate.save(&mut body).unwrap();
    [Part::Notes, Part::Tickets, Part::Past].into_iter().for_each(|part| body.part(part, 0).unwrap());
    gate.save_strays(&mut body).unwrap();
    let (body, len, crc) = body.finish().unwrap();
    let header = CheckpointHeader { journal_id: 1, position: 1, epoch: 1, chain: 0, state_hash };
    [&header.encode(len, crc)[..], &body].concat()
}

fn restored(gate: &Gate) -> Gate {
    let checkpoint = Checkpoint::of(saved(gate, gate.state_hash())).unwrap();
    Gate::restore(&checkpoint).unwrap()
}

/// `gate` takes what the journal holds from record `from` on: decisions are decided again, and must come out the same.
fn follow(gate: &mut Gate, journal: &[(u64, Record)]) {
    for (position, record) in journal {
        match record {
            Record::Decision(decision) => redecide(gate, decision, *position).unwrap(),
            other => gate.apply(*position, other).unwrap(),
        }
    }
}

/// A gate under every kind of limit that keeps state of its own.
fn strict() -> Surge {
    let mut surge = Surge::new();
    for (scope, id, limit, value) in [
        (Scope::Global, 0, LimitId::MaxRepeats, 2),
        (Scope::Global, 0, LimitId::RepeatWindowNs, 500_000_000),
        (Scope::Global, 0, LimitId::MaxOrderToTrade, 3),
        (Scope::Global, 0, LimitId::OrderToTradeGrace, 60),
        (Scope::Strategy, BOB, LimitId::DailyLossSoftE8, 2_000 * CENT_E8),
        (Scope::Global, 0, LimitId::VenueOrderRatePerS, 40),
        (Scope::Strategy, BOB, LimitId::Entitlement, 1),
        (Scope::Strategy, BOB, LimitId::Entitlement, 3),
    ] {
        surge.rig.limit(scope, id, limit, value);
    }
    surge
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Saved anywhere in a random life, restored, and led on by the same records: the same state, byte for byte.
    #[test]
    fn a_restored_gate_goes_on_as_if_nothing_had_happened(
        before in proptest::collection::vec(op(), 0..250),
        after in proptest::collection::vec(op(), 0..150),
    ) {
        let mut surge = strict();
        before.iter().for_each(|op| surge.step(op));
        let mut gate = restored(&surge.rig.gate);
        let hash = gate.state_hash();
        prop_assert_eq!(hash, surge.rig.gate.state_hash());
        prop_assert_eq!(saved(&gate, hash), saved(&surge.rig.gate, hash));
        let from = surge.rig.journal.len();
        after.iter().for_each(|op| surge.step(op));
        follow(&mut gate, &surge.rig.journal[from..]);
        let hash = gate.state_hash();
        prop_assert_eq!(hash, surge.rig.gate.state_hash());
        prop_assert_eq!(saved(&gate, hash), saved(&surge.rig.gate, hash));
    }

    /// Bytes that pass the checksum and mean nothing are refused, not believed, and never a panic.
    #[test]
    fn a_forged_checkpoint_is_refused(
        ops in proptest::collection::vec(op(), 20..60),
        at in any::<prop::sample::Index>(),
        value in any::<u64>(),
    ) {
        let mut surge = Surge::new();
        ops.iter().for_each(|op| surge.step(op));
        let whole = saved(&surge.rig.gate, surge.rig.gate.state_hash());
        let mut body = whole[CHECKPOINT_HEADER_BYTES..].to_vec();
        let at = at.index(body.len() / 8) * 8;
        body[at..at + 8].copy_from_slice(&value.to_le_bytes());
        let (header, ..) = CheckpointHeader::decode(&whole).unwrap();
        let head = header.encode(body.len() as u64, body_crc(&body));
        // A size that is merely large is no lie, and its tables would be built.
        prop_assume!(at >= 16 + Part::Gate.words() * 8);
        if let Ok(checkpoint) = Checkpoint::of([&head[..], &body].concat())
            && let Ok(gate) = Gate::restore(&checkpoint)
        {
            prop_assert_eq!(gate.state_hash(), header.state_hash);
        }
    }
}

#[test]
fn a_checkpoint_of_another_state_is_refused() {
    let mut rig = Rig::new();
    rig.enter(ALICE, BTC, Side::Buy, 100, 5);
    let forged = Checkpoint::of(saved(&rig.gate, [7; 32])).unwrap();
    assert!(matches!(Gate::restore(&forged), Err(RestoreError::State)));
}

#[test]
fn a_checkpoint_brings_the_size_of_its_tables_and_a_new_life_may_enlarge_them() {
    let mut rig = Rig::new();
    for _ in 0..20 {
        rig.enter(ALICE, BTC, Side::Buy, 100, 1);
    }
    let mut gate = restored(&rig.gate);
    assert_eq!(gate.capacity(), CAP);
    let larger = Capacity { max_symbols: 9, max_strategies: 9, max_accounts: 9, max_positions: 99, ..CAP };
    let record = Record::Capacity(larger.record(rig.now_ns));
    gate.apply(1, &record).unwrap();
    rig.write(record);
    assert_eq!(restored(&gate).state_hash(), rig.gate.state_hash());
    assert_eq!(restored(&gate).capacity(), larger);
    let smaller = Capacity { order_slots: 8, ..CAP };
    assert!(gate.apply(2, &Record::Capacity(smaller.record(0))).is_err());
}
