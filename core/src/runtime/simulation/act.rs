//! What can happen in a run. Each step carries its own dice, so that leaving one out changes no other.

use ringfence_ipc::journal::{ControlKind, ControlRecord, Note};
use ringfence_ipc::msg::{
    Intent, IntentKind, OperatorExt, OrderType, Quote, ReportKind, Side, Tif, Trade, Words, intent_flags,
    kind, kind_of,
};
use ringfence_ipc::reason::{Mode, Scope};

use super::client::Link;
use super::life::End;
use super::model::Ask;
use super::setting::{MIDDLE_TICKS, STRATEGIES};
use super::street::Fault;
use super::world::{Check, World};
use crate::journal::tests::sim::Rng;
use crate::runtime::mailbox::ToGate;

/// One step: what, and the seed of its details.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    pub act: Act,
    pub dice: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    New,
    Burst,
    Cancel,
    CancelUnseen,
    Amend,
    MassCancel,
    ForceFlat,
    Garbage,
    Repeat,
    Conflict,
    Market,
    Venue,
    VenueStalls,
    VenueFault,
    Reopen,
    LateArrive,
    Slow,
    Read,
    Mode,
    Archive,
    ArchiverStalls,
    DiskFails,
    DiskLow,
    Wait,
    ClientDies,
    Attach,
    KillGate,
    LosePower,
    Close,
}

/// How often each happens.
const WEIGHTS: [(Act, u64); 29] = [
    (Act::New, 300),
    (Act::Burst, 20),
    (Act::Cancel, 110),
    (Act::CancelUnseen, 10),
    (Act::Amend, 100),
    (Act::MassCancel, 6),
    (Act::ForceFlat, 12),
    (Act::Garbage, 10),
    (Act::Repeat, 40),
    (Act::Conflict, 15),
    (Act::Market, 150),
    (Act::Venue, 300),
    (Act::VenueStalls, 3),
    (Act::VenueFault, 30),
    (Act::Reopen, 20),
    (Act::LateArrive, 12),
    (Act::Slow, 4),
    (Act::Read, 80),
    (Act::Mode, 6),
    (Act::Archive, 60),
    (Act::ArchiverStalls, 2),
    (Act::DiskFails, 1),
    (Act::DiskLow, 2),
    (Act::Wait, 60),
    (Act::ClientDies, 3),
    (Act::Attach, 20),
    (Act::KillGate, 3),
    (Act::LosePower, 1),
    (Act::Close, 1),
];

/// The steps of a seed.
pub fn steps(seed: u64, count: u64) -> Vec<Step> {
    let mut rng = Rng(seed ^ 0x5eed);
    let all: u64 = WEIGHTS.iter().map(|(_, weight)| weight).sum();
    let draw = |at: u64| {
        let mut left = at;
        WEIGHTS.iter().find(|(_, weight)| {
            let found = left < *weight;
            left = left.saturating_sub(*weight);
            found
        })
    };
    (0..count)
        .map(|_| Step { act: draw(rng.below(all)).map_or(Act::Wait, |(act, _)| *act), dice: rng.next() })
        .collect()
}

impl World {
    pub fn step(&mut self, step: Step) -> Check {
        let rng = &mut Rng(step.dice);
        self.now_ns += rng.below(200_000);
        let who = rng.below(self.clients.len() as u64) as usize;
        match step.act {
            Act::New => self.ask_new(who, rng)?,
            Act::Burst => (0..rng.below(40)).try_for_each(|_| self.ask_new(who, rng))?,
            Act::Cancel => self.ask_cancel(who, rng)?,
            Act::CancelUnseen => self.ask_cancel_unseen(who, rng)?,
            Act::Amend => self.ask_amend(who, rng)?,
            Act::MassCancel => self.ask_plain(who, IntentKind::MassCancel, rng)?,
            Act::ForceFlat => self.ask_plain(who, IntentKind::ForceFlat, rng)?,
            Act::Garbage => self.ask_garbage(who, rng)?,
            Act::Repeat => self.ask_again(who, rng, |_, _| ())?,
            Act::Conflict => {
                self.ask_again(who, rng, |words, rng| words[3 + rng.below(2) as usize] ^= 1 + rng.below(7))?;
            }
            Act::Market => self.market(rng)?,
            Act::Venue => self.venue()?,
            Act::VenueStalls => self.street().stalled ^= true,
            Act::VenueFault => {
                // Each of the last three stops somebody until an operator has looked: they are rarer.
                let faults = match rng.below(6) {
                    0 => [Fault::Overfilled, Fault::FilledAfterEnd, Fault::Stray, Fault::StrayTwice],
                    _ => [Fault::Lost, Fault::Twice, Fault::Again, Fault::Late],
                };
                let kinds =
                    [ReportKind::Accepted, ReportKind::Fill, ReportKind::Cancelled, ReportKind::Amended];
                let kind = kinds.get(rng.below(8) as usize).copied();
                let fault = faults[rng.below(4) as usize];
                let kind = match fault {
                    Fault::Overfilled => Some(ReportKind::Fill),
                    Fault::FilledAfterEnd => Some(ReportKind::Cancelled),
                    _ => kind,
                };
                self.street().arm(fault, kind);
            }
            Act::Reopen => self.reopen(),
            Act::LateArrive => self.street().release_late(),
            Act::Slow => self.clients[who].slow = true,
            Act::Read => {
                self.clients[who].slow = false;
                self.clients[who].read()?;
            }
            Act::Mode => self.set_mode(rng),
            Act::Archive => self.archive(),
            Act::ArchiverStalls => self.archiver_stalled ^= true,
            Act::DiskFails => self.medium.fail_after(rng.below(20)),
            Act::DiskLow => self.medium.set_free(if rng.below(3) == 0 { 0 } else { u64::MAX }),
            Act::Wait => self.wait(rng),
            Act::ClientDies => self.client_dies(who),
            Act::Attach => (0..self.clients.len()).try_for_each(|at| self.attach(at))?,
            Act::KillGate => self.restart(End::Killed, rng)?,
            Act::LosePower => self.restart(End::PowerLost, rng)?,
            Act::Close => self.restart(End::Closed, rng)?,
        }
        if !self.archiver_stalled {
            self.archive();
        }
        self.settle()
    }

    /// Mostly a few milliseconds; now and then an hour, as after a suspended machine.
    fn wait(&mut self, rng: &mut Rng) {
        self.now_ns += match rng.below(40) {
            0 => 3_600_000_000_000,
            1..5 => rng.below(3_000_000_000),
            _ => rng.below(20_000_000),
        };
    }

    fn set_mode(&mut self, rng: &mut Rng) {
        let strategy = STRATEGIES[rng.below(3) as usize].0;
        let (scope, scope_id) =
            if rng.below(2) == 0 { (Scope::Global, 0) } else { (Scope::Strategy, strategy) };
        // Mostly open again: a closed gate exercises little.
        let mode = if rng.below(2) == 0 { Mode::AllowAll } else { Mode::ALL[rng.below(4) as usize] };
        self.control(scope, scope_id, mode);
    }

    /// An operator has looked at the alarms: everybody goes on.
    fn reopen(&mut self) {
        for of in STRATEGIES.iter().map(|(id, ..)| Some(*id)).chain([None]) {
            if self.model.mode(of) == Mode::CancelOnly {
                self.control(of.map_or(Scope::Global, |_| Scope::Strategy), of.unwrap_or(0), Mode::AllowAll);
            }
        }
    }

    pub fn control(&mut self, scope: Scope, scope_id: u16, mode: Mode) {
        // A kill ends with a re-arm alone; where there is none, that changes nothing.
        let rearm = (mode == Mode::AllowAll).then_some(ControlKind::Rearm { pnl_e8: 0 });
        for control in rearm.into_iter().chain([ControlKind::SetMode(mode)]) {
            let own = ControlRecord::own(control, self.now_ns);
            let record = ControlRecord { scope, scope_id, note: Note::lossy("go on"), ..own };
            self.mail(ToGate::Control { record, cancel_orders: Some(false) });
        }
    }

    fn market(&mut self, rng: &mut Rng) -> Check {
        let symbol = rng.below(3) as u16;
        let tick = self.setting.symbols[usize::from(symbol)].tick;
        let lot = self.setting.symbols[usize::from(symbol)].lot;
        let middle = &mut self.middles[usize::from(symbol)];
        *middle = (*middle + rng.below(21) as i64 - 10).clamp(MIDDLE_TICKS / 2, MIDDLE_TICKS * 2);
        let (middle, event) = (*middle, self.next_event());
        let (price, size) = (|ticks: i64| ticks * tick, |rng: &mut Rng| rng.below(30) as i64 * lot);
        let words = if rng.below(3) == 0 {
            let side = if rng.below(2) == 0 { Side::Buy } else { Side::Sell };
            let (at, qty) = (price(middle + rng.below(11) as i64 - 5), size(rng) + lot);
            let (ts_ns, trade_id) = (self.now_ns, event);
            Trade { symbol, event, ts_ns, price: at, qty, trade_id, aggressor: side }.encode()
        } else {
            // Rarely crossed, rarely one-sided.
            let spread = if rng.below(30) == 0 { -1 } else { 1 + rng.below(4) as i64 };
            let ask_price = if rng.below(30) == 0 { 0 } else { price(middle + spread) };
            let (bid_qty, ask_qty) = (size(rng), if ask_price == 0 { 0 } else { size(rng) });
            let (ts_ns, bid_price) = (self.now_ns, price(middle));
            Quote { symbol, event, ts_ns, bid_price, bid_qty, ask_price, ask_qty }.encode()
        };
        self.on_tape(&words)
    }

    /// When a client says it made its intent: mostly the truth.
    fn stamp(&self, rng: &mut Rng) -> u64 {
        match rng.below(40) {
            0 => 0,
            1 => u64::MAX,
            2 => self.now_ns + rng.below(4_000_000_000),
            3 => self.now_ns.saturating_sub(rng.below(4_000_000_000)),
            _ => self.now_ns,
        }
    }

    fn ask_new(&mut self, who: usize, rng: &mut Rng) -> Check {
        let symbol = if rng.below(100) == 0 { 3 } else { rng.below(3) as u16 };
        let at = usize::from(symbol.min(2));
        let (tick, lot) = (self.setting.symbols[at].tick, self.setting.symbols[at].lot);
        let side = if rng.below(2) == 0 { Side::Buy } else { Side::Sell };
        let price = (self.middles[at] + rng.below(61) as i64 - 30) * tick + i64::from(rng.below(60) == 0);
        let qty = match rng.below(60) {
            0 => 0,
            1 => i64::MAX - i64::MAX % lot,
            2 => lot + 1,
            _ => (1 + rng.below(20) as i64) * lot,
        };
        let key = self.key(rng);
        let mut intent = Intent::limit(symbol, side, price, qty, key, self.stamp(rng));
        intent.tif = *[Tif::Gtc, Tif::Gtc, Tif::Gtc, Tif::Gtc, Tif::Day, Tif::Ioc, Tif::Fok]
            .get(rng.below(7) as usize)
            .unwrap_or(&Tif::Gtc);
        match rng.below(20) {
            0 => (intent.order_type, intent.price) = (OrderType::Market, 0),
            1 => intent.flags = intent_flags::POST_ONLY,
            2 => intent.ttl_ns_or_target = 1 + rng.below(1_000_000),
            3 => intent.price = if rng.below(3) == 0 { i64::MAX } else { price / 3 },
            _ => {}
        }
        self.ask(who, intent, rng)
    }

    fn ask_cancel(&mut self, who: usize, rng: &mut Rng) -> Check {
        let (id, key, symbol) = self.pick(who, rng);
        let (own, ts) = (self.key(rng), self.stamp(rng));
        let intent = if rng.below(3) == 0 {
            Intent::cancel_by_key(symbol, key, own, ts)
        } else {
            Intent::cancel(symbol, id, own, ts)
        };
        self.ask(who, intent, rng)
    }

    /// A cancel for a key that comes only later, if at all.
    fn ask_cancel_unseen(&mut self, who: usize, rng: &mut Rng) -> Check {
        let (own, ts) = (self.key(rng), self.stamp(rng));
        let target = match rng.below(4) {
            0 => 0,
            1 => own,
            _ => self.next_key + 1 + u128::from(rng.below(6)),
        };
        self.ask(who, Intent::cancel_by_key(0, target, own, ts), rng)
    }

    fn ask_amend(&mut self, who: usize, rng: &mut Rng) -> Check {
        let (id, _, symbol) = self.pick(who, rng);
        let at = usize::from(symbol.min(2));
        let (tick, lot) = (self.setting.symbols[at].tick, self.setting.symbols[at].lot);
        let price = (self.middles[at] + rng.below(61) as i64 - 30) * tick;
        let qty = rng.below(30) as i64 * lot + i64::from(rng.below(40) == 0);
        let key = self.key(rng);
        let mut intent = Intent::limit(symbol, Side::Buy, price, qty, key, self.stamp(rng));
        (intent.kind, intent.ttl_ns_or_target) = (IntentKind::Amend, id);
        match rng.below(40) {
            0 => intent.order_type = OrderType::Market,
            1 => intent.flags = intent_flags::BY_KEY,
            2 => intent.symbol = (symbol + 1) % 3,
            3 => intent.price = price * 9,
            _ => {}
        }
        self.ask(who, intent, rng)
    }

    fn ask_plain(&mut self, who: usize, kind: IntentKind, rng: &mut Rng) -> Check {
        let (symbol, key) = (rng.below(4) as u16, self.key(rng));
        let intent = Intent { kind, ..Intent::limit(symbol, Side::Buy, 0, 0, key, self.stamp(rng)) };
        self.ask(who, intent, rng)
    }

    fn ask_garbage(&mut self, who: usize, rng: &mut Rng) -> Check {
        let mut words: Words = Intent::limit(0, Side::Buy, 1, 1, self.key(rng), self.now_ns).encode();
        match rng.below(3) {
            0 => {
                words[0] = rng.next();
                // A node's value is no intent: it gets no answer, whatever it is.
                words[0] ^= u64::from(kind_of(&words) == kind::NODE_UPDATE);
            }
            1 => words[0] |= 0x80 << (8 * rng.below(5)),
            _ => words.iter_mut().skip(1).for_each(|word| *word = rng.next()),
        }
        let ask =
            Ask { strategy: self.clients[who].strategy, operator: self.is_operator(who), words, ext: None };
        self.clients[who].submit(ask).map(drop)
    }

    fn ask_again(&mut self, who: usize, rng: &mut Rng, change: impl Fn(&mut Words, &mut Rng)) -> Check {
        let client = &mut self.clients[who];
        if client.memory.is_empty() {
            return Ok(());
        }
        let mut ask = client.memory[rng.below(client.memory.len() as u64) as usize];
        change(&mut ask.words, rng);
        client.submit(ask).map(drop)
    }

    fn ask(&mut self, who: usize, intent: Intent, rng: &mut Rng) -> Check {
        let mut ask =
            Ask { strategy: self.clients[who].strategy, operator: false, words: intent.encode(), ext: None };
        if self.is_operator(who) {
            let (strategy, account, _) = STRATEGIES[rng.below(3) as usize];
            let account = if rng.below(50) == 0 { account + 1 } else { account };
            let ext = OperatorExt::new(strategy, account, "desk-1", 7).map_err(|e| e.to_string())?;
            let flagged = Intent { flags: intent.flags | intent_flags::OPERATOR, ..intent };
            ask = Ask { strategy: 0, operator: true, words: flagged.encode(), ext: Some(ext.encode()) };
        }
        self.clients[who].submit(ask).map(drop)
    }

    /// An order to cancel or amend, mostly the client's own and open: its id, key and symbol.
    fn pick(&mut self, who: usize, rng: &mut Rng) -> (u64, u128, u16) {
        let picked = self.pick_any(who, rng);
        // Often the same as last time: much that goes wrong takes two requests for one order.
        let last = self.model.order(self.last_picked).filter(|order| order.is_open());
        if let Some(order) = last.filter(|_| rng.below(2) == 0) {
            return (order.id, order.key, order.symbol);
        }
        self.last_picked = picked.0;
        picked
    }

    fn pick_any(&self, who: usize, rng: &mut Rng) -> (u64, u128, u16) {
        let strategy = self.clients[who].strategy;
        let mine = |o: &&super::model::Order| strategy == 0 || o.strategy == strategy || rng_free(o.id);
        let all: Vec<_> = self.model.orders.values().filter(mine).collect();
        let open: Vec<_> = all.iter().filter(|o| o.is_open()).copied().collect();
        let from = if open.is_empty() || rng.below(6) == 0 { all } else { open };
        match from.get(rng.below(from.len().max(1) as u64) as usize) {
            Some(order) => (order.id, order.key, order.symbol),
            None => (rng.next(), u128::from(rng.next()), 0),
        }
    }

    fn client_dies(&mut self, who: usize) {
        if self.clients[who].link == Link::Up {
            self.mail(ToGate::Detach { client: self.clients[who].number });
            self.clients[who].forget();
        }
    }
}

/// Some orders are picked by strangers too.
const fn rng_free(id: u64) -> bool {
    id.is_multiple_of(16)
}
