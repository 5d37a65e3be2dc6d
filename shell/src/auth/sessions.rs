//! Logging in, staying in, logging out; and from credentials to a principal.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rusqlite::{OptionalExtension as _, Transaction};
use secrecy::SecretString;
use serde::Serialize;
use utoipa::ToSchema;

use super::directory::{ApiKey, Directory, User};
use super::principal::{Principal, Proof};
use super::random::{digest, id, same};
use super::signing::{KeyRing, TokenType};
use super::{Auth, AuthError, KEEP_ENDED_S, View, now};

/// Sessions a user has at most; the oldest makes room.
const MAX_FAMILIES_PER_USER: u32 = 16;

/// Both tokens of a session. Has no `Debug`: it is made of secrets.
#[derive(Serialize, ToSchema)]
pub struct TokenPair {
    /// Authorises requests.
    pub access_token: String,
    /// Is exchanged for the next pair, once.
    pub refresh_token: String,
    /// How to send the access token.
    pub token_type: &'static str,
    /// How long the access token works, seconds.
    pub expires_in: u64,
}

enum Refreshed {
    To(String),
    Reused(String),
}

impl Auth {
    /// A new session.
    ///
    /// # Errors
    /// [`AuthError::InvalidCredentials`], after the same work whether the user exists or not.
    pub async fn login(
        self: &Arc<Self>,
        user_id: String,
        password: SecretString,
    ) -> Result<TokenPair, AuthError> {
        let asked = user_id.clone();
        let stored = self.blocking(move |auth| auth.stored_password(&asked)).await?;
        let row = stored.as_ref().map(|(row, _)| *row);
        let right = self.passwords.verify(password, stored.map(|(_, hash)| hash)).await?;
        let row = row.filter(|_| right).ok_or(AuthError::InvalidCredentials)?;
        self.blocking(move |auth| auth.begin(row, &user_id)).await
    }

    /// Whether `password` is that of `principal`'s user.
    ///
    /// # Errors
    /// [`AuthError::Busy`].
    pub async fn is_password(
        self: &Arc<Self>,
        user_id: String,
        password: SecretString,
    ) -> Result<bool, AuthError> {
        let stored = self.blocking(move |auth| auth.stored_password(&user_id)).await?;
        self.passwords.verify(password, stored.map(|(_, hash)| hash)).await
    }

    fn stored_password(&self, user_id: &str) -> Result<Option<(i64, String)>, AuthError> {
        let store = self.store.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut query =
            store.connection().prepare_cached("SELECT id, password FROM users WHERE user_id = ?1")?;
        Ok(query.query_row([user_id], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
    }

    fn begin(&self, row: i64, user_id: &str) -> Result<TokenPair, AuthError> {
        let (family, jti) = (id()?, id()?);
        let lives = self.config.refresh_lives.as_secs();
        self.change(|tx, view, now| {
            // It may have been removed while the password was checked.
            view.directory.users.get(&row).ok_or(AuthError::InvalidCredentials)?;
            tx.execute(
                "INSERT INTO families (id, user, current, created_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)",
                (&family, row, &jti, now, now.saturating_add(lives)),
            )?;
            tx.execute(
                "UPDATE families SET revoked_at = ?2, revoked_for = 'too many sessions'
                 WHERE user = ?1 AND revoked_at IS NULL AND id NOT IN
                   (SELECT id FROM families WHERE user = ?1 AND revoked_at IS NULL
                    ORDER BY rowid DESC LIMIT ?3)",
                (row, now, MAX_FAMILIES_PER_USER),
            )?;
            Ok(())
        })?;
        self.pair(user_id, &family, &jti)
    }

    fn pair(&self, user_id: &str, family: &str, jti: &str) -> Result<TokenPair, AuthError> {
        let (view, now) = (self.view(), now());
        let (access, refresh) = (self.config.access_lives, self.config.refresh_lives);
        let access_token = view.keys.sign(TokenType::Access, (user_id, family, &id()?), (now, access))?;
        let refresh_token = view.keys.sign(TokenType::Refresh, (user_id, family, jti), (now, refresh))?;
        Ok(TokenPair { access_token, refresh_token, token_type: "Bearer", expires_in: access.as_secs() })
    }

    /// The next pair of tokens. A refresh token that was used before means that somebody stole one: the whole session
    /// ends.
    ///
    /// # Errors
    /// [`AuthError::InvalidRefresh`].
    pub fn refresh(&self, token: &str) -> Result<TokenPair, AuthError> {
        let claims = self.view().keys.verify(TokenType::Refresh, token).ok_or(AuthError::InvalidRefresh)?;
        let next = id()?;
        let lives = self.config.refresh_lives.as_secs();
        let refreshed = self.change(|tx, view, now| {
            let family = view.directory.families.get(&claims.sid).ok_or(AuthError::InvalidRefresh)?;
            let user = view.directory.users.get(&family.user).ok_or(AuthError::InvalidRefresh)?;
            if *user.user_id != *claims.sub || family.expires_at <= now {
                return Err(AuthError::InvalidRefresh);
            }
            if family.current != claims.jti {
                revoke(tx, &claims.sid, "reuse", now)?;
                return Ok(Refreshed::Reused(claims.sid.clone()));
            }
            tx.execute(
                "UPDATE families SET current = ?2, expires_at = ?3 WHERE id = ?1",
                (&claims.sid, &next, now.saturating_add(lives)),
            )?;
            Ok(Refreshed::To(next))
        })?;
        match refreshed {
            Refreshed::To(next) => self.pair(&claims.sub, &claims.sid, &next),
            Refreshed::Reused(family) => {
                tracing::warn!(
                    user = claims.sub,
                    family,
                    "a refresh token was used twice: its session ended"
                );
                Err(AuthError::InvalidRefresh)
            }
        }
    }

    /// Ends the session of this refresh token; its access tokens end with it. A token that was used before ends it, too.
    ///
    /// # Errors
    /// [`AuthError::InvalidRefresh`] when it is none of ours.
    pub fn logout(&self, token: &str) -> Result<(), AuthError> {
        let claims = self.view().keys.verify(TokenType::Refresh, token).ok_or(AuthError::InvalidRefresh)?;
        self.change(|tx, _, now| revoke(tx, &claims.sid, "logout", now))
    }

    /// Whose access token this is.
    #[must_use]
    pub fn by_token(&self, token: &str) -> Option<Principal> {
        let view = self.view();
        let claims = view.keys.verify(TokenType::Access, token)?;
        let family = view.directory.families.get(&claims.sid)?;
        let user = view.directory.users.get(&family.user)?;
        let proof = Proof::Session { user: user.row, family: claims.sid, expires_at: claims.exp };
        (*user.user_id == *claims.sub && family.expires_at > now()).then(|| of_user(user, proof))
    }

    /// Whose API key this is: `rk_<16 hex>.<secret>`.
    #[must_use]
    pub fn by_api_key(&self, presented: &str) -> Option<Principal> {
        let (key_id, secret) = presented.split_once('.')?;
        let view = self.view();
        let key = view.directory.keys.get(key_id)?;
        if !same(&digest(secret), &key.secret) {
            return None;
        }
        let principal = of_key(&view.directory, key)?;
        key.last_used_at.store(now(), Ordering::Relaxed);
        Some(principal)
    }

    /// The same principal as things stand now; none once its session, key or user is gone.
    #[must_use]
    pub fn renew(&self, principal: &Principal) -> Option<Principal> {
        let view = self.view();
        match &principal.proof {
            Proof::Local => Some(principal.clone()),
            Proof::Session { user, family, expires_at } => {
                let live = view.directory.families.get(family)?;
                let alive = live.user == *user && (*expires_at).min(live.expires_at) > now();
                let user = view.directory.users.get(user).filter(|_| alive)?;
                Some(of_user(user, principal.proof.clone()))
            }
            Proof::Key { .. } => {
                of_key(&view.directory, view.directory.keys.get(principal.key_id.as_ref()?)?)
            }
        }
    }

    pub(super) fn housekeeping(&self) -> Result<(), AuthError> {
        let horizon = self.config.refresh_lives + self.config.rules.leeway;
        let key_lives = self.config.key_lives;
        self.change(|tx, view, now| {
            for key in view.directory.keys.values() {
                let used = key.last_used_at.load(Ordering::Relaxed);
                tx.prepare_cached(
                    "UPDATE api_keys SET last_used_at = ?2
                     WHERE key_id = ?1 AND ?2 > coalesce(last_used_at, 0)",
                )?
                .execute((&*key.key_id, used))?;
            }
            let ended = now.saturating_sub(KEEP_ENDED_S);
            tx.execute(
                "DELETE FROM families WHERE min(expires_at, coalesce(revoked_at, expires_at)) < ?1",
                [ended],
            )?;
            let retired = now.saturating_sub(horizon.as_secs());
            tx.execute("DELETE FROM signing_keys WHERE retired_at < ?1", [retired])?;
            if view.keys.is_due(key_lives, now) {
                KeyRing::rotate(tx, now)?;
            }
            Ok(())
        })
    }
}

fn revoke(tx: &Transaction<'_>, family: &str, why: &str, now: u64) -> Result<(), AuthError> {
    tx.execute(
        "UPDATE families SET revoked_at = ?2, revoked_for = ?3 WHERE id = ?1 AND revoked_at IS NULL",
        (family, now, why),
    )?;
    Ok(())
}

fn of_user(user: &User, proof: Proof) -> Principal {
    Principal {
        user_id: Arc::clone(&user.user_id),
        key_id: None,
        permissions: user.permissions(),
        account: user.account,
        proof,
    }
}

/// A key may what it was given, and never more than its owner may now.
fn of_key(directory: &Directory, key: &ApiKey) -> Option<Principal> {
    let owner = directory.users.get(&key.user)?;
    (!key.revoked).then(|| Principal {
        user_id: Arc::clone(&owner.user_id),
        key_id: Some(Arc::clone(&key.key_id)),
        permissions: key.permissions.and(owner.permissions()),
        account: owner.account,
        proof: Proof::Key { user: owner.row },
    })
}

impl View {
    pub(super) fn owner_row(&self, principal: &Principal) -> Option<i64> {
        match principal.proof {
            Proof::Local => None,
            Proof::Session { user, .. } | Proof::Key { user } => {
                self.directory.users.contains_key(&user).then_some(user)
            }
        }
    }
}
