//! Where segments are kept: a directory in production, memory that fails on purpose in tests.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ringfence_ipc::journal::SegmentDir;
use ringfence_ipc::journal::archive::{ReadAt, SEGMENT_HEADER_BYTES, SegmentHeader};
use ringfence_ipc::journal::chained::Segments;
use rustix::fs::{Advice, FallocateFlags, OFlags};
use rustix::io::Errno;

use super::JournalError;
use super::blocks::BLOCK_BYTES;

const LOCK_FILE: &str = "lock";
const TEMPORARY: &str = "segment.new";
/// Reads of this size or more are taken for a pass from the front of a segment to its end.
const STREAM_BYTES: usize = 512 << 10;
/// How far behind such a read pages leave the page cache.
const READ_BEHIND_BYTES: u64 = 4 << 20;

/// A segment that is being written.
pub trait SegmentFile: ReadAt {
    /// Writes all of `bytes` at `offset`. Slots come as whole 4 KiB blocks in aligned memory.
    ///
    /// # Errors
    /// Those of the medium; how much was written is then unknown.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Gives the file exactly `keep` of its bytes, then zeros up to `len`, allocated as far as the medium can.
    ///
    /// # Errors
    /// Those of the medium, a full disk among them.
    fn resize(&self, keep: u64, len: u64) -> io::Result<()>;

    /// Everything written so far is on disk.
    ///
    /// # Errors
    /// Those of the medium; what is on disk is then unknown.
    fn sync(&self) -> io::Result<()>;
}

/// A place for segments.
pub trait Medium: Segments<File: SegmentFile + Send> + Send + Sync + 'static {
    /// Creates the segment that starts at `first`, `len` bytes that begin with `head` and go on with zeros. It appears
    /// under its name only when it is whole and on disk.
    ///
    /// # Errors
    /// Those of the medium.
    fn create_segment(&self, first: u64, head: &[u8], len: u64) -> io::Result<Self::File>;

    /// Bytes that may still be written.
    ///
    /// # Errors
    /// Those of the medium.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// A segment in a directory, written past the page cache where the file system allows it: copying into the cache costs
/// ten times the CPU time.
#[derive(Debug)]
pub struct DirFile {
    file: File,
    /// The same file for whole aligned blocks; none where the file system has no direct IO.
    direct: Option<File>,
}

impl DirFile {
    fn new(file: File, path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let direct = options.write(true).custom_flags(OFlags::DIRECT.bits().cast_signed()).open(path);
        match direct {
            Ok(direct) => Ok(Self { file, direct: Some(direct) }),
            Err(e) if is_refusal(&e) => Ok(Self { file, direct: None }),
            Err(e) => Err(e),
        }
    }

    /// Writes what direct IO takes of `bytes` and says how much that was.
    fn write_direct(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let Some(direct) = &self.direct else { return Ok(0) };
        let mut done = 0;
        // Marks are small, and a short write may end anywhere: what is no block goes through the page cache.
        while done < bytes.len() && is_blocks(&bytes[done..], offset + done as u64) {
            match direct.write_at(&bytes[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if is_refusal(&e) => break,
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }
}

fn is_blocks(bytes: &[u8], offset: u64) -> bool {
    offset.is_multiple_of(BLOCK_BYTES as u64) && bytes.len().is_multiple_of(BLOCK_BYTES)
}

/// Not done, because it was asked for in this way; nothing has failed.
fn is_refusal(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::INVAL.raw_os_error())
}

impl ReadAt for DirFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let count = ReadAt::read_at(&self.file, buffer, offset)?;
        let behind = offset.saturating_sub(SEGMENT_HEADER_BYTES + READ_BEHIND_BYTES);
        if let (true, Some(behind)) = (count >= STREAM_BYTES, NonZeroU64::new(behind)) {
            // Recovery reads each segment once: pages that are given back are used again at once, where fresh ones
            // cost more than reading does. Refused, it is only slower.
            let _ = rustix::fs::fadvise(&self.file, SEGMENT_HEADER_BYTES, Some(behind), Advice::DontNeed);
        }
        Ok(count)
    }
}

impl SegmentFile for DirFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let done = self.write_direct(bytes, offset)?;
        self.file.write_all_at(&bytes[done..], offset + done as u64)
    }

    fn resize(&self, keep: u64, len: u64) -> io::Result<()> {
        allocate(&self.file, keep, len)
    }

    fn sync(&self) -> io::Result<()> {
        // One file, two descriptions: this brings what either wrote to disk.
        self.file.sync_data()
    }
}

fn allocate(file: &File, keep: u64, len: u64) -> io::Result<()> {
    file.set_len(keep)?;
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, len) {
        Err(Errno::OPNOTSUPP) => file.set_len(len),
        other => other.map_err(io::Error::from),
    }
}

/// A directory of segment files, locked so that no two gates share it.
#[derive(Debug)]
pub struct DirMedium {
    dir: PathBuf,
    segments: SegmentDir,
    /// Holds the lock; the kernel lets go of it when this process dies, however it dies.
    lock: File,
}

impl DirMedium {
    /// Creates the directory if need be, and locks it.
    ///
    /// # Errors
    /// [`JournalError::Held`] when another process has it, [`JournalError::Io`] otherwise.
    pub fn open(dir: &Path) -> Result<Self, JournalError> {
        std::fs::create_dir_all(dir).map_err(JournalError::io("creating the journal directory"))?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut lock =
            options.open(dir.join(LOCK_FILE)).map_err(JournalError::io("opening the lock file"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let read = lock.read_to_string(&mut text);
                let pid = read.ok().and_then(|_| text.trim().parse().ok()).unwrap_or(0);
                return Err(JournalError::Held { dir: dir.to_owned(), pid });
            }
            Err(TryLockError::Error(source)) => {
                return Err(JournalError::Io { step: "locking the journal directory", source });
            }
        }
        lock.set_len(0)
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .map_err(JournalError::io("writing the lock file"))?;
        Ok(Self { dir: dir.to_owned(), segments: SegmentDir::new(dir), lock })
    }
}

impl Drop for DirMedium {
    fn drop(&mut self) {
        // A child between fork and exec still holds a copy of the descriptor: closing ours would not let go.
        let _ = self.lock.unlock();
    }
}

impl Segments for DirMedium {
    type File = DirFile;

    fn firsts(&self) -> io::Result<Vec<u64>> {
        self.segments.firsts()
    }

    fn open_segment(&self, first: u64) -> io::Result<DirFile> {
        let path = self.dir.join(SegmentHeader::file_name(first));
        DirFile::new(OpenOptions::new().read(true).write(true).open(&path)?, &path)
    }
}

impl Medium for DirMedium {
    fn create_segment(&self, first: u64, head: &[u8], len: u64) -> io::Result<DirFile> {
        let temporary = self.dir.join(TEMPORARY);
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        allocate(&file, 0, len)?;
        file.write_all_at(head, 0)?;
        file.sync_all()?;
        let file = DirFile::new(file, &temporary)?;
        std::fs::rename(&temporary, self.dir.join(SegmentHeader::file_name(first)))?;
        File::open(&self.dir)?.sync_all()?;
        Ok(file)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        free_bytes(&self.dir)
    }
}

/// Bytes that this user may still write to the disk of `dir`.
pub(crate) fn free_bytes(dir: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(dir)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
