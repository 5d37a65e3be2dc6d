//! What HTTP users see of the gate, built from the journal and nothing else.
//!
//! Applying the same records gives the same projection, so a restarted shell knows what the old one knew.

mod guard;
mod ledger;
mod limits;
mod orders;
mod restore;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use ringfence_ipc::journal::{DecisionRecord, MarkRecord, Record, StrategyRecord, StrayRecord};
use ringfence_ipc::msg::{AccountId, IntentKind, Outcome, Report, ReportKind, StrategyId, SymbolId};
use ringfence_ipc::reason::{Mode, Reason};
use ringfence_ipc::symbol::Symbol;

use super::alarms;
use super::events::{self, Event};
use super::guarding;
use super::key::strategy_order_id;
pub use guard::{Guard, Storm};
pub use ledger::{Ledger, Position};
pub use limits::Limits;
pub use orders::{Answer, MAX_FINISHED_ORDERS, Order, Orders};

/// Events that `/api/orders` shows.
pub const RECENT_EVENTS: usize = 200;

/// Symbols and strategies by id.
#[derive(Default)]
pub struct Names {
    symbols: Vec<Option<Symbol>>,
    strategies: Vec<Option<StrategyRecord>>,
}

fn put<T: Clone>(table: &mut Vec<Option<T>>, id: u16, value: T) {
    let at = usize::from(id);
    if table.len() <= at {
        table.resize(at + 1, None);
    }
    table[at] = Some(value);
}

impl Names {
    /// The symbol with this id.
    #[must_use]
    pub fn symbol(&self, id: SymbolId) -> Option<&Symbol> {
        self.symbols.get(usize::from(id))?.as_ref()
    }

    /// The symbol with this name, and its id.
    #[must_use]
    pub fn find_symbol(&self, name: &str) -> Option<(SymbolId, &Symbol)> {
        self.symbols().find(|(_, symbol)| symbol.name() == name)
    }

    /// Every symbol, by id.
    pub fn symbols(&self) -> impl Iterator<Item = (SymbolId, &Symbol)> {
        self.symbols.iter().zip(0..).filter_map(|(symbol, id)| Some((id, symbol.as_ref()?)))
    }

    /// The strategy with this id.
    #[must_use]
    pub fn strategy(&self, id: StrategyId) -> Option<&StrategyRecord> {
        self.strategies.get(usize::from(id))?.as_ref()
    }

    /// Every strategy, by id.
    pub fn strategies(&self) -> impl Iterator<Item = &StrategyRecord> {
        self.strategies.iter().flatten()
    }

    /// Takes note of a record that names something.
    pub(crate) fn learn(&mut self, record: &Record) {
        match record {
            Record::Symbol { id, symbol } => put(&mut self.symbols, *id, *symbol),
            Record::Strategy(strategy) => put(&mut self.strategies, strategy.strategy, *strategy),
            _ => {}
        }
    }

    pub(crate) fn symbol_name(&self, id: SymbolId) -> String {
        self.symbol(id).map_or_else(|| format!("#{id}"), |symbol| symbol.name().to_owned())
    }

    pub(crate) fn strategy_name(&self, id: StrategyId) -> String {
        self.strategy(id).map_or_else(|| format!("#{id}"), |strategy| strategy.name().to_owned())
    }
}

/// How much of what the journal has told.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Orders accepted by the gate.
    pub orders_accepted: u64,
    /// Orders rejected by the gate for good.
    pub orders_rejected: u64,
    /// Cancels, amends and mass cancels accepted.
    pub acts_accepted: u64,
    /// Fills.
    pub fills: u64,
    /// Orders that ended cancelled.
    pub cancelled: u64,
    /// Alarms: reports that took an order beyond its quantity.
    pub overfills: u64,
    /// Alarms: fills for orders that the gate does not know.
    pub stray_fills: u64,
    /// Records applied.
    pub records: u64,
}

/// The whole projection.
#[derive(Default)]
pub struct Projection {
    /// Symbols and strategies.
    pub names: Names,
    /// Orders.
    pub orders: Orders,
    /// Positions and P&L.
    pub ledger: Ledger,
    /// Modes and StormGuard.
    pub guard: Guard,
    /// Totals.
    pub counts: Counts,
    /// What limits what.
    pub limits: Limits,
    marks: Vec<Option<MarkRecord>>,
    recent: VecDeque<Event>,
    epoch: u16,
    position: u64,
    now_ns: u64,
}

impl Projection {
    /// Applies the record at `position`. Events go to `out` unless `quiet` (a reader that is far behind would only
    /// make them to throw them away).
    pub fn apply(&mut self, position: u64, record: &Record, quiet: bool, out: &mut Vec<Event>) {
        let first = out.len();
        match record {
            Record::Boot(boot) => (self.epoch, self.now_ns) = (boot.epoch, boot.now_ns),
            Record::Symbol { .. } | Record::Strategy(_) => self.names.learn(record),
            Record::Mark(mark) => {
                put(&mut self.marks, mark.symbol, *mark);
                self.now_ns = mark.now_ns;
            }
            Record::Control(control) => {
                self.now_ns = control.now_ns;
                let changed = self.guard.apply(control);
                if !quiet {
                    let (id, ts_ns) = (Some(position), control.now_ns);
                    let mode = changed.then(|| guarding::mode_changed(id, ts_ns, &self.guard, &self.names));
                    out.extend(mode.or_else(|| guarding::mass_cancel(position, control, &self.names)));
                }
            }
            Record::Decision(decision) => self.decision(position, decision, quiet, out),
            Record::Report(report) => self.report(position, report, quiet, out),
            Record::Stray(stray) => self.stray(position, stray, quiet, out),
            Record::Config(config) => self.limits.begin(position, config.version, config.changes),
            Record::Limit(limit) => self.limits.apply(limit),
            Record::Attach(_) | Record::Close(_) | Record::Capacity(_) => {}
        }
        self.counts.records += 1;
        self.position = position;
        for event in out[first..].iter().filter(|event| event.id.is_some()) {
            if self.recent.len() == RECENT_EVENTS {
                self.recent.pop_front();
            }
            self.recent.push_back(event.clone());
        }
    }

    fn decision(&mut self, position: u64, d: &DecisionRecord, quiet: bool, out: &mut Vec<Event>) {
        self.now_ns = d.now_ns;
        let accepted = d.outcome == Outcome::Accepted;
        match (d.intent.kind, accepted) {
            (IntentKind::New | IntentKind::ForceFlat, true) => {
                self.counts.orders_accepted += 1;
                if let Some(order) = self.orders.enter(position, d).filter(|_| !quiet) {
                    out.push(events::received(position, order, &self.names));
                    out.push(events::order_state(order, &self.names));
                }
            }
            (IntentKind::New | IntentKind::ForceFlat, false) => {
                self.counts.orders_rejected += 1;
                let order = self.orders.enter(position, d);
                if quiet {
                    return;
                }
                let own = strategy_order_id(d.strategy, position);
                let id = order.map_or(own.as_str(), |order| &order.client_order_id);
                out.push(events::refused(position, d, id, &self.names));
                out.extend(order.map(|order| events::order_state(order, &self.names)));
            }
            (IntentKind::Cancel | IntentKind::Amend | IntentKind::MassCancel, true) => {
                self.counts.acts_accepted += 1;
                let cancel = d.intent.kind == IntentKind::Cancel;
                if let Some(order) = self.orders.ask(d).filter(|_| !quiet) {
                    out.push(events::update(position, order, &self.names, cancel));
                    out.push(events::order_state(order, &self.names));
                }
            }
            (kind, false) => {
                if quiet {
                    return;
                }
                let what = match kind {
                    IntentKind::Amend => "amend_rejected",
                    _ => "cancel_rejected",
                };
                let order = self.orders.by_order_id(d.intent.ttl_ns_or_target);
                let id = order.map(|order| &*order.client_order_id);
                let strategy = self.names.strategy_name(d.strategy);
                out.push(events::failure(position, d.now_ns, id, strategy, what, d.reason));
            }
        }
    }

    fn report(&mut self, position: u64, r: &Report, quiet: bool, out: &mut Vec<Event>) {
        self.now_ns = r.ts_ns;
        let order = self.orders.report(position, r);
        let mut update_at = position;
        match r.kind {
            ReportKind::Fill => {
                self.counts.fills += 1;
                if let Some(symbol) = self.names.symbol(r.symbol) {
                    self.ledger.fill(r, symbol);
                }
                // A fill's record takes two positions: one for each of its events.
                update_at = position + 1;
                if !quiet {
                    out.push(events::fill(position, order, r, &self.names));
                }
            }
            ReportKind::Cancelled => self.counts.cancelled += 1,
            _ => {}
        }
        if quiet {
            if r.reason == Reason::Overfill {
                self.overfilled(r, quiet, out);
            }
            return;
        }
        if r.kind == ReportKind::CancelRejected {
            let strategy = self.names.strategy_name(r.strategy);
            let id = Some(&*order.client_order_id);
            let reason = if r.reason == Reason::Ok { Reason::VenueReject } else { r.reason };
            out.push(events::failure(position, r.ts_ns, id, strategy, "cancel_rejected", reason));
        } else {
            out.push(events::update(update_at, order, &self.names, false));
        }
        out.push(events::order_state(order, &self.names));
        if r.reason == Reason::Overfill {
            self.overfilled(r, quiet, out);
        }
    }

    /// An alarm without an id of its own: the record's positions are taken by the events before it.
    fn overfilled(&mut self, r: &Report, quiet: bool, out: &mut Vec<Event>) {
        self.counts.overfills += 1;
        let restrained = self.guard.restrain(Some(r.strategy), r.ts_ns, "overfill");
        if quiet {
            return;
        }
        out.extend(self.orders.by_order_id(r.order_id).map(|order| alarms::overfill(order, r, &self.names)));
        out.extend(restrained.then(|| guarding::mode_changed(None, r.ts_ns, &self.guard, &self.names)));
    }

    fn stray(&mut self, position: u64, s: &StrayRecord, quiet: bool, out: &mut Vec<Event>) {
        self.now_ns = s.now_ns;
        self.counts.stray_fills += 1;
        let restrained = self.guard.restrain(None, s.now_ns, "stray fill");
        if quiet {
            return;
        }
        let order = self.orders.by_order_id(s.order_id);
        out.push(alarms::stray(position, s, order, &self.names));
        // Its record takes two positions: one for each of its events.
        let id = Some(position + 1);
        out.extend(restrained.then(|| guarding::mode_changed(id, s.now_ns, &self.guard, &self.names)));
    }

    /// The last record applied; 0 before the first.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Gate time of the last record that has one, ns.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// Counts the gate's lives.
    #[must_use]
    pub fn epoch(&self) -> u16 {
        self.epoch
    }

    /// The gate's mode.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.guard.mode
    }

    /// The newest events that have an id, newest first.
    pub fn recent(&self) -> impl Iterator<Item = &Event> {
        self.recent.iter().rev()
    }

    /// The price P&L is reckoned at: the middle of the book at the last mark, else the last trade; scaled.
    #[must_use]
    pub fn mark_price(&self, symbol: SymbolId) -> Option<i64> {
        let mark = self.marks.get(usize::from(symbol))?.as_ref()?;
        let price = if mark.bid_price > 0 && mark.ask_price > 0 {
            i64::midpoint(mark.bid_price, mark.ask_price)
        } else {
            mark.last_price
        };
        (price > 0).then_some(price)
    }

    /// The strategy of this name, if it trades for `account`.
    #[must_use]
    pub fn find_strategy(&self, account: AccountId, name: &str) -> Option<&StrategyRecord> {
        self.names.strategies().find(|s| s.account == account && s.name() == name)
    }
}
