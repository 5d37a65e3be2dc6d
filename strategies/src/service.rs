//! The service behind the edge.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use ringfence_dag::QueueEntry;
use ringfence_graph::{Graph, NodeRow};
use ringfence_store::{Admission, Draft, Filter, MAX_LIST, Spool, SpoolBounds, State, Store, Strategy};
use ringfence_topics::Topics;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::bodies::{Accepted, Detail, DryRun, Explained, Leases, List, Listed, Queues, Status};
use crate::clock::now_ms;
use crate::intake::{self, Intake};
use crate::mapping::{self, MapError, Subject};
use crate::submission::domain;
use crate::{Refused, Rules, Submission, worker};

/// A 202 waits so long for what can be reused; the rest follows with the plan.
const LOOK_WITHIN: Duration = Duration::from_millis(100);
/// Topics that are known to be there; beyond it all are forgotten and asked for again.
const MAX_TOPICS_THERE: usize = 100_000;

/// What the service is set up with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where strategies are kept.
    pub store: ringfence_store::Engine,
    /// Where the graph is kept.
    pub graph: ringfence_graph::Engine,
    /// Where values go.
    pub topics: ringfence_topics::Engine,
    /// Submissions wait in this file while the store is away; none: they are refused then.
    pub spool: Option<PathBuf>,
    /// What is taken.
    pub rules: Rules,
    /// The same DAG is a duplicate for so long, ms.
    pub duplicate_ttl_ms: u64,
    /// Strategies worked on at once.
    pub workers: usize,
}

/// Why the service does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store.
    #[error(transparent)]
    Store(#[from] ringfence_store::StoreError),
    /// The graph.
    #[error(transparent)]
    Graph(#[from] ringfence_graph::GraphError),
    /// The topics.
    #[error(transparent)]
    Topics(#[from] ringfence_topics::TopicError),
    /// A thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// The service's threads; they end when this is dropped.
pub struct Running {
    service: Arc<Strategies>,
    threads: Vec<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.service.close();
        self.service.stopping.store(true, Ordering::Release);
        self.service.bell.ring();
        for thread in self.threads.drain(..) {
            // A worker that panicked has said so; its claims expire.
            let _ = thread.join();
        }
    }
}

/// Wakes workers.
#[derive(Default)]
pub(crate) struct Bell {
    rung: Mutex<bool>,
    waiting: Condvar,
}

impl Bell {
    pub fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.waiting.notify_all();
    }

    /// Until it rings, or for `most`.
    pub fn wait(&self, most: Duration) {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok((mut rung, _)) = self.waiting.wait_timeout_while(rung, most, |rung| !*rung) {
            *rung = false;
        }
    }
}

/// Topics that need not be created.
#[derive(Default)]
pub(crate) struct TopicsThere(Mutex<HashSet<String>>);

impl TopicsThere {
    pub fn has(&self, topic: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(topic)
    }

    pub fn add(&self, topic: &str) {
        let mut there = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if there.len() >= MAX_TOPICS_THERE {
            there.clear();
        }
        there.insert(topic.to_owned());
    }
}

/// Submitted strategies and what they share.
pub struct Strategies {
    pub(crate) store: Box<dyn Store>,
    pub(crate) graph: Box<dyn Graph>,
    pub(crate) topics: Box<dyn Topics>,
    pub(crate) spool: Option<Spool>,
    pub(crate) topics_there: TopicsThere,
    pub(crate) bell: Bell,
    pub(crate) stopping: AtomicBool,
    pub(crate) options: Options,
    intake: Mutex<Option<Arc<Intake>>>,
}

/// Opens the engines and starts the workers.
///
/// # Errors
/// [`StartError`].
pub fn start(options: Options) -> Result<(Arc<Strategies>, Running), StartError> {
    let store = options.store.open(ringfence_store::Settings::default())?;
    let (graph, topics) = (options.graph.open()?, options.topics.open()?);
    let spool = options.spool.as_deref().map(|path| Spool::open(path, SpoolBounds::default())).transpose()?;
    let (intake, writing) = intake::intake();
    let service = Arc::new(Strategies {
        store,
        graph,
        topics,
        spool,
        topics_there: TopicsThere::default(),
        bell: Bell::default(),
        stopping: AtomicBool::new(false),
        options,
        intake: Mutex::new(Some(Arc::new(intake))),
    });
    let mut running = Running { service: Arc::clone(&service), threads: Vec::new() };
    let spawn =
        |name: String, body: Box<dyn FnOnce() + Send>| std::thread::Builder::new().name(name).spawn(body);
    let writer = Arc::clone(&service);
    running.threads.push(spawn("strategies".into(), Box::new(move || writing.run(&writer)))?);
    for number in 0..service.options.workers {
        // One host may have several shells: a worker is told apart by its process.
        let name = format!("worker-{}-{number}", std::process::id());
        let worker = Arc::clone(&service);
        let body = Box::new(move || worker::run(&worker, &name));
        running.threads.push(spawn(format!("dag-{number}"), body)?);
    }
    Ok((service, running))
}

#[allow(clippy::missing_errors_doc, reason = "Refused, each")]
impl Strategies {
    /// What is taken.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.options.rules
    }

    /// Engines block: they are asked from a thread that may.
    async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, Refused> + Send + 'static,
    ) -> Result<T, Refused> {
        let service = Arc::clone(self);
        tokio::task::spawn_blocking(move || work(&service))
            .await
            .unwrap_or_else(|error| Err(Refused::away(format!("the request failed inside: {error}"))))
    }

    /// Takes a submission of `user`; durable when it returns.
    pub async fn submit(self: &Arc<Self>, submission: Submission, user: &str) -> Result<Accepted, Refused> {
        let strategy_id = uuid::Uuid::new_v4().to_string();
        let sentinel_id = submission.wants_sentinel.then(|| format!("{strategy_id}-sentinel"));
        let draft = Draft {
            strategy_id: strategy_id.clone(),
            duplicate_key: submission.duplicate_key(),
            dag: submission.dag.raw().to_string(),
            meta: Value::Object(submission.meta.clone()).to_string(),
            run_type: submission.run_type,
            worlds: submission.worlds.clone(),
            sentinel_id: sentinel_id.clone(),
            submitted_by: user.to_owned(),
            at_ms: now_ms(),
        };
        let intake = self.intake.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let intake = intake.ok_or_else(|| Refused::away("the shell is stopping: submit again"))?;
        if let Admission::Duplicate { strategy_id } = intake.take(draft).await? {
            return Err(Refused::Duplicate { strategy_id });
        }
        let mut answer = accepted(&submission, strategy_id, sentinel_id);
        let look = self.ask({
            let strategy_id = answer.strategy_id.clone();
            move |service| service.look(&submission, &strategy_id)
        });
        // A graph that is slow or away delays nobody: what it knows comes with the plan.
        if let Ok(Ok((queue_map, _))) = tokio::time::timeout(LOOK_WITHIN, look).await {
            (answer.queue_map, answer.queue_map_complete) = (queue_map, true);
        }
        Ok(answer)
    }

    /// What a submission would answer, and why; nothing happens.
    pub async fn dry_run(self: &Arc<Self>, submission: Submission) -> Result<DryRun, Refused> {
        let strategy_id = uuid::Uuid::new_v4().to_string();
        let mut answer = accepted(&submission, strategy_id.clone(), None);
        let (queue_map, nodes) = self.ask(move |service| service.look(&submission, &strategy_id)).await?;
        (answer.queue_map, answer.queue_map_complete) = (queue_map, true);
        Ok(DryRun { answer, nodes })
    }

    fn look(
        &self,
        submission: &Submission,
        strategy_id: &str,
    ) -> Result<(BTreeMap<String, QueueEntry>, Vec<Explained>), Refused> {
        let subject = Subject {
            dag: &submission.dag,
            order: &submission.order,
            verified: &submission.verified,
            strategy_id,
            domain: domain(submission.run_type),
        };
        let resolved = mapping::resolve(&*self.graph, subject, now_ms())?;
        Ok((resolved.queue_map(), resolved.explained()))
    }

    /// Where a strategy is.
    pub async fn status(self: &Arc<Self>, strategy_id: &str) -> Result<Status, Refused> {
        let id = strategy_id.to_owned();
        self.ask(move |service| service.known(&id).map(|found| status(&found))).await
    }

    fn known(&self, strategy_id: &str) -> Result<Strategy, Refused> {
        match self.store.get(strategy_id) {
            Ok(Some(found)) => Ok(found),
            // Acknowledged, and not yet where it is looked for.
            Ok(None) if self.is_spooled(strategy_id) => {
                Err(Refused::away("the strategy waits for the store to come back"))
            }
            // What cannot be an id is nobody's.
            Ok(None) | Err(ringfence_store::StoreError::Value { .. }) => Err(Refused::unknown(strategy_id)),
            Err(error) => Err(error.into()),
        }
    }

    fn is_spooled(&self, strategy_id: &str) -> bool {
        self.spool.as_ref().is_some_and(|spool| spool.contains(strategy_id).unwrap_or(false))
    }

    /// A strategy with its plan.
    pub async fn detail(self: &Arc<Self>, strategy_id: &str) -> Result<Detail, Refused> {
        let id = strategy_id.to_owned();
        self.ask(move |service| {
            let found = service.known(&id)?;
            let plan = service.store.plan(&id)?.and_then(|plan| RawValue::from_string(plan).ok());
            Ok(Detail { listed: listed(found), plan })
        })
        .await
    }

    /// Strategies with places after `after`, at most `most` (1 to 1000), in this state (its name), if one is given.
    pub async fn list(
        self: &Arc<Self>,
        after: u64,
        most: usize,
        state: Option<&str>,
    ) -> Result<List, Refused> {
        let words = || State::ALL.map(State::name).join(", ");
        let state = state
            .map(|name| {
                State::parse(name).ok_or_else(|| Refused::bad(format!("`state` is one of {}", words())))
            })
            .transpose()?;
        let most = most.clamp(1, MAX_LIST);
        self.ask(move |service| {
            let found = service.store.list(after, most, &Filter { state, submitted_by: None })?;
            let next = found.last().filter(|_| found.len() == most).map(|last| last.seq);
            Ok(List { strategies: found.into_iter().map(listed).collect(), next })
        })
        .await
    }

    /// Ends a strategy and releases what it uses. Again, it changes nothing.
    pub async fn delete(self: &Arc<Self>, strategy_id: &str) -> Result<Status, Refused> {
        let id = strategy_id.to_owned();
        self.ask(move |service| {
            service.known(&id)?;
            // First the graph: a worker that has it under way is refused there from now on.
            service.graph.release(&id, crate::clock::signed(now_ms()))?;
            service.store.delete(&id, now_ms())?;
            service.known(&id).map(|found| status(&found))
        })
        .await
    }

    /// What a client that executes by itself says: `executing`, `completed` or `failed`.
    pub async fn report(
        self: &Arc<Self>,
        strategy_id: &str,
        state: &str,
        error: Option<&str>,
    ) -> Result<Status, Refused> {
        let reported = State::parse(state)
            .filter(|state| matches!(state, State::Executing | State::Completed | State::Failed))
            .ok_or_else(|| Refused::bad("`state` is one of executing, completed, failed"))?;
        let (id, error) = (strategy_id.to_owned(), error.map(str::to_owned));
        self.ask(move |service| {
            service.known(&id)?;
            service.store.report(&id, reported, error.as_deref(), now_ms())?;
            service.known(&id).map(|found| status(&found))
        })
        .await
    }

    /// Asks for the right to compute these nodes (ids of its DAG), or to go on with it; none: all of them.
    pub async fn lease(
        self: &Arc<Self>,
        strategy_id: &str,
        nodes: Option<Vec<String>>,
    ) -> Result<Leases, Refused> {
        let id = strategy_id.to_owned();
        self.ask(move |service| {
            let state = service.known(&id)?.state;
            if matches!(state, State::Failed | State::Deleted) {
                return Err(Refused::Conflict(format!("the strategy is {state}: submit its DAG again")));
            }
            let own = service.graph.strategy_nodes(&id)?;
            if let Some(unknown) =
                nodes.iter().flatten().find(|node| !own.iter().any(|row| row.node_id == **node))
            {
                let shown: String = unknown.chars().take(100).collect();
                return Err(Refused::bad(format!(
                    "{shown} is no node of this strategy, or it is not mapped yet"
                )));
            }
            let is_wanted = |row: &&NodeRow| nodes.as_ref().is_none_or(|nodes| nodes.contains(&row.node_id));
            let wanted: Vec<(&str, NodeRow)> =
                own.iter().filter(is_wanted).map(|row| (row.node_id.as_str(), row.clone())).collect();
            let leases = mapping::lease(service, &id, &wanted, now_ms()).map_err(|error| match error {
                MapError::Graph(error) => Refused::from(error),
                MapError::Topics(error) => Refused::away(error.to_string()),
            })?;
            Ok(Leases { leases })
        })
        .await
    }

    /// Topics of nodes with these tags (at least one), of buckets of this length, if one is given.
    pub async fn queues_by_tags(
        self: &Arc<Self>,
        tags: Vec<String>,
        interval_s: Option<u32>,
        all: bool,
    ) -> Result<Queues, Refused> {
        self.ask(move |service| {
            Ok(Queues { queues: mapping::by_tags(&*service.graph, tags, interval_s, all)? })
        })
        .await
    }

    /// Takes no more submissions; what was taken is written.
    pub fn close(&self) {
        drop(self.intake.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

fn accepted(submission: &Submission, strategy_id: String, sentinel_id: Option<String>) -> Accepted {
    // Nodes that ask by tags are always in the map: their client would wait for them.
    let asking = submission.dag.nodes().iter().filter(|node| node.tag_query.is_some());
    Accepted {
        strategy_id,
        queue_map: asking.map(|node| (node.node_id.clone(), QueueEntry::Topics(Vec::new()))).collect(),
        queue_map_complete: false,
        sentinel_id: sentinel_id.unwrap_or_default(),
        node_ids_crc32: submission.crc32,
        downgraded: submission.downgrade_reason.is_some(),
        downgrade_reason: submission.downgrade_reason,
    }
}

fn status(found: &Strategy) -> Status {
    Status { status: found.state.public_name(), state: found.state.name(), error: found.error.clone() }
}

fn listed(found: Strategy) -> Listed {
    Listed {
        status: status(&found),
        strategy_id: found.strategy_id,
        seq: found.seq,
        run_type: found.run_type.map(ringfence_store::RunType::name),
        world_ids: found.worlds,
        sentinel_id: found.sentinel_id,
        submitted_by: found.submitted_by,
        submitted_ms: found.submitted_ms,
        updated_ms: found.updated_ms,
    }
}
