//! Just enough HTTP to talk to a shell.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::process::{Process, ringfence};
use crate::world::{PATIENCE, World};
use crate::{await_that, http};

/// A running shell over a world's gate, on a simulated market.
pub struct Shell {
    /// Its process.
    pub process: Process,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Shell {
    /// Starts it and waits until it serves.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn start(world: &World) -> Self {
        Self::serves(Self::launch(world), world)
    }

    /// Starts its process; it may not serve yet.
    #[must_use]
    pub fn launch(world: &World) -> Process {
        let file = address_file(world);
        let _ = std::fs::remove_file(&file);
        let text = |path: &Path| path.display().to_string();
        let (config, address) = (text(&world.config_path()), text(&file));
        let args = ["shell", "--config", &config, "--bind", "127.0.0.1:0", "--address-file", &address];
        Process::start(ringfence(), &args, &world.dir().join("shell.log"))
    }

    /// Waits until the shell in `process` serves.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn serves(mut process: Process, world: &World) -> Self {
        let (file, mut found) = (address_file(world), None);
        await_that("the shell serves", PATIENCE, || {
            assert!(process.is_running(), "the shell did not start:\n{}", process.said());
            found = std::fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok());
            found.is_some_and(|address| {
                let health = http::get(address, "/api/health").ok().filter(|answer| answer.status == 200);
                // Before it has read the journal it takes no orders.
                health.is_some_and(|answer| answer.body["stores"]["projection"]["caught_up"] != false)
            })
        });
        Self { process, address: found.expect("it was awaited") }
    }
}

fn address_file(world: &World) -> PathBuf {
    world.dir().join("shell.addr")
}

/// One answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its body; null when it is no JSON.
    pub body: Value,
}

/// GET `path`.
///
/// # Errors
/// When the server cannot be reached or hangs up.
pub fn get(address: SocketAddr, path: &str) -> std::io::Result<Answer> {
    request(address, "GET", path, "")
}

/// POST `body` to `path`.
///
/// # Errors
/// When the server cannot be reached or hangs up.
pub fn post(address: SocketAddr, path: &str, body: &str) -> std::io::Result<Answer> {
    request(address, "POST", path, body)
}

/// DELETE `path`.
///
/// # Errors
/// When the server cannot be reached or hangs up.
pub fn delete(address: SocketAddr, path: &str) -> std::io::Result<Answer> {
    request(address, "DELETE", path, "")
}

fn request(address: SocketAddr, method: &str, path: &str, body: &str) -> std::io::Result<Answer> {
    request_as(address, None, method, path, body)
}

/// A request with one more header: who asks.
///
/// # Errors
/// When the server cannot be reached or hangs up.
pub fn request_as(
    address: SocketAddr,
    credential: Option<(&str, &str)>,
    method: &str,
    path: &str,
    body: &str,
) -> std::io::Result<Answer> {
    let credential = credential.map_or(String::new(), |(name, value)| format!("{name}: {value}\r\n"));
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         {credential}Content-Length: {length}\r\n\r\n{body}"
    )?;
    let mut stream = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), None);
    while !head.ends_with("\r\n\r\n") {
        let at = head.len();
        if stream.read_line(&mut head)? == 0 {
            break;
        }
        let (name, value) = head[at..].split_once(':').unwrap_or_default();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok();
        }
    }
    let bad = || std::io::Error::other("no HTTP answer");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(bad)?;
    let mut body = Vec::new();
    // Some servers say how long it is and keep the connection all the same.
    stream.take(length.unwrap_or(u64::MAX)).read_to_end(&mut body)?;
    Ok(Answer { status, body: serde_json::from_slice(&body).unwrap_or(Value::Null) })
}

/// One server-sent event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its id: a journal position.
    pub id: Option<u64>,
    /// Its name.
    pub name: String,
    /// Its JSON text.
    pub data: String,
}

/// An open event stream.
pub struct Stream {
    reader: BufReader<TcpStream>,
    text: VecDeque<u8>,
}

impl Stream {
    /// Opens `/api/stream`, after event `last_id` if there is one.
    ///
    /// # Panics
    /// When the shell does not stream.
    #[must_use]
    pub fn open(address: SocketAddr, last_id: Option<u64>) -> Self {
        Self::open_at(address, "/api/stream", last_id)
    }

    /// The same at this path, which may hold a ticket.
    ///
    /// # Panics
    /// When the shell does not stream.
    #[must_use]
    pub fn open_at(address: SocketAddr, path: &str, last_id: Option<u64>) -> Self {
        let mut stream = TcpStream::connect(address).expect("the shell listens");
        stream.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout can be set");
        let resume = last_id.map_or(String::new(), |id| format!("Last-Event-ID: {id}\r\n"));
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n{resume}\r\n").expect("the shell reads");
        let mut opened = Self { reader: BufReader::new(stream), text: VecDeque::new() };
        let mut head = String::new();
        await_that("the stream begins", PATIENCE, || {
            let _ = opened.reader.read_line(&mut head);
            head.ends_with("\r\n\r\n")
        });
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        opened
    }

    /// Events with an id that come until `enough`, which sees all so far.
    ///
    /// # Panics
    /// When they do not come.
    pub fn collect(&mut self, what: &str, mut enough: impl FnMut(&[Event]) -> bool) -> Vec<Event> {
        let mut events = Vec::new();
        await_that(what, PATIENCE, || {
            self.read_chunk();
            while let Some(event) = self.next_event() {
                if event.id.is_some() {
                    events.push(event);
                }
            }
            enough(&events)
        });
        events
    }

    fn read_chunk(&mut self) {
        let mut size = String::new();
        loop {
            match self.reader.read_line(&mut size) {
                Ok(0) => return,
                Ok(_) => break,
                Err(_) if size.is_empty() => return,
                Err(_) => {}
            }
        }
        let length = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        let mut chunk = vec![0; length + 2];
        let mut filled = 0;
        while filled < chunk.len() {
            match self.reader.read(&mut chunk[filled..]) {
                Ok(0) => return,
                Ok(count) => filled += count,
                Err(_) => {}
            }
        }
        self.text.extend(&chunk[..length]);
    }

    fn next_event(&mut self) -> Option<Event> {
        let text = self.text.make_contiguous();
        let end = text.windows(2).position(|pair| pair == b"\n\n")?;
        let block = String::from_utf8_lossy(&text[..end]).into_owned();
        self.text.drain(..end + 2);
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        Some(Event {
            id: field("id: ").and_then(|id| id.parse().ok()),
            name: field("event: ").unwrap_or_default(),
            data: field("data: ").unwrap_or_default(),
        })
    }
}
