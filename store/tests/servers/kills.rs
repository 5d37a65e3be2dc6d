//! Servers die in the middle of everything.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ringfence_services::postgres::Postgres;
use ringfence_store::{
    Admission, By, Draft, Engine, Hold, Settings, Spool, SpoolBounds, State, Step, Store, StoreError,
};
use secrecy::SecretString;

use super::start::{self, say};
use crate::conformance::{self, REFUSE, TTL, draft, id};

const STRATEGIES: u32 = 2000;
const WORKERS: usize = 8;
/// Each with connections of its own, as a process would.
const PROCESSES: usize = 4;
/// Short: what a dead server swallowed comes back soon.
const LEASE: u64 = 1500;
const PATIENCE: Duration = Duration::from_secs(180);

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// Asks until the server answers.
fn until_told<T>(mut ask: impl FnMut() -> Result<T, StoreError>) -> Result<T, StoreError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask() {
            Err(error) if error.is_unavailable() && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(20));
            }
            done => return done,
        }
    }
}

#[derive(Default)]
struct Seen {
    acknowledged: Mutex<Vec<String>>,
    /// Which token's effect was acknowledged.
    effects: Mutex<HashMap<String, u64>>,
    done: AtomicUsize,
    submitting: AtomicBool,
}

#[test]
fn every_acknowledged_strategy_is_processed_exactly_once_over_kills_of_both_servers() {
    let test = "every_acknowledged_strategy_is_processed_exactly_once_over_kills_of_both_servers";
    let Some(mut servers) = start::both(test, 200) else { return };
    let url = servers.postgres.url("postgres");
    let engine = Engine::Postgres {
        url: SecretString::from(url.clone()),
        redis: Some(SecretString::from(servers.redis.url())),
    };
    let open = || engine.open(Settings { most_attempts: 1000 }).unwrap();
    let stores: Vec<Box<dyn Store>> = (0..PROCESSES).map(|_| open()).collect();
    let seen = Seen { submitting: AtomicBool::new(true), ..Seen::default() };
    let began = Instant::now();
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let (store, seen) = (&*stores[worker % PROCESSES], &seen);
            scope.spawn(move || work(store, worker, seen));
        }
        scope.spawn(|| submit_all(&*open(), &seen));
        for (at, again) in [(300, false), (700, true), (1200, true)] {
            while seen.done.load(Ordering::SeqCst) < at {
                assert!(began.elapsed() < PATIENCE, "only {} are done", seen.done.load(Ordering::SeqCst));
                std::thread::sleep(Duration::from_millis(2));
            }
            servers.redis.kill();
            if again {
                servers.postgres.kill();
                std::thread::sleep(Duration::from_millis(300));
                servers.postgres.restart().unwrap();
            }
            servers.redis.restart().unwrap();
        }
    });
    let acknowledged = seen.acknowledged.into_inner().unwrap();
    assert_eq!(acknowledged.len(), STRATEGIES as usize);
    let asked = |sql: &str| say(&url, sql);
    let completed =
        "SELECT count(*), count(DISTINCT strategy_id) FROM ringfence.events WHERE to_state = 'completed'";
    assert_eq!(asked(completed), format!("{STRATEGIES}|{STRATEGIES}"));
    assert_eq!(
        asked("SELECT state, count(*) FROM ringfence.strategies GROUP BY state"),
        format!("completed|{STRATEGIES}")
    );
    // The order of acknowledgement is the order of the queue.
    let queue = asked("SELECT strategy_id FROM ringfence.strategies ORDER BY seq");
    assert!(queue.lines().eq(acknowledged.iter().map(String::as_str)));
    // Whose effect was acknowledged held the newest token, and tokens only grew.
    let mut tokens: BTreeMap<String, u64> = BTreeMap::new();
    for event in conformance::events(&*stores[0]).into_iter().filter(|event| event.to == State::Processing) {
        let detail: serde_json::Value = serde_json::from_str(&event.detail).unwrap();
        let token = detail["token"].as_u64().unwrap();
        let earlier = tokens.insert(event.strategy_id.clone(), token);
        assert!(earlier.is_none_or(|earlier| earlier < token), "{event:?} after token {earlier:?}");
    }
    let again = asked("SELECT count(*) FROM ringfence.strategies WHERE attempt > 1");
    for (strategy, token) in seen.effects.into_inner().unwrap() {
        assert_eq!(tokens[&strategy], token, "{strategy}");
    }
    println!("{STRATEGIES} strategies in {:?}, {again} of them claimed more than once", began.elapsed());
}

fn submit_all(store: &dyn Store, seen: &Seen) {
    let numbers: Vec<u32> = (0..STRATEGIES).collect();
    for batch in numbers.chunks(20) {
        let drafts: Vec<Draft> =
            batch.iter().map(|number| Draft { at_ms: now_ms(), ..draft(*number) }).collect();
        let admitted = until_told(|| store.submit(&drafts, REFUSE)).unwrap();
        assert!(admitted.iter().all(|admission| matches!(admission, Admission::Accepted { .. })));
        let mut acknowledged = seen.acknowledged.lock().unwrap();
        acknowledged.extend(drafts.into_iter().map(|draft| draft.strategy_id));
    }
    seen.submitting.store(false, Ordering::SeqCst);
}

fn work(store: &dyn Store, worker: usize, seen: &Seen) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "worker {worker} does not come to an end");
        let last = !seen.submitting.load(Ordering::SeqCst);
        let claims = until_told(|| store.claim(&format!("worker-{worker}"), 5, LEASE, now_ms())).unwrap();
        if claims.is_empty() {
            let left = until_told(|| store.depth()).unwrap();
            if last && (left.queued, left.processing) == (0, 0) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        for claim in claims {
            act(store, &claim.hold, seen);
        }
    }
}

/// An effect may be refused: its claim expired while the server was away, or it was made and only the answer was lost.
fn act(store: &dyn Store, hold: &Hold, seen: &Seen) {
    let both = [Step::mapped("{\"new_nodes\":[]}"), Step::to(State::Completed)];
    match until_told(|| store.advance(By::Holder(hold), &both, now_ms())) {
        Ok(()) => {
            let earlier = seen.effects.lock().unwrap().insert(hold.strategy_id.clone(), hold.token);
            assert_eq!(earlier, None, "{hold} acted after another");
            seen.done.fetch_add(1, Ordering::SeqCst);
        }
        Err(StoreError::Stale(_)) => {}
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn one_worker_sees_the_queue_in_order_and_the_spool_carries_on_while_the_server_is_away() {
    let test = "one_worker_sees_the_queue_in_order_and_the_spool_carries_on_while_the_server_is_away";
    let Some(mut servers) = start::both(test, 300) else { return };
    let dir = tempfile::tempdir().unwrap();
    let server: &mut Postgres = &mut servers.postgres;
    let engine = Engine::Postgres { url: SecretString::from(server.url("postgres")), redis: None };
    let store = engine.open(Settings::default()).unwrap();
    let path = dir.path().join("spool.db");
    let mut spool = Spool::open(&path, SpoolBounds::default()).unwrap();
    let submit = |spool: &Spool, numbers: std::ops::Range<u32>| {
        let drafts: Vec<Draft> = numbers.map(draft).collect();
        spool.submit(&*store, &drafts, TTL).unwrap()
    };
    assert!(matches!(submit(&spool, 0..50)[49], Admission::Accepted { .. }));
    server.kill();
    let began = Instant::now();
    for batch in 1..5 {
        let taken = submit(&spool, 50 * batch..50 * batch + 50);
        assert!(taken.iter().all(|admission| matches!(admission, Admission::Spooled { .. })), "{taken:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    // A duplicate of what the database holds is not seen now, one of what the spool holds is.
    let twins = [conformance::draft_with_key(900, 3), conformance::draft_with_key(901, 60)];
    let taken = spool.submit(&*store, &twins, TTL).unwrap();
    assert!(matches!(taken[0], Admission::Spooled { .. }));
    assert_eq!(taken[1], Admission::Duplicate { strategy_id: id(60) });
    assert!(spool.hand_over(&*store, 64, TTL).unwrap_err().is_unavailable());
    // The gateway dies too.
    drop(spool);
    spool = Spool::open(&path, SpoolBounds::default()).unwrap();
    assert_eq!((spool.depth().unwrap(), spool.contains(&id(199)).unwrap()), (201, true));
    server.restart().unwrap();
    // Still in line behind those that wait.
    assert!(matches!(submit(&spool, 250..251)[0], Admission::Spooled { .. }));
    // One hand-over was made, and died before it could take them out.
    let first: Vec<Draft> = (50..80).map(draft).collect();
    until_told(|| store.submit(&first, REFUSE)).unwrap();
    let mut failed = Vec::new();
    while spool.depth().unwrap() > 0 {
        failed.extend(spool.hand_over(&*store, 64, TTL).unwrap().duplicates);
    }
    assert_eq!(failed, [id(900)]);
    assert_eq!(store.get(&id(900)).unwrap().unwrap().error.unwrap(), format!("duplicate of {}", id(3)));
    assert!(matches!(submit(&spool, 251..260)[0], Admission::Accepted { .. }));

    // In the order of acknowledgement, over one more kill.
    let mut claimed = Vec::new();
    while claimed.len() < 260 {
        if claimed.len() == 105 {
            server.kill();
            server.restart().unwrap();
        }
        let claims = until_told(|| store.claim("only", 7, 60_000, now_ms())).unwrap();
        assert!(!claims.is_empty(), "{} were claimed", claimed.len());
        assert!(claims.iter().all(|claim| claim.attempt == 1));
        claimed.extend(conformance::ids(&claims));
    }
    assert_eq!(claimed, (0..260).map(id).collect::<Vec<_>>());
}
