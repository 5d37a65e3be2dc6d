//! What StormGuard looks at, measured by the gate thread beside its work: a few words per market message and per report,
//! nothing per intent.

use ringfence_ipc::counters::Counter;
use ringfence_ipc::market::MarketView;
use ringfence_ipc::msg::{OrderId, Report, ReportKind, SymbolId};
use ringfence_ipc::reason::Reason;

use super::reactor::Reactor;
use crate::gate::{PnlSweep, Space, StormInputs};
use crate::journal::Class;

/// Positions valued in one check.
const POSITIONS_PER_CHECK: usize = 64;
const REJECT_WINDOW_NS: u64 = 1_000_000_000;
const PARTS: usize = 16;
const PART_NS: u64 = REJECT_WINDOW_NS / PARTS as u64;

/// What was measured since the last check.
pub(super) struct Vigil {
    due_ns: u64,
    /// Gate time of the last market message, ns; 0: none yet.
    last_market_ns: u64,
    /// The slowest first answer of the venue since the last check, ns.
    slowest_ns: u64,
    /// An order whose first answer is waited for.
    probe: OrderId,
    /// By symbol: since when its book is crossed, gate time ns; 0: it is not.
    crossed_since_ns: Box<[u64]>,
    crossed: usize,
    /// Counts as the last check saw them.
    rejects: u64,
    venue_rejects: u64,
    full: u64,
    recent: RejectWindow,
    full_checks: u64,
    sweep: PnlSweep,
    pnl_e8: Option<i64>,
}

impl Vigil {
    /// `market_ns`: when the market was last known to be there, gate time ns; 0: it never was.
    pub fn new(symbols: usize, market_ns: u64) -> Self {
        Self {
            due_ns: 0,
            last_market_ns: market_ns,
            slowest_ns: 0,
            probe: 0,
            crossed_since_ns: vec![0; symbols].into_boxed_slice(),
            crossed: 0,
            rejects: 0,
            venue_rejects: 0,
            full: 0,
            recent: RejectWindow::default(),
            full_checks: 0,
            sweep: PnlSweep::default(),
            pnl_e8: None,
        }
    }

    /// A symbol's market changed.
    #[inline]
    pub fn on_market(&mut self, symbol: SymbolId, view: &MarketView, now_ns: u64) {
        self.last_market_ns = now_ns;
        let crossed = view.bid_price >= view.ask_price && view.ask_price > 0;
        let Some(since_ns) = self.crossed_since_ns.get_mut(usize::from(symbol)) else { return };
        if crossed != (*since_ns != 0) {
            // Gate time 0 means "not crossed": lockstep begins there.
            *since_ns = if crossed { now_ns.max(1) } else { 0 };
            self.crossed = if crossed { self.crossed + 1 } else { self.crossed - 1 };
        }
    }

    /// A report was booked; `waited_ns` since its order was accepted.
    #[inline]
    pub fn on_report(&mut self, report: &Report, waited_ns: u64) {
        match report.kind {
            ReportKind::Accepted => self.slowest_ns = self.slowest_ns.max(waited_ns),
            ReportKind::Rejected => {
                self.slowest_ns = self.slowest_ns.max(waited_ns);
                self.venue_rejects += 1;
            }
            _ => {}
        }
    }

    fn crossed_ns(&self, now_ns: u64) -> u64 {
        if self.crossed == 0 {
            return 0;
        }
        let since = self.crossed_since_ns.iter().filter(|since_ns| **since_ns != 0).min();
        // One that has just begun counts, too: a threshold of 1 ns means "at all".
        since.map_or(0, |since_ns| now_ns.saturating_sub(*since_ns).max(1))
    }
}

/// Rejects of the last second, in sixteen parts.
#[derive(Default)]
struct RejectWindow {
    parts: [u64; PARTS],
    part: u64,
}

impl RejectWindow {
    fn add(&mut self, rejects: u64, now_ns: u64) -> u64 {
        let part = now_ns / PART_NS;
        for gone in 0..part.saturating_sub(self.part).min(PARTS as u64) {
            self.parts[((part - gone) % PARTS as u64) as usize] = 0;
        }
        self.part = self.part.max(part);
        self.parts[(self.part % PARTS as u64) as usize] += rejects;
        self.parts.iter().sum()
    }
}

impl Reactor {
    /// StormGuard looks, if it is time; a transition is journalled and in force at once.
    pub fn keep_vigil(&mut self, now_ns: u64) {
        let Some(interval_ns) = self.gate.storm_interval_ns() else { return };
        if now_ns < self.vigil.due_ns {
            return;
        }
        self.vigil.due_ns = now_ns.saturating_add(interval_ns);
        let inputs = self.measure(now_ns);
        if !self.journal.room(Class::Reserved) {
            return;
        }
        if let Some(record) = self.gate.check_storm(&inputs) {
            self.write_control(&record);
        }
    }

    fn measure(&mut self, now_ns: u64) -> StormInputs {
        let round_trip_ns = self.round_trip_ns(now_ns);
        let full_checks = self.full_checks();
        let vigil = &mut self.vigil;
        if let Some(pnl_e8) = vigil.sweep.step(&self.gate, POSITIONS_PER_CHECK) {
            vigil.pnl_e8 = Some(pnl_e8);
        }
        // Journalled rejects only: what a strategy can be refused for free, it could storm the gate with.
        let rejects = self.counters.get(Counter::Rejected) + vigil.venue_rejects;
        let fresh = rejects.saturating_sub(std::mem::replace(&mut vigil.rejects, rejects));
        let gap_ns = if vigil.last_market_ns == 0 { 0 } else { now_ns.saturating_sub(vigil.last_market_ns) };
        StormInputs {
            now_ns,
            pnl_e8: vigil.pnl_e8,
            feed_gap_ns: gap_ns,
            round_trip_ns,
            crossed_ns: vigil.crossed_ns(now_ns),
            rejects: vigil.recent.add(fresh, now_ns),
            full_checks,
        }
    }

    /// A venue that says nothing is as slow as the order that waits: one order at a time is watched for that.
    fn round_trip_ns(&mut self, now_ns: u64) -> u64 {
        let waited = |gate: &crate::gate::Gate, probe| gate.unanswered_since_ns(probe);
        if waited(&self.gate, self.vigil.probe).is_none() {
            self.vigil.probe = self.gate.newest_order_id();
        }
        let since_ns = waited(&self.gate, self.vigil.probe);
        let waiting_ns = since_ns.map_or(0, |since_ns| now_ns.saturating_sub(since_ns));
        std::mem::take(&mut self.vigil.slowest_ns).max(waiting_ns)
    }

    fn full_checks(&mut self) -> u64 {
        let refused = self.counters.rejected(Reason::VenueBusy) + self.counters.rejected(Reason::JournalFull);
        let full = self.venue.space() < Space::Open
            || self.journal_space(1) < Space::Open
            || refused > self.vigil.full;
        self.vigil.full = refused;
        self.vigil.full_checks = if full { self.vigil.full_checks + 1 } else { 0 };
        self.vigil.full_checks
    }

    /// What earlier lives of the counters file counted is none of this life's doing.
    pub fn begin_vigil(&mut self, now_ns: u64) {
        let market_ns = if self.gate.has_seen_a_market() { now_ns } else { 0 };
        self.vigil = Vigil::new(usize::from(self.market.symbols()), market_ns);
        self.vigil.rejects = self.counters.get(Counter::Rejected);
        self.vigil.full =
            self.counters.rejected(Reason::VenueBusy) + self.counters.rejected(Reason::JournalFull);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_count_for_a_second() {
        let mut window = RejectWindow::default();
        assert_eq!(window.add(3, 5 * PART_NS), 3);
        assert_eq!(window.add(2, 6 * PART_NS), 5);
        assert_eq!(window.add(0, 20 * PART_NS + PART_NS - 1), 5);
        assert_eq!(window.add(0, 21 * PART_NS), 2, "the first part has left");
        assert_eq!(window.add(1, 22 * PART_NS), 1);
        assert_eq!(window.add(7, 1_000 * PART_NS), 7, "a long pause empties it");
    }

    #[test]
    fn the_longest_crossed_book_counts() {
        let mut vigil = Vigil::new(2, 0);
        let view = |bid_price, ask_price| MarketView { bid_price, ask_price, ..MarketView::default() };
        vigil.on_market(0, &view(10, 10), 100);
        vigil.on_market(1, &view(11, 10), 150);
        assert_eq!(vigil.crossed_ns(200), 100);
        vigil.on_market(0, &view(9, 10), 210);
        assert_eq!(vigil.crossed_ns(250), 100);
        vigil.on_market(1, &view(10, 0), 260);
        assert_eq!(vigil.crossed_ns(300), 0, "a side is missing: nothing is crossed");
        vigil.on_market(1, &view(10, 10), 300);
        assert_eq!(vigil.crossed_ns(300), 1, "it has just begun");
    }
}
