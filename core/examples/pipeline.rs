//! What one intent costs the gate in process: decide, encode the record, commit, and the null venue's report, without
//! rings and without the journal's memory. The dedup window is filled first, so that every key is looked up among `quota`
//! live ones.
//!
//! `cargo run --release -p ringfence-core --example pipeline [million intents]`

use std::hint::black_box;
use std::time::Instant;

use ringfence_core::gate::{Capacity, Gate, Request, Room};
use ringfence_ipc::journal::{BootRecord, LimitRecord, Record, StrategyRecord, report_slots};
use ringfence_ipc::msg::{DurabilityTier, Intent, OrderState, Report, ReportKind, Side, Words};
use ringfence_ipc::reason::{LimitId, Reason, Scope};
use ringfence_ipc::symbol::Symbol;

/// Intents that are seen before the first of them is decided, as a reactor that drains a ring sees them.
const BATCH: u64 = 16;
/// Short slices, so that some of them have the machine to themselves.
const SLICES: u64 = 100;
const STRATEGY: u16 = 1;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let millions: u64 = std::env::args().nth(1).map_or(Ok(4), |n| n.parse())?;
    for quota in [1 << 10, 1 << 16, 1 << 20] {
        let mut bench = Bench::new(quota)?;
        bench.run(2 * quota as u64);
        let mut slices: Vec<f64> = (0..SLICES).map(|_| bench.run(millions * 1_000_000 / SLICES)).collect();
        slices.sort_unstable_by(f64::total_cmp);
        let (best, median) = (slices[0], slices[slices.len() / 2]);
        println!("{quota:>8} keys: best slice {best:.1} ns, median {median:.1} ns per intent");
        assert!(bench.gate.dedup_keys() >= quota as u64 * 3 / 4, "the window is full");
        assert_eq!(bench.gate.open_order_count(), 0);
    }
    Ok(())
}

struct Bench {
    gate: Gate,
    n: u64,
    seq: u64,
}

impl Bench {
    fn new(quota: usize) -> Result<Self, Box<dyn std::error::Error>> {
        let mut gate = Gate::new(Capacity::default(), 0x5eed, 1);
        let boot = BootRecord {
            epoch: 1,
            hash_seed: 0x5eed,
            now_ns: 0,
            layout_hash: 0,
            lockstep: false,
            build_id: [0; 40],
        };
        gate.apply(1, &Record::Boot(boot))?;
        gate.apply(3, &Record::Symbol { id: 0, symbol: Symbol::new("BTCUSDT", 2, 5, 1, 1)? })?;
        for (scope, scope_id, limit, value) in [
            (Scope::Global, 0, LimitId::DedupQuota, quota as i64),
            (Scope::Global, 0, LimitId::PriceCollarBps, 500),
            (Scope::Global, 0, LimitId::MaxOrderNotionalE8, 1_000_000 * 100_000_000),
            (Scope::Global, 0, LimitId::MaxGrossNotionalE8, 10_000_000 * 100_000_000),
            (Scope::Strategy, STRATEGY, LimitId::MaxPositionQty, 10_000_000),
            (Scope::Strategy, STRATEGY, LimitId::MaxOpenOrders, 1_000),
            (Scope::Strategy, STRATEGY, LimitId::OrderRatePerS, 1_000_000_000),
        ] {
            let limit = LimitRecord { scope, scope_id, limit, value, now_ns: 0, config_version: 1 };
            gate.apply(4, &Record::Limit(limit))?;
        }
        gate.apply(
            9,
            &Record::Strategy(StrategyRecord { strategy: STRATEGY, account: 0, name: [b'a'; 24], now_ns: 0 }),
        )?;
        gate.set_reference(0, 6_000_000, 6_000_100, 0, 1, 1);
        Ok(Self { gate, n: 0, seq: 10 })
    }

    /// Decides `count` fresh intents; mean ns each.
    fn run(&mut self, count: u64) -> f64 {
        let mut batch = [[0; 7]; BATCH as usize];
        let (mut accepted, mut checksum) = (0, 0);
        let start = Instant::now();
        for _ in 0..count / BATCH {
            for words in &mut batch {
                self.n += 1;
                let key = u128::from(self.n) << 64 | u128::from(self.n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                *words = Intent::limit(0, Side::Buy, 6_000_000, 100, key, 1_000 + self.n).encode();
            }
            self.gate.prefetch(STRATEGY, &batch);
            for words in &batch {
                let (ok, word) = self.one(words);
                accepted += u64::from(ok);
                checksum ^= word;
            }
        }
        let elapsed_ns = start.elapsed().as_nanos() as f64;
        black_box(checksum);
        assert_eq!(accepted, count / BATCH * BATCH, "every intent was accepted");
        elapsed_ns / accepted as f64
    }

    fn one(&mut self, words: &Words) -> (bool, u64) {
        let req = Request {
            strategy: STRATEGY,
            operator: false,
            words,
            ext: None,
            now_ns: 1_000 + self.n,
            position: self.n,
            room: Room::OPEN,
            reference: None,
            tier: DurabilityTier::Process,
        };
        let Some(approved) = self.gate.pass(&req) else { return (false, 0) };
        let slots = black_box(approved.record_slots());
        let word = slots[1][2];
        let (effect, Some(command)) = (approved.effect(), approved.command()) else { return (false, word) };
        self.gate.commit(&effect, self.seq);
        self.seq += 2;
        let expired = Report {
            kind: ReportKind::Expired,
            state: OrderState::Expired,
            side: command.side,
            maker: false,
            late: false,
            reentered: false,
            reason: Reason::NoLiquidity,
            symbol: command.symbol,
            journal_seq: 0,
            order_id: command.order_id,
            last_qty: 0,
            last_price: 0,
            cum_qty: 0,
            ts_ns: command.now_ns,
            trade_id: 0,
            fee_e8: 0,
            leaves_qty: 0,
            key_low: command.key as u64,
            venue_ts_ns: command.now_ns,
            strategy: 0,
            account: 0,
        };
        let booked = self.gate.book(&expired, req.now_ns);
        let Ok(booked) = &booked else { return (false, word) };
        black_box(report_slots(&booked.report));
        self.gate.apply_report(booked);
        self.seq += 3;
        (true, word)
    }
}
