//! GET /api/reconcile: the gate's books against its venue's.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use ringfence_ipc::client::{AttachOptions, Client};
use ringfence_ipc::handshake::Role;
use tokio::sync::Semaphore;

use super::App;
use super::json;
use super::problem::Problem;

/// Under which name it attaches: orders go through the pump's connection and never wait for this one.
const NAME: &str = "reconcile";
const ATTACH_WITHIN: Duration = Duration::from_secs(2);
/// A comparison reads a part of the journal: one at a time.
static ONE: Semaphore = Semaphore::const_new(1);

/// The report of `ringfence reconcile`, as the gate writes it (`docs/reconcile.md`).
pub async fn reconcile(State(app): State<Arc<App>>) -> Result<Response<Body>, Problem> {
    let Ok(turn) = ONE.try_acquire() else {
        let message = "another comparison is under way: try again in a moment";
        return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "busy", message));
    };
    let socket = app.socket.clone();
    // The turn ends with the comparison, also when nobody waits for its answer any more.
    let asked = tokio::task::spawn_blocking(move || {
        let answer = ask(&socket);
        drop(turn);
        answer
    });
    match asked.await {
        Ok(Ok(report)) => Ok(json::raw(StatusCode::OK, report)),
        Ok(Err(text)) => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no_comparison", text)),
        Err(error) => {
            tracing::error!(%error, "a comparison ended without an answer");
            let message = "the comparison failed: see the shell's log";
            Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message))
        }
    }
}

fn ask(socket: &Path) -> Result<Vec<u8>, String> {
    let options =
        AttachOptions { timeout: ATTACH_WITHIN, ..AttachOptions::new(socket, Role::Operator, NAME) };
    let mut client = Client::attach(options).map_err(|error| error.to_string())?;
    client.reconcile(false).map_err(|error| error.to_string())
}
