//! What a user of one machine sees.

use serde_json::{Value, json};

use crate::common::{Desk, body, dag, embedded, id, node, tagged};

#[test]
fn a_submission_becomes_a_plan_and_what_is_shared_is_computed_once() {
    let dir = tempfile::tempdir().unwrap();
    let desk = Desk::open(embedded(dir.path()));
    let (first_dag, second_dag) = (dag("mean"), dag("median"));
    let first = desk.accepted(&body(&first_dag));
    assert_eq!(json!(first.queue_map), json!({}), "nobody computes anything yet");
    assert!(first.queue_map_complete && !first.downgraded);
    assert_eq!(first.sentinel_id, format!("{}-sentinel", first.strategy_id));
    desk.becomes(&first.strategy_id, "completed");
    let plan = desk.plan(&first.strategy_id);
    assert_eq!(plan["new_nodes"], json!([id(&first_dag, 0), id(&first_dag, 1)]));
    assert_eq!(plan["reuse_nodes"], json!({}));
    assert_eq!(plan["leases"].as_array().unwrap().len(), 2, "{plan:#}");

    let second = desk.accepted(&body(&second_dag));
    let price = id(&second_dag, 0);
    let told = json!(second.queue_map);
    assert!(told[&price].as_str().unwrap().starts_with("streaminput-"), "{told}");
    let plan = desk.plan(&second.strategy_id);
    assert_eq!(plan["new_nodes"], json!([id(&second_dag, 1)]));
    assert_eq!(plan["reuse_nodes"], json!({ &price: told[&price] }));
    assert_eq!(plan["queue_mappings"], told);
    let decisions: Vec<&str> = plan["execution_plan"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["decision"].as_str().unwrap())
        .collect();
    assert_eq!(decisions, ["reuse", "compute"]);
}

#[test]
fn the_same_dag_again_is_the_first_strategy_until_that_is_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let desk = Desk::open(embedded(dir.path()));
    let first = desk.accepted(&body(&dag("mean")));
    let again = desk.submit(&body(&dag("mean"))).unwrap_err();
    assert_eq!(
        (again.status(), again.body()["detail"]["strategy_id"].clone()),
        (409, json!(first.strategy_id))
    );
    desk.becomes(&first.strategy_id, "completed");
    let deleted = desk.runtime.block_on(desk.service.delete(&first.strategy_id)).unwrap();
    assert_eq!(deleted.state, "deleted");
    let second = desk.accepted(&body(&dag("mean")));
    assert_ne!(second.strategy_id, first.strategy_id);
    let plan = desk.plan(&second.strategy_id);
    assert_eq!(plan["new_nodes"], json!([]), "the nodes are there; who computed them is gone");
    assert_eq!(plan["reuse_nodes"], json!({}));
    let backtest = json!({"dag_json": dag("mean").to_string(), "run_type": "backtest"});
    let backtest = desk.plan(&desk.accepted(&backtest).strategy_id);
    assert_eq!(backtest["new_nodes"].as_array().unwrap().len(), 2, "a backtest's values are its own");
}

#[test]
fn a_producer_holds_its_nodes_as_long_as_it_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let desk = Desk::open(embedded(dir.path()));
    let (first_dag, second_dag) = (dag("mean"), dag("median"));
    let first = desk.accepted(&body(&first_dag)).strategy_id;
    let first_plan = desk.plan(&first);
    let second = desk.accepted(&body(&second_dag)).strategy_id;
    desk.plan(&second);
    let lease = |id: &str, nodes: Option<Vec<String>>| desk.runtime.block_on(desk.service.lease(id, nodes));
    let mine = lease(&first, None).unwrap().leases;
    assert!(mine.iter().all(|lease| lease.granted), "{mine:?}");
    assert_eq!(json!(mine[0].number), first_plan["leases"][0]["number"], "who goes on keeps the number");
    let theirs = lease(&second, Some(vec![id(&second_dag, 0)])).unwrap().leases;
    assert!(theirs.len() == 1 && !theirs[0].granted, "{theirs:?}");
    let unknown = lease(&second, Some(vec!["nothing".into()])).unwrap_err();
    assert_eq!(unknown.status(), 400);
    desk.runtime.block_on(desk.service.delete(&first)).unwrap();
    let theirs = lease(&second, Some(vec![id(&second_dag, 0)])).unwrap().leases;
    assert!(theirs[0].granted && theirs[0].number > mine[0].number, "fenced: {theirs:?}");
    assert_eq!(lease(&first, None).unwrap_err().status(), 409);
}

#[test]
fn tag_queries_find_topics_and_are_always_in_the_map() {
    let dir = tempfile::tempdir().unwrap();
    let desk = Desk::open(embedded(dir.path()));
    let first = desk.accepted(&body(&dag("mean"))).strategy_id;
    let plan = desk.plan(&first);
    let price = plan["execution_plan"][0]["topic"].clone();
    let query = tagged(node("TagQueryNode", "query", 60, &[]), &["btc", "eth"]);
    let asking = desk.accepted(&body(&json!({ "nodes": [query] })));
    assert_eq!(json!(asking.queue_map), json!({ query["node_id"].as_str().unwrap(): [price] }));
    let by_tags = |tags: &[&str], interval, all| {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        json!(desk.runtime.block_on(desk.service.queues_by_tags(tags, interval, all)).unwrap())["queues"]
            .clone()
    };
    assert_eq!(by_tags(&["btc"], None, false), json!([price]));
    assert_eq!(by_tags(&["btc", "trade"], Some(60), true), json!([price]));
    assert_eq!(by_tags(&["btc", "eth"], None, true), json!([]));
    assert_eq!(by_tags(&["btc"], Some(300), false), json!([]));
}

#[test]
fn a_dry_run_explains_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let desk = Desk::open(embedded(dir.path()));
    let submission =
        || crate::common::read(&body(&dag("mean")), ringfence_strategies::Sent::default()).unwrap();
    let tried = desk.runtime.block_on(desk.service.dry_run(submission())).unwrap();
    assert!(tried.nodes.iter().all(|node| node.decision == "compute" && !node.why.is_empty()));
    let list = desk.runtime.block_on(desk.service.list(0, 10, None)).unwrap();
    assert!(list.strategies.is_empty() && list.next.is_none());
    let first = desk.accepted(&body(&dag("mean"))).strategy_id;
    desk.plan(&first);
    let tried = desk.runtime.block_on(desk.service.dry_run(submission())).unwrap();
    assert!(tried.nodes.iter().all(|node| node.decision == "reuse"), "{tried:?}");
}

#[test]
fn a_client_that_executes_by_itself_says_how_it_went() {
    let dir = tempfile::tempdir().unwrap();
    let desk = Desk::open(embedded(dir.path()));
    let mut body = body(&dag("mean"));
    body["meta"] = json!({"executor": "client"});
    let id = desk.accepted(&body).strategy_id;
    desk.becomes(&id, "mapped");
    let report = |state: &str, error| desk.runtime.block_on(desk.service.report(&id, state, error));
    assert_eq!(report("executing", None).unwrap().status, "processing");
    let failed = report("failed", Some("division by zero")).unwrap();
    assert_eq!((failed.status, failed.error.as_deref()), ("failed", Some("division by zero")));
    assert_eq!(report("completed", None).unwrap_err().status(), 409);
    assert_eq!(report("queued", None).unwrap_err().status(), 400);
    let nobody = desk.runtime.block_on(desk.service.report("nobody", "completed", None));
    assert_eq!(nobody.unwrap_err().status(), 404);
}

#[test]
fn what_was_acknowledged_survives_a_restart_of_everything() {
    let dir = tempfile::tempdir().unwrap();
    // Without workers nothing is taken from the queue.
    let options = ringfence_strategies::Options { workers: 0, ..embedded(dir.path()) };
    let desk = Desk::open(options);
    let ids: Vec<String> =
        (0..20).map(|i| desk.accepted(&body(&dag(&format!("c{i}")))).strategy_id).collect();
    drop(desk);
    let desk = Desk::open(embedded(dir.path()));
    ids.iter().for_each(|id| desk.becomes(id, "completed"));
    let list = desk.runtime.block_on(desk.service.list(0, 7, Some("completed"))).unwrap();
    let rest = desk.runtime.block_on(desk.service.list(list.next.unwrap(), 1000, None)).unwrap();
    let told: Vec<&String> =
        list.strategies.iter().chain(&rest.strategies).map(|strategy| &strategy.strategy_id).collect();
    assert_eq!(told, ids.iter().collect::<Vec<_>>(), "first in, first out");
}

#[test]
fn live_without_the_guard_is_a_dry_run_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let desk = Desk::open(embedded(dir.path()));
    let live = json!({"dag_json": dag("mean").to_string(), "run_type": "live"});
    let answer = desk.accepted(&live);
    assert!(answer.downgraded && answer.downgrade_reason.unwrap().contains("X-Allow-Live"));
    assert_eq!(desk.detail(&answer.strategy_id).listed.run_type, Some("dry-run"));
    let guarded =
        crate::common::read(&live, ringfence_strategies::Sent { allow_live: true, gzip: false }).unwrap();
    let answer = desk.runtime.block_on(desk.service.submit(guarded, "alice")).unwrap();
    assert!(!answer.downgraded);
    assert_eq!(desk.detail(&answer.strategy_id).listed.run_type, Some("live"));
    let plan: Value = desk.plan(&answer.strategy_id);
    assert_eq!(plan["reuse_nodes"], json!({}), "nothing of a dry run gets into a live one");
}
