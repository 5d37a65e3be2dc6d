//! Venues that live inside the core process: the paper venue and the null venue.
//!
//! Both are state machines without IO: commands, tape messages and the time go in, reports come out. The same code
//! runs on the paper thread, inline in lockstep and in a backtest. What the model does and does not claim stands in
//! `docs/paper-venue.md`.

mod book;
mod null;
mod paper;

pub use book::{Applied, Book, BookLevel, Change, MAX_BATCH_LEVELS, MAX_LEVELS_PER_SIDE};
pub use null::NullVenue;
pub use paper::{PaperConfig, PaperVenue};

use ringfence_ipc::msg::{Command, OrderState, Report, ReportKind};
use ringfence_ipc::reason::Reason;

/// A report about the order that `command` names. Only fills carry a venue time: without it the journal needs one
/// slot less. The gate fills in strategy and account.
fn answer(command: &Command, kind: ReportKind, state: OrderState, reason: Reason, ts_ns: u64) -> Report {
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
        cum_qty: 0,
        ts_ns,
        trade_id: 0,
        fee_e8: 0,
        leaves_qty: 0,
        key_low: command.key as u64,
        venue_ts_ns: 0,
        strategy: 0,
        account: 0,
    }
}
