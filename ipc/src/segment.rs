//! Segments: sealed memfds with one writer per page, and files on tmpfs.
//!
//! | segment | who writes | sealed | so that |
//! |---|---|---|---|
//! | [`GateSegment`] | gate | `SHRINK GROW FUTURE_WRITE SEAL` before its fd leaves | a client can only map it read-only |
//! | [`ClientSegment`] | client | `SHRINK GROW` first; `FUTURE_WRITE SEAL` once the client has mapped it | the client keeps the one writable mapping and can no longer punch, resize or re-open it |
//!
//! A seal holds for every descriptor of the memfd, also for those re-opened through `/proc`. A mapping is populated and
//! locked where the system allows; a refusal stands in its [`MappingReport`].

mod error;
mod memfd;

use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use memmap2::{Advice, MmapOptions, MmapRaw};
use rustix::fs::{FallocateFlags, OFlags};
use rustix::io::Errno;

use crate::atomic::Ordering;
use crate::msg::SLOT_BYTES;
use crate::view::{Memory, ReadSlots, ReadWord, WriteSlots, WriteWord};

pub use error::SegmentError;
pub use memfd::{ClientSegment, GateSegment, map_peer};

/// What the system refused while mapping, as raw error numbers. None of it is fatal; all of it costs latency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MappingReport {
    /// `mlock`: pages may be swapped or moved (raise `ulimit -l`).
    pub mlock_refused: Option<i32>,
    /// `MADV_DONTFORK`: a forked child shares the mapping.
    pub dont_fork_refused: Option<i32>,
    /// `MADV_POPULATE_READ`: first touches fault.
    pub populate_refused: Option<i32>,
}

impl MappingReport {
    /// Nothing was refused.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for MappingReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_clean() {
            return f.write_str("populated and locked");
        }
        let refusals = [
            ("mlock (raise `ulimit -l`)", self.mlock_refused),
            ("MADV_DONTFORK", self.dont_fork_refused),
            ("MADV_POPULATE_READ", self.populate_refused),
        ];
        f.write_str("refused:")?;
        for (what, errno) in refusals.iter().filter_map(|(what, errno)| errno.map(|e| (what, e))) {
            write!(f, " {what}: {};", io::Error::from_raw_os_error(errno))?;
        }
        Ok(())
    }
}

/// Mapped memory. Cloning is cheap; the memory is unmapped when the last clone and the last view are gone.
#[derive(Clone)]
pub struct Mapping {
    memory: Arc<Memory>,
    len: usize,
    writable: bool,
    report: MappingReport,
}

impl Mapping {
    /// Creates a file of `bytes` zero bytes, mode 0600, all of it allocated, and maps it read-write.
    ///
    /// An older file of that name is unlinked, not truncated: whoever has it mapped keeps reading the old one.
    ///
    /// # Errors
    /// [`SegmentError`] when the size is not a multiple of 64 or the file system refuses.
    pub fn create_file(path: &Path, bytes: usize) -> Result<Self, SegmentError> {
        let name = path.display().to_string();
        let advice = "check that the directory exists, is writable and has free space (`df -h`)";
        check_size(&name, bytes)?;
        match std::fs::remove_file(path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(SegmentError::Os { step: "unlink", name, source, advice });
            }
            _ => {}
        }
        let flags = (OFlags::NOFOLLOW | OFlags::CLOEXEC).bits() as i32;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(flags)
            .open(path)
            .map_err(|source| SegmentError::Os { step: "open", name: name.clone(), source, advice })?;
        allocate(&file, &name, bytes, advice)?;
        Self::map(&file, &name, bytes, true)
    }

    /// Maps an existing file whole.
    ///
    /// Only the files this product creates are safe to map: one that shrinks while mapped kills its readers, so the run
    /// directory must not be writable by others.
    ///
    /// # Errors
    /// [`SegmentError`] when the file is missing, not regular, empty or not a multiple of 64 bytes.
    pub fn open_file(path: &Path, writable: bool) -> Result<Self, SegmentError> {
        let name = path.display().to_string();
        let os = |step| {
            let name = name.clone();
            let advice = "check that the gate runs with this run directory and that you may read it";
            move |source| SegmentError::Os { step, name, source, advice }
        };
        let flags = (OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK).bits() as i32;
        let file = OpenOptions::new()
            .read(true)
            .write(writable)
            .custom_flags(flags)
            .open(path)
            .map_err(os("open"))?;
        let stat = file.metadata().map_err(os("stat"))?;
        if !stat.is_file() {
            return Err(SegmentError::NotAFile(path.to_owned()));
        }
        let bytes = usize::try_from(stat.len()).unwrap_or(usize::MAX);
        check_size(&name, bytes)?;
        Self::map(&file, &name, bytes, writable)
    }

    fn map<Fd: AsFd>(fd: Fd, name: &str, bytes: usize, writable: bool) -> Result<Self, SegmentError> {
        let mut options = MmapOptions::new();
        options.len(bytes).populate();
        let raw = fd.as_fd().as_raw_fd();
        let map = if writable { options.map_raw(raw) } else { options.map_raw_read_only(raw) };
        let advice = "check the memory limits of this process (`ulimit -v`, cgroup)";
        let map =
            map.map_err(|source| SegmentError::Os { step: "mmap", name: name.to_owned(), source, advice })?;
        let report = settle(&map);
        Ok(Self { memory: Arc::new(Memory::Mapped(map)), len: bytes, writable, report })
    }

    /// Size, bytes.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.len
    }

    /// Whether views that can store may be taken.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.writable
    }

    /// What the system refused while mapping.
    #[must_use]
    pub fn report(&self) -> MappingReport {
        self.report
    }

    /// `count` slots from `offset_bytes`, to read.
    ///
    /// # Errors
    /// [`SegmentError::Range`] when they do not lie inside the mapping or the offset is no multiple of 64.
    pub fn read_slots(&self, offset_bytes: usize, count: usize) -> Result<ReadSlots, SegmentError> {
        self.slots(offset_bytes, count, ReadSlots::of)
    }

    /// `count` slots from `offset_bytes`, to write.
    ///
    /// # Errors
    /// As [`Self::read_slots`], and [`SegmentError::ReadOnly`].
    pub fn write_slots(&self, offset_bytes: usize, count: usize) -> Result<WriteSlots, SegmentError> {
        if !self.writable {
            return Err(SegmentError::ReadOnly);
        }
        self.slots(offset_bytes, count, WriteSlots::of)
    }

    /// The word at `offset_bytes`, to read.
    ///
    /// # Errors
    /// [`SegmentError::Range`] when it does not lie inside the mapping or the offset is no multiple of 8.
    pub fn read_word(&self, offset_bytes: usize) -> Result<ReadWord, SegmentError> {
        let range = SegmentError::Range { offset: offset_bytes, bytes: 8, len: self.len };
        if !offset_bytes.is_multiple_of(8) {
            return Err(range);
        }
        let line = self.read_slots(offset_bytes - offset_bytes % SLOT_BYTES, 1)?;
        line.word(0, offset_bytes % SLOT_BYTES / 8).ok_or(range)
    }

    /// The word at `offset_bytes`, to write.
    ///
    /// # Errors
    /// As [`Self::read_word`], and [`SegmentError::ReadOnly`].
    pub fn write_word(&self, offset_bytes: usize) -> Result<WriteWord, SegmentError> {
        let range = SegmentError::Range { offset: offset_bytes, bytes: 8, len: self.len };
        if !offset_bytes.is_multiple_of(8) {
            return Err(range);
        }
        let line = self.write_slots(offset_bytes - offset_bytes % SLOT_BYTES, 1)?;
        line.word(0, offset_bytes % SLOT_BYTES / 8).ok_or(range)
    }

    /// One word, relaxed, without keeping a view.
    ///
    /// # Errors
    /// As [`Self::read_word`].
    #[inline]
    pub fn load(&self, offset_bytes: usize) -> Result<u64, SegmentError> {
        self.memory.word(offset_bytes).map(|word| word.load(Ordering::Relaxed)).ok_or(SegmentError::Range {
            offset: offset_bytes,
            bytes: 8,
            len: self.len,
        })
    }

    /// Stores one word with Release, without keeping a view.
    ///
    /// # Errors
    /// As [`Self::write_word`].
    #[inline]
    pub fn store(&self, offset_bytes: usize, value: u64) -> Result<(), SegmentError> {
        if !self.writable {
            return Err(SegmentError::ReadOnly);
        }
        self.memory
            .word(offset_bytes)
            .map(|word| word.store(value, Ordering::Release))
            .ok_or(SegmentError::Range { offset: offset_bytes, bytes: 8, len: self.len })
    }

    fn slots<V>(
        &self,
        offset: usize,
        count: usize,
        view: impl Fn(Arc<Memory>, usize, usize) -> Option<V>,
    ) -> Result<V, SegmentError> {
        offset
            .is_multiple_of(SLOT_BYTES)
            .then(|| view(Arc::clone(&self.memory), offset / SLOT_BYTES, count))
            .flatten()
            .ok_or(SegmentError::Range { offset, bytes: count.saturating_mul(SLOT_BYTES), len: self.len })
    }
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let access = if self.writable { "read-write" } else { "read-only" };
        write!(f, "{} bytes, {access}, {}", self.len, self.report)
    }
}

fn check_size(name: &str, bytes: usize) -> Result<(), SegmentError> {
    if bytes == 0 || !bytes.is_multiple_of(SLOT_BYTES) || bytes > isize::MAX as usize {
        return Err(SegmentError::BadSize { name: name.to_owned(), bytes: bytes as u64 });
    }
    Ok(())
}

/// Gives the file its size and its pages, so that no later touch can fail for lack of memory.
fn allocate<Fd: AsFd>(fd: Fd, name: &str, bytes: usize, advice: &'static str) -> Result<(), SegmentError> {
    let os =
        |step| move |e: Errno| SegmentError::Os { step, name: name.to_owned(), source: e.into(), advice };
    rustix::fs::ftruncate(&fd, bytes as u64).map_err(os("ftruncate"))?;
    rustix::fs::fallocate(&fd, FallocateFlags::empty(), 0, bytes as u64).map_err(os("fallocate"))
}

/// Pages present, locked, and not given to forked children, as far as the system allows.
fn settle(map: &MmapRaw) -> MappingReport {
    let refused = |result: io::Result<()>| result.err().map(|e| e.raw_os_error().unwrap_or(0));
    MappingReport {
        dont_fork_refused: refused(map.advise(Advice::DontFork)),
        populate_refused: refused(map.advise(Advice::PopulateRead)),
        mlock_refused: refused(map.lock()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_survive_their_writer_and_are_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("counters");
        Mapping::create_file(&path, 4096).unwrap().write_word(0).unwrap().set(5);
        let reader = Mapping::open_file(&path, false).unwrap();
        assert_eq!(reader.read_word(0).unwrap().get(), 5);
        let fresh = Mapping::create_file(&path, 4096).unwrap();
        assert_eq!((reader.read_word(0).unwrap().get(), fresh.read_word(0).unwrap().get()), (5, 0));
        assert!(matches!(Mapping::create_file(&path, 100), Err(SegmentError::BadSize { .. })));
        assert!(matches!(Mapping::open_file(dir.path(), false), Err(SegmentError::NotAFile(_))));
        assert!(Mapping::open_file(&dir.path().join("absent"), false).is_err());
        std::fs::write(dir.path().join("short"), [0; 10]).unwrap();
        assert!(matches!(
            Mapping::open_file(&dir.path().join("short"), false),
            Err(SegmentError::BadSize { .. })
        ));
    }

    #[test]
    fn a_refusal_is_reported_with_its_reason() {
        let report = MappingReport { mlock_refused: Some(Errno::NOMEM.raw_os_error()), ..Default::default() };
        assert!(!report.is_clean());
        assert!(report.to_string().contains("ulimit -l"), "{report}");
        assert_eq!(MappingReport::default().to_string(), "populated and locked");
    }
}
