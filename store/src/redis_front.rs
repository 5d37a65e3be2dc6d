//! Redis before PostgreSQL: it answers what is asked often, and decides nothing.
//!
//! | key | holds | what it saves |
//! |---|---|---|
//! | `status:{id}` | a state, for five seconds | a query for every look at a status |
//! | `queue:changes` | a counter of what made work | a transaction for every look of an idle worker |
//! | `lock:{id}` | who holds a strategy, for the time of the lease | a look into the database by whoever watches |
//!
//! Every key is written after PostgreSQL has committed, so a lock that stands there from before is stale and is
//! overwritten: the token in PostgreSQL decides who may act. When Redis is away, has forgotten everything or tells what is
//! long past, a status is up to five seconds old and an idle worker finds work up to a second later, and nothing else.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use redis::{Client, Connection, FromRedisValue, IntoConnectionInfo as _, Pipeline, RedisError, Value};
use secrecy::{ExposeSecret as _, SecretString};

use crate::sqlite::lock;
use crate::{
    Admission, Attempt, By, Claim, Depth, Draft, Duplicates, Event, Filter, Hold, Postgres, Pruned,
    Retention, State, Step, Store, StoreError, Strategy,
};

/// How long it may take; PostgreSQL would have answered by then.
const PATIENCE: Duration = Duration::from_millis(250);
/// Not asked again for so long after a failure.
const BACK_OFF: Duration = Duration::from_secs(1);
/// How old a status may be, ms.
const STATUS_MS: u64 = 5000;
/// An idle worker asks PostgreSQL this often, whatever the counter says, ms: leases expire and back-offs end without it.
const LOOK_EVERY_MS: u64 = 1000;
const CHANGES: &str = "queue:changes";

/// PostgreSQL with Redis before it.
pub struct RedisFront {
    client: Client,
    link: Mutex<Link>,
    seen: Mutex<Option<Seen>>,
    store: Postgres,
}

#[derive(Default)]
struct Link {
    connection: Option<Connection>,
    not_before: Option<Instant>,
}

/// When PostgreSQL last had nothing to give, and the counter before it was asked.
struct Seen {
    changes: u64,
    at_ms: u64,
}

impl RedisFront {
    /// Before `store`, at `redis://:password@host:port/`; connects to nobody yet.
    ///
    /// # Errors
    /// [`StoreError::Address`].
    pub fn open(url: &SecretString, store: Postgres) -> Result<Self, StoreError> {
        let client = url.expose_secret().into_connection_info().and_then(|info| {
            // One question less while connecting: each may wait in vain.
            let settings = info.redis_settings().clone().set_skip_set_lib_name();
            Client::open(info.set_redis_settings(settings))
        });
        let client = client.map_err(|error| StoreError::Address {
            server: "Redis",
            // Its text may repeat the address.
            why: error.category().to_owned(),
            example: "redis://:password@host:6379/",
        })?;
        Ok(Self { client, link: Mutex::default(), seen: Mutex::default(), store })
    }

    /// None: Redis has not answered, and is left alone for a while.
    fn ask(&self, asked: &Pipeline) -> Option<Vec<Value>> {
        let mut link = lock(&self.link);
        if link.not_before.is_some_and(|time| Instant::now() < time) {
            return None;
        }
        let answers = self.connected(&mut link).and_then(|connection| exchange(connection, asked));
        match answers {
            Ok(answers) => {
                link.not_before = None;
                Some(answers)
            }
            Err(_) => {
                *link = Link { connection: None, not_before: Some(Instant::now() + BACK_OFF) };
                None
            }
        }
    }

    /// The answer to a question, when there is one that makes sense.
    fn ask_one<T: FromRedisValue>(&self, asked: &Pipeline) -> Option<T> {
        redis::from_redis_value(self.ask(asked)?.pop()?).ok()
    }

    fn connected<'a>(&self, link: &'a mut Link) -> Result<&'a mut Connection, RedisError> {
        let connection = match link.connection.take() {
            Some(connection) => connection,
            None => {
                let connection = self.client.get_connection_with_timeout(PATIENCE)?;
                connection.set_read_timeout(Some(PATIENCE))?;
                connection.set_write_timeout(Some(PATIENCE))?;
                connection
            }
        };
        Ok(link.connection.insert(connection))
    }

    /// Tells what PostgreSQL has committed; a failure is as good as a loss.
    fn tell(&self, told: &Pipeline) {
        let _ = self.ask(told);
    }

    /// A strategy has moved to `state`, and no worker holds it.
    fn moved(&self, strategy_id: &str, state: State) {
        let mut told = Pipeline::new();
        put_status(&mut told, strategy_id, state);
        told.cmd("DEL").arg(lock_key(strategy_id));
        if state == State::Submitted {
            told.cmd("INCR").arg(CHANGES);
        }
        self.tell(&told);
    }

    /// The counter, when there may be work; none: nothing has changed since there was none.
    fn hint(&self, now_ms: u64) -> Option<u64> {
        let mut asked = Pipeline::new();
        asked.cmd("GET").arg(CHANGES);
        // Without an answer there may always be work.
        let Some(changes) = self.ask_one::<Option<u64>>(&asked).flatten() else { return Some(0) };
        let idle = |seen: &Seen| {
            changes != 0 && seen.changes == changes && now_ms.abs_diff(seen.at_ms) < LOOK_EVERY_MS
        };
        (!lock(&self.seen).as_ref().is_some_and(idle)).then_some(changes)
    }
}

/// One way there and back. The library's own would wait for every answer in turn when none comes.
fn exchange(connection: &mut Connection, asked: &Pipeline) -> Result<Vec<Value>, RedisError> {
    let deadline = Instant::now() + PATIENCE;
    connection.send_packed_command(&asked.get_packed_pipeline())?;
    let mut answers = Vec::with_capacity(asked.len());
    while answers.len() < asked.len() {
        if Instant::now() >= deadline {
            return Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into());
        }
        answers.push(connection.recv_response()?.extract_error()?);
    }
    Ok(answers)
}

fn lock_key(strategy_id: &str) -> String {
    format!("lock:{strategy_id}")
}

fn put_status(told: &mut Pipeline, strategy_id: &str, state: State) {
    told.cmd("SET").arg(format!("status:{strategy_id}")).arg(state.name()).arg("PX").arg(STATUS_MS);
}

impl Store for RedisFront {
    fn migrate(&self) -> Result<(), StoreError> {
        self.store.migrate()
    }

    fn ping(&self) -> Result<(), StoreError> {
        self.store.ping()
    }

    fn front_answers(&self) -> Option<bool> {
        let mut asked = Pipeline::new();
        asked.cmd("PING");
        Some(self.ask(&asked).is_some())
    }

    fn submit(&self, drafts: &[Draft], duplicates: Duplicates) -> Result<Vec<Admission>, StoreError> {
        let admitted = self.store.submit(drafts, duplicates)?;
        // No status: whoever submits again is told of a strategy that may have moved on.
        let mut told = Pipeline::new();
        told.cmd("INCR").arg(CHANGES);
        self.tell(&told);
        Ok(admitted)
    }

    fn claim(&self, worker: &str, most: usize, lease_ms: u64, now_ms: u64) -> Result<Vec<Claim>, StoreError> {
        let Some(changes) = self.hint(now_ms) else { return Ok(Vec::new()) };
        let claims = self.store.claim(worker, most, lease_ms, now_ms)?;
        if claims.len() < most {
            *lock(&self.seen) = Some(Seen { changes, at_ms: now_ms });
        }
        if !claims.is_empty() {
            let mut told = Pipeline::new();
            for Claim { hold, .. } in &claims {
                put_status(&mut told, &hold.strategy_id, State::Processing);
                let key = lock_key(&hold.strategy_id);
                told.cmd("SET").arg(key).arg(worker).arg("PX").arg(lease_ms.max(1));
            }
            self.tell(&told);
        }
        Ok(claims)
    }

    fn renew(&self, hold: &Hold, lease_ms: u64, now_ms: u64) -> Result<(), StoreError> {
        self.store.renew(hold, lease_ms, now_ms)?;
        let mut told = Pipeline::new();
        told.cmd("PEXPIRE").arg(lock_key(&hold.strategy_id)).arg(lease_ms.max(1));
        self.tell(&told);
        Ok(())
    }

    fn give_back(
        &self,
        hold: &Hold,
        attempt: Attempt,
        not_before_ms: u64,
        error: &str,
        now_ms: u64,
    ) -> Result<State, StoreError> {
        let state = self.store.give_back(hold, attempt, not_before_ms, error, now_ms)?;
        self.moved(&hold.strategy_id, state);
        Ok(state)
    }

    fn advance(&self, by: By<'_>, steps: &[Step<'_>], now_ms: u64) -> Result<(), StoreError> {
        self.store.advance(by, steps, now_ms)?;
        if let Some(last) = steps.last() {
            self.moved(by.strategy_id(), last.to);
        }
        Ok(())
    }

    fn report(
        &self,
        strategy_id: &str,
        to: State,
        error: Option<&str>,
        now_ms: u64,
    ) -> Result<bool, StoreError> {
        let new = self.store.report(strategy_id, to, error, now_ms)?;
        self.moved(strategy_id, to);
        Ok(new)
    }

    fn delete(&self, strategy_id: &str, now_ms: u64) -> Result<bool, StoreError> {
        let new = self.store.delete(strategy_id, now_ms)?;
        self.moved(strategy_id, State::Deleted);
        Ok(new)
    }

    fn status(&self, strategy_id: &str) -> Result<Option<State>, StoreError> {
        let mut asked = Pipeline::new();
        asked.cmd("GET").arg(format!("status:{strategy_id}"));
        let cached: Option<String> = self.ask_one::<Option<String>>(&asked).flatten();
        if let Some(state) = cached.as_deref().and_then(State::parse) {
            return Ok(Some(state));
        }
        let state = self.store.status(strategy_id)?;
        if let Some(state) = state {
            let mut told = Pipeline::new();
            put_status(&mut told, strategy_id, state);
            self.tell(&told);
        }
        Ok(state)
    }

    fn get(&self, strategy_id: &str) -> Result<Option<Strategy>, StoreError> {
        self.store.get(strategy_id)
    }

    fn draft(&self, strategy_id: &str) -> Result<Option<Draft>, StoreError> {
        self.store.draft(strategy_id)
    }

    fn plan(&self, strategy_id: &str) -> Result<Option<String>, StoreError> {
        self.store.plan(strategy_id)
    }

    fn list(&self, after: u64, most: usize, filter: &Filter) -> Result<Vec<Strategy>, StoreError> {
        self.store.list(after, most, filter)
    }

    fn events(&self, after: u64, most: usize) -> Result<Vec<Event>, StoreError> {
        self.store.events(after, most)
    }

    fn depth(&self) -> Result<Depth, StoreError> {
        self.store.depth()
    }

    fn prune(&self, retention: &Retention, now_ms: u64) -> Result<Pruned, StoreError> {
        self.store.prune(retention, now_ms)
    }
}
