use ringfence_store::{Attempt, By, Engine, Hold, State, Step, StoreError};

use super::{LEASE, NOON, claim, events, id, ids, open, state, submit};

pub fn the_oldest_first_and_nothing_twice(engine: &Engine) {
    let store = open(engine);
    assert_eq!(claim(&*store, "w", 5, NOON), []);
    let places = submit(&*store, 0..7);
    assert_eq!(claim(&*store, "w", 0, NOON), []);
    let first = claim(&*store, "one", 3, NOON);
    assert_eq!(ids(&first), [id(0), id(1), id(2)]);
    assert_eq!(first.iter().map(|claim| claim.seq).collect::<Vec<_>>(), places[..3]);
    assert!(first.iter().all(|claim| claim.attempt == 1));
    let second = claim(&*store, "two", 100, NOON);
    assert_eq!(ids(&second), [id(3), id(4), id(5), id(6)]);
    assert_eq!(claim(&*store, "three", 5, NOON + LEASE - 1), []);
    assert_eq!(store.get(&id(1)).unwrap().unwrap().worker.as_deref(), Some("one"));
}

pub fn an_expired_claim_goes_back_to_the_head(engine: &Engine) {
    let store = open(engine);
    submit(&*store, 0..4);
    let lost = claim(&*store, "dies", 2, NOON);
    let later = NOON + LEASE;
    let again = claim(&*store, "lives", 3, later);
    assert_eq!(ids(&again), [id(0), id(1), id(2)]);
    assert_eq!((again[0].attempt, again[2].attempt), (2, 1));
    assert!(again[0].hold.token > lost[0].hold.token.max(lost[1].hold.token));
    let error = store.renew(&lost[0].hold, LEASE, later).unwrap_err();
    assert!(matches!(error, StoreError::Stale(_)), "{error}");
    // Through the queue, as everybody can read.
    let of: Vec<State> =
        events(&*store).into_iter().filter(|e| e.strategy_id == id(0)).map(|e| e.to).collect();
    assert_eq!(of, [State::Submitted, State::Processing, State::Submitted, State::Processing]);
}

pub fn a_stale_token_is_refused_for_every_effect(engine: &Engine) {
    let store = open(engine);
    submit(&*store, 0..1);
    let old = claim(&*store, "old", 1, NOON).remove(0).hold;
    // Expired, but nobody else has it: it is held still.
    store.renew(&old, LEASE, NOON + 2 * LEASE).unwrap();
    let now = NOON + 4 * LEASE;
    let new = claim(&*store, "new", 1, now).remove(0).hold;
    let guessed = Hold { token: new.token + 1, ..new.clone() };
    for stale in [&old, &guessed] {
        let refused = [
            store.renew(stale, LEASE, now).unwrap_err(),
            store.give_back(stale, Attempt::Counted, now, "mine", now).unwrap_err(),
            store.advance(By::Holder(stale), &[Step::mapped("{}")], now).unwrap_err(),
            store.advance(By::Holder(stale), &[Step::failed("mine")], now).unwrap_err(),
        ];
        assert!(refused.iter().all(|error| matches!(error, StoreError::Stale(_))), "{refused:?}");
        assert!(refused.iter().all(|error| !error.is_unavailable()));
    }
    store.advance(By::Holder(&new), &[Step::mapped("{\"by\":\"new\"}")], now).unwrap();
    // The claim ended with that, also for its holder.
    assert!(store.advance(By::Holder(&new), &[Step::to(State::Completed)], now).is_err());
    assert_eq!(store.plan(&id(0)).unwrap().as_deref(), Some("{\"by\":\"new\"}"));
    let unknown = Hold { strategy_id: id(9), token: 1 };
    assert!(matches!(store.renew(&unknown, LEASE, now), Err(StoreError::Unknown(_))));
}

pub fn a_renewed_claim_does_not_expire(engine: &Engine) {
    let store = open(engine);
    submit(&*store, 0..1);
    let hold = claim(&*store, "w", 1, NOON).remove(0).hold;
    for minute in 1..5 {
        let now = NOON + minute * (LEASE - 1);
        assert_eq!(claim(&*store, "other", 1, now), []);
        store.renew(&hold, LEASE, now).unwrap();
    }
    store.advance(By::Holder(&hold), &[Step::mapped("{}")], NOON + 6 * LEASE).unwrap();
    assert_eq!(claim(&*store, "other", 1, NOON + 99 * LEASE), []);
}

pub fn what_is_given_back_waits_and_fails_in_the_end(engine: &Engine) {
    let store = open(engine);
    submit(&*store, 0..2);
    let mut now = NOON;
    for attempt in 1..=2 {
        let held = claim(&*store, "w", 1, now).remove(0);
        assert_eq!((held.hold.strategy_id.clone(), held.attempt), (id(0), attempt));
        assert_eq!(
            store.give_back(&held.hold, Attempt::Counted, now + 5000, "away\0", now).unwrap(),
            State::Submitted
        );
        assert_eq!(store.get(&id(0)).unwrap().unwrap().error.as_deref(), Some("away"));
        now += 5000;
        let others = claim(&*store, "w", 2, now - 1500);
        assert!(others.iter().all(|claim| claim.hold.strategy_id == id(1)), "{others:?}");
    }
    let held = claim(&*store, "w", 1, now).remove(0);
    assert_eq!(held.attempt, 3);
    assert_eq!(
        store.give_back(&held.hold, Attempt::Counted, now, &"long ".repeat(9999), now).unwrap(),
        State::Failed
    );
    assert_eq!(state(&*store, 0), State::Failed);
    assert!(store.get(&id(0)).unwrap().unwrap().error.unwrap().len() <= ringfence_store::MAX_ERROR_BYTES);
    assert_eq!(claim(&*store, "w", 2, now), []);
}

pub fn what_waits_for_somebody_else_is_tried_for_ever(engine: &Engine) {
    let store = open(engine);
    submit(&*store, 0..1);
    for _ in 0..20 {
        let held = claim(&*store, "w", 1, NOON).remove(0);
        assert_eq!(held.attempt, 1);
        let state = store.give_back(&held.hold, Attempt::Excused, NOON, "the graph is away", NOON).unwrap();
        assert_eq!(state, State::Submitted);
    }
}

pub fn a_strategy_that_kills_its_workers_fails(engine: &Engine) {
    let store = open(engine);
    submit(&*store, 0..1);
    for attempt in 0..3 {
        assert_eq!(claim(&*store, "victim", 1, NOON + attempt * LEASE).len(), 1);
    }
    assert_eq!(claim(&*store, "victim", 1, NOON + 3 * LEASE), []);
    assert_eq!(state(&*store, 0), State::Failed);
    let said = store.get(&id(0)).unwrap().unwrap().error.unwrap();
    assert!(said.contains("worker `victim` expired in attempt 3 of 3"), "{said}");
}
