//! The node cache between real processes: producers die and come back, so does the gate, and readers see whole windows.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ringfence_ipc::cache::{Consumer, GapPolicy, Newest, NodeSpec, ReadError, SeriesView, WindowBuffer};
use ringfence_ipc::client::{AttachOptions, Client, Event, NodeError, UpdateError};
use ringfence_ipc::counters::Counter;
use ringfence_ipc::handshake::{NodeRefusal, Role};
use ringfence_tests::feeder::{INTERVAL_S, NODE, PERIOD, check, spec};
use ringfence_tests::process::Process;
use ringfence_tests::world::{PATIENCE, World};
use ringfence_tests::{await_that, size};

const NS: u64 = 1_000_000_000;

fn feeder(world: &World, name: &str) -> Process {
    let program: PathBuf = Path::new(env!("CARGO_BIN_EXE_feeder")).into();
    let socket = world.config.socket_path().display().to_string();
    Process::start(&program, &[&socket, name], &world.dir().join(format!("{name}.log")))
}

/// A strategy that reads what others feed, and is never told a wrong value.
struct Reader {
    client: Client,
    series: SeriesView,
    buffer: WindowBuffer,
    windows: u64,
}

impl Reader {
    fn new(world: &World) -> Self {
        let mut client = world.attach("reader");
        client.register_node(&spec(), false).unwrap();
        let series = client.cache().open(NODE, INTERVAL_S).unwrap();
        Self { client, series, buffer: WindowBuffer::default(), windows: 0 }
    }

    /// Reads and checks until the newest bucket is `buckets` further, and every window since was whole.
    fn follow(&mut self, buckets: u64) {
        let mut newest = Newest::default();
        let from = self.series.newest(&mut newest).map_or(0, |()| newest.bucket());
        let deadline = Instant::now() + PATIENCE;
        let mut seen = from;
        while seen < from + buckets || from == 0 {
            assert!(Instant::now() < deadline, "bucket {seen} for {PATIENCE:?}");
            match self.series.ready_window(PERIOD as usize, GapPolicy::Fail, &mut self.buffer) {
                Ok(window) => {
                    check(&window);
                    assert!(window.newest_bucket() >= seen, "went back");
                    seen = window.newest_bucket();
                    self.windows += 1;
                    if from == 0 {
                        return;
                    }
                }
                Err(ReadError::Empty | ReadError::NotReady { .. } | ReadError::Busy) => {
                    std::thread::yield_now()
                }
                Err(other) => panic!("{other}"),
            }
            if seen == from {
                std::thread::sleep(Duration::from_micros(100));
            }
        }
    }
}

#[test]
fn a_window_outlives_its_producer_and_the_gate_starts_a_new_one() {
    let kills = size("RINGFENCE_NODE_KILLS", 6);
    println!("{kills} kills (RINGFENCE_NODE_KILLS)");
    let world = World::new(|_| ());
    let mut gate = world.start_ready();
    let mut producer = feeder(&world, "producer-0");
    let mut reader = Reader::new(&world);
    for kill in 1..=kills {
        reader.follow(200);
        if kill.is_multiple_of(3) {
            gate.kill();
            await_that("the reader learns of it", PATIENCE, || reader.client.poll() == Some(Event::Lost));
            gate = world.start_ready();
            reader.client.reattach(PATIENCE).unwrap();
            let old = reader.client.register_node(&spec(), false).unwrap();
            reader.series = reader.client.cache().open(NODE, INTERVAL_S).unwrap();
            assert_eq!(reader.client.update_node(old, 1, &[1.0]).unwrap_err(), wrong_count());
        } else {
            producer.kill();
            await_that("its lease is free", PATIENCE, || reader.series.producer().is_none());
            let mut newest = Newest::default();
            reader.series.newest(&mut newest).unwrap();
            let window =
                reader.series.ready_window(PERIOD as usize, GapPolicy::Fail, &mut reader.buffer).unwrap();
            assert_eq!(window.newest_bucket(), newest.bucket(), "the dead one's values stay");
            // Whoever comes next goes on where it stopped, under any name.
            producer = feeder(&world, &format!("producer-{kill}"));
        }
    }
    reader.follow(200);
    assert!(reader.windows > kills, "{} windows", reader.windows);
    assert_eq!(world.counter(Counter::NodeRejects), 0);
    assert!(world.counter(Counter::NodeFeeds) > 400 && world.counter(Counter::NodeCacheBytes) > 0);
    producer.close_input();
    assert!(producer.wait(PATIENCE).success());
    assert!(gate.stop(PATIENCE).success());
}

fn wrong_count() -> UpdateError {
    UpdateError::Values { given: 1, expected: 3 }
}

#[test]
fn a_node_of_another_attachment_is_stale() {
    let world = World::new(|_| ());
    let gate = world.start_here();
    let mut client = world.attach("producer");
    let node = client.register_node(&spec(), true).unwrap();
    client.update_node(node, NS, &[1.0, 2.0, 3.0]).unwrap();
    let series = client.cache().open(NODE, INTERVAL_S).unwrap();
    let mut newest = Newest::default();
    await_that("the value is seen", PATIENCE, || series.poll(&mut newest));
    gate.stop();
    await_that("the gate is gone", PATIENCE, || client.poll() == Some(Event::Lost));
    let gate = world.start_here();
    client.reattach(PATIENCE).unwrap();
    assert_eq!(client.update_node(node, NS, &[1.0, 2.0, 3.0]), Err(UpdateError::Stale));
    assert!(client.cache().is_empty(), "a new gate's cache is empty");
    assert_eq!(newest.value(1), 2.0);
    let node = client.register_node(&spec(), true).unwrap();
    client.backfill_node(node, 5 * NS, &[1.0, 2.0, 3.0]).unwrap();
    let series = client.cache().open(NODE, INTERVAL_S).unwrap();
    await_that("the value is seen", PATIENCE, || series.newest(&mut newest).is_ok());
    assert!(newest.stamp().is_backfilled());
    gate.stop();
}

#[test]
fn consumers_of_one_host_are_ready_each_for_itself() {
    let world = World::new(|_| ());
    let gate = world.start_here();
    let (mut a, mut b) = (world.attach("a"), world.attach("b"));
    let wide: Vec<String> = (0..16).map(|n| format!("f{n}")).collect();
    let price = NodeSpec::new("queue.prices", 1, 10, &wide).unwrap();
    let slow = NodeSpec::new("node:slow", 60, 3, &["v"]).unwrap();
    let price_of_a = a.register_node(&price, true).unwrap();
    let slow_of_b = b.register_node(&slow, true).unwrap();
    let mut strict = Consumer::new(GapPolicy::Fail, 0);
    let mut patient = Consumer::new(GapPolicy::Interpolate, 2 * NS);
    for consumer in [&mut strict, &mut patient] {
        consumer.declare(b.cache().open("queue.prices", 1).unwrap(), 4).unwrap();
        consumer.declare(b.cache().open("node:slow", 60).unwrap(), 1).unwrap();
    }
    let row = |second: u64| -> Vec<f64> { (0..16).map(|f| (second * 100 + f) as f64).collect() };
    for second in [600, 601, 603] {
        a.update_node(price_of_a, second * NS, &row(second)).unwrap();
    }
    await_that("the prices", PATIENCE, || {
        let mut newest = Newest::default();
        b.cache().open("queue.prices", 1).unwrap().newest(&mut newest).is_ok() && newest.bucket() == 603
    });
    assert_eq!((strict.ready(), patient.ready()), (Err(ReadError::Gap { bucket: 602 }), Ok(false)));
    b.update_node(slow_of_b, 600 * NS, &[1.0]).unwrap();
    await_that("the slow one", PATIENCE, || patient.ready() == Ok(true));
    assert_eq!(patient.watermark_ns(), 598 * NS);
    let window = patient.window(0).unwrap();
    let synthetic: Vec<bool> = (0..4).map(|at| window.stamp(at).is_synthetic()).collect();
    assert_eq!((synthetic, window.value(2, 15)), (vec![false, false, true, false], 60_215.0));
    a.update_node(price_of_a, 602 * NS, &row(602)).unwrap();
    await_that("the gap is filled", PATIENCE, || strict.ready() == Ok(true));
    a.update_node(price_of_a, 590 * NS, &row(590)).unwrap();
    await_that("the counters", PATIENCE, || world.counter(Counter::NodeLate) == 1);
    assert_eq!((world.counter(Counter::NodeGaps), world.counter(Counter::NodeFeeds)), (1, 5));
    assert_eq!(world.counter(Counter::NodeSeries), 2);
    gate.stop();
}

#[test]
fn a_registration_that_cannot_be_is_refused_and_the_attachment_goes_on() {
    let world = World::new(|config| {
        config.cache.budget_bytes = 16 << 10;
        config.cache.max_series = 3;
    });
    let gate = world.start_here();
    let (mut a, mut b) = (world.attach("a"), world.attach("b"));
    let refusal = |client: &mut Client, spec: &NodeSpec, produce| match client.register_node(spec, produce) {
        Ok(node) => panic!("registered as {node:?}"),
        Err(NodeError::Refused { code, text }) => (code, text),
        Err(other) => panic!("{other}"),
    };
    let node = |id: &str, period, features: &[&str]| NodeSpec::new(id, 1, period, features).unwrap();
    let held = a.register_node(&node("n", 5, &["v"]), true).unwrap();
    assert_eq!(refusal(&mut b, &node("n", 5, &["v"]), true).0, NodeRefusal::LeaseTaken);
    assert_eq!(refusal(&mut b, &node("n", 6, &["v"]), false).0, NodeRefusal::Period);
    assert_eq!(refusal(&mut b, &node("n", 5, &["w"]), false).0, NodeRefusal::Features);
    let (code, text) = refusal(&mut b, &node("wide", 10_000, &["v"]), true);
    assert!(code == NodeRefusal::Full && text.contains("cache.budget_bytes"), "{text}");
    for id in ["second", "third"] {
        b.register_node(&node(id, 5, &["v"]), true).unwrap();
    }
    let (code, text) = refusal(&mut b, &node("fourth", 5, &["v"]), true);
    assert!(code == NodeRefusal::Full && text.contains("cache.max_series"), "{text}");
    let options = AttachOptions { role: Role::Observer, ..world.options("watcher") };
    let mut observer = Client::attach(options).unwrap();
    assert_eq!(refusal(&mut observer, &node("n", 5, &["v"]), false).0, NodeRefusal::Role);
    assert_eq!(observer.cache().find("n", 1), Some(held.series()), "it may read");
    assert!(matches!(b.release_node(held), Err(NodeError::Refused { code: NodeRefusal::NotHeld, .. })));
    a.release_node(held).unwrap();
    assert!(b.register_node(&node("n", 5, &["v"]), true).is_ok());
    assert!(a.is_connected() && b.is_connected() && observer.is_connected());
    gate.stop();
}
