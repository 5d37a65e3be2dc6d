//! Words in tables to values, for every engine.

use crate::{RunType, State, StoreError};

pub(crate) fn state(found: &str) -> Result<State, StoreError> {
    State::parse(found).ok_or_else(|| foreign(found, "a state"))
}

pub(crate) fn run_type(found: Option<&str>) -> Result<Option<RunType>, StoreError> {
    found.map(|found| RunType::parse(found).ok_or_else(|| foreign(found, "a run type"))).transpose()
}

pub(crate) fn worlds(found: &str) -> Result<Vec<String>, StoreError> {
    serde_json::from_str(found).map_err(|_| foreign(found, "a list of worlds"))
}

/// The other way.
pub(crate) fn worlds_text(worlds: &[String]) -> String {
    serde_json::Value::from(worlds).to_string()
}

pub(crate) fn key(found: &[u8]) -> Result<[u8; 32], StoreError> {
    found.try_into().map_err(|_| foreign(&format!("{} bytes", found.len()), "a key of 32 bytes"))
}

fn foreign(found: &str, expected: &'static str) -> StoreError {
    StoreError::Foreign { found: found.chars().take(80).collect(), expected }
}
