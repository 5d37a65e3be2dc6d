//! Step 3: what it would add to the worst case. Computes; `risk` compares.
//!
//! Worst case means: every open order fills in full and nothing else does. `docs/accounting.md` defines the sums.

use ringfence_ipc::msg::{Intent, IntentKind, OrderType, Outcome, Side, Tif, intent_flags};

use super::policy::Permitted;
use super::{Origin, Plan};
use crate::gate::Gate;
use crate::gate::api::Reference;
use crate::gate::market::SymbolState;
use crate::gate::orders::{Order, mark};
use crate::gate::position::Position;
use crate::gate::tables::StrategyTables;
use crate::gate::window::Probe;

const BPS: i128 = 10_000;

/// A decoded intent with what it would reserve.
#[derive(Clone, Copy, Debug)]
pub(in crate::gate) struct Sized<'a> {
    pub(super) origin: Origin<'a>,
    pub(super) plan: Plan,
    pub(super) intent: Intent,
    /// The symbol; for cancels and amends the order's.
    pub(super) symbol: &'a SymbolState,
    pub(super) target: Target<'a>,
    /// The position it would change.
    pub(super) position: Option<&'a Position>,
    pub(super) side: Side,
    /// The venue order's total quantity.
    pub(super) qty: i64,
    /// What it would add to the open quantity of its side; never negative.
    pub(super) added_qty: i64,
    /// What it would add to the gross notional, 16 decimals; `None`: it does not fit.
    pub(super) added_e16: Option<i128>,
    /// The whole order's notional, 16 decimals; `None`: it does not fit.
    pub(super) notional_e16: Option<i128>,
    /// What one unit of a new order reserves, scaled.
    pub(super) reserve_price: i64,
    /// The reference consulted; price 0: none was needed, or there is none.
    pub(super) reference: Reference,
    /// Whether this decision needs a reference at all.
    pub(super) needs_reference: bool,
    pub(super) crossed: bool,
    _only_exposure: (),
}

/// The order that a cancel or amend names.
#[derive(Clone, Copy, Debug)]
pub(in crate::gate) enum Target<'a> {
    /// Not asked for.
    None,
    /// This open order.
    Open(&'a Order),
    /// An order that is final.
    Final,
    /// No order of this strategy.
    Unknown,
    /// A key that nobody has used yet: a cancel reserves it.
    Unseen,
    /// As `Unseen`, but the window has no room for the reservation now.
    UnseenNoRoom,
}

/// Whether the fields of an intent go together on the wire.
///
/// An amend cannot name its order by key: the key would stand where the new price and quantity stand. And what it asks
/// for is a limit price: called a market order, that price would pass the collar unseen.
#[inline(always)]
pub(in crate::gate) fn is_sensible(intent: &Intent) -> bool {
    let by_key = intent.flags & intent_flags::BY_KEY != 0;
    intent.kind != IntentKind::Amend || (!by_key && intent.order_type == OrderType::Limit)
}

#[inline(always)]
pub(in crate::gate) fn size<'a>(gate: &'a Gate, permitted: Permitted<'a>, intent: Intent) -> Sized<'a> {
    let Permitted { origin, plan, .. } = permitted;
    match intent.kind {
        IntentKind::New => size_new(gate, permitted, intent),
        IntentKind::Cancel => {
            unsized_(gate, origin, plan, intent, target_of(gate, origin.tables, &intent, plan))
        }
        IntentKind::Amend => {
            size_amend(gate, origin, plan, intent, target_of(gate, origin.tables, &intent, plan))
        }
        IntentKind::MassCancel => unsized_(gate, origin, plan, intent, Target::None),
        IntentKind::ForceFlat => size_flatten(gate, origin, plan, intent),
    }
}

/// Step 3 of a new order.
#[inline(always)]
pub(super) fn size_new<'a>(gate: &'a Gate, permitted: Permitted<'a>, intent: Intent) -> Sized<'a> {
    let Permitted { origin, plan, .. } = permitted;
    let symbol = gate.symbol_or_vacant(intent.symbol);
    let market = intent.order_type == OrderType::Market;
    let needs_reference = market || symbol.limits.has_collar();
    let (reference, crossed) = consult(symbol, &origin, needs_reference);
    let reserve_price =
        if market { banded(reference.price, gate.limits.market_band_bps) } else { Some(intent.price) };
    let notional_e16 = reserve_price
        .and_then(|price| symbol.contract.notional_e16(i128::from(price) * i128::from(intent.qty)));
    Sized {
        origin,
        plan,
        intent,
        symbol,
        target: Target::None,
        position: gate.position_of(origin.tables, intent.symbol),
        side: intent.side,
        qty: intent.qty,
        added_qty: intent.qty,
        added_e16: notional_e16,
        notional_e16,
        reserve_price: reserve_price.unwrap_or(0),
        reference,
        needs_reference,
        crossed,
        _only_exposure: (),
    }
}

fn size_amend<'a>(
    gate: &'a Gate,
    origin: Origin<'a>,
    plan: Plan,
    intent: Intent,
    target: Target<'a>,
) -> Sized<'a> {
    let Target::Open(order) = target else { return unsized_(gate, origin, plan, intent, target) };
    let symbol = gate.symbol_or_vacant(order.symbol);
    let needs_reference = symbol.limits.has_collar();
    let (reference, crossed) = consult(symbol, &origin, needs_reference);
    let (added_qty, added_e16) = order.amend_adds(intent.price, intent.qty, &symbol.contract);
    Sized {
        target,
        symbol,
        position: gate.position_of(origin.tables, order.symbol),
        side: order.side,
        qty: intent.qty,
        added_qty,
        added_e16,
        notional_e16: symbol.contract.notional_e16(i128::from(intent.price) * i128::from(intent.qty)),
        reference,
        needs_reference,
        crossed,
        ..unsized_(gate, origin, plan, intent, target)
    }
}

fn size_flatten<'a>(gate: &'a Gate, origin: Origin<'a>, plan: Plan, intent: Intent) -> Sized<'a> {
    let symbol = gate.symbol_or_vacant(intent.symbol);
    let (reference, crossed) = consult(symbol, &origin, true);
    let flat = gate.flattening(origin.tables, intent.symbol, reference.price);
    Sized {
        symbol,
        position: gate.position_of(origin.tables, intent.symbol),
        side: flat.map_or(Side::Buy, |f| f.side),
        qty: flat.map_or(0, |f| f.qty),
        reference,
        crossed,
        ..unsized_(gate, origin, plan, intent, Target::None)
    }
}

/// A cancel of any kind: it reserves nothing.
fn unsized_<'a>(
    gate: &'a Gate,
    origin: Origin<'a>,
    plan: Plan,
    intent: Intent,
    target: Target<'a>,
) -> Sized<'a> {
    Sized {
        origin,
        plan,
        intent,
        symbol: gate.symbol_or_vacant(intent.symbol),
        target,
        position: None,
        side: intent.side,
        qty: 0,
        added_qty: 0,
        added_e16: Some(0),
        notional_e16: Some(0),
        reserve_price: 0,
        reference: Reference { price: 0, age_ns: 0 },
        needs_reference: false,
        crossed: false,
        _only_exposure: (),
    }
}

#[inline(always)]
fn consult(symbol: &SymbolState, origin: &Origin<'_>, needed: bool) -> (Reference, bool) {
    if needed {
        symbol.reference(origin.req.reference, origin.req.now_ns)
    } else {
        (Reference { price: 0, age_ns: 0 }, false)
    }
}

fn target_of<'a>(gate: &'a Gate, tables: &'a StrategyTables, intent: &Intent, plan: Plan) -> Target<'a> {
    let by_id = |id| match gate.orders.get(id) {
        Some(order) if order.strategy != tables.id => Target::Unknown,
        Some(order) if order.is_open() => Target::Open(order),
        Some(_) => Target::Final,
        None => Target::Unknown,
    };
    if intent.flags & intent_flags::BY_KEY == 0 {
        return by_id(intent.ttl_ns_or_target);
    }
    let key = intent.target_key();
    if key == 0 {
        return Target::Unknown;
    }
    let probed = tables.window.probe(key);
    if let Probe::Known(entry) = probed {
        return match entry.kind {
            None => Target::Unseen,
            Some(IntentKind::New | IntentKind::ForceFlat) if entry.outcome == Outcome::Accepted => {
                // It existed: whatever took its slot since, it is final.
                match by_id(entry.value) {
                    Target::Open(order) => Target::Open(order),
                    _ => Target::Final,
                }
            }
            Some(_) => Target::Unknown,
        };
    }
    if let Some((_, order)) = gate.orders.walk(&tables.open).find(|(_, order)| order.key == key) {
        return Target::Open(order);
    }
    let room = plan.spot.is_none_or(|own| tables.window.has_room_beside(key, own));
    if room && matches!(probed, Probe::Vacant(_)) { Target::Unseen } else { Target::UnseenNoRoom }
}

/// What a market order reserves per unit: the reference with the band on top, rounded up.
pub(in crate::gate) fn banded(reference_price: i64, band_bps: i64) -> Option<i64> {
    let raised = i128::from(reference_price) * (BPS + i128::from(band_bps));
    i64::try_from((raised + BPS - 1) / BPS).ok()
}

/// The order that a force flat sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gate) struct Flattening {
    pub side: Side,
    pub qty: i64,
    pub reserve_price: i64,
}

impl Flattening {
    pub const ORDER_TYPE: OrderType = OrderType::Market;
    pub const TIF: Tif = Tif::Ioc;
}

impl Gate {
    /// What would bring a strategy's position in a symbol to zero, less what earlier force flats still have working.
    /// It reserves nothing where its notional would not fit: no price stops a force flat.
    pub(in crate::gate) fn flattening(
        &self,
        tables: &StrategyTables,
        symbol: u16,
        reference_price: i64,
    ) -> Option<Flattening> {
        let position = self.position_of(tables, symbol)?;
        let working: i128 = self
            .orders
            .walk(&tables.open)
            .filter(|(_, o)| o.symbol == symbol && o.has(mark::FLATTENS))
            .map(|(_, o)| i128::from(o.leaves_qty()) * i128::from(o.side.sign()))
            .sum();
        let net = i128::from(position.qty) + working;
        let side = if net > 0 { Side::Sell } else { Side::Buy };
        let qty = i64::try_from(net.abs()).ok().filter(|qty| *qty > 0)?;
        let state = self.symbol_or_vacant(symbol);
        let open = match side {
            Side::Buy => position.open_buys.max(state.open_buys),
            Side::Sell => position.open_sells.max(state.open_sells),
        };
        open.checked_add(qty)?;
        let fits = |price: &i64| {
            let units = i128::from(*price) * i128::from(qty);
            let added = state.contract.notional_e16(units);
            added.is_some_and(|added| self.gross_e16.checked_add(added).is_some())
        };
        let reserve_price = banded(reference_price, self.limits.market_band_bps).filter(fits).unwrap_or(0);
        Some(Flattening { side, qty, reserve_price })
    }
}
