//! Who sent a request.

use std::sync::Arc;

use super::permission::{Permission, Permissions};

/// Who sent a request and what it may do, as it was when the request came. In every request's extensions.
#[derive(Clone, Debug)]
pub struct Principal {
    /// The user; of an API key, its owner.
    pub user_id: Arc<str>,
    /// The API key, if one was used.
    pub key_id: Option<Arc<str>>,
    /// What it may do.
    pub permissions: Permissions,
    /// The account that it sees and trades for.
    pub account: u16,
    pub(super) proof: Proof,
}

/// How a principal showed who it is; to look again later.
#[derive(Clone, Debug)]
pub(super) enum Proof {
    /// Authentication is off: this machine's own user.
    Local,
    /// A token of this session.
    Session { user: i64, family: String, expires_at: u64 },
    /// An API key.
    Key { user: i64 },
}

impl Principal {
    /// This machine's own user, while authentication is off: may do everything.
    #[must_use]
    pub fn local() -> Self {
        Self {
            user_id: "local".into(),
            key_id: None,
            permissions: Permissions::ALL,
            account: 0,
            proof: Proof::Local,
        }
    }

    /// When its credentials end by themselves, Unix seconds; none: they do not.
    #[must_use]
    pub fn expires_at(&self) -> Option<u64> {
        match self.proof {
            Proof::Session { expires_at, .. } => Some(expires_at),
            Proof::Local | Proof::Key { .. } => None,
        }
    }

    /// Whether it may do this.
    #[must_use]
    pub fn may(&self, permission: Permission) -> bool {
        self.permissions.has(permission)
    }
}
