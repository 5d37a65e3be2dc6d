//! Many streams, many orders, and one client that reads nothing, on real sockets.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::common::start;

/// Events with an id that one order makes at the gate in memory.
const EVENTS_PER_ORDER: usize = 2;
const SECONDS: usize = 2;
const PATIENCE: Duration = Duration::from_secs(30);

/// A size of the long run's own, else this one.
fn size(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Both ends of every stream are in this process.
fn allow_descriptors(wanted: u64) {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum }).unwrap();
    }
}

/// Reads a stream until it has `wanted` events with an id, each greater than the one before.
async fn client(address: std::net::SocketAddr, ready: Arc<AtomicUsize>, wanted: usize) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    let mut stream = tokio::net::TcpStream::connect(address).await.map_err(text)?;
    let head = format!("GET /api/stream HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.map_err(text)?;
    let (mut rest, mut buffer, mut newest, mut seen) = (Vec::new(), vec![0; 32 << 10], 0, 0);
    let mut told = false;
    while seen < wanted {
        let read = stream.read(&mut buffer).await.map_err(text)?;
        if read == 0 {
            return Err(format!("the stream ended after {seen} of {wanted} events"));
        }
        rest.extend_from_slice(&buffer[..read]);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            if line == b": connected\n" && !std::mem::replace(&mut told, true) {
                ready.fetch_add(1, Ordering::Relaxed);
            }
            let Some(id) = line.strip_prefix(b"id: ") else { continue };
            let id: u64 = String::from_utf8_lossy(id).trim().parse().map_err(|_| "no id".to_owned())?;
            if id <= newest {
                return Err(format!("{id} after {newest}"));
            }
            newest = id;
            seen += 1;
        }
    }
    Ok(())
}

#[test]
fn many_streams_get_every_event_at_speed_and_one_that_stalls_costs_them_nothing() {
    let clients = size("RINGFENCE_STREAM_CLIENTS", 200);
    let per_second = size("RINGFENCE_STREAM_ORDERS_PER_S", 200);
    println!("streams: {clients} clients, {per_second} orders/s (long run: 1000 clients, 1000 orders/s)");
    allow_descriptors(2 * clients as u64 + 256);
    let (shell, orders) = (start(), per_second * SECONDS);
    let (address, ready) = (shell.address, Arc::new(AtomicUsize::new(0)));
    let mut stalled = TcpStream::connect(address).unwrap();
    write!(stalled, "GET /api/stream HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_shell, took) = runtime.block_on(async {
        let all: Vec<_> = (0..clients)
            .map(|_| tokio::spawn(client(address, Arc::clone(&ready), orders * EVENTS_PER_ORDER)))
            .collect();
        while ready.load(Ordering::Relaxed) < clients {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let sender = std::thread::spawn(move || {
            let began = Instant::now();
            for n in 0..orders {
                let due = Duration::from_secs(1) * n as u32 / per_second as u32;
                std::thread::sleep(due.saturating_sub(began.elapsed()));
                assert_eq!(shell.order(&format!("o{n}"), "0.5").status, 200);
            }
            (shell, Instant::now())
        });
        for one in all {
            tokio::time::timeout(PATIENCE, one).await.expect("a stream waits for events").unwrap().unwrap();
        }
        let (shell, sent) = sender.join().unwrap();
        (shell, sent.elapsed())
    });
    println!(
        "streams: {} deliveries, the last {took:?} after the last order",
        clients * orders * EVENTS_PER_ORDER
    );
    drop(stalled);
}
