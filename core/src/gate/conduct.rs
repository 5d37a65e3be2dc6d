//! How a strategy behaves: identical orders in a row, messages against fills, and the result of its day.
//!
//! Everything here moves by journalled records only. A day is one of UTC, by gate time.

use super::Gate;
use super::limits::{ABSENT, Notional, StrategyLimits};
use super::position::{Contract, Position};

const DAY_NS: u64 = 86_400_000_000_000;
const E8: i128 = 100_000_000;

/// What the day's loss lets a strategy do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Loss {
    /// Everything.
    #[default]
    None,
    /// The soft limit is passed: only what reduces its positions.
    Soft,
    /// The hard limit is passed: no order but a force flat.
    Hard,
}

/// One strategy's conduct.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Conduct {
    /// Digest of the last accepted new order's content.
    pub repeat_content: u64,
    /// When the first of the identical orders in a row was accepted, gate time ns.
    pub repeat_since_ns: u64,
    /// How many there are in the row.
    pub repeats: i64,
    /// Orders, amends and cancels that were decided today and are in the journal.
    pub messages: i64,
    /// Fills booked today.
    pub fills: i64,
    /// Profit when the day began, 16 decimals: realised + unrealised - fees.
    pub day_base_e16: i128,
    /// Profit now, likewise.
    pub pnl_e16: i128,
    /// What `pnl_e16` means under the limits of now.
    pub loss: Loss,
}

impl Conduct {
    /// Whether one more order with this content is one too many in the row.
    #[inline(always)]
    pub const fn repeats_too_often(&self, content: u64, now_ns: u64, limits: &StrategyLimits) -> bool {
        self.is_in_row(content, now_ns, limits) & (self.repeats >= limits.max_repeats)
    }

    #[inline(always)]
    const fn is_in_row(&self, content: u64, now_ns: u64, limits: &StrategyLimits) -> bool {
        (content == self.repeat_content)
            & (now_ns.saturating_sub(self.repeat_since_ns) < limits.repeat_window_ns)
    }

    /// A new order was accepted.
    #[inline(always)]
    pub const fn entered(&mut self, content: u64, now_ns: u64, limits: &StrategyLimits) {
        if limits.max_repeats == ABSENT {
            return;
        }
        if self.is_in_row(content, now_ns, limits) {
            self.repeats += 1;
        } else {
            (self.repeat_content, self.repeat_since_ns, self.repeats) = (content, now_ns, 1);
        }
    }

    /// Messages that today's fills allow; [`ABSENT`]: no limit.
    pub const fn message_allowance(&self, limits: &StrategyLimits) -> i64 {
        if limits.max_order_to_trade == ABSENT {
            return ABSENT;
        }
        let fills = if self.fills > 1 { self.fills } else { 1 };
        limits.max_order_to_trade.saturating_mul(fills).saturating_add(limits.order_to_trade_grace)
    }

    /// Loss of today, 16 decimals; not positive: none.
    pub const fn day_loss_e16(&self) -> i128 {
        self.day_base_e16.saturating_sub(self.pnl_e16)
    }

    /// Judges the day's loss by the limits.
    pub const fn judge(&mut self, limits: &StrategyLimits) {
        let loss_e16 = self.day_loss_e16();
        self.loss = if passes(loss_e16, &limits.daily_loss_hard) {
            Loss::Hard
        } else if passes(loss_e16, &limits.daily_loss_soft) {
            Loss::Soft
        } else {
            Loss::None
        };
    }
}

const fn passes(loss_e16: i128, limit: &Notional) -> bool {
    loss_e16 > limit.e16
}

/// Profit of one position at `mark`: realised + unrealised - fees, 16 decimals, saturating.
pub(super) fn profit_e16(position: &Position, contract: &Contract, mark: i64) -> i128 {
    // Without a price ever seen there is nothing to value an open position at.
    let unrealised = if mark > 0 || position.qty == 0 { position.unrealised_e16(contract, mark) } else { 0 };
    let fees = position.fees_e8.saturating_mul(E8);
    position.realised_e16.saturating_add(unrealised).saturating_sub(fees)
}

impl Gate {
    /// Begins a new day for every strategy when the last one is over.
    #[inline(always)]
    pub(super) fn keep_day(&mut self, now_ns: u64) {
        if now_ns >= self.day_ends_ns {
            self.begin_day(now_ns);
        }
    }

    #[cold]
    fn begin_day(&mut self, now_ns: u64) {
        self.day_ends_ns = (now_ns / DAY_NS).saturating_add(1).saturating_mul(DAY_NS);
        for tables in self.strategies.iter_mut().flatten() {
            let conduct = &mut tables.conduct;
            (conduct.messages, conduct.fills) = (0, 0);
            conduct.day_base_e16 = conduct.pnl_e16;
            conduct.judge(&tables.limits);
        }
    }

    /// A mark values every position of its symbol anew: what that changes per strategy. Called before the mark is set.
    pub(super) fn value_anew(&mut self, symbol: u16, mark: i64) {
        let Self { strategies, positions, symbols, .. } = self;
        let state = &symbols[usize::from(symbol)];
        for tables in strategies.iter_mut().flatten() {
            let Some(index) = tables.position_in(symbol) else { continue };
            let profit = |price| profit_e16(&positions[index], &state.contract, price);
            let change = profit(mark).saturating_sub(profit(state.mark_price));
            if change != 0 {
                tables.conduct.pnl_e16 = tables.conduct.pnl_e16.saturating_add(change);
                tables.conduct.judge(&tables.limits);
            }
        }
    }
}
