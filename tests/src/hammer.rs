//! A strategy that submits as fast as the gate takes it, mixes orders and cancels, survives the gate's death, and keeps
//! a diary.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ringfence_ipc::client::{Client, Event, SubmitError};
use ringfence_ipc::msg::{Decision, Intent, IntentKind, OrderId, Outcome, Side, Tif};

use crate::Dice;
use crate::diary::{Diary, REBORN};

/// Orders it keeps open at most.
const OPEN_ORDERS: usize = 300;
/// Intents between two looks at the answers.
const BURST: usize = 32;
/// Entries of the diary kept free for answers that are still to come.
const SPARE_ENTRIES: usize = 150_000;
/// How long a vanished gate is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// Intents of an earlier process of this strategy that are sent again.
const AGAIN: usize = 1000;
const LOT: i64 = 1000;

/// The strategy.
pub struct Hammer {
    client: Client,
    diary: Diary,
    next_key: u128,
    open: VecDeque<OrderId>,
    /// Intents without an answer that name an order to open or close.
    asked: VecDeque<(u64, IntentKind)>,
    bid: i64,
    dice: Dice,
    /// Written down and not gone out yet.
    held: Option<Intent>,
    /// Rest after each burst.
    pause: Duration,
}

impl Hammer {
    /// Hammers through `client`; keys count from `first_key`.
    #[must_use]
    pub fn new(client: Client, diary: Diary, first_key: u128, seed: u64) -> Self {
        Self {
            client,
            diary,
            next_key: first_key,
            open: VecDeque::new(),
            asked: VecDeque::new(),
            bid: 6_000_000,
            dice: Dice::new(seed),
            held: None,
            pause: Duration::ZERO,
        }
    }

    /// Rests for `pause` after each burst.
    #[must_use]
    pub fn paced(self, pause: Duration) -> Self {
        Self { pause, ..self }
    }

    /// Takes over from a process that was killed: what it asked last is asked again, word for word, then on.
    ///
    /// # Panics
    /// When the gate cannot be reached.
    #[must_use]
    pub fn reborn(client: Client, mut diary: Diary, seed: u64) -> Self {
        let past: Vec<Intent> = diary.read().iter().filter_map(|words| Intent::decode(words).ok()).collect();
        let last_key = past.iter().map(|intent| intent.key).max().unwrap_or(0);
        diary.write(&[REBORN, 0, 0, 0, 0, 0, 0]);
        let mut hammer = Self::new(client, diary, last_key + 1, seed);
        for intent in &past[past.len().saturating_sub(AGAIN)..] {
            hammer.ask(*intent);
            while !hammer.submit() {
                hammer.listen();
                std::thread::sleep(Duration::from_micros(20));
            }
        }
        hammer
    }

    /// Submits until `stop`, then listens until everything is answered. Returns the diary.
    ///
    /// # Panics
    /// When the gate breaks the protocol or stays away.
    pub fn run(mut self, stop: &AtomicBool) -> Diary {
        while !stop.load(Ordering::Relaxed) {
            let mut went = 0;
            while went < BURST && self.diary.room() > SPARE_ENTRIES {
                if self.held.is_none() {
                    let intent = self.next_intent();
                    self.ask(intent);
                }
                if !self.submit() {
                    break;
                }
                went += 1;
            }
            if self.listen() == 0 && went == 0 {
                std::thread::sleep(Duration::from_micros(20));
            }
            if !self.pause.is_zero() {
                std::thread::sleep(self.pause);
            }
        }
        let mut quiet_since = Instant::now();
        while self.client.unanswered() > 0 || quiet_since.elapsed() < Duration::from_millis(200) {
            if self.listen() > 0 {
                quiet_since = Instant::now();
            }
            assert!(quiet_since.elapsed() < PATIENCE, "{} intents stay unanswered", self.client.unanswered());
            std::thread::sleep(Duration::from_micros(200));
        }
        self.diary
    }

    fn next_intent(&mut self) -> Intent {
        let key = self.next_key;
        let now_ns = self.client.now_ns();
        if self.open.len() > OPEN_ORDERS || (!self.open.is_empty() && self.dice.below(4) == 0) {
            let target = self.open.pop_front().unwrap_or(0);
            return Intent::cancel(0, target, key, now_ns);
        }
        if let Some(view) = self.client.market().view(0).filter(|view| view.bid_price > 0) {
            self.bid = view.bid_price;
        }
        let side = if self.dice.below(2) == 0 { Side::Buy } else { Side::Sell };
        // Some cross the spread and fill, some rest.
        let away = self.dice.below(40) as i64 - 10;
        let price = self.bid - side.sign() * away * 100;
        let tif = if self.dice.below(3) == 0 { Tif::Ioc } else { Tif::Gtc };
        Intent { tif, ..Intent::limit(0, side, price, LOT * (1 + self.dice.below(5) as i64), key, now_ns) }
    }

    /// Writes an intent down; [`Self::submit`] sends it.
    fn ask(&mut self, intent: Intent) {
        self.diary.asks(&intent);
        self.next_key = self.next_key.max(intent.key + 1);
        self.held = Some(intent);
    }

    /// `false`: no room, or the gate is away.
    fn submit(&mut self) -> bool {
        let Some(intent) = self.held else { return true };
        match self.client.submit(&intent) {
            Ok(position) => {
                self.diary.sent(&intent, position);
                self.asked.push_back((position, intent.kind));
                self.held = None;
                true
            }
            Err(SubmitError::Full | SubmitError::Lost) => false,
            Err(SubmitError::Fault(fault)) => panic!("the gate broke the ring protocol: {fault}"),
        }
    }

    /// Reads everything there is; says how much that was.
    fn listen(&mut self) -> usize {
        let mut heard = 0;
        while let Some(event) = self.client.poll() {
            heard += 1;
            match event {
                Event::Decision(decision) => self.on_decision(&decision),
                Event::Report(report) => {
                    self.diary.told(&report);
                    if report.state.is_terminal() {
                        self.open.retain(|id| *id != report.order_id);
                    }
                }
                Event::Step(_) => {}
                Event::Lost => {
                    assert_eq!(self.client.fault(), None, "the gate broke the ring protocol");
                    self.client.reattach(PATIENCE).expect("the gate comes back");
                }
            }
        }
        heard
    }

    fn on_decision(&mut self, decision: &Decision) {
        self.diary.write(&decision.encode());
        let at = self.asked.iter().position(|(position, _)| *position == decision.intent_position);
        let Some((_, asked)) = at.and_then(|at| self.asked.remove(at)) else {
            panic!("a decision for nothing that was asked: {decision:?}");
        };
        if asked == IntentKind::New && decision.outcome == Outcome::Accepted {
            self.open.push_back(decision.order_id);
        }
    }
}
