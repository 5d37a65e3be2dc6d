//! The control socket under clients that do not keep to the conversation.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ringfence_ipc::client::Client;
use ringfence_ipc::counters::Counter;
use ringfence_ipc::handshake::{ControlDone, Packet, RefusalCode, Role, socket};
use ringfence_ipc::segment::map_peer;
use ringfence_tests::raw::{Raw, connect, hello, receive, thrown_out};
use ringfence_tests::world::PATIENCE;
use ringfence_tests::{Dice, await_that, size};
use rustix::fs::{FallocateFlags, SealFlags, fallocate, ftruncate};
use rustix::net::SendFlags;

use super::Scene;

const DONE: ControlDone = ControlDone { journal_seq: 1, cancelling: 0 };

#[test]
fn a_strategy_may_not_control_the_gate() {
    let scene = Scene::new();
    let mut client = scene.world.attach("hostile");
    let request = ringfence_ipc::handshake::ControlRequest::Stop;
    assert!(client.control(request).is_err());
    await_that("it is thrown out", PATIENCE, || !client.is_connected());
    scene.ends_with_quarantines(0);
}

#[test]
fn seals_first() {
    let scene = Scene::new();
    let path = scene.world.config.socket_path();
    for seals in [SealFlags::SEAL, SealFlags::FUTURE_WRITE, SealFlags::FUTURE_WRITE | SealFlags::SEAL] {
        let mut outcome = None;
        await_that("the name is free", PATIENCE, || {
            let Ok(hostile) = Raw::begin(&path, &hello(Role::Strategy, "hostile")) else { return false };
            rustix::fs::fcntl_add_seals(&hostile.fds[0], seals).unwrap();
            outcome = Some(hostile.mapped());
            true
        });
        let sealed_shut = seals.contains(SealFlags::SEAL);
        let refused = matches!(outcome, Some(Err((RefusalCode::Seals, _))));
        // The one seal that the gate adds anyway changes nothing when it is there before.
        assert_eq!(refused, sealed_shut, "{seals:?}: {outcome:?}");
    }
    scene.ends_with_quarantines(0);
}

#[test]
fn never_says_mapped() {
    let scene = Scene::new();
    let path = scene.world.config.socket_path();
    let hostile = Raw::begin(&path, &hello(Role::Strategy, "hostile")).unwrap();
    let silent = connect(&path);
    assert!(Client::attach(scene.world.options("hostile")).is_err(), "the name is taken meanwhile");
    let _ = hostile.thrown_out();
    let _ = thrown_out(&silent);
    drop(scene.world.attach("hostile"));
    scene.ends_with_quarantines(0);
}

#[test]
fn floods_the_control_socket_with_connections() {
    let scene = Scene::new();
    let path = scene.world.config.socket_path();
    for _ in 0..2000 {
        // A full backlog refuses by itself.
        drop(socket::connect(&path));
    }
    await_that("most are held back", PATIENCE, || scene.world.counter(Counter::AttachesRefused) > 500);
    // Others attach as soon as the flood is over.
    drop(Client::attach_patiently(scene.world.options("late"), PATIENCE).unwrap());
    scene.ends_with_quarantines(0);
}

#[test]
fn floods_its_connection_with_packets() {
    let scene = Scene::new();
    let hostile = scene.hostile();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let flood = std::thread::spawn(move || {
        let mut sent = 0_u64;
        let socket = hostile.socket.as_fd();
        while !stopped.load(Ordering::Relaxed) && socket::send(socket, &Packet::Mapped, &[]).is_ok() {
            sent += 1;
        }
        sent
    });
    for number in 0..5 {
        drop(Client::attach_patiently(scene.world.options(&format!("other-{number}")), PATIENCE).unwrap());
    }
    await_that("the flood is cut off", PATIENCE, || flood.is_finished());
    stop.store(true, Ordering::Relaxed);
    flood.join().unwrap();
    scene.ends_with_quarantines(0);
}

#[test]
fn sends_garbage_packets() {
    let scene = Scene::new();
    let path = scene.world.config.socket_path();
    let mut dice = Dice::new(17);
    for length in [1_usize, 3, 4, 5, 16, 100, 1000, 4096, 4097, 8192, 60_000] {
        let socket = connect(&path);
        let mut bytes: Vec<u8> = (0..length).map(|_| dice.below(256) as u8).collect();
        if length > 5 {
            // As if it were one of ours, to reach deeper.
            bytes[..4].copy_from_slice(b"RFv1");
            bytes[4] = (dice.below(8) + 1) as u8;
        }
        rustix::net::send(&socket, &bytes, SendFlags::NOSIGNAL).unwrap();
        let refusal = thrown_out(&socket);
        assert!(
            matches!(refusal, Some((RefusalCode::Protocol | RefusalCode::Version, _))),
            "{length}: {refusal:?}"
        );
    }
    // What is well formed and comes at the wrong time.
    for packet in [Packet::Mapped, Packet::Active { journal_position: 1 }, Packet::ControlDone(DONE)] {
        let socket = connect(&path);
        socket::send(socket.as_fd(), &packet, &[]).unwrap();
        assert_eq!(thrown_out(&socket).map(|(code, _)| code), Some(RefusalCode::Protocol), "{packet:?}");
    }
    scene.ends_with_quarantines(0);
}

#[test]
fn speaks_another_version() {
    let scene = Scene::new();
    let path = scene.world.config.socket_path();
    let good = hello(Role::Strategy, "hostile");
    let mut other_major = good.clone();
    other_major.version.0 += 1;
    let mut other_layout = good.clone();
    other_layout.layout_hash ^= 1;
    for hello in [other_major, other_layout] {
        let refusal = Raw::begin(&path, &hello).err().map(|(code, _)| code);
        assert_eq!(refusal, Some(RefusalCode::Version));
    }
    let mut other_minor = good;
    other_minor.version.1 += 1;
    Raw::begin(&path, &other_minor).expect("a newer minor version is served").mapped().unwrap();
    scene.ends_with_quarantines(0);
}

#[test]
fn passes_fds_to_the_gate() {
    let scene = Scene::new();
    let path = scene.world.config.socket_path();
    let (read_end, write_end) = rustix::pipe::pipe().unwrap();
    let socket = connect(&path);
    let packet = Packet::Hello(hello(Role::Strategy, "hostile"));
    socket::send(socket.as_fd(), &packet, &[write_end.as_fd(); 3]).unwrap();
    let (answer, fds) = receive(&socket).expect("the hello is answered all the same");
    assert!(matches!(answer, Packet::Welcome(_)) && fds.len() == 4, "{answer:?}");
    drop(write_end);
    // Nobody holds the other end any more, the gate least of all.
    assert_eq!(rustix::io::read(&read_end, &mut [0; 1]).unwrap(), 0);
    scene.ends_with_quarantines(0);
}

/// What the gate says to one packet on a connection of its own; it is sent again while attaches come too fast.
fn answer_to(path: &Path, bytes: &[u8]) -> (Option<RefusalCode>, u64) {
    let mut held_back = 0;
    loop {
        let socket = connect(path);
        // A gate that is quick to refuse may have hung up already.
        let _ = rustix::net::send(&socket, bytes, SendFlags::NOSIGNAL);
        match thrown_out(&socket).map(|(code, _)| code) {
            // Nothing: the gate closed before it could read this, over which the kernel forgets what it said.
            Some(RefusalCode::RateLimited | RefusalCode::Full) | None => held_back += 1,
            other => return (other, held_back),
        }
        assert!(held_back < 10_000, "the limit never lets go");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn thousands_of_handshakes_of_garbage_are_refused_by_type() {
    let count = size("RINGFENCE_HANDSHAKES", 600);
    let scene = Scene::new();
    let path = scene.world.config.socket_path();
    let good = Packet::Hello(hello(Role::Strategy, "hostile")).encode();
    let (mut dice, mut refused, mut held_back) = (Dice::new(29), BTreeMap::new(), 0);
    for _ in 0..count {
        let mut bytes = good.clone();
        // Up to three wounds to a good hello, or nothing but noise.
        for _ in 0..=dice.below(3) {
            let at = dice.below(bytes.len() as u64) as usize;
            match dice.below(5) {
                0 => bytes[at] ^= 1 << dice.below(8),
                1 => bytes.truncate(at.max(1)),
                2 => bytes.extend((0..dice.below(64)).map(|n| n as u8)),
                3 => bytes[at] = dice.below(256) as u8,
                _ => bytes = (0..=dice.below(4000)).map(|_| dice.below(256) as u8).collect(),
            }
        }
        // A wounded hello may still be one.
        if matches!(Packet::decode(&bytes), Ok(Packet::Hello(_))) {
            continue;
        }
        let (code, again) = answer_to(&path, &bytes);
        *refused.entry(format!("{code:?}")).or_insert(0_u64) += 1;
        held_back += again;
        assert_eq!(code, Some(RefusalCode::Protocol), "{bytes:x?}");
    }
    println!("handshakes: {count} made, refused {refused:?}, held back {held_back} times");
    drop(Client::attach_patiently(scene.world.options("late"), PATIENCE).unwrap());
    scene.ends_with_quarantines(0);
}

#[test]
fn attaches_are_limited_to_two_hundred_a_second() {
    let scene = Scene::new();
    let path = scene.world.config.socket_path();
    let began = Instant::now();
    let (mut admitted, mut limited) = (0.0, 0);
    while began.elapsed() < Duration::from_millis(1500) {
        let socket = connect(&path);
        let _ = rustix::net::send(&socket, b"not a packet", SendFlags::NOSIGNAL);
        match thrown_out(&socket) {
            Some((RefusalCode::Protocol, _)) => admitted += 1.0,
            _ => limited += 1,
        }
    }
    // A burst of 200, then 200 a second.
    let most = 200.0 + 200.0 * began.elapsed().as_secs_f64() + 1.0;
    println!("attaches: {admitted} looked at, {limited} held back in {:?}", began.elapsed());
    assert!(admitted <= most, "{admitted} of at most {most:.0}");
    scene.ends_with_quarantines(0);
}

#[test]
fn g6_nothing_a_served_client_holds_can_be_resized_punched_or_written() {
    let scene = Scene::new();
    let hostile = scene.hostile();
    let began = Instant::now();
    for (fd, name) in hostile.fds.iter().zip(["intents", "events", "market", "node cache"]) {
        let bytes = rustix::fs::fstat(fd).unwrap().st_size as u64;
        let reopened = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(format!("/proc/self/fd/{}", fd.as_raw_fd()));
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let attacks: [(&str, bool); 9] = [
            ("shrinks", ftruncate(fd, 4096).is_err()),
            ("grows", ftruncate(fd, bytes * 2).is_err()),
            ("allocates behind the end", fallocate(fd, FallocateFlags::empty(), bytes, 4096).is_err()),
            ("punches a hole", fallocate(fd, punch, 0, 4096).is_err()),
            ("writes", rustix::io::pwrite(fd, b"owned", 0).is_err()),
            ("maps it writable", map_peer(fd.try_clone().unwrap(), bytes as usize, true).is_err()),
            ("adds a seal", rustix::fs::fcntl_add_seals(fd, SealFlags::WRITE).is_err()),
            (
                "maps a re-opened descriptor writable",
                reopened.as_ref().map_or(true, |file| {
                    map_peer(file.try_clone().unwrap().into(), bytes as usize, true).is_err()
                }),
            ),
            (
                "truncates a re-opened descriptor",
                reopened.as_ref().map_or(true, |file| file.set_len(0).is_err()),
            ),
        ];
        for (attack, refused) in attacks {
            assert!(refused, "{name}: the kernel allowed a client that {attack}");
        }
    }
    println!("g6: 9 attacks on 4 segments refused in {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(1));
    // Its own mapping still serves it.
    let (mut intents, mut events) = hostile.ends();
    intents.push1(&super::order(1, 1).encode()).unwrap().unwrap();
    hostile.decision(&mut events);
    scene.ends_with_quarantines(0);
}
