//! G6, the seal attack matrix: what a hostile client can do to shared memory with the descriptors it rightfully holds.
//!
//! Every attack runs against both kinds of segment as the client has them after the handshake: its own `intents`, which
//! it mapped writable before the gate sealed them, and the gate's `events`, mapped read-only. Each must be refused, and
//! the gate must read the same bytes as before. Against memory without seals each must succeed, or it would prove nothing.

use std::ffi::c_void;
use std::fs::{File, OpenOptions};
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::null_mut;

use ringfence_ipc::segment::{ClientSegment, GateSegment, Mapping, SegmentError, map_peer};
use rustix::fs::{
    FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, ftruncate, memfd_create,
};
use rustix::io::Errno;
use rustix::mm::{
    Advice, MapFlags, MprotectFlags, MremapFlags, ProtFlags, madvise, mmap, mprotect, mremap, munmap,
};

const BYTES: usize = 4 * PAGE;
const PAGE: usize = 4096;
const MARK: u64 = 0x5afe_5afe_5afe_5afe;

/// One segment: what the client holds, and what the gate sees.
struct Victim {
    name: &'static str,
    fd: OwnedFd,
    /// The client's mapping: writable for `intents`, read-only for `events`.
    mapped: *mut c_void,
    gate: Mapping,
    /// Keeps the gate's descriptor and writable mapping alive.
    _events: Option<GateSegment>,
}

fn raw_map(fd: &OwnedFd, prot: ProtFlags) -> Result<*mut c_void, Errno> {
    // SAFETY: a new mapping at an address the kernel chooses touches no existing memory.
    unsafe { mmap(null_mut(), BYTES, prot, MapFlags::SHARED, fd, 0) }
}

fn mark(mapping: &Mapping) {
    for page in 0..BYTES / PAGE {
        mapping.store(page * PAGE + 8, MARK).unwrap();
    }
}

fn intents() -> Victim {
    let segment = ClientSegment::create("intents", BYTES).unwrap();
    let fd = segment.fd().try_clone_to_owned().unwrap();
    mark(&map_peer(fd.try_clone().unwrap(), BYTES, true).unwrap());
    let mapped = raw_map(&fd, ProtFlags::READ | ProtFlags::WRITE).unwrap();
    Victim { name: "intents", fd, mapped, gate: segment.activate().unwrap(), _events: None }
}

fn events() -> Victim {
    let segment = GateSegment::create("events", BYTES).unwrap();
    mark(segment.mapping());
    let fd = segment.fd().try_clone_to_owned().unwrap();
    let mapped = raw_map(&fd, ProtFlags::READ).unwrap();
    Victim { name: "events", fd, mapped, gate: segment.mapping().clone(), _events: Some(segment) }
}

/// The control: memory as the client would find it if the gate had not sealed it.
fn unsealed() -> Victim {
    let fd = memfd_create("bare", MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&fd, BYTES as u64).unwrap();
    let mapped = raw_map(&fd, ProtFlags::READ | ProtFlags::WRITE).unwrap();
    let gate = intents().gate;
    Victim { name: "unsealed", fd, mapped, gate, _events: None }
}

/// Runs an attack on both segments; `attack` returns what the kernel said.
fn refused(attack: impl Fn(&Victim) -> Result<(), Errno>) {
    assert_eq!(attack(&unsealed()), Ok(()), "the attack does not even work without seals");
    refused_at_least(attack);
}

/// For attacks that this kernel does not offer on any memfd.
fn refused_at_least(attack: impl Fn(&Victim) -> Result<(), Errno>) {
    for victim in [intents(), events()] {
        let answer = attack(&victim);
        assert!(answer.is_err(), "{}: the kernel allowed it", victim.name);
        unharmed(&victim);
    }
}

fn unharmed(victim: &Victim) {
    assert_eq!(victim.gate.len_bytes(), BYTES);
    for page in 0..BYTES / PAGE {
        assert_eq!(victim.gate.load(page * PAGE + 8).unwrap(), MARK, "{}: page {page}", victim.name);
    }
}

#[test]
fn truncate_shrinks() {
    refused(|v| ftruncate(&v.fd, PAGE as u64));
    refused(|v| ftruncate(&v.fd, 0));
}

#[test]
fn truncate_grows() {
    refused(|v| ftruncate(&v.fd, 2 * BYTES as u64));
    refused(|v| fallocate(&v.fd, FallocateFlags::empty(), BYTES as u64, PAGE as u64));
}

#[test]
fn punches_a_hole() {
    refused(|v| {
        fallocate(&v.fd, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, PAGE as u64, PAGE as u64)
    });
}

#[test]
fn zeroes_or_collapses_a_range() {
    for mode in [FallocateFlags::ZERO_RANGE, FallocateFlags::COLLAPSE_RANGE, FallocateFlags::INSERT_RANGE] {
        refused_at_least(|v| fallocate(&v.fd, mode, PAGE as u64, PAGE as u64));
    }
}

#[test]
fn madv_remove() {
    refused(|v| {
        // SAFETY: the range is the client's own mapping of this segment, read through by nobody else in this process.
        unsafe { madvise(v.mapped, BYTES, Advice::LinuxRemove) }
    });
}

#[test]
fn madv_dontneed_drops_only_the_clients_own_pages() {
    for victim in [intents(), events()] {
        // SAFETY: shared file pages come back with the same contents at the next touch.
        unsafe { madvise(victim.mapped, BYTES, Advice::LinuxDontNeed) }.unwrap();
        unharmed(&victim);
    }
}

#[test]
fn writes_through_the_fd() {
    refused(|v| rustix::io::pwrite(&v.fd, b"owned", 8).map(drop));
}

#[test]
fn copies_a_file_over_it() {
    let source = memfd_create("source", MemfdFlags::empty()).unwrap();
    rustix::io::pwrite(&source, &[0xee; PAGE], 0).unwrap();
    refused(|v| {
        let (mut from, mut to) = (0, 0);
        rustix::fs::copy_file_range(&source, Some(&mut from), &v.fd, Some(&mut to), PAGE).map(drop)
    });
}

#[test]
fn maps_it_writable_again() {
    refused(|v| raw_map(&v.fd, ProtFlags::READ | ProtFlags::WRITE).map(drop));
}

#[test]
fn mprotects_to_write() {
    refused(|v| {
        let mapped = raw_map(&v.fd, ProtFlags::READ)?;
        // SAFETY: the range was just mapped by this test and nothing points into it.
        unsafe { mprotect(mapped, BYTES, MprotectFlags::READ | MprotectFlags::WRITE) }
    });
}

#[test]
fn moves_its_mapping_to_a_larger_one() {
    for victim in [intents(), events()] {
        // SAFETY: the mapping is the test's own; where it moves, no view points.
        let moved = unsafe { mremap(victim.mapped, BYTES, 2 * BYTES, MremapFlags::MAYMOVE) };
        // The kernel may hand out address space behind the end of the file; there is no memory in it, and no more file.
        assert_eq!(rustix::fs::fstat(&victim.fd).unwrap().st_size as usize, BYTES, "{moved:?}");
        unharmed(&victim);
    }
}

#[test]
fn splices_a_pipe_into_it() {
    refused(|v| {
        let (from, to) = rustix::pipe::pipe()?;
        rustix::io::write(&to, b"owned")?;
        rustix::pipe::splice(&from, None, &v.fd, Some(&mut 8), 5, rustix::pipe::SpliceFlags::empty())
            .map(drop)
    });
}

/// The debugger's door: it opens private memory to a process's own writes, and must not open a read-only segment.
#[test]
fn writes_the_gates_segment_through_proc_mem() {
    let mem = OpenOptions::new().write(true).open("/proc/self/mem").unwrap();
    let write = |v: &Victim| rustix::io::pwrite(&mem, &[0xee; 8], v.mapped as u64 + 8);
    assert_eq!(write(&unsealed()), Ok(8), "the attack does not even work without seals");
    let victim = events();
    assert!(write(&victim).is_err());
    unharmed(&victim);
}

/// A private copy is the client's own business: what it writes there is nobody else's.
#[test]
fn maps_a_private_copy_and_changes_only_that() {
    for victim in [intents(), events()] {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new private mapping at an address the kernel chooses; only this test writes to it.
        unsafe {
            let copy = mmap(null_mut(), BYTES, prot, MapFlags::PRIVATE, &victim.fd, 0).unwrap();
            copy.cast::<u8>().write_bytes(0xee, BYTES);
            munmap(copy, BYTES).unwrap();
        }
        unharmed(&victim);
    }
}

fn reopen(victim: &Victim, writable: bool) -> std::io::Result<File> {
    let path = format!("/proc/self/fd/{}", victim.fd.as_raw_fd());
    OpenOptions::new().read(true).write(writable).open(path)
}

#[test]
fn reopens_read_write_through_proc() {
    for victim in [intents(), events()] {
        let Ok(again) = reopen(&victim, true) else { continue };
        let again = OwnedFd::from(again);
        assert!(raw_map(&again, ProtFlags::READ | ProtFlags::WRITE).is_err(), "{}", victim.name);
        assert!(rustix::io::pwrite(&again, b"owned", 8).is_err(), "{}", victim.name);
        assert!(ftruncate(&again, 0).is_err(), "{}", victim.name);
        unharmed(&victim);
    }
}

#[test]
fn writes_through_a_read_only_fd() {
    for victim in [intents(), events()] {
        let read_only = OwnedFd::from(reopen(&victim, false).unwrap());
        assert!(raw_map(&read_only, ProtFlags::READ | ProtFlags::WRITE).is_err());
        assert!(rustix::io::pwrite(&read_only, b"owned", 8).is_err());
        unharmed(&victim);
    }
}

#[test]
fn truncates_while_reopening() {
    for victim in [intents(), events()] {
        let path = format!("/proc/self/fd/{}", victim.fd.as_raw_fd());
        assert!(OpenOptions::new().write(true).truncate(true).open(path).is_err(), "{}", victim.name);
        unharmed(&victim);
    }
}

/// A writable mapping would make the kernel answer "busy" for its own reasons.
fn add_seal_unmapped(victim: &Victim, seal: SealFlags) -> Result<(), Errno> {
    // SAFETY: the test's own mapping, which nothing uses afterwards.
    unsafe { munmap(victim.mapped, BYTES) }?;
    fcntl_add_seals(&victim.fd, seal)
}

#[test]
fn write_seal() {
    refused(|v| add_seal_unmapped(v, SealFlags::WRITE));
}

#[test]
fn any_further_seal() {
    for seal in [SealFlags::SEAL, SealFlags::SHRINK, SealFlags::EXEC, SealFlags::FUTURE_WRITE] {
        refused(|v| add_seal_unmapped(v, seal));
    }
}

/// What `activate` says to a client that added `seals` before it said "mapped".
fn activate_after(seals: SealFlags) -> Result<Mapping, SegmentError> {
    let segment = ClientSegment::create("intents", BYTES).unwrap();
    fcntl_add_seals(segment.fd(), seals).unwrap();
    segment.activate()
}

#[test]
fn adds_seals_first() {
    // Each would keep the gate from adding its own, or leave a set it does not know.
    for seals in [SealFlags::SEAL, SealFlags::WRITE, SealFlags::EXEC, SealFlags::WRITE | SealFlags::SEAL] {
        assert!(matches!(activate_after(seals), Err(SegmentError::Seals { .. })), "{seals:?}");
    }
}

#[test]
fn adds_the_gates_own_seals_first_and_gains_nothing() {
    assert!(activate_after(SealFlags::FUTURE_WRITE).is_ok());
    assert!(matches!(
        activate_after(SealFlags::FUTURE_WRITE | SealFlags::SEAL),
        Err(SegmentError::Seals { .. })
    ));
}

#[test]
fn punches_a_hole_before_activation() {
    let segment = ClientSegment::create("intents", BYTES).unwrap();
    let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(segment.fd(), mode, 0, BYTES as u64).unwrap();
    let gate = segment.activate().unwrap();
    assert_eq!(gate.report().populate_refused, None, "every page is present before the gate reads");
    assert_eq!(gate.load(BYTES - 8).unwrap(), 0);
}

#[test]
fn the_clients_first_mapping_still_writes() {
    let segment = ClientSegment::create("intents", BYTES).unwrap();
    let client = map_peer(segment.fd().try_clone_to_owned().unwrap(), BYTES, true).unwrap();
    let gate = segment.activate().unwrap();
    client.store(PAGE, 42).unwrap();
    assert_eq!(gate.load(PAGE).unwrap(), 42);
}
