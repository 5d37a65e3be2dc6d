//! GET /api/ws: events as `/api/stream` tells them, and orders, over one WebSocket.
//!
//! A request is one JSON object with an `id` and an `op`. Orders and cancels go through the same routes as over HTTP, so
//! that guards, permissions, rates, audit and answers are the same. Nothing waits for anything else: requests are
//! answered as they are done, and events are told as long as the peer takes them.

mod session;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;

use super::access::Peer;
use super::lease::Lease;
use super::problem::Problem;
use super::stream::{Counted, Reader};
use super::trail::Trail;
use super::{App, guard};
use crate::auth::Principal;
use crate::gateway::rendered::Form;
use session::{Session, Visitor};

/// What one WebSocket may do.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The largest message, bytes.
    pub message_bytes: usize,
    /// Messages in a second, and at once.
    pub messages_per_s: u32,
    /// Requests at work at once; more wait in the peer's socket.
    pub outstanding: usize,
    /// How often it is pinged.
    pub ping_every: Duration,
    /// One that says nothing for this long, not even a pong, is closed.
    pub idle_within: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            message_bytes: 16 << 10,
            messages_per_s: 5_000,
            outstanding: 64,
            ping_every: Duration::from_secs(10),
            idle_within: Duration::from_secs(30),
        }
    }
}

/// GET /api/ws
pub async fn open(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    mut request: Request,
) -> Response<Body> {
    match upgrade(&app, principal, &mut request) {
        Ok(response) => response,
        Err(problem) => {
            let mut response = problem.into_response();
            if response.status() == StatusCode::UPGRADE_REQUIRED {
                let headers = response.headers_mut();
                headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
                headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            }
            response
        }
    }
}

fn upgrade(app: &Arc<App>, principal: Principal, request: &mut Request) -> Result<Response<Body>, Problem> {
    guard::same_origin(request.headers(), app.scheme())?;
    let message = "this path speaks WebSocket, version 13: open it with a WebSocket client";
    let no_socket = || Problem::new(StatusCode::UPGRADE_REQUIRED, "upgrade_required", message);
    let upgrade = request.extensions_mut().remove::<OnUpgrade>().ok_or_else(no_socket)?;
    let response = create_response_with_body(request, Body::empty).map_err(|_| no_socket())?;
    let counted = Counted::new(app)?;
    let visitor = Visitor {
        host: request.headers().get(header::HOST).cloned(),
        peer: request.extensions().get::<Peer>().copied(),
        correlation_id: request.extensions().get::<Trail>().map(|trail| trail.request_id().to_owned()),
        principal: principal.clone(),
    };
    let reader = Reader::new(counted, Lease::new(app.auth.as_ref(), principal), Form::WebSocket);
    let session = Session::new(app, visitor, reader);
    tokio::spawn(async move {
        match upgrade.await {
            Ok(upgraded) => session.run(TokioIo::new(upgraded)).await,
            Err(error) => tracing::debug!(%error, "a socket was not opened"),
        }
    });
    Ok(response)
}
