//! One simulated symbol: a mid price that walks, and what a feed would show of it.

use super::SimulatedSymbol;
use ringfence_binance::MarketBody;
use ringfence_ipc::msg::{Level, Side};
use ringfence_ipc::symbol::Symbol;

/// Levels per side in a depth event.
const LEVELS: usize = 10;
/// Sub-ticks per tick: the walk's own resolution.
const SUB: i64 = 1_000_000;
/// A quote's typical step is the price divided by this: the price covers some 15 bps in ten minutes.
const STEP_DIVISOR: i64 = 150_000;
/// How hard the mid is drawn to its anchor per step: one part in so many.
const PULL: i64 = 65_536;
/// The anchor's step is the mid's divided by this.
const ANCHOR_CALM: i64 = 3;
/// Spread and level distance as parts of the price.
const SPREAD_DIVISOR: i64 = 120_000;
const LEVEL_DIVISOR: i64 = 60_000;
/// Notional of a typical touch, whole units of the quote currency.
const TOUCH_NOTIONAL: i128 = 25_000;

/// The state of one symbol's walk. Prices are in ticks here, quantities in lots.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    symbol: Symbol,
    random: u64,
    start_sub: i64,
    anchor_sub: i64,
    mid_sub: i64,
    touch_lots: i64,
    bid: Touch,
    ask: Touch,
    /// What the last depth event showed, scaled.
    shown: Vec<Level>,
    trade_id: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Touch {
    ticks: i64,
    lots: i64,
}

impl Walk {
    pub(super) fn new(symbol: &SimulatedSymbol, seed: u64) -> Self {
        let SimulatedSymbol { symbol, start_price } = *symbol;
        let ticks = (start_price / symbol.tick.max(1)).clamp(10, i64::MAX / SUB / 16);
        let start_sub = ticks * SUB;
        let mut walk = Self {
            symbol,
            random: seed,
            start_sub,
            anchor_sub: start_sub,
            mid_sub: start_sub,
            touch_lots: touch_lots(&symbol, start_price.max(1)),
            bid: Touch::default(),
            ask: Touch::default(),
            shown: Vec::new(),
            trade_id: 0,
        };
        walk.requote();
        walk
    }

    /// Evenly from `0..below`; 0 when `below` is 0. SplitMix64.
    pub(super) fn draw(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(z ^ (z >> 31)) * u128::from(below)) >> 64) as u64
    }

    /// About normal around 0 with deviation `scale`: four even draws.
    fn noise(&mut self, scale: i64) -> i64 {
        let span = scale.max(1).saturating_mul(2) as u64;
        (0..4).map(|_| self.draw(span) as i64 - scale).sum::<i64>() * 7 / 8
    }

    /// A new top of book: the mid moves, or only quantities do.
    pub(super) fn quote(&mut self) -> MarketBody {
        if self.draw(2) == 0 {
            let step = (self.mid_sub / STEP_DIVISOR).max(1);
            self.anchor_sub += self.noise(step / ANCHOR_CALM);
            self.anchor_sub = self.anchor_sub.clamp(self.start_sub / 2, self.start_sub * 2);
            self.mid_sub += (self.anchor_sub - self.mid_sub) / PULL + self.noise(step);
            self.mid_sub = self.mid_sub.clamp(self.start_sub / 4, self.start_sub * 4);
        }
        self.requote();
        MarketBody::Quote {
            bid_price: self.price(self.bid.ticks),
            bid_qty: self.qty(self.bid.lots),
            ask_price: self.price(self.ask.ticks),
            ask_qty: self.qty(self.ask.lots),
        }
    }

    fn requote(&mut self) {
        let mid = self.mid_sub / SUB;
        let usual = (mid / SPREAD_DIVISOR).max(1);
        let spread = usual + self.draw(usual as u64) as i64;
        let bid = (mid - spread / 2).max(1);
        for (side, ticks) in [(Side::Buy, bid), (Side::Sell, bid + spread)] {
            let drawn = self.lots(1);
            let touch = if side == Side::Buy { &mut self.bid } else { &mut self.ask };
            let lots = if touch.ticks == ticks { (touch.lots * 3 + drawn) / 4 } else { drawn };
            *touch = Touch { ticks, lots: lots.max(1) };
        }
    }

    /// A trade at the touch; one in eight takes all of it.
    pub(super) fn trade(&mut self) -> MarketBody {
        let above_anchor = self.mid_sub > self.anchor_sub;
        let buys = self.draw(100) < if above_anchor { 47 } else { 53 };
        let (aggressor, touch) = if buys { (Side::Buy, self.ask) } else { (Side::Sell, self.bid) };
        let lots = if self.draw(8) == 0 { touch.lots } else { 1 + self.draw(touch.lots as u64 / 3) as i64 };
        self.trade_id += 1;
        MarketBody::Trade {
            price: self.price(touch.ticks),
            qty: self.qty(lots),
            trade_id: self.trade_id,
            aggressor,
        }
    }

    /// Ten levels a side, told as the difference to the last ones; the first time as a snapshot.
    pub(super) fn depth(&mut self) -> MarketBody {
        let gap = (self.mid_sub / SUB / LEVEL_DIVISOR).max(1);
        let mut now = Vec::with_capacity(2 * LEVELS);
        for (side, touch) in [(Side::Buy, self.bid), (Side::Sell, self.ask)] {
            let mut level = touch;
            for depth in 1..=LEVELS as i64 {
                if level.ticks >= 1 {
                    now.push(Level { side, price: self.price(level.ticks), qty: self.qty(level.lots) });
                }
                let away = 1 + self.draw(gap as u64 * 2) as i64;
                level = Touch { ticks: level.ticks - away * side.sign(), lots: self.lots(1 + depth / 2) };
            }
        }
        let snapshot = self.shown.is_empty();
        let gone = |old: &&Level| !now.iter().any(|new| (new.side, new.price) == (old.side, old.price));
        let removed = self.shown.iter().filter(gone).map(|old| Level { qty: 0, ..*old });
        let levels = removed.chain(now.iter().copied()).collect();
        self.shown = now;
        MarketBody::Depth { levels, snapshot }
    }

    /// A quantity of a level, in lots: mostly small, now and then large.
    fn lots(&mut self, weight: i64) -> i64 {
        let typical = self.touch_lots.saturating_mul(weight);
        let drawn = 1 + self.draw(typical as u64) as i64;
        if self.draw(12) == 0 { drawn.saturating_mul(5) } else { drawn }
    }

    fn price(&self, ticks: i64) -> i64 {
        ticks.saturating_mul(self.symbol.tick)
    }

    fn qty(&self, lots: i64) -> i64 {
        lots.saturating_mul(self.symbol.lot)
    }
}

fn touch_lots(symbol: &Symbol, price: i64) -> i64 {
    let unit = 10_i128.pow(u32::from(symbol.price_scale) + u32::from(symbol.qty_scale));
    let lots = TOUCH_NOTIONAL * unit / i128::from(price) / i128::from(symbol.lot.max(1));
    i64::try_from(lots).unwrap_or(i64::MAX).clamp(10, 1 << 40)
}
