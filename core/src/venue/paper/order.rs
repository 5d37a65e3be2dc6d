//! One own order, and the reports about it.

use super::PaperConfig;
use super::money::fee_e8;
use super::queue::QueuePlace;
use crate::venue::answer;
use ringfence_ipc::msg::{
    Command, CommandKind, Key, OrderId, OrderState, Report, ReportKind, Side, SymbolId, intent_flags,
};
use ringfence_ipc::reason::Reason;
use ringfence_ipc::symbol::Symbol;

/// An order that rests, or is on its way to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    pub(super) id: OrderId,
    /// None of a re-entered order: its place holds what was filled before.
    pub(super) key: Option<Key>,
    pub(super) symbol: SymbolId,
    pub(super) side: Side,
    key_low: u64,
    flags: u16,
    reentered: bool,
    pub(super) price: i64,
    /// Scaled quantity asked for in all.
    pub(super) total: i64,
    /// Scaled quantity filled, `0..=total`; of a re-entered order: before its re-entry too.
    pub(super) cum: i64,
    pub(super) queue: QueuePlace,
}

impl Order {
    /// `None` when the quantities make no order: nothing left, or more than 64 bits in all.
    pub(super) fn new(command: &Command) -> Option<Self> {
        let reentered = command.kind == CommandKind::Reenter;
        let cum = if reentered { command.filled_qty() } else { 0 };
        let total = command.qty.checked_add(cum).filter(|_| command.qty > 0 && cum >= 0)?;
        Some(Self {
            id: command.order_id,
            key: (!reentered).then_some(command.key),
            symbol: command.symbol,
            side: command.side,
            key_low: command.key as u64,
            flags: command.flags,
            reentered,
            price: command.price,
            total,
            cum,
            queue: QueuePlace::FRONT,
        })
    }

    pub(super) const fn leaves(&self) -> i64 {
        self.total - self.cum
    }

    pub(super) const fn is_post_only(&self) -> bool {
        self.flags & intent_flags::POST_ONLY != 0
    }

    pub(super) const fn working_state(&self) -> OrderState {
        if self.cum > 0 { OrderState::PartiallyFilled } else { OrderState::Accepted }
    }

    /// A report after which the order works on.
    pub(super) fn working(&self, kind: ReportKind, reason: Reason, ts_ns: u64) -> Report {
        Report { leaves_qty: self.leaves(), ..self.report(kind, self.working_state(), reason, ts_ns) }
    }

    /// The report that ends the order with some of it unfilled.
    pub(super) fn ended(&self, kind: ReportKind, state: OrderState, reason: Reason, ts_ns: u64) -> Report {
        self.report(kind, state, reason, ts_ns)
    }

    fn report(&self, kind: ReportKind, state: OrderState, reason: Reason, ts_ns: u64) -> Report {
        Report {
            kind,
            state,
            side: self.side,
            maker: false,
            late: false,
            reentered: self.reentered,
            reason,
            symbol: self.symbol,
            journal_seq: 0,
            order_id: self.id,
            last_qty: 0,
            last_price: 0,
            cum_qty: self.cum,
            ts_ns,
            trade_id: 0,
            fee_e8: 0,
            leaves_qty: 0,
            key_low: self.key_low,
            venue_ts_ns: 0,
            strategy: 0,
            account: 0,
        }
    }
}

/// One fill before it is booked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fill {
    pub(super) price: i64,
    pub(super) qty: i64,
    pub(super) maker: bool,
    pub(super) ts_ns: u64,
}

/// What all fills in one symbol add up to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Holding {
    /// Signed scaled quantity.
    pub(super) qty: i128,
    pub(super) fees_e8: i128,
}

/// Books fills: trade ids, fees, cumulative quantities.
#[derive(Debug)]
pub(super) struct Till {
    trade_id: u64,
    /// By symbol.
    pub(super) holdings: Box<[Holding]>,
    maker_fee_ppm: i32,
    taker_fee_ppm: i32,
}

impl Till {
    pub(super) fn new(config: &PaperConfig, symbols: usize) -> Self {
        Self {
            trade_id: config.trade_id_base,
            holdings: vec![Holding::default(); symbols].into_boxed_slice(),
            maker_fee_ppm: config.maker_fee_ppm,
            taker_fee_ppm: config.taker_fee_ppm,
        }
    }

    /// Books `fill` on `order`, which has at least that much left.
    pub(super) fn book(&mut self, symbol: &Symbol, order: &mut Order, fill: Fill) -> Report {
        order.cum += fill.qty;
        self.trade_id = self.trade_id.wrapping_add(1);
        let fee_ppm = if fill.maker { self.maker_fee_ppm } else { self.taker_fee_ppm };
        let state = if order.leaves() == 0 { OrderState::Filled } else { OrderState::PartiallyFilled };
        let fee_e8 = fee_e8(symbol, fill.price, fill.qty, fee_ppm);
        if let Some(holding) = self.holdings.get_mut(usize::from(order.symbol)) {
            holding.qty += i128::from(fill.qty) * i128::from(order.side.sign());
            holding.fees_e8 = holding.fees_e8.saturating_add(fee_e8.into());
        }
        Report {
            maker: fill.maker,
            last_qty: fill.qty,
            last_price: fill.price,
            trade_id: self.trade_id,
            fee_e8,
            leaves_qty: order.leaves(),
            venue_ts_ns: fill.ts_ns,
            ..order.report(ReportKind::Fill, state, Reason::Ok, fill.ts_ns)
        }
    }
}

/// A command that no order came of: refused, expired at once, or about an unknown order.
pub(super) fn turned_away(command: &Command, kind: ReportKind, reason: Reason, ts_ns: u64) -> Report {
    let state = match kind {
        ReportKind::Expired => OrderState::Expired,
        ReportKind::Rejected => OrderState::Rejected,
        _ => OrderState::Unknown,
    };
    answer(command, kind, state, reason, ts_ns)
}
