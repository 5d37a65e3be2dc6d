//! Append-only topics behind one port: an embedded log in SQLite, or Kafka.
//!
//! A [`Writer`] has a name. What it appends and the *mark* it leaves beside it become visible together or not at all, and
//! opening a writer ends every earlier writer of that name. So whoever derives messages from a log of its own keeps its
//! place in that log as the mark, and after any death goes on from there: nothing is missing and nothing stands twice.

#![forbid(unsafe_code)]

mod embedded;
mod error;
#[cfg(feature = "kafka")]
mod kafka;
mod limits;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use embedded::Embedded;
pub use error::TopicError;
#[cfg(feature = "kafka")]
pub use kafka::Kafka;
pub use limits::{MAX_BATCH_BYTES, MAX_BATCH_MESSAGES, MAX_MESSAGE_BYTES, MAX_NAME_BYTES, MAX_PARTITIONS};

/// What a topic should be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicSpec<'a> {
    /// Its name: 1 to 249 of `A-Z a-z 0-9 . _ -`.
    pub name: &'a str,
    /// Partitions, 1 to [`MAX_PARTITIONS`]. Order holds within one; a key always goes to the same.
    pub partitions: u32,
    /// Copies; as many as there are brokers when those are fewer. The embedded log has one.
    pub replicas: u32,
    /// Messages are kept for so long, at least; none: for ever.
    pub retention: Option<Duration>,
    /// Beyond so many bytes in a partition the oldest messages go; none: no bound.
    pub retention_bytes: Option<u64>,
}

/// What [`Topics::create`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Created {
    /// The topic was there before; what it is like is left as it is.
    pub existed: bool,
    /// Its partitions.
    pub partitions: u32,
}

/// A message to append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draft<'a> {
    /// The topic; it must be there.
    pub topic: &'a str,
    /// Messages of one key stay in order.
    pub key: &'a [u8],
    /// The content.
    pub value: &'a [u8],
}

/// A message as it was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its place within the partition. Places ascend; not every number is one.
    pub offset: u64,
    /// Its key.
    pub key: Vec<u8>,
    /// Its content.
    pub value: Vec<u8>,
}

/// Topics, wherever they are kept.
pub trait Topics: Send + Sync {
    /// Creates a topic unless it is there.
    ///
    /// # Errors
    /// [`TopicError`]: the specification is refused, or the engine cannot be reached.
    fn create(&self, spec: &TopicSpec<'_>) -> Result<Created, TopicError>;

    /// Opens the one writer of this name, which is at most five bytes shorter than a topic's may be. Earlier ones can append nothing more, nor can what they had under way.
    ///
    /// # Errors
    /// [`TopicError`].
    fn writer(&self, name: &str) -> Result<Box<dyn Writer>, TopicError>;

    /// Reads a partition from the message at `offset` on, or from the oldest one that is still there.
    ///
    /// # Errors
    /// [`TopicError::Unknown`] when there is no such partition.
    fn reader(&self, topic: &str, partition: u32, offset: u64) -> Result<Box<dyn Reader>, TopicError>;
}

/// Appends.
pub trait Writer: Send {
    /// The mark of the last append that succeeded, in this life or an earlier one.
    fn mark(&self) -> Option<&[u8]>;

    /// Appends all of `drafts`, in order, and replaces the mark; returns when that is as durable as the engine makes it.
    ///
    /// # Errors
    /// [`TopicError`]. Where [`TopicError::is_refusal`] nothing has happened and the writer goes on. After any other
    /// error all of it or nothing has happened: open the writer again and look at its mark.
    fn append(&mut self, drafts: &[Draft<'_>], mark: &[u8]) -> Result<(), TopicError>;
}

/// Reads a partition in order.
pub trait Reader: Send {
    /// The next messages, at most `most` of them; waits up to `patience` for the first.
    ///
    /// # Errors
    /// [`TopicError`]; the reader stays where it is.
    fn next(&mut self, most: usize, patience: Duration) -> Result<Vec<Stored>, TopicError>;
}

/// Where topics are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Engine {
    /// In this SQLite file.
    Embedded(PathBuf),
    /// On these brokers, `host:port,..`.
    Kafka(String),
}

impl Engine {
    /// In `file`, unless brokers are named.
    #[must_use]
    pub fn chosen(brokers: Option<&str>, file: &Path) -> Self {
        brokers.map_or_else(|| Self::Embedded(file.to_owned()), |brokers| Self::Kafka(brokers.to_owned()))
    }

    /// In JSON and logs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Embedded(_) => "embedded",
            Self::Kafka(_) => "kafka",
        }
    }

    /// Opens it.
    ///
    /// # Errors
    /// [`TopicError`].
    pub fn open(&self) -> Result<Box<dyn Topics>, TopicError> {
        match self {
            Self::Embedded(path) => Ok(Box::new(Embedded::open(path)?)),
            #[cfg(feature = "kafka")]
            Self::Kafka(brokers) => Ok(Box::new(Kafka::open(brokers)?)),
            #[cfg(not(feature = "kafka"))]
            Self::Kafka(_) => Err(TopicError::NotBuilt),
        }
    }
}
