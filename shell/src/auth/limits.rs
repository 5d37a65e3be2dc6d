//! How often who may ask: token buckets per API key, user or address, in maps that do not grow without bound.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

use super::principal::{Principal, Proof};

/// Buckets of one kind at most; beyond them, new callers share one.
const MAX_BUCKETS: usize = 1 << 14;
/// Full maps are searched for callers that have gone at most this often, ms.
const SWEEP_EVERY_MS: u64 = 1000;

/// A bucket's size and how it fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests at once.
    pub capacity: u32,
    /// Time until one more is allowed.
    pub refill: Duration,
}

impl Rate {
    /// `per_s` requests a second, up to `capacity` at once.
    #[must_use]
    pub fn per_second(capacity: u32, per_s: u32) -> Self {
        Self { capacity, refill: Duration::from_secs(1) / per_s.max(1) }
    }
}

/// Every kind of bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Requests of a key, user or address.
    pub requests: Rate,
    /// Cancels of a key or user: they have their own, so that orders never use up the way out.
    pub cancels: Rate,
    /// Anything from one address, before its credentials are looked at.
    pub address: Rate,
    /// Logins and refreshes from one address.
    pub logins: Rate,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            requests: Rate::per_second(100, 10),
            cancels: Rate::per_second(100, 10),
            address: Rate::per_second(400, 100),
            logins: Rate { capacity: 10, refill: Duration::from_secs(6) },
        }
    }
}

/// Whose bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    /// An API key.
    Key(u64),
    /// A user.
    User(i64),
    /// An address; of IPv6 the network of 64 bits, which one caller has whole.
    Address(u128),
    /// All that found no room.
    Others,
}

impl From<IpAddr> for Who {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::Address(u128::from(v4.to_bits())),
            IpAddr::V6(v6) => Self::Address(v6.to_bits() >> 64 << 64),
        }
    }
}

impl Who {
    /// The key, else the user, else the address.
    #[must_use]
    pub fn of(principal: &Principal, address: IpAddr) -> Self {
        let key = principal.key_id.as_deref().and_then(|id| id.strip_prefix("rk_"));
        match (key.and_then(|id| u64::from_str_radix(id, 16).ok()), &principal.proof) {
            (Some(key), _) => Self::Key(key),
            (None, Proof::Session { user, .. } | Proof::Key { user }) => Self::User(*user),
            (None, Proof::Local) => address.into(),
        }
    }
}

/// What a bucket said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the request may go on.
    pub allowed: bool,
    /// The bucket's size.
    pub limit: u32,
    /// What is left in it.
    pub remaining: u32,
    /// Seconds until it is full again.
    pub reset_s: u32,
    /// Seconds until the next request is allowed; at least 1.
    pub retry_after_s: u32,
}

type Limiter = RateLimiter<Who, DashMapStateStore<Who>, DefaultClock, StateInformationMiddleware>;

/// Buckets of one kind.
pub struct Buckets {
    limiter: Limiter,
    clock: DefaultClock,
    rate: Rate,
    began: Instant,
    swept_ms: AtomicU64,
}

fn ceil_s(time: Duration) -> u32 {
    u32::try_from(time.as_nanos().div_ceil(1_000_000_000)).unwrap_or(u32::MAX)
}

impl Buckets {
    /// Buckets of this size.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        let capacity = NonZeroU32::new(rate.capacity).unwrap_or(NonZeroU32::MIN);
        let refill = rate.refill.max(Duration::from_nanos(1));
        let quota = Quota::with_period(refill).unwrap_or(Quota::per_second(capacity)).allow_burst(capacity);
        Self {
            limiter: RateLimiter::dashmap(quota).with_middleware(),
            clock: DefaultClock::default(),
            rate: Rate { capacity: capacity.get(), refill },
            began: Instant::now(),
            swept_ms: AtomicU64::new(0),
        }
    }

    /// Takes one from `who`'s bucket.
    #[must_use]
    pub fn take(&self, who: Who) -> Verdict {
        let who = if self.has_room() { who } else { Who::Others };
        let limit = self.rate.capacity;
        match self.limiter.check_key(&who) {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity();
                let reset_s = ceil_s(self.rate.refill * limit.saturating_sub(remaining));
                Verdict { allowed: true, limit, remaining, reset_s, retry_after_s: 1 }
            }
            Err(until) => {
                let retry_after_s = ceil_s(until.wait_time_from(self.clock.now())).max(1);
                let reset_s = ceil_s(self.rate.refill * limit);
                Verdict { allowed: false, limit, remaining: 0, reset_s, retry_after_s }
            }
        }
    }

    /// Buckets in use.
    #[must_use]
    pub fn len(&self) -> usize {
        self.limiter.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.limiter.is_empty()
    }

    /// A full map is swept of buckets that are full again, now and then.
    fn has_room(&self) -> bool {
        if self.limiter.len() < MAX_BUCKETS {
            return true;
        }
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let before = self.swept_ms.load(Ordering::Relaxed);
        let mine = now.saturating_sub(before) >= SWEEP_EVERY_MS
            && self.swept_ms.compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if mine {
            self.limiter.retain_recent();
        }
        self.limiter.len() < MAX_BUCKETS
    }
}

/// Every kind of bucket.
pub struct Limits {
    /// Requests of a key, user or address.
    pub requests: Buckets,
    /// Cancels of a key or user.
    pub cancels: Buckets,
    /// Anything from one address.
    pub address: Buckets,
    /// Logins and refreshes from one address.
    pub logins: Buckets,
}

impl Limits {
    /// Empty buckets of these sizes.
    #[must_use]
    pub fn new(config: &LimitsConfig) -> Self {
        Self {
            requests: Buckets::new(config.requests),
            cancels: Buckets::new(config.cancels),
            address: Buckets::new(config.address),
            logins: Buckets::new(config.logins),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_up_to_the_capacity_and_the_next_is_told_when() {
        let buckets = Buckets::new(Rate { capacity: 3, refill: Duration::from_secs(20) });
        for remaining in [2, 1, 0] {
            let verdict = buckets.take(Who::User(1));
            assert_eq!((verdict.allowed, verdict.limit, verdict.remaining), (true, 3, remaining));
            assert_eq!(verdict.reset_s, 20 * (3 - remaining));
        }
        let refused = buckets.take(Who::User(1));
        assert!(!refused.allowed && refused.remaining == 0);
        assert!((19..=20).contains(&refused.retry_after_s), "{refused:?}");
        assert!(buckets.take(Who::User(2)).allowed, "another user has its own bucket");
        assert!(buckets.take(Who::Key(1)).allowed, "and so has a key");
    }

    #[test]
    fn a_caller_with_a_million_addresses_fills_neither_memory_nor_other_buckets() {
        let buckets = Buckets::new(Rate { capacity: 5, refill: Duration::from_secs(3600) });
        let known = Who::from(IpAddr::from([10, 0, 0, 1]));
        assert!(buckets.take(known).allowed);
        for n in 0..100_000_u128 {
            let _ = buckets.take(Who::Address(n << 64));
        }
        assert!(buckets.len() <= MAX_BUCKETS + 1, "{}", buckets.len());
        assert!(!buckets.take(Who::Address(u128::MAX)).allowed, "newcomers share one bucket");
    }

    #[test]
    fn one_network_of_ipv6_is_one_caller_and_a_mapped_ipv4_is_the_ipv4() {
        let who = |text: &str| Who::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(who("2001:db8:1:2:aaaa::1"), who("2001:db8:1:2:bbbb::2"));
        assert_ne!(who("2001:db8:1:2::1"), who("2001:db8:1:3::1"));
        assert_eq!(who("::ffff:10.1.2.3"), who("10.1.2.3"));
    }
}
