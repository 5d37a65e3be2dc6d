//! Strategies as DAGs: what the configuration says about them, as the service takes it.

use std::path::Path;

use anyhow::Context as _;
use ringfence_core::config::{CoreConfig, DagConfig};
use ringfence_dag::MissingConfigHash;
use ringfence_graph::Neo4jConfig;
use ringfence_strategies::{Options, Rules};
use secrecy::{ExposeSecret as _, SecretString};

use crate::secret;

/// With what the service starts; none: strategies cannot be submitted.
pub fn options(core: &CoreConfig) -> anyhow::Result<Option<Options>> {
    let (config, dir) = (&core.dag, core.dag_dir());
    if !config.enabled {
        return Ok(None);
    }
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let missing_config_hash = if config.missing_config_hash == "strict" {
        MissingConfigHash::Strict
    } else {
        MissingConfigHash::AcceptUnverified
    };
    let store = store(config, &dir)?;
    let is_elsewhere = !matches!(store, ringfence_store::Engine::Embedded(_));
    Ok(Some(Options {
        store,
        graph: graph(config, &dir)?,
        topics: ringfence_topics::Engine::chosen(config.kafka_brokers.as_deref(), &dir.join("values.db")),
        spool: (is_elsewhere && config.spool).then(|| dir.join("spool.db")),
        rules: Rules { missing_config_hash, ..Rules::default() },
        duplicate_ttl_ms: config.duplicate_ttl_s.saturating_mul(1_000),
        workers: config.workers as usize,
    }))
}

fn store(config: &DagConfig, dir: &Path) -> anyhow::Result<ringfence_store::Engine> {
    let read = |path: &Option<std::path::PathBuf>, what| {
        path.as_deref().map(|path| secret::read(path, what)).transpose()
    };
    let redis = read(&config.redis_url_file, "the address of a Redis")?;
    Ok(match read(&config.postgres_url_file, "the address of a PostgreSQL")? {
        Some(url) => ringfence_store::Engine::Postgres { url, redis },
        None => ringfence_store::Engine::Embedded(dir.join("strategies.db")),
    })
}

fn graph(config: &DagConfig, dir: &Path) -> anyhow::Result<ringfence_graph::Engine> {
    let Some(uri) = config.neo4j_uri.clone() else {
        return Ok(ringfence_graph::Engine::Embedded(dir.join("graph.db")));
    };
    let login = config.neo4j_login_file.as_deref().map(|path| {
        let text = secret::read(path, "a user and a password")?;
        let (user, password) = text
            .expose_secret()
            .split_once('\n')
            .with_context(|| format!("{} holds no second line: the password", path.display()))?;
        anyhow::Ok((user.trim().to_owned(), SecretString::from(password.trim())))
    });
    Ok(ringfence_graph::Engine::Neo4j(Neo4jConfig { uri, login: login.transpose()?, database: None }))
}
