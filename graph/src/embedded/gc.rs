//! What nobody uses.

use rusqlite::{Connection, Transaction};

use super::lists::{ENTRY, entry, rows};
use crate::{Age, GraphError, Identity, QueueChange, QueueEntry, to_hex};

pub(super) fn orphans(
    view: &Connection,
    ages: &[Age<'_>],
    most: usize,
) -> Result<Vec<QueueEntry>, GraphError> {
    let sql = format!(
        "SELECT {ENTRY} FROM nodes WHERE class = ?1 AND orphaned_at_ms <= ?2 ORDER BY orphaned_at_ms, identity LIMIT ?3"
    );
    let mut found = Vec::new();
    for age in ages {
        found.extend(rows(view, &sql, &[&age.class, &age.not_after_ms, &most], entry)?);
    }
    found.sort_by_key(|entry| (entry.orphaned_at_ms, entry.identity));
    found.dedup_by_key(|entry| entry.identity);
    found.truncate(most);
    Ok(found)
}

pub(super) fn remove(
    work: &Transaction<'_>,
    identities: &[Identity],
    not_after_ms: i64,
    now_ms: i64,
) -> Result<Vec<QueueEntry>, GraphError> {
    // What goes with the node is told by the last words of its row.
    let mut tell = work.prepare_cached(
        "INSERT INTO outbox (at_ms, change, identity, node_id, topic, tags, interval_s, domain)
         SELECT ?3, ?4, identity, node_id, topic, tags, interval_s, domain FROM nodes
         WHERE identity = ?1 AND orphaned_at_ms <= ?2",
    )?;
    let sql = format!("DELETE FROM nodes WHERE identity = ?1 AND orphaned_at_ms <= ?2 RETURNING {ENTRY}");
    let mut gone = Vec::new();
    for identity in identities {
        let identity = to_hex(identity);
        tell.execute((&identity, not_after_ms, now_ms, QueueChange::Removed.name()))?;
        gone.extend(rows(work, &sql, &[&identity, &not_after_ms], entry)?);
    }
    Ok(gone)
}
