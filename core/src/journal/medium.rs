//! Where segments are kept: a directory in production, memory that fails on purpose in tests.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ringfence_ipc::journal::SegmentDir;
use ringfence_ipc::journal::archive::{ReadAt, SegmentHeader};
use ringfence_ipc::journal::chained::Segments;
use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::JournalError;

const LOCK_FILE: &str = "lock";
const TEMPORARY: &str = "segment.new";

/// A segment that is being written.
pub trait SegmentFile: ReadAt {
    /// Writes all of `bytes` at `offset`.
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

impl SegmentFile for File {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn resize(&self, keep: u64, len: u64) -> io::Result<()> {
        self.set_len(keep)?;
        match rustix::fs::fallocate(self, FallocateFlags::empty(), 0, len) {
            Err(Errno::OPNOTSUPP) => self.set_len(len),
            other => other.map_err(io::Error::from),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// A directory of segment files, locked so that no two gates share it.
#[derive(Debug)]
pub struct DirMedium {
    dir: PathBuf,
    segments: SegmentDir,
    /// Holds the lock; the kernel lets go of it when this process dies, however it dies.
    _lock: File,
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
        Ok(Self { dir: dir.to_owned(), segments: SegmentDir::new(dir), _lock: lock })
    }
}

impl Segments for DirMedium {
    type File = File;

    fn firsts(&self) -> io::Result<Vec<u64>> {
        self.segments.firsts()
    }

    fn open_segment(&self, first: u64) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(self.dir.join(SegmentHeader::file_name(first)))
    }
}

impl Medium for DirMedium {
    fn create_segment(&self, first: u64, head: &[u8], len: u64) -> io::Result<File> {
        let temporary = self.dir.join(TEMPORARY);
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.resize(0, len)?;
        file.write_all_at(head, 0)?;
        file.sync_all()?;
        std::fs::rename(&temporary, self.dir.join(SegmentHeader::file_name(first)))?;
        File::open(&self.dir)?.sync_all()?;
        Ok(file)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(&self.dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}
