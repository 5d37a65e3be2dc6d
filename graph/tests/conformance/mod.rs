//! The promises of the port. Each part uses identities of its own, so that all can be asked of one server.

mod build;
#[cfg(feature = "neo4j")]
pub mod kills;
mod leases;
mod lists;
mod strategies;

use std::time::{Duration, Instant};

use build::placed;
pub use build::{change, few};
use ringfence_graph::{Engine, Graph};

/// Everything that needs no broken engine.
pub fn all(engine: &Engine) {
    let graph = engine.open().unwrap();
    let graph: &dyn Graph = &*graph;
    graph.ping().unwrap();
    strategies::nodes_come_back_as_they_went_in(graph);
    strategies::a_strategy_is_applied_once(graph);
    strategies::a_change_is_whole_or_not_there(graph);
    strategies::hostile_changes_are_refused(graph);
    strategies::a_crowd_creates_each_node_once(engine);
    strategies::released_nodes_become_orphans_and_are_adopted(graph);
    strategies::only_old_orphans_are_removed(graph);
    strategies::a_crowd_applies_releases_and_removes(engine);
    lists::families_and_bindings(graph);
    lists::queues_are_found_by_tags(graph);
    lists::queues_are_listed_page_by_page(graph);
    lists::sentinels_have_weights(graph);
    lists::sentinels_retire(graph);
    lists::the_outbox_tells_each_queue_once(engine);
    leases::one_holder_at_a_time(graph);
    leases::a_lease_that_ran_out_is_swept_once(graph);
    leases::numbers_grow_over_removal(graph);
    leases::a_crowd_gets_one_lease(engine);
    let again = engine.open().unwrap();
    assert_eq!(again.nodes(None, 10_000).unwrap(), graph.nodes(None, 10_000).unwrap());
}

/// How long a DAG of 1,000 nodes took.
#[derive(Debug)]
#[allow(dead_code, reason = "printed")]
pub struct Took {
    /// To apply, all of it new.
    pub create: Duration,
    /// To fetch, the best of ten.
    pub fetch: Duration,
    /// To apply for another strategy, all of it known.
    pub reuse: Duration,
}

/// A DAG of 1,000 nodes, timed.
pub fn thousand(engine: &Engine) -> Took {
    let graph = engine.open().unwrap();
    let nodes: Vec<_> = (0..1000u16)
        .map(|n| placed("thousand", n, &[n.saturating_sub(1), n / 2][..if n == 0 { 0 } else { 2 }]))
        .collect();
    let identities: Vec<_> = nodes.iter().map(|placed| placed.node.identity).collect();
    let began = Instant::now();
    assert_eq!(graph.apply(&change("thousand-1", &nodes)).unwrap().created.len(), 1000);
    let create = began.elapsed();
    let fetch = (0..10).map(|_| {
        let began = Instant::now();
        assert_eq!(graph.fetch(&identities, &[]).unwrap().nodes.len(), 1000);
        began.elapsed()
    });
    let fetch = fetch.min().unwrap();
    let began = Instant::now();
    assert_eq!(graph.apply(&change("thousand-2", &nodes)).unwrap().created.len(), 0);
    Took { create, fetch, reuse: began.elapsed() }
}

/// Two engines tell the same in every list, and so do their exports.
#[cfg(feature = "neo4j")]
pub fn exports_are_the_same(first: &Engine, second: &Engine) {
    let (first, second) = (first.open().unwrap(), second.open().unwrap());
    assert_eq!(first.nodes(None, 10_000).unwrap(), second.nodes(None, 10_000).unwrap());
    assert_eq!(first.strategies(None, 10_000).unwrap(), second.strategies(None, 10_000).unwrap());
    assert_eq!(first.sentinels(None, 10_000).unwrap(), second.sentinels(None, 10_000).unwrap());
    let all = ringfence_graph::QueueFilter::default();
    assert_eq!(first.queues(&all, None, 10_000).unwrap(), second.queues(&all, None, 10_000).unwrap());
    let text = |graph: &dyn Graph| {
        let mut text = Vec::new();
        graph.export(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    };
    assert_eq!(text(&*first), text(&*second));
}
