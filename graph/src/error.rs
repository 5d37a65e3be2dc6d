//! What can go wrong, and what to do then.

use std::path::PathBuf;

/// Why the graph did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    /// A value is out of its bounds.
    #[error("{what} is refused: {why}")]
    Invalid {
        /// Which value.
        what: &'static str,
        /// What is wrong with it, and what is taken.
        why: String,
    },
    /// Too much at once.
    #[error("{count} {what} are too many for one call, at most {most} are taken: split it")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// How many are taken.
        most: usize,
    },
    /// A change must hold every node that its nodes read.
    #[error("node {node} reads {input}, which is not in the change: put all nodes of the DAG into it")]
    UnknownInput {
        /// The reader, 64 lower hex.
        node: String,
        /// What it reads, 64 lower hex.
        input: String,
    },
    /// The strategy was applied with other nodes.
    #[error("strategy `{0}` was applied with other nodes: submit the changed DAG as a strategy of its own")]
    Conflict(String),
    /// The strategy was released.
    #[error("strategy `{0}` was released: submit its DAG again, as a strategy of its own")]
    Released(String),
    /// Another node produces a topic whose name differs at most in case.
    #[error("topic `{0}` is another node's, but for case: derive names of topics from the whole identity")]
    TopicTaken(String),
    /// No sentinel is called so.
    #[error("there is no sentinel or version `{0}`: list them first")]
    UnknownVersion(String),
    /// No share of the traffic.
    #[error("a weight is a number from 0 to 1, not {0}")]
    Weight(f64),
    /// More traffic than there is.
    #[error("the weights of `{line}` would sum to {sum}, at most 1 is taken: lower another version's first")]
    WeightSum {
        /// Whose versions.
        line: String,
        /// What they would sum to.
        sum: f64,
    },
    /// This program has no Neo4j client in it.
    #[error("this program was built without Neo4j: build it with `--features neo4j`, or name no server")]
    NotBuilt,
    /// A later program wrote it.
    #[error("the graph is of version {found}, this program knows {known}: use the newer program")]
    Newer {
        /// What stands in it.
        found: i64,
        /// The newest known.
        known: i64,
    },
    /// The file cannot be used.
    #[error("cannot use the graph in {path}: {why}; look at its owner, its mode (0600) and the disk's room")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The embedded graph failed.
    #[error("the embedded graph failed: {0}; look at the disk's room")]
    Store(#[from] rusqlite::Error),
    /// Neo4j does not answer, or not well.
    #[error("Neo4j cannot {doing}: {why}; is the server up, and are its address and login right?")]
    Away {
        /// What was under way.
        doing: &'static str,
        /// What the client library says.
        why: String,
    },
    /// What is stored cannot be what this program wrote.
    #[error("the graph holds {0}, which this program did not write: restore it from an export")]
    Damaged(String),
    /// An export could not be written.
    #[error("the export cannot be written: {0}")]
    Export(#[from] std::io::Error),
}

impl GraphError {
    /// The engine is at fault, not what was asked: asking again later may succeed, and a breaker counts it. A change under
    /// way is then in the graph as a whole or not at all; applying it again tells.
    #[must_use]
    pub const fn is_unavailable(&self) -> bool {
        matches!(self, Self::Store(_) | Self::Away { .. })
    }
}
