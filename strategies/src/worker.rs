//! Workers take strategies from the queue, each under a fenced claim, and map them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ringfence_dag::{Dag, Limits, MissingConfigHash, topological_order, verify};
use ringfence_store::{Attempt, By, Claim, Draft, State, Step, StoreError};
use serde_json::{Map, Value};

use crate::clock::now_ms;
use crate::mapping::{Subject, resolve};
use crate::service::Strategies;
use crate::submission::domain;

/// A claim lasts so long, ms; a worker that died is replaced after it.
const CLAIM_MS: u64 = 60_000;
/// What was done is told within that.
const TELL_WITHIN: Duration = Duration::from_secs(50);
/// Strategies of one claim.
const AT_ONCE: usize = 8;
/// How often an idle worker looks: for claims that expired, and for what other gateways have taken.
const IDLE: Duration = Duration::from_millis(100);
/// What a strategy needs is away: the pause before it is tried again, doubled each time.
const REST_MIN: Duration = Duration::from_millis(100);
const REST_MAX: Duration = Duration::from_secs(5);
/// Strategies handed over from the spool at once.
const HAND_OVER: usize = 256;

/// Until the service stops.
pub fn run(service: &Arc<Strategies>, name: &str) {
    let mut rest = REST_MIN;
    while !service.stopping.load(Ordering::Acquire) {
        hand_over(service);
        let claims = match service.store.claim(name, AT_ONCE, CLAIM_MS, now_ms()) {
            Ok(claims) => claims,
            Err(error) => {
                tracing::warn!(%error, "no strategy can be taken from the queue; it is tried on");
                service.bell.wait(Duration::from_secs(1));
                continue;
            }
        };
        if claims.is_empty() {
            service.bell.wait(IDLE);
            continue;
        }
        let mut away = None;
        for claim in &claims {
            // Whatever is away for one is away for those behind it, and they keep their places.
            away = match away {
                None => work(service, claim).err(),
                Some(why) => give_back(service, claim, why).err(),
            };
        }
        if let Some(why) = away {
            tracing::warn!(why, pause_ms = rest.as_millis() as u64, "strategies wait for what they need");
            pause(service, rest);
            rest = (rest * 2).min(REST_MAX);
        } else {
            rest = REST_MIN;
        }
    }
}

/// Whatever comes in meanwhile, but not when the service stops.
fn pause(service: &Strategies, pause: Duration) {
    let until = Instant::now() + pause;
    while Instant::now() < until && !service.stopping.load(Ordering::Acquire) {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Back to its place, as if it had not been claimed; again says why.
fn give_back(service: &Strategies, claim: &Claim, why: String) -> Result<(), String> {
    let now_ms = now_ms();
    if let Err(error) = service.store.give_back(&claim.hold, Attempt::Excused, now_ms, &why, now_ms) {
        // Its claim expires.
        tracing::debug!(strategy_id = %claim.hold.strategy_id, %error, "a strategy could not be given back");
    }
    Err(why)
}

fn hand_over(service: &Strategies) {
    let Some(spool) = &service.spool else { return };
    match spool.depth() {
        Ok(0) => {}
        Ok(_) => match spool.hand_over(&*service.store, HAND_OVER, service.options.duplicate_ttl_ms) {
            Ok(done) => tracing::info!(
                taken = done.taken,
                left = done.left,
                "the store is back: the spool is handed over"
            ),
            // It is away still; whoever submits is told nothing of it.
            Err(error) => tracing::debug!(%error, "the spool waits"),
        },
        Err(error) => tracing::error!(%error, "the spool cannot be read"),
    }
}

/// Maps a strategy. An error: what it needs is away.
fn work(service: &Arc<Strategies>, claim: &Claim) -> Result<(), String> {
    let until = Instant::now() + TELL_WITHIN;
    let mapped = map(service, &claim.draft);
    let steps = match &mapped {
        Ok((plan, true)) => vec![Step::mapped(plan)],
        Ok((plan, false)) => vec![Step::mapped(plan), Step::to(State::Completed)],
        Err(Failure::Passing(why)) => return give_back(service, claim, why.clone()),
        Err(Failure::Final(why)) => vec![Step::failed(why)],
    };
    loop {
        match service.store.advance(By::Holder(&claim.hold), &steps, now_ms()) {
            Ok(()) => return Ok(()),
            // Only this worker may act on it until its claim expires: what was done need not be done again.
            Err(error) if error.is_unavailable() && Instant::now() < until => {
                tracing::debug!(%error, "a strategy's state cannot be stored yet");
                pause(service, REST_MIN);
            }
            // Deleted meanwhile, or somebody else's since the claim expired: what was applied is released or found again.
            Err(StoreError::Stale(_) | StoreError::Unknown(_)) => return Ok(()),
            Err(error) => {
                let strategy_id = &claim.hold.strategy_id;
                tracing::warn!(%strategy_id, %error, "a strategy's state could not be stored; its claim expires");
                return Ok(());
            }
        }
        if service.stopping.load(Ordering::Acquire) {
            return Ok(());
        }
    }
}

enum Failure {
    Passing(String),
    Final(String),
}

/// The plan, and whether the client executes by itself and says so.
fn map(service: &Arc<Strategies>, draft: &Draft) -> Result<(String, bool), Failure> {
    let fail = |why: &dyn std::fmt::Display| Failure::Final(why.to_string());
    // What is in the queue was checked under the rules of its time.
    let any = usize::MAX;
    let limits = Limits { bytes: any, nodes: any, inputs: any, tags: any, string_bytes: any };
    let dag = Dag::parse(draft.dag.as_bytes(), &limits).map_err(|error| fail(&error))?;
    let order = topological_order(&dag).map_err(|error| fail(&error))?;
    let verified = verify(&dag, MissingConfigHash::AcceptUnverified)
        .map_err(|found| fail(&format!("{} of its node ids are not those of their nodes", found.len())))?;
    let meta: Map<String, Value> = serde_json::from_str(&draft.meta).unwrap_or_default();
    let subject = Subject {
        dag: &dag,
        order: &order,
        verified: &verified,
        strategy_id: &draft.strategy_id,
        domain: domain(draft.run_type),
    };
    let now_ms = now_ms();
    let plan = resolve(&*service.graph, subject, now_ms)
        .map_err(crate::mapping::MapError::from)
        .and_then(|resolved| resolved.apply(service, draft.sentinel_id.as_deref(), &meta, now_ms))
        .map_err(
            |error| {
                if error.is_transient() { Failure::Passing(error.to_string()) } else { fail(&error) }
            },
        )?;
    Ok((plan, meta.get("executor").and_then(Value::as_str) == Some("client")))
}
