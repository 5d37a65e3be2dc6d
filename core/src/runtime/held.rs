//! Tier `power`: what was decided and waits until its record is on disk, in the order in which it was decided.
//!
//! A bounded FIFO that the gate thread fills and empties; it never waits itself. Order is kept over everything, so that
//! a client's duplicates and transient rejects, which have no record, queue behind its decisions too.

use std::collections::VecDeque;
use std::ops::Range;

use ringfence_ipc::msg::{Command, Words};

use super::mailbox::FromGate;
use crate::gate::Space;

/// The part of the FIFO that only cancels and reports may use, as a divisor.
const RESERVE: usize = 16;
/// The fewest entries it may hold.
pub(super) const MIN_ENTRIES: usize = 64;

/// Whom an entry is for: a place among the gate's clients, and who must still be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Addressee {
    pub at: u16,
    pub client: u64,
}

/// What waits.
pub(super) enum Waiting {
    /// The answer to an intent, seen at this gate time.
    Answer { to: Addressee, words: Words, seen_ns: u64 },
    /// A report for the strategy.
    Report { to: Addressee, words: [Words; 2] },
    /// What the venue is to do, as decided at this gate time.
    Command { command: Command, now_ns: u64 },
    /// Something for the control thread.
    Mail(FromGate),
}

impl Waiting {
    /// Whose event ring it goes to, and how many slots it takes there.
    const fn slots(&self) -> Option<(Addressee, u64)> {
        match self {
            Self::Answer { to, .. } => Some((*to, 1)),
            Self::Report { to, .. } => Some((*to, 2)),
            Self::Command { .. } | Self::Mail(_) => None,
        }
    }
}

struct Entry {
    /// Shown when the durable position has come this far.
    until: u64,
    what: Waiting,
}

/// The FIFO. In tier `process` it is off: empty for ever, and nothing waits.
pub(super) struct Held {
    entries: VecDeque<Entry>,
    limit: usize,
    /// Slots of each client's event ring that waiting entries will take, by place.
    promised: Vec<u64>,
    commands: usize,
    /// Set when the disk has failed: the records at these positions were never shown and never will be in this life.
    unreleased: Option<Range<u64>>,
}

impl Held {
    /// At most `limit` entries for at most `clients` clients, allocated and touched; a limit of 0: off.
    pub fn new(limit: usize, clients: usize) -> Self {
        let mut entries = VecDeque::with_capacity(limit);
        let blank = || Entry { until: 0, what: Waiting::Mail(FromGate::Stopped) };
        entries.extend((0..limit).map(|_| blank()));
        entries.clear();
        Self { entries, limit, promised: vec![0; clients], commands: 0, unreleased: None }
    }

    /// Tier `power`, whether the disk has failed or not.
    #[inline]
    pub const fn is_on(&self) -> bool {
        self.limit > 0
    }

    /// Whatever is to be shown has to wait here. No more after the disk has failed: what is decided then is shown at
    /// once, and says that it reached tier `process` only.
    #[inline]
    pub const fn holds(&self) -> bool {
        self.limit > 0 && self.unreleased.is_none()
    }

    /// Something waits.
    #[inline]
    pub fn is_waiting(&self) -> bool {
        !self.entries.is_empty()
    }

    /// Entries that wait.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Commands among them.
    pub const fn commands(&self) -> usize {
        self.commands
    }

    /// Entries that still fit.
    pub fn free(&self) -> usize {
        if self.holds() { self.limit - self.entries.len() } else { usize::MAX }
    }

    /// The room for an intent's answer and command.
    pub fn space(&self) -> Space {
        match self.free() {
            0..=1 => Space::Full,
            free if free <= self.limit / RESERVE => Space::Reserved,
            _ => Space::Open,
        }
    }

    /// Slots of the event ring at place `at` that are spoken for.
    pub fn promised(&self, at: usize) -> u64 {
        self.promised.get(at).copied().unwrap_or(0)
    }

    /// A new client takes place `at`: what waits for its predecessor is not for it.
    pub fn vacate(&mut self, at: usize) {
        if let Some(promised) = self.promised.get_mut(at) {
            *promised = 0;
        }
        // An addressee no client ever is.
        for entry in &mut self.entries {
            if let Waiting::Answer { to, .. } | Waiting::Report { to, .. } = &mut entry.what
                && usize::from(to.at) == at
            {
                to.client = 0;
            }
        }
    }

    /// Waits for the durable position `until`, and for everything that waits already.
    ///
    /// # Panics
    /// Without room, which is looked at before anything is decided.
    pub fn push(&mut self, until: u64, what: Waiting) {
        assert!(self.entries.len() < self.limit, "an entry without room for it");
        if let Some((to, slots)) = what.slots()
            && let Some(promised) = self.promised.get_mut(usize::from(to.at))
        {
            *promised += slots;
        }
        self.commands += usize::from(matches!(what, Waiting::Command { .. }));
        let until = self.entries.back().map_or(until, |last| until.max(last.until));
        self.entries.push_back(Entry { until, what });
    }

    /// The next entry that the durable position lets out.
    pub fn due(&self, durable_pos: u64) -> Option<&Waiting> {
        self.entries.front().filter(|entry| entry.until <= durable_pos).map(|entry| &entry.what)
    }

    /// Takes the oldest entry.
    pub fn pop(&mut self) -> Option<Waiting> {
        let what = self.entries.pop_front()?.what;
        if let Some((to, slots)) = what.slots()
            && to.client != 0
            && let Some(promised) = self.promised.get_mut(usize::from(to.at))
        {
            *promised -= slots;
        }
        self.commands -= usize::from(matches!(what, Waiting::Command { .. }));
        Some(what)
    }

    /// The disk has failed: from here on nothing waits. What is in the FIFO must be taken out and thrown away.
    pub fn fail(&mut self, durable_pos: u64, end: u64) {
        self.unreleased = Some(durable_pos..end);
    }

    /// The record at `position` was never shown, because the disk had failed.
    pub fn is_unreleased(&self, position: u64) -> bool {
        self.unreleased.as_ref().is_some_and(|lost| lost.contains(&position))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(at: u16, client: u64) -> Waiting {
        Waiting::Answer { to: Addressee { at, client }, words: [client; 7], seen_ns: 0 }
    }

    fn clients(held: &mut Held, durable_pos: u64) -> Vec<u64> {
        let mut out = Vec::new();
        while held.due(durable_pos).is_some() {
            match held.pop() {
                Some(Waiting::Answer { to, .. } | Waiting::Report { to, .. }) => out.push(to.client),
                _ => out.push(0),
            }
        }
        out
    }

    #[test]
    fn what_has_no_record_queues_behind_what_has() {
        let mut held = Held::new(64, 2);
        held.push(10, answer(0, 1));
        held.push(0, answer(0, 2));
        held.push(12, answer(1, 3));
        held.push(0, answer(0, 4));
        assert_eq!(clients(&mut held, 9), [0_u64; 0]);
        assert_eq!(clients(&mut held, 10), [1, 2]);
        assert_eq!(clients(&mut held, 11), [0_u64; 0]);
        assert_eq!(clients(&mut held, 12), [3, 4]);
        held.push(0, answer(0, 5));
        assert_eq!(clients(&mut held, 0), [5], "with nothing before it, it need not wait");
    }

    #[test]
    fn a_sixteenth_is_kept_and_a_full_fifo_takes_no_intent() {
        let mut held = Held::new(64, 1);
        while held.space() == Space::Open {
            held.push(1, answer(0, 1));
        }
        assert_eq!(held.len(), 60);
        while held.space() == Space::Reserved {
            held.push(1, answer(0, 1));
        }
        assert_eq!((held.len(), held.free()), (63, 1));
        assert_eq!(clients(&mut held, 1).len(), 63);
        assert_eq!(held.space(), Space::Open);
    }

    #[test]
    fn slots_of_event_rings_are_promised_once_and_never_to_a_successor() {
        let mut held = Held::new(64, 2);
        held.push(1, answer(0, 1));
        held.push(1, Waiting::Report { to: Addressee { at: 0, client: 1 }, words: [[0; 7]; 2] });
        held.push(1, answer(1, 2));
        assert_eq!((held.promised(0), held.promised(1)), (3, 1));
        held.vacate(0);
        held.push(1, answer(0, 3));
        assert_eq!((held.promised(0), held.promised(1)), (1, 1));
        assert_eq!(clients(&mut held, 1), [0, 0, 2, 3]);
        assert_eq!((held.promised(0), held.promised(1)), (0, 0));
    }

    #[test]
    fn after_a_failure_nothing_waits() {
        let mut held = Held::new(64, 1);
        held.push(7, answer(0, 1));
        held.fail(5, 9);
        assert!(held.is_on() && !held.holds() && held.is_waiting());
        assert_eq!((held.free(), held.space()), (usize::MAX, Space::Open));
        assert_eq!((4..10).filter(|at| held.is_unreleased(*at)).collect::<Vec<_>>(), [5, 6, 7, 8]);
    }

    #[test]
    fn off_it_takes_no_part_in_anything() {
        let held = Held::new(0, 0);
        assert!(!held.is_on() && !held.holds() && !held.is_waiting());
        assert_eq!((held.free(), held.space()), (usize::MAX, Space::Open));
    }
}
