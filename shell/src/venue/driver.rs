//! The thread between the gate's rings and the adapter's task. It decides nothing: it carries, keeps what finds no room,
//! and attaches again.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ringfence_binance::{Ask, Balances, Config, Ports, StartError, Status, Told, run};
use ringfence_ipc::handshake::Role;
use ringfence_ipc::symbol::Symbol;
use ringfence_ipc::venue::{AttachError, AttachOptions, ReportError, VenueClient, VenueEvent};
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::{TryRecvError, TrySendError};
use tokio::sync::{mpsc, watch};

use super::{VENUE_NAME, Venue};

/// Commands that wait for the adapter, and reports that wait for this thread.
const QUEUE: usize = 1_024;
/// How long one try to attach may take.
const ATTACH_WITHIN: Duration = Duration::from_millis(200);
/// The shortest and the longest sleep while there is nothing to do.
const SHORT_SLEEP: Duration = Duration::from_micros(50);
const LONG_SLEEP: Duration = Duration::from_millis(1);
/// After the end was asked for, how long requests under way are waited for, and reports of theirs.
const END_WITHIN: Duration = Duration::from_secs(5);

/// Why the shell cannot drive its venue.
#[derive(Debug, thiserror::Error)]
pub enum VenueError {
    /// The gate does not take it.
    #[error("the gate takes no venue `{VENUE_NAME}`: {0}")]
    Attach(#[from] AttachError),
    /// The adapter cannot start.
    #[error("Binance: {0}")]
    Start(#[from] StartError),
    /// No thread.
    #[error("no thread for the venue: {0}")]
    Thread(#[from] std::io::Error),
    /// The adapter ended by itself.
    #[error("the adapter of Binance ended by itself: see the messages before")]
    Ended,
}

/// Attaches to the gate at `socket` and carries between it and Binance until `stop` is set. An error sets `stop`.
///
/// # Errors
/// [`VenueError`]: the configuration cannot work.
pub fn start(
    runtime: Handle,
    socket: PathBuf,
    config: Config,
    stop: Arc<AtomicBool>,
) -> Result<(Venue, JoinHandle<Result<(), VenueError>>), VenueError> {
    config.check().map_err(StartError::from)?;
    let (attached, is_attached) = watch::channel(false);
    let (status, statuses) = watch::channel(Status::default());
    let (balances, known_balances) = watch::channel(Balances::default());
    let venue = Venue::new(&config, is_attached, statuses, known_balances);
    let driver = Driver { runtime, socket, config, stop, attached, status, balances };
    let thread = std::thread::Builder::new().name("ringfence-venue".into()).spawn(move || {
        let outcome = driver.drive();
        driver.attached.send_replace(false);
        driver.stop.store(true, Ordering::Relaxed);
        outcome
    })?;
    Ok((venue, thread))
}

struct Driver {
    runtime: Handle,
    socket: PathBuf,
    config: Config,
    stop: Arc<AtomicBool>,
    attached: watch::Sender<bool>,
    status: watch::Sender<Status>,
    balances: watch::Sender<Balances>,
}

/// Why carrying ended.
#[derive(PartialEq, Eq)]
enum End {
    Stopped,
    /// The gate has other symbols: the adapter begins anew, and the gate asks for every open order.
    Symbols,
}

impl Driver {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn drive(&self) -> Result<(), VenueError> {
        while let Some(client) = self.attach()? {
            let symbols = client.market().symbols().to_vec();
            let (asks, asked) = mpsc::channel(QUEUE);
            let (tells, told) = mpsc::channel(QUEUE);
            let (epoch, epochs) = watch::channel(client.epoch());
            let ports = Ports {
                asks: asked,
                told: tells,
                epoch: epochs,
                status: self.status.clone(),
                balances: self.balances.clone(),
            };
            let (config, table) = (self.config.clone(), symbols.clone());
            let adapter = self.runtime.spawn(async move { run(config, &table, ports).await });
            self.attached.send_replace(true);
            let mut carrier = Carrier { client, asks, told, waiting: None, kept: None, epoch, symbols };
            let carried = carrier.carry(self);
            let finished = carrier.finish();
            if !finished {
                tracing::warn!(
                    "the venue's last reports may not have reached the gate: it asks for its open orders"
                );
                adapter.abort();
            }
            match self.runtime.block_on(adapter) {
                Ok(outcome) => outcome?,
                Err(error) if error.is_cancelled() => {}
                Err(_) => return Err(VenueError::Ended),
            }
            if carried? == End::Stopped {
                break;
            }
        }
        Ok(())
    }

    /// Attached, or told to stop.
    fn attach(&self) -> Result<Option<VenueClient>, VenueError> {
        while !self.stopped() {
            let options = AttachOptions::new(&self.socket, Role::Venue, VENUE_NAME);
            match VenueClient::attach(options, ATTACH_WITHIN) {
                Ok(client) => return Ok(Some(client)),
                Err(error) if error.is_transient() => tracing::debug!(%error, "no gate for the venue yet"),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }
}

struct Carrier {
    client: VenueClient,
    asks: mpsc::Sender<Ask>,
    told: mpsc::Receiver<Told>,
    /// From the gate, and the adapter has no room for it.
    waiting: Option<Ask>,
    /// From the adapter, and the gate has no room for it.
    kept: Option<Told>,
    epoch: watch::Sender<u16>,
    symbols: Vec<Symbol>,
}

impl Carrier {
    fn carry(&mut self, driver: &Driver) -> Result<End, VenueError> {
        let mut sleep = SHORT_SLEEP;
        let mut lost = false;
        while !driver.stopped() {
            let (heard, open) = self.hear();
            if !open {
                return Err(VenueError::Ended);
            }
            if lost {
                // Short tries: what the adapter says meanwhile is kept for the gate.
                match self.client.reattach(ATTACH_WITHIN) {
                    Ok(()) => lost = false,
                    Err(error) if error.is_transient() => continue,
                    Err(error) => return Err(error.into()),
                }
                self.epoch.send_replace(self.client.epoch());
                if self.client.market().symbols() != self.symbols.as_slice() {
                    tracing::warn!("the gate has other symbols: the adapter begins anew");
                    return Ok(End::Symbols);
                }
                driver.attached.send_replace(true);
                tracing::info!(epoch = self.client.epoch(), "the gate has its venue back");
            }
            let asked = self.ask();
            if asked == Some(VenueEvent::Lost) {
                if let Some(fault) = self.client.fault() {
                    tracing::error!(%fault, "the gate was left: it is attached to again");
                }
                driver.attached.send_replace(false);
                lost = true;
            }
            sleep = if heard || asked.is_some() { SHORT_SLEEP } else { (sleep * 2).min(LONG_SLEEP) };
            if !heard && asked.is_none() {
                std::thread::sleep(sleep);
            }
        }
        Ok(End::Stopped)
    }

    /// One event of the gate, on to the adapter. Nothing is taken from the ring while something waits.
    fn ask(&mut self) -> Option<VenueEvent> {
        if self.waiting.is_none() {
            let event = self.client.poll()?;
            self.waiting = match event {
                VenueEvent::Command(command) => Some(Ask::Command(command)),
                VenueEvent::Snapshot(number) => Some(Ask::Snapshot(number)),
                VenueEvent::Lost => return Some(event),
            };
            self.offer();
            return Some(event);
        }
        self.offer();
        None
    }

    fn offer(&mut self) {
        if let Some(ask) = self.waiting.take()
            && let Err(TrySendError::Full(ask)) = self.asks.try_send(ask)
        {
            self.waiting = Some(ask);
        }
    }

    /// Everything the adapter says, on to the gate. Whether there was something, and whether there may be more.
    fn hear(&mut self) -> (bool, bool) {
        for turn in 0..QUEUE {
            let heard = turn > 0;
            let told = match self.kept.take() {
                Some(told) => told,
                None => match self.told.try_recv() {
                    Ok(told) => told,
                    Err(TryRecvError::Empty) => return (heard, true),
                    Err(TryRecvError::Disconnected) => return (heard, false),
                },
            };
            match &told {
                Told::Report(report) => {
                    if matches!(self.client.report(report), Err(ReportError::Full)) {
                        self.kept = Some(told);
                        return (false, true);
                    }
                }
                Told::Snapshot { number, last_order_id, orders } => {
                    let now_ns = self.client.now_ns();
                    let said = self.client.answer_snapshot(*number, now_ns, *last_order_id, orders, None);
                    if let Err(error) = said {
                        tracing::warn!(%error, "the gate was not told what the venue has: it asks again");
                    }
                }
            }
        }
        (true, true)
    }

    /// No more commands: what was handed out is carried out, and what follows from it told. `false`: not all of it.
    fn finish(&mut self) -> bool {
        let deadline = Instant::now() + END_WITHIN;
        while self.waiting.is_some() && Instant::now() < deadline && !self.asks.is_closed() {
            self.offer();
            self.hear();
            std::thread::sleep(SHORT_SLEEP);
        }
        // The adapter ends when nobody can ask it any more.
        let (closed, _) = mpsc::channel(1);
        self.asks = closed;
        while Instant::now() < deadline {
            let (_, open) = self.hear();
            if !open && (self.client.unbooked() == 0 || !self.client.is_connected()) {
                return self.client.unbooked() == 0;
            }
            if !open {
                self.client.flush();
            }
            std::thread::sleep(LONG_SLEEP);
        }
        self.told.close();
        false
    }
}
