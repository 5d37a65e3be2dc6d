//! A service with its engines, and DAGs to submit.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringfence_dag::{EMPTY_CONFIG_HASH, sha2_id};
use ringfence_strategies::{
    Accepted, Detail, Options, Refused, Rules, Running, Sent, Strategies, Submission, start,
};
use serde_json::{Value, json};

pub const PATIENCE: Duration = Duration::from_secs(60);

/// Engines in `dir`, on this machine alone.
pub fn embedded(dir: &Path) -> Options {
    Options {
        store: ringfence_store::Engine::Embedded(dir.join("strategies.db")),
        graph: ringfence_graph::Engine::Embedded(dir.join("graph.db")),
        topics: ringfence_topics::Engine::Embedded(dir.join("topics.db")),
        spool: None,
        rules: Rules::default(),
        duplicate_ttl_ms: 24 * 3600 * 1000,
        workers: 2,
    }
}

/// A running service.
pub struct Desk {
    pub service: Arc<Strategies>,
    pub runtime: tokio::runtime::Runtime,
    _running: Running,
}

impl Desk {
    pub fn open(options: Options) -> Self {
        let (service, running) = start(options).unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        Self { service, runtime, _running: running }
    }

    pub fn submit(&self, body: &Value) -> Result<Accepted, Refused> {
        self.runtime.block_on(self.service.submit(read(body, Sent::default())?, "alice"))
    }

    pub fn accepted(&self, body: &Value) -> Accepted {
        self.submit(body).unwrap()
    }

    pub fn detail(&self, id: &str) -> Detail {
        self.runtime.block_on(self.service.detail(id)).unwrap()
    }

    /// Its plan, once it is there.
    pub fn plan(&self, id: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let detail = self.detail(id);
            if let Some(plan) = &detail.plan {
                return serde_json::from_str(plan.get()).unwrap();
            }
            assert_ne!(detail.listed.status.status, "failed", "{detail:?}");
            assert!(Instant::now() < deadline, "{detail:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn becomes(&self, id: &str, state: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.runtime.block_on(self.service.status(id));
            if found.as_ref().is_ok_and(|found| found.state == state) {
                return;
            }
            assert!(Instant::now() < deadline, "{id} is not {state}: {found:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

pub fn read(body: &Value, sent: Sent) -> Result<Submission, Refused> {
    Submission::read(body.to_string().as_bytes(), sent, &Rules::default())
}

/// A node whose id is that of its parts.
pub fn node(kind: &str, code: &str, interval: u32, inputs: &[&Value]) -> Value {
    let id = sha2_id(kind, code, EMPTY_CONFIG_HASH, "s");
    let inputs: Vec<&Value> = inputs.iter().map(|input| &input["node_id"]).collect();
    json!({"node_id": id, "node_type": kind, "name": code, "interval": interval, "period": 5, "tags": [],
        "inputs": inputs, "code_hash": code, "config_hash": EMPTY_CONFIG_HASH, "schema_hash": "s"})
}

pub fn tagged(mut node: Value, tags: &[&str]) -> Value {
    node["tags"] = json!(tags);
    node
}

/// A price, and a mean of it by this code.
pub fn dag(code: &str) -> Value {
    let price = tagged(node("StreamInput", "price", 60, &[]), &["btc", "trade"]);
    let mean = node("ProcessingNode", code, 60, &[&price]);
    json!({ "nodes": [price, mean] })
}

pub fn body(dag: &Value) -> Value {
    json!({"dag_json": dag.to_string(), "run_type": "dry-run", "meta": {"user": "alice"}})
}

pub fn id(dag: &Value, node: usize) -> String {
    dag["nodes"][node]["node_id"].as_str().unwrap().to_owned()
}
