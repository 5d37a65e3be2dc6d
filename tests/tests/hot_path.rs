//! The gate thread, watched from inside and outside: over a million intents of every kind it allocates nothing, calls
//! the kernel never and takes no page fault.
//!
//! Allocations are counted by this binary's allocator on that one thread. System calls are reported by the kernel
//! (seccomp user notification on that one thread, each reported call then let through). Faults are the kernel's own
//! count for the thread. Before they are trusted, each instrument is shown one of what it must see.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::os::fd::{AsFd as _, FromRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ringfence_core::config::{VenueKind, Wait};
use ringfence_core::runtime::Core;
use ringfence_ipc::client::{Client, Event, SubmitError};
use ringfence_ipc::counters::Counter;
use ringfence_ipc::handshake::Role;
use ringfence_ipc::msg::{Decision, Intent, Outcome, ReportKind, Side};
use ringfence_ipc::reason::Reason;
use ringfence_ipc::venue::{AttachOptions, VenueClient, VenueEvent};
use ringfence_tests::venue::report;
use ringfence_tests::world::{PATIENCE, World, anybody};
use ringfence_tests::{Dice, await_that, size, skipped};
use rustix::event::{PollFd, PollFlags, poll};

/// Counts what the watched thread allocates.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static WATCHED: Cell<bool> = const { Cell::new(false) };
}

fn count() {
    if WATCHED.try_with(Cell::get).unwrap_or(false) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: every call is passed on unchanged to the system's allocator; counting allocates nothing (the thread-local is
// constant-initialised and has no destructor).
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(memory, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// System calls of the watched thread, as the kernel reports them.
static CALLS: AtomicU64 = AtomicU64::new(0);
static LAST_CALL: AtomicI32 = AtomicI32::new(-1);
static LISTENER: AtomicI32 = AtomicI32::new(NOT_YET);
static THREAD_ID: AtomicI32 = AtomicI32::new(0);
static INSTRUMENTS_WORK: AtomicBool = AtomicBool::new(false);
const NOT_YET: i32 = -2;

/// From here on every system call of this thread is reported; the listener's descriptor, or -1.
fn report_system_calls() -> i32 {
    let mut report_all = libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: libc::SECCOMP_RET_USER_NOTIF };
    let program = libc::sock_fprog { len: 1, filter: &raw mut report_all };
    // SAFETY: the program lives through the call and is one valid instruction; the filter is this thread's alone.
    unsafe {
        if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 {
            return -1;
        }
        let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) as i32
    }
}

/// Runs on the gate thread before its first pass.
fn watch_this_thread() {
    THREAD_ID.store(rustix::thread::gettid().as_raw_nonzero().get(), Ordering::Release);
    let listener = report_system_calls();
    LISTENER.store(listener, Ordering::Release);
    WATCHED.set(true);
    drop(std::hint::black_box(Box::new(1)));
    let _ = rustix::process::getppid();
    let seen = (ALLOCATIONS.load(Ordering::Relaxed), CALLS.load(Ordering::Relaxed));
    INSTRUMENTS_WORK.store(seen.0 == 2 && (seen.1 == 1 || listener < 0), Ordering::Release);
}

/// Lets reported calls through until the watched thread is gone.
fn answer_reports() -> JoinHandle<()> {
    std::thread::spawn(|| {
        while LISTENER.load(Ordering::Acquire) == NOT_YET {
            std::thread::sleep(Duration::from_micros(100));
        }
        let raw = LISTENER.load(Ordering::Acquire);
        if raw < 0 {
            return;
        }
        // SAFETY: the kernel just made this descriptor and nobody else owns it.
        let listener = unsafe { OwnedFd::from_raw_fd(raw) };
        loop {
            let mut fds = [PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN)];
            let _ = poll(&mut fds, None);
            if !fds[0].revents().contains(PollFlags::IN) {
                return;
            }
            // SAFETY: both are plain integers, for which zero is a value.
            let (mut notif, mut answer): (libc::seccomp_notif, libc::seccomp_notif_resp) =
                unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
            // SAFETY: the kernel fills a structure of the size that the request number says.
            if unsafe { libc::ioctl(raw, libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut notif) } != 0 {
                continue;
            }
            LAST_CALL.store(notif.data.nr, Ordering::Relaxed);
            CALLS.fetch_add(1, Ordering::Relaxed);
            (answer.id, answer.flags) = (notif.id, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32);
            // SAFETY: the kernel reads a structure of the size that the request number says.
            unsafe { libc::ioctl(raw, libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut answer) };
        }
    })
}

/// What the thread has cost so far: allocations, system calls, minor and major faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cost {
    allocations: u64,
    system_calls: u64,
    minor_faults: u64,
    major_faults: u64,
}

impl Cost {
    fn now() -> Self {
        let id = THREAD_ID.load(Ordering::Acquire);
        let stat = std::fs::read_to_string(format!("/proc/self/task/{id}/stat")).unwrap();
        // The name stands in parentheses and may hold blanks; after it, field 3 of proc(5) begins.
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        Self {
            allocations: ALLOCATIONS.load(Ordering::Relaxed),
            system_calls: CALLS.load(Ordering::Relaxed),
            minor_faults: fields[10 - 3].parse().unwrap(),
            major_faults: fields[12 - 3].parse().unwrap(),
        }
    }
}

/// What came of the intents.
#[derive(Clone, Copy, Debug, Default)]
struct Outcomes {
    accepted: u64,
    too_large: u64,
    duplicates: u64,
    unknown_orders: u64,
    malformed: u64,
    other: u64,
}

impl Outcomes {
    fn add(&mut self, decision: &Decision) {
        let counter = match (decision.duplicate, decision.outcome, decision.reason) {
            (true, ..) => &mut self.duplicates,
            (_, Outcome::Accepted, _) => &mut self.accepted,
            (_, _, Reason::MaxOrderQty) => &mut self.too_large,
            (_, _, Reason::UnknownOrder | Reason::OrderTerminal) => &mut self.unknown_orders,
            (_, _, Reason::Malformed) => &mut self.malformed,
            _ => &mut self.other,
        };
        *counter += 1;
    }
}

/// Every kind of intent in turn; repeats repeat word for word.
struct Mix {
    dice: Dice,
    next_key: u128,
    last: Option<Intent>,
}

impl Mix {
    fn next(&mut self, now_ns: u64) -> Intent {
        let draw = self.dice.below(100);
        if let Some(last) = self.last.filter(|_| draw < 15) {
            return last;
        }
        self.next_key += 1;
        let order = Intent::limit(0, Side::Buy, 6_000_000, 1000, self.next_key, now_ns);
        let intent = match draw {
            15..30 => Intent { qty: 2_000_000_000, ..order },
            30..45 => Intent::cancel(0, 7, self.next_key, now_ns),
            45..50 => Intent { flags: 0x100, ..order },
            _ => order,
        };
        self.last = (draw >= 50).then_some(intent);
        intent
    }
}

fn drive(client: &mut Client, mix: &mut Mix, intents: u64) -> Outcomes {
    let (mut sent, mut outcomes, mut answered) = (0, Outcomes::default(), 0);
    let deadline = Instant::now() + Duration::from_secs(120 + intents / 50_000);
    while answered < intents {
        let refused = outcomes.other;
        for _ in 0..64 {
            if sent == intents {
                break;
            }
            match client.submit(&mix.next(client.now_ns())) {
                Ok(_) => sent += 1,
                Err(SubmitError::Full) => {
                    // The intent that did not go out is not one to repeat.
                    mix.last = None;
                    break;
                }
                Err(error) => panic!("{error}"),
            }
        }
        while let Some(event) = client.poll() {
            match event {
                Event::Decision(decision) => {
                    outcomes.add(&decision);
                    answered += 1;
                }
                Event::Lost => panic!("the gate is gone"),
                _ => {}
            }
        }
        assert!(Instant::now() < deadline, "{answered} of {intents} intents were answered");
        if outcomes.other > refused {
            // The venue's ring is full: its adapter gets the CPU, so that all but such refusals are seen too.
            std::thread::sleep(Duration::from_micros(200));
        } else {
            std::thread::yield_now();
        }
    }
    outcomes
}

/// An adapter whose exchange lets everything expire, until its gate is gone.
fn expire_everything(mut venue: VenueClient) {
    loop {
        match venue.poll() {
            Some(VenueEvent::Command(command)) => {
                let expired = report(command.order_id, ReportKind::Expired);
                venue.report(&expired).expect("the gate reads");
            }
            Some(VenueEvent::Lost) => return,
            Some(VenueEvent::Snapshot(_)) | None => std::thread::yield_now(),
        }
    }
}

#[test]
fn hot_path_is_quiet() {
    let intents = size("RINGFENCE_INTENTS", 1_000_000);
    quiet_with(VenueKind::Null, intents);
    // An adapter takes a CPU more than this machine may have.
    quiet_with(VenueKind::External, intents / 4);
}

fn quiet_with(venue: VenueKind, intents: u64) {
    LISTENER.store(NOT_YET, Ordering::Release);
    ALLOCATIONS.store(0, Ordering::Relaxed);
    CALLS.store(0, Ordering::Relaxed);
    let world = World::new(|config| {
        (config.wait, config.venue) = (Wait::Spin, venue);
        config.clients.push(anybody("venue"));
        // Every open order's report finds room, however late the strategy reads it.
        config.capacity.events_slots = 1 << 14;
        config.journal.hot_bytes = 64 << 20;
        config.journal.segment_bytes = 64 << 20;
        config.strategies[0].limits.max_order_qty = Some("10".into());
        config.strategies[0].limits.dedup_quota = Some(1 << 16);
    });
    let reports = answer_reports();
    let core = Core::start_with(world.config.clone(), Box::new(watch_this_thread)).unwrap();
    await_that("the instruments are up", PATIENCE, || {
        CALLS.load(Ordering::Relaxed) > 0 || LISTENER.load(Ordering::Acquire) == -1
    });
    let mut client = world.attach("hammer");
    let adapter = (venue == VenueKind::External).then(|| {
        let options = AttachOptions::new(world.config.socket_path(), Role::Venue, "exchange");
        let venue = VenueClient::attach(options, PATIENCE).unwrap();
        let adapter = std::thread::spawn(move || expire_everything(venue));
        await_that("the venue opens", PATIENCE, || world.counter(Counter::VenueState) == 3);
        adapter
    });
    let listening = LISTENER.load(Ordering::Acquire) >= 0;
    if !listening {
        skipped("hot_path_is_quiet", "system calls are not counted: no seccomp user notification here");
    }
    assert!(INSTRUMENTS_WORK.load(Ordering::Acquire), "the instruments do not see what they must");
    let mut mix = Mix { dice: Dice::new(31), next_key: 0, last: None };
    let before = Cost::now();
    assert!(before.minor_faults > 0, "a thread cannot start without faults: they are not seen");
    let began = Instant::now();
    let outcomes = drive(&mut client, &mut mix, intents);
    let took = began.elapsed();
    let after = Cost::now();
    println!(
        "hot_path_is_quiet: {venue:?}, {intents} intents in {took:?}: {outcomes:?}; {before:?} -> {after:?}"
    );
    assert_eq!(
        before,
        after,
        "the hot path was not quiet; last system call {}",
        LAST_CALL.load(Ordering::Relaxed)
    );
    let least = intents / 100;
    let Outcomes { accepted, too_large, duplicates, unknown_orders, malformed, .. } = outcomes;
    let all = [accepted, too_large, duplicates, unknown_orders, malformed];
    assert!(all.iter().all(|count| *count >= least), "every path was taken: {outcomes:?}");
    drop(client);
    core.stop_flag().store(true, Ordering::Release);
    core.wait().unwrap();
    reports.join().unwrap();
    adapter.into_iter().for_each(|adapter| adapter.join().unwrap());
}
