//! Appends in transactions.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};

use super::{PATIENCE, away, base, reader};
use crate::{Draft, MAX_BATCH_BYTES, MAX_BATCH_MESSAGES, TopicError, Writer, limits};

/// The brokers end a transaction that takes longer: nobody waits for a dead writer's.
const TRANSACTION_MS: &str = "15000";
/// A message that is not delivered by then takes its transaction down.
const DELIVERY_MS: &str = "10000";
/// How long an append may take before it is given up.
const APPEND_WITHIN: Duration = Duration::from_secs(10);
const QUEUE_PAUSE: Duration = Duration::from_millis(10);

/// Counts what the brokers have confirmed.
#[derive(Default)]
struct Deliveries(Mutex<Counted>);

#[derive(Default)]
struct Counted {
    confirmed: usize,
    failed: Option<KafkaError>,
}

impl Deliveries {
    fn take(&self) -> Counted {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ClientContext for Deliveries {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka");
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(_) => counted.confirmed += 1,
            Err((error, _)) => counted.failed = Some(error.clone()),
        }
    }
}

pub(super) struct KafkaWriter {
    name: String,
    marks: String,
    mark: Option<Vec<u8>>,
    /// None after a failure: what became of the last append, only a new writer learns.
    producer: Option<BaseProducer<Deliveries>>,
    client: BaseConsumer,
    /// Topics seen to be there.
    known: HashSet<String>,
}

impl KafkaWriter {
    pub(super) fn open(brokers: &str, name: &str, marks: String) -> Result<Self, TopicError> {
        let mut config = base(brokers);
        config
            .set("transactional.id", name)
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("transaction.timeout.ms", TRANSACTION_MS)
            .set("message.timeout.ms", DELIVERY_MS)
            .set("linger.ms", "1")
            // As the Java client spreads keys, so that both agree.
            .set("partitioner", "murmur2_random")
            .set("message.max.bytes", (crate::MAX_MESSAGE_BYTES + 1024).to_string())
            // Room for one append and its mark.
            .set("queue.buffering.max.messages", (2 * MAX_BATCH_MESSAGES).to_string())
            .set("queue.buffering.max.kbytes", (2 * MAX_BATCH_BYTES / 1024).to_string());
        let producer: BaseProducer<Deliveries> =
            config.create_with_context(Deliveries::default()).map_err(|error| away("be set up", &error))?;
        producer
            .init_transactions(2 * PATIENCE)
            .map_err(|error| failed(name, "end what an earlier writer left open", &error))?;
        // Every earlier writer is shut out from here on.
        let mark = reader::last(brokers, &marks)?.map(|last| last.value);
        let client = reader::config(brokers).create().map_err(|error| away("be set up", &error))?;
        Ok(Self {
            name: name.to_owned(),
            marks,
            mark,
            producer: Some(producer),
            client,
            known: HashSet::new(),
        })
    }

    fn check(&mut self, drafts: &[Draft<'_>]) -> Result<(), TopicError> {
        for draft in drafts {
            if self.known.contains(draft.topic) {
                continue;
            }
            limits::name(draft.topic)?;
            let found = self.client.fetch_metadata(Some(draft.topic), PATIENCE);
            let found = found.map_err(|error| away("tell its topics", &error))?;
            if !found.topics().iter().any(|topic| topic.error().is_none() && !topic.partitions().is_empty()) {
                return Err(TopicError::Unknown(draft.topic.to_owned()));
            }
            self.known.insert(draft.topic.to_owned());
        }
        Ok(())
    }
}

impl Writer for KafkaWriter {
    fn mark(&self) -> Option<&[u8]> {
        self.mark.as_deref()
    }

    fn append(&mut self, drafts: &[Draft<'_>], mark: &[u8]) -> Result<(), TopicError> {
        limits::batch(drafts, mark)?;
        self.check(drafts)?;
        let lost = || TopicError::Away { doing: "append", why: "an earlier append failed".to_owned() };
        let producer = self.producer.take().ok_or_else(lost)?;
        let own = Draft { topic: &self.marks, key: self.name.as_bytes(), value: mark };
        transact(&producer, drafts.iter().chain([&own]), drafts.len() + 1)
            .map_err(|error| failed(&self.name, "append", &error))?;
        self.producer = Some(producer);
        self.mark = Some(mark.to_vec());
        Ok(())
    }
}

/// One transaction, every delivery awaited before it is committed.
fn transact<'a>(
    producer: &BaseProducer<Deliveries>,
    drafts: impl Iterator<Item = &'a Draft<'a>>,
    count: usize,
) -> Result<(), KafkaError> {
    let deadline = Instant::now() + APPEND_WITHIN;
    producer.context().take();
    producer.begin_transaction()?;
    for draft in drafts {
        let mut record = BaseRecord::to(draft.topic).key(draft.key).payload(draft.value);
        while let Err((error, back)) = producer.send(record) {
            let full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
            if !full || Instant::now() >= deadline {
                return Err(error);
            }
            producer.poll(QUEUE_PAUSE);
            record = back;
        }
    }
    producer.flush(APPEND_WITHIN)?;
    let counted = producer.context().take();
    if let Some(error) = counted.failed {
        return Err(error);
    }
    if counted.confirmed != count {
        return Err(KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut));
    }
    producer.commit_transaction(APPEND_WITHIN)
}

fn failed(name: &str, doing: &'static str, error: &KafkaError) -> TopicError {
    match error.rdkafka_error_code() {
        Some(
            RDKafkaErrorCode::Fenced
            | RDKafkaErrorCode::ProducerFenced
            | RDKafkaErrorCode::InvalidProducerEpoch,
        ) => TopicError::Fenced(name.to_owned()),
        _ => away(doing, error),
    }
}
