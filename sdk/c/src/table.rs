//! Handles: a place in a fixed table and the generation that was given out for it. A number that fits no living client is
//! refused, whatever it is.

use std::sync::{Mutex, MutexGuard, TryLockError};

use ringfence_ipc::client::Client;

use crate::memory::Failure;
use crate::types::{RF_ERR_BUSY, RF_ERR_HANDLE, RF_ERR_INTERNAL, RF_ERR_TOO_MANY, RF_MAX_CLIENTS, RfClient};

struct Place {
    /// Counts the clients this place has had.
    generation: u32,
    client: Option<Client>,
}

static TABLE: [Mutex<Place>; RF_MAX_CLIENTS] =
    [const { Mutex::new(Place { generation: 0, client: None }) }; RF_MAX_CLIENTS];

// Place plus one fits the lower half of a handle.
const _: () = assert!(RF_MAX_CLIENTS < u32::MAX as usize);

/// Never waits: whoever finds the place taken is a second thread, and is told so.
fn lock(place: &Mutex<Place>) -> Result<MutexGuard<'_, Place>, Failure> {
    match place.try_lock() {
        Ok(guard) => Ok(guard),
        Err(TryLockError::WouldBlock) => {
            Err(Failure::new(RF_ERR_BUSY, "another thread uses this handle: give each thread its own"))
        }
        Err(TryLockError::Poisoned(_)) => {
            Err(Failure::new(RF_ERR_INTERNAL, "an earlier call on this handle failed badly: it is unusable"))
        }
    }
}

/// Gives the client a handle.
pub(crate) fn attached(client: Client) -> Result<RfClient, Failure> {
    for (at, place) in TABLE.iter().enumerate() {
        let Ok(mut place) = lock(place) else { continue };
        if place.client.is_none() {
            place.generation = place.generation.wrapping_add(1);
            place.client = Some(client);
            return Ok(u64::from(place.generation) << 32 | (at as u64 + 1));
        }
    }
    Err(Failure::new(RF_ERR_TOO_MANY, format!("this process has {RF_MAX_CLIENTS} clients: detach one first")))
}

/// Runs `call` on the client with this handle.
#[inline]
pub(crate) fn with_client<T>(
    handle: RfClient,
    call: impl FnOnce(&mut Client) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let mut place = find(handle)?;
    place.client.as_mut().map_or_else(|| Err(stale()), call)
}

/// Takes the client with this handle out of the table.
pub(crate) fn take(handle: RfClient) -> Result<Client, Failure> {
    find(handle)?.client.take().ok_or_else(stale)
}

#[inline]
fn find(handle: RfClient) -> Result<MutexGuard<'static, Place>, Failure> {
    let at = (handle & u64::from(u32::MAX)).checked_sub(1).and_then(|at| usize::try_from(at).ok());
    let place = lock(at.and_then(|at| TABLE.get(at)).ok_or_else(stale)?)?;
    if u64::from(place.generation) == handle >> 32 { Ok(place) } else { Err(stale()) }
}

#[cold]
fn stale() -> Failure {
    Failure::new(RF_ERR_HANDLE, "no attached client has this handle: it was detached, or never given")
}
