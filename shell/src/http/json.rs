//! JSON responses.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

/// What an act answers that has nothing else to tell.
#[derive(Serialize, ToSchema)]
pub struct Done {
    /// True.
    pub ok: bool,
}

/// `body` as JSON.
pub fn response<T: Serialize>(status: StatusCode, body: &T) -> Response<Body> {
    match serde_json::to_vec(body) {
        Ok(bytes) => raw(status, bytes),
        Err(error) => {
            tracing::error!(%error, "a response could not be written as JSON");
            raw(
                StatusCode::INTERNAL_SERVER_ERROR,
                br#"{"error":"internal","message":"","details":{}}"#.to_vec(),
            )
        }
    }
}

/// `body` as JSON, 200.
pub fn ok<T: Serialize>(body: &T) -> Response<Body> {
    response(StatusCode::OK, body)
}

/// Finished JSON text.
pub fn raw(status: StatusCode, bytes: Vec<u8>) -> Response<Body> {
    let mut response = (status, bytes).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
