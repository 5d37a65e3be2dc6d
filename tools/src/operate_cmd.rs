//! `ringfence kill`, `halt`, `rearm`, `mode`, `cancel-all`: through the shell, or straight to the gate.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use ringfence_core::config::CoreConfig;
use ringfence_ipc::client::{AttachOptions, Client};
use ringfence_ipc::handshake::{ControlRequest, Role};
use ringfence_ipc::journal::{NOTE_BYTES, Note};
use ringfence_ipc::reason::{Mode, Scope};
use serde_json::{Value, json};

use crate::http_cmd::{To, get, post, tell};
use crate::place;

/// The name under which this command attaches to the gate.
const NAME: &str = "cli";

/// Which way to the gate.
#[derive(Args)]
struct Way {
    /// Data directory of a run: go straight to its gate, no shell needed. Strategies are named by number then.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    to: To,
}

/// Arguments of `ringfence kill`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  ringfence kill --reason \"fat finger\"\n  ringfence kill --strategy demo --keep-orders\n  ringfence kill --data DIR      (needs no shell)\n\nThe same by hand: touch RUN_DIR/kill, or kill -USR1 the core."
)]
pub struct KillArgs {
    /// Only this strategy.
    #[arg(long)]
    strategy: Option<String>,
    /// Why.
    #[arg(long)]
    reason: Option<String>,
    /// Cancel every open order too (default: as the gate is configured, which is to cancel).
    #[arg(long, conflicts_with = "keep_orders")]
    cancel_orders: bool,
    /// Leave open orders where they are.
    #[arg(long)]
    keep_orders: bool,
    #[command(flatten)]
    way: Way,
}

/// Arguments of `ringfence halt`.
#[derive(Args)]
#[command(after_help = "Example:\n  ringfence halt --reason \"exchange down\" --cancel-orders")]
pub struct HaltArgs {
    /// Why.
    #[arg(long)]
    reason: Option<String>,
    /// Cancel every open order too.
    #[arg(long)]
    cancel_orders: bool,
    #[command(flatten)]
    way: Way,
}

/// Arguments of `ringfence rearm`.
#[derive(Args)]
#[command(after_help = "Example:\n  ringfence rearm --reason \"checked with the desk\"")]
pub struct RearmArgs {
    /// Only this strategy.
    #[arg(long)]
    strategy: Option<String>,
    /// Why it is safe to go on.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    way: Way,
}

/// Arguments of `ringfence mode`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  ringfence mode\n  ringfence mode cancel-only --reason maintenance\n  ringfence mode allow-all --strategy demo"
)]
pub struct ModeArgs {
    /// The mode to set; none: show what passes now.
    mode: Option<ModeArg>,
    /// Only for this strategy.
    #[arg(long)]
    strategy: Option<String>,
    /// Why.
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    way: Way,
}

#[derive(Clone, Copy, ValueEnum)]
enum ModeArg {
    AllowAll,
    CancelOnly,
    RejectAll,
}

impl ModeArg {
    const fn mode(self) -> Mode {
        match self {
            Self::AllowAll => Mode::AllowAll,
            Self::CancelOnly => Mode::CancelOnly,
            Self::RejectAll => Mode::RejectAll,
        }
    }
}

/// Arguments of `ringfence cancel-all`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  ringfence cancel-all\n  ringfence cancel-all --strategy demo --symbol BTCUSDT"
)]
pub struct CancelAllArgs {
    /// Only this strategy's.
    #[arg(long)]
    strategy: Option<String>,
    /// Only in this symbol.
    #[arg(long)]
    symbol: Option<String>,
    /// Why.
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    way: Way,
}

pub fn kill(args: &KillArgs) -> anyhow::Result<()> {
    let cancel_orders = if args.cancel_orders || args.keep_orders { Some(args.cancel_orders) } else { None };
    let body = json!({"strategy_id": args.strategy, "reason": args.reason, "cancel_orders": cancel_orders});
    let (way, strategy, reason) = (&args.way, args.strategy.as_deref(), args.reason.as_deref());
    act(way, "/api/kill", &body, "killed", || set_mode(strategy, Mode::Killed, cancel_orders, reason))
}

pub fn halt(args: &HaltArgs) -> anyhow::Result<()> {
    let body = json!({"mode": "HALT", "reason": args.reason, "cancel_orders": args.cancel_orders});
    act(&args.way, "/api/mode", &body, "halted", || {
        let (cancel_orders, note) = (args.cancel_orders, note(args.reason.as_deref())?);
        Ok(ControlRequest::Halt { cancel_orders, note })
    })
}

pub fn rearm(args: &RearmArgs) -> anyhow::Result<()> {
    let body = json!({"strategy_id": args.strategy, "reason": args.reason});
    act(&args.way, "/api/rearm", &body, "re-armed", || {
        let (scope, scope_id) = scope(args.strategy.as_deref())?;
        Ok(ControlRequest::Rearm { scope, scope_id, note: note(Some(&args.reason))? })
    })
}

pub fn mode(args: &ModeArgs) -> anyhow::Result<()> {
    let Some(wanted) = args.mode.map(ModeArg::mode) else { return show(&args.way.to) };
    let body = json!({"mode": wanted.name(), "strategy_id": args.strategy, "reason": args.reason});
    act(&args.way, "/api/mode", &body, "mode set", || {
        set_mode(args.strategy.as_deref(), wanted, None, args.reason.as_deref())
    })
}

pub fn cancel_all(args: &CancelAllArgs) -> anyhow::Result<()> {
    let body = json!({"strategy_id": args.strategy, "symbol": args.symbol, "reason": args.reason});
    act(&args.way, "/api/cancel_all", &body, "cancels sent", || {
        if args.symbol.is_some() {
            bail!(
                "straight to the gate only whole strategies can be cancelled: leave --symbol or --data out"
            );
        }
        let (scope, scope_id) = scope(args.strategy.as_deref())?;
        let note = note(args.reason.as_deref())?;
        Ok(ControlRequest::CancelOrders { scope, scope_id, symbol: None, note })
    })
}

fn show(to: &To) -> anyhow::Result<()> {
    let answer = get(to, "/api/mode")?;
    tell(to, &answer, |guard| {
        let storm = &guard["storm"];
        format!(
            "passing {}; mode {}; StormGuard {} ({})",
            word(&guard["passing"]),
            word(&guard["mode"]),
            word(&storm["state"]),
            word(&storm["cause"])
        )
    })
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

fn note(reason: Option<&str>) -> anyhow::Result<Note> {
    Note::new(reason.unwrap_or("").trim())
        .with_context(|| format!("a reason has at most {NOTE_BYTES} characters of printable ASCII"))
}

fn scope(strategy: Option<&str>) -> anyhow::Result<(Scope, u16)> {
    match strategy {
        None => Ok((Scope::Global, 0)),
        Some(text) => {
            let number = text.parse().context("straight to the gate strategies are named by number");
            Ok((Scope::Strategy, number?))
        }
    }
}

fn set_mode(
    strategy: Option<&str>,
    mode: Mode,
    cancel_orders: Option<bool>,
    reason: Option<&str>,
) -> anyhow::Result<ControlRequest> {
    let ((scope, scope_id), note) = (scope(strategy)?, note(reason)?);
    Ok(ControlRequest::SetMode { scope, scope_id, mode, cancel_orders, note })
}

/// One act, through the shell or straight to the gate.
fn act(
    way: &Way,
    path: &str,
    body: &Value,
    done: &str,
    request: impl FnOnce() -> anyhow::Result<ControlRequest>,
) -> anyhow::Result<()> {
    let answer = match &way.data {
        None => {
            post(&way.to, path, body).context("if no shell runs, go straight to the gate with --data DIR")?
        }
        Some(dir) => {
            let request = request()?;
            let config = CoreConfig::load(&place::data_dir(Some(dir))?.join("core.toml"))?;
            let socket = config.socket_path();
            let mut client = Client::attach(AttachOptions::new(socket, Role::Operator, NAME))?;
            let done = client.control(request)?;
            json!({"ok": true, "journal_seq": done.journal_seq, "orders": done.cancelling})
        }
    };
    tell(&way.to, &answer, |a| {
        format!("{done}; {} orders are being cancelled; journal position {}", a["orders"], a["journal_seq"])
    })
}
