//! Byte layouts of the segments two processes share, and the hash that proves both were built with the same ones.
//!
//! Every word has one writer. Words that change often stand alone on their cache line.
//!
//! ```text
//!  events (the gate writes)                          intents (the client writes)
//!     0  magic | layout hash | epoch | capacity         0  magic | layout hash
//!    32  calibration, 4 words                          64  events consumed
//!    64  gate state | lagging                         128  market event seen
//!   128  heartbeat ns                                4096  ring 0, then ring 1 (feeds only) to the end
//!   192  intents ring 0 consumed
//!   256  intents ring 1 consumed (by the venue)      market (the gate writes)
//!   320  paced event                                    0  magic | layout hash | symbols | table version
//!  4096  the ring, to the end                          64  latest event
//!                                                     128  gate thread parked | 192  venue thread parked
//!                                                    4096  symbol table, 64 bytes each
//!                                                       .. one cell of 5 lines for each symbol
//! ```
//!
//! The node cache's bytes: [`crate::cache`].

mod fields;
mod header;

use crate::msg::SLOT_BYTES;
use crate::ring::MIN_CAPACITY;
use crate::segment::{Mapping, SegmentError};
use crate::view::{ReadSlots, ReadWord, WriteSlots, WriteWord};

pub use fields::{FIELDS, Field, LAYOUT_HASH};
pub(crate) use header::check_header;
pub use header::{
    EventsHeader, GateState, check_intents_header, read_calibration, read_events_header, write_events_header,
    write_intents_header,
};

/// Peers of another major version are refused.
pub const PROTOCOL_MAJOR: u16 = 1;
/// Peers of another minor version are served as long as the layout hash is the same.
pub const PROTOCOL_MINOR: u16 = 0;

/// Every segment begins with a page of header.
pub const HEADER_BYTES: usize = 4096;
/// Bytes of one symbol's market cell: the announced sequence, then four rotating slots.
pub const CELL_BYTES: usize = 5 * SLOT_BYTES;
/// A feed at full speed runs at most this many market events ahead of the slowest paced client.
pub const PACE_EVENTS: u64 = 1_000;
/// Rings of one intents segment: intents or quotes, and a feed's tape.
pub const INTENTS_RINGS: usize = 2;

pub(crate) const MAGIC: usize = 0;
pub(crate) const HASH: usize = 8;

mod events {
    use super::SLOT_BYTES;

    pub const MAGIC: u64 = u64::from_le_bytes(*b"RFevents");
    pub const EPOCH: usize = 16;
    pub const CAPACITY: usize = 24;
    pub const CALIBRATION: usize = 32;
    pub const GATE_STATE: usize = 64;
    pub const LAGGING: usize = 72;
    pub const HEARTBEAT: usize = 128;
    pub const CONSUMED: [usize; 2] = [192, 256];
    pub const PACED: usize = 320;

    const _: () = assert!(CALIBRATION + 4 * 8 == GATE_STATE);
    const _: () = assert!(LAGGING < GATE_STATE + SLOT_BYTES && HEARTBEAT == GATE_STATE + SLOT_BYTES);
    const _: () = assert!(CONSUMED[1] == CONSUMED[0] + SLOT_BYTES && PACED == CONSUMED[1] + SLOT_BYTES);
    const _: () = assert!(PACED + SLOT_BYTES <= super::HEADER_BYTES);
}

mod intents {
    use super::SLOT_BYTES;

    pub const MAGIC: u64 = u64::from_le_bytes(*b"RFintent");
    pub const CONSUMED: usize = 64;
    pub const MARKET_SEEN: usize = 128;

    const _: () = assert!(MARKET_SEEN == CONSUMED + SLOT_BYTES);
}

pub(crate) mod market {
    pub const MAGIC: u64 = u64::from_le_bytes(*b"RFmarket");
    pub const SYMBOLS: usize = 16;
    pub const TABLE_VERSION: usize = 24;
    pub const LATEST: usize = 64;
    pub const PARKED: [usize; 2] = [128, 192];

    const _: () = assert!(PARKED[1] + super::SLOT_BYTES <= super::HEADER_BYTES);
}

const _: () = assert!(HEADER_BYTES.is_multiple_of(SLOT_BYTES) && CELL_BYTES == 320);

/// Bytes of an events segment whose ring has `capacity` slots.
#[must_use]
pub const fn events_bytes(capacity: u32) -> usize {
    HEADER_BYTES + capacity as usize * SLOT_BYTES
}

/// Bytes of an intents segment; `tape_capacity` is 0 except for feeds.
#[must_use]
pub const fn intents_bytes(capacity: u32, tape_capacity: u32) -> usize {
    HEADER_BYTES + (capacity as usize + tape_capacity as usize) * SLOT_BYTES
}

/// Bytes of the market segment for `symbols` symbols.
#[must_use]
pub const fn market_bytes(symbols: usize) -> usize {
    market_cell(symbols, symbols)
}

/// First byte of a symbol table entry.
pub(crate) const fn market_symbol(symbol: usize) -> usize {
    HEADER_BYTES + symbol * SLOT_BYTES
}

/// First byte of a symbol's cell, in a segment of `symbols` symbols.
pub(crate) const fn market_cell(symbols: usize, symbol: usize) -> usize {
    market_symbol(symbols) + symbol * CELL_BYTES
}

/// A ring capacity that a ring can have.
fn ring_slots(capacity: u64) -> Option<usize> {
    (capacity.is_power_of_two() && capacity >= MIN_CAPACITY as u64).then_some(capacity as usize)
}

fn ring_range(mapping: &Mapping, ring: usize, capacity: u32) -> Result<(usize, usize), SegmentError> {
    let count = ring_slots(u64::from(capacity)).ok_or(SegmentError::Header("ring capacity"))?;
    let offset = match ring {
        0 => Some(HEADER_BYTES),
        1 => mapping.len_bytes().checked_sub(count * SLOT_BYTES).filter(|offset| *offset > HEADER_BYTES),
        _ => None,
    };
    Ok((offset.ok_or(SegmentError::Header("ring number"))?, count))
}

/// The events ring, to read.
///
/// # Errors
/// [`SegmentError`] when `capacity` is no ring's or does not fit the mapping.
pub fn events_slots(events: &Mapping, capacity: u32) -> Result<ReadSlots, SegmentError> {
    let (offset, count) = ring_range(events, 0, capacity)?;
    events.read_slots(offset, count)
}

/// The events ring, to write.
///
/// # Errors
/// As [`events_slots`], and [`SegmentError::ReadOnly`].
pub fn events_slots_mut(events: &Mapping, capacity: u32) -> Result<WriteSlots, SegmentError> {
    let (offset, count) = ring_range(events, 0, capacity)?;
    events.write_slots(offset, count)
}

/// Ring 0 (behind the header) or ring 1 (at the end) of an intents segment, to read.
///
/// # Errors
/// [`SegmentError`] when `capacity` is no ring's or does not fit the mapping.
pub fn intents_slots(intents: &Mapping, ring: usize, capacity: u32) -> Result<ReadSlots, SegmentError> {
    let (offset, count) = ring_range(intents, ring, capacity)?;
    intents.read_slots(offset, count)
}

/// As [`intents_slots`], to write.
///
/// # Errors
/// As [`intents_slots`], and [`SegmentError::ReadOnly`].
pub fn intents_slots_mut(intents: &Mapping, ring: usize, capacity: u32) -> Result<WriteSlots, SegmentError> {
    let (offset, count) = ring_range(intents, ring, capacity)?;
    intents.write_slots(offset, count)
}

fn consumed_offset(ring: usize) -> Result<usize, SegmentError> {
    events::CONSUMED.get(ring).copied().ok_or(SegmentError::Header("ring number"))
}

/// How far intents ring `ring` was read: by the gate (0) or the venue (1).
///
/// # Errors
/// [`SegmentError`] when there is no such ring.
pub fn events_consumed(events: &Mapping, ring: usize) -> Result<ReadWord, SegmentError> {
    events.read_word(consumed_offset(ring)?)
}

/// As [`events_consumed`], for the reader of that ring to publish.
///
/// # Errors
/// As [`events_consumed`], and [`SegmentError::ReadOnly`].
pub fn events_consumed_mut(events: &Mapping, ring: usize) -> Result<WriteWord, SegmentError> {
    events.write_word(consumed_offset(ring)?)
}

/// How far the client has read its events ring.
///
/// # Errors
/// [`SegmentError`] when the mapping is too small.
pub fn intents_events_consumed(intents: &Mapping) -> Result<ReadWord, SegmentError> {
    intents.read_word(intents::CONSUMED)
}

/// As [`intents_events_consumed`], for the client to publish.
///
/// # Errors
/// As [`intents_events_consumed`], and [`SegmentError::ReadOnly`].
pub fn intents_events_consumed_mut(intents: &Mapping) -> Result<WriteWord, SegmentError> {
    intents.write_word(intents::CONSUMED)
}

/// The client says that it has handled the market up to `event`. Without effect on a read-only mapping.
#[inline]
pub fn intents_market_seen(intents: &Mapping, event: u64) {
    let _ = intents.store(intents::MARKET_SEEN, event);
}

/// The last market event the client says it has handled.
///
/// # Errors
/// [`SegmentError`] when the mapping is too small.
pub fn market_seen(intents: &Mapping) -> Result<ReadWord, SegmentError> {
    intents.read_word(intents::MARKET_SEEN)
}

/// The last event a feed at full speed may publish now; `None` while no client asks for pacing.
#[inline]
#[must_use]
pub fn events_paced(events: &Mapping) -> Option<u64> {
    events.load(events::PACED).ok().filter(|limit| *limit != 0)
}

/// The word behind [`events_paced`]: the slowest paced client's event plus [`PACE_EVENTS`], or 0.
///
/// # Errors
/// [`SegmentError`] when the mapping is read-only or too small.
pub fn events_paced_mut(events: &Mapping) -> Result<WriteWord, SegmentError> {
    events.write_word(events::PACED)
}

/// What the gate says about itself; `None` for a number no gate writes.
#[must_use]
pub fn events_gate_state(events: &Mapping) -> Option<GateState> {
    events.load(events::GATE_STATE).ok().and_then(GateState::from_wire)
}

/// The word behind [`events_gate_state`].
///
/// # Errors
/// [`SegmentError`] when the mapping is read-only or too small.
pub fn events_gate_state_mut(events: &Mapping) -> Result<WriteWord, SegmentError> {
    events.write_word(events::GATE_STATE)
}

/// A thread of the gate that may sleep, and is woken by those who bring it work ([`crate::wake`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parking {
    /// The gate thread.
    Gate = 0,
    /// The venue's thread.
    Venue = 1,
}

/// Whether `thread` is about to sleep or sleeps.
///
/// # Errors
/// [`SegmentError`] when the mapping is too small.
pub fn market_parked(market: &Mapping, thread: Parking) -> Result<ReadWord, SegmentError> {
    market.read_word(market::PARKED[thread as usize])
}

/// The word behind [`market_parked`], for that thread to write.
///
/// # Errors
/// As [`market_parked`], and [`SegmentError::ReadOnly`].
pub fn market_parked_mut(market: &Mapping, thread: Parking) -> Result<WriteWord, SegmentError> {
    market.write_word(market::PARKED[thread as usize])
}

/// Whether the gate waits for this client to read its events.
#[must_use]
pub fn events_lagging(events: &Mapping) -> bool {
    events.load(events::LAGGING).is_ok_and(|word| word != 0)
}

/// The word behind [`events_lagging`].
///
/// # Errors
/// [`SegmentError`] when the mapping is read-only or too small.
pub fn events_lagging_mut(events: &Mapping) -> Result<WriteWord, SegmentError> {
    events.write_word(events::LAGGING)
}

/// When the gate last said it was alive, gate time ns; advice, never waited on.
#[must_use]
pub fn events_heartbeat_ns(events: &Mapping) -> u64 {
    events.load(events::HEARTBEAT).unwrap_or(0)
}

/// The word behind [`events_heartbeat_ns`].
///
/// # Errors
/// [`SegmentError`] when the mapping is read-only or too small.
pub fn events_heartbeat_mut(events: &Mapping) -> Result<WriteWord, SegmentError> {
    events.write_word(events::HEARTBEAT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::segment::GateSegment;

    fn events(capacity: u32) -> (GateSegment, EventsHeader) {
        let segment = GateSegment::create("events", events_bytes(capacity)).unwrap();
        let header = EventsHeader { epoch: 3, capacity, calibration: Clock::start(0).calibration() };
        write_events_header(segment.mapping(), &header).unwrap();
        (segment, header)
    }

    #[test]
    fn the_events_header_survives() {
        let (segment, header) = events(64);
        assert_eq!(read_events_header(segment.mapping()).unwrap(), header);
        assert_eq!(read_calibration(segment.mapping()).unwrap(), header.calibration);
        assert_eq!(events_gate_state(segment.mapping()), Some(GateState::Starting));
        events_gate_state_mut(segment.mapping()).unwrap().publish(GateState::Running as u64);
        assert_eq!(events_gate_state(segment.mapping()), Some(GateState::Running));
    }

    #[test]
    fn a_header_of_another_version_is_refused() {
        let (segment, _) = events(64);
        for (offset, name) in [
            (events::CALIBRATION + 16, "calibration"),
            (events::CAPACITY, "capacity"),
            (HASH, "layout hash"),
            (MAGIC, "magic"),
        ] {
            segment.mapping().store(offset, u64::MAX / 3).unwrap();
            let found = read_events_header(segment.mapping());
            assert!(matches!(found, Err(SegmentError::Header(what)) if what == name), "{name}: {found:?}");
        }
    }

    #[test]
    fn ring_sizes_from_a_peer_are_checked() {
        let segment = GateSegment::create("intents", intents_bytes(64, 128)).unwrap();
        let map = segment.mapping();
        assert_eq!(intents_slots(map, 0, 64).unwrap().count(), 64);
        assert_eq!(intents_slots_mut(map, 1, 128).unwrap().count(), 128);
        for (ring, capacity) in [(0, 0), (0, 2), (0, 96), (0, 256), (0, 1 << 31), (1, 256), (2, 64)] {
            assert!(intents_slots(map, ring, capacity).is_err(), "{ring} {capacity}");
        }
        assert!(events_consumed(map, 2).is_err());
    }

    #[test]
    fn rings_of_one_segment_do_not_overlap() {
        let segment = GateSegment::create("intents", intents_bytes(8, 16)).unwrap();
        let ring_0 = intents_slots_mut(segment.mapping(), 0, 8).unwrap();
        let ring_1 = intents_slots_mut(segment.mapping(), 1, 16).unwrap();
        (0..8).for_each(|slot| ring_0.publish(slot, u64::MAX));
        assert!((0..16).all(|slot| ring_1.reader().sequence(slot) == 0));
    }

    #[test]
    fn pacing_is_off_until_a_client_asks() {
        let (segment, _) = events(8);
        assert_eq!(events_paced(segment.mapping()), None);
        events_paced_mut(segment.mapping()).unwrap().set(PACE_EVENTS);
        assert_eq!(events_paced(segment.mapping()), Some(PACE_EVENTS));
    }
}
