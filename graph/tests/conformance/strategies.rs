//! Applying, releasing, removing.

use std::collections::HashMap;
use std::sync::Barrier;

use ringfence_graph::{Age, Change, Engine, Graph, GraphError, Identity, MAX_NODES, NodeRow, Placed};

use super::build::{NOW, change, id, placed, sentinel};

fn identities(nodes: &[Placed]) -> Vec<Identity> {
    nodes.iter().map(|placed| placed.node.identity).collect()
}

pub fn nodes_come_back_as_they_went_in(graph: &dyn Graph) {
    let hostile =
        "it's \"odd\" \\ \\u0027}) DETACH DELETE n // \n\t\u{1}\u{7f}\u{2028} ünï 😀 `x` ${y} $z; --";
    let mut nodes = vec![placed("whole", 0, &[]), placed("whole", 1, &[0]), placed("whole", 2, &[1, 0, 1])];
    nodes[1].node = NodeRow {
        family: Some(id("whole-family", 0)),
        name: hostile.into(),
        node_id: hostile.into(),
        node_type: hostile.into(),
        code_hash: hostile.into(),
        config_hash: None,
        schema_compat_id: Some(hostile.into()),
        interval_s: None,
        period: None,
        tags: vec![hostile.into(), "plain".into()],
        domain: hostile.into(),
        ..nodes[1].node.clone()
    };
    nodes[2].node.tags = vec![];
    nodes[2].node.name = String::new();
    nodes[2].node.config_hash = Some(String::new());
    nodes[2].node.queue.retention_ms = None;
    let applied = graph.apply(&change(hostile, &nodes)).unwrap();
    assert_eq!(applied.created, identities(&nodes));
    let asked = [nodes[2].node.identity, id("nobody", 0), nodes[0].node.identity, nodes[1].node.identity];
    let found = graph.fetch(&asked, &[]).unwrap();
    let rows: Vec<&NodeRow> = found.nodes.iter().map(|known| &known.node).collect();
    assert_eq!(rows, [&nodes[2].node, &nodes[0].node, &nodes[1].node]);
    assert!(found.nodes.iter().all(|known| known.lease.is_none() && known.orphaned_at_ms.is_none()));
    assert!(found.nodes.iter().all(|known| !known.has_producer(NOW)));
    assert_eq!(graph.node(&nodes[1].node.identity).unwrap().unwrap().node, nodes[1].node);
    assert_eq!(graph.node(&id("nobody", 0)).unwrap(), None);
    let of: Vec<NodeRow> = nodes.iter().map(|placed| placed.node.clone()).collect();
    assert_eq!(graph.strategy_nodes(hostile).unwrap(), of);
    assert_eq!(graph.strategy_nodes("nobody's").unwrap(), []);
    assert_eq!(graph.strategies_of(&nodes[0].node.identity, 10).unwrap(), [hostile]);
    let all: HashMap<Identity, Vec<Identity>> = pages(graph, 2).into_iter().collect();
    assert!(nodes.iter().all(|placed| all[&placed.node.identity] == placed.inputs));
    // An empty DAG, and an identity that stands twice in one.
    assert!(graph.apply(&change("empty", &[])).unwrap().created.is_empty());
    let twice = [placed("whole-twice", 0, &[]), placed("whole-twice", 0, &[])];
    assert_eq!(graph.apply(&change("twice", &twice)).unwrap().created, [twice[0].node.identity]);
}

fn pages(graph: &dyn Graph, most: usize) -> Vec<(Identity, Vec<Identity>)> {
    let mut all: Vec<(Identity, Vec<Identity>)> = Vec::new();
    loop {
        let page = graph.nodes(all.last().map(|last| &last.0), most).unwrap();
        assert!(page.len() <= most);
        if page.is_empty() {
            assert!(all.is_sorted_by(|a, b| a.0 < b.0));
            return all;
        }
        all.extend(page.into_iter().map(|(known, inputs)| (known.node.identity, inputs)));
    }
}

pub fn a_strategy_is_applied_once(graph: &dyn Graph) {
    let nodes = [placed("once", 0, &[]), placed("once", 1, &[0])];
    let sentinel = sentinel("once-b", "once", None, 0.5);
    graph.apply(&change("once-a", &nodes[..1])).unwrap();
    let first = Change { sentinel: Some(&sentinel), ..change("once-b", &nodes) };
    let applied = graph.apply(&first).unwrap();
    assert_eq!(applied.created, [nodes[1].node.identity]);
    let (before, outbox) = (graph.nodes(None, 10_000).unwrap(), graph.outbox(0, 10_000).unwrap());
    let later = Change { now_ms: NOW + 1, ..first };
    assert_eq!(graph.apply(&later).unwrap(), applied);
    assert_eq!(graph.nodes(None, 10_000).unwrap(), before);
    assert_eq!(graph.outbox(0, 10_000).unwrap(), outbox);
    let error = graph.apply(&change("once-b", &nodes[..1])).unwrap_err();
    assert!(matches!(error, GraphError::Conflict(_)) && !error.is_unavailable(), "{error}");
    graph.release("once-b", NOW).unwrap();
    assert!(matches!(graph.apply(&first), Err(GraphError::Released(_))));
    // Released before it came.
    assert!(graph.release("once-c", NOW).unwrap().is_empty());
    assert!(matches!(graph.apply(&change("once-c", &nodes)), Err(GraphError::Released(_))));
    assert!(graph.release("once-c", NOW).unwrap().is_empty());
}

pub fn a_change_is_whole_or_not_there(graph: &dyn Graph) {
    let mut nodes = [placed("cut", 0, &[]), placed("cut", 1, &[0]), placed("cut", 2, &[1])];
    graph.apply(&change("cut-a", &nodes[..1])).unwrap();
    nodes[2].node.queue.topic = nodes[0].node.queue.topic.to_uppercase();
    let error = graph.apply(&change("cut-b", &nodes)).unwrap_err();
    assert!(matches!(error, GraphError::TopicTaken(_)) && !error.is_unavailable(), "{error}");
    assert_eq!(graph.node(&nodes[1].node.identity).unwrap(), None);
    assert_eq!(graph.strategy_nodes("cut-b").unwrap(), []);
    assert_eq!(graph.strategies_of(&nodes[0].node.identity, 10).unwrap(), ["cut-a"]);
    assert!(graph.outbox(0, 10_000).unwrap().iter().all(|row| row.identity != nodes[1].node.identity));
    // Two topics of one change may not differ in case alone either.
    let mut pair = [placed("cut-pair", 0, &[]), placed("cut-pair", 1, &[])];
    pair[1].node.queue.topic = pair[0].node.queue.topic.to_uppercase();
    assert!(matches!(graph.apply(&change("cut-c", &pair)), Err(GraphError::TopicTaken(_))));
    assert_eq!(graph.node(&pair[0].node.identity).unwrap(), None);
    // The name is free for the strategy's next try.
    assert_eq!(graph.apply(&change("cut-b", &nodes[..2])).unwrap().created, [nodes[1].node.identity]);
}

pub fn hostile_changes_are_refused(graph: &dyn Graph) {
    let refused = |mend: &dyn Fn(&mut Vec<Placed>)| {
        let mut nodes = vec![placed("hostile", 0, &[]), placed("hostile", 1, &[0])];
        mend(&mut nodes);
        let error = graph.apply(&change("hostile", &nodes)).unwrap_err();
        assert!(!error.is_unavailable(), "{error}");
        error
    };
    assert!(matches!(refused(&|nodes| drop(nodes.remove(0))), GraphError::UnknownInput { .. }));
    let many = placed("hostile", 0, &[]);
    let error = refused(&|nodes| *nodes = vec![many.clone(); MAX_NODES + 1]);
    assert!(matches!(error, GraphError::TooMany { .. }), "{error}");
    for topic in ["", ".", "..", "a b", "a/b", "ü", &"x".repeat(250)] {
        refused(&|nodes| nodes[1].node.queue.topic = topic.into());
    }
    refused(&|nodes| nodes[1].node.queue.partitions = 0);
    refused(&|nodes| nodes[1].node.node_id = String::new());
    refused(&|nodes| nodes[1].node.name = "x".repeat(1001));
    refused(&|nodes| nodes[1].node.name = "a\0b".into());
    refused(&|nodes| nodes[1].node.tags = vec!["t".into(); 101]);
    assert!(graph.apply(&change("", &[])).is_err());
    for weight in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
        let sentinel = sentinel("hostile", "v", None, weight);
        let with = Change { sentinel: Some(&sentinel), ..change("hostile", &[]) };
        assert!(matches!(graph.apply(&with), Err(GraphError::Weight(_))));
    }
    let others = sentinel("another", "v", None, 0.0);
    assert!(graph.apply(&Change { sentinel: Some(&others), ..change("hostile", &[]) }).is_err());
    assert_eq!(graph.node(&id("hostile", 0)).unwrap(), None);
    let many = vec![id("hostile", 0); 20_001];
    assert!(matches!(graph.fetch(&many, &[]), Err(GraphError::TooMany { .. })));
}

/// Eight at once, each with a connection of its own, with overlapping DAGs in different orders.
pub fn a_crowd_creates_each_node_once(engine: &Engine) {
    const CROWD: u16 = 8;
    const SHARED: u16 = 40;
    let barrier = Barrier::new(usize::from(CROWD));
    let created: Vec<Vec<Identity>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CROWD)
            .map(|own| {
                let barrier = &barrier;
                scope.spawn(move || {
                    let graph = engine.open().unwrap();
                    let mut nodes: Vec<Placed> =
                        (0..SHARED).map(|n| placed("crowd", (n + own * 5) % SHARED, &[])).collect();
                    nodes.push(placed("crowd", 1000 + own, &[0, 1]));
                    barrier.wait();
                    let strategy = format!("crowd-{own}");
                    let first = graph.apply(&change(&strategy, &nodes)).unwrap();
                    assert_eq!(graph.apply(&change(&strategy, &nodes)).unwrap(), first);
                    first.created
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut all: Vec<Identity> = created.concat();
    all.sort_unstable();
    let expected = (0..SHARED).chain((0..CROWD).map(|own| 1000 + own));
    assert_eq!(all, expected.map(|n| id("crowd", n)).collect::<Vec<_>>());
    let graph = engine.open().unwrap();
    let told = graph.outbox(0, 10_000).unwrap();
    let mut told: Vec<Identity> =
        told.iter().map(|row| row.identity).filter(|identity| all.contains(identity)).collect();
    told.sort_unstable();
    assert_eq!(told, all);
    assert_eq!(graph.strategies_of(&id("crowd", 0), 100).unwrap().len(), usize::from(CROWD));
}

pub fn released_nodes_become_orphans_and_are_adopted(graph: &dyn Graph) {
    let nodes = [placed("orphan", 0, &[]), placed("orphan", 1, &[0])];
    graph.apply(&change("orphan-a", &nodes)).unwrap();
    graph.apply(&change("orphan-b", &nodes[..1])).unwrap();
    assert_eq!(graph.release("orphan-a", NOW + 10).unwrap(), [nodes[1].node.identity]);
    assert!(graph.release("orphan-a", NOW + 20).unwrap().is_empty());
    let since = |n: usize| graph.node(&nodes[n].node.identity).unwrap().unwrap().orphaned_at_ms;
    assert_eq!((since(0), since(1)), (None, Some(NOW + 10)));
    graph.apply(&change("orphan-c", &nodes)).unwrap();
    assert_eq!((since(0), since(1)), (None, None));
    assert_eq!(graph.strategies_of(&nodes[0].node.identity, 10).unwrap(), ["orphan-b", "orphan-c"]);
    let released = graph.strategies(Some("orphan-"), 1).unwrap();
    assert_eq!(released[0].strategy_id, "orphan-a");
    assert_eq!((released[0].applied_at_ms, released[0].released_at_ms), (Some(NOW), Some(NOW + 10)));
    assert_eq!(released[0].nodes, []);
    let next = graph.strategies(Some("orphan-b"), 1).unwrap();
    assert_eq!(next[0].nodes, [(nodes[0].node.identity, false), (nodes[1].node.identity, false)]);
}

pub fn only_old_orphans_are_removed(graph: &dyn Graph) {
    let mut nodes = [placed("old", 0, &[]), placed("old", 1, &[0]), placed("old", 2, &[1])];
    nodes[0].node.class = "old-raw".into();
    nodes[1].node.class = "old-indicator".into();
    nodes[2].node.class = "old-indicator".into();
    graph.apply(&change("old-a", &nodes)).unwrap();
    graph.release("old-a", NOW + 100).unwrap();
    let ages = |raw: i64, indicator: i64| {
        let ages = [
            Age { class: "old-raw", not_after_ms: raw },
            Age { class: "old-indicator", not_after_ms: indicator },
        ];
        let found = graph.orphans(&ages, 10).unwrap();
        found.into_iter().map(|entry| entry.identity).collect::<Vec<_>>()
    };
    assert!(ages(NOW + 99, NOW + 99).is_empty());
    assert_eq!(ages(NOW + 100, NOW + 99), [id("old", 0)]);
    assert_eq!(ages(NOW + 100, NOW + 100), [id("old", 0), id("old", 1), id("old", 2)]);
    let all = identities(&nodes);
    assert_eq!(graph.remove(&all, NOW + 99, NOW + 200).unwrap(), []);
    let gone = graph.remove(&all[..1], NOW + 100, NOW + 200).unwrap();
    assert_eq!(gone.iter().map(|entry| &entry.queue).collect::<Vec<_>>(), [&nodes[0].node.queue]);
    assert_eq!(graph.remove(&all[..1], NOW + 100, NOW + 200).unwrap(), []);
    // The last of them was adopted meanwhile; what it reads came back with it.
    assert_eq!(graph.apply(&change("old-b", &nodes)).unwrap().created, [id("old", 0)]);
    assert_eq!(graph.remove(&all, i64::MAX, NOW + 200).unwrap(), []);
    let inputs: HashMap<Identity, Vec<Identity>> = pages(graph, 1000).into_iter().collect();
    assert!(nodes.iter().all(|placed| inputs[&placed.node.identity] == placed.inputs));
    assert!(graph.orphans(&[], 10).unwrap().is_empty());
}

/// Strategies come and go over the same nodes while others clean up: what is used is there, whatever happens beside it.
pub fn a_crowd_applies_releases_and_removes(engine: &Engine) {
    let nodes: Vec<Placed> = (0..10).map(|n| placed("churn", n, &[0][..usize::from(n > 0)])).collect();
    let all = identities(&nodes);
    std::thread::scope(|scope| {
        for own in 0..3 {
            let (nodes, all) = (&nodes, &all);
            scope.spawn(move || {
                let graph = engine.open().unwrap();
                for round in 0..10 {
                    let strategy = format!("churn-{own}-{round}");
                    graph.apply(&change(&strategy, nodes)).unwrap();
                    assert_eq!(graph.fetch(all, &[]).unwrap().nodes.len(), all.len());
                    assert_eq!(graph.strategy_nodes(&strategy).unwrap().len(), all.len());
                    graph.release(&strategy, NOW).unwrap();
                }
            });
        }
        let all = &all;
        scope.spawn(move || {
            let graph = engine.open().unwrap();
            for _ in 0..30 {
                graph.remove(all, i64::MAX, NOW).unwrap();
            }
        });
    });
    let graph = engine.open().unwrap();
    graph.remove(&all, i64::MAX, NOW).unwrap();
    assert_eq!(graph.fetch(&all, &[]).unwrap().nodes, []);
}
