//! What every engine must do, asked of each of them: the embedded log, and a real Kafka.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod conformance;

use ringfence_topics::Engine;

#[test]
fn embedded_topics_keep_every_promise() {
    let dir = tempfile::tempdir().unwrap();
    conformance::all(&Engine::Embedded(dir.path().join("topics.db")));
}

#[test]
fn embedded_topics_drop_the_oldest_beyond_their_size() {
    let dir = tempfile::tempdir().unwrap();
    conformance::size(&Engine::Embedded(dir.path().join("topics.db")));
}

#[test]
fn a_file_that_others_can_read_or_of_another_version_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("topics.db");
    drop(Engine::Embedded(path.clone()).open().unwrap());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let said = Engine::Embedded(path).open().err().unwrap().to_string();
    assert!(said.contains("mode is 644"), "{said}");
}

#[cfg(feature = "kafka")]
mod kafka {
    use ringfence_services::kafka::{Cluster, FIRST_PORT};
    use ringfence_topics::{Engine, TopicError};

    use super::conformance;

    fn cluster(test: &str, dir: &tempfile::TempDir, first_port: u16) -> Option<Cluster> {
        if let Err(why) = ringfence_services::kafka::jars() {
            eprintln!("SKIPPED: {test}: {why}");
            return None;
        }
        Some(Cluster::start(dir.path(), 1, first_port).unwrap())
    }

    #[test]
    fn kafka_topics_keep_every_promise_across_a_killed_broker() {
        let dir = tempfile::tempdir().unwrap();
        let test = "kafka_topics_keep_every_promise_across_a_killed_broker";
        let Some(mut cluster) = cluster(test, &dir, FIRST_PORT + 1000) else { return };
        let engine = Engine::Kafka(cluster.addresses());
        conformance::all(&engine);
        conformance::broken(&engine, &mut || cluster.kill(0));
        cluster.restart(0).unwrap();
        conformance::whole_again(&engine);
    }

    #[test]
    fn brokers_that_are_not_there_are_an_error_in_bounded_time() {
        let began = std::time::Instant::now();
        let topics = Engine::Kafka("127.0.0.1:1".into()).open().unwrap();
        assert!(matches!(topics.writer("nobody"), Err(TopicError::Away { .. })));
        assert!(matches!(topics.reader("nothing", 0, 0), Err(TopicError::Away { .. })));
        assert!(began.elapsed() < std::time::Duration::from_secs(30), "{:?}", began.elapsed());
    }
}
