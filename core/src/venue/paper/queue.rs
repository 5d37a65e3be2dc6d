//! An order's place among the displayed quantity at its price.
//!
//! Quotes run a few milliseconds ahead of the trades that caused them. So a displayed decrease shortens the queue by
//! its share and is remembered as a herald; the trade that follows is set off against it and not counted twice.

/// How long a displayed decrease counts as the herald of a trade still to be printed, ns of tape time.
const HERALD_NS: u64 = 20_000_000;

/// Where an order stands in its queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct QueuePlace {
    /// Displayed quantity ahead, scaled, at least 0.
    pub(super) ahead: i64,
    /// The level was unknown when the order came to rest: the first quantity it shows lies ahead.
    unplaced: bool,
    /// By how much displayed decreases have shortened `ahead` that no trade has accounted for yet.
    heralded: i64,
    heralded_until_ns: u64,
}

impl QueuePlace {
    /// Nothing ahead.
    pub(super) const FRONT: Self = Self { ahead: 0, unplaced: false, heralded: 0, heralded_until_ns: 0 };

    /// Behind `ahead`; `unplaced` when the book is blank and nobody knows.
    pub(super) const fn back(ahead: i64, unplaced: bool) -> Self {
        Self { ahead, unplaced, ..Self::FRONT }
    }

    /// The displayed quantity went from `old` to `new`. Those who left are spread evenly over the queue, rounded
    /// against us; what joined, joined behind.
    pub(super) fn level_changed(&mut self, old: i64, new: i64, ts_ns: u64) {
        if self.unplaced {
            *self = Self::back(new, false);
            return;
        }
        if new >= old {
            return;
        }
        let share = (i128::from(self.ahead) * i128::from(new) + i128::from(old) - 1) / i128::from(old);
        let ahead = i64::try_from(share).unwrap_or(i64::MAX).min(self.ahead).min(new);
        self.forget_old_heralds(ts_ns);
        self.heralded = self.heralded.saturating_add(self.ahead - ahead);
        self.heralded_until_ns = ts_ns.saturating_add(HERALD_NS);
        self.ahead = ahead;
    }

    /// `qty` traded at this price. Returns what of it reaches the order itself.
    pub(super) fn traded(&mut self, qty: i64, ts_ns: u64) -> i64 {
        self.forget_old_heralds(ts_ns);
        let told = self.heralded.min(qty);
        self.heralded -= told;
        let eaten = self.ahead.min(qty - told);
        self.ahead -= eaten;
        qty - told - eaten
    }

    const fn forget_old_heralds(&mut self, ts_ns: u64) {
        if ts_ns > self.heralded_until_ns {
            self.heralded = 0;
        }
    }
}
