//! Who produces a node's values.

use ringfence_graph::{Claim, Engine, Graph, GraphError, Identity, Lease};

use super::build::{NOW, change, id, placed};

const TTL: i64 = 15_000;

fn granted(claim: &Claim) -> &Lease {
    match claim {
        Claim::Granted(lease) => lease,
        other => panic!("{other:?}"),
    }
}

fn one(graph: &dyn Graph, identity: Identity, holder: &str, now_ms: i64) -> Claim {
    let mut claims = graph.lease(&[identity], holder, TTL, now_ms).unwrap();
    assert_eq!(claims.len(), 1);
    claims.remove(0)
}

pub fn one_holder_at_a_time(graph: &dyn Graph) {
    let nodes = [placed("lease", 0, &[]), placed("lease", 1, &[])];
    graph.apply(&change("lease-a", &nodes)).unwrap();
    graph.apply(&change("lease-b", &nodes)).unwrap();
    let (first, second) = (id("lease", 0), id("lease", 1));
    let claims = graph.lease(&[second, id("nobody", 0), first], "lease-a", TTL, NOW).unwrap();
    let lease = granted(&claims[2]).clone();
    assert_eq!((lease.holder.as_str(), lease.until_ms), ("lease-a", NOW + TTL));
    assert_eq!((granted(&claims[0]).until_ms, &claims[1]), (NOW + TTL, &Claim::Gone));
    assert_eq!(one(graph, first, "lease-b", NOW + 1), Claim::Held(lease.clone()));
    let known = graph.node(&first).unwrap().unwrap();
    assert_eq!((known.lease.as_ref(), known.lease_number), (Some(&lease), lease.number));
    assert!(known.has_producer(NOW + TTL - 1) && !known.has_producer(NOW + TTL));
    // Asked for again it is the same one, for longer; so is a renewed one.
    let longer = Lease { until_ms: NOW + 5 + TTL, ..lease.clone() };
    assert_eq!(one(graph, first, "lease-a", NOW + 5), Claim::Granted(longer));
    let of = [(first, lease.number), (second, lease.number - 1), (id("nobody", 0), 1)];
    let renewed = graph.renew(&of, "lease-a", TTL, NOW + 9).unwrap();
    assert_eq!(granted(&renewed[0]), &Lease { until_ms: NOW + 9 + TTL, ..lease.clone() });
    assert!(matches!((&renewed[1], &renewed[2]), (Claim::Held(_), Claim::Gone)), "{renewed:?}");
    assert!(matches!(&graph.renew(&of[..1], "lease-b", TTL, NOW).unwrap()[0], Claim::Held(_)));
    // A loser that was away: the next number fences it.
    let later = NOW + 9 + TTL;
    let next = granted(&one(graph, first, "lease-b", later)).clone();
    assert!(next.number > lease.number);
    assert_eq!(graph.renew(&of[..1], "lease-a", TTL, later).unwrap(), [Claim::Held(next.clone())]);
    // A released strategy produces nothing.
    graph.release("lease-b", later + 1).unwrap();
    assert!(!graph.node(&first).unwrap().unwrap().has_producer(later + 1));
    for ttl in [0, -1, i64::MAX] {
        let error = graph.lease(&[first], "lease-a", ttl, NOW).unwrap_err();
        assert!(matches!(error, GraphError::Invalid { .. }), "{error}");
    }
    assert!(graph.lease(&[first], "", TTL, NOW).is_err());
    graph.expire(i64::MAX, 1000).unwrap();
}

pub fn a_lease_that_ran_out_is_swept_once(graph: &dyn Graph) {
    graph.apply(&change("sweep", &[placed("sweep", 0, &[]), placed("sweep", 1, &[])])).unwrap();
    let lease = granted(&one(graph, id("sweep", 0), "sweep", NOW)).clone();
    one(graph, id("sweep", 1), "sweep", NOW + 1);
    assert_eq!(graph.expire(NOW + TTL - 1, 10).unwrap(), []);
    let expired = graph.expire(NOW + TTL + 1, 1).unwrap();
    assert_eq!((expired[0].identity, &expired[0].lease), (id("sweep", 0), &lease));
    assert_eq!(graph.expire(NOW + TTL + 1, 10).unwrap()[0].identity, id("sweep", 1));
    assert_eq!(graph.expire(NOW + TTL + 1, 10).unwrap(), []);
    let of = [(id("sweep", 0), lease.number)];
    assert_eq!(graph.renew(&of, "sweep", TTL, NOW + TTL + 2).unwrap(), [Claim::Gone]);
    // The clock went back: the number does not.
    assert!(granted(&one(graph, id("sweep", 0), "sweep", NOW - 1000)).number > lease.number);
    graph.expire(i64::MAX, 1000).unwrap();
}

pub fn numbers_grow_over_removal(graph: &dyn Graph) {
    let nodes = [placed("regrown", 0, &[])];
    graph.apply(&change("regrown-1", &nodes)).unwrap();
    let before = granted(&one(graph, id("regrown", 0), "regrown-1", NOW)).number;
    graph.release("regrown-1", NOW + 1).unwrap();
    assert_eq!(graph.remove(&[id("regrown", 0)], NOW + 1, NOW + 2).unwrap().len(), 1);
    graph.apply(&change("regrown-2", &nodes)).unwrap();
    assert!(granted(&one(graph, id("regrown", 0), "regrown-2", NOW + 2)).number > before);
    graph.expire(i64::MAX, 1000).unwrap();
}

pub fn a_crowd_gets_one_lease(engine: &Engine) {
    let graph = engine.open().unwrap();
    graph.apply(&change("race", &[placed("race", 0, &[])])).unwrap();
    let mut last = 0;
    for round in 0..5 {
        let now_ms = NOW + round * 2 * TTL;
        let won: Vec<i64> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..6)
                .map(|own| {
                    scope.spawn(move || {
                        let graph = engine.open().unwrap();
                        match one(&*graph, id("race", 0), &format!("race-{own}"), now_ms) {
                            Claim::Granted(lease) => Some(lease.number),
                            _ => None,
                        }
                    })
                })
                .collect();
            threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
        });
        assert!(won.len() == 1 && won[0] > last, "{won:?} after {last}");
        last = won[0];
    }
    graph.expire(i64::MAX, 1000).unwrap();
}
