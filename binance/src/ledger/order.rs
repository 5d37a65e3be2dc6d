//! One order: what was asked, what was said, what is in doubt.

use crate::wire::{OrderInfo, Status};
use ringfence_ipc::handshake::VenueOrder;
use ringfence_ipc::msg::{Command, OrderState, OrderType, Report, ReportKind};
use ringfence_ipc::reason::Reason;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Trade and execution ids remembered per order. Below the oldest of a full set everything counts as known.
pub(super) const MAX_REMEMBERED: usize = 4_096;
/// Commands that wait behind the request under way.
pub(super) const MAX_WAITING: usize = 8;

/// The request under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    Place,
    Cancel,
    Reduce(Change),
    Replace(Change),
    Query { probing: bool },
    Trades,
}

/// New terms of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) price: i64,
    pub(super) qty: i64,
}

/// What the venue may or may not have done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    None,
    /// Whether the order exists.
    Placed,
    /// Where the order stands.
    State,
    /// Whether the cancel was taken.
    Cancelled,
    Reduced(Change),
    /// Whether the next generation exists.
    Replaced(Change),
}

/// A fill, waiting for those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fill {
    pub(super) qty: i64,
    pub(super) price: i64,
    pub(super) fee_e8: i64,
    pub(super) maker: bool,
    pub(super) time_ms: u64,
    /// Filled with this one, if it says so: of an event, not of a list.
    pub(super) cum_qty: Option<i64>,
}

/// How the order ended, waiting for its fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) kind: ReportKind,
    pub(super) reason: Reason,
    pub(super) cum_qty: i64,
    pub(super) time_ms: u64,
}

/// Ids seen, bounded.
#[derive(Debug, Default)]
pub(super) struct Seen {
    ids: BTreeSet<u64>,
}

impl Seen {
    /// Whether the id is new; it is known from here on.
    pub(super) fn insert(&mut self, id: u64) -> bool {
        if self.contains(id) {
            return false;
        }
        self.ids.insert(id);
        if self.ids.len() > MAX_REMEMBERED {
            self.ids.pop_first();
        }
        true
    }

    pub(super) fn contains(&self, id: u64) -> bool {
        self.ids.contains(&id)
            || self.ids.len() == MAX_REMEMBERED && self.ids.first().is_some_and(|first| id < *first)
    }
}

/// An order as the ledger has it.
#[derive(Debug)]
pub(super) struct Order {
    /// The command that entered it, with the terms in force.
    pub(super) command: Command,
    /// Which of its replacements lives at the venue.
    pub(super) generation: u16,
    pub(super) venue_id: Option<u64>,
    /// It was last told as working.
    pub(super) accepted: bool,
    pub(super) told_unknown: bool,
    pub(super) cum_qty: i64,
    pub(super) ended: bool,
    pub(super) retired: bool,
    /// A life before this one may have replaced it: the next generation is looked for.
    pub(super) inherited: bool,
    pub(super) trades: Seen,
    pub(super) executions: Seen,
    pub(super) held: BTreeMap<u64, Fill>,
    pub(super) ending: Option<Ending>,
    pub(super) waiting: VecDeque<Command>,
    pub(super) doing: Option<Doing>,
    /// The request under way was sent before events were missing: its answer is not the last word.
    pub(super) asked_before_gap: bool,
    pub(super) doubt: Doubt,
    /// "Not found" is final after this, venue time.
    pub(super) absent_until_ms: u64,
    pub(super) not_before_ms: u64,
    pub(super) tries: u32,
    /// Cancels that were sent again.
    pub(super) cancels: u32,
    /// Fills are missing; they are asked for at this time.
    pub(super) missing_since_ms: Option<u64>,
    pub(super) trades_from: Option<u64>,
    /// The most that the venue has said to be filled.
    pub(super) counted_qty: i64,
    pub(super) due_ms: u64,
    /// The last word about it, for comparisons with lists that are older.
    pub(super) touched_ms: u64,
}

impl Order {
    pub(super) fn new(command: Command, now_ms: u64) -> Self {
        Self {
            command,
            generation: 0,
            venue_id: None,
            accepted: false,
            told_unknown: false,
            cum_qty: 0,
            ended: false,
            retired: false,
            inherited: false,
            trades: Seen::default(),
            executions: Seen::default(),
            held: BTreeMap::new(),
            ending: None,
            waiting: VecDeque::new(),
            doing: None,
            asked_before_gap: false,
            doubt: Doubt::None,
            absent_until_ms: 0,
            not_before_ms: 0,
            tries: 0,
            cancels: 0,
            missing_since_ms: None,
            trades_from: None,
            counted_qty: 0,
            due_ms: u64::MAX,
            touched_ms: now_ms,
        }
    }

    /// Whether the query under way, or the next one, looks for the next generation.
    pub(super) fn probes(&self) -> bool {
        matches!(self.doubt, Doubt::Replaced(_)) || self.inherited && self.ending.is_some()
    }

    /// In doubt from now on; the first query follows at once.
    pub(super) fn doubt(&mut self, doubt: Doubt, now_ms: u64) {
        (self.doubt, self.tries) = (doubt, 0);
        self.not_before_ms = now_ms;
    }

    pub(super) fn certain(&mut self) {
        (self.doubt, self.tries) = (Doubt::None, 0);
    }

    /// The next try is later: twice as late as the one before.
    pub(super) fn later(&mut self, now_ms: u64) {
        let pause = super::QUERY_PAUSE_MS.saturating_mul(1 << self.tries.min(16));
        self.not_before_ms = now_ms.saturating_add(pause.min(super::MAX_QUERY_PAUSE_MS));
        self.tries = self.tries.saturating_add(1);
    }

    /// The venue has filled so much. What did not arrive here is asked for when it is due.
    pub(super) fn counted(&mut self, cum_qty: i64, due_ms: u64) {
        if cum_qty > self.cum_qty && self.missing_since_ms.is_none() {
            (self.missing_since_ms, self.counted_qty) = (Some(due_ms), cum_qty);
        }
        self.counted_qty = self.counted_qty.max(cum_qty);
    }

    /// The order as it was told.
    pub(super) fn line(&self) -> VenueOrder {
        let command = &self.command;
        let state = match (self.ended, self.ending) {
            (true, _) if self.cum_qty >= command.qty => OrderState::Filled,
            (true, Some(ending)) => self.report(ending.kind, ending.reason, 0).state,
            _ if self.told_unknown => OrderState::Unknown,
            _ if !self.accepted => OrderState::PendingNew,
            _ => self.report(ReportKind::Accepted, Reason::Ok, 0).state,
        };
        VenueOrder {
            order_id: command.order_id,
            key: Some(command.key),
            symbol: command.symbol,
            side: command.side,
            price: (command.order_type == OrderType::Limit).then_some(command.price),
            qty: command.qty,
            cum_qty: self.cum_qty,
            state,
        }
    }

    /// A report about it as it is now.
    pub(super) fn report(&self, kind: ReportKind, reason: Reason, time_ms: u64) -> Report {
        let command = &self.command;
        let working = if self.cum_qty > 0 { OrderState::PartiallyFilled } else { OrderState::Accepted };
        let state = match kind {
            ReportKind::Cancelled => OrderState::Cancelled,
            ReportKind::Rejected | ReportKind::LostBeforeSend => OrderState::Rejected,
            ReportKind::Expired => OrderState::Expired,
            ReportKind::Unknown => OrderState::Unknown,
            ReportKind::Fill if self.cum_qty >= command.qty => OrderState::Filled,
            ReportKind::Fill | ReportKind::Accepted | ReportKind::Amended | ReportKind::CancelRejected => {
                working
            }
        };
        let leaves_qty =
            if state.is_terminal() { 0 } else { command.qty.saturating_sub(self.cum_qty).max(0) };
        Report {
            kind,
            state,
            side: command.side,
            maker: false,
            late: false,
            reentered: false,
            reason,
            symbol: command.symbol,
            journal_seq: 0,
            order_id: command.order_id,
            last_qty: 0,
            last_price: 0,
            cum_qty: self.cum_qty,
            ts_ns: 0,
            trade_id: 0,
            fee_e8: 0,
            leaves_qty,
            key_low: command.key as u64,
            venue_ts_ns: time_ms.saturating_mul(1_000_000),
            strategy: 0,
            account: 0,
        }
    }
}

/// How an order of this status ended; `None`: it has not, or it is filled.
pub(super) fn ending_of(status: Status, command: &Command) -> Option<(ReportKind, Reason)> {
    use ringfence_ipc::msg::Tif;
    match status {
        Status::Canceled => Some((ReportKind::Cancelled, Reason::CancelRequested)),
        Status::Rejected => Some((ReportKind::Rejected, Reason::VenueReject)),
        Status::ExpiredInMatch => Some((ReportKind::Expired, Reason::SelfCross)),
        Status::Expired => {
            let reason = match (command.order_type, command.tif) {
                (_, Tif::Fok) => Reason::FokUnfilled,
                (OrderType::Market, _) | (_, Tif::Ioc) => Reason::NoLiquidity,
                _ => Reason::VenueReject,
            };
            Some((ReportKind::Expired, reason))
        }
        Status::New
        | Status::PartiallyFilled
        | Status::PendingNew
        | Status::PendingCancel
        | Status::Filled
        | Status::Other => None,
    }
}

/// Whether an order of this status rests in the book.
pub(super) fn is_open(info: &OrderInfo) -> bool {
    matches!(info.status, Status::New | Status::PartiallyFilled | Status::PendingCancel)
}
