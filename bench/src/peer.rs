//! The far end: this program once more, on the other CPU.
//!
//! Its standard input is a seqpacket socket. One byte starts a task; every task ends in band, and between tasks the
//! peer sleeps in `recv`, so that nothing of it disturbs what else is measured on its CPU.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, bail};
use ringfence_ipc::ring::{Consumer, Producer};
use ringfence_ipc::segment::Mapping;
use ringfence_ipc::view::{ReadWord, WriteWord};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use tempfile::TempDir;

use crate::machine::{FAR_CPU, pin};
use crate::{raw, rows};

/// Slots of the echo rings.
const RING_SLOTS: usize = 1024;
/// Bytes of a slot.
const SLOT: usize = 64;

/// What the peer can be told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Task {
    /// Echo the raw line until its stop value.
    Raw = b'r',
    /// Echo the ring until its stop message.
    Ring = b'g',
    /// Echo datagrams, sleeping in `recv`, until an empty-bodied one.
    SocketBlocking = b'b',
    /// Echo datagrams, spinning, until an empty-bodied one.
    SocketSpinning = b's',
}

/// The shared file: lines two slots apart, so that the adjacent-line prefetcher does not couple them.
///
/// ```text
///  slot 0 ping | 2 pong | 4 requests consumed | 6 answers consumed | 8.. requests | 8 + RING_SLOTS.. answers
/// ```
pub struct Memory(Mapping);

impl Memory {
    const BYTES: usize = (8 + 2 * RING_SLOTS) * SLOT;

    /// The line that the near end writes.
    ///
    /// # Errors
    /// The file is too small.
    pub fn ping(&self) -> Result<WriteWord> {
        Ok(self.0.write_word(0)?)
    }

    /// The line that the far end writes.
    ///
    /// # Errors
    /// The file is too small.
    pub fn pong(&self) -> Result<WriteWord> {
        Ok(self.0.write_word(2 * SLOT)?)
    }

    /// Producer of requests, consumer of answers.
    ///
    /// # Errors
    /// The file is too small.
    pub fn near_rings(&self) -> Result<(Producer, Consumer)> {
        self.rings(8, 4, 8 + RING_SLOTS, 6)
    }

    /// Producer of answers, consumer of requests.
    ///
    /// # Errors
    /// The file is too small.
    pub fn far_rings(&self) -> Result<(Producer, Consumer)> {
        self.rings(8 + RING_SLOTS, 6, 8, 4)
    }

    fn rings(
        &self,
        out: usize,
        out_consumed: usize,
        inp: usize,
        in_consumed: usize,
    ) -> Result<(Producer, Consumer)> {
        let consumed: ReadWord = self.0.read_word(out_consumed * SLOT)?;
        let producer = Producer::new(self.0.write_slots(out * SLOT, RING_SLOTS)?, consumed, 0);
        let consumer = Consumer::new(
            self.0.read_slots(inp * SLOT, RING_SLOTS)?,
            self.0.write_word(in_consumed * SLOT)?,
            0,
        );
        Ok((producer, consumer))
    }
}

struct Shared {
    socket: OwnedFd,
    memory: Memory,
    child: Mutex<Child>,
    _dir: TempDir,
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The peer leaves when the socket closes; killing it covers one that is lost inside a task.
        if let Ok(child) = self.child.get_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The near end's hold on the peer process, which ends with the last clone.
#[derive(Clone)]
pub struct Link(Arc<Shared>);

impl Link {
    /// Starts the peer.
    ///
    /// # Errors
    /// No tmpfs, no process.
    pub fn start_peer() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("ringfence-bench-").tempdir_in("/dev/shm")?;
        let path = dir.path().join("lines");
        let memory = Memory(Mapping::create_file(&path, Memory::BYTES)?);
        let (socket, far) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let child = Command::new(std::env::current_exe()?)
            .arg("--peer")
            .arg(&path)
            .stdin(Stdio::from(far))
            .stdout(Stdio::null())
            .spawn()
            .context("cannot start the peer process")?;
        Ok(Self(Arc::new(Shared { socket, memory, child: Mutex::new(child), _dir: dir })))
    }

    /// The shared file.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.0.memory
    }

    /// The socket to the peer, for the rows that measure it.
    #[must_use]
    pub fn socket(&self) -> &OwnedFd {
        &self.0.socket
    }

    /// Wakes the peer for `task`.
    ///
    /// # Errors
    /// The peer is gone.
    pub fn start(&self, task: Task) -> Result<()> {
        rustix::net::send(&self.0.socket, &[task as u8], SendFlags::NOSIGNAL).context("the peer is gone")?;
        Ok(())
    }
}

/// The peer process's whole life.
///
/// # Errors
/// The file cannot be mapped, the CPU not pinned, or the near end broke a task.
pub fn run(path: &Path) -> Result<()> {
    pin(FAR_CPU)?;
    let memory = Memory(Mapping::open_file(path, true)?);
    let (ping, pong) = (memory.ping()?.reader(), memory.pong()?);
    let mut rings = memory.far_rings()?;
    let stdin = std::io::stdin();
    let stdin = stdin.as_fd();
    let mut byte = [0; 1];
    loop {
        match rustix::net::recv(stdin, &mut byte, RecvFlags::empty()) {
            Ok((0, _)) => return Ok(()),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        match byte[0] {
            task if task == Task::Raw as u8 => raw::echo(&ping, &pong)?,
            task if task == Task::Ring as u8 => rows::ring::echo(&mut rings)?,
            task if task == Task::SocketBlocking as u8 => rows::uds::echo(stdin, RecvFlags::empty())?,
            task if task == Task::SocketSpinning as u8 => rows::uds::echo(stdin, RecvFlags::DONTWAIT)?,
            other => bail!("unknown task {other}"),
        }
    }
}
