//! Sealed memfds: memory whose one writer is fixed for good.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, MemfdFlags, SealFlags};
use rustix::io::Errno;

use super::{Mapping, SegmentError, allocate, check_size};

const SIZE_SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW);
const FINAL_SEALS: SealFlags = SealFlags::FUTURE_WRITE.union(SealFlags::SEAL);

/// Memory that only the gate writes. Its fd can be given away as soon as it exists.
#[derive(Debug)]
pub struct GateSegment {
    fd: OwnedFd,
    mapping: Mapping,
}

impl GateSegment {
    /// Creates, allocates, maps and seals `bytes` of zeroed memory. `name` shows in `/proc/<pid>/maps`.
    ///
    /// # Errors
    /// [`SegmentError`] when the size is not a multiple of 64 or the kernel refuses a step.
    pub fn create(name: &str, bytes: usize) -> Result<Self, SegmentError> {
        let (fd, at_birth) = sealable(name, bytes)?;
        let mapping = Mapping::map(&fd, name, bytes, true)?;
        add_seals(&fd, name, FINAL_SEALS)?;
        require_seals(&fd, name, at_birth | SIZE_SEALS | FINAL_SEALS)?;
        Ok(Self { fd, mapping })
    }

    /// The fd to hand to clients.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The gate's own, writable mapping.
    #[must_use]
    pub fn mapping(&self) -> &Mapping {
        &self.mapping
    }
}

/// Memory that one client writes, as the gate holds it until the client has mapped it.
#[derive(Debug)]
pub struct ClientSegment {
    fd: OwnedFd,
    name: String,
    bytes: usize,
    at_birth: SealFlags,
}

impl ClientSegment {
    /// Creates and allocates `bytes` of zeroed memory of fixed size that the client may still map writable.
    ///
    /// # Errors
    /// [`SegmentError`] when the size is not a multiple of 64 or the kernel refuses a step.
    pub fn create(name: &str, bytes: usize) -> Result<Self, SegmentError> {
        let (fd, at_birth) = sealable(name, bytes)?;
        Ok(Self { fd, name: name.to_owned(), bytes, at_birth })
    }

    /// The fd to hand to the client.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The client says it has mapped the memory: from here on nobody can map it writable again, punch holes into it or
    /// add a seal. Returns the gate's read-only mapping, every page present.
    ///
    /// # Errors
    /// [`SegmentError::Seals`] when the client sealed first or the seals are not exactly the expected ones, and
    /// [`SegmentError::Os`] when the kernel refuses a step. Either way the client must be refused.
    pub fn activate(self) -> Result<Mapping, SegmentError> {
        let expected = self.at_birth | SIZE_SEALS | FINAL_SEALS;
        match add_seals(&self.fd, &self.name, FINAL_SEALS) {
            // Sealed first by the client: the exact comparison below would say so too, but only if it left traces.
            Err(SegmentError::Os { source, .. })
                if source.raw_os_error() == Some(Errno::PERM.raw_os_error()) =>
            {
                let found = seals(&self.fd, &self.name)?.bits();
                return Err(SegmentError::Seals { name: self.name, expected: expected.bits(), found });
            }
            other => other?,
        }
        require_seals(&self.fd, &self.name, expected)?;
        Mapping::map(&self.fd, &self.name, self.bytes, false)
    }
}

/// The client's side: maps memory that the gate passed, after checking that it is as large as agreed and cannot shrink
/// under the reader.
///
/// # Errors
/// [`SegmentError::SizeMismatch`], [`SegmentError::Seals`], or [`SegmentError::Os`] (mapping gate-written memory writable
/// is refused by the kernel).
pub fn map_peer(fd: OwnedFd, expect_bytes: usize, writable: bool) -> Result<Mapping, SegmentError> {
    let name = "gate segment";
    check_size(name, expect_bytes)?;
    let stat = rustix::fs::fstat(&fd).map_err(|e| SegmentError::Os {
        step: "fstat",
        name: name.to_owned(),
        source: e.into(),
        advice: "attach again",
    })?;
    let found = u64::try_from(stat.st_size).unwrap_or(0);
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || found != expect_bytes as u64 {
        return Err(SegmentError::SizeMismatch { expected: expect_bytes as u64, found });
    }
    let found = seals(&fd, name)?;
    if !found.contains(SIZE_SEALS) {
        return Err(SegmentError::Seals {
            name: name.to_owned(),
            expected: SIZE_SEALS.bits(),
            found: found.bits(),
        });
    }
    Mapping::map(&fd, name, expect_bytes, writable)
}

/// A memfd of fixed, allocated size, and the seals it was born with (`vm.memfd_noexec` adds one by itself).
fn sealable(name: &str, bytes: usize) -> Result<(OwnedFd, SealFlags), SegmentError> {
    let advice = "check free memory, the cgroup limit and `ulimit -n`";
    check_size(name, bytes)?;
    let fd =
        rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).map_err(|e| {
            SegmentError::Os { step: "memfd_create", name: name.to_owned(), source: e.into(), advice }
        })?;
    let at_birth = seals(&fd, name)?;
    allocate(&fd, name, bytes, advice)?;
    add_seals(&fd, name, SIZE_SEALS)?;
    Ok((fd, at_birth))
}

fn seals<Fd: AsFd>(fd: Fd, name: &str) -> Result<SealFlags, SegmentError> {
    let advice = "the descriptor is no memfd: drop the connection";
    rustix::fs::fcntl_get_seals(fd).map_err(|e| SegmentError::Os {
        step: "F_GET_SEALS",
        name: name.to_owned(),
        source: e.into(),
        advice,
    })
}

fn add_seals<Fd: AsFd>(fd: Fd, name: &str, seals: SealFlags) -> Result<(), SegmentError> {
    let advice = "Linux 5.1 or newer is needed";
    rustix::fs::fcntl_add_seals(fd, seals).map_err(|e| SegmentError::Os {
        step: "F_ADD_SEALS",
        name: name.to_owned(),
        source: e.into(),
        advice,
    })
}

fn require_seals<Fd: AsFd>(fd: Fd, name: &str, expected: SealFlags) -> Result<(), SegmentError> {
    let found = seals(fd, name)?;
    if found == expected {
        return Ok(());
    }
    Err(SegmentError::Seals { name: name.to_owned(), expected: expected.bits(), found: found.bits() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_outside_a_mapping_are_refused() {
        let segment = GateSegment::create("test", 4096).unwrap();
        let map = segment.mapping();
        for (offset, count) in [(0, 65), (64, 64), (4096, 1), (8, 1), (usize::MAX - 63, 2), (0, usize::MAX)] {
            assert!(
                matches!(map.read_slots(offset, count), Err(SegmentError::Range { .. })),
                "{offset} {count}"
            );
            assert!(matches!(map.write_slots(offset, count), Err(SegmentError::Range { .. })));
        }
        for offset in [4096, 4, usize::MAX, usize::MAX - 7] {
            assert!(matches!(map.read_word(offset), Err(SegmentError::Range { .. })), "{offset}");
        }
        assert!(map.read_slots(0, 64).is_ok() && map.read_word(4088).is_ok());
    }

    #[test]
    fn a_client_writes_and_the_gate_reads() {
        let segment = ClientSegment::create("test", 8192).unwrap();
        let client = map_peer(segment.fd().try_clone_to_owned().unwrap(), 8192, true).unwrap();
        let gate = segment.activate().unwrap();
        client.write_word(4096).unwrap().publish(7);
        assert_eq!(gate.read_word(4096).unwrap().get_acquire(), 7);
        assert!(matches!(gate.write_word(4096), Err(SegmentError::ReadOnly)));
        assert!(matches!(gate.write_slots(0, 1), Err(SegmentError::ReadOnly)));
    }

    #[test]
    fn the_gate_writes_and_a_client_reads() {
        let segment = GateSegment::create("test", 4096).unwrap();
        let fd = || segment.fd().try_clone_to_owned().unwrap();
        let client = map_peer(fd(), 4096, false).unwrap();
        segment.mapping().write_word(8).unwrap().set(3);
        assert_eq!(client.read_word(8).unwrap().get(), 3);
        assert!(matches!(map_peer(fd(), 8192, false), Err(SegmentError::SizeMismatch { found: 4096, .. })));
        assert!(matches!(map_peer(fd(), 4096, true), Err(SegmentError::Os { step: "mmap", .. })));
    }

    #[test]
    fn memory_that_could_shrink_is_not_mapped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plain");
        std::fs::write(&path, [0; 4096]).unwrap();
        assert!(map_peer(std::fs::File::open(&path).unwrap().into(), 4096, false).is_err());
        let bare = rustix::fs::memfd_create("bare", MemfdFlags::ALLOW_SEALING).unwrap();
        rustix::fs::ftruncate(&bare, 4096).unwrap();
        assert!(matches!(map_peer(bare, 4096, false), Err(SegmentError::Seals { .. })));
    }
}
