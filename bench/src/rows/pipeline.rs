//! `pipeline_inproc`: decide, commit, and book the null venue's answer, in one thread, without rings or journal.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use ringfence_core::gate::{Capacity, Gate, Request, Room, StrategyTables};
use ringfence_core::venue::NullVenue;
use ringfence_ipc::clock::rdtsc;
use ringfence_ipc::journal::{
    BootRecord, LimitRecord, Record, STRATEGY_NAME_BYTES, StrategyRecord, report_slots,
};
use ringfence_ipc::msg::{Decision, DurabilityTier, Intent, Side, Words};
use ringfence_ipc::reason::{LimitId, Scope};
use ringfence_ipc::symbol::Symbol;

use super::{Bench, Keys};
use crate::slice::Samples;
use crate::stats::{Latencies, Row};

/// Intents seen in one pass of the gate, prefetched together.
const PASS: usize = 16;
/// Passes under one clock reading.
const PASSES_PER_SAMPLE: usize = 4;
const PER_SAMPLE: usize = PASS * PASSES_PER_SAMPLE;
const SYMBOL: u16 = 0;
const STRATEGY: u16 = 1;
const PRICE: i64 = 6_174_568;
/// What every intent moves gate time by; nothing rotates for age in a run of seconds.
const STEP_NS: u64 = 50;

/// Measures with `live_keys` keys in the dedup window.
///
/// # Errors
/// An intent was not accepted, or an order is left open.
pub fn measure(bench: &mut Bench, name: &str, live_keys: usize) -> Result<Vec<Row>> {
    let mut driver = Driver::new(live_keys, bench.options.seed)?;
    for _ in 0..live_keys / PASS {
        driver.pass();
    }
    let (mut samples, mut latencies) = (Samples::new(), Latencies::new()?);
    let time = bench.options.row_time().min(Duration::from_secs(5));
    let started = Instant::now();
    while started.elapsed() < time {
        samples.clear();
        let mut before = rdtsc();
        let mut room = true;
        while room {
            for _ in 0..PASSES_PER_SAMPLE {
                driver.pass();
            }
            let after = rdtsc();
            room = samples.push(after - before);
            before = after;
        }
        latencies.add(samples.ticks());
    }
    driver.check()?;
    let mut row = latencies.row(name, "any", None, 0, bench.clock.ns_per_tick / PER_SAMPLE as f64);
    row.n *= PER_SAMPLE as u64;
    Ok(vec![row])
}

/// A gate with one strategy under every kind of limit, and the null venue.
struct Driver {
    gate: Gate,
    keys: Keys,
    now_ns: u64,
    position: u64,
    journal: u64,
    accepted: u64,
    booked: u64,
    first_reject: Option<Decision>,
    intents: [Words; PASS],
}

impl Driver {
    fn new(live_keys: usize, seed: u64) -> Result<Self> {
        let now_ns = 1_795_000_000_000_000_000;
        let capacity = Capacity::default();
        let mut gate = Gate::new(capacity, seed, 1);
        let mut name = [0; STRATEGY_NAME_BYTES];
        name[..5].copy_from_slice(b"bench");
        let strategy = StrategyRecord { strategy: STRATEGY, account: 0, name, now_ns };
        let boot = BootRecord {
            epoch: 1,
            hash_seed: seed,
            now_ns,
            layout_hash: 0,
            lockstep: false,
            build_id: [0; 40],
        };
        let mut records = vec![
            Record::Boot(boot),
            Record::Symbol { id: SYMBOL, symbol: Symbol::new("BTCUSDT", 2, 5, 1, 1)? },
        ];
        records.extend(limits(live_keys, now_ns).map(Record::Limit));
        let mut journal = 1;
        for record in &records {
            gate.apply(journal, record)?;
            journal += 1;
        }
        let tables = StrategyTables::new(&strategy, live_keys, seed, &capacity);
        ensure!(gate.install(tables).is_ok(), "the gate has no room for a strategy");
        gate.apply(journal, &Record::Strategy(strategy))?;
        if let Some(mark) = gate.set_reference(SYMBOL, PRICE - 1, PRICE + 1, PRICE, now_ns, 1) {
            journal += 1;
            gate.apply(journal, &Record::Mark(mark))?;
        }
        let intents = [[0; 7]; PASS];
        Ok(Self {
            gate,
            keys: Keys::new(seed),
            now_ns,
            position: 0,
            journal,
            accepted: 0,
            booked: 0,
            first_reject: None,
            intents,
        })
    }

    /// What the reactor does with some intents of one client.
    fn pass(&mut self) {
        for intent in &mut self.intents {
            let side = if self.position.is_multiple_of(2) { Side::Buy } else { Side::Sell };
            *intent = Intent::limit(SYMBOL, side, PRICE, 100, self.keys.next_key(), self.now_ns).encode();
        }
        self.gate.prefetch(STRATEGY, &self.intents);
        for intent in &self.intents {
            let request = Request {
                strategy: STRATEGY,
                operator: false,
                words: intent,
                ext: None,
                now_ns: self.now_ns,
                position: self.position,
                room: Room::OPEN,
                reference: None,
                tier: DurabilityTier::Process,
            };
            let approved = self.gate.pass(&request);
            self.position += 1;
            self.journal += 2;
            let Some(approved) = approved else {
                self.first_reject.get_or_insert(self.gate.decide(&request).decision(0));
                continue;
            };
            self.accepted += 1;
            std::hint::black_box((approved.record_slots(), approved.decision(self.journal).encode()));
            let (effect, command) = (approved.effect(), approved.command());
            self.gate.commit(&effect, self.journal);
            let Some(command) = command else { continue };
            if let Ok(report) = self.gate.book(&NullVenue::answer(&command, self.now_ns), self.now_ns) {
                self.journal += 1;
                std::hint::black_box((report_slots(&report.report), report.report.encode()));
                self.gate.apply_report(&report);
                self.booked += 1;
            }
            self.now_ns += STEP_NS;
        }
    }

    fn check(&self) -> Result<()> {
        let (sent, open) = (self.position, self.gate.open_orders().count());
        let first = self.first_reject;
        ensure!(
            self.accepted == sent,
            "{} of {sent} intents accepted; first reject: {first:?}",
            self.accepted
        );
        ensure!(
            self.booked == sent && open == 0,
            "{} of {sent} reports booked, {open} orders open",
            self.booked
        );
        Ok(())
    }
}

/// Every check does its arithmetic; none of them refuses.
fn limits(live_keys: usize, now_ns: u64) -> impl Iterator<Item = LimitRecord> {
    [
        (Scope::Global, 0, LimitId::MaxOrderNotionalE8, 100_000_000_000_000),
        (Scope::Global, 0, LimitId::PriceCollarBps, 500),
        (Scope::Global, 0, LimitId::ReferenceMaxAgeNs, i64::MAX),
        (Scope::Global, 0, LimitId::MaxGrossNotionalE8, i64::MAX),
        (Scope::Symbol, SYMBOL, LimitId::MaxPositionQty, 1_000_000_000),
        (Scope::Strategy, STRATEGY, LimitId::MaxOrderQty, 1_000_000),
        (Scope::Strategy, STRATEGY, LimitId::MaxPositionQty, 100_000_000),
        (Scope::Strategy, STRATEGY, LimitId::MaxGrossNotionalE8, i64::MAX),
        (Scope::Strategy, STRATEGY, LimitId::OrderRatePerS, 1_000_000_000),
        (Scope::Strategy, STRATEGY, LimitId::OrderBurst, 1_000_000_000),
        (Scope::Strategy, STRATEGY, LimitId::MaxOpenOrders, 10_000),
        (Scope::Strategy, STRATEGY, LimitId::DedupQuota, live_keys as i64),
    ]
    .into_iter()
    .map(move |(scope, scope_id, limit, value)| LimitRecord {
        scope,
        scope_id,
        limit,
        value,
        now_ns,
        config_version: 1,
    })
}
