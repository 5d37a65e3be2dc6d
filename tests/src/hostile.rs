//! Strategies of bad will, each with a habit of its own, all rate-capped: what they cost others is not their share of a
//! CPU but what they make the gate do.

use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::Duration;

use ringfence_ipc::handshake::{Packet, Role, socket};
use ringfence_ipc::msg::{Intent, Side, Words};
use ringfence_ipc::ring::{Producer, continuation_word, head_word};
use rustix::net::SendFlags;

use crate::Dice;
use crate::raw::{Raw, connect, hello};

/// What one of them does all day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    /// Attaches, breaks its ring in one of four ways, is thrown out, begins again.
    BreaksItsRing,
    /// Sends messages that mean nothing, and reads no answer before its ring is full.
    SendsNonsense,
    /// Sends orders that no limit lets through.
    SendsHopelessOrders,
    /// Rewrites its slots and its header while they are read.
    RewritesItsMemory,
    /// Lies about what it has read.
    LiesAboutReading,
    /// Sends garbage to the control socket.
    SendsGarbagePackets,
    /// Opens connections and says nothing.
    OpensConnections,
    /// Floods its control socket with packets that do not belong there.
    FloodsItsSocket,
}

impl Habit {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::BreaksItsRing,
        Self::SendsNonsense,
        Self::SendsHopelessOrders,
        Self::RewritesItsMemory,
        Self::LiesAboutReading,
        Self::SendsGarbagePackets,
        Self::OpensConnections,
        Self::FloodsItsSocket,
    ];
}

/// One process of bad will.
pub struct Hostile<'a> {
    path: &'a Path,
    name: String,
    dice: Dice,
    /// Rest after each act.
    pause: Duration,
    held: Vec<std::os::fd::OwnedFd>,
}

impl<'a> Hostile<'a> {
    /// Number `number`, which says its habit too, against the gate at `path`.
    #[must_use]
    pub fn new(path: &'a Path, number: u64, pause: Duration) -> Self {
        Self { path, name: format!("hostile-{number}"), dice: Dice::new(number), pause, held: Vec::new() }
    }

    /// Lives by `habit` until the process ends.
    pub fn live(&mut self, habit: Habit) -> ! {
        loop {
            // Whatever goes wrong with one attachment, there is another.
            let _ = match habit {
                Habit::SendsGarbagePackets => self.garbage(),
                Habit::OpensConnections => self.silence(),
                _ => self.attachment(habit),
            };
            std::thread::sleep(self.pause * 50);
        }
    }

    fn garbage(&mut self) -> Option<()> {
        let socket = socket::connect(self.path).ok()?;
        let length = 1 + self.dice.below(4000) as usize;
        let mut bytes: Vec<u8> = (0..length).map(|_| self.dice.below(256) as u8).collect();
        if length > 5 && self.dice.below(2) == 0 {
            bytes[..4].copy_from_slice(b"RFv1");
            bytes[4] = 1 + self.dice.below(8) as u8;
        }
        rustix::net::send(&socket, &bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT).ok().map(drop)
    }

    fn silence(&mut self) -> Option<()> {
        self.held.push(connect_if_possible(self.path)?);
        if self.held.len() > 4 {
            self.held.clear();
        }
        Some(())
    }

    /// One attachment, lived through until the gate ends it.
    fn attachment(&mut self, habit: Habit) -> Option<()> {
        connect_if_possible(self.path)?;
        let raw = Raw::begin(self.path, &hello(Role::Strategy, &self.name)).ok()?;
        raw.mapped().ok()?;
        let (mut intents, mut events) = raw.ends();
        socket::set_timeout(raw.socket.as_fd(), Duration::from_millis(1)).ok()?;
        let mut acts = 0_u64;
        loop {
            acts += 1;
            match habit {
                Habit::BreaksItsRing => self.breaks(&raw, intents.position()),
                Habit::SendsNonsense => {
                    let words: Words = std::array::from_fn(|_| self.dice.below(1 << 53) << 11);
                    let _ = intents.push1(&words);
                }
                Habit::SendsHopelessOrders | Habit::LiesAboutReading => self.hopeless(&mut intents, acts),
                Habit::RewritesItsMemory => self.rewrites(&raw, &mut intents, acts),
                Habit::FloodsItsSocket => {
                    for _ in 0..16 {
                        socket::send(raw.socket.as_fd(), &Packet::Mapped, &[]).ok()?;
                    }
                }
                Habit::SendsGarbagePackets | Habit::OpensConnections => return None,
            }
            if habit == Habit::LiesAboutReading && acts.is_multiple_of(200) {
                raw.claim_consumed(self.dice.below(1 << 40));
            }
            // Nonsense piles up until the ring is full; the others read, or they would only wait.
            if habit != Habit::SendsNonsense || acts.is_multiple_of(2048) {
                while let Ok(Some(head)) = events.peek() {
                    events.advance(head.slots);
                }
                events.publish();
            }
            std::thread::sleep(self.pause);
            if acts.is_multiple_of(8) && !matches!(receive(&raw), Some(socket::Received::Nothing)) {
                return Some(());
            }
        }
    }

    fn breaks(&mut self, raw: &Raw, position: u64) {
        let words = order(position).encode();
        match self.dice.below(4) {
            0 => raw.put(position, &words, head_word(position + 7, 1)),
            1 => raw.put(position, &words, continuation_word(position)),
            2 => raw.put(position, &words, head_word(position, 3)),
            _ => raw.put(position, &words, self.dice.below(1 << 53) | 1 << 63),
        }
    }

    fn hopeless(&mut self, intents: &mut Producer, acts: u64) {
        let _ = intents.push1(&order(acts).encode());
    }

    fn rewrites(&mut self, raw: &Raw, intents: &mut Producer, acts: u64) {
        let position = intents.position();
        self.hopeless(intents, acts);
        let slots = u64::from(raw.welcome.intents_slots);
        for _ in 0..8 {
            let words: Words = std::array::from_fn(|_| self.dice.below(1 << 60));
            raw.slots().store_payload((position % slots) as usize, &words);
        }
        let _ = raw.intents.store(self.dice.below(512) as usize * 8, self.dice.below(1 << 40));
    }
}

/// An order over any limit: refused, and nothing of it stays.
fn order(key: u64) -> Intent {
    Intent::limit(0, Side::Buy, 5_000_000, -1, u128::from(key) + 1, 1)
}

fn receive(raw: &Raw) -> Option<socket::Received> {
    socket::receive(raw.socket.as_fd(), true).ok()
}

fn connect_if_possible(path: &Path) -> Option<std::os::fd::OwnedFd> {
    std::panic::catch_unwind(|| connect(path)).ok()
}
