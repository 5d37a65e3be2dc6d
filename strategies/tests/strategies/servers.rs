//! The same on PostgreSQL with Redis, Neo4j and Kafka, which are killed meanwhile.

use std::path::Path;

use ringfence_graph::Neo4jConfig;
use ringfence_services::kafka::{self, Cluster};
use ringfence_services::neo4j::{self, Server};
use ringfence_services::postgres::{self, Postgres};
use ringfence_services::redis::{self, Redis};
use ringfence_strategies::Options;
use serde_json::json;

use crate::common::{Desk, body, dag, embedded};
use crate::many::sixty_four_overlapping;

/// Ports of their own: other tests use those below.
const PORT_STEP: u16 = 3_000;

struct Servers {
    kafka: Cluster,
    neo4j: Server,
    postgres: Postgres,
    redis: Redis,
}

impl Servers {
    fn start(dir: &Path) -> Result<Self, String> {
        kafka::jars()?;
        neo4j::jars()?;
        postgres::programs()?;
        redis::found()?;
        let place = |name: &str| {
            let place = dir.join(name);
            std::fs::create_dir(&place).map(|()| place).map_err(|error| error.to_string())
        };
        Ok(Self {
            kafka: Cluster::start(&place("kafka")?, 1, kafka::FIRST_PORT + PORT_STEP)?,
            neo4j: Server::start(&place("neo4j")?, neo4j::FIRST_PORT + PORT_STEP)?,
            postgres: Postgres::start(&place("postgres")?, postgres::FIRST_PORT + PORT_STEP)?,
            redis: Redis::start(&place("redis")?, redis::FIRST_PORT + PORT_STEP)?,
        })
    }

    fn options(&self, dir: &Path) -> Options {
        Options {
            store: ringfence_store::Engine::Postgres {
                url: self.postgres.url("postgres").into(),
                redis: Some(self.redis.url().into()),
            },
            graph: ringfence_graph::Engine::Neo4j(Neo4jConfig {
                uri: self.neo4j.uri(),
                login: None,
                database: None,
            }),
            topics: ringfence_topics::Engine::Kafka(self.kafka.addresses()),
            spool: Some(dir.join("spool.db")),
            ..embedded(dir)
        }
    }
}

#[test]
fn real_servers_are_killed_one_after_the_other_and_every_202_is_mapped_once() {
    let test = "real_servers_are_killed_one_after_the_other_and_every_202_is_mapped_once";
    let dir = tempfile::tempdir().unwrap();
    let mut servers = match Servers::start(dir.path()) {
        Ok(servers) => servers,
        Err(why) => {
            eprintln!("SKIPPED: {test}: {why}");
            return;
        }
    };
    let desk = Desk::open(servers.options(dir.path()));
    sixty_four_overlapping(&desk);
    let mut ids = Vec::new();
    let mut submit = |desk: &Desk, count: usize| {
        for _ in 0..count {
            ids.push(desk.accepted(&body(&dag(&format!("later-{}", ids.len())))).strategy_id);
        }
    };
    submit(&desk, 5);
    servers.neo4j.kill();
    submit(&desk, 5);
    servers.neo4j.restart().unwrap();
    servers.redis.kill();
    submit(&desk, 5);
    servers.redis.restart().unwrap();
    servers.kafka.kill(0);
    submit(&desk, 5);
    servers.kafka.restart(0).unwrap();
    servers.postgres.kill();
    submit(&desk, 5);
    servers.postgres.restart().unwrap();
    submit(&desk, 5);
    for id in &ids {
        desk.becomes(id, "completed");
    }
    let mut created = 0;
    for id in &ids {
        let plan = desk.plan(id);
        created += plan["new_nodes"].as_array().unwrap().len();
        let granted =
            plan["leases"].as_array().unwrap().iter().filter(|lease| lease["granted"] == json!(true));
        for lease in granted {
            let node = lease["node_id"].as_str().unwrap();
            assert!(
                plan["queue_mappings"][node].is_null(),
                "whoever computes a node is not told to read it: {plan:#}"
            );
        }
    }
    assert_eq!(created, 1 + ids.len(), "one price for all of them, and each its own mean");
}
