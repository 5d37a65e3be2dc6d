//! The server is killed while strategies are applied.

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ringfence_graph::{Engine, Placed};
use ringfence_services::neo4j::Server;

use super::build::{change, placed};

const APPLIERS: u16 = 3;
/// An error after a kill comes within this, whatever was under way.
const PATIENCE: Duration = Duration::from_secs(20);

fn nodes(round: u16, own: u16, n: u16) -> Vec<Placed> {
    let part = format!("kill-{round}");
    // The first ones are shared by all appliers.
    (0..20)
        .map(|at| {
            let number = if at < 10 { n * 10 + at } else { 10_000 + own * 10_000 + n * 10 + at };
            let mut node = placed(&part, number, &[]);
            if at > 0 {
                node.inputs = vec![placed(&part, n * 10, &[]).node.identity];
            }
            node
        })
        .collect()
}

/// Nothing acknowledged is lost; what the kill cut is there as a whole or not at all, and can be applied again.
pub fn acknowledged_is_there(engine: &Engine, round: u16, server: &mut Server) {
    let name = |own: u16, n: u16| format!("kill-{round}-{own}-{n}");
    let (killed, progress) = (AtomicBool::new(false), AtomicU64::new(0));
    let acknowledged: Vec<u16> = std::thread::scope(|scope| {
        let appliers: Vec<_> = (0..APPLIERS)
            .map(|own| {
                let (killed, progress) = (&killed, &progress);
                scope.spawn(move || {
                    let graph = engine.open().unwrap();
                    for n in 0..900 {
                        let began = Instant::now();
                        if let Err(error) = graph.apply(&change(&name(own, n), &nodes(round, own, n))) {
                            assert!(killed.load(Ordering::Relaxed) && error.is_unavailable(), "{error}");
                            assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
                            return n;
                        }
                        progress.fetch_add(1, Ordering::Relaxed);
                    }
                    panic!("no apply was cut");
                })
            })
            .collect();
        let deadline = Instant::now() + 4 * PATIENCE;
        while progress.load(Ordering::Relaxed) < 30 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        killed.store(true, Ordering::Relaxed);
        server.kill();
        appliers.into_iter().map(|applier| applier.join().unwrap()).collect()
    });
    let began = Instant::now();
    server.restart().unwrap();
    println!(
        "size: {acknowledged:?} strategies acknowledged before the kill; back after {:?}",
        began.elapsed()
    );
    let graph = engine.open().unwrap();
    for (own, acknowledged) in (0..APPLIERS).zip(acknowledged) {
        for n in 0..=acknowledged {
            let all = nodes(round, own, n);
            let found = graph.strategy_nodes(&name(own, n)).unwrap();
            let whole = found.iter().eq(all.iter().map(|placed| &placed.node));
            assert!(whole || n == acknowledged && found.is_empty(), "{own} {n}: {} nodes", found.len());
            let again = graph.apply(&change(&name(own, n), &all)).unwrap();
            assert!(again.created.len() >= 10, "{again:?}");
            assert_eq!(graph.apply(&change(&name(own, n), &all)).unwrap(), again);
        }
    }
}

/// A server that is stopped answers nothing and closes nothing: still an error comes.
pub fn a_stopped_server_is_an_error_in_bounded_time(engine: &Engine, server: &Server) {
    let graph = engine.open().unwrap();
    graph.ping().unwrap();
    let pid = server.pid().unwrap().to_string();
    let signal = |name: &str| assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    signal("-STOP");
    let began = Instant::now();
    let error = graph.apply(&change("stopped", &[placed("stopped", 0, &[])])).unwrap_err();
    let took = began.elapsed();
    signal("-CONT");
    println!("size: {took:?} until a stopped server is an error");
    assert!(error.is_unavailable() && took < 3 * PATIENCE, "{took:?}: {error}");
    graph.apply(&change("stopped", &[placed("stopped", 0, &[])])).unwrap();
}
