//! Two processes, a ring and a bell: the reader sleeps whenever it finds nothing, and no message waits for it to wake
//! up by itself.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ringfence_ipc::handshake::Packet;
use ringfence_ipc::handshake::socket::{self, Received};
use ringfence_ipc::ring::{Consumer, Producer};
use ringfence_ipc::segment::Mapping;
use ringfence_ipc::wake::{Bell, Parked, ParkedView, Sleeper};

use crate::size;

const SLOTS: usize = 64;
const CHILD: &str = "RINGFENCE_TEST_WAKE_DIR";
/// A message that waits this long was forgotten.
const FORGOTTEN: Duration = Duration::from_secs(10);

/// Words of the file: the reader's position, whether it sleeps, and then the ring.
const CONSUMED: usize = 0;
const PARKED: usize = 64;
const RING: usize = 4096;

fn messages() -> u64 {
    size("RINGFENCE_G7_WAKES", 20_000)
}

fn child(dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "g7_wake::child_rings", "--test-threads=1"])
        .env(CHILD, dir)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Not a test of its own: the process that writes and rings.
#[test]
fn child_rings() {
    let Some(dir) = std::env::var_os(CHILD).map(PathBuf::from) else { return };
    let mapping = Mapping::open_file(&dir.join("ring"), true).unwrap();
    let mut producer =
        Producer::new(mapping.write_slots(RING, SLOTS).unwrap(), mapping.read_word(CONSUMED).unwrap(), 0);
    let parked = ParkedView::new(mapping.read_word(PARKED).unwrap());
    let socket = socket::connect(&dir.join("socket")).unwrap();
    let Received::Packet(Packet::Mapped, fds) = socket::receive(socket.as_fd(), true).unwrap() else {
        panic!("no bell came")
    };
    let [fd]: [OwnedFd; 1] = fds.try_into().unwrap();
    let mut bell = Bell::new(parked, fd);
    for n in 0..messages() {
        while producer.push1(&[n; 7]).unwrap().is_none() {
            std::hint::spin_loop();
        }
        bell.ring_if_parked();
        // Now and then right behind the reader's last look, now and then in its sleep.
        let pause = Instant::now() + Duration::from_nanos(n.wrapping_mul(0x9e37_79b9) % 40_000);
        while Instant::now() < pause {
            std::hint::spin_loop();
        }
    }
    mapping.store(PARKED + 64, bell.times_rung()).unwrap();
}

#[test]
fn two_processes_lose_no_wakeup() {
    let dir = tempfile::tempdir().unwrap();
    let mapping = Mapping::create_file(&dir.path().join("ring"), RING + SLOTS * 64).unwrap();
    let sleeper = Sleeper::new(Parked::new(mapping.write_word(PARKED).unwrap())).unwrap();
    let mut consumer =
        Consumer::new(mapping.read_slots(RING, SLOTS).unwrap(), mapping.write_word(CONSUMED).unwrap(), 0);
    let listener = socket::listen(&dir.path().join("socket")).unwrap();
    let mut child = child(dir.path());
    let deadline = Instant::now() + FORGOTTEN;
    let (peer, _) = loop {
        if let Some(accepted) = socket::accept(listener.as_fd()).unwrap() {
            break accepted;
        }
        assert!(Instant::now() < deadline, "the other process did not come");
        std::thread::sleep(Duration::from_millis(1));
    };
    let bell = sleeper.add_bell().unwrap();
    socket::send(peer.as_fd(), &Packet::Mapped, &[bell.as_fd()]).unwrap();
    let (mut read, mut sleeps) = (0, 0u64);
    while read < messages() {
        while let Some(head) = consumer.peek().unwrap() {
            assert_eq!(head.words, [read; 7]);
            consumer.advance(head.slots);
            consumer.publish();
            read += 1;
        }
        if read == messages() {
            break;
        }
        sleeper.announce();
        if consumer.peek().unwrap().is_some() {
            sleeper.stay_awake();
            continue;
        }
        sleeps += 1;
        assert!(sleeper.sleep(FORGOTTEN), "message {read} waits, and nobody rang");
    }
    assert!(child.wait().unwrap().success());
    let rung = mapping.load(PARKED + 64).unwrap();
    println!("two_processes_lose_no_wakeup: {read} messages, {sleeps} sleeps, {rung} rings");
    assert!(sleeps > 0 && rung <= read, "{sleeps} sleeps, {rung} rings");
}

#[test]
fn a_bell_that_is_drained_or_taken_away_does_not_hold_the_sleeper() {
    let dir = tempfile::tempdir().unwrap();
    let mapping = Mapping::create_file(&dir.path().join("word"), 4096).unwrap();
    let sleeper = Sleeper::new(Parked::new(mapping.write_word(0).unwrap())).unwrap();
    let (hostile, mut honest) = (sleeper.add_bell().unwrap(), sleeper.bell().unwrap());
    // A blocking descriptor that its holder empties: a sleeper that read it would hang here.
    rustix::fs::fcntl_setfl(&hostile, rustix::fs::OFlags::empty()).unwrap();
    rustix::io::write(&hostile, &1u64.to_ne_bytes()).unwrap();
    rustix::io::read(&hostile, &mut [0u8; 8]).unwrap();
    sleeper.announce();
    let began = Instant::now();
    assert!(!sleeper.sleep(Duration::from_millis(10)), "there is nothing to wake up for");
    assert!(began.elapsed() < FORGOTTEN);
    // The other bell still works, once for each time it is needed.
    honest.ring_if_parked();
    assert_eq!(honest.times_rung(), 0, "awake threads are not woken");
    for round in 1..=3 {
        sleeper.announce();
        honest.ring_if_parked();
        honest.ring_if_parked();
        assert!(sleeper.sleep(FORGOTTEN));
        assert_eq!(honest.times_rung(), round, "one sleep, one ring");
    }
    // A peer that left keeps its descriptor: it rings in vain.
    sleeper.remove_bell(&hostile);
    rustix::io::write(&hostile, &1u64.to_ne_bytes()).unwrap();
    assert!(!sleeper.sleep(Duration::from_millis(1)));
}
