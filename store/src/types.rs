//! What goes in and comes out.

use std::fmt;

use crate::State;

/// What a run is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunType {
    /// Over the past.
    Backtest,
    /// Over the present, without orders.
    DryRun,
    /// With orders.
    Live,
}

impl RunType {
    /// In tables and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Backtest => "backtest",
            Self::DryRun => "dry-run",
            Self::Live => "live",
        }
    }

    /// By its name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Backtest, Self::DryRun, Self::Live].into_iter().find(|run| run.name() == name)
    }
}

/// A strategy to submit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Chosen by the gateway, and what makes a repeated submission the same one: 1 to 64 of `A-Z a-z 0-9 _ -`.
    pub strategy_id: String,
    /// Two live strategies never share one.
    pub duplicate_key: [u8; 32],
    /// The DAG, JSON.
    pub dag: String,
    /// What the client said beside it, JSON.
    pub meta: String,
    /// None: its worlds say it.
    pub run_type: Option<RunType>,
    /// The worlds it is for.
    pub worlds: Vec<String>,
    /// The sentinel of its version, if it has one.
    pub sentinel_id: Option<String>,
    /// Whose it is.
    pub submitted_by: String,
    /// When the gateway took it.
    pub at_ms: u64,
}

/// How duplicates are dealt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duplicates {
    /// A key is held for so long after its strategy was submitted.
    pub ttl_ms: u64,
    /// What becomes of the later one.
    pub then: OnDuplicate,
}

/// What becomes of a duplicate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDuplicate {
    /// It is not taken.
    Refuse,
    /// Its client was told that it is taken: it is kept as `Failed`, with the reason.
    KeepAsFailed,
}

/// What became of a draft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// In the queue.
    Accepted {
        /// Its place: numbers ascend in the order of acknowledgement; not every number is one.
        seq: u64,
    },
    /// In the spool, and handed over when the store is back.
    Spooled {
        /// Its place in the spool.
        place: u64,
    },
    /// The same DAG is there already.
    Duplicate {
        /// As this strategy.
        strategy_id: String,
    },
}

/// The right to act on a strategy.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hold {
    /// On which.
    pub strategy_id: String,
    /// Higher than every earlier one's.
    pub token: u64,
}

/// A strategy that was claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// What every effect carries.
    pub hold: Hold,
    /// Its place in the queue.
    pub seq: u64,
    /// 1: the first.
    pub attempt: u32,
    /// What was submitted.
    pub draft: Draft,
}

/// What a claim without a result says about its strategy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// It may be the strategy's own fault: one of its attempts is gone.
    Counted,
    /// What it needs is away: it is tried for as long as that takes.
    Excused,
}

/// Who moves a strategy.
#[derive(Clone, Copy, Debug)]
pub enum By<'a> {
    /// The worker that holds it.
    Holder(&'a Hold),
    /// Whoever is told about it once no worker holds it.
    Other(&'a str),
}

impl<'a> By<'a> {
    /// Which strategy.
    #[must_use]
    pub fn strategy_id(self) -> &'a str {
        match self {
            Self::Holder(hold) => &hold.strategy_id,
            Self::Other(id) => id,
        }
    }
}

/// A move.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// To where.
    pub to: State,
    /// For the event, JSON.
    pub detail: &'a str,
    /// With `Mapped`: what is to be done with its nodes, JSON.
    pub plan: Option<&'a str>,
    /// With `Failed`: why.
    pub error: Option<&'a str>,
}

impl<'a> Step<'a> {
    /// To `to`, with nothing to say about it.
    #[must_use]
    pub const fn to(to: State) -> Self {
        Self { to, detail: "{}", plan: None, error: None }
    }

    /// To `Mapped`, with the plan.
    #[must_use]
    pub const fn mapped(plan: &'a str) -> Self {
        Self { to: State::Mapped, detail: "{}", plan: Some(plan), error: None }
    }

    /// To `Failed`, with the reason.
    #[must_use]
    pub const fn failed(error: &'a str) -> Self {
        Self { to: State::Failed, detail: "{}", plan: None, error: Some(error) }
    }
}

/// A move that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its place among all events.
    pub seq: u64,
    /// Whose.
    pub strategy_id: String,
    /// None: it was submitted.
    pub from: Option<State>,
    /// Where it is then.
    pub to: State,
    /// More, JSON.
    pub detail: String,
    /// When.
    pub at_ms: u64,
}

/// What is known about a strategy, without its DAG.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strategy {
    /// Its id.
    pub strategy_id: String,
    /// Its place in the queue.
    pub seq: u64,
    /// Where it is.
    pub state: State,
    /// How often it was claimed.
    pub attempt: u32,
    /// Who holds it.
    pub worker: Option<String>,
    /// What last went wrong.
    pub error: Option<String>,
    /// What it is for.
    pub run_type: Option<RunType>,
    /// Its worlds.
    pub worlds: Vec<String>,
    /// The sentinel of its version.
    pub sentinel_id: Option<String>,
    /// Whose it is.
    pub submitted_by: String,
    /// When it was submitted.
    pub submitted_ms: u64,
    /// When it last moved.
    pub updated_ms: u64,
}

/// Which strategies are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// In this state.
    pub state: Option<State>,
    /// Of this user.
    pub submitted_by: Option<String>,
}

/// How much waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Strategies that no worker holds.
    pub queued: u64,
    /// Strategies that one holds, or held until its claim expired.
    pub processing: u64,
    /// When the oldest queued one was submitted.
    pub oldest_ms: Option<u64>,
}

/// What is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Ended strategies, for so long.
    pub ended_ms: u64,
    /// And so many.
    pub ended_count: u64,
    /// Events, for so long.
    pub events_ms: u64,
    /// And so many.
    pub events_count: u64,
    /// As in [`Duplicates::ttl_ms`]: keys are kept for so long, whatever became of their strategies.
    pub duplicate_ttl_ms: u64,
}

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Ended strategies.
    pub strategies: u64,
    /// Events.
    pub events: u64,
    /// Keys that are held no more.
    pub keys: u64,
}

impl Pruned {
    /// Nothing is left to remove.
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        self.strategies == 0 && self.events == 0 && self.keys == 0
    }
}

/// What an engine is opened with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// A strategy fails after so many claims that ended without a result.
    pub most_attempts: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { most_attempts: 5 }
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (token {})", self.strategy_id, self.token)
    }
}
