//! Clients that feed what they must not: counted, and nobody sees it.

use std::os::fd::AsFd;

use ringfence_ipc::cache::{Newest, TIME_END_NS};
use ringfence_ipc::counters::Counter;
use ringfence_ipc::handshake::{NodeRequest, Packet, RefusalCode, socket};
use ringfence_ipc::msg::{NodeUpdate, Words};
use ringfence_ipc::ring::Producer;
use ringfence_tests::await_that;
use ringfence_tests::feeder::{INTERVAL_S, NODE, spec};
use ringfence_tests::raw::receive;
use ringfence_tests::world::PATIENCE;

use super::Scene;

const NS: u64 = 1_000_000_000;

fn send(intents: &mut Producer, slots: &[Words]) {
    intents.push(slots).unwrap().expect("there is room");
}

fn update(series: u32, time_ns: u64, values: &[f64]) -> Vec<Words> {
    let update = NodeUpdate::new(series, time_ns, values).unwrap();
    update.encode()[..update.slots()].to_vec()
}

#[test]
fn feeds_what_it_holds_no_lease_of() {
    let scene = Scene::new();
    let mut owner = scene.world.attach("owner");
    let node = owner.register_node(&spec(), true).unwrap();
    owner.update_node(node, 9 * NS, &[1.0, 2.0, 3.0]).unwrap();
    let series = owner.cache().open(NODE, INTERVAL_S).unwrap();
    let mut newest = Newest::default();
    await_that("the owner's value", PATIENCE, || series.poll(&mut newest));
    let hostile = scene.hostile();
    let (mut intents, _events) = hostile.ends();
    let attacks = [
        update(node.series(), 10 * NS, &[6.0, 6.0, 6.0]),
        update(node.series(), 9 * NS, &[6.0, 6.0, 6.0]),
        update(node.series() + 1, 10 * NS, &[6.0, 6.0, 6.0]),
        update(u32::MAX, 10 * NS, &[6.0; 16]),
    ];
    attacks.iter().for_each(|slots| send(&mut intents, slots));
    await_that("all of it is counted", PATIENCE, || scene.world.counter(Counter::NodeRejects) == 4);
    assert_eq!(scene.world.counter(Counter::NodeRejectsNoLease), 2);
    assert!(!series.poll(&mut newest), "nobody has seen any of it");
    owner.update_node(node, 10 * NS, &[4.0, 5.0, 6.0]).unwrap();
    await_that("the owner goes on", PATIENCE, || series.poll(&mut newest));
    assert_eq!((newest.version, newest.value(0)), (2, 4.0));
    scene.ends_with_quarantines(0);
}

#[test]
fn feeds_its_own_node_with_nonsense() {
    let scene = Scene::new();
    let hostile = scene.hostile();
    let ask = Packet::Node(NodeRequest::Register { spec: spec(), produce: true });
    socket::send(hostile.socket.as_fd(), &ask, &[]).unwrap();
    let Some((Packet::NodeGranted { series }, _)) = receive(&hostile.socket) else { panic!("no grant") };
    let (mut intents, _events) = hostile.ends();
    let nan = f64::from_bits(0x7ff8_dead_beef_0001);
    let refused = [
        update(series, NS, &[1.0]),
        update(series, NS, &[1.0; 16]),
        update(series, 0, &[1.0; 3]),
        update(series, TIME_END_NS, &[1.0; 3]),
        update(series, u64::MAX, &[1.0; 3]),
        update(series, NS, &[1.0, nan, 1.0]),
        update(series, NS, &[1.0, 1.0, f64::INFINITY]),
    ];
    let good = update(series, NS, &[1.0; 3])[0];
    let with = |word: usize, value: u64| {
        let mut words = good;
        words[word] = value;
        vec![words]
    };
    let malformed = [
        with(0, good[0] | 1 << 17),
        with(0, good[0] & !0xff00),
        with(0, good[0] | 0xff00),
        with(6, 1),
        [update(series, NS, &[1.0; 16]), vec![[0; 7]]].concat(),
        vec![good, [0; 7]],
        update(series, NS, &[1.0; 16])[..2].to_vec(),
    ];
    refused.iter().chain(&malformed).for_each(|slots| send(&mut intents, slots));
    let world = &scene.world;
    await_that("the nonsense is counted", PATIENCE, || {
        world.counter(Counter::NodeRejects) == refused.len() as u64
            && world.counter(Counter::MalformedMessages) == malformed.len() as u64
    });
    assert_eq!(world.counter(Counter::NodeFeeds), 0);
    send(&mut intents, &[good]);
    await_that("the ring goes on", PATIENCE, || world.counter(Counter::NodeFeeds) == 1);
    scene.ends_with_quarantines(0);
}

#[test]
fn an_update_without_its_continuation() {
    let scene = Scene::new();
    let hostile = scene.hostile();
    let slots = update(0, NS, &[1.0; 16]);
    hostile.put(0, &slots[0], ringfence_ipc::ring::head_word(0, 3));
    scene.quarantined(&hostile);
}

#[test]
fn asks_about_nodes_without_reading_the_answers() {
    let scene = Scene::new();
    let hostile = scene.hostile();
    let ask = Packet::Node(NodeRequest::Release { series: 0 });
    // What stands in the socket before the first answer is two requests at once.
    let sent = (0..10_000).take_while(|_| socket::send(hostile.socket.as_fd(), &ask, &[]).is_ok()).count();
    assert!(sent > 1);
    let refusal = hostile.thrown_out();
    assert!(matches!(&refusal, None | Some((RefusalCode::Protocol, _))), "{refusal:?}");
    scene.ends_with_quarantines(0);
}
