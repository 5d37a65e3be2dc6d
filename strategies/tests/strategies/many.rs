//! Many at once.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::common::{Desk, body, embedded, node};

/// Overlapping DAGs over a small pool: nodes, and for each who computes it.
pub fn sixty_four_overlapping(desk: &Desk) {
    let price = node("StreamInput", "price", 60, &[]);
    let pool: Vec<Value> = (0..8).map(|i| node("P", &format!("pool-{i}"), 60, &[&price])).collect();
    let bodies: Vec<Value> = (0..64_u32)
        .map(|n| {
            let picked =
                pool.iter().enumerate().filter(|(i, _)| (n >> (i % 6)) & 1 == 1).map(|(_, node)| node);
            let own = node("P", &format!("own-{n}"), 60, &[&price]);
            let nodes: Vec<&Value> = std::iter::once(&price).chain(picked).chain([&own]).collect();
            body(&json!({ "nodes": nodes }))
        })
        .collect();
    let ids: Vec<String> = std::thread::scope(|scope| {
        let asked: Vec<_> =
            bodies.iter().map(|body| scope.spawn(|| desk.accepted(body).strategy_id)).collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 64);
    let mut created: BTreeMap<String, u32> = BTreeMap::new();
    let mut producers: BTreeMap<String, u32> = BTreeMap::new();
    let mut topics: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for id in &ids {
        let plan = desk.plan(id);
        for node in plan["new_nodes"].as_array().unwrap() {
            *created.entry(node.as_str().unwrap().to_owned()).or_default() += 1;
        }
        for lease in plan["leases"].as_array().unwrap().iter().filter(|lease| lease["granted"] == true) {
            *producers.entry(lease["node_id"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        for step in plan["execution_plan"].as_array().unwrap() {
            let (node, topic) = (step["node_id"].as_str().unwrap(), step["topic"].as_str().unwrap());
            topics.entry(node.to_owned()).or_default().insert(topic.to_owned());
        }
    }
    assert_eq!(created.len(), 1 + 8 + 64);
    assert!(created.values().all(|times| *times == 1), "created once: {created:?}");
    assert!(producers.len() == created.len() && producers.values().all(|times| *times == 1), "{producers:?}");
    assert!(topics.values().all(|names| names.len() == 1), "one topic a node: {topics:?}");
    let names: BTreeSet<&String> = topics.values().flatten().collect();
    assert_eq!(names.len(), topics.len(), "one node a topic");
}

#[test]
fn g_03_sixty_four_overlapping_submissions_create_no_topic_twice() {
    let dir = tempfile::tempdir().unwrap();
    sixty_four_overlapping(&Desk::open(embedded(dir.path())));
}

#[test]
fn one_dag_sent_by_everybody_at_once_is_one_strategy() {
    let dir = tempfile::tempdir().unwrap();
    let desk = Desk::open(embedded(dir.path()));
    let body = body(&crate::common::dag("mean"));
    let answers: Vec<_> = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..32).map(|_| scope.spawn(|| desk.submit(&body))).collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    let taken: Vec<&String> = answers.iter().flatten().map(|answer| &answer.strategy_id).collect();
    assert_eq!(taken.len(), 1);
    for refused in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        assert_eq!(refused.body()["detail"]["strategy_id"], json!(taken[0]));
    }
}
