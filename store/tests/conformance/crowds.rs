use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ringfence_store::{Admission, By, Engine, State, Step, Store};

use super::{NOON, REFUSE, claim, draft_with_key, events, id, open};

const SUBMITTERS: u32 = 4;
const KEYS: u32 = 60;

/// Submitters race for the same keys, workers for what was accepted, a reader follows; half of them through a connection of
/// their own, as another process would.
pub fn nothing_is_done_twice_or_lost_and_events_have_one_order(engine: &Engine) {
    let stores = [open(engine), open(engine)];
    let of = |number: u32| -> &dyn Store { &*stores[number as usize % 2] };
    let accepted = Mutex::new(HashMap::new());
    let done = Mutex::new(Vec::new());
    let submitting = AtomicBool::new(true);
    let seen = thread::scope(|scope| {
        let submitters: Vec<_> = (0..SUBMITTERS)
            .map(|submitter| {
                let (accepted, store) = (&accepted, of(submitter));
                scope.spawn(move || submit_all(store, submitter, accepted))
            })
            .collect();
        for worker in 0..4 {
            let (done, submitting, store) = (&done, &submitting, of(worker));
            scope.spawn(move || work(store, worker, done, submitting));
        }
        let reader = scope.spawn(|| follow(of(1), &submitting));
        // The others must come to an end whatever became of these.
        let submitted: Vec<_> = submitters.into_iter().map(|thread| thread.join()).collect();
        submitting.store(false, Ordering::SeqCst);
        submitted.into_iter().for_each(|done| done.unwrap());
        reader.join().unwrap()
    });
    let accepted = accepted.into_inner().unwrap();
    assert_eq!(accepted.len(), KEYS as usize);
    let done = done.into_inner().unwrap();
    let different: HashSet<&String> = done.iter().collect();
    assert_eq!((done.len(), different.len()), (KEYS as usize, KEYS as usize));
    for winner in accepted.values() {
        assert_eq!(of(0).status(winner).unwrap(), Some(State::Completed));
    }
    let all = events(of(0));
    assert_eq!(all.len(), 4 * KEYS as usize);
    // Whoever followed while it happened has missed nothing.
    assert_eq!(seen, all[..seen.len()]);
}

fn submit_all(store: &dyn Store, submitter: u32, accepted: &Mutex<HashMap<u32, String>>) {
    for batch in 0..KEYS / 6 {
        let keys: Vec<u32> = (6 * batch..6 * batch + 6).collect();
        let drafts: Vec<_> = keys.iter().map(|key| draft_with_key(1000 * submitter + key, *key)).collect();
        for (key, admission) in keys.iter().zip(store.submit(&drafts, REFUSE).unwrap()) {
            if let Admission::Accepted { .. } = admission {
                let earlier = accepted.lock().unwrap().insert(*key, id(1000 * submitter + key));
                assert_eq!(earlier, None, "key {key} was accepted twice");
            }
        }
    }
}

fn work(store: &dyn Store, worker: u32, done: &Mutex<Vec<String>>, submitting: &AtomicBool) {
    loop {
        let last = !submitting.load(Ordering::SeqCst);
        let claims = claim(store, &format!("worker-{worker}"), 3, NOON);
        if claims.is_empty() {
            if last {
                return;
            }
            thread::sleep(std::time::Duration::from_millis(1));
        }
        for held in claims {
            let both = [Step::mapped("{}"), Step::to(State::Completed)];
            store.advance(By::Holder(&held.hold), &both, NOON).unwrap();
            done.lock().unwrap().push(held.hold.strategy_id);
        }
    }
}

fn follow(store: &dyn Store, submitting: &AtomicBool) -> Vec<ringfence_store::Event> {
    let mut seen: Vec<ringfence_store::Event> = Vec::new();
    while submitting.load(Ordering::SeqCst) {
        seen.extend(store.events(seen.last().map_or(0, |event| event.seq), 7).unwrap());
    }
    seen
}
