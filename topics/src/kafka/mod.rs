//! Topics on Kafka.
//!
//! A writer is a transactional producer whose id is the writer's name, and its mark is the last message of a compacted topic
//! `<name>.mark`, written in the same transaction as what it appends. Opening a writer makes the brokers end the
//! transaction that an earlier life left open, one way or the other, and refuse whatever of it still arrives. Only then is
//! the mark read: nothing can change it behind the new writer's back.
//!
//! Consumers must read committed messages only (`isolation.level=read_committed`; the default of librdkafka, not of the
//! Java client): others also see what was taken back.

mod reader;
mod writer;

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::{Created, Reader, TopicError, TopicSpec, Topics, Writer, limits};
use reader::KafkaReader;
use writer::KafkaWriter;

/// How long brokers may take for one thing that is asked of them.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks for a topic that was just created.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The mark's topic is rolled this often, so that compaction, which leaves the newest segment alone, keeps it small.
const MARK_SEGMENT_BYTES: &str = "1048576";

/// The Kafka engine. Asking for it connects to nobody yet.
pub struct Kafka {
    brokers: String,
    /// For metadata; a consumer's client creates no topic by asking for it.
    client: BaseConsumer,
}

impl Kafka {
    /// On `brokers`, `host:port,..`.
    ///
    /// # Errors
    /// [`TopicError`] when the addresses cannot be used.
    pub fn open(brokers: &str) -> Result<Self, TopicError> {
        let client = reader::config(brokers).create().map_err(|error| away("be set up", &error))?;
        Ok(Self { brokers: brokers.to_owned(), client })
    }

    /// The topic's partitions that have a leader, and how many brokers there are; none: no such topic.
    fn look(&self, topic: &str) -> Result<(Option<u32>, usize), TopicError> {
        let found = self.client.fetch_metadata(Some(topic), PATIENCE);
        let found = found.map_err(|error| away("tell its topics", &error))?;
        let brokers = found.brokers().len();
        let topic = found.topics().iter().find(|found| found.name() == topic && found.error().is_none());
        let partitions = topic.map(|topic| topic.partitions().iter().filter(|p| p.leader() >= 0).count());
        Ok((partitions.filter(|count| *count > 0).map(|count| count as u32), brokers))
    }

    /// Creates the topic unless it is there, and waits until it can be used.
    fn ensure(&self, new: &New<'_>) -> Result<Created, TopicError> {
        let (found, brokers) = self.look(new.name)?;
        if let Some(partitions) = found {
            return Ok(Created { existed: true, partitions });
        }
        let replicas = new.replicas.clamp(1, brokers.clamp(1, 1 << 10) as u32) as i32;
        // One broker may be away, where there is more than one.
        let in_sync = (replicas - 1).max(1).to_string();
        let asked = NewTopic::new(new.name, new.partitions as i32, TopicReplication::Fixed(replicas));
        let asked = new.settings.iter().fold(asked, |asked, (key, value)| asked.set(key, value));
        let asked = asked.set("min.insync.replicas", &in_sync);
        let admin: AdminClient<DefaultClientContext> =
            base(&self.brokers).create().map_err(|error| away("be set up", &error))?;
        let options = AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE));
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime =
            runtime.map_err(|error| TopicError::Away { doing: "create a topic", why: error.to_string() })?;
        let created = runtime.block_on(admin.create_topics([&asked], &options));
        let created = created.map_err(|error| away("create a topic", &error))?;
        let existed = match created.into_iter().next() {
            Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => true,
            Some(Err((_, code))) => return Err(away("create a topic", &KafkaError::AdminOp(code))),
            _ => false,
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.look(new.name)?.0 {
                Some(partitions) if existed || partitions == new.partitions => {
                    return Ok(Created { existed, partitions });
                }
                _ if Instant::now() < deadline => std::thread::sleep(LOOK_EVERY),
                _ => {
                    let why = format!("`{}` has no leader yet", new.name);
                    return Err(TopicError::Away { doing: "create a topic", why });
                }
            }
        }
    }
}

struct New<'a> {
    name: &'a str,
    partitions: u32,
    replicas: u32,
    settings: Vec<(&'static str, String)>,
}

impl Topics for Kafka {
    fn create(&self, spec: &TopicSpec<'_>) -> Result<Created, TopicError> {
        limits::spec(spec)?;
        // -1: no bound.
        let ms = spec.retention.map_or(-1, |time| i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
        let bytes = spec.retention_bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
        let settings = vec![("retention.ms", ms.to_string()), ("retention.bytes", bytes.to_string())];
        let TopicSpec { name, partitions, replicas, .. } = *spec;
        self.ensure(&New { name, partitions, replicas, settings })
    }

    fn writer(&self, name: &str) -> Result<Box<dyn Writer>, TopicError> {
        let marks = limits::mark_topic(name)?;
        let settings =
            vec![("cleanup.policy", "compact".to_owned()), ("segment.bytes", MARK_SEGMENT_BYTES.to_owned())];
        // As many copies as what the marks are about may have.
        self.ensure(&New { name: &marks, partitions: 1, replicas: 3, settings })?;
        Ok(Box::new(KafkaWriter::open(&self.brokers, name, marks)?))
    }

    fn reader(&self, topic: &str, partition: u32, offset: u64) -> Result<Box<dyn Reader>, TopicError> {
        limits::name(topic)?;
        match self.look(topic)?.0 {
            Some(partitions) if partition < partitions => {
                Ok(Box::new(KafkaReader::open(&self.brokers, topic, partition, offset)?))
            }
            _ => Err(TopicError::Unknown(topic.to_owned())),
        }
    }
}

/// What every client of the brokers is set up with. A broker that was away is asked again soon.
fn base(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        .set("client.id", "ringfence")
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "1000")
        .set("socket.timeout.ms", "5000");
    config
}

fn away(doing: &'static str, error: &KafkaError) -> TopicError {
    TopicError::Away { doing, why: error.to_string() }
}
