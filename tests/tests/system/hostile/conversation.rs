//! The control socket under clients that do not keep to the conversation.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ringfence_ipc::client::Client;
use ringfence_ipc::counters::Counter;
use ringfence_ipc::handshake::{ControlDone, Packet, RefusalCode, Role, socket};
use ringfence_tests::raw::{Raw, connect, hello, receive, thrown_out};
use ringfence_tests::world::PATIENCE;
use ringfence_tests::{Dice, await_that};
use rustix::fs::SealFlags;
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
            rustix::fs::fcntl_add_seals(&hostile.intents_fd, seals).unwrap();
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
