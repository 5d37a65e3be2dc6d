//! A client process of a run, on rings like the real ones in private memory, and its side of the protocol.

use std::collections::VecDeque;

use ringfence_ipc::handshake::Role;
use ringfence_ipc::msg::{Decision, Report, Words, kind, kind_of};
use ringfence_ipc::ring::{Consumer, Producer};
use ringfence_ipc::view::{WriteSlots, WriteWord};

use super::model::Ask;
use crate::runtime::port::{About, ClientPort};

const INTENTS_SLOTS: usize = 64;
/// Small enough for a client that does not read to be noticed.
const EVENTS_SLOTS: usize = 256;

/// Both ends of one attachment.
struct Rings {
    intents: Producer,
    events: Consumer,
    /// Reads the same events for the run itself, without giving slots back.
    spy: Consumer,
}

/// An intent and where it stands in its ring.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub ask: Ask,
    pub position: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Nobody serves it.
    Down,
    /// Its port is on the way to the gate.
    Attaching,
    Up,
}

/// What the gate wrote into one event ring.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Told {
    Decision(Decision),
    Report(Report),
}

pub struct Client {
    pub role: Role,
    pub strategy: u16,
    /// Number of the attachment.
    pub number: u64,
    pub link: Link,
    /// It does not read.
    pub slow: bool,
    rings: Option<Rings>,
    /// In the ring and not decided yet, as the run knows.
    pub unserved: VecDeque<Asked>,
    /// Without an answer, as the client knows.
    pub pending: VecDeque<Asked>,
    /// Found no room in the ring of a new attachment.
    backlog: VecDeque<Ask>,
    /// Journal positions of the reports it was told, in order; from `since` on it must be told every one.
    pub heard: Vec<u64>,
    pub since: u64,
    pub last_seq: u64,
    pub asked: u64,
    pub answered: u64,
    /// The newest things it asked for, to be asked again.
    pub memory: VecDeque<Ask>,
}

impl Client {
    pub fn new(role: Role, strategy: u16) -> Self {
        Self {
            role,
            strategy,
            number: 0,
            link: Link::Down,
            slow: false,
            rings: None,
            unserved: VecDeque::new(),
            pending: VecDeque::new(),
            backlog: VecDeque::new(),
            heard: Vec::new(),
            since: 0,
            last_seq: 0,
            asked: 0,
            answered: 0,
            memory: VecDeque::new(),
        }
    }

    /// Fresh rings; the gate's ends of them.
    pub fn open(&mut self, number: u64) -> Box<ClientPort> {
        let (intents, events) = (WriteSlots::heap(INTENTS_SLOTS), WriteSlots::heap(EVENTS_SLOTS));
        let (intents_read, events_read) = (WriteWord::heap(), WriteWord::heap());
        let (intents_seen, events_seen) = (intents_read.reader(), events_read.reader());
        let port = ClientPort {
            client: number,
            role: self.role,
            strategy: self.strategy,
            intents: Consumer::new(intents.reader(), intents_read, 0),
            events: Producer::new(events.slice(0, EVENTS_SLOTS).expect("all of it"), events_seen, 0),
            tape: None,
            market_seen: None,
            paced_limit: None,
            dead_man: false,
            draining: false,
            lagging: WriteWord::heap(),
            lagging_since_ns: 0,
            about: About::default(),
            seen: (0, 0),
        };
        self.rings = Some(Rings {
            intents: Producer::new(intents, intents_seen, 0),
            events: Consumer::new(events.reader(), events_read, 0),
            spy: Consumer::new(events.reader(), WriteWord::heap(), 0),
        });
        (self.number, self.link) = (number, Link::Attaching);
        Box::new(port)
    }

    /// Submits; false when the ring is full.
    pub fn submit(&mut self, ask: Ask) -> Result<bool, String> {
        if self.link != Link::Up || !self.backlog.is_empty() || !self.push(ask)? {
            return Ok(false);
        }
        self.asked += 1;
        self.memory.push_back(ask);
        if self.memory.len() > 64 {
            self.memory.pop_front();
        }
        Ok(true)
    }

    fn push(&mut self, ask: Ask) -> Result<bool, String> {
        let Some(rings) = &mut self.rings else { return Ok(false) };
        let pushed = match ask.ext {
            None => rings.intents.push1(&ask.words),
            Some(ext) => rings.intents.push(&[ask.words, ext]),
        };
        let Some(position) = pushed.map_err(|fault| format!("intent ring: {fault}"))? else {
            return Ok(false);
        };
        let asked = Asked { ask, position };
        self.unserved.push_back(asked);
        self.pending.push_back(asked);
        Ok(true)
    }

    /// What the gate has written since the last call.
    pub fn spy(&mut self) -> Result<Vec<Told>, String> {
        match &mut self.rings {
            Some(rings) => take(&mut rings.spy),
            None => Ok(Vec::new()),
        }
    }

    /// Reads its events, as the client library does.
    pub fn read(&mut self) -> Result<(), String> {
        let Some(rings) = &mut self.rings else { return Ok(()) };
        let told = take(&mut rings.events)?;
        rings.events.publish();
        for event in told {
            match event {
                Told::Report(report) => self.hear(&report)?,
                Told::Decision(decision) => {
                    self.last_seq =
                        self.last_seq.max(if decision.duplicate { 0 } else { decision.journal_seq });
                    let front = self.pending.pop_front().ok_or("an answer to nothing")?;
                    if front.position != decision.intent_position {
                        return Err(format!("answer to {} where {front:?} waits", decision.intent_position));
                    }
                    self.answered += 1;
                }
            }
        }
        while let Some(ask) = self.backlog.front().copied() {
            if self.link != Link::Up || !self.push(ask)? {
                break;
            }
            self.backlog.pop_front();
        }
        Ok(())
    }

    fn hear(&mut self, report: &Report) -> Result<(), String> {
        if self.heard.last().is_some_and(|last| *last >= report.journal_seq) {
            return Err(format!("report {} after {:?}", report.journal_seq, self.heard.last()));
        }
        self.heard.push(report.journal_seq);
        self.last_seq = self.last_seq.max(report.journal_seq);
        Ok(())
    }

    /// Attached again: what the journal tells of the time between, then everything unanswered once more.
    pub fn resume(&mut self, missed: &[Vec<Words>], begins_at: u64) -> Result<(), String> {
        self.link = Link::Up;
        for slots in missed {
            match slots.as_slice() {
                [words] => {
                    let decision = Decision::decode(words).map_err(|e| e.to_string())?;
                    self.last_seq = self.last_seq.max(decision.journal_seq);
                    let same = |asked: &Asked| asked.ask.words[1] == decision.key_low;
                    if let Some(at) = self.pending.iter().position(same) {
                        self.pending.remove(at);
                    } else if let Some(at) = self.backlog.iter().position(|a| a.words[1] == decision.key_low)
                    {
                        self.backlog.remove(at);
                    } else {
                        continue;
                    }
                    self.answered += 1;
                }
                [head, tail] => self.hear(&Report::decode(head, tail).map_err(|e| e.to_string())?)?,
                _ => return Err("a missed event of no known length".to_owned()),
            }
        }
        self.last_seq = self.last_seq.max(begins_at.saturating_sub(1));
        let unanswered = std::mem::take(&mut self.pending);
        let mut again: VecDeque<Ask> = unanswered.into_iter().map(|asked| asked.ask).collect();
        again.append(&mut self.backlog);
        self.backlog = again;
        self.read()
    }

    /// A new process under the old name: it remembers nothing but what it once asked for.
    pub fn forget(&mut self) {
        let memory = std::mem::take(&mut self.memory);
        *self = Self {
            memory,
            unserved: std::mem::take(&mut self.unserved),
            ..Self::new(self.role, self.strategy)
        };
    }

    /// Intents that it still has to be answered.
    pub fn unanswered(&self) -> usize {
        self.pending.len() + self.backlog.len()
    }
}

fn take(ring: &mut Consumer) -> Result<Vec<Told>, String> {
    let mut told = Vec::new();
    while let Some(head) = ring.peek().map_err(|fault| format!("event ring: {fault}"))? {
        told.push(match kind_of(&head.words) {
            kind::DECISION => Told::Decision(Decision::decode(&head.words).map_err(|e| e.to_string())?),
            _ => {
                let tail = ring.continuation(1).map_err(|fault| format!("event ring: {fault}"))?;
                Told::Report(Report::decode(&head.words, &tail).map_err(|e| e.to_string())?)
            }
        });
        ring.advance(head.slots);
    }
    Ok(told)
}
