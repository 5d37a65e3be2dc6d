//! A shell in this process beside a gate in another, with logins, audit, metrics and rates on.

use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use ringfence_shell::auth::limits::{LimitsConfig, Rate};
use ringfence_shell::auth::{Auth, AuthConfig, TokenRules};
use ringfence_shell::{ShellConfig, serve};
use ringfence_strategies::Strategies;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::gate_process::GateProcess;
use super::http_load::{Connection, request};
use super::{Bench, KEYS_64K};

const PATIENCE: Duration = Duration::from_secs(20);
const PASSWORD: &str = "the bench's own password";
/// As many as the product's own shell has.
pub const WORKERS: usize = 2;

/// Gate and shell.
pub struct HttpShell {
    /// The gate.
    pub gate: GateProcess,
    /// Where the shell serves.
    pub address: SocketAddr,
    /// A key that may do everything that is asked here.
    pub api_key: String,
    stop: Option<oneshot::Sender<()>>,
    serving: Option<JoinHandle<Result<()>>>,
    _dir: TempDir,
}

impl HttpShell {
    /// Starts both, and waits until the shell has the gate's journal.
    ///
    /// # Errors
    /// One of them does not start.
    pub fn start(bench: &Bench) -> Result<Self> {
        Self::start_with(bench, None)
    }

    /// The same with strategies.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(bench: &Bench, strategies: Option<Arc<Strategies>>) -> Result<Self> {
        let gate = GateProcess::start(KEYS_64K, &bench.options.out)?;
        let dir = tempfile::Builder::new().prefix("shell-").tempdir_in(&bench.options.out)?;
        let core = gate.config();
        let plenty = Rate::per_second(1_000_000_000, 1_000_000_000);
        let (auth, _) = Auth::open(AuthConfig {
            path: dir.path().join("auth.db"),
            rules: TokenRules {
                issuer: "bench".into(),
                audience: "bench".into(),
                leeway: Duration::from_secs(10),
            },
            access_lives: Duration::from_secs(3600),
            refresh_lives: Duration::from_secs(3600),
            key_lives: Duration::from_secs(86_400),
            hashes_at_once: 1,
            account: 0,
            jwt_secret: None,
            admin_password: Some(PASSWORD.into()),
            limits: LimitsConfig { requests: plenty, cancels: plenty, address: plenty, logins: plenty },
            public_metrics: true,
        })?;
        let mut config = ShellConfig::new(&core.run_dir, core.journal_dir());
        config.socket = core.socket_path();
        config.bind = SocketAddr::from(([127, 0, 0, 1], 0));
        config.manual_strategy = "bench".to_owned();
        config.audit.dir = dir.path().join("audit");
        config.auth = Some(auth);
        config.strategies = strategies;
        let (ready, address) = mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
        let serving = std::thread::Builder::new().name("shell".into()).spawn(move || {
            let told = move |address| {
                // Whoever gave up waiting has said so.
                let _ = ready.send(address);
            };
            let until = async move { drop(stopped.await) };
            runtime.block_on(serve(config, told, until)).map_err(anyhow::Error::from)
        })?;
        let address = address.recv_timeout(PATIENCE).context("the shell does not start")?;
        let mut shell = Self {
            gate,
            address,
            api_key: String::new(),
            stop: Some(stop),
            serving: Some(serving),
            _dir: dir,
        };
        shell.api_key = shell.sign_in()?;
        Ok(shell)
    }

    fn ask(&self, method: &str, path: &str, credential: &str, body: &Value) -> Result<Value> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let bytes = request(method, path, credential, &body);
        let (status, answer) = Connection::open(self.address)?.ask_for_body(&bytes)?;
        ensure!(status < 300, "{method} {path} is {status}: {answer}");
        Ok(serde_json::from_str(&answer)?)
    }

    /// Whether orders would pass: the gate answers, its journal is read, and the market is there.
    fn is_ready(&self, key: &str) -> bool {
        let market = self.ask("GET", "/api/market", key, &Value::Null);
        let health = self.ask("GET", "/api/health", key, &Value::Null);
        market.is_ok_and(|market| !market["bid"].is_null())
            && health.is_ok_and(|health| health["stores"]["projection"]["caught_up"] == true)
    }

    /// Logs in, makes a key, and waits until orders would pass with it.
    fn sign_in(&self) -> Result<String> {
        let login = json!({ "user_id": "admin", "password": PASSWORD });
        let login = self.ask("POST", "/api/auth/login", "", &login)?;
        let token = login["access_token"].as_str().context("no token")?;
        let bearer = format!("Authorization: Bearer {token}\r\n");
        let names = ["read:market", "read:orders", "read:config", "write:orders", "strategies:submit"];
        let made = json!({ "name": "bench", "permissions": names });
        let made = self.ask("POST", "/api/auth/keys", &bearer, &made)?;
        let key = format!("X-API-Key: {}\r\n", made["api_key"].as_str().context("no key")?);
        let deadline = Instant::now() + PATIENCE;
        while !self.is_ready(&key) {
            ensure!(Instant::now() < deadline, "the shell does not get ready");
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(key)
    }

    /// Stops both in good order; the gate counts `orders` and no other.
    ///
    /// # Errors
    /// They did not, or did other work than was asked for.
    pub fn finish(mut self, orders: u64) -> Result<()> {
        let tally = self.gate.tally();
        ensure!(tally.accepted == orders, "the gate accepted {} of {orders} orders", tally.accepted);
        ensure!(tally.journal_records >= orders, "{} records in the journal", tally.journal_records);
        self.end()?;
        let Self { gate, .. } = self;
        gate.stop()
    }

    fn end(&mut self) -> Result<()> {
        drop(self.stop.take());
        match self.serving.take() {
            Some(serving) => serving.join().map_err(|_| anyhow!("the shell panicked"))?,
            None => Ok(()),
        }
    }
}
