//! A venue with one symbol and no latency, and short words for what happens there.

use crate::venue::{PaperConfig, PaperVenue};
use ringfence_ipc::msg::{
    Command, CommandKind, DepthDelta, Level, OrderType, Quote, Report, ReportKind, Side, Tif, Trade,
};
use ringfence_ipc::reason::Reason;
use ringfence_ipc::symbol::Symbol;

pub(super) const BUY: Side = Side::Buy;
pub(super) const SELL: Side = Side::Sell;
pub(super) const INSTANT: PaperConfig = PaperConfig {
    latency_ns: 0,
    jitter_ns: 0,
    maker_fee_ppm: -100,
    taker_fee_ppm: 1_000,
    reject_ppm: 0,
    seed: 7,
    max_orders: 100,
    trade_id_base: 5_000,
};

pub(super) fn symbol() -> Symbol {
    Symbol::new("BTCUSDT", 2, 5, 1, 1).unwrap()
}

pub(super) struct Floor {
    pub(super) venue: PaperVenue,
    pub(super) now_ns: u64,
    event: u64,
    out: Vec<Report>,
}

/// What a test looks at: kind, last quantity, last price, cumulative, leaves, reason.
pub(super) type Seen = (ReportKind, i64, i64, i64, i64, Reason);

pub(super) fn seen(reports: &[Report]) -> Vec<Seen> {
    reports.iter().map(|r| (r.kind, r.last_qty, r.last_price, r.cum_qty, r.leaves_qty, r.reason)).collect()
}

pub(super) fn fills(reports: &[Report]) -> Vec<(u64, i64, i64)> {
    let fills = reports.iter().filter(|r| r.kind == ReportKind::Fill);
    fills.map(|r| (r.order_id, r.last_qty, r.last_price)).collect()
}

pub(super) fn limit(order_id: u64, side: Side, price: i64, qty: i64) -> Command {
    Command {
        kind: CommandKind::New,
        order_id,
        symbol: 0,
        side,
        order_type: OrderType::Limit,
        tif: Tif::Gtc,
        flags: 0,
        price,
        qty,
        now_ns: 0,
        key: u128::from(order_id) + 1_000,
    }
}

pub(super) fn of_kind(kind: CommandKind, order_id: u64, price: i64, qty: i64) -> Command {
    Command { kind, price, qty, ..limit(order_id, BUY, 0, 0) }
}

impl Floor {
    /// Bids 99 x 4, 98 x 5; asks 101 x 3, 102 x 9.
    pub(super) fn new() -> Self {
        let mut floor = Self::blank(INSTANT);
        floor.depth(&[(BUY, 99, 4), (BUY, 98, 5), (SELL, 101, 3), (SELL, 102, 9)], true);
        floor
    }

    pub(super) fn blank(config: PaperConfig) -> Self {
        Self { venue: PaperVenue::new(config, &[symbol()]), now_ns: 1_000, event: 0, out: Vec::new() }
    }

    pub(super) fn send(&mut self, command: &Command) -> Vec<Report> {
        self.venue.on_command(command, self.now_ns, &mut self.out);
        std::mem::take(&mut self.out)
    }

    pub(super) fn advance(&mut self, now_ns: u64) -> Vec<Report> {
        self.now_ns = now_ns;
        self.venue.advance(now_ns, &mut self.out);
        std::mem::take(&mut self.out)
    }

    pub(super) fn depth(&mut self, levels: &[(Side, i64, i64)], snapshot: bool) -> Vec<Report> {
        self.event += 1;
        for (i, &(side, price, qty)) in levels.iter().enumerate() {
            let delta = DepthDelta {
                symbol: 0,
                event: self.event,
                ts_ns: self.now_ns,
                levels: [Some(Level { side, price, qty }), None],
                last: i + 1 == levels.len(),
                snapshot: snapshot && i == 0,
            };
            self.venue.on_tape(&delta.encode(), self.now_ns, &mut self.out);
        }
        std::mem::take(&mut self.out)
    }

    pub(super) fn quote(
        &mut self,
        bid_price: i64,
        bid_qty: i64,
        ask_price: i64,
        ask_qty: i64,
    ) -> Vec<Report> {
        self.event += 1;
        let (event, ts_ns) = (self.event, self.now_ns);
        let quote = Quote { symbol: 0, event, ts_ns, bid_price, bid_qty, ask_price, ask_qty };
        self.venue.on_tape(&quote.encode(), self.now_ns, &mut self.out);
        std::mem::take(&mut self.out)
    }

    /// `aggressor` traded `qty` at `price`.
    pub(super) fn trade(&mut self, aggressor: Side, price: i64, qty: i64) -> Vec<Report> {
        self.event += 1;
        let (event, ts_ns) = (self.event, self.now_ns);
        let trade = Trade { symbol: 0, event, ts_ns, price, qty, trade_id: event, aggressor };
        self.venue.on_tape(&trade.encode(), self.now_ns, &mut self.out);
        std::mem::take(&mut self.out)
    }

    pub(super) fn ahead(&self, order_id: u64) -> i64 {
        self.venue.queue_ahead(order_id).unwrap()
    }
}
