//! What a node must be called, by all that its client says about it.
//!
//! | id | SHA-256 of | |
//! |---|---|---|
//! | 64 lower hex digits | `node_type:code_hash:config_hash:schema_hash` | or SHA3-256, which a client takes when the id is bound to another node already |
//! | `blake3:` and 64 | BLAKE3 of `node_type\|interval\|period\|params\|dependencies\|schema_compat_id\|code_hash` | of today's public SDK |
//!
//! An id proves nothing about who computes what: it is a name that everybody spells alike. What is shared is decided by
//! [`identities`](crate::identities).

use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sha3::Sha3_256;

use crate::canonical::canonical_json_without;
use crate::identity::hex;
use crate::model::{Dag, Node};

/// SHA-256 of `{}`: the `config_hash` of a node without a configuration.
pub const EMPTY_CONFIG_HASH: &str = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

const CANONICAL_PREFIX: &str = "blake3:";
/// Configuration that says where and when a node runs, not what it computes: no part of a canonical id.
const LEFT_OUT: [&str; 13] = [
    "world",
    "world_id",
    "world_ids",
    "execution_world",
    "execution_domain",
    "domain",
    "domains",
    "as_of",
    "partition",
    "dataset_fingerprint",
    "timestamp",
    "seed",
    "random_state",
];
/// The same by how keys begin.
const LEFT_OUT_BEGIN: [&str; 4] = ["world", "execution_", "domain", "env"];

/// What to do with a 64-digit id whose node has no `config_hash`, and that is not the id of an empty configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissingConfigHash {
    /// Take it, and never share the node.
    #[default]
    AcceptUnverified,
    /// Refuse it.
    Strict,
}

/// Whether an id says what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verification {
    /// It is the id of this node.
    Verified,
    /// Nobody can tell, because the node has no `config_hash`.
    Unverified,
}

/// An id that is not that of its node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    /// Which node of the DAG, from 0.
    pub index: usize,
    /// What it is called.
    pub node_id: String,
    /// What it would have to be called.
    pub expected: String,
    /// What else may help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<&'static str>,
}

/// Compares the id of every node with what it should be.
///
/// # Errors
/// All that differ.
pub fn verify(dag: &Dag, policy: MissingConfigHash) -> Result<Vec<Verification>, Vec<Mismatch>> {
    let mut verified = Vec::with_capacity(dag.nodes().len());
    let mut mismatches = Vec::new();
    for (index, node) in dag.nodes().iter().enumerate() {
        match check(node, policy) {
            Ok(verification) => verified.push(verification),
            Err((expected, hint)) => {
                mismatches.push(Mismatch { index, node_id: node.node_id.clone(), expected, hint });
            }
        }
    }
    if mismatches.is_empty() { Ok(verified) } else { Err(mismatches) }
}

/// The id of these parts by SHA-256.
#[must_use]
pub fn sha2_id(node_type: &str, code_hash: &str, config_hash: &str, schema_hash: &str) -> String {
    hex(&Sha256::digest(parts(node_type, code_hash, config_hash, schema_hash)).into())
}

/// The id of these parts by SHA3-256.
#[must_use]
pub fn sha3_id(node_type: &str, code_hash: &str, config_hash: &str, schema_hash: &str) -> String {
    hex(&Sha3_256::digest(parts(node_type, code_hash, config_hash, schema_hash)).into())
}

/// The canonical id that the public SDK gives this node.
#[must_use]
pub fn canonical_id(node: &Node) -> String {
    canonical_id_without(node, &|key| {
        let key = key.to_lowercase();
        LEFT_OUT.contains(&key.as_str()) || key == "env" || key.starts_with("env_")
    })
}

fn parts(node_type: &str, code_hash: &str, config_hash: &str, schema_hash: &str) -> String {
    format!("{node_type}:{code_hash}:{config_hash}:{schema_hash}")
}

fn check(node: &Node, policy: MissingConfigHash) -> Result<Verification, (String, Option<&'static str>)> {
    let id = node.node_id.as_str();
    if id.starts_with(CANONICAL_PREFIX) {
        let expected = canonical_id(node);
        // A client may leave out whatever begins like one of these keys.
        let by_beginning = |key: &str| {
            let key = key.to_lowercase();
            LEFT_OUT.contains(&key.as_str()) || LEFT_OUT_BEGIN.iter().any(|begin| key.starts_with(begin))
        };
        let matches = id == expected || id == canonical_id_without(node, &by_beginning);
        return if matches { Ok(Verification::Verified) } else { Err((expected, None)) };
    }
    let code = node.code_hash.as_deref().unwrap_or_default();
    let schema = node.schema_hash.as_deref().unwrap_or_default();
    let is_of = |config: &str| {
        [sha2_id, sha3_id].into_iter().any(|make| id == make(&node.node_type, code, config, schema))
    };
    let config = node.config_hash.as_deref();
    let expected = || sha2_id(&node.node_type, code, config.unwrap_or(EMPTY_CONFIG_HASH), schema);
    match config {
        Some(config) if is_of(config) => Ok(Verification::Verified),
        Some(_) => Err((expected(), None)),
        None if is_of(EMPTY_CONFIG_HASH) || is_of("") => Ok(Verification::Verified),
        None if !looks_hashed(id) => {
            Err((expected(), Some("a node id is 64 lower hex digits, or `blake3:` and 64")))
        }
        None => match policy {
            MissingConfigHash::AcceptUnverified => Ok(Verification::Unverified),
            MissingConfigHash::Strict => Err((expected(), Some("the node has no `config_hash`: send it"))),
        },
    }
}

fn looks_hashed(id: &str) -> bool {
    id.len() == 64 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn canonical_id_without(node: &Node, left_out: &dyn Fn(&str) -> bool) -> String {
    let query = node.tag_query.as_ref().map(|query| {
        json!({"interval": query.interval_s, "match_mode": query.mode.name(), "query_tags": query.tags})
    });
    let params = query.as_ref().or(node.params.as_ref()).unwrap_or(&Value::Null);
    let mut dependencies = node.dependencies.as_ref().unwrap_or(&node.inputs).clone();
    dependencies.retain(|dependency| !dependency.is_empty());
    dependencies.sort_unstable();
    let preimage = [
        &node.node_type,
        &node.interval_s.unwrap_or(0).to_string(),
        &node.period.unwrap_or(0).to_string(),
        &canonical_json_without(params, left_out),
        &dependencies.join(","),
        node.schema_compat_id.as_deref().unwrap_or_default(),
        node.code_hash.as_deref().unwrap_or_default(),
    ]
    .join("|");
    format!("{CANONICAL_PREFIX}{}", hex(blake3::hash(preimage.as_bytes()).as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;

    const NULL_HASH: &str = "74234e98afe7498fb5daf1f36ac2d78acc339464f950703b8c019892f982b90b";

    fn dag(nodes: Value) -> Dag {
        Dag::parse(json!({ "nodes": nodes }).to_string().as_bytes(), &Limits::default()).unwrap()
    }

    fn one(node: Value) -> Dag {
        dag(json!([node]))
    }

    fn seed_era(node_type: &str, id: &str) -> Value {
        json!({"node_id": id, "node_type": node_type, "code_hash": NULL_HASH, "schema_hash": EMPTY_CONFIG_HASH})
    }

    fn expected(node: Value) -> String {
        canonical_id(&one(node).nodes()[0])
    }

    #[test]
    fn the_vectors_of_the_clients() {
        assert_eq!(
            sha2_id("A", "B", "C", "D"),
            "4c8afa343bf81087526952c3a5c0708eb25d9fbe060abdc201c39162d32ce277"
        );
        assert_eq!(
            sha3_id("A", "B", "C", "D"),
            "9d627d2c42c2d11152d87ee053088ba2b09b20eb4c8fd14f479b3075affffa8c"
        );
        assert_eq!(hex(&Sha256::digest("{}").into()), EMPTY_CONFIG_HASH);
        assert_eq!(hex(&Sha256::digest("null").into()), NULL_HASH);
        let stream = "f4aa3c6a83065055892dbf3cdaa51f349c6aa98eda72e002f4e0b47df70db30e";
        assert_eq!(sha2_id("StreamInput", NULL_HASH, EMPTY_CONFIG_HASH, EMPTY_CONFIG_HASH), stream);
        let query = "b40a67ab3a6af447a49a42f5b1270b45bb724fa183c55e40840d9ac85b08251f";
        assert_eq!(sha2_id("TagQueryNode", NULL_HASH, EMPTY_CONFIG_HASH, EMPTY_CONFIG_HASH), query);
    }

    #[test]
    fn the_canonical_vector() {
        let node = json!({"node_id": "x", "node_type": "ProcessingNode", "interval": 60, "period": 5, "inputs": [],
            "params": {"window": 5}, "dependencies": ["blake3:b", "blake3:a"], "schema_compat_id": "s1",
            "code_hash": "c1", "schema_hash": "any"});
        let vector = "blake3:838d4409b808fc6a2e28de07c750d3753b219363a0d05f3a7111451877f348b7";
        assert_eq!(expected(node.clone()), vector);
        let mut named = node;
        named["node_id"] = vector.into();
        assert_eq!(verify(&one(named), MissingConfigHash::Strict), Ok(vec![Verification::Verified]));
    }

    #[test]
    fn a_given_config_hash_must_match_by_either_hash() {
        let node = |id: String| json!({"node_id": id, "node_type": "A", "code_hash": "B", "config_hash": "C", "schema_hash": "D"});
        for id in [sha2_id("A", "B", "C", "D"), sha3_id("A", "B", "C", "D")] {
            assert_eq!(verify(&one(node(id)), MissingConfigHash::Strict), Ok(vec![Verification::Verified]));
        }
        for id in ["0".repeat(64), sha2_id("A", "B", "C", "D").to_uppercase(), "A".to_owned()] {
            let mismatch = verify(&one(node(id.clone())), MissingConfigHash::AcceptUnverified).unwrap_err();
            assert_eq!(mismatch[0].expected, sha2_id("A", "B", "C", "D"), "{id}");
        }
    }

    #[test]
    fn without_a_config_hash_the_empty_one_is_tried_before_the_policy() {
        for policy in [MissingConfigHash::AcceptUnverified, MissingConfigHash::Strict] {
            for config in ["", EMPTY_CONFIG_HASH] {
                let id = sha2_id("StreamInput", NULL_HASH, config, EMPTY_CONFIG_HASH);
                let node = one(seed_era("StreamInput", &id));
                assert_eq!(verify(&node, policy), Ok(vec![Verification::Verified]));
            }
        }
        let other = one(seed_era("StreamInput", &"ab".repeat(32)));
        assert_eq!(verify(&other, MissingConfigHash::AcceptUnverified), Ok(vec![Verification::Unverified]));
        let refused = verify(&other, MissingConfigHash::Strict).unwrap_err();
        assert!(refused[0].hint.unwrap().contains("config_hash"));
        let named = one(seed_era("StreamInput", "my-node"));
        let refused = verify(&named, MissingConfigHash::AcceptUnverified).unwrap_err();
        assert!(refused[0].hint.unwrap().contains("64 lower hex digits"));
    }

    #[test]
    fn all_mismatches_are_told_at_once() {
        let good = sha2_id("StreamInput", NULL_HASH, EMPTY_CONFIG_HASH, EMPTY_CONFIG_HASH);
        let nodes = [good.as_str(), "blake3:0", "nonsense"].map(|id| seed_era("StreamInput", id));
        let refused = verify(&dag(json!(nodes)), MissingConfigHash::AcceptUnverified).unwrap_err();
        assert_eq!(refused.iter().map(|one| one.index).collect::<Vec<_>>(), [1, 2]);
        let told = serde_json::to_value(&refused[0]).unwrap();
        assert_eq!(told["node_id"], "blake3:0");
        assert!(told["expected"].as_str().unwrap().starts_with("blake3:") && told.get("hint").is_none());
    }

    #[test]
    fn what_says_where_a_node_runs_is_no_part_of_a_canonical_id_at_any_level() {
        let with = |params: Value| {
            expected(
                json!({"node_id": "x", "node_type": "P", "params": params, "code_hash": "c", "schema_hash": "s"}),
            )
        };
        let plain = with(json!({"a": [{"b": 1.0}]}));
        let noise = json!({"world_id": "w", "Execution_Domain": "live", "env_home": "/", "a": [{"b": 1.0, "seed": 1,
            "as_of": "x", "partition": 1, "dataset_fingerprint": "f", "timestamp": 2, "random_state": 3, "domain": "d"}]});
        assert_eq!(with(noise), plain);
        assert_ne!(with(json!({"a": [{"b": 1}]})), plain, "1.0 and 1 are two spellings");
        assert_ne!(
            with(json!({"a": [{"b": 1.0, "environment": "x"}]})),
            plain,
            "the public SDK keeps this key"
        );
    }

    #[test]
    fn an_id_made_without_every_key_that_begins_so_is_taken_too() {
        let node = |id: &str, params: Value| {
            one(
                json!({"node_id": id, "node_type": "P", "params": params, "code_hash": "c", "schema_hash": "s"}),
            )
        };
        let id = canonical_id(&node("x", json!({"a": 1})).nodes()[0]);
        let noisy = node(
            &id,
            json!({"a": 1, "environment": "x", "worlds": [], "execution_mode": "m", "domain_x": 1}),
        );
        assert_eq!(verify(&noisy, MissingConfigHash::Strict), Ok(vec![Verification::Verified]));
        assert!(verify(&node(&id, json!({"a": 1, "b": 2})), MissingConfigHash::Strict).is_err());
    }

    #[test]
    fn a_tag_query_is_called_by_what_it_asks_for() {
        let query = |more: Value| {
            let mut node = json!({"node_id": "x", "node_type": "TagQueryNode", "interval": 60, "period": 2,
                "code_hash": "c", "schema_hash": "s", "tags": ["b", "a", "b"]});
            node.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            expected(node)
        };
        let preimage = r#"TagQueryNode|60|2|{"interval":60,"match_mode":"any","query_tags":["a","b"]}|||c"#;
        let plain = format!("blake3:{}", blake3::hash(preimage.as_bytes()).to_hex());
        assert_eq!(query(json!({})), plain);
        assert_eq!(query(json!({"match_mode": "ANY"})), plain);
        assert_eq!(query(json!({"tags": [], "query_tags": ["b", "a"]})), plain);
        assert_eq!(
            query(json!({"tags": ["z"], "params": {"query_tags": ["b", "a"], "match_mode": "any"}})),
            plain
        );
        assert_ne!(query(json!({"match_mode": "all"})), plain);
        assert_ne!(query(json!({"tags": ["a"]})), plain);
    }
}
