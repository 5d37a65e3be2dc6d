//! Lost and found: what happens to all orders at once.

use super::order::{Doubt, Order, is_open};
use super::{Ledger, Mode};
use crate::wire::OrderInfo;
use ringfence_ipc::handshake::VenueOrder;
use ringfence_ipc::msg::{OrderId, OrderState, Side, SymbolId};
use ringfence_ipc::symbol::parse_scaled;
use std::collections::HashMap;

/// Orders that have ended in a listing at most.
const LISTED_FINISHED: usize = 1_000;

impl Ledger {
    /// Events are missing from here on: what the orders are is unknown until it is compared.
    pub(crate) fn lost(&mut self, now_ms: u64) {
        if self.mode == Mode::Lost {
            return;
        }
        self.mode = Mode::Lost;
        self.each_open(now_ms, |ledger, order| ledger.unknown(order, now_ms));
    }

    /// Events arrive again; orders are compared before trading resumes. What happened to an order behind the answer of a
    /// request that is under way no event will tell: it is asked for behind that answer.
    pub(crate) fn reconciling(&mut self) {
        self.mode = Mode::Reconciling;
        for order in self.orders.values_mut().filter(|order| !order.ended) {
            order.asked_before_gap |= order.doing.is_some();
        }
    }

    /// Everything is compared.
    pub(crate) fn trading(&mut self) {
        self.mode = Mode::Trading;
    }

    fn each_open(&mut self, now_ms: u64, mut change: impl FnMut(&mut Self, &mut Order)) {
        let mut open: Vec<OrderId> =
            self.orders.values().filter(|o| !o.ended).map(|o| o.command.order_id).collect();
        open.sort_unstable();
        for id in open {
            self.with(id, now_ms, |ledger, order| change(ledger, order));
        }
    }

    /// The venue's open orders, as of a question sent at `sent_ms`. An order that should be there and is not, is asked for.
    /// Gives those with an id of ours that are not known here.
    pub(crate) fn compare(&mut self, open: &[OrderInfo], sent_ms: u64, now_ms: u64) -> Vec<VenueOrder> {
        let mut strays = Vec::new();
        let mut listed: HashMap<OrderId, (u16, &OrderInfo)> = HashMap::new();
        self.counts.strays = 0;
        for info in open {
            let Some(id) = Self::ours(info) else { continue };
            if self.orders.contains_key(&id.order_id) {
                let newest = listed.entry(id.order_id).or_insert((id.generation, info));
                if id.generation >= newest.0 {
                    *newest = (id.generation, info);
                }
            } else {
                self.counts.strays += 1;
                strays.extend(self.stray(id.order_id, info));
            }
        }
        let absent_until_ms = self.absent_after(sent_ms);
        self.each_open(now_ms, |ledger, order| {
            // Whatever is under way says more than a list that is older.
            if order.doing.is_some() || order.doubt != Doubt::None {
                return;
            }
            match listed.get(&order.command.order_id) {
                Some((generation, info)) if *generation == order.generation && is_open(info) => {
                    ledger.observe(order, info, now_ms);
                }
                _ if order.touched_ms <= sent_ms => {
                    order.absent_until_ms = order.absent_until_ms.max(absent_until_ms);
                    order.doubt(Doubt::State, now_ms);
                }
                _ => {}
            }
        });
        strays
    }

    /// An open order of the venue that is not known here; none, of a symbol that is not known either.
    fn stray(&self, order_id: OrderId, info: &OrderInfo) -> Option<VenueOrder> {
        let at = self.symbols.iter().position(|symbol| symbol.name() == info.symbol)?;
        let symbol = self.symbols.get(at)?;
        let price = parse_scaled(&info.price, symbol.price_scale).ok()?;
        let cum_qty = parse_scaled(&info.executed_qty, symbol.qty_scale).ok()?;
        Some(VenueOrder {
            order_id,
            key: None,
            symbol: SymbolId::try_from(at).ok()?,
            side: if info.side == "BUY" { Side::Buy } else { Side::Sell },
            price: (price != 0).then_some(price),
            qty: parse_scaled(&info.orig_qty, symbol.qty_scale).ok()?,
            cum_qty,
            state: if cum_qty > 0 { OrderState::PartiallyFilled } else { OrderState::Accepted },
        })
    }

    /// Whether everything that is known of the venue's open orders is told.
    pub(crate) fn is_told(&self) -> bool {
        let told = |order: &Order| {
            order.missing_since_ms.is_none() && (order.doubt == Doubt::None || order.told_unknown)
        };
        self.orders.values().all(|order| order.ended || told(order))
    }

    /// The newest order that any command was about.
    pub(crate) const fn last_order_id(&self) -> OrderId {
        self.last_order_id
    }

    /// Every open order as it was told, and those that ended last.
    pub(crate) fn listing(&self) -> Vec<VenueOrder> {
        let ended = self.finished.iter().rev().take(LISTED_FINISHED).filter_map(|id| self.orders.get(id));
        self.orders.values().filter(|order| !order.ended).chain(ended).map(Order::line).collect()
    }
}
