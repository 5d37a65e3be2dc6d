use ringfence_store::{Depth, Engine, Filter, Retention, State};

use super::{NOON, REFUSE, TTL, claim, draft, draft_with_key, events, id, open, submit};

pub fn lists_filters_depth_and_reopening(engine: &Engine) {
    let store = open(engine);
    assert_eq!(store.depth().unwrap(), Depth::default());
    submit(&*store, 0..9);
    claim(&*store, "w", 2, NOON);
    store.delete(&id(8), NOON).unwrap();
    let expected = Depth { queued: 6, processing: 2, oldest_ms: Some(NOON) };
    assert_eq!(store.depth().unwrap(), expected);
    drop(store);

    let store = open(engine);
    assert_eq!(store.depth().unwrap(), expected);
    let names = |after, most, state, user: Option<&str>| -> Vec<String> {
        let filter = Filter { state, submitted_by: user.map(str::to_owned) };
        store.list(after, most, &filter).unwrap().into_iter().map(|found| found.strategy_id).collect()
    };
    assert_eq!(names(0, 1000, None, None), (0..9).map(id).collect::<Vec<_>>());
    let third = store.get(&id(2)).unwrap().unwrap().seq;
    assert_eq!(names(third, 2, None, None), [id(3), id(4)]);
    assert_eq!(names(0, 9, Some(State::Processing), None), [id(0), id(1)]);
    assert_eq!(names(0, 9, None, Some("user-1")), [id(1), id(4), id(7)]);
    assert_eq!(names(0, 9, Some(State::Submitted), Some("user-2")), [id(2), id(5)]);
    assert_eq!(names(0, 9, Some(State::Completed), None), [] as [String; 0]);
    assert_eq!(names(u64::MAX, 9, None, None), [] as [String; 0]);
    assert_eq!(store.events(u64::MAX, 9).unwrap(), []);
}

pub fn retention_is_bounded_by_age_and_count_in_small_pieces(engine: &Engine) {
    let store = open(engine);
    submit(&*store, 0..600);
    for number in 0..590 {
        store.delete(&id(number), NOON + u64::from(number)).unwrap();
    }
    let keep = Retention {
        ended_ms: TTL,
        ended_count: 300,
        events_ms: TTL,
        events_count: 100_000,
        duplicate_ttl_ms: TTL,
    };
    let first = store.prune(&keep, NOON + 1000).unwrap();
    assert!((1..290).contains(&first.strategies), "{first:?}");
    while !store.prune(&keep, NOON + 1000).unwrap().is_nothing() {}
    let left = |state| store.list(0, 1000, &Filter { state, submitted_by: None }).unwrap().len();
    assert_eq!((left(Some(State::Deleted)), left(Some(State::Submitted))), (300, 10));
    // The oldest went; the live ones stay whatever their age.
    assert_eq!(store.get(&id(289)).unwrap(), None);
    assert!(store.get(&id(290)).unwrap().is_some());
    assert_eq!(events(&*store).len(), 1190);
    let keep = Retention { events_count: 50, ..keep };
    while !store.prune(&keep, NOON + 500 + TTL).unwrap().is_nothing() {}
    assert_eq!(left(Some(State::Deleted)), 90);
    let newest = store.events(0, 1000).unwrap();
    assert!(newest.len() <= 50, "{}", newest.len());
    while !store.prune(&keep, NOON + 1000 + 2 * TTL).unwrap().is_nothing() {}
    assert_eq!((left(None), store.events(0, 9).unwrap().len()), (10, 0));
    // Keys of living strategies went with their time, and numbers are never given twice.
    let again = draft_with_key(700, 599);
    let seq = super::seq(&store.submit(&[again], REFUSE).unwrap()[0]);
    assert!(seq > store.get(&id(599)).unwrap().unwrap().seq);
    assert!(store.events(0, 9).unwrap()[0].seq > 1190);
    super::seq(&store.submit(&[draft(1)], REFUSE).unwrap()[0]);
}
