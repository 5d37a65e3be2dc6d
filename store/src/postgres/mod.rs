//! Strategies in PostgreSQL: several gateways and workers at once.
//!
//! Two kinds of locks, always in this order. A change locks the strategy's row first (`FOR UPDATE`; claims skip rows that
//! are locked). Whoever writes events then takes the one advisory lock of the log, and keeps it until its commit is
//! visible. So numbers of events and of submissions appear in their order, and a reader that goes on from the last number
//! it saw misses nothing. A submission, whose rows nobody else can see, takes the advisory lock alone; nobody waits for a
//! row while holding it.
//!
//! Nothing waits for ever: the client gives up on a server that does not answer, and the server on a client that died in
//! the middle of a transaction. What a lost answer was about has happened as a whole or not at all.

mod migrations;
mod pool;
mod reads;
mod rows;
mod writes;

use secrecy::SecretString;

use crate::change::{self, stored};
use crate::{
    Admission, Attempt, By, Claim, Depth, Draft, Duplicates, Event, Filter, Hold, Pruned, Retention,
    Settings, State, Step, Store, StoreError, Strategy, limits,
};
use pool::Pool;

/// The PostgreSQL engine. Its calls block: they are made from threads that may, not from tasks.
pub struct Postgres {
    pool: Pool,
    settings: Settings,
}

impl Postgres {
    /// At `postgresql://user:password@host:port/database`; connects to nobody yet.
    ///
    /// # Errors
    /// [`StoreError::Address`].
    pub fn open(url: &SecretString, settings: Settings) -> Result<Self, StoreError> {
        Ok(Self { pool: Pool::new(url)?, settings })
    }

    /// Decides about a strategy's row and writes down what was decided, if anything.
    fn change(
        &self,
        doing: &'static str,
        strategy_id: &str,
        decide: impl FnOnce(&change::Row) -> Result<Option<change::Change>, StoreError>,
    ) -> Result<Option<State>, StoreError> {
        limits::strategy_id(strategy_id)?;
        self.pool.write(doing, async |work| {
            let unknown = || StoreError::Unknown(strategy_id.to_owned());
            let row = reads::locked(work, strategy_id).await?.ok_or_else(unknown)?;
            let Some(change) = decide(&row)? else { return Ok(None) };
            let state = change.row.state;
            writes::apply(work, &[change]).await?;
            Ok(Some(state))
        })
    }
}

impl Store for Postgres {
    fn migrate(&self) -> Result<(), StoreError> {
        self.pool.migrate()
    }

    fn ping(&self) -> Result<(), StoreError> {
        self.pool.read("answer", async |client| Ok(client.simple_query("SELECT 1").await.map(drop)?))
    }

    fn submit(&self, drafts: &[Draft], duplicates: Duplicates) -> Result<Vec<Admission>, StoreError> {
        limits::batch(drafts)?;
        if drafts.is_empty() {
            return Ok(Vec::new());
        }
        self.pool.write("take strategies", async |work| writes::admit(work, drafts, duplicates).await)
    }

    fn claim(&self, worker: &str, most: usize, lease_ms: u64, now_ms: u64) -> Result<Vec<Claim>, StoreError> {
        limits::worker(worker)?;
        let most_attempts = self.settings.most_attempts;
        self.pool.write("give strategies to a worker", async |work| {
            let due = reads::due(work, stored(now_ms), most.min(limits::MAX_CLAIMS)).await?;
            if due.is_empty() {
                return Ok(Vec::new());
            }
            let tokens = writes::next_tokens(work, due.len()).await?;
            let change = |(row, token)| change::claim(row, worker, token, lease_ms, now_ms, most_attempts);
            let changes = due.iter().zip(tokens).map(change).collect::<Result<Vec<_>, _>>()?;
            writes::apply(work, &changes).await?;
            let claimed = changes.iter().map(|change| &change.row);
            let claimed: Vec<&change::Row> = claimed.filter(|row| row.state == State::Processing).collect();
            reads::claims(work, &claimed).await
        })
    }

    fn renew(&self, hold: &Hold, lease_ms: u64, now_ms: u64) -> Result<(), StoreError> {
        let decide = |row: &_| change::renew(row, hold, lease_ms, now_ms).map(Some);
        self.change("renew a claim", &hold.strategy_id, decide).map(drop)
    }

    fn give_back(
        &self,
        hold: &Hold,
        attempt: Attempt,
        not_before_ms: u64,
        error: &str,
        now_ms: u64,
    ) -> Result<State, StoreError> {
        let most = (attempt == Attempt::Counted).then_some(self.settings.most_attempts);
        let decide = |row: &_| change::give_back(row, hold, not_before_ms, error, now_ms, most).map(Some);
        let state = self.change("take a strategy back", &hold.strategy_id, decide)?;
        Ok(state.unwrap_or(State::Submitted))
    }

    fn advance(&self, by: By<'_>, steps: &[Step<'_>], now_ms: u64) -> Result<(), StoreError> {
        let id = by.strategy_id();
        limits::steps(id, steps)?;
        let decide = |row: &_| change::advance(row, by, steps, now_ms).map(Some);
        self.change("move a strategy", id, decide).map(drop)
    }

    fn report(
        &self,
        strategy_id: &str,
        to: State,
        error: Option<&str>,
        now_ms: u64,
    ) -> Result<bool, StoreError> {
        let decide = |row: &_| change::report(row, to, error, now_ms);
        self.change("take a report", strategy_id, decide).map(|state| state.is_some())
    }

    fn delete(&self, strategy_id: &str, now_ms: u64) -> Result<bool, StoreError> {
        let decide = |row: &_| change::delete(row, now_ms);
        self.change("delete a strategy", strategy_id, decide).map(|state| state.is_some())
    }

    fn status(&self, strategy_id: &str) -> Result<Option<State>, StoreError> {
        self.pool.read("tell a state", async |client| reads::status(client, strategy_id).await)
    }

    fn get(&self, strategy_id: &str) -> Result<Option<Strategy>, StoreError> {
        self.pool.read("tell a strategy", async |client| reads::strategy(client, strategy_id).await)
    }

    fn draft(&self, strategy_id: &str) -> Result<Option<Draft>, StoreError> {
        self.pool.read("tell a draft", async |client| reads::draft(client, strategy_id).await)
    }

    fn plan(&self, strategy_id: &str) -> Result<Option<String>, StoreError> {
        self.pool.read("tell a plan", async |client| reads::plan(client, strategy_id).await)
    }

    fn list(&self, after: u64, most: usize, filter: &Filter) -> Result<Vec<Strategy>, StoreError> {
        limits::filter(filter)?;
        let most = most.min(limits::MAX_LIST);
        self.pool
            .read("list strategies", async |client| reads::list(client, stored(after), most, filter).await)
    }

    fn events(&self, after: u64, most: usize) -> Result<Vec<Event>, StoreError> {
        let most = most.min(limits::MAX_LIST);
        self.pool.read("tell events", async |client| reads::events(client, stored(after), most).await)
    }

    fn depth(&self) -> Result<Depth, StoreError> {
        self.pool.read("count", async |client| reads::depth(client).await)
    }

    fn prune(&self, retention: &Retention, now_ms: u64) -> Result<Pruned, StoreError> {
        self.pool.write("remove old rows", async |work| writes::prune(work, retention, now_ms).await)
    }
}
