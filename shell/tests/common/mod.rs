//! A shell on a free loopback port over a gate in memory, and just enough HTTP to talk to it.

#![allow(clippy::unwrap_used, reason = "a test that cannot set up must fail")]
#![allow(dead_code, reason = "every test file uses its own part")]

pub mod desk;
mod gate;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use ringfence_ipc::journal::{Record, StrategyRecord};
use ringfence_ipc::market::MarketView;
use ringfence_ipc::symbol::Symbol;
use ringfence_shell::audit::{AuditLog, AuditOptions, Auditing};
use ringfence_shell::auth::Auth;
use ringfence_shell::gateway::pump::{self, LinkError, Pump};
use ringfence_shell::gateway::{Gateway, Settings};
use ringfence_shell::http::{self, App, AppConfig, Rules, Tls};
use ringfence_strategies::Strategies;
use serde_json::Value;

pub use gate::{MemoryGate, Switches};

/// A path of the table, its parameters named.
pub fn filled(path: &str) -> String {
    path.replace("{id}", "00000000-0000-4000-8000-000000000000")
}

/// A running shell.
pub struct Shell {
    pub address: SocketAddr,
    pub gateway: Arc<Gateway>,
    pub app: Arc<App>,
    pub switches: Arc<Switches>,
    pub last_price: Arc<AtomicU64>,
    _pump: Pump,
    runtime: Option<tokio::runtime::Runtime>,
    pub audit: AuditLog,
    pub audit_dir: tempfile::TempDir,
    _auditing: Auditing,
}

impl Drop for Shell {
    fn drop(&mut self) {
        self.app.close();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(3));
        }
    }
}

fn name(text: &[u8]) -> [u8; 24] {
    let mut name = [0; 24];
    name[..text.len()].copy_from_slice(text);
    name
}

pub fn start() -> Shell {
    start_as(None, |_| {}, Rules::default(), None, None)
}

pub fn start_with(auth: Option<Arc<Auth>>) -> Shell {
    start_as(auth, |_| {}, Rules::default(), None, None)
}

/// A shell whose audit log has other options.
pub fn start_audited(edit: impl FnOnce(&mut AuditOptions)) -> Shell {
    start_as(None, edit, Rules::default(), None, None)
}

/// A shell with other rules for sockets.
pub fn start_ruled(sockets: Rules) -> Shell {
    start_as(None, |_| {}, sockets, None, None)
}

/// A shell that speaks TLS.
pub fn start_tls(tls: Arc<Tls>) -> Shell {
    start_as(None, |_| {}, Rules::default(), Some(tls), None)
}

/// A shell with strategies.
pub fn start_with_strategies(auth: Option<Arc<Auth>>, strategies: Arc<Strategies>) -> Shell {
    start_as(auth, |_| {}, Rules::default(), None, Some(strategies))
}

fn start_as(
    auth: Option<Arc<Auth>>,
    edit: impl FnOnce(&mut AuditOptions),
    sockets: Rules,
    tls: Option<Arc<Tls>>,
    strategies: Option<Arc<Strategies>>,
) -> Shell {
    let (journal, records) = mpsc::channel();
    let switches = Arc::new(Switches::default());
    let mut gate = Some(MemoryGate::new(journal, Arc::clone(&switches)));
    let none = || LinkError { transient: true, message: "gone".into() };
    let (handle, pump) = pump::start(move || gate.take().ok_or_else(none)).unwrap();
    let settings = Settings {
        account: 0,
        manual_strategy: "manual".into(),
        starting_balances: vec![("USDT".into(), 1_000_000)],
        stale_after: Duration::from_secs(5),
        live_market: None,
        venue_balances: None,
    };
    let gateway = Arc::new(Gateway::new(settings, handle));
    let strategy = |id, text| StrategyRecord { strategy: id, account: 0, name: name(text), now_ns: 1 };
    gateway.apply(
        &[
            (1, Record::Symbol { id: 0, symbol: Symbol::new("BTCUSDT", 2, 5, 1, 10).unwrap() }),
            (2, Record::Symbol { id: 1, symbol: Symbol::new("ETHUSDT", 2, 4, 5, 1).unwrap() }),
            (3, Record::Strategy(strategy(1, b"manual"))),
            (4, Record::Strategy(strategy(2, b"momentum"))),
        ],
        false,
    );
    gateway.set_caught_up();
    let last_price = Arc::new(AtomicU64::new(0));
    let price = Arc::clone(&last_price);
    gateway.board.source(Some(Arc::new(move |_| {
        let last_price = price.load(Ordering::Relaxed) as i64;
        Some(MarketView { last_price, event: last_price as u64, ts_ns: 9, ..MarketView::default() })
    })));
    let follower = Arc::clone(&gateway);
    std::thread::spawn(move || {
        while let Ok(record) = records.recv() {
            follower.apply(&[record], false);
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let mut options = AuditOptions::new(dir.path());
    edit(&mut options);
    let (audit, auditing) = AuditLog::start(options).unwrap();
    let config = AppConfig {
        counters_path: "/nonexistent".into(),
        socket: "/nonexistent.sock".into(),
        market_source: "sim".into(),
        live_market: None,
        venue: None,
        market_symbol: None,
        audit: audit.clone(),
        order_events: None,
        auth,
        sockets,
        tls: tls.clone(),
        strategies,
    };
    let app = App::new(Arc::clone(&gateway), config);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(http::serve(listener, tls, http::router(Arc::clone(&app)), app.closing()));
    let (sampled, market) = (Arc::clone(&app), Arc::clone(&gateway));
    runtime.spawn(async move { ringfence_shell::sample(&sampled, &market).await });
    while !gateway.gate.is_connected() {
        std::thread::yield_now();
    }
    Shell {
        address,
        gateway,
        app,
        switches,
        last_price,
        _pump: pump,
        runtime: Some(runtime),
        audit,
        audit_dir: dir,
        _auditing: auditing,
    }
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let find = |line: &'_ str| line.split_once(": ").is_some_and(|(n, _)| n.eq_ignore_ascii_case(name));
        self.head.lines().find(|line| find(line)).and_then(|line| line.split_once(": ")).map(|(_, v)| v)
    }

    /// Which field was bad, if one was.
    pub fn field_or_none(&self) -> Option<String> {
        self.json()["details"]["field"].as_str().map(str::to_owned)
    }

    pub fn field(&self) -> String {
        self.json()["details"]["field"].as_str().unwrap_or("?").to_owned()
    }
}

impl Shell {
    /// One request with exactly these headers (Host is added unless there).
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head.push_str(&format!("Host: {}\r\n", self.address));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(b"\r\n").unwrap();
        // A server that has already said no may not read the rest.
        let _ = stream.write_all(body);
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) =
            text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer to {method} {path}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        // Whatever a test provokes: no route answers what its document does not have.
        let route = path.split('?').next().unwrap_or(path);
        if let Some(told) = http::statuses(method, route) {
            assert!(told.contains(&status), "{method} {path} is not said to answer {status}: {body}");
        }
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    pub fn post(&self, path: &str, body: &str) -> Answer {
        self.send("POST", path, &[("Content-Type", "application/json")], body.as_bytes())
    }

    pub fn order(&self, id: &str, qty: &str) -> Answer {
        self.post(
            "/api/order",
            &format!(
                r#"{{"side":"buy","symbol":"BTCUSDT","qty":{qty},"price":61000.5,"client_order_id":"{id}"}}"#
            ),
        )
    }

    /// The order's state once it is `status`; panics after a while.
    pub fn await_status(&self, id: &str, status: &str) -> Value {
        for _ in 0..200 {
            let answer = self.get(&format!("/api/order_state?client_order_id={id}"));
            if answer.status == 200 && answer.json()["status"] == status {
                return answer.json();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("{id} never became {status}")
    }

    pub fn stream(&self, path: &str, headers: &[(&str, &str)]) -> Stream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut head = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n", self.address);
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut stream = Stream(BufReader::new(stream));
        let mut line = String::new();
        stream.0.read_line(&mut line).unwrap();
        assert!(line.contains(" 200 "), "{line}");
        while line != ": connected\n" {
            line.clear();
            assert!(stream.0.read_line(&mut line).unwrap() > 0, "no stream");
        }
        stream
    }
}

/// An event stream.
pub struct Stream(BufReader<TcpStream>);

/// One server-sent event.
#[derive(Debug, Clone)]
pub struct Sse {
    pub id: Option<u64>,
    pub name: String,
    pub data: Value,
}

impl Stream {
    /// The next event; `None` at the end of the stream.
    pub fn next(&mut self) -> Option<Sse> {
        let (mut id, mut name) = (None, String::new());
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            assert!(Instant::now() < deadline, "no event");
            let mut line = String::new();
            if self.0.read_line(&mut line).ok()? == 0 {
                return None;
            }
            // The last chunk: the stream is over, whether the connection stays or not.
            if line == "0\r\n" {
                return None;
            }
            if let Some(text) = line.strip_prefix("id: ") {
                id = text.trim().parse().ok();
            } else if let Some(text) = line.strip_prefix("event: ") {
                name = text.trim().to_owned();
            } else if let Some(text) = line.strip_prefix("data: ") {
                return Some(Sse { id, name, data: serde_json::from_str(text).unwrap() });
            }
        }
    }

    /// The next order event with an id, states and market skipped.
    pub fn next_numbered(&mut self) -> Sse {
        loop {
            let event = self.next().expect("the stream ended");
            if event.id.is_some() {
                return event;
            }
        }
    }
}
