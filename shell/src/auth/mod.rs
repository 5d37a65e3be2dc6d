//! Who may do what: users, roles, sessions, API keys, and the rates at which they may ask.
//!
//! Security state is on disk before it is shown, and in memory whole: a request is authorised without touching the disk,
//! and a revocation counts from the moment that its call returns. Knows no HTTP.

mod admin;
mod directory;
pub mod limits;
mod passwords;
pub mod permission;
mod principal;
mod random;
mod sessions;
mod signing;
mod store;
mod tickets;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rusqlite::Transaction;
use secrecy::SecretString;
use tokio::sync::watch;

pub use admin::{KeyMade, KeyView, UserView};
use directory::Directory;
use limits::{Limits, LimitsConfig};
use passwords::Passwords;
pub use principal::Principal;
pub use sessions::TokenPair;
use signing::KeyRing;
pub use signing::{KeyInfo, TokenRules};
use store::Store;
pub use tickets::TICKET_LIVES;
use tickets::Tickets;

/// The first administrator's name.
pub const FIRST_ADMIN: &str = "admin";
/// A configured token secret has at least this many bytes.
pub const MIN_SECRET_BYTES: usize = 32;
/// How often keys' last uses are written down, and what has ended is cleaned up.
const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(30);
/// A revoked or ended session stays in the store for this long, seconds.
const KEEP_ENDED_S: u64 = 30 * 86_400;

/// What authentication is set up with.
#[derive(Clone, Debug)]
pub struct AuthConfig {
    /// The store's file.
    pub path: PathBuf,
    /// What every token says.
    pub rules: TokenRules,
    /// How long an access token works.
    pub access_lives: Duration,
    /// How long a refresh token works.
    pub refresh_lives: Duration,
    /// A signing key of this age is replaced.
    pub key_lives: Duration,
    /// Password hashes computed at once.
    pub hashes_at_once: usize,
    /// The account of the first administrator, and of new users.
    pub account: u16,
    /// Signs API tokens instead of the generated keys.
    pub jwt_secret: Option<SecretString>,
    /// The first administrator's password; none: one is made up.
    pub admin_password: Option<SecretString>,
    /// How often who may ask.
    pub limits: LimitsConfig,
    /// `/metrics` needs no credentials.
    pub public_metrics: bool,
}

/// Why authentication cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be made or read.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Others could read it.
    #[error("{path} has mode {mode:o}: it holds keys, so run `chmod 600` on it first")]
    Exposed {
        /// Which.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is no store of ours, or another process has it.
    #[error("{path}: {source}; one shell at a time may use a data directory")]
    Store {
        /// Which.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// A later version wrote it.
    #[error(
        "{path} is of version {version}, newer than this program: run the newer program, or another data_dir"
    )]
    Newer {
        /// Which.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// A configured secret is too weak.
    #[error("{0}")]
    Secret(String),
    /// Anything else.
    #[error(transparent)]
    Auth(#[from] AuthError),
}

/// Why something was refused. Says nothing that a stranger should not know.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// A field does not hold what it must.
    #[error("{field} {message}")]
    Field {
        /// Which.
        field: &'static str,
        /// What it must.
        message: String,
    },
    /// Unknown user or wrong password; which of them is nobody's business.
    #[error("user or password is wrong")]
    InvalidCredentials,
    /// No refresh token of ours, used before, revoked or ended.
    #[error("this refresh token is not valid: log in again")]
    InvalidRefresh,
    /// It would need more permissions than the caller has.
    #[error("nobody gives what they do not have: {0}")]
    Beyond(String),
    /// It is not there.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// It cannot be, as things stand.
    #[error("{message}")]
    Conflict {
        /// A stable code.
        code: &'static str,
        /// Why, and what to do.
        message: &'static str,
    },
    /// Too much at once.
    #[error("too many such requests wait: try again in a moment")]
    Busy,
    /// The store failed; nothing was changed.
    #[error("the store of users and keys failed: nothing was changed")]
    Store(#[from] rusqlite::Error),
    /// A bug or a broken machine.
    #[error("internal error")]
    Internal(&'static str),
}

/// What authorises, as of the last change.
struct View {
    directory: Directory,
    keys: KeyRing,
}

/// Authentication and authorisation.
pub struct Auth {
    config: AuthConfig,
    store: Mutex<Store>,
    view: RwLock<Arc<View>>,
    passwords: Arc<Passwords>,
    limits: Limits,
    tickets: Tickets,
    changes: watch::Sender<u64>,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth").field("path", &self.config.path).finish_non_exhaustive()
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Auth {
    /// Opens the store. At the first start there is one user, [`FIRST_ADMIN`]; its password, unless it was configured, is
    /// returned to be shown once.
    ///
    /// # Errors
    /// [`OpenError`], saying what to do.
    pub fn open(config: AuthConfig) -> Result<(Arc<Self>, Option<SecretString>), OpenError> {
        check_secrets(&config)?;
        let passwords = Passwords::new(config.hashes_at_once)?;
        let mut store = Store::open(&config.path)?;
        let now = now();
        let mut view = read(&store, &config, now)?;
        let mut shown = None;
        let first = view.directory.users.is_empty();
        if first {
            let password = match &config.admin_password {
                Some(password) => password.clone(),
                None => shown.insert(SecretString::from(random::secret()?)).clone(),
            };
            let hash = passwords.hash_now(&password)?;
            store.change(|tx| admin::insert_first(tx, &hash, config.account, now))?;
        }
        if view.keys.is_due(config.key_lives, now) {
            store.change(|tx| KeyRing::rotate(tx, now).map(drop))?;
        }
        view = read(&store, &config, now)?;
        let auth = Self {
            limits: Limits::new(&config.limits),
            config,
            store: Mutex::new(store),
            view: RwLock::new(Arc::new(view)),
            passwords,
            tickets: Tickets::default(),
            changes: watch::Sender::new(0),
        };
        Ok((Arc::new(auth), shown))
    }

    /// How often who may ask.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether `/metrics` needs no credentials.
    #[must_use]
    pub fn public_metrics(&self) -> bool {
        self.config.public_metrics
    }

    /// Password hashes computed so far.
    #[must_use]
    pub fn password_hashes(&self) -> u64 {
        self.passwords.hashes()
    }

    /// Changes whenever users, keys or sessions do.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The public signing keys, as a JWK set.
    #[must_use]
    pub fn jwks(&self) -> serde_json::Value {
        self.view().keys.jwks()
    }

    /// A one-time ticket for `principal`.
    ///
    /// # Errors
    /// [`AuthError::Busy`].
    pub fn ticket(&self, principal: &Principal) -> Result<String, AuthError> {
        self.tickets.issue(principal, Instant::now())
    }

    /// Whom `ticket` stands for, with what they may do now.
    #[must_use]
    pub fn by_ticket(&self, ticket: &str) -> Option<Principal> {
        self.renew(&self.tickets.redeem(ticket, Instant::now())?)
    }

    /// Writes down what can wait and cleans up, for good.
    pub async fn keep(self: Arc<Self>) {
        loop {
            tokio::time::sleep(HOUSEKEEPING_EVERY).await;
            let auth = Arc::clone(&self);
            let kept = tokio::task::spawn_blocking(move || auth.housekeeping()).await;
            if let Ok(Err(error)) = kept {
                tracing::error!(?error, "users and keys could not be tidied");
            }
        }
    }

    /// Runs `work`, which may wait for the disk, off the threads that serve.
    ///
    /// # Errors
    /// What `work` says.
    pub async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, AuthError> + Send + 'static,
    ) -> Result<T, AuthError> {
        let auth = Arc::clone(self);
        let task = tokio::task::spawn_blocking(move || work(&auth));
        task.await.map_err(|_| AuthError::Internal("a change did not end"))?
    }

    fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the store, all or nothing, by what stands there now; then everybody sees it.
    fn change<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>, &View, u64) -> Result<T, AuthError>,
    ) -> Result<T, AuthError> {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, now) = (self.view(), now());
        let done = store.change(|tx| work(tx, &before, now))?;
        let after = read(&store, &self.config, now);
        // What is stored but cannot be read may be a revocation: then nobody passes.
        let (after, outcome) = match after {
            Ok(after) => (after, Ok(done)),
            Err(error) => (View::closed(&self.config), Err(error)),
        };
        after.directory.keep_last_used(&before.directory);
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(after);
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
        outcome
    }
}

impl View {
    fn closed(config: &AuthConfig) -> Self {
        Self { directory: Directory::default(), keys: KeyRing::empty(config.rules.clone()) }
    }
}

fn read(store: &Store, config: &AuthConfig, now: u64) -> Result<View, AuthError> {
    let keys = KeyRing::load(store, config.jwt_secret.as_ref(), config.rules.clone())?;
    Ok(View { directory: store.directory(now)?, keys })
}

fn check_secrets(config: &AuthConfig) -> Result<(), OpenError> {
    use secrecy::ExposeSecret as _;
    if config.jwt_secret.as_ref().is_some_and(|secret| secret.expose_secret().len() < MIN_SECRET_BYTES) {
        return Err(OpenError::Secret(format!(
            "RINGFENCE_JWT_SECRET is shorter than {MIN_SECRET_BYTES} bytes: make one with `openssl rand -base64 48`, or \
             leave it out and keys are generated"
        )));
    }
    match &config.admin_password {
        Some(password) => passwords::acceptable(password.expose_secret())
            .map_err(|error| OpenError::Secret(format!("RINGFENCE_ADMIN_PASSWORD: {error}"))),
        None => Ok(()),
    }
}
