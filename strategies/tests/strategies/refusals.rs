//! What is not taken, and what is said then.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use ringfence_strategies::{Refused, Rules, Sent, Submission};
use serde_json::{Value, json};

use crate::common::{body, dag, id, node, read};

fn refused(body: &Value) -> (u16, Value) {
    let refused = read(body, Sent::default()).unwrap_err();
    (refused.status(), refused.body()["detail"].clone())
}

fn with(field: &str, value: Value) -> Value {
    let mut body = body(&dag("mean"));
    body[field] = value;
    body
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_dag_is_json_or_base64_of_it_and_the_body_may_be_packed() {
    let text = dag("mean").to_string();
    for dag_json in [
        json!(text),
        json!(STANDARD.encode(&text)),
        json!(STANDARD.encode(&text).trim_end_matches('=')),
        dag("mean"),
    ] {
        let body = with("dag_json", dag_json);
        read(&body, Sent::default()).unwrap();
        let packed = gzip(body.to_string().as_bytes());
        Submission::read(&packed, Sent { gzip: true, allow_live: false }, &Rules::default()).unwrap();
    }
}

#[test]
fn ids_that_do_not_fit_their_checksum_are_refused() {
    let dag = dag("mean");
    let right = ringfence_dag::crc32([id(&dag, 0).as_str(), id(&dag, 1).as_str()]);
    assert!(read(&with("node_ids_crc32", json!(right)), Sent::default()).is_ok());
    assert_eq!(refused(&with("node_ids_crc32", json!(right ^ 1))), (400, json!("node id checksum mismatch")));
    assert_eq!(refused(&with("node_ids_crc32", json!(-1))).0, 422);
}

#[test]
fn an_id_that_is_not_its_nodes_is_named_with_what_it_should_be() {
    let mut dag = dag("mean");
    let right = id(&dag, 1);
    dag["nodes"][1]["node_id"] = json!("0".repeat(64));
    let (status, detail) = refused(&body(&dag));
    assert_eq!(status, 400);
    let wrong = json!({"index": 1, "node_id": "0".repeat(64), "expected": right});
    assert_eq!(detail["node_id_mismatch"][0], wrong);
}

#[test]
fn a_cycle_and_garbage_are_told_apart_from_what_is_only_wrong() {
    let (mut a, mut b) = (node("P", "a", 60, &[]), node("P", "b", 60, &[]));
    a["inputs"] = json!([b["node_id"]]);
    b["inputs"] = json!([a["node_id"]]);
    let (status, detail) = refused(&body(&json!({ "nodes": [a, b] })));
    assert!(status == 400 && detail.as_str().unwrap().contains("cycle"), "{detail}");
    for dag_json in ["{", "%%%", "bm90IGpzb24=", "{\"nodes\": [NaN]}"] {
        assert_eq!(refused(&with("dag_json", json!(dag_json))).0, 400, "{dag_json}");
    }
    let (status, detail) = refused(&with("dag_json", json!(json!({"nodes": [{"node_id": 7}]}).to_string())));
    assert!(status == 422 && detail[0]["loc"][0] == "nodes", "{detail}");
    for (field, value) in [
        ("dag_json", json!(7)),
        ("run_type", json!(null)),
        ("run_type", json!("paper")),
        ("world_ids", json!("w")),
        ("world_ids", json!([""])),
        ("meta", json!([])),
        ("insert_sentinel", json!("yes")),
    ] {
        let (status, detail) = refused(&with(field, value));
        assert_eq!((status, &detail[0]["loc"]), (422, &json!(["body", field])), "{detail}");
    }
    for body in ["", "[]", "7", "{\"a\":}"] {
        let refused = Submission::read(body.as_bytes(), Sent::default(), &Rules::default()).unwrap_err();
        assert_eq!(refused.status(), 400, "{body}");
    }
}

#[test]
fn a_bomb_is_as_large_as_it_would_get() {
    let bomb = gzip(&vec![b' '; 64 << 20]);
    let sent = Sent { gzip: true, allow_live: false };
    assert!(bomb.len() < 100_000);
    assert_eq!(Submission::read(&bomb, sent, &Rules::default()).unwrap_err().status(), 413);
    let cut = &gzip(body(&dag("mean")).to_string().as_bytes())[..40];
    assert_eq!(Submission::read(cut, sent, &Rules::default()).unwrap_err().status(), 400);
    let many: Vec<Value> = (0..6_000).map(|i| node("P", &format!("c{i}"), 60, &[])).collect();
    assert_eq!(refused(&body(&json!({ "nodes": many }))).0, 413);
}

#[test]
fn worlds_say_what_a_run_is_for_where_it_does_not() {
    let mut body = body(&dag("mean"));
    body["run_type"] = Value::Null;
    body["world_ids"] = json!(["b", "a", "b"]);
    assert!(read(&body, Sent::default()).is_ok());
    let away = Refused::Unavailable { why: "x".into(), retry_after_s: 3 };
    assert_eq!((away.status(), away.retry_after_s()), (503, Some(3)));
}
