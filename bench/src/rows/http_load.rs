//! Load over HTTP/1.1: one connection that waits for each answer, or many that do so at once on one thread.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Larger than any answer that is measured.
const ANSWER_BYTES: usize = 16 << 10;
const PATIENCE: Duration = Duration::from_secs(10);

/// The bytes of a request; `credential` is a whole header line, or nothing.
#[must_use]
pub fn request(method: &str, path: &str, credential: &str, body: &str) -> Vec<u8> {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{credential}Content-Type: application/json\r\nContent-Length: \
         {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// An answer's status and where its body begins, once it is all there.
///
/// # Errors
/// It is no answer.
pub fn whole(bytes: &[u8]) -> Result<Option<(u16, usize)>> {
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&bytes[..end])?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        if name.eq_ignore_ascii_case("content-length") { value.parse::<usize>().ok() } else { None }
    });
    let length = length.context("an answer without Content-Length")?;
    ensure!(end + 4 + length <= ANSWER_BYTES, "an answer of {length} bytes");
    Ok((bytes.len() >= end + 4 + length).then_some((status, end + 4)))
}

/// One keep-alive connection.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// The server does not take it.
    pub fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, buffer: vec![0; ANSWER_BYTES] })
    }

    fn exchange(&mut self, request: &[u8]) -> Result<(u16, usize, usize)> {
        self.stream.write_all(request)?;
        let mut filled = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[filled..])?;
            ensure!(read > 0, "the server closed the connection");
            filled += read;
            if let Some((status, body)) = whole(&self.buffer[..filled])? {
                return Ok((status, body, filled));
            }
        }
    }

    /// Sends a request that must be answered 200.
    ///
    /// # Errors
    /// Another answer, or none.
    pub fn ask(&mut self, request: &[u8]) -> Result<()> {
        let (status, body, filled) = self.exchange(request)?;
        if status != 200 {
            bail!("answered {status}: {}", String::from_utf8_lossy(&self.buffer[body..filled]));
        }
        Ok(())
    }

    /// Status and body.
    ///
    /// # Errors
    /// No answer.
    pub fn ask_for_body(&mut self, request: &[u8]) -> Result<(u16, String)> {
        let (status, body, filled) = self.exchange(request)?;
        Ok((status, String::from_utf8(self.buffer[body..filled].to_vec())?))
    }
}

/// For `time`, `connections` at once, each closed loop with what `next` makes: requests answered 200, and seconds.
///
/// # Errors
/// Another answer, or none.
pub fn storm(
    address: SocketAddr,
    connections: usize,
    time: Duration,
    next: impl Fn() -> Vec<u8>,
) -> Result<(u64, f64)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let began = Instant::now();
        let deadline = began + time;
        let one = async || -> Result<u64> {
            let mut stream = tokio::net::TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let (mut buffer, mut answered) = (vec![0; ANSWER_BYTES], 0);
            while Instant::now() < deadline {
                stream.write_all(&next()).await?;
                let mut filled = 0;
                let status = loop {
                    let read = stream.read(&mut buffer[filled..]).await?;
                    ensure!(read > 0, "the server closed a connection");
                    filled += read;
                    if let Some((status, _)) = whole(&buffer[..filled])? {
                        break status;
                    }
                };
                ensure!(status == 200, "answered {status}");
                answered += 1;
            }
            Ok(answered)
        };
        let all = futures_util::future::try_join_all((0..connections).map(|_| one())).await?;
        Ok((all.iter().sum(), began.elapsed().as_secs_f64()))
    })
}
