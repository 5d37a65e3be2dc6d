use serde_json::json;

use super::*;
use crate::SchemaIssue;

fn parse(value: &Value) -> Result<Dag, DagError> {
    Dag::parse(value.to_string().as_bytes(), &Limits::default())
}

fn node() -> Value {
    json!({"node_id": "a", "node_type": "P", "name": "n", "interval": 60, "period": 5, "tags": ["x.y-z_1"], "inputs": [],
        "code_hash": "c", "schema_hash": "s", "config_hash": "f", "pre_warmup": true})
}

fn issues(value: &Value) -> Vec<SchemaIssue> {
    match parse(value) {
        Err(DagError::Schema(issues)) => issues,
        other => panic!("{other:?}"),
    }
}

/// What is wrong with a node that has `field` changed to `value`, as `type at place`.
fn wrong(field: &str, value: impl Into<Value>) -> String {
    let mut node = node();
    node[field] = value.into();
    let issues = issues(&json!({"nodes": [node]}));
    assert_eq!(issues.len(), 1, "{issues:?}");
    let told = serde_json::to_value(&issues[0]).unwrap();
    assert!(!told["msg"].as_str().unwrap().is_empty());
    format!("{} at {}", told["type"].as_str().unwrap(), told["loc"])
}

#[test]
fn a_node_is_read_as_it_was_sent_and_what_nobody_knows_is_kept() {
    let mut sent = node();
    sent["later"] = json!({"a": [1, 2.5]});
    let document = json!({"nodes": [sent], "schema_version": "1", "meta": {"who": "me"}, "other": null});
    let dag = parse(&document).unwrap();
    assert_eq!(dag.raw(), &document);
    let node = &dag.nodes()[0];
    assert_eq!((node.node_id.as_str(), node.node_type.as_str(), node.name.as_str()), ("a", "P", "n"));
    assert_eq!((node.interval_s, node.period, node.pre_warmup), (Some(60), Some(5), true));
    assert_eq!((&node.tags[..], node.inputs.len()), (&["x.y-z_1".to_owned()][..], 0));
    assert_eq!(node.code_hash.as_deref(), Some("c"));
    assert!(node.is_source() && node.tag_query.is_none());
}

#[test]
fn the_least_that_a_node_says() {
    let dag = parse(&json!({"nodes": [
        {"node_id": "a", "node_type": "P", "code_hash": null, "schema_hash": "", "interval": null, "period": null}
    ]}));
    let dag = dag.unwrap();
    let node = &dag.nodes()[0];
    assert_eq!((node.interval_s, node.period, node.code_hash.as_ref()), (None, None, None));
    assert_eq!((node.schema_hash.as_ref(), node.config_hash.as_ref()), (None, None));
    assert!(parse(&json!({"nodes": []})).unwrap().nodes().is_empty());
}

#[test]
fn every_defect_has_its_type_and_its_place() {
    assert_eq!(wrong("node_id", ""), r#"string_too_short at ["nodes",0,"node_id"]"#);
    assert_eq!(wrong("node_id", Value::Null), r#"missing at ["nodes",0,"node_id"]"#);
    assert_eq!(wrong("node_type", 1), r#"string_type at ["nodes",0,"node_type"]"#);
    assert_eq!(wrong("name", json!([])), r#"string_type at ["nodes",0,"name"]"#);
    assert_eq!(wrong("code_hash", "x".repeat(2_000)), r#"string_too_long at ["nodes",0,"code_hash"]"#);
    for value in [json!(0), json!(-1), json!(i64::MIN)] {
        assert_eq!(wrong("interval", value.clone()), r#"greater_than_equal at ["nodes",0,"interval"]"#);
        assert_eq!(wrong("period", value), r#"greater_than_equal at ["nodes",0,"period"]"#);
    }
    for value in [json!(86_401), json!(u64::MAX)] {
        assert_eq!(wrong("interval", value), r#"less_than_equal at ["nodes",0,"interval"]"#);
    }
    assert_eq!(wrong("period", 10_001), r#"less_than_equal at ["nodes",0,"period"]"#);
    for value in [json!("60s"), json!(60.0), json!(true), json!({})] {
        assert_eq!(wrong("interval", value), r#"int_type at ["nodes",0,"interval"]"#);
    }
    assert_eq!(wrong("tags", "a,b"), r#"list_type at ["nodes",0,"tags"]"#);
    for tag in ["", "a b", "ä", "a,b", &"a".repeat(101)] {
        assert_eq!(wrong("tags", json!(["ok", tag])), r#"string_pattern_mismatch at ["nodes",0,"tags",1]"#);
    }
    assert_eq!(wrong("tags", json!([1])), r#"string_type at ["nodes",0,"tags",0]"#);
    assert_eq!(wrong("tags", json!(vec!["a"; 101])), r#"too_long at ["nodes",0,"tags"]"#);
    assert_eq!(wrong("inputs", json!(["a", "b"])), r#"unknown_input at ["nodes",0,"inputs",1]"#);
    assert_eq!(wrong("inputs", json!([null])), r#"string_type at ["nodes",0,"inputs",0]"#);
    assert_eq!(wrong("inputs", json!(vec!["a"; 1_001])), r#"too_long at ["nodes",0,"inputs"]"#);
    assert_eq!(wrong("pre_warmup", 1), r#"bool_type at ["nodes",0,"pre_warmup"]"#);
    assert_eq!(wrong("match_mode", "some"), r#"enum at ["nodes",0,"match_mode"]"#);
    let missing = issues(&json!({"nodes": [{"node_id": "a", "node_type": "P"}, 7]}));
    let told: Vec<_> = missing.iter().map(|issue| (issue.kind, issue.loc.len())).collect();
    assert_eq!(told, [("missing", 3), ("missing", 3), ("dict_type", 2)]);
    for (root, kind) in
        [(json!([]), "dict_type"), (json!({}), "missing"), (json!({"nodes": {}}), "list_type")]
    {
        assert_eq!(issues(&root)[0].kind, kind);
    }
}

#[test]
fn inputs_may_come_as_dependencies_and_the_older_name_of_the_schema_id_counts() {
    let mut reader = json!({"node_id": "b", "node_type": "P", "code_hash": "c", "schema_hash": "s", "schema_id": " v1 ",
        "dependencies": ["a"]});
    let dag = parse(&json!({"nodes": [node(), reader]})).unwrap();
    assert_eq!(dag.nodes()[1].inputs, ["a"]);
    assert_eq!(dag.nodes()[1].schema_compat_id.as_deref(), Some("v1"));
    reader["schema_compat_id"] = "v2".into();
    assert_eq!(issues(&json!({"nodes": [node(), reader]}))[0].kind, "value_error");
    reader["schema_id"] = Value::Null;
    reader["dependencies"] = json!(["z"]);
    let unknown = issues(&json!({"nodes": [node(), reader]}));
    assert_eq!(unknown[0].loc[2], Loc::Field("dependencies"));
}

#[test]
fn a_tag_query_takes_its_tags_from_where_its_id_does() {
    let query = |more: Value| {
        let mut node = json!({"node_id": "q", "node_type": "TagQueryNode", "code_hash": "c", "schema_hash": "s",
            "tags": ["b", "a", "b"]});
        node.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let query = parse(&json!({"nodes": [node]}))?.nodes()[0].tag_query.clone().unwrap();
        Ok::<_, DagError>((query.tags.join(","), query.mode, query.interval_s))
    };
    assert_eq!(query(json!({})).unwrap(), ("a,b".to_owned(), MatchMode::Any, None));
    assert_eq!(
        query(json!({"query_tags": ["c"], "interval": 60})).unwrap(),
        ("c".to_owned(), MatchMode::Any, Some(60))
    );
    let params = json!({"query_tags": ["d"], "tags": ["e"], "match_mode": "ALL", "interval": 5});
    let all = query(json!({"params": params, "query_tags": ["c"], "match_mode": "any"})).unwrap();
    assert_eq!(all, ("d".to_owned(), MatchMode::All, Some(5)));
    assert_eq!(query(json!({"params": {"query_tags": [], "tags": ["e"]}})).unwrap().0, "e");
    assert_eq!(query(json!({"tags": []})).unwrap().0, "");
    assert!(matches!(query(json!({"params": {"tags": ["no tag"]}})), Err(DagError::Schema(_))));
    assert!(matches!(query(json!({"params": {"match_mode": 1}})), Err(DagError::Schema(_))));
}

#[test]
fn what_is_too_large_is_told_with_the_limit() {
    let limits = Limits { bytes: 400, nodes: 2, ..Limits::default() };
    let of = |nodes: usize, filler: usize| {
        let nodes =
            vec![json!({"node_id": "a", "node_type": "P", "code_hash": "", "schema_hash": ""}); nodes];
        Dag::parse(json!({"nodes": nodes, "meta": "x".repeat(filler)}).to_string().as_bytes(), &limits)
    };
    assert!(of(2, 0).is_ok());
    assert_eq!(of(3, 0).unwrap_err(), DagError::TooLarge { what: "nodes", size: 3, limit: 2 });
    assert!(matches!(of(2, 400), Err(DagError::TooLarge { what: "bytes", limit: 400, .. })));
}

#[test]
fn an_answer_stays_small_however_much_is_wrong() {
    let nodes = vec![json!({"node_id": "ä".repeat(900), "tags": vec!["ö".repeat(500); 100]}); 40];
    let issues = issues(&json!({ "nodes": nodes }));
    assert_eq!(issues.len(), 100);
    assert!(serde_json::to_string(&issues).unwrap().len() < 100_000);
}

#[test]
fn the_hash_sees_the_document_and_not_how_it_is_written() {
    let one = br#"{"nodes":[{"node_id":"a","node_type":"P","code_hash":"c","schema_hash":"s"}],"meta":{"b":1.0,"a":"\u00e9"}}"#;
    let other = "{ \"meta\": {\"a\": \"é\", \"b\": 1.00e0},\n \"nodes\": [{\"schema_hash\": \"s\", \"code_hash\": \"c\", \
                 \"node_type\": \"P\", \"node_id\": \"a\"}] }";
    let parse = |bytes: &[u8]| Dag::parse(bytes, &Limits::default()).unwrap();
    let (one, other) = (parse(one), parse(other.as_bytes()));
    assert_eq!(one.hash(), other.hash());
    let canonical = "{\"meta\":{\"a\":\"é\",\"b\":1.0},\"nodes\":[{\"code_hash\":\"c\",\"node_id\":\"a\",\"node_type\":\"P\",\
                     \"schema_hash\":\"s\"}]}";
    assert_eq!(one.canonical_json(), canonical);
    assert_eq!(crate::hex(&one.hash()), "549780dfa20dfae9c574512941f9dfd55c079eec51099b6f993f0f2155d863ed");
    assert_ne!(parse(br#"{"nodes": [], "meta": 1}"#).hash(), parse(br#"{"nodes": [], "meta": 1.0}"#).hash());
}
