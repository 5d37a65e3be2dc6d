//! Versions of the configuration: limits come, change and are taken back, all of one version between two decisions.

use ringfence_ipc::journal::{ConfigOrigin, ConfigRecord};

use super::*;

fn version(version: u64, changes: u16) -> Record {
    let (origin, digest) = (ConfigOrigin::Reload, u128::from(version) * 10);
    Record::Config(ConfigRecord { origin, changes, version, now_ns: START_NS, client: 0, digest })
}

#[test]
fn a_limit_that_is_taken_back_does_not_limit() {
    let mut rig = Rig::with(CAP, &[(Scope::Strategy, ALICE, LimitId::MaxOrderQty, 10)]);
    assert_eq!(rig.try_order(ALICE, BTC, Side::Buy, 100, 11).reason, Reason::MaxOrderQty);
    rig.limit(Scope::Strategy, ALICE, LimitId::MaxOrderQty, LimitRecord::NOT_SET);
    assert_eq!(rig.try_order(ALICE, BTC, Side::Buy, 100, 11).reason, Reason::Ok);
    assert_eq!(rig.gate.limit(Scope::Strategy, ALICE, LimitId::MaxOrderQty), None);
    // What the gate sets for every strategy counts again.
    rig.limit(Scope::Global, 0, LimitId::MaxOrderQty, 5);
    assert_eq!(rig.try_order(ALICE, BTC, Side::Buy, 100, 6).reason, Reason::MaxOrderQty);
    assert_eq!(rig.recovered().state_hash(), rig.gate.state_hash());
}

#[test]
fn a_rate_that_changes_begins_with_a_full_bucket() {
    let rate = |per_s| (Scope::Strategy, ALICE, LimitId::OrderRatePerS, per_s);
    let mut rig = Rig::with(CAP, &[rate(0)]);
    assert_eq!(rig.try_order(ALICE, BTC, Side::Buy, 100, 1).reason, Reason::Ok);
    assert_eq!(rig.try_order(ALICE, BTC, Side::Buy, 100, 1).reason, Reason::OrderRate, "nothing for ever");
    // Neither another rate nor none is held back by what the old one had left.
    for per_s in [2, LimitRecord::NOT_SET] {
        let (scope, id, limit, value) = rate(per_s);
        rig.limit(scope, id, limit, value);
        assert_eq!(rig.try_order(ALICE, BTC, Side::Buy, 100, 1).reason, Reason::Ok);
        assert_eq!(rig.recovered().state_hash(), rig.gate.state_hash());
    }
}

#[test]
fn a_version_counts_when_all_of_it_is_there() {
    let mut rig = Rig::new();
    assert_eq!(rig.gate.config(), (0, None));
    rig.write(version(1, 0));
    assert_eq!(rig.gate.config(), (1, Some(10)));
    rig.write(version(2, 2));
    rig.limit(Scope::Global, 0, LimitId::PriceCollarBps, 5);
    assert_eq!(rig.gate.config(), (2, None));
    assert_eq!(rig.recovered().config(), (2, None));
    rig.limit(Scope::Global, 0, LimitId::MarketBandBps, 5);
    assert_eq!(rig.gate.config(), (2, Some(20)));
}

#[test]
fn many_limits_at_once_are_what_they_are_one_by_one() {
    let mut rig = Rig::new();
    let limits: Vec<LimitRecord> =
        [(Scope::Global, 0, LimitId::MaxOrderQty), (Scope::Strategy, BOB, LimitId::MaxOpenOrders)]
            .into_iter()
            .zip(5..)
            .map(|((scope, scope_id, limit), value)| LimitRecord {
                scope,
                scope_id,
                limit,
                value,
                now_ns: 0,
                config_version: 2,
            })
            .collect();
    let mut at_once = rig.recovered();
    at_once.apply_limits(50, &limits).unwrap();
    limits.iter().for_each(|limit| rig.write(Record::Limit(*limit)));
    assert_eq!(at_once.state_hash(), rig.gate.state_hash());
    assert_eq!(at_once.limit(Scope::Strategy, BOB, LimitId::MaxOpenOrders), Some(6));
}
