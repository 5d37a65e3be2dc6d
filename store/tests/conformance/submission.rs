use ringfence_store::{
    Admission, Draft, Duplicates, Engine, MAX_BATCH_DRAFTS, MAX_DRAFT_BYTES, OnDuplicate, State, Step,
};

use super::{NOON, REFUSE, TTL, claim, draft, draft_with_key, events, id, open, seq, state, submit};

pub fn numbers_ascend_and_a_repeated_submission_is_the_same_one(engine: &Engine) {
    let store = open(engine);
    store.migrate().unwrap();
    store.ping().unwrap();
    let first = submit(&*store, 0..5);
    let second = submit(&*store, 5..7);
    let all: Vec<u64> = first.iter().chain(&second).copied().collect();
    assert!(all.is_sorted_by(|a, b| a < b), "{all:?}");
    // Whoever heard no answer asks again, with what came since.
    assert_eq!(submit(&*store, 5..7), second);
    let mixed = store.submit(&[draft(6), draft(7)], REFUSE).unwrap();
    assert_eq!(seq(&mixed[0]), second[1]);
    assert!(seq(&mixed[1]) > second[1]);
    assert_eq!(store.submit(&[], REFUSE).unwrap(), []);
    assert_eq!(events(&*store).len(), 8);
}

pub fn duplicates_are_seen_in_the_batch_and_in_the_store(engine: &Engine) {
    let store = open(engine);
    let batch = [draft_with_key(1, 9), draft_with_key(2, 8), draft_with_key(3, 9)];
    let admitted = store.submit(&batch, REFUSE).unwrap();
    seq(&admitted[0]);
    seq(&admitted[1]);
    assert_eq!(admitted[2], Admission::Duplicate { strategy_id: id(1) });
    let later = store.submit(&[draft_with_key(4, 8), draft(5)], REFUSE).unwrap();
    assert_eq!(later[0], Admission::Duplicate { strategy_id: id(2) });
    seq(&later[1]);
    assert_eq!(store.get(&id(3)).unwrap(), None);
    assert_eq!(store.status(&id(4)).unwrap(), None);
    assert_eq!(super::ids(&claim(&*store, "w", 9, NOON)), [id(1), id(2), id(5)]);
}

pub fn a_key_is_free_after_its_time_after_failure_and_after_deletion(engine: &Engine) {
    let store = open(engine);
    let submitted = |number: u32, at_ms: u64| {
        let draft = Draft { at_ms, ..draft_with_key(number, 1) };
        store.submit(&[draft], REFUSE).unwrap().remove(0)
    };
    seq(&submitted(1, NOON));
    assert_eq!(submitted(2, NOON + TTL - 1), Admission::Duplicate { strategy_id: id(1) });
    // The time of the first is over; the later one holds the key now, and the first one's end does not free it.
    seq(&submitted(3, NOON + TTL));
    assert!(store.delete(&id(1), NOON + TTL).unwrap());
    assert_eq!(submitted(4, NOON + TTL), Admission::Duplicate { strategy_id: id(3) });
    assert!(store.delete(&id(3), NOON + TTL).unwrap());
    seq(&submitted(5, NOON + TTL));
    let held = claim(&*store, "w", 1, NOON + TTL).remove(0);
    store.advance(ringfence_store::By::Holder(&held.hold), &[Step::failed("broken")], NOON + TTL).unwrap();
    seq(&submitted(6, NOON + TTL));
    let held = claim(&*store, "w", 1, NOON + TTL).remove(0);
    let done = [Step::mapped("{}"), Step::to(State::Completed)];
    store.advance(ringfence_store::By::Holder(&held.hold), &done, NOON + TTL).unwrap();
    assert_eq!(submitted(7, NOON + TTL), Admission::Duplicate { strategy_id: id(6) });
}

pub fn a_duplicate_whose_client_was_told_yes_is_kept_as_failed(engine: &Engine) {
    let store = open(engine);
    let keep = Duplicates { ttl_ms: TTL, then: OnDuplicate::KeepAsFailed };
    let batch = [draft_with_key(1, 1), draft_with_key(2, 1), draft(3)];
    let admitted = store.submit(&batch, keep).unwrap();
    assert_eq!(admitted[1], Admission::Duplicate { strategy_id: id(1) });
    assert_eq!(state(&*store, 2), State::Failed);
    let said = store.get(&id(2)).unwrap().unwrap().error.unwrap();
    assert_eq!(said, format!("duplicate of {}", id(1)));
    // Handed over once more, after an answer that nobody heard.
    store.submit(&batch, keep).unwrap();
    assert_eq!(events(&*store).len(), 4);
    assert_eq!(super::ids(&claim(&*store, "w", 9, NOON)), [id(1), id(3)]);
    // Its end was not the end of the first one's key.
    assert_eq!(
        store.submit(&[draft_with_key(4, 1)], REFUSE).unwrap(),
        [Admission::Duplicate { strategy_id: id(1) }]
    );
}

pub fn what_is_refused_leaves_nothing(engine: &Engine) {
    let store = open(engine);
    let good = draft(1);
    let bad = [
        Draft { strategy_id: String::new(), ..draft(2) },
        Draft { strategy_id: "a b".to_owned(), ..draft(2) },
        Draft { strategy_id: "../x".to_owned(), ..draft(2) },
        Draft { strategy_id: "x".repeat(65), ..draft(2) },
        Draft { dag: "x".repeat(MAX_DRAFT_BYTES + 1), ..draft(2) },
        Draft { dag: "\0".to_owned(), ..draft(2) },
        Draft { meta: "\0".to_owned(), ..draft(2) },
        Draft { submitted_by: "x".repeat(257), ..draft(2) },
        Draft { worlds: vec![String::new(); 257], ..draft(2) },
    ];
    for bad in bad {
        let error = store.submit(&[good.clone(), bad], REFUSE).unwrap_err();
        assert!(!error.is_unavailable(), "{error}");
    }
    let many: Vec<Draft> = (0..=MAX_BATCH_DRAFTS as u32).map(draft).collect();
    assert!(!store.submit(&many, REFUSE).unwrap_err().is_unavailable());
    assert_eq!(store.list(0, 10, &Default::default()).unwrap(), []);
    assert_eq!(events(&*store), []);
    assert!(!store.claim(&"w".repeat(300), 1, 1, NOON).unwrap_err().is_unavailable());
    assert!(!store.delete("no such", NOON).unwrap_err().is_unavailable());
    assert!(!store.delete("no-such", NOON).unwrap_err().is_unavailable());
}

pub fn everything_comes_back_as_it_was(engine: &Engine) {
    let store = open(engine);
    let odd = Draft {
        dag: "{\"nodes\" : [\"\u{1F980}\\u0000 '; DROP TABLE strategies; --\"] }".to_owned(),
        meta: "null".to_owned(),
        run_type: None,
        worlds: vec!["\"quoted\"".to_owned(), "ü".to_owned(), String::new()],
        sentinel_id: None,
        submitted_by: "o'brien %s $1 ?1".to_owned(),
        ..draft(1)
    };
    let large = Draft { dag: format!("\"{}\"", "x".repeat(3 << 20)), ..draft(2) };
    store.submit(&[odd.clone(), large.clone()], REFUSE).unwrap();
    assert_eq!(store.draft(&id(1)).unwrap(), Some(odd.clone()));
    let claims = claim(&*store, "w", 9, NOON);
    assert_eq!([&claims[0].draft, &claims[1].draft], [&odd, &large]);
    let seen = store.get(&id(1)).unwrap().unwrap();
    assert_eq!((&seen.worlds, seen.run_type, seen.sentinel_id), (&odd.worlds, None, None));
    assert_eq!((seen.submitted_by, seen.submitted_ms), (odd.submitted_by, NOON));
    assert_eq!(store.draft(&id(3)).unwrap(), None);
    assert_eq!(store.get("'").unwrap(), None);
}
