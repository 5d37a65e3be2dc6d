//! Strategies: what their operations take and answer. What is refused there is `{"detail": ..}`.

use axum::http::Method;
use ringfence_strategies::{Accepted, Detail, DryRun, Leases, List, Queues, Status};
use utoipa::openapi::schema::{AnyOfBuilder, ArrayBuilder, ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};

use super::super::strategies::{MATCH_MODES, MAX_LEASED, REPORTS};
use super::field::{any, flag, number, text, texts, words};
use super::operation::Operation as Op;

const DAG: &str = "The DAG, or the base64 of it: `{nodes: [{node_id, node_type, ..}], schema_version?, meta?}`, see \
    docs/node-ids.md.";

fn submission() -> RefOr<Schema> {
    let of = |kind: Type, about: &str| ObjectBuilder::new().schema_type(kind).description(Some(about));
    let dag = AnyOfBuilder::new()
        .description(Some(DAG))
        .item(ObjectBuilder::new().schema_type(Type::Object))
        .item(ObjectBuilder::new().schema_type(Type::String));
    let run_type = of(Type::String, "May be left out where `world_ids` are given.");
    let world_ids = ArrayBuilder::new().items(ObjectBuilder::new().schema_type(Type::String));
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .property("dag_json", dag)
        .property("run_type", run_type.enum_values(Some(["backtest", "dry-run", "live"])))
        .property("world_ids", world_ids.description(Some("Worlds that it is to run in.")))
        .property("meta", of(Type::Object, "Kept as it is."))
        .property(
            "node_ids_crc32",
            of(Type::Integer, "Over the ids in the DAG's order; refused unless it fits."),
        )
        .property("insert_sentinel", of(Type::Boolean, "A version of its own; true unless it is there."))
        .required("dag_json")
        .into()
}

fn submits(op: Op) -> Op {
    op.takes_json(submission())
        .header(text("Content-Encoding", "`gzip`, if the body is."))
        .header(text("X-Allow-Live", "`true`: it may run live, if the caller may operate worlds."))
        .refuses(&[400, 409, 413, 415, 422, 503])
}

fn one(op: Op) -> Op {
    op.in_path([text("id", "The strategy's id.")]).refuses(&[400, 404, 503])
}

/// Every operation on strategies.
pub fn operations() -> Vec<Op> {
    let group = "Strategies";
    let id = "$response.body#/strategy_id";
    vec![
        Op::get("/strategies", group, "Strategies in the order that they were submitted")
            .query([
                number("after", "The `next` of the page before."),
                number("limit", "At most so many, 1 to 1,000; 100 unless it is there."),
                text("state", "In this state alone."),
            ])
            .ok::<List>()
            .refuses(&[400, 422, 503]),
        submits(Op::post("/strategies", group, "Submits a strategy; durable when it is answered"))
            .about("`queue_map` names topics to read instead of computing a node; the rest follows with the plan.")
            .query([flag("explain", "1: as `/strategies/dry-run`.")])
            .answers::<Accepted>(202)
            .ok::<DryRun>()
            .then(Method::GET, "/strategies/{id}", "id", id)
            .then(Method::GET, "/strategies/{id}/status", "id", id)
            .then(Method::DELETE, "/strategies/{id}", "id", id),
        submits(Op::post("/strategies/dry-run", group, "What a submission would answer, and why"))
            .about("Nothing is stored.")
            .ok::<DryRun>(),
        one(Op::get("/strategies/{id}", group, "A strategy with its plan")).ok::<Detail>(),
        one(Op::get("/strategies/{id}/status", group, "Where a strategy is")).ok::<Status>(),
        one(Op::delete("/strategies/{id}", group, "Ends a strategy and releases what it uses"))
            .ok::<Status>()
            .refuses(&[409]),
        one(Op::post("/strategies/{id}/report", group, "What a client that executes by itself says"))
            .takes([
                words("state", &REPORTS, "How it goes.").must(),
                text("error", "What went wrong."),
            ])
            .ok::<Status>()
            .refuses(&[409, 422]),
        one(Op::post("/strategies/{id}/lease", group, "Asks for the right to compute nodes, or goes on with it"))
            .about("To be repeated every 5 s: it ends after 15 s.")
            .takes([texts("nodes", MAX_LEASED, "Ids of nodes of its DAG; all unless they are there.")])
            .ok::<Leases>()
            .refuses(&[409, 422]),
        Op::get("/queues/by_tag", group, "Topics of nodes with these tags")
            .query([
                text("tags", "One or more, with commas.").must(),
                number("interval", "Of buckets of so many seconds alone."),
                words("match_mode", &MATCH_MODES, "How many of the tags; `any` unless it is there."),
                any("match", "Deprecated: `match_mode`, which wins."),
            ])
            .ok::<Queues>()
            .refuses(&[400, 422, 503]),
    ]
}
