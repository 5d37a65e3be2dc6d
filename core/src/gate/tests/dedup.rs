//! The same question gets the same answer, once executed.

use proptest::prelude::*;
use ringfence_ipc::msg::{Intent, Side};
use ringfence_ipc::reason::{LimitId, Reason, Scope};

use super::*;

#[test]
fn a_repeat_gets_the_stored_decision_and_executes_nothing() {
    let mut rig = Rig::new();
    let intent = rig.limit_order(BTC, Side::Buy, 100, 1);
    let first = rig.submit(ALICE, &intent);
    let (hash, commands) = (rig.gate.state_hash(), rig.commands.len());
    rig.now_ns += 5;
    let restamped = Intent { client_ts_ns: rig.now_ns, ..intent };
    for repeat in [intent, restamped] {
        let again = rig.submit(ALICE, &repeat);
        assert!(again.duplicate);
        assert_eq!((again.order_id, again.journal_seq), (first.order_id, first.journal_seq));
        assert_eq!(again.decided_at_ns, first.decided_at_ns);
        assert_eq!(again.tier, DurabilityTier::None);
    }
    assert_eq!((rig.gate.state_hash(), rig.commands.len()), (hash, commands));
}

#[test]
fn a_stored_reject_keeps_its_numbers() {
    let mut rig = Rig::with(CAP, &[(Scope::Strategy, ALICE, LimitId::MaxOrderQty, 10)]);
    let intent = rig.limit_order(BTC, Side::Buy, 100, 11);
    rig.submit(ALICE, &intent);
    rig.limit(Scope::Strategy, ALICE, LimitId::MaxOrderQty, 100);
    let again = rig.submit(ALICE, &intent);
    assert!(again.duplicate);
    assert_rejected(&again, Reason::MaxOrderQty, LimitId::MaxOrderQty, 11, 10);
}

#[test]
fn the_same_key_with_other_content_is_a_conflict_and_stores_nothing() {
    let mut rig = Rig::new();
    let intent = rig.limit_order(BTC, Side::Buy, 100, 1);
    rig.submit(ALICE, &intent);
    for other in [
        Intent { price: 101, ..intent },
        Intent { qty: 2, ..intent },
        Intent { side: Side::Sell, ..intent },
        Intent { symbol: ETH, ..intent },
        Intent { ttl_ns_or_target: 1_000, ..intent },
    ] {
        assert_eq!(rig.submit(ALICE, &other).reason, Reason::IdempotencyConflict);
    }
    assert!(rig.submit(ALICE, &intent).duplicate);
}

#[test]
fn keys_of_two_strategies_are_two_keys() {
    let mut rig = Rig::new();
    let intent = rig.limit_order(BTC, Side::Buy, 100, 1);
    assert!(!rig.submit(ALICE, &intent).duplicate);
    assert!(!rig.submit(BOB, &intent).duplicate);
}

#[test]
fn key_zero_is_refused_unless_configured() {
    let mut rig = Rig::new();
    let mut intent = rig.limit_order(BTC, Side::Buy, 100, 1);
    intent.key = 0;
    assert_eq!(rig.submit(ALICE, &intent).reason, Reason::KeyRequired);
    rig.limit(Scope::Global, 0, LimitId::AllowKeyless, 1);
    let (a, b) = (rig.submit(ALICE, &intent), rig.submit(ALICE, &intent));
    assert_eq!((a.reason, b.reason, b.duplicate), (Reason::Ok, Reason::Ok, false));
    assert_ne!(a.order_id, b.order_id);
    assert_eq!(rig.recovered().state_hash(), rig.gate.state_hash());
}

#[test]
fn a_key_beyond_the_window_is_stale_not_new() {
    let mut rig = Rig::with(CAP, &[(Scope::Strategy, ALICE, LimitId::DedupQuota, 8)]);
    let first = rig.limit_order(BTC, Side::Buy, 100, 1);
    rig.submit(ALICE, &first);
    for _ in 0..9 {
        rig.now_ns += 1;
        let id = rig.enter(ALICE, BTC, Side::Buy, 100, 1);
        rig.tell(id, ReportKind::Expired).unwrap();
    }
    let stale = rig.submit(ALICE, &first);
    assert_eq!((stale.reason, stale.duplicate), (Reason::StaleKey, false));
    assert_eq!(stale.limit_id, LimitId::DedupTtlNs);
}

#[test]
fn generations_close_by_time_too() {
    let ttl_ns = 300;
    let mut rig = Rig::with(
        CAP,
        &[(Scope::Global, 0, LimitId::DedupTtlNs, ttl_ns), (Scope::Global, 0, LimitId::DedupQuota, 1_024)],
    );
    let first = rig.limit_order(BTC, Side::Buy, 100, 1);
    rig.submit(ALICE, &first);
    rig.now_ns += ttl_ns as u64;
    assert!(rig.submit(ALICE, &first).duplicate);
    let mut forgotten = false;
    // One bucket is swept per insert, and a rotation waits for the whole sweep.
    for _ in 0..5 * 1_024 / 16 {
        rig.now_ns += 100;
        let id = rig.enter(ALICE, BTC, Side::Buy, 100, 1);
        rig.tell(id, ReportKind::Expired).unwrap();
        forgotten |= rig.decide(ALICE, &first, None).decision.reason == Reason::StaleKey;
    }
    assert!(forgotten);
}

#[test]
fn an_operator_speaks_for_the_strategy_it_names() {
    let mut rig = Rig::new();
    let intent = rig.limit_order(BTC, Side::Buy, 100, 1);
    let decision = rig.operate(ALICE, 0, intent);
    assert_eq!(decision.reason, Reason::Ok);
    assert_eq!(rig.gate.order(decision.order_id).unwrap().strategy, ALICE);
    assert!(rig.operate(ALICE, 0, intent).duplicate);
    let other = rig.limit_order(BTC, Side::Buy, 100, 1);
    assert_eq!(rig.operate(ALICE, 1, other).reason, Reason::UnknownStrategy);
    assert_eq!(rig.operate(3, 0, other).reason, Reason::UnknownStrategy);
}

#[test]
fn who_may_say_what() {
    let mut rig = Rig::new();
    let mut intent = rig.limit_order(BTC, Side::Buy, 100, 1);
    assert_eq!(rig.submit(3, &intent).reason, Reason::UnknownStrategy);
    intent.flags = intent_flags::OPERATOR;
    assert_eq!(rig.submit(ALICE, &intent).reason, Reason::RoleForbidden);
    let words = intent.encode();
    let mut req = Request {
        strategy: ALICE,
        operator: true,
        words: &words,
        ext: None,
        now_ns: rig.now_ns,
        position: 0,
        room: Room::OPEN,
        reference: None,
        tier: DurabilityTier::Process,
    };
    assert_eq!(rig.gate.decide(&req).decision(0).reason, Reason::Malformed);
    req.operator = false;
    let mut words = words;
    words[0] = 0xff;
    req.words = &words;
    assert_eq!(rig.gate.decide(&req).decision(0).reason, Reason::Malformed);
    let mut words = rig.limit_order(BTC, Side::Buy, 100, 1).encode();
    words[0] |= 0xff00;
    req = Request { words: &words, ..req };
    assert_eq!(rig.gate.decide(&req).decision(0).reason, Reason::Malformed);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// A tiny window, few keys, repeats far apart: every key executes at most once.
    #[test]
    fn repeat_is_never_executed_twice_at_any_rate(
        quota in 1i64..70,
        seed: u64,
        steps in proptest::collection::vec((0usize..200, 0u64..3), 1..250),
    ) {
        let mut rig = Rig::with(CAP, &[(Scope::Strategy, ALICE, LimitId::DedupQuota, quota)]);
        let mut intents: Vec<Option<Intent>> = vec![None; 200];
        let mut executed = vec![0; 200];
        for (n, wait_ns) in steps {
            rig.now_ns += wait_ns;
            let key = u128::from(seed) << 32 | (n as u128 + 1);
            let intent = *intents[n].get_or_insert(Intent::limit(BTC, Side::Buy, 100, 1, key, rig.now_ns));
            let decision = rig.submit(ALICE, &intent);
            if decision.outcome == Outcome::Accepted && !decision.duplicate {
                executed[n] += 1;
                rig.tell(decision.order_id, ReportKind::Expired).unwrap();
            }
        }
        prop_assert!(executed.iter().all(|times| *times <= 1));
        prop_assert_eq!(rig.recovered().state_hash(), rig.gate.state_hash());
    }
}
