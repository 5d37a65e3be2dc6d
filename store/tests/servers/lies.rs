//! A Redis that lies or stalls, a PostgreSQL that stalls, and what both show to whoever looks by hand.

use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use ringfence_store::{By, Engine, Settings, State, Step, StoreError};
use secrecy::SecretString;

use super::start::{self, Servers, say};
use crate::conformance::{LEASE, NOON, REFUSE, claim, draft, id, ids, open, state, submit};

fn engine(servers: &Servers) -> Engine {
    Engine::Postgres {
        url: SecretString::from(servers.postgres.url("postgres")),
        redis: Some(SecretString::from(servers.redis.url())),
    }
}

fn signal(name: &str, pid: &str) {
    assert!(Command::new("kill").args([name, pid]).status().unwrap().success());
}

#[test]
fn redis_decides_nothing_and_everything_can_be_read_by_hand() {
    let test = "redis_decides_nothing_and_everything_can_be_read_by_hand";
    let Some(servers) = start::both(test, 400) else { return };
    let cli = |words: &[&str]| servers.redis.cli(words).unwrap();
    let sql = |statement: &str| say(&servers.postgres.url("postgres"), statement);
    let stores = [open(&engine(&servers)), open(&engine(&servers))];
    let store = &*stores[0];
    assert_eq!(store.front_answers(), Some(true));
    submit(store, 0..6);
    // Somebody's lock from before.
    cli(&["SET", &format!("lock:{}", id(0)), "a ghost"]);
    let first = claim(store, "worker-1", 1, NOON).remove(0);
    assert_eq!(first.hold.strategy_id, id(0));
    assert_eq!(cli(&["GET", &format!("lock:{}", id(0))]), "worker-1");
    let left_ms: u64 = cli(&["PTTL", &format!("lock:{}", id(0))]).parse().unwrap();
    assert!((1..=LEASE).contains(&left_ms), "{left_ms}");
    assert_eq!(cli(&["GET", &format!("status:{}", id(0))]), "processing");
    let row = "SELECT state, worker, attempt, submitted_by, worlds, dag FROM ringfence.strategies ORDER BY seq LIMIT 1";
    assert_eq!(sql(row), "processing|worker-1|1|user-0|[\"w-1\"]|{\"nodes\":[0]}");
    let told = "SELECT from_state, to_state, detail FROM ringfence.events ORDER BY seq DESC LIMIT 1";
    assert_eq!(sql(told), "submitted|processing|{\"attempt\":1,\"token\":1,\"worker\":\"worker-1\"}");

    // It forgets everything: nobody else gets the strategy, and its holder goes on.
    cli(&["FLUSHALL"]);
    assert_eq!(ids(&claim(&*stores[1], "worker-2", 1, NOON)), [id(1)]);
    // It says that the strategy is another's, and completed, and that nothing is to be done.
    cli(&["SET", &format!("lock:{}", id(0)), "worker-2"]);
    cli(&["SET", &format!("status:{}", id(0)), "completed", "PX", "300"]);
    store.renew(&first.hold, LEASE, NOON).unwrap();
    store.advance(By::Holder(&first.hold), &[Step::mapped("{}")], NOON).unwrap();
    assert_eq!(state(store, 0), State::Mapped);
    assert_eq!(cli(&["EXISTS", &format!("lock:{}", id(0))]), "0");
    // A counter that stands still hides new work for a second, no longer.
    cli(&["SET", "queue:changes", "5"]);
    assert_eq!(claim(&*stores[1], "worker-2", 9, NOON).len(), 4);
    submit(store, 6..7);
    assert_eq!(cli(&["GET", "queue:changes"]), "6");
    cli(&["SET", "queue:changes", "5"]);
    assert_eq!(claim(&*stores[1], "worker-2", 9, NOON), []);
    assert_eq!(ids(&claim(&*stores[1], "worker-2", 9, NOON + 1000)), [id(6)]);
    // Keys of another type, and words that are none.
    cli(&["FLUSHALL"]);
    cli(&["LPUSH", "queue:changes", "x"]);
    cli(&["SET", &format!("status:{}", id(1)), "sleeping"]);
    submit(store, 7..8);
    assert_eq!(ids(&claim(store, "worker-1", 9, NOON)), [id(7)]);
    assert_eq!(store.status(&id(1)).unwrap(), Some(State::Processing));
}

#[test]
fn servers_that_stall_are_left_in_bounded_time() {
    let test = "servers_that_stall_are_left_in_bounded_time";
    let Some(servers) = start::both(test, 500) else { return };
    let store = open(&engine(&servers));
    submit(&*store, 0..1);
    submit(&*store, 1..60);
    let redis = servers.redis.pid().unwrap().to_string();
    // Only time that Redis takes is bounded here: the disk may be slow.
    signal("-STOP", &redis);
    let began = Instant::now();
    let claims = claim(&*store, "w", 60, NOON);
    assert_eq!(claims.len(), 60);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    let mut slow = 0;
    for _ in 0..20 {
        let began = Instant::now();
        assert_eq!(store.status(&id(1)).unwrap(), Some(State::Processing));
        slow += u32::from(began.elapsed() > Duration::from_millis(200));
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(slow <= 5, "{slow} of 20 looks waited for it");
    assert_eq!(store.front_answers(), Some(false));
    signal("-CONT", &redis);
    std::thread::sleep(Duration::from_millis(1300));
    assert_eq!(store.front_answers(), Some(true));

    // A session that stops in the middle: given up after a while, and another one is opened.
    let mine = "SELECT pid FROM pg_stat_activity WHERE application_name = 'ringfence'";
    let sessions = say(&servers.postgres.url("postgres"), mine);
    sessions.lines().for_each(|pid| signal("-STOP", pid));
    let began = Instant::now();
    let error = store.get(&id(1)).unwrap_err();
    assert!(error.is_unavailable() && error.to_string().contains("no answer within 5 s"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    assert!(store.get(&id(1)).unwrap().is_some());
    sessions.lines().for_each(|pid| signal("-CONT", pid));
}

#[test]
fn a_server_that_says_nothing_or_is_not_there_is_an_error_in_bounded_time() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().unwrap().port();
    for port in [silent, 1] {
        let url = format!("postgresql://ringfence:geheim@127.0.0.1:{port}/postgres");
        let redis = Some(SecretString::from(format!("redis://:geheim@127.0.0.1:{port}/")));
        let engine = Engine::Postgres { url: SecretString::from(url), redis };
        assert!(!format!("{engine:?}").contains("geheim"));
        let store = engine.open(Settings::default()).unwrap();
        let began = Instant::now();
        let error = store.submit(&[draft(1)], REFUSE).unwrap_err();
        assert!(error.is_unavailable(), "{error}");
        assert!(!error.to_string().contains("geheim"), "{error}");
        assert!(store.claim("w", 1, 1, NOON).unwrap_err().is_unavailable());
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    }
    for (url, redis) in [("geheim", None), ("postgresql://u@h/d", Some("geheim"))] {
        let engine = Engine::Postgres { url: url.into(), redis: redis.map(SecretString::from) };
        let error = engine.open(Settings::default()).err().unwrap();
        assert!(matches!(error, StoreError::Address { .. }) && !error.is_unavailable(), "{error}");
        assert!(!error.to_string().contains("geheim"), "{error}");
    }
}

/// Else a reader of events could see a later number, and go on behind an earlier one that is not yet committed.
#[test]
fn whoever_writes_events_waits_for_whoever_is_writing_them() {
    let test = "whoever_writes_events_waits_for_whoever_is_writing_them";
    let Some(servers) = start::both(test, 700) else { return };
    let store = open(&engine(&servers));
    submit(&*store, 0..2);
    let url = servers.postgres.url("postgres");
    let held = claim(&*store, "w", 1, NOON).remove(0).hold;
    let writes: [&dyn Fn(); 3] =
        [&|| drop(submit(&*store, 2..3)), &|| drop(claim(&*store, "w", 1, NOON)), &|| {
            store.advance(By::Holder(&held), &[Step::mapped("{}")], NOON).unwrap()
        }];
    for write in writes {
        std::thread::scope(|scope| {
            let another = "BEGIN; SELECT pg_advisory_xact_lock(7217412980001);
                INSERT INTO ringfence.events (strategy_id, to_state, detail, at_ms) VALUES ('another', 'deleted', '{}', 0);
                SELECT pg_sleep(1); COMMIT";
            let other = scope.spawn(|| say(&url, another));
            let locked = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted";
            while say(&url, locked) == "0" {
                assert!(!other.is_finished());
            }
            write();
            let last = "SELECT strategy_id FROM ringfence.events ORDER BY seq DESC LIMIT 2";
            let last = say(&url, last);
            assert!(last.ends_with("another") && !last.starts_with("another"), "{last}");
            other.join().unwrap();
        });
    }
}

#[test]
fn a_database_of_a_later_program_is_refused() {
    let Some(servers) = start::both("a_database_of_a_later_program_is_refused", 600) else { return };
    let engine = engine(&servers);
    open(&engine).migrate().unwrap();
    say(&servers.postgres.url("postgres"), "UPDATE ringfence.store_version SET version = 99");
    let error = open(&engine).submit(&[draft(1)], REFUSE).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 99, .. }), "{error}");
    say(&servers.postgres.url("postgres"), "UPDATE ringfence.store_version SET version = 1");
    submit(&*open(&engine), 0..1);
}
