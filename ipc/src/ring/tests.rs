//! Named misbehaviour, named tests: each peer here breaks one rule.

use super::*;
use crate::atomic::SEQUENCE_WORD;
use crate::msg::Words;
use crate::view::ReadWord;

const CAPACITY: usize = 8;

/// A consumer and the raw memory its producer writes.
fn reader(start: u64) -> (WriteSlots, Consumer) {
    let slots = WriteSlots::heap(CAPACITY);
    let consumer = Consumer::new(slots.reader(), WriteWord::heap(), start);
    (slots, consumer)
}

/// A producer and the raw word its consumer writes.
fn writer(start: u64) -> (WriteWord, Producer) {
    let consumed = WriteWord::heap();
    let producer = Producer::new(WriteSlots::heap(CAPACITY), consumed.reader(), start);
    (consumed, producer)
}

fn kind<T: fmt::Debug>(result: Result<T, Fault>) -> FaultKind {
    result.unwrap_err().kind
}

fn words(value: u64) -> Words {
    [value; 7]
}

#[test]
fn what_waits_is_counted_without_reading_it() {
    let (mut producer, mut consumer) = heap_ring(16, 5);
    for slots in [0, 1, 2, 3] {
        assert_eq!(consumer.waiting(), if slots == 0 { 0 } else { slots * (slots + 1) / 2 - slots });
        if slots > 0 {
            producer.push(&vec![[slots; 7]; slots as usize]).unwrap();
        }
    }
    assert_eq!(consumer.waiting(), 6);
    consumer.advance(1);
    assert_eq!(consumer.waiting(), 5);
    while producer.push1(&[0; 7]).unwrap().is_some() {}
    assert_eq!(consumer.waiting(), 15, "it does not know yet that a slot is free");
}

#[test]
fn messages_of_every_length_arrive_in_order_over_many_laps() {
    for start in [0, 1, 7, 1_000_003, MAX_START] {
        let (mut producer, mut consumer) = heap_ring(CAPACITY, start);
        let mut next = start;
        for round in 0..100u64 {
            let len = 1 + round % 4;
            let parts: Vec<Words> = (0..len).map(|i| words(round * 10 + i)).collect();
            assert_eq!(producer.push(&parts), Ok(Some(next)));
            let head = consumer.peek().unwrap().unwrap();
            assert_eq!((head.words, u64::from(head.slots)), (parts[0], len));
            for i in 1..head.slots {
                assert_eq!(consumer.continuation(i), Ok(parts[usize::from(i)]));
            }
            consumer.advance(head.slots);
            next += len;
            assert_eq!(consumer.position(), next);
            assert_eq!(consumer.peek(), Ok(None));
        }
    }
}

#[test]
fn a_full_ring_refuses_and_takes_again_after_a_quarter() {
    let (mut producer, mut consumer) = heap_ring(CAPACITY, 50);
    for i in 0..CAPACITY as u64 {
        assert_eq!(producer.push1(&words(i)), Ok(Some(50 + i)));
    }
    assert_eq!(producer.push1(&words(0)), Ok(None));
    assert_eq!(producer.has_room(1), Ok(false));
    consumer.advance(consumer.peek().unwrap().unwrap().slots);
    assert_eq!(producer.free(), Ok(0), "one of eight is less than a quarter");
    consumer.advance(consumer.peek().unwrap().unwrap().slots);
    assert_eq!(producer.free(), Ok(2));
    assert_eq!(producer.push(&[words(0); 3]), Ok(None), "all or nothing");
    assert_eq!(producer.push(&[words(0); 2]), Ok(Some(58)));
}

#[test]
fn an_explicit_publish_frees_less_than_a_quarter() {
    let (mut producer, mut consumer) = heap_ring(CAPACITY, 0);
    assert_eq!(producer.push1(&words(1)), Ok(Some(0)));
    consumer.advance(1);
    assert_eq!(producer.free(), Ok(7));
    consumer.publish();
    assert_eq!(producer.free(), Ok(8));
}

#[test]
fn sequence_jumps_a_lap() {
    let (slots, consumer) = reader(0);
    slots.publish(0, head_word(CAPACITY as u64, 1));
    assert_eq!(kind(consumer.peek()), FaultKind::SequenceAhead);
}

#[test]
fn sequence_moves_back() {
    let (slots, mut consumer) = reader(0);
    for position in 0..2 * CAPACITY as u64 {
        slots.publish(position as usize % CAPACITY, head_word(position, 1));
        consumer.advance(consumer.peek().unwrap().unwrap().slots);
    }
    assert_eq!(consumer.peek(), Ok(None));
    slots.publish(0, head_word(0, 1));
    assert_eq!(kind(consumer.peek()), FaultKind::SequenceBehind);
    slots.publish(0, 0);
    assert_eq!(kind(consumer.peek()), FaultKind::SequenceBehind, "zero counts in the first lap only");
}

#[test]
fn head_without_continuations() {
    let (slots, consumer) = reader(0);
    slots.publish(1, continuation_word(1));
    slots.publish(0, head_word(0, 3));
    assert_eq!(kind(consumer.peek()), FaultKind::HeadWithoutContinuations);
    for wrong in [head_word(2, 1), continuation_word(2 + CAPACITY as u64), continuation_word(2) | 1 << 61] {
        slots.publish(2, wrong);
        assert_eq!(kind(consumer.peek()), FaultKind::HeadWithoutContinuations, "{wrong:#x}");
    }
    slots.publish(2, continuation_word(2));
    assert_eq!(consumer.peek().unwrap().unwrap().slots, 3);
}

#[test]
fn continuation_vanishes_after_the_peek() {
    let (slots, consumer) = reader(0);
    slots.publish(1, continuation_word(1));
    slots.publish(0, head_word(0, 2));
    assert!(consumer.peek().unwrap().is_some());
    slots.publish(1, 0);
    assert_eq!(kind(consumer.continuation(1)), FaultKind::HeadWithoutContinuations);
}

#[test]
fn continuation_as_head() {
    let (slots, consumer) = reader(0);
    slots.publish(0, continuation_word(0));
    assert_eq!(kind(consumer.peek()), FaultKind::ContinuationAsHead);
}

#[test]
fn head_announces_five_slots() {
    let (slots, consumer) = reader(0);
    slots.publish(0, head_word(0, 5));
    assert_eq!(kind(consumer.peek()), FaultKind::MessageTooLong);
}

#[test]
fn dies_mid_write_is_invisible() {
    let (slots, mut consumer) = reader(0);
    slots.store_payload(0, &words(9));
    assert_eq!(consumer.peek(), Ok(None), "payload without sequence");
    slots.publish(1, continuation_word(1));
    slots.publish(2, continuation_word(2));
    assert_eq!(consumer.peek(), Ok(None), "continuations without head");
    slots.publish(0, head_word(0, 3));
    consumer.advance(consumer.peek().unwrap().unwrap().slots);
    assert_eq!(consumer.position(), 3);
}

#[test]
fn consumed_moves_back() {
    let (consumed, mut producer) = writer(0);
    (0..6).for_each(|i| assert!(producer.push1(&words(i)).unwrap().is_some()));
    consumed.set(4);
    assert_eq!(producer.free(), Ok(6));
    consumed.set(3);
    assert_eq!(kind(producer.free()), FaultKind::ConsumedMovedBack);
    consumed.set(0);
    assert_eq!(kind(producer.free()), FaultKind::ConsumedMovedBack, "also to never published");
}

#[test]
fn consumed_runs_ahead() {
    let (consumed, mut producer) = writer(100);
    assert!(producer.push1(&words(0)).unwrap().is_some());
    for ahead in [102, u64::MAX, 1 << 63] {
        consumed.set(ahead);
        assert_eq!(kind(producer.free()), FaultKind::ConsumedRanAhead);
    }
}

#[test]
fn consumed_lags_more_than_capacity() {
    let (consumed, mut producer) = writer(100);
    for i in 0..8 {
        assert_eq!(producer.push1(&words(i)), Ok(Some(100 + i)));
    }
    consumed.set(99);
    assert_eq!(kind(producer.push1(&words(0))), FaultKind::ConsumedLags);
}

#[test]
fn a_consumer_that_has_not_begun_is_no_fault() {
    let (_consumed, mut producer) = writer(100);
    assert_eq!(producer.free(), Ok(8));
    for i in 0..8 {
        assert_eq!(producer.push1(&words(i)), Ok(Some(100 + i)));
    }
    assert_eq!(producer.push1(&words(8)), Ok(None));
}

/// xorshift64*: a seeded stream is enough here, and fast.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

/// A word that is sometimes plausible, so that deep checks are reached too.
fn hostile_word(random: &mut Random, position: u64) -> u64 {
    let near = position.wrapping_add(random.next() % 20).wrapping_sub(10);
    match random.next() % 6 {
        0 => random.next(),
        1 => near,
        2 => head_word(near & (MAX_START - 1), (random.next() % 8) as u8 + 1),
        3 => continuation_word(near & (MAX_START - 1)),
        4 => head_word(position, (random.next() % 4) as u8 + 1),
        _ => 1 << (random.next() % 64),
    }
}

/// G4 in small: whatever stands in the peer's memory, a step ends, and in a message, "not yet" or a fault.
#[test]
fn random_memory_is_bounded_and_never_panics() {
    let mut random = Random(0x5eed);
    let mut outcomes = [0u64; 3];
    for _ in 0..50 {
        let (slots, mut consumer) = reader(random.next() % 1_000);
        for _ in 0..10_000 {
            let slot = (random.next() % CAPACITY as u64) as usize;
            slots.store(slot, SEQUENCE_WORD, hostile_word(&mut random, consumer.position()));
            slots.store(slot, (random.next() % 7) as usize, random.next());
            match consumer.peek() {
                Ok(Some(head)) => {
                    assert!((1..=MAX_SLOTS).contains(&usize::from(head.slots)));
                    (1..head.slots).for_each(|i| assert!(consumer.continuation(i).is_ok()));
                    consumer.advance(head.slots);
                    outcomes[0] += 1;
                }
                Ok(None) => outcomes[1] += 1,
                Err(_) => outcomes[2] += 1,
            }
        }
    }
    assert!(outcomes.iter().all(|n| *n > 1_000), "{outcomes:?}");
    random_consumer_positions(&mut random);
}

fn random_consumer_positions(random: &mut Random) {
    for _ in 0..50 {
        let (consumed, mut producer) = writer(random.next() % 1_000);
        for _ in 0..10_000 {
            consumed.set(hostile_word(random, producer.position()));
            let before = producer.position();
            match producer.push(&[[0; 7]; 2]) {
                Ok(Some(position)) => assert_eq!((position, producer.position()), (before, before + 2)),
                Ok(None) | Err(_) => assert_eq!(producer.position(), before),
            }
            if let Ok(free) = producer.free() {
                assert!(free <= CAPACITY as u64);
            }
        }
    }
}

#[test]
fn faults_say_what_the_peer_did() {
    let (slots, consumer) = reader(0);
    slots.publish(0, head_word(40, 1));
    let text = consumer.peek().unwrap_err().to_string();
    assert_eq!(text, "wrote sequence 41 ahead of its turn, seen at position 0");
}

#[test]
fn views_and_ends_may_move_between_threads() {
    const fn assert_send<T: Send>() {}
    assert_send::<Producer>();
    assert_send::<Consumer>();
    assert_send::<ReadWord>();
}

#[test]
fn a_run_ends_before_a_longer_message_a_fault_or_nothing() {
    let (mut producer, mut consumer) = heap_ring(CAPACITY, 3);
    let mut run = [[0; 7]; CAPACITY];
    assert_eq!(consumer.peek_run(&mut run), 0);
    for value in 0..3 {
        producer.push1(&words(value)).unwrap();
    }
    producer.push(&[words(8), words(9)]).unwrap();
    assert_eq!(consumer.peek_run(&mut run), 3);
    assert_eq!(run[..3], [words(0), words(1), words(2)]);
    assert_eq!(consumer.peek_run(&mut run[..2]), 2, "no more than asked for");
    consumer.advance(3);
    assert_eq!(consumer.peek_run(&mut run), 0);
    assert_eq!(consumer.peek().unwrap().unwrap().slots, 2);

    let (slots, consumer) = reader(0);
    slots.store(0, SEQUENCE_WORD, head_word(0, 1));
    slots.store(1, SEQUENCE_WORD, head_word(9, 1));
    assert_eq!(consumer.peek_run(&mut run), 1, "a fault is left to peek");
}
