//! The ring against its model: random scripts, two threads at full speed, two processes over one file.

use std::collections::VecDeque;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use ringfence_ipc::ring::{Consumer, MAX_START, Producer, heap_ring};
use ringfence_ipc::segment::Mapping;

use crate::model::{Message, Receiver, Sender, message};
use crate::size;

#[derive(Clone, Copy, Debug)]
enum Op {
    Push(u8),
    Pop,
    Publish,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![4 => (1..=4u8).prop_map(Op::Push), 5 => Just(Op::Pop), 1 => Just(Op::Publish)]
}

fn start() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 1..100u64, (1u64 << 32) - 5..(1 << 32) + 5, MAX_START - 50..=MAX_START]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn behaves_as_a_bounded_queue(
        script in prop::collection::vec(op(), 1..300),
        capacity in (2..7u32).prop_map(|bits| 1usize << bits),
        start in start(),
    ) {
        let (producer, consumer) = heap_ring(capacity, start);
        let (mut sender, mut receiver) = (Sender::new(producer), Receiver::new(consumer));
        let mut oracle: VecDeque<Message> = VecDeque::new();
        let mut published = start;
        for op in script {
            match op {
                Op::Push(slots) => {
                    let free = capacity as u64 - (sender.producer.position() - published);
                    let pushed = sender.push(slots);
                    prop_assert_eq!(pushed.is_some(), u64::from(slots) <= free);
                    oracle.extend(pushed);
                }
                Op::Pop => {
                    let waiting = !oracle.is_empty();
                    prop_assert_eq!(receiver.pop(&mut oracle), waiting);
                    if receiver.consumer.position() - published >= capacity as u64 / 4 {
                        published = receiver.consumer.position();
                    }
                }
                Op::Publish => {
                    receiver.consumer.publish();
                    published = receiver.consumer.position();
                }
            }
        }
        while receiver.pop(&mut oracle) {}
        prop_assert!(oracle.is_empty());
    }
}

/// Messages of one to four slots, in a pattern both sides know.
fn slots_of(n: u64) -> u8 {
    (n % 7 % 4) as u8 + 1
}

/// How long the ends of a ring race; `RINGFENCE_G7_STRESS_MS` sets it.
fn stress() -> Duration {
    Duration::from_millis(size("RINGFENCE_G7_STRESS_MS", 300))
}

fn send(producer: Producer, until: Instant) -> u64 {
    let mut sender = Sender::new(producer);
    let mut sent = 0;
    while Instant::now() < until {
        for _ in 0..64 {
            match sender.push(slots_of(sent)) {
                Some(_) => sent += 1,
                None => std::thread::yield_now(),
            }
        }
    }
    sent
}

/// Receives until `over` says that nothing more will be written, then what is left; returns how many messages came. The
/// model inside panics on a fault and on a torn, lost or repeated message.
fn receive(consumer: Consumer, mut over: impl FnMut(u64) -> bool) -> u64 {
    let mut receiver = Receiver::new(consumer);
    let (mut received, mut last_round) = (0, false);
    loop {
        let mut oracle = VecDeque::from([message(received, slots_of(received))]);
        if receiver.pop(&mut oracle) {
            received += 1;
        } else if last_round {
            return received;
        } else {
            std::thread::yield_now();
        }
        // Asked before the ring is found empty once more, so that nothing written before the end is missed.
        last_round = last_round || over(received);
    }
}

#[test]
fn two_threads_lose_and_tear_nothing() {
    let (producer, consumer) = heap_ring(64, 12_345);
    let until = Instant::now() + stress();
    let sender = std::thread::spawn(move || send(producer, until));
    let received = receive(consumer, |_| sender.is_finished());
    assert_eq!(sender.join().unwrap(), received);
    assert!(received > 1_000, "{received}");
}

const SLOTS: usize = 256;
const CHILD: &str = "RINGFENCE_TEST_RING_FILE";

/// A ring over a new file (the consumer's word in its first line, slots from byte 4096), and a process that writes it
/// for a while and leaves the number of messages at byte 64.
fn ring_to_child(path: &Path) -> (Mapping, Consumer, Child) {
    let mapping = Mapping::create_file(path, 4096 + SLOTS * 64).unwrap();
    let consumer = Consumer::new(mapping.read_slots(4096, SLOTS).unwrap(), mapping.write_word(0).unwrap(), 0);
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "g7_ring::child_sends", "--test-threads=1"])
        .env(CHILD, path)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    (mapping, consumer, child)
}

/// Not a test of its own: the other process of the next ones.
#[test]
fn child_sends() {
    if let Some(path) = std::env::var_os(CHILD) {
        let mapping = Mapping::open_file(Path::new(&path), true).unwrap();
        let slots = mapping.write_slots(4096, SLOTS).unwrap();
        let producer = Producer::new(slots, mapping.read_word(0).unwrap(), 0);
        mapping.store(64, send(producer, Instant::now() + stress())).unwrap();
    }
}

#[test]
fn two_processes_lose_and_tear_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (mapping, consumer, mut child) = ring_to_child(&dir.path().join("ring"));
    let received = receive(consumer, |_| child.try_wait().unwrap().is_some());
    assert!(child.wait().unwrap().success());
    assert_eq!(mapping.load(64).unwrap(), received);
    assert!(received > 1_000, "{received}");
}

#[test]
fn a_killed_producer_leaves_whole_messages_only() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..10u64 {
        let (_, consumer, mut child) = ring_to_child(&dir.path().join("ring"));
        let mut kill_at = None;
        let received = receive(consumer, |received| {
            if received > 0 && kill_at.is_none() {
                kill_at = Some(Instant::now() + Duration::from_micros(round * 731));
            }
            let due = kill_at.is_some_and(|at| Instant::now() >= at);
            if due {
                child.kill().unwrap();
                child.wait().unwrap();
            }
            due
        });
        assert!(received > 0);
    }
}
