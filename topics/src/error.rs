//! What can go wrong, and what to do then.

use std::path::PathBuf;

use crate::limits::{MAX_BATCH_BYTES, MAX_BATCH_MESSAGES, MAX_MESSAGE_BYTES, MAX_PARTITIONS};

/// Why topics did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// No topic may be called this.
    #[error("`{0}` is no name of a topic or writer: use 1 to 249 of A-Z a-z 0-9 . _ - (not `.` or `..`)")]
    Name(String),
    /// Nothing is spread so widely, or not at all.
    #[error("a topic has 1 to {MAX_PARTITIONS} partitions, not {0}")]
    Partitions(u32),
    /// No such topic or partition.
    #[error("there is no topic `{0}` with this partition: create it first")]
    Unknown(String),
    /// A message is too long.
    #[error("a message for `{topic}` has {bytes} bytes, at most {MAX_MESSAGE_BYTES} are taken: shorten it")]
    Oversize {
        /// For which topic.
        topic: String,
        /// Key and value together.
        bytes: usize,
    },
    /// Too much at once.
    #[error(
        "{messages} messages of {bytes} bytes are too much for one append ({MAX_BATCH_MESSAGES} messages, \
         {MAX_BATCH_BYTES} bytes): split it"
    )]
    Batch {
        /// How many.
        messages: usize,
        /// How large together.
        bytes: usize,
    },
    /// This program has no Kafka client in it.
    #[error("this program was built without Kafka: build it with `--features kafka`, or name no brokers")]
    NotBuilt,
    /// Another writer of this name was opened later.
    #[error("another writer `{0}` was opened: let only one process write under a name")]
    Fenced(String),
    /// The file cannot be used.
    #[error("cannot use the topics in {path}: {why}; look at its owner, its mode (0600) and the disk's room")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The embedded log failed.
    #[error("the embedded topics failed: {0}; look at the disk's room")]
    Store(#[from] rusqlite::Error),
    /// The brokers do not answer, or not well.
    #[error("Kafka cannot {doing}: {why}; are the brokers up, and are their addresses right?")]
    Away {
        /// What was under way.
        doing: &'static str,
        /// What the client library says.
        why: String,
    },
}

impl TopicError {
    /// What was asked is refused: nothing has happened, and asking again brings the same answer.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Name(_)
                | Self::Partitions(_)
                | Self::Unknown(_)
                | Self::Oversize { .. }
                | Self::Batch { .. }
                | Self::NotBuilt
        )
    }
}
