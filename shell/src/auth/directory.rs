//! The store's tables in memory: who exists, what each may do, and which sessions live. Replaced whole, never edited.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::{Connection, Row};

use super::AuthError;
use super::permission::{Permissions, Role, granted};

/// A user.
#[derive(Debug)]
pub struct User {
    /// Its row.
    pub row: i64,
    /// Its name.
    pub user_id: Arc<str>,
    /// The account that it sees and trades for.
    pub account: u16,
    /// What it is.
    pub roles: Vec<Role>,
    /// When it was made, Unix seconds.
    pub created_at: u64,
    /// By whom.
    pub created_by: String,
    /// When its roles changed last, Unix seconds.
    pub updated_at: u64,
}

impl User {
    /// What its roles grant now.
    #[must_use]
    pub fn permissions(&self) -> Permissions {
        granted(&self.roles)
    }
}

/// A family of refresh tokens: one login and everything that was refreshed from it.
#[derive(Debug)]
pub struct Family {
    /// Its user's row.
    pub user: i64,
    /// The one refresh token that may be used next.
    pub current: String,
    /// When it ends, Unix seconds.
    pub expires_at: u64,
}

/// An API key.
#[derive(Debug)]
pub struct ApiKey {
    /// Its id, `rk_` and 16 hex digits.
    pub key_id: Arc<str>,
    /// Its owner's row.
    pub user: i64,
    /// What its owner calls it.
    pub name: String,
    /// SHA-256 of its secret.
    pub secret: [u8; 32],
    /// What it was given; what it may do is never more than its owner may.
    pub permissions: Permissions,
    /// When it was made, Unix seconds.
    pub created_at: u64,
    /// When it was used last, Unix seconds; 0: never. Written to the store now and then.
    pub last_used_at: AtomicU64,
    /// Whether it is no longer accepted.
    pub revoked: bool,
}

/// Everything that authorises.
#[derive(Debug, Default)]
pub struct Directory {
    /// Users by row.
    pub users: HashMap<i64, User>,
    /// Rows by user name.
    pub rows: HashMap<Arc<str>, i64>,
    /// Live sessions by id. One that is not here is refused.
    pub families: HashMap<String, Family>,
    /// API keys by id, revoked ones too.
    pub keys: HashMap<Arc<str>, ApiKey>,
}

impl Directory {
    /// Reads it from the store's tables.
    ///
    /// # Errors
    /// [`AuthError::Store`].
    pub fn load(connection: &Connection, now: u64) -> Result<Self, AuthError> {
        let mut directory = Self::default();
        let mut users = connection
            .prepare_cached("SELECT id, user_id, account, created_at, created_by, updated_at FROM users")?;
        for user in users.query_map((), user)? {
            let user = user?;
            directory.rows.insert(Arc::clone(&user.user_id), user.row);
            directory.users.insert(user.row, user);
        }
        let mut roles = connection.prepare_cached("SELECT user, role FROM roles ORDER BY role")?;
        let pairs = roles.query_map((), |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))?;
        for pair in pairs {
            let (row, role) = pair?;
            // A role that this version does not know grants nothing.
            if let (Some(user), Some(role)) = (directory.users.get_mut(&row), Role::from_name(&role)) {
                user.roles.push(role);
            }
        }
        let mut families = connection.prepare_cached(
            "SELECT id, user, current, expires_at FROM families WHERE revoked_at IS NULL AND expires_at > ?1",
        )?;
        for family in families.query_map([now], family)? {
            let (id, family) = family?;
            directory.families.insert(id, family);
        }
        let mut keys = connection.prepare_cached(
            "SELECT key_id, user, name, secret_sha256, permissions, created_at, last_used_at, revoked_at
             FROM api_keys",
        )?;
        for key in keys.query_map((), key)? {
            let key = key?;
            directory.keys.insert(Arc::clone(&key.key_id), key);
        }
        Ok(directory)
    }

    /// The user of this name.
    #[must_use]
    pub fn user(&self, user_id: &str) -> Option<&User> {
        self.users.get(self.rows.get(user_id)?)
    }

    /// Takes over when keys were last used, where `earlier` knows better.
    pub fn keep_last_used(&self, earlier: &Self) {
        for (id, key) in &self.keys {
            if let Some(before) = earlier.keys.get(id) {
                key.last_used_at.fetch_max(before.last_used_at.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        }
    }

    /// Users that are administrators.
    #[must_use]
    pub fn admins(&self) -> usize {
        self.users.values().filter(|user| user.roles.contains(&Role::Admin)).count()
    }
}

fn user(row: &Row<'_>) -> rusqlite::Result<User> {
    Ok(User {
        row: row.get(0)?,
        user_id: row.get::<_, String>(1)?.into(),
        account: row.get(2)?,
        roles: Vec::new(),
        created_at: row.get(3)?,
        created_by: row.get(4)?,
        updated_at: row.get(5)?,
    })
}

fn family(row: &Row<'_>) -> rusqlite::Result<(String, Family)> {
    Ok((row.get(0)?, Family { user: row.get(1)?, current: row.get(2)?, expires_at: row.get(3)? }))
}

fn key(row: &Row<'_>) -> rusqlite::Result<ApiKey> {
    Ok(ApiKey {
        key_id: row.get::<_, String>(0)?.into(),
        user: row.get(1)?,
        name: row.get(2)?,
        secret: row.get(3)?,
        permissions: Permissions::from_text(&row.get::<_, String>(4)?),
        created_at: row.get(5)?,
        last_used_at: AtomicU64::new(row.get::<_, Option<u64>>(6)?.unwrap_or(0)),
        revoked: row.get::<_, Option<u64>>(7)?.is_some(),
    })
}
