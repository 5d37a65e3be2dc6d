//! Modes, kill, re-arm, mass cancels.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, Response};
use ringfence_ipc::handshake::ControlDone;
use ringfence_ipc::reason::Mode;
use serde::Serialize;
use utoipa::ToSchema;

use super::App;
use super::body::Fields;
use super::json;
use super::problem::Problem;
use crate::gateway::guarding::GuardBody;
use crate::gateway::operate;

/// What `/api/mode` may set.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Mode(Mode),
    Halt,
}

pub(super) const MODES: [(&str, Wanted); 4] = [
    ("ALLOW_ALL", Wanted::Mode(Mode::AllowAll)),
    ("CANCEL_ONLY", Wanted::Mode(Mode::CancelOnly)),
    ("REJECT_ALL", Wanted::Mode(Mode::RejectAll)),
    ("HALT", Wanted::Halt),
];

#[derive(Serialize, ToSchema)]
pub(super) struct Acted {
    ok: bool,
    journal_seq: u64,
    orders: u32,
    guard: GuardBody,
}

/// What came of an act, and what passes now.
async fn done(app: &App, done: ControlDone) -> Response<Body> {
    app.gateway.settle_at(done.journal_seq).await;
    json::ok(&Acted {
        ok: true,
        journal_seq: done.journal_seq,
        orders: done.cancelling,
        guard: app.gateway.guard(),
    })
}

/// POST /api/kill
pub async fn kill(State(app): State<Arc<App>>, request: Request<Body>) -> Result<Response<Body>, Problem> {
    let fields = Fields::read(request).await?;
    let (strategy, cancel) = (fields.number("strategy_id")?, fields.flag("cancel_orders")?);
    let killed =
        operate::set_mode(&app.gateway, strategy, Mode::Killed, cancel, fields.text("reason")?).await?;
    Ok(done(&app, killed).await)
}

/// POST /api/rearm
pub async fn rearm(State(app): State<Arc<App>>, request: Request<Body>) -> Result<Response<Body>, Problem> {
    let fields = Fields::read(request).await?;
    let reason = fields.required_text("reason")?;
    let rearmed = operate::rearm(&app.gateway, fields.number("strategy_id")?, Some(reason)).await?;
    Ok(done(&app, rearmed).await)
}

/// POST /api/mode
pub async fn mode(State(app): State<Arc<App>>, request: Request<Body>) -> Result<Response<Body>, Problem> {
    let fields = Fields::read(request).await?;
    let (strategy, reason) = (fields.number("strategy_id")?, fields.text("reason")?);
    let cancel = fields.flag("cancel_orders")?;
    let wanted = fields
        .choice("mode", &MODES)?
        .ok_or_else(|| Problem::field("bad_params", "mode", "mode is required"))?;
    let set = match wanted {
        Wanted::Mode(mode) => operate::set_mode(&app.gateway, strategy, mode, cancel, reason).await?,
        Wanted::Halt if strategy.is_some() => {
            return Err(Problem::field("bad_params", "strategy_id", "HALT is for the whole gate"));
        }
        Wanted::Halt => operate::halt(&app.gateway, cancel.unwrap_or(false), reason).await?,
    };
    Ok(done(&app, set).await)
}

/// GET /api/mode
pub async fn get_mode(State(app): State<Arc<App>>) -> Response<Body> {
    json::ok(&app.gateway.guard())
}

#[derive(Serialize, ToSchema)]
pub(super) struct SweptBody {
    ok: bool,
    strategies: usize,
    orders: u32,
    journal_seq: u64,
}

/// POST /api/cancel_all
pub async fn cancel_all(
    State(app): State<Arc<App>>,
    request: Request<Body>,
) -> Result<Response<Body>, Problem> {
    let fields = Fields::read(request).await?;
    let (strategy, symbol) = (fields.number("strategy_id")?, fields.text("symbol")?);
    let swept = operate::cancel_all(&app.gateway, strategy, symbol, fields.text("reason")?).await?;
    let operate::Swept { strategies, orders, journal_seq } = swept;
    Ok(json::ok(&SweptBody { ok: true, strategies, orders, journal_seq }))
}
