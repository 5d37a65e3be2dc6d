//! StormGuard: each input at exactly its threshold, hysteresis, what each state lets pass, HALT and re-arming.

use ringfence_ipc::handshake::ControlRefusal;
use ringfence_ipc::journal::{ControlKind, ControlRecord, Note};
use ringfence_ipc::msg::{Intent, IntentKind, Side};
use ringfence_ipc::reason::{CancelCause, LimitId, Mode, Reason, Scope, StormCause, StormState};

use super::super::{Replayer, StormInputs};
use super::*;

const CAPITAL_E8: i64 = 1_000_000 * 100_000_000;
const MS: u64 = 1_000_000;

/// Every input with thresholds 10, 20, 30 in its limit's unit.
fn guarded() -> Rig {
    let mut limits = vec![
        (Scope::Global, 0, LimitId::StormCapitalE8, CAPITAL_E8),
        (Scope::Global, 0, LimitId::StormClearChecks, 3),
        (Scope::Global, 0, LimitId::StormCooldownNs, 1_000),
    ];
    for (_, inputs) in super::super::STORM_THRESHOLDS {
        for (limit, value) in inputs.into_iter().zip([10, 20, 30]) {
            limits.push((Scope::Global, 0, limit, value));
        }
    }
    Rig::with(CAP, &limits)
}

/// A quiet world, at which the rig's clock stands.
fn quiet(rig: &Rig) -> StormInputs {
    StormInputs { now_ns: rig.now_ns, pnl_e8: Some(0), ..StormInputs::default() }
}

/// One check; the record that it led to is journalled and applied.
fn check(rig: &mut Rig, inputs: StormInputs) -> Option<ControlKind> {
    let record = rig.gate.check_storm(&inputs)?;
    rig.write(Record::Control(record));
    Some(record.control)
}

/// Inputs of which `cause`'s has the value `observed`.
fn with(rig: &Rig, cause: StormCause, observed: u64) -> StormInputs {
    let calm = quiet(rig);
    let lost_e8 = -(observed as i64) * CAPITAL_E8 / 10_000;
    match cause {
        StormCause::Drawdown => StormInputs { pnl_e8: Some(lost_e8), ..calm },
        StormCause::FeedGap => StormInputs { feed_gap_ns: observed, ..calm },
        StormCause::RoundTrip => StormInputs { round_trip_ns: observed, ..calm },
        StormCause::CrossedBook => StormInputs { crossed_ns: observed, ..calm },
        StormCause::Rejects => StormInputs { rejects: observed, ..calm },
        StormCause::QueueFull => StormInputs { full_checks: observed, ..calm },
        other => panic!("{other} is no input"),
    }
}

fn act(rig: &mut Rig, control: ControlKind, note: &str) -> Result<(), ControlRefusal> {
    act_on(rig, Scope::Global, 0, control, note)
}

/// As the reactor does it: admitted, journalled, applied.
fn act_on(
    rig: &mut Rig,
    scope: Scope,
    scope_id: u16,
    control: ControlKind,
    note: &str,
) -> Result<(), ControlRefusal> {
    let own = ControlRecord::own(control, rig.now_ns);
    let record = ControlRecord { scope, scope_id, client: 5, note: Note::new(note).unwrap(), ..own };
    rig.gate.admit_control(&record)?;
    rig.write(Record::Control(record));
    Ok(())
}

fn halt(rig: &mut Rig) {
    let control = ControlKind::Storm {
        state: StormState::Halt,
        cause: StormCause::Operator,
        observed: 0,
        threshold: 0,
    };
    act(rig, control, "").unwrap();
}

#[test]
fn every_input_escalates_exactly_at_its_threshold() {
    for (cause, _) in super::super::STORM_THRESHOLDS {
        for (state, threshold) in [(StormState::Warm, 10), (StormState::Storm, 20), (StormState::Halt, 30)] {
            let mut rig = guarded();
            let below = with(&rig, cause, threshold - 1);
            check(&mut rig, below);
            assert!(rig.gate.storm().state < state, "{cause} {threshold}");
            let at = with(&rig, cause, threshold);
            let observed = threshold as i64;
            let expected = ControlKind::Storm { state, cause, observed, threshold: observed };
            assert_eq!(check(&mut rig, at), Some(expected));
            let storm = rig.gate.storm();
            assert_eq!((storm.state, storm.cause, storm.since_ns), (state, cause, rig.now_ns));
        }
    }
}

#[test]
fn one_bad_look_is_enough_for_any_number_of_states() {
    let mut rig = guarded();
    let worst = with(&rig, StormCause::Rejects, 99);
    check(&mut rig, worst);
    assert_eq!(rig.gate.storm().state, StormState::Halt);
}

#[test]
fn the_worst_input_names_the_cause() {
    let mut rig = guarded();
    let both = StormInputs { rejects: 25, ..with(&rig, StormCause::FeedGap, 15) };
    check(&mut rig, both);
    assert_eq!(rig.gate.storm().cause, StormCause::Rejects);
}

#[test]
fn it_steps_down_one_state_at_a_time_after_clear_checks_and_a_cooldown() {
    let mut rig = guarded();
    let rough = with(&rig, StormCause::RoundTrip, 20);
    check(&mut rig, rough);
    rig.now_ns += 1_000;
    let calm = |rig: &mut Rig| {
        let inputs = quiet(rig);
        check(rig, inputs)
    };
    assert_eq!((calm(&mut rig), calm(&mut rig)), (None, None), "three in a row are wanted");
    check(&mut rig, StormInputs { round_trip_ns: 20, ..rough });
    assert_eq!(
        (calm(&mut rig), calm(&mut rig)),
        (None, None),
        "the rough one in between starts the count again"
    );
    calm(&mut rig);
    assert_eq!((rig.gate.storm().state, rig.gate.storm().cause), (StormState::Warm, StormCause::Calm));
    // Clear, but not for long enough in WARM.
    for _ in 0..10 {
        assert_eq!(calm(&mut rig), None);
    }
    rig.now_ns += 999;
    assert_eq!(calm(&mut rig), None);
    rig.now_ns += 1;
    assert!(calm(&mut rig).is_some());
    assert_eq!(rig.gate.storm().state, StormState::Normal);
    assert_eq!(calm(&mut rig), None);
}

#[test]
fn it_does_not_step_below_what_an_input_still_asks_for() {
    let mut rig = guarded();
    let rough = with(&rig, StormCause::FeedGap, 20);
    check(&mut rig, rough);
    rig.now_ns += 10_000;
    for _ in 0..3 {
        let warm = with(&rig, StormCause::FeedGap, 10);
        check(&mut rig, warm);
    }
    assert_eq!(rig.gate.storm().state, StormState::Warm);
    rig.now_ns += 10_000;
    for _ in 0..10 {
        let warm = with(&rig, StormCause::FeedGap, 10);
        assert_eq!(check(&mut rig, warm), None);
    }
}

#[test]
fn storm_lets_pass_what_reduces_risk_and_no_price_check_stops_a_force_flat() {
    let mut rig = guarded();
    rig.limit(Scope::Global, 0, LimitId::PriceCollarBps, 1);
    rig.limit(Scope::Global, 0, LimitId::ReferenceMaxAgeNs, 1);
    rig.quote(BTC, 99, 101);
    let held = rig.enter(ALICE, BTC, Side::Buy, 100, 5);
    rig.fill(held, 3, 100);
    let rough = with(&rig, StormCause::CrossedBook, 20);
    check(&mut rig, rough);
    assert_eq!(rig.gate.storm().state, StormState::Storm);
    assert_eq!(rig.try_order(BOB, BTC, Side::Buy, 100, 1).reason, Reason::StormCancelOnly);
    let amend = Intent { ttl_ns_or_target: held, ..rig.limit_order(BTC, Side::Buy, 100, 9) };
    assert_eq!(rig.submit(ALICE, &with_kind(amend, IntentKind::Amend)).reason, Reason::StormCancelOnly);
    // Stale and crossed: what would refuse any order.
    rig.now_ns += 5_000 * MS;
    rig.quote(BTC, 101, 99);
    let flat = with_kind(rig.limit_order(BTC, Side::Buy, 0, 0), IntentKind::ForceFlat);
    assert_eq!(rig.submit(ALICE, &flat).reason, Reason::Ok);
    assert_eq!(rig.commands.last().map(|c| (c.side, c.qty)), Some((Side::Sell, 3)));
    let cancel = Intent::cancel(BTC, held, rig.key(), rig.now_ns);
    assert_eq!(rig.submit(ALICE, &cancel).reason, Reason::Ok);
}

#[test]
fn warm_warns_and_lets_everything_pass() {
    let mut rig = guarded();
    let inputs = with(&rig, StormCause::Drawdown, 10);
    check(&mut rig, inputs);
    assert_eq!(rig.gate.storm().state, StormState::Warm);
    rig.enter(ALICE, BTC, Side::Buy, 100, 1);
}

#[test]
fn halt_lets_only_cancels_and_an_operators_force_flat_pass() {
    let mut rig = guarded();
    let held = rig.enter(ALICE, BTC, Side::Buy, 100, 5);
    rig.fill(held, 3, 100);
    halt(&mut rig);
    assert_eq!(rig.try_order(ALICE, BTC, Side::Buy, 100, 1).reason, Reason::Halted);
    let flat = with_kind(rig.limit_order(BTC, Side::Buy, 0, 0), IntentKind::ForceFlat);
    assert_eq!(rig.submit(ALICE, &flat).reason, Reason::Halted);
    assert_eq!(rig.operate(ALICE, 0, flat).reason, Reason::Ok);
    let all = with_kind(rig.limit_order(BTC, Side::Buy, 0, 0), IntentKind::MassCancel);
    assert_eq!(rig.submit(ALICE, &all).reason, Reason::Ok);
}

#[test]
fn halt_stays_through_calm_and_restarts_until_it_is_rearmed_with_a_reason() {
    let mut rig = guarded();
    let ruin = with(&rig, StormCause::Drawdown, 30);
    check(&mut rig, ruin);
    assert_eq!(rig.gate.storm().state, StormState::Halt);
    rig.now_ns += 3_600_000 * MS;
    for _ in 0..100 {
        let calm = quiet(&rig);
        assert_eq!(check(&mut rig, calm), None);
    }
    rig.gate = rig.recovered();
    assert_eq!(rig.gate.storm().state, StormState::Halt);
    assert_eq!(rig.try_order(ALICE, BTC, Side::Buy, 100, 1).reason, Reason::Halted);

    let lost_e8 = ruin.pnl_e8.unwrap();
    let rearm = ControlKind::Rearm { pnl_e8: lost_e8 };
    for blank in ["", "   "] {
        assert_eq!(act(&mut rig, rearm, blank), Err(ControlRefusal::NoteRequired));
    }
    assert_eq!(
        act(&mut rig, ControlKind::SetMode(Mode::AllowAll), "a mode is no re-arm"),
        Ok(()),
        "the mode was never in the way"
    );
    assert_eq!(rig.gate.storm().state, StormState::Halt);
    assert_eq!(act(&mut rig, rearm, "loss booked, desk agrees"), Ok(()));
    assert_eq!((rig.gate.storm().state, rig.gate.storm().pnl_peak_e8), (StormState::Normal, lost_e8));
    // The same loss is accepted now; another one of that size is not.
    assert_eq!(check(&mut rig, ruin), None);
    let again = StormInputs { pnl_e8: Some(2 * lost_e8), ..ruin };
    check(&mut rig, again);
    assert_eq!(rig.gate.storm().state, StormState::Halt);
    assert_eq!(act(&mut rig, rearm, "x"), Ok(()));
    assert_eq!(act(&mut rig, rearm, "x"), Err(ControlRefusal::NothingToRearm));
}

#[test]
fn a_kill_ends_with_a_rearm_and_with_nothing_else() {
    let mut rig = guarded();
    for (scope, id) in [(Scope::Global, 0), (Scope::Strategy, ALICE)] {
        act_on(&mut rig, scope, id, ControlKind::SetMode(Mode::Killed), "").unwrap();
        for mode in [Mode::AllowAll, Mode::CancelOnly, Mode::RejectAll] {
            let refused = act_on(&mut rig, scope, id, ControlKind::SetMode(mode), "please");
            assert_eq!(refused, Err(ControlRefusal::Killed));
        }
        assert_eq!(rig.try_order(ALICE, BTC, Side::Buy, 100, 1).reason, Reason::Killed);
        let rearm = ControlKind::Rearm { pnl_e8: 0 };
        assert_eq!(act_on(&mut rig, scope, id, rearm, ""), Err(ControlRefusal::NoteRequired));
        act_on(&mut rig, scope, id, rearm, "checked").unwrap();
        rig.enter(ALICE, BTC, Side::Buy, 100, 1);
    }
}

#[test]
fn acts_on_what_does_not_exist_are_refused() {
    let mut rig = guarded();
    let cancel = |symbol| ControlKind::CancelOrders { symbol, cause: CancelCause::Operator };
    let mode = ControlKind::SetMode(Mode::CancelOnly);
    for (scope, id, control) in [
        (Scope::Strategy, 3, mode),
        (Scope::Strategy, u16::MAX, mode),
        (Scope::Global, 1, mode),
        (Scope::Account, 0, mode),
        (Scope::Symbol, BTC, mode),
        (Scope::Symbol, BTC, cancel(None)),
        (Scope::Account, 3, cancel(None)),
        (Scope::Global, 0, cancel(Some(3))),
        (Scope::Strategy, 3, cancel(None)),
    ] {
        assert_eq!(
            act_on(&mut rig, scope, id, control, "x"),
            Err(ControlRefusal::UnknownScope),
            "{scope} {id}"
        );
    }
}

#[test]
fn a_mass_cancel_reaches_exactly_its_scope() {
    use Scope as S;
    let cases = [
        (S::Global, 0, None, [true, true, true, true]),
        (S::Global, 0, Some(BTC), [true, false, true, false]),
        (S::Account, 1, None, [false, false, true, true]),
        (S::Strategy, ALICE, None, [true, true, false, false]),
        (S::Strategy, BOB, Some(ETH), [false, false, false, true]),
    ];
    for (scope, id, symbol, reached) in cases {
        let mut rig = guarded();
        let orders = [(ALICE, BTC), (ALICE, ETH), (BOB, BTC), (BOB, ETH)]
            .map(|(strategy, symbol)| rig.enter(strategy, symbol, Side::Buy, 100, 1));
        act(&mut rig, ControlKind::SetMode(Mode::RejectAll), "").unwrap();
        let expected: Vec<_> =
            orders.iter().zip(reached).filter(|(_, reached)| *reached).map(|(id, _)| *id).collect();
        assert_eq!(rig.gate.open_orders_in(scope, id, symbol), expected.len());
        let control = ControlKind::CancelOrders { symbol, cause: CancelCause::Operator };
        act_on(&mut rig, scope, id, control, "").unwrap();
        let now_ns = rig.now_ns;
        let sent: Vec<_> =
            std::iter::from_fn(|| rig.gate.next_mass_cancel(now_ns)).map(|c| c.order_id).collect();
        assert_eq!(sent, expected, "{scope} {id} {symbol:?}");
        assert_eq!(rig.recovered().state_hash(), rig.gate.state_hash());
    }
}

#[test]
fn the_pnl_peak_is_journalled_in_steps_and_survives_a_restart() {
    let mut rig = guarded();
    let bps_e8 = CAPITAL_E8 / 10_000;
    let at = |rig: &Rig, pnl_e8| StormInputs { pnl_e8: Some(pnl_e8), ..quiet(rig) };
    let inputs = at(&rig, bps_e8 - 1);
    assert_eq!(check(&mut rig, inputs), None);
    let inputs = at(&rig, 50 * bps_e8);
    assert_eq!(check(&mut rig, inputs), Some(ControlKind::PnlPeak { pnl_e8: 50 * bps_e8 }));
    rig.gate = rig.recovered();
    let inputs = at(&rig, 30 * bps_e8);
    check(&mut rig, inputs);
    assert_eq!(rig.gate.storm().state, StormState::Storm, "20 bps below the peak of the last life");
}

#[test]
fn without_thresholds_nothing_is_looked_at() {
    let rig = Rig::new();
    assert_eq!(rig.gate.storm_interval_ns(), None);
    assert_eq!(guarded().gate.storm_interval_ns(), Some(10 * MS));
    let mut rig = Rig::new();
    let rough = StormInputs { rejects: u64::MAX, feed_gap_ns: u64::MAX, ..quiet(&rig) };
    assert_eq!(check(&mut rig, rough), None);
}

#[test]
fn replay_goes_through_the_same_states_to_the_same_hash() {
    let mut rig = guarded();
    rig.quote(BTC, 99, 101);
    let mut dice = 7u64;
    for step in 0..400u64 {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        rig.now_ns += dice >> 54;
        rig.try_order(if step % 3 == 0 { BOB } else { ALICE }, BTC, Side::Buy, 100, 1);
        let causes = super::super::STORM_THRESHOLDS;
        let cause = causes[(dice >> 40) as usize % causes.len()].0;
        let inputs = with(&rig, cause, (dice >> 20) % 33);
        check(&mut rig, inputs);
        if rig.gate.storm().state == StormState::Halt && dice.is_multiple_of(3) {
            act(&mut rig, ControlKind::Rearm { pnl_e8: -5 }, "go on").unwrap();
        }
        if dice.is_multiple_of(17) {
            act(&mut rig, ControlKind::SetMode(Mode::Killed), "").unwrap();
            let cancel = ControlKind::CancelOrders { symbol: None, cause: CancelCause::Kill };
            act(&mut rig, cancel, "").unwrap();
            act(&mut rig, ControlKind::Rearm { pnl_e8: 5 }, "go on").unwrap();
        }
    }
    let state_hash = rig.gate.state_hash();
    assert_eq!(rig.recovered().state_hash(), state_hash);
    let report = Replayer::new(CAP).run(rig.journal.iter().copied()).unwrap();
    assert_eq!((report.mismatches, report.state_hash), (0, state_hash), "{:?}", report.first);
    let states = rig.journal.iter().filter(|(_, record)| {
        matches!(record, Record::Control(ControlRecord { control: ControlKind::Storm { .. }, .. }))
    });
    assert!(states.count() > 20, "too little happened");
}
