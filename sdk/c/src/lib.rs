//! The C side of a client: plain numbers and structs over [`ringfence_ipc::client::Client`].
//!
//! Nothing unwinds across the boundary, and nothing is believed that a C program may get wrong: handles are numbers with
//! a generation, looked up in a fixed table, so that a stale or invented one is an error and never memory; pointers are
//! refused when they are null or misaligned. What remains the caller's promise stands at each function. The unsafe code
//! is in `memory`; here it is the functions' own contracts.

#![allow(clippy::missing_safety_doc, reason = "one contract for all: the header's first comment")]

mod convert;
mod memory;
mod table;
mod types;

use std::ffi::c_char;
use std::time::Duration;

use ringfence_ipc::client::{AttachError, AttachOptions, Client, SubmitError};
use ringfence_ipc::handshake::Role;
use ringfence_ipc::reason::Reason;

use memory::{Failure, guarded, read, read_bytes, read_text, write, write_text};
use table::{attached, take, with_client};
pub use types::*;

/// The text that belongs to this thread's last error; empty before the first. Valid until this thread asks again.
#[unsafe(no_mangle)]
pub extern "C" fn rf_last_error() -> *const c_char {
    memory::last_error()
}

/// Writes the stable name of a reason code (`PRICE_COLLAR`) and a NUL into `buffer` of `length` bytes, cut where it must
/// be. RF_ERR_UNKNOWN for a number that is no reason.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rf_reason_name(code: u16, buffer: *mut c_char, length: usize) -> i32 {
    guarded(|| {
        let known = Reason::ALL.iter().find(|reason| **reason as u16 == code);
        let reason = known.ok_or(Failure::new(RF_ERR_UNKNOWN, "no reason has this number"))?;
        write_text(buffer, length, reason.name())
    })
}

/// Attaches to a gate: blocks for the handshake, at most `options->timeout_ms`. The handle goes to `*client`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rf_attach(options: *const RfOptions, client: *mut RfClient) -> i32 {
    guarded(|| {
        write(client, 0)?;
        let given = read(options)?;
        if given.struct_size as usize != size_of::<RfOptions>() {
            return Err(Failure::new(
                RF_ERR_ARGUMENT,
                "struct_size must be sizeof(rf_options): header and library differ",
            ));
        }
        let role = match given.role {
            RF_ROLE_STRATEGY => Role::Strategy,
            RF_ROLE_OBSERVER => Role::Observer,
            _ => {
                return Err(Failure::new(
                    RF_ERR_ARGUMENT,
                    "role must be RF_ROLE_STRATEGY or RF_ROLE_OBSERVER",
                ));
            }
        };
        let mut options = AttachOptions::new(read_text(given.socket_path)?, role, &read_text(given.name)?);
        if !given.key.is_null() {
            options.key = Some(read_bytes(given.key)?);
        }
        options.paced = given.paced != 0;
        if given.timeout_ms > 0 {
            options.timeout = Duration::from_millis(u64::from(given.timeout_ms));
        }
        let patience = options.timeout;
        let attachment =
            Client::attach_patiently(options, patience).map_err(|error| attach_failure(&error))?;
        let handle = attached(attachment)?;
        write(client, handle)
    })
}

/// Leaves the gate and frees the handle. A second time is refused. Open orders stay or go as the gate is configured.
#[unsafe(no_mangle)]
pub extern "C" fn rf_detach(client: RfClient) -> i32 {
    guarded(|| {
        drop(take(client)?);
        Ok(RF_OK)
    })
}

/// Submits an intent; its decision will carry `*position`. RF_ERR_FULL: poll, then submit again. RF_ERR_LOST: poll until
/// an RF_EVENT_LOST came, then rf_resume. `position` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rf_submit(client: RfClient, intent: *const RfIntent, position: *mut u64) -> i32 {
    guarded(|| {
        let intent = convert::intent(&read(intent)?)?;
        let given =
            with_client(client, |client| client.submit(&intent).map_err(|error| submit_failure(&error)))?;
        if position.is_null() { Ok(RF_OK) } else { write(position, given) }
    })
}

/// Takes the next event: RF_EVENT when `*event` holds one, RF_OK when there is none now.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rf_poll(client: RfClient, event: *mut RfEvent) -> i32 {
    guarded(|| {
        memory::check(event)?;
        match with_client(client, |client| Ok(client.poll()))? {
            Some(found) => write(event, convert::event(&found)).map(|_| RF_EVENT),
            None => Ok(RF_OK),
        }
    })
}

/// Attaches again after RF_EVENT_LOST, trying for `patience_ms`: what was missed comes from rf_poll, what was never
/// decided is sent again under its key.
#[unsafe(no_mangle)]
pub extern "C" fn rf_resume(client: RfClient, patience_ms: u32) -> i32 {
    guarded(|| {
        let patience = Duration::from_millis(u64::from(patience_ms));
        with_client(client, |client| client.reattach(patience).map_err(|error| attach_failure(&error)))?;
        Ok(RF_OK)
    })
}

/// Lockstep: all intents for `event` are submitted. RF_ERR_FULL: poll, and call again.
#[unsafe(no_mangle)]
pub extern "C" fn rf_step_done(client: RfClient, event: u64) -> i32 {
    guarded(|| {
        let done =
            with_client(client, |client| client.step_done(event).map_err(|error| submit_failure(&error)))?;
        if done { Ok(RF_OK) } else { Err(submit_failure(&SubmitError::Full)) }
    })
}

/// Gate time, ns since the Unix epoch, into `*now_ns`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rf_now_ns(client: RfClient, now_ns: *mut u64) -> i32 {
    guarded(|| write(now_ns, with_client(client, |client| Ok(client.now_ns()))?))
}

/// The symbol called `name`: its id and its scales. RF_ERR_UNKNOWN when the gate does not trade it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rf_symbol(client: RfClient, name: *const c_char, symbol: *mut RfSymbol) -> i32 {
    guarded(|| {
        let name = read_text(name)?;
        let found = with_client(client, |client| {
            let market = client.market();
            let id = market.id_of(&name);
            Ok(id.and_then(|id| market.symbol(id).map(|symbol| convert::symbol(id, symbol))))
        })?;
        write(symbol, found.ok_or(Failure::new(RF_ERR_UNKNOWN, "the gate does not trade this symbol"))?)
    })
}

/// The newest prices of symbol `id`. RF_ERR_UNKNOWN: there are none yet, or they change faster than they can be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rf_market(client: RfClient, id: u16, view: *mut RfMarket) -> i32 {
    guarded(|| {
        let found = with_client(client, |client| Ok(client.market().view(id)))?;
        let found = found.filter(|view| view.event > 0);
        write(view, convert::market(&found.ok_or(Failure::new(RF_ERR_UNKNOWN, "no prices yet"))?))
    })
}

/// Tells a market source at full speed that this strategy has handled the market up to `event` (with `paced`).
#[unsafe(no_mangle)]
pub extern "C" fn rf_market_seen(client: RfClient, event: u64) -> i32 {
    guarded(|| {
        with_client(client, |client| {
            client.market_seen(event);
            Ok(RF_OK)
        })
    })
}

/// What this attachment is and how it stands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rf_info(client: RfClient, info: *mut RfInfo) -> i32 {
    guarded(|| write(info, with_client(client, |client| Ok(convert::info(client)))?))
}

fn attach_failure(error: &AttachError) -> Failure {
    let code = if error.is_transient() { RF_ERR_NO_GATE } else { RF_ERR_REFUSED };
    Failure::new(code, error.to_string())
}

/// Without an allocation: a full ring is everyday life.
fn submit_failure(error: &SubmitError) -> Failure {
    match error {
        SubmitError::Full => Failure::new(RF_ERR_FULL, "the intent ring is full: poll, then submit again"),
        SubmitError::Lost => {
            Failure::new(RF_ERR_LOST, "the gate is gone: poll until RF_EVENT_LOST, then rf_resume")
        }
        SubmitError::Fault(fault) => Failure::new(RF_ERR_FAULT, fault.to_string()),
    }
}
