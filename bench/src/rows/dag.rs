//! `dag_*` and `diff_*`: strategies as DAGs on the embedded engines, in this process.
//!
//! Requests are sent when they are due, whatever became of those before, and are timed from then: a server that falls behind
//! shows it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use ringfence_dag::{EMPTY_CONFIG_HASH, sha2_id};
use ringfence_strategies::{Options, Rules, Running, Sent, Strategies, Submission};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::http_load::{request, whole};
use super::http_shell::HttpShell;
use super::{Bench, Keys};
use crate::stats::{Latencies, Row};

/// Nodes that strategies of the burst are made of.
const POOL: usize = 2_000;
/// Those of them that read nothing.
const SOURCES: usize = 200;
/// Submissions a second.
const BURST_PER_S: u64 = 1_000;
/// Connections of the burst.
const CONNECTIONS: usize = 64;
/// What was taken is mapped within that.
const DRAINED_WITHIN: Duration = Duration::from_secs(120);
/// Nodes of the DAG that is compared.
const WIDE: usize = 1_000;
/// Comparisons a second.
const DIFFS_PER_S: u64 = 50;

/// The service on embedded engines in `dir`.
///
/// # Errors
/// An engine cannot be opened.
pub fn service(dir: &Path) -> Result<(Arc<Strategies>, Running)> {
    Ok(ringfence_strategies::start(Options {
        store: ringfence_store::Engine::Embedded(dir.join("strategies.db")),
        graph: ringfence_graph::Engine::Embedded(dir.join("graph.db")),
        topics: ringfence_topics::Engine::Embedded(dir.join("values.db")),
        spool: None,
        rules: Rules::default(),
        duplicate_ttl_ms: 3_600_000,
        workers: 2,
    })?)
}

fn node(kind: &str, code: &str, inputs: &[&Value]) -> Value {
    let id = sha2_id(kind, code, EMPTY_CONFIG_HASH, "s");
    let inputs: Vec<&Value> = inputs.iter().map(|input| &input["node_id"]).collect();
    json!({"node_id": id, "node_type": kind, "name": code, "interval": 60, "period": 5, "tags": [], "inputs": inputs,
        "code_hash": code, "config_hash": EMPTY_CONFIG_HASH, "schema_hash": "s"})
}

fn source(i: usize) -> Value {
    node("StreamInput", &format!("source-{i}"), &[])
}

fn mean(i: usize) -> Value {
    node("ProcessingNode", &format!("mean-{i}"), &[&source(i % SOURCES)])
}

fn body(nodes: &[Value]) -> String {
    json!({"dag_json": json!({ "nodes": nodes }).to_string(), "run_type": "dry-run"}).to_string()
}

/// A strategy over the pool: 2 to 8 means with what they read, 10 nodes in the mean.
fn strategy(keys: &mut Keys) -> String {
    let mut draw = |below: u64| (keys.next_key() as u64 % below) as usize;
    let count = 2 + draw(7);
    let means: BTreeSet<usize> = (0..count).map(|_| draw((POOL - SOURCES) as u64)).collect();
    let sources: BTreeSet<usize> = means.iter().map(|i| i % SOURCES).collect();
    let nodes: Vec<Value> = sources.into_iter().map(source).chain(means.into_iter().map(mean)).collect();
    body(&nodes)
}

/// What became of the burst.
#[derive(Default)]
struct Outcome {
    taken: Vec<String>,
    duplicates: u64,
    ns: Vec<u32>,
}

/// Sends every body when it is due.
async fn burst(shell: &HttpShell, bodies: &[String]) -> Result<Outcome> {
    let next = AtomicU64::new(0);
    let began = Instant::now();
    let due = |n: u64| began + Duration::from_nanos(1_000_000_000 / BURST_PER_S * n);
    let one = async || -> Result<Outcome> {
        let mut stream = tokio::net::TcpStream::connect(shell.address).await?;
        stream.set_nodelay(true)?;
        let (mut buffer, mut done) = (vec![0; 64 << 10], Outcome::default());
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            let Some(body) = bodies.get(n as usize) else { return Ok(done) };
            tokio::time::sleep_until(due(n).into()).await;
            stream.write_all(&request("POST", "/strategies", &shell.api_key, body)).await?;
            let mut filled = 0;
            let (status, at) = loop {
                let read = stream.read(&mut buffer[filled..]).await?;
                ensure!(read > 0, "the server closed a connection");
                filled += read;
                if let Some(found) = whole(&buffer[..filled])? {
                    break found;
                }
            };
            done.ns.push(u32::try_from(due(n).elapsed().as_nanos()).unwrap_or(u32::MAX));
            match status {
                202 => {
                    let answer: Value = serde_json::from_slice(&buffer[at..filled])?;
                    done.taken.push(answer["strategy_id"].as_str().context("no id")?.to_owned());
                }
                409 => done.duplicates += 1,
                _ => bail!("answered {status}: {}", String::from_utf8_lossy(&buffer[at..filled])),
            }
        }
    };
    let all = futures_util::future::try_join_all((0..CONNECTIONS).map(|_| one())).await?;
    Ok(all.into_iter().fold(Outcome::default(), |mut sum, part| {
        sum.taken.extend(part.taken);
        sum.ns.extend(part.ns);
        sum.duplicates += part.duplicates;
        sum
    }))
}

/// Strategies that ended as they should, by id.
async fn completed(service: &Arc<Strategies>) -> Result<BTreeSet<String>> {
    let (mut found, mut after) = (BTreeSet::new(), 0);
    loop {
        let page = service.list(after, 1_000, None).await.map_err(|refused| anyhow!("{refused:?}"))?;
        for strategy in page.strategies {
            match strategy.status.status {
                "completed" => ensure!(found.insert(strategy.strategy_id), "a strategy is listed twice"),
                "failed" => bail!("a strategy failed: {:?}", strategy.status.error),
                _ => {}
            }
        }
        match page.next {
            Some(next) => after = next,
            None => return Ok(found),
        }
    }
}

/// `dag_burst_embedded`: 1,000 submissions a second over HTTP, with logins and audit; every 202 is mapped once afterwards.
/// Latencies are those of the answers, from when their requests were due.
///
/// # Errors
/// Something is lost, doubled, failed, or not drained in time.
pub fn burst_embedded(bench: &mut Bench, name: &'static str) -> Result<Vec<Row>> {
    let dir = tempfile::Builder::new().prefix("dag-").tempdir_in(&bench.options.out)?;
    let (service, running) = service(dir.path())?;
    let shell = HttpShell::start_with(bench, Some(Arc::clone(&service)))?;
    let mut keys = Keys::new(bench.options.seed);
    let count = bench.options.http_time().as_secs() * BURST_PER_S;
    let bodies: Vec<String> = (0..count).map(|_| strategy(&mut keys)).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(burst(&shell, &bodies))?;
    ensure!(outcome.taken.len() as u64 + outcome.duplicates == count, "not every submission was answered");
    let distinct: BTreeSet<&String> = bodies.iter().collect();
    ensure!(
        outcome.taken.len() == distinct.len(),
        "{} of {} DAGs were taken",
        outcome.taken.len(),
        distinct.len()
    );
    let wanted: BTreeSet<String> = outcome.taken.into_iter().collect();
    let deadline = Instant::now() + DRAINED_WITHIN;
    let drained = loop {
        let done = runtime.block_on(completed(&service))?;
        if done == wanted {
            break done.len();
        }
        ensure!(Instant::now() < deadline, "{} of {} strategies are mapped", done.len(), wanted.len());
        std::thread::sleep(Duration::from_millis(20));
    };
    let mut latencies = Latencies::new()?;
    latencies.add(&outcome.ns);
    let mut row = latencies.row(name, "any", None, 0, 1.0);
    row.p95 = latencies.at(0.95);
    row.lost = Some((wanted.len() - drained) as u64);
    drop(running);
    shell.finish(0)?;
    Ok(vec![row])
}

/// `diff_1000_embedded`: a DAG of 1,000 nodes that the graph knows, compared with it 50 times a second.
///
/// # Errors
/// The comparison is wrong.
pub fn diff_embedded(bench: &mut Bench, name: &'static str) -> Result<Vec<Row>> {
    let dir = tempfile::Builder::new().prefix("dag-").tempdir_in(&bench.options.out)?;
    let (service, _running) = service(dir.path())?;
    let nodes: Vec<Value> = (0..SOURCES).map(source).chain((0..WIDE - SOURCES).map(mean)).collect();
    let body = body(&nodes);
    let read = || {
        Submission::read(body.as_bytes(), Sent::default(), service.rules())
            .map_err(|refused| anyhow!("{refused:?}"))
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let taken =
        runtime.block_on(service.submit(read()?, "bench")).map_err(|refused| anyhow!("{refused:?}"))?;
    let deadline = Instant::now() + DRAINED_WITHIN;
    while !runtime.block_on(completed(&service))?.contains(&taken.strategy_id) {
        ensure!(Instant::now() < deadline, "the DAG is not mapped");
        std::thread::sleep(Duration::from_millis(5));
    }
    let began = Instant::now();
    let mut ns = Vec::new();
    for n in 0..bench.options.http_time().as_secs() * DIFFS_PER_S {
        let submission = read()?;
        let due = began + Duration::from_nanos(1_000_000_000 / DIFFS_PER_S * n);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let asked = Instant::now().min(due);
        let found =
            runtime.block_on(service.dry_run(submission)).map_err(|refused| anyhow!("{refused:?}"))?;
        ns.push(u32::try_from(asked.elapsed().as_nanos()).unwrap_or(u32::MAX));
        let known = found.nodes.iter().filter(|node| node.action == "reuse").count();
        ensure!(known == WIDE, "{known} of {WIDE} nodes are known");
    }
    let mut latencies = Latencies::new()?;
    latencies.add(&ns);
    let mut row = latencies.row(name, "any", None, 0, 1.0);
    row.p95 = latencies.at(0.95);
    Ok(vec![row])
}
