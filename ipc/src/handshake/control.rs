//! What operators ask of the gate over the control socket, and what they are told.

use super::codec::{HandshakeError, Reader, put_text};
use crate::journal::{NOTE_BYTES, Note};
use crate::msg::SymbolId;
use crate::reason::{Mode, Scope};

/// What an operator may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlRequest {
    /// Set the mode of the gate or of a strategy. [`Mode::Killed`] is the kill switch; only a re-arm leads out of it.
    SetMode {
        /// Global or strategy.
        scope: Scope,
        /// Which.
        scope_id: u16,
        /// The mode.
        mode: Mode,
        /// Cancel the scope's orders too; `None`: as the gate is configured for kills, not for other modes.
        cancel_orders: Option<bool>,
        /// Why.
        note: Note,
    },
    /// Stop in good order: marks, close record, sync.
    Stop,
    /// Put StormGuard into HALT.
    Halt {
        /// Cancel every order too.
        cancel_orders: bool,
        /// Why.
        note: Note,
    },
    /// Take back a kill (of a scope) and, for the whole gate, a halt.
    Rearm {
        /// Global or strategy.
        scope: Scope,
        /// Which.
        scope_id: u16,
        /// Why: not blank.
        note: Note,
    },
    /// Cancel every open order of a scope. Always passes.
    CancelOrders {
        /// Global, account or strategy.
        scope: Scope,
        /// Which.
        scope_id: u16,
        /// Only in this symbol.
        symbol: Option<SymbolId>,
        /// Why.
        note: Note,
    },
    /// Set a limit, or take it back.
    SetLimit {
        /// What for.
        scope: Scope,
        /// Which.
        scope_id: u16,
        /// Its name, as a configuration file has it.
        limit: Note,
        /// Its value with its unit, as a configuration file has it; `none` takes it back.
        value: Note,
    },
    /// Read the configuration again.
    Reload,
    /// Compare the gate's books with what its venue says it has. Changes nothing. Answered with JSON in parts.
    Reconcile {
        /// Only what the venue says it has, not compared.
        snapshot: bool,
    },
}

/// What came of a control request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlDone {
    /// Position of its record in the journal.
    pub journal_seq: u64,
    /// Orders that were open and are being cancelled by it.
    pub cancelling: u32,
}

/// Why a control request changed nothing. Numbers are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[repr(u16)]
pub enum ControlRefusal {
    /// The scope does not exist, or this act does not exist for it.
    #[error("there is no such scope for this: name a strategy, account or symbol that the gate knows")]
    UnknownScope = 1,
    /// It is killed: a mode cannot be set.
    #[error("it is killed: re-arm it first, and say why")]
    Killed = 2,
    /// It is neither killed nor halted.
    #[error("it is neither killed nor halted: there is nothing to re-arm")]
    NothingToRearm = 3,
    /// Re-arming needs a reason.
    #[error("re-arming needs a reason: say why it is safe to go on")]
    NoteRequired = 4,
    /// The kill file is there.
    #[error("the kill file holds the gate: remove `kill` from its run directory, then re-arm")]
    KillFile = 5,
}

impl ControlRefusal {
    pub(super) const fn from_wire(value: u16) -> Option<Self> {
        Some(match value {
            1 => Self::UnknownScope,
            2 => Self::Killed,
            3 => Self::NothingToRearm,
            4 => Self::NoteRequired,
            5 => Self::KillFile,
            _ => return None,
        })
    }
}

const SET_MODE: u8 = 1;
const STOP: u8 = 2;
const HALT: u8 = 3;
const REARM: u8 = 4;
const CANCEL_ORDERS: u8 = 5;
const SET_LIMIT: u8 = 6;
const RELOAD: u8 = 7;
const RECONCILE: u8 = 8;

pub(super) fn encode(request: &ControlRequest, out: &mut Vec<u8>) {
    let put_scope = |out: &mut Vec<u8>, kind: u8, scope: Scope, scope_id: u16| {
        out.push(kind);
        out.extend((scope as u16).to_le_bytes());
        out.extend(scope_id.to_le_bytes());
    };
    match request {
        ControlRequest::SetMode { scope, scope_id, mode, cancel_orders, note } => {
            put_scope(out, SET_MODE, *scope, *scope_id);
            out.extend((*mode as u16).to_le_bytes());
            out.push(cancel_orders.map_or(0, |cancel| 1 + u8::from(cancel)));
            put_text(out, note.text(), NOTE_BYTES);
        }
        ControlRequest::Stop => out.push(STOP),
        ControlRequest::Halt { cancel_orders, note } => {
            out.extend([HALT, u8::from(*cancel_orders)]);
            put_text(out, note.text(), NOTE_BYTES);
        }
        ControlRequest::Rearm { scope, scope_id, note } => {
            put_scope(out, REARM, *scope, *scope_id);
            put_text(out, note.text(), NOTE_BYTES);
        }
        ControlRequest::CancelOrders { scope, scope_id, symbol, note } => {
            put_scope(out, CANCEL_ORDERS, *scope, *scope_id);
            out.push(u8::from(symbol.is_some()));
            out.extend(symbol.unwrap_or(0).to_le_bytes());
            put_text(out, note.text(), NOTE_BYTES);
        }
        ControlRequest::SetLimit { scope, scope_id, limit, value } => {
            put_scope(out, SET_LIMIT, *scope, *scope_id);
            put_text(out, limit.text(), NOTE_BYTES);
            put_text(out, value.text(), NOTE_BYTES);
        }
        ControlRequest::Reload => out.push(RELOAD),
        ControlRequest::Reconcile { snapshot } => out.extend([RECONCILE, u8::from(*snapshot)]),
    }
}

pub(super) fn decode(r: &mut Reader<'_>) -> Result<ControlRequest, HandshakeError> {
    Ok(match r.u8()? {
        SET_MODE => ControlRequest::SetMode {
            scope: scope(r)?,
            scope_id: r.u16()?,
            mode: Mode::from_wire(u64::from(r.u16()?)).ok_or(HandshakeError::Field("mode"))?,
            cancel_orders: match r.u8()? {
                0 => None,
                n @ 1..=2 => Some(n == 2),
                _ => return Err(HandshakeError::Field("cancel_orders")),
            },
            note: note(r)?,
        },
        STOP => ControlRequest::Stop,
        SET_LIMIT => ControlRequest::SetLimit {
            scope: scope(r)?,
            scope_id: r.u16()?,
            limit: note(r)?,
            value: note(r)?,
        },
        RELOAD => ControlRequest::Reload,
        RECONCILE => ControlRequest::Reconcile { snapshot: r.bool("snapshot")? },
        HALT => ControlRequest::Halt { cancel_orders: r.bool("cancel_orders")?, note: note(r)? },
        REARM => ControlRequest::Rearm { scope: scope(r)?, scope_id: r.u16()?, note: note(r)? },
        CANCEL_ORDERS => {
            let (scope, scope_id) = (scope(r)?, r.u16()?);
            let symbol = match (r.bool("symbol")?, r.u16()?) {
                (true, symbol) => Some(symbol),
                (false, 0) => None,
                (false, _) => return Err(HandshakeError::Field("symbol")),
            };
            ControlRequest::CancelOrders { scope, scope_id, symbol, note: note(r)? }
        }
        _ => return Err(HandshakeError::Field("control")),
    })
}

fn scope(r: &mut Reader<'_>) -> Result<Scope, HandshakeError> {
    Scope::from_wire(u64::from(r.u16()?)).ok_or(HandshakeError::Field("scope"))
}

fn note(r: &mut Reader<'_>) -> Result<Note, HandshakeError> {
    Note::new(&r.text(NOTE_BYTES, "note")?).map_err(|_| HandshakeError::Field("note"))
}
