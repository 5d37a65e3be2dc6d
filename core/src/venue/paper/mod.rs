//! The paper venue: price-time fills against the live or replayed tape.
//!
//! Own orders rest beside the displayed book, never in it: the tape is history and does not react to them. An order
//! fills when the tape proves that it would have: by its place in the queue when trades print at its price, at once
//! when the market trades or is quoted through it, and as a taker against displayed levels.

mod entry;
mod money;
mod order;
mod queue;
mod random;
mod resting;
mod snapshot;
mod tape;

use super::book::Book;
use order::Till;
use random::Random;
use resting::{Key, Place, Resting};
use ringfence_ipc::msg::{Command, OrderId, Report, Side, SymbolId};
use ringfence_ipc::symbol::Symbol;
use std::collections::{HashMap, HashSet, VecDeque};

/// Commands under way at once; beyond it the oldest arrives early rather than being lost.
const MAX_QUEUED_COMMANDS: usize = 65_536;
/// Ids of finished orders that a repeated `New` is still recognised by.
const MAX_FINISHED_IDS: usize = 65_536;

/// The parameters of the model. The same configuration and the same input give the same reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaperConfig {
    /// From the gate to the venue, ns.
    pub latency_ns: u64,
    /// Added to it, drawn evenly from `0..=jitter_ns` per command; commands never overtake each other.
    pub jitter_ns: u64,
    /// Fee of a fill that added liquidity, parts per million of its notional; negative: a rebate.
    pub maker_fee_ppm: i32,
    /// Fee of a fill that took liquidity, parts per million of its notional; negative: a rebate.
    pub taker_fee_ppm: i32,
    /// How many of a million new orders are refused with `VENUE_REJECT`, `0..=1_000_000`.
    pub reject_ppm: u32,
    /// Seeds jitter and rejects.
    pub seed: u64,
    /// The most orders resting at once; a new order beyond it is refused with `VENUE_REJECT`.
    pub max_orders: usize,
    /// The first fill's trade id is one more. A restarted venue must be given one above all it has used, such as the
    /// gate's epoch in the top 16 bits.
    pub trade_id_base: u64,
}

impl Default for PaperConfig {
    fn default() -> Self {
        Self {
            latency_ns: 200_000,
            jitter_ns: 50_000,
            maker_fee_ppm: 0,
            taker_fee_ppm: 500,
            reject_ppm: 0,
            seed: 1,
            max_orders: 65_536,
            trade_id_base: 0,
        }
    }
}

/// A simulated exchange for the symbols of one table. Times are gate time, ns, and never go back.
#[derive(Debug)]
pub struct PaperVenue {
    config: PaperConfig,
    markets: Vec<Market>,
    places: HashMap<OrderId, Place>,
    finished: Finished,
    queue: VecDeque<(u64, Command)>,
    random: Random,
    till: Till,
    /// The newest order that has arrived; orders arrive in the order of their ids.
    newest_entered: OrderId,
    arrivals: u64,
    /// Orders that the trade in hand has filled whole; empty between calls.
    done: Vec<(Side, Key, OrderId)>,
    last_due_ns: u64,
    counts: Counts,
}

/// One symbol: what is displayed, and what of ours rests beside it.
#[derive(Debug)]
struct Market {
    symbol: Symbol,
    book: Book,
    bids: Resting,
    asks: Resting,
}

impl Market {
    fn resting(&mut self, side: Side) -> &mut Resting {
        match side {
            Side::Buy => &mut self.bids,
            Side::Sell => &mut self.asks,
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    events: u64,
    last_event: u64,
    malformed: u64,
    repeated: u64,
    hurried: u64,
}

impl Counts {
    /// The final message of market event `number` has been seen.
    fn event_done(&mut self, number: u64) {
        if number > self.last_event {
            self.last_event = number;
            self.events += 1;
        }
    }
}

/// The ids of the newest finished orders, oldest forgotten first.
#[derive(Debug, Default)]
struct Finished {
    ids: HashSet<OrderId>,
    order: VecDeque<OrderId>,
}

impl Finished {
    fn contains(&self, id: OrderId) -> bool {
        self.ids.contains(&id)
    }

    fn insert(&mut self, id: OrderId) {
        if self.ids.insert(id) {
            self.order.push_back(id);
        }
        if self.order.len() > MAX_FINISHED_IDS
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }
}

impl PaperVenue {
    /// A venue with empty books; symbol ids index `symbols`.
    #[must_use]
    pub fn new(config: PaperConfig, symbols: &[Symbol]) -> Self {
        let market = |symbol: &Symbol| Market {
            symbol: *symbol,
            book: Book::new(),
            bids: Resting::new(Side::Buy),
            asks: Resting::new(Side::Sell),
        };
        Self {
            config,
            markets: symbols.iter().map(market).collect(),
            places: HashMap::new(),
            finished: Finished::default(),
            queue: VecDeque::new(),
            random: Random::new(config.seed),
            till: Till::new(&config, symbols.len()),
            newest_entered: 0,
            arrivals: 0,
            done: Vec::new(),
            last_due_ns: 0,
            counts: Counts::default(),
        }
    }

    /// Market events up to `event` were consumed in an earlier life: a snapshot under that number is no event.
    pub fn resume_after(&mut self, event: u64) {
        self.counts.last_event = self.counts.last_event.max(event);
    }

    /// Takes a command that leaves the gate at `now_ns`. It arrives after the configured latency; what is due by
    /// `now_ns` is executed before this returns. Reports are appended to `out`.
    pub fn on_command(&mut self, command: &Command, now_ns: u64, out: &mut Vec<Report>) {
        let delay_ns = self.config.latency_ns.saturating_add(self.random.up_to(self.config.jitter_ns));
        let due_ns = now_ns.saturating_add(delay_ns).max(self.last_due_ns);
        self.last_due_ns = due_ns;
        if self.queue.len() >= MAX_QUEUED_COMMANDS
            && let Some((_, oldest)) = self.queue.pop_front()
        {
            self.counts.hurried += 1;
            self.execute(&oldest, now_ns, out);
        }
        self.queue.push_back((due_ns, *command));
        self.advance(now_ns, out);
    }

    /// Executes every command that is due by `now_ns`, in order of arrival.
    pub fn advance(&mut self, now_ns: u64, out: &mut Vec<Report>) {
        while let Some((due_ns, command)) = self.queue.pop_front_if(|(due_ns, _)| *due_ns <= now_ns) {
            self.execute(&command, due_ns, out);
        }
    }

    /// When the next command arrives, gate time ns; `None` when none is under way.
    #[must_use]
    pub fn next_due_ns(&self) -> Option<u64> {
        self.queue.front().map(|(due_ns, _)| *due_ns)
    }

    /// Market events whose final message has been seen in this life, malformed ones included. A snapshot that a feed
    /// sends again under a number already seen is not counted again, see [`PaperVenue::resume_after`].
    #[must_use]
    pub const fn events_seen(&self) -> u64 {
        self.counts.events
    }

    /// The highest market event number whose final message has been seen, 0 before the first.
    #[must_use]
    pub const fn last_event(&self) -> u64 {
        self.counts.last_event
    }

    /// Tape messages that could not be decoded, name no symbol of the table or make no sense as a market.
    #[must_use]
    pub const fn malformed(&self) -> u64 {
        self.counts.malformed
    }

    /// New orders that were ignored because their id was known.
    #[must_use]
    pub const fn repeated(&self) -> u64 {
        self.counts.repeated
    }

    /// Commands that arrived before their time because too many were under way.
    #[must_use]
    pub const fn hurried(&self) -> u64 {
        self.counts.hurried
    }

    /// Orders resting now, over all symbols.
    #[must_use]
    pub fn open_orders(&self) -> usize {
        self.places.len()
    }

    /// The displayed book of `symbol`.
    #[must_use]
    pub fn book(&self, symbol: SymbolId) -> Option<&Book> {
        self.markets.get(usize::from(symbol)).map(|market| &market.book)
    }

    /// Scaled quantity that must trade at the order's price before it does: displayed ahead of it, plus own earlier
    /// orders at that price. `None` when the order does not rest.
    #[must_use]
    pub fn queue_ahead(&self, order_id: OrderId) -> Option<i64> {
        let place = self.places.get(&order_id)?;
        let market = self.markets.get(usize::from(place.symbol))?;
        let resting = if place.side == Side::Buy { &market.bids } else { &market.asks };
        Some(resting.get(place.key)?.queue.ahead.saturating_add(resting.own_ahead(place.key)))
    }
}

#[cfg(test)]
mod tests;
