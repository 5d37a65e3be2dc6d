//! What both engines take, checked once for both.

use crate::{Draft, TopicError, TopicSpec};

/// The longest name of a topic or writer, bytes: Kafka's.
pub const MAX_NAME_BYTES: usize = 249;
/// The most partitions of a topic.
pub const MAX_PARTITIONS: u32 = 64;
/// Key and value of one message, bytes: what a broker takes by default (1 MiB), less room for its framing.
pub const MAX_MESSAGE_BYTES: usize = 1_000_000;
/// Messages of one append.
pub const MAX_BATCH_MESSAGES: usize = 10_000;
/// Bytes of one append.
pub const MAX_BATCH_BYTES: usize = 16 << 20;

const _: () = assert!(MAX_MESSAGE_BYTES <= MAX_BATCH_BYTES);

pub(crate) fn name(name: &str) -> Result<(), TopicError> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if name.is_empty()
        || name.len() > MAX_NAME_BYTES
        || [".", ".."].contains(&name)
        || !name.bytes().all(legal)
    {
        return Err(TopicError::Name(name.chars().take(MAX_NAME_BYTES).collect()));
    }
    Ok(())
}

/// The name of the topic that Kafka keeps the writer's mark in; every engine takes the same names.
pub(crate) fn mark_topic(writer: &str) -> Result<String, TopicError> {
    let topic = format!("{writer}.mark");
    name(writer).and_then(|()| name(&topic)).map_err(|_| TopicError::Name(writer.to_owned()))?;
    Ok(topic)
}

pub(crate) fn spec(spec: &TopicSpec<'_>) -> Result<(), TopicError> {
    name(spec.name)?;
    if spec.partitions == 0 || spec.partitions > MAX_PARTITIONS {
        return Err(TopicError::Partitions(spec.partitions));
    }
    Ok(())
}

pub(crate) fn batch(drafts: &[Draft<'_>], mark: &[u8]) -> Result<(), TopicError> {
    let mut bytes = mark.len();
    for draft in drafts {
        let own = draft.key.len() + draft.value.len();
        if own > MAX_MESSAGE_BYTES {
            return Err(TopicError::Oversize { topic: draft.topic.to_owned(), bytes: own });
        }
        bytes += own;
    }
    if drafts.len() > MAX_BATCH_MESSAGES || bytes > MAX_BATCH_BYTES || mark.len() > MAX_MESSAGE_BYTES {
        return Err(TopicError::Batch { messages: drafts.len(), bytes });
    }
    Ok(())
}
