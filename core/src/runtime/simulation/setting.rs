//! What a seed decides once: symbols, strategies, limits, table sizes, and how the venue behaves.

use ringfence_ipc::reason::{LimitId, Scope};
use ringfence_ipc::symbol::Symbol;

use crate::gate::Capacity;
use crate::journal::tests::sim::Rng;
use crate::venue::PaperConfig;

/// Strategy, account, name.
pub const STRATEGIES: [(u16, u16, &str); 3] = [(1, 0, "ada"), (2, 0, "bob"), (3, 1, "cyd")];
/// A middle price that every symbol starts at, in ticks.
pub const MIDDLE_TICKS: i64 = 2_000;

#[derive(Clone, Debug)]
pub struct Setting {
    pub symbols: Vec<Symbol>,
    pub cap: Capacity,
    pub limits: Vec<(Scope, u16, LimitId, i64)>,
    pub paper: PaperConfig,
    /// Keys are forgotten within the run, so that what an old key is answered is not certain.
    pub forgets: bool,
    pub segment_bytes: u64,
}

impl Setting {
    pub fn of(seed: u64) -> Self {
        let mut rng = Rng(seed);
        let mut symbols: Vec<Symbol> =
            [("BTCUSDT", 2, 0, 1, 1), ("ETHUSDT", 2, 3, 5, 10), ("ODD", 8, 8, 1, 1)]
                .iter()
                .map(|(name, price, qty, tick, lot)| {
                    Symbol::new(name, *price, *qty, *tick, *lot).expect("a symbol")
                })
                .collect();
        symbols[2].contract_multiplier = 3;
        let forgets = seed.is_multiple_of(4);
        let cap = Capacity {
            order_slots: [16, 64, 128][rng.below(3) as usize],
            max_symbols: 3,
            max_strategies: 4,
            max_accounts: 2,
            max_positions: if rng.below(4) == 0 { 5 } else { 9 },
        };
        let mut setting = Self {
            symbols,
            cap,
            limits: Vec::new(),
            paper: PaperConfig {
                latency_ns: [0, 1_000, 5_000_000][rng.below(3) as usize],
                jitter_ns: rng.below(2) * 1_000_000,
                reject_ppm: if rng.below(3) == 0 { 50_000 } else { 0 },
                maker_fee_ppm: -100,
                taker_fee_ppm: 500,
                seed,
                max_orders: 100,
                trade_id_base: 0,
            },
            forgets,
            segment_bytes: [4 << 10, 64 << 10][rng.below(2) as usize],
        };
        setting.draw_limits(&mut rng);
        setting
    }

    /// New values for some of the limits: a configuration that was edited between two lives.
    pub fn draw_limits(&mut self, rng: &mut Rng) {
        use LimitId as L;
        let lot = |symbol: u16| [1, 10, 1][usize::from(symbol)];
        self.limits.clear();
        let (quota, ttl_ns) = if self.forgets { (64, 20_000_000_000) } else { (16_384, i64::MAX) };
        self.limits.push((Scope::Global, 0, L::DedupQuota, quota));
        self.limits.push((Scope::Global, 0, L::DedupTtlNs, ttl_ns));
        let mut maybe = |scope, id, limit, low: i64, high: i64| {
            if rng.below(3) == 0 {
                let value = low + rng.below((high - low) as u64 + 1) as i64;
                self.limits.push((scope, id, limit, value));
            }
        };
        // Worth of one lot at the middle price, 1e-8.
        let worth_e8 = |symbol: u16| {
            let s = &self.symbols[usize::from(symbol)];
            let units = i128::from(MIDDLE_TICKS * s.tick * lot(symbol)) * s.notional_factor();
            i64::try_from(units / 100_000_000).unwrap_or(i64::MAX).max(1)
        };
        let most_e8 = (0..3).map(worth_e8).max().unwrap_or(1);
        maybe(Scope::Global, 0, L::MaxOrderQty, 10, 400);
        maybe(Scope::Global, 0, L::MaxPositionQty, 30, 3_000);
        maybe(Scope::Global, 0, L::MaxOrderNotionalE8, most_e8 * 5, most_e8 * 40);
        maybe(Scope::Global, 0, L::MaxGrossNotionalE8, most_e8 * 100, most_e8 * 1_000);
        maybe(Scope::Global, 0, L::PriceCollarBps, 20, 300);
        maybe(Scope::Global, 0, L::ReferenceMaxAgeNs, 1_000_000, 1_000_000_000);
        maybe(Scope::Global, 0, L::MarketBandBps, 0, 500);
        maybe(Scope::Global, 0, L::ExposureMaxSymbols, 2, 3);
        maybe(Scope::Global, 0, L::MaxClockSkewNs, 0, 2_000_000_000);
        maybe(Scope::Global, 0, L::MaxOpenOrders, 5, 30);
        maybe(Scope::Global, 0, L::AllowKeyless, 0, 1);
        maybe(Scope::Global, 0, L::MarkIntervalNs, 0, 1_000_000);
        for account in 0..2 {
            maybe(Scope::Account, account, L::MaxGrossNotionalE8, most_e8 * 50, most_e8 * 800);
        }
        for symbol in 0..3 {
            let (lot, worth_e8) = (lot(symbol), worth_e8(symbol));
            maybe(Scope::Symbol, symbol, L::MaxOrderQty, lot * 5, lot * 40);
            maybe(Scope::Symbol, symbol, L::MaxPositionQty, lot * 30, lot * 300);
            maybe(Scope::Symbol, symbol, L::MaxOrderNotionalE8, worth_e8 * 5, worth_e8 * 40);
            maybe(Scope::Symbol, symbol, L::MaxGrossNotionalE8, worth_e8 * 50, worth_e8 * 500);
            maybe(Scope::Symbol, symbol, L::PriceCollarBps, 20, 300);
        }
        for (strategy, ..) in STRATEGIES {
            maybe(Scope::Strategy, strategy, L::MaxOrderQty, 10, 400);
            maybe(Scope::Strategy, strategy, L::MaxPositionQty, 30, 3_000);
            maybe(Scope::Strategy, strategy, L::MaxOrderNotionalE8, most_e8, most_e8 * 20);
            maybe(Scope::Strategy, strategy, L::MaxGrossNotionalE8, most_e8 * 50, most_e8 * 500);
            maybe(Scope::Strategy, strategy, L::OrderRatePerS, 50, 5_000);
            maybe(Scope::Strategy, strategy, L::OrderBurst, 1, 30);
            maybe(Scope::Strategy, strategy, L::CancelRatePerS, 50, 5_000);
            maybe(Scope::Strategy, strategy, L::CancelBurst, 1, 30);
            maybe(Scope::Strategy, strategy, L::MaxOpenOrders, 3, 30);
        }
    }
}
