use std::process::Command;

use ringfence_services::postgres::{self, Postgres};
use ringfence_services::redis::{self, Redis};
use tempfile::TempDir;

pub struct Servers {
    pub postgres: Postgres,
    pub redis: Redis,
    /// Removed last.
    _dir: TempDir,
}

/// None: this machine has none; the test says so.
pub fn both(test: &str, ports: u16) -> Option<Servers> {
    if let Err(why) = postgres::programs().map(drop).and_then(|()| redis::found()) {
        eprintln!("SKIPPED: {test}: {why}");
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    // The database's own user must be let through.
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let postgres = Postgres::start(&dir.path().join("postgres"), postgres::FIRST_PORT + ports).unwrap();
    let redis = Redis::start(&dir.path().join("redis"), redis::FIRST_PORT + ports).unwrap();
    Some(Servers { postgres, redis, _dir: dir })
}

/// By `psql`: what the tests look at is not asked through what they test.
pub fn say(url: &str, statement: &str) -> String {
    let said = Command::new("psql")
        .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statement, url])
        .output()
        .unwrap();
    assert!(said.status.success(), "{statement}: {}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8_lossy(&said.stdout).trim_end().to_owned()
}
