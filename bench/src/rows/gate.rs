//! The gate rows: a complete, journalled decision, strategy process to gate and back.
//!
//! Every intent is new to a full dedup window, passes every kind of check, is journalled and dispatched; the null venue's
//! answer is journalled too. The strategy reads both its decision and its report.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use ringfence_ipc::client::{Client, Event, SubmitError};
use ringfence_ipc::msg::{Intent, Outcome, Side};

use super::gate_process::{GateProcess, Tally};
use super::{Bench, Keys};
use crate::slice::{Samples, Subject, Ticks, classify, measure, spin_until};
use crate::stats::{Regime, Row};

/// Scaled price of every order, and the middle of the one quote.
pub const PRICE: i64 = 6_174_568;
/// Scaled quantity of every order.
const QTY: i64 = 100;
/// Intents under one timestamp and between two looks at the answers, in bursts.
const BATCH: u64 = 256;
/// Answers taken in one go.
const DRAIN: u64 = 1024;
/// Pauses after the last answer there is, before the next look.
const PAUSES: u32 = 100;
/// Intents of one burst: 3 ms at 20 M/s, a twentieth of the hot ring.
const BURST: u64 = 1 << 16;
/// A decision takes two journal slots, its report one.
const SLOTS_PER_INTENT: u64 = 3;
const RECORDS_PER_INTENT: u64 = 2;
/// Intents sent between two looks at the archiver, sustained.
const STRIDE: u64 = 4096;

/// `gate_rtt_*`: closed loop, one intent at a time.
///
/// # Errors
/// The gate does not start, refuses an intent or loses one.
pub fn round_trips(bench: &mut Bench, name: &str, live_keys: usize) -> Result<Vec<Row>> {
    let gate = GateProcess::start(live_keys, &bench.options.out)?;
    let mut strategy = Strategy::attach(gate, bench, live_keys)?;
    strategy.gate.pause()?;
    let rows = measure(name, &mut strategy, &mut bench.raw, &mut bench.raw_total, bench.options.row_time());
    strategy.gate.resume()?;
    let rows = rows?;
    strategy.finish()?;
    Ok(rows)
}

/// `gate_throughput_*`: bursts within the hot journal ring; between them the archiver catches up.
///
/// # Errors
/// As [`round_trips`].
pub fn throughput(bench: &mut Bench, name: &str, live_keys: usize) -> Result<Vec<Row>> {
    let gate = GateProcess::start(live_keys, &bench.options.out)?;
    let mut strategy = Strategy::attach(gate, bench, live_keys)?;
    let mut regimes = [(Regime::Near, Vec::new(), 0.0), (Regime::Far, Vec::new(), 0.0)];
    let mut dropped = 0;
    let started = Instant::now();
    while started.elapsed() < bench.options.row_time() {
        strategy.gate.wait_archived()?;
        let before = strategy.probe(bench)?;
        let burst = Instant::now();
        strategy.burst(BURST)?;
        let seconds = burst.elapsed().as_secs_f64();
        strategy.drain_reports()?;
        let after = strategy.probe(bench)?;
        match classify(before, after).and_then(|met| regimes.iter_mut().find(|(regime, ..)| *regime == met)) {
            Some((_, rates, total)) => {
                rates.push(BURST as f64 / seconds);
                *total += seconds;
            }
            None => dropped += 1,
        }
    }
    strategy.finish()?;
    let rows: Vec<Row> = regimes
        .iter_mut()
        .filter(|(_, rates, _)| !rates.is_empty())
        .map(|(regime, rates, seconds)| {
            let n = rates.len() as u64 * BURST;
            Row::rate(name, regime.name(), n, *seconds, rates, dropped)
        })
        .collect();
    ensure!(!rows.is_empty(), "all {dropped} bursts dropped: the machine is too busy to measure on");
    Ok(rows)
}

/// `gate_sustained`: as fast as the archive's disk takes it, never so fast that an order finds the journal full.
///
/// # Errors
/// As [`round_trips`].
pub fn sustained(bench: &mut Bench, name: &str, live_keys: usize) -> Result<Vec<Row>> {
    let gate = GateProcess::start(live_keys, &bench.options.out)?;
    let mut strategy = Strategy::attach(gate, bench, live_keys)?;
    let time = bench.options.sustained_time();
    // An eighth of the ring stays free: a sixteenth is reserved, and the counters are a moment old.
    let limit = strategy.gate.hot_slots() / 8 * 7;
    let (mut sent, mut second, mut rates) = (0, (Instant::now(), 0), Vec::new());
    let started = Instant::now();
    while started.elapsed() < time {
        if strategy.gate.unarchived_slots() + STRIDE * SLOTS_PER_INTENT > limit {
            std::thread::sleep(Duration::from_micros(100));
        } else {
            strategy.burst(STRIDE)?;
            sent += STRIDE;
        }
        let (since, sent_before) = second;
        if since.elapsed() >= Duration::from_secs(1) {
            rates.push((sent - sent_before) as f64 / since.elapsed().as_secs_f64());
            second = (Instant::now(), sent);
        }
    }
    // What is still in memory is not sustained: the clock runs until it is archived.
    strategy.drain_reports()?;
    strategy.gate.wait_archived()?;
    let seconds = started.elapsed().as_secs_f64();
    strategy.finish()?;
    Ok(vec![Row::rate(name, "any", sent, seconds, &mut rates, 0)])
}

/// One attached strategy and what it has sent and seen.
struct Strategy {
    gate: GateProcess,
    client: Client,
    clock: Ticks,
    keys: Keys,
    before: Tally,
    sent: u64,
    decided: u64,
    reported: u64,
}

impl Strategy {
    /// Attaches and fills the dedup window with `live_keys` keys.
    fn attach(gate: GateProcess, bench: &Bench, live_keys: usize) -> Result<Self> {
        let client = gate.client()?;
        let (keys, before) = (Keys::new(bench.options.seed), gate.tally());
        let mut strategy =
            Self { gate, client, clock: bench.clock, keys, before, sent: 0, decided: 0, reported: 0 };
        let mut missing = live_keys as u64;
        while missing > 0 {
            let count = missing.min(BURST);
            strategy.burst(count)?;
            strategy.drain_reports()?;
            strategy.gate.wait_archived()?;
            missing -= count;
        }
        Ok(strategy)
    }

    /// Checks every count that two sides kept, and stops the gate.
    fn finish(mut self) -> Result<()> {
        self.drain_reports()?;
        self.gate.wait_archived()?;
        let (sent, now, before) = (self.sent, self.gate.tally(), self.before);
        let accepted = now.accepted - before.accepted;
        let commands = now.commands - before.commands;
        let records = now.journal_records - before.journal_records;
        ensure!(self.decided == sent, "{} of {sent} intents decided", self.decided);
        ensure!(self.reported == sent, "{} of {sent} orders reported", self.reported);
        ensure!(accepted == sent, "the gate counts {accepted} of {sent} intents accepted");
        ensure!(commands == sent, "the gate counts {commands} commands for {sent} intents");
        ensure!(records >= sent * RECORDS_PER_INTENT, "{records} journal records for {sent} intents");
        drop(self.client);
        self.gate.stop()
    }

    #[inline]
    fn submit(&mut self, client_ts_ns: u64) -> Result<bool> {
        let side = if self.sent.is_multiple_of(2) { Side::Buy } else { Side::Sell };
        let intent = Intent::limit(0, side, PRICE, QTY, self.keys.next_key(), client_ts_ns);
        match self.client.submit(&intent) {
            Ok(_) => {
                self.sent += 1;
                Ok(true)
            }
            Err(SubmitError::Full) => {
                self.keys.take_back();
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Takes one event; true when it was a decision.
    #[inline]
    fn take(&mut self) -> Result<Option<bool>> {
        match self.client.poll() {
            None => Ok(None),
            Some(Event::Decision(decision)) => {
                ensure!(decision.outcome == Outcome::Accepted, "an intent was rejected: {decision:?}");
                self.decided += 1;
                Ok(Some(true))
            }
            Some(Event::Report(_)) => {
                self.reported += 1;
                Ok(Some(false))
            }
            Some(other) => bail!("unexpected event {other:?}"),
        }
    }

    #[inline]
    fn trip(&mut self) -> Result<()> {
        let now_ns = self.client.now_ns();
        ensure!(self.submit(now_ns)?, "the intent ring is full in a closed loop");
        spin_until(|| Ok(self.take()?.filter(|&decision| decision)))?;
        Ok(())
    }

    /// Sends `count` intents as fast as the ring takes them and waits for every decision.
    fn burst(&mut self, count: u64) -> Result<()> {
        let end = self.sent + count;
        while self.sent < end {
            let now_ns = self.client.now_ns();
            for _ in 0..BATCH.min(end - self.sent) {
                if !self.submit(now_ns)? {
                    break;
                }
            }
            for _ in 0..DRAIN {
                if self.take()?.is_none() {
                    // Answers come in batches: polling for the next one would take its line from the gate, which is about to
                    // write it.
                    (0..PAUSES).for_each(|_| std::hint::spin_loop());
                    break;
                }
            }
        }
        while self.decided < end {
            spin_until(|| self.take())?;
        }
        Ok(())
    }

    fn drain_reports(&mut self) -> Result<()> {
        while self.reported < self.sent {
            spin_until(|| self.take())?;
        }
        Ok(())
    }

    /// The raw round trip, with the gate off its CPU.
    fn probe(&self, bench: &mut Bench) -> Result<f64> {
        self.gate.pause()?;
        let probe = bench.raw.probe();
        self.gate.resume()?;
        probe
    }
}

impl Subject for Strategy {
    fn slice(&mut self, samples: &mut Samples, length: Duration) -> Result<()> {
        self.gate.resume()?;
        let clock = self.clock;
        samples.fill(&clock, length, || self.trip())?;
        self.drain_reports()?;
        self.gate.pause()
    }
}
