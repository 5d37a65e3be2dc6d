//! What a node is registered with.

use super::shape::{MAX_FEATURES, MAX_INTERVAL_S, MAX_PERIOD, Shape};

/// The longest node or queue id, bytes: as long as a Kafka topic's name may be.
pub const MAX_NODE_ID_BYTES: usize = 249;
/// The longest feature name, bytes.
pub const MAX_FEATURE_NAME_BYTES: usize = 24;

/// One node at one interval, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSpec {
    id: String,
    features: Vec<String>,
    shape: Shape,
    digest: u64,
}

/// Why a node cannot be registered as described.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// The id is empty, too long or not printable ASCII.
    #[error("a node id is 1 to {MAX_NODE_ID_BYTES} printable ASCII characters")]
    Id,
    /// A feature's name is empty, too long, not printable ASCII or there twice.
    #[error("feature `{0}`: names are 1 to {MAX_FEATURE_NAME_BYTES} printable ASCII characters, each once")]
    Feature(String),
    /// A number is 0 or too large.
    #[error(
        "a node has an interval of 1 to {MAX_INTERVAL_S} s, a period of 1 to {MAX_PERIOD} and 1 to {MAX_FEATURES} features"
    )]
    Size,
}

impl NodeSpec {
    /// Node or queue `id` in buckets of `interval_s` seconds, of which the last `period` are kept.
    ///
    /// # Errors
    /// [`SpecError`], naming what is wrong.
    pub fn new<S: AsRef<str>>(
        id: &str,
        interval_s: u32,
        period: u32,
        features: &[S],
    ) -> Result<Self, SpecError> {
        let is_name = |text: &str, max: usize| {
            (1..=max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if !is_name(id, MAX_NODE_ID_BYTES) {
            return Err(SpecError::Id);
        }
        let shape = Shape::new(interval_s, period, features.len()).ok_or(SpecError::Size)?;
        for (at, feature) in features.iter().enumerate() {
            let name = feature.as_ref();
            let twice = features[..at].iter().any(|other| other.as_ref() == name);
            if twice || !is_name(name, MAX_FEATURE_NAME_BYTES) {
                return Err(SpecError::Feature(name.to_owned()));
            }
        }
        let features = features.iter().map(|name| name.as_ref().to_owned()).collect();
        Ok(Self { id: id.to_owned(), features, shape, digest: digest(id, interval_s) })
    }

    /// Of id and interval, so that a directory is searched without reading its texts.
    pub(super) fn digest(&self) -> u64 {
        self.digest
    }

    /// The node's or queue's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Names of its values, in order.
    #[must_use]
    pub fn features(&self) -> &[String] {
        &self.features
    }

    /// Its size.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }
}

fn digest(id: &str, interval_s: u32) -> u64 {
    use sha2::Digest as _;
    let hash = sha2::Sha256::new().chain_update(interval_s.to_le_bytes()).chain_update(id).finalize();
    hash.iter().take(8).fold(0, |digest, byte| digest << 8 | u64::from(*byte))
}
