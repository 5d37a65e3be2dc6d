//! What can be wrong with a DAG, in the shapes that an answer needs.

use serde::Serialize;
use serde_json::Value;

/// Issues of one DAG that are told; the rest is counted by nobody, since mending these shows them.
pub(crate) const MAX_ISSUES: usize = 100;
/// Characters of a client's own text that an error repeats.
const MAX_SHOWN_CHARS: usize = 200;
/// Nodes of a cycle that the message names; [`DagError::Cycle`] has all of them.
const MAX_NAMED: usize = 20;

/// Why a DAG is not taken.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DagError {
    /// It is no JSON, or JSON that means different things to different readers (400).
    #[error("the DAG cannot be read: {0}; send one JSON document in UTF-8, without NaN or repeated keys")]
    Garbage(String),
    /// It is JSON, and no DAG (422).
    #[error("the DAG does not follow its schema in {} places: {}", .0.len(), first(.0))]
    Schema(Vec<SchemaIssue>),
    /// It is larger than this installation takes (413).
    #[error("the DAG has {size} {what}, at most {limit} are taken: split the strategy")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much there is.
        size: usize,
        /// How much may be.
        limit: usize,
    },
    /// Nodes wait for each other (400): their ids, each an input of the one before, the last one of the first.
    #[error("the nodes form a cycle: {}; a node cannot depend on itself, so take one of these inputs away", named(.0))]
    Cycle(Vec<String>),
}

/// One place where the DAG is not what it should be.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SchemaIssue {
    /// A stable word for what is wrong: `missing`, `string_type`, `int_type`, `unknown_input`, ..
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Where, from the root of the DAG.
    pub loc: Vec<Loc>,
    /// What to do about it.
    pub msg: String,
    /// What stands there, clipped.
    pub input: Value,
}

/// One step of the way to a place in the DAG.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Loc {
    /// Into this field of an object.
    Field(&'static str),
    /// To this item of a list.
    Item(usize),
}

fn first(issues: &[SchemaIssue]) -> &str {
    issues.first().map_or("", |issue| &issue.msg)
}

fn named(ids: &[String]) -> String {
    let mut text = ids.iter().take(MAX_NAMED).map(|id| clip(id)).collect::<Vec<_>>().join(" <- ");
    if ids.len() > MAX_NAMED {
        text.push_str(&format!(" <- .. ({} nodes)", ids.len()));
    }
    text
}

/// What an error repeats of `value`.
pub(crate) fn shown(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(clip(text)),
        Value::Array(items) => Value::String(format!("a list of {}", items.len())),
        Value::Object(fields) => Value::String(format!("an object of {} fields", fields.len())),
        other => other.clone(),
    }
}

pub(crate) fn clip(text: &str) -> String {
    text.chars().take(MAX_SHOWN_CHARS).collect()
}
