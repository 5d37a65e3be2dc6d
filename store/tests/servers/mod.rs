//! Real servers: the promises in PostgreSQL, alone and with Redis before it, and what they hold when a server dies.

mod kills;
mod lies;
mod start;

use std::process::Command;

use ringfence_store::Engine;
use secrecy::SecretString;

use crate::conformance;
use start::Servers;

/// A database of its own for each check. All share the Redis, which knows strategies by their ids: it is emptied.
fn fresh(servers: &Servers, kind: &str, redis: bool) -> impl Fn(&str) -> Engine {
    let (url, base) = (servers.postgres.url("postgres"), servers.postgres.url(kind));
    let redis = redis.then(|| SecretString::from(servers.redis.url()));
    let flush = redis.as_ref().and(servers.redis.pid()).map(|_| servers.redis.url());
    move |name| {
        start::say(&url, &format!("CREATE DATABASE {}_{name}", base.rsplit('/').next().unwrap()));
        if let Some(redis) = &flush {
            let done = Command::new("redis-cli").args(["-u", redis, "FLUSHALL"]).output().unwrap();
            assert!(done.status.success());
        }
        Engine::Postgres { url: SecretString::from(format!("{base}_{name}")), redis: redis.clone() }
    }
}

#[test]
fn postgres_keeps_every_promise_alone_and_behind_redis() {
    let test = "postgres_keeps_every_promise_alone_and_behind_redis";
    let Some(mut servers) = start::both(test, 100) else { return };
    conformance::all(&fresh(&servers, "alone", false));
    conformance::all(&fresh(&servers, "redis", true));
    // The same without the Redis that is named.
    servers.redis.kill();
    conformance::all(&fresh(&servers, "lost", true));
}
