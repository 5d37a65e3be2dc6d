//! What operators do to the gate: modes, kill, halt, re-arm, mass cancels. Each is one journalled control record.

use std::collections::BTreeSet;

use ringfence_ipc::handshake::{ControlDone, ControlRequest};
use ringfence_ipc::journal::Note;
use ringfence_ipc::reason::{Mode, Scope};

use super::Gateway;
use super::orders::{OrderError, field, find_strategy};

/// What a cancel of everything reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Strategies that had open orders, as far as the projection knows.
    pub strategies: usize,
    /// Orders that were open when the gate took it.
    pub orders: u32,
    /// Position of the record in the journal.
    pub journal_seq: u64,
}

fn note(reason: Option<&str>) -> Result<Note, OrderError> {
    Note::new(reason.unwrap_or("").trim())
        .map_err(|_| field("reason", "must be at most 56 characters of printable ASCII"))
}

/// The scope an act is for: one strategy, or the whole gate.
fn scope_of(gateway: &Gateway, strategy: Option<&str>) -> Result<(Scope, u16), OrderError> {
    match strategy {
        None => Ok((Scope::Global, 0)),
        Some(asked) => {
            gateway.look(|p| find_strategy(p, gateway, Some(asked))).map(|id| (Scope::Strategy, id))
        }
    }
}

/// Sets the mode of the gate or of a strategy; [`Mode::Killed`] is the kill switch.
///
/// # Errors
/// [`OrderError`].
pub async fn set_mode(
    gateway: &Gateway,
    strategy: Option<&str>,
    mode: Mode,
    cancel_orders: Option<bool>,
    reason: Option<&str>,
) -> Result<ControlDone, OrderError> {
    let ((scope, scope_id), note) = (scope_of(gateway, strategy)?, note(reason)?);
    Ok(gateway.gate.control(ControlRequest::SetMode { scope, scope_id, mode, cancel_orders, note }).await?)
}

/// Puts StormGuard into HALT.
///
/// # Errors
/// [`OrderError`].
pub async fn halt(
    gateway: &Gateway,
    cancel_orders: bool,
    reason: Option<&str>,
) -> Result<ControlDone, OrderError> {
    let note = note(reason)?;
    Ok(gateway.gate.control(ControlRequest::Halt { cancel_orders, note }).await?)
}

/// Takes back a kill, and for the whole gate a halt.
///
/// # Errors
/// [`OrderError`].
pub async fn rearm(
    gateway: &Gateway,
    strategy: Option<&str>,
    reason: Option<&str>,
) -> Result<ControlDone, OrderError> {
    let ((scope, scope_id), note) = (scope_of(gateway, strategy)?, note(reason)?);
    Ok(gateway.gate.control(ControlRequest::Rearm { scope, scope_id, note }).await?)
}

/// Cancels every open order of a strategy or of the account, in one symbol or in all.
///
/// # Errors
/// [`OrderError`].
pub async fn cancel_all(
    gateway: &Gateway,
    strategy: Option<&str>,
    symbol: Option<&str>,
    reason: Option<&str>,
) -> Result<Swept, OrderError> {
    gateway.settle().await;
    let (account, note) = (gateway.settings.account, note(reason)?);
    let symbol = symbol.map(|name| symbol_id(gateway, "symbol", name)).transpose()?;
    let (scope, scope_id) = match strategy {
        None => (Scope::Account, account),
        named => scope_of(gateway, named)?,
    };
    let concerned: BTreeSet<u16> = gateway.look(|p| {
        let open = p.orders.open().filter(|order| order.account == account);
        let open = open.filter(|order| scope == Scope::Account || order.strategy == scope_id);
        open.filter(|order| symbol.is_none_or(|symbol| symbol == order.symbol)).map(|o| o.strategy).collect()
    });
    let request = ControlRequest::CancelOrders { scope, scope_id, symbol, note };
    let ControlDone { journal_seq, cancelling } = gateway.gate.control(request).await?;
    Ok(Swept { strategies: concerned.len(), orders: cancelling, journal_seq })
}

/// Sets a limit, or takes it back; the gate reads the value, with its unit.
///
/// # Errors
/// [`OrderError`]; [`OrderError::Config`] says what the limit takes.
pub async fn set_limit(
    gateway: &Gateway,
    (scope, of): (Scope, Option<&str>),
    limit: &str,
    value: &str,
) -> Result<ControlDone, OrderError> {
    let id = |of: &str| of.parse().map_err(|_| field("of", "must be the account's number"));
    let scope_id = match (scope, of) {
        (Scope::Global, None) => 0,
        (Scope::Global, Some(_)) => return Err(field("of", "is for accounts, symbols and strategies")),
        (_, None) => return Err(field("of", "is required: which account, symbol or strategy")),
        (Scope::Account, Some(of)) => id(of)?,
        (Scope::Symbol, Some(of)) => symbol_id(gateway, "of", of)?,
        (Scope::Strategy, Some(of)) => gateway.look(|p| find_strategy(p, gateway, Some(of)))?,
    };
    let text = |name, text: &str| {
        Note::new(text.trim()).map_err(|_| field(name, "must be at most 56 characters of printable ASCII"))
    };
    let (limit, value) = (text("limit", limit)?, text("value", value)?);
    Ok(gateway.gate.control(ControlRequest::SetLimit { scope, scope_id, limit, value }).await?)
}

/// Has the gate read its configuration again.
///
/// # Errors
/// [`OrderError`]; [`OrderError::Config`] says why nothing has changed.
pub async fn reload(gateway: &Gateway) -> Result<ControlDone, OrderError> {
    Ok(gateway.gate.control(ControlRequest::Reload).await?)
}

fn symbol_id(gateway: &Gateway, asked: &'static str, name: &str) -> Result<u16, OrderError> {
    let found = gateway.look(|p| p.names.find_symbol(&name.to_ascii_uppercase()).map(|(id, _)| id));
    found.ok_or_else(|| field(asked, "is not in the gate's symbol table"))
}
