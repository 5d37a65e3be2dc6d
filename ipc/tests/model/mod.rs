//! What a ring must do, told once: operations against a `VecDeque`. proptest runs them in one thread over random scripts,
//! loom in two threads over every interleaving, the stress test in two threads at full speed.

use std::collections::VecDeque;

use ringfence_ipc::msg::Words;
use ringfence_ipc::ring::{Consumer, Producer};

/// One message: the payloads of its slots.
pub type Message = Vec<Words>;

/// The `n`th message of a run, with `slots` slots; every word of every message differs.
pub fn message(n: u64, slots: u8) -> Message {
    (0..u64::from(slots))
        .map(|slot| std::array::from_fn(|word| (n << 8) | (slot << 4) | word as u64))
        .collect()
}

/// The producer under test.
pub struct Sender {
    pub producer: Producer,
    sent: u64,
}

impl Sender {
    pub fn new(producer: Producer) -> Self {
        Self { producer, sent: 0 }
    }

    /// Pushes the next message if it fits, and returns what the oracle must expect then.
    pub fn push(&mut self, slots: u8) -> Option<Message> {
        let message = message(self.sent, slots);
        let before = self.producer.position();
        let pushed = if slots == 1 { self.producer.push1(&message[0]) } else { self.producer.push(&message) };
        let position = pushed.expect("an honest consumer is no fault")?;
        assert_eq!((position, self.producer.position()), (before, before + u64::from(slots)));
        self.sent += 1;
        Some(message)
    }
}

/// The consumer under test.
pub struct Receiver {
    pub consumer: Consumer,
}

impl Receiver {
    pub fn new(consumer: Consumer) -> Self {
        Self { consumer }
    }

    /// Takes the next message, if it is visible. It must be the oracle's next.
    pub fn pop(&mut self, oracle: &mut VecDeque<Message>) -> bool {
        let Some(head) = self.consumer.peek().expect("an honest producer is no fault") else { return false };
        let expected = oracle.pop_front().expect("nothing more was pushed");
        assert_eq!((head.words, usize::from(head.slots)), (expected[0], expected.len()));
        for index in 1..head.slots {
            assert_eq!(self.consumer.continuation(index), Ok(expected[usize::from(index)]));
        }
        self.consumer.advance(head.slots);
        true
    }
}
