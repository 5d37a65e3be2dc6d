//! Rings that break the protocol are quarantined; messages that mean nothing are answered.

use std::os::fd::AsFd;
use std::time::Duration;

use ringfence_ipc::client::{Client, Event, SubmitError};
use ringfence_ipc::counters::CountersReader;
use ringfence_ipc::handshake::{RefusalCode, Role, socket};
use ringfence_ipc::journal::Record;
use ringfence_ipc::msg::{Intent, OperatorExt, Outcome, Words, intent_flags};
use ringfence_ipc::reason::Reason;
use ringfence_ipc::ring::{Producer, head_word};
use ringfence_tests::raw::{Raw, hello};
use ringfence_tests::world::{PATIENCE, World};
use ringfence_tests::{Dice, await_that};

use super::{Scene, order};

#[test]
fn sequence_jumps_a_lap() {
    let scene = Scene::new();
    let hostile = scene.hostile();
    let lap = u64::from(hostile.welcome.intents_slots);
    hostile.put(0, &order(1, 1).encode(), head_word(lap, 1));
    scene.quarantined(&hostile);
}

#[test]
fn sequence_goes_back() {
    let scene = Scene::new();
    let hostile = scene.hostile();
    let (mut intents, mut events) = hostile.ends();
    let lap = u64::from(hostile.welcome.intents_slots);
    for key in 1..=lap + 3 {
        while intents.push1(&order(u128::from(key), 1).encode()).unwrap().is_none() {
            std::thread::yield_now();
        }
        hostile.decision(&mut events);
    }
    // The slot after the last message still says "one lap ago": now it says two.
    let next = lap + 3;
    hostile.put(next, &[0; 7], head_word(0, 1));
    scene.quarantined(&hostile);
}

#[test]
fn garbage_words() {
    let world = World::new(|_| ());
    let scene = Scene::in_world(world);
    let mut dice = Dice::new(11);
    let mut word = || dice.below(1 << 53) << 11 | dice.below(1 << 11);
    let rounds = 20;
    for round in 0..rounds {
        let name = format!("hostile-{}", round % 4);
        let path = scene.world.config.socket_path();
        await_that("the name is free again", PATIENCE, || {
            Raw::begin(&path, &hello(Role::Strategy, &name)).is_ok_and(|hostile| {
                hostile.mapped().unwrap();
                for slot in 0..u64::from(hostile.welcome.intents_slots) {
                    let words: Words = std::array::from_fn(|_| word());
                    // Bit 63 never stands in a sequence of this ring.
                    hostile.put(slot, &words, word() | 1 << 63);
                }
                assert_eq!(hostile.thrown_out().map(|(code, _)| code), Some(RefusalCode::Protocol));
                true
            })
        });
    }
    scene.ends_with_quarantines(rounds);
}

#[test]
fn head_without_continuation() {
    let scene = Scene::new();
    let hostile = scene.hostile();
    hostile.put(0, &order(1, 1).encode(), head_word(0, 2));
    scene.quarantined(&hostile);
}

#[test]
fn continuation_as_head() {
    let scene = Scene::new();
    let hostile = scene.hostile();
    hostile.put(0, &order(1, 1).encode(), ringfence_ipc::ring::continuation_word(0));
    scene.quarantined(&hostile);
}

#[test]
fn announces_a_message_that_is_too_long() {
    let scene = Scene::new();
    let hostile = scene.hostile();
    hostile.put(0, &order(1, 1).encode(), head_word(0, 5));
    scene.quarantined(&hostile);
}

#[test]
fn dies_mid_write() {
    let scene = Scene::new();
    let hostile = scene.hostile();
    for key in 1..=3 {
        hostile.put_well(key - 1, &order(u128::from(key), 1).encode());
    }
    // The payload is there, the sequence is not; of the next one the continuation is there, the head is not.
    hostile.slots().store_payload(3, &order(4, 1).encode());
    let strategy = hostile.welcome.strategy;
    drop(hostile);
    await_that("the dead one's name is free", PATIENCE, || {
        Client::attach(scene.world.options("hostile")).is_ok_and(|client| client.strategy() == strategy)
    });
    let keys = |journal: Vec<(u64, Record)>| -> Vec<u128> {
        let of = |(_, record)| match record {
            Record::Decision(made) if made.strategy == strategy => Some(made.intent.key),
            _ => None,
        };
        journal.into_iter().filter_map(of).collect()
    };
    assert_eq!(
        keys(scene.world.journal()),
        [1, 2, 3],
        "what was published is decided, what was not is nothing"
    );
    scene.ends_with_quarantines(0);
}

#[test]
fn stops_reading_events() {
    // The venue answers late and all at once: more reports than the ring has room for.
    let world = World::new(|config| {
        config.paper.latency_ns = 100_000_000;
        config.capacity.intents_slots = 1024;
    });
    let scene = Scene::in_world(world);
    let mut client = scene.world.attach("sleeper");
    let orders = 700;
    for key in 1..=orders {
        client.submit(&order(key, client.now_ns())).unwrap();
    }
    await_that("the sleeper is detached", PATIENCE, || !client.is_connected());
    let (mut decisions, mut reports, mut losses) = (Vec::new(), Vec::new(), 0);
    await_that("every answer", PATIENCE, || {
        while let Some(event) = client.poll() {
            match event {
                Event::Decision(decision) => decisions.push(decision),
                Event::Report(report) => reports.push(report),
                Event::Step(_) => {}
                Event::Lost => {
                    losses += 1;
                    client.reattach(PATIENCE).unwrap();
                }
            }
        }
        decisions.len() == orders as usize && reports.len() >= orders as usize
    });
    assert!(losses > 0 && client.unanswered() == 0);
    let positions: Vec<u64> = decisions.iter().map(|decision| decision.intent_position).collect();
    assert_eq!(positions, (0..orders as u64).collect::<Vec<_>>(), "each once, in order");
    assert!(decisions.iter().all(|decision| decision.outcome == Outcome::Accepted && !decision.duplicate));
    let booked = scene.world.journal().into_iter().filter_map(|(position, record)| match record {
        Record::Report(report) if report.strategy == client.strategy() => Some(position),
        _ => None,
    });
    let told: Vec<u64> = reports.iter().map(|report| report.journal_seq).collect();
    assert_eq!(told, booked.collect::<Vec<_>>(), "every report, once, in the journal's order");
    scene.ends_with_quarantines(0);
}

/// Submits until the gate has had enough, reading every answer while `reads`.
fn submit_until_thrown_out(hostile: &Raw, intents: &mut Producer, from: u128) {
    let mut key = from;
    await_that("the gate looks at the lie", PATIENCE, || {
        for _ in 0..64 {
            let refused = Intent { qty: -1, ..order(key, 1) };
            match intents.push1(&refused.encode()) {
                Ok(Some(_)) => key += 1,
                Ok(None) => break,
                Err(fault) => panic!("the gate keeps the protocol: {fault}"),
            }
        }
        let poll = socket::set_timeout(hostile.socket.as_fd(), Duration::from_millis(1));
        poll.unwrap();
        !matches!(socket::receive(hostile.socket.as_fd(), true), Ok(socket::Received::Nothing))
    });
}

#[test]
fn lies_that_it_has_consumed_what_was_never_produced() {
    let scene = Scene::new();
    let hostile = scene.hostile();
    let (mut intents, _events) = hostile.ends();
    // Taking the ends published an honest 0.
    hostile.claim_consumed(1 << 40);
    submit_until_thrown_out(&hostile, &mut intents, 1);
    scene.ends_with_quarantines(1);
}

#[test]
fn lies_that_it_has_not_consumed_what_it_had() {
    let scene = Scene::new();
    let hostile = scene.hostile();
    let (mut intents, mut events) = hostile.ends();
    for key in 1..=1500 {
        while intents.push1(&Intent { qty: -1, ..order(key, 1) }.encode()).unwrap().is_none() {
            std::thread::yield_now();
        }
        hostile.decision(&mut events);
    }
    hostile.claim_consumed(3);
    submit_until_thrown_out(&hostile, &mut intents, 1501);
    scene.ends_with_quarantines(1);
}

#[test]
fn writes_undefined_kinds() {
    let scene = Scene::new();
    let hostile = scene.hostile();
    let (mut intents, mut events) = hostile.ends();
    let good = order(1, 1).encode();
    let mut bad: Vec<Words> = [0_u8, 6, 7, 16, 17, 32, 48, 49, 64, 99, 255]
        .map(|kind| [good[0] & !0xff | u64::from(kind), good[1], good[2], good[3], good[4], good[5], good[6]])
        .into();
    // Enumerations outside their range, and flags that do not exist.
    bad.extend([8, 16, 24].map(|at| [good[0] | 0x77 << at, 2, 0, good[3], good[4], good[5], good[6]]));
    bad.push([good[0] | 0x8000 << 32, 3, 0, good[3], good[4], good[5], good[6]]);
    for words in &bad {
        intents.push1(words).unwrap().expect("there is room");
        let decision = hostile.decision(&mut events);
        assert_eq!((decision.outcome, decision.reason), (Outcome::Rejected, Reason::Malformed), "{words:x?}");
        assert_eq!(decision.journal_seq, 0, "nothing of it is stored");
    }
    intents.push1(&good).unwrap().expect("there is room");
    assert_eq!(hostile.decision(&mut events).outcome, Outcome::Accepted, "the ring goes on");
    let counters = CountersReader::open(&scene.world.config.counters_path()).unwrap();
    assert_eq!(counters.reject(Reason::Malformed), bad.len() as u64);
    scene.ends_with_quarantines(0);
}

#[test]
fn operator_flag_from_a_strategy() {
    let scene = Scene::new();
    let hostile = scene.hostile();
    let (mut intents, mut events) = hostile.ends();
    let flagged = Intent { flags: intent_flags::OPERATOR, ..order(1, 1) }.encode();
    let ext = OperatorExt::new(1, 0, "mine", 0).unwrap().encode();
    let messages: [&[Words]; 3] = [&[flagged], &[flagged, ext], &[order(2, 1).encode(), ext]];
    for message in messages {
        intents.push(message).unwrap().expect("there is room");
        let decision = hostile.decision(&mut events);
        assert_eq!((decision.outcome, decision.reason), (Outcome::Rejected, Reason::RoleForbidden));
    }
    scene.ends_with_quarantines(0);
}

#[test]
fn keeps_only_its_own_ring_full() {
    let scene = Scene::new();
    let mut hostile = scene.world.attach("hostile");
    // Never polls: its own answers fill its own ring, then it is made to wait.
    let mut sent = 0;
    await_that("the ring is full", PATIENCE, || {
        for _ in 0..256 {
            let intent = Intent { qty: -1, ..order(sent + 1, hostile.now_ns()) };
            match hostile.submit(&intent) {
                Ok(_) => sent += 1,
                Err(SubmitError::Full) => return hostile.unanswered() > 1200,
                Err(other) => panic!("{other}"),
            }
        }
        false
    });
    assert!(hostile.is_connected(), "waiting is not a fault");
    let mut answers = 0;
    await_that("every answer", PATIENCE, || {
        while let Some(event) = hostile.poll() {
            answers += u128::from(matches!(event, Event::Decision(_)));
        }
        answers == sent
    });
    scene.ends_with_quarantines(0);
}
