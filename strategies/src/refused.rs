//! Why a request about strategies is not carried out, in the shapes that clients of the seed know.

use ringfence_dag::{DagError, Mismatch, SchemaIssue};
use ringfence_graph::GraphError;
use ringfence_store::StoreError;
use serde_json::{Value, json};

/// Why.
#[derive(Clone, Debug, PartialEq)]
pub enum Refused {
    /// 400: it cannot be read, or contradicts itself.
    Bad(Value),
    /// 404.
    NotFound(String),
    /// 409: the same DAG is there as this strategy.
    Duplicate {
        /// Which.
        strategy_id: String,
    },
    /// 409: its state does not allow that.
    Conflict(String),
    /// 413.
    TooLarge(String),
    /// 422.
    Invalid(Vec<SchemaIssue>),
    /// 503: nothing has happened; come back.
    Unavailable {
        /// What is away, and what to do.
        why: String,
        /// After so long.
        retry_after_s: u32,
    },
}

impl Refused {
    /// The HTTP status.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Bad(_) => 400,
            Self::NotFound(_) => 404,
            Self::Duplicate { .. } | Self::Conflict(_) => 409,
            Self::TooLarge(_) => 413,
            Self::Invalid(_) => 422,
            Self::Unavailable { .. } => 503,
        }
    }

    /// The body: `{"detail": ..}`.
    #[must_use]
    pub fn body(&self) -> Value {
        let detail = match self {
            Self::Bad(detail) => detail.clone(),
            Self::NotFound(text) | Self::Conflict(text) | Self::TooLarge(text) => json!(text),
            Self::Duplicate { strategy_id } => json!({ "strategy_id": strategy_id }),
            Self::Invalid(issues) => json!(issues),
            Self::Unavailable { why, .. } => json!(why),
        };
        json!({ "detail": detail })
    }

    /// When to come back, seconds.
    #[must_use]
    pub const fn retry_after_s(&self) -> Option<u32> {
        match self {
            Self::Unavailable { retry_after_s, .. } => Some(*retry_after_s),
            _ => None,
        }
    }

    pub(crate) fn bad(text: impl Into<String>) -> Self {
        Self::Bad(Value::String(text.into()))
    }

    pub(crate) fn away(why: impl Into<String>) -> Self {
        Self::Unavailable { why: why.into(), retry_after_s: 1 }
    }

    pub(crate) fn unknown(strategy_id: &str) -> Self {
        let shown: String = strategy_id.chars().take(64).collect();
        Self::NotFound(format!("there is no strategy {shown}: GET /strategies lists them"))
    }

    pub(crate) fn mismatch(mismatches: &[Mismatch]) -> Self {
        Self::Bad(json!({ "node_id_mismatch": mismatches }))
    }
}

impl From<DagError> for Refused {
    fn from(error: DagError) -> Self {
        match error {
            DagError::Schema(issues) => Self::Invalid(issues),
            DagError::TooLarge { .. } => Self::TooLarge(error.to_string()),
            DagError::Garbage(_) | DagError::Cycle(_) => Self::bad(error.to_string()),
        }
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unknown(id) => Self::unknown(&id),
            StoreError::Illegal { .. } | StoreError::Stale { .. } => Self::Conflict(error.to_string()),
            StoreError::Value { .. } | StoreError::Batch { .. } => Self::bad(error.to_string()),
            _ => Self::away(error.to_string()),
        }
    }
}

impl From<GraphError> for Refused {
    fn from(error: GraphError) -> Self {
        if error.is_unavailable() { Self::away(error.to_string()) } else { Self::bad(error.to_string()) }
    }
}
