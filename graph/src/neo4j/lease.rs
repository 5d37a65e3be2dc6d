//! Who produces a node's values. Each transaction locks its nodes, in the order of their identities, before it looks at them.

use std::collections::HashMap;

use ::neo4j::ValueSend;

use super::ask::{Fault, Row, Work, count, map, values};
use super::hex;
use crate::lease::{Standing, asked, renewed};
use crate::{Claim, Expired, Identity, Lease};

fn locked(work: &Work<'_, '_>, identities: &[Identity]) -> Result<HashMap<Identity, Standing>, Fault> {
    let mut sorted: Vec<&Identity> = identities.iter().collect();
    sorted.sort_unstable();
    sorted.dedup();
    let sorted = || sorted.iter().map(|identity| hex(identity)).collect::<Vec<_>>();
    work.each(
        "UNWIND $rows AS id MATCH (n:Node {identity: id}) WITH n ORDER BY n.identity SET n.held = true REMOVE n.held",
        sorted(),
    )?;
    let found = work.each(
        "UNWIND $rows AS id MATCH (n:Node {identity: id}) RETURN n.identity AS identity, n.lease_number AS number,
             n.lease_holder AS holder, n.lease_until AS until",
        sorted(),
    )?;
    let standing = |mut row: Row| {
        let number = row.int("number")?;
        let lease = match row.maybe_text("holder")? {
            Some(holder) => Some(Lease { number, holder, until_ms: row.int("until")? }),
            None => None,
        };
        Ok((row.identity("identity")?, Standing { number, lease }))
    };
    found.into_iter().map(standing).collect()
}

fn write<'a>(
    work: &Work<'_, '_>,
    claims: impl Iterator<Item = (&'a Identity, &'a Claim)>,
) -> Result<(), Fault> {
    let granted = claims.filter_map(|(identity, claim)| match claim {
        Claim::Granted(lease) => Some(map([
            ("identity", hex(identity)),
            ("number", lease.number.into()),
            ("holder", lease.holder.as_str().into()),
            ("until", lease.until_ms.into()),
        ])),
        Claim::Held(_) | Claim::Gone => None,
    });
    let granted: Vec<ValueSend> = granted.collect();
    work.each(
        "UNWIND $rows AS row MATCH (n:Node {identity: row.identity})
         SET n.lease_number = row.number, n.lease_holder = row.holder, n.lease_until = row.until",
        granted,
    )?;
    Ok(())
}

pub(super) fn lease(
    work: &Work<'_, '_>,
    identities: &[Identity],
    holder: &str,
    until_ms: i64,
    now_ms: i64,
) -> Result<Vec<Claim>, Fault> {
    let standings = locked(work, identities)?;
    let claim = |identity: &Identity| asked(standings.get(identity).cloned(), holder, until_ms, now_ms);
    let claims: Vec<Claim> = identities.iter().map(claim).collect();
    write(work, identities.iter().zip(&claims))?;
    Ok(claims)
}

pub(super) fn renew(
    work: &Work<'_, '_>,
    leases: &[(Identity, i64)],
    holder: &str,
    until_ms: i64,
) -> Result<Vec<Claim>, Fault> {
    let identities: Vec<Identity> = leases.iter().map(|(identity, _)| *identity).collect();
    let standings = locked(work, &identities)?;
    let claim = |(identity, number): &(Identity, i64)| {
        renewed(standings.get(identity).cloned(), holder, *number, until_ms)
    };
    let claims: Vec<Claim> = leases.iter().map(claim).collect();
    write(work, identities.iter().zip(&claims))?;
    Ok(claims)
}

pub(super) fn expire(work: &Work<'_, '_>, now_ms: i64, most: usize) -> Result<Vec<Expired>, Fault> {
    let late = work.ask(
        "MATCH (n:Node) WHERE n.lease_until <= $now
         RETURN n.identity AS identity ORDER BY n.lease_until, identity LIMIT $most",
        values([("now", now_ms.into()), ("most", count(most))]),
    )?;
    let late: Vec<Identity> =
        late.into_iter().map(|mut row| row.identity("identity")).collect::<Result<_, _>>()?;
    // Somebody may have swept or renewed them before they were locked.
    let mut standings = locked(work, &late)?;
    let expired: Vec<Expired> = late
        .into_iter()
        .filter_map(|identity| {
            let lease = standings.remove(&identity)?.lease?;
            (lease.until_ms <= now_ms).then_some(Expired { identity, lease })
        })
        .collect();
    work.each(
        "UNWIND $rows AS id MATCH (n:Node {identity: id}) REMOVE n.lease_holder, n.lease_until",
        expired.iter().map(|expired| hex(&expired.identity)).collect(),
    )?;
    Ok(expired)
}
