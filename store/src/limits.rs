//! What every engine takes, checked once for all of them.

use crate::{Draft, Filter, State, Step, StoreError};

/// The longest id of a strategy, name of a worker, user, world or sentinel, bytes.
pub const MAX_ID_BYTES: usize = 256;
/// One draft, bytes.
pub const MAX_DRAFT_BYTES: usize = 16 << 20;
/// Drafts of one submission.
pub const MAX_BATCH_DRAFTS: usize = 1024;
/// Bytes of one submission.
pub const MAX_BATCH_BYTES: usize = 64 << 20;
/// Worlds of one strategy.
pub const MAX_WORLDS: usize = 256;
/// Strategies of one claim, each with its DAG.
pub const MAX_CLAIMS: usize = 64;
/// Moves that are made together.
pub const MAX_STEPS: usize = 8;
/// What an event says, bytes. A plan may be as long as a draft.
pub const MAX_DETAIL_BYTES: usize = 64 << 10;
/// An error's text, bytes; what is longer is cut.
pub const MAX_ERROR_BYTES: usize = 4096;
/// Rows of one answer.
pub const MAX_LIST: usize = 1000;
/// Rows of each kind that one [`crate::Store::prune`] removes.
pub const PRUNED_AT_ONCE: usize = 256;

/// The longest id of a strategy, which is a part of keys elsewhere.
const MAX_STRATEGY_ID_BYTES: usize = 64;

const _: () = assert!(MAX_DRAFT_BYTES <= MAX_BATCH_BYTES);

pub(crate) fn batch(drafts: &[Draft]) -> Result<(), StoreError> {
    let mut bytes = 0;
    for one in drafts {
        bytes += draft(one)?;
    }
    if drafts.len() > MAX_BATCH_DRAFTS || bytes > MAX_BATCH_BYTES {
        return Err(StoreError::Batch { drafts: drafts.len(), bytes });
    }
    Ok(())
}

/// Its size.
fn draft(draft: &Draft) -> Result<usize, StoreError> {
    let id = &draft.strategy_id;
    strategy_id(id)?;
    for (what, text) in
        [("the user", Some(&draft.submitted_by)), ("the sentinel", draft.sentinel_id.as_ref())]
    {
        text.map_or(Ok(()), |text| short(id, what, text))?;
    }
    if draft.worlds.len() > MAX_WORLDS {
        let why = format!("there are {} of them, at most {MAX_WORLDS} are taken", draft.worlds.len());
        return Err(refused(id, "the worlds", why));
    }
    for world in &draft.worlds {
        short(id, "a world", world)?;
    }
    text(id, "the DAG", &draft.dag, MAX_DRAFT_BYTES)?;
    text(id, "the meta data", &draft.meta, MAX_DRAFT_BYTES)?;
    let bytes = size(draft);
    if bytes > MAX_DRAFT_BYTES {
        return Err(refused(id, "the draft", format!("{bytes} bytes, at most {MAX_DRAFT_BYTES} are taken")));
    }
    Ok(bytes)
}

/// What a draft takes, about.
pub(crate) fn size(draft: &Draft) -> usize {
    let worlds: usize = draft.worlds.iter().map(|world| world.len() + 3).sum();
    draft.strategy_id.len() + draft.dag.len() + draft.meta.len() + draft.submitted_by.len() + worlds + 64
}

pub(crate) fn strategy_id(id: &str) -> Result<(), StoreError> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"_-".contains(&b);
    if id.is_empty() || id.len() > MAX_STRATEGY_ID_BYTES || !id.bytes().all(legal) {
        let shown: String = id.chars().filter(|c| !c.is_control()).take(MAX_STRATEGY_ID_BYTES).collect();
        return Err(refused(&shown, "the id", "use 1 to 64 of A-Z a-z 0-9 _ -".to_owned()));
    }
    Ok(())
}

pub(crate) fn worker(name: &str) -> Result<(), StoreError> {
    short("", "the worker's name", name)
}

pub(crate) fn filter(filter: &Filter) -> Result<(), StoreError> {
    filter.submitted_by.as_ref().map_or(Ok(()), |user| short("", "the user", user))
}

pub(crate) fn steps(id: &str, steps: &[Step<'_>]) -> Result<(), StoreError> {
    if steps.is_empty() || steps.len() > MAX_STEPS {
        return Err(refused(
            id,
            "the moves",
            format!("1 to {MAX_STEPS} are made at once, not {}", steps.len()),
        ));
    }
    for step in steps {
        text(id, "the detail", step.detail, MAX_DETAIL_BYTES)?;
        if let Some(plan) = step.plan {
            text(id, "the plan", plan, MAX_DRAFT_BYTES)?;
            if step.to != State::Mapped {
                return Err(refused(id, "the plan", "it is stored with `mapped`".to_owned()));
            }
        }
    }
    Ok(())
}

/// An error's text, cut and without what no engine stores.
pub(crate) fn error_text(text: &str) -> String {
    let mut kept = String::new();
    for c in text.chars().filter(|c| *c != '\0') {
        if kept.len() + c.len_utf8() > MAX_ERROR_BYTES {
            break;
        }
        kept.push(c);
    }
    kept
}

fn short(id: &str, what: &'static str, found: &str) -> Result<(), StoreError> {
    text(id, what, found, MAX_ID_BYTES)
}

/// PostgreSQL stores no zero byte in a text.
fn text(id: &str, what: &'static str, found: &str, most: usize) -> Result<(), StoreError> {
    if found.len() > most {
        return Err(refused(id, what, format!("{} bytes, at most {most} are taken", found.len())));
    }
    if found.contains('\0') {
        return Err(refused(id, what, "it holds a zero byte; take it out".to_owned()));
    }
    Ok(())
}

fn refused(id: &str, what: &'static str, why: String) -> StoreError {
    StoreError::Value { strategy_id: id.to_owned(), what, why }
}
