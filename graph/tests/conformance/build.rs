//! Nodes and changes to try with.

use ringfence_graph::{Change, Identity, NodeRow, Placed, QueueRow, Sentinel, to_hex};

/// A time to begin at, ms.
pub const NOW: i64 = 1_700_000_000_000;

/// The `n`th identity of a part.
pub fn id(part: &str, n: u16) -> Identity {
    let mut identity = [0x5a; 32];
    identity[..part.len().min(28)].copy_from_slice(&part.as_bytes()[..part.len().min(28)]);
    identity[28..30].copy_from_slice(&n.to_be_bytes());
    identity
}

/// The `n`th node of a part, which reads others of it.
pub fn placed(part: &str, n: u16, inputs: &[u16]) -> Placed {
    let identity = id(part, n);
    let node = NodeRow {
        identity,
        family: None,
        node_id: format!("{part}-id-{n}"),
        node_type: "ProcessingNode".into(),
        name: format!("{part} {n}"),
        class: "indicator".into(),
        code_hash: format!("code-{n}"),
        config_hash: Some("config".into()),
        schema_hash: "schema".into(),
        schema_compat_id: None,
        interval_s: Some(60),
        period: Some(5),
        tags: vec![format!("{part}-tag"), "all".into()],
        domain: "live".into(),
        created_at_ms: NOW,
        queue: QueueRow {
            topic: format!("{part}.{n}.{}", &to_hex(&identity)[..32]),
            partitions: 1,
            replicas: 2,
            retention_ms: Some(86_400_000),
        },
    };
    Placed { node, inputs: inputs.iter().map(|input| id(part, *input)).collect() }
}

/// A change without a sentinel.
pub fn change<'a>(strategy_id: &'a str, nodes: &'a [Placed]) -> Change<'a> {
    Change { strategy_id, nodes, sentinel: None, now_ms: NOW }
}

/// A sentinel of a strategy.
pub fn sentinel(strategy_id: &str, version: &str, line: Option<&str>, weight: f64) -> Sentinel {
    Sentinel {
        sentinel_id: format!("{strategy_id}-sentinel"),
        strategy_id: strategy_id.into(),
        version: version.into(),
        line: line.map(Into::into),
        weight,
        created_at_ms: NOW,
        retired_at_ms: None,
    }
}

/// Four nodes of the `n`th strategy; the first is the same for all.
pub fn few(n: u16) -> Vec<Placed> {
    let own = |at| placed("few", 3 * n + at, &[0]);
    vec![placed("few", 0, &[]), own(1), own(2), own(3)]
}
