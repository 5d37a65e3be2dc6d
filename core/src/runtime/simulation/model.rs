//! The reference: what the gate must answer and hold, said the slow way.
//!
//! Plain maps, nothing incremental: every sum is formed anew from all orders and positions whenever it is asked for. It
//! shares the words on the wire with the gate, and no code. Read it top-down: what an intent is answered
//! ([`Model::answer`]), what an answer changes ([`Model::recorded`]), what a venue's word changes ([`Model::reported`]),
//! and the sums.

use std::collections::{BTreeMap, BTreeSet};

use ringfence_ipc::msg::{
    CommandKind, Intent, IntentKind, OperatorExt, OrderId, OrderState, OrderType, Outcome, Side, Tif, Words,
    intent_flags,
};
use ringfence_ipc::reason::{LimitId, Mode, Reason, Scope};
use ringfence_ipc::symbol::Symbol;

pub const SEQUENCE: u64 = (1 << 48) - 1;
/// How many taken slots an order id may have to step over.
pub const REACH: u64 = 64;

/// An intent as it reached the gate.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// Owner of the ring; of no meaning for an operator's.
    pub strategy: u16,
    pub operator: bool,
    pub words: Words,
    pub ext: Option<Words>,
}

/// What the gate must say.
#[derive(Clone, Debug, PartialEq)]
pub enum Expected {
    Duplicate(Answer),
    Refused(Reason),
    /// Under this order id; 0 where none belongs to it.
    Accepted(OrderId),
}

/// A stored answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    /// What the intent said apart from key and time; `None`: a cancel came before any intent.
    pub content: Option<[u64; 4]>,
    pub asked: Option<IntentKind>,
    pub outcome: Outcome,
    pub reason: Reason,
    pub seq: u64,
    pub order_id: OrderId,
    pub observed: i64,
    pub limit: i64,
}

#[derive(Clone, Debug)]
pub struct Order {
    pub id: OrderId,
    pub key: u128,
    pub strategy: u16,
    pub symbol: u16,
    pub side: Side,
    pub order_type: OrderType,
    pub tif: Tif,
    pub price: i64,
    /// What one unit of quantity reserves.
    pub unit: i128,
    pub qty: i64,
    pub cum: i64,
    /// Price and quantity that the venue has not confirmed.
    pub amend: Option<(i64, i64)>,
    pub state: OrderState,
    /// The venue has answered.
    pub acked: bool,
    pub flattens: bool,
    pub last_trade: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Position {
    pub qty: i128,
    pub cost_e16: i128,
    pub realised_e16: i128,
    pub fees_e8: i128,
    pub fills: u64,
}

/// What a report must become.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Booked {
    pub state: OrderState,
    pub last_qty: i64,
    pub cum_qty: i64,
    pub leaves_qty: i64,
    pub late: bool,
    /// More than was asked for.
    pub overfill: bool,
}

/// What came in for an order that the gate does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stray {
    pub cum: i64,
    pub net: i64,
    pub last_trade: u64,
}

/// What must leave the gate: kind, order, price, quantity.
pub type Sent = (CommandKind, OrderId, i64, i64);

#[derive(Clone, Debug, Default)]
pub struct Model {
    pub order_slots: u64,
    pub max_positions: usize,
    pub epoch: u16,
    pub symbols: Vec<Symbol>,
    pub accounts: BTreeMap<u16, u16>,
    pub limits: BTreeMap<(Scope, u16, LimitId), i64>,
    /// Mode of the gate (`None`) and of strategies.
    pub modes: BTreeMap<Option<u16>, Mode>,
    /// Bid, ask and when they were seen; not remembered over a restart.
    pub quotes: BTreeMap<u16, (i64, i64, u64)>,
    pub answers: BTreeMap<(u16, u128), Answer>,
    /// The newest client timestamp that was journalled, per strategy.
    pub newest_ns: BTreeMap<u16, u64>,
    /// By slot: an order stays known until a later one takes its slot.
    pub orders: BTreeMap<u64, Order>,
    pub positions: BTreeMap<(u16, u16), Position>,
    /// By order and symbol.
    pub strays: BTreeMap<(OrderId, u16), Stray>,
    /// Orders whose cancel mass cancels and force flats owe the venue: how many at most, and whether one has left.
    pub owed: BTreeMap<OrderId, (u64, bool)>,
    pub next_sequence: u64,
    /// Theoretical arrival times, ns, by strategy and whether of cancels.
    pub buckets: BTreeMap<(u16, bool), u64>,
}

pub fn must(holds: bool, reason: Reason) -> Result<(), Reason> {
    if holds { Ok(()) } else { Err(reason) }
}

fn content(w: &Words) -> [u64; 4] {
    [w[0], w[3], w[4], w[6]]
}

impl Model {
    /// What `ask` must be answered at `now_ns`, as long as there is room in every ring.
    pub fn answer(&self, ask: &Ask, now_ns: u64) -> Expected {
        match self.checked(ask, now_ns) {
            Ok(expected) => expected,
            Err(reason) => Expected::Refused(reason),
        }
    }

    fn checked(&self, ask: &Ask, now_ns: u64) -> Result<Expected, Reason> {
        let w = &ask.words;
        let kind = IntentKind::from_wire(w[0] & 0xff).ok_or(Reason::Malformed)?;
        let strategy = self.whose(ask)?;
        let key = u128::from(w[1]) | u128::from(w[2]) << 64;
        must(
            key != 0 || self.limit(Scope::Global, 0, LimitId::AllowKeyless) == Some(1),
            Reason::KeyRequired,
        )?;
        if let Some(answer) = self.answers.get(&(strategy, key)).filter(|_| key != 0) {
            must(answer.content.is_none_or(|known| known == content(w)), Reason::IdempotencyConflict)?;
            return Ok(Expected::Duplicate(*answer));
        }
        // The window's horizon is the oldest timestamp there is: who has none may be repeating anything.
        must(key == 0 || w[5] > 0, Reason::StaleKey)?;
        let modes = [self.mode(None), self.mode(Some(strategy))];
        // The strictest counts, and is the one that is named.
        for mode in
            [Mode::RejectAll, Mode::Killed, Mode::CancelOnly].into_iter().filter(|m| modes.contains(m))
        {
            let passes = match mode {
                _ if kind == IntentKind::MassCancel && ask.operator => true,
                Mode::Killed => matches!(kind, IntentKind::Cancel | IntentKind::MassCancel),
                Mode::RejectAll => false,
                _ => !matches!(kind, IntentKind::New | IntentKind::Amend),
            };
            let reason = match mode {
                Mode::RejectAll => Reason::ModeRejectAll,
                Mode::Killed => Reason::Killed,
                _ => Reason::ModeCancelOnly,
            };
            must(passes, reason)?;
        }
        let skew = self.limit(Scope::Global, 0, LimitId::MaxClockSkewNs).unwrap_or(1_000_000_000);
        must(i128::from(w[5]) - i128::from(now_ns) <= i128::from(skew), Reason::ClockSkew)?;
        let ttl = if kind == IntentKind::New { w[6] } else { 0 };
        must(ttl == 0 || u128::from(now_ns) <= u128::from(w[5]) + u128::from(ttl), Reason::TtlExpired)?;
        let intent = Intent::decode(w).map_err(|_| Reason::Malformed)?;
        let order_id = match kind {
            IntentKind::New => self.new_order(strategy, &intent, now_ns)?,
            IntentKind::Cancel => self.cancel(strategy, &intent, now_ns)?,
            IntentKind::Amend => self.amend(strategy, &intent, now_ns)?,
            IntentKind::MassCancel if ask.operator => 0,
            IntentKind::MassCancel => self.rate(strategy, true, now_ns).map(|()| 0)?,
            IntentKind::ForceFlat => self.force_flat(strategy, &intent)?,
        };
        Ok(Expected::Accepted(order_id))
    }

    fn whose(&self, ask: &Ask) -> Result<u16, Reason> {
        let flagged = (ask.words[0] >> 32) as u16 & intent_flags::OPERATOR != 0;
        if !ask.operator {
            must(!flagged && ask.ext.is_none(), Reason::RoleForbidden)?;
            return Ok(ask.strategy);
        }
        let ext = ask.ext.filter(|_| flagged).ok_or(Reason::Malformed)?;
        let ext = OperatorExt::decode(&ext).map_err(|_| Reason::Malformed)?;
        must(self.accounts.get(&ext.strategy) == Some(&ext.account), Reason::UnknownStrategy)?;
        Ok(ext.strategy)
    }

    fn new_order(&self, strategy: u16, i: &Intent, now_ns: u64) -> Result<OrderId, Reason> {
        let market = i.order_type == OrderType::Market;
        let immediate = matches!(i.tif, Tif::Ioc | Tif::Fok);
        let has = |flag| i.flags & flag != 0;
        self.rate(strategy, false, now_ns)?;
        let symbol = self.symbols.get(usize::from(i.symbol)).ok_or(Reason::UnknownSymbol)?;
        must(i.qty > 0, Reason::BadQty)?;
        must(if market { i.price == 0 } else { i.price > 0 }, Reason::BadPrice)?;
        must(market || i.price % symbol.tick == 0, Reason::OffTick)?;
        must(i.qty % symbol.lot == 0, Reason::OffLot)?;
        let tif_fits = !has(intent_flags::POST_ONLY) || (!market && !immediate);
        must(tif_fits && !has(intent_flags::BY_KEY), Reason::BadTif)?;
        let unit = if market { self.banded(self.mid(i.symbol)) } else { i128::from(i.price) };
        let added = unit.checked_mul(i128::from(i.qty)).and_then(|units| self.worth(i.symbol, units));
        let side = (i.side, i.symbol);
        self.sizes(strategy, side, (i.qty, i.qty), (added, added), (!market).then_some(i.price), now_ns)?;
        let open = self.open(strategy).count() as i64;
        must(
            open < self.for_strategy(strategy, LimitId::MaxOpenOrders).unwrap_or(i64::MAX),
            Reason::OpenOrders,
        )?;
        self.next_id().ok_or(Reason::OrderTableFull)
    }

    fn cancel(&self, strategy: u16, i: &Intent, now_ns: u64) -> Result<OrderId, Reason> {
        self.rate(strategy, true, now_ns)?;
        let by_id = |id| self.order(id).filter(|o| o.strategy == strategy);
        if i.flags & intent_flags::BY_KEY == 0 {
            let order = by_id(i.ttl_ns_or_target).ok_or(Reason::UnknownOrder)?;
            return must(!order.state.is_terminal(), Reason::OrderTerminal).map(|()| order.id);
        }
        let target = i.target_key();
        must(target != 0, Reason::UnknownOrder)?;
        let Some(answer) = self.answers.get(&(strategy, target)) else { return Ok(0) };
        let Some(asked) = answer.asked else { return Ok(0) };
        let entered = matches!(asked, IntentKind::New | IntentKind::ForceFlat);
        must(entered && answer.outcome == Outcome::Accepted, Reason::UnknownOrder)?;
        let open = by_id(answer.order_id).filter(|o| !o.state.is_terminal());
        open.map(|o| o.id).ok_or(Reason::OrderTerminal)
    }

    fn amend(&self, strategy: u16, i: &Intent, now_ns: u64) -> Result<OrderId, Reason> {
        must(i.flags & intent_flags::BY_KEY == 0 && i.order_type == OrderType::Limit, Reason::Malformed)?;
        self.rate(strategy, false, now_ns)?;
        let order = self.order(i.ttl_ns_or_target).filter(|o| o.strategy == strategy);
        let order = order.ok_or(Reason::UnknownOrder)?;
        must(!order.state.is_terminal(), Reason::OrderTerminal)?;
        must(order.symbol == i.symbol && order.order_type == OrderType::Limit, Reason::UnknownOrder)?;
        must(order.state != OrderState::PendingCancel, Reason::OrderTerminal)?;
        must(order.amend.is_none(), Reason::VenueBusy)?;
        let symbol = &self.symbols[usize::from(order.symbol)];
        must(i.qty > order.cum && i.qty > 0, Reason::BadQty)?;
        must(i.price > 0, Reason::BadPrice)?;
        must(i.price % symbol.tick == 0, Reason::OffTick)?;
        must(i.qty % symbol.lot == 0, Reason::OffLot)?;
        let after = Order { amend: Some((i.price, i.qty)), ..order.clone() };
        let added = self.worth(order.symbol, after.reserved_units() - order.reserved_units());
        let whole = self.worth(order.symbol, i128::from(i.price) * i128::from(i.qty));
        let added_qty = after.reserved_qty() - order.reserved_qty();
        let side = (order.side, order.symbol);
        self.sizes(strategy, side, (i.qty, added_qty), (whole, added), Some(i.price), now_ns)?;
        Ok(order.id)
    }

    fn force_flat(&self, strategy: u16, i: &Intent) -> Result<OrderId, Reason> {
        must(usize::from(i.symbol) < self.symbols.len(), Reason::UnknownSymbol)?;
        let order_id = self.next_id().ok_or(Reason::OrderTableFull)?;
        must(self.to_flatten(strategy, i.symbol) != 0, Reason::NothingToFlatten).map(|()| order_id)
    }

    /// Signed quantity that is left to flatten, less what earlier force flats still work on.
    pub fn to_flatten(&self, strategy: u16, symbol: u16) -> i128 {
        let working = self.open(strategy).filter(|o| o.symbol == symbol && o.flattens);
        let working: i128 = working.map(|o| o.leaves() * i128::from(o.side.sign())).sum();
        self.positions.get(&(strategy, symbol)).map_or(0, |p| p.qty) + working
    }

    /// Order size, reference and collar, then the worst case at every level: each at its limit passes.
    fn sizes(
        &self,
        strategy: u16,
        (side, symbol): (Side, u16),
        (qty, added_qty): (i64, i64),
        (whole, added): (Option<i128>, Option<i128>),
        limit_price: Option<i64>,
        now_ns: u64,
    ) -> Result<(), Reason> {
        let of = |scope, id, limit| self.limit(scope, id, limit).map_or(i128::MAX, i128::from);
        let own = |limit| self.for_strategy(strategy, limit).map_or(i128::MAX, i128::from);
        let e16 = |limit_e8: i128| limit_e8.checked_mul(100_000_000).unwrap_or(i128::MAX);
        must(i128::from(qty) <= own(LimitId::MaxOrderQty), Reason::MaxOrderQty)?;
        must(i128::from(qty) <= of(Scope::Symbol, symbol, LimitId::MaxOrderQty), Reason::MaxOrderQty)?;
        let collar = self.limit(Scope::Symbol, symbol, LimitId::PriceCollarBps);
        let collar = collar.or(self.limit(Scope::Global, 0, LimitId::PriceCollarBps));
        let mid = self.mid(symbol);
        if limit_price.is_none() || collar.is_some() {
            let (bid, ask, seen_ns) = self.quotes.get(&symbol).copied().unwrap_or_default();
            must(mid > 0, Reason::ReferenceMissing)?;
            let age = i128::from(now_ns.saturating_sub(seen_ns));
            must(age <= of(Scope::Global, 0, LimitId::ReferenceMaxAgeNs), Reason::ReferenceStale)?;
            must(bid < ask, Reason::ReferenceCrossed)?;
        }
        let (whole, added) = whole.zip(added).ok_or(Reason::ArithOverflow)?;
        let worst = |strategies: Option<u16>| {
            let position = self.position_sum(strategies, symbol) * i128::from(side.sign());
            (self.open_sum(strategies, symbol, side) + i128::from(added_qty), position)
        };
        for (open, position) in [worst(Some(strategy)), worst(None)] {
            must(
                i64::try_from(open).is_ok() && i64::try_from(open + position).is_ok(),
                Reason::ArithOverflow,
            )?;
        }
        must(self.gross(Scope::Global, 0).checked_add(added).is_some(), Reason::ArithOverflow)?;
        for (scope, id) in [(Scope::Global, 0), (Scope::Strategy, strategy), (Scope::Symbol, symbol)] {
            must(whole <= e16(of(scope, id, LimitId::MaxOrderNotionalE8)), Reason::MaxOrderNotional)?;
        }
        if let Some((price, bps)) = limit_price.zip(collar) {
            let distance = (i128::from(price) - mid).abs() * 10_000;
            must(distance <= mid * i128::from(bps), Reason::PriceCollar)?;
        }
        let exposed: BTreeSet<u16> = self.positions.keys().map(|(_, symbol)| *symbol).collect();
        let fits = exposed.contains(&symbol)
            || (exposed.len() as i128) < of(Scope::Global, 0, LimitId::ExposureMaxSymbols);
        let known = self.positions.contains_key(&(strategy, symbol));
        must(known || (fits && self.positions.len() < self.max_positions), Reason::ExposureSymbolLimit)?;
        let ((own_open, own_position), (all_open, all_position)) = (worst(Some(strategy)), worst(None));
        if added_qty != 0 {
            must(own_open + own_position <= own(LimitId::MaxPositionQty), Reason::PositionLimit)?;
            let max = of(Scope::Symbol, symbol, LimitId::MaxPositionQty);
            must(all_open + all_position <= max, Reason::PositionLimit)?;
        }
        let account = self.accounts.get(&strategy).copied().unwrap_or_default();
        let levels = [
            (Scope::Strategy, strategy),
            (Scope::Account, account),
            (Scope::Symbol, symbol),
            (Scope::Global, 0),
        ];
        for (scope, id) in levels.into_iter().filter(|_| added != 0) {
            let max = e16(of(scope, id, LimitId::MaxGrossNotionalE8));
            must(self.gross(scope, id) + added <= max, Reason::GrossNotionalLimit)?;
        }
        Ok(())
    }
}
