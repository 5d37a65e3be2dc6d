//! Passwords: Argon2id, at most a few at once, and the same work for a user that does not exist.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Semaphore;

use super::AuthError;
use super::random::bytes;

/// Memory, KiB; passes; lanes.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Logins that may wait for their turn; more are told to come back.
const MAX_WAITING: usize = 32;
/// A longer password is refused before anything is computed, bytes.
pub const MAX_PASSWORD_BYTES: usize = 256;
/// A new password has at least this many bytes.
pub const MIN_PASSWORD_BYTES: usize = 12;

/// Hashes and checks passwords.
pub struct Passwords {
    slots: Arc<Semaphore>,
    waiting: AtomicUsize,
    running: AtomicUsize,
    most_at_once: AtomicUsize,
    hashes: AtomicU64,
    /// Stands in for the hash of a user that does not exist.
    nobody: String,
}

/// Counts the time between entering and leaving.
struct Inside<'a>(&'a AtomicUsize);

impl<'a> Inside<'a> {
    fn enter(count: &'a AtomicUsize) -> (Self, usize) {
        let now = count.fetch_add(1, Ordering::Relaxed) + 1;
        (Self(count), now)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn argon2() -> Result<Argon2<'static>, AuthError> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|_| AuthError::Internal("argon2"))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// The PHC string of `password` under a fresh salt.
fn phc(password: &str) -> Result<String, AuthError> {
    let salt: [u8; 16] = bytes()?;
    let hashed: PasswordHash = argon2()?
        .hash_password_with_salt(password.as_bytes(), &salt)
        .map_err(|_| AuthError::Internal("a password could not be hashed"))?;
    Ok(hashed.to_string())
}

impl Passwords {
    /// At most `at_once` at the same time.
    ///
    /// # Errors
    /// [`AuthError::Internal`] without randomness.
    pub fn new(at_once: usize) -> Result<Arc<Self>, AuthError> {
        Ok(Arc::new(Self {
            slots: Arc::new(Semaphore::new(at_once.max(1))),
            waiting: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
            hashes: AtomicU64::new(0),
            nobody: phc("nobody has this password")?,
        }))
    }

    /// Hashes computed so far.
    #[must_use]
    pub fn hashes(&self) -> u64 {
        self.hashes.load(Ordering::Relaxed)
    }

    /// The most that ever ran at once.
    #[cfg(test)]
    pub fn most_at_once(&self) -> usize {
        self.most_at_once.load(Ordering::Relaxed)
    }

    /// Whether `password` is the one behind `stored`; without a `stored` one it is not, after the same work.
    ///
    /// # Errors
    /// [`AuthError::Busy`] when too many wait already.
    pub async fn verify(
        self: &Arc<Self>,
        password: SecretString,
        stored: Option<String>,
    ) -> Result<bool, AuthError> {
        let known = stored.is_some();
        let against = stored.unwrap_or_else(|| self.nobody.clone());
        let matches = self.run(move || Ok(matches(&password, &against))).await?;
        Ok(known && matches)
    }

    /// The PHC string of a new password.
    ///
    /// # Errors
    /// [`AuthError::Busy`] when too many wait already.
    pub async fn hash(self: &Arc<Self>, password: SecretString) -> Result<String, AuthError> {
        self.run(move || phc(password.expose_secret())).await
    }

    /// As [`Self::hash`], before there is a runtime.
    ///
    /// # Errors
    /// [`AuthError::Internal`].
    pub fn hash_now(&self, password: &SecretString) -> Result<String, AuthError> {
        self.hashes.fetch_add(1, Ordering::Relaxed);
        phc(password.expose_secret())
    }

    async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce() -> Result<T, AuthError> + Send + 'static,
    ) -> Result<T, AuthError> {
        let (waits, waiting) = Inside::enter(&self.waiting);
        if waiting > MAX_WAITING {
            return Err(AuthError::Busy);
        }
        let slots = Arc::clone(&self.slots);
        let slot = slots.acquire_owned().await.map_err(|_| AuthError::Internal("the hasher is closed"))?;
        drop(waits);
        let this = Arc::clone(self);
        let task = tokio::task::spawn_blocking(move || {
            // Given back when the work ends, also when the caller has hung up meanwhile.
            let _slot = slot;
            let (_runs, running) = Inside::enter(&this.running);
            this.most_at_once.fetch_max(running, Ordering::Relaxed);
            this.hashes.fetch_add(1, Ordering::Relaxed);
            work()
        });
        task.await.map_err(|_| AuthError::Internal("a hash did not end"))?
    }
}

fn matches(password: &SecretString, stored: &str) -> bool {
    let Ok(hash) = PasswordHash::new(stored) else { return false };
    Argon2::default().verify_password(password.expose_secret().as_bytes(), &hash).is_ok()
}

/// That a new password is one.
///
/// # Errors
/// [`AuthError::Field`].
pub fn acceptable(password: &str) -> Result<(), AuthError> {
    if (MIN_PASSWORD_BYTES..=MAX_PASSWORD_BYTES).contains(&password.len()) {
        return Ok(());
    }
    let message = format!("must have {MIN_PASSWORD_BYTES} to {MAX_PASSWORD_BYTES} bytes");
    Err(AuthError::Field { field: "password", message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a_crowd_of_logins_runs_two_hashes_at_once_and_turns_the_rest_away() {
        let passwords = Passwords::new(2).unwrap();
        let hash = passwords.hash("the right one".into()).await.unwrap();
        let tasks: Vec<_> = (0..60)
            .map(|_| {
                let (passwords, hash) = (Arc::clone(&passwords), hash.clone());
                tokio::spawn(async move { passwords.verify("the right one".into(), Some(hash)).await })
            })
            .collect();
        let (mut passed, mut busy) = (0, 0);
        for task in tasks {
            match task.await.unwrap() {
                Ok(true) => passed += 1,
                Err(AuthError::Busy) => busy += 1,
                other => panic!("{other:?}"),
            }
        }
        assert!(passwords.most_at_once() <= 2, "{}", passwords.most_at_once());
        assert!(passed >= MAX_WAITING && busy > 0 && passed + busy == 60, "{passed} passed, {busy} busy");
        assert_eq!(passwords.hashes(), 1 + passed as u64);
    }

    #[tokio::test]
    async fn an_unknown_user_costs_one_hash_like_a_wrong_password() {
        let passwords = Passwords::new(2).unwrap();
        let hash = passwords.hash("the right one".into()).await.unwrap();
        for (stored, password, expected) in [
            (Some(hash.clone()), "the right one", true),
            (Some(hash), "the wrong one", false),
            (None, "the wrong one", false),
            (None, "nobody has this password", false),
        ] {
            let before = passwords.hashes();
            assert_eq!(passwords.verify(password.into(), stored).await.unwrap(), expected);
            assert_eq!(passwords.hashes(), before + 1);
        }
    }

    #[test]
    fn the_parameters_are_at_least_those_of_the_specification() {
        let text = phc("x").unwrap();
        assert!(text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{text}");
    }
}
