//! G4: whatever a peer writes into its memory, at any time, a call ends after at most one message's slots, reads nothing
//! outside the ring, and brings a message, "not yet" or a fault, exactly as `docs/ipc.md` says.
//!
//! The rules are told a second time here, from that document, and compared with the real code at every execution.
//! `RINGFENCE_G4_EXECUTIONS` sets how many; the memory lies between pages that kill whoever touches them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use ringfence_ipc::atomic::SEQUENCE_WORD;
use ringfence_ipc::cell::{self, CELL_SLOTS};
use ringfence_ipc::msg::{MAX_SLOTS, PAYLOAD_WORDS, Words};
use ringfence_ipc::ring::{Consumer, MAX_START, Producer, continuation_word, head_word};
use ringfence_ipc::view::{WriteSlots, WriteWord};
use rustix::process::Signal;

use crate::guarded::Guarded;
use crate::{Random, size};

const CAPACITIES: [usize; 3] = [4, 16, 64];
/// Executions between two peers.
const PER_PEER: u64 = 4096;

fn executions() -> u64 {
    size("RINGFENCE_G4_EXECUTIONS", 20_000_000)
}

fn report(test: &str, executions: u64, began: Instant, outcomes: &[u64]) {
    let rate = executions as f64 / began.elapsed().as_secs_f64() / 1e6;
    println!("{test}: {executions} executions, {rate:.1} M/s, outcomes {outcomes:?}");
}

/// What the document says of a consumer's position.
#[derive(Debug, PartialEq, Eq)]
enum Expected {
    NotYet,
    Message(u8),
    Fault,
}

fn expected(slots: &WriteSlots, position: u64, start: u64) -> Expected {
    let capacity = slots.count() as u64;
    let sequence = |at: u64| slots.load((at % capacity) as usize, SEQUENCE_WORD);
    let found = sequence(position);
    let number = found % (1 << 60);
    for length in 1..=MAX_SLOTS as u64 {
        if found == (position + 1) | (length - 1) << 61 {
            let whole = (1..length).all(|i| sequence(position + i) == (position + i + 1) | 1 << 60);
            return if whole { Expected::Message(length as u8) } else { Expected::Fault };
        }
    }
    let first_lap = position < start + capacity;
    let not_yet = if first_lap { found == 0 } else { number + capacity == position + 1 };
    if not_yet { Expected::NotYet } else { Expected::Fault }
}

/// A word that is often nearly right, so that the deep checks are reached too.
fn hostile_word(random: &mut Random, position: u64, capacity: u64) -> u64 {
    let dice = random.next();
    let near = position.wrapping_add(dice >> 8 & 15).wrapping_sub(8) & (MAX_START - 1);
    match dice & 7 {
        0 => random.next(),
        1 => near,
        2 => head_word(near, (dice >> 16 & 7) as u8 + 1),
        3 => continuation_word(near),
        4 => head_word(position, (dice >> 16 & 7) as u8 + 1),
        5 => head_word(position.saturating_sub(capacity), (dice >> 16 & 3) as u8 + 1),
        6 => 1 << (dice >> 16 & 63),
        _ => 0,
    }
}

/// One message as an honest producer writes it.
fn honest_message(slots: &WriteSlots, position: u64, length: u64) {
    let slot = |at: u64| (at % slots.count() as u64) as usize;
    for at in (position + 1..position + length).rev() {
        slots.publish(slot(at), continuation_word(at));
    }
    slots.publish(slot(position), head_word(position, length as u8));
}

fn mutate(random: &mut Random, slots: &WriteSlots, position: u64) {
    let capacity = slots.count() as u64;
    let dice = random.next();
    let slot = (dice >> 32 & (capacity - 1)) as usize;
    match dice & 7 {
        // Mostly by the rules, or no ring would get far.
        0..=3 => honest_message(slots, position, (dice >> 8 & 3) + 1),
        4 => slots.publish(slot, hostile_word(random, position, capacity)),
        5 => slots.publish((position % capacity) as usize, hostile_word(random, position, capacity)),
        6 => {
            slots.publish(((position + 1) % capacity) as usize, hostile_word(random, position + 1, capacity))
        }
        _ => slots.store(slot, (dice >> 8 & 7) as usize % PAYLOAD_WORDS, dice),
    }
}

/// A place to start, the extremes among them.
fn start(random: &mut Random) -> u64 {
    match random.next() & 3 {
        0 => 0,
        1 => MAX_START,
        _ => random.next() % (1 << 40),
    }
}

/// One look at the ring, compared with the document. `false`: a fault, and this peer is gone.
fn look(consumer: &mut Consumer, slots: &WriteSlots, start: u64, outcomes: &mut [u64; 3]) -> bool {
    let position = consumer.position();
    let expected = expected(slots, position, start);
    match consumer.peek() {
        Ok(Some(head)) => {
            assert_eq!(expected, Expected::Message(head.slots), "at {position}");
            for index in 1..head.slots {
                assert!(consumer.continuation(index).is_ok());
            }
            consumer.advance(head.slots);
            assert_eq!(consumer.position(), position + u64::from(head.slots));
            outcomes[0] += 1;
        }
        Ok(None) => {
            assert_eq!(expected, Expected::NotYet, "at {position}");
            outcomes[1] += 1;
        }
        Err(fault) => {
            assert_eq!(expected, Expected::Fault, "at {position}: {fault}");
            assert_eq!(consumer.peek(), Err(fault), "and it stays one");
            outcomes[2] += 1;
            return false;
        }
    }
    true
}

#[test]
fn a_consumer_of_hostile_slots_does_what_the_document_says() {
    let (memory, mut random, mut outcomes) = (Guarded::new(), Random(0x6741), [0; 3]);
    let (total, began, mut done) = (executions(), Instant::now(), 0);
    let mut run: [Words; 16] = [[0; PAYLOAD_WORDS]; 16];
    while done < total {
        let capacity = CAPACITIES[(random.next() % 3) as usize];
        let high = random.next() & 1 == 0;
        let slots = if high { memory.high_slots(capacity) } else { memory.low_slots(capacity) };
        (0..capacity).for_each(|slot| slots.publish(slot, 0));
        let start = start(&mut random);
        let mut consumer = Consumer::new(slots.reader(), WriteWord::heap(), start);
        for n in 0..PER_PEER {
            mutate(&mut random, &slots, consumer.position());
            done += 1;
            if n % 8 == 0 {
                let ready = consumer.peek_run(&mut run);
                let position = consumer.position();
                let single = |at: u64| expected(&slots, at, start) == Expected::Message(1);
                assert!((position..position + ready as u64).all(single), "only messages of one slot");
                assert!(ready == run.len() || !single(position + ready as u64), "and all of them");
            }
            if !look(&mut consumer, &slots, start, &mut outcomes) {
                break;
            }
        }
    }
    report("a consumer of hostile slots", done, began, &outcomes);
    assert!(outcomes.iter().all(|n| *n > total / 100), "too little happened: {outcomes:?}");
}

#[test]
fn a_producer_facing_a_hostile_position_does_what_the_document_says() {
    let (memory, mut random, mut outcomes) = (Guarded::new(), Random(0x6742), [0; 3]);
    let (total, began, mut done) = (executions(), Instant::now(), 0);
    while done < total {
        let capacity = CAPACITIES[(random.next() % 3) as usize];
        let slots = memory.high_slots(capacity);
        let consumed = memory.low_slots(1).word(0, 0).unwrap();
        consumed.set(0);
        let start = start(&mut random);
        let mut producer = Producer::new(slots, consumed.reader(), start);
        // What the document says of the producer: the last good consumer position, and whether there was one.
        let mut cached = start;
        for _ in 0..PER_PEER {
            done += 1;
            let dice = random.next();
            let position = producer.position();
            let room = position - cached;
            consumed.set(match dice & 7 {
                0..=4 => cached + (dice >> 8) % (room + 1),
                5 => hostile_word(&mut random, position, capacity as u64),
                6 => cached.wrapping_sub(dice >> 8 & 3),
                _ => position + (dice >> 8 & 3),
            });
            let found = consumed.get();
            let length = (dice >> 16 & 3) + 1;
            // The word is read only when what is known does not suffice.
            let read = length > capacity as u64 - room;
            let never_published = found == 0 && cached == start;
            let good = (cached..=position).contains(&found);
            let parts = [[dice; PAYLOAD_WORDS]; MAX_SLOTS];
            let pushed = producer.push(&parts[..length as usize]);
            if read && !never_published {
                if !good {
                    assert!(pushed.is_err(), "{found} after {cached}, at {position}");
                    outcomes[2] += 1;
                    break;
                }
                cached = found;
            }
            if length <= capacity as u64 - (position - cached) {
                assert_eq!(pushed, Ok(Some(position)));
                outcomes[0] += 1;
            } else {
                assert_eq!((pushed, producer.position()), (Ok(None), position));
                outcomes[1] += 1;
            }
        }
    }
    report("a producer facing a hostile position", done, began, &outcomes);
    assert!(outcomes.iter().all(|n| *n > total / 200), "too little happened: {outcomes:?}");
}

#[test]
fn a_cell_of_hostile_lines_is_read_whole_or_not_at_all() {
    let (memory, mut random, mut outcomes) = (Guarded::new(), Random(0x6743), [0; 2]);
    let total = executions() / 10;
    let began = Instant::now();
    for n in 0..total {
        let lines = if n & 1 == 0 { memory.high_slots(CELL_SLOTS) } else { memory.low_slots(CELL_SLOTS) };
        let (dice, near) = (random.next(), random.next() & 7);
        let line = (dice >> 8) as usize % CELL_SLOTS;
        match dice & 7 {
            // Mostly by the rules: a give-up costs all its tries.
            0..=3 => {
                lines.publish(1 + near as usize % 4, near);
                lines.store(0, 0, near);
            }
            4 => lines.store(0, 0, if dice >> 32 & 1 == 0 { near } else { random.next() }),
            5 => lines.publish(line, near),
            6 => lines.publish(line, random.next()),
            _ => lines.store(line, near as usize, dice),
        }
        let announced = lines.load(0, 0);
        let at = 1 + (announced % 4) as usize;
        let whole = announced != 0 && lines.load(at, SEQUENCE_WORD) == announced;
        let value = cell::read(&lines.reader(), 0);
        assert_eq!(value, whole.then(|| lines.reader().payload(at)), "announced {announced}");
        outcomes[usize::from(whole)] += 1;
    }
    report("a cell of hostile lines", total, began, &outcomes);
    assert!(outcomes.iter().all(|n| *n > total / 20), "too little happened: {outcomes:?}");
}

/// The peer writes while the ring is read: nothing can be foretold, but every call still ends, in bounds.
#[test]
fn a_peer_that_writes_while_it_is_read_changes_nothing_of_that() {
    let (memory, capacity) = (Guarded::new(), 16_usize);
    let (slots, total, began) = (memory.high_slots(capacity), executions() / 2, Instant::now());
    let word = memory.low_slots(1).word(0, 0).unwrap();
    let over = AtomicBool::new(false);
    let mut outcomes = [0_u64; 3];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut random, mut guess) = (Random(0x6744), 0);
            while !over.load(Ordering::Relaxed) {
                for _ in 0..64 {
                    mutate(&mut random, &slots, guess % 4096);
                    word.set(hostile_word(&mut random, guess % 4096, capacity as u64));
                    guess += 1;
                }
            }
        });
        let mut done = 0;
        while done < total {
            let mut consumer = Consumer::new(slots.reader(), WriteWord::heap(), done % 64);
            let mut producer = Producer::new(WriteSlots::heap(capacity), word.reader(), done % 64);
            for _ in 0..256 {
                done += 1;
                match consumer.peek() {
                    Ok(Some(head)) => {
                        assert!((1..=MAX_SLOTS).contains(&usize::from(head.slots)));
                        (1..head.slots).for_each(|index| _ = consumer.continuation(index));
                        consumer.advance(head.slots);
                        outcomes[0] += 1;
                    }
                    Ok(None) => outcomes[1] += 1,
                    Err(_) => {
                        outcomes[2] += 1;
                        break;
                    }
                }
                if producer.push1(&[done; PAYLOAD_WORDS]).is_err() {
                    break;
                }
                assert!(producer.free().unwrap_or(0) <= capacity as u64);
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    report("a peer that writes while it is read", total, began, &outcomes);
    assert!(outcomes.iter().all(|n| *n > 0), "too little happened: {outcomes:?}");
}

const CHILD: &str = "RINGFENCE_TEST_TOUCH_GUARD";

/// Not a test of its own: the process that the next one watches die.
#[test]
fn child_touches_the_guard() {
    if std::env::var_os(CHILD).is_some() {
        let memory = Guarded::new();
        std::process::exit(if memory.forbidden_word().get() == 0 { 0 } else { 1 });
    }
}

#[test]
fn the_guard_pages_kill_whoever_touches_them() {
    use std::os::unix::process::ExitStatusExt as _;
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "g4_hostile_memory::child_touches_the_guard", "--test-threads=1"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    assert_eq!(child.status.signal(), Some(Signal::SEGV.as_raw()), "{child:?}");
}
