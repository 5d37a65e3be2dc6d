//! One-time tickets for streams: a browser's `EventSource` cannot send a header, and a token does not belong in a URL.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::AuthError;
use super::principal::Principal;
use super::random::{digest, secret};

/// How long a ticket waits to be used.
pub const TICKET_LIVES: Duration = Duration::from_secs(30);
/// Tickets that wait at most.
const MAX_TICKETS: usize = 4096;

/// Tickets that were given out and not yet used, by the digest of each.
#[derive(Default)]
pub struct Tickets(Mutex<HashMap<[u8; 32], (Instant, Principal)>>);

impl Tickets {
    /// A ticket that stands for `principal`, once.
    ///
    /// # Errors
    /// [`AuthError::Busy`] when too many wait.
    pub fn issue(&self, principal: &Principal, now: Instant) -> Result<String, AuthError> {
        let ticket = secret()?;
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= MAX_TICKETS {
            waiting.retain(|_, (until, _)| *until > now);
        }
        if waiting.len() >= MAX_TICKETS {
            return Err(AuthError::Busy);
        }
        waiting.insert(digest(&ticket), (now + TICKET_LIVES, principal.clone()));
        Ok(ticket)
    }

    /// Whom `ticket` stands for; it is used up.
    #[must_use]
    pub fn redeem(&self, ticket: &str, now: Instant) -> Option<Principal> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, principal) = waiting.remove(&digest(ticket))?;
        (until > now).then_some(principal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_works_once_and_not_for_long() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        let principal = Principal::local();
        let ticket = tickets.issue(&principal, now).unwrap();
        assert!(tickets.redeem("another", now).is_none());
        assert!(tickets.redeem(&ticket, now).is_some());
        assert!(tickets.redeem(&ticket, now).is_none(), "used twice");
        let late = tickets.issue(&principal, now).unwrap();
        assert!(tickets.redeem(&late, now + TICKET_LIVES).is_none(), "too late");
    }

    #[test]
    fn a_hoarder_of_tickets_is_turned_away_until_they_end() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        let principal = Principal::local();
        for _ in 0..MAX_TICKETS {
            tickets.issue(&principal, now).unwrap();
        }
        assert!(matches!(tickets.issue(&principal, now), Err(AuthError::Busy)));
        assert!(tickets.issue(&principal, now + TICKET_LIVES).is_ok());
    }
}
