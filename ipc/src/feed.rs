//! A feed's side: market events into two rings, one for the gate (quotes and trades), one for the venue (everything).
//!
//! The feed keeps every event that the venue has not consumed yet, so that a restarted gate gets each event once.

use std::collections::VecDeque;
use std::time::Duration;

use crate::connection::Connection;
pub use crate::connection::{AttachError, AttachOptions};
use crate::layout;
use crate::market::MarketReader;
use crate::msg::{TapeEnd, Words, kind, kind_of};
use crate::ring::{Fault, Producer};

/// One event on its way: its number and the tape messages it consists of (the last one final).
struct Sent {
    event: u64,
    first_position: u64,
    words: Vec<Words>,
}

/// Why an event was not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// No room yet, or the slowest paced strategy is too far behind: try again.
    #[error("the tape is full or the slowest strategy is 1,000 events behind")]
    Wait,
    /// The gate is gone: re-attach.
    #[error("the gate is gone: re-attach")]
    Lost,
    /// The gate's memory contradicts the protocol.
    #[error("the gate broke the ring protocol: {0}")]
    Fault(#[from] Fault),
}

/// An attached feed.
pub struct FeedClient {
    options: AttachOptions,
    connection: Connection,
    quotes: Producer,
    tape: Producer,
    unconsumed: VecDeque<Sent>,
    next_event: u64,
    spare: Vec<Vec<Words>>,
}

impl FeedClient {
    /// Attaches as the gate's feed, trying again while the reason is transient.
    ///
    /// # Errors
    /// The last [`AttachError`] after `patience`.
    pub fn attach(options: AttachOptions, patience: Duration) -> Result<Self, AttachError> {
        let connection = crate::client::retry(patience, || Connection::open(&options, None))?;
        let (quotes, tape) = rings(&connection)?;
        let next_event = connection.welcome.tape_event + 1;
        Ok(Self {
            options,
            connection,
            quotes,
            tape,
            unconsumed: VecDeque::new(),
            next_event,
            spare: Vec::new(),
        })
    }

    /// The number the next event must carry.
    #[must_use]
    pub fn next_event(&self) -> u64 {
        self.next_event
    }

    /// The symbol table.
    #[must_use]
    pub fn market(&self) -> &MarketReader {
        &self.connection.market
    }

    /// Whether the gate runs in turns with the tape.
    #[must_use]
    pub fn lockstep(&self) -> bool {
        self.connection.welcome.lockstep
    }

    /// Gate time, ns.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        self.connection.clock.now_ns()
    }

    /// Whether the attachment still stands.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        !self.connection.is_lost()
    }

    /// Whether the slowest paced strategy lets event `event` go out now.
    #[must_use]
    pub fn is_paced(&self, event: u64) -> bool {
        layout::events_paced(&self.connection.events).is_none_or(|limit| event <= limit)
    }

    /// Publishes event [`FeedClient::next_event`], whose messages are `words` (each carries that number, the last one
    /// is final). All or nothing.
    ///
    /// # Errors
    /// [`PublishError`]; nothing was published then.
    pub fn publish(&mut self, words: &[Words]) -> Result<(), PublishError> {
        if !self.tape.has_room(words.len() as u64)? {
            return Err(if self.connection.is_lost() { PublishError::Lost } else { PublishError::Wait });
        }
        let for_gate = words.last().filter(|w| is_top(w) && !self.lockstep());
        if for_gate.is_some() && !self.quotes.has_room(1)? {
            return Err(if self.connection.is_lost() { PublishError::Lost } else { PublishError::Wait });
        }
        let first_position = self.tape.position();
        for word in words {
            self.tape.push1(word)?;
        }
        if let Some(quote) = for_gate {
            self.quotes.push1(quote)?;
        }
        self.connection.bells.ring_all();
        self.remember(first_position, words)
    }

    fn remember(&mut self, first_position: u64, words: &[Words]) -> Result<(), PublishError> {
        let consumed = self.tape.position() - (self.tape.capacity() - self.tape.free()?);
        while self
            .unconsumed
            .front()
            .is_some_and(|sent| sent.first_position + sent.words.len() as u64 <= consumed)
        {
            if let Some(mut sent) = self.unconsumed.pop_front() {
                sent.words.clear();
                self.spare.push(sent.words);
            }
        }
        let mut copy = self.spare.pop().unwrap_or_default();
        copy.extend_from_slice(words);
        self.unconsumed.push_back(Sent { event: self.next_event, first_position, words: copy });
        self.next_event += 1;
        Ok(())
    }

    /// Says that the tape is over.
    ///
    /// # Errors
    /// [`PublishError`]; nothing was published then.
    pub fn publish_end(&mut self) -> Result<(), PublishError> {
        let end = TapeEnd { event: self.next_event - 1 }.encode();
        match self.tape.push1(&end)? {
            Some(_) => {
                self.connection.bells.ring_all();
                Ok(())
            }
            None if self.connection.is_lost() => Err(PublishError::Lost),
            None => Err(PublishError::Wait),
        }
    }

    /// Sends the book as the feed knows it, before the first event of a feed that starts behind others: tape messages
    /// that carry the number of the last consumed event. `false` when the gate is gone.
    pub fn publish_snapshot(&mut self, words: &[Words]) -> bool {
        self.push_all(words.iter())
    }

    /// Attaches again after the gate died, and sends what its venue had not consumed, after `snapshot`: the book as
    /// the feed knows it (tape messages that carry the number of the last consumed event). Returns that number.
    ///
    /// # Errors
    /// The last [`AttachError`] after `patience`.
    pub fn reattach(
        &mut self,
        patience: Duration,
        mut snapshot: impl FnMut(u64) -> Vec<Words>,
    ) -> Result<u64, AttachError> {
        loop {
            let connection = crate::client::retry(patience, || Connection::open(&self.options, None))?;
            let (quotes, tape) = rings(&connection)?;
            let consumed = connection.welcome.tape_event;
            self.connection = connection;
            (self.quotes, self.tape) = (quotes, tape);
            let again: Vec<Sent> = std::mem::take(&mut self.unconsumed)
                .into_iter()
                .filter(|sent| sent.event > consumed)
                .collect();
            let next = self.next_event;
            self.next_event = again.first().map_or(next, |sent| sent.event);
            let sent_all = self.push_all(snapshot(consumed).iter())
                && again.iter().all(|sent| self.publish_patiently(&sent.words));
            self.unconsumed.extend(again.into_iter().filter(|sent| sent.event >= self.next_event));
            self.next_event = next;
            if sent_all {
                return Ok(consumed);
            }
        }
    }

    fn push_all<'a>(&mut self, words: impl Iterator<Item = &'a Words>) -> bool {
        for word in words {
            loop {
                match self.tape.push1(word) {
                    Ok(Some(_)) => {
                        self.connection.bells.ring_all();
                        break;
                    }
                    Ok(None) if !self.connection.is_lost() => std::thread::sleep(Duration::from_micros(50)),
                    _ => return false,
                }
            }
        }
        true
    }

    fn publish_patiently(&mut self, words: &[Words]) -> bool {
        loop {
            match self.publish(words) {
                Ok(()) => return true,
                Err(PublishError::Wait) => std::thread::sleep(Duration::from_micros(50)),
                Err(_) => return false,
            }
        }
    }
}

/// Whether the gate itself wants this message: top of book and trades.
fn is_top(words: &Words) -> bool {
    matches!(kind_of(words), kind::QUOTE | kind::TRADE)
}

fn rings(connection: &Connection) -> Result<(Producer, Producer), AttachError> {
    let welcome = &connection.welcome;
    let ring = |index: usize, slots: u32| -> Result<Producer, AttachError> {
        let slots = layout::intents_slots_mut(&connection.intents, index, slots)?;
        Ok(Producer::new(slots, layout::events_consumed(&connection.events, index)?, 0))
    };
    Ok((ring(0, welcome.intents_slots)?, ring(1, welcome.tape_slots)?))
}
