//! Which nodes are the same computation.
//!
//! The public id leaves out inputs, tags, interval and period, so two feeds share one id. Work is therefore shared by an
//! *identity*: SHA-256 over everything that the values of a node depend on, every part with its length before it. Whatever
//! cannot be known for sure makes a node *private*: its identity holds the strategy's id, and so is nobody else's.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::canonical::canonical_json;
use crate::model::{Dag, Node};
use crate::node_id::{EMPTY_CONFIG_HASH, Verification};
use crate::order::Order;

/// What two nodes have in common exactly when one can be read instead of the other.
pub type Identity = [u8; 32];

/// Domains of the hashes: no input of one is an input of the other.
const IDENTITY: &str = "ringfence/compute-identity/1";
const FAMILY: &str = "ringfence/compute-family/1";

/// What a run is for. Values of one domain are never read in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExecutionDomain {
    /// Over the past.
    Backtest,
    /// Over the present, without orders.
    DryRun,
    /// With orders.
    Live,
}

impl ExecutionDomain {
    /// In JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Backtest => "backtest",
            Self::DryRun => "dry-run",
            Self::Live => "live",
        }
    }
}

/// For whom identities are computed.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The strategy: what it computes for itself alone holds this id.
    pub strategy_id: &'a str,
    /// What it runs for.
    pub domain: ExecutionDomain,
}

/// Whether others may read a node's values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Everybody with the same identity.
    Shared,
    /// Nobody but its strategy.
    Private(PrivateReason),
}

/// Why nobody else may read a node's values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrivateReason {
    /// Its id could not be verified.
    Unverified,
    /// This fingerprint is missing.
    MissingFingerprint(&'static str),
    /// It lists dependencies that are not its inputs.
    OtherDependencies,
    /// This input's id is several different nodes of the DAG.
    AmbiguousInput(String),
    /// This input is private itself.
    PrivateInput(String),
}

impl fmt::Display for PrivateReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unverified => f.write_str("its id cannot be verified without `config_hash`"),
            Self::MissingFingerprint(name) => write!(f, "it has no `{name}`"),
            Self::OtherDependencies => f.write_str("its `dependencies` are not its `inputs`"),
            Self::AmbiguousInput(id) => {
                write!(f, "its input {} is several different nodes of this DAG", crate::error::clip(id))
            }
            Self::PrivateInput(id) => write!(f, "its input {} is not shared", crate::error::clip(id)),
        }
    }
}

/// What a node is to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeIdentity {
    /// The node's.
    pub identity: Identity,
    /// The same without the schema hash but with `schema_compat_id`, where the node has one and is shared: two nodes of one
    /// family differ by a compatible change of the schema.
    pub family: Option<Identity>,
    /// Who may read its values.
    pub sharing: Sharing,
}

/// Identities of all nodes, as they stand in [`Dag::nodes`]. `order` and `verified` are those of this DAG.
#[must_use]
pub fn identities(
    dag: &Dag,
    order: &Order,
    verified: &[Verification],
    scope: &Scope<'_>,
) -> Vec<NodeIdentity> {
    let mut found: Vec<Option<NodeIdentity>> = vec![None; dag.nodes().len()];
    let mut inputs: Vec<Option<Input>> = vec![None; dag.groups().len()];
    for index in order.indices().iter().copied() {
        for group in dag.input_groups(index) {
            inputs[*group].get_or_insert_with(|| Input::of(&dag.groups()[*group], &found));
        }
        let node = &dag.nodes()[index];
        let read: Vec<&Input> =
            dag.input_groups(index).iter().filter_map(|group| inputs[*group].as_ref()).collect();
        let sharing = match private_reason(node, verified.get(index), &read) {
            Some(reason) => Sharing::Private(reason),
            None => Sharing::Shared,
        };
        let is_shared = sharing == Sharing::Shared;
        let salt = (!is_shared).then_some(scope.strategy_id);
        let schema = node.schema_hash.as_deref();
        let compatible = node.schema_compat_id.as_deref().filter(|_| is_shared);
        found[index] = Some(NodeIdentity {
            identity: hash(IDENTITY, node, schema, &read, scope.domain, salt),
            family: compatible.map(|id| hash(FAMILY, node, Some(id), &read, scope.domain, None)),
            sharing,
        });
    }
    found.into_iter().flatten().collect()
}

/// As 64 lower hex digits.
#[must_use]
pub fn hex(bytes: &[u8; 32]) -> String {
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// What an id stands for as an input.
#[derive(Clone)]
struct Input {
    /// The node's, or a hash over those of all the nodes of this id.
    identity: Identity,
    is_ambiguous: bool,
    is_shared: bool,
}

impl Input {
    /// Of the nodes of one id; those that read it come after all of them.
    fn of(members: &[usize], found: &[Option<NodeIdentity>]) -> Self {
        let members: Vec<&NodeIdentity> = members.iter().filter_map(|index| found[*index].as_ref()).collect();
        let mut distinct: Vec<&Identity> = members.iter().map(|member| &member.identity).collect();
        distinct.sort_unstable();
        distinct.dedup();
        let is_shared = members.iter().all(|member| member.sharing == Sharing::Shared);
        match distinct[..] {
            [one] => Self { identity: *one, is_ambiguous: false, is_shared },
            _ => {
                let mut hash = Sha256::new();
                distinct.iter().for_each(|identity| hash.update(identity));
                Self { identity: hash.finalize().into(), is_ambiguous: true, is_shared }
            }
        }
    }
}

fn private_reason(
    node: &Node,
    verification: Option<&Verification>,
    inputs: &[&Input],
) -> Option<PrivateReason> {
    if verification != Some(&Verification::Verified) {
        return Some(PrivateReason::Unverified);
    }
    for (name, hash) in [("code_hash", &node.code_hash), ("schema_hash", &node.schema_hash)] {
        if hash.is_none() {
            return Some(PrivateReason::MissingFingerprint(name));
        }
    }
    if let Some(dependencies) = &node.dependencies {
        let sorted = |ids: &[String]| {
            let mut ids = ids.to_vec();
            ids.sort_unstable();
            ids
        };
        if sorted(dependencies) != sorted(&node.inputs) {
            return Some(PrivateReason::OtherDependencies);
        }
    }
    let input =
        |is: fn(&Input) -> bool| inputs.iter().position(|input| is(input)).map(|at| node.inputs[at].clone());
    input(|input| input.is_ambiguous)
        .map(PrivateReason::AmbiguousInput)
        .or_else(|| input(|input| !input.is_shared).map(PrivateReason::PrivateInput))
}

/// The parts, in the order that docs/node-ids.md gives them in.
fn hash(
    domain: &str,
    node: &Node,
    schema: Option<&str>,
    inputs: &[&Input],
    run: ExecutionDomain,
    salt: Option<&str>,
) -> Identity {
    let mut parts = Parts(Sha256::new());
    parts.text(domain);
    parts.text(&node.node_type);
    parts.maybe(node.code_hash.as_deref());
    // An empty configuration is one, however a client says it.
    parts.text(node.config_hash.as_deref().filter(|hash| !hash.is_empty()).unwrap_or(EMPTY_CONFIG_HASH));
    parts.maybe(node.params.as_ref().filter(|_| node.tag_query.is_none()).map(canonical_json).as_deref());
    parts.maybe(schema);
    parts.number(node.interval_s);
    parts.number(node.period);
    let mut tags: Vec<&str> = node.tags.iter().map(String::as_str).filter(|_| node.is_source()).collect();
    tags.sort_unstable();
    tags.dedup();
    parts.list(&tags);
    match &node.tag_query {
        None => parts.count(0),
        Some(query) => {
            parts.count(1);
            parts.list(&query.tags.iter().map(String::as_str).collect::<Vec<_>>());
            parts.text(query.mode.name());
            parts.number(query.interval_s);
        }
    }
    parts.count(inputs.len());
    inputs.iter().for_each(|input| parts.0.update(input.identity));
    parts.text(run.name());
    parts.maybe(salt);
    parts.0.finalize().into()
}

/// Feeds a hash so that no two lists of parts look alike.
struct Parts(Sha256);

impl Parts {
    /// 8 bytes, the most significant one first.
    fn count(&mut self, count: usize) {
        self.0.update((count as u64).to_be_bytes());
    }

    /// How many bytes, and the bytes.
    fn text(&mut self, text: &str) {
        self.count(text.len());
        self.0.update(text);
    }

    /// A list of none or one.
    fn maybe(&mut self, text: Option<&str>) {
        self.list(text.as_slice());
    }

    /// A list of none or one, in decimal.
    fn number(&mut self, number: Option<u32>) {
        self.maybe(number.map(|number| number.to_string()).as_deref());
    }

    /// How many, and each of them.
    fn list(&mut self, texts: &[&str]) {
        self.count(texts.len());
        texts.iter().for_each(|text| self.text(text));
    }
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
