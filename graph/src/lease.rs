//! Who may produce a node's values: the rule of both engines.

use crate::{Claim, Lease};

/// What a node knows of its leases.
#[derive(Clone)]
pub(crate) struct Standing {
    /// The last number that was granted; 0: none was.
    pub number: i64,
    /// The lease that was not swept yet.
    pub lease: Option<Lease>,
}

/// Somebody asks for a lease.
pub(crate) fn asked(standing: Option<Standing>, holder: &str, until_ms: i64, now_ms: i64) -> Claim {
    let Some(Standing { number, lease }) = standing else { return Claim::Gone };
    let own = |number| Claim::Granted(Lease { number, holder: holder.to_owned(), until_ms });
    match lease {
        Some(old) if old.until_ms > now_ms && old.holder == holder => own(old.number),
        Some(old) if old.until_ms > now_ms => Claim::Held(old),
        // Beginning at the clock the number grows over the removal of the node, too.
        _ => own(number.saturating_add(1).max(now_ms)),
    }
}

/// Somebody goes on under a number.
pub(crate) fn renewed(standing: Option<Standing>, holder: &str, number: i64, until_ms: i64) -> Claim {
    match standing.and_then(|standing| standing.lease) {
        // Late, perhaps, but nobody else was promoted meanwhile.
        Some(old) if old.holder == holder && old.number == number => {
            Claim::Granted(Lease { until_ms, ..old })
        }
        Some(old) => Claim::Held(old),
        None => Claim::Gone,
    }
}
