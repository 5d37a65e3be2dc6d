//! Decoders of text: HTTP bodies, Binance's JSON, decimals, the configuration, strategies' DAGs.

use ringfence_core::config::CoreConfig;
use ringfence_dag::{
    Dag, ExecutionDomain, Identity, Known, Limits, MissingConfigHash, Scope, Sharing, TagQuery, Verification,
    crc32, diff, identities, topological_order, verify,
};
use ringfence_ipc::symbol::{Symbol, parse_scaled};
use ringfence_shell::feed::{BinanceParser, encode};
use ringfence_shell::http::understands_order;

use super::take;

/// The body of an order, as JSON and as a form.
pub fn order_body(data: &[u8]) {
    for form in [false, true] {
        let _ = understands_order(data, form);
    }
}

/// A recording of Binance's streams, line by line through one parser; what it makes of a line goes on the tape.
pub fn binance(data: &[u8]) {
    let symbol = |name: &str| Symbol::new(name, 2, 8, 1, 1000).expect("a symbol");
    let mut parser = BinanceParser::new(&[symbol("BTCUSDT"), symbol("ETHUSDT")]);
    let mut tape = Vec::new();
    for (number, line) in data.split(|byte| *byte == b'\n').enumerate() {
        match parser.parse(line, number as u64) {
            Ok(event) => {
                tape.clear();
                encode(number as u64 + 1, &event, &mut tape);
                assert!(!tape.is_empty());
            }
            Err(error) => drop(error.to_string()),
        }
    }
}

/// A decimal at a scale: what is accepted means exactly what its digits say.
pub fn decimal(data: &[u8]) {
    let ([scale], rest) = take::<1>(data);
    let scale = scale % 19;
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let Ok(value) = parse_scaled(text, scale) else { return };
    let digits = format!("{:0width$}", value.unsigned_abs(), width = usize::from(scale) + 1);
    let (whole, fraction) = digits.split_at(digits.len() - usize::from(scale));
    let again = format!("{}{whole}.{fraction}", if value < 0 { "-" } else { "" });
    assert_eq!(parse_scaled(&again, scale), Ok(value), "{text:?} at {scale}, told again as {again:?}");
}

/// A configuration file.
pub fn config(data: &[u8]) {
    thread_local! {
        static DIR: tempfile::TempDir = tempfile::tempdir_in("/dev/shm").expect("memory for files");
    }
    DIR.with(|dir| {
        let path = dir.path().join("core.toml");
        std::fs::write(&path, data).expect("the file can be written");
        match CoreConfig::load(&path) {
            Ok(config) => {
                let text = config.to_toml();
                std::fs::write(&path, text).expect("the file can be written");
                let again = CoreConfig::load(&path).expect("what is written down is read again");
                assert_eq!(format!("{again:?}"), format!("{config:?}"));
            }
            Err(error) => drop(error.to_string()),
        }
    });
}

/// A strategy's DAG: what is accepted is written and read again as the same DAG; then everything that is worked out of it.
pub fn dag_json(data: &[u8]) {
    let dag = match Dag::parse(data, &Limits::default()) {
        Ok(dag) => dag,
        Err(error) => return drop(error.to_string()),
    };
    let written = dag.canonical_json();
    let again =
        Dag::parse(written.as_bytes(), &Limits::default()).expect("what is written down is read again");
    assert_eq!((again.canonical_json(), again.hash(), again.nodes()), (written, dag.hash(), dag.nodes()));
    let _ = crc32(dag.nodes().iter().map(|node| node.node_id.as_str()));

    let nodes = dag.nodes().len();
    // An id that fits is rare among mutations: the others go on as if theirs did.
    let verified = verify(&dag, MissingConfigHash::AcceptUnverified);
    let verified = verified.unwrap_or_else(|_| vec![Verification::Verified; nodes]);
    let order = match topological_order(&dag) {
        Ok(order) => order,
        Err(error) => return drop(error.to_string()),
    };
    let [mine, theirs] = ["mine", "theirs"].map(|strategy_id| {
        let scope = Scope { strategy_id, domain: ExecutionDomain::Live };
        identities(&dag, &order, &verified, &scope)
    });
    assert_eq!((mine.len(), order.indices().len()), (nodes, nodes));
    for (mine, theirs) in mine.iter().zip(&theirs) {
        assert_eq!(mine.identity == theirs.identity, mine.sharing == Sharing::Shared);
    }
    let known = |identity: &Identity| {
        let topic = "topic".to_owned();
        let known =
            Known { identity: *identity, topic, created_at_ms: 1, has_producer: identity[1] & 1 == 0 };
        (identity[0] & 1 == 0).then_some(known)
    };
    let plan = diff(&dag, &order, &mine, &known, &known, 2);
    assert_eq!(plan.nodes.len(), nodes);
    assert!(plan.nodes.iter().all(|node| node.topic.len() <= 249));
    let _ = plan.queue_map(&dag, &|query: &TagQuery| query.tags.clone());
}
