//! `strategies_N`: N strategy processes on one gate, all asking at once; `cargo xtask bench --sweep`.
//!
//! The gate spins on one CPU; all strategies share the other, so from two on the scheduler decides whose turn it is, and
//! the total falls by what its switches cost. What the row shows of the gate is fairness: a rate for each strategy. Every
//! strategy keeps a window of intents unanswered, and gives the CPU up when it has nothing to read.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use ringfence_ipc::client::{AttachOptions, Client, Event, SubmitError};
use ringfence_ipc::handshake::Role;
use ringfence_ipc::msg::{Intent, Outcome, Side};
use ringfence_ipc::reason::Reason;

use super::gate::PRICE;
use super::gate_process::GateProcess;
use super::{Bench, Keys};
use crate::machine::{NEAR_CPU, pin};
use crate::stats::Row;

/// Scaled quantity of every order.
const QTY: i64 = 100;
/// Intents of one strategy that may be unanswered.
const WINDOW: u64 = 64;
/// Keys that each strategy's dedup window holds.
const LIVE_KEYS: usize = 1 << 12;
const PATIENCE: Duration = Duration::from_secs(30);

/// One row for `count` strategies: all their decisions per second, and between them the slowest to the fastest.
///
/// # Errors
/// A process does not start, an intent is lost, or the two sides' counts differ.
pub fn measure(bench: &mut Bench, name: &str, count: usize) -> Result<Vec<Row>> {
    let gate = GateProcess::start(LIVE_KEYS, &bench.options.out)?;
    let before = gate.tally();
    let socket = gate.socket().display().to_string();
    let mut strategies = Vec::with_capacity(count);
    for number in 0..count {
        strategies.push(Strategy::start(&socket, number, bench.options.seed)?);
    }
    strategies.iter_mut().try_for_each(|strategy| strategy.expect("ready").map(drop))?;
    let time = bench.options.sweep_time();
    let order = format!("{}\n", time.as_millis());
    strategies.iter_mut().try_for_each(|strategy| strategy.tell(&order))?;
    let told: Vec<Vec<u64>> =
        strategies.iter_mut().map(|strategy| strategy.expect("done")).collect::<Result<_>>()?;
    strategies.into_iter().try_for_each(Strategy::finish)?;
    gate.wait_archived()?;
    let now = gate.tally();
    let (mut rates, mut accepted, mut refused) = (Vec::with_capacity(count), 0, 0);
    for counts in &told {
        let [took, of_these, not] = counts[..] else { bail!("a strategy said {counts:?}") };
        rates.push(took as f64 / time.as_secs_f64());
        (accepted, refused) = (accepted + of_these, refused + not);
    }
    let counted = now.accepted - before.accepted;
    ensure!(counted == accepted, "the gate counts {counted} accepted, the strategies {accepted}");
    gate.stop()?;
    // Refused can only be what found the journal's ring full: the disk's limit, not the gate's.
    let decided: u64 = told.iter().map(|counts| counts[0]).sum();
    Ok(vec![Row::rate(name, "any", decided, time.as_secs_f64(), &mut rates, refused)])
}

/// A strategy process, as the one that measures sees it.
struct Strategy {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Strategy {
    fn start(socket: &str, number: usize, seed: u64) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--strategy", socket, &number.to_string(), &seed.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start a strategy process")?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (Some(input), Some(output)) = (input, output) else { bail!("a strategy has no pipes") };
        Ok(Self { child, input, output: BufReader::new(output) })
    }

    /// Its next line, which must begin with `word`; the numbers after it.
    fn expect(&mut self, word: &str) -> Result<Vec<u64>> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let numbers = line.trim().strip_prefix(word);
        let numbers = numbers.with_context(|| format!("a strategy said `{}`", line.trim()))?;
        Ok(numbers.split_whitespace().map(str::parse).collect::<std::result::Result<_, _>>()?)
    }

    fn tell(&mut self, line: &str) -> Result<()> {
        Ok(self.input.write_all(line.as_bytes())?)
    }

    fn finish(mut self) -> Result<()> {
        drop(self.input);
        let status = self.child.wait()?;
        ensure!(status.success(), "a strategy ended with {status}");
        Ok(())
    }
}

/// The strategy process's whole life: attach, wait for the time to run for, run, say what was done.
///
/// # Errors
/// The gate refuses, is lost, or answers something else.
pub fn run(socket: &str, number: u64, seed: u64) -> Result<()> {
    pin(NEAR_CPU)?;
    let options = AttachOptions::new(socket, Role::Strategy, &format!("bench-{number}"));
    let mut client = Client::attach_patiently(options, PATIENCE)?;
    println!("ready");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    let time = Duration::from_millis(line.trim().parse()?);
    let mut counts = Counts::default();
    let mut keys = Keys::new(seed.wrapping_add(number.wrapping_mul(0x9e37_79b9)));
    let (began, mut sent) = (Instant::now(), 0u64);
    let mut in_time = 0;
    loop {
        let over = began.elapsed() >= time;
        if !over {
            in_time = counts.decided;
        }
        while !over && sent - counts.decided < WINDOW {
            let side = if sent.is_multiple_of(2) { Side::Buy } else { Side::Sell };
            let intent = Intent::limit(0, side, PRICE, QTY, keys.next_key(), client.now_ns());
            match client.submit(&intent) {
                Ok(_) => sent += 1,
                Err(SubmitError::Full) => {
                    keys.take_back();
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        if !counts.take(&mut client)? {
            if over && counts.decided == sent && counts.reported == counts.accepted {
                break;
            }
            ensure!(began.elapsed() < time + PATIENCE, "{} of {sent} intents decided", counts.decided);
            std::thread::yield_now();
        }
    }
    println!("done {in_time} {} {}", counts.accepted, counts.refused);
    Ok(())
}

#[derive(Default)]
struct Counts {
    decided: u64,
    accepted: u64,
    refused: u64,
    reported: u64,
}

impl Counts {
    /// Reads what there is; whether there was anything.
    fn take(&mut self, client: &mut Client) -> Result<bool> {
        let mut any = false;
        while let Some(event) = client.poll() {
            any = true;
            match event {
                Event::Decision(decision) => {
                    self.decided += 1;
                    match (decision.outcome, decision.reason) {
                        (Outcome::Accepted, _) => self.accepted += 1,
                        (_, Reason::JournalFull | Reason::VenueBusy) => self.refused += 1,
                        _ => bail!("an intent was rejected: {decision:?}"),
                    }
                }
                Event::Report(_) => self.reported += 1,
                other => bail!("unexpected event {other:?}"),
            }
        }
        Ok(any)
    }
}
