//! Clients that break every rule, each beside an honest one that must not notice.

mod conversation;
mod identity;
mod nodes;
mod rings;
mod venue;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use ringfence_ipc::client::{Client, Event};
use ringfence_ipc::counters::Counter;
use ringfence_ipc::handshake::RefusalCode;
use ringfence_ipc::msg::{Intent, Side};
use ringfence_ipc::reason::Reason;
use ringfence_tests::raw::Raw;
use ringfence_tests::world::{Here, World};

fn order(key: u128, now_ns: u64) -> Intent {
    Intent::limit(0, Side::Buy, 5_000_000, 1000, key, now_ns)
}

/// A client that does everything right while others do not.
struct Honest {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Honest {
    fn start(world: &World) -> Self {
        let client = world.attach("honest");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        Self { stop, thread: std::thread::spawn(move || Self::run(client, &stopped)) }
    }

    fn run(mut client: Client, stop: &AtomicBool) -> u64 {
        let (mut sent, mut answered) = (0, 0);
        while !stop.load(Ordering::Relaxed) || answered < sent || sent < 100 {
            if answered == sent {
                let intent = order(u128::from(sent) + 1, client.now_ns());
                // Refused for its quantity: nothing of it stays open.
                let position = client.submit(&Intent { qty: -1, ..intent }).expect("there is room");
                assert_eq!(position, sent);
                sent += 1;
            }
            match client.poll() {
                Some(Event::Decision(decision)) => {
                    assert_eq!(decision.intent_position, answered);
                    // A venue in another process may not be there.
                    assert!(matches!(decision.reason, Reason::BadQty | Reason::VenueBusy), "{decision:?}");
                    answered += 1;
                }
                Some(other) => panic!("an honest client is left alone: {other:?}"),
                None => std::thread::sleep(Duration::from_micros(50)),
            }
        }
        answered
    }

    /// Everything it asked was answered, in order, and it was never detached.
    fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        let answered = self.thread.join().expect("the honest client was left alone");
        assert!(answered >= 100);
    }
}

/// A gate, an honest client, and room for a hostile one.
struct Scene {
    world: World,
    gate: Here,
    honest: Honest,
}

impl Scene {
    fn new() -> Self {
        Self::in_world(World::new(|_| ()))
    }

    fn in_world(world: World) -> Self {
        let gate = world.start_here();
        let honest = Honest::start(&world);
        Self { world, gate, honest }
    }

    fn hostile(&self) -> Raw {
        Raw::attach(&self.world.config.socket_path(), "hostile")
    }

    /// The hostile client was thrown out for breaking the ring protocol.
    fn quarantined(self, hostile: &Raw) {
        let refusal = hostile.thrown_out();
        assert!(
            matches!(&refusal, Some((RefusalCode::Protocol, text)) if text.contains("quarantined")),
            "{refusal:?}"
        );
        self.ends_with_quarantines(1);
    }

    fn ends_with_quarantines(self, count: u64) {
        assert_eq!(self.world.counter(Counter::Faults), count);
        self.honest.finish();
        self.gate.stop();
    }
}
