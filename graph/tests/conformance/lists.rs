//! Families, tags, queues, sentinels, outbox.

use ringfence_graph::{
    Change, Engine, Graph, GraphError, Match, QueueChange, QueueFilter, Sentinel, TagQuery,
};

use super::build::{NOW, change, id, placed, sentinel};

pub fn families_and_bindings(graph: &dyn Graph) {
    let family = Some(id("family-of", 0));
    let mut nodes = [placed("family", 0, &[]), placed("family", 1, &[]), placed("family", 2, &[])];
    for (n, placed) in nodes.iter_mut().enumerate() {
        placed.node.family = family;
        placed.node.created_at_ms = NOW + [5, 9, 7][n];
        placed.node.node_id = "family-id".into();
        placed.node.code_hash = ["b", "a", "b"][n].into();
        placed.node.config_hash = [Some("c".to_owned()), None, Some("c".to_owned())][n].clone();
    }
    graph.apply(&change("family", &nodes)).unwrap();
    let found = graph.fetch(&[], &[id("family-of", 1), id("family-of", 0)]).unwrap();
    assert_eq!(found.by_family.iter().map(|known| &known.node).collect::<Vec<_>>(), [&nodes[1].node]);
    assert_eq!(found.nodes, []);
    let bindings = graph.bindings(&["nobody's", "family-id"]).unwrap();
    let bindings: Vec<_> =
        bindings.iter().map(|of| (of.code_hash.as_str(), of.config_hash.as_deref())).collect();
    assert_eq!(bindings, [("a", None), ("b", Some("c"))]);
}

pub fn queues_are_found_by_tags(graph: &dyn Graph) {
    let mut nodes = [placed("tags", 0, &[]), placed("tags", 1, &[]), placed("tags", 2, &[])];
    nodes[0].node.tags = vec!["tags-x".into(), "tags-y".into(), "tags-x".into()];
    nodes[1].node.tags = vec!["tags-x".into()];
    nodes[1].node.interval_s = Some(300);
    nodes[2].node.tags = vec!["tags-y".into(), "tags-\"'\\".into()];
    nodes[2].node.domain = "backtest".into();
    graph.apply(&change("tags", &nodes)).unwrap();
    let ask = |tags: &[&str], interval_s, mode, domain| {
        let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
        let found = graph.queues_by_tags(&TagQuery { tags: &tags, interval_s, mode, domain }, 10)?;
        let number = |identity| nodes.iter().position(|placed| placed.node.identity == identity).unwrap();
        Ok::<_, GraphError>(found.into_iter().map(|entry| number(entry.identity)).collect::<Vec<_>>())
    };
    assert_eq!(ask(&["tags-x"], None, Match::Any, None).unwrap(), [0, 1]);
    assert_eq!(ask(&["tags-x", "tags-y", "none"], None, Match::Any, None).unwrap(), [0, 1, 2]);
    assert_eq!(ask(&["tags-x", "tags-y", "tags-x"], None, Match::All, None).unwrap(), [0]);
    assert_eq!(ask(&["tags-x"], Some(300), Match::Any, None).unwrap(), [1]);
    assert_eq!(ask(&["tags-y"], None, Match::Any, Some("backtest")).unwrap(), [2]);
    assert_eq!(ask(&["tags-\"'\\"], Some(60), Match::All, None).unwrap(), [2]);
    assert_eq!(ask(&["tags-none"], None, Match::Any, None).unwrap(), [0; 0]);
    assert!(!ask(&[], None, Match::Any, None).unwrap_err().is_unavailable());
    let one = [String::from("tags-x")];
    let query = TagQuery { tags: &one, interval_s: None, mode: Match::Any, domain: None };
    assert_eq!(graph.queues_by_tags(&query, 1).unwrap().len(), 1);
}

pub fn queues_are_listed_page_by_page(graph: &dyn Graph) {
    let mut nodes: Vec<_> = (0..5).map(|n| placed("queues", n, &[])).collect();
    for (placed, topic) in nodes.iter_mut().zip(["Q.b", "q.A", "q.c_d", "Q.cXd", "q-e"]) {
        placed.node.queue.topic = format!("listed.{topic}");
    }
    nodes[2].node.class = "raw".into();
    graph.apply(&change("queues", &nodes)).unwrap();
    let list = |filter: &QueueFilter<'_>, after: Option<&str>, most| {
        let found = graph.queues(filter, after, most).unwrap();
        found.into_iter().map(|entry| entry.queue.topic).collect::<Vec<_>>()
    };
    let all = QueueFilter { prefix: "LISTED.q.", class: None };
    assert_eq!(list(&all, None, 10), ["listed.q.A", "listed.Q.b", "listed.q.c_d", "listed.Q.cXd"]);
    assert_eq!(list(&all, None, 2), ["listed.q.A", "listed.Q.b"]);
    assert_eq!(list(&all, Some("listed.Q.b"), 2), ["listed.q.c_d", "listed.Q.cXd"]);
    assert_eq!(list(&QueueFilter { prefix: "listed.q.c_", class: None }, None, 9), ["listed.q.c_d"]);
    assert_eq!(list(&QueueFilter { prefix: "listed", class: Some("raw") }, None, 9), ["listed.q.c_d"]);
    assert!(list(&QueueFilter::default(), None, 10_000).len() >= 5);
}

fn with<'a>(strategy_id: &'a str, sentinel: &'a Sentinel) -> Change<'a> {
    Change { sentinel: Some(sentinel), ..change(strategy_id, &[]) }
}

pub fn sentinels_have_weights(graph: &dyn Graph) {
    let line = Some("weights-line");
    let nodes = [placed("weights", 1, &[]), placed("weights", 0, &[])];
    let stable = sentinel("weights-1", "stable", line, 1.0);
    graph.apply(&Change { sentinel: Some(&stable), ..change("weights-1", &nodes) }).unwrap();
    assert_eq!(graph.sentinel("weights-1-sentinel").unwrap().unwrap(), stable);
    assert_eq!(graph.sentinel("nobody's").unwrap(), None);
    assert_eq!(graph.sentinel_nodes("weights-1-sentinel").unwrap(), [id("weights", 0), id("weights", 1)]);
    // Nothing is left for a canary that comes with a weight of its own.
    let greedy = sentinel("weights-2", "canary", line, 0.25);
    let error = graph.apply(&with("weights-2", &greedy)).unwrap_err();
    assert!(matches!(error, GraphError::WeightSum { .. }), "{error}");
    let canary = sentinel("weights-2", "canary", line, 0.0);
    graph.apply(&with("weights-2", &canary)).unwrap();
    assert!(matches!(graph.set_weight("canary", 0.25), Err(GraphError::WeightSum { .. })));
    assert_eq!(graph.set_weight("stable", 0.75).unwrap().weight, 0.75);
    assert_eq!(graph.set_weight("weights-2-sentinel", 0.25).unwrap(), Sentinel { weight: 0.25, ..canary });
    assert!(matches!(graph.set_weight("canary", 0.26), Err(GraphError::WeightSum { .. })));
    for weight in [-0.01, 1.01, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert!(matches!(graph.set_weight("canary", weight), Err(GraphError::Weight(_))));
    }
    assert!(matches!(graph.set_weight("no such version", 0.5), Err(GraphError::UnknownVersion(_))));
    // The newest of a name is meant, and another strategy's sentinel is nobody else's.
    let newer = Sentinel { created_at_ms: NOW + 5, ..sentinel("weights-3", "canary", None, 0.0) };
    graph.apply(&with("weights-3", &newer)).unwrap();
    assert_eq!(graph.set_weight("canary", 1.0).unwrap().sentinel_id, "weights-3-sentinel");
    assert_eq!(graph.sentinel("weights-2-sentinel").unwrap().unwrap().weight, 0.25);
    let stolen = Sentinel { strategy_id: "weights-4".into(), ..newer };
    assert!(matches!(graph.apply(&with("weights-4", &stolen)), Err(GraphError::Invalid { .. })));
    assert_eq!(graph.strategies_of(&id("weights", 0), 9).unwrap(), ["weights-1"]);
    let page = graph.sentinels(Some("weights-1-sentinel"), 2).unwrap();
    let ids: Vec<_> = page.iter().map(|sentinel| sentinel.sentinel_id.as_str()).collect();
    assert_eq!(ids, ["weights-2-sentinel", "weights-3-sentinel"]);
}

pub fn sentinels_retire(graph: &dyn Graph) {
    let line = Some("retire-line");
    graph.apply(&with("retire-1", &sentinel("retire-1", "1", line, 0.9))).unwrap();
    graph.release("retire-1", NOW + 5).unwrap();
    // Its share is free again.
    graph.apply(&with("retire-2", &sentinel("retire-2", "2", line, 1.0))).unwrap();
    let retired = |since| {
        let found = graph.retired_sentinels(since, 100).unwrap();
        found.iter().any(|sentinel| sentinel.sentinel_id == "retire-1-sentinel")
    };
    assert!(!retired(NOW + 4) && retired(NOW + 5));
    let both = ["retire-1-sentinel", "retire-2-sentinel"];
    assert_eq!(graph.remove_sentinels(&both, NOW + 4).unwrap(), [""; 0]);
    assert_eq!(graph.remove_sentinels(&both, i64::MAX).unwrap(), ["retire-1-sentinel"]);
    assert_eq!(graph.sentinel("retire-1-sentinel").unwrap(), None);
    assert!(graph.sentinel("retire-2-sentinel").unwrap().is_some());
}

pub fn the_outbox_tells_each_queue_once(engine: &Engine) {
    let graph = engine.open().unwrap();
    let nodes = [placed("outbox", 0, &[]), placed("outbox", 1, &[0])];
    let last = graph.outbox(0, 10_000).unwrap().last().map_or(0, |row| row.seq);
    graph.apply(&change("outbox-1", &nodes)).unwrap();
    graph.apply(&change("outbox-2", &nodes)).unwrap();
    let rows = graph.outbox(last, 10).unwrap();
    assert_eq!(rows.len(), 2);
    for (row, placed) in rows.iter().zip(&nodes) {
        let node = &placed.node;
        assert_eq!((row.at_ms, row.change, row.identity), (NOW, QueueChange::Created, node.identity));
        assert_eq!((&row.node_id, &row.topic), (&node.node_id, &node.queue.topic));
        assert_eq!((&row.tags, row.interval_s, &row.domain), (&node.tags, node.interval_s, &node.domain));
    }
    assert!(last < rows[0].seq && rows[0].seq < rows[1].seq);
    assert_eq!(graph.outbox(last, 1).unwrap(), rows[..1]);
    assert_eq!(graph.outbox(rows[0].seq, 10).unwrap(), rows[1..]);
    graph.outbox_done(rows[0].seq).unwrap();
    assert_eq!(graph.outbox(0, 10).unwrap(), rows[1..]);
    graph.outbox_done(rows[1].seq).unwrap();
    graph.release("outbox-1", NOW + 1).unwrap();
    graph.release("outbox-2", NOW + 1).unwrap();
    graph.remove(&[nodes[0].node.identity, nodes[1].node.identity], NOW + 1, NOW + 2).unwrap();
    // Places go on although the outbox was empty, and another process sees them.
    let rows = engine.open().unwrap().outbox(rows[1].seq, 10).unwrap();
    let told: Vec<_> = rows.iter().map(|row| (row.at_ms, row.change, row.identity)).collect();
    let removed = |n| (NOW + 2, QueueChange::Removed, id("outbox", n));
    assert_eq!(told, [removed(0), removed(1)]);
    assert_eq!(rows[1].tags, nodes[1].node.tags);
}
