//! A node whose every value follows from its bucket, so that a reader can tell a torn or misplaced one.

use std::time::{Duration, Instant};

use ringfence_ipc::cache::{Newest, NodeSpec, Window};
use ringfence_ipc::client::{Client, Node, NodeError, UpdateError};
use ringfence_ipc::handshake::NodeRefusal;

/// The node's id.
pub const NODE: &str = "blake3:mid-of-everything";
/// Seconds of one bucket.
pub const INTERVAL_S: u32 = 1;
/// Buckets of its window.
pub const PERIOD: u32 = 60;

const NS: u64 = 1_000_000_000;
const FIRST_BUCKET: u64 = 1_000_000;
const PATIENCE: Duration = Duration::from_secs(30);

/// What is registered.
///
/// # Panics
/// Never: the node is sound.
#[must_use]
pub fn spec() -> NodeSpec {
    NodeSpec::new(NODE, INTERVAL_S, PERIOD, &["bid", "ask", "spread"]).expect("a sound node")
}

/// The values of a bucket, last to come.
#[must_use]
pub fn values(bucket: u64) -> [f64; 3] {
    [bucket as f64, bucket as f64 * 2.0, -(bucket as f64)]
}

/// Checks that every filled bucket of a window holds its own values. Only the newest may still hold its first.
///
/// # Panics
/// When one does not.
pub fn check(window: &Window<'_>) {
    for at in 0..window.slots() {
        let bucket = window.newest_bucket() + 1 + at as u64 - window.slots() as u64;
        assert_eq!(window.stamp(at).time_ns() / NS, bucket, "bucket {at} of {}", window.slots());
        let found = [0, 1, 2].map(|feature| window.value(at, feature));
        let open = at + 1 == window.slots() && found == [0.0; 3];
        assert!(open || found == values(bucket), "bucket {bucket} holds {found:?}");
    }
}

/// The node's producer.
#[derive(Debug)]
pub struct Feeder {
    node: Node,
    next: u64,
}

impl Feeder {
    /// Registers the node and takes its lease, once whoever had it is gone.
    ///
    /// # Panics
    /// When the gate refuses for another reason, or for too long.
    pub fn register(client: &mut Client) -> Self {
        let deadline = Instant::now() + PATIENCE;
        let node = loop {
            match client.register_node(&spec(), true) {
                Ok(node) => break node,
                Err(NodeError::Refused { code: NodeRefusal::LeaseTaken, .. })
                    if Instant::now() < deadline =>
                {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(other) => panic!("the node is not registered: {other}"),
            }
        };
        let mut newest = Newest::default();
        let series = client.cache().open(NODE, INTERVAL_S).expect("a registered node is there");
        let next = series.newest(&mut newest).map_or(FIRST_BUCKET, |()| newest.bucket() + 1);
        Self { node, next }
    }

    /// Feeds the next bucket: zeros first, then its values. When the ring is full, the same bucket is fed again next
    /// time.
    ///
    /// # Panics
    /// When the gate breaks the protocol.
    pub fn feed(&mut self, client: &mut Client) {
        let from_ns = self.next * NS;
        let fed = client
            .update_node(self.node, from_ns + 1, &[0.0; 3])
            .and_then(|()| client.update_node(self.node, from_ns + 2, &values(self.next)));
        match fed {
            Ok(()) => self.next += 1,
            Err(UpdateError::Full | UpdateError::Lost) => {}
            Err(other) => panic!("{other}"),
        }
    }
}
