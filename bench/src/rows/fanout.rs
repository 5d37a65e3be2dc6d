//! `sse_fanout`, `ws_fanout`: one stream of orders, told to many clients at once.
//!
//! Orders enter over HTTP as fast as the slowest client takes their events. Every client must get every event with an id,
//! each once and in order; a delivery is one such event at one client. The clients are tasks on one thread of this
//! process.

use std::cell::Cell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use memchr::memmem::Finder;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::LocalSet;

use super::Bench;
use super::http::order;
use super::http_load::request;
use super::http_shell::HttpShell;
use crate::stats::{Latencies, Row};

const SSE_CLIENTS: usize = 1_000;
const WS_CLIENTS: usize = 100;
/// Connections that orders enter by, each closed loop.
const DESKS: usize = 8;
/// Orders whose events the slowest client may not have yet.
const AHEAD: u64 = 256;
/// Events with an id that one order makes: taken, and ended by the null venue.
const EVENTS_PER_ORDER: u64 = 2;
const PATIENCE: Duration = Duration::from_secs(20);
const READ_BYTES: usize = 64 << 10;

/// Which stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `/api/stream`
    Sse,
    /// `/api/ws`
    WebSocket,
}

impl Form {
    const fn clients(self) -> usize {
        match self {
            Self::Sse => SSE_CLIENTS,
            Self::WebSocket => WS_CLIENTS,
        }
    }

    /// What stands before the id of an event.
    const fn mark(self) -> &'static [u8] {
        match self {
            Self::Sse => b"\nid: ",
            Self::WebSocket => b"\",\"id\":",
        }
    }

    /// The last bytes before events may come.
    const fn ready(self) -> &'static [u8] {
        match self {
            Self::Sse => b": connected\n\n",
            Self::WebSocket => b"\"body\":{\"ok\":true}}",
        }
    }

    fn hello(self, key: &str) -> Vec<u8> {
        match self {
            Self::Sse => request("GET", "/api/stream", key, ""),
            Self::WebSocket => {
                let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                               Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
                let subscribe = br#"{"id":"s","op":"subscribe"}"#;
                let mut bytes = request("GET", "/api/ws", &(key.to_owned() + upgrade), "");
                // A frame masked with zeros.
                bytes.extend_from_slice(&[0x81, 0x80 | subscribe.len() as u8, 0, 0, 0, 0]);
                bytes.extend_from_slice(subscribe);
                bytes
            }
        }
    }
}

/// What the clients and desks of one run share; one thread.
struct Run {
    form: Form,
    address: SocketAddr,
    key: String,
    ready: Cell<usize>,
    /// How many clients have got how many events: the slowest one's count, in turns of a ring.
    counts: Vec<Cell<u64>>,
    progress: Notify,
    sent: Cell<u64>,
    done: Cell<bool>,
    /// When each order left whose events the sampled client has not seen.
    left: std::cell::RefCell<VecDeque<Instant>>,
    samples: std::cell::RefCell<Vec<u32>>,
}

impl Run {
    fn slowest(&self) -> u64 {
        self.counts.iter().map(Cell::get).min().unwrap_or_default()
    }

    async fn client(self: Rc<Self>, number: usize) -> Result<()> {
        let mut stream = TcpStream::connect(self.address).await?;
        stream.write_all(&self.form.hello(&self.key)).await?;
        let (finder, mut buffer, mut filled) = (Finder::new(self.form.mark()), vec![0; READ_BYTES], 0);
        while memchr::memmem::find(&buffer[..filled], self.form.ready()).is_none() {
            let read = stream.read(&mut buffer[filled..]).await?;
            ensure!(read > 0, "a stream was not opened: {}", String::from_utf8_lossy(&buffer[..filled]));
            filled += read;
        }
        self.ready.set(self.ready.get() + 1);
        self.progress.notify_waiters();
        // Between two reads stays what could be the beginning of a mark.
        let (mut filled, mut newest) = (0, 0);
        loop {
            let read = stream.read(&mut buffer[filled..]).await?;
            ensure!(read > 0, "a stream has ended");
            filled += read;
            let mut looked = 0;
            let mut seen = 0;
            for at in finder.find_iter(&buffer[..filled]) {
                let digits = at + self.form.mark().len();
                let end = buffer[digits..filled].iter().position(|byte| !byte.is_ascii_digit());
                let Some(end) = end else { break };
                let id: u64 = std::str::from_utf8(&buffer[digits..digits + end])?.parse()?;
                ensure!(id > newest, "event {id} after {newest}");
                (newest, looked) = (id, digits + end);
                seen += 1;
            }
            let kept = looked.max(filled.saturating_sub(64));
            buffer.copy_within(kept..filled, 0);
            filled -= kept;
            self.counts[number].set(self.counts[number].get() + seen);
            if number == 0 {
                self.sample(self.counts[0].get());
            }
            if seen > 0 {
                self.progress.notify_waiters();
            }
        }
    }

    /// The last order whose events are all here has taken so long.
    fn sample(&self, count: u64) {
        let (mut left, mut samples) = (self.left.borrow_mut(), self.samples.borrow_mut());
        let under_way = self.sent.get() - count.div_euclid(EVENTS_PER_ORDER).min(self.sent.get());
        while left.len() as u64 > under_way
            && let Some(at) = left.pop_front()
        {
            samples.push(u32::try_from(at.elapsed().as_nanos()).unwrap_or(u32::MAX));
        }
    }

    async fn desk(self: Rc<Self>) -> Result<()> {
        let mut stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let mut buffer = vec![0; READ_BYTES];
        while !self.done.get() {
            if self.sent.get() >= self.slowest() / EVENTS_PER_ORDER + AHEAD {
                self.progress.notified().await;
                continue;
            }
            let (body, _) = order(self.sent.get());
            self.sent.set(self.sent.get() + 1);
            self.left.borrow_mut().push_back(Instant::now());
            stream.write_all(&request("POST", "/api/order", &self.key, &body)).await?;
            let read = stream.read(&mut buffer).await?;
            ensure!(buffer[..read].starts_with(b"HTTP/1.1 200"), "an order was refused");
        }
        Ok(())
    }

    async fn whole(self: Rc<Self>, time: Duration) -> Result<(u64, f64)> {
        let mut clients = Vec::new();
        for number in 0..self.form.clients() {
            clients.push(tokio::task::spawn_local(Rc::clone(&self).client(number)));
        }
        let deadline = Instant::now() + PATIENCE;
        while self.ready.get() < self.form.clients() {
            ensure!(Instant::now() < deadline, "{} clients are there", self.ready.get());
            for client in clients.extract_if(.., |client| client.is_finished()) {
                client.await??;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let began = Instant::now();
        let desks: Vec<_> = (0..DESKS).map(|_| tokio::task::spawn_local(Rc::clone(&self).desk())).collect();
        tokio::time::sleep(time).await;
        self.done.set(true);
        self.progress.notify_waiters();
        for desk in desks {
            // A desk that waits for the slowest client looks again with every event.
            tokio::time::timeout(PATIENCE, desk).await.context("an order was not answered")???;
        }
        let all = self.sent.get() * EVENTS_PER_ORDER;
        let deadline = Instant::now() + PATIENCE;
        while self.slowest() < all {
            ensure!(Instant::now() < deadline, "the slowest client got {} of {all} events", self.slowest());
            self.progress.notified().await;
        }
        let seconds = began.elapsed().as_secs_f64();
        // Nothing more may come.
        tokio::time::sleep(Duration::from_millis(50)).await;
        ensure!(self.counts.iter().all(|count| count.get() == all), "a client got more than {all} events");
        Ok((all * self.form.clients() as u64, seconds))
    }
}

/// Two rows: deliveries a second, and an order's way from its client to its last event at one client.
///
/// # Errors
/// An order is refused, or an event is lost, repeated or out of order anywhere.
pub fn measure(bench: &mut Bench, name: &'static str, form: Form) -> Result<Vec<Row>> {
    let shell = HttpShell::start(bench)?;
    let run = Rc::new(Run {
        form,
        address: shell.address,
        key: shell.api_key.clone(),
        ready: Cell::new(0),
        counts: vec![Cell::new(0); form.clients()],
        progress: Notify::new(),
        sent: Cell::new(0),
        done: Cell::new(false),
        left: VecDeque::new().into(),
        samples: Vec::new().into(),
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let whole = Rc::clone(&run).whole(bench.options.http_time());
    let (delivered, seconds) = LocalSet::new().block_on(&runtime, whole)?;
    drop(runtime);
    shell.finish(run.sent.get())?;
    let mut latencies = Latencies::new()?;
    latencies.add(&run.samples.borrow());
    let mut rates = [delivered as f64 / seconds];
    Ok(vec![
        Row::rate(name, "any", delivered, seconds, &mut rates, 0),
        latencies.row(name, "order to event", None, 0, 1.0),
    ])
}
