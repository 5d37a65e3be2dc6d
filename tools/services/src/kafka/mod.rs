//! Apache Kafka: one or three brokers in KRaft mode, each its own controller.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::jars::Jars;
use crate::node::{self, Node};
use crate::port;

/// Apache Kafka's version, as `pom.xml` has it.
pub const VERSION: &str = "4.1.1";
const JARS: Jars = Jars {
    name: "Kafka",
    version: VERSION,
    pom: include_str!("pom.xml"),
    files: &[("log4j2.properties", include_str!("log4j2.properties"))],
};
/// Where ports are looked for.
pub const FIRST_PORT: u16 = 19_092;
/// How long a broker may take to serve; on a busy machine three of them start slowly.
const PATIENCE: Duration = Duration::from_secs(90);
const STOP_PATIENCE: Duration = Duration::from_secs(20);
/// Any 22 characters of base64url that do not begin with `-`.
const CLUSTER: &str = "UmluZ2ZlbmNlVGVzdHMxMQ";

/// The folder with the jars; brings them when they are not there yet.
///
/// # Errors
/// What is missing, and how to get it.
pub fn jars() -> Result<PathBuf, String> {
    JARS.find()
}

/// Brokers that live and die with this value, in whatever order a test wants.
#[derive(Debug)]
pub struct Cluster {
    jars: PathBuf,
    dir: PathBuf,
    ports: Vec<u16>,
    nodes: Vec<Option<Node>>,
}

impl Cluster {
    /// Brings the jars, sets up `brokers` brokers below `dir`, starts them and waits until they serve. `dir` must be empty
    /// or hold what an earlier call with as many brokers left.
    ///
    /// # Errors
    /// What is missing or went wrong, and what to do.
    pub fn start(dir: &Path, brokers: usize, first_port: u16) -> Result<Self, String> {
        if ![1, 3].contains(&brokers) {
            return Err(format!("1 or 3 brokers, not {brokers}"));
        }
        let jars = jars()?;
        // A broker's two ports stand beside each other: for clients, and for the other controllers.
        let ports = port::free(2 * brokers, first_port)?;
        let nodes = (0..brokers).map(|_| None).collect();
        let mut cluster = Self { jars, dir: dir.to_owned(), ports, nodes };
        for index in 0..brokers {
            cluster.set_up(index)?;
        }
        // None of three serves before two of them run.
        let started: Vec<Result<Node, String>> = std::thread::scope(|scope| {
            let starting: Vec<_> = (0..brokers)
                .map(|index| {
                    scope.spawn({
                        let cluster = &cluster;
                        move || cluster.started(index)
                    })
                })
                .collect();
            starting
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|_| Err("a panic".to_owned())))
                .collect()
        });
        for (index, node) in started.into_iter().enumerate() {
            cluster.nodes[index] = Some(node?);
        }
        Ok(cluster)
    }

    /// `host:port` of every broker.
    #[must_use]
    pub fn addresses(&self) -> String {
        let address = |pair: &[u16]| format!("127.0.0.1:{}", pair[0]);
        self.ports.chunks(2).map(address).collect::<Vec<_>>().join(",")
    }

    /// Kills a broker as a crash would; its data stays.
    pub fn kill(&mut self, index: usize) {
        if let Some(mut node) = self.nodes.get_mut(index).and_then(Option::take) {
            node.kill();
        }
    }

    /// Starts a broker that was killed and waits until it serves.
    ///
    /// # Errors
    /// What it said last.
    pub fn restart(&mut self, index: usize) -> Result<(), String> {
        self.kill(index);
        self.nodes[index] = Some(self.started(index)?);
        Ok(())
    }

    /// Leaves the brokers running; [`stop`] ends them.
    pub fn leave(mut self) {
        self.nodes.iter_mut().for_each(|node| drop(node.take()));
    }

    fn node_dir(&self, index: usize) -> PathBuf {
        self.dir.join(format!("node{}", index + 1))
    }

    fn set_up(&self, index: usize) -> Result<(), String> {
        let dir = self.node_dir(index);
        let cannot = |error: std::io::Error| format!("{}: {error}", dir.display());
        std::fs::create_dir_all(dir.join("data")).map_err(cannot)?;
        let properties = dir.join("server.properties");
        std::fs::write(&properties, self.properties(index)).map_err(cannot)?;
        if dir.join("data/meta.properties").exists() {
            return Ok(());
        }
        let format = ["format", "-t", CLUSTER, "-c"];
        let done = self.java("kafka.tools.StorageTool").args(format).arg(&properties).output();
        let done = done.map_err(|error| format!("java does not start: {error}"))?;
        if done.status.success() {
            return Ok(());
        }
        Err(format!(
            "the storage of broker {} cannot be formatted: {}",
            index + 1,
            String::from_utf8_lossy(&done.stderr)
        ))
    }

    fn started(&self, index: usize) -> Result<Node, String> {
        let dir = self.node_dir(index);
        let mut command = self.java("kafka.Kafka");
        command.arg(dir.join("server.properties"));
        Node::start(command, &dir, "Kafka Server started", PATIENCE)
    }

    /// Small and quick to start rather than fast.
    fn java(&self, class: &str) -> Command {
        let mut command = Command::new("java");
        let logging = format!("-Dlog4j2.configurationFile={}", self.jars.join("log4j2.properties").display());
        command
            .args([
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                "-Xms128m",
                "-Xmx384m",
                "-Djava.awt.headless=true",
            ])
            .arg(logging)
            .arg("-cp")
            .arg(self.jars.join("lib/*"))
            .arg(class);
        command
    }

    fn properties(&self, index: usize) -> String {
        let brokers = self.ports.len() / 2;
        let (client, controller) = (self.ports[2 * index], self.ports[2 * index + 1]);
        let voter = |(at, pair): (usize, &[u16])| format!("{}@127.0.0.1:{}", at + 1, pair[1]);
        let voters = self.ports.chunks(2).enumerate().map(voter).collect::<Vec<_>>().join(",");
        let in_sync = if brokers >= 3 { 2 } else { 1 };
        let data = self.node_dir(index).join("data").display().to_string();
        let mut text = format!(
            "process.roles=broker,controller\n\
             node.id={}\n\
             controller.quorum.voters={voters}\n\
             listeners=PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{client}\n\
             controller.listener.names=CONTROLLER\n\
             inter.broker.listener.name=PLAINTEXT\n\
             listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n\
             log.dirs={data}\n\
             num.network.threads=1\n\
             num.io.threads=2\n\
             auto.create.topics.enable=false\n\
             group.initial.rebalance.delay.ms=0\n\
             log.segment.bytes=16777216\n\
             log.index.size.max.bytes=1048576\n\
             log.cleaner.dedupe.buffer.size=4194304\n\
             default.replication.factor={brokers}\n\
             min.insync.replicas={in_sync}\n",
            index + 1
        );
        for (topic, in_sync_name) in [
            ("offsets.topic", None),
            ("transaction.state.log", Some("min.isr")),
            ("share.coordinator.state.topic", Some("min.isr")),
        ] {
            text += &format!("{topic}.replication.factor={brokers}\n{topic}.num.partitions=1\n");
            text += &in_sync_name.map_or(String::new(), |name| format!("{topic}.{name}={in_sync}\n"));
        }
        text
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for index in 0..self.nodes.len() {
            self.kill(index);
        }
    }
}

/// Stops every broker below `dir` that another process left running; says how many there were.
///
/// # Errors
/// When one does not end.
pub fn stop(dir: &Path) -> Result<usize, String> {
    let mut stopped = 0;
    for index in 1..=3 {
        stopped += usize::from(node::stop(&dir.join(format!("node{index}")), STOP_PATIENCE)?);
    }
    Ok(stopped)
}

/// Whether a broker below `dir` runs.
#[must_use]
pub fn runs(dir: &Path) -> bool {
    (1..=3).any(|index| node::running(&dir.join(format!("node{index}"))).is_some())
}
