//! What can be said about a strategy's DAG without asking anybody: whether it can be used, what its nodes are called,
//! which of them are the same computation as somebody else's, in which order they run, where their values go, and what
//! is left to compute when one knows what others compute already.
//!
//! ```
//! use ringfence_dag::{
//!     Dag, ExecutionDomain, Limits, MissingConfigHash, Scope, diff, identities, topological_order, verify,
//! };
//!
//! let json = br#"{"nodes": [{"node_id": "f4aa3c6a83065055892dbf3cdaa51f349c6aa98eda72e002f4e0b47df70db30e",
//!     "node_type": "StreamInput", "interval": 60, "period": 5, "tags": ["btc"], "inputs": [],
//!     "code_hash": "74234e98afe7498fb5daf1f36ac2d78acc339464f950703b8c019892f982b90b",
//!     "schema_hash": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}]}"#;
//! let dag = Dag::parse(json, &Limits::default())?;
//! let verified = verify(&dag, MissingConfigHash::Strict).expect("its id is the one of its parts");
//! let order = topological_order(&dag)?;
//! let scope = Scope { strategy_id: "s-1", domain: ExecutionDomain::Live };
//! let identities = identities(&dag, &order, &verified, &scope);
//! let nobody = |_: &ringfence_dag::Identity| None;
//! let plan = diff(&dag, &order, &identities, &nobody, &nobody, 0);
//! assert!(plan.nodes[0].topic.starts_with("streaminput-"));
//! # Ok::<(), ringfence_dag::DagError>(())
//! ```
//!
//! docs/node-ids.md writes all of it down for somebody who builds a client.

#![forbid(unsafe_code)]

mod canonical;
mod checksum;
mod error;
mod fields;
mod identity;
mod json;
mod model;
mod node_id;
mod order;
mod plan;
mod topic;

pub use canonical::{canonical_json, python_float_repr};
pub use checksum::crc32;
pub use error::{DagError, Loc, SchemaIssue};
pub use identity::{ExecutionDomain, Identity, NodeIdentity, PrivateReason, Scope, Sharing, hex, identities};
pub use json::MAX_DEPTH;
pub use model::{Dag, Limits, MatchMode, Node, TagQuery};
pub use node_id::{
    EMPTY_CONFIG_HASH, Mismatch, MissingConfigHash, Verification, canonical_id, sha2_id, sha3_id, verify,
};
pub use order::{Order, topological_order};
pub use plan::{Action, Known, MAX_BUFFER_AGE_MS, NodePlan, Plan, QueueEntry, diff};
pub use topic::{TopicClass, topic_name};
