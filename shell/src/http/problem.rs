//! Errors under /api: the one place where they become a status, a code and a body.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use ringfence_ipc::handshake::ControlRefusal;
use ringfence_ipc::reason::{LimitId, Reason};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use utoipa::ToSchema;

use super::json;
use crate::auth::AuthError;
use crate::auth::permission::Permissions;
use crate::gateway::events::limit_value;
use crate::gateway::exact::Exact;
use crate::gateway::orders::{OrderError, Refused};
use crate::gateway::pump::PumpError;

/// `{"error":"code","message":"text","details":{..}}`.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    message: String,
    details: Option<Box<RawValue>>,
    retry_after_s: Option<u32>,
}

#[derive(Serialize)]
struct ProblemBody<'a, D: Serialize> {
    error: &'static str,
    message: &'a str,
    details: D,
}

#[derive(Serialize)]
struct NoDetails {}

impl Problem {
    /// A problem without details.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), details: None, retry_after_s: None }
    }

    /// A field that does not hold what it must.
    #[must_use]
    pub fn field(code: &'static str, field: &str, message: impl Into<String>) -> Self {
        #[derive(Serialize)]
        struct Details<'a> {
            field: &'a str,
        }
        Self::new(StatusCode::BAD_REQUEST, code, message).details(&Details { field })
    }

    /// An unknown path under /api.
    #[must_use]
    pub fn no_such_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path")
    }

    /// A known path, another method.
    #[must_use]
    pub fn wrong_method() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "this path has other methods: see Allow",
        )
    }

    /// No credentials, or none that count.
    #[must_use]
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    /// Known, and not allowed: one of `wanted` is needed.
    #[must_use]
    pub fn forbidden(wanted: Permissions) -> Self {
        #[derive(Serialize)]
        struct Wanted {
            permissions: Vec<&'static str>,
        }
        let permissions = wanted.names();
        let message = format!("this needs the permission {}", permissions.join(" or "));
        Self::new(StatusCode::FORBIDDEN, "forbidden", message).details(&Wanted { permissions })
    }

    /// Its status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// What is wrong, for people.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// When to come back, seconds.
    #[must_use]
    pub const fn retry_after_s(&self) -> Option<u32> {
        self.retry_after_s
    }

    fn details<T: Serialize>(mut self, details: &T) -> Self {
        self.details = to_raw_value(details).ok();
        self
    }

    /// When to come back.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        let (error, message) = (self.code, self.message.as_str());
        let mut response = match &self.details {
            Some(details) => json::response(self.status, &ProblemBody { error, message, details }),
            None => json::response(self.status, &ProblemBody { error, message, details: NoDetails {} }),
        };
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        let message = error.to_string();
        match error {
            AuthError::Field { field, .. } => Self::field("bad_params", field, message),
            AuthError::InvalidCredentials => {
                Self::new(StatusCode::UNAUTHORIZED, "invalid_credentials", message)
            }
            AuthError::InvalidRefresh => {
                Self::new(StatusCode::UNAUTHORIZED, "invalid_refresh_token", message)
            }
            AuthError::Beyond(_) => Self::new(StatusCode::FORBIDDEN, "forbidden", message),
            AuthError::NotFound(_) => Self::new(StatusCode::NOT_FOUND, "not_found", message),
            AuthError::Conflict { code, .. } => Self::new(StatusCode::CONFLICT, code, message),
            AuthError::Busy => Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message).retry_after(1),
            AuthError::Store(ref cause) => {
                tracing::error!(%cause, "the store of users and keys failed");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "store_failed", message).retry_after(1)
            }
            AuthError::Internal(cause) => {
                tracing::error!(cause, "authentication failed inside");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
            }
        }
    }
}

impl From<PumpError> for Problem {
    fn from(error: PumpError) -> Self {
        let message = match error {
            PumpError::Away => "the gate is away: nothing was sent",
            PumpError::Busy => "too many requests wait for the gate: nothing was sent",
            PumpError::Unknown => {
                "the gate did not answer in time, the outcome is unknown: ask /api/order_state, or repeat the request \
                 under the same client_order_id"
            }
        };
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "execution_unavailable", message).retry_after(1)
    }
}

impl From<OrderError> for Problem {
    fn from(error: OrderError) -> Self {
        #[derive(Serialize)]
        struct Id {
            client_order_id: String,
            #[serde(skip_serializing_if = "Option::is_none")]
            status: Option<&'static str>,
        }
        match error {
            OrderError::Field { field, message } => {
                Self::field("bad_params", field, format!("{field} {message}"))
            }
            OrderError::Starting => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "execution_unavailable",
                "the journal is still being read: nothing was sent",
            )
            .retry_after(1),
            OrderError::Conflict(client_order_id) => Self::new(
                StatusCode::CONFLICT,
                "duplicate_client_order_id",
                "this client_order_id was used for a different order",
            )
            .details(&Id { client_order_id, status: None }),
            OrderError::NotFound(client_order_id) => {
                Self::new(StatusCode::NOT_FOUND, "not_found", "no order has this client_order_id")
                    .details(&Id { client_order_id, status: None })
            }
            OrderError::Terminal { client_order_id, status } => {
                Self::new(StatusCode::CONFLICT, "terminal", format!("the order is already {status}"))
                    .details(&Id { client_order_id, status: Some(status) })
            }
            OrderError::Refused(refused) => Self::refused(&refused, None),
            OrderError::Control(refusal) => Self::control(refusal),
            OrderError::Config(text) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "config_refused", text),
            OrderError::Pump(error) => error.into(),
        }
    }
}

#[derive(Serialize, ToSchema)]
pub(super) struct RefusedDetails<'a> {
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_id: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    observed: Option<Exact>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<Exact>,
    permanent: bool,
    /// The version of the configuration that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    config_version: Option<u64>,
    duplicate: bool,
    client_order_id: &'a str,
    journal_seq: Option<u64>,
    decided_at_ns: u64,
    gate_latency_ns: Option<u64>,
}

impl Problem {
    fn control(refusal: ControlRefusal) -> Self {
        let conflict = |code| Self::new(StatusCode::CONFLICT, code, refusal.to_string());
        match refusal {
            ControlRefusal::UnknownScope => {
                Self::new(StatusCode::NOT_FOUND, "not_found", refusal.to_string())
            }
            ControlRefusal::Killed => conflict("killed"),
            ControlRefusal::NothingToRearm => conflict("nothing_to_rearm"),
            ControlRefusal::KillFile => conflict("kill_file"),
            ControlRefusal::NoteRequired => Self::field("bad_params", "reason", refusal.to_string()),
        }
    }

    /// A refusal by the gate, decided under this version of the configuration if that is known.
    #[must_use]
    pub fn refused(refused: &Refused, config_version: Option<u64>) -> Self {
        let answer = &refused.answer;
        let reason = answer.reason;
        let limited = answer.limit_id != LimitId::None;
        let value = |v| limited.then(|| limit_value(answer.limit_id, v, refused.symbol.as_ref()));
        let details = RefusedDetails {
            reason: reason.name(),
            limit_id: limited.then(|| answer.limit_id.name()),
            observed: value(answer.observed),
            limit: value(answer.limit),
            permanent: !reason.is_transient(),
            config_version,
            duplicate: refused.duplicate,
            client_order_id: &refused.client_order_id,
            journal_seq: (answer.journal_seq != 0).then_some(answer.journal_seq),
            decided_at_ns: answer.decided_at_ns,
            gate_latency_ns: refused.gate_latency_ns,
        };
        let (status, code, retry_after_s) = refusal_class(reason);
        let mut problem = Self::new(status, code, refusal_text(&details)).details(&details);
        problem.retry_after_s = retry_after_s;
        problem
    }
}

fn refusal_text(details: &RefusedDetails<'_>) -> String {
    match (details.limit_id, details.observed, details.limit) {
        (Some(id), Some(observed), Some(limit)) => format!(
            "refused by the gate: {}, {} against {id} = {}",
            details.reason,
            observed.text(),
            limit.text()
        ),
        _ => format!("refused by the gate: {}", details.reason),
    }
}

/// Risk and policy are 422; what passes by itself is 429 or 503 with a time to come back.
const fn refusal_class(reason: Reason) -> (StatusCode, &'static str, Option<u32>) {
    match reason {
        Reason::OrderRate | Reason::CancelRate => (StatusCode::TOO_MANY_REQUESTS, "rate_limited", Some(1)),
        Reason::VenueBusy
        | Reason::JournalFull
        | Reason::JournalFailed
        | Reason::DedupBusy
        | Reason::OrderTableFull
        | Reason::TtlExpired
        | Reason::ClockSkew => (StatusCode::SERVICE_UNAVAILABLE, "execution_unavailable", Some(1)),
        _ => (StatusCode::UNPROCESSABLE_ENTITY, "risk_rejected", None),
    }
}
