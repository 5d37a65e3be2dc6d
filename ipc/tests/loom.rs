//! Every interleaving that the memory model allows, on the real ring and cell code at small sizes. In the cell every one
//! with at most three preemptions: the search without bound did not end within four minutes.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p ringfence-ipc --release --test loom`, in a target directory of its own.
#![cfg(loom)]
#![allow(clippy::unwrap_used, missing_docs)]

mod loom_cache;
mod model;

use std::collections::VecDeque;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;
use model::{Receiver, Sender, message};
use ringfence_ipc::cell::{self, CELL_SLOTS, CellWriter};
use ringfence_ipc::msg::Words;
use ringfence_ipc::ring::{Consumer, FaultKind, Producer, continuation_word, head_word, heap_ring};
use ringfence_ipc::view::{WriteSlots, WriteWord};
use ringfence_ipc::wake::Parked;

const CAPACITY: usize = 4;

fn explore(preemptions: Option<usize>, run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.max_branches = 100_000;
    builder.preemption_bound = preemptions;
    builder.check(run);
}

/// Both ends, `script` giving the slots of each message; the consumer waits for all of them.
fn transfer(script: &'static [u8], start: u64) {
    explore(None, move || {
        let (producer, consumer) = heap_ring(CAPACITY, start);
        let thread = thread::spawn(move || {
            let mut sender = Sender::new(producer);
            for slots in script {
                while sender.push(*slots).is_none() {
                    thread::yield_now();
                }
            }
        });
        let mut oracle: VecDeque<_> = script.iter().enumerate().map(|(n, s)| message(n as u64, *s)).collect();
        let mut receiver = Receiver::new(consumer);
        while !oracle.is_empty() {
            if !receiver.pop(&mut oracle) {
                thread::yield_now();
            }
        }
        thread.join().unwrap();
    });
}

#[test]
fn single_slots_arrive_whole_and_in_order() {
    transfer(&[1, 1], 0);
}

#[test]
fn long_messages_arrive_whole() {
    transfer(&[3], 5);
    transfer(&[1, 2], 0);
}

#[test]
fn a_ring_that_wraps_overwrites_only_what_was_consumed() {
    transfer(&[2, 2, 1], 0);
    transfer(&[4, 1], 3);
    transfer(&[1, 3, 4, 1], 0);
}

/// As [`transfer`] for messages of one slot, taken in runs, as the gate does.
fn transfer_in_runs(preemptions: Option<usize>, messages: u64, start: u64) {
    explore(preemptions, move || {
        let (producer, mut consumer) = heap_ring(CAPACITY, start);
        let thread = thread::spawn(move || {
            let mut sender = Sender::new(producer);
            for _ in 0..messages {
                while sender.push(1).is_none() {
                    thread::yield_now();
                }
            }
        });
        let (mut run, mut next) = ([[0; 7]; 3], 0);
        while next < messages {
            let ready = consumer.peek_run(&mut run);
            for words in &run[..ready] {
                assert_eq!(*words, message(next, 1)[0]);
                consumer.advance(1);
                next += 1;
            }
            if ready == 0 {
                thread::yield_now();
            }
        }
        thread.join().unwrap();
    });
}

#[test]
fn runs_arrive_whole_and_in_order() {
    transfer_in_runs(None, 2, 7);
}

#[test]
fn runs_that_wrap_overwrite_only_what_was_consumed() {
    transfer_in_runs(Some(3), 5, 0);
}

/// A producer that writes what it likes into the first slots, against a consumer that looks a few times.
fn hostile(
    attack: impl Fn(&WriteSlots) + Copy + Send + Sync + 'static,
    verdict: fn(Result<Words, FaultKind>),
) {
    explore(None, move || {
        let slots = WriteSlots::heap(CAPACITY);
        let mut consumer = Consumer::new(slots.reader(), WriteWord::heap(), 0);
        let thread = thread::spawn(move || attack(&slots));
        for _ in 0..2 {
            match consumer.peek() {
                Ok(Some(head)) => {
                    verdict(Ok(head.words));
                    consumer.advance(head.slots);
                }
                Ok(None) => {}
                Err(fault) => verdict(Err(fault.kind)),
            }
        }
        thread.join().unwrap();
    });
}

#[test]
fn garbage_sequence_is_a_fault_whenever_it_is_seen() {
    hostile(
        |slots| slots.publish(0, 0xdead_beef_dead_beef),
        |seen| assert_eq!(seen, Err(FaultKind::SequenceAhead)),
    );
}

#[test]
fn sequence_jumps_a_lap() {
    hostile(
        |slots| slots.publish(0, head_word(CAPACITY as u64, 1)),
        |seen| assert_eq!(seen, Err(FaultKind::SequenceAhead)),
    );
}

#[test]
fn a_head_before_its_continuation_is_a_fault_or_a_message() {
    hostile(
        |slots| {
            slots.store_payload(0, &[1; 7]);
            slots.publish(0, head_word(0, 2));
            slots.publish(1, continuation_word(1));
        },
        |seen| assert!(matches!(seen, Ok([1, 1, 1, 1, 1, 1, 1]) | Err(FaultKind::HeadWithoutContinuations))),
    );
}

#[test]
fn a_slot_rewritten_while_it_is_copied_garbles_only_itself() {
    hostile(
        |slots| {
            slots.store_payload(0, &[1; 7]);
            slots.publish(0, head_word(0, 1));
            slots.store(0, 0, 2);
            slots.store(0, 6, 2);
        },
        |seen| assert!(seen.unwrap().iter().all(|word| matches!(word, 1 | 2))),
    );
}

/// What [`hostile`] does not look at: the continuations, and runs.
fn hostile_to_the_end(attack: impl Fn(&WriteSlots) + Copy + Send + Sync + 'static, verdict: fn(Seen)) {
    explore(None, move || {
        let slots = WriteSlots::heap(CAPACITY);
        let consumer = Consumer::new(slots.reader(), WriteWord::heap(), 0);
        let thread = thread::spawn(move || attack(&slots));
        let mut run = [[0; 7]; 2];
        let ready = consumer.peek_run(&mut run);
        run[..ready].iter().for_each(|words| verdict(Seen::InRun(*words)));
        if let Ok(Some(head)) = consumer.peek() {
            (1..head.slots).for_each(|index| verdict(Seen::Continuation(consumer.continuation(index).ok())));
        }
        thread.join().unwrap();
    });
}

enum Seen {
    InRun(Words),
    Continuation(Option<Words>),
}

#[test]
fn a_continuation_taken_back_is_a_fault_or_whole() {
    hostile_to_the_end(
        |slots| {
            slots.store_payload(1, &[1; 7]);
            slots.publish(1, continuation_word(1));
            slots.publish(0, head_word(0, 2));
            slots.publish(1, head_word(1, 1));
        },
        |seen| match seen {
            Seen::Continuation(words) => assert!(words.is_none_or(|words| words == [1; 7])),
            Seen::InRun(_) => panic!("a message of two slots is in no run"),
        },
    );
}

#[test]
fn a_run_over_slots_being_rewritten_garbles_only_those() {
    hostile_to_the_end(
        |slots| {
            slots.store(0, 3, 1);
            slots.publish(0, head_word(0, 1));
            slots.store(0, 3, 2);
            slots.publish(1, head_word(9, 1));
        },
        |seen| match seen {
            Seen::InRun(words) => assert!(matches!(words, [0, 0, 0, 1 | 2, 0, 0, 0]), "{words:?}"),
            Seen::Continuation(_) => panic!("there was none"),
        },
    );
}

#[test]
fn a_consumer_position_that_moves_back_is_a_fault_or_was_never_seen() {
    explore(None, || {
        let consumed = WriteWord::heap();
        let mut producer = Producer::new(WriteSlots::heap(CAPACITY), consumed.reader(), 0);
        (0..CAPACITY).for_each(|_| assert!(producer.push1(&[0; 7]).unwrap().is_some()));
        let thread = thread::spawn(move || {
            consumed.publish(3);
            consumed.publish(1);
        });
        let (mut best, mut failed) = (0, None);
        for _ in 0..3 {
            match producer.free() {
                Ok(free) => {
                    assert!(failed.is_none() && matches!(free, 0 | 1 | 3) && free >= best);
                    best = free;
                }
                Err(fault) => {
                    assert_eq!((fault.kind, best), (FaultKind::ConsumedMovedBack, 3));
                    failed = Some(fault);
                }
            }
        }
        thread.join().unwrap();
        assert!(producer.free().is_err() || best < 3);
    });
}

#[test]
fn a_consumer_position_out_of_thin_air_is_a_fault() {
    explore(None, || {
        let consumed = WriteWord::heap();
        let mut producer = Producer::new(WriteSlots::heap(CAPACITY), consumed.reader(), 10);
        let thread = thread::spawn(move || consumed.publish(12));
        let first = producer.push1(&[0; 7]);
        assert_eq!(first, Ok(Some(10)));
        if let Err(fault) = producer.free() {
            assert_eq!(fault.kind, FaultKind::ConsumedRanAhead);
        }
        thread.join().unwrap();
        assert!(producer.free().is_err());
    });
}

#[test]
fn a_cell_is_read_whole_or_not_at_all() {
    explore(Some(3), || {
        let lines = WriteSlots::heap(CELL_SLOTS);
        let reader = lines.reader();
        let mut writer = CellWriter::new(lines);
        writer.publish(&[1; 7]);
        let thread = thread::spawn(move || {
            // As many values as it takes to come back to the slot being read.
            (2..=5).for_each(|n| writer.publish(&[n; 7]));
        });
        if let Some(value) = cell::read(&reader, 0) {
            assert!((1..=5).contains(&value[0]) && value.iter().all(|word| *word == value[0]), "{value:?}");
        }
        thread.join().unwrap();
    });
}

#[test]
fn a_cell_whose_writer_lies_gives_nothing_or_what_was_announced() {
    explore(Some(3), || {
        let lines = WriteSlots::heap(CELL_SLOTS);
        let reader = lines.reader();
        let thread = thread::spawn(move || {
            lines.store(0, 0, 3);
            lines.publish(4, 7);
            lines.publish(4, 3);
            lines.store(0, 0, u64::MAX);
        });
        // Words of a cell carry no mark of their own: a liar's value is a value, and it is taken whole or not at all.
        assert!(cell::read(&reader, 0).is_none_or(|value| value == [0; 7]));
        thread.join().unwrap();
    });
}

#[test]
fn no_wakeup_is_lost() {
    explore(None, || {
        let (mut producer, consumer) = heap_ring(CAPACITY, 0);
        let parked = Parked::new(WriteWord::heap());
        let mut view = parked.view();
        let thread = thread::spawn(move || {
            producer.push1(&[7; 7]).unwrap();
            view.must_ring()
        });
        parked.announce();
        let would_sleep = consumer.peek().unwrap().is_none();
        let rang = thread.join().unwrap();
        assert!(!would_sleep || rang, "the sleeper sleeps on work that nobody wakes it for");
    });
}

#[test]
fn a_burst_that_rings_once_leaves_nothing_behind() {
    explore(None, || {
        let (mut producer, mut consumer) = heap_ring(CAPACITY, 0);
        let parked = Parked::new(WriteWord::heap());
        let mut view = parked.view();
        let rings = Arc::new(AtomicU64::new(0));
        let rung = Arc::clone(&rings);
        let thread = thread::spawn(move || {
            for n in 1..=2 {
                producer.push1(&[n; 7]).unwrap();
                if view.must_ring() {
                    rung.fetch_add(1, Ordering::Release);
                }
            }
        });
        // Two sleeps; a ring before or during one ends it, and is used up by that.
        let (mut seen, mut heard) = (0, 0);
        for _ in 0..2 {
            parked.announce();
            while let Some(head) = consumer.peek().unwrap() {
                consumer.advance(head.slots);
                seen += 1;
            }
            heard = rings.load(Ordering::Acquire).max(heard);
            parked.retract();
        }
        parked.announce();
        while let Some(head) = consumer.peek().unwrap() {
            consumer.advance(head.slots);
            seen += 1;
        }
        thread.join().unwrap();
        let pending = rings.load(Ordering::Acquire) > heard;
        assert!(seen == 2 || pending, "it sleeps for good with {seen} of 2 messages seen");
    });
}
