use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{Limits, MissingConfigHash, topological_order, verify};

const LIVE: Scope<'_> = Scope { strategy_id: "s-1", domain: ExecutionDomain::Live };

fn dag(nodes: &[Value]) -> Dag {
    Dag::parse(json!({ "nodes": nodes }).to_string().as_bytes(), &Limits::default()).unwrap()
}

/// Identities where every id is taken as verified.
fn trusted(nodes: &[Value], scope: &Scope<'_>) -> Vec<NodeIdentity> {
    let dag = dag(nodes);
    let verified = vec![Verification::Verified; nodes.len()];
    identities(&dag, &topological_order(&dag).unwrap(), &verified, scope)
}

fn feed() -> Value {
    json!({"node_id": "feed", "node_type": "StreamInput", "name": "btc", "interval": 60, "period": 1,
        "tags": ["btc", "spot"], "inputs": [], "code_hash": "c", "schema_hash": "s", "config_hash": "f"})
}

fn mean(inputs: &[&str]) -> Value {
    json!({"node_id": "mean", "node_type": "ProcessingNode", "name": "mean", "interval": 60, "period": 5, "inputs": inputs,
        "code_hash": "c1", "schema_hash": "s1", "config_hash": "f1", "params": {"window": 5}, "schema_compat_id": "v1"})
}

fn with(mut node: Value, field: &str, value: impl Into<Value>) -> Value {
    node[field] = value.into();
    node
}

fn named(node: Value, id: &str) -> Value {
    with(node, "node_id", id)
}

fn identity_of(nodes: &[Value]) -> Identity {
    trusted(nodes, &LIVE).last().unwrap().identity
}

#[test]
fn the_vectors_of_the_documentation() {
    let found = trusted(&[feed(), mean(&["feed"])], &LIVE);
    assert_eq!(hex(&found[0].identity), "948f90e411c2c2ebe76cb8f0a9977d1dbaf0facb7bea5e2b006c5dc09157885f");
    assert_eq!(hex(&found[1].identity), "e5ff4f6036e23d27b6e4d0ba4b6e0ab354026c01fa0fd72095e181f3599dbaa6");
    assert_eq!(
        hex(&found[1].family.unwrap()),
        "0bbd72d4f3c6bfb2ff9f62a822fcd6d305cb2f6bda39c766be74880fe62af730"
    );
    let alone = trusted(&[with(feed(), "code_hash", Value::Null)], &LIVE);
    assert_eq!(hex(&alone[0].identity), "e56d76280b086928787e5fbb82ef6623bbb60d7cc9e9c1dd00e6ddb6004de9bd");
    let query = json!({"node_id": "q", "node_type": "TagQueryNode", "interval": 60, "tags": ["b", "a"], "code_hash": "c",
        "schema_hash": "s"});
    assert_eq!(
        hex(&identity_of(&[query])),
        "b6d359d4a4b2ecf40690d69db66a4ab9e0ea0dc619c4a7fda7dda66786fcbc9b"
    );
}

#[test]
fn any_single_field_changed_changes_the_identity() {
    let base = identity_of(&[feed()]);
    let changes: [(&str, Value); 9] = [
        ("node_type", "OtherInput".into()),
        ("code_hash", "c2".into()),
        ("config_hash", "f2".into()),
        ("schema_hash", "s2".into()),
        ("interval", 61.into()),
        ("interval", Value::Null),
        ("period", 2.into()),
        ("tags", json!(["eth", "spot"])),
        ("params", json!({"venue": "a"})),
    ];
    for (field, value) in changes {
        assert_ne!(identity_of(&[with(feed(), field, value.clone())]), base, "{field} {value}");
    }
    for domain in [ExecutionDomain::Backtest, ExecutionDomain::DryRun] {
        assert_ne!(trusted(&[feed()], &Scope { domain, ..LIVE })[0].identity, base, "{}", domain.name());
    }
    let read = identity_of(&[feed(), mean(&["feed"])]);
    assert_ne!(
        identity_of(&[with(feed(), "tags", json!(["eth"])), mean(&["feed"])]),
        read,
        "the input's tags"
    );
    assert_ne!(identity_of(&[feed(), mean(&[])]), read, "no input");
    assert_ne!(identity_of(&[feed(), mean(&["feed", "feed"])]), read, "an input twice");
}

#[test]
fn what_changes_no_value_changes_no_identity() {
    let base = identity_of(&[feed(), mean(&["feed"])]);
    assert_eq!(identity_of(&[named(feed(), "other"), named(mean(&["other"]), "x")]), base, "ids are names");
    assert_eq!(identity_of(&[feed(), with(mean(&["feed"]), "name", "n")]), base);
    assert_eq!(
        identity_of(&[feed(), with(mean(&["feed"]), "tags", json!(["t"]))]),
        base,
        "labels of what is computed"
    );
    assert_eq!(identity_of(&[feed(), with(mean(&["feed"]), "pre_warmup", true)]), base);
    assert_eq!(identity_of(&[with(feed(), "tags", json!(["spot", "btc", "spot"])), mean(&["feed"])]), base);
    let other = Scope { strategy_id: "s-2", ..LIVE };
    assert_eq!(trusted(&[feed(), mean(&["feed"])], &other)[1].identity, base, "whose strategy it is");
    assert_eq!(
        identity_of(&[with(feed(), "config_hash", Value::Null)]),
        identity_of(&[with(feed(), "config_hash", EMPTY_CONFIG_HASH)]),
        "an empty configuration is one"
    );
}

#[test]
fn the_order_of_inputs_counts() {
    let (a, b) = (named(feed(), "a"), with(named(feed(), "b"), "tags", json!(["eth"])));
    let of = |inputs: &[&str]| identity_of(&[a.clone(), b.clone(), mean(inputs)]);
    assert_ne!(of(&["a", "b"]), of(&["b", "a"]));
}

#[test]
fn a_tag_query_is_what_it_asks_for() {
    let query = |tags: Value, mode: &str| {
        identity_of(&[json!({"node_id": "q", "node_type": "TagQueryNode", "interval": 60, "tags": tags,
            "match_mode": mode, "code_hash": "c", "schema_hash": "s"})])
    };
    assert_eq!(query(json!(["a", "b"]), "any"), query(json!(["b", "a", "b"]), "ANY"));
    assert_ne!(query(json!(["a", "b"]), "any"), query(json!(["a", "b"]), "all"));
    assert_ne!(query(json!(["a", "b"]), "any"), query(json!(["a"]), "any"));
    assert_ne!(query(json!([]), "any"), query(json!(["a"]), "any"));
}

#[test]
fn a_family_outlives_a_change_of_the_schema_only() {
    let of = |node: Value| trusted(&[feed(), node], &LIVE).pop().unwrap();
    let (base, changed) = (of(mean(&["feed"])), of(with(mean(&["feed"]), "schema_hash", "s2")));
    assert_ne!(base.identity, changed.identity);
    assert_eq!(base.family, changed.family);
    assert!(base.family.is_some_and(|family| family != base.identity));
    assert_ne!(of(with(mean(&["feed"]), "schema_compat_id", "v2")).family, base.family);
    assert_ne!(of(with(mean(&["feed"]), "code_hash", "c2")).family, base.family);
    assert_eq!(of(with(mean(&["feed"]), "schema_compat_id", Value::Null)).family, None);
}

/// The reason of the last node, after it was seen that two strategies do not meet.
fn private(nodes: &[Value]) -> PrivateReason {
    let [one, other] = ["s-1", "s-2"].map(|strategy_id| trusted(nodes, &Scope { strategy_id, ..LIVE }));
    let (one, other) = (one.last().unwrap(), other.last().unwrap());
    assert_ne!(one.identity, other.identity);
    assert_eq!((one.family, other.family), (None, None));
    assert_eq!(one.sharing, other.sharing);
    match &one.sharing {
        Sharing::Private(reason) => reason.clone(),
        Sharing::Shared => panic!("shared"),
    }
}

#[test]
fn one_id_with_two_identities_is_two_nodes_and_hides_its_reader() {
    let two = [feed(), with(feed(), "interval", 300), mean(&["feed"])];
    let found = trusted(&two, &LIVE);
    assert_ne!(found[0].identity, found[1].identity);
    assert_eq!((&found[0].sharing, &found[1].sharing), (&Sharing::Shared, &Sharing::Shared));
    assert_eq!(private(&two), PrivateReason::AmbiguousInput("feed".to_owned()));
    let again = with(named(mean(&["mean"]), "next"), "period", 7);
    let reader = [&two[..], &[again]].concat();
    assert_eq!(
        private(&reader),
        PrivateReason::PrivateInput("mean".to_owned()),
        "and whoever reads that one"
    );
}

#[test]
fn a_node_that_is_listed_twice_is_one() {
    let found = trusted(&[feed(), feed(), mean(&["feed"])], &LIVE);
    assert_eq!(found[0], found[1]);
    assert_eq!(found[2], trusted(&[feed(), mean(&["feed"])], &LIVE)[1]);
}

#[test]
fn what_cannot_be_known_is_never_shared() {
    for hash in ["code_hash", "schema_hash"] {
        for none in [Value::Null, "".into()] {
            assert_eq!(private(&[with(feed(), hash, none)]), PrivateReason::MissingFingerprint(hash));
        }
    }
    let other = with(mean(&["feed"]), "dependencies", json!(["elsewhere"]));
    assert_eq!(private(&[feed(), other]), PrivateReason::OtherDependencies);
    let same = with(mean(&["feed"]), "dependencies", json!(["feed"]));
    assert_eq!(trusted(&[feed(), same], &LIVE)[1].sharing, Sharing::Shared);
}

#[test]
fn an_unverified_id_is_never_shared() {
    let node = json!({"node_id": "ab".repeat(32), "node_type": "P", "code_hash": "c", "schema_hash": "s"});
    let dag = dag(&[node]);
    let verified = verify(&dag, MissingConfigHash::AcceptUnverified).unwrap();
    let order = topological_order(&dag).unwrap();
    let found = identities(&dag, &order, &verified, &LIVE);
    assert_eq!(found[0].sharing, Sharing::Private(PrivateReason::Unverified));
    let other = identities(&dag, &order, &verified, &Scope { strategy_id: "s-2", ..LIVE });
    assert_ne!(found[0].identity, other[0].identity);
    assert_eq!(identities(&dag, &order, &[], &LIVE)[0].sharing, found[0].sharing, "nobody verified it");
}

fn any_node() -> impl Strategy<Value = Value> {
    let word = || "[a-z|:,0-9]{1,3}";
    let hash = || proptest::option::of(word());
    let number = || proptest::option::of(1..4_u32);
    let parts = (word(), word(), hash(), word(), number(), number());
    (parts, proptest::collection::vec("[ab]{1,2}", 0..3), proptest::option::of(0..3_i64)).prop_map(
        |((kind, code, config, schema, interval, period), tags, params)| {
            json!({"node_id": "n", "node_type": kind, "code_hash": code, "config_hash": config, "schema_hash": schema,
                "interval": interval, "period": period, "tags": tags, "params": params.map(|p| json!({"p": p}))})
        },
    )
}

/// What the identity of a source is over, as a value that can be compared.
fn meaning(node: &Value) -> Value {
    let mut node = node.clone();
    let mut tags: Vec<String> = serde_json::from_value(node["tags"].take()).unwrap();
    tags.sort();
    tags.dedup();
    node["tags"] = tags.into();
    node
}

proptest! {
    /// Small alphabets, with the separators of the public ids among them, so that parts could flow into each other.
    #[test]
    fn two_sources_have_one_identity_exactly_when_they_say_the_same(a in any_node(), b in any_node()) {
        let same = meaning(&a) == meaning(&b);
        prop_assert_eq!(identity_of(&[a]) == identity_of(&[b]), same);
    }

    #[test]
    fn a_private_identity_is_nobody_elses(node in any_node(), one in "[a-c]{0,3}", other in "[a-c]{0,3}") {
        let of = |strategy_id: &str, node: &Value| {
            trusted(std::slice::from_ref(node), &Scope { strategy_id, ..LIVE })[0].identity
        };
        let hidden = with(node.clone(), "dependencies", json!(["elsewhere"]));
        let hidden = with(hidden, "inputs", json!([]));
        prop_assert_eq!(of(&one, &hidden) == of(&other, &hidden), one == other);
        prop_assert_ne!(of(&one, &hidden), of(&one, &node));
    }
}
