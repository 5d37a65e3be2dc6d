//! The promises of the port, asked of any engine. Each check gets an empty store of its own.

mod claims;
mod crowds;
mod listing;
mod machine;
mod submission;

use std::time::{Duration, Instant};

use ringfence_store::{
    Admission, Claim, Draft, Duplicates, Engine, OnDuplicate, RunType, Settings, State, Store,
};

/// The tests' clock begins here.
pub const NOON: u64 = 1_700_000_000_000;
/// How long a key is held.
pub const TTL: u64 = 86_400_000;
/// How long a claim lasts.
pub const LEASE: u64 = 60_000;
pub const REFUSE: Duplicates = Duplicates { ttl_ms: TTL, then: OnDuplicate::Refuse };

type Check = fn(&Engine);

/// Everything, on engines that `fresh` makes by name.
pub fn all(fresh: &dyn Fn(&str) -> Engine) {
    let checks: [(&str, Check); 19] = [
        ("order", submission::numbers_ascend_and_a_repeated_submission_is_the_same_one),
        ("duplicates", submission::duplicates_are_seen_in_the_batch_and_in_the_store),
        ("ttl", submission::a_key_is_free_after_its_time_after_failure_and_after_deletion),
        ("kept", submission::a_duplicate_whose_client_was_told_yes_is_kept_as_failed),
        ("refusals", submission::what_is_refused_leaves_nothing),
        ("content", submission::everything_comes_back_as_it_was),
        ("oldest", claims::the_oldest_first_and_nothing_twice),
        ("expiry", claims::an_expired_claim_goes_back_to_the_head),
        ("stale", claims::a_stale_token_is_refused_for_every_effect),
        ("renewal", claims::a_renewed_claim_does_not_expire),
        ("back_off", claims::what_is_given_back_waits_and_fails_in_the_end),
        ("excused", claims::what_waits_for_somebody_else_is_tried_for_ever),
        ("poison", claims::a_strategy_that_kills_its_workers_fails),
        ("moves", machine::every_move_is_an_event_and_only_legal_ones_are_made),
        ("reports", machine::a_client_reports_and_repeats_itself),
        ("deletion", machine::deletion_ends_everything_and_disarms_the_holder),
        ("lists", listing::lists_filters_depth_and_reopening),
        ("retention", listing::retention_is_bounded_by_age_and_count_in_small_pieces),
        ("crowds", crowds::nothing_is_done_twice_or_lost_and_events_have_one_order),
    ];
    for (name, check) in checks {
        let engine = fresh(name);
        let began = Instant::now();
        check(&engine);
        eprintln!("{} {name}: {:?}", engine.name(), began.elapsed());
    }
}

pub fn open(engine: &Engine) -> Box<dyn Store> {
    engine.open(Settings { most_attempts: 3 }).unwrap()
}

/// A strategy with a key of its own.
pub fn draft(number: u32) -> Draft {
    draft_with_key(number, number)
}

pub fn draft_with_key(number: u32, key: u32) -> Draft {
    let mut duplicate_key = [0xA5; 32];
    duplicate_key[..4].copy_from_slice(&key.to_be_bytes());
    Draft {
        strategy_id: id(number),
        duplicate_key,
        dag: format!("{{\"nodes\":[{number}]}}"),
        meta: "{}".to_owned(),
        run_type: Some(RunType::DryRun),
        worlds: vec!["w-1".to_owned()],
        sentinel_id: Some(format!("sentinel-{number}")),
        submitted_by: format!("user-{}", number % 3),
        at_ms: NOON,
    }
}

pub fn id(number: u32) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

pub fn submit(store: &dyn Store, numbers: std::ops::Range<u32>) -> Vec<u64> {
    let drafts: Vec<Draft> = numbers.map(draft).collect();
    let admitted = store.submit(&drafts, REFUSE).unwrap();
    assert_eq!(admitted.len(), drafts.len());
    admitted.iter().map(seq).collect()
}

pub fn seq(admission: &Admission) -> u64 {
    match admission {
        Admission::Accepted { seq } => *seq,
        other => panic!("not accepted: {other:?}"),
    }
}

pub fn claim(store: &dyn Store, worker: &str, most: usize, now_ms: u64) -> Vec<Claim> {
    store.claim(worker, most, LEASE, now_ms).unwrap()
}

pub fn ids(claims: &[Claim]) -> Vec<String> {
    claims.iter().map(|claim| claim.hold.strategy_id.clone()).collect()
}

/// Where it is; a front may take a few seconds to say the same.
pub fn state(store: &dyn Store, number: u32) -> State {
    let state = store.get(&id(number)).unwrap().unwrap().state;
    let deadline = Instant::now() + Duration::from_secs(10);
    while store.status(&id(number)).unwrap() != Some(state) {
        assert!(Instant::now() < deadline, "its status is another than {state}");
        std::thread::sleep(Duration::from_millis(50));
    }
    state
}

/// All events, and that each begins where the one before it of the same strategy ended.
pub fn events(store: &dyn Store) -> Vec<ringfence_store::Event> {
    let (mut found, mut at) = (Vec::new(), std::collections::HashMap::new());
    loop {
        let after = found.last().map_or(0, |event: &ringfence_store::Event| event.seq);
        let next = store.events(after, 100).unwrap();
        if next.is_empty() {
            return found;
        }
        for event in next {
            assert!(found.last().is_none_or(|last: &ringfence_store::Event| last.seq < event.seq));
            assert_eq!(at.insert(event.strategy_id.clone(), event.to), event.from, "{event:?}");
            found.push(event);
        }
    }
}
