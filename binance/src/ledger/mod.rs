//! What is known of our orders at the venue: a state machine without IO. Commands, answers, events and ticks go in;
//! reports and requests come out.
//!
//! One order has one request under way at a time; further commands wait behind it. What the venue may or may not have
//! done is a [`Doubt`], and a doubt is settled by asking, never by sending again: a cancel alone may be repeated. Fills
//! leave in the order of their trade ids, each once, and an end leaves after every fill that it counts.

mod answers;
mod commands;
mod events;
mod order;
mod upkeep;

use crate::client_id::ClientId;
use crate::rest::Request;
use crate::rules::{Rules, StepError};
use crate::wire::{ExchangeInfo, OrderInfo};
use order::{Doing, Doubt, Order};
use ringfence_ipc::msg::{OrderId, Report};
use ringfence_ipc::symbol::Symbol;
use std::collections::{BTreeSet, HashMap, VecDeque};

/// The first pause before a query is repeated, ms; it doubles up to [`MAX_QUERY_PAUSE_MS`].
const QUERY_PAUSE_MS: u64 = 250;
const MAX_QUERY_PAUSE_MS: u64 = 30_000;
/// Added to recvWindow before "not found" is final: what the venue took at the last moment must have become visible.
const VISIBLE_AFTER_MS: u64 = 1_000;

/// What the ledger wants done.
#[derive(Debug)]
pub(crate) enum Action {
    /// Tell the gate.
    Report(Report),
    /// Ask the venue; the answer comes back with the same order.
    Ask(OrderId, Request),
}

/// What may be done just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// User events are missing: no new orders.
    Lost,
    /// Orders are being compared: no new orders yet.
    Reconciling,
    /// Everything.
    Trading,
}

/// Sizes and times of the ledger.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tuning {
    pub(crate) recv_window_ms: u64,
    pub(crate) gap_patience_ms: u64,
    pub(crate) max_orders: usize,
}

/// Things that happened, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events and fills that were known already.
    pub duplicates: u64,
    /// Fills that the venue had counted and no event had brought: they were asked for.
    pub gaps: u64,
    /// Fees paid in an asset that is neither base nor quote: reported as 0.
    pub foreign_fees: u64,
    /// Open orders at the venue with an id of ours that the ledger does not have.
    pub strays: u64,
    /// Answers and events with numbers that are not exact at the symbol's scale, or that name no known symbol.
    pub unreadable: u64,
    /// The newest order that was handed to the venue.
    pub highest_handed_out: OrderId,
}

/// Our orders at the venue.
#[derive(Debug)]
pub(crate) struct Ledger {
    tuning: Tuning,
    symbols: Vec<Symbol>,
    rules: Vec<Option<Rules>>,
    orders: HashMap<OrderId, Order>,
    /// Finished orders, oldest first: they make room.
    finished: VecDeque<OrderId>,
    /// When an order wants to be looked at, ms.
    due: BTreeSet<(u64, OrderId)>,
    /// The newest order of any command.
    last_order_id: OrderId,
    mode: Mode,
    pub(crate) counts: Counts,
    out: Vec<Action>,
}

impl Ledger {
    pub(crate) fn new(symbols: &[Symbol], tuning: Tuning) -> Self {
        Self {
            tuning,
            symbols: symbols.to_vec(),
            rules: symbols.iter().map(|_| None).collect(),
            orders: HashMap::new(),
            finished: VecDeque::new(),
            due: BTreeSet::new(),
            last_order_id: 0,
            mode: Mode::Lost,
            counts: Counts::default(),
            out: Vec::new(),
        }
    }

    /// Takes the venue's rules; a symbol whose rules cannot be read is not traded.
    ///
    /// # Errors
    /// The first symbol whose steps are not the venue's.
    pub(crate) fn learn(&mut self, info: &ExchangeInfo) -> Result<(), StepError> {
        for (symbol, rules) in self.symbols.iter().zip(&mut self.rules) {
            let found = info.symbols.iter().find(|known| known.symbol == symbol.name());
            *rules = found.and_then(|known| Rules::new(known).ok());
            rules.as_ref().map_or(Ok(()), |rules| rules.fits(symbol))?;
        }
        Ok(())
    }

    /// Symbols of ours that the venue does not have, or whose rules cannot be read.
    pub(crate) fn untraded(&self) -> Vec<&str> {
        let pairs = self.symbols.iter().zip(&self.rules);
        pairs.filter(|(_, rules)| rules.is_none()).map(|(symbol, _)| symbol.name()).collect()
    }

    pub(crate) const fn mode(&self) -> Mode {
        self.mode
    }

    /// What is to be done; empty until something goes in again.
    pub(crate) fn take(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.out)
    }

    fn ask(&mut self, order_id: OrderId, request: Request) {
        self.out.push(Action::Ask(order_id, request));
    }

    /// Changes one order and does whatever follows from it.
    fn with(&mut self, id: OrderId, now_ms: u64, change: impl FnOnce(&mut Self, &mut Order)) {
        let Some(mut order) = self.orders.remove(&id) else { return };
        self.due.remove(&(order.due_ms, id));
        change(self, &mut order);
        self.settle(&mut order, now_ms);
        self.advance(&mut order, now_ms);
        if order.ended && order.doing.is_none() && !order.retired {
            order.retired = true;
            self.finished.push_back(id);
        }
        if order.due_ms != u64::MAX {
            self.due.insert((order.due_ms, id));
        }
        self.orders.insert(id, order);
    }

    /// Starts the next thing that this order needs, if nothing is under way for it.
    fn advance(&mut self, order: &mut Order, now_ms: u64) {
        order.due_ms = u64::MAX;
        loop {
            if order.doing.is_some() {
                return;
            }
            if now_ms < order.not_before_ms {
                order.due_ms = order.not_before_ms;
                return;
            }
            if order.doubt != Doubt::None {
                let probing = order.probes();
                let generation = order.generation.saturating_add(u16::from(probing));
                let client_id = ClientId { order_id: order.command.order_id, generation }.text();
                order.doing = Some(Doing::Query { probing });
                return self
                    .ask(order.command.order_id, Request::Query { symbol: self.name(order), client_id });
            }
            if let (Some(since), Some(venue_id)) = (order.missing_since_ms, order.venue_id) {
                if now_ms >= since {
                    order.doing = Some(Doing::Trades);
                    let from_id = order.trades_from;
                    let request = Request::Trades { symbol: self.name(order), venue_id, from_id };
                    return self.ask(order.command.order_id, request);
                }
                order.due_ms = since;
            }
            let Some(command) = order.waiting.pop_front() else { return };
            self.begin(order, command, now_ms);
        }
    }

    fn name(&self, order: &Order) -> String {
        self.symbols.get(usize::from(order.command.symbol)).map_or_else(String::new, |s| s.name().to_owned())
    }

    /// Whether everything asked while reconciling is answered.
    pub(crate) fn is_settled(&self) -> bool {
        self.orders.values().all(|order| {
            order.ended
                || order.doubt == Doubt::None && order.missing_since_ms.is_none() && order.doing.is_none()
        })
    }

    /// Looks at the orders whose time has come.
    pub(crate) fn tick(&mut self, now_ms: u64) {
        let due: Vec<OrderId> = self.due.range(..=(now_ms, OrderId::MAX)).map(|(_, id)| *id).collect();
        for id in due {
            self.with(id, now_ms, |_, _| ());
        }
    }

    /// An order of the venue's lists, with the id that it has here.
    fn ours(info: &OrderInfo) -> Option<ClientId> {
        ClientId::parse(&info.client_order_id)
    }
}

#[cfg(test)]
mod tests;
