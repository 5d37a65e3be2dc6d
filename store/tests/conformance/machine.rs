use ringfence_store::{By, Engine, State, Step, StoreError};

use super::{LEASE, NOON, REFUSE, claim, draft_with_key, events, id, open, seq, state, submit};

pub fn every_move_is_an_event_and_only_legal_ones_are_made(engine: &Engine) {
    let store = open(engine);
    submit(&*store, 0..2);
    let other = By::Other(&id(0));
    let illegal = |error: StoreError| assert!(matches!(error, StoreError::Illegal { .. }), "{error}");
    illegal(store.advance(other, &[Step::mapped("{}")], NOON).unwrap_err());
    let hold = claim(&*store, "w", 1, NOON).remove(0).hold;
    let held = store.advance(other, &[Step::mapped("{}")], NOON).unwrap_err();
    assert!(matches!(held, StoreError::Held(_)), "{held}");
    illegal(store.advance(By::Holder(&hold), &[Step::to(State::Completed)], NOON).unwrap_err());
    let half = [Step::mapped("{\"half\":1}"), Step::to(State::Processing)];
    illegal(store.advance(By::Holder(&hold), &half, NOON).unwrap_err());
    assert_eq!((state(&*store, 0), store.plan(&id(0)).unwrap()), (State::Processing, None));
    let plan = r#"{"new_nodes":["n"],"reuse_nodes":[],"queue_mappings":{"n":"t"},"execution_plan":["n"]}"#;
    let told = Step { detail: "{\"nodes\":1}", ..Step::mapped(plan) };
    store.advance(By::Holder(&hold), &[told], NOON + 1).unwrap();
    assert_eq!(store.plan(&id(0)).unwrap().as_deref(), Some(plan));
    store.advance(other, &[Step::to(State::Executing)], NOON + 2).unwrap();
    illegal(store.advance(other, &[Step::mapped("{}")], NOON).unwrap_err());
    store.advance(other, &[Step::to(State::Completed)], NOON + 3).unwrap();
    illegal(store.advance(other, &[Step::failed("late")], NOON).unwrap_err());
    // The other one in one piece.
    let hold = claim(&*store, "w", 1, NOON).remove(0).hold;
    let both = [Step::mapped("{}"), Step::to(State::Completed)];
    store.advance(By::Holder(&hold), &both, NOON + 4).unwrap();

    let found = events(&*store);
    let of = |number| found.iter().filter(move |event| event.strategy_id == id(number));
    let path: Vec<State> = of(0).map(|event| event.to).collect();
    use State::{Completed, Executing, Mapped, Processing, Submitted};
    assert_eq!(path, [Submitted, Processing, Mapped, Executing, Completed]);
    assert_eq!(of(0).map(|event| event.at_ms).collect::<Vec<_>>()[2..], [NOON + 1, NOON + 2, NOON + 3]);
    assert_eq!(of(0).nth(2).unwrap().detail, "{\"nodes\":1}");
    assert!(of(0).nth(1).unwrap().detail.contains("\"worker\":\"w\""));
    assert_eq!(of(1).map(|event| event.to).collect::<Vec<_>>(), [Submitted, Processing, Mapped, Completed]);
    assert_eq!(store.events(found[3].seq, 2).unwrap(), found[4..6]);
    for (steps, why) in [(vec![], "none"), (vec![Step::to(Completed); 9], "too many")] {
        assert!(!store.advance(other, &steps, NOON).unwrap_err().is_unavailable(), "{why}");
    }
}

pub fn a_client_reports_and_repeats_itself(engine: &Engine) {
    let store = open(engine);
    submit(&*store, 0..2);
    assert!(store.report(&id(0), State::Executing, None, NOON).is_err());
    for held in claim(&*store, "w", 2, NOON) {
        assert!(matches!(
            store.report(&held.hold.strategy_id, State::Failed, None, NOON),
            Err(StoreError::Held(_))
        ));
        store.advance(By::Holder(&held.hold), &[Step::mapped("{}")], NOON).unwrap();
    }
    assert!(store.report(&id(0), State::Executing, None, NOON).unwrap());
    assert!(!store.report(&id(0), State::Executing, None, NOON).unwrap());
    assert!(store.report(&id(0), State::Failed, Some("division by zero"), NOON).unwrap());
    assert!(!store.report(&id(0), State::Failed, Some("again"), NOON).unwrap());
    assert_eq!(store.get(&id(0)).unwrap().unwrap().error.as_deref(), Some("division by zero"));
    assert!(store.report(&id(0), State::Completed, None, NOON).is_err());
    assert!(store.report(&id(1), State::Completed, None, NOON).unwrap());
    for to in [State::Submitted, State::Processing, State::Mapped, State::Deleted] {
        assert!(store.report(&id(1), to, None, NOON).is_err(), "{to}");
    }
    assert!(matches!(store.report(&id(9), State::Completed, None, NOON), Err(StoreError::Unknown(_))));
}

pub fn deletion_ends_everything_and_disarms_the_holder(engine: &Engine) {
    let store = open(engine);
    submit(&*store, 0..3);
    assert!(store.delete(&id(0), NOON).unwrap());
    assert!(!store.delete(&id(0), NOON).unwrap());
    let held = claim(&*store, "w", 1, NOON).remove(0).hold;
    assert_eq!(held.strategy_id, id(1));
    assert!(store.delete(&id(1), NOON).unwrap());
    assert!(matches!(store.renew(&held, LEASE, NOON), Err(StoreError::Stale(_))));
    assert!(matches!(
        store.advance(By::Holder(&held), &[Step::mapped("{}")], NOON),
        Err(StoreError::Stale(_))
    ));
    assert_eq!(state(&*store, 1), State::Deleted);
    seq(&store.submit(&[draft_with_key(10, 1)], REFUSE).unwrap()[0]);
    assert_eq!(super::ids(&claim(&*store, "w", 9, NOON + LEASE)), [id(2), id(10)]);
}
