//! `ringfence demo`: a sample strategy in a process of its own, over shared memory.
//!
//! It quotes one bid and one ask at the top of the book, moves them when the market moves, and now and then takes
//! liquidity. It is not meant to earn: it shows how a strategy attaches, reads the market, submits, reads answers and
//! survives the gate's death. In lockstep everything it does follows from steps and answers alone.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use ringfence_ipc::client::{AttachOptions, Client, Event, SubmitError};
use ringfence_ipc::handshake::Role;
use ringfence_ipc::market::MarketView;
use ringfence_ipc::msg::{Decision, Intent, Key, OrderId, Outcome, Report, Side, SymbolId, Tif};

use crate::stop;

/// How long a vanished gate is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// Quotes are moved when they are this many ticks away from the top of the book.
const MOVE_TICKS: i64 = 50;
/// Every so many market updates one small taking order goes out.
const TAKE_EVERY: u64 = 500;
/// Idle polls before the thread sleeps.
const SPINS: u32 = 2000;

/// Arguments of `ringfence demo`.
#[derive(Args)]
#[command(
    after_help = "Example:\n  ringfence demo --socket /dev/shm/ringfence-0-.../core.sock --symbol BTCUSDT"
)]
pub struct DemoArgs {
    /// Control socket of the core.
    #[arg(long)]
    socket: PathBuf,
    /// Name to trade under.
    #[arg(long, default_value = "demo")]
    name: String,
    /// Symbol to trade.
    #[arg(long, default_value = "BTCUSDT")]
    symbol: String,
    /// Lots of each order.
    #[arg(long, default_value_t = 100)]
    lots: i64,
    /// Never hold more lots than this, long or short.
    #[arg(long, default_value_t = 1000)]
    max_position_lots: i64,
    /// Stop when the process that started this one dies.
    #[arg(long, hide = true)]
    supervised: bool,
}

pub fn run(args: &DemoArgs) -> anyhow::Result<()> {
    let stop = if args.supervised { stop::supervised()? } else { stop::flag()? };
    let mut options = AttachOptions::new(&args.socket, Role::Strategy, &args.name);
    options.paced = true;
    let client = Client::attach_patiently(options, PATIENCE)?;
    let market = client.market();
    let symbol = market
        .id_of(&args.symbol)
        .with_context(|| format!("{} is not in the gate's symbol table", args.symbol))?;
    let table = *market.symbol(symbol).context("the symbol table lost a symbol")?;
    // Keys must never repeat for this name: a start stamp in the upper half, a counter in the lower. In lockstep the
    // tape is the clock and the journal is fresh.
    let stamp = if client.lockstep() { 0 } else { client.now_ns() };
    let mut demo = Demo {
        client,
        symbol,
        tick: table.tick,
        qty: args.lots * table.lot,
        max_position: args.max_position_lots * table.lot,
        next_key: Key::from(stamp) << 64,
        now_ns: 0,
        updates: 0,
        last_event: 0,
        position: 0,
        quotes: [Quote::None, Quote::None],
        decided: 0,
    };
    let outcome = demo.trade(&stop);
    tracing::info!(updates = demo.updates, decided = demo.decided, position = demo.position, "demo ends");
    outcome
}

/// One of the two resting orders.
#[derive(Clone, Copy, Debug)]
enum Quote {
    None,
    /// Submitted at a ring position, not decided yet.
    Asked {
        position: u64,
        price: i64,
    },
    /// Working.
    Live {
        order_id: OrderId,
        price: i64,
    },
    /// A cancel is under way.
    Leaving {
        order_id: OrderId,
    },
}

struct Demo {
    client: Client,
    symbol: SymbolId,
    tick: i64,
    qty: i64,
    max_position: i64,
    next_key: Key,
    now_ns: u64,
    updates: u64,
    last_event: u64,
    position: i64,
    /// By side: buy, sell.
    quotes: [Quote; 2],
    decided: u64,
}

impl Demo {
    fn trade(&mut self, stop: &AtomicBool) -> anyhow::Result<()> {
        let mut idle = 0;
        while !stop.load(Ordering::Relaxed) {
            let mut busy = false;
            while let Some(event) = self.client.poll() {
                busy = true;
                self.on_event(event)?;
            }
            if !self.client.lockstep() {
                self.now_ns = self.client.now_ns();
                busy |= self.on_market()?;
            }
            idle = if busy { 0 } else { idle + 1 };
            match idle {
                0 => {}
                n if n < SPINS => std::hint::spin_loop(),
                _ => std::thread::sleep(Duration::from_micros(50)),
            }
        }
        Ok(())
    }

    fn on_event(&mut self, event: Event) -> anyhow::Result<()> {
        match event {
            Event::Decision(decision) => self.on_decision(&decision),
            Event::Report(report) => self.on_report(&report),
            Event::Step(step) => {
                self.now_ns = step.now_ns;
                if step.symbol == self.symbol {
                    self.on_market()?;
                }
                while !self.client.step_done(step.event)? {
                    std::hint::spin_loop();
                }
            }
            Event::Lost => {
                if let Some(fault) = self.client.fault() {
                    bail!("the gate broke the ring protocol: {fault}");
                }
                tracing::info!("the gate is gone: re-attaching");
                self.client.reattach(PATIENCE)?;
                tracing::info!(epoch = self.client.epoch(), unanswered = self.client.unanswered(), "resumed");
            }
        }
        Ok(())
    }

    fn on_decision(&mut self, decision: &Decision) {
        self.decided += 1;
        for quote in &mut self.quotes {
            match *quote {
                Quote::Asked { position, price } if position == decision.intent_position => {
                    *quote = match decision.outcome {
                        Outcome::Accepted => Quote::Live { order_id: decision.order_id, price },
                        Outcome::Rejected => Quote::None,
                    };
                }
                _ => {}
            }
        }
    }

    fn on_report(&mut self, report: &Report) {
        if report.symbol != self.symbol {
            return;
        }
        self.position += report.side.sign() * report.last_qty;
        if report.state.is_terminal() {
            for quote in &mut self.quotes {
                match *quote {
                    Quote::Live { order_id, .. } | Quote::Leaving { order_id }
                        if order_id == report.order_id =>
                    {
                        *quote = Quote::None;
                    }
                    _ => {}
                }
            }
        }
    }

    /// Looks at the newest market cell; `false` when it has not changed since the last look.
    fn on_market(&mut self) -> anyhow::Result<bool> {
        let latest = self.client.market().latest_event();
        let view = self.client.market().view(self.symbol);
        let Some(view) = view.filter(|view| view.event != self.last_event) else {
            self.client.market_seen(latest);
            return Ok(false);
        };
        self.last_event = view.event;
        if view.bid_qty > 0 && view.ask_qty > 0 && view.bid_price < view.ask_price {
            self.updates += 1;
            self.quote(Side::Buy, view.bid_price)?;
            self.quote(Side::Sell, view.ask_price)?;
            if self.updates.is_multiple_of(TAKE_EVERY) {
                self.take(&view)?;
            }
        }
        self.client.market_seen(latest);
        Ok(true)
    }

    fn quote(&mut self, side: Side, price: i64) -> anyhow::Result<()> {
        match self.quotes[side as usize] {
            Quote::None if self.position * side.sign() + self.qty <= self.max_position => {
                let key = self.key();
                let intent = Intent::limit(self.symbol, side, price, self.qty, key, self.now_ns);
                if let Some(position) = self.submit(&intent)? {
                    self.quotes[side as usize] = Quote::Asked { position, price };
                }
            }
            Quote::Live { order_id, price: quoted } if (quoted - price).abs() > MOVE_TICKS * self.tick => {
                let key = self.key();
                if self.submit(&Intent::cancel(self.symbol, order_id, key, self.now_ns))?.is_some() {
                    self.quotes[side as usize] = Quote::Leaving { order_id };
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A small order that crosses the spread, towards a flat position.
    fn take(&mut self, view: &MarketView) -> anyhow::Result<()> {
        let side = if self.position > 0 { Side::Sell } else { Side::Buy };
        let price = if side == Side::Buy { view.ask_price } else { view.bid_price };
        let key = self.key();
        let intent =
            Intent { tif: Tif::Ioc, ..Intent::limit(self.symbol, side, price, self.qty, key, self.now_ns) };
        self.submit(&intent)?;
        Ok(())
    }

    fn key(&mut self) -> Key {
        self.next_key += 1;
        self.next_key
    }

    /// `None` when the ring is full or the gate is gone: the next look at the market tries again.
    fn submit(&mut self, intent: &Intent) -> anyhow::Result<Option<u64>> {
        match self.client.submit(intent) {
            Ok(position) => Ok(Some(position)),
            Err(SubmitError::Full | SubmitError::Lost) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
