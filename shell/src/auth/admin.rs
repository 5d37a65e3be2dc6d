//! Users, roles, API keys and signing keys: made, listed, taken away. Nobody gives what they do not have.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rusqlite::Transaction;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use utoipa::ToSchema;

use super::directory::User;
use super::passwords::acceptable;
use super::permission::{Permissions, Role};
use super::principal::Principal;
use super::random::{digest, id, secret};
use super::signing::{KeyInfo, KeyRing};
use super::{Auth, AuthError, FIRST_ADMIN, View};

/// Users at most: every one is in memory.
const MAX_USERS: usize = 1000;
/// API keys at most, all users together; the one revoked first makes room.
const MAX_KEYS: usize = 10_000;
/// Signing keys at most, those that only verify included.
const MAX_SIGNING_KEYS: usize = 16;
const MAX_NAME_BYTES: usize = 64;

/// A user as administrators see it.
#[derive(Debug, Serialize, ToSchema)]
pub struct UserView {
    /// Its name.
    pub user_id: String,
    /// What it is.
    pub roles: Vec<&'static str>,
    /// The account that it sees and trades for.
    pub account: u16,
    /// When it was made, Unix seconds.
    pub created_at: u64,
    /// When its roles changed last, Unix seconds.
    pub updated_at: u64,
    /// By whom it was made.
    pub created_by: String,
}

/// An API key as administrators see it.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeyView {
    /// Its id.
    pub key_id: String,
    /// Its owner.
    pub user_id: String,
    /// What its owner calls it.
    pub name: String,
    /// When it was made, Unix seconds.
    pub created_at: u64,
    /// When it was used last, Unix seconds.
    pub last_used_at: Option<u64>,
    /// Whether it is no longer accepted.
    pub revoked: bool,
    /// What it may do, at most.
    pub permissions: Vec<&'static str>,
}

/// A new API key: the only time that its secret is shown. Has no `Debug`.
#[derive(Serialize, ToSchema)]
pub struct KeyMade {
    /// Its id.
    pub key_id: String,
    /// The whole key, for the header `X-API-Key`.
    pub api_key: String,
}

/// The first start's administrator.
pub(super) fn insert_first(
    tx: &Transaction<'_>,
    hash: &str,
    account: u16,
    now: u64,
) -> Result<(), AuthError> {
    insert(tx, (FIRST_ADMIN, hash), &[Role::Admin], account, ("first start", now))
}

fn insert(
    tx: &Transaction<'_>,
    (user_id, hash): (&str, &str),
    roles: &[Role],
    account: u16,
    (by, now): (&str, u64),
) -> Result<(), AuthError> {
    tx.execute(
        "INSERT INTO users (user_id, password, account, created_at, created_by, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?4)",
        (user_id, hash, account, now, by),
    )?;
    let row = tx.last_insert_rowid();
    for role in roles {
        tx.execute("INSERT INTO roles (user, role) VALUES (?1, ?2)", (row, role.name()))?;
    }
    Ok(())
}

fn view_of(user: &User) -> UserView {
    UserView {
        user_id: user.user_id.to_string(),
        roles: user.roles.iter().map(|role| role.name()).collect(),
        account: user.account,
        created_at: user.created_at,
        updated_at: user.updated_at,
        created_by: user.created_by.clone(),
    }
}

fn may_give(giver: &Principal, given: Permissions) -> Result<(), AuthError> {
    if giver.permissions.contains(given) {
        return Ok(());
    }
    let beyond = given.iter().filter(|permission| !giver.may(*permission));
    Err(AuthError::Beyond(beyond.map(|permission| permission.name()).collect::<Vec<_>>().join(", ")))
}

/// A name that is safe in logs, headers and queries.
fn check_name(field: &'static str, name: &str) -> Result<(), AuthError> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"._@-".contains(&b);
    if (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(fits) {
        return Ok(());
    }
    let message = format!("must have 1 to {MAX_NAME_BYTES} of A-Z a-z 0-9 . _ @ -");
    Err(AuthError::Field { field, message })
}

fn forget_revoked_key(tx: &Transaction<'_>) -> Result<usize, AuthError> {
    Ok(tx.execute(
        "DELETE FROM api_keys WHERE key_id =
           (SELECT key_id FROM api_keys WHERE revoked_at IS NOT NULL ORDER BY revoked_at LIMIT 1)",
        (),
    )?)
}

const LAST_ADMIN: AuthError = AuthError::Conflict {
    code: "last_admin",
    message: "this is the last administrator: make another one first",
};
const USER: AuthError = AuthError::NotFound("user");

impl Auth {
    /// Every user, or this one.
    ///
    /// # Errors
    /// [`AuthError::NotFound`].
    pub fn users(&self, user_id: Option<&str>) -> Result<Vec<UserView>, AuthError> {
        let view = self.view();
        if let Some(user_id) = user_id {
            return Ok(vec![view_of(view.directory.user(user_id).ok_or(USER)?)]);
        }
        let mut users: Vec<_> = view.directory.users.values().map(view_of).collect();
        users.sort_by(|a, b| a.user_id.cmp(&b.user_id));
        Ok(users)
    }

    /// A new user.
    ///
    /// # Errors
    /// [`AuthError`].
    pub async fn create_user(
        self: &Arc<Self>,
        by: Principal,
        user_id: String,
        password: SecretString,
        role: Role,
        account: Option<u16>,
    ) -> Result<UserView, AuthError> {
        check_name("user_id", &user_id)?;
        acceptable(password.expose_secret())?;
        may_give(&by, role.permissions())?;
        let hash = self.passwords.hash(password).await?;
        self.blocking(move |auth| {
            let account = account.unwrap_or(auth.config.account);
            auth.change(|tx, view, now| {
                if view.directory.user(&user_id).is_some() {
                    return Err(AuthError::Conflict {
                        code: "user_exists",
                        message: "there is a user of this name already: choose another, or give it a role",
                    });
                }
                if view.directory.users.len() >= MAX_USERS {
                    return Err(AuthError::Conflict {
                        code: "too_many_users",
                        message: "remove a user first",
                    });
                }
                insert(tx, (&user_id, &hash), &[role], account, (&by.user_id, now))
            })?;
            auth.users(Some(&user_id)).and_then(|users| users.into_iter().next().ok_or(USER))
        })
        .await
    }

    /// Removes a user with its sessions and keys.
    ///
    /// # Errors
    /// [`AuthError`].
    pub fn remove_user(&self, user_id: &str) -> Result<(), AuthError> {
        self.change(|tx, view, _| {
            let user = view.directory.user(user_id).ok_or(USER)?;
            if user.roles.contains(&Role::Admin) && view.directory.admins() == 1 {
                return Err(LAST_ADMIN);
            }
            tx.execute("DELETE FROM users WHERE id = ?1", [user.row])?;
            Ok(())
        })
    }

    /// Sets a user's own password; all its sessions end.
    ///
    /// # Errors
    /// [`AuthError`].
    pub async fn set_password(
        self: &Arc<Self>,
        user_id: String,
        current: SecretString,
        password: SecretString,
    ) -> Result<(), AuthError> {
        acceptable(password.expose_secret())?;
        if !self.is_password(user_id.clone(), current).await? {
            return Err(AuthError::InvalidCredentials);
        }
        let hash = self.passwords.hash(password).await?;
        self.blocking(move |auth| {
            auth.change(|tx, view, now| {
                let user = view.directory.user(&user_id).ok_or(USER)?;
                tx.execute("UPDATE users SET password = ?2 WHERE id = ?1", (user.row, &hash))?;
                tx.execute(
                    "UPDATE families SET revoked_at = ?2, revoked_for = 'password changed'
                     WHERE user = ?1 AND revoked_at IS NULL",
                    (user.row, now),
                )?;
                Ok(())
            })
        })
        .await
    }

    /// Gives a user a role.
    ///
    /// # Errors
    /// [`AuthError`].
    pub fn grant(&self, by: &Principal, user_id: &str, role: Role) -> Result<UserView, AuthError> {
        may_give(by, role.permissions())?;
        self.change_role(user_id, |tx, row, _| {
            tx.execute("INSERT OR IGNORE INTO roles (user, role) VALUES (?1, ?2)", (row, role.name()))?;
            Ok(())
        })
    }

    /// Takes a role from a user; what it may do shrinks at once, and so does what its keys may.
    ///
    /// # Errors
    /// [`AuthError`].
    pub fn revoke_role(&self, user_id: &str, role: Role) -> Result<UserView, AuthError> {
        self.change_role(user_id, |tx, row, view| {
            let has = view.directory.users.get(&row).is_some_and(|user| user.roles.contains(&role));
            if !has {
                return Err(AuthError::NotFound("role of this user"));
            }
            if role == Role::Admin && view.directory.admins() == 1 {
                return Err(LAST_ADMIN);
            }
            tx.execute("DELETE FROM roles WHERE user = ?1 AND role = ?2", (row, role.name()))?;
            Ok(())
        })
    }

    fn change_role(
        &self,
        user_id: &str,
        work: impl FnOnce(&Transaction<'_>, i64, &View) -> Result<(), AuthError>,
    ) -> Result<UserView, AuthError> {
        self.change(|tx, view, now| {
            let row = view.directory.user(user_id).ok_or(USER)?.row;
            work(tx, row, view)?;
            tx.execute("UPDATE users SET updated_at = ?2 WHERE id = ?1", (row, now))?;
            Ok(())
        })?;
        self.users(Some(user_id))?.into_iter().next().ok_or(USER)
    }

    /// Every API key.
    #[must_use]
    pub fn api_keys(&self) -> Vec<KeyView> {
        let view = self.view();
        let mut keys: Vec<_> = view.directory.keys.values().collect();
        keys.sort_by(|a, b| (a.created_at, &a.key_id).cmp(&(b.created_at, &b.key_id)));
        let owner = |row| view.directory.users.get(&row).map(|user| user.user_id.to_string());
        keys.iter()
            .map(|key| KeyView {
                key_id: key.key_id.to_string(),
                user_id: owner(key.user).unwrap_or_default(),
                name: key.name.clone(),
                created_at: key.created_at,
                last_used_at: Some(key.last_used_at.load(Ordering::Relaxed)).filter(|at| *at != 0),
                revoked: key.revoked,
                permissions: key.permissions.names(),
            })
            .collect()
    }

    /// A new API key of `by`'s user.
    ///
    /// # Errors
    /// [`AuthError`].
    pub fn create_key(
        &self,
        by: &Principal,
        name: &str,
        permissions: Permissions,
    ) -> Result<KeyMade, AuthError> {
        check_name("name", name)?;
        may_give(by, permissions)?;
        let (key_id, secret) = (format!("rk_{}", id()?), secret()?);
        self.change(|tx, view, now| {
            let owner = view.owner_row(by).ok_or(USER)?;
            if view.directory.keys.len() >= MAX_KEYS && forget_revoked_key(tx)? == 0 {
                return Err(AuthError::Conflict { code: "too_many_keys", message: "revoke a key first" });
            }
            tx.execute(
                "INSERT INTO api_keys (key_id, user, name, secret_sha256, permissions, created_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                (&key_id, owner, name, digest(&secret), permissions.to_text(), now),
            )?;
            Ok(())
        })?;
        Ok(KeyMade { api_key: format!("{key_id}.{secret}"), key_id })
    }

    /// Revokes an API key; it is refused from now on.
    ///
    /// # Errors
    /// [`AuthError::NotFound`].
    pub fn revoke_key(&self, key_id: &str) -> Result<(), AuthError> {
        self.change(|tx, view, now| {
            view.directory.keys.get(key_id).ok_or(AuthError::NotFound("key"))?;
            tx.execute(
                "UPDATE api_keys SET revoked_at = ?2 WHERE key_id = ?1 AND revoked_at IS NULL",
                (key_id, now),
            )?;
            Ok(())
        })
    }

    /// The signing keys, the one that signs first.
    #[must_use]
    pub fn signing_keys(&self) -> Vec<KeyInfo> {
        self.view().keys.list()
    }

    /// A new key signs from now on; the one before verifies until its longest token has ended.
    ///
    /// # Errors
    /// [`AuthError`].
    pub fn rotate_signing_key(&self) -> Result<String, AuthError> {
        self.change(|tx, view, now| {
            if view.keys.list().len() >= MAX_SIGNING_KEYS {
                let message = "too many keys still verify: revoke one first";
                return Err(AuthError::Conflict { code: "too_many_keys", message });
            }
            KeyRing::rotate(tx, now)
        })
    }

    /// Refuses every token that this key signed, from now on; a new key signs if it was the one that does.
    ///
    /// # Errors
    /// [`AuthError`].
    pub fn revoke_signing_key(&self, kid: &str) -> Result<(), AuthError> {
        self.change(|tx, view, now| {
            if !view.keys.knows(kid) {
                return Err(AuthError::NotFound("signing key"));
            }
            let signed =
                tx.execute("DELETE FROM signing_keys WHERE kid = ?1 AND retired_at IS NULL", [kid])?;
            if signed == 1 {
                KeyRing::rotate(tx, now)?;
            } else if tx.execute("DELETE FROM signing_keys WHERE kid = ?1", [kid])? == 0 {
                return Err(AuthError::Conflict {
                    code: "configured_key",
                    message: "this key is configured: change RINGFENCE_JWT_SECRET and start again",
                });
            }
            Ok(())
        })
    }
}
