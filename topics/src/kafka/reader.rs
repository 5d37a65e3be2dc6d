//! Reads one partition, committed messages only.

use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};

use super::{PATIENCE, away, base};
use crate::{Reader, Stored, TopicError};

/// Messages first looked at for the last one of a topic.
const LOOK_BACK: i64 = 16;

pub(super) fn config(brokers: &str) -> ClientConfig {
    let mut config = base(brokers);
    config
        // Partitions are assigned by hand and nothing is committed: the group never comes to be.
        .set("group.id", "ringfence-reader")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", "50")
        .set("queued.max.messages.kbytes", "16384");
    config
}

pub(super) struct KafkaReader {
    consumer: BaseConsumer,
}

impl KafkaReader {
    pub(super) fn open(brokers: &str, topic: &str, partition: u32, offset: u64) -> Result<Self, TopicError> {
        let consumer: BaseConsumer = config(brokers).create().map_err(|error| away("be set up", &error))?;
        let offset = i64::try_from(offset).unwrap_or(i64::MAX);
        assign(&consumer, topic, partition, offset).map_err(|error| away("be read", &error))?;
        Ok(Self { consumer })
    }
}

fn assign(consumer: &BaseConsumer, topic: &str, partition: u32, offset: i64) -> Result<(), KafkaError> {
    let mut places = TopicPartitionList::new();
    places.add_partition_offset(topic, partition as i32, Offset::Offset(offset))?;
    consumer.assign(&places)
}

/// What one poll brought.
enum Found {
    Message(Stored),
    End,
    Nothing,
}

fn poll(consumer: &BaseConsumer, patience: Duration) -> Result<Found, KafkaError> {
    match consumer.poll(patience) {
        None => Ok(Found::Nothing),
        Some(Ok(message)) => Ok(Found::Message(Stored {
            offset: u64::try_from(message.offset()).unwrap_or(0),
            key: message.key().unwrap_or_default().to_vec(),
            value: message.payload().unwrap_or_default().to_vec(),
        })),
        Some(Err(KafkaError::PartitionEOF(_))) => Ok(Found::End),
        // The client connects again by itself.
        Some(Err(KafkaError::MessageConsumption(
            RDKafkaErrorCode::AllBrokersDown
            | RDKafkaErrorCode::BrokerTransportFailure
            | RDKafkaErrorCode::OperationTimedOut,
        ))) => Ok(Found::Nothing),
        Some(Err(error)) => Err(error),
    }
}

impl Reader for KafkaReader {
    fn next(&mut self, most: usize, patience: Duration) -> Result<Vec<Stored>, TopicError> {
        let deadline = Instant::now() + patience;
        let mut found = Vec::new();
        while found.len() < most {
            let left = if found.is_empty() {
                deadline.saturating_duration_since(Instant::now())
            } else {
                Duration::ZERO
            };
            match poll(&self.consumer, left) {
                Ok(Found::Message(message)) => found.push(message),
                Ok(Found::End | Found::Nothing) if !found.is_empty() || Instant::now() >= deadline => break,
                Ok(Found::End | Found::Nothing) => {}
                // What was read already must not be lost: the error comes again.
                Err(_) if !found.is_empty() => break,
                Err(error) => return Err(away("be read", &error)),
            }
        }
        Ok(found)
    }
}

/// The last committed message of a topic with one partition. Looks back further and further: the places at the end may
/// hold the brokers' own records, and messages that were taken back.
pub(super) fn last(brokers: &str, topic: &str) -> Result<Option<Stored>, TopicError> {
    let failed = |error: &KafkaError| away("tell the last mark", error);
    let consumer: BaseConsumer = config(brokers).create().map_err(|error| failed(&error))?;
    let (low, high) = consumer.fetch_watermarks(topic, 0, PATIENCE).map_err(|error| failed(&error))?;
    let mut back = LOOK_BACK;
    loop {
        let from = low.max(high.saturating_sub(back));
        assign(&consumer, topic, 0, from).map_err(|error| failed(&error))?;
        let deadline = Instant::now() + PATIENCE;
        let mut newest = None;
        loop {
            match poll(&consumer, LOOK_PAUSE).map_err(|error| failed(&error))? {
                Found::Message(message) => newest = Some(message),
                Found::End => break,
                Found::Nothing if Instant::now() < deadline => {}
                Found::Nothing => {
                    let why = "no end within the time allowed".to_owned();
                    return Err(TopicError::Away { doing: "tell the last mark", why });
                }
            }
        }
        if newest.is_some() || from == low {
            return Ok(newest);
        }
        back = back.saturating_mul(8);
    }
}

const LOOK_PAUSE: Duration = Duration::from_millis(100);
