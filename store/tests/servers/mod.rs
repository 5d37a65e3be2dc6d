//! Real servers: the promises in PostgreSQL, alone and with Redis before it, and what they hold when a server dies.

mod kills;
mod lies;
mod start;

use std::process::Command;

use ringfence_store::Engine;
use secrecy::SecretString;

use crate::conformance;
use start::Servers;

/// An empty database for each check, and an empty Redis.
fn fresh(servers: &Servers, redis: bool) -> impl Fn(&str) -> Engine {
    let url = servers.postgres.url("postgres");
    let redis = redis.then(|| SecretString::from(servers.redis.url()));
    let flush = redis.as_ref().and(servers.redis.pid()).map(|_| servers.redis.url());
    move |_| {
        start::say(&url, "SET client_min_messages = error; DROP SCHEMA IF EXISTS ringfence CASCADE");
        if let Some(redis) = &flush {
            let done = Command::new("redis-cli").args(["-u", redis, "FLUSHALL"]).output().unwrap();
            assert!(done.status.success());
        }
        Engine::Postgres { url: SecretString::from(url.clone()), redis: redis.clone() }
    }
}

#[test]
fn postgres_keeps_every_promise_alone_and_behind_redis() {
    let test = "postgres_keeps_every_promise_alone_and_behind_redis";
    let Some(mut servers) = start::both(test, 100) else { return };
    conformance::all(&fresh(&servers, false));
    conformance::all(&fresh(&servers, true));
    // The same without the Redis that is named.
    servers.redis.kill();
    conformance::all(&fresh(&servers, true));
}
