//! What is read.

use rusqlite::types::ToSql;
use rusqlite::{Connection, Row};

use crate::identity::from_hex;
use crate::{
    Binding, Fetched, GraphError, Identity, Known, Lease, Match, NodeRow, OutboxRow, QueueChange, QueueEntry,
    QueueFilter, QueueRow, Strategy, TagQuery, to_hex,
};

const NODE: &str = "node, identity, family, node_id, node_type, name, class, code_hash, config_hash, schema_hash, \
    schema_compat_id, interval_s, period, tags, domain, created_at_ms, topic, partitions, replicas, retention_ms, \
    orphaned_at_ms, lease_number, lease_holder, lease_until_ms";
pub(super) const ENTRY: &str =
    "identity, node_id, class, interval_s, orphaned_at_ms, topic, partitions, replicas, retention_ms";

/// Rows to values that may be damaged.
pub(super) fn rows<T>(
    view: &Connection,
    sql: &str,
    values: &[&dyn ToSql],
    of: impl Fn(&Row<'_>) -> Result<T, GraphError>,
) -> Result<Vec<T>, GraphError> {
    let mut statement = view.prepare_cached(sql)?;
    let mut rows = statement.query(values)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(of(row)?);
    }
    Ok(found)
}

pub(super) fn identity(row: &Row<'_>, at: usize) -> Result<Identity, GraphError> {
    from_hex(row.get_ref(at)?.as_str().map_err(rusqlite::Error::from)?)
}

fn tags(row: &Row<'_>, at: usize) -> Result<Vec<String>, GraphError> {
    let text = row.get_ref(at)?.as_str().map_err(rusqlite::Error::from)?;
    serde_json::from_str(text).map_err(|error| GraphError::Damaged(format!("tags that are no list: {error}")))
}

/// A row of [`NODE`], and the number that it has in this file.
fn known(row: &Row<'_>) -> Result<(i64, Known), GraphError> {
    let family: Option<String> = row.get(2)?;
    let queue = QueueRow {
        topic: row.get(16)?,
        partitions: row.get(17)?,
        replicas: row.get(18)?,
        retention_ms: row.get(19)?,
    };
    let node = NodeRow {
        identity: identity(row, 1)?,
        family: family.map(|text| from_hex(&text)).transpose()?,
        node_id: row.get(3)?,
        node_type: row.get(4)?,
        name: row.get(5)?,
        class: row.get(6)?,
        code_hash: row.get(7)?,
        config_hash: row.get(8)?,
        schema_hash: row.get(9)?,
        schema_compat_id: row.get(10)?,
        interval_s: row.get(11)?,
        period: row.get(12)?,
        tags: tags(row, 13)?,
        domain: row.get(14)?,
        created_at_ms: row.get(15)?,
        queue,
    };
    let lease_number: i64 = row.get(21)?;
    let holder: Option<String> = row.get(22)?;
    let lease = match holder {
        Some(holder) => Some(Lease { number: lease_number, holder, until_ms: row.get(23)? }),
        None => None,
    };
    Ok((row.get(0)?, Known { node, lease, lease_number, orphaned_at_ms: row.get(20)? }))
}

/// A row of [`ENTRY`].
pub(super) fn entry(row: &Row<'_>) -> Result<QueueEntry, GraphError> {
    let queue = QueueRow {
        topic: row.get(5)?,
        partitions: row.get(6)?,
        replicas: row.get(7)?,
        retention_ms: row.get(8)?,
    };
    Ok(QueueEntry {
        identity: identity(row, 0)?,
        node_id: row.get(1)?,
        class: row.get(2)?,
        interval_s: row.get(3)?,
        orphaned_at_ms: row.get(4)?,
        queue,
    })
}

pub(super) fn fetch(
    view: &Connection,
    identities: &[Identity],
    families: &[Identity],
) -> Result<Fetched, GraphError> {
    let each = |asked: &[Identity], sql: &str| {
        let mut statement = view.prepare_cached(sql)?;
        let mut found = Vec::with_capacity(asked.len());
        for identity in asked {
            let mut rows = statement.query([to_hex(identity)])?;
            if let Some(row) = rows.next()? {
                found.push(known(row)?.1);
            }
        }
        Ok::<_, GraphError>(found)
    };
    let nodes = each(identities, &format!("SELECT {NODE} FROM nodes WHERE identity = ?1"))?;
    let newest = format!(
        "SELECT {NODE} FROM nodes WHERE family = ?1 ORDER BY created_at_ms DESC, identity DESC LIMIT 1"
    );
    Ok(Fetched { nodes, by_family: each(families, &newest)? })
}

pub(super) fn bindings(view: &Connection, node_ids: &[&str]) -> Result<Vec<Binding>, GraphError> {
    let sql = "SELECT DISTINCT node_id, node_type, code_hash, config_hash, schema_hash FROM nodes WHERE node_id = ?1
        ORDER BY 2, 3, 4, 5";
    let mut found = Vec::new();
    for node_id in node_ids {
        found.extend(rows(view, sql, &[node_id], |row| {
            Ok(Binding {
                node_id: row.get(0)?,
                node_type: row.get(1)?,
                code_hash: row.get(2)?,
                config_hash: row.get(3)?,
                schema_hash: row.get(4)?,
            })
        })?);
    }
    Ok(found)
}

pub(super) fn nodes(
    view: &Connection,
    after: Option<&Identity>,
    most: usize,
) -> Result<Vec<(Known, Vec<Identity>)>, GraphError> {
    let after = after.map(to_hex).unwrap_or_default();
    let sql = format!("SELECT {NODE} FROM nodes WHERE identity > ?1 ORDER BY identity LIMIT ?2");
    let found = rows(view, &sql, &[&after, &most], known)?;
    let inputs = "SELECT n.identity FROM inputs i JOIN nodes n ON n.node = i.input WHERE i.node = ?1 ORDER BY i.position";
    found
        .into_iter()
        .map(|(node, known)| Ok((known, rows(view, inputs, &[&node], |row| identity(row, 0))?)))
        .collect()
}

pub(super) fn strategy_nodes(view: &Connection, strategy_id: &str) -> Result<Vec<NodeRow>, GraphError> {
    let sql = format!(
        "SELECT {NODE} FROM strategies JOIN uses USING (strategy) JOIN nodes USING (node) WHERE strategy_id = ?1
         ORDER BY position"
    );
    rows(view, &sql, &[&strategy_id], |row| Ok(known(row)?.1.node))
}

pub(super) fn strategies(
    view: &Connection,
    after: Option<&str>,
    most: usize,
) -> Result<Vec<Strategy>, GraphError> {
    let sql =
        "SELECT strategy, strategy_id, applied_at_ms, released_at_ms FROM strategies WHERE strategy_id > ?1
        ORDER BY strategy_id LIMIT ?2";
    let of =
        "SELECT identity, created FROM uses JOIN nodes USING (node) WHERE strategy = ?1 ORDER BY position";
    rows(view, sql, &[&after.unwrap_or_default(), &most], |row| {
        let strategy: i64 = row.get(0)?;
        Ok(Strategy {
            strategy_id: row.get(1)?,
            applied_at_ms: row.get(2)?,
            released_at_ms: row.get(3)?,
            nodes: rows(view, of, &[&strategy], |row| Ok((identity(row, 0)?, row.get(1)?)))?,
        })
    })
}

pub(super) fn strategies_of(
    view: &Connection,
    identity: &Identity,
    most: usize,
) -> Result<Vec<String>, GraphError> {
    let sql = "SELECT strategy_id FROM nodes JOIN uses USING (node) JOIN strategies USING (strategy) WHERE identity = ?1
        ORDER BY strategy_id LIMIT ?2";
    rows(view, sql, &[&to_hex(identity), &most], |row| Ok(row.get(0)?))
}

pub(super) fn queues_by_tags(
    view: &Connection,
    query: &TagQuery<'_>,
    tags: &[&str],
    most: usize,
) -> Result<Vec<QueueEntry>, GraphError> {
    let list = serde_json::to_string(tags).unwrap_or_default();
    let needed = match query.mode {
        Match::Any => 1,
        Match::All => tags.len(),
    };
    let sql = format!(
        "SELECT {ENTRY} FROM nodes WHERE node IN (
             SELECT node FROM tags WHERE tag IN (SELECT value FROM json_each(?1)) GROUP BY node HAVING count(*) >= ?2
         ) AND (?3 IS NULL OR interval_s = ?3) AND (?4 IS NULL OR domain = ?4) ORDER BY lower(topic) LIMIT ?5"
    );
    rows(view, &sql, &[&list, &needed, &query.interval_s, &query.domain, &most], entry)
}

pub(super) fn queues(
    view: &Connection,
    filter: &QueueFilter<'_>,
    after: Option<&str>,
    most: usize,
) -> Result<Vec<QueueEntry>, GraphError> {
    let prefix = filter.prefix.to_ascii_lowercase();
    // No topic holds the character: all that begin so come before it.
    let end = format!("{prefix}\u{7f}");
    let after = after.unwrap_or_default().to_ascii_lowercase();
    let sql = format!(
        "SELECT {ENTRY} FROM nodes WHERE lower(topic) > ?1 AND lower(topic) >= ?2 AND lower(topic) < ?3
         AND (?4 IS NULL OR class = ?4) ORDER BY lower(topic) LIMIT ?5"
    );
    rows(view, &sql, &[&after, &prefix, &end, &filter.class, &most], entry)
}

pub(super) fn outbox(view: &Connection, after: i64, most: usize) -> Result<Vec<OutboxRow>, GraphError> {
    let sql = "SELECT seq, at_ms, change, identity, node_id, topic, tags, interval_s, domain FROM outbox WHERE seq > ?1
        ORDER BY seq LIMIT ?2";
    rows(view, sql, &[&after, &most], |row| {
        let change: String = row.get(2)?;
        let change = QueueChange::from_name(&change)
            .ok_or_else(|| GraphError::Damaged(format!("the change `{}`", change.escape_debug())))?;
        Ok(OutboxRow {
            seq: row.get(0)?,
            at_ms: row.get(1)?,
            change,
            identity: identity(row, 3)?,
            node_id: row.get(4)?,
            topic: row.get(5)?,
            tags: tags(row, 6)?,
            interval_s: row.get(7)?,
            domain: row.get(8)?,
        })
    })
}
