//! Every change of a strategy that is there: decided here from its row, written down by the engines. No IO, no clock.

use serde_json::json;

use crate::limits::error_text;
use crate::{By, Hold, State, Step, StoreError};

/// What decides, of a strategy's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub seq: i64,
    pub strategy_id: String,
    pub duplicate_key: Vec<u8>,
    pub state: State,
    /// The newest claim's; 0: none yet.
    pub token: i64,
    pub attempt: u32,
    pub worker: Option<String>,
    /// When it may be claimed: the end of a back-off or of a lease; none: not at all.
    pub due_ms: Option<i64>,
}

/// What is written: the events first, in order, then the row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// The row as it is then.
    pub row: Row,
    pub events: Vec<Move>,
    /// Replaces the error, if there is one.
    pub error: Option<String>,
    /// Replaces the plan, if there is one.
    pub plan: Option<String>,
    pub now_ms: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Move {
    pub from: State,
    pub to: State,
    pub detail: String,
}

impl Change {
    fn of(row: &Row, now_ms: u64) -> Self {
        Self { row: row.clone(), events: Vec::new(), error: None, plan: None, now_ms: stored(now_ms) }
    }

    /// The one place that moves a strategy.
    fn moves(&mut self, to: State, detail: String) -> Result<(), StoreError> {
        let from = self.row.state;
        if !from.may_become(to) {
            return Err(StoreError::Illegal { strategy_id: self.row.strategy_id.clone(), from, to });
        }
        self.events.push(Move { from, to, detail });
        self.row.state = to;
        if to != State::Processing {
            self.row.worker = None;
            self.row.due_ms = (to == State::Submitted).then_some(self.now_ms);
        }
        Ok(())
    }

    fn fails(&mut self, error: &str) -> Result<(), StoreError> {
        let error = error_text(error);
        self.moves(State::Failed, json!({ "error": error }).to_string())?;
        self.error = Some(error);
        Ok(())
    }

    pub fn ended_ms(&self) -> Option<i64> {
        self.row.state.is_ended().then_some(self.now_ms)
    }
}

/// A claim of `row`, which is due; or its end, when claims on it expired too often.
pub(crate) fn claim(
    row: &Row,
    worker: &str,
    token: i64,
    lease_ms: u64,
    now_ms: u64,
    most_attempts: u32,
) -> Result<Change, StoreError> {
    let mut change = Change::of(row, now_ms);
    if row.state == State::Processing {
        let lost = row.worker.as_deref().unwrap_or_default();
        if row.attempt >= most_attempts {
            let attempts = row.attempt;
            change.fails(&format!(
                "the claim of worker `{lost}` expired in attempt {attempts} of {most_attempts}"
            ))?;
            return Ok(change);
        }
        change.moves(State::Submitted, json!({ "expired": lost }).to_string())?;
    }
    let attempt = row.attempt.saturating_add(1);
    let detail = json!({ "worker": worker, "token": token, "attempt": attempt });
    change.moves(State::Processing, detail.to_string())?;
    change.row.token = token;
    change.row.attempt = attempt;
    change.row.worker = Some(worker.to_owned());
    change.row.due_ms = Some(stored(now_ms.saturating_add(lease_ms)));
    Ok(change)
}

/// The same claim, for longer. No move.
pub(crate) fn renew(row: &Row, hold: &Hold, lease_ms: u64, now_ms: u64) -> Result<Change, StoreError> {
    held(row, hold)?;
    let mut change = Change::of(row, now_ms);
    change.row.due_ms = Some(stored(now_ms.saturating_add(lease_ms)));
    Ok(change)
}

/// Back into the queue; without `most_attempts` this one never was.
pub(crate) fn give_back(
    row: &Row,
    hold: &Hold,
    not_before_ms: u64,
    error: &str,
    now_ms: u64,
    most_attempts: Option<u32>,
) -> Result<Change, StoreError> {
    held(row, hold)?;
    let mut change = Change::of(row, now_ms);
    match most_attempts {
        Some(most) if row.attempt >= most => {
            change.fails(&format!("{error} (attempt {} of {most})", row.attempt))?;
            return Ok(change);
        }
        Some(_) => {}
        None => change.row.attempt = row.attempt.saturating_sub(1),
    }
    let error = error_text(error);
    change.moves(State::Submitted, json!({ "error": error, "not_before_ms": not_before_ms }).to_string())?;
    change.row.due_ms = Some(stored(not_before_ms));
    change.error = Some(error);
    Ok(change)
}

pub(crate) fn advance(row: &Row, by: By<'_>, steps: &[Step<'_>], now_ms: u64) -> Result<Change, StoreError> {
    match by {
        By::Holder(hold) => held(row, hold)?,
        By::Other(id) if row.state == State::Processing => return Err(StoreError::Held(id.to_owned())),
        By::Other(_) => {}
    }
    let mut change = Change::of(row, now_ms);
    for step in steps {
        // Claims, their ends and deletions have doors of their own.
        if matches!(step.to, State::Submitted | State::Processing | State::Deleted)
            || (change.row.state == State::Submitted)
        {
            let from = change.row.state;
            return Err(StoreError::Illegal { strategy_id: row.strategy_id.clone(), from, to: step.to });
        }
        if let (State::Failed, Some(error)) = (step.to, step.error) {
            change.fails(error)?;
        } else {
            change.moves(step.to, step.detail.to_owned())?;
        }
        if let Some(plan) = step.plan {
            change.plan = Some(plan.to_owned());
        }
    }
    Ok(change)
}

/// None: it was said before.
pub(crate) fn report(
    row: &Row,
    to: State,
    error: Option<&str>,
    now_ms: u64,
) -> Result<Option<Change>, StoreError> {
    if row.state == to && matches!(to, State::Executing | State::Completed | State::Failed) {
        return Ok(None);
    }
    let step = Step { error: error.or(Some("its client says so")), ..Step::to(to) };
    advance(row, By::Other(&row.strategy_id), &[step], now_ms).map(Some)
}

/// None: it was deleted before.
pub(crate) fn delete(row: &Row, now_ms: u64) -> Result<Option<Change>, StoreError> {
    if row.state == State::Deleted {
        return Ok(None);
    }
    let mut change = Change::of(row, now_ms);
    change.moves(State::Deleted, "{}".to_owned())?;
    Ok(Some(change))
}

/// Whether the holder still holds it. An expired claim that nobody else took is held still.
fn held(row: &Row, hold: &Hold) -> Result<(), StoreError> {
    let same = u64::try_from(row.token).is_ok_and(|token| token == hold.token);
    if row.state == State::Processing && same { Ok(()) } else { Err(StoreError::Stale(hold.clone())) }
}

/// Engines store signed numbers; a time or number beyond is as good as never.
pub(crate) fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The other way: nothing below zero is ever stored.
pub(crate) fn loaded(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{Row, advance, claim, delete, give_back, renew, report};
    use crate::{By, Hold, State, Step, StoreError};

    fn row(state: State, token: i64, attempt: u32) -> Row {
        let worker = (state == State::Processing).then(|| "w".to_owned());
        Row {
            seq: 1,
            strategy_id: "s".into(),
            duplicate_key: vec![0; 32],
            state,
            token,
            attempt,
            worker,
            due_ms: Some(5),
        }
    }

    fn hold(token: u64) -> Hold {
        Hold { strategy_id: "s".into(), token }
    }

    #[test]
    fn a_stale_token_moves_nothing_in_any_state() {
        for state in State::ALL {
            for (token, good) in [(6, false), (7, state == State::Processing), (8, false)] {
                let row = row(state, 7, 1);
                let hold = hold(token);
                let moved = advance(&row, By::Holder(&hold), &[Step::mapped("{}")], 9);
                assert_eq!(moved.is_ok(), good, "{state} {token}");
                assert_eq!(renew(&row, &hold, 1, 9).is_ok(), good, "{state} {token}");
                assert_eq!(give_back(&row, &hold, 9, "e", 9, Some(5)).is_ok(), good, "{state} {token}");
            }
        }
    }

    #[test]
    fn an_expired_claim_passes_through_the_queue_and_fails_at_its_last_attempt() {
        let change = claim(&row(State::Processing, 7, 1), "v", 8, 10, 100, 2).unwrap();
        let states: Vec<State> = change.events.iter().map(|event| event.to).collect();
        assert_eq!(states, [State::Submitted, State::Processing]);
        assert_eq!((change.row.token, change.row.attempt, change.row.due_ms), (8, 2, Some(110)));
        let change = claim(&row(State::Processing, 8, 2), "v", 9, 10, 100, 2).unwrap();
        assert_eq!((change.row.state, change.row.token, change.row.due_ms), (State::Failed, 8, None));
    }

    #[test]
    fn only_the_doors_meant_for_it_claim_queue_or_delete() {
        let hold = hold(7);
        for to in [State::Submitted, State::Processing, State::Deleted] {
            let moved = advance(&row(State::Processing, 7, 1), By::Holder(&hold), &[Step::to(to)], 9);
            assert!(matches!(moved, Err(StoreError::Illegal { .. })), "{to}");
        }
        let queued = advance(&row(State::Submitted, 0, 0), By::Other("s"), &[Step::failed("no")], 9);
        assert!(matches!(queued, Err(StoreError::Illegal { .. })));
        let held = advance(&row(State::Processing, 7, 1), By::Other("s"), &[Step::mapped("{}")], 9);
        assert!(matches!(held, Err(StoreError::Held(_))));
    }

    #[test]
    fn steps_are_made_together_or_not_at_all() {
        let (row, hold) = (row(State::Processing, 7, 1), hold(7));
        let both = [Step::mapped("{\"new_nodes\":[]}"), Step::to(State::Completed)];
        let change = advance(&row, By::Holder(&hold), &both, 9).unwrap();
        assert_eq!(
            (change.row.state, change.events.len(), change.ended_ms()),
            (State::Completed, 2, Some(9))
        );
        let bad = [Step::mapped("{}"), Step::to(State::Mapped)];
        assert!(advance(&row, By::Holder(&hold), &bad, 9).is_err());
    }

    #[test]
    fn saying_it_twice_changes_nothing() {
        assert_eq!(report(&row(State::Completed, 7, 1), State::Completed, None, 9).unwrap(), None);
        assert_eq!(delete(&row(State::Deleted, 7, 1), 9).unwrap(), None);
        assert!(report(&row(State::Completed, 7, 1), State::Failed, None, 9).is_err());
        assert!(report(&row(State::Submitted, 0, 0), State::Submitted, None, 9).is_err());
    }
}
