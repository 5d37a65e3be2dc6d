//! Who produces a node's values.

use rusqlite::{OptionalExtension as _, Transaction};

use super::lists::{identity, rows};
use crate::lease::{Standing, asked, renewed};
use crate::{Claim, Expired, GraphError, Identity, Lease, to_hex};

fn standing(work: &Transaction<'_>, identity: &Identity) -> Result<Option<Standing>, rusqlite::Error> {
    work.prepare_cached("SELECT lease_number, lease_holder, lease_until_ms FROM nodes WHERE identity = ?1")?
        .query_row([to_hex(identity)], |row| {
            let number = row.get(0)?;
            let holder: Option<String> = row.get(1)?;
            let lease = match holder {
                Some(holder) => Some(Lease { number, holder, until_ms: row.get(2)? }),
                None => None,
            };
            Ok(Standing { number, lease })
        })
        .optional()
}

fn written(work: &Transaction<'_>, identity: &Identity, claim: Claim) -> Result<Claim, rusqlite::Error> {
    if let Claim::Granted(lease) = &claim {
        work.prepare_cached(
            "UPDATE nodes SET lease_number = ?2, lease_holder = ?3, lease_until_ms = ?4 WHERE identity = ?1",
        )?
        .execute((to_hex(identity), lease.number, &lease.holder, lease.until_ms))?;
    }
    Ok(claim)
}

pub(super) fn lease(
    work: &Transaction<'_>,
    identities: &[Identity],
    holder: &str,
    until_ms: i64,
    now_ms: i64,
) -> Result<Vec<Claim>, GraphError> {
    let one = |identity: &Identity| {
        Ok(written(work, identity, asked(standing(work, identity)?, holder, until_ms, now_ms))?)
    };
    identities.iter().map(one).collect()
}

pub(super) fn renew(
    work: &Transaction<'_>,
    leases: &[(Identity, i64)],
    holder: &str,
    until_ms: i64,
) -> Result<Vec<Claim>, GraphError> {
    let one = |(identity, number): &(Identity, i64)| {
        Ok(written(work, identity, renewed(standing(work, identity)?, holder, *number, until_ms))?)
    };
    leases.iter().map(one).collect()
}

pub(super) fn expire(work: &Transaction<'_>, now_ms: i64, most: usize) -> Result<Vec<Expired>, GraphError> {
    let sql = "SELECT identity, lease_number, lease_holder, lease_until_ms FROM nodes
        WHERE lease_holder IS NOT NULL AND lease_until_ms <= ?1 ORDER BY lease_until_ms, identity LIMIT ?2";
    let expired = rows(work, sql, &[&now_ms, &most], |row| {
        let lease = Lease { number: row.get(1)?, holder: row.get(2)?, until_ms: row.get(3)? };
        Ok(Expired { identity: identity(row, 0)?, lease })
    })?;
    let mut sweep = work
        .prepare_cached("UPDATE nodes SET lease_holder = NULL, lease_until_ms = NULL WHERE identity = ?1")?;
    for expired in &expired {
        sweep.execute([to_hex(&expired.identity)])?;
    }
    Ok(expired)
}
