//! Where a node's values go.

use crate::identity::{Identity, hex};
use crate::model::Node;

/// The longest name that Kafka takes.
const MAX_NAME_BYTES: usize = 249;
/// Characters of the node's type in a name.
const MAX_PREFIX_BYTES: usize = 64;

const _: () = assert!(MAX_PREFIX_BYTES + 1 + 64 <= MAX_NAME_BYTES);

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// How a topic is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TopicClass {
    /// Values from outside.
    Raw,
    /// What nodes compute.
    Indicator,
    /// What was traded.
    TradeExec,
}

impl TopicClass {
    /// The class of this node's topic: nodes without inputs bring values in from outside; nodes whose type names the
    /// execution of trades (`TradeExecutionNode`, `trade_exec`, `OrderPublishNode`, ..) are told apart by that.
    #[must_use]
    pub fn of(node: &Node) -> Self {
        let words: String = node.node_type.chars().filter(char::is_ascii_alphanumeric).collect();
        let words = words.to_ascii_lowercase();
        if ["tradeexec", "execution", "orderpublish"].iter().any(|word| words.contains(word)) {
            Self::TradeExec
        } else if node.is_source() {
            Self::Raw
        } else {
            Self::Indicator
        }
    }

    /// In JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Indicator => "indicator",
            Self::TradeExec => "trade_exec",
        }
    }

    /// Partitions.
    #[must_use]
    pub const fn partitions(self) -> u32 {
        match self {
            Self::Raw => 3,
            Self::Indicator | Self::TradeExec => 1,
        }
    }

    /// Copies, where there are so many brokers.
    #[must_use]
    pub const fn replicas(self) -> u32 {
        match self {
            Self::Raw | Self::TradeExec => 3,
            Self::Indicator => 2,
        }
    }

    /// How long values are kept, ms.
    #[must_use]
    pub const fn retention_ms(self) -> u64 {
        match self {
            Self::Raw => 7 * DAY_MS,
            Self::Indicator => 30 * DAY_MS,
            Self::TradeExec => 90 * DAY_MS,
        }
    }
}

/// The topic of a node: its type, for people, and its whole identity, so that no two can be one, on engines that tell
/// cases apart and on those that do not. The node's name is no part of it: two clients may call one computation by two.
#[must_use]
pub fn topic_name(identity: &Identity, node: &Node) -> String {
    // A point or an underscore would make two names one in Kafka's metrics.
    let letters = node.node_type.chars().take(MAX_PREFIX_BYTES);
    let prefix: String = letters
        .map(|letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' })
        .collect();
    format!("{prefix}-{}", hex(identity))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{Dag, Limits};

    fn node(node_type: &str, inputs: &[&str]) -> Node {
        let json = json!({"nodes": [
            {"node_id": "n", "node_type": node_type, "inputs": inputs, "code_hash": "", "schema_hash": ""},
            {"node_id": "a", "node_type": "S", "code_hash": "", "schema_hash": ""},
        ]});
        Dag::parse(json.to_string().as_bytes(), &Limits::default()).unwrap().nodes()[0].clone()
    }

    #[test]
    fn the_class_follows_the_type_and_says_how_the_topic_is_kept() {
        let class = |node_type, inputs: &[&str]| {
            let class = TopicClass::of(&node(node_type, inputs));
            (class.name(), class.partitions(), class.replicas(), class.retention_ms() / DAY_MS)
        };
        assert_eq!(class("StreamInput", &[]), ("raw", 3, 3, 7));
        assert_eq!(class("ProcessingNode", &["a"]), ("indicator", 1, 2, 30));
        assert_eq!(class("TagQueryNode", &[]), ("indicator", 1, 2, 30));
        for trading in ["TradeExecutionNode", "trade_exec", "TradeOrderPublisherNode"] {
            assert_eq!(class(trading, &["a"]), ("trade_exec", 1, 3, 90));
        }
    }

    proptest! {
        #[test]
        fn a_name_is_legal_lower_case_and_holds_the_identity(kind in "\\PC{1,300}", identity in any::<[u8; 32]>()) {
            let name = topic_name(&identity, &node(&kind, &[]));
            prop_assert!(name.len() <= MAX_NAME_BYTES);
            prop_assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
            prop_assert!(name.ends_with(&hex(&identity)));
        }
    }
}
