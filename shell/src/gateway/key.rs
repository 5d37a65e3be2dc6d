//! Client order ids and the idempotency keys made of them.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use ringfence_ipc::msg::{AccountId, Key, OrderId, StrategyId};
use sha2::{Digest, Sha256};

/// The longest client order id, bytes.
pub const MAX_CLIENT_ORDER_ID_BYTES: usize = 36;

/// The idempotency key of an HTTP order: the first 16 bytes of SHA-256(account, u16 little-endian ‖ 0 ‖ client order
/// id), read as a little-endian u128. One id of one account is one order, whatever connection it came by.
#[must_use]
pub fn order_key(account: AccountId, client_order_id: &str) -> Key {
    digest(&[&account.to_le_bytes(), &[0], client_order_id.as_bytes()])
}

/// A fresh key for an act on an existing order or strategy (`cancel`, `mass_cancel`). `nonce` makes every act its own:
/// a second cancel is asked of the gate again, not answered from memory.
#[must_use]
pub fn act_key(act: &str, account: AccountId, subject: &str, nonce: u64) -> Key {
    digest(&[act.as_bytes(), &[0], &account.to_le_bytes(), &nonce.to_le_bytes(), subject.as_bytes()])
}

fn digest(parts: &[&[u8]]) -> Key {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    let mut first = [0; 16];
    first.copy_from_slice(&hash.finalize()[..16]);
    // Key 0 means "no key" on the wire.
    Key::from_le_bytes(first).max(1)
}

/// A number that no earlier life of this process has given out: the wall clock at start, then counted up.
#[must_use]
pub fn nonce() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    if NEXT.load(Ordering::Relaxed) == 0 {
        let wall_ns = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |d| d.as_nanos() as u64);
        let _ = NEXT.compare_exchange(0, wall_ns, Ordering::Relaxed, Ordering::Relaxed);
    }
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A client order id for a caller who gave none.
#[must_use]
pub fn generated_client_order_id() -> String {
    format!("rf-{:x}", nonce())
}

/// The id under which an order is shown that a strategy entered without one.
#[must_use]
pub fn strategy_order_id(strategy: StrategyId, order_id: OrderId) -> String {
    let mut text = String::with_capacity(24);
    let _ = write!(text, "s{strategy}-{order_id:x}");
    text
}

/// Whether a caller may use `id`: 1 to 36 of `A-Za-z0-9._:/-`, and not of the form that names strategies' own orders.
///
/// # Errors
/// What is wrong with it.
pub fn check_client_order_id(id: &str) -> Result<(), &'static str> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"._:/-".contains(&b);
    if id.is_empty() || id.len() > MAX_CLIENT_ORDER_ID_BYTES || !id.bytes().all(legal) {
        return Err("must be 1 to 36 of A-Z a-z 0-9 . _ : / -");
    }
    let own = id.strip_prefix('s').and_then(|rest| rest.split_once('-'));
    let reserved = own.is_some_and(|(strategy, order)| {
        !strategy.is_empty()
            && strategy.bytes().all(|b| b.is_ascii_digit())
            && !order.is_empty()
            && order.bytes().all(|b| b.is_ascii_hexdigit())
    });
    if reserved {
        Err("ids of the form s<number>-<hex> name orders that strategies entered themselves")
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_the_documented_digest() {
        let hash = Sha256::digest(b"\x02\x01\0web-1");
        assert_eq!(order_key(0x0102, "web-1").to_le_bytes(), hash[..16]);
        assert_ne!(order_key(0, "web-1"), order_key(1, "web-1"));
    }

    #[test]
    fn acts_never_repeat_a_key() {
        assert_ne!(act_key("cancel", 0, "a", nonce()), act_key("cancel", 0, "a", nonce()));
        assert_ne!(generated_client_order_id(), generated_client_order_id());
    }

    #[test]
    fn ids_outside_the_alphabet_or_in_the_strategies_room_are_refused() {
        for good in
            ["a", "A-Z.0_9:/", "s1", "s-1", "sx-12", "s1-xyz", &"x".repeat(36), &generated_client_order_id()]
        {
            assert_eq!(check_client_order_id(good), Ok(()), "{good}");
        }
        for bad in ["", " ", "a b", "ü", "a\n", "a\"", &"x".repeat(37), "s1-1000000000001"] {
            assert!(check_client_order_id(bad).is_err(), "{bad:?}");
        }
        assert!(check_client_order_id(&strategy_order_id(7, 1 << 48 | 5)).is_err());
    }
}
