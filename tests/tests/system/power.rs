//! Tier `power`: nobody is shown what the disk does not have, and a disk that fails stops new orders for good.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use ringfence_core::config::{CoreConfig, Tier, VenueKind};
use ringfence_ipc::client::{AttachError, Client, Event};
use ringfence_ipc::counters::Counter;
use ringfence_ipc::journal::hot::{HotReader, status};
use ringfence_ipc::journal::{FIRST_POSITION, Follower};
use ringfence_ipc::msg::{Decision, DurabilityTier, Intent, IntentKind, Outcome, ReportKind, Side};
use ringfence_ipc::reason::Reason;
use ringfence_tests::world::{PATIENCE, World};
use ringfence_tests::{await_that, size};

fn power(config: &mut CoreConfig) {
    config.journal.tier = Tier::Power;
}

fn buy(client: &Client, key: u128) -> Intent {
    Intent::limit(0, Side::Buy, 100, 1000, key, client.now_ns())
}

fn hot(world: &World) -> HotReader {
    HotReader::open(&world.config.hot_path()).expect("a running gate has a hot ring")
}

/// Reads until `count` decisions have come; every one, and every report, must be on disk by then.
fn decisions(client: &mut Client, hot: &HotReader, count: usize) -> Vec<Decision> {
    let mut found = Vec::new();
    await_that("decisions", PATIENCE, || {
        // What comes after the last of them is for the next who reads.
        while found.len() < count
            && let Some(event) = client.poll()
        {
            match event {
                Event::Decision(decision) => {
                    assert!(
                        decision.journal_seq < hot.durable_pos(),
                        "shown before it was safe: {decision:?}"
                    );
                    found.push(decision);
                }
                Event::Report(report) => assert!(report.journal_seq < hot.durable_pos(), "{report:?}"),
                other => panic!("{other:?}"),
            }
        }
        found.len() >= count
    });
    found
}

fn decide(client: &mut Client, hot: &HotReader, key: u128) -> Decision {
    client.submit(&buy(client, key)).unwrap();
    decisions(client, hot, 1)[0]
}

#[test]
fn what_is_shown_is_on_disk_and_says_so() {
    let world = World::new(power);
    let core = world.start_ready();
    let mut client = world.attach("hammer");
    let hot = hot(&world);
    assert_eq!(hot.status(), status::POWER);
    let mut follower =
        Follower::open(world.config.hot_path(), world.config.journal_dir(), FIRST_POSITION).unwrap();
    let (count, mut next, mut answered) = (size("RINGFENCE_POWER_ORDERS", 3_000) as usize, 1, 0);
    while answered < count {
        // New orders, their repeats, and nonsense, whose answers have no record: all come in the order asked.
        let mut asked = VecDeque::new();
        for _ in 0..20 {
            for intent in
                [buy(&client, next), buy(&client, next), Intent { qty: 0, ..buy(&client, next + 1) }]
            {
                asked.push_back(client.submit(&intent).unwrap());
            }
            next += 2;
        }
        for decision in decisions(&mut client, &hot, asked.len()) {
            assert_eq!(Some(decision.intent_position), asked.pop_front());
            let recorded = decision.journal_seq > 0 && !decision.duplicate;
            assert_eq!(decision.tier == DurabilityTier::Power, recorded, "{decision:?}");
            answered += 1;
        }
        while let Some((position, _)) = follower.next().unwrap() {
            assert!(position < hot.durable_pos(), "a follower was shown what is not on disk");
        }
    }
    assert!(core.stop(PATIENCE).success());
    println!("what_is_shown_is_on_disk_and_says_so: {answered} decisions");
}

#[test]
fn a_full_queue_refuses_new_orders_for_the_moment_only() {
    let world = World::new(|config| {
        power(config);
        config.journal.held_entries = 64;
    });
    let core = world.start_ready();
    let (mut client, hot) = (world.attach("hammer"), hot(&world));
    let (mut key, mut full, mut accepted) = (1, 0, 0);
    await_that("the queue was full once", PATIENCE, || {
        let burst: Vec<Intent> = (0..200).map(|n| buy(&client, key + n)).collect();
        key += 200;
        for intent in &burst {
            client.submit(intent).unwrap();
        }
        for decision in decisions(&mut client, &hot, 200) {
            match decision.reason {
                Reason::Ok => accepted += 1,
                Reason::JournalFull => full += 1,
                other => panic!("{other}: {decision:?}"),
            }
            assert_eq!(decision.tier == DurabilityTier::None, decision.reason == Reason::JournalFull);
        }
        full > 0
    });
    assert!(accepted > 0);
    assert_eq!(decide(&mut client, &hot, key).outcome, Outcome::Accepted);
    assert!(core.stop(PATIENCE).success());
}

/// From here on the disk takes no new segment: something is in its way.
fn break_disk(world: &World) -> std::path::PathBuf {
    let in_the_way = world.config.journal_dir().join("segment.new");
    std::fs::create_dir(&in_the_way).expect("no segment is being made right now");
    in_the_way
}

/// A gate whose segments are soon full.
fn failing() -> World {
    World::new(|config| {
        power(config);
        config.venue = VenueKind::Paper;
        config.journal.segment_bytes = 64 << 10;
        config.strategies[0].limits.max_open_orders = Some(100_000);
    })
}

fn await_decision(client: &mut Client) -> Option<Decision> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match client.poll() {
            Some(Event::Decision(decision)) => return Some(decision),
            Some(Event::Lost) => return None,
            Some(_) => {}
            None => {
                assert!(Instant::now() < deadline, "neither an answer nor an end");
                std::thread::sleep(Duration::from_micros(100));
            }
        }
    }
}

#[test]
fn a_failed_disk_shows_nothing_more_and_halts_new_orders() {
    let world = failing();
    let core = world.start_ready();
    let (mut client, mut bystander, hot) = (world.attach("hammer"), world.attach("bystander"), hot(&world));
    let kept = decide(&mut bystander, &hot, 1);
    assert_eq!(kept.outcome, Outcome::Accepted);
    let mut resting = false;
    await_that("it rests", PATIENCE, || {
        resting |= std::iter::from_fn(|| bystander.poll())
            .any(|e| matches!(e, Event::Report(r) if r.kind == ReportKind::Accepted));
        resting
    });
    break_disk(&world);
    let (mut key, mut shown) = (1, Vec::new());
    let mut last = 0;
    // Asked one at a time: whatever is in flight when the disk fails is one decision.
    loop {
        client.submit(&buy(&client, key)).unwrap();
        let Some(decision) = await_decision(&mut client) else { break };
        assert_eq!(decision.reason, Reason::Ok, "{decision:?}");
        assert!(decision.journal_seq < hot.durable_pos() && decision.journal_seq > last);
        last = decision.journal_seq;
        shown.push(decision);
        key += 1;
    }
    let (durable, lost_key) = (hot.durable_pos(), key);
    assert!(hot.status() & status::FAILED != 0 && !shown.is_empty());
    assert!(world.counter(Counter::Unreleased) > 0);
    assert!(core.said().contains("the disk failed"), "{}", core.said());

    // The bystander waits for nothing: it may cancel, and hears that this is safe from `kill -9` only.
    let refused = {
        bystander.submit(&buy(&bystander, 2)).unwrap();
        await_decision(&mut bystander).unwrap()
    };
    assert_eq!((refused.reason, refused.tier), (Reason::JournalFailed, DurabilityTier::None));
    bystander.submit(&Intent::cancel(0, kept.order_id, 3, bystander.now_ns())).unwrap();
    let cancelled = await_decision(&mut bystander).unwrap();
    assert_eq!((cancelled.outcome, cancelled.tier), (Outcome::Accepted, DurabilityTier::Process));
    assert!(cancelled.journal_seq >= durable);

    // A resume would have to tell what must not be told; without a ticket the strategy may come back, and its
    // unanswered order is not answered by a repeat either.
    let refusal = client.reattach(Duration::from_secs(2)).unwrap_err();
    assert!(
        matches!(&refusal, AttachError::Refused { text, .. } if text.contains("disk failed")),
        "{refusal}"
    );
    drop(client);
    let mut again = world.attach("hammer");
    again.submit(&buy(&again, lost_key)).unwrap();
    let repeat = await_decision(&mut again).unwrap();
    assert_eq!((repeat.reason, repeat.duplicate), (Reason::JournalFailed, false), "{repeat:?}");
    core.kill();
}

#[test]
fn what_a_failed_disk_kept_back_is_decided_by_the_next_start() {
    let world = failing();
    let core = world.start_ready();
    let mut client = world.attach("hammer");
    let in_the_way = break_disk(&world);
    let mut asked = 0;
    while world.counter(Counter::Unreleased) == 0 {
        asked += u128::from(client.submit(&buy(&client, asked + 1)).is_ok());
        while client.poll().is_some_and(|event| event != Event::Lost) {}
        if !client.is_connected() {
            break;
        }
    }
    core.kill();
    std::fs::remove_dir(in_the_way).unwrap();
    let core = world.start_ready();
    // The hot ring outlived it: what was decided is on disk now, and told.
    client.reattach(PATIENCE).unwrap();
    await_that("every order is answered", PATIENCE, || {
        while let Some(event) = client.poll() {
            if let Event::Decision(decision) = event {
                assert_eq!(decision.reason, Reason::Ok, "{decision:?}");
            }
        }
        client.unanswered() == 0
    });
    assert!(core.stop(PATIENCE).success());
    let made = ringfence_tests::audit::Ledger::new(world.journal());
    assert_eq!(made.counts.orders, asked as u64, "each once");
    assert!((1..=asked).all(|key| {
        made.decided(client.strategy(), key)
            .is_some_and(|m| m.intent.kind == IntentKind::New && m.tier == DurabilityTier::Power)
    }));
}
